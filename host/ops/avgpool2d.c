/* Mean over windows. Padding counts as zeros, in the divisor too unless count_include_pad is false; sizes are rounded
 * down or, with ceil_mode, up: what a last window has beyond the padding does not count. */
#include "ops/common.h"
#include "ops/onnx.h"
#include "graph/reference.h"

static int setup(struct bl_node *node) {
    return bl_pool_setup(node, node->attrs);
}
static int prepare(struct bl_node *node) {
    return bl_pool_prepare(node, "avgpool2d", node->attrs, 0);
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

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    return bl_pool_definition(l->attrs, x, y, false);
}

static const struct bl_field fields[] = {
    BL_POOL_FIELDS,
    {"count_include_pad", BL_FIELD_BOOL, offsetof(struct bl_pool_attrs, count_include_pad), true, 1},
    {NULL},
};

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct blanch_tensor *x = bl_onnx_image(r, n, 0);
    struct bl_pool_attrs attrs;
    bl_pool_read(r, n, &attrs);
    attrs.count_include_pad = (!attrs.padding[0] && !attrs.padding[1]) || bl_onnx_int(n, "count_include_pad", 0);
    return bl_onnx_add(r, n, &attrs, &x, 1, NULL, BL_ONNX_NCHW);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    bl_pool_write(w, node, "AveragePool");
}

static const struct bl_onnx_form forms[] = {{"AveragePool", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_avgpool2d = {
    .name = "avgpool2d",
    .role = BL_ROLE_POOLING,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_pool_attrs),
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
