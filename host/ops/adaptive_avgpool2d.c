/* Mean over windows that share the image out evenly among the outputs, as PyTorch's do: they differ by one in size and
 * overlap where the sizes do not divide. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <math.h>

static int setup(struct bl_node *node) {
    const struct bl_adaptive_attrs *attrs = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    if (attrs->out[0] < 1 || attrs->out[1] < 1)
        return bl_fail(BLANCH_EINPUT, "%s: out = %d x %d: both sizes must be at least 1", node->name, attrs->out[0],
                       attrs->out[1]);
    bl_node_out(node, node->in[0]->c, attrs->out[0], attrs->out[1]);
    return 0;
}

static int prepare(struct bl_node *node) {
    return bl_plain_prepare(node, bl_vec(node->dev, node->out[0]->c), "adaptive_avgpool2d", "forward", "backward");
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0], *y = node->out[0];
    int64_t vectors = x->c / state->vec, rows = run->n * y->h;
    return bl_launch(state->forward,
                     bl_share_grid(node->dev, vectors, y->w, rows, bl_bytes_of(x, bl_features(x)) / y->h),
                     BL_MEM(x->mem), BL_MEM(y->mem), BL_I64(rows), BL_I32(vectors), BL_I32(x->h), BL_I32(x->w),
                     BL_I32(y->h), BL_I32(y->w));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0], *y = node->out[0];
    if (!x->grad) return 0;
    int64_t vectors = x->c / state->vec, rows = run->n * x->h;
    return bl_launch(state->backward, bl_share_grid(node->dev, vectors, x->w, rows, bl_bytes_of(x, 2 * x->c * x->w)),
                     BL_MEM(y->grad->mem), BL_MEM(x->grad->mem), BL_I64(rows), BL_I32(vectors), BL_I32(x->h),
                     BL_I32(x->w), BL_I32(y->h), BL_I32(y->w), BL_I32(node->accumulate[0]));
}

/* Window o of `windows` over so many positions. */
static int start(int o, int size, int windows) {
    return (int)floor((double)o * size / windows);
}
static int stop(int o, int size, int windows) {
    return (int)ceil(((double)o + 1) * size / windows);
}

static double mean(struct bl_ref_tensor x, int top, int bottom, int left, int right) {
    double sum = 0;
    for (int i = top; i < bottom; i++)
        for (int j = left; j < right; j++) sum += x.v[i * x.w + j];
    return sum / ((bottom - top) * (right - left));
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_adaptive_attrs *a = l->attrs;
    int code = bl_ref_new(y, x->n, x->c, a->out[0], a->out[1]);
    for (int n = 0; n < y->n && !code; n++)
        for (int c = 0; c < y->c; c++) {
            const struct bl_ref_tensor from = bl_ref_plane(x, n, c), to = bl_ref_plane(y, n, c);
            for (int k = 0; k < y->h * y->w; k++) {
                int i = k / y->w, j = k % y->w;
                to.v[k] =
                    mean(from, start(i, x->h, y->h), stop(i, x->h, y->h), start(j, x->w, y->w), stop(j, x->w, y->w));
            }
        }
    return code;
}

static const struct bl_field fields[] = {{"out", BL_FIELD_INT2, offsetof(struct bl_adaptive_attrs, out)}, {NULL}};

/* Windows lie on a grid, so that a mean over rows and one over columns make it: products with matrices of shares. */
static const char *put_shares(struct bl_onnx_writer *w, const struct bl_node *node, const char *name, int64_t in,
                              int64_t out, bool turned) {
    struct bl_onnx_layer shares;
    if (!bl_onnx_layer(w, &shares, out, in)) return "";
    for (int64_t o = 0; o < out; o++) {
        const int64_t begin = o * in / out, end = ((o + 1) * in + out - 1) / out;
        for (int64_t i = begin; i < end; i++)
            shares.weight[turned ? i * out + o : o * in + i] = 1.0 / (double)(end - begin);
    }
    return bl_onnx_put(w, node, name, shares.weight, 2, (const int64_t[]){turned ? in : out, turned ? out : in});
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const struct blanch_tensor *x = node->in[0], *y = node->out[0];
    const char *from = bl_onnx_in(w, node, 0, BL_ONNX_NCHW), *rows = bl_onnx_between(w, node, "rows");
    bl_onnx_emit(w, "MatMul", (const char *[4]){put_shares(w, node, "rows", x->h, y->h, false), from}, rows, NULL);
    bl_onnx_emit(w, "MatMul", (const char *[4]){rows, put_shares(w, node, "columns", x->w, y->w, true)},
                 bl_onnx_out(w, node, BL_ONNX_NCHW), NULL);
}

static const struct bl_onnx_op onnx = {.write = write};

const struct bl_op bl_op_adaptive_avgpool2d = {
    .name = "adaptive_avgpool2d",
    .role = BL_ROLE_POOLING,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_adaptive_attrs),
    .fields = fields,
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
