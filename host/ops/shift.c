/* y = x + s, s (C, 1, 1): every pixel of an image is shifted by the same; how a network is told a time or a class. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"

static int setup(struct bl_node *node) {
    int code = bl_check_inputs(node, 2, 2);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0], *s = node->in[1];
    if (s->c != x->c || s->h != 1 || s->w != 1)
        return bl_fail(BLANCH_EINPUT, "%s: cannot shift %lld x %lld x %lld by %lld x %lld x %lld", node->name,
                       (long long)x->c, (long long)x->h, (long long)x->w, (long long)s->c, (long long)s->h,
                       (long long)s->w);
    bl_node_out(node, x->c, x->h, x->w);
    return 0;
}

static int prepare(struct bl_node *node) {
    return bl_plain_prepare(node, bl_vec(node->dev, node->out[0]->c), "shift", "shift", "total");
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0];
    const int64_t pixels = x->h * x->w, vectors = x->c / state->vec;
    return bl_launch_light(node->dev, state->forward,
                           bl_share_rows(node->dev, vectors, run->n * pixels, bl_bytes_of(x, 2 * x->c)), BL_MEM(x->mem),
                           BL_MEM(node->in[1]->mem), BL_MEM(node->out[0]->mem), BL_I64(run->n * pixels), BL_I32(pixels),
                           BL_I32(vectors));
}

/* The shift's gradient first: what is added to x's may lie where the output's does. */
static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0], *s = node->in[1];
    const int64_t pixels = x->h * x->w, vectors = x->c / state->vec;
    struct bl_mem *dy = node->out[0]->grad->mem;
    int code = 0;
    if (s->grad)
        code = bl_launch_light(node->dev, state->backward,
                               bl_share_rows(node->dev, vectors, run->n, bl_bytes_of(x, bl_features(x))), BL_MEM(dy),
                               BL_MEM(s->grad->mem), BL_I32(run->n), BL_I32(pixels), BL_I32(vectors),
                               BL_I32(node->accumulate[1]));
    if (code || !x->grad) return code;
    return bl_copy(node, dy, x->grad->mem, run->n * bl_features(x), state->vec, node->accumulate[0]);
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const size_t plane = (size_t)x->h * x->w;
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) y->v[i] = x->v[i] + x[1].v[i / plane];
    return code;
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const char *const in[4] = {bl_onnx_in(w, node, 0, BL_ONNX_NCHW), bl_onnx_in(w, node, 1, BL_ONNX_NCHW)};
    bl_onnx_emit(w, "Add", in, bl_onnx_out(w, node, BL_ONNX_NCHW), NULL);
}

static const struct bl_onnx_op onnx = {.write = write};

const struct bl_op bl_op_shift = {
    .name = "shift",
    .role = BL_ROLE_ELEMENTWISE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .in_place = BL_IN_PLACE_OUT,
    .phase_forward = BL_ACTIVATION,
    .phase_backward = BL_ACTIVATION,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = bl_plain_release,
    .onnx = &onnx,
};
