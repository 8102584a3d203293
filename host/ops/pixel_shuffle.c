/* Channels become pixels (Shi et al., 2016): (N, C r^2, H, W) to (N, C, H r, W r), PyTorch's PixelShuffle, less `top`,
 * `left`, `bottom` and `right` rows and columns. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <limits.h>
#include <string.h>

static int64_t rows_left(const struct bl_pixel_shuffle_attrs *a, int64_t h) {
    return h * a->factor - a->top - a->bottom;
}

static int64_t columns_left(const struct bl_pixel_shuffle_attrs *a, int64_t w) {
    return w * a->factor - a->left - a->right;
}

static int setup(struct bl_node *node) {
    const struct bl_pixel_shuffle_attrs *a = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0];
    const int64_t r = a->factor;
    if (r < 1 || r > INT_MAX / 2 || x->c % (r * r))
        return bl_fail(BLANCH_EINPUT, "%s: the square of the factor %d does not divide %lld channels", node->name,
                       a->factor, (long long)x->c);
    if (x->h * r > INT_MAX || x->w * r > INT_MAX)
        return bl_fail(BLANCH_ELIMIT, "%s: %lldx%lld pixels", node->name, (long long)(x->h * r), (long long)(x->w * r));
    if (a->top < 0 || a->left < 0 || a->bottom < 0 || a->right < 0 || rows_left(a, x->h) < 1 ||
        columns_left(a, x->w) < 1)
        return bl_fail(BLANCH_EINPUT, "%s: %d, %d, %d and %d cut off %lldx%lld pixels leave none, or one is below 0",
                       node->name, a->top, a->left, a->bottom, a->right, (long long)(x->h * r), (long long)(x->w * r));
    bl_node_out(node, x->c / (r * r), rows_left(a, x->h), columns_left(a, x->w));
    return 0;
}

static int prepare(struct bl_node *node) {
    const struct bl_pixel_shuffle_attrs *a = node->attrs;
    struct bl_plain_state *state = bl_plain_state(node);
    if (!state) return BLANCH_ENOMEM;
    const struct bl_define defines[] = {
        {"VEC", 1},        {"CHANNELS", node->out[0]->c}, {"R", a->factor},    {"TOP", a->top},
        {"LEFT", a->left}, {"BOTTOM", a->bottom},         {"RIGHT", a->right}, BL_ACT(node)};
    int code = bl_kernel_get(node->dev, "pixel_shuffle", "to_pixels", defines, BL_COUNT(defines), &state->forward);
    if (code || !bl_node_training(node)) return code;
    return bl_kernel_get(node->dev, "pixel_shuffle", "to_channels", defines, BL_COUNT(defines), &state->backward);
}

/* rows, columns: those that items take. */
static int move(const struct bl_node *node, int64_t rows, int64_t columns, struct bl_kernel *kernel,
                struct bl_mem *from, struct bl_mem *to, bool add) {
    const struct blanch_tensor *x = node->in[0];
    const int64_t channels = node->out[0]->c;
    return bl_launch(kernel, bl_share_grid(node->dev, channels, columns, rows, bl_bytes_of(x, 2 * channels * columns)),
                     BL_MEM(from), BL_MEM(to), BL_I64(rows), BL_I32(x->h), BL_I32(x->w), BL_I32(add));
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *y = node->out[0];
    return move(node, run->n * y->h, y->w, state->forward, node->in[0]->mem, y->mem, false);
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_pixel_shuffle_attrs *a = node->attrs;
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0];
    if (!x->grad) return 0;
    return move(node, run->n * x->h * a->factor, x->w * a->factor, state->backward, node->out[0]->grad->mem,
                x->grad->mem, node->accumulate[0]);
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_pixel_shuffle_attrs *a = l->attrs;
    const int r = a->factor;
    int code = bl_ref_new(y, x->n, x->c / (r * r), (int)rows_left(a, x->h), (int)columns_left(a, x->w));
    for (int n = 0; n < x->n && !code; n++)
        for (int c = 0; c < x->c; c++)
            for (int i = 0; i < x->h * x->w; i++) {
                const int row = i / x->w * r + c / r % r - a->top, column = i % x->w * r + c % r - a->left;
                if (row >= 0 && row < y->h && column >= 0 && column < y->w)
                    *bl_ref_at(y, n, c / (r * r), row, column) = *bl_ref_at(x, n, c, i / x->w, i % x->w);
            }
    return code;
}

#define FIELD(member, optional)                                                                                        \
    { #member, BL_FIELD_INT, offsetof(struct bl_pixel_shuffle_attrs, member), optional }
static const struct bl_field fields[] = {FIELD(factor, false), FIELD(top, true),   FIELD(left, true),
                                         FIELD(bottom, true),  FIELD(right, true), {NULL}};

/* --- ONNX ------------------------------------------------------------------------------------- */

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct blanch_tensor *x = bl_onnx_image(r, n, 0);
    const int64_t factor = bl_onnx_int(n, "blocksize", 0);
    const struct bl_pixel_shuffle_attrs attrs = {.factor = (int)factor};
    if (strcmp(bl_onnx_text(n, "mode", "DCR"), "CRD"))
        return bl_onnx_refuse(r, "its mode is DCR: the channels of a pixel's parts follow one another, not its parts");
    if (factor < 1 || factor > INT_MAX) return bl_onnx_refuse(r, "its blocksize is out of range");
    return bl_onnx_add(r, n, &attrs, &x, 1, NULL, BL_ONNX_NCHW);
}

/* What a slice leaves out before and after of `size`. */
static bool read_margins(int64_t begin, int64_t end, int64_t size, int *before, int *after) {
    if (begin < 0) begin += size;
    if (end < 0) end += size;
    if (end > size) end = size;
    if (begin < 0 || begin >= end) return false;
    *before = (int)begin, *after = (int)(size - end);
    return true;
}

/* Rows and columns, of an image as it is. */
static int read_slice(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    int64_t begin[BL_ONNX_WHOLE], end[BL_ONNX_WHOLE], axis[BL_ONNX_WHOLE], step[BL_ONNX_WHOLE] = {1, 1};
    int counts[4];
    if (!bl_onnx_is_tensor(r, n, 0) || bl_onnx_view(r, n, 0) != BL_ONNX_NCHW) return bl_onnx_other(r);
    if (!bl_onnx_whole(r, n, 1, begin, &counts[0]) || !bl_onnx_whole(r, n, 2, end, &counts[1]) || !bl_onnx_has(n, 3) ||
        !bl_onnx_whole(r, n, 3, axis, &counts[2]) || counts[0] > 2 || counts[1] != counts[0] || counts[2] != counts[0])
        return bl_onnx_other(r);
    counts[3] = counts[0];
    if (bl_onnx_has(n, 4) && !bl_onnx_whole(r, n, 4, step, &counts[3])) return bl_onnx_other(r);
    struct blanch_tensor *x = bl_onnx_image(r, n, 0);
    struct bl_pixel_shuffle_attrs a = {.factor = 1};
    for (int i = 0; i < counts[0]; i++) {
        const int64_t at = axis[i] < 0 ? axis[i] + 4 : axis[i];
        if (counts[3] != counts[0] || step[i] != 1 || at < 2 || at > 3) return bl_onnx_other(r);
        if (x && !read_margins(begin[i], end[i], at == 2 ? x->h : x->w, at == 2 ? &a.top : &a.left,
                               at == 2 ? &a.bottom : &a.right))
            return bl_onnx_refuse(r, "it takes none of the pixels");
    }
    return bl_onnx_add(r, n, &a, &x, 1, NULL, BL_ONNX_NCHW);
}

static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const struct bl_pixel_shuffle_attrs *a = node->attrs;
    const struct blanch_tensor *y = node->out[0];
    const bool cuts = a->top || a->left || a->bottom || a->right;
    const struct bl_onnx_attribute attributes[] = {
        {"blocksize", BL_ONNX_INT, .i = a->factor}, {"mode", BL_ONNX_TEXT, .text = "CRD"}, {NULL}};
    const char *from = bl_onnx_in(w, node, 0, BL_ONNX_NCHW), *to = bl_onnx_out(w, node, BL_ONNX_NCHW);
    if (a->factor > 1 || !cuts) {
        const char *whole = cuts ? bl_onnx_between(w, node, "whole") : to;
        bl_onnx_emit(w, "DepthToSpace", (const char *[4]){from}, whole, attributes);
        from = whole;
    }
    if (!cuts) return;
    const char *in[4] = {from, bl_onnx_put_whole(w, node, "begin", (const int64_t[]){a->top, a->left}, 2),
                         bl_onnx_put_whole(w, node, "end", (const int64_t[]){a->top + y->h, a->left + y->w}, 2),
                         bl_onnx_put_whole(w, node, "axes", (const int64_t[]){2, 3}, 2)};
    bl_onnx_emit(w, "Slice", in, to, NULL);
}

static const struct bl_onnx_form forms[] = {{"DepthToSpace", read}, {"Slice", read_slice}, {NULL}};
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
