/* y = a b, of equal shapes, or with one operand (C, 1, 1) that scales whole channels of each image. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"

/* Which input holds the scales; equal shapes count as images of one pixel each, so that either may. */
static int scales_of(const struct bl_node *node) {
    return bl_features(node->in[0]) < bl_features(node->in[1]) ? 0 : 1;
}

static int setup(struct bl_node *node) {
    int code = bl_check_inputs(node, 2, 2);
    if (code) return code;
    const struct blanch_tensor *s = node->in[scales_of(node)], *x = node->in[!scales_of(node)];
    if (!bl_same_shape(s, x) && !(s->c == x->c && s->h == 1 && s->w == 1))
        return bl_fail(BLANCH_EINPUT, "%s: cannot multiply %lld x %lld x %lld by %lld x %lld x %lld", node->name,
                       (long long)x->c, (long long)x->h, (long long)x->w, (long long)s->c, (long long)s->h,
                       (long long)s->w);
    bl_node_out(node, x->c, x->h, x->w);
    return 0;
}

static int prepare(struct bl_node *node) {
    return bl_plain_prepare(node, bl_vec(node->dev, node->out[0]->c), "mul", "scale", "reduce");
}

/* to = x times the scales, or added to it. */
static int scale(struct bl_node *node, int images, struct bl_mem *x, struct bl_mem *s, struct bl_mem *to, bool add) {
    const struct bl_plain_state *state = node->state;
    int64_t pixels = node->out[0]->h * node->out[0]->w, vectors = node->out[0]->c / state->vec;
    int64_t repeat = bl_same_shape(node->in[0], node->in[1]) ? 1 : pixels;
    return bl_launch(state->forward,
                     bl_share_rows(node->dev, vectors, images * pixels, bl_bytes_of(node->out[0], 2 * node->out[0]->c)),
                     BL_MEM(x), BL_MEM(s), BL_MEM(to), BL_I64(images * pixels), BL_I32(repeat), BL_I32(vectors),
                     BL_I32(add));
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    int s = scales_of(node);
    return scale(node, run->n, node->in[!s]->mem, node->in[s]->mem, node->out[0]->mem, false);
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    int side = scales_of(node), code = 0;
    struct blanch_tensor *s = node->in[side], *x = node->in[!side];
    struct bl_mem *dy = node->out[0]->grad->mem;
    /* In order of the inputs: where both are one tensor, the second adds to what the first has written. */
    for (int i = 0; i < 2 && !code; i++) {
        struct blanch_tensor *grad = node->in[i]->grad;
        if (!grad) continue;
        if (i != side)
            code = scale(node, run->n, dy, s->mem, grad->mem, node->accumulate[i]);
        else if (bl_same_shape(s, x))
            code = scale(node, run->n, dy, x->mem, grad->mem, node->accumulate[i]);
        else
            code = bl_launch(state->backward,
                             bl_share_rows(node->dev, x->c / state->vec, run->n, bl_bytes_of(x, 2 * bl_features(x))),
                             BL_MEM(x->mem), BL_MEM(dy), BL_MEM(grad->mem), BL_I32(run->n), BL_I32(x->h * x->w),
                             BL_I32(x->c / state->vec), BL_I32(node->accumulate[i]));
    }
    return code;
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_ref_tensor *a = bl_ref_count(&x[0]) < bl_ref_count(&x[1]) ? &x[1] : &x[0], *b = a == x ? &x[1] : x;
    size_t repeat = bl_ref_count(a) / bl_ref_count(b);
    int code = bl_ref_new(y, a->n, a->c, a->h, a->w);
    for (size_t i = 0; i < bl_ref_count(a) && !code; i++) y->v[i] = a->v[i] * b->v[i / repeat];
    return code;
}

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    return bl_onnx_add_binary(r, n);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const enum bl_onnx_view view = bl_same_shape(node->in[0], node->in[1]) ? bl_onnx_written(w, node, 0) : BL_ONNX_NCHW;
    bl_onnx_emit(w, "Mul", (const char *[4]){bl_onnx_in(w, node, 0, view), bl_onnx_in(w, node, 1, view)},
                 bl_onnx_out(w, node, view), NULL);
}

static const struct bl_onnx_form forms[] = {{"Mul", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_mul = {
    .name = "mul",
    .role = BL_ROLE_ELEMENTWISE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .reads = BL_IN(0) | BL_IN(1),
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
