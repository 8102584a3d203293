/* The tiled engine (kernels/conv/tiled.cl): for devices with local memory, which CPUs only imitate. */
#include "ops/conv/axis.h"
#include "ops/conv/engine.h"
#include <stdlib.h>

enum { OUTPUTS = 4 }; // of an item
/* COLS, ROWS, TM, KC of the kernels: the first that is full is taken. Wide tiles use what they load more often. */
struct tiling {
    int cols, rows, tile, chunk;
};
static const struct tiling tilings[] = {{16, 16, 8, 16}, {8, 8, 4, 8}, {4, 4, 4, 8}};
enum { LOCAL_MEMORY = 16 << 10, MOST_PARTIAL = 12 << 20, GROUPS_PER_UNIT = 2 };
enum { SHORTEST_SHARE = 256, MOST_SPLITS = 1024 };
enum { WORTH_TILING = 16 }; // channels of a group, in and out

struct tiled {
    struct tiling t;
    int blocks;                       // of OUTPUTS*cols results in a group
    int splits;                       // of the weight gradient's pixels
    struct blanch_tensor *packed;     // [class of taps][group][block][k][OUTPUTS*cols]
    struct blanch_tensor *classes;    // of the kernels; the forward pass's and behind it, where it packs both, the
    int first_class;                  // data gradient's
    bool is_packed;                   // the data gradient's weights, by the forward pass
    struct blanch_tensor *partial;    // [group][split][taps*group_in + 1][blocks*OUTPUTS*cols]
    struct bl_kernel *kernel, *other; // of the pass; pack or reduce
};

static int outs(const struct tiled *d) {
    return OUTPUTS * d->t.cols;
}
static int deep(const struct tiled *d) {
    return d->t.tile * d->t.rows;
}
static int64_t tiles_of(const struct tiled *d, int64_t lines) {
    return bl_conv_div_up(lines, deep(d));
}

/* --- sizes ------------------------------------------------------------------------------------ */

static bool fits(const struct blanch_device_info *info, const struct tiling *t) {
    return (size_t)(t->cols * t->rows) <= info->max_work_group && (size_t)t->cols <= info->max_work_item[0] &&
           (size_t)t->rows <= info->max_work_item[1] && info->local_memory >= LOCAL_MEMORY;
}

static bool suits(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)pass;
    return conv->node->dev && fits(blanch_device_info(conv->node->dev), &tilings[BL_COUNT(tilings) - 1]);
}

static int get(const struct bl_conv *conv, const struct tiling *t, const char *function, struct bl_kernel **kernel) {
    const struct bl_define defines[] = {
        {"COLS", t->cols}, {"ROWS", t->rows}, {"TM", t->tile}, {"KC", t->chunk}, {"ACT_TYPE", conv->type}};
    return bl_kernel_get(conv->node->dev, "conv/tiled", function, defines, BL_COUNT(defines), kernel);
}

/* A kernel that needs many registers may take smaller groups than its device does. */
static int get_fitting(const struct bl_conv *conv, const struct tiling *t, const char *function, bool *fits,
                       struct bl_kernel **kernel) {
    int code = get(conv, t, function, kernel);
    const bool refused = code == BLANCH_EDEVICE && bl_device_refused();
    *fits = !code && bl_kernel_items(*kernel) >= (size_t)(t->cols * t->rows);
    return refused ? 0 : code;
}

static void take(struct tiled *d, const struct tiling *t, int results) {
    d->t = *t;
    d->blocks = (int)bl_conv_div_up(results, outs(d));
}

/* For `lines` rows by `results` outputs in each of `products` products: the first tile that is at least half full, with
 * groups enough to keep the device busy; else the smallest that is not the last, which is for devices that allow no
 * other. */
static int by_rule(const struct bl_conv *conv, int64_t lines, int results, int64_t products) {
    int best = -1;
    for (int i = 0; i < BL_COUNT(tilings) && !(best >= 0 && i == BL_COUNT(tilings) - 1); i++) {
        struct tiled d;
        if (!fits(blanch_device_info(conv->node->dev), &tilings[i])) continue;
        take(&d, &tilings[i], results);
        best = i;
        if (2 * lines > deep(&d) && 2 * results > outs(&d) &&
            tiles_of(&d, lines) * d.blocks * products >= GROUPS_PER_UNIT * conv->units)
            break;
    }
    return best;
}

static int choose_tile(const struct bl_conv *conv, struct tiled *d, const char *function, int64_t lines, int results,
                       int64_t products) {
    const struct blanch_device_info *info = blanch_device_info(conv->node->dev);
    for (int i = by_rule(conv, lines, results, products); i < BL_COUNT(tilings); i++) {
        bool fitting = false;
        if (!fits(info, &tilings[i])) continue;
        take(d, &tilings[i], results);
        int code = get_fitting(conv, &d->t, function, &fitting, &d->kernel);
        if (code || fitting) return code;
    }
    return bl_fail(BLANCH_EDEVICE, "%s: the engine tiled does not run on %s: BLANCH_CONV=direct does", conv->node->name,
                   info->name);
}

/* As struct tap_class of the kernels: results that are sums over the same taps. */
struct tap_class {
    int64_t first;
    struct bl_conv_axis down, across;
    int32_t depth, blocks, outs, transposed;
};
enum { CLASS_FLOATS = sizeof(struct tap_class) / sizeof(float) };

static int classes_of(const struct bl_conv *conv, enum bl_conv_pass pass) {
    return pass == BL_CONV_FORWARD ? 1 : conv->attrs.stride[0] * conv->attrs.stride[1];
}

/* Of all taps in the forward pass, of those of a residue in the data gradient; `first` is left out. */
static struct tap_class class_of(const struct bl_conv *conv, enum bl_conv_pass pass, int index) {
    const struct bl_conv_attrs *a = &conv->attrs;
    const struct tiled *d = conv->state[pass];
    const bool data = pass == BL_CONV_DATA;
    const int channels = data ? conv->group_out : conv->group_in;
    struct tap_class c = {.blocks = d->blocks, .outs = outs(d), .transposed = data};
    c.down = data ? bl_conv_residue_axis(a, 0, conv->h, index / a->stride[1], a->kernel[1])
                  : bl_conv_forward_axis(a, 0, conv->out_h, a->kernel[1]);
    c.across = data ? bl_conv_residue_axis(a, 1, conv->w, index % a->stride[1], 1)
                    : bl_conv_forward_axis(a, 1, conv->out_w, 1);
    c.depth = (int)bl_conv_div_up((int64_t)c.down.taps * c.across.taps * channels, d->t.chunk) * d->t.chunk;
    return c;
}

/* Floats of its packed weights. */
static int64_t class_size(const struct bl_conv *conv, const struct tap_class *c) {
    return (int64_t)conv->attrs.groups * c->blocks * c->depth * c->outs;
}

static int64_t packed_count(const struct bl_conv *conv, enum bl_conv_pass pass) {
    int64_t count = 0;
    for (int i = 0; i < classes_of(conv, pass); i++) {
        const struct tap_class c = class_of(conv, pass, i);
        count += class_size(conv, &c);
    }
    return count;
}

static int64_t partial_count(const struct bl_conv *conv, const struct tiled *d) {
    return (int64_t)conv->attrs.groups * (conv->taps * conv->group_in + 1) * d->blocks * outs(d);
}

static int setup_weights(struct bl_conv *conv, struct tiled *d) {
    const int64_t rows = conv->taps * conv->group_in, pixels = bl_node_batch(conv->node) * conv->out_h * conv->out_w;
    const int64_t most = bl_conv_clamp(bl_conv_div_up(pixels, SHORTEST_SHARE), 1, MOST_SPLITS);
    int code = choose_tile(conv, d, "weights", rows, conv->group_out, conv->attrs.groups * most);
    if (code) return code;
    const int64_t groups = tiles_of(d, rows) * d->blocks * conv->attrs.groups;
    const int64_t room = bl_conv_clamp(MOST_PARTIAL / (BL_FLOAT_BYTES * partial_count(conv, d)), 1, most);
    d->splits = (int)bl_conv_clamp(bl_conv_div_up(4 * GROUPS_PER_UNIT * conv->units, groups), 1, room);
    d->partial = bl_node_workspace(conv->node, BL_LIFE_BACKWARD, partial_count(conv, d) * d->splits);
    return d->partial ? 0 : BLANCH_ENOMEM;
}

/* One launch packs the weights for both passes. */
static bool is_joint(const struct bl_conv *conv) {
    return conv->engine[BL_CONV_FORWARD] == &bl_conv_tiled && conv->engine[BL_CONV_DATA] == &bl_conv_tiled;
}

static int declare_packed(struct bl_conv *conv, enum bl_conv_pass pass, struct tiled *d) {
    struct bl_node *node = conv->node;
    const struct tiled *forward = conv->state[BL_CONV_FORWARD];
    const bool data = pass == BL_CONV_DATA, joint = is_joint(conv);
    const int count = classes_of(conv, pass) + (joint ? classes_of(conv, BL_CONV_DATA) : 0);
    d->first_class = data && joint;
    d->classes = d->first_class ? forward->classes : bl_node_workspace(node, BL_LIFE_KEPT, count * CLASS_FLOATS);
    d->packed =
        bl_node_workspace(node, data && joint ? BL_LIFE_SAVED : bl_conv_packed(conv, pass), packed_count(conv, pass));
    return d->packed && d->classes ? 0 : BLANCH_ENOMEM;
}

static int setup(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct tiled *d = conv->state[pass] = bl_calloc(1, sizeof *d);
    if (!d) return BLANCH_ENOMEM;
    if (pass == BL_CONV_WEIGHTS) return setup_weights(conv, d);
    const struct bl_conv_attrs *a = &conv->attrs;
    const bool data = pass == BL_CONV_DATA;
    const int64_t h = data ? bl_conv_div_up(conv->h, a->stride[0]) : conv->out_h;
    const int64_t w = data ? bl_conv_div_up(conv->w, a->stride[1]) : conv->out_w;
    int code = choose_tile(conv, d, "convolve", bl_node_batch(conv->node) * h * w,
                           data ? conv->group_in : conv->group_out, (int64_t)a->groups * classes_of(conv, pass));
    return code ? code : declare_packed(conv, pass, d);
}

/* The table that the kernels read. Classes without taps, whose results are zeros, come last. */
static int write_classes(const struct bl_conv *conv, enum bl_conv_pass pass) {
    const struct tiled *d = conv->state[pass];
    const int count = classes_of(conv, pass);
    struct tap_class *classes = bl_calloc((size_t)count, sizeof *classes);
    if (!classes) return BLANCH_ENOMEM;
    int64_t first = 0;
    int at = 0, end = count;
    for (int i = 0; i < count; i++) {
        struct tap_class c = class_of(conv, pass, i);
        c.first = first;
        first += class_size(conv, &c);
        classes[c.depth ? at++ : --end] = c;
    }
    int code = bl_mem_write(d->classes->mem, (size_t)d->first_class * sizeof *classes, (size_t)count * sizeof *classes,
                            classes);
    free(classes);
    return code;
}

static int prepare(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct tiled *d = conv->state[pass];
    int code = get(conv, &d->t, pass == BL_CONV_WEIGHTS ? "reduce" : "pack", &d->other);
    return code || pass == BL_CONV_WEIGHTS ? code : write_classes(conv, pass);
}

/* Groups of cols by rows items. */
static struct bl_range tiles_range(const struct bl_conv *conv, const struct tiled *d, int64_t tiles, int splits) {
    return (struct bl_range){.global = {(size_t)(tiles * d->blocks * d->t.cols), (size_t)splits * (size_t)d->t.rows,
                                        (size_t)conv->attrs.groups},
                             .local = {(size_t)d->t.cols, (size_t)d->t.rows, 1}};
}

/* --- forward, data gradient ------------------------------------------------------------------- */

static int pack(struct bl_conv *conv, enum bl_conv_pass pass, const struct bl_run *run, struct bl_mem *weight) {
    const struct tiled *d = conv->state[pass];
    struct tiled *data = conv->state[BL_CONV_DATA];
    if (pass == BL_CONV_DATA && data->is_packed && run->training) return 0;
    const bool both = pass == BL_CONV_FORWARD && is_joint(conv) && run->training && conv->node->in[0]->grad;
    int64_t values = packed_count(conv, pass) + (both ? packed_count(conv, BL_CONV_DATA) : 0);
    if (is_joint(conv)) data->is_packed = both;
    const struct bl_range items = BL_ITEMS((size_t)(values / conv->attrs.groups), (size_t)conv->attrs.groups);
    return bl_launch(d->other, items, BL_MEM(weight), BL_MEM(d->packed->mem),
                     BL_MEM(both ? data->packed->mem : d->packed->mem), BL_MEM(d->classes->mem), BL_I32(d->first_class),
                     BL_I32(classes_of(conv, pass) + (both ? classes_of(conv, BL_CONV_DATA) : 0)),
                     BL_I32(conv->group_in), BL_I32(conv->group_out), BL_I32(conv->taps), BL_I32(conv->interleave));
}

struct pass {
    enum bl_conv_pass pass;
    const struct blanch_tensor *x, *out;
    struct bl_mem *bias;
    struct bl_conv_sizes sizes;
    bool accumulate;
};

/* Classes without taps are zeros: written, but not added. */
static int convolve(const struct bl_conv *conv, const struct pass *p) {
    const struct tiled *d = conv->state[p->pass];
    int64_t tiles = 0;
    for (int i = 0; i < classes_of(conv, p->pass); i++) {
        const struct tap_class c = class_of(conv, p->pass, i);
        if (c.depth || !p->accumulate) tiles += tiles_of(d, (int64_t)p->sizes.images * c.down.grid * c.across.grid);
    }
    if (!tiles) return 0;
    return bl_launch(d->kernel, tiles_range(conv, d, tiles, 1), BL_MEM(p->x->mem), BL_MEM(d->packed->mem),
                     BL_MEM(d->classes->mem), BL_MEM(p->bias ? p->bias : d->packed->mem), BL_MEM(p->out->mem),
                     BL_STRUCT(p->sizes), BL_I32(d->first_class), BL_I32(d->blocks), BL_I32(p->bias != NULL),
                     BL_I32(p->accumulate));
}

static int forward(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x, struct bl_mem *bias,
                   const struct blanch_tensor *y) {
    const struct pass pass = {
        .pass = BL_CONV_FORWARD, .x = x, .out = y, .bias = bias, .sizes = bl_conv_sizes(conv, run->n)};
    return convolve(conv, &pass);
}

static int backward_data(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *dy,
                         const struct blanch_tensor *dx, bool accumulate) {
    const struct pass pass = {
        .pass = BL_CONV_DATA, .x = dy, .out = dx, .sizes = bl_conv_data_sizes(conv, run->n), .accumulate = accumulate};
    return convolve(conv, &pass);
}

/* --- weight gradient -------------------------------------------------------------------------- */

static int backward_weights(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x,
                            const struct blanch_tensor *dy, struct bl_mem *dweight, struct bl_mem *dbias) {
    const struct tiled *d = conv->state[BL_CONV_WEIGHTS];
    const struct bl_conv_attrs *a = &conv->attrs;
    const int64_t pixels = run->n * conv->out_h * conv->out_w, rows = conv->taps * conv->group_in;
    const int64_t share = bl_conv_div_up(bl_conv_div_up(pixels, d->splits), d->t.chunk) * d->t.chunk;
    const struct bl_conv_sizes sizes = bl_conv_sizes(conv, run->n);
    const struct bl_conv_axes axes = bl_conv_forward_axes(a, conv->out_h, conv->out_w);
    int code = bl_launch(d->kernel, tiles_range(conv, d, tiles_of(d, rows), d->splits), BL_MEM(x->mem), BL_MEM(dy->mem),
                         BL_MEM(d->partial->mem), BL_STRUCT(sizes), BL_STRUCT(axes.down), BL_STRUCT(axes.across),
                         BL_I32(d->blocks), BL_I32(d->splits), BL_I32(share));
    if (code) return code;
    return bl_launch(d->other, BL_ITEMS((size_t)((rows + 1) * d->blocks * outs(d)), (size_t)a->groups),
                     BL_MEM(d->partial->mem), BL_MEM(dweight), BL_MEM(dbias ? dbias : dweight), BL_I32(conv->group_in),
                     BL_I32(conv->group_out), BL_I32(conv->taps), BL_I32(conv->interleave), BL_I32(d->blocks),
                     BL_I32(d->splits), BL_I32(dbias != NULL));
}

/* Above the direct engine's on what is not a CPU, where tiles are full. On CPUs it has been slower than every other
 * one, and its kernels take seconds to build. */
static int preference(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)pass;
    if (conv->cpu) return -1;
    return conv->group_in >= WORTH_TILING && conv->group_out >= WORTH_TILING ? 20 : 0;
}

const struct bl_conv_engine bl_conv_tiled = {
    .name = "tiled",
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
