/* y = m + exp(v / 2) e, of an input of means m and logarithms v of variances, e normal: a sample of the Gaussian, by
 * which gradients reach both (Kingma and Welling, ICLR 2014). e is Philox's, keyed by seed, step and node and counted
 * by position, so that backward draws it again. In evaluation y = m. */
#include "graph/reference.h"
#include "ops/gaussian.h"
#include <math.h>

int bl_gaussian_check(const struct bl_node *node) {
    int code = bl_check_inputs(node, 1, 1);
    if (code || node->in[0]->c % 2 == 0) return code;
    return bl_fail(BLANCH_EINPUT, "%s: %lld channels are not as many means as variances", node->name,
                   (long long)node->in[0]->c);
}

static int setup(struct bl_node *node) {
    int code = bl_gaussian_check(node);
    if (!code) bl_node_out(node, node->in[0]->c / 2, node->in[0]->h, node->in[0]->w);
    return code;
}

static int prepare(struct bl_node *node) {
    return bl_plain_prepare(node, 1, "gaussian", "sample", "sample_gradient");
}

static bool is_random(const struct bl_run *run) {
    return run->training && !run->no_dropout;
}

static struct bl_range range_of(const struct bl_node *node, int images) {
    const int64_t features = bl_features(node->out[0]);
    return bl_share_rows(node->dev, (features + 3) / 4, images, 64 * features);
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *y = node->out[0];
    return bl_launch(state->forward, range_of(node, run->n), BL_MEM(node->in[0]->mem), BL_MEM(y->mem), BL_I32(run->n),
                     BL_I32(y->h * y->w), BL_I32(y->c), BL_I32(is_random(run)), BL_I64(run->first_image),
                     BL_I64(run->seed), BL_I32(BL_RANDOM_NOISE), BL_I64(run->step << 16 | (uint64_t)node->index));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0], *y = node->out[0];
    if (!x->grad) return 0;
    return bl_launch(state->backward, range_of(node, run->n), BL_MEM(x->mem), BL_MEM(y->grad->mem),
                     BL_MEM(x->grad->mem), BL_I32(run->n), BL_I32(y->h * y->w), BL_I32(y->c), BL_I32(is_random(run)),
                     BL_I64(run->first_image), BL_I64(run->seed), BL_I32(BL_RANDOM_NOISE),
                     BL_I64(run->step << 16 | (uint64_t)node->index), BL_I32(node->accumulate[0]));
}

/* Numbers are counted by the element's position on the device, which holds channels last. */
static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const size_t plane = (size_t)x->h * x->w, channels = (size_t)x->c / 2, blocks = (plane * channels + 3) / 4;
    int code = bl_ref_new(y, x->n, x->c / 2, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(y) && !code; i++) {
        const size_t image = i / (plane * channels), c = i / plane % channels, at = i % plane * channels + c;
        const double *mean = x->v + (image * 2 * channels + c) * plane + i % plane;
        double e[4] = {0};
        if (l->training)
            bl_normals(l->seed, BL_RANDOM_NOISE, image * blocks + at / 4, l->step << 16 | (uint64_t)l->index, e);
        y->v[i] = mean[0] + exp(mean[channels * plane] / 2) * e[at % 4];
    }
    return code;
}

const struct bl_op bl_op_gaussian_sample = {
    .name = "gaussian_sample",
    .role = BL_ROLE_ELEMENTWISE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .reads = BL_IN(0),
    .phase_forward = BL_ACTIVATION,
    .phase_backward = BL_ACTIVATION,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = bl_plain_release,
};
