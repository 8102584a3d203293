/* The engine for groups of few channels on CPUs (kernels/conv/grouped.cl): several groups in a vector. */
#include "ops/conv/axis.h"
#include "ops/conv/engine.h"

enum { LANES = 16, BUFFER = 8192, MOST_COLUMNS = BUFFER / 4 / LANES, MOST_SUMS = 512 };

/* How the rows of a pass are taken; sizes of its input and its results, in (rows, columns). */
struct walk {
    int in, out; // channels of a group: summed over, that come out
    int64_t from[2], to[2];
    int stride[2], first[2];  // positions in the input from result to result; of the first tap of the first
    int up[2];                // the input's pixels have up - 1 zeros between them
    int tile, strip, columns; // of the kernel
    int vectors;
};

struct grouped {
    struct walk walk;
    int splits;                       // of the rows, in the weight gradient
    struct blanch_tensor *packed;     // [vector][tap][in][16]
    struct blanch_tensor *partial;    // [vector][split][taps*in + 1][16]
    struct bl_kernel *kernel, *other; // of the pass; pack or reduce
};

/* Results of a row at a time, as many as fit: 0 where not even a tile does. */
static int strip_of(const struct bl_conv *conv, const struct walk *w) {
    const struct bl_conv_attrs *a = &conv->attrs;
    const int64_t rows = (int64_t)(a->kernel[0] - 1) * a->dilation[0] + 1;
    const int64_t reach = (int64_t)(a->kernel[1] - 1) * a->dilation[1];
    const int64_t pixel = LANES * (2 * (w->in > w->out ? w->in : w->out) > LANES ? 1 : w->in);
    const int64_t room = BUFFER / (rows * pixel) - 1 - reach;
    const int64_t most = room < 0 ? 0 : bl_conv_clamp(room / w->stride[1] + 1, 0, MOST_COLUMNS) / w->tile * w->tile;
    if (!most) return 0;
    const int64_t strips = bl_conv_div_up(w->to[1], most);
    return (int)(bl_conv_div_up(bl_conv_div_up(w->to[1], strips), w->tile) * w->tile);
}

static struct walk walk_of(const struct bl_conv *conv, enum bl_conv_pass pass) {
    const struct bl_conv_attrs *a = &conv->attrs;
    const bool data = pass == BL_CONV_DATA;
    struct walk w = {.in = data ? conv->group_out : conv->group_in, .out = data ? conv->group_in : conv->group_out};
    const int64_t x[2] = {conv->h, conv->w}, y[2] = {conv->out_h, conv->out_w};
    for (int i = 0; i < 2; i++) {
        w.from[i] = data ? y[i] : x[i], w.to[i] = data ? x[i] : y[i];
        w.stride[i] = data ? 1 : a->stride[i], w.up[i] = data ? a->stride[i] : 1;
        w.first[i] = data ? a->padding[i] - (a->kernel[i] - 1) * a->dilation[i] : -a->padding[i];
    }
    const bool by_four = bl_conv_div_up(w.to[1], 4) * 4 < bl_conv_div_up(w.to[1], 6) * 6;
    w.tile = pass != BL_CONV_WEIGHTS && by_four ? 4 : 6;
    const int most = w.in > w.out ? w.in : w.out;
    if (most > LANES) return w;
    w.vectors = (int)bl_conv_div_up(a->groups, LANES / most);
    w.strip = strip_of(conv, &w);
    w.columns = (w.strip - 1) * w.stride[1] + (a->kernel[1] - 1) * a->dilation[1] + 1;
    return w;
}

static bool suits(const struct bl_conv *conv, enum bl_conv_pass pass) {
    if (!conv->cpu || conv->attrs.groups == 1 || conv->group_in == 1 || conv->interleave > 1) return false;
    const struct walk w = walk_of(conv, pass);
    return w.strip > 0 && (int64_t)conv->taps * w.in <= MOST_SUMS;
}

static int preference(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)conv, (void)pass;
    return 50;
}

static int setup(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct grouped *d = conv->state[pass] = bl_calloc(1, sizeof *d);
    if (!d) return BLANCH_ENOMEM;
    d->walk = walk_of(conv, pass);
    const int64_t sums = (int64_t)conv->taps * d->walk.in, rows = bl_node_batch(conv->node) * conv->out_h;
    if (pass != BL_CONV_WEIGHTS) {
        d->packed = bl_node_workspace(conv->node, bl_conv_packed(conv, pass), d->walk.vectors * sums * LANES);
        return d->packed ? 0 : BLANCH_ENOMEM;
    }
    d->splits = (int)bl_conv_clamp(bl_conv_div_up(16 * conv->units, d->walk.vectors), 1, rows);
    d->partial = bl_node_workspace(conv->node, BL_LIFE_BACKWARD, d->walk.vectors * d->splits * (sums + 1) * LANES);
    return d->partial ? 0 : BLANCH_ENOMEM;
}

static int prepare(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct grouped *d = conv->state[pass];
    const struct walk *w = &d->walk;
    const bool weights = pass == BL_CONV_WEIGHTS;
    const struct bl_define defines[] = {{"IN", w->in},           {"OUT", w->out},      {"STRIDE_X", w->stride[1]},
                                        {"BUFFER", BUFFER},      {"TAPS", conv->taps}, {"TM", w->tile},
                                        {"ACT_TYPE", conv->type}};
    int code = bl_kernel_get(conv->node->dev, "conv/grouped", weights ? "weights" : "convolve", defines,
                             BL_COUNT(defines), &d->kernel);
    return code ? code
                : bl_kernel_get(conv->node->dev, "conv/grouped", weights ? "reduce" : "pack", defines,
                                BL_COUNT(defines), &d->other);
}

static int pack(struct bl_conv *conv, enum bl_conv_pass pass, const struct bl_run *run, struct bl_mem *weight) {
    (void)run;
    const struct grouped *d = conv->state[pass];
    return bl_launch(d->other, bl_conv_range(conv, d->walk.vectors, 1, 1), BL_MEM(weight), BL_MEM(d->packed->mem),
                     BL_I32(conv->attrs.groups), BL_I32(pass == BL_CONV_DATA));
}

/* Rows of an item: some 400,000 vector operations, but enough items. */
static int share_of(const struct bl_conv *conv, const struct walk *w, int64_t rows) {
    int64_t work = w->to[1] * conv->taps * w->in;
    return (int)bl_conv_clamp(rows * w->vectors / (12 * conv->units), 1, bl_conv_clamp(400000 / work, 1, 1 << 20));
}

struct strips { // as the kernel's
    int32_t up_y, up_x, vectors, share, strip, columns;
};

static struct bl_conv_axes axes_of(const struct bl_conv *conv, const struct walk *w) {
    struct bl_conv_axes axes = bl_conv_forward_axes(&conv->attrs, w->to[0], w->to[1]);
    axes.down.in_step = w->stride[0], axes.across.in_step = w->stride[1];
    axes.down.in_first = w->first[0], axes.across.in_first = w->first[1];
    return axes;
}

struct epilogue { // what is added to the sums
    struct bl_mem *bias;
    bool accumulate; // what is there
};

static int convolve(const struct bl_conv *conv, const struct grouped *d, struct bl_conv_sizes sizes,
                    const struct blanch_tensor *x, const struct blanch_tensor *out, struct epilogue add) {
    const struct walk *w = &d->walk;
    const int64_t rows = (int64_t)sizes.images * sizes.out_h;
    const int share = share_of(conv, w, rows);
    const struct bl_conv_axes axes = axes_of(conv, w);
    const struct strips strips = {w->up[0], w->up[1], w->vectors, share, w->strip, w->columns};
    return bl_launch(d->kernel, bl_conv_range(conv, w->vectors, bl_conv_div_up(rows, share), 1), BL_MEM(x->mem),
                     BL_MEM(d->packed->mem), BL_MEM(add.bias ? add.bias : d->packed->mem), BL_MEM(out->mem),
                     BL_STRUCT(sizes), BL_STRUCT(axes.down), BL_STRUCT(axes.across), BL_STRUCT(strips),
                     BL_I32(add.bias != NULL), BL_I32(add.accumulate));
}

static int forward(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x, struct bl_mem *bias,
                   const struct blanch_tensor *y) {
    return convolve(conv, conv->state[BL_CONV_FORWARD], bl_conv_sizes(conv, run->n), x, y,
                    (struct epilogue){.bias = bias});
}

static int backward_data(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *dy,
                         const struct blanch_tensor *dx, bool accumulate) {
    return convolve(conv, conv->state[BL_CONV_DATA], bl_conv_data_sizes(conv, run->n), dy, dx,
                    (struct epilogue){.accumulate = accumulate});
}

static int backward_weights(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x,
                            const struct blanch_tensor *dy, struct bl_mem *dweight, struct bl_mem *dbias) {
    const struct grouped *d = conv->state[BL_CONV_WEIGHTS];
    const struct walk *w = &d->walk;
    const struct bl_conv_sizes sizes = bl_conv_sizes(conv, run->n);
    const struct bl_conv_axes axes = axes_of(conv, w);
    int code = bl_launch(d->kernel, bl_conv_range(conv, w->vectors, d->splits, 1), BL_MEM(x->mem), BL_MEM(dy->mem),
                         BL_MEM(d->partial->mem), BL_STRUCT(sizes), BL_STRUCT(axes.down), BL_STRUCT(axes.across),
                         BL_I32(w->vectors), BL_I32(d->splits), BL_I32(w->strip), BL_I32(w->columns));
    if (code) return code;
    return bl_launch(d->other, bl_conv_range(conv, w->vectors, 1, 1), BL_MEM(d->partial->mem), BL_MEM(dweight),
                     BL_MEM(dbias ? dbias : dweight), BL_I32(conv->attrs.groups), BL_I32(d->splits),
                     BL_I32(dbias != NULL));
}

const struct bl_conv_engine bl_conv_grouped = {
    .name = "grouped",
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
