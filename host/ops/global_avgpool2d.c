/* Mean over all pixels of an image: (C, H, W) becomes (C, 1, 1). */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"

static int setup(struct bl_node *node) {
    int code = bl_check_inputs(node, 1, 1);
    if (!code) bl_node_out(node, node->in[0]->c, 1, 1);
    return code;
}

static bool may_cut(const struct bl_node *node) {
    return !bl_on_cpu(node->dev);
}

static int prepare(struct bl_node *node) {
    struct bl_plain_state *state = bl_plain_state(node);
    if (!state) return BLANCH_ENOMEM;
    state->vec = bl_vec(node->dev, node->out[0]->c);
    const struct bl_define defines[] = {{"VEC", state->vec}, BL_ACT(node), {"CUT", node->cuts}};
    int code = bl_kernel_get(node->dev, "global_avgpool2d", "forward", defines, BL_COUNT(defines), &state->forward);
    if (code || !bl_node_training(node)) return code;
    return bl_kernel_get(node->dev, "global_avgpool2d", "backward", defines, BL_COUNT(defines), &state->backward);
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
                     BL_MEM(node->out[0]->grad->mem), BL_MEM(x->mem), BL_MEM(x->grad->mem), BL_I64(rows),
                     BL_I32(x->h * x->w), BL_I32(vectors), BL_I32(node->accumulate[0]));
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    int code = bl_ref_new(y, x->n, x->c, 1, 1);
    size_t plane = (size_t)x->h * x->w;
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++) y->v[i / plane] += x->v[i] / (double)plane;
    return code;
}

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct blanch_tensor *x = bl_onnx_image(r, n, 0);
    return bl_onnx_add(r, n, NULL, &x, 1, NULL, BL_ONNX_NCHW);
}

/* The mean over height and width. */
static int read_mean(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct blanch_tensor *x = bl_onnx_tensor(r, n, 0);
    const bool last = bl_onnx_view(r, n, 0) == BL_ONNX_NHWC, keeps = bl_onnx_int(n, "keepdims", 1);
    int64_t axes[BL_ONNX_WHOLE];
    int count, found = 0, ints[2];
    if (!bl_onnx_whole(r, n, 1, axes, &count)) {
        bl_onnx_ints(r, n, "axes", 0, ints, 2);
        count = 2, axes[0] = ints[0], axes[1] = ints[1];
    }
    if (!last) bl_onnx_image(r, n, 0);
    for (int i = 0; i < count; i++) {
        const int64_t axis = (axes[i] < 0 ? axes[i] + 4 : axes[i]) - (last ? 1 : 2);
        if (axis == 0 || axis == 1) found |= 1 << axis;
    }
    if (count != 2 || found != 3) return bl_onnx_refuse(r, "it is no mean over height and width");
    return bl_onnx_add(r, n, NULL, &x, 1, NULL, !keeps ? BL_ONNX_FLAT : last ? BL_ONNX_NHWC : BL_ONNX_NCHW);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    bl_onnx_emit(w, "GlobalAveragePool", (const char *[4]){bl_onnx_in(w, node, 0, BL_ONNX_NCHW)},
                 bl_onnx_out(w, node, BL_ONNX_NCHW), NULL);
}

static const struct bl_onnx_form forms[] = {{"GlobalAveragePool", read}, {"ReduceMean", read_mean}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_global_avgpool2d = {
    .name = "global_avgpool2d",
    .role = BL_ROLE_POOLING,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .may_cut = may_cut,
    .phase_forward = BL_POOL,
    .phase_backward = BL_POOL,
    .setup = setup,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
    .definition = definition,
    .release = bl_plain_release,
    .onnx = &onnx,
};
