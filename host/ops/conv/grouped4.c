/* The engine for groups of few channels elsewhere than on CPUs (kernels/conv/grouped4.cl): fours of a group's channels,
 * by four pixels, or two. */
#include "ops/conv/axis.h"
#include "ops/conv/engine.h"

enum { FOUR = 4, MOST_CHANNELS = 16, MOST_SPLITS = 256, MOST_PARTIAL = 12 << 20 };

/* Groups of items along the fours of results and along those of pixels, the largest first. */
static const struct shape { int cols, rows; } shapes[] = {{8, 16}, {8, 8}, {4, 4}, {1, 1}};

struct grouped4 {
    struct shape shape;
    int pixels;                       // of an item
    int splits;                       // of the rows, in the weight gradient
    struct blanch_tensor *packed;     // [tap][in][results]
    struct blanch_tensor *partial;    // [four of outputs][split][taps*group_in + 1][4]
    struct bl_kernel *kernel, *other; // of the pass; pack or reduce
};

static bool are_few(int channels) {
    return channels % FOUR == 0 && channels <= MOST_CHANNELS;
}

static bool suits(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)pass;
    return !conv->cpu && conv->attrs.groups > 1 && are_few(conv->group_in) && are_few(conv->group_out);
}

/* Above direct's, whose items side by side read pixels that lie far apart. */
static int preference(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)conv, (void)pass;
    return 15;
}

static int get(const struct bl_conv *conv, enum bl_conv_pass pass, const struct shape *shape, const char *function,
               struct bl_kernel **kernel) {
    const bool data = pass == BL_CONV_DATA;
    const struct bl_conv_attrs *a = &conv->attrs;
    const struct grouped4 *d = conv->state[pass];
    const struct bl_define defines[] = {{"IN", data ? conv->group_out : conv->group_in},
                                        {"OUT", data ? conv->group_in : conv->group_out},
                                        {"COLS", shape->cols},
                                        {"ROWS", shape->rows},
                                        {"TM", d->pixels},
                                        {"UP_Y", data ? a->stride[0] : 1},
                                        {"UP_X", data ? a->stride[1] : 1},
                                        {"ACT_TYPE", conv->type},
                                        {"MOMENTS", 1}};
    const int count = BL_COUNT(defines) - !(pass == BL_CONV_FORWARD && conv->node->makes.of_chunks);
    return bl_kernel_get(conv->node->dev, "conv/grouped4", function, defines, count, kernel);
}

/* The first shape that device and kernel allow. */
static int choose_shape(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct grouped4 *d = conv->state[pass];
    const struct blanch_device_info *info = blanch_device_info(conv->node->dev);
    for (int i = 0; i < BL_COUNT(shapes); i++) {
        const size_t cols = (size_t)shapes[i].cols, rows = (size_t)shapes[i].rows;
        if (cols * rows > info->max_work_group || cols > info->max_work_item[0] || rows > info->max_work_item[1])
            continue;
        const int code = get(conv, pass, &shapes[i], "convolve", &d->kernel);
        d->shape = shapes[i];
        if (code && !(code == BLANCH_EDEVICE && bl_device_refused())) return code;
        if (!code && bl_kernel_items(d->kernel) >= cols * rows) return 0;
    }
    return bl_fail(BLANCH_EDEVICE, "%s: the engine grouped4 does not run on %s: BLANCH_CONV=direct does",
                   conv->node->name, info->name);
}

static int setup(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct grouped4 *d = conv->state[pass] = bl_calloc(1, sizeof *d);
    if (!d) return BLANCH_ENOMEM;
    d->pixels = bl_device_sums(conv->node->dev) > FOUR * FOUR ? 4 : 2;
    const bool data = pass == BL_CONV_DATA;
    const int64_t results = data ? conv->attrs.in_channels : conv->attrs.out_channels;
    const int64_t sums = (int64_t)conv->taps * (data ? conv->group_out : conv->group_in);
    if (pass != BL_CONV_WEIGHTS) {
        int code = choose_shape(conv, pass);
        if (code) return code;
        d->packed = bl_node_workspace(conv->node, bl_conv_packed(conv, pass), sums * results);
        return d->packed ? 0 : BLANCH_ENOMEM;
    }
    d->shape = shapes[BL_COUNT(shapes) - 1]; // of no consequence
    const int64_t rows = bl_node_batch(conv->node) * conv->out_h, each = (sums / FOUR + 1) * results / FOUR;
    const int64_t room = bl_conv_clamp(MOST_PARTIAL / (BL_FLOAT_BYTES * (sums + 1) * results), 1, MOST_SPLITS);
    d->splits =
        (int)bl_conv_clamp(bl_conv_div_up(bl_device_items(conv->node->dev), each), 1, room < rows ? room : rows);
    d->partial = bl_node_workspace(conv->node, BL_LIFE_BACKWARD, d->splits * (sums + 1) * results);
    return d->partial ? 0 : BLANCH_ENOMEM;
}

static int prepare(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct grouped4 *d = conv->state[pass];
    if (pass == BL_CONV_WEIGHTS) {
        int code = get(conv, pass, &d->shape, "weights", &d->kernel);
        return code ? code : bl_conv_get_reduce(conv, FOUR, &d->other);
    }
    int code = get(conv, pass, &d->shape, "convolve", &d->kernel); // which tells moments now, where they are read
    return code ? code : get(conv, pass, &d->shape, "pack", &d->other);
}

static int pack(struct bl_conv *conv, enum bl_conv_pass pass, const struct bl_run *run, struct bl_mem *weight) {
    (void)run;
    const struct grouped4 *d = conv->state[pass];
    const bool data = pass == BL_CONV_DATA;
    const int results = data ? conv->attrs.in_channels : conv->attrs.out_channels;
    const int in = data ? conv->group_out : conv->group_in;
    return bl_launch(d->other, BL_ITEMS((size_t)results, (size_t)(conv->taps * in)), BL_MEM(weight),
                     BL_MEM(d->packed->mem), BL_I32(results), BL_I32(conv->taps), BL_I32(conv->interleave),
                     BL_I32(data));
}

/* --- forward, data gradient ------------------------------------------------------------------- */

struct pass {
    const struct grouped4 *d;
    const struct blanch_tensor *x, *out, *beside; // the last NULL: none
    struct bl_mem *bias, *moments;                // NULL: none
    struct bl_conv_sizes sizes;
    struct bl_conv_axes axes;
    struct bl_conv_finish finish;
};

static int64_t pixels_of(const struct grouped4 *d) { // of a group of items
    return (int64_t)d->pixels * d->shape.rows;
}

static int convolve(const struct pass *p) {
    const struct grouped4 *d = p->d;
    const size_t cols = (size_t)d->shape.cols, rows = (size_t)d->shape.rows;
    const int64_t pixels = (int64_t)p->sizes.images * p->sizes.out_h * p->sizes.out_w;
    const size_t across = (size_t)bl_conv_div_up(p->sizes.out_c / FOUR, d->shape.cols) * cols,
                 down = (size_t)bl_conv_div_up(pixels, pixels_of(d)) * rows;
    const struct bl_range range = {.global = {across, down, 1}, .local = {cols, rows, 1}};
    return bl_launch(d->kernel, range, BL_MEM(p->x->mem), BL_MEM(d->packed->mem),
                     BL_MEM(p->bias ? p->bias : d->packed->mem), BL_MEM(p->out->mem),
                     BL_MEM((p->beside ? p->beside : p->out)->mem), BL_MEM(p->moments ? p->moments : p->out->mem),
                     BL_STRUCT(p->sizes), BL_STRUCT(p->axes.down), BL_STRUCT(p->axes.across), BL_STRUCT(p->finish));
}

static int forward(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x, struct bl_mem *bias,
                   const struct blanch_tensor *y) {
    const struct bl_node *node = conv->node;
    const bool moments = node->makes.of_chunks && run->training && !run->again;
    const struct pass pass = {.d = conv->state[BL_CONV_FORWARD],
                              .x = x,
                              .out = y,
                              .beside = node->addend,
                              .bias = bias,
                              .moments = moments ? node->makes.of_chunks->mem : NULL,
                              .sizes = bl_conv_sizes(conv, run->n),
                              .axes = bl_conv_forward_axes(&conv->attrs, conv->out_h, conv->out_w),
                              .finish = {.has_bias = bias != NULL,
                                         .has_addend = node->addend != NULL,
                                         .activation = bl_node_activation(node),
                                         .moments = moments}};
    return convolve(&pass);
}

/* The forward pass of another convolution, of stride 1, over an input with zeros between. */
static struct bl_conv_axes data_axes(const struct bl_conv *conv) {
    const struct bl_conv_attrs *a = &conv->attrs;
    struct bl_conv_axes axes = bl_conv_forward_axes(a, conv->h, conv->w);
    axes.down.in_step = axes.across.in_step = 1;
    axes.down.in_first = a->padding[0] - (a->kernel[0] - 1) * a->dilation[0];
    axes.across.in_first = a->padding[1] - (a->kernel[1] - 1) * a->dilation[1];
    return axes;
}

static int backward_data(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *dy,
                         const struct blanch_tensor *dx, bool accumulate) {
    const bool cut = conv->node->cuts;
    const struct pass pass = {.d = conv->state[BL_CONV_DATA],
                              .x = dy,
                              .out = dx,
                              .beside = cut ? conv->node->in[0] : NULL,
                              .sizes = bl_conv_data_sizes(conv, run->n),
                              .axes = data_axes(conv),
                              .finish = {.accumulate = accumulate, .cut = cut}};
    return convolve(&pass);
}

/* --- weight gradient -------------------------------------------------------------------------- */

static int backward_weights(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x,
                            const struct blanch_tensor *dy, struct bl_mem *dweight, struct bl_mem *dbias) {
    const struct grouped4 *d = conv->state[BL_CONV_WEIGHTS];
    const struct bl_conv_sizes sizes = bl_conv_sizes(conv, run->n);
    const struct bl_conv_axes axes = bl_conv_forward_axes(&conv->attrs, conv->out_h, conv->out_w);
    const size_t fours = (size_t)conv->attrs.out_channels / FOUR, terms = (size_t)(conv->taps * conv->group_in) / FOUR;
    int code = bl_launch(d->kernel, BL_ITEMS(fours, (size_t)d->splits, terms + 1), BL_MEM(x->mem), BL_MEM(dy->mem),
                         BL_MEM(d->partial->mem), BL_STRUCT(sizes), BL_STRUCT(axes.down), BL_STRUCT(axes.across),
                         BL_I32(d->splits));
    if (code) return code;
    return bl_launch(d->other,
                     BL_ITEMS((size_t)conv->group_in, (size_t)conv->group_out / FOUR, (size_t)conv->attrs.groups),
                     BL_MEM(d->partial->mem), BL_MEM(dweight), BL_MEM(dbias ? dbias : dweight), BL_I32(conv->group_in),
                     BL_I32(conv->group_out), BL_I32(conv->taps), BL_I32(conv->interleave),
                     BL_I32(conv->group_out / FOUR), BL_I32(d->splits), BL_I32(1), BL_I32(dbias != NULL));
}

static int rows_of_moments(const struct bl_conv *conv) {
    return (int)pixels_of(conv->state[BL_CONV_FORWARD]);
}

const struct bl_conv_engine bl_conv_grouped4 = {
    .name = "grouped4",
    .types = BL_ACTIVATION_TYPES,
    .applies = true,
    .cuts = true,
    .rows_of_moments = rows_of_moments,
    .suits = suits,
    .preference = preference,
    .setup = setup,
    .prepare = prepare,
    .pack = pack,
    .forward = forward,
    .backward_data = backward_data,
    .backward_weights = backward_weights,
};
