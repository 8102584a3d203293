/* What conv2d and linear share: a weight (param 0) and perhaps a bias (param 1) in front of the convolution engine. */
#ifndef BL_CONV_LAYER_H
#define BL_CONV_LAYER_H

#include "ops/conv/conv.h"

/* Sets up the engine, the output, multiply_adds, and the parameters; the weight has `dims` dimensions of `shape`. */
int bl_conv_layer_setup(struct bl_node *node, const struct bl_conv_attrs *attrs, int dims, const int64_t *shape);
int bl_conv_layer_fused(struct bl_node *node);
int bl_conv_layer_make_moments(struct bl_node *node);
int bl_conv_layer_prepare(struct bl_node *node);
int bl_conv_layer_forward(struct bl_node *node, const struct bl_run *run);
int bl_conv_layer_backward(struct bl_node *node, const struct bl_run *run);
void bl_conv_layer_release(struct bl_node *node);
/* The convolution of a node that bl_conv_layer_setup has set up. */
struct bl_conv *bl_conv_layer_conv(const struct bl_node *node);

#endif
