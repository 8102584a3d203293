/* Measurement and decisions of the overhead budget within a run. */
#include "train/overhead.h"
#include "ops/nd/phase.h"
#include "ops/nd/schedule.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PAIRS = 3, // of a step of the baseline and one of the graph, in a row: a comparison
    FIRST_PAIRS = BL_BUDGET_BASE,
    COMPARE_EVERY = 300, // steps between two comparisons
    PLAN_EVERY = 25,
    RECORD_EVERY = 25,             // steps between two recorded ones
    RECORD_EVERY_TRAINED = 5,      // where the baseline costs nothing
    WARMUP_EVERY = 4,              // steps between two recorded ones of the warm-up: one exact, one not
    EXACT_EVERY = 100,             // a layer's refresh is recorded again after so many steps
    CHANGE_FROM = BL_BUDGET_EXACT, // of the warm-up's steps, the last few tell how far D moves
};

struct bl_overhead {
    struct bl_graph *graph;
    struct bl_baseline baseline;
    struct bl_budget *budget;
    struct bl_ledger *ledger;
    struct bl_node **node;     // of the budget's layers
    double *ms;                // of a recorded step, by layer; then of the whole step
    int64_t *age, *measured;   // before this step's refresh; step at which a refresh was last recorded
    double ratio[FIRST_PAIRS]; // of this comparison's pairs
    int pairs;
    double base_ms;
    int64_t recorded; // the last recorded step
    int whole;        // images of the largest batch so far
};

/* --- setting up ------------------------------------------------------------------------------- */

static bool is_scheduled(const struct bl_node *node) {
    return node->whitening && bl_whitening_look(node->whitening, 0).scheduled;
}

static int list_layers(struct bl_overhead *o, double share) {
    int nodes = bl_graph_nodes(o->graph), count = 0;
    o->node = bl_calloc((size_t)nodes + 1, sizeof *o->node);
    o->ms = bl_calloc((size_t)nodes + 1, sizeof *o->ms);
    o->age = bl_calloc((size_t)nodes + 1, sizeof *o->age);
    o->measured = bl_calloc((size_t)nodes + 1, sizeof *o->measured);
    if (!o->node || !o->ms || !o->age || !o->measured) return BLANCH_ENOMEM;
    for (int i = 0; i < nodes; i++)
        if (is_scheduled(bl_graph_node(o->graph, i))) o->node[count++] = bl_graph_node(o->graph, i);
    int code = bl_budget_create(&o->budget, share, count);
    for (int i = 0; i < count && !code; i++) o->budget->layer[i].name = o->node[i]->name;
    return code;
}

int bl_overhead_read(const struct bl_overhead *o, const char *state, struct bl_budget **budget) {
    int code = bl_budget_create(budget, o->budget->share, o->budget->count);
    for (int i = 0; i < o->budget->count && !code; i++) (*budget)->layer[i].name = o->node[i]->name;
    if (!code && state) code = bl_budget_restore(*budget, state);
    if (code) bl_budget_free(*budget), *budget = NULL;
    return code;
}

void bl_overhead_resume(struct bl_overhead *o, struct bl_budget *budget) {
    bl_budget_free(o->budget);
    o->budget = budget;
    o->pairs = o->whole = 0;
    o->base_ms = 0;
    o->recorded = budget->planned ? budget->step : 0;
    memset(o->measured, 0, (size_t)budget->count * sizeof *o->measured);
}

int bl_overhead_open(struct bl_overhead **overhead, struct bl_graph *graph, double share,
                     const struct bl_baseline *baseline, const char *state) {
    struct bl_overhead *o = *overhead = bl_calloc(1, sizeof *o);
    if (!o) {
        if (baseline->close) baseline->close(baseline->context);
        return BLANCH_ENOMEM;
    }
    o->graph = graph;
    o->baseline = *baseline;
    int code = list_layers(o, share);
    if (!code) code = bl_ledger_create(&o->ledger, graph);
    struct bl_budget *budget;
    if (!code && state && !(code = bl_overhead_read(o, state, &budget))) bl_overhead_resume(o, budget);
    return code;
}

void bl_overhead_close(struct bl_overhead *o) {
    if (!o) return;
    if (o->baseline.close) o->baseline.close(o->baseline.context);
    bl_ledger_free(o->ledger);
    bl_budget_free(o->budget);
    free(o->node);
    free(o->ms);
    free(o->age);
    free(o->measured);
    free(o);
}

char *bl_overhead_save(const struct bl_overhead *o) {
    return bl_budget_save(o->budget);
}
const struct bl_budget *bl_overhead_budget(const struct bl_overhead *o) {
    return o->budget;
}

/* --- before a step ---------------------------------------------------------------------------- */

static int64_t comparison_step(const struct bl_overhead *o) {
    return (o->budget->step - 1 - BL_BUDGET_ALL) % COMPARE_EVERY;
}

/* The base steps until there is a plan, and later the first of every COMPARE_EVERY. */
static bool in_comparison(const struct bl_overhead *o) {
    return o->budget->planned ? comparison_step(o) < PAIRS : o->budget->stage == BL_BUDGET_IS_BASE;
}

static int pairs_wanted(const struct bl_overhead *o) {
    return o->budget->planned && !o->baseline.trained ? PAIRS : FIRST_PAIRS;
}

/* Every fourth step of the warm-up, not the first, whose kernels are new; comparisons; now and then, and where a
 * refresh has long not been recorded. */
static bool is_wanted(const struct bl_overhead *o) {
    int64_t step = o->budget->step - 1, every = o->baseline.trained ? RECORD_EVERY_TRAINED : RECORD_EVERY;
    if (o->budget->stage <= BL_BUDGET_RENEWS) return step % WARMUP_EVERY == WARMUP_EVERY - 1;
    if (!o->budget->planned) return o->budget->stage != BL_BUDGET_IS_UNMEASURED;
    if (in_comparison(o) || step - o->recorded >= every) return true;
    for (int i = 0; i < o->budget->count; i++)
        if (o->budget->layer[i].refresh && step - o->measured[i] >= EXACT_EVERY) return true;
    return false;
}

/* What a layer does in the step that was begun. */
static enum bl_nd_action decision_of(const struct bl_budget *budget, int layer) {
    if (!budget->layer[layer].refresh) return BL_ND_REUSE;
    return budget->stage == BL_BUDGET_IS_EXACT ? BL_ND_EXACT : BL_ND_RENEW;
}

struct bl_ledger *bl_overhead_before(struct bl_overhead *o) {
    for (int i = 0; i < o->budget->count; i++) o->age[i] = o->budget->layer[i].age + 1;
    bl_budget_next(o->budget);
    for (int i = 0; i < o->budget->count; i++) bl_whitening_order(o->node[i]->whitening, decision_of(o->budget, i));
    return is_wanted(o) ? o->ledger : NULL;
}

bool bl_overhead_compares(const struct bl_overhead *o) {
    return !o->baseline.trained && in_comparison(o);
}

/* --- after a step ----------------------------------------------------------------------------- */

double bl_overhead_whitening_ms(const struct bl_ledger *ledger, int row) {
    return bl_ledger_last_ms(ledger, row, BL_COVARIANCE) + bl_ledger_last_ms(ledger, row, BL_INVERSE_SQRT) +
           bl_ledger_last_ms(ledger, row, BL_WHITEN_BACKWARD) + bl_ledger_last_ms(ledger, row, BL_FOLD);
}

/* What ranks have measured becomes their mean, so that all of them decide alike. */
static int agree(const struct bl_overhead *o, double *values, int count) {
    const struct bl_collectives *all = bl_graph_collectives(o->graph);
    int code = bl_sum_host(all, values, count);
    for (int i = 0; i < count && all; i++) values[i] /= all->ranks;
    return code;
}

/* *base: the base step's time, or 0 where it cannot be told yet. */
static int take_times(struct bl_overhead *o, const struct bl_ledger *ledger, double wall_ms, double *base) {
    struct bl_budget *b = o->budget;
    for (int i = 0; i < b->count; i++) {
        o->ms[i] = bl_overhead_whitening_ms(ledger, o->node[i]->index);
        if (b->layer[i].refresh) o->measured[i] = b->step - 1;
    }
    o->ms[b->count] = wall_ms;
    int code = agree(o, o->ms, b->count + 1);
    if (code) return code;
    o->recorded = b->step - 1;
    *base = bl_budget_record(b, o->ms[b->count], o->ms);
    if (*base > 0) o->base_ms = o->base_ms > 0 ? 0.7 * o->base_ms + 0.3 * *base : *base;
    return 0;
}

static int take_changes(struct bl_overhead *o) {
    struct bl_budget *b = o->budget;
    int code = 0;
    if (b->step - 1 < CHANGE_FROM) return 0;
    for (int i = 0; i < b->count && !code; i++) {
        double change;
        if (!b->layer[i].refresh) continue;
        code = bl_whitening_change(o->node[i]->whitening, &change);
        if (!code) code = agree(o, &change, 1);
        if (!code) bl_budget_change(b, i, o->age[i], change);
    }
    return code;
}

/* A pair of a comparison; *done: it was the last. Steps that were not recorded, validated ones, make no pair. */
static int make_pair(struct bl_overhead *o, const struct bl_batch *batch, double base, bool *done) {
    const bool costs = !o->baseline.trained;
    double ms = 0;
    int code = base > 0 ? o->baseline.step(o->baseline.context, batch, &ms) : 0;
    if (!code && base > 0) code = agree(o, &ms, 1);
    if (!code && ms > 0) o->ratio[o->pairs++] = ms / base;
    *done = o->pairs == pairs_wanted(o) || (costs && o->pairs && o->budget->planned && comparison_step(o) == PAIRS - 1);
    if (code || !*done) return code;
    bl_budget_measure(o->budget, bl_quantile(o->ratio, o->pairs, 0.5), costs ? o->pairs : 0);
    o->pairs = 0;
    return 0;
}

static void describe(const struct bl_overhead *o, const char *reason, bool was_least, struct bl_decision *decision) {
    const struct bl_budget *b = o->budget;
    decision->line = cJSON_CreateObject();
    cJSON_AddStringToObject(decision->line, "reason", reason);
    bl_budget_describe(b, o->base_ms, decision->line);
    if (b->least && !was_least)
        snprintf(decision->warning, sizeof decision->warning,
                 "--overhead-budget %.3g%% is less than this network can have here: with few refreshes the overhead is "
                 "%.3g %%",
                 100 * b->share, 100 * bl_budget_floor(b));
}

int bl_overhead_after(struct bl_overhead *o, const struct bl_batch *batch, const struct bl_ledger *ledger,
                      double wall_ms, struct bl_decision *decision) {
    bool measured = false, was_least = o->budget->least, first = !o->budget->planned;
    o->whole = batch->count > o->whole ? batch->count : o->whole;
    double base = 0;
    int code = ledger && wall_ms > 0 && batch->count == o->whole ? take_times(o, ledger, wall_ms, &base) : 0;
    if (!code) code = take_changes(o);
    *decision = (struct bl_decision){0};
    if (!code && (in_comparison(o) || o->baseline.trained)) code = make_pair(o, batch, base, &measured);
    measured &= !o->baseline.trained; // pairs that cost nothing are made all the time
    if (code || (!first && !measured && o->budget->step % PLAN_EVERY)) return code;
    if (!bl_budget_plan(o->budget, measured)) return 0;
    const char *reason = first      ? "first measurement"
                         : measured ? "batch norm measured again"
                                    : "costs or drifts changed";
    describe(o, reason, was_least, decision);
    return 0;
}
