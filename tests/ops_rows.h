/* The cases of test_ops.c: an operation, its attributes, its inputs' shapes. */
#ifndef OPS_ROWS_H
#define OPS_ROWS_H

#include "graph/op.h"

struct row {
    const char *name, *op;
    union {
        struct bl_conv_attrs conv;
        struct bl_nd_conv_attrs nd_conv;
        struct bl_linear_attrs linear;
        struct bl_nd_linear_attrs nd_linear;
        struct bl_batchnorm_attrs norm;
        struct bl_layernorm_attrs layernorm;
        struct bl_pool_attrs pool;
        struct bl_adaptive_attrs adaptive;
        struct bl_slice_attrs slice;
        struct bl_shuffle_attrs shuffle;
        struct bl_dropout_attrs dropout;
        struct bl_channel_deconv_attrs channel_deconv;
        struct bl_leaky_relu_attrs leaky_relu;
        struct bl_elu_attrs elu;
        struct bl_loss_attrs loss;
        struct {
            int tanh;
        } gelu;
        struct {
            int heads, causal;
        } attention;
    } attrs;
    int shape[4], shape2[4];
    bool eval;
    double tolerance; // of float32, relative to the largest expected value; 0: 1e-4
    int64_t counter;  // where the layer's counters stand
    double mean;      // of the inputs; 0: 0.4
    double spread;    // of the inputs about it; 0: 1.5
};

#define CONV(ci, co, kh, kw, s, p, q, d, g)                                                                            \
    { ci, co, {kh, kw}, {s, s}, {p, q}, {d, d}, g, 1 }
#define ND(b, it, st)                                                                                                  \
    { .block = b, .n_iter = it, .freeze_iter = 100, .cov_sampling_stride = {st, st}, .eps = 1e-3f, .momentum = 0.1f }

#define FREEZING(b, it, st)                                                                                            \
    {                                                                                                                  \
        .block = b, .n_iter = it, .freeze = 1, .freeze_iter = 100, .cov_sampling_stride = {st, st}, .eps = 1e-3f,      \
        .momentum = 0.1f                                                                                               \
    }

#define REFRESHED(b, it, st)                                                                                           \
    {                                                                                                                  \
        .refresh = 5, .block = b, .n_iter = it, .freeze_iter = 100, .cov_sampling_stride = {st, st}, .eps = 1e-3f,     \
        .momentum = 0.1f                                                                                               \
    }

#define CHANNELS(b, st, most)                                                                                          \
    {                                                                                                                  \
        .whiten_channels = 1, .cov_samples = most, .block = b, .n_iter = 5, .freeze_iter = 100,                        \
        .cov_sampling_stride = {st, st}, .eps = 1e-3f, .momentum = 0.1f                                                \
    }

#define LIMITED(b, st, most)                                                                                           \
    {                                                                                                                  \
        .cov_samples = most, .block = b, .n_iter = 5, .freeze_iter = 100, .cov_sampling_stride = {st, st},             \
        .eps = 1e-3f, .momentum = 0.1f                                                                                 \
    }

static const float class_weights[] = {0.5f, 2, 1, 0, 3, 0.25f, 1.5f};

static struct row rows[] = {
    // more shapes, for every engine: test_conv.c
    {"conv 3x3", "conv2d", {.conv = CONV(6, 7, 3, 3, 1, 1, 1, 1, 1)}, {2, 6, 9, 11}},
    {"conv 3x3, batch 1", "conv2d", {.conv = CONV(17, 33, 3, 3, 1, 1, 1, 1, 1)}, {1, 17, 5, 3}},
    {"conv 3x3 stride 2", "conv2d", {.conv = CONV(6, 16, 3, 3, 2, 1, 1, 1, 1)}, {2, 6, 9, 8}},
    {"conv groups 2 stride 2", "conv2d", {.conv = CONV(8, 6, 3, 3, 2, 1, 1, 1, 2)}, {2, 8, 7, 6}},
    {"conv depthwise", "conv2d", {.conv = CONV(19, 19, 3, 3, 1, 1, 1, 1, 19)}, {2, 19, 6, 5}},
    {"linear", "linear", {.linear = {37, 11, 1}}, {6, 37, 1, 1}},
    {"linear, batch 1", "linear", {.linear = {5, 3, 1}}, {1, 5, 1, 1}},
    {"linear over pixels", "linear", {.linear = {13, 6, 1}}, {2, 13, 5, 3}},
    {"linear over pixels, batch 1, no bias", "linear", {.linear = {16, 5, 0}}, {1, 16, 2, 3}},
    {"batch norm", "batchnorm2d", {.norm = {13, 1e-5f, 0.1f}}, {3, 13, 5, 7}, .tolerance = 3e-4},
    {"batch norm, batch 1", "batchnorm2d", {.norm = {16, 1e-5f, 0.1f}}, {1, 16, 3, 3}, .tolerance = 3e-4},
    {"batch norm, its own eps and momentum",
     "batchnorm2d",
     {.norm = {5, 1e-2f, 0.3f}},
     {4, 5, 3, 5},
     .tolerance = 3e-4},
    {"batch norm in evaluation", "batchnorm2d", {.norm = {6, 1e-5f, 0.1f}}, {2, 6, 3, 5}, .eval = true},
    {"layer norm", "layernorm", {.layernorm = {13, 1e-5f}}, {3, 13, 5, 7}, .tolerance = 3e-4},
    {"layer norm of vectors", "layernorm", {.layernorm = {48, 1e-6f}}, {2, 48, 3, 3}, .tolerance = 3e-4},
    {"layer norm, batch 1", "layernorm", {.layernorm = {6, 1e-2f}}, {1, 6, 1, 1}, .tolerance = 3e-4},
    {"layer norm far from 0", "layernorm", {.layernorm = {20, 1e-5f}}, {2, 20, 2, 3}, .tolerance = 2e-3, .mean = 300},
    {"relu", "relu", {{0}}, {3, 5, 7, 3}},
    {"relu6", "relu6", {{0}}, {2, 9, 5, 5}},
    {"sigmoid", "sigmoid", {{0}}, {2, 9, 5, 5}},
    {"gelu", "gelu", {{0}}, {2, 9, 5, 5}},
    {"gelu by tanh, batch 1", "gelu", {.gelu = {1}}, {1, 7, 5, 3}},
    {"silu", "silu", {{0}}, {2, 9, 5, 5}},
    {"silu, batch 1", "silu", {{0}}, {1, 16, 3, 3}},
    {"hardswish", "hardswish", {{0}}, {2, 9, 5, 5}, .spread = 4},
    {"hardsigmoid", "hardsigmoid", {{0}}, {2, 9, 5, 5}, .spread = 4},
    {"tanh", "tanh", {{0}}, {3, 5, 7, 3}},
    {"leaky relu", "leaky_relu", {.leaky_relu = {0.2f}}, {2, 9, 5, 5}},
    {"elu", "elu", {.elu = {1.5f}}, {2, 9, 5, 5}},
    {"max pool 2x2", "maxpool2d", {.pool = {{2, 2}, {2, 2}, {0, 0}}}, {2, 5, 9, 8}},
    {"max pool 3x3 stride 2 padded", "maxpool2d", {.pool = {{3, 3}, {2, 2}, {1, 1}}}, {1, 16, 7, 6}},
    {"max pool rounded up", "maxpool2d", {.pool = {{3, 3}, {2, 2}, {0, 0}, 1}}, {2, 5, 8, 7}},
    {"max pool rounded up, padded", "maxpool2d", {.pool = {{3, 3}, {3, 2}, {1, 1}, 1}}, {1, 3, 5, 6}},
    {"max pool rounded up, larger than its input", "maxpool2d", {.pool = {{3, 3}, {2, 2}, {0, 0}, 1}}, {1, 4, 2, 5}},
    {"average pool 2x2", "avgpool2d", {.pool = {{2, 2}, {2, 2}, {0, 0}, 0, 1}}, {2, 5, 7, 8}},
    {"average pool 3x2 padded", "avgpool2d", {.pool = {{3, 2}, {2, 1}, {1, 1}, 0, 1}}, {2, 3, 7, 5}},
    {"average pool rounded up", "avgpool2d", {.pool = {{3, 3}, {2, 2}, {1, 1}, 1, 1}}, {2, 5, 8, 6}},
    {"average pool rounded up, unpadded, batch 1",
     "avgpool2d",
     {.pool = {{3, 2}, {3, 2}, {0, 0}, 1, 1}},
     {1, 16, 5, 7}},
    {"average pool less its padding", "avgpool2d", {.pool = {{3, 3}, {2, 1}, {1, 1}, 0, 0}}, {2, 3, 7, 5}},
    {"average pool rounded up, less its padding", "avgpool2d", {.pool = {{3, 3}, {2, 2}, {1, 1}, 1, 0}}, {2, 6, 8, 6}},
    {"adaptive average pool", "adaptive_avgpool2d", {.adaptive = {{3, 2}}}, {2, 5, 7, 9}},
    {"adaptive average pool, even", "adaptive_avgpool2d", {.adaptive = {{2, 3}}}, {1, 16, 4, 9}},
    {"adaptive average pool to more", "adaptive_avgpool2d", {.adaptive = {{5, 7}}}, {2, 3, 3, 7}},
    {"global average pool", "global_avgpool2d", {{0}}, {3, 17, 5, 7}},
    {"add", "add", {{0}}, {2, 9, 5, 7}, {2, 9, 5, 7}},
    {"mul", "mul", {{0}}, {2, 9, 5, 7}, {2, 9, 5, 7}},
    {"mul broadcast", "mul", {{0}}, {2, 9, 5, 7}, {2, 9, 1, 1}},
    {"attention", "attention", {.attention = {2}}, {2, 42, 5, 7}},
    {"attention, one token, batch 1", "attention", {.attention = {3}}, {1, 9, 1, 1}},
    {"attention of vectors", "attention", {.attention = {2}}, {2, 96, 6, 6}},
    {"attention, causal", "attention", {.attention = {2, 1}}, {2, 48, 37, 1}},
    {"attention with large scores", "attention", {.attention = {1}}, {1, 48, 4, 4}, .spread = 20, .tolerance = 1e-3},
    {"scale", "scale", {{0}}, {2, 9, 5, 7}},
    {"scale of one pixel, batch 1", "scale", {{0}}, {1, 16, 1, 1}},
    {"cat", "cat", {{0}}, {2, 9, 5, 3}, {2, 4, 5, 3}},
    {"slice", "slice_channels", {.slice = {3, 8}}, {2, 9, 3, 3}},
    {"slice to the edge", "slice_channels", {.slice = {5, 0}}, {2, 9, 3, 3}},
    {"channel shuffle", "channel_shuffle", {.shuffle = {2}}, {2, 10, 3, 5}},
    {"channel shuffle of 3 groups, batch 1", "channel_shuffle", {.shuffle = {3}}, {1, 21, 3, 1}},
    {"flatten", "flatten", {{0}}, {3, 5, 2, 3}},
    {"dropout in evaluation", "dropout", {.dropout = {0.5f}}, {2, 3, 4, 5}, .eval = true},
    {"dropout", "dropout", {.dropout = {0.3f}}, {3, 5, 4, 7}},
    {"dropout of one value", "dropout", {.dropout = {0.5f}}, {1, 1, 1, 1}},
    {"stochastic depth", "stochastic_depth", {.dropout = {0.1f}}, {9, 5, 3, 7}},
    {"stochastic depth, batch 1", "stochastic_depth", {.dropout = {0.05f}}, {1, 4, 2, 2}},
    {"stochastic depth in evaluation", "stochastic_depth", {.dropout = {0.5f}}, {3, 2, 4, 5}, .eval = true},
    {"softmax cross-entropy", "softmax_cross_entropy", {{0}}, {5, 11, 1, 1}},
    {"softmax cross-entropy, smoothed labels", "softmax_cross_entropy", {.loss = {0.1f}}, {5, 11, 1, 1}},
    {"softmax cross-entropy, weighted classes",
     "softmax_cross_entropy",
     {.loss = {.weight = class_weights}},
     {5, 7, 1, 1}},
    {"softmax cross-entropy, weighted classes, smoothed labels",
     "softmax_cross_entropy",
     {.loss = {.smoothing = 0.2f, .weight = class_weights}},
     {3, 7, 1, 1}},
    {"softmax cross-entropy, smoothed labels in evaluation",
     "softmax_cross_entropy",
     {.loss = {0.3f}},
     {3, 7, 1, 1},
     .eval = true},
    {"softmax cross-entropy, batch 1", "softmax_cross_entropy", {{0}}, {1, 100, 1, 1}},
    {"nd conv one block",
     "nd_conv2d",
     {.nd_conv = {CONV(4, 5, 3, 3, 1, 1, 1, 1, 1), ND(4, 5, 1)}},
     {2, 4, 6, 5},
     .tolerance = 1e-3},
    {"nd conv interleaved blocks",
     "nd_conv2d",
     {.nd_conv = {CONV(6, 4, 3, 3, 1, 1, 1, 1, 1), ND(2, 5, 2)}},
     {3, 6, 7, 5},
     .tolerance = 1e-3},
    {"nd conv channels, interleaved blocks",
     "nd_conv2d",
     {.nd_conv = {CONV(6, 4, 3, 3, 1, 1, 1, 1, 1), CHANNELS(2, 2, 0)}},
     {3, 6, 7, 5},
     .tolerance = 1e-3},
    {"nd conv channels 2x3 dilated stride 2, batch 1",
     "nd_conv2d",
     {.nd_conv = {CONV(4, 3, 2, 3, 2, 1, 1, 2, 1), CHANNELS(4, 1, 0)}},
     {1, 4, 9, 8},
     .tolerance = 1e-3},
    {"nd conv channels of groups",
     "nd_conv2d",
     {.nd_conv = {CONV(6, 4, 3, 3, 1, 1, 1, 1, 2), CHANNELS(3, 2, 0)}},
     {4, 6, 6, 5},
     .tolerance = 1e-3},
    {"nd conv channels depthwise",
     "nd_conv2d",
     {.nd_conv = {CONV(5, 5, 3, 3, 1, 1, 1, 1, 5), CHANNELS(1, 2, 0)}},
     {3, 5, 6, 5},
     .tolerance = 1e-3},
    {"nd conv channels, samples of 4 F",
     "nd_conv2d",
     {.nd_conv = {CONV(6, 4, 3, 3, 1, 1, 1, 1, 1), CHANNELS(3, 1, -4)}},
     {3, 6, 7, 5},
     .tolerance = 1e-3},
    {"nd conv, at most 40 samples",
     "nd_conv2d",
     {.nd_conv = {CONV(4, 4, 3, 3, 1, 1, 1, 1, 1), LIMITED(2, 1, 40)}},
     {3, 4, 7, 5},
     .tolerance = 2e-3},
    {"nd conv 1x1, at most 30 samples",
     "nd_conv2d",
     {.nd_conv = {CONV(6, 5, 1, 1, 1, 0, 0, 1, 1), LIMITED(3, 1, 30)}},
     {5, 6, 5, 7},
     .tolerance = 1e-3},
    {"nd conv 1x1, two samples far from 0",
     "nd_conv2d",
     {.nd_conv = {CONV(4, 64, 1, 1, 1, 0, 0, 1, 1), ND(4, 5, 3)}},
     {16, 4, 1, 1},
     .tolerance = 1e-4,
     .mean = 300},
    {"nd conv depthwise, at most 30 samples",
     "nd_conv2d",
     {.nd_conv = {CONV(5, 5, 3, 3, 1, 1, 1, 1, 5), LIMITED(1, 1, 30)}},
     {3, 5, 6, 5},
     .tolerance = 1e-3},
    {"nd conv stride 2",
     "nd_conv2d",
     {.nd_conv = {CONV(3, 4, 3, 3, 2, 1, 1, 1, 1), ND(3, 7, 4)}},
     {4, 3, 9, 8},
     .tolerance = 2e-3},
    {"nd conv 1x1 sampled",
     "nd_conv2d",
     {.nd_conv = {CONV(6, 5, 1, 1, 1, 0, 0, 1, 1), ND(3, 5, 3)}},
     {5, 6, 5, 7},
     .tolerance = 1e-3},
    {"nd conv 1x1, batch 1, one iteration",
     "nd_conv2d",
     {.nd_conv = {CONV(4, 3, 1, 1, 1, 0, 0, 1, 1), ND(4, 1, 1)}},
     {1, 4, 5, 5},
     .tolerance = 1e-3},
    {"nd conv, two iterations",
     "nd_conv2d",
     {.nd_conv = {CONV(4, 5, 3, 3, 1, 1, 1, 1, 1), ND(4, 2, 1)}},
     {2, 4, 6, 5},
     .tolerance = 1e-3},
    {"nd conv, three iterations",
     "nd_conv2d",
     {.nd_conv = {CONV(4, 5, 3, 3, 1, 1, 1, 1, 1), ND(2, 3, 1)}},
     {2, 4, 6, 5},
     .tolerance = 1e-3},
    {"nd conv, four iterations",
     "nd_conv2d",
     {.nd_conv = {CONV(4, 5, 3, 3, 1, 1, 1, 1, 1), ND(4, 4, 1)}},
     {2, 4, 6, 5},
     .tolerance = 1e-3},
    {"nd conv, six iterations",
     "nd_conv2d",
     {.nd_conv = {CONV(4, 5, 3, 3, 1, 1, 1, 1, 1), ND(2, 6, 1)}},
     {2, 4, 6, 5},
     .tolerance = 1e-3},
    {"nd conv grouped",
     "nd_conv2d",
     {.nd_conv = {CONV(6, 4, 3, 3, 1, 1, 1, 1, 2), ND(3, 5, 2)}},
     {3, 6, 6, 5},
     .tolerance = 1e-3},
    {"nd conv depthwise",
     "nd_conv2d",
     {.nd_conv = {CONV(5, 5, 3, 3, 1, 1, 1, 1, 5), ND(1, 5, 1)}},
     {3, 5, 5, 6},
     .tolerance = 1e-3},
    {"nd conv 2x3 dilated",
     "nd_conv2d",
     {.nd_conv = {CONV(2, 3, 2, 3, 1, 1, 2, 2, 1), ND(2, 5, 2)}},
     {4, 2, 7, 6},
     .tolerance = 1e-3},
    {"nd conv in evaluation",
     "nd_conv2d",
     {.nd_conv = {CONV(6, 4, 3, 3, 1, 1, 1, 1, 1), ND(2, 5, 2)}},
     {2, 6, 5, 5},
     .eval = true},
    {"nd linear", "nd_linear", {.nd_linear = {{12, 5, 1}, ND(4, 5, 1)}}, {9, 12, 1, 1}, .tolerance = 1e-3},
    {"nd linear over pixels", "nd_linear", {.nd_linear = {{12, 5, 1}, ND(4, 5, 1)}}, {3, 12, 5, 3}, .tolerance = 1e-3},
    {"nd linear over pixels, sampled",
     "nd_linear",
     {.nd_linear = {{6, 7, 1}, ND(3, 5, 2)}},
     {3, 6, 5, 7},
     .tolerance = 1e-3},
    {"nd linear over pixels in evaluation",
     "nd_linear",
     {.nd_linear = {{12, 5, 1}, ND(12, 5, 3)}},
     {2, 12, 3, 3},
     .eval = true},
    {"nd linear over pixels between refreshes",
     "nd_linear",
     {.nd_linear = {{12, 5, 1}, REFRESHED(4, 5, 2)}},
     {3, 12, 5, 4},
     .tolerance = 1e-3,
     .counter = 22},
    {"nd conv, the last step before it freezes",
     "nd_conv2d",
     {.nd_conv = {CONV(4, 5, 3, 3, 1, 1, 1, 1, 1), FREEZING(4, 5, 2)}},
     {3, 4, 6, 5},
     .tolerance = 1e-3,
     .counter = 100},
    {"nd conv frozen",
     "nd_conv2d",
     {.nd_conv = {CONV(6, 5, 3, 3, 1, 1, 1, 1, 1), FREEZING(2, 5, 2)}},
     {2, 6, 6, 5},
     .counter = 101},
    {"nd conv, frozen for the last time",
     "nd_conv2d",
     {.nd_conv = {CONV(4, 5, 1, 1, 1, 0, 0, 1, 1), FREEZING(4, 5, 2)}},
     {2, 4, 6, 5},
     .counter = 999},
    {"nd conv between refreshes",
     "nd_conv2d",
     {.nd_conv = {CONV(6, 5, 3, 3, 1, 1, 1, 1, 1), REFRESHED(2, 5, 2)}},
     {2, 6, 6, 5},
     .tolerance = 1e-3,
     .counter = 21},
    {"nd conv refreshed",
     "nd_conv2d",
     {.nd_conv = {CONV(6, 5, 3, 3, 1, 1, 1, 1, 1), REFRESHED(2, 5, 2)}},
     {3, 6, 6, 5},
     .tolerance = 1e-3,
     .counter = 25},
    {"nd conv depthwise between refreshes",
     "nd_conv2d",
     {.nd_conv = {CONV(5, 5, 3, 3, 1, 1, 1, 1, 5), REFRESHED(1, 5, 2)}},
     {3, 5, 6, 5},
     .tolerance = 1e-3,
     .counter = 99},
    {"nd conv channels between refreshes",
     "nd_conv2d",
     {.nd_conv = {CONV(6, 5, 3, 3, 1, 1, 1, 1, 1),
                  {.refresh = 5,
                   .whiten_channels = 1,
                   .block = 2,
                   .n_iter = 5,
                   .cov_sampling_stride = {1, 2},
                   .cov_samples = 50,
                   .eps = 1e-3f,
                   .momentum = 0.1f}}},
     {3, 6, 6, 5},
     .tolerance = 1e-3,
     .counter = 21},
    {"nd linear between refreshes",
     "nd_linear",
     {.nd_linear = {{12, 5, 1}, REFRESHED(4, 5, 1)}},
     {9, 12, 1, 1},
     .tolerance = 1e-3,
     .counter = 22},
    {"nd linear in evaluation", "nd_linear", {.nd_linear = {{12, 5, 1}, ND(12, 5, 1)}}, {7, 12, 1, 1}, .eval = true},
    {"channel deconv",
     "channel_deconv",
     {.channel_deconv = {4, 5, 2, 1e-2f, 0.1f}},
     {3, 8, 5, 4},
     .tolerance = 1e-3,
     .counter = 1},
    {"channel deconv with a remainder, first batch",
     "channel_deconv",
     {.channel_deconv = {4, 5, 3, 1e-2f, 0.1f}},
     {2, 10, 7, 5},
     .tolerance = 1e-3},
    {"channel deconv of features",
     "channel_deconv",
     {.channel_deconv = {4, 5, 3, 1e-2f, 0.1f}},
     {9, 11, 1, 1},
     .tolerance = 1e-3,
     .counter = 1},
    {"channel deconv in evaluation",
     "channel_deconv",
     {.channel_deconv = {4, 5, 3, 1e-2f, 0.1f}},
     {2, 10, 4, 5},
     .eval = true,
     .counter = 1},
};

#endif
