/* y = a + b, of equal shapes, rectified where a ReLU follows. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"

static int setup(struct bl_node *node) {
    int code = bl_check_inputs(node, 2, 2);
    if (code) return code;
    const struct blanch_tensor *a = node->in[0], *b = node->in[1];
    if (!bl_same_shape(a, b))
        return bl_fail(BLANCH_EINPUT, "%s: cannot add %lld x %lld x %lld and %lld x %lld x %lld", node->name,
                       (long long)a->c, (long long)a->h, (long long)a->w, (long long)b->c, (long long)b->h,
                       (long long)b->w);
    bl_node_out(node, a->c, a->h, a->w);
    return 0;
}

/* Whether the gradient is still to be cut where the sum was. */
static bool cuts_own(const struct bl_node *node) {
    return node->fused && !node->is_cut;
}

static int prepare(struct bl_node *node) {
    struct bl_plain_state *state = bl_plain_state(node);
    if (!state) return BLANCH_ENOMEM;
    state->vec = bl_vec(node->dev, bl_features(node->out[0]));
    struct bl_define defines[] = {{"VEC", state->vec}, {"ACTIVATION", bl_node_activation(node)}, BL_ACT(node)};
    int code = bl_kernel_get(node->dev, "elementwise", "add", defines, 3, &state->forward);
    if (code || !bl_node_training(node)) return code;
    return bl_kernel_get(node->dev, "elementwise", cuts_own(node) ? "relu_backward" : "copy", defines, 3,
                         &state->backward);
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    int64_t vectors = run->n * bl_features(node->out[0]) / state->vec;
    return bl_launch(state->forward, bl_share(node->dev, vectors, bl_bytes_of(node->out[0], 3 * state->vec)),
                     BL_MEM(node->in[0]->mem), BL_MEM(node->in[1]->mem), BL_MEM(node->out[0]->mem), BL_I64(vectors));
}

/* Where a gradient shares the output's memory, nothing is copied, and what the activation cut is cut in place: cutting
 * twice is as cutting once, so the order of the inputs does not matter. */
static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    struct bl_mem *dy = node->out[0]->grad->mem;
    int64_t vectors = run->n * bl_features(node->out[0]) / state->vec;
    struct bl_range range = bl_share(node->dev, vectors, bl_bytes_of(node->out[0], 3 * state->vec));
    bool in_place = false;
    int code = 0;
    for (int i = 0; i < 2 && !code; i++) {
        if (!node->in[i]->grad) continue;
        struct bl_mem *dx = node->in[i]->grad->mem;
        if (dx == dy && (in_place || !cuts_own(node))) continue;
        in_place |= dx == dy;
        code = cuts_own(node) ? bl_launch(state->backward, range, BL_MEM(node->out[0]->mem), BL_MEM(dy), BL_MEM(dx),
                                          BL_I64(vectors), BL_I32(node->accumulate[i]))
                              : bl_launch(state->backward, range, BL_MEM(dy), BL_MEM(dx), BL_I64(vectors),
                                          BL_I32(node->accumulate[i]));
    }
    return code;
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) y->v[i] = x[0].v[i] + x[1].v[i];
    return code;
}

static const struct bl_fusion fusions[] = {{.op = &bl_op_relu, .reads = BL_OUT(0)}, {NULL}};

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    return bl_onnx_add_binary(r, n);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const enum bl_onnx_view view = bl_onnx_written(w, node, 0);
    bl_onnx_emit(w, "Add", (const char *[4]){bl_onnx_in(w, node, 0, view), bl_onnx_in(w, node, 1, view)},
                 bl_onnx_out(w, node, view), NULL);
}

static const struct bl_onnx_form forms[] = {{"Add", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_add = {
    .name = "add",
    .role = BL_ROLE_ELEMENTWISE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .in_place = BL_IN_PLACE_OUT | BL_IN_PLACE_GRAD,
    .fusions = fusions,
    .takes_cut = true,
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
