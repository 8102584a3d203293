/* A convolution by folded weights. */
#include "ops/nd/layer.h"
#include "ops/nd/phase.h"
#include <stdlib.h>

int bl_nd_layer_fused(struct bl_node *node) {
    const struct bl_nd_layer *layer = node->state;
    return bl_conv_fused(layer->conv, node->param[0]->data.count);
}

int bl_nd_layer_prepare(struct bl_node *node) {
    struct bl_nd_layer *layer = node->state;
    int code = layer->conv ? bl_conv_prepare(layer->conv) : 0;
    if (!code) code = bl_whitening_prepare(layer->whitening);
    return code ? code : bl_fold_prepare(&layer->fold);
}

int bl_nd_layer_forward(struct bl_node *node, const struct bl_run *run) {
    struct bl_nd_layer *layer = node->state;
    struct bl_fold *fold = &layer->fold;
    bool changed;
    int code = bl_fold_forward(fold, run, &changed);
    bl_node_phase(node, BL_FORWARD);
    if (!code && changed) code = bl_conv_pack(layer->conv, run, fold->folded->mem, fold->folded_bias->mem);
    return code ? code : bl_conv_forward(layer->conv, run, node->in[0], fold->folded_bias->mem, node->out[0]);
}

int bl_nd_layer_backward(struct bl_node *node, const struct bl_run *run) {
    struct bl_nd_layer *layer = node->state;
    struct bl_fold *fold = &layer->fold;
    bl_node_phase(node, BL_BACKWARD_WEIGHTS);
    int code = bl_conv_backward_weights(layer->conv, run, node->in[0], node->out[0]->grad, fold->gradient->mem,
                                        fold->bias->grad.mem);
    if (code) return code;
    bl_node_phase(node, BL_FOLD);
    code = bl_fold_backward(fold);
    if (code || !node->in[0]->grad) return code;
    bl_node_phase(node, BL_BACKWARD_DATA);
    code = bl_conv_backward_data(layer->conv, run, fold->folded->mem, node->out[0]->grad, node->in[0]->grad,
                                 node->accumulate[0]);
    return code ? code : bl_fold_backward_input(fold, run);
}

void bl_nd_layer_release(struct bl_node *node) {
    struct bl_nd_layer *layer = node->state;
    if (!layer) return;
    bl_conv_free(layer->conv);
    bl_whitening_free(layer->whitening);
    free(layer);
    node->state = NULL;
}
