/* A learned token before an image's pixels: (C, H, W) becomes (C, H W + 1, 1). The parameter, (1, 1, C), bears the
 * node's own name. */
#include "graph/onnx.h"
#include "graph/reference.h"
#include "ops/tokens.h"

static int setup(struct bl_node *node) {
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0];
    bl_node_out(node, x->c, x->h * x->w + 1, 1);
    bl_node_param(node, NULL, BL_INIT_NORMAL, 3, (int64_t[]){1, 1, x->c});
    return 0;
}

static int prepare(struct bl_node *node) {
    struct bl_kernel *kernel;
    int code = bl_plain_prepare(node, bl_vec(node->dev, node->in[0]->c), "tokens", "prepend", "drop_first");
    return code || !bl_node_training(node) ? code : bl_token_kernel(node, "sum_images", &kernel);
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0], *y = node->out[0];
    const int64_t vectors = x->c / state->vec;
    return bl_launch(state->forward, bl_share_rows(node->dev, vectors, run->n * y->h, bl_bytes_of(x, 2 * x->c)),
                     BL_MEM(x->mem), BL_MEM(node->param[0]->data.mem), BL_MEM(y->mem), BL_I64(run->n), BL_I32(y->h - 1),
                     BL_I32(vectors));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0], *y = node->out[0];
    int code = bl_sum_images(node, y->grad->mem, run->n, y->h * y->c, y->c, node->param[0]->grad.mem);
    if (code || !x->grad) return code;
    const int64_t vectors = x->c / state->vec;
    return bl_launch(state->backward, bl_share_rows(node->dev, vectors, run->n * (y->h - 1), bl_bytes_of(x, 2 * x->c)),
                     BL_MEM(y->grad->mem), BL_MEM(x->grad->mem), BL_I64(run->n), BL_I32(y->h - 1), BL_I32(vectors),
                     BL_I32(node->accumulate[0]));
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const int plane = x->h * x->w;
    int code = bl_ref_new(y, x->n, x->c, plane + 1, 1);
    for (int i = 0; i < x->n * x->c && !code; i++) {
        y->v[i * (plane + 1)] = l->param[0][i % x->c];
        for (int p = 0; p < plane; p++) y->v[i * (plane + 1) + p + 1] = x->v[i * plane + p];
    }
    return code;
}

/* Values of the file before tokens. */
static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    int64_t sizes[BL_ONNX_DIMS];
    const int64_t axis = bl_onnx_int(n, "axis", 0);
    if (n->inputs != 2 || !bl_onnx_is_tensor(r, n, 1)) return bl_onnx_other(r);
    struct blanch_tensor *x = bl_onnx_tensor(r, n, 1);
    if (bl_onnx_view(r, n, 1) != BL_ONNX_TOKENS || (axis != 1 && axis != -2) || bl_onnx_sizes(r, n, 0, sizes) != 3 ||
        sizes[0] != 1 || sizes[1] != 1 || sizes[2] != x->c)
        return bl_onnx_refuse(r, "it joins tokens with other values than one token of the file");
    const struct bl_onnx_param params[] = {{"", n, 0}, {NULL}};
    return bl_onnx_add(r, n, NULL, &x, 1, params, BL_ONNX_TOKENS);
}

/* The token, for each image of the batch. */
static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const int64_t channels = node->out[0]->c, sizes[] = {1, 1, channels}, rest[] = {1, channels};
    const char *x = bl_onnx_in(w, node, 0, BL_ONNX_TOKENS), *shape = bl_onnx_between(w, node, "shape"),
               *batch = bl_onnx_between(w, node, "batch"), *all = bl_onnx_between(w, node, "sizes"),
               *token = bl_onnx_between(w, node, "token");
    struct bl_onnx_layer room;
    bl_onnx_fold_plain(w, node, &room);
    bl_onnx_emit(w, "Shape", (const char *[4]){x}, shape, NULL);
    bl_onnx_emit(w, "Gather", (const char *[4]){shape, bl_onnx_put_whole(w, node, "first", (const int64_t[]){0}, 1)},
                 batch, NULL);
    bl_onnx_emit(w, "Concat", (const char *[4]){batch, bl_onnx_put_whole(w, node, "rest", rest, 2)}, all,
                 (const struct bl_onnx_attribute[]){{"axis", BL_ONNX_INT, .i = 0}, {NULL}});
    bl_onnx_emit(w, "Expand", (const char *[4]){bl_onnx_put(w, node, "", room.weight, 3, sizes), all}, token, NULL);
    bl_onnx_emit(w, "Concat", (const char *[4]){token, x}, bl_onnx_out(w, node, BL_ONNX_TOKENS),
                 (const struct bl_onnx_attribute[]){{"axis", BL_ONNX_INT, .i = 1}, {NULL}});
}

static const struct bl_onnx_form forms[] = {{"Concat", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_class_token = {
    .name = "class_token",
    .role = BL_ROLE_SHAPE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
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
