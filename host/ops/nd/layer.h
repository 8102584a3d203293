/* What nd_conv2d and nd_linear share: a convolution by folded weights. It begins the state of their nodes. */
#ifndef BL_ND_LAYER_H
#define BL_ND_LAYER_H

#include "ops/conv/conv.h"
#include "ops/nd/fold.h"

struct bl_nd_layer {
    struct bl_conv *conv; // NULL: the operation multiplies by itself
    struct bl_whitening *whitening;
    struct bl_fold fold;
    struct bl_kernel *cut; // where the node cuts its input's gradient
};

int bl_nd_layer_fused(struct bl_node *node);
int bl_nd_layer_prepare(struct bl_node *node);
int bl_nd_layer_forward(struct bl_node *node, const struct bl_run *run);
int bl_nd_layer_backward(struct bl_node *node, const struct bl_run *run);
void bl_nd_layer_release(struct bl_node *node);

#endif
