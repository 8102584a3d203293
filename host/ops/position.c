/* y = x + p, p (1, pixels, C) a parameter of every pixel, which bears the node's own name: learned positions. The
 * number of pixels is that of the network's images. */
#include "graph/onnx.h"
#include "graph/reference.h"
#include "ops/tokens.h"

int bl_token_kernel(const struct bl_node *node, const char *name, struct bl_kernel **kernel) {
    const struct bl_define defines[] = {{"VEC", bl_vec(node->dev, node->in[0]->c)}, BL_ACT(node)};
    return bl_kernel_get(node->dev, "tokens", name, defines, BL_COUNT(defines), kernel);
}

int bl_sum_images(const struct bl_node *node, struct bl_mem *from, int64_t images, int64_t stride, int64_t count,
                  struct bl_mem *to) {
    const int64_t vectors = count / bl_vec(node->dev, node->in[0]->c);
    struct bl_kernel *kernel;
    int code = bl_token_kernel(node, "sum_images", &kernel);
    if (code) return code;
    return bl_launch_light(node->dev, kernel,
                           bl_share(node->dev, vectors, bl_bytes_of(node->in[0], images * count / vectors)),
                           BL_MEM(from), BL_I64(images), BL_I64(stride), BL_I32(vectors), BL_MEM(to));
}

static int setup(struct bl_node *node) {
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0];
    bl_node_out(node, x->c, x->h, x->w);
    bl_node_param(node, NULL, BL_INIT_NORMAL, 3, (int64_t[]){1, x->h * x->w, x->c});
    return 0;
}

static int prepare(struct bl_node *node) {
    struct bl_kernel *kernel;
    struct bl_plain_state *state = bl_plain_state(node);
    if (!state) return BLANCH_ENOMEM;
    state->vec = bl_vec(node->dev, node->in[0]->c);
    int code = bl_token_kernel(node, "add_position", &state->forward);
    return code || !bl_node_training(node) ? code : bl_token_kernel(node, "sum_images", &kernel);
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0];
    const int64_t features = bl_features(x), vectors = features / state->vec;
    return bl_launch(state->forward, bl_share_rows(node->dev, vectors, run->n, bl_bytes_of(x, 2 * features)),
                     BL_MEM(x->mem), BL_MEM(node->param[0]->data.mem), BL_MEM(node->out[0]->mem), BL_I64(run->n),
                     BL_I32(vectors));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0];
    const int64_t features = bl_features(x);
    struct bl_mem *dy = node->out[0]->grad->mem;
    int code = bl_sum_images(node, dy, run->n, features, features, node->param[0]->grad.mem);
    if (code || !x->grad || x->grad->mem == dy) return code;
    return bl_copy(node, dy, x->grad->mem, run->n * features, state->vec, node->accumulate[0]);
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    int code = bl_ref_new(y, x->n, x->c, x->h, x->w);
    const size_t plane = (size_t)x->h * x->w, channels = (size_t)x->c;
    for (size_t i = 0; i < bl_ref_count(x) && !code; i++)
        y->v[i] = x->v[i] + l->param[0][i % plane * channels + i / plane % channels];
    return code;
}

/* The sum of tokens and values of the file. */
static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    for (int i = 0; i < 2; i++) {
        int64_t sizes[BL_ONNX_DIMS];
        if (!bl_onnx_is_tensor(r, n, !i) || bl_onnx_view(r, n, !i) != BL_ONNX_TOKENS) continue;
        struct blanch_tensor *x = bl_onnx_tensor(r, n, !i);
        if (bl_onnx_sizes(r, n, i, sizes) != 3 || sizes[0] != 1 || sizes[1] != x->h * x->w || sizes[2] != x->c)
            continue;
        const struct bl_onnx_param params[] = {{"", n, i}, {NULL}};
        return bl_onnx_add(r, n, NULL, &x, 1, params, BL_ONNX_TOKENS);
    }
    return bl_onnx_other(r);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const int64_t *sizes = node->param[0]->shape;
    struct bl_onnx_layer room;
    bl_onnx_fold_plain(w, node, &room);
    const char *in[4] = {bl_onnx_in(w, node, 0, BL_ONNX_TOKENS), bl_onnx_put(w, node, "", room.weight, 3, sizes)};
    bl_onnx_emit(w, "Add", in, bl_onnx_out(w, node, BL_ONNX_TOKENS), NULL);
}

static const struct bl_onnx_form forms[] = {{"Add", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_position = {
    .name = "position",
    .role = BL_ROLE_ELEMENTWISE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .in_place = BL_IN_PLACE_OUT | BL_IN_PLACE_GRAD,
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
