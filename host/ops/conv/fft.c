/* The engine of Fourier transforms (kernels/conv/fft.cl, host/blas/fft.h): large kernels of stride 1. */
#include "ops/conv/engine.h"
#include "blas/fft.h"

/* Of images in transforms at a time; of one image or of the weights at most. */
enum { SLICE_BYTES = 32 << 20, MOST_BYTES = 64 << 20, LONGEST = 4096 };

struct transforms {
    int h, w;                      // of a plane
    int images;                    // of a slice
    struct blanch_tensor *x, *y;   // spectra of a slice: of the input or its gradient, of the output or its gradient
    struct blanch_tensor *weights; // spectra of weights or of their gradient
    struct bl_kernel *load, *store, *load_weights, *store_weights, *multiply, *sum_first;
};

/* --- sizes ------------------------------------------------------------------------------------ */

/* The image with its padding on one side, and all that is to be read from a plane. */
static int length_of(const struct bl_conv *conv, int axis) {
    const struct bl_conv_attrs *a = &conv->attrs;
    const int64_t in = axis ? conv->w : conv->h, out = axis ? conv->out_w : conv->out_h;
    int64_t least = in + a->padding[axis];
    if (least < out) least = out;
    if (least < a->kernel[axis]) least = a->kernel[axis];
    if (least < 2) least = 2;
    return least > LONGEST ? LONGEST + 1 : (int)bl_fft_length(least);
}

static int64_t pitch_of(int w) {
    return w / 2 * 2 + 2;
}

static int64_t plane_bytes(const struct bl_conv *conv) {
    return BL_FLOAT_BYTES * (int64_t)length_of(conv, 0) * pitch_of(length_of(conv, 1));
}

static int64_t most_bytes(const struct bl_conv *conv) {
    const struct blanch_device_info *info = conv->node->dev ? blanch_device_info(conv->node->dev) : NULL;
    return info && info->max_alloc < MOST_BYTES ? (int64_t)info->max_alloc : MOST_BYTES;
}

static bool suits(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)pass;
    const struct bl_conv_attrs *a = &conv->attrs;
    if (!bl_fft_available() || a->groups > 1 || (a->kernel[0] < 5 && a->kernel[1] < 5)) return false;
    for (int i = 0; i < 2; i++)
        if (a->stride[i] > 1 || a->dilation[i] > 1 || length_of(conv, i) > LONGEST) return false;
    const double plane = (double)plane_bytes(conv), most = (double)most_bytes(conv);
    return plane * a->in_channels * a->out_channels <= most && plane * (a->in_channels + a->out_channels) <= most;
}

enum { MANY_TAPS = 200 };

/* On CPUs the direct sum was three times as fast even with 121 taps, and clFFT's kernels take seconds to build. */
static int preference(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)pass;
    return conv->cpu && conv->taps < MANY_TAPS ? -1 : 0;
}

static int setup(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct transforms *d = conv->state[pass] = bl_calloc(1, sizeof *d);
    if (!d) return BLANCH_ENOMEM;
    const int64_t in = conv->attrs.in_channels, out = conv->attrs.out_channels,
                  plane = plane_bytes(conv) / BL_FLOAT_BYTES;
    const int64_t batch = bl_node_batch(conv->node),
                  most = bl_conv_clamp(SLICE_BYTES / (BL_FLOAT_BYTES * plane * (in + out)), 1, batch);
    const enum bl_life life = bl_conv_life(conv, pass);
    d->h = length_of(conv, 0), d->w = length_of(conv, 1);
    d->images = (int)bl_conv_div_up(batch, bl_conv_div_up(batch, most));
    d->x = bl_node_workspace(conv->node, life, d->images * in * plane);
    d->y = bl_node_workspace(conv->node, life, d->images * out * plane);
    d->weights = bl_node_workspace(conv->node, bl_conv_packed(conv, pass), in * out * plane);
    return d->x && d->y && d->weights ? 0 : BLANCH_ENOMEM;
}

static struct bl_fft fft_of(const struct transforms *d, int64_t planes) {
    return (struct bl_fft){d->h, d->w, planes};
}

static int prepare(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct transforms *d = conv->state[pass];
    const int in = conv->attrs.in_channels, out = conv->attrs.out_channels;
    const struct bl_fft used[] = {fft_of(d, d->images * in), fft_of(d, d->images * out), fft_of(d, in * out)};
    static const int result_of[BL_CONV_PASSES] = {1, 0, 2}; // which of them is transformed back
    const struct bl_define defines[] = {
        {"VEC", conv->cpu ? 8 : 1}, {"TM", conv->cpu ? 2 : 4}, {"ACT_TYPE", conv->type}};
    const struct {
        const char *name;
        struct bl_kernel **kernel;
    } kernels[] = {{"load", &d->load},
                   {"store", &d->store},
                   {"load_weights", &d->load_weights},
                   {"multiply", &d->multiply},
                   {"store_weights", &d->store_weights},
                   {"sum_first", &d->sum_first}};
    int code = 0;
    for (int i = 0; i < BL_COUNT(kernels) && !code; i++)
        code =
            bl_kernel_get(conv->node->dev, "conv/fft", kernels[i].name, defines, BL_COUNT(defines), kernels[i].kernel);
    for (int i = 0; i < BL_COUNT(used) && !code; i++)
        code = bl_fft_prepare(conv->node->dev, &used[i], i == result_of[pass]);
    return code;
}

/* --- copies ----------------------------------------------------------------------------------- */

struct copy { // as the kernel's
    int32_t planes, rows, columns, span, high, wide;
};

/* A core reads neighbouring channels together. */
static struct copy copy_of(const struct bl_conv *conv, int planes, int rows, int columns) {
    return conv->cpu ? (struct copy){planes, rows, columns, 16, rows, columns}
                     : (struct copy){planes, rows, columns, 1, 1, 1};
}

static struct bl_range range_of(const struct bl_conv *conv, struct copy c) {
    return bl_conv_range(conv, bl_conv_div_up(c.columns, c.wide), bl_conv_div_up(c.rows, c.high),
                         bl_conv_div_up(c.planes, c.span));
}

/* The images that are transformed together, of the input or of the output, or of their gradients. */
struct slice {
    const struct blanch_tensor *images;
    struct blanch_tensor *spectra;
    int first, count;   // of the images
    int h, w, channels; // of an image
};

static struct slice inputs_of(const struct bl_conv *conv, const struct transforms *d, const struct blanch_tensor *x,
                              int first, int count) {
    return (struct slice){x, d->x, first, count, (int)conv->h, (int)conv->w, conv->attrs.in_channels};
}

static struct slice outputs_of(const struct bl_conv *conv, const struct transforms *d, const struct blanch_tensor *y,
                               int first, int count) {
    return (struct slice){y, d->y, first, count, (int)conv->out_h, (int)conv->out_w, conv->attrs.out_channels};
}

/* The other planes of the spectra are zeros: clFFT transforms rows of odd length in pairs, so that what lies in one
 * plane is not without effect on the next. */
static int transform(const struct bl_conv *conv, const struct transforms *d, struct slice slice) {
    const int planes = d->images * slice.channels;
    const struct copy c = copy_of(conv, planes, d->h, (int)pitch_of(d->w));
    const struct bl_fft fft = fft_of(d, planes);
    int code = bl_launch(d->load, range_of(conv, c), BL_MEM(slice.images->mem), BL_MEM(slice.spectra->mem),
                         BL_STRUCT(c), BL_I32(slice.h), BL_I32(slice.w), BL_I32(slice.channels), BL_I32(slice.first),
                         BL_I32(slice.first + slice.count));
    return code ? code : bl_fft_forward(conv->node->dev, &fft, slice.spectra->mem);
}

/* Read from `shift` on. bias may be NULL. */
static int transform_back(const struct bl_conv *conv, const struct transforms *d, struct slice slice,
                          const int shift[2], struct bl_mem *bias, bool accumulate) {
    const struct copy c = copy_of(conv, slice.count * slice.channels, slice.h, slice.w);
    const struct bl_fft fft = fft_of(d, d->images * slice.channels);
    struct bl_mem *spectra = slice.spectra->mem;
    int code = bl_fft_inverse(conv->node->dev, &fft, spectra);
    if (code) return code;
    return bl_launch(d->store, range_of(conv, c), BL_MEM(spectra), BL_MEM(bias ? bias : spectra),
                     BL_MEM(slice.images->mem), BL_STRUCT(c), BL_I32(d->h), BL_I32(d->w), BL_I32(slice.channels),
                     BL_I32(shift[0]), BL_I32(shift[1]), BL_I32(slice.first), BL_I32(bias != NULL), BL_I32(accumulate));
}

/* By how much what stands at 0 is read later: -padding, modulo the plane. */
static void shift_of(const struct bl_conv *conv, const struct transforms *d, int shift[2]) {
    const int h = d->h, w = d->w;
    shift[0] = (h - conv->attrs.padding[0] % h) % h;
    shift[1] = (w - conv->attrs.padding[1] % w) % w;
}

/* --- products --------------------------------------------------------------------------------- */

/* A matrix of spectra: how many planes lie between neighbours in the rows (or columns) of the result and in the sum. */
struct operand {
    const struct blanch_tensor *spectra;
    int step, depth;
    bool conjugate; // of b alone
};

struct product { // c = a b at every frequency, m x n sums of k products
    int m, n, k;
    struct operand a, b, c;
    bool accumulate; // adds to c
};

struct multiply { // as the kernel's
    int32_t spectrum, is, js, ks, a_i, a_k, b_j, b_k, step_i, step_j, conjugate, accumulate, span_i, span_j;
};

static int multiply(const struct bl_conv *conv, const struct transforms *d, const struct product *p) {
    const struct multiply m = {.spectrum = d->h * (d->w / 2 + 1),
                               .is = p->m,
                               .js = p->n,
                               .ks = p->k,
                               .a_i = p->a.step,
                               .a_k = p->a.depth,
                               .b_j = p->b.step,
                               .b_k = p->b.depth,
                               .step_i = p->c.step,
                               .step_j = p->c.depth,
                               .conjugate = p->b.conjugate,
                               .accumulate = p->accumulate,
                               .span_i = conv->cpu ? p->m : 4,
                               .span_j = conv->cpu ? (int)bl_conv_div_up(p->n, 8) * 2 : 2};
    return bl_launch(d->multiply,
                     bl_conv_range(conv, bl_conv_div_up(m.spectrum, conv->cpu ? 8 : 1), bl_conv_div_up(m.js, m.span_j),
                                   bl_conv_div_up(m.is, m.span_i)),
                     BL_MEM(p->a.spectra->mem), BL_MEM(p->b.spectra->mem), BL_MEM(p->c.spectra->mem), BL_STRUCT(m));
}

/* --- passes ----------------------------------------------------------------------------------- */

static int pack(struct bl_conv *conv, enum bl_conv_pass pass, const struct bl_run *run, struct bl_mem *weight) {
    (void)run;
    const struct transforms *d = conv->state[pass];
    const struct bl_conv_attrs *a = &conv->attrs;
    const int planes = a->in_channels * a->out_channels;
    const struct copy c = copy_of(conv, planes, d->h, (int)pitch_of(d->w));
    const struct bl_fft fft = fft_of(d, planes);
    int code = bl_launch(d->load_weights, range_of(conv, c), BL_MEM(weight), BL_MEM(d->weights->mem), BL_STRUCT(c),
                         BL_I32(a->kernel[0]), BL_I32(a->kernel[1]), BL_I32(conv->group_in), BL_I32(conv->interleave));
    return code ? code : bl_fft_forward(conv->node->dev, &fft, d->weights->mem);
}

static int count_of(const struct transforms *d, const struct bl_run *run, int first) {
    return run->n - first < d->images ? run->n - first : d->images;
}

static int forward(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x, struct bl_mem *bias,
                   const struct blanch_tensor *y) {
    const struct transforms *d = conv->state[BL_CONV_FORWARD];
    const int in = conv->attrs.in_channels, out = conv->attrs.out_channels;
    const struct operand weights = {d->weights, in, 1, .conjugate = true};
    const struct product product = {d->images, out, in, {d->x, in, 1}, weights, {d->y, out, 1}};
    int shift[2], code = 0;
    shift_of(conv, d, shift);
    for (int first = 0; first < run->n && !code; first += d->images) {
        const int count = count_of(d, run, first);
        code = transform(conv, d, inputs_of(conv, d, x, first, count));
        if (!code) code = multiply(conv, d, &product);
        if (!code) code = transform_back(conv, d, outputs_of(conv, d, y, first, count), shift, bias, false);
    }
    return code;
}

static int backward_data(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *dy,
                         const struct blanch_tensor *dx, bool accumulate) {
    const struct transforms *d = conv->state[BL_CONV_DATA];
    const int in = conv->attrs.in_channels, out = conv->attrs.out_channels, *shift = conv->attrs.padding;
    const struct product product = {d->images, in, out, {d->y, out, 1}, {d->weights, 1, in}, {d->x, in, 1}};
    int code = 0;
    for (int first = 0; first < run->n && !code; first += d->images) {
        const int count = count_of(d, run, first);
        code = transform(conv, d, outputs_of(conv, d, dy, first, count));
        if (!code) code = multiply(conv, d, &product);
        if (!code) code = transform_back(conv, d, inputs_of(conv, d, dx, first, count), shift, NULL, accumulate);
    }
    return code;
}

/* The sum of what the slices give, read from the transforms of the weights. */
static int take_weights(const struct bl_conv *conv, const struct transforms *d, struct bl_mem *dweight) {
    const struct bl_conv_attrs *a = &conv->attrs;
    const int planes = a->in_channels * a->out_channels;
    const struct copy c = copy_of(conv, planes, a->kernel[0], a->kernel[1]);
    const struct bl_fft fft = fft_of(d, planes);
    int shift[2], code = bl_fft_inverse(conv->node->dev, &fft, d->weights->mem);
    if (code) return code;
    shift_of(conv, d, shift);
    return bl_launch(d->store_weights, range_of(conv, c), BL_MEM(d->weights->mem), BL_MEM(dweight), BL_STRUCT(c),
                     BL_I32(d->h), BL_I32(d->w), BL_I32(conv->group_in), BL_I32(conv->interleave), BL_I32(shift[0]),
                     BL_I32(shift[1]));
}

static int backward_weights(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x,
                            const struct blanch_tensor *dy, struct bl_mem *dweight, struct bl_mem *dbias) {
    const struct transforms *d = conv->state[BL_CONV_WEIGHTS];
    const int in = conv->attrs.in_channels, out = conv->attrs.out_channels, spectrum = d->h * (int)pitch_of(d->w);
    const struct operand gradient = {d->y, 1, out, .conjugate = true};
    struct product product = {in, out, 0, {d->x, 1, in}, gradient, {d->weights, 1, in}};
    int code = 0;
    for (int first = 0; first < run->n && !code; first += d->images) {
        const int count = count_of(d, run, first);
        code = transform(conv, d, inputs_of(conv, d, x, first, count));
        if (!code) code = transform(conv, d, outputs_of(conv, d, dy, first, count));
        if (!code && dbias)
            code = bl_launch(d->sum_first, bl_conv_range(conv, out, 1, 1), BL_MEM(d->y->mem), BL_MEM(dbias),
                             BL_I32(count), BL_I32(out), BL_I32(spectrum), BL_I32(first > 0));
        product.k = count, product.accumulate = first > 0;
        if (!code) code = multiply(conv, d, &product);
    }
    return code ? code : take_weights(conv, d, dweight);
}

const struct bl_conv_engine bl_conv_fft = {
    .name = "fft",
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
