#include "ops/nd/whitening.h"
#include "ops/common.h"
#include "ops/nd/inverse_root.h"
#include "ops/nd/phase.h"
#include <stdlib.h>

enum { LONG = 8 };                           // steps between refreshes
static const double MOST = (int64_t)1 << 40; // values of a layer's covariances

struct bl_whitening {
    struct bl_node *node;
    struct bl_nd_attrs attrs;
    struct bl_statistics statistics;
    struct bl_inverse_root root;
    struct bl_refresh refresh;
    struct bl_param *running_mean, *running_deconv;
    struct blanch_tensor *deconv; // D, where it does not lie in the running buffer or in the refresh's D_r
    enum bl_nd_action last;       // of the last pass
};

/* --- setup ------------------------------------------------------------------------------------ */

int bl_whitening_check(const struct bl_node *node, const struct bl_nd_attrs *a) {
    if (a->n_iter < 1 || a->n_iter > BL_MOST_ITERATIONS)
        return bl_fail(BLANCH_EINPUT, "%s: n_iter is %d, must be 1 to %d", node->name, a->n_iter, BL_MOST_ITERATIONS);
    if (a->freeze && a->freeze_iter < 1)
        return bl_fail(BLANCH_EINPUT, "%s: freeze_iter is %d, must be at least 1", node->name, a->freeze_iter);
    return bl_check_statistics(node, a->eps, a->momentum);
}

static void declare_buffers(struct bl_whitening *w) {
    int64_t f = w->statistics.features, m = w->statistics.samples.matrices, mean[] = {m * f}, one[] = {f, f},
            many[] = {m, f, f};
    w->running_mean = bl_node_buffer(w->node, "running_mean", BL_INIT_ZEROS, 1, mean);
    w->running_deconv = bl_node_buffer(w->node, "running_deconv", BL_INIT_EYE, m > 1 ? 3 : 2, m > 1 ? many : one);
}

static int check_samples(const struct bl_node *node, const struct bl_samples *s) {
    double features = (double)s->block * s->kernel[0] * s->kernel[1];
    if (features * features * s->matrices > MOST)
        return bl_fail(BLANCH_ELIMIT, "%s: a covariance of %.0f features; take smaller blocks", node->name, features);
    if (s->block < 1 || (int64_t)s->block * s->interleave * s->matrices != node->in[0]->c)
        return bl_fail(BLANCH_EINPUT, "%s: a block of %d does not divide %lld channels", node->name, s->block,
                       (long long)node->in[0]->c / s->matrices);
    return 0;
}

int bl_whitening_setup(struct bl_node *node, const struct bl_nd_attrs *attrs, const struct bl_samples *samples,
                       struct bl_whitening **whitening) {
    int code = check_samples(node, samples);
    if (code) return code;
    struct bl_whitening *w = *whitening = bl_calloc(1, sizeof *w);
    if (!w) return BLANCH_ENOMEM;
    node->whitening = w;
    w->node = node, w->attrs = *attrs;
    if ((code = bl_statistics_setup(&w->statistics, node, samples, attrs->refresh <= 1))) return code;
    declare_buffers(w);
    bl_refresh_setup(&w->refresh, node, &w->attrs, &w->statistics);
    if (!bl_node_training(node)) return 0;
    w->deconv = bl_node_workspace(node, BL_LIFE_PINNED, w->statistics.size);
    bl_inverse_root_setup(&w->root, node, samples->matrices, w->statistics.features,
                          attrs->variances ? BL_ROOT_VARIANCES : attrs->n_iter, w->statistics.parts);
    return 0;
}

int bl_whitening_prepare(struct bl_whitening *w) {
    if (!bl_node_training(w->node)) return 0;
    int code = bl_statistics_prepare(&w->statistics, w->refresh.reuses);
    if (!code) code = bl_refresh_prepare(&w->refresh);
    return code ? code : bl_inverse_root_prepare(&w->root);
}

void bl_whitening_free(struct bl_whitening *w) {
    if (!w) return;
    bl_inverse_root_free(&w->root);
    free(w);
}

int64_t bl_whitening_features(const struct bl_whitening *w) {
    return w->statistics.features;
}

const struct bl_param *bl_whitening_long_reused(const struct bl_whitening *w) {
    return bl_refresh_scheduled(&w->refresh) || w->attrs.refresh >= LONG ? w->refresh.deconv : NULL;
}

/* --- a step ----------------------------------------------------------------------------------- */

static bool computes(enum bl_nd_action action) {
    return action == BL_ND_EXACT || action == BL_ND_RENEW;
}

enum bl_nd_action bl_whitening_action(const struct bl_whitening *w, const struct bl_run *run) {
    return run->training ? bl_refresh_next(&w->refresh) : BL_ND_CONSTANT;
}

/* D_r is the home of a D that later steps may reuse. */
static struct bl_mem *deconv_of(const struct bl_whitening *w, const struct bl_nd_step *step) {
    if (step->action == BL_ND_CONSTANT) return w->running_deconv->data.mem;
    bool reused = step->action == BL_ND_REUSE;
    return w->refresh.reuses && (!reused || step->weights == BL_ND_OF_TARGET) ? w->refresh.deconv->data.mem
                                                                              : w->deconv->mem;
}

void bl_whitening_begin(struct bl_whitening *w, const struct bl_run *run, struct bl_nd_step *step) {
    bool constant = step->action == BL_ND_CONSTANT;
    step->mean = constant ? w->running_mean->data.mem : w->statistics.mean->mem;
    step->deconv = deconv_of(w, step);
    step->factors = w->refresh.factors ? w->refresh.factors->mem : NULL;
    step->backward = !constant && !w->attrs.constant_grad && w->node->in[0]->grad;
    w->last = step->action;
    if (run->training) bl_refresh_count(&w->refresh, step->action);
}

static int compute(struct bl_whitening *w, const struct bl_run *run, const struct bl_nd_step *step) {
    struct bl_mem *covariance = w->root.s->mem;
    int code = bl_statistics_covariance(&w->statistics, run, w->attrs.eps, covariance);
    if (!code && w->refresh.reuses) code = bl_refresh_begin(&w->refresh, step->action, covariance);
    if (code) return code;
    bl_node_phase(w->node, BL_INVERSE_SQRT);
    const struct bl_root_result to = {w->attrs.momentum, step->deconv, w->running_deconv->data.mem};
    code = bl_inverse_root_iterate(&w->root, run->all, w->statistics.squares->mem, w->refresh.reuses ? NULL : &to);
    if (!code && w->refresh.reuses) code = bl_refresh_compare(&w->refresh, w->root.z, w->root.scalars->mem);
    return code ? code : bl_inverse_root_finish(&w->root, &to);
}

/* What the gradient reads and recomputation has not kept: the rows and the iterates. */
static int recompute(struct bl_whitening *w, const struct bl_run *run, const struct bl_nd_step *step) {
    if (step->action != BL_ND_EXACT || !step->backward) return 0;
    bl_node_phase(w->node, BL_COVARIANCE);
    int code = bl_statistics_gather(&w->statistics, run->n);
    if (code) return code;
    bl_node_phase(w->node, BL_INVERSE_SQRT);
    return bl_inverse_root_iterate_again(&w->root, run->all);
}

int bl_whitening_forward(struct bl_whitening *w, const struct bl_run *run, const struct bl_nd_step *step) {
    if (run->again) return recompute(w, run, step);
    if (step->action == BL_ND_CONSTANT) return 0;
    bl_node_phase(w->node, BL_COVARIANCE);
    int code = bl_statistics_mean(&w->statistics, run, w->attrs.momentum, w->running_mean->data.mem);
    if (code) return code;
    if (computes(step->action)) return compute(w, run, step);
    code = bl_refresh_factor(&w->refresh, run);
    return code ? code
                : bl_refresh_rescale(&w->refresh, step->weights != BL_ND_OF_TARGET, w->deconv->mem,
                                     w->running_deconv->data.mem);
}

int bl_whitening_backward(struct bl_whitening *w, const struct bl_run *run, const struct bl_nd_step *step,
                          const struct bl_deconv_gradient *g) {
    bl_node_phase(w->node, BL_WHITEN_BACKWARD);
    if (step->action != BL_ND_EXACT) return bl_refresh_backward(&w->refresh, run->n, g);
    struct bl_statistics *s = &w->statistics;
    const struct bl_root_gradient gradient = {.ddeconv = g->deconv,
                                              .deconv = step->deconv,
                                              .sbar = s->sbar->mem,
                                              .taps = s->taps,
                                              .depthwise = s->depthwise,
                                              .shares = g->shares,
                                              .dots = g->products,
                                              .parts = bl_on_cpu(w->node->dev) ? 0 : g->parts,
                                              .mean_scale = (float)(1.0 / s->samples_of_all),
                                              .dmean = g->mean,
                                              .row_mean = s->dmean->mem};
    int code = bl_inverse_root_backward(&w->root, run->all, &gradient);
    if (!code && !gradient.parts) code = bl_statistics_back_mean(s, g->mean);
    return code ? code : bl_statistics_backward(s, run->n);
}

bool bl_whitening_divides(const struct bl_whitening *w, const struct bl_run *run, bool gradients) {
    if (!run->all || w->root.division.ranks != run->all->ranks) return false;
    return gradients ? w->root.division.rows : w->root.division.forward;
}

bool bl_whitening_cuts(const struct bl_whitening *w, const struct bl_nd_step *step) {
    return step->action == BL_ND_EXACT && !w->statistics.depthwise;
}

/* --- for a scheduler -------------------------------------------------------------------------- */

enum bl_nd_action bl_whitening_order(struct bl_whitening *w, enum bl_nd_action action) {
    enum bl_nd_action before = w->refresh.order;
    w->refresh.order = action;
    return before;
}

struct bl_whitening_facts bl_whitening_look(const struct bl_whitening *w, int images) {
    return (struct bl_whitening_facts){.scheduled = bl_refresh_scheduled(&w->refresh),
                                       .next = bl_refresh_next(&w->refresh),
                                       .last = w->last,
                                       .matrices = w->statistics.samples.matrices,
                                       .features = w->statistics.features,
                                       .samples = bl_statistics_count(&w->statistics, images),
                                       .capped = bl_statistics_capped(&w->statistics, images),
                                       .eps = (double)w->attrs.eps};
}

int bl_whitening_read(const struct bl_whitening *w, int matrix, float *s, float *d) {
    size_t bytes = sizeof *d * (size_t)(w->statistics.features * w->statistics.features);
    struct bl_mem *deconv = w->refresh.reuses ? w->refresh.deconv->data.mem : w->deconv->mem;
    int code = bl_inverse_root_read(&w->root, matrix, s);
    return code ? code : bl_mem_read(deconv, (size_t)matrix * bytes, bytes, d);
}

int bl_whitening_change(const struct bl_whitening *w, double *change) {
    return bl_refresh_change(&w->refresh, change);
}
