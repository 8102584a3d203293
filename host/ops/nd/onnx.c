/* Network deconvolution as ONNX: weights and biases with the running mean and D folded into them, in double precision;
 * a ChannelDeconv layer is a 1x1 convolution. */
#include "ops/nd/onnx.h"
#include "ops/common.h"
#include "ops/onnx.h"
#include "ops/nd/definition.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct running { // of one matrix: mean (f), D (f, f)
    double *mean, *deconv;
};

static struct running running_of(struct bl_onnx_writer *w, const struct bl_node *node, int matrix, int f) {
    const float *mean = bl_onnx_values(w, node->buffer[0]), *deconv = bl_onnx_values(w, node->buffer[1]);
    const size_t size = (size_t)f * f;
    struct running running = {mean && deconv ? bl_ref_doubles((size_t)f + size) : NULL};
    if (!running.mean) return running;
    running.deconv = running.mean + f;
    for (int i = 0; i < f; i++) running.mean[i] = (double)mean[(size_t)matrix * f + i];
    for (size_t i = 0; i < size; i++) running.deconv[i] = (double)deconv[matrix * size + i];
    return running;
}

/* The part of a layer that one matrix is for: `weights` from there on, in blocks. */
static void fold(struct bl_onnx_writer *w, const struct bl_node *node, struct bl_onnx_layer *layer, int matrix,
                 struct bl_nd_folding *weights) {
    const size_t count = (size_t)weights->out * weights->f * weights->blocks;
    struct running running = running_of(w, node, matrix, weights->f);
    double *plain = running.mean ? bl_ref_doubles(count + (size_t)weights->out) : NULL;
    int code = plain ? 0 : BLANCH_ENOMEM;
    if (plain) {
        weights->folded = layer->weight + matrix * count;
        weights->folded_bias = layer->bias + (size_t)matrix * weights->out;
        weights->weight = memcpy(plain, weights->folded, sizeof *plain * count);
        weights->bias = memcpy(plain + count, weights->folded_bias, sizeof *plain * (size_t)weights->out);
        code = bl_nd_fold_definition(weights, running.mean, running.deconv);
    }
    if (code) bl_onnx_failed(w, code);
    free(plain);
    free(running.mean);
}

static void fold_conv(struct bl_onnx_writer *w, const struct bl_node *node, struct bl_onnx_layer *layer) {
    const struct bl_nd_conv_attrs *a = node->attrs;
    const int channels = a->conv.in_channels / a->conv.groups, taps = a->conv.kernel[0] * a->conv.kernel[1];
    const int block = a->conv.groups > 1 ? channels : a->nd.block, alike = a->nd.whiten_channels ? taps : 1;
    bl_onnx_fold_plain(w, node, layer);
    for (int g = 0; layer->weight && g < a->conv.groups; g++)
        fold(w, node, layer, g,
             &(struct bl_nd_folding){.out = a->conv.out_channels / a->conv.groups,
                                     .f = block * taps / alike,
                                     .blocks = channels / block * alike,
                                     .interleaved = true});
}

static void write_conv(struct bl_onnx_writer *w, const struct bl_node *node, const struct bl_onnx_layer *layer) {
    bl_conv_write(w, node, &((const struct bl_nd_conv_attrs *)node->attrs)->conv, layer);
}

const struct bl_onnx_op bl_nd_conv_onnx = {.fold = fold_conv, .write_layer = write_conv};

static void fold_linear(struct bl_onnx_writer *w, const struct bl_node *node, struct bl_onnx_layer *layer) {
    const struct bl_nd_linear_attrs *a = node->attrs;
    const int f = a->nd.block;
    bl_onnx_fold_plain(w, node, layer);
    if (layer->weight)
        fold(w, node, layer, 0,
             &(struct bl_nd_folding){.out = a->linear.out_features, .f = f, .blocks = a->linear.in_features / f});
}

const struct bl_onnx_op bl_nd_linear_onnx = {.fold = fold_linear, .write_layer = bl_linear_write};

/* Channel i*G + j is feature i of block j; the channels that fill no block are shifted and scaled together. */
static void fold_channels(struct bl_onnx_writer *w, const struct bl_node *node, struct bl_onnx_layer *layer) {
    const struct bl_channel_deconv_attrs *a = node->attrs;
    const int channels = (int)node->in[0]->c, b = a->block, groups = channels / b, head = groups * b;
    const float *mean = bl_onnx_values(w, node->buffer[2]), *var = bl_onnx_values(w, node->buffer[3]);
    struct running running = running_of(w, node, 0, b);
    if (!running.mean || !mean || !var || !bl_onnx_layer(w, layer, channels, channels)) {
        free(running.mean);
        return;
    }
    for (int o = 0; o < head; o++)
        for (int k = 0; k < b; k++) {
            const double factor = running.deconv[(size_t)(o / groups) * b + k];
            layer->weight[(size_t)o * channels + k * groups + o % groups] = factor;
            layer->bias[o] -= factor * running.mean[k];
        }
    for (int o = head; o < channels; o++) {
        const double factor = 1 / sqrt((double)var[0] + (double)a->eps);
        layer->weight[(size_t)o * channels + o] = factor;
        layer->bias[o] = -factor * (double)mean[0];
    }
    free(running.mean);
}

static void write_channels(struct bl_onnx_writer *w, const struct bl_node *node, const struct bl_onnx_layer *layer) {
    const struct bl_conv_attrs attrs = {.in_channels = (int)layer->each,
                                        .out_channels = (int)layer->out,
                                        .kernel = {1, 1},
                                        .stride = {1, 1},
                                        .dilation = {1, 1},
                                        .groups = 1};
    bl_conv_write(w, node, &attrs, layer);
}

const struct bl_onnx_op bl_channel_deconv_onnx = {.fold = fold_channels, .write_layer = write_channels};
