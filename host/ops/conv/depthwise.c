/* The depthwise engine (kernels/conv/depthwise.cl): one input channel per output channel, vectors of channels. */
#include "ops/conv/axis.h"
#include "ops/conv/engine.h"

enum { WIDEST = 7 };         // kernel whose taps are unrolled
enum { COLUMNS = 4 };        // that a CPU's items compute side by side
enum { MOST_SPLITS = 256 };  // elsewhere
enum { CACHED = 256 << 10 }; // bytes that the weight gradient passes over at once

struct depthwise {
    int vec;                          // channels at once
    int splits, span;                 // in the weight gradient: parts of the rows, vectors of an item
    struct blanch_tensor *packed;     // (taps, out_channels)
    struct blanch_tensor *partial;    // (splits, taps + 1, out_channels)
    struct bl_kernel *kernel, *other; // of the pass; pack or reduce
};

static bool suits(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)pass;
    return conv->group_in == 1 && conv->attrs.groups > 1;
}

static int preference(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)conv, (void)pass;
    return 90;
}

/* Whether items compute several columns, all of a line's taps of each value that they read. */
static bool is_columns(const struct bl_conv *conv) {
    const struct bl_conv_attrs *a = &conv->attrs;
    return conv->cpu && a->dilation[0] == 1 && a->dilation[1] == 1 && a->kernel[1] <= WIDEST &&
           COLUMNS % a->stride[1] == 0;
}

static int setup(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct depthwise *d = conv->state[pass] = bl_calloc(1, sizeof *d);
    if (!d) return BLANCH_ENOMEM;
    const int channels = conv->attrs.out_channels;
    d->vec = bl_conv_vec(conv, pass == BL_CONV_DATA ? conv->attrs.in_channels : channels);
    if (pass != BL_CONV_WEIGHTS) {
        d->packed = bl_node_workspace(conv->node, bl_conv_packed(conv, pass), (int64_t)conv->taps * channels);
        return d->packed ? 0 : BLANCH_ENOMEM;
    }
    const int64_t rows = bl_node_batch(conv->node) * conv->out_h, vectors = channels / d->vec;
    if (is_columns(conv)) {
        const int64_t items = 8 * conv->units; // no more sums than an eighth of what is summed
        d->splits = (int)bl_conv_clamp(items, 1, bl_conv_clamp(rows * conv->out_w / (8 * (conv->taps + 1)), 1, rows));
        d->span = (int)bl_conv_clamp(vectors * d->splits / items, 1, vectors);
    } else {
        const int64_t items = conv->units * (conv->cpu ? 16 : 256), most = conv->cpu ? rows : MOST_SPLITS;
        d->splits = (int)bl_conv_clamp(bl_conv_div_up(items, vectors * (conv->taps + 1)), 1, rows < most ? rows : most);
        d->span = 1;
    }
    d->partial = bl_node_workspace(conv->node, BL_LIFE_BACKWARD, (int64_t)d->splits * (conv->taps + 1) * channels);
    return d->partial ? 0 : BLANCH_ENOMEM;
}

static int get(const struct bl_conv *conv, const char *function, int vec, struct bl_kernel **kernel) {
    const struct bl_conv_attrs *a = &conv->attrs;
    const bool columns = is_columns(conv);
    const struct bl_define defines[] = {{"KERNEL_X", columns ? a->kernel[1] : 0},
                                        {"COLUMNS", COLUMNS},
                                        {"PADDING_X", columns ? a->padding[1] : 0},
                                        {"VEC", vec},
                                        {"MULTIPLIER", conv->group_out},
                                        {"STRIDE_Y", a->stride[0]},
                                        {"STRIDE_X", a->stride[1]},
                                        {"TAPS", conv->taps},
                                        {"ACT_TYPE", conv->type},
                                        {"ACTIVATION", bl_node_activation(conv->node)}};
    return bl_kernel_get(conv->node->dev, "conv/depthwise", function, defines, BL_COUNT(defines), kernel);
}

static int prepare(struct bl_conv *conv, enum bl_conv_pass pass) {
    static const char *const names[BL_CONV_PASSES] = {"forward", "data", "weights"};
    struct depthwise *d = conv->state[pass];
    int code = get(conv, names[pass], d->vec, &d->kernel);
    return code ? code : get(conv, pass == BL_CONV_WEIGHTS ? "reduce" : "pack", d->vec, &d->other);
}

static int pack(struct bl_conv *conv, enum bl_conv_pass pass, const struct bl_run *run, struct bl_mem *weight) {
    (void)run;
    const struct depthwise *d = conv->state[pass];
    const int channels = conv->attrs.out_channels, span = conv->cpu ? 256 : 1;
    return bl_launch(d->other, bl_conv_range(conv, bl_conv_div_up(channels, span), 1, 1), BL_MEM(weight),
                     BL_MEM(d->packed->mem), BL_I32(channels), BL_I32(span));
}

/* Rows per item: some 100,000 vector operations, all channels of a row, but enough items. */
static int strip_of(const struct bl_conv *conv, int64_t rows, int64_t work) {
    if (!conv->cpu) return 1;
    return (int)bl_conv_clamp(rows / (12 * conv->units), 1, bl_conv_clamp(100000 / work, 1, 1024));
}

static int forward(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x, struct bl_mem *bias,
                   const struct blanch_tensor *y) {
    const struct depthwise *d = conv->state[BL_CONV_FORWARD];
    const struct bl_conv_sizes sizes = bl_conv_sizes(conv, run->n);
    const struct bl_conv_axes axes = bl_conv_forward_axes(&conv->attrs, conv->out_h, conv->out_w);
    int64_t rows = run->n * conv->out_h, vectors = sizes.out_c / d->vec, span = conv->cpu ? vectors : 1;
    int strip = strip_of(conv, rows, vectors * conv->out_w * conv->taps);
    return bl_launch(d->kernel, bl_conv_range(conv, bl_conv_div_up(vectors, span), bl_conv_div_up(rows, strip), 1),
                     BL_MEM(x->mem), BL_MEM(d->packed->mem), BL_MEM(bias ? bias : d->packed->mem), BL_MEM(y->mem),
                     BL_MEM(conv->node->addend ? conv->node->addend->mem : y->mem), BL_STRUCT(sizes),
                     BL_STRUCT(axes.down), BL_STRUCT(axes.across), BL_I32(span), BL_I32(strip), BL_I32(bias != NULL),
                     BL_I32(conv->node->addend != NULL));
}

static int backward_data(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *dy,
                         const struct blanch_tensor *dx, bool accumulate) {
    const struct depthwise *d = conv->state[BL_CONV_DATA];
    const struct bl_conv_sizes sizes = bl_conv_sizes(conv, run->n);
    const struct bl_conv_axes axes = bl_conv_forward_axes(&conv->attrs, conv->out_h, conv->out_w);
    int64_t rows = run->n * conv->h, vectors = sizes.in_c / d->vec, span = conv->cpu ? vectors : 1;
    int strip = strip_of(conv, rows, vectors * conv->w * conv->taps);
    return bl_launch(d->kernel, bl_conv_range(conv, bl_conv_div_up(vectors, span), bl_conv_div_up(rows, strip), 1),
                     BL_MEM(dy->mem), BL_MEM(d->packed->mem), BL_MEM(dx->mem), BL_STRUCT(sizes), BL_STRUCT(axes.down),
                     BL_STRUCT(axes.across), BL_I32(span), BL_I32(strip), BL_I32(accumulate));
}

static int backward_weights(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x,
                            const struct blanch_tensor *dy, struct bl_mem *dweight, struct bl_mem *dbias) {
    const struct depthwise *d = conv->state[BL_CONV_WEIGHTS];
    const struct bl_conv_sizes sizes = bl_conv_sizes(conv, run->n);
    const struct bl_conv_axes axes = bl_conv_forward_axes(&conv->attrs, conv->out_h, conv->out_w);
    const int64_t vectors = sizes.out_c / d->vec, taps = is_columns(conv) ? 1 : conv->taps + 1,
                  bytes = BL_FLOAT_BYTES *
                          ((int64_t)sizes.in_c * conv->w * conv->attrs.stride[0] + (int64_t)sizes.out_c * conv->out_w) *
                          d->span / vectors;
    int code = bl_launch(d->kernel, bl_conv_range(conv, bl_conv_div_up(vectors, d->span), d->splits, taps),
                         BL_MEM(x->mem), BL_MEM(dy->mem), BL_MEM(d->partial->mem), BL_STRUCT(sizes),
                         BL_STRUCT(axes.down), BL_STRUCT(axes.across), BL_I32(d->splits), BL_I32(d->span),
                         BL_I32(bl_conv_clamp(CACHED / bytes, 1, INT32_MAX)));
    if (code) return code;
    return bl_launch(d->other, bl_conv_range(conv, vectors, taps, 1), BL_MEM(d->partial->mem), BL_MEM(dweight),
                     BL_MEM(dbias ? dbias : dweight), BL_I32(sizes.out_c), BL_I32(d->splits), BL_I32(dbias != NULL));
}

const struct bl_conv_engine bl_conv_depthwise = {
    .name = "depthwise",
    .types = BL_ACTIVATION_TYPES,
    .applies = true,
    .suits = suits,
    .preference = preference,
    .setup = setup,
    .prepare = prepare,
    .pack = pack,
    .forward = forward,
    .backward_data = backward_data,
    .backward_weights = backward_weights,
};
