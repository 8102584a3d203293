/* Mean over all pixels of an image: (C, H, W) becomes (C, 1, 1). */
#include "ops/common.h"
#include "graph/reference.h"

static int setup(struct bl_node *node) {
    int code = bl_check_inputs(node, 1, 1);
    if (!code) bl_node_out(node, node->in[0]->c, 1, 1);
    return code;
}

static int prepare(struct bl_node *node) {
    return bl_plain_prepare(node, bl_vec(node->dev, node->out[0]->c), "global_avgpool2d", "forward", "backward");
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0];
    int64_t vectors = x->c / state->vec;
    return bl_launch(state->forward, bl_share_rows(node->dev, vectors, run->n, bl_bytes_of(x, bl_features(x))),
                     BL_MEM(x->mem), BL_MEM(node->out[0]->mem), BL_I32(run->n), BL_I32(x->h * x->w), BL_I32(vectors));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0];
    if (!x->grad) return 0;
    int64_t vectors = x->c / state->vec, rows = run->n * x->h * x->w;
    return bl_launch(state->backward, bl_share_rows(node->dev, vectors, rows, bl_bytes_of(x, x->c)),
                     BL_MEM(node->out[0]->grad->mem), BL_MEM(x->grad->mem), BL_I64(rows), BL_I32(x->h * x->w),
                     BL_I32(vectors), BL_I32(node->accumulate[0]));
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    int code = bl_ref_new(y, x->n, x->c, 1, 1);
    size_t plane = (size_t)x->h * x->w;
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) y->v[i / plane] += x->v[i] / (double)plane;
    return code;
}

const struct bl_op bl_op_global_avgpool2d = {
    .name = "global_avgpool2d",
    .role = BL_ROLE_POOLING,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .phase_forward = BL_POOL,
    .phase_backward = BL_POOL,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = bl_plain_release,
};
