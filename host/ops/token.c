/* One pixel of each image: (C, H, W) becomes (C, 1, 1), pixel `index` in order of rows; that of a class token is 0. */
#include "graph/onnx.h"
#include "graph/reference.h"
#include "ops/common.h"

static int setup(struct bl_node *node) {
    const struct bl_token_attrs *a = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0];
    if (a->index < 0 || a->index >= x->h * x->w)
        return bl_fail(BLANCH_EINPUT, "%s: no pixel %d in %lld", node->name, a->index, (long long)(x->h * x->w));
    bl_node_out(node, x->c, 1, 1);
    return 0;
}

static int prepare(struct bl_node *node) {
    return bl_plain_prepare(node, bl_vec(node->dev, node->in[0]->c), "tokens", "take", "place");
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct bl_token_attrs *a = node->attrs;
    const struct blanch_tensor *x = node->in[0];
    const int64_t vectors = x->c / state->vec;
    return bl_launch(state->forward, bl_share_rows(node->dev, vectors, run->n, bl_bytes_of(x, 2 * x->c)),
                     BL_MEM(x->mem), BL_MEM(node->out[0]->mem), BL_I64(run->n), BL_I32(x->h * x->w), BL_I32(a->index),
                     BL_I32(vectors));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct bl_token_attrs *a = node->attrs;
    const struct blanch_tensor *x = node->in[0];
    if (!x->grad) return 0;
    const int64_t vectors = x->c / state->vec, rows = run->n * x->h * x->w;
    return bl_launch(state->backward, bl_share_rows(node->dev, vectors, rows, bl_bytes_of(x, x->c)),
                     BL_MEM(node->out[0]->grad->mem), BL_MEM(x->grad->mem), BL_I64(run->n), BL_I32(x->h * x->w),
                     BL_I32(a->index), BL_I32(vectors), BL_I32(node->accumulate[0]));
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_token_attrs *a = l->attrs;
    int code = bl_ref_new(y, x->n, x->c, 1, 1);
    for (int i = 0; i < x->n * x->c && !code; i++) y->v[i] = x->v[i * x->h * x->w + a->index];
    return code;
}

static const struct bl_field fields[] = {{"index", BL_FIELD_INT, offsetof(struct bl_token_attrs, index), true}, {NULL}};

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    const int64_t axis = bl_onnx_int(n, "axis", 0);
    int64_t index[BL_ONNX_WHOLE];
    int count;
    if (!bl_onnx_is_tensor(r, n, 0) || bl_onnx_view(r, n, 0) != BL_ONNX_TOKENS) return bl_onnx_other(r);
    struct blanch_tensor *x = bl_onnx_tensor(r, n, 0);
    if ((axis != 1 && axis != -2) || !bl_onnx_whole(r, n, 1, index, &count) || count != 1)
        return bl_onnx_refuse(r, "it takes other parts than one token");
    if (index[0] < 0) index[0] += x->h * x->w;
    if (index[0] < 0 || index[0] >= x->h * x->w) return bl_onnx_refuse(r, "there is no such token");
    return bl_onnx_add(r, n, &(const struct bl_token_attrs){(int)index[0]}, &x, 1, NULL, BL_ONNX_FLAT);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const struct bl_token_attrs *a = node->attrs;
    const char *index = bl_onnx_put_whole(w, node, "index", (const int64_t[]){a->index}, 0);
    bl_onnx_emit(w, "Gather", (const char *[4]){bl_onnx_in(w, node, 0, BL_ONNX_TOKENS), index},
                 bl_onnx_out(w, node, BL_ONNX_FLAT),
                 (const struct bl_onnx_attribute[]){{"axis", BL_ONNX_INT, .i = 1}, {NULL}});
}

static const struct bl_onnx_form forms[] = {{"Gather", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_token = {
    .name = "token",
    .role = BL_ROLE_SHAPE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_token_attrs),
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
