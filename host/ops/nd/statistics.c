#include "ops/nd/statistics.h"
#include "blas/blas.h"
#include "ops/common.h"
#include "ops/nd/symmetric_product.h"

enum {
    SMALL = 160, // features up to which a covariance is summed in parts, so that every core has a few
    PARTS = 8,
    MOST_PARTS = 64,
    VECTORS = 4,        // of channels that a CPU's item has of a depthwise layer: their sums stay in the first cache
    MOST_TAPS = 16,     // of a depthwise layer whose covariances are summed without rows; 7x7 is faster with them
    MOST_TAPS_GPU = 9,  // their 45 sums stay in registers
    GEOMETRY_INTS = 17, // struct geometry of the kernels
    MOST_SKIP = 1 << 24,
    PATCH_CHUNKS = 64, // sums of patches that make the mean
};

/* statistics.cl up to SCATTER_PANELS, then moments.cl. */
#define KERNELS(X)                                                                                                     \
    X(PILOT, pilot_samples)                                                                                            \
    X(SUM, sum_samples)                                                                                                \
    X(GATHER, gather_samples)                                                                                          \
    X(SCATTER, scatter_samples)                                                                                        \
    X(COVARIANCE_DEPTHWISE, covariance_depthwise)                                                                      \
    X(SCATTER_DEPTHWISE, scatter_depthwise)                                                                            \
    X(SQUARES, square_samples)                                                                                         \
    X(SCATTER_REUSED, scatter_reused)                                                                                  \
    X(COVARIANCE_PANELS, covariance_panels)                                                                            \
    X(SCATTER_PANELS, scatter_panels)                                                                                  \
    X(MEAN, mean)                                                                                                      \
    X(COVARIANCE, covariance)                                                                                          \
    X(COVARIANCE_LANES, covariance_lanes)                                                                              \
    X(BACK_MEAN, back_mean)
#define ID(id, name) id,
#define NAME(id, name) #name,
enum { KERNELS(ID) COUNT };
static const char *const kernel_names[] = {KERNELS(NAME)};
_Static_assert((int)COUNT == (int)BL_STATISTICS_KERNELS, "statistics.h counts the kernels otherwise");

/* --- setup ------------------------------------------------------------------------------------ */

/* Of an image, before some are left out: patches, or pixels of which every flat-th is one. */
static int64_t places_of(const struct bl_statistics *s) {
    const struct blanch_tensor *x = s->node->in[0];
    return s->samples.flat ? x->h * x->w : (int64_t)s->down * s->across;
}

static int64_t all_patches(const struct bl_statistics *s, int64_t images) {
    const int64_t flat = s->samples.flat ? s->samples.flat : 1;
    return (images * places_of(s) + flat - 1) / flat;
}

static int64_t most_patches(const struct bl_statistics *s) {
    int64_t most = s->samples.most < 0 ? -s->samples.most * s->features : s->samples.most;
    if (!most) return INT64_MAX;
    return most > s->samples.interleave ? most / s->samples.interleave : 1;
}

/* The smallest step from one patch to the next that leaves no more of the whole batch, of all ranks. */
static int skip_of(const struct bl_statistics *s, int images) {
    int64_t all = all_patches(s, s->whole ? s->whole : images), most = most_patches(s),
            skip = all <= most ? 1 : (all + most - 1) / most;
    return skip < MOST_SKIP ? (int)skip : MOST_SKIP;
}

/* The places of this rank's images that are taken: from *first on, *step apart. Where there would be none the first one
 * is, as kernels want one. */
static int64_t patches_from(const struct bl_statistics *s, int images, int64_t *first) {
    const int64_t step = (s->samples.flat ? s->samples.flat : 1) * (int64_t)skip_of(s, images);
    const int64_t places = images * places_of(s), before = s->before * places_of(s) % step;
    *first = before ? step - before : 0;
    if (*first < places) return (places - *first + step - 1) / step;
    *first = 0;
    return 1;
}

static int64_t patches_of(const struct bl_statistics *s, int images) {
    int64_t first;
    return patches_from(s, images, &first);
}

/* Of a batch of so many images or fewer: a smaller one may have more, with a smaller step. */
static int64_t room_for(const struct bl_statistics *s, int images) {
    int64_t all = all_patches(s, images), most = most_patches(s);
    return all < most ? all : most;
}

bool bl_statistics_capped(const struct bl_statistics *s, int images) {
    return skip_of(s, images) > 1;
}

int64_t bl_statistics_count(const struct bl_statistics *s, int images) {
    return patches_of(s, images) * s->samples.interleave;
}

bool bl_statistics_strided(const struct bl_statistics *s) {
    return s->samples.interleave > 1 && !s->samples.contiguous;
}

static int patches_along(const struct bl_samples *s, int64_t size, int axis) {
    return (int)((size + 2 * s->padding[axis] - s->dilation[axis] * (s->kernel[axis] - 1) - 1) / s->step[axis]) + 1;
}

/* Images that are nearly all padding have patches without end. */
static int check_rows(const struct bl_statistics *s) {
    const struct bl_samples *a = &s->samples;
    double images = bl_node_batch(s->node), patches = images * (double)s->down * (double)s->across;
    if (patches * a->interleave * a->matrices * (double)s->features <= (double)((int64_t)1 << 48)) return 0;
    return bl_fail(BLANCH_ELIMIT, "%s: %.0f samples of %lld features; use a smaller batch or less padding",
                   s->node->name, patches * a->interleave, (long long)s->features);
}

static bool keeps_no_rows(const struct bl_statistics *s) {
    return s->depthwise || s->panels;
}

static void declare_workspaces(struct bl_statistics *s) {
    struct bl_node *node = s->node;
    int64_t vector = s->samples.matrices * s->features,
            samples = room_for(s, bl_node_batch(node)) * s->samples.interleave,
            rows = (samples * s->samples.matrices + s->splits) * s->features;
    if (keeps_no_rows(s)) rows = 1;
    const int64_t panels = s->panels ? s->splits * bl_panel_size(s->features) : 1;
    struct {
        struct blanch_tensor **tensor;
        enum bl_life life;
        int64_t count;
    } wanted[] = {
        {&s->geometry, BL_LIFE_KEPT, GEOMETRY_INTS},
        {&s->rows, BL_LIFE_SAVED, rows},
        {&s->mean, BL_LIFE_PINNED, vector},
        {&s->row_high, BL_LIFE_PINNED, vector},
        {&s->row_low, BL_LIFE_PINNED, vector},
        {&s->pilot, BL_LIFE_FORWARD, s->taps * node->in[0]->c},
        {&s->partial, BL_LIFE_FORWARD, PATCH_CHUNKS * s->taps * node->in[0]->c},
        {&s->parts, BL_LIFE_FORWARD, s->splits * s->size},
        {&s->squares, BL_LIFE_FORWARD, vector},
        {&s->sbar, BL_LIFE_BACKWARD, s->size},
        {&s->drows, BL_LIFE_BACKWARD, rows},
        {&s->dmean, BL_LIFE_BACKWARD, vector},
        {&s->panel, BL_LIFE_FORWARD, panels},
        {&s->back_panels, BL_LIFE_BACKWARD, 2 * panels},
    };
    for (int i = 0; i < BL_COUNT(wanted); i++)
        *wanted[i].tensor = bl_node_workspace(node, wanted[i].life, wanted[i].count);
    if (!s->depthwise && bl_packed_product_serves(node, s->samples.matrices))
        bl_packed_product_setup(&s->by_covariance, node, s->features, BL_LIFE_BACKWARD);
}

/* Parts of the patches whose sums are formed apart: with vectors of channels, a few for every core. */
static int depthwise_parts(const struct bl_node *node) {
    if (!bl_on_cpu(node->dev)) return MOST_PARTS;
    int64_t vectors = (node->in[0]->c / bl_vec(node->dev, node->in[0]->c) + VECTORS - 1) / VECTORS;
    int64_t parts = node->dev ? 8 * (int64_t)blanch_device_info(node->dev)->compute_units / vectors : 1;
    return parts < 1 ? 1 : parts > PARTS ? PARTS : (int)parts;
}

/* Of the samples, whose products are summed apart: as many as give every compute unit two tiles of the covariance's
 * upper half, a power of two, which mostly divides the samples. The same on all ranks, whatever their share of the
 * batch. */
static int parts_of_product(const struct bl_statistics *s) {
    enum { TILE = 64, MOST = 16 };
    if (bl_on_cpu(s->node->dev)) return 1;
    const int64_t across = (s->features + TILE - 1) / TILE, tiles = across * (across + 1) / 2;
    int parts = 1;
    while (parts < MOST && parts * tiles < 2 * (int64_t)blanch_device_info(s->node->dev)->compute_units) parts *= 2;
    return parts;
}

/* Whether patches have no pixel in common along an axis. */
static bool are_apart(const struct bl_statistics *s, int axis) {
    const struct bl_samples *a = &s->samples;
    return a->flat || (axis ? s->across : s->down) == 1 || a->step[axis] > a->dilation[axis] * (a->kernel[axis] - 1);
}

/* Whether the way back of a depthwise layer goes patch by patch. */
static bool scatters_patches(const struct bl_statistics *s) {
    return s->depthwise && bl_on_cpu(s->node->dev) && are_apart(s, 0) && are_apart(s, 1);
}

int bl_statistics_setup(struct bl_statistics *s, struct bl_node *node, const struct bl_samples *samples, bool alone) {
    const struct blanch_tensor *x = node->in[0];
    s->node = node, s->samples = *samples;
    s->taps = samples->kernel[0] * samples->kernel[1];
    s->features = (int64_t)samples->block * s->taps;
    s->size = samples->matrices * s->features * s->features;
    s->down = samples->flat ? 1 : patches_along(samples, x->h, 0);
    s->across = samples->flat ? 1 : patches_along(samples, x->w, 1);
    if (s->down < 1 || s->across < 1)
        return bl_fail(BLANCH_EINPUT, "%s: the kernel is larger than its input", node->name);
    int code = check_rows(s);
    if (code) return code;
    s->depthwise = alone && samples->matrices > 1 && samples->block == 1 && !samples->flat &&
                   s->taps <= (bl_on_cpu(node->dev) ? MOST_TAPS : MOST_TAPS_GPU);
    s->panels = bl_panels_serve(node, samples->matrices, s->features) && samples->interleave <= BL_PANEL_ROWS &&
                are_apart(s, 0) && are_apart(s, 1);
    if (s->depthwise)
        s->splits = depthwise_parts(node);
    else if (s->panels)
        s->splits = bl_panel_parts(node, s->features);
    else if (bl_gram_serves(node, samples->matrices, s->features))
        s->splits = bl_gram_setup(&s->gram, node, s->features, 1, BL_LIFE_FORWARD);
    else
        s->splits = samples->matrices > 1 ? 1 : s->features <= SMALL ? PARTS : parts_of_product(s);
    s->narrow = samples->matrices > 1 && samples->block < 16 ? samples->block : 0;
    s->vec_block = bl_vec(node->dev, samples->block);
    s->vec_channels = s->depthwise && !bl_on_cpu(node->dev) ? 1 : bl_vec(node->dev, x->c); // sums of pairs in registers
    if (bl_node_training(node)) declare_workspaces(s);
    return 0;
}

/* What the kernels know of a batch of so many images. */
static int describe(struct bl_statistics *s, int images) {
    const struct bl_samples *a = &s->samples;
    const struct blanch_tensor *x = s->node->in[0];
    int64_t first;
    int skip = skip_of(s, images);
    patches_from(s, images, &first);
    const int32_t geometry[GEOMETRY_INTS] = {
        (int32_t)x->c, (int32_t)x->h, (int32_t)x->w,  s->down,        s->across,
        a->padding[0], a->padding[1], a->dilation[0], a->dilation[1], a->block,
        a->interleave, a->matrices,   s->depthwise,   s->taps,        bl_statistics_strided(s),
        skip,          (int32_t)first};
    if (s->skip == skip && s->first == first) return 0;
    s->skip = skip, s->first = (int)first;
    return bl_mem_write(s->geometry->mem, 0, sizeof geometry, geometry);
}

/* Of statistics.cl only what this layer launches is built; moments.cl is small. */
static bool is_launched(const struct bl_statistics *s, int kernel, bool reuses) {
    if (kernel == PILOT || kernel == BACK_MEAN) return bl_on_cpu(s->node->dev); // elsewhere others do it by the way
    if (kernel == GATHER || kernel == SCATTER) return !keeps_no_rows(s);
    if (kernel == COVARIANCE_PANELS || kernel == SCATTER_PANELS) return s->panels;
    if (kernel == COVARIANCE_DEPTHWISE || kernel == SCATTER_DEPTHWISE) return s->depthwise;
    return reuses || (kernel != SQUARES && kernel != SCATTER_REUSED);
}

int bl_statistics_prepare(struct bl_statistics *s, bool reuses) {
    const struct bl_samples *a = &s->samples;
    struct bl_define defines[] = {
        {"VEC", s->vec_block},
        {"VEC_SUM", s->vec_channels},
        {"STRIDED", bl_statistics_strided(s)},
        {"NARROW", s->narrow},
        {"TAPS_Y", a->kernel[0]},
        {"TAPS_X", a->kernel[1]},
        {"STEP_Y", a->flat ? 1 : a->step[0]},
        {"STEP_X", a->flat ? 1 : a->step[1]},
        {"FLAT", a->flat},
        {"LANES", !bl_on_cpu(s->node->dev)},
        {"APART", scatters_patches(s)},
        BL_ACT(s->node),
        {"CUT", 0},
        {"KERNELS", 0},
        {"TM", 0},
        {"STRIPS", 0},
    };
    bl_panel_defines(s->node, &defines[BL_COUNT(defines) - 2]);
    const struct bl_define of_moments[] = {defines[0], {"TREE", bl_tree(s->node->dev)}};
    enum { WHICH = BL_COUNT(defines) - 3 };
    int code = 0;
    for (int i = 0; i < COUNT && !code; i++) {
        defines[WHICH].value = i == COVARIANCE_PANELS || i == SCATTER_PANELS ? 3
                               : i == SQUARES || i == SCATTER_REUSED         ? 2
                                                                             : s->depthwise;
        defines[WHICH - 1].value = i == SCATTER && s->node->cuts;
        if (!is_launched(s, i, reuses)) continue;
        code = i < MEAN ? bl_kernel_get(s->node->dev, "nd/statistics", kernel_names[i], defines,
                                        BL_COUNT(defines) - (defines[WHICH].value == 3 ? 0 : 2), &s->kernel[i])
                        : bl_kernel_get(s->node->dev, "nd/moments", kernel_names[i], of_moments, BL_COUNT(of_moments),
                                        &s->kernel[i]);
    }
    if (!code) code = describe(s, bl_node_batch(s->node));
    if (!code && s->gram.node) code = bl_gram_prepare(&s->gram);
    return code || !s->by_covariance.node ? code : bl_packed_product_prepare(&s->by_covariance);
}

/* --- launching -------------------------------------------------------------------------------- */

static int rows_each(const struct bl_statistics *s) {
    return bl_rows_each(s->node, s->features);
}
static struct bl_range over_rows(const struct bl_statistics *s) {
    return bl_over_rows(s->node, s->samples.matrices, s->features, false);
}

/* `items` ranges of patches or image rows; on a CPU one item does whole pixels, elsewhere they are shared out. */
static struct bl_range over_samples(const struct bl_statistics *s, int64_t items) {
    const struct bl_samples *a = &s->samples;
    if (bl_on_cpu(s->node->dev)) return BL_GROUPS1(1, (size_t)items);
    size_t segments = (size_t)(a->matrices > 1 ? a->matrices : a->interleave);
    return s->narrow ? BL_ITEMS(segments, (size_t)items)
                     : BL_ITEMS((size_t)(a->block / s->vec_block), (size_t)items, segments);
}

/* The same where vectors run over all channels. */
static struct bl_range over_channels(const struct bl_statistics *s, int64_t items) {
    return bl_on_cpu(s->node->dev) ? BL_GROUPS1(1, (size_t)items)
                                   : BL_ITEMS((size_t)(s->node->in[0]->c / s->vec_channels), (size_t)items);
}

/* The same, elsewhere than on a CPU a tap each. */
static struct bl_range over_taps(const struct bl_statistics *s, int64_t items) {
    struct bl_range range = over_channels(s, items);
    if (!bl_on_cpu(s->node->dev)) range.global[2] = (size_t)s->taps;
    return range;
}

/* How much one item takes of `total`, and how many items that makes. */
static int64_t chunk_of(const struct bl_statistics *s, int64_t total, int64_t most, int64_t *items) {
    int64_t want = bl_on_cpu(s->node->dev) ? 8 * (int64_t)blanch_device_info(s->node->dev)->compute_units : total;
    if (want > most) want = most;
    int64_t chunk = (total + want - 1) / want;
    *items = (total + chunk - 1) / chunk;
    return chunk;
}

#define INPUT(s) BL_MEM((s)->node->in[0]->mem)
#define GEOMETRY(s) BL_MEM((s)->geometry->mem)

/* --- forward ---------------------------------------------------------------------------------- */

/* Sums over chunks, of `size` floats, become sums over all ranks' chunks. */
static int sum_chunks(const struct bl_statistics *s, const struct bl_run *run, struct bl_mem *sums, int64_t size,
                      int64_t *chunks) {
    struct bl_sums of_ranks = {.partial = sums, .chunks = *chunks, .size = size};
    int code = bl_merge_sums(run->all, s->node->dev, &of_ranks);
    *chunks = of_ranks.chunks;
    return code;
}

/* Elsewhere than on a CPU the sums' launch finds it. */
static int take_pilot(const struct bl_statistics *s, int64_t patches) {
    if (!bl_on_cpu(s->node->dev)) return 0;
    return bl_launch_light(s->node->dev, s->kernel[PILOT], over_channels(s, s->taps), INPUT(s), GEOMETRY(s),
                           BL_I32(patches), BL_MEM(s->pilot->mem));
}

int bl_statistics_mean(struct bl_statistics *s, const struct bl_run *run, float momentum, struct bl_mem *running) {
    s->before = run->all ? run->first_image : 0, s->whole = run->all ? run->whole : 0;
    int64_t patches = patches_of(s, run->n), items, chunk = chunk_of(s, patches, PATCH_CHUNKS, &items);
    int code = describe(s, run->n);
    if (!code) code = take_pilot(s, patches);
    if (!code)
        code = bl_launch_light(s->node->dev, s->kernel[SUM], over_taps(s, items), INPUT(s), GEOMETRY(s),
                               BL_I32(patches), BL_I32(chunk), BL_MEM(s->pilot->mem), BL_MEM(s->partial->mem));
    struct bl_sums sums = {s->partial->mem, s->pilot->mem, items, s->taps * s->node->in[0]->c, (double)patches};
    if (!code) code = bl_merge_sums(run->all, s->node->dev, &sums);
    if (code) return code;
    s->samples_of_all = sums.rows * s->samples.interleave;
    int64_t count = s->samples.matrices * s->features;
    int each = bl_on_cpu(s->node->dev) ? 64 : 1;
    struct bl_range range = bl_on_cpu(s->node->dev) ? BL_GROUPS1(1, (size_t)((count + each - 1) / each))
                                                    : bl_tree_rows(s->node->dev, count);
    return bl_launch_light(s->node->dev, s->kernel[MEAN], range, BL_MEM(s->pilot->mem), BL_MEM(s->partial->mem),
                           BL_I32(sums.chunks), GEOMETRY(s), BL_F32(1.0 / s->samples_of_all), BL_F32(momentum),
                           BL_I32(each), BL_MEM(s->row_high->mem), BL_MEM(s->row_low->mem), BL_MEM(s->mean->mem),
                           BL_MEM(running));
}

/* Samples of a part; those beyond the last are zero. */
static int64_t part_of(const struct bl_statistics *s, int images) {
    return (bl_statistics_count(s, images) + s->splits - 1) / s->splits;
}

int bl_statistics_gather(struct bl_statistics *s, int images) {
    int64_t patches = patches_of(s, images), items, chunk = chunk_of(s, patches, INT32_MAX, &items),
            samples = bl_statistics_count(s, images), fill = part_of(s, images) * s->splits - samples;
    if (keeps_no_rows(s)) return 0;
    if (s->gram.node) fill = 0;
    int code = fill ? bl_mem_fill(s->rows->mem, sizeof(float) * (size_t)(samples * s->features),
                                  sizeof(float) * (size_t)(fill * s->features), 0)
                    : 0;
    if (code) return code;
    return bl_launch_light(s->node->dev, s->kernel[GATHER], over_samples(s, items), INPUT(s), GEOMETRY(s),
                           BL_I32(patches), BL_I32(chunk), BL_MEM(s->row_high->mem), BL_MEM(s->row_low->mem),
                           BL_MEM(s->rows->mem));
}

static int covariance_depthwise(struct bl_statistics *s, const struct bl_run *run, float eps,
                                struct bl_mem *covariance) {
    int64_t patches = patches_of(s, run->n), chunk = (patches + s->splits - 1) / s->splits,
            items = (patches + chunk - 1) / chunk, pairs = s->features * (s->features + 1) / 2;
    size_t vectors = (size_t)(s->node->in[0]->c / s->vec_channels);
    struct bl_range range = bl_on_cpu(s->node->dev) ? BL_GROUPS1((vectors + VECTORS - 1) / VECTORS, (size_t)items)
                                                    : BL_ITEMS(vectors, (size_t)items);
    bl_work(s->node->dev, (double)patches * s->samples.matrices * (double)s->features * (double)(s->features + 1), 0);
    int code = bl_launch(s->kernel[COVARIANCE_DEPTHWISE], range, INPUT(s), GEOMETRY(s), BL_I32(patches), BL_I32(chunk),
                         BL_MEM(s->row_high->mem), BL_MEM(s->row_low->mem), BL_MEM(s->parts->mem));
    if (!code) code = sum_chunks(s, run, s->parts->mem, pairs * s->samples.matrices, &items);
    if (code) return code;
    return bl_launch_light(s->node->dev, s->kernel[COVARIANCE_LANES], over_rows(s), BL_MEM(s->parts->mem),
                           BL_I32(items), GEOMETRY(s), BL_F32(1.0 / s->samples_of_all), BL_F32(eps),
                           BL_I32(rows_each(s)), BL_MEM(covariance), BL_MEM(s->squares->mem));
}

static int covariance_panels(const struct bl_statistics *s, int images) {
    const int64_t f = s->features, samples = bl_statistics_count(s, images);
    bl_work(s->node->dev, (double)samples * (double)f * (double)(f + 1),
            BL_FLOAT_BYTES * (uint64_t)(samples * f + s->splits * f * f));
    return bl_launch(s->kernel[COVARIANCE_PANELS], BL_GROUPS1((size_t)s->splits), INPUT(s), GEOMETRY(s),
                     BL_I32(patches_of(s, images)), BL_MEM(s->row_high->mem), BL_MEM(s->row_low->mem),
                     BL_F32(1.0 / s->samples_of_all), BL_MEM(s->panel->mem), BL_MEM(s->parts->mem));
}

/* Sums of products of the rows, in parts. */
static int multiply_rows(const struct bl_statistics *s, int images) {
    if (s->panels) return covariance_panels(s, images);
    int64_t part = part_of(s, images), f = s->features;
    if (s->gram.node) {
        const struct bl_gram_product own = {.a = s->rows->mem,
                                            .b = s->rows->mem,
                                            .sums = s->parts->mem,
                                            .rows = bl_statistics_count(s, images),
                                            .interleave = 1,
                                            .alpha = 1.0 / s->samples_of_all};
        return bl_gram_multiply(&s->gram, &own);
    }
    struct bl_gemm product = {
        .trans_a = true,
        .symmetric = true,
        .m = f,
        .n = f,
        .k = part,
        .alpha = (float)(1.0 / s->samples_of_all),
        .a = s->rows->mem,
        .b = s->rows->mem,
        .c = s->parts->mem,
        .lda = s->samples.matrices * f,
        .ldb = s->samples.matrices * f,
        .ldc = f,
        .batch = s->splits > 1 ? s->splits : s->samples.matrices,
        .stride_c = f * f,
    };
    product.stride_a = product.stride_b = s->splits > 1 ? part * f : f;
    return bl_gemm(s->node->dev, &product);
}

int bl_statistics_covariance(struct bl_statistics *s, const struct bl_run *run, float eps, struct bl_mem *covariance) {
    if (s->depthwise) return covariance_depthwise(s, run, eps, covariance);
    int64_t splits = s->splits;
    int code = bl_statistics_gather(s, run->n);
    if (!code) code = multiply_rows(s, run->n);
    if (!code) code = sum_chunks(s, run, s->parts->mem, s->size, &splits);
    if (code) return code;
    const struct bl_range rows =
        bl_on_cpu(s->node->dev) ? over_rows(s) : bl_tree_rows(s->node->dev, s->samples.matrices * s->features);
    return bl_launch_light(s->node->dev, s->kernel[COVARIANCE], rows, BL_MEM(s->parts->mem), BL_I32(splits),
                           GEOMETRY(s), BL_F32(eps), BL_I32(rows_each(s)), BL_MEM(covariance), BL_MEM(s->squares->mem));
}

int bl_statistics_squares(struct bl_statistics *s, const struct bl_run *run, struct bl_mem *mean, struct bl_mem *sums,
                          int64_t *chunks) {
    int64_t patches = patches_of(s, run->n), chunk = chunk_of(s, patches, BL_SQUARE_CHUNKS, chunks);
    int code = bl_launch_light(s->node->dev, s->kernel[SQUARES], over_channels(s, *chunks), INPUT(s), GEOMETRY(s),
                               BL_I32(patches), BL_I32(chunk), BL_MEM(mean), BL_MEM(sums));
    return code ? code : sum_chunks(s, run, sums, s->node->in[0]->c, chunks);
}

/* --- backward --------------------------------------------------------------------------------- */

/* drows = 2/samples X Sbar; the mean's own gradient through the centring vanishes, as the centred rows sum to zero. */
static int rows_backward(struct bl_statistics *s, int64_t samples) {
    int64_t f = s->features, stride = s->samples.matrices * f;
    if (s->by_covariance.node) {
        int code = bl_packed_product_pack(&s->by_covariance, s->sbar->mem, 2.0 / s->samples_of_all);
        return code ? code
                    : bl_packed_product_multiply(&s->by_covariance, s->rows->mem, (struct bl_interval){0, samples}, 1,
                                                 s->drows->mem);
    }
    struct bl_gemm product = {
        .m = samples,
        .n = f,
        .k = f,
        .alpha = (float)(2.0 / s->samples_of_all),
        .a = s->rows->mem,
        .b = s->sbar->mem,
        .c = s->drows->mem,
        .lda = stride,
        .ldb = f,
        .ldc = stride,
        .batch = s->samples.matrices,
        .stride_a = f,
        .stride_b = f * f,
        .stride_c = f,
    };
    return s->depthwise ? 0 : bl_gemm(s->node->dev, &product);
}

int bl_statistics_back_mean(const struct bl_statistics *s, struct bl_mem *gradient) {
    return bl_launch_light(s->node->dev, s->kernel[BACK_MEAN], over_rows(s), BL_MEM(gradient), GEOMETRY(s),
                           BL_F32(1.0 / s->samples_of_all), BL_I32(rows_each(s)), BL_MEM(s->dmean->mem));
}

static int scatter_panels(struct bl_statistics *s, int images) {
    const int64_t f = s->features, samples = bl_statistics_count(s, images);
    int code = bl_packed_product_pack(&s->by_covariance, s->sbar->mem, 2.0 / s->samples_of_all);
    if (code) return code;
    bl_work(s->node->dev, 2 * (double)samples * (double)f * (double)f,
            BL_FLOAT_BYTES * (uint64_t)(3 * samples * f + f * f));
    return bl_launch(s->kernel[SCATTER_PANELS], BL_GROUPS1((size_t)s->splits), INPUT(s), GEOMETRY(s),
                     BL_I32(patches_of(s, images)), BL_MEM(s->row_high->mem), BL_MEM(s->row_low->mem),
                     BL_MEM(s->by_covariance.packed->mem), BL_MEM(s->dmean->mem), BL_MEM(s->back_panels->mem),
                     BL_MEM(s->node->in[0]->grad->mem));
}

int bl_statistics_backward(struct bl_statistics *s, int images) {
    if (s->panels) return scatter_panels(s, images);
    const struct blanch_tensor *x = s->node->in[0];
    int64_t samples = bl_statistics_count(s, images), lines = (int64_t)images * x->h, items,
            chunk = chunk_of(s, lines, INT32_MAX, &items);
    int code = rows_backward(s, samples);
    if (code) return code;
    if (!s->depthwise)
        return bl_launch_light(s->node->dev, s->kernel[SCATTER], over_samples(s, items), BL_MEM(s->drows->mem),
                               BL_MEM(s->dmean->mem), INPUT(s), GEOMETRY(s), BL_I32(lines), BL_I32(chunk),
                               BL_MEM(x->grad->mem));
    bl_work(s->node->dev, 2 * (double)samples * s->samples.matrices * (double)s->features * (double)s->features, 0);
    struct bl_range range = over_channels(s, items);
    if (scatters_patches(s)) {
        lines = patches_of(s, images), chunk = chunk_of(s, lines, INT32_MAX, &items);
        range = BL_GROUPS1(1, (size_t)items);
    }
    return bl_launch(s->kernel[SCATTER_DEPTHWISE], range, INPUT(s), BL_MEM(s->row_high->mem), BL_MEM(s->row_low->mem),
                     BL_MEM(s->sbar->mem), BL_MEM(s->dmean->mem), GEOMETRY(s), BL_F32(2.0 / s->samples_of_all),
                     BL_I32(lines), BL_I32(chunk), BL_MEM(x->grad->mem));
}

int bl_statistics_scatter(struct bl_statistics *s, int images, struct bl_mem *slopes) {
    const struct blanch_tensor *x = s->node->in[0];
    int64_t lines = (int64_t)images * x->h, items, chunk = chunk_of(s, lines, INT32_MAX, &items);
    return bl_launch_light(s->node->dev, s->kernel[SCATTER_REUSED], over_channels(s, items), INPUT(s), BL_MEM(slopes),
                           GEOMETRY(s), BL_I32(lines), BL_I32(chunk), BL_MEM(x->grad->mem));
}
