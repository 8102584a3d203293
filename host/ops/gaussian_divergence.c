/* The Kullback-Leibler divergence of N(m, exp(v)) from N(0, 1), of an input of means m and logarithms v of variances:
 * the sum over an image of (exp(v) + m^2 - 1 - v) / 2, one float32 value of each image, for a loss to add. */
#include "graph/reference.h"
#include "ops/gaussian.h"
#include <math.h>

static int setup(struct bl_node *node) {
    int code = bl_gaussian_check(node);
    if (!code) bl_node_out_as(node, BL_F32, 1, 1, 1);
    return code;
}

static int prepare(struct bl_node *node) {
    return bl_plain_prepare(node, 1, "gaussian", "divergence", "divergence_gradient");
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0];
    return bl_launch(state->forward, bl_share(node->dev, run->n, 32 * bl_features(x)), BL_MEM(x->mem),
                     BL_MEM(node->out[0]->mem), BL_I32(run->n), BL_I32(x->h * x->w), BL_I32(x->c / 2));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0];
    if (!x->grad) return 0;
    return bl_launch(state->backward, bl_share_rows(node->dev, bl_features(x) / 2, run->n, 32 * bl_features(x)),
                     BL_MEM(x->mem), BL_MEM(node->out[0]->grad->mem), BL_MEM(x->grad->mem), BL_I32(run->n),
                     BL_I32(x->h * x->w), BL_I32(x->c / 2), BL_I32(node->accumulate[0]));
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const size_t half = (size_t)x->c / 2 * x->h * x->w;
    int code = bl_ref_new(y, x->n, 1, 1, 1);
    for (size_t i = 0; i < (size_t)x->n * half && !code; i++) {
        const double *m = x->v + i / half * 2 * half + i % half, v = m[half];
        y->v[i / half] += (exp(v) + *m * *m - 1 - v) / 2;
    }
    return code;
}

const struct bl_op bl_op_gaussian_divergence = {
    .name = "gaussian_divergence",
    .role = BL_ROLE_ELEMENTWISE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .reads = BL_IN(0),
    .phase_forward = BL_LOSS,
    .phase_backward = BL_LOSS,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = bl_plain_release,
};
