/* y = a + b, of equal shapes. */
#include "ops/common.h"

static int setup(struct bl_node *node) {
    int code = bl_check_inputs(node, 2, 2);
    if (code) return code;
    const struct bl_tensor *a = node->in[0], *b = node->in[1];
    if (!bl_same_shape(a, b))
        return bl_fail(BLANCH_EINPUT, "%s: cannot add %lld x %lld x %lld and %lld x %lld x %lld", node->name,
                       (long long)a->c, (long long)a->h, (long long)a->w, (long long)b->c, (long long)b->h,
                       (long long)b->w);
    bl_node_out(node, a->c, a->h, a->w);
    return 0;
}

static int prepare(struct bl_node *node) {
    return bl_plain_prepare(node, bl_vec(node->dev, bl_features(node->out)), "elementwise", "add", NULL);
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    int64_t vectors = run->n * bl_features(node->out) / state->vec;
    return bl_launch(state->forward, bl_share(node->dev, vectors, 12 * state->vec), BL_MEM(node->in[0]->mem),
                     BL_MEM(node->in[1]->mem), BL_MEM(node->out->mem), BL_I64(vectors));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    int code = 0;
    for (int i = 0; i < 2 && !code; i++)
        if (node->in[i]->grad)
            code = bl_copy(node->dev, node->out->grad->mem, node->in[i]->grad->mem, run->n * bl_features(node->out),
                           state->vec, node->accumulate[i]);
    return code;
}

const struct bl_op bl_op_add = {
    .name = "add",
    .phase_forward = BL_ACTIVATION,
    .phase_backward = BL_ACTIVATION,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .release = bl_plain_release,
};
