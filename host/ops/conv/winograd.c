/* The Winograd engines: 3x3 kernels of stride 1 with fewer multiplications. On CPUs each core takes tile after tile
 * through all steps (kernels/conv/winograd.cl). Elsewhere all steps are one launch, or each is one (winograd.h). */
#include "ops/conv/winograd.h"

enum { CHUNK_BYTES = 320 << 10, MOST_TILES = 96, BUNCH = 2, ITEMS_PER_UNIT = 12 };
enum { FEW_TILES = 64, FEW_CHUNKS = 8, SHARES = 2 };          // the last two of a compute unit
enum { LARGE = 10, LARGE_OF_DATA = 8, LARGE_OF_WEIGHTS = 4 }; // maps where it is chosen by rule: inference, training
enum { MANY = 32 };                                           // channels there
/* Of the weight gradient: channels of a job and the tiles that it takes at a time, so that its sums and what is
 * multiplied stay near the core; jobs and items of a compute unit; bytes. */
enum { WEIGHT_ROWS = 6 }; // of its register tile: with more it was no faster, as it adds to sums in memory
enum { INPUTS = 128, OUTPUTS = 64, WEIGHT_TILES = 24, JOBS_PER_UNIT = 12, WEIGHT_ITEMS = 4, MOST_PARTIAL = 12 << 20 };

struct chunks { // as the kernel's
    int32_t padded, blocks, bunch, chunk, parts, items;
};
struct winograd {
    int rows, across;             // of the register tile; blocks that it is wide
    int depth, results;           // channels summed over, channels that come out
    struct chunks c;              // depth as a multiple of vec_of; blocks of 16 results, in a round; tiles at a time;
                                  // shares of the blocks, each with its own transforms
    struct blanch_tensor *packed; // [(m + 2)^2][block][depth][16]
    struct blanch_tensor *scratch;
    struct bl_kernel *pack, *convolve;
};

struct jobs { // as the kernel's
    int32_t blocks, bunch, ranges, span, splits, chunk, pitch, items;
};
struct gradient {  // of the weights
    struct jobs j; // blocks of 16 outputs, in a job; channels of a job; tiles at a time; floats of a row
    struct blanch_tensor *partial; // [block][split][9*in + 1][16]
    struct blanch_tensor *scratch;
    struct bl_kernel *weights, *reduce;
};

static bool suits(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)pass;
    const struct bl_conv_attrs *a = &conv->attrs;
    const bool dilated = a->dilation[0] > 1 || a->dilation[1] > 1;
    return conv->node->dev && (conv->cpu ? conv->type == BL_F32 : !dilated) && a->kernel[0] == 3 && a->kernel[1] == 3 &&
           a->stride[0] == 1 && a->stride[1] == 1 && a->groups == 1;
}

static int tile_of(const struct bl_conv *conv, enum bl_conv_pass pass) {
    return conv->engine[pass]->variant;
}

/* As the kernel counts them. */
static int64_t tiles_along(int64_t size, int apart, int m) {
    const int64_t tiles = bl_conv_div_up(bl_conv_div_up(size, apart), m) * apart;
    return tiles < size ? tiles : size;
}
static int64_t count_tiles(const struct bl_conv *conv, enum bl_conv_pass pass, int64_t h, int64_t w) {
    const int m = tile_of(conv, pass), *apart = conv->attrs.dilation;
    return bl_node_batch(conv->node) * tiles_along(h, apart[0], m) * tiles_along(w, apart[1], m);
}

/* Of the vectors that the transforms work on: what a register holds. */
static int vec_of(const struct bl_conv *conv, enum bl_conv_pass pass) {
    return pass != BL_CONV_WEIGHTS && bl_tile_rows(conv->node->dev) > 6 ? 16 : 8;
}

/* Chunks that stay in a core's cache. Where there are few, they are as many as every core has alike, or each is made in
 * shares of the blocks, for which its transforms are repeated. All tiles are one chunk where they are few: what is read
 * most then are the weights, once. */
static void share_tiles(const struct bl_conv *conv, struct winograd *d, int64_t tiles, int elements) {
    struct chunks *c = &d->c;
    const int64_t bunches = bl_conv_div_up(c->blocks, c->bunch), units = conv->units;
    int64_t most = bl_conv_clamp(CHUNK_BYTES / (BL_FLOAT_BYTES * (int64_t)elements * c->padded), 24, MOST_TILES);
    if (tiles <= FEW_TILES && bunches >= SHARES * units) most = tiles;
    int64_t chunks = bl_conv_div_up(tiles, most);
    if (chunks > 1 && chunks < FEW_CHUNKS * units) chunks = bl_conv_div_up(chunks, units) * units;
    d->across = bl_conv_tile_blocks(conv, c->blocks);
    d->rows = bl_conv_tile_rows(conv, bl_conv_div_up(tiles, chunks)) / d->across;
    c->chunk = (int)(bl_conv_div_up(bl_conv_div_up(tiles, chunks), d->rows) * d->rows);
    chunks = bl_conv_div_up(tiles, c->chunk);
    c->parts = (int)bl_conv_clamp(bl_conv_div_up(SHARES * units, chunks), 1, bunches);
    c->items = (int)bl_conv_clamp(chunks * c->parts, 1, ITEMS_PER_UNIT * units);
}

static int setup_weights(struct bl_conv *conv) {
    struct gradient *d = conv->state[BL_CONV_WEIGHTS] = bl_calloc(1, sizeof *d);
    if (!d) return BLANCH_ENOMEM;
    struct jobs *j = &d->j;
    const int m = tile_of(conv, BL_CONV_WEIGHTS), elements = (m + 2) * (m + 2);
    const int64_t tiles = count_tiles(conv, BL_CONV_WEIGHTS, conv->out_h, conv->out_w);
    j->blocks = (int)bl_conv_div_up(conv->group_out, 16);
    const int bunches = (int)bl_conv_div_up(j->blocks, OUTPUTS / 16);
    j->bunch = (int)bl_conv_div_up(j->blocks, bunches);
    j->ranges = (int)bl_conv_div_up(conv->group_in, INPUTS);
    j->span = (int)bl_conv_div_up(bl_conv_div_up(conv->group_in, j->ranges), 8) * 8;
    j->ranges = (int)bl_conv_div_up(conv->group_in, j->span);
    j->pitch = (int)bl_conv_div_up(j->span + WEIGHT_ROWS, 16) * 16 + 8;
    const int64_t jobs = (int64_t)bunches * j->ranges, row = 16 * (9 * (int64_t)conv->group_in + 1);
    const int64_t most =
        bl_conv_clamp(MOST_PARTIAL / (BL_FLOAT_BYTES * j->blocks * row), 1, bl_conv_div_up(tiles, WEIGHT_TILES));
    j->splits = (int)bl_conv_clamp(JOBS_PER_UNIT * conv->units / jobs, 1, most);
    const int64_t share = bl_conv_div_up(tiles, j->splits);
    j->chunk = (int)bl_conv_div_up(share, bl_conv_div_up(share, WEIGHT_TILES));
    j->items = (int)bl_conv_clamp(jobs * j->splits, 1, WEIGHT_ITEMS * conv->units);
    const int64_t outputs = 16 * (int64_t)j->bunch, slice = j->chunk * (j->pitch + outputs) + j->pitch * outputs + 48;
    d->partial = bl_node_workspace(conv->node, BL_LIFE_BACKWARD, j->blocks * j->splits * row);
    d->scratch = bl_node_workspace(conv->node, BL_LIFE_BACKWARD, j->items * (elements * slice + outputs));
    return d->partial && d->scratch ? 0 : BLANCH_ENOMEM;
}

static int settle(struct bl_conv *conv, enum bl_conv_pass pass) {
    if (conv->cpu) return 0;
    const bool small = tile_of(conv, pass) == 2;
    bool fits = false;
    int code = small && pass != BL_CONV_WEIGHTS ? bl_conv_winograd_fits(conv, pass, &fits) : 0;
    conv->engine[pass] = fits ? &bl_conv_winograd_fused : small ? &bl_conv_winograd_batch : &bl_conv_winograd4_batch;
    return code;
}

static int setup(struct bl_conv *conv, enum bl_conv_pass pass) {
    if (pass == BL_CONV_WEIGHTS) return setup_weights(conv);
    struct winograd *d = conv->state[pass] = bl_calloc(1, sizeof *d);
    if (!d) return BLANCH_ENOMEM;
    struct chunks *c = &d->c;
    const bool data = pass == BL_CONV_DATA;
    const int m = tile_of(conv, pass), elements = (m + 2) * (m + 2);
    d->depth = data ? conv->group_out : conv->group_in, d->results = data ? conv->group_in : conv->group_out;
    c->padded = (int)bl_conv_div_up(d->depth, vec_of(conv, pass)) * vec_of(conv, pass);
    c->blocks = (int)bl_conv_div_up(d->results, 16);
    c->bunch = c->blocks < BUNCH ? c->blocks : BUNCH;
    const int64_t tiles = count_tiles(conv, pass, data ? conv->h : conv->out_h, data ? conv->w : conv->out_w);
    share_tiles(conv, d, tiles, elements);
    int64_t slice = elements * ((int64_t)c->chunk * (c->padded + 16 * c->bunch) + 32);
    d->packed =
        bl_node_workspace(conv->node, bl_conv_packed(conv, pass), (int64_t)elements * c->blocks * d->depth * 16);
    d->scratch = bl_node_workspace(conv->node, bl_conv_life(conv, pass), c->items * slice);
    return d->packed && d->scratch ? 0 : BLANCH_ENOMEM;
}

#define DEFINES(conv, pass, rows, across)                                                                              \
    {                                                                                                                  \
        {"M", tile_of(conv, pass)}, {"TM", rows}, {"BLOCKS", across}, {"VEC", vec_of(conv, pass)},                     \
            {"DOWN", conv->attrs.dilation[0]}, {"ACROSS", conv->attrs.dilation[1]}, {"ACT_TYPE", conv->type}, {        \
            "ACTIVATION", pass == BL_CONV_FORWARD ? bl_node_activation(conv->node) : 0                                 \
        }                                                                                                              \
    }

static int prepare_weights(const struct bl_conv *conv) {
    struct gradient *d = conv->state[BL_CONV_WEIGHTS];
    const struct bl_define defines[] = DEFINES(conv, BL_CONV_WEIGHTS, WEIGHT_ROWS, 1);
    int code = bl_kernel_get(conv->node->dev, "conv/winograd", "weights", defines, BL_COUNT(defines), &d->weights);
    return code ? code : bl_conv_get_reduce(conv, 16, &d->reduce);
}

static int prepare(struct bl_conv *conv, enum bl_conv_pass pass) {
    if (pass == BL_CONV_WEIGHTS) return prepare_weights(conv);
    struct winograd *d = conv->state[pass];
    const struct bl_define defines[] = DEFINES(conv, pass, d->rows, d->across);
    int code = bl_kernel_get(conv->node->dev, "conv/winograd", "pack", defines, BL_COUNT(defines), &d->pack);
    return code ? code
                : bl_kernel_get(conv->node->dev, "conv/winograd", "convolve", defines, BL_COUNT(defines), &d->convolve);
}

static int pack(struct bl_conv *conv, enum bl_conv_pass pass, const struct bl_run *run, struct bl_mem *weight) {
    const struct winograd *d = conv->state[pass];
    const int span = 64;
    return bl_launch(d->pack, bl_conv_range(conv, bl_conv_div_up(d->depth, span), d->c.blocks, 1), BL_MEM(weight),
                     BL_MEM(d->packed->mem), BL_I32(conv->group_in), BL_I32(conv->group_out), BL_I32(conv->interleave),
                     BL_I32(d->c.blocks), BL_I32(span), BL_I32(pass == BL_CONV_DATA));
}

static int forward(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x, struct bl_mem *bias,
                   const struct blanch_tensor *y) {
    const struct winograd *d = conv->state[BL_CONV_FORWARD];
    const struct bl_conv_sizes sizes = bl_conv_sizes(conv, run->n);
    const struct blanch_tensor *added = conv->node->addend;
    const int *padding = conv->attrs.padding;
    return bl_launch(d->convolve, bl_conv_range(conv, d->c.items, 1, 1), BL_MEM(x->mem), BL_MEM(d->packed->mem),
                     BL_MEM(bias ? bias : d->packed->mem), BL_MEM(y->mem), BL_MEM(added ? added->mem : y->mem),
                     BL_MEM(d->scratch->mem), BL_STRUCT(sizes), BL_I32(-padding[0]), BL_I32(-padding[1]),
                     BL_STRUCT(d->c), BL_I32(bias != NULL), BL_I32(added != NULL));
}

static int backward_data(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *dy,
                         const struct blanch_tensor *dx, bool accumulate) {
    const struct winograd *d = conv->state[BL_CONV_DATA];
    const struct bl_conv_sizes sizes = bl_conv_data_sizes(conv, run->n);
    const int *padding = conv->attrs.padding, *apart = conv->attrs.dilation;
    return bl_launch(d->convolve, bl_conv_range(conv, d->c.items, 1, 1), BL_MEM(dy->mem), BL_MEM(d->packed->mem),
                     BL_MEM(conv->bias ? conv->bias : d->packed->mem), BL_MEM(dx->mem), BL_MEM(dx->mem),
                     BL_MEM(d->scratch->mem), BL_STRUCT(sizes), BL_I32(padding[0] - 2 * apart[0]),
                     BL_I32(padding[1] - 2 * apart[1]), BL_STRUCT(d->c), BL_I32(conv->bias != NULL),
                     BL_I32(accumulate));
}

static int backward_weights(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x,
                            const struct blanch_tensor *dy, struct bl_mem *dweight, struct bl_mem *dbias) {
    const struct gradient *d = conv->state[BL_CONV_WEIGHTS];
    const struct bl_conv_sizes sizes = bl_conv_sizes(conv, run->n);
    const int *padding = conv->attrs.padding, channels = 56; // that an item of the reduction takes
    int code = bl_launch(d->weights, bl_conv_range(conv, d->j.items, 1, 1), BL_MEM(x->mem), BL_MEM(dy->mem),
                         BL_MEM(d->partial->mem), BL_MEM(d->scratch->mem), BL_STRUCT(sizes), BL_I32(-padding[0]),
                         BL_I32(-padding[1]), BL_STRUCT(d->j));
    if (code) return code;
    return bl_launch(d->reduce, bl_conv_range(conv, bl_conv_div_up(conv->group_in, channels), d->j.blocks, 1),
                     BL_MEM(d->partial->mem), BL_MEM(dweight), BL_MEM(dbias ? dbias : dweight), BL_I32(conv->group_in),
                     BL_I32(conv->group_out), BL_I32(9), BL_I32(conv->interleave), BL_I32(d->j.blocks),
                     BL_I32(d->j.splits), BL_I32(channels), BL_I32(dbias != NULL));
}

/* One launch of tiles of 2x2 comes before the engine tiled where its groups keep the device busy. That is reasoned, not
 * measured: it multiplies 16 times for 36, and its items hold as many sums as those of tiled128x128. */
static int preference_elsewhere(const struct bl_conv *conv, enum bl_conv_pass pass) {
    bool fits = false;
    const bool large = pass != BL_CONV_WEIGHTS && conv->type == BL_F32 && conv->group_in >= MANY &&
                       conv->group_out >= MANY && bl_conv_winograd_busy(conv, pass);
    return large && !bl_conv_winograd_fits(conv, pass, &fits) && fits ? 25 : 0;
}

/* By rule the smaller tile is chosen on CPUs, for maps and channels so large, and tiles so many, that it is the faster
 * one, whose transformed weights an inference has once. The larger tile is the faster one mostly, but its error is ten
 * times as large. */
static int preference(const struct bl_conv *conv, enum bl_conv_pass pass) {
    if (!conv->cpu) return preference_elsewhere(conv, pass);
    const bool training = bl_node_training(conv->node), channels = conv->group_in >= MANY && conv->group_out >= MANY;
    const int *apart = conv->attrs.dilation;
    const int64_t h = bl_conv_div_up(conv->out_h, apart[0]), w = bl_conv_div_up(conv->out_w, apart[1]);
    const int64_t tiles =
        bl_node_batch(conv->node) * tiles_along(conv->out_h, apart[0], 2) * tiles_along(conv->out_w, apart[1], 2);
    const int least = !training ? LARGE : pass == BL_CONV_WEIGHTS ? LARGE_OF_WEIGHTS : LARGE_OF_DATA;
    const bool large = h >= least && w >= least && (!training || tiles >= FEW_TILES);
    return channels && large ? 15 : 0;
}
static int no_preference(const struct bl_conv *conv, enum bl_conv_pass pass) {
    (void)conv, (void)pass;
    return 0;
}

#define ENGINE(title, m, rule)                                                                                         \
    {                                                                                                                  \
        .name = title, .variant = m, .types = BL_ACTIVATION_TYPES, .applies = true, .cuts = true, .biases = true,      \
        .suits = suits, .preference = rule, .settle = settle, .setup = setup, .prepare = prepare, .pack = pack,        \
        .forward = forward, .backward_data = backward_data, .backward_weights = backward_weights,                      \
    }
const struct bl_conv_engine bl_conv_winograd = ENGINE("winograd", 2, preference),
                            bl_conv_winograd4 = ENGINE("winograd4", 4, no_preference);
