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
    int code = 0;
    if (wanted->validate) {
        code = bl_network_validate(s->net, &out->batch, wanted->number, &out->validation);
        out->validated = !code;
    }
    if (code || !wanted->diagnose || (code = bl_network_load(s->net, &out->batch))) return code;
    return bl_diagnose(s->net->graph, out->batch.count, &out->diagnoses, &out->diagnosed);
}

/* A loss that is not finite skips the update, so that the parameters stay what they were before it. */
static int compute(struct bl_session *s, const struct blanch_update *update, struct bl_stepped *out) {
    struct bl_graph *graph = s->net->graph;
    const bool straight = update && !(update->clip_grad_norm > 0); // else gradients are looked at on the way
    int count = out->batch.count, code = bl_network_load(s->net, &out->batch);
    if (!code) code = straight ? bl_graph_forward_to_update(graph, count) : bl_graph_forward(graph, count, true);
    if (!code) code = bl_graph_backward(graph, count);
    if (!code) code = bl_network_metrics(s->net, count, &out->metrics);
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
