/* (C, H, W) becomes (C*H*W, 1, 1), numbered as PyTorch's flatten numbers it: (c*H + y)*W + x. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <string.h>

static int setup(struct bl_node *node) {
    int code = bl_check_inputs(node, 1, 1);
    if (!code) bl_node_out(node, bl_features(node->in[0]), 1, 1);
    return code;
}

static bool is_copy(const struct bl_node *node) {
    return node->in[0]->c == 1 || node->in[0]->h * node->in[0]->w == 1;
}

static int prepare(struct bl_node *node) {
    return bl_plain_prepare(node, 1, "layout", "nhwc_to_nchw", "nchw_to_nhwc");
}

static int reorder(struct bl_node *node, int n, struct bl_kernel *kernel, struct bl_mem *from, struct bl_mem *to,
                   bool add) {
    const struct blanch_tensor *x = node->in[0];
    if (from == to) return 0;
    bl_work(node->dev, 0, 0);
    if (is_copy(node)) return bl_copy(node, from, to, n * bl_features(x), bl_vec(node->dev, bl_features(x)), add);
    return bl_launch(kernel, bl_share_grid(node->dev, x->c, x->h * x->w, n, bl_bytes_of(x, 2 * bl_features(x))),
                     BL_MEM(from), BL_MEM(to), BL_I32(n), BL_I32(x->c), BL_I32(x->h * x->w), BL_I32(add));
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    return reorder(node, run->n, state->forward, node->in[0]->mem, node->out[0]->mem, false);
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    struct blanch_tensor *grad = node->in[0]->grad;
    return grad ? reorder(node, run->n, state->backward, node->out[0]->grad->mem, grad->mem, node->accumulate[0]) : 0;
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    int code = bl_ref_new(y, x->n, x->c * x->h * x->w, 1, 1);
    if (!code) memcpy(y->v, x->v, sizeof *y->v * bl_ref_count(x));
    return code;
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    bl_onnx_same(w, node, bl_onnx_in(w, node, 0, BL_ONNX_FLAT), BL_ONNX_FLAT);
}

static const struct bl_onnx_op onnx = {.write = write};

const struct bl_op bl_op_flatten = {
    .name = "flatten",
    .role = BL_ROLE_SHAPE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .keeps = is_copy,
    .phase_forward = BL_OTHER,
    .phase_backward = BL_OTHER,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = bl_plain_release,
    .onnx = &onnx,
};
