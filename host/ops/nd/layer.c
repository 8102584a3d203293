/* A convolution by folded weights. */
#include "ops/nd/layer.h"
#include "ops/common.h"
#include "ops/nd/phase.h"
#include <stdlib.h>

int bl_nd_layer_fused(struct bl_node *node) {
    const struct bl_nd_layer *layer = node->state;
    return bl_conv_fused(layer->conv, node->param[0]->data.count);
}

static int vec_of(const struct bl_node *node) {
    return bl_vec(node->dev, bl_features(node->in[0]));
}

static int prepare_cut(struct bl_nd_layer *layer) {
    const struct bl_node *node = layer->fold.node;
    const struct bl_define defines[] = {{"VEC", vec_of(node)}, BL_ACT(node)};
    return node->cuts ? bl_kernel_get(node->dev, "elementwise", "relu_backward", defines, 2, &layer->cut) : 0;
}

/* The convolution has cut its gradient, and exact whitening cuts what it adds; else what it has added is cut here. */
static int cut(const struct bl_nd_layer *layer, int images) {
    const struct bl_node *node = layer->fold.node;
    const struct blanch_tensor *x = node->in[0];
    if (!node->cuts || !layer->fold.step.backward || bl_whitening_cuts(layer->whitening, &layer->fold.step)) return 0;
    const int64_t vectors = images * bl_features(x) / vec_of(node);
    return bl_launch_light(node->dev, layer->cut, bl_share(node->dev, vectors, bl_bytes_of(x, 3 * vec_of(node))),
                           BL_MEM(x->mem), BL_MEM(x->grad->mem), BL_MEM(x->grad->mem), BL_I64(vectors), BL_I32(0));
}

int bl_nd_layer_prepare(struct bl_node *node) {
    struct bl_nd_layer *layer = node->state;
    int code = layer->conv ? bl_conv_prepare(layer->conv) : 0;
    layer->fold.packer = layer->conv;
    if (!code) code = bl_whitening_prepare(layer->whitening);
    if (!code) code = bl_fold_prepare(&layer->fold);
    return code ? code : prepare_cut(layer);
}

static int pack(const struct bl_nd_layer *layer, const struct bl_run *run) {
    const struct bl_fold *fold = &layer->fold;
    const struct bl_conv_bias bias = {.mean = fold->step.mean,
                                      .bias = fold->bias->data.mem,
                                      .to = fold->folded_bias->mem,
                                      .interleave = fold->interleave,
                                      .features = fold->features,
                                      .matrices = fold->matrices};
    return fold->bias_is_left ? bl_conv_pack_with_bias(layer->conv, run, fold->folded->mem, &bias)
                              : bl_conv_pack(layer->conv, run, fold->folded->mem, fold->folded_bias->mem);
}

int bl_nd_layer_forward(struct bl_node *node, const struct bl_run *run) {
    struct bl_nd_layer *layer = node->state;
    struct bl_fold *fold = &layer->fold;
    bool changed;
    int code = bl_fold_forward(fold, run, &changed);
    bl_node_phase(node, BL_FORWARD);
    if (!code && changed) code = pack(layer, run);
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
    code = bl_fold_backward(fold, run);
    if (code || !node->in[0]->grad) return code;
    bl_node_phase(node, BL_BACKWARD_DATA);
    code = bl_conv_backward_data(layer->conv, run, fold->folded->mem, node->out[0]->grad, node->in[0]->grad,
                                 node->accumulate[0]);
    if (!code) code = bl_fold_backward_input(fold, run);
    return code ? code : cut(layer, run->n);
}

void bl_nd_layer_release(struct bl_node *node) {
    struct bl_nd_layer *layer = node->state;
    if (!layer) return;
    bl_conv_free(layer->conv);
    bl_whitening_free(layer->whitening);
    free(layer);
    node->state = NULL;
}
