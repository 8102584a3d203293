#include "ops/nd/refresh.h"
#include "ops/common.h"
#include "ops/nd/symmetric_product.h"
#include <math.h>
#include <stdlib.h>

enum { EXACT_STEPS = 20 }; // at the start, whatever the interval of refreshing

enum { VARIANCE, BROADCAST_MEAN, SLOPES, FACTOR, RESCALE, BACK_FACTOR, CHANGE, KERNELS };
static const char *const kernel_names[KERNELS] = {"variance", "broadcast_mean", "slopes", "factor",
                                                  "rescale",  "back_factor",    "change"};

/* --- setup ------------------------------------------------------------------------------------ */

static struct bl_param *private_buffer(struct bl_node *node, const char *name, enum bl_init init, int dims,
                                       const int64_t *shape) {
    struct bl_param *param = bl_node_buffer(node, name, init, dims, shape);
    if (param) param->private_state = true;
    return param;
}

bool bl_refresh_scheduled(const struct bl_refresh *r) {
    return r->reuses && r->attrs->refresh == BL_REFRESH_SCHEDULED;
}

static void declare_workspaces(struct bl_refresh *r) {
    const struct bl_statistics *s = r->statistics;
    int64_t m = s->samples.matrices, channels = r->node->in[0]->c;
    r->factors = bl_node_workspace(r->node, BL_LIFE_PINNED, 2 * m);
    r->mean = bl_node_workspace(r->node, BL_LIFE_PINNED, s->taps * channels);
    r->sums = bl_node_workspace(r->node, BL_LIFE_FORWARD, BL_SQUARE_CHUNKS * channels);
    r->slopes = bl_node_workspace(r->node, BL_LIFE_BACKWARD, (s->taps + 1) * channels);
    if (bl_refresh_scheduled(r)) r->change = bl_node_workspace(r->node, BL_LIFE_KEPT, 3 * m * s->features);
}

void bl_refresh_setup(struct bl_refresh *r, struct bl_node *node, const struct bl_nd_attrs *attrs,
                      struct bl_statistics *statistics) {
    int64_t f = statistics->features, m = statistics->samples.matrices, one[] = {f, f}, many[] = {m, f, f};
    r->node = node, r->attrs = attrs, r->statistics = statistics;
    r->reuses = attrs->refresh > 1 || (attrs->refresh == BL_REFRESH_SCHEDULED && !statistics->depthwise);
    r->order = bl_refresh_scheduled(r) ? BL_ND_EXACT : BL_ND_REUSE;
    if (attrs->freeze) r->freeze = bl_node_counter(node, "freeze_counter", true);
    if (!r->reuses) return;
    r->counter = bl_node_counter(node, "refresh_counter", true);
    r->deconv = private_buffer(node, "last_deconv", BL_INIT_EYE, m > 1 ? 3 : 2, m > 1 ? many : one);
    r->variance = private_buffer(node, "last_variance", BL_INIT_ONES, 1, &m);
    if (bl_node_training(node)) declare_workspaces(r);
}

int bl_refresh_prepare(struct bl_refresh *r) {
    const struct bl_define defines[] = {{"VEC", bl_vec(r->node->dev, r->statistics->features)}};
    int code = 0;
    for (int i = 0; i < KERNELS && !code && r->reuses; i++)
        code = bl_kernel_get(r->node->dev, "nd/refresh", kernel_names[i], defines, 1, &r->kernel[i]);
    return code;
}

/* --- policy ----------------------------------------------------------------------------------- */

/* The layer's own reason to be exact. */
static bool is_due(const struct bl_refresh *r) {
    if (!r->reuses) return true;
    if (bl_refresh_scheduled(r)) return false;
    return r->counter->value < EXACT_STEPS || r->counter->value % r->attrs->refresh == 0;
}

enum bl_nd_action bl_refresh_next(const struct bl_refresh *r) {
    if (r->freeze && r->freeze->value > r->attrs->freeze_iter) return BL_ND_CONSTANT;
    return is_due(r) ? BL_ND_EXACT : r->order;
}

void bl_refresh_count(struct bl_refresh *r, enum bl_nd_action action) {
    if (r->freeze) r->freeze->value = (r->freeze->value + 1) % (10 * (int64_t)r->attrs->freeze_iter);
    if (!r->reuses || action == BL_ND_CONSTANT) return;
    bool restart = bl_refresh_scheduled(r) && (action != BL_ND_REUSE || r->counter->value < 0);
    r->counter->value = (restart ? 0 : r->counter->value) + 1;
}

/* --- a step that computes D ------------------------------------------------------------------- */

static struct bl_range over_rows(const struct bl_refresh *r, bool lanes) {
    return bl_over_rows(r->node, r->statistics->samples.matrices, r->statistics->features, lanes);
}
static struct bl_range over_matrices(const struct bl_refresh *r) {
    return bl_over_matrices(r->node, r->statistics->samples.matrices);
}

/* How kernels find the feature of a tap and channel. */
#define FEATURES(s)                                                                                                    \
    BL_I32((s)->node->in[0]->c), BL_I32((s)->taps), BL_I32((s)->samples.block), BL_I32((s)->samples.interleave),       \
        BL_I32((s)->samples.matrices), BL_I32(bl_statistics_strided(s))

static int broadcast_mean(struct bl_refresh *r) {
    const struct bl_statistics *s = r->statistics;
    return bl_launch_light(r->node->dev, r->kernel[BROADCAST_MEAN],
                           bl_share(r->node->dev, s->taps * r->node->in[0]->c, 8), BL_MEM(s->mean->mem), FEATURES(s),
                           BL_MEM(r->mean->mem));
}

int bl_refresh_begin(struct bl_refresh *r, enum bl_nd_action action, struct bl_mem *covariance) {
    const struct bl_statistics *s = r->statistics;
    int code = bl_launch_light(r->node->dev, r->kernel[VARIANCE], over_matrices(r), BL_MEM(covariance),
                               BL_I32(s->samples.matrices), BL_I32(s->features), BL_MEM(r->variance->data.mem),
                               BL_MEM(r->factors->mem));
    return code || action == BL_ND_EXACT ? code : broadcast_mean(r);
}

int bl_refresh_compare(struct bl_refresh *r, struct bl_mem *z, struct bl_mem *scalars) {
    const struct bl_statistics *s = r->statistics;
    if (!r->change) return 0;
    return bl_launch_light(r->node->dev, r->kernel[CHANGE], over_rows(r, false), BL_MEM(z), BL_MEM(scalars),
                           BL_MEM(r->deconv->data.mem), BL_I32(s->samples.matrices * s->features), BL_I32(s->features),
                           BL_I32(bl_rows_each(r->node, s->features)), BL_MEM(r->change->mem));
}

/* Of the cosine between the two, as the scale is current at every step. Means over the matrices. */
int bl_refresh_change(const struct bl_refresh *r, double *change) {
    int64_t f = r->statistics->features, matrices = r->statistics->samples.matrices, rows = matrices * f;
    float *dots = bl_calloc((size_t)rows, 3 * sizeof *dots);
    int code = dots ? bl_mem_read(r->change->mem, 0, 3 * sizeof *dots * (size_t)rows, dots) : BLANCH_ENOMEM;
    *change = 0;
    for (int64_t m = 0; m < matrices && !code; m++) {
        double sum[3] = {0};
        for (int64_t i = 3 * m * f; i < 3 * (m + 1) * f; i++) sum[i % 3] += (double)dots[i];
        double norms = sqrt(sum[1] * sum[2]), cosine = norms > 0 ? sum[0] / norms : 1;
        *change += sqrt(cosine < 1 ? 2 - 2 * cosine : 0) / (double)matrices;
    }
    free(dots);
    return code;
}

/* --- one that reuses it ----------------------------------------------------------------------- */

int bl_refresh_factor(struct bl_refresh *r, const struct bl_run *run) {
    struct bl_statistics *s = r->statistics;
    int64_t chunks;
    int code = broadcast_mean(r);
    if (!code) code = bl_statistics_squares(s, run, r->mean->mem, r->sums->mem, &chunks);
    if (code) return code;
    double values = s->samples_of_all * (double)s->features;
    return bl_launch_light(r->node->dev, r->kernel[FACTOR], over_matrices(r), BL_MEM(r->sums->mem), BL_I32(chunks),
                           BL_I32(r->node->in[0]->c), BL_I32(s->samples.matrices), BL_F32(1.0 / values),
                           BL_F32(r->attrs->eps), BL_MEM(r->variance->data.mem), BL_MEM(r->factors->mem));
}

int bl_refresh_rescale(struct bl_refresh *r, bool whole, struct bl_mem *deconv, struct bl_mem *running) {
    const struct bl_statistics *s = r->statistics;
    return bl_launch_light(r->node->dev, r->kernel[RESCALE], over_rows(r, true), BL_MEM(r->deconv->data.mem),
                           BL_MEM(r->factors->mem), BL_I32(s->samples.matrices * s->features), BL_I32(s->features),
                           BL_I32(bl_rows_each(r->node, s->features)), BL_F32(r->attrs->momentum), BL_I32(whole),
                           BL_MEM(deconv), BL_MEM(running));
}

int bl_refresh_backward(struct bl_refresh *r, int images, const struct bl_deconv_gradient *g) {
    struct bl_statistics *s = r->statistics;
    double samples = s->samples_of_all;
    int code = bl_launch_light(r->node->dev, r->kernel[BACK_FACTOR], over_matrices(r), BL_MEM(g->scale),
                               BL_I32(g->dots), BL_I32(s->samples.matrices),
                               BL_F32(1.0 / (samples * (double)s->features)), BL_MEM(r->factors->mem));
    if (!code)
        code = bl_launch_light(r->node->dev, r->kernel[SLOPES],
                               bl_share(r->node->dev, (s->taps + 1) * r->node->in[0]->c, 12), BL_MEM(g->mean),
                               BL_MEM(r->mean->mem), BL_MEM(r->factors->mem), FEATURES(s), BL_F32(1.0 / samples),
                               BL_MEM(r->slopes->mem));
    return code ? code : bl_statistics_scatter(s, images, r->slopes->mem);
}
