/* Channels become pixels (Shi et al., 2016): (N, C r^2, H, W) to (N, C, H r, W r), PyTorch's PixelShuffle. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <limits.h>
#include <string.h>

static int setup(struct bl_node *node) {
    const struct bl_pixel_shuffle_attrs *a = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0];
    const int64_t r = a->factor;
    if (r < 1 || r > INT_MAX / 2 || x->c % (r * r))
        return bl_fail(BLANCH_EINPUT, "%s: the square of the factor %d does not divide %lld channels", node->name,
                       a->factor, (long long)x->c);
    if (x->w * r > INT_MAX) return bl_fail(BLANCH_ELIMIT, "%s: %lld columns", node->name, (long long)(x->w * r));
    bl_node_out(node, x->c / (r * r), x->h * r, x->w * r);
    return 0;
}

static int prepare(struct bl_node *node) {
    const struct bl_pixel_shuffle_attrs *a = node->attrs;
    struct bl_plain_state *state = bl_plain_state(node);
    if (!state) return BLANCH_ENOMEM;
    const struct bl_define defines[] = {{"VEC", 1}, {"CHANNELS", node->out[0]->c}, {"R", a->factor}, BL_ACT(node)};
    int code = bl_kernel_get(node->dev, "pixel_shuffle", "to_pixels", defines, BL_COUNT(defines), &state->forward);
    if (code || !bl_node_training(node)) return code;
    return bl_kernel_get(node->dev, "pixel_shuffle", "to_channels", defines, BL_COUNT(defines), &state->backward);
}

static int move(const struct bl_node *node, int n, struct bl_kernel *kernel, struct bl_mem *from, struct bl_mem *to,
                bool add) {
    const struct blanch_tensor *x = node->in[0], *y = node->out[0];
    const int64_t rows = n * y->h;
    return bl_launch(kernel, bl_share_grid(node->dev, y->c, y->w, rows, bl_bytes_of(x, 2 * y->c * y->w)), BL_MEM(from),
                     BL_MEM(to), BL_I64(rows), BL_I32(x->w), BL_I32(add));
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    return move(node, run->n, state->forward, node->in[0]->mem, node->out[0]->mem, false);
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *grad = node->in[0]->grad;
    if (!grad) return 0;
    return move(node, run->n, state->backward, node->out[0]->grad->mem, grad->mem, node->accumulate[0]);
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_pixel_shuffle_attrs *a = l->attrs;
    const int r = a->factor;
    int code = bl_ref_new(y, x->n, x->c / (r * r), x->h * r, x->w * r);
    for (int n = 0; n < x->n && !code; n++)
        for (int c = 0; c < x->c; c++)
            for (int i = 0; i < x->h; i++)
                for (int j = 0; j < x->w; j++)
                    *bl_ref_at(y, n, c / (r * r), i * r + c / r % r, j * r + c % r) = *bl_ref_at(x, n, c, i, j);
    return code;
}

static const struct bl_field fields[] = {{"factor", BL_FIELD_INT, offsetof(struct bl_pixel_shuffle_attrs, factor)},
                                         {NULL}};

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct blanch_tensor *x = bl_onnx_image(r, n, 0);
    const int64_t factor = bl_onnx_int(n, "blocksize", 0);
    const struct bl_pixel_shuffle_attrs attrs = {(int)factor};
    if (strcmp(bl_onnx_text(n, "mode", "DCR"), "CRD"))
        return bl_onnx_refuse(r, "its mode is DCR: the channels of a pixel's parts follow one another, not its parts");
    if (factor < 1 || factor > INT_MAX) return bl_onnx_refuse(r, "its blocksize is out of range");
    return bl_onnx_add(r, n, &attrs, &x, 1, NULL, BL_ONNX_NCHW);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const struct bl_pixel_shuffle_attrs *a = node->attrs;
    const struct bl_onnx_attribute attributes[] = {
        {"blocksize", BL_ONNX_INT, .i = a->factor}, {"mode", BL_ONNX_TEXT, .text = "CRD"}, {NULL}};
    bl_onnx_emit(w, "DepthToSpace", (const char *[4]){bl_onnx_in(w, node, 0, BL_ONNX_NCHW)},
                 bl_onnx_out(w, node, BL_ONNX_NCHW), attributes);
}

static const struct bl_onnx_form forms[] = {{"DepthToSpace", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_pixel_shuffle = {
    .name = "pixel_shuffle",
    .role = BL_ROLE_SHAPE,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_pixel_shuffle_attrs),
    .fields = fields,
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
