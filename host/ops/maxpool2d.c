/* Maximum over windows. Padding counts as minus infinity, sizes are rounded down or, with ceil_mode, up, the first of
 * equal values wins, a NaN wins over all, as in PyTorch. The winner's place in its window is kept, in a byte (two for
 * large windows): less than keeping the input, and all that backward reads beside the output's gradient. A ReLU before
 * it is applied to the maximum: fewer values, and one that it cuts has no winner. */
#include "ops/common.h"
#include "ops/onnx.h"
#include "graph/reference.h"

static int index_bytes(const struct bl_pool_attrs *pool) {
    return pool->kernel[0] * pool->kernel[1] < 256 ? 1 : 2;
}

static int setup(struct bl_node *node) {
    int code = bl_pool_setup(node, node->attrs);
    if (code || !node->out[0]) return code;
    struct bl_plain_state *state = bl_plain_state(node);
    if (!state) return BLANCH_ENOMEM;
    state->saved = bl_node_workspace(
        node, BL_LIFE_SAVED, (node->out[0]->count * index_bytes(node->attrs) + BL_FLOAT_BYTES - 1) / BL_FLOAT_BYTES);
    return 0;
}

static int prepare(struct bl_node *node) {
    return bl_pool_prepare(node, "maxpool2d", node->attrs, index_bytes(node->attrs));
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0], *y = node->out[0];
    int64_t vectors = x->c / state->vec, rows = run->n * y->h;
    return bl_launch(state->forward,
                     bl_share_grid(node->dev, vectors, y->w, rows, bl_bytes_of(x, bl_features(x)) / y->h),
                     BL_MEM(x->mem), BL_MEM(y->mem), BL_MEM(state->saved->mem), BL_I64(rows), BL_I32(vectors),
                     BL_I32(x->h), BL_I32(x->w), BL_I32(y->h), BL_I32(y->w));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0], *y = node->out[0];
    if (!x->grad) return 0;
    int64_t vectors = x->c / state->vec, rows = run->n * x->h;
    return bl_launch(state->backward, bl_share_grid(node->dev, vectors, x->w, rows, bl_bytes_of(x, 2 * x->c * x->w)),
                     BL_MEM(y->grad->mem), BL_MEM(state->saved->mem), BL_MEM(x->grad->mem), BL_I64(rows),
                     BL_I32(vectors), BL_I32(x->h), BL_I32(x->w), BL_I32(y->h), BL_I32(y->w),
                     BL_I32(node->accumulate[0]));
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    return bl_pool_definition(l->attrs, x, y, true);
}

static const struct bl_field fields[] = {BL_POOL_FIELDS, {NULL}};

static const struct bl_fusion fusions[] = {{.op = &bl_op_relu, .of_input = true}, {NULL}};

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct blanch_tensor *x = bl_onnx_image(r, n, 0);
    struct bl_pool_attrs attrs;
    bl_pool_read(r, n, &attrs);
    return bl_onnx_add(r, n, &attrs, &x, 1, NULL, BL_ONNX_NCHW);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    bl_pool_write(w, node, "MaxPool");
}

static const struct bl_onnx_form forms[] = {{"MaxPool", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_maxpool2d = {
    .name = "maxpool2d",
    .role = BL_ROLE_POOLING,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_pool_attrs),
    .fields = fields,
    .fusions = fusions,
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
