/* The pointwise engine (kernels/conv/pointwise.cl): 1x1 kernels without padding on CPUs, a product without copies. */
#include "ops/conv/engine.h"

enum { TN = 16, CHUNK = 256, DEEP = 8, LEAST_ITEMS = 12 };
enum { CLOSE = 16 << 10, CLOSE_TO_TWO = 64 << 10, NEAR = 256 << 10 }; // bytes: of a core's first and second cache

struct pointwise {
    int depth, outputs, blocks;
    int tile, across;             // pixels and blocks of the register tile
    struct blanch_tensor *packed; // [block][depth][TN]
    struct bl_kernel *pack, *multiply;
    struct bl_conv_wide wide; // what the pass reads
};

struct product { // as the kernel's
    int32_t pixels, depth, outputs, blocks, bunch, strip, blocks_first;
    int32_t out_h, out_w, in_h, in_w, step_y, step_x, begin;
};

static bool is_strided(const struct bl_conv *conv) {
    return conv->attrs.stride[0] > 1 || conv->attrs.stride[1] > 1;
}

static bool suits(const struct bl_conv *conv, enum bl_conv_pass pass) {
    const struct bl_conv_attrs *a = &conv->attrs;
    return conv->cpu && conv->taps == 1 && a->groups == 1 && !a->padding[0] && !a->padding[1] &&
           (pass == BL_CONV_FORWARD || (pass == BL_CONV_DATA && !is_strided(conv)));
}

static int preference(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)conv, (void)pass;
    return 20;
}

static int setup(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct pointwise *d = conv->state[pass] = bl_calloc(1, sizeof *d);
    if (!d) return BLANCH_ENOMEM;
    d->depth = pass == BL_CONV_DATA ? conv->group_out : conv->group_in;
    d->outputs = pass == BL_CONV_DATA ? conv->group_in : conv->group_out;
    d->blocks = (int)bl_conv_div_up(d->outputs, TN);
    d->across = bl_conv_tile_blocks(conv, d->blocks);
    d->tile = bl_conv_tile_rows(conv, bl_node_batch(conv->node) * conv->out_h * conv->out_w) / d->across;
    if (bl_conv_widen_setup(conv, pass, &d->wide)) return BLANCH_ENOMEM;
    d->packed = bl_node_workspace(conv->node, bl_conv_packed(conv, pass), (int64_t)d->blocks * d->depth * TN);
    return d->packed ? 0 : BLANCH_ENOMEM;
}

static int prepare(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct pointwise *d = conv->state[pass];
    const bool data = pass == BL_CONV_DATA;
    const struct bl_define of_pack[] = {{"WEIGHTS", 0}, {"TM", d->tile}, {"TN", TN}};
    const struct bl_define defines[] = {{"TM", d->tile},
                                        {"TN", TN},
                                        {"BLOCKS", d->across},
                                        {"CHUNK", CHUNK},
                                        {"DEEP", d->across == 1 && d->depth > CHUNK ? DEEP : 0},
                                        {"ACTIVATION", data ? 0 : bl_node_activation(conv->node)},
                                        {"STRIDED", is_strided(conv)},
                                        {"WIDE", d->wide.to != NULL},
                                        {"ACT_TYPE", conv->type}};
    int code = bl_conv_widen_prepare(conv, &d->wide);
    if (code) return code;
    code = bl_kernel_get(conv->node->dev, "conv/direct", data ? "pack_data" : "pack_forward", of_pack,
                         BL_COUNT(of_pack), &d->pack);
    return code
               ? code
               : bl_kernel_get(conv->node->dev, "conv/pointwise", "multiply", defines, BL_COUNT(defines), &d->multiply);
}

static int pack(struct bl_conv *conv, enum bl_conv_pass pass, const struct bl_run *run, struct bl_mem *weight) {
    (void)run;
    const struct pointwise *d = conv->state[pass];
    const int span = 512;
    return bl_launch(d->pack, bl_conv_range(conv, bl_conv_div_up(d->depth, span), d->blocks, 1), BL_MEM(weight),
                     BL_MEM(d->packed->mem), BL_I32(conv->group_in), BL_I32(conv->group_out), BL_I32(1),
                     BL_I32(conv->interleave), BL_I32(d->blocks), BL_I32(span));
}

/* The weights of a bunch stay close while a tile is multiplied with them; a tile two blocks wide does twice the work
 * for what it reads, so that the second cache is close enough. Then either a strip of pixels stays near while all
 * bunches pass, or a bunch does while all pixels pass, whichever moves less from beyond. An item has some 4 million
 * operations, but there are enough items. */
static void share(const struct bl_conv *conv, const struct pointwise *d, struct product *s) {
    const int64_t tiles = bl_conv_div_up(s->pixels, d->tile), block = BL_FLOAT_BYTES * (int64_t)d->depth * TN;
    const int64_t tile = BL_FLOAT_BYTES * (int64_t)d->depth * d->tile;
    int64_t bunches =
        bl_conv_div_up(d->blocks, bl_conv_clamp((d->across > 1 ? CLOSE_TO_TWO : CLOSE) / block, d->across, d->blocks));
    s->bunch = (int)(bl_conv_div_up(bl_conv_div_up(d->blocks, bunches), d->across) * d->across);
    bunches = bl_conv_div_up(d->blocks, s->bunch);
    const int64_t room = bl_conv_clamp(NEAR / tile, 1, tiles);
    s->blocks_first =
        tiles * tile + bl_conv_div_up(tiles, room) * d->blocks * block < d->blocks * block + bunches * tiles * tile;
    const double work = 2.0 * d->tile * TN * s->bunch * d->depth + 1000;
    int64_t strip = bl_conv_clamp((int64_t)(4e6 / work), 1, 1024);
    if (s->blocks_first && strip > room) strip = room;
    s->strip = (int)bl_conv_clamp(tiles * bunches / (LEAST_ITEMS * conv->units), 1, strip);
}

struct operands {
    const struct blanch_tensor *x, *out, *added;
    struct bl_mem *bias, *values; // of x, from image `first` on
    int first;
};

static int multiply(const struct bl_conv *conv, const struct pointwise *d, int images, struct operands o) {
    struct product s = {.begin = (int32_t)(o.first * conv->out_h * conv->out_w),
                        .pixels = (int32_t)(images * conv->out_h * conv->out_w),
                        .depth = d->depth,
                        .outputs = d->outputs,
                        .blocks = d->blocks,
                        .out_h = (int32_t)conv->out_h,
                        .out_w = (int32_t)conv->out_w,
                        .in_h = (int32_t)conv->h,
                        .in_w = (int32_t)conv->w,
                        .step_y = conv->attrs.stride[0],
                        .step_x = conv->attrs.stride[1]};
    share(conv, d, &s);
    const int64_t bunches = bl_conv_div_up(d->blocks, s.bunch),
                  strips = bl_conv_div_up(s.pixels, (int64_t)s.strip * d->tile);
    return bl_launch(
        d->multiply, bl_conv_range(conv, s.blocks_first ? bunches : strips, s.blocks_first ? strips : bunches, 1),
        BL_MEM(o.values), BL_MEM(d->packed->mem), BL_MEM(o.bias ? o.bias : d->packed->mem), BL_MEM(o.out->mem),
        BL_MEM(o.added ? o.added->mem : o.out->mem), BL_STRUCT(s), BL_I32(o.bias != NULL), BL_I32(o.added != NULL));
}

/* Slice by slice, as the input is widened. */
static int in_slices(const struct bl_conv *conv, struct pointwise *d, int images, struct operands o) {
    int code = 0;
    for (o.first = 0; o.first < images && !code; o.first += d->wide.images) {
        const int count = images - o.first < d->wide.images ? images - o.first : d->wide.images;
        code = bl_conv_widen(conv, &d->wide, o.x, o.first, count, &o.values);
        if (!code) code = multiply(conv, d, count, o);
    }
    return code;
}

static int forward(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x, struct bl_mem *bias,
                   const struct blanch_tensor *y) {
    const struct operands operands = {.x = x, .out = y, .added = conv->node->addend, .bias = bias};
    return in_slices(conv, conv->state[BL_CONV_FORWARD], run->n, operands);
}

static int backward_data(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *dy,
                         const struct blanch_tensor *dx, bool accumulate) {
    const struct operands operands = {.x = dy, .out = dx, .added = accumulate ? dx : NULL, .bias = conv->bias};
    return in_slices(conv, conv->state[BL_CONV_DATA], run->n, operands);
}

const struct bl_conv_engine bl_conv_pointwise = {
    .name = "pointwise",
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
};
