/* What blanch_definition.define is written with, and the definitions in models/ are. blanch.h includes it. */
#ifndef BLANCH_DEFINITION_H
#define BLANCH_DEFINITION_H

#include "blanch.h"

#ifdef __cplusplus
extern "C" {
#endif
#if defined __GNUC__
#pragma GCC visibility push(default)
#endif

/* Each call adds an operation behind x and gives its output, NULL after the first failure, so that a definition needs
 * no checks: the network's creation returns it. Tensors and names belong to the builder. Layers with parameters are
 * named as in PyTorch's state dict ("layer1.0.conv1", less the prefix of blanch_scope). Shapes are those of PyTorch: x
 * is (N, C, H, W). */
int blanch_channels(const struct blanch_tensor *x); // C; 0 of NULL
int blanch_height(const struct blanch_tensor *x);
int blanch_width(const struct blanch_tensor *x);
int blanch_classes(const struct blanch_builder *b);              // wanted of the classifier
enum blanch_norm blanch_norm_of(const struct blanch_builder *b); // which normalisation the network is built with

/* The fields left zero mean: stride 1, padding 0, dilation 1, groups 1. */
struct blanch_conv_spec {
    int out, kernel, stride, padding, dilation, groups;
    int kernel_w, padding_w; // where they differ from the height's
    bool no_bias;            // of the plain convolution; an ND convolution always has one
    int n_iter;              // ND's, 0: 5
    int block;               // ND's, 0: the default (or --block)
    bool freeze;             // ND's
    bool plain;              // stays a plain convolution under ND too
    const char *nd_name;     // under ND, where it differs
    int reserved[8];         // zero
};
/* (N, C, H, W) to (N, out, H', W'); weights (out, C / groups, kernel, kernel_w). Under ND an ND convolution. */
struct blanch_tensor *blanch_conv2d(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                    struct blanch_conv_spec spec);
/* The fields left zero mean: stride 1, padding 0, output_padding 0, dilation 1, groups 1. */
struct blanch_conv_transpose_spec {
    int out, kernel, stride, padding, output_padding, dilation, groups;
    bool no_bias;
    bool plain;      // stays one under ND too
    int reserved[8]; // zero
};
/* (N, C, H, W) to (N, out, H', W'), H' = (H - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1:
 * PyTorch's ConvTranspose2d, weights (C, out / groups, kernel, kernel). output_padding is less than the stride. Under
 * ND an ND convolution to out x stride^2 channels and a pixel shuffle, as docs/network-format.md says, or an ND linear
 * layer of each pixel where no two of them meet; what leaves gaps, or is dilated at a stride above 1, stays what it is.
 */
struct blanch_tensor *blanch_conv_transpose2d(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                              struct blanch_conv_transpose_spec spec);
/* eps 1e-5, momentum 0.1. Under ND and without normalisation it is left out: x is returned. */
struct blanch_tensor *blanch_batchnorm2d(struct blanch_builder *b, const char *name, struct blanch_tensor *x);
/* Stays under ND too. */
struct blanch_tensor *blanch_batchnorm2d_always(struct blanch_builder *b, const char *name, struct blanch_tensor *x);
/* Parameters of a state dict that the network never uses. */
void blanch_batchnorm2d_unused(struct blanch_builder *b, const char *name, struct blanch_tensor *x);
/* Over the channels of each pixel; eps 0: 1e-5. Whatever the normalisation, it stays. */
struct blanch_tensor *blanch_layernorm(struct blanch_builder *b, const char *name, struct blanch_tensor *x, float eps);
/* Over the pixels of an image and the channels of each of `groups` groups; eps 0: 1e-5. It stays likewise. */
struct blanch_tensor *blanch_group_norm(struct blanch_builder *b, const char *name, struct blanch_tensor *x, int groups,
                                        float eps);
/* x times a parameter (C, 1, 1), in the state dict under `name` itself; it begins at 1. */
struct blanch_tensor *blanch_scale(struct blanch_builder *b, const char *name, struct blanch_tensor *x);
struct blanch_tensor *blanch_scale_from(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                        float begin); // it begins there
/* (N, C, H, W) to (N, out, H, W), of the channels of each pixel; weights (out, C) and a bias. Under ND an ND linear
 * layer, whose samples over more than one pixel are as far apart as those of a 1x1 convolution. */
struct blanch_tensor *blanch_linear(struct blanch_builder *b, const char *name, struct blanch_tensor *x, int out);
struct blanch_tensor *blanch_linear_plain(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                          int out); // under ND too
/* Without a bias; an ND linear layer always has one. */
struct blanch_tensor *blanch_linear_unbiased(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                             int out);
/* (N, 3 C, H, W), queries, keys and values of `heads` heads after one another, to (N, C, H, W): each pixel is a token,
 * softmax(q k^T / sqrt(C / heads)) v in each head. causal: a pixel sees itself and those before it. */
struct blanch_tensor *blanch_attention(struct blanch_builder *b, struct blanch_tensor *x, int heads, bool causal);
/* x plus a parameter (1, H W, C), in the state dict under `name` itself: learned positions. */
struct blanch_tensor *blanch_position(struct blanch_builder *b, const char *name, struct blanch_tensor *x);
/* (N, C, H, W) to (N, C, H W + 1, 1): a parameter (1, 1, C), in the state dict under `name` itself, then the pixels. */
struct blanch_tensor *blanch_class_token(struct blanch_builder *b, const char *name, struct blanch_tensor *x);
/* One pixel, in order of rows: (N, C, H, W) to (N, C, 1, 1). */
struct blanch_tensor *blanch_token(struct blanch_builder *b, struct blanch_tensor *x, int index);
/* The mean of pixels weighted by the softmax of their scores (N, 1, H, W): to (N, C, 1, 1). */
struct blanch_tensor *blanch_sequence_pool(struct blanch_builder *b, struct blanch_tensor *x,
                                           struct blanch_tensor *scores);
/* x plus s (N, C, 1, 1), the same at every pixel. */
struct blanch_tensor *blanch_shift(struct blanch_builder *b, struct blanch_tensor *x, struct blanch_tensor *s);
/* Of x (N, 1, 1, 1), a number of each image such as a time, to (N, channels, 1, 1): its sines, then its cosines, at
 * channels / 2 frequencies from 1 to 1 / 10000. */
struct blanch_tensor *blanch_number_embedding(struct blanch_builder *b, struct blanch_tensor *x, int channels);
/* Of the image's label, as a row of a table: (N, channels, 1, 1); weights (classes, channels). */
struct blanch_tensor *blanch_embedding(struct blanch_builder *b, const char *name, int channels);
struct blanch_tensor *blanch_relu(struct blanch_builder *b, struct blanch_tensor *x);
/* By the operation's name: "relu6", "sigmoid", "tanh", "silu", "gelu", "hardsigmoid", "hardswish"; "softmax", over the
 * channels of each pixel; "sinusoidal_position", which adds fixed positions. */
struct blanch_tensor *blanch_unary(struct blanch_builder *b, const char *op, struct blanch_tensor *x);
struct blanch_tensor *blanch_leaky_relu(struct blanch_builder *b, struct blanch_tensor *x, float slope);
struct blanch_tensor *blanch_elu(struct blanch_builder *b, struct blanch_tensor *x, float alpha);
struct blanch_tensor *blanch_maxpool2d(struct blanch_builder *b, struct blanch_tensor *x, int kernel, int stride,
                                       int padding);
/* Sizes rounded up: a last window that overruns counts, if it starts within the image or the padding before it. */
struct blanch_tensor *blanch_maxpool2d_ceil(struct blanch_builder *b, struct blanch_tensor *x, int kernel, int stride,
                                            int padding);
struct blanch_tensor *blanch_avgpool2d(struct blanch_builder *b, struct blanch_tensor *x, int kernel, int stride,
                                       int padding);
/* To (N, C, height, width), over windows that share the image out evenly. */
struct blanch_tensor *blanch_adaptive_avgpool2d(struct blanch_builder *b, struct blanch_tensor *x, int height,
                                                int width);
struct blanch_tensor *blanch_global_avgpool2d(struct blanch_builder *b, struct blanch_tensor *x); // to (N, C, 1, 1)
/* To (N, C, height, width): the nearest pixel, or bilinear between pixels' centres (align_corners=False). */
struct blanch_tensor *blanch_upsample(struct blanch_builder *b, struct blanch_tensor *x, int height, int width,
                                      bool bilinear);
/* (N, C factor^2, H, W) to (N, C, H factor, W factor): PyTorch's PixelShuffle. */
struct blanch_tensor *blanch_pixel_shuffle(struct blanch_builder *b, struct blanch_tensor *x, int factor);
struct blanch_tensor *blanch_add(struct blanch_builder *b, struct blanch_tensor *x, struct blanch_tensor *y);
/* y: of x's shape, or (N, C, 1, 1). */
struct blanch_tensor *blanch_mul(struct blanch_builder *b, struct blanch_tensor *x, struct blanch_tensor *y);
struct blanch_tensor *blanch_cat(struct blanch_builder *b, struct blanch_tensor *const *x, int count); // of channels
struct blanch_tensor *blanch_slice(struct blanch_builder *b, struct blanch_tensor *x, int begin,
                                   int end); // channels from begin to before end; 0: the last
/* C channels in `groups` groups: channel i of group g becomes channel i groups + g. */
struct blanch_tensor *blanch_channel_shuffle(struct blanch_builder *b, struct blanch_tensor *x, int groups);
struct blanch_tensor *blanch_flatten(struct blanch_builder *b, struct blanch_tensor *x); // to (N, C H W, 1, 1)
struct blanch_tensor *blanch_dropout(struct blanch_builder *b, struct blanch_tensor *x, float p);
/* Whole images, of a residual branch. */
struct blanch_tensor *blanch_stochastic_depth(struct blanch_builder *b, struct blanch_tensor *x, float p);
/* Sets the prefix to the formatted text ("layer1.0."); "" for none. */
void blanch_scope(struct blanch_builder *b, const char *format, ...) BLANCH_PRINTF(2, 3);
/* Fixes the state dict's order: layers named PREFIX.NAME come in the order of these calls, names separated by blanks;
 * layers never declared follow in execution order. */
void blanch_order(struct blanch_builder *b, const char *names);
const char *blanch_name(struct blanch_builder *b, const char *format, ...)
    BLANCH_PRINTF(2, 3); // kept until the next call

#if defined __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
