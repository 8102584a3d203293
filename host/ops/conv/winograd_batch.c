#include "ops/conv/winograd.h"
#include "blas/blas.h"
#include "ops/common.h"

/* Transformed tiles and products in memory at a time; sums of a weight gradient's splits, of so many tiles at least. */
enum { SLICE_BYTES = 64 << 20, MOST_PARTIAL = 12 << 20, GROUPS_PER_UNIT = 8, SHORTEST_SHARE = 128 };
enum { GROUP_ROWS = 128, GROUP_COLUMNS = 64 }; // of a group of the product, about

struct batch {
    int m, elements; // of a tile along each axis, of its transform
    int in, out;     // channels that are read, that come out; of the weight gradient the layer's
    int64_t tiles;   // of a slice
    int splits;      // of a slice, each with sums of its own; 1 but for the weight gradient
    struct blanch_tensor
        *packed; // (elements, in, out); of the weight gradient the products (splits, elements, in, out)
    struct blanch_tensor *inputs;  // (splits, elements, share of the tiles, in)
    struct blanch_tensor *others;  // (elements, tiles, out) products; of the weight gradient as inputs: of dY
    struct blanch_tensor *partial; // (slices, splits, out): of the bias's gradient
    struct bl_kernel *pack, *input, *output, *gradient, *bias, *finish; // those of the pass
};

static int64_t tiles_of(const struct bl_conv *conv, enum bl_conv_pass pass, int images) {
    const struct batch *d = conv->state[pass];
    const bool data = pass == BL_CONV_DATA;
    return images * bl_conv_div_up(data ? conv->h : conv->out_h, d->m) *
           bl_conv_div_up(data ? conv->w : conv->out_w, d->m);
}

/* --- sizes ------------------------------------------------------------------------------------ */

/* As many as are in memory at a time; each split has zeros for up to one tile more. */
static int64_t slice_of(const struct bl_conv *conv, const struct batch *d, int64_t tiles) {
    const uint64_t most = blanch_device_info(conv->node->dev)->max_alloc;
    const int64_t bytes = most < SLICE_BYTES ? (int64_t)most : SLICE_BYTES;
    return bl_conv_clamp(bytes / (BL_FLOAT_BYTES * (int64_t)d->elements * (d->in + d->out)), 1, tiles);
}

static int splits_of(const struct bl_conv *conv, const struct batch *d) {
    const int64_t groups = d->elements * bl_conv_div_up(d->in, GROUP_ROWS) * bl_conv_div_up(d->out, GROUP_COLUMNS);
    const int64_t room = MOST_PARTIAL / (BL_FLOAT_BYTES * (int64_t)d->elements * d->in * d->out);
    const int64_t wanted = bl_conv_div_up(GROUPS_PER_UNIT * conv->units, groups), most = d->tiles / SHORTEST_SHARE;
    return (int)bl_conv_clamp(wanted, 1, bl_conv_clamp(room < most ? room : most, 1, wanted));
}

static int setup(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct batch *d = conv->state[pass] = bl_calloc(1, sizeof *d);
    if (!d) return BLANCH_ENOMEM;
    struct bl_node *node = conv->node;
    const bool data = pass == BL_CONV_DATA, weights = pass == BL_CONV_WEIGHTS;
    const enum bl_life life = bl_conv_life(conv, pass);
    d->m = conv->engine[pass]->variant, d->elements = (d->m + 2) * (d->m + 2);
    d->in = data ? conv->group_out : conv->group_in, d->out = data ? conv->group_in : conv->group_out;
    const int64_t tiles = tiles_of(conv, pass, bl_node_batch(node));
    d->tiles = slice_of(conv, d, tiles);
    d->splits = weights ? splits_of(conv, d) : 1;
    const int64_t padded = bl_conv_div_up(d->tiles, d->splits) * d->splits,
                  sums = (int64_t)d->elements * d->in * d->out;
    d->packed = bl_node_workspace(node, weights ? life : bl_conv_packed(conv, pass), sums * d->splits);
    d->inputs = bl_node_workspace(node, life, d->elements * padded * d->in);
    d->others = bl_node_workspace(node, life, d->elements * padded * d->out);
    if (!d->packed || !d->inputs || !d->others) return BLANCH_ENOMEM;
    if (weights) d->partial = bl_node_workspace(node, life, bl_conv_div_up(tiles, d->tiles) * d->splits * d->out);
    return weights && !d->partial ? BLANCH_ENOMEM : 0;
}

/* Wider vectors would take more registers than they save. */
static int vec_of(const struct batch *d, int channels) {
    return d->m == 2 && channels % 2 == 0 ? 2 : 1;
}

static int get(const struct bl_conv *conv, const struct batch *d, const char *function, int vec,
               struct bl_kernel **kernel) {
    const struct bl_define defines[] = {{"M", d->m}, {"VEC", vec}, BL_ACT(conv->node)};
    return bl_kernel_get(conv->node->dev, "conv/winograd_batch", function, defines, BL_COUNT(defines), kernel);
}

static int prepare(struct bl_conv *conv, enum bl_conv_pass pass) {
    struct batch *d = conv->state[pass];
    const int in = vec_of(d, d->in), out = vec_of(d, d->out);
    int code = get(conv, d, "input", in, &d->input);
    if (pass != BL_CONV_WEIGHTS) {
        if (!code) code = get(conv, d, "pack", in, &d->pack);
        return code ? code : get(conv, d, "output", out, &d->output);
    }
    if (!code) code = get(conv, d, "gradient", out, &d->gradient);
    if (!code) code = get(conv, d, "bias", in, &d->bias);
    return code ? code : get(conv, d, "finish", in, &d->finish);
}

/* --- forward, data gradient ------------------------------------------------------------------- */

static int pack(struct bl_conv *conv, enum bl_conv_pass pass, const struct bl_run *run, struct bl_mem *weight) {
    (void)run;
    const struct batch *d = conv->state[pass];
    return bl_launch(d->pack, BL_ITEMS((size_t)d->out, (size_t)d->in), BL_MEM(weight), BL_MEM(d->packed->mem),
                     BL_I32(conv->group_in), BL_I32(conv->group_out), BL_I32(conv->interleave),
                     BL_I32(pass == BL_CONV_DATA));
}

/* Tiles of a slice, in each of its splits. */
struct slice {
    int64_t first, count, share;
};

static struct slice slice_at(const struct batch *d, int64_t first, int64_t tiles) {
    const int64_t count = first + d->tiles < tiles ? d->tiles : tiles - first;
    return (struct slice){first, count, bl_conv_div_up(count, d->splits)};
}

/* padding: of the pass's input, on both axes. */
static int transform(const struct batch *d, const struct bl_conv_sizes *sizes, const int *padding,
                     const struct blanch_tensor *x, struct slice s) {
    const size_t padded = (size_t)(s.share * d->splits), vectors = (size_t)(d->in / vec_of(d, d->in));
    return bl_launch(d->input, BL_ITEMS(vectors, padded), BL_MEM(x->mem), BL_MEM(d->inputs->mem), BL_STRUCT(*sizes),
                     BL_I32(-padding[0]), BL_I32(-padding[1]), BL_I32(s.first), BL_I32(s.count), BL_I32(padded),
                     BL_I32(s.share));
}

struct pass {
    enum bl_conv_pass pass;
    struct bl_conv_sizes sizes;
    int padding[2];
    const struct blanch_tensor *x, *out, *beside; // the last NULL: none
    struct bl_mem *bias;                          // NULL: none
    struct bl_conv_finish finish;
};

static int multiply(const struct bl_conv *conv, const struct batch *d, struct slice s) {
    const struct bl_gemm gemm = {.m = s.count,
                                 .n = d->out,
                                 .k = d->in,
                                 .alpha = 1,
                                 .a = d->inputs->mem,
                                 .b = d->packed->mem,
                                 .c = d->others->mem,
                                 .lda = d->in,
                                 .ldb = d->out,
                                 .ldc = d->out,
                                 .batch = d->elements,
                                 .stride_a = s.count * d->in,
                                 .stride_b = (int64_t)d->in * d->out,
                                 .stride_c = s.count * d->out};
    return bl_gemm(conv->node->dev, &gemm);
}

static int convolve(struct bl_conv *conv, const struct pass *p) {
    const struct batch *d = conv->state[p->pass];
    const int64_t tiles = tiles_of(conv, p->pass, p->sizes.images);
    const size_t vectors = (size_t)(d->out / vec_of(d, d->out));
    int code = 0;
    for (int64_t first = 0; first < tiles && !code; first += d->tiles) {
        const struct slice s = slice_at(d, first, tiles);
        code = transform(d, &p->sizes, p->padding, p->x, s);
        if (!code) code = multiply(conv, d, s);
        if (!code)
            code = bl_launch(d->output, BL_ITEMS(vectors, (size_t)s.count), BL_MEM(d->others->mem),
                             BL_MEM(p->bias ? p->bias : d->packed->mem), BL_MEM(p->out->mem),
                             BL_MEM((p->beside ? p->beside : p->out)->mem), BL_STRUCT(p->sizes), BL_I32(s.first),
                             BL_I32(s.count), BL_STRUCT(p->finish));
    }
    return code;
}

static int forward(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x, struct bl_mem *bias,
                   const struct blanch_tensor *y) {
    const int *padding = conv->attrs.padding;
    const struct pass pass = {BL_CONV_FORWARD,
                              bl_conv_sizes(conv, run->n),
                              {padding[0], padding[1]},
                              x,
                              y,
                              conv->node->addend,
                              bias,
                              {.has_bias = bias != NULL,
                               .has_addend = conv->node->addend != NULL,
                               .activation = bl_node_activation(conv->node)}};
    return convolve(conv, &pass);
}

static int backward_data(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *dy,
                         const struct blanch_tensor *dx, bool accumulate) {
    const int *padding = conv->attrs.padding;
    const bool cut = conv->node->cuts;
    const struct pass pass = {BL_CONV_DATA,
                              bl_conv_data_sizes(conv, run->n),
                              {2 - padding[0], 2 - padding[1]},
                              dy,
                              dx,
                              cut ? conv->node->in[0] : NULL,
                              conv->bias,
                              {.has_bias = conv->bias != NULL, .accumulate = accumulate, .cut = cut}};
    return convolve(conv, &pass);
}

/* --- weight gradient -------------------------------------------------------------------------- */

static int multiply_transposed(const struct bl_conv *conv, const struct batch *d, struct slice s) {
    const struct bl_gemm gemm = {.trans_a = true,
                                 .m = d->in,
                                 .n = d->out,
                                 .k = s.share,
                                 .alpha = 1,
                                 .beta = s.first ? 1 : 0,
                                 .a = d->inputs->mem,
                                 .b = d->others->mem,
                                 .c = d->packed->mem,
                                 .lda = d->in,
                                 .ldb = d->out,
                                 .ldc = d->out,
                                 .batch = d->elements * d->splits,
                                 .stride_a = s.share * d->in,
                                 .stride_b = s.share * d->out,
                                 .stride_c = (int64_t)d->in * d->out};
    return bl_gemm(conv->node->dev, &gemm);
}

/* The splits' sums of one slice, behind those of the slices before it. */
static int sum_bias(const struct batch *d, struct slice s, int64_t slice) {
    return bl_launch(d->bias, BL_ITEMS((size_t)d->out, (size_t)d->splits), BL_MEM(d->others->mem),
                     BL_MEM(d->partial->mem), BL_I32(d->out), BL_I32(s.share), BL_I32(d->splits),
                     BL_I32(slice * d->splits));
}

static int backward_weights(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x,
                            const struct blanch_tensor *dy, struct bl_mem *dweight, struct bl_mem *dbias) {
    const struct batch *d = conv->state[BL_CONV_WEIGHTS];
    const struct bl_conv_sizes sizes = bl_conv_sizes(conv, run->n);
    const int64_t tiles = tiles_of(conv, BL_CONV_WEIGHTS, run->n);
    const size_t vectors = (size_t)(d->out / vec_of(d, d->out));
    int64_t slices = 0;
    int code = 0;
    for (int64_t first = 0; first < tiles && !code; first += d->tiles, slices++) {
        const struct slice s = slice_at(d, first, tiles);
        const size_t padded = (size_t)(s.share * d->splits);
        code = transform(d, &sizes, conv->attrs.padding, x, s);
        if (!code)
            code = bl_launch(d->gradient, BL_ITEMS(vectors, padded), BL_MEM(dy->mem), BL_MEM(d->others->mem),
                             BL_STRUCT(sizes), BL_I32(s.first), BL_I32(s.count), BL_I32(padded), BL_I32(s.share));
        if (!code) code = multiply_transposed(conv, d, s);
        if (!code && dbias) code = sum_bias(d, s, slices);
    }
    if (!code)
        code = bl_launch(d->finish, BL_ITEMS((size_t)d->out, (size_t)d->in), BL_MEM(d->packed->mem), BL_MEM(dweight),
                         BL_I32(conv->group_in), BL_I32(conv->group_out), BL_I32(conv->interleave), BL_I32(d->splits));
    const struct bl_chunk_sums sums = {d->partial->mem, slices * d->splits, d->out, 0};
    return code || !dbias ? code : bl_sum_chunks(conv->node, sums, d->out, dbias);
}

#define ENGINE(title, tile)                                                                                            \
    {                                                                                                                  \
        .name = title, .variant = tile, .applies = true, .cuts = true, .biases = true, .setup = setup,                 \
        .prepare = prepare, .pack = pack, .forward = forward, .backward_data = backward_data,                          \
        .backward_weights = backward_weights                                                                           \
    }
const struct bl_conv_engine bl_conv_winograd_batch = ENGINE("winograd", 2),
                            bl_conv_winograd4_batch = ENGINE("winograd4", 4);
