/* The engine of patches and a matrix product (kernels/conv/patches.cl): any convolution, by bl_gemm. */
#include "ops/conv/axis.h"
#include "ops/conv/engine.h"
#include "blas/blas.h"
#include "ops/common.h"

/* Patches in memory at a time: large enough for products of thousands of rows, small beside the activations. */
enum { PATCH_BYTES = 32 << 20, ITEM_FLOATS = 65536 };

struct patches {
    int length;                                      // of a group's patch
    bool direct;                                     // a patch is a pixel: the activations themselves are multiplied
    int pixels;                                      // of a slice
    int vec, splits;                                 // channels at once; of the rows in the sum for the bias
    struct blanch_tensor *packed;                    // [group][tap][channel][output], or its gradient
    struct blanch_tensor *patches;                   // [group][pixel][tap][channel]
    struct blanch_tensor *partial;                   // (splits, out_channels)
    struct bl_kernel *pack, *gather, *spread, *sums; // gather: gather_back in the data gradient
    struct blanch_tensor *wide;                      // of 16 bits: a slice's outputs as floats; else NULL
    struct bl_kernel *convert, *merge;               // to or from those; sums of floats
};

/* CLBlast counts elements in 32 bits. */
static bool suits(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)pass;
    const double images = bl_node_batch(conv->node), in = conv->h * conv->w * (double)conv->attrs.in_channels;
    const double out = conv->out_h * conv->out_w * (double)conv->attrs.out_channels;
    return images * (in > out ? in : out) <= INT32_MAX && 4.0 * conv->taps * conv->attrs.in_channels <= PATCH_BYTES &&
           (double)conv->taps * conv->group_in * conv->attrs.out_channels <= INT32_MAX;
}

/* Below every engine that a rule chooses: on CPUs the direct engine reads the same products from its registers, and on
 * GPUs the patches pass through memory. */
static int preference(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)conv, (void)pass;
    return 0;
}

/* --- sizes ------------------------------------------------------------------------------------ */

/* Whole images of the data gradient, where one fits, so that few pixels are visited twice. */
static int slice_of(const struct bl_conv *conv, enum bl_conv_pass pass) {
    const struct blanch_device_info *info = conv->node->dev ? blanch_device_info(conv->node->dev) : NULL;
    int64_t bytes = info && info->max_alloc < PATCH_BYTES ? (int64_t)info->max_alloc : PATCH_BYTES;
    int64_t image = conv->out_h * conv->out_w, batch = bl_node_batch(conv->node) * image;
    int64_t room = bl_conv_clamp(bytes / (BL_FLOAT_BYTES * (int64_t)conv->taps * conv->attrs.in_channels), 1, batch);
    return (int)(pass == BL_CONV_DATA && room >= image ? room / image * image : room);
}

static int setup(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct patches *d = conv->state[pass] = bl_calloc(1, sizeof *d);
    if (!d) return BLANCH_ENOMEM;
    const struct bl_conv_attrs *a = &conv->attrs;
    const enum bl_life life = bl_conv_life(conv, pass);
    d->length = conv->taps * conv->group_in;
    d->direct = conv->type == BL_F32 && conv->taps == 1 && a->stride[0] == 1 && a->stride[1] == 1 && !a->padding[0] &&
                !a->padding[1];
    d->pixels = slice_of(conv, pass);
    d->vec = bl_conv_vec(conv, conv->group_in);
    d->packed = bl_node_workspace(conv->node, bl_conv_packed(conv, pass), (int64_t)d->length * a->out_channels);
    if (!d->packed) return BLANCH_ENOMEM;
    if (!d->direct && !(d->patches = bl_node_workspace(conv->node, life, (int64_t)d->pixels * a->groups * d->length)))
        return BLANCH_ENOMEM;
    if (conv->type != BL_F32 && !(d->wide = bl_node_workspace(conv->node, life, (int64_t)d->pixels * a->out_channels)))
        return BLANCH_ENOMEM;
    if (pass != BL_CONV_WEIGHTS) return 0;
    int64_t rows = bl_node_batch(conv->node) * conv->out_h * conv->out_w;
    d->splits = (int)bl_conv_clamp(conv->units * (conv->cpu ? 16 : 256) * 4 / a->out_channels, 16, 4096);
    if (d->splits > rows) d->splits = (int)rows;
    d->partial = bl_node_workspace(conv->node, BL_LIFE_BACKWARD, (int64_t)d->splits * a->out_channels);
    return d->partial ? 0 : BLANCH_ENOMEM;
}

static int get_as(const struct bl_conv *conv, enum bl_type type, const char *function, int vec,
                  struct bl_kernel **kernel) {
    const struct bl_define defines[] = {
        {"VEC", vec}, {"STRIDE_Y", conv->attrs.stride[0]}, {"STRIDE_X", conv->attrs.stride[1]}, {"ACT_TYPE", type}};
    return bl_kernel_get(conv->node->dev, "conv/patches", function, defines, BL_COUNT(defines), kernel);
}

static int get(const struct bl_conv *conv, const char *function, int vec, struct bl_kernel **kernel) {
    return get_as(conv, conv->type, function, vec, kernel);
}

static int prepare_wide(const struct bl_conv *conv, enum bl_conv_pass pass, struct bl_kernel **kernel) {
    const struct bl_define defines[] = {{"VEC", bl_conv_vec(conv, conv->attrs.out_channels)}, {"ACT_TYPE", conv->type}};
    return bl_kernel_get(conv->node->dev, "elementwise", pass == BL_CONV_FORWARD ? "narrow" : "widen", defines,
                         BL_COUNT(defines), kernel);
}

static int prepare(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct patches *d = conv->state[pass];
    int code = get(conv, "pack", d->vec, &d->pack);
    if (!code) code = get(conv, pass == BL_CONV_DATA ? "gather_back" : "gather", d->vec, &d->gather);
    if (!code && pass == BL_CONV_FORWARD) code = get(conv, "spread", d->vec, &d->spread);
    if (!code && pass == BL_CONV_WEIGHTS)
        code = get(conv, "sums", bl_conv_vec(conv, conv->attrs.out_channels), &d->sums);
    if (!code && pass == BL_CONV_WEIGHTS)
        code = get_as(conv, BL_F32, "sums", bl_conv_vec(conv, conv->attrs.out_channels), &d->merge);
    if (!code && d->wide) code = prepare_wide(conv, pass, &d->convert);
    return code;
}

/* --- launches --------------------------------------------------------------------------------- */

/* From the weights to their packed form, or back. */
static int exchange(const struct bl_conv *conv, const struct patches *d, struct bl_mem *weight, bool back) {
    const int outputs = conv->cpu ? 16 : 1, span = conv->cpu ? (int)bl_conv_clamp(512 / conv->taps, 1, 512) : 1;
    return bl_launch(d->pack,
                     bl_conv_range(conv, bl_conv_div_up(conv->group_out, outputs), bl_conv_div_up(conv->group_in, span),
                                   conv->attrs.groups),
                     BL_MEM(weight), BL_MEM(d->packed->mem), BL_I32(conv->group_in), BL_I32(conv->group_out),
                     BL_I32(conv->taps), BL_I32(conv->interleave), BL_I32(outputs), BL_I32(span), BL_I32(back));
}

static int pack(struct bl_conv *conv, enum bl_conv_pass pass, const struct bl_run *run, struct bl_mem *weight) {
    (void)run;
    return exchange(conv, conv->state[pass], weight, false);
}

/* Vectors to an item. */
static int span_of(const struct bl_conv *conv, const struct patches *d) {
    return conv->cpu ? ITEM_FLOATS / d->vec : 1;
}

/* Output pixels of the slice that begins at `first`. One smaller than an image ends with it. */
static int count_of(const struct bl_conv *conv, const struct patches *d, int first, int pixels) {
    const int image = (int)(conv->out_h * conv->out_w), rest = pixels - first, room = image - first % image;
    const int count = d->pixels < image && room < d->pixels ? room : d->pixels;
    return count < rest ? count : rest;
}

static int gather(const struct bl_conv *conv, const struct patches *d, const struct blanch_tensor *x, int first,
                  int count) {
    if (d->direct) return 0;
    const struct bl_conv_sizes sizes = bl_conv_sizes(conv, bl_node_batch(conv->node));
    const struct bl_conv_axes axes = bl_conv_forward_axes(&conv->attrs, conv->out_h, conv->out_w);
    int64_t vectors = (int64_t)count * d->length / d->vec;
    return bl_launch(d->gather, bl_conv_range(conv, bl_conv_div_up(vectors, span_of(conv, d)), conv->attrs.groups, 1),
                     BL_MEM(x->mem), BL_MEM(d->patches->mem), BL_I32(first), BL_I32(count), BL_STRUCT(sizes),
                     BL_STRUCT(axes.down), BL_STRUCT(axes.across), BL_I32(span_of(conv, d)));
}

/* To the images that the slice touches; what an earlier slice left in the first of them is added to. */
static int gather_back(const struct bl_conv *conv, const struct patches *d, const struct blanch_tensor *dx, int first,
                       int count, bool accumulate) {
    const struct bl_conv_sizes sizes = bl_conv_sizes(conv, bl_node_batch(conv->node));
    const struct bl_conv_axes axes = bl_conv_forward_axes(&conv->attrs, conv->out_h, conv->out_w);
    const int image = (int)(conv->out_h * conv->out_w), begin = first / image, end = (first + count - 1) / image + 1;
    const int pixels = (int)(conv->h * conv->w), span = span_of(conv, d);
    int64_t vectors = (int64_t)(end - begin) * pixels * (conv->group_in / d->vec);
    return bl_launch(d->gather, bl_conv_range(conv, bl_conv_div_up(vectors, span), conv->attrs.groups, 1),
                     BL_MEM(d->patches->mem), BL_MEM(dx->mem), BL_I32(begin * pixels), BL_I32((end - begin) * pixels),
                     BL_I32(first), BL_I32(count), BL_STRUCT(sizes), BL_STRUCT(axes.down), BL_STRUCT(axes.across),
                     BL_I32(span), BL_I32(accumulate || first % image != 0));
}

/* One matrix of each group: how far its rows lie apart, and the next group's. */
struct matrix {
    struct bl_mem *mem;
    size_t offset;
    int64_t rows, columns, pitch, group;
    bool transposed;
};

static struct matrix transposed(struct matrix m) {
    m.transposed = true;
    return m;
}

/* Of a slice: its patches, or where they are the activations themselves, those. */
static struct matrix patches_of(const struct bl_conv *conv, const struct patches *d, const struct blanch_tensor *x,
                                int first, int count) {
    const int64_t in = conv->attrs.in_channels;
    if (d->direct) return (struct matrix){x->mem, (size_t)(first * in), count, d->length, in, conv->group_in};
    return (struct matrix){d->patches->mem, 0, count, d->length, d->length, (int64_t)count * d->length};
}

static struct matrix weights_of(const struct bl_conv *conv, const struct patches *d) {
    const int64_t out = conv->group_out;
    return (struct matrix){d->packed->mem, 0, d->length, out, out, d->length * out};
}

static struct matrix outputs_of(const struct bl_conv *conv, const struct patches *d, const struct blanch_tensor *y,
                                int first, int count) {
    const int64_t out = conv->attrs.out_channels;
    if (d->wide) return (struct matrix){d->wide->mem, 0, count, conv->group_out, out, conv->group_out};
    return (struct matrix){y->mem, (size_t)(first * out), count, conv->group_out, out, conv->group_out};
}

/* A slice's outputs in 16 bits become floats, or in the forward pass floats become these. */
static int convert(const struct bl_conv *conv, const struct patches *d, const struct blanch_tensor *y, int first,
                   int count) {
    const int out = conv->attrs.out_channels, vec = bl_conv_vec(conv, out);
    const int64_t total = (int64_t)count * out / vec;
    if (!d->wide) return 0;
    return bl_launch(d->convert, bl_share(conv->node->dev, total, 6 * vec), BL_MEM(y->mem), BL_MEM(d->wide->mem),
                     BL_I64((int64_t)first * out / vec), BL_I64(total));
}

/* c = a b, a batch of one product a group; beta 1 adds to c. */
static int multiply(const struct bl_conv *conv, struct matrix a, struct matrix b, struct matrix c, float beta) {
    const struct bl_gemm gemm = {.trans_a = a.transposed,
                                 .trans_b = b.transposed,
                                 .m = c.rows,
                                 .n = c.columns,
                                 .k = a.transposed ? a.rows : a.columns,
                                 .alpha = 1,
                                 .beta = beta,
                                 .a = a.mem,
                                 .b = b.mem,
                                 .c = c.mem,
                                 .offset_a = a.offset,
                                 .offset_b = b.offset,
                                 .offset_c = c.offset,
                                 .lda = a.pitch,
                                 .ldb = b.pitch,
                                 .ldc = c.pitch,
                                 .batch = conv->attrs.groups,
                                 .stride_a = a.group,
                                 .stride_b = b.group,
                                 .stride_c = c.group};
    return bl_gemm(conv->node->dev, &gemm);
}

/* --- passes ----------------------------------------------------------------------------------- */

static int pixels_of(const struct bl_conv *conv, const struct bl_run *run) {
    return (int)(run->n * conv->out_h * conv->out_w);
}

static int spread(const struct bl_conv *conv, const struct patches *d, struct bl_mem *bias, struct bl_mem *to,
                  int pixels) {
    const int out = conv->attrs.out_channels, wide = conv->cpu ? out : 1,
              span = conv->cpu ? (int)bl_conv_clamp(ITEM_FLOATS / out, 1, ITEM_FLOATS) : 1;
    return bl_launch(d->spread, bl_conv_range(conv, bl_conv_div_up(out, wide), bl_conv_div_up(pixels, span), 1),
                     BL_MEM(bias), BL_MEM(to), BL_I32(pixels), BL_I32(out), BL_I32(wide), BL_I32(span));
}

static int forward(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x, struct bl_mem *bias,
                   const struct blanch_tensor *y) {
    const struct patches *d = conv->state[BL_CONV_FORWARD];
    const int pixels = pixels_of(conv, run);
    int code = bias && !d->wide ? spread(conv, d, bias, y->mem, pixels) : 0;
    for (int first = 0, count; first < pixels && !code; first += count) {
        count = count_of(conv, d, first, pixels);
        code = gather(conv, d, x, first, count);
        if (!code && bias && d->wide) code = spread(conv, d, bias, d->wide->mem, count);
        if (!code)
            code = multiply(conv, patches_of(conv, d, x, first, count), weights_of(conv, d),
                            outputs_of(conv, d, y, first, count), bias ? 1 : 0);
        if (!code) code = convert(conv, d, y, first, count);
    }
    return code;
}

static int backward_data(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *dy,
                         const struct blanch_tensor *dx, bool accumulate) {
    const struct patches *d = conv->state[BL_CONV_DATA];
    const int pixels = pixels_of(conv, run);
    int code = 0;
    for (int first = 0, count; first < pixels && !code; first += count) {
        count = count_of(conv, d, first, pixels);
        code = convert(conv, d, dy, first, count);
        if (!code)
            code = multiply(conv, outputs_of(conv, d, dy, first, count), transposed(weights_of(conv, d)),
                            patches_of(conv, d, dx, first, count), d->direct && accumulate ? 1 : 0);
        if (!code && !d->direct) code = gather_back(conv, d, dx, first, count, accumulate);
    }
    return code;
}

/* In two rounds, each in the order of the rows. */
static int sum_bias(const struct bl_conv *conv, const struct patches *d, const struct blanch_tensor *dy, int rows,
                    struct bl_mem *dbias) {
    const int out = conv->attrs.out_channels, span = (int)bl_conv_div_up(rows, d->splits);
    const int splits = (int)bl_conv_div_up(rows, span);
    int64_t vectors = out / bl_conv_vec(conv, out);
    int code = bl_launch(d->sums, bl_conv_range(conv, vectors, splits, 1), BL_MEM(dy->mem), BL_MEM(d->partial->mem),
                         BL_I32(rows), BL_I32(out), BL_I32(span));
    return code ? code
                : bl_launch(d->merge, bl_conv_range(conv, vectors, 1, 1), BL_MEM(d->partial->mem), BL_MEM(dbias),
                            BL_I32(splits), BL_I32(out), BL_I32(splits));
}

static int backward_weights(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x,
                            const struct blanch_tensor *dy, struct bl_mem *dweight, struct bl_mem *dbias) {
    const struct patches *d = conv->state[BL_CONV_WEIGHTS];
    const int pixels = pixels_of(conv, run);
    int code = dbias ? sum_bias(conv, d, dy, pixels, dbias) : 0;
    for (int first = 0, count; first < pixels && !code; first += count) {
        count = count_of(conv, d, first, pixels);
        code = gather(conv, d, x, first, count);
        if (!code) code = convert(conv, d, dy, first, count);
        if (!code)
            code = multiply(conv, transposed(patches_of(conv, d, x, first, count)),
                            outputs_of(conv, d, dy, first, count), weights_of(conv, d), first ? 1 : 0);
    }
    return code ? code : exchange(conv, d, dweight, true);
}

const struct bl_conv_engine bl_conv_patches = {
    .name = "patches",
    .types = BL_ACTIVATION_TYPES,
    .suits = suits,
    .preference = preference,
    .setup = setup,
    .prepare = prepare,
    .pack = pack,
    .forward = forward,
    .backward_data = backward_data,
    .backward_weights = backward_weights,
};
