/* A training step in one place. */
#include "train/session.h"
#include "train/baseline.h"
#include <math.h>
#include <stdlib.h>

int bl_session_open(struct bl_session *s, struct blanch_network *net, const struct bl_session_options *options) {
    *s = (struct bl_session){.net = net, .loader = options->loader};
    struct bl_baseline own = {0};
    int code = options->ledger ? bl_ledger_create(&s->ledger, net->graph) : 0;
    if (code || options->budget < 0) return code;
    if (!options->baseline && (code = bl_baseline_open(&own, net))) return code;
    const struct bl_baseline *baseline = options->baseline ? options->baseline : &own;
    return bl_overhead_open(&s->overhead, net->graph, options->budget, baseline, options->budget_state);
}

void bl_session_close(struct bl_session *s) {
    bl_loader_close(s->loader);
    bl_overhead_close(s->overhead);
    bl_ledger_free(s->ledger);
    *s = (struct bl_session){0};
}

void bl_stepped_release(struct bl_stepped *stepped) {
    free(stepped->diagnoses);
    cJSON_Delete(stepped->decision.line);
    stepped->diagnoses = NULL, stepped->decision.line = NULL;
}

/* --- what all ranks say alike --------------------------------------------------------------------- */

/* The loss of one rank that is not finite is everybody's. */
static int judge_loss(const struct bl_graph *graph, struct bl_stepped *out) {
    double wrong = !isfinite(out->metrics.loss);
    int code = bl_sum_host(bl_graph_collectives(graph), &wrong, 1);
    out->finite = !code && wrong == 0;
    return code;
}

static int count_images(const struct bl_graph *graph, struct bl_stepped *out) {
    double images = out->batch.count;
    int code = bl_sum_host(bl_graph_collectives(graph), &images, 1);
    out->images = (int)images;
    return code;
}

/* --- the parts of a step ------------------------------------------------------------------------ */

/* Decides the step's refreshes; returns what records it: what was asked for, else what the budget wants. */
static struct bl_ledger *begin(struct bl_session *s, const struct bl_step *wanted) {
    struct bl_ledger *own = s->overhead ? bl_overhead_before(s->overhead) : NULL;
    if (wanted->validate || wanted->diagnose) return NULL;
    return wanted->record && s->ledger ? s->ledger : own;
}

static int next_batch(struct bl_session *s, struct bl_batch *batch) {
    int code = bl_loader_next(s->loader, batch);
    if (!code && !batch->count) code = bl_fail(BLANCH_EINPUT, "--data: the training images ended early");
    if (!code && s->overhead && bl_overhead_compares(s->overhead)) bl_loader_wait(s->loader);
    return code;
}

static int check(struct bl_session *s, const struct bl_step *wanted, struct bl_stepped *out) {
    struct bl_batch first = out->batch; // of a step in parts
    int code = 0;
    if (first.count > s->net->options.batch) first.count = s->net->options.batch;
    if (wanted->validate) {
        code = bl_network_validate(s->net, &first, wanted->number, &out->validation);
        out->validated = !code;
    }
    if (code || !wanted->diagnose || (code = bl_network_load(s->net, &first))) return code;
    return bl_diagnose(s->net->graph, first.count, &out->diagnoses, &out->diagnosed);
}

/* The images from `first` on, `count` of them. */
static struct bl_batch part_of(const struct blanch_network *net, const struct bl_batch *batch, int first, int count) {
    const struct bl_network_options *o = &net->options;
    struct bl_batch part = *batch;
    part.images += (size_t)first * (size_t)o->channels * (size_t)o->height * (size_t)o->width;
    part.labels += first;
    if (part.others) part.others += first;
    part.count = count;
    return part;
}

static int parts_of(const struct bl_session *s, const struct bl_batch *batch) {
    return (batch->count + s->net->options.batch - 1) / s->net->options.batch;
}

/* What losses are divided by, where it is not the images of the one pass; else 0. */
static int weigh(struct bl_session *s, const struct bl_batch *batch, double *total) {
    *total = parts_of(s, batch) > 1 ? batch->count : 0;
    if (!s->net->class_weight) return 0;
    *total = 0;
    const float *weight = s->net->class_weight;
    const double share = batch->others ? (double)batch->share : 1;
    for (int i = 0; i < batch->count; i++) {
        *total += share * (double)weight[batch->labels[i]];
        if (batch->others) *total += (1 - share) * (double)weight[batch->others[i]];
    }
    int code = bl_sum_host(bl_graph_collectives(s->net->graph), total, 1);
    if (!code && !(*total > 0)) *total = 1e-30; // of no weight: no loss and no gradient
    return code;
}

/* A forward and a backward pass; the loss is what its images have in that of the step. */
static int pass(struct bl_session *s, const struct bl_batch *part, bool straight, double total,
                struct blanch_metrics *metrics) {
    struct bl_graph *graph = s->net->graph;
    int code = bl_network_load(s->net, part);
    if (!code)
        code = straight ? bl_graph_forward_to_update(graph, part->count) : bl_graph_forward(graph, part->count, true);
    if (!code) code = bl_graph_backward(graph, part->count);
    if (!code) code = bl_network_metrics(s->net, part->count, metrics);
    if (total > 0) metrics->loss *= part->count / total;
    return code;
}

/* In parts that the network takes, of about the same size. */
static int pass_parts(struct bl_session *s, int parts, double total, struct bl_stepped *out) {
    struct bl_graph *graph = s->net->graph;
    const int count = out->batch.count;
    int code = 0;
    for (int p = 0; p < parts && !code; p++) {
        const int first = (int)((int64_t)count * p / parts), end = (int)((int64_t)count * (p + 1) / parts);
        const struct bl_batch part = part_of(s->net, &out->batch, first, end - first);
        struct blanch_metrics metrics = {0};
        bl_graph_begin_part(graph, p, first);
        code = pass(s, &part, false, total, &metrics);
        if (!code) code = bl_graph_end_part(graph, p, parts);
        out->metrics.loss += metrics.loss, out->metrics.count += metrics.count;
        out->metrics.top1 += metrics.top1, out->metrics.top5 += metrics.top5;
    }
    bl_graph_begin_part(graph, 0, 0);
    return code;
}

/* A loss that is not finite skips the update, so that the parameters stay what they were before it. */
static int compute(struct bl_session *s, const struct blanch_update *update, struct bl_stepped *out) {
    struct bl_graph *graph = s->net->graph;
    const bool straight = update && !(update->clip_grad_norm > 0); // else gradients are looked at on the way
    const int parts = parts_of(s, &out->batch);
    double total;
    int code = weigh(s, &out->batch, &total);
    bl_graph_weigh_batch(graph, total);
    if (!code)
        code = parts > 1 ? pass_parts(s, parts, total, out) : pass(s, &out->batch, straight, total, &out->metrics);
    bl_graph_weigh_batch(graph, 0);
    if (!code) code = judge_loss(graph, out);
    if (code) return code;
    return out->finite && update ? bl_graph_update(graph, update) : 0;
}

static int account(struct bl_session *s, const struct bl_ledger *ledger, struct bl_stepped *out) {
    double start = bl_now();
    int code = bl_overhead_after(s->overhead, &out->batch, ledger, out->wall_ms - out->load_ms, &out->decision);
    out->budget_ms = 1e3 * (bl_now() - start);
    return code;
}

int bl_session_step(struct bl_session *s, const struct bl_step *wanted, struct bl_stepped *out) {
    *out = (struct bl_stepped){0};
    int code = wanted->batch ? bl_network_check_batch(s->net, wanted->batch) : 0;
    if (code) return code;
    struct bl_ledger *ledger = begin(s, wanted);
    double start = bl_now();
    if (ledger) bl_ledger_begin(ledger);
    if (wanted->batch)
        out->batch = *wanted->batch;
    else
        code = next_batch(s, &out->batch);
    if (ledger) bl_ledger_loaded(ledger);
    out->load_ms = 1e3 * (bl_now() - start);
    if (!code) code = count_images(s->net->graph, out);
    if (!code) code = check(s, wanted, out);
    out->checks_ms = 1e3 * (bl_now() - start) - out->load_ms;
    out->begun = !code;
    if (!code) code = compute(s, wanted->update, out);
    if (!code && !ledger && wanted->finish) code = bl_finish(s->net->dev);
    out->wall_ms = 1e3 * (bl_now() - start) - out->checks_ms;
    int ended = ledger ? bl_ledger_end(ledger, &out->wall_ms) : 0;
    if (code || ended) return code ? code : ended;
    return s->overhead && out->finite ? account(s, ledger, out) : 0;
}
