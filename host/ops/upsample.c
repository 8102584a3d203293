/* Resampling to another size, `out` or the input's times `scale`, by the nearest pixel or bilinearly: PyTorch's
 * interpolate with align_corners=False, of which the kernel states the formulas. */
#include "ops/common.h"
#include "graph/onnx.h"
#include "graph/reference.h"
#include <limits.h>
#include <math.h>
#include <string.h>

static int setup(struct bl_node *node) {
    const struct bl_upsample_attrs *a = node->attrs;
    int code = bl_check_inputs(node, 1, 1);
    if (code) return code;
    const struct blanch_tensor *x = node->in[0];
    const bool scaled = a->scale[0] || a->scale[1];
    const int *sizes = scaled ? a->scale : a->out;
    if (scaled == (a->out[0] || a->out[1]))
        return bl_fail(BLANCH_EINPUT, "%s: it is given its size, 'out', or what it multiplies it by, 'scale'",
                       node->name);
    if (sizes[0] < 1 || sizes[1] < 1)
        return bl_fail(BLANCH_EINPUT, "%s: %s = %d x %d: both must be at least 1", node->name, scaled ? "scale" : "out",
                       sizes[0], sizes[1]);
    const int64_t h = scaled ? x->h * sizes[0] : sizes[0], w = scaled ? x->w * sizes[1] : sizes[1];
    if (h > INT_MAX / 4 || w > INT_MAX / 4) // kernels count twice the pixels of a side in 32 bits
        return bl_fail(BLANCH_ELIMIT, "%s: an image of %lld x %lld", node->name, (long long)h, (long long)w);
    bl_node_out(node, x->c, h, w);
    return 0;
}

static int prepare(struct bl_node *node) {
    const struct bl_upsample_attrs *a = node->attrs;
    struct bl_plain_state *state = bl_plain_state(node);
    if (!state) return BLANCH_ENOMEM;
    state->vec = bl_vec(node->dev, node->out[0]->c);
    const struct bl_define defines[] = {{"VEC", state->vec}, {"BILINEAR", a->bilinear != 0}, BL_ACT(node)};
    int code = bl_kernel_get(node->dev, "upsample", "forward", defines, BL_COUNT(defines), &state->forward);
    if (code || !bl_node_training(node)) return code;
    return bl_kernel_get(node->dev, "upsample", "backward", defines, BL_COUNT(defines), &state->backward);
}

static int forward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0], *y = node->out[0];
    int64_t vectors = x->c / state->vec, rows = run->n * y->h;
    return bl_launch(state->forward, bl_share_grid(node->dev, vectors, y->w, rows, bl_bytes_of(x, 2 * y->c * y->w)),
                     BL_MEM(x->mem), BL_MEM(y->mem), BL_I64(rows), BL_I32(vectors), BL_I32(x->h), BL_I32(x->w),
                     BL_I32(y->h), BL_I32(y->w));
}

static int backward(struct bl_node *node, const struct bl_run *run) {
    const struct bl_plain_state *state = node->state;
    const struct blanch_tensor *x = node->in[0], *y = node->out[0];
    if (!x->grad) return 0;
    int64_t vectors = x->c / state->vec, rows = run->n * x->h;
    return bl_launch(state->backward,
                     bl_share_grid(node->dev, vectors, x->w, rows, bl_bytes_of(x, bl_features(y)) / x->h),
                     BL_MEM(y->grad->mem), BL_MEM(x->grad->mem), BL_I64(rows), BL_I32(vectors), BL_I32(x->h),
                     BL_I32(x->w), BL_I32(y->h), BL_I32(y->w), BL_I32(node->accumulate[0]));
}

/* What an output has of two pixels of an axis. */
struct between {
    int low, high;
    double of_high;
};

static struct between between(int o, int size, int outs, bool bilinear) {
    if (!bilinear) return (struct between){(int)floor((double)o * size / outs), 0, 0};
    const double place = fmin(fmax((o + 0.5) * size / outs - 0.5, 0), size - 1);
    const int low = (int)floor(place);
    return (struct between){low, low + 1 < size ? low + 1 : low, place - low};
}

static int definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y) {
    const struct bl_upsample_attrs *a = l->attrs;
    const bool scaled = a->scale[0] > 0;
    int code =
        bl_ref_new(y, x->n, x->c, scaled ? x->h * a->scale[0] : a->out[0], scaled ? x->w * a->scale[1] : a->out[1]);
    for (int n = 0; n < y->n && !code; n++)
        for (int c = 0; c < y->c; c++) {
            const struct bl_ref_tensor from = bl_ref_plane(x, n, c), to = bl_ref_plane(y, n, c);
            for (int k = 0; k < y->h * y->w; k++) {
                const struct between i = between(k / y->w, x->h, y->h, a->bilinear);
                const struct between j = between(k % y->w, x->w, y->w, a->bilinear);
                const double *low = from.v + i.low * x->w, *high = from.v + i.high * x->w;
                to.v[k] = (1 - i.of_high) * ((1 - j.of_high) * low[j.low] + j.of_high * low[j.high]) +
                          i.of_high * ((1 - j.of_high) * high[j.low] + j.of_high * high[j.high]);
            }
        }
    return code;
}

static const struct bl_field fields[] = {
    {"scale", BL_FIELD_INT2, offsetof(struct bl_upsample_attrs, scale), true},
    {"out", BL_FIELD_INT2, offsetof(struct bl_upsample_attrs, out), true},
    {"bilinear", BL_FIELD_BOOL, offsetof(struct bl_upsample_attrs, bilinear), true},
    {NULL},
};

/* The third input are factors, the fourth sizes, of all four axes; one of them is given. */
static int read_sizes(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const struct blanch_tensor *x,
                      struct bl_upsample_attrs *attrs) {
    const bool sized = bl_onnx_has(n, 3);
    float sizes[BL_ONNX_WHOLE];
    int count = 0;
    if (!bl_onnx_numbers(r, n, sized ? 3 : 2, sizes, &count) || count != 4)
        return bl_onnx_refuse(r, "its sizes are not known");
    if (x && (sizes[1] != (sized ? (float)x->c : 1) || (!sized && sizes[0] != 1)))
        return bl_onnx_refuse(r, "it resamples other axes than height and width");
    for (int i = 0; i < 2; i++) {
        const float size = sizes[2 + i];
        if (!(size >= 1 && size < 1 << 24) || size != floorf(size))
            return bl_onnx_refuse(r, "its sizes or factors are not whole numbers");
        (sized ? attrs->out : attrs->scale)[i] = (int)size;
    }
    return 0;
}

static int read(struct bl_onnx_reader *r, const struct bl_onnx_node *n) {
    struct blanch_tensor *x = bl_onnx_image(r, n, 0);
    const char *mode = bl_onnx_text(n, "mode", "nearest"),
               *place = bl_onnx_text(n, "coordinate_transformation_mode", "half_pixel"),
               *nearest = bl_onnx_text(n, "nearest_mode", "round_prefer_floor");
    struct bl_upsample_attrs attrs = {.bilinear = !strcmp(mode, "linear")};
    const bool half = !strcmp(place, "half_pixel") || !strcmp(place, "pytorch_half_pixel");
    if (attrs.bilinear ? !half : strcmp(mode, "nearest") || strcmp(place, "asymmetric") || strcmp(nearest, "floor"))
        return bl_onnx_refuse(r, "it is neither linear between pixels' centres nor the nearest pixel rounded down");
    int code = read_sizes(r, n, x, &attrs);
    return code ? code : bl_onnx_add(r, n, &attrs, &x, 1, NULL, BL_ONNX_NCHW);
}

/* The batch is open, and factors would be rounded: sizes are put together of the input's batch and the rest. */
static void write(struct bl_onnx_writer *w, const struct bl_node *node) {
    const struct bl_upsample_attrs *a = node->attrs;
    const struct blanch_tensor *y = node->out[0];
    const int64_t zero = 0, one = 1, image[] = {y->c, y->h, y->w};
    const struct bl_onnx_attribute attributes[] = {
        {"mode", BL_ONNX_TEXT, .text = a->bilinear ? "linear" : "nearest"},
        {"coordinate_transformation_mode", BL_ONNX_TEXT, .text = a->bilinear ? "half_pixel" : "asymmetric"},
        {"nearest_mode", BL_ONNX_TEXT, .text = "floor"},
        {NULL}};
    const char *in = bl_onnx_in(w, node, 0, BL_ONNX_NCHW), *shape = bl_onnx_between(w, node, "shape"),
               *batch = bl_onnx_between(w, node, "batch"), *sizes = bl_onnx_between(w, node, "sizes");
    bl_onnx_emit(w, "Shape", (const char *[4]){in}, shape, NULL);
    bl_onnx_emit(w, "Slice",
                 (const char *[4]){shape, bl_onnx_put_whole(w, node, "begin", &zero, 1),
                                   bl_onnx_put_whole(w, node, "end", &one, 1)},
                 batch, NULL);
    bl_onnx_emit(w, "Concat", (const char *[4]){batch, bl_onnx_put_whole(w, node, "image", image, 3)}, sizes,
                 (const struct bl_onnx_attribute[]){{"axis", BL_ONNX_INT, .i = 0}, {NULL}});
    bl_onnx_emit(w, "Resize", (const char *[4]){in, "", "", sizes}, bl_onnx_out(w, node, BL_ONNX_NCHW), attributes);
}

static const struct bl_onnx_form forms[] = {{"Resize", read}, {NULL}};
static const struct bl_onnx_op onnx = {.forms = forms, .write = write};

const struct bl_op bl_op_upsample = {
    .name = "upsample",
    .role = BL_ROLE_POOLING,
    .tolerance = 1e-3,
    .types = BL_ACTIVATION_TYPES,
    .attrs_size = sizeof(struct bl_upsample_attrs),
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
