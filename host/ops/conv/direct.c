/* The direct engine (kernels/conv/direct.cl): any convolution, register-tiled, without patches in memory. */
#include "ops/conv/axis.h"
#include "ops/conv/engine.h"
#include <string.h>

/* TM, TN, KB, STRIP, BUNCH of the kernels */
struct tiling {
    int tile, width, chunk, strip, bunch;
};
static const struct tiling for_cpu = {6, 16, 64, 48, 4}, for_wide_cpu = {8, 16, 64, 64, 8}, for_gpu = {4, 4, 16, 4, 1},
                           for_few_registers = {2, 4, 16, 4, 1};
enum { CACHED = 256 << 10, MOST_PARTIAL = 12 << 20 };          // bytes
enum { MOST_SPLITS = 256 };                                    // but on CPUs
enum { FEW_TILES = 8, FEW_CHANNELS = 8, LONGEST_PATCH = 256 }; // where patches are gathered first

struct direct {
    struct tiling t;
    int across;                               // blocks that the register tile is wide
    int patch;                                // length of a patch, 0: none are gathered
    int blocks;                               // of `width` channels in a group: outputs; of the data gradient, inputs
    int bunch, bunches, span, ranges, splits; // shares of an item of the weight gradient: blocks, channels, pixels
    struct blanch_tensor *packed;             // [group][block][tap][channel][width]
    struct blanch_tensor *zeros;              // as many as the larger side has channels, in every type
    struct blanch_tensor *partial;            // [group][block][split][taps*group_in + 1][width]
    struct bl_kernel *kernel, *other;         // of the pass; pack or reduce
    struct bl_conv_wide wide;                 // what the pass reads; of patches the input itself
};

/* --- sizes ------------------------------------------------------------------------------------ */

static int64_t partial_bytes(const struct bl_conv *conv, const struct direct *d) {
    return BL_FLOAT_BYTES * conv->attrs.groups * d->blocks * ((int64_t)conv->taps * conv->group_in + 1) * d->t.width;
}

/* An item's sums should stay in its core's cache, and the items be enough to keep the device busy to the end. */
static void share_weights(const struct bl_conv *conv, struct direct *d) {
    d->bunches = (int)bl_conv_div_up(d->blocks, d->t.bunch);
    d->bunch = (int)bl_conv_div_up(d->blocks, d->bunches);
    int64_t channel = BL_FLOAT_BYTES * (int64_t)d->bunch * d->t.width * conv->taps,
            room = bl_conv_div_up(CACHED, channel);
    int64_t span = d->patch ? conv->group_in : bl_conv_clamp(room / d->t.strip, 1, 1 << 20) * d->t.strip;
    d->ranges = (int)bl_conv_div_up(conv->group_in, span);
    d->span = (int)(bl_conv_div_up(bl_conv_div_up(conv->group_in, d->ranges), d->t.tile) * d->t.tile);
    int64_t pixels = bl_node_batch(conv->node) * conv->out_h * conv->out_w, groups = conv->attrs.groups;
    int64_t items = conv->units * 16, columns = (int64_t)d->bunches * d->ranges * groups;
    int64_t most = bl_conv_clamp(MOST_PARTIAL / partial_bytes(conv, d), 1, 4096);
    most = bl_conv_clamp(bl_conv_div_up(pixels, d->t.chunk), 1, most);
    d->splits = (int)bl_conv_clamp(bl_conv_div_up(items, columns), 1, most);
}

/* An item takes a tap and a tile of channels by a block of outputs. */
static int64_t rows_of(const struct bl_conv *conv, const struct direct *d) {
    return conv->taps * bl_conv_div_up(conv->group_in, d->t.tile);
}

/* Where items are many. */
static void share_pixels(const struct bl_conv *conv, struct direct *d) {
    int64_t pixels = bl_node_batch(conv->node) * conv->out_h * conv->out_w;
    int64_t columns = rows_of(conv, d) * d->blocks * conv->attrs.groups, items = conv->units * 256;
    int64_t most = bl_conv_clamp(MOST_PARTIAL / partial_bytes(conv, d), 1, MOST_SPLITS);
    most = bl_conv_clamp(bl_conv_div_up(pixels, d->t.chunk), 1, most);
    d->splits = (int)bl_conv_clamp(bl_conv_div_up(items, columns), 1, most);
}

/* What the weight gradient keeps: a set of sums for each share of the pixels. */
static int64_t partial_count(const struct bl_conv *conv, const struct direct *d) {
    return (int64_t)conv->attrs.groups * d->blocks * d->splits * (conv->taps * conv->group_in + 1) * d->t.width;
}

static int setup(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct direct *d = conv->state[pass] = bl_calloc(1, sizeof *d);
    if (!d) return BLANCH_ENOMEM;
    const int features = conv->taps * conv->group_in;
    const bool few = conv->taps > 1 && conv->group_in < FEW_CHANNELS && features <= LONGEST_PATCH;
    d->t = conv->cpu ? for_cpu : !conv->node->dev || bl_device_sums(conv->node->dev) > 16 ? for_gpu : for_few_registers;
    if (conv->cpu && pass == BL_CONV_WEIGHTS && bl_tile_rows(conv->node->dev) > 6) d->t = for_wide_cpu;
    if (conv->cpu && pass != BL_CONV_DATA && few) d->patch = features;
    d->blocks = (int)bl_conv_div_up(pass == BL_CONV_DATA ? conv->group_in : conv->group_out, d->t.width);
    d->across = conv->cpu ? bl_conv_tile_blocks(conv, d->blocks) : 1;
    if (conv->cpu && pass != BL_CONV_WEIGHTS) {
        d->t.tile = bl_conv_tile_rows(conv, bl_node_batch(conv->node) * conv->out_h * conv->out_w) / d->across;
    }
    if (pass == BL_CONV_WEIGHTS) {
        if (!conv->cpu) d->t.tile = (int)bl_conv_clamp(conv->group_in, 1, d->t.tile);
        if (conv->cpu)
            share_weights(conv, d);
        else
            share_pixels(conv, d);
        d->partial = bl_node_workspace(conv->node, BL_LIFE_BACKWARD, partial_count(conv, d));
        return d->partial ? 0 : BLANCH_ENOMEM;
    }
    const int depth = pass == BL_CONV_DATA ? conv->group_out : conv->group_in;
    int64_t packed = (int64_t)conv->attrs.groups * d->blocks * conv->taps * depth * d->t.width;
    const int in = conv->attrs.in_channels, out = conv->attrs.out_channels, zeros = in > out ? in : out;
    d->wide.images = bl_node_batch(conv->node);
    if (!d->patch && bl_conv_widen_setup(conv, pass, &d->wide)) return BLANCH_ENOMEM;
    if (!(d->packed = bl_node_workspace(conv->node, bl_conv_packed(conv, pass), packed))) return BLANCH_ENOMEM;
    return (d->zeros = bl_node_workspace(conv->node, BL_LIFE_KEPT, zeros)) ? 0 : BLANCH_ENOMEM;
}

static int get(const struct bl_conv *conv, const struct direct *d, const char *function, int tile, int patch,
               struct bl_kernel **kernel) {
    const bool forward = !strcmp(function, "convolve") && d == conv->state[BL_CONV_FORWARD];
    const struct bl_define defines[] = {{"WEIGHTS", strcmp(function, "weights") ? 0
                                                    : conv->cpu                 ? 1
                                                                                : 2},
                                        {"ACTIVATION", forward ? bl_node_activation(conv->node) : 0},
                                        {"TM", tile},
                                        {"TN", d->t.width},
                                        {"BLOCKS", d->across},
                                        {"KB", d->t.chunk},
                                        {"STRIP", d->t.strip},
                                        {"BUNCH", d->t.bunch},
                                        {"PATCH", patch},
                                        {"WIDE", d->wide.to != NULL},
                                        {"ACT_TYPE", conv->type}};
    return bl_kernel_get(conv->node->dev, "conv/direct", function, defines, BL_COUNT(defines), kernel);
}

static int prepare(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct direct *d = conv->state[pass];
    int code;
    if (pass == BL_CONV_WEIGHTS) {
        const int depth = d->patch ? d->patch : conv->group_in,
                  tile = depth < d->t.tile ? (int)bl_conv_clamp(depth, 1, 6) : d->t.tile;
        code = get(conv, d, "weights", conv->cpu ? tile : d->t.tile, d->patch, &d->kernel);
        return code ? code : bl_conv_get_reduce(conv, d->t.width, &d->other);
    }
    if ((code = bl_mem_fill(d->zeros->mem, 0, bl_tensor_bytes(d->zeros), 0.0f)) ||
        (code = get(conv, d, "convolve", d->t.tile, d->patch, &d->kernel)) ||
        (code = bl_conv_widen_prepare(conv, &d->wide)))
        return code;
    return get(conv, d, pass == BL_CONV_DATA ? "pack_data" : "pack_forward", d->t.tile, 0, &d->other);
}

/* Channels per item so that it moves some 64 KiB. */
static int span_of(const struct bl_conv *conv) {
    return conv->cpu ? (int)bl_conv_clamp(1024 / conv->taps, 1, 512) : 1;
}

static int pack(struct bl_conv *conv, enum bl_conv_pass pass, const struct bl_run *run, struct bl_mem *weight) {
    (void)run;
    const struct direct *d = conv->state[pass];
    const int span = span_of(conv), depth = pass == BL_CONV_DATA ? conv->group_out : conv->group_in;
    return bl_launch(d->other, bl_conv_range(conv, bl_conv_div_up(depth, span), d->blocks, conv->attrs.groups),
                     BL_MEM(weight), BL_MEM(d->packed->mem), BL_I32(conv->group_in), BL_I32(conv->group_out),
                     BL_I32(conv->taps), BL_I32(conv->interleave), BL_I32(d->blocks), BL_I32(span));
}

/* --- forward, data gradient ------------------------------------------------------------------- */

struct pass {
    struct direct *d;
    const struct blanch_tensor *x, *out;
    struct bl_mem *bias, *values; // of x, `sizes.images` images from `begin` on
    int begin;
    struct bl_conv_sizes sizes;
    struct bl_conv_axes axes;
    bool patches;
    const struct blanch_tensor *added; // to the result; NULL: nothing
};

/* The images that are walked together: a tile's at least, so that its taps fall inside or outside together. */
static int images_together(const struct bl_conv *conv, const struct direct *d, int64_t pixels) {
    const struct bl_conv_attrs *a = &conv->attrs;
    if (!a->padding[0] && !a->padding[1] && conv->out_h * a->stride[0] == conv->h) return 1;
    return conv->cpu ? (pixels >= 1024 ? d->t.tile : 2 * d->t.tile) : 1;
}

/* Either the weights of all blocks stay in the cache while the pixels pass (blocks vary fastest), or those of one block
 * do. Without neighbours a short strip of pixels may stay instead. */
static bool blocks_vary_first(const struct bl_conv *conv, const struct pass *p) {
    const struct direct *d = p->d;
    return !conv->cpu || conv->taps == 1 ||
           (int64_t)d->blocks * d->t.width * conv->taps * p->sizes.group_in * BL_FLOAT_BYTES <= CACHED;
}

/* Tiles per item: about 4 million operations, but at least 12 items for a compute unit. Few tiles stay together where
 * blocks alone are enough items: each core then reads its blocks' weights once. */
static int64_t strip_of(const struct bl_conv *conv, const struct pass *p, int64_t tiles, int64_t columns) {
    const struct direct *d = p->d;
    if (!conv->cpu) return 1;
    if (tiles <= FEW_TILES && columns >= 12 * conv->units && !blocks_vary_first(conv, p)) return tiles;
    double work = 2.0 * d->t.tile * d->across * d->t.width * p->sizes.group_in * p->axes.down.taps *
                      p->axes.across.taps * (p->patches ? (double)d->blocks / d->across : 1) +
                  1000;
    int64_t strip = (int64_t)(4e6 / work),
            room =
                CACHED / 2 / ((int64_t)bl_type_bytes(d->wide.to ? BL_F32 : conv->type) * d->t.tile * p->sizes.group_in);
    if (conv->taps == 1 && strip > room) strip = room;
    return bl_conv_clamp(tiles * columns / (12 * conv->units), 1, bl_conv_clamp(strip, 1, 1024));
}

static int convolve(const struct bl_conv *conv, struct pass *p) {
    const struct direct *d = p->d;
    const struct bl_conv_axis *y = &p->axes.down, *x = &p->axes.across;
    const struct bl_conv_sizes *s = &p->sizes;
    const int groups = conv->attrs.groups;
    int64_t grid = (int64_t)y->grid * x->grid, tiles = bl_conv_div_up(s->images * grid, d->t.tile);
    int64_t blocks = p->patches ? 1 : bl_conv_div_up(d->blocks, d->across),
            strip = strip_of(conv, p, tiles, blocks * groups), strips = bl_conv_div_up(tiles, strip);
    bool blocks_first = blocks_vary_first(conv, p);
    struct bl_range items = bl_conv_range(conv, blocks_first ? blocks : strips, blocks_first ? strips : blocks, groups);
    return bl_launch(d->kernel, items, BL_MEM(p->values), BL_MEM(d->packed->mem), BL_MEM(p->bias), BL_MEM(p->out->mem),
                     BL_MEM(p->added ? p->added->mem : p->out->mem), BL_MEM(d->zeros->mem), BL_I32(s->images),
                     BL_I32(p->begin), BL_I32(images_together(conv, d, grid)), BL_I32(y->grid), BL_I32(x->grid),
                     BL_I32(s->in_h), BL_I32(s->in_w), BL_I32(s->in_c), BL_I32(s->group_in), BL_I32(s->out_h),
                     BL_I32(s->out_w), BL_I32(s->out_c), BL_I32(s->group_out), BL_I32(y->in_step), BL_I32(x->in_step),
                     BL_I32(y->in_first), BL_I32(x->in_first), BL_I32(y->tap_step), BL_I32(x->tap_step),
                     BL_I32(y->taps), BL_I32(x->taps), BL_I32(y->weight_first + x->weight_first),
                     BL_I32(y->weight_step), BL_I32(x->weight_step), BL_I32(conv->taps), BL_I32(y->out_step),
                     BL_I32(x->out_step), BL_I32(y->out_first), BL_I32(x->out_first), BL_I32(d->blocks), BL_I32(strip),
                     BL_I32(blocks_first), BL_I32(p->added != NULL));
}

/* Slice by slice, as the input is widened. */
static int in_slices(const struct bl_conv *conv, struct pass *p, int images,
                     int (*compute)(const struct bl_conv *conv, struct pass *p)) {
    struct bl_conv_wide *wide = &p->d->wide;
    int code = 0;
    for (p->begin = 0; p->begin < images && !code; p->begin += wide->images) {
        p->sizes.images = images - p->begin < wide->images ? images - p->begin : wide->images;
        code = bl_conv_widen(conv, wide, p->x, p->begin, p->sizes.images, &p->values);
        if (!code) code = compute(conv, p);
    }
    return code;
}

static int forward(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x, struct bl_mem *bias,
                   const struct blanch_tensor *y) {
    struct direct *d = conv->state[BL_CONV_FORWARD];
    struct pass pass = {.d = d,
                        .x = x,
                        .out = y,
                        .bias = bias ? bias : d->zeros->mem,
                        .sizes = bl_conv_sizes(conv, run->n),
                        .axes = bl_conv_forward_axes(&conv->attrs, conv->out_h, conv->out_w),
                        .patches = d->patch > 0,
                        .added = conv->node->addend};
    return in_slices(conv, &pass, run->n, convolve);
}

static int convolve_residues(const struct bl_conv *conv, struct pass *pass) {
    const struct bl_conv_attrs *a = &conv->attrs;
    for (int ry = 0; ry < a->stride[0]; ry++) {
        for (int rx = 0; rx < a->stride[1]; rx++) {
            const struct bl_conv_axis down = bl_conv_residue_axis(a, 0, conv->h, ry, a->kernel[1]);
            const struct bl_conv_axis across = bl_conv_residue_axis(a, 1, conv->w, rx, 1);
            if (!down.grid || !across.grid || (pass->added && (!down.taps || !across.taps))) continue;
            pass->axes = (struct bl_conv_axes){down, across};
            int code = convolve(conv, pass);
            if (code) return code;
        }
    }
    return 0;
}

static int backward_data(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *dy,
                         const struct blanch_tensor *dx, bool accumulate) {
    struct direct *d = conv->state[BL_CONV_DATA];
    struct pass pass = {.d = d,
                        .x = dy,
                        .out = dx,
                        .bias = conv->bias ? conv->bias : d->zeros->mem,
                        .sizes = bl_conv_data_sizes(conv, run->n),
                        .added = accumulate ? dx : NULL};
    return in_slices(conv, &pass, run->n, convolve_residues);
}

/* --- weight gradient -------------------------------------------------------------------------- */

static int sum_pixels(const struct bl_conv *conv, const struct direct *d, const struct bl_run *run,
                      const struct blanch_tensor *x, const struct blanch_tensor *dy) {
    const struct bl_conv_attrs *a = &conv->attrs;
    const struct bl_conv_sizes sizes = bl_conv_sizes(conv, run->n);
    const struct bl_conv_axes axes = bl_conv_forward_axes(a, conv->out_h, conv->out_w);
    if (!conv->cpu)
        return bl_launch(d->kernel, bl_conv_range(conv, rows_of(conv, d), d->splits, (int64_t)a->groups * d->blocks),
                         BL_MEM(x->mem), BL_MEM(dy->mem), BL_MEM(d->partial->mem), BL_STRUCT(sizes),
                         BL_STRUCT(axes.down), BL_STRUCT(axes.across), BL_I32(d->blocks), BL_I32(d->splits));
    return bl_launch(d->kernel, bl_conv_range(conv, d->bunches, d->splits, (int64_t)a->groups * d->ranges),
                     BL_MEM(x->mem), BL_MEM(dy->mem), BL_MEM(d->partial->mem), BL_STRUCT(sizes), BL_STRUCT(axes.down),
                     BL_STRUCT(axes.across), BL_I32(images_together(conv, d, conv->out_h * conv->out_w)),
                     BL_I32(d->blocks), BL_I32(d->bunch), BL_I32(d->splits), BL_I32(d->ranges), BL_I32(d->span));
}

static int backward_weights(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x,
                            const struct blanch_tensor *dy, struct bl_mem *dweight, struct bl_mem *dbias) {
    const struct direct *d = conv->state[BL_CONV_WEIGHTS];
    const int span = conv->cpu ? (int)bl_conv_clamp(512 / conv->taps, 1, 512) : 1;
    int code = sum_pixels(conv, d, run, x, dy);
    if (code) return code;
    return bl_launch(d->other, bl_conv_range(conv, bl_conv_div_up(conv->group_in, span), d->blocks, conv->attrs.groups),
                     BL_MEM(d->partial->mem), BL_MEM(dweight), BL_MEM(dbias ? dbias : dweight), BL_I32(conv->group_in),
                     BL_I32(conv->group_out), BL_I32(conv->taps), BL_I32(conv->interleave), BL_I32(d->blocks),
                     BL_I32(d->splits), BL_I32(span), BL_I32(dbias != NULL));
}

static bool suits(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)conv, (void)pass;
    return true;
}

static int preference(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)conv, (void)pass;
    return 10;
}

const struct bl_conv_engine bl_conv_direct = {
    .name = "direct",
    .types = BL_ACTIVATION_TYPES,
    .applies = true,
    .biases = true,
    .suits = suits,
    .preference = preference,
    .setup = setup,
    .prepare = prepare,
    .pack = pack,
    .forward = forward,
    .backward_data = backward_data,
    .backward_weights = backward_weights,
};
