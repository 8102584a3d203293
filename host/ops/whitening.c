/* Statistics of samples: mean and covariance, what the gradients of mean and D make of the samples, and what holds
 * between refreshes. D itself and its gradient are in inverse_sqrt.c. */
#include "ops/whitening.h"
#include "blas/blas.h"
#include "ops/common.h"
#include "ops/inverse_sqrt.h"
#include "ops/packed_product.h"
#include <math.h>
#include <stdlib.h>

enum {
    SMALL = 160, // features up to which a covariance is summed in parts, so that every core has a few
    PARTS = 8,
    MOST_TAPS = 16,     // of a depthwise layer whose covariances are summed without rows; 7x7 is faster with them
    PATCH_CHUNKS = 64,  // sums of patches that make the mean
    SQUARE_CHUNKS = 16, // sums of squares that make the variance between refreshes
    EXACT_STEPS = 20,   // at the start, whatever the interval of refreshing
    LONG = 8,           // steps between refreshes
};

/* whitening.cl up to SCATTER_KEPT, nd_inverse_sqrt.cl up to BACK_MEAN, then nd_refresh.cl. */
#define WHITENING_KERNELS(X)                                                                                           \
    X(SUM, sum_samples)                                                                                                \
    X(GATHER, gather_samples)                                                                                          \
    X(SCATTER, scatter_samples)                                                                                        \
    X(COVARIANCE_DEPTHWISE, covariance_depthwise)                                                                      \
    X(SCATTER_DEPTHWISE, scatter_depthwise)                                                                            \
    X(SQUARES, square_samples)                                                                                         \
    X(SCATTER_KEPT, scatter_kept)                                                                                      \
    X(MEAN, mean)                                                                                                      \
    X(COVARIANCE, covariance)                                                                                          \
    X(COVARIANCE_LANES, covariance_lanes)                                                                              \
    X(BACK_MEAN, back_mean)                                                                                            \
    X(VARIANCE, variance)                                                                                              \
    X(SPREAD_MEAN, spread_mean)                                                                                        \
    X(SLOPES, slopes)                                                                                                  \
    X(FACTOR, factor)                                                                                                  \
    X(RESCALE, rescale)                                                                                                \
    X(BACK_FACTOR, back_factor)                                                                                        \
    X(CHANGE, change)

#define ID(id, name) id,
#define NAME(id, name) #name,
enum kernel { WHITENING_KERNELS(ID) KERNELS };
static const char *const kernel_names[KERNELS] = {WHITENING_KERNELS(NAME)};

struct bl_whitening {
    struct bl_node *node;
    struct bl_nd_attrs attrs;
    struct bl_samples geometry;
    int down, across; // patches of an image, unless flat
    int taps, splits;
    int64_t features, size; // F, matrices*F*F
    int64_t samples;        // of a matrix, of the planned batch
    bool depthwise;         // every channel is whitened alone, at every step: no rows are kept
    int narrow;             // 0, or the block where it is too small for vectors
    int vec_block, vec_row, vec_channels;
    bool constant, stale; // of the last forward: running statistics; those between two refreshes
    bool through_scale;   // the gradient of D passes through its scale alone
    struct bl_param *running_mean, *running_deconv, *counter;
    struct bl_param *last_deconv, *last_variance, *refresh_counter; // where refreshing is less often
    struct bl_kernel *kernel[KERNELS];
    struct bl_tensor *rows, *mean, *deconv;                 // from forward to backward
    struct bl_tensor *partial, *row_mean, *parts, *squares; // forward
    struct bl_tensor *factors, *square_parts, *spread, *slopes;
    struct bl_tensor *change;               // of D at the last refresh but the first, where refreshes are scheduled
    struct bl_tensor *sbar, *drows, *dmean; // backward
    struct bl_inverse_sqrt root;
    struct bl_packed_product by_sbar; // where it serves
};

/* --- setup ------------------------------------------------------------------------------------ */

static int64_t patches_of(const struct bl_whitening *w, int images) {
    const struct bl_tensor *x = w->node->in[0];
    if (w->geometry.flat) return (images * x->h * x->w + w->geometry.flat - 1) / w->geometry.flat;
    return (int64_t)images * w->down * w->across;
}

static int patches_along(const struct bl_samples *s, int64_t size, int axis) {
    return (int)((size + 2 * s->padding[axis] - s->dilation[axis] * (s->kernel[axis] - 1) - 1) / s->step[axis]) + 1;
}

static void declare_buffers(struct bl_whitening *w) {
    int64_t f = w->features, m = w->geometry.matrices, mean[] = {m * f}, one[] = {f, f}, many[] = {m, f, f};
    w->running_mean = bl_node_buffer(w->node, "running_mean", BL_INIT_ZEROS, 1, mean);
    w->running_deconv = bl_node_buffer(w->node, "running_deconv", BL_INIT_EYE, m > 1 ? 3 : 2, m > 1 ? many : one);
    if (w->attrs.freeze) w->counter = bl_node_counter(w->node, "freeze_counter", true);
    bool scheduled = w->attrs.refresh == BL_REFRESH_SCHEDULED && !w->depthwise;
    if (w->attrs.refresh <= 1 && !scheduled) return;
    w->refresh_counter = bl_node_counter(w->node, "refresh_counter", true);
    w->last_deconv = bl_node_buffer(w->node, "last_deconv", BL_INIT_EYE, m > 1 ? 3 : 2, m > 1 ? many : one);
    w->last_variance = bl_node_buffer(w->node, "last_variance", BL_INIT_ONES, 1, &m);
    if (w->last_deconv) w->last_deconv->private_state = true;
    if (w->last_variance) w->last_variance->private_state = true;
}

static bool multiplies_packed(const struct bl_whitening *w) {
    return !w->depthwise && bl_packed_product_serves(w->node, w->geometry.matrices);
}

static void declare_workspaces(struct bl_whitening *w) {
    struct bl_node *node = w->node;
    int64_t vector = w->geometry.matrices * w->features,
            rows = (w->samples * w->geometry.matrices + w->splits) * w->features;
    if (w->depthwise) rows = 1;
    struct {
        struct bl_tensor **tensor;
        enum bl_life life;
        int64_t count;
    } wanted[] = {
        {&w->rows, BL_LIFE_SAVED, rows},        {&w->mean, BL_LIFE_SAVED, vector},
        {&w->deconv, BL_LIFE_SAVED, w->size},   {&w->partial, BL_LIFE_FORWARD, PATCH_CHUNKS * w->taps * node->in[0]->c},
        {&w->row_mean, BL_LIFE_SAVED, vector},  {&w->parts, BL_LIFE_FORWARD, w->splits * w->size},
        {&w->squares, BL_LIFE_FORWARD, vector}, {&w->sbar, BL_LIFE_BACKWARD, w->size},
        {&w->drows, BL_LIFE_BACKWARD, rows},    {&w->dmean, BL_LIFE_BACKWARD, vector},
    };
    for (int i = 0; i < BL_COUNT(wanted); i++)
        *wanted[i].tensor = bl_node_workspace(node, wanted[i].life, wanted[i].count);
    if (w->refresh_counter) {
        w->factors = bl_node_workspace(node, BL_LIFE_SAVED, 2 * w->geometry.matrices);
        w->square_parts = bl_node_workspace(node, BL_LIFE_FORWARD, SQUARE_CHUNKS * node->in[0]->c);
        w->spread = bl_node_workspace(node, BL_LIFE_SAVED, w->taps * node->in[0]->c);
        w->slopes = bl_node_workspace(node, BL_LIFE_BACKWARD, (w->taps + 1) * node->in[0]->c);
        if (w->attrs.refresh == BL_REFRESH_SCHEDULED) w->change = bl_node_workspace(node, BL_LIFE_KEPT, 3 * vector);
    }
    if (multiplies_packed(w)) bl_packed_product_setup(&w->by_sbar, node, w->features, BL_LIFE_BACKWARD);
    bl_inverse_sqrt_setup(&w->root, node, w->geometry.matrices, w->features, w->attrs.n_iter, w->parts);
}

static int check(const struct bl_node *node, const struct bl_nd_attrs *a, const struct bl_samples *s) {
    if (a->n_iter < 1) return bl_fail(BLANCH_EINPUT, "%s: n_iter is %d, must be at least 1", node->name, a->n_iter);
    if (s->block < 1 || (int64_t)s->block * s->interleave * s->matrices != node->in[0]->c)
        return bl_fail(BLANCH_EINPUT, "%s: a block of %d does not divide %lld channels", node->name, s->block,
                       (long long)node->in[0]->c / s->matrices);
    if (!(a->eps >= 0))
        return bl_fail(BLANCH_EINPUT, "%s: eps is %g, must not be negative", node->name, (double)a->eps);
    for (int i = 0; i < 2; i++)
        if (s->step[i] < 1) return bl_fail(BLANCH_EINPUT, "%s: cov_sampling_stride must be at least 1", node->name);
    if (a->freeze && a->freeze_iter < 1)
        return bl_fail(BLANCH_EINPUT, "%s: freeze_iter is %d, must be at least 1", node->name, a->freeze_iter);
    return 0;
}

/* Parts of the patches whose sums are formed apart: with vectors of channels, a few for every core. */
static int depthwise_parts(const struct bl_whitening *w) {
    if (!bl_on_cpu(w->node->dev)) return PARTS;
    int64_t vectors = w->node->in[0]->c / bl_vec(w->node->dev, w->node->in[0]->c);
    int64_t parts = w->node->dev ? 8 * (int64_t)blanch_device_info(w->node->dev)->compute_units / vectors : 1;
    return parts < 1 ? 1 : parts > PARTS ? PARTS : (int)parts;
}

int bl_whitening_setup(struct bl_node *node, const struct bl_nd_attrs *attrs, const struct bl_samples *samples,
                       struct bl_whitening **whitening) {
    int code = check(node, attrs, samples);
    if (code) return code;
    struct bl_whitening *w = *whitening = bl_calloc(1, sizeof *w);
    if (!w) return BLANCH_ENOMEM;
    node->whitening = w;
    w->node = node, w->attrs = *attrs, w->geometry = *samples;
    w->taps = samples->kernel[0] * samples->kernel[1];
    w->features = (int64_t)samples->block * w->taps;
    w->size = samples->matrices * w->features * w->features;
    w->down = samples->flat ? 1 : patches_along(samples, node->in[0]->h, 0);
    w->across = samples->flat ? 1 : patches_along(samples, node->in[0]->w, 1);
    if (w->down < 1 || w->across < 1)
        return bl_fail(BLANCH_EINPUT, "%s: the kernel is larger than its input", node->name);
    w->depthwise =
        samples->matrices > 1 && samples->block == 1 && !samples->flat && w->taps <= MOST_TAPS && attrs->refresh <= 1;
    w->splits = w->depthwise ? depthwise_parts(w) : samples->matrices == 1 && w->features <= SMALL ? PARTS : 1;
    w->samples = patches_of(w, bl_node_batch(node)) * samples->interleave;
    w->narrow = samples->matrices > 1 && samples->block < 16 ? samples->block : 0;
    w->vec_block = bl_vec(node->dev, samples->block);
    w->vec_channels = bl_vec(node->dev, node->in[0]->c);
    w->vec_row = bl_vec(node->dev, w->features);
    declare_buffers(w);
    if (bl_node_training(node)) declare_workspaces(w);
    return 0;
}

static bool is_strided(const struct bl_samples *s) {
    return s->interleave > 1 && !s->contiguous;
}

int bl_whitening_prepare(struct bl_whitening *w) {
    const struct bl_samples *s = &w->geometry;
    const struct bl_define samples[] = {
        {"VEC", w->vec_block},
        {"VEC_SUM", w->vec_channels},
        {"STRIDED", is_strided(s)},
        {"NARROW", w->narrow},
        {"TAPS_Y", s->kernel[0]},
        {"TAPS_X", s->kernel[1]},
        {"STEP_Y", s->flat ? 1 : s->step[0]},
        {"STEP_X", s->flat ? 1 : s->step[1]},
        {"FLAT", s->flat},
    };
    const struct bl_define matrix[] = {{"VEC", w->vec_row}};
    int code = 0;
    int last = w->refresh_counter ? KERNELS : VARIANCE;
    for (int i = 0; i < last && !code && bl_node_training(w->node); i++)
        code = i < MEAN ? bl_kernel_get(w->node->dev, "whitening", kernel_names[i], samples, BL_COUNT(samples),
                                        &w->kernel[i])
                        : bl_kernel_get(w->node->dev, i < VARIANCE ? "nd_inverse_sqrt" : "nd_refresh", kernel_names[i],
                                        matrix, 1, &w->kernel[i]);
    if (!code && bl_node_training(w->node)) code = bl_inverse_sqrt_prepare(&w->root);
    return code || !w->by_sbar.node ? code : bl_packed_product_prepare(&w->by_sbar);
}

void bl_whitening_free(struct bl_whitening *w) {
    free(w);
}

int64_t bl_whitening_features(const struct bl_whitening *w) {
    return w->features;
}
bool bl_whitening_constant(const struct bl_whitening *w) {
    return w->constant;
}
bool bl_whitening_wants_scale(const struct bl_whitening *w) {
    return w->through_scale;
}
bool bl_whitening_has_backward(const struct bl_whitening *w) {
    return !w->constant && !w->attrs.constant_grad && w->node->in[0]->grad;
}
struct bl_mem *bl_whitening_mean(const struct bl_whitening *w) {
    return w->constant ? w->running_mean->data.mem : w->mean->mem;
}
struct bl_mem *bl_whitening_deconv(const struct bl_whitening *w) {
    return w->constant ? w->running_deconv->data.mem : w->deconv->mem;
}

bool bl_whitening_is_scheduled(const struct bl_whitening *w) {
    return w->change != NULL;
}
/* The counter of a scheduled layer: steps since D was computed; 0 and -1 compute it. */
void bl_whitening_schedule(struct bl_whitening *w, enum bl_whitening_step step) {
    if (!w->refresh_counter) return;
    int64_t *counter = &w->refresh_counter->value;
    *counter = step == BL_WHITENING_EXACT ? 0 : step == BL_WHITENING_RENEW ? -1 : *counter < 1 ? 1 : *counter;
}

/* The iteration has divided S by its norm. */
int bl_whitening_read(const struct bl_whitening *w, int matrix, float *s, float *d) {
    size_t count = (size_t)(w->features * w->features), bytes = 4 * count, offset = (size_t)matrix * bytes;
    float norm;
    int code = bl_mem_read(w->root.scalars->mem, 16 * (size_t)matrix, sizeof norm, &norm);
    if (!code) code = bl_mem_read(w->root.saved->mem, offset, bytes, s);
    if (!code) code = bl_mem_read(w->deconv->mem, offset, bytes, d);
    for (size_t i = 0; i < count && !code; i++) s[i] *= norm;
    return code;
}

struct bl_whitening_facts bl_whitening_look(const struct bl_whitening *w, int images) {
    return (struct bl_whitening_facts){.exact = !w->constant && !w->stale,
                                       .matrices = w->geometry.matrices,
                                       .features = w->features,
                                       .samples = patches_of(w, images) * w->geometry.interleave,
                                       .eps = (double)w->attrs.eps};
}

/* Of the cosine between the two, as the scale is current at every step. Means over the matrices. */
int bl_whitening_change(const struct bl_whitening *w, double *change) {
    int64_t rows = w->geometry.matrices * w->features;
    float *dots = bl_calloc((size_t)rows, 3 * sizeof *dots);
    int code = dots ? bl_mem_read(w->change->mem, 0, 12 * (size_t)rows, dots) : BLANCH_ENOMEM;
    *change = 0;
    for (int64_t m = 0; m < w->geometry.matrices && !code; m++) {
        double sum[3] = {0};
        for (int64_t i = 3 * m * w->features; i < 3 * (m + 1) * w->features; i++) sum[i % 3] += (double)dots[i];
        double norms = sqrt(sum[1] * sum[2]), cosine = norms > 0 ? sum[0] / norms : 1;
        *change += sqrt(cosine < 1 ? 2 - 2 * cosine : 0) / (double)w->geometry.matrices;
    }
    free(dots);
    return code;
}

/* --- launching -------------------------------------------------------------------------------- */

static int rows_each(const struct bl_whitening *w) {
    return bl_rows_each(w->node, w->features);
}
static struct bl_range over_rows(const struct bl_whitening *w, bool lanes) {
    return bl_over_rows(w->node, w->geometry.matrices, w->features, lanes);
}
static struct bl_range over_matrices(const struct bl_whitening *w) {
    return bl_over_matrices(w->node, w->geometry.matrices);
}

/* `items` ranges of patches or image rows; on a CPU one item does whole pixels, elsewhere they are shared out. */
static struct bl_range over_samples(const struct bl_whitening *w, int64_t items) {
    const struct bl_samples *s = &w->geometry;
    if (bl_on_cpu(w->node->dev)) return BL_GROUPS1(1, (size_t)items);
    size_t segments = (size_t)(s->matrices > 1 ? s->matrices : s->interleave);
    return w->narrow ? BL_ITEMS(segments, (size_t)items)
                     : BL_ITEMS((size_t)(s->block / w->vec_block), (size_t)items, segments);
}

/* How much one item of over_samples takes of `total`, and how many items that makes. */
static int64_t chunk_of(const struct bl_whitening *w, int64_t total, int64_t most, int64_t *items) {
    int64_t want = bl_on_cpu(w->node->dev) ? 8 * (int64_t)blanch_device_info(w->node->dev)->compute_units : total;
    if (want > most) want = most;
    int64_t chunk = (total + want - 1) / want;
    *items = (total + chunk - 1) / chunk;
    return chunk;
}

#define GEOMETRY(w)                                                                                                    \
    BL_I32((w)->node->in[0]->c), BL_I32((w)->node->in[0]->h), BL_I32((w)->node->in[0]->w), BL_I32((w)->down),          \
        BL_I32((w)->across), BL_I32((w)->geometry.padding[0]), BL_I32((w)->geometry.padding[1]),                       \
        BL_I32((w)->geometry.dilation[0]), BL_I32((w)->geometry.dilation[1]), BL_I32((w)->geometry.block),             \
        BL_I32((w)->geometry.interleave), BL_I32((w)->geometry.matrices)

/* --- forward ---------------------------------------------------------------------------------- */

static int sample_mean(struct bl_whitening *w, int64_t patches) {
    int64_t items, chunk = chunk_of(w, patches, PATCH_CHUNKS, &items);
    size_t vectors = (size_t)(w->node->in[0]->c / w->vec_channels);
    struct bl_range sums = bl_on_cpu(w->node->dev) ? BL_GROUPS1(1, (size_t)items) : BL_ITEMS(vectors, (size_t)items);
    bl_work(w->node->dev, 0, 0);
    int code = bl_launch(w->kernel[SUM], sums, BL_MEM(w->node->in[0]->mem), GEOMETRY(w), BL_I32(patches), BL_I32(chunk),
                         BL_MEM(w->partial->mem));
    if (code) return code;
    int64_t count = w->geometry.matrices * w->features;
    int each = bl_on_cpu(w->node->dev) ? 64 : 1;
    struct bl_range range =
        bl_on_cpu(w->node->dev) ? BL_GROUPS1(1, (size_t)((count + each - 1) / each)) : BL_ITEMS(1, (size_t)count);
    bl_work(w->node->dev, 0, 0);
    return bl_launch(w->kernel[MEAN], range, BL_MEM(w->partial->mem), BL_I32(items), BL_I32(w->geometry.matrices),
                     BL_I32(w->geometry.block), BL_I32(w->taps), BL_I32(w->geometry.interleave),
                     BL_I32(is_strided(&w->geometry)), BL_I32(w->depthwise),
                     BL_F32(1.0 / (double)(patches * w->geometry.interleave)), BL_F32(w->attrs.momentum), BL_I32(each),
                     BL_MEM(w->row_mean->mem), BL_MEM(w->mean->mem), BL_MEM(w->running_mean->data.mem));
}

/* Centred rows; rows that only fill up the last part are zero. */
static int gather(struct bl_whitening *w, int64_t patches, int64_t *part) {
    int64_t items, chunk = chunk_of(w, patches, INT32_MAX, &items), samples = patches * w->geometry.interleave;
    *part = (samples + w->splits - 1) / w->splits;
    int64_t fill = *part * w->splits - samples;
    int code =
        fill ? bl_mem_fill(w->rows->mem, 4 * (size_t)(samples * w->features), 4 * (size_t)(fill * w->features), 0) : 0;
    if (code) return code;
    bl_work(w->node->dev, 0, 0);
    return bl_launch(w->kernel[GATHER], over_samples(w, items), BL_MEM(w->node->in[0]->mem), GEOMETRY(w),
                     BL_I32(patches), BL_I32(chunk), BL_MEM(w->row_mean->mem), BL_MEM(w->rows->mem));
}

static int covariance_depthwise(struct bl_whitening *w, int64_t patches) {
    int64_t chunk = (patches + w->splits - 1) / w->splits, items = (patches + chunk - 1) / chunk;
    size_t vectors = (size_t)(w->node->in[0]->c / w->vec_channels);
    struct bl_range range =
        bl_on_cpu(w->node->dev) ? BL_GROUPS1(vectors, (size_t)items) : BL_ITEMS(vectors, (size_t)items);
    bl_work(w->node->dev, (double)patches * w->geometry.matrices * (double)w->features * (double)(w->features + 1), 0);
    int code = bl_launch(w->kernel[COVARIANCE_DEPTHWISE], range, BL_MEM(w->node->in[0]->mem), GEOMETRY(w),
                         BL_I32(patches), BL_I32(chunk), BL_MEM(w->row_mean->mem), BL_MEM(w->parts->mem));
    if (code) return code;
    bl_work(w->node->dev, 0, 0);
    return bl_launch(w->kernel[COVARIANCE_LANES], over_rows(w, false), BL_MEM(w->parts->mem), BL_I32(items),
                     BL_I32(w->geometry.matrices), BL_I32(w->features), BL_F32(1.0 / (double)patches),
                     BL_F32(w->attrs.eps), BL_I32(rows_each(w)), BL_MEM(w->root.saved->mem), BL_MEM(w->squares->mem));
}

static int covariance(struct bl_whitening *w, int64_t patches) {
    if (w->depthwise) return covariance_depthwise(w, patches);
    int64_t part, f = w->features, samples = patches * w->geometry.interleave;
    int code = gather(w, patches, &part);
    if (code) return code;
    struct bl_gemm product = {
        .trans_a = true,
        .symmetric = true,
        .m = f,
        .n = f,
        .k = part,
        .alpha = (float)(1.0 / (double)samples),
        .a = w->rows->mem,
        .b = w->rows->mem,
        .c = w->parts->mem,
        .lda = w->geometry.matrices * f,
        .ldb = w->geometry.matrices * f,
        .ldc = f,
        .batch = w->splits > 1 ? w->splits : w->geometry.matrices,
        .stride_c = f * f,
    };
    product.stride_a = product.stride_b = w->splits > 1 ? part * f : f;
    code = bl_gemm(w->node->dev, &product);
    if (code) return code;
    bl_work(w->node->dev, 0, 0);
    return bl_launch(w->kernel[COVARIANCE], over_rows(w, false), BL_MEM(w->parts->mem), BL_I32(w->splits),
                     BL_I32(w->geometry.matrices), BL_I32(w->geometry.block), BL_I32(w->taps), BL_F32(w->attrs.eps),
                     BL_I32(rows_each(w)), BL_MEM(w->root.saved->mem), BL_MEM(w->squares->mem));
}

static bool is_frozen(const struct bl_whitening *w) {
    return w->counter && w->counter->value > w->attrs.freeze_iter;
}

/* As the published layer does. */
static void count_freezing(struct bl_whitening *w) {
    if (w->counter) w->counter->value = (w->counter->value + 1) % (10 * (int64_t)w->attrs.freeze_iter);
}

/* --- between refreshes ------------------------------------------------------------------------ */

bool bl_whitening_will_keep(const struct bl_whitening *w, const struct bl_run *run) {
    if (!run->training || is_frozen(w) || !w->refresh_counter) return false;
    int64_t step = w->refresh_counter->value;
    if (w->attrs.refresh == BL_REFRESH_SCHEDULED) return step > 0;
    return step >= EXACT_STEPS && step % w->attrs.refresh != 0;
}

bool bl_whitening_will_compute(const struct bl_whitening *w, const struct bl_run *run) {
    return run->training && !is_frozen(w) && !bl_whitening_will_keep(w, run);
}

bool bl_whitening_keeps_long(const struct bl_whitening *w) {
    return w->refresh_counter && (w->attrs.refresh == BL_REFRESH_SCHEDULED || w->attrs.refresh >= LONG);
}
struct bl_mem *bl_whitening_kept(const struct bl_whitening *w) {
    return w->last_deconv->data.mem;
}
struct bl_mem *bl_whitening_factors(const struct bl_whitening *w) {
    return w->factors ? w->factors->mem : NULL;
}

/* v_r = trace(S)/F, while the iteration has not begun; factors that say D = D_r. */
static int keep_variance(struct bl_whitening *w) {
    bl_work(w->node->dev, 0, 0);
    return bl_launch(w->kernel[VARIANCE], over_matrices(w), BL_MEM(w->root.saved->mem), BL_I32(w->geometry.matrices),
                     BL_I32(w->features), BL_MEM(w->last_variance->data.mem), BL_MEM(w->factors->mem));
}

static struct bl_range over_channels(const struct bl_whitening *w, int64_t items) {
    return bl_on_cpu(w->node->dev) ? BL_GROUPS1(1, (size_t)items)
                                   : BL_ITEMS((size_t)(w->node->in[0]->c / w->vec_channels), (size_t)items);
}

/* How kernels of nd_refresh.cl find the feature of a tap and channel. */
#define FEATURES(w)                                                                                                    \
    BL_I32((w)->node->in[0]->c), BL_I32((w)->taps), BL_I32((w)->geometry.block), BL_I32((w)->geometry.interleave),     \
        BL_I32((w)->geometry.matrices), BL_I32(is_strided(&(w)->geometry))

static int spread_mean(struct bl_whitening *w) {
    bl_work(w->node->dev, 0, 0);
    return bl_launch(w->kernel[SPREAD_MEAN], bl_share(w->node->dev, w->taps * w->node->in[0]->c, 8),
                     BL_MEM(w->mean->mem), FEATURES(w), BL_MEM(w->spread->mem));
}

/* D = D_r sqrt(v_r / v), v from the pixels. */
static int rescale(struct bl_whitening *w, int64_t patches) {
    int64_t samples = patches * w->geometry.interleave, chunks, chunk = chunk_of(w, patches, SQUARE_CHUNKS, &chunks),
            channels = w->node->in[0]->c;
    int matrices = w->geometry.matrices, each = rows_each(w);
    int code = spread_mean(w);
    bl_work(w->node->dev, 0, 0);
    if (!code)
        code = bl_launch(w->kernel[SQUARES], over_channels(w, chunks), BL_MEM(w->node->in[0]->mem), GEOMETRY(w),
                         BL_I32(patches), BL_I32(chunk), BL_MEM(w->spread->mem), BL_MEM(w->square_parts->mem));
    bl_work(w->node->dev, 0, 0);
    if (!code)
        code = bl_launch(w->kernel[FACTOR], over_matrices(w), BL_MEM(w->square_parts->mem), BL_I32(chunks),
                         BL_I32(channels), BL_I32(matrices), BL_F32(1.0 / ((double)samples * (double)w->features)),
                         BL_F32(w->attrs.eps), BL_MEM(w->last_variance->data.mem), BL_MEM(w->factors->mem));
    if (code) return code;
    bl_work(w->node->dev, 0, 0);
    return bl_launch(w->kernel[RESCALE], over_rows(w, true), BL_MEM(w->last_deconv->data.mem), BL_MEM(w->factors->mem),
                     BL_I32(matrices * w->features), BL_I32(w->features), BL_I32(each), BL_F32(w->attrs.momentum),
                     BL_MEM(w->deconv->mem), BL_MEM(w->running_deconv->data.mem));
}

/* To the pixels what comes through m and v. */
static int rescale_backward(struct bl_whitening *w, const struct bl_run *run, const struct bl_deconv_gradient *g) {
    const struct bl_tensor *x = w->node->in[0];
    int64_t samples = patches_of(w, run->n) * w->geometry.interleave, lines = (int64_t)run->n * x->h, items,
            chunk = chunk_of(w, lines, INT32_MAX, &items);
    bl_work(w->node->dev, 0, 0);
    int code = bl_launch(w->kernel[BACK_FACTOR], over_matrices(w), BL_MEM(g->scale), BL_I32(g->dots),
                         BL_I32(w->geometry.matrices), BL_F32(1.0 / ((double)samples * (double)w->features)),
                         BL_MEM(w->factors->mem));
    bl_work(w->node->dev, 0, 0);
    if (!code)
        code = bl_launch(w->kernel[SLOPES], bl_share(w->node->dev, (w->taps + 1) * x->c, 12), BL_MEM(g->mean),
                         BL_MEM(w->spread->mem), BL_MEM(w->factors->mem), FEATURES(w), BL_F32(1.0 / (double)samples),
                         BL_MEM(w->slopes->mem));
    if (code) return code;
    bl_work(w->node->dev, 0, 0);
    return bl_launch(w->kernel[SCATTER_KEPT], over_channels(w, items), BL_MEM(x->mem), BL_MEM(w->slopes->mem),
                     GEOMETRY(w), BL_I32(lines), BL_I32(chunk), BL_MEM(x->grad->mem));
}

int bl_whitening_forward(struct bl_whitening *w, const struct bl_run *run) {
    w->stale = bl_whitening_will_keep(w, run);
    w->constant = !run->training || is_frozen(w);
    if (run->training) count_freezing(w);
    if (w->constant) return 0;
    w->through_scale = w->stale;
    if (w->refresh_counter) {
        w->through_scale |= w->refresh_counter->value < 0;
        w->refresh_counter->value += w->refresh_counter->value < 0 ? 2 : 1;
    }
    int64_t patches = patches_of(w, run->n);
    bl_node_phase(w->node, BL_COVARIANCE);
    int code = sample_mean(w, patches);
    if (!code) code = w->stale ? rescale(w, patches) : covariance(w, patches);
    if (code || w->stale) return code;
    if (w->refresh_counter && (code = keep_variance(w))) return code;
    if (w->through_scale && (code = spread_mean(w))) return code;
    bl_node_phase(w->node, BL_INVERSE_SQRT);
    code = bl_inverse_sqrt_forward(&w->root, w->squares->mem, w->attrs.momentum, w->deconv->mem,
                                   w->running_deconv->data.mem);
    if (code || !w->refresh_counter) return code;
    bl_work(w->node->dev, 0, 0);
    if (w->change)
        code = bl_launch(w->kernel[CHANGE], over_rows(w, false), BL_MEM(w->deconv->mem),
                         BL_MEM(w->last_deconv->data.mem), BL_I32(w->geometry.matrices * w->features),
                         BL_I32(w->features), BL_I32(rows_each(w)), BL_MEM(w->change->mem));
    if (code) return code;
    return bl_mem_copy(w->deconv->mem, 0, w->last_deconv->data.mem, 0, 4 * (size_t)w->size);
}

/* --- backward --------------------------------------------------------------------------------- */

/* What comes through the mean, shared by the samples. */
static int mean_backward(struct bl_whitening *w, struct bl_mem *dmean, int64_t samples) {
    bl_work(w->node->dev, 0, 0);
    return bl_launch(w->kernel[BACK_MEAN], over_rows(w, false), BL_MEM(dmean), BL_I32(w->geometry.matrices),
                     BL_I32(w->geometry.block), BL_I32(w->taps), BL_I32(w->depthwise), BL_F32(1.0 / (double)samples),
                     BL_I32(rows_each(w)), BL_MEM(w->dmean->mem));
}

/* drows = 2/samples X Sbar; the mean's own gradient through the centring vanishes, as the centred rows sum to zero. */
static int rows_backward(struct bl_whitening *w, struct bl_mem *dmean, int64_t samples) {
    int64_t f = w->features, stride = w->geometry.matrices * f;
    if (w->by_sbar.node) {
        int code = bl_packed_product_pack(&w->by_sbar, w->sbar->mem, 2.0 / (double)samples);
        if (!code) code = bl_packed_product_multiply(&w->by_sbar, w->rows->mem, samples, 1, w->drows->mem);
        return code ? code : mean_backward(w, dmean, samples);
    }
    struct bl_gemm product = {
        .m = samples,
        .n = f,
        .k = f,
        .alpha = (float)(2.0 / (double)samples),
        .a = w->rows->mem,
        .b = w->sbar->mem,
        .c = w->drows->mem,
        .lda = stride,
        .ldb = f,
        .ldc = stride,
        .batch = w->geometry.matrices,
        .stride_a = f,
        .stride_b = f * f,
        .stride_c = f,
    };
    int code = w->depthwise ? 0 : bl_gemm(w->node->dev, &product);
    return code ? code : mean_backward(w, dmean, samples);
}

int bl_whitening_backward(struct bl_whitening *w, const struct bl_run *run, const struct bl_deconv_gradient *g) {
    int64_t patches = patches_of(w, run->n), samples = patches * w->geometry.interleave;
    const struct bl_tensor *x = w->node->in[0];
    bl_node_phase(w->node, BL_WHITEN_BACKWARD);
    if (w->through_scale) return rescale_backward(w, run, g);
    int code = bl_inverse_sqrt_backward(&w->root, g->deconv, w->deconv->mem, w->taps, w->depthwise, w->sbar->mem);
    if (!code) code = rows_backward(w, g->mean, samples);
    if (code) return code;
    int64_t lines = (int64_t)run->n * x->h, items, chunk = chunk_of(w, lines, INT32_MAX, &items);
    bl_work(w->node->dev, 0, 0);
    if (!w->depthwise)
        return bl_launch(w->kernel[SCATTER], over_samples(w, items), BL_MEM(w->drows->mem), BL_MEM(w->dmean->mem),
                         GEOMETRY(w), BL_I32(lines), BL_I32(chunk), BL_MEM(x->grad->mem));
    struct bl_range range = bl_on_cpu(w->node->dev) ? BL_GROUPS1(1, (size_t)items)
                                                    : BL_ITEMS((size_t)(x->c / w->vec_channels), (size_t)items);
    bl_work(w->node->dev, 2 * (double)samples * w->geometry.matrices * (double)w->features * (double)w->features, 0);
    return bl_launch(w->kernel[SCATTER_DEPTHWISE], range, BL_MEM(x->mem), BL_MEM(w->row_mean->mem),
                     BL_MEM(w->sbar->mem), BL_MEM(w->dmean->mem), GEOMETRY(w), BL_F32(2.0 / (double)samples),
                     BL_I32(lines), BL_I32(chunk), BL_MEM(x->grad->mem));
}
