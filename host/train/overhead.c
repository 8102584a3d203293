/* Measurement and decisions of the overhead budget within a run. */
#include "train/overhead.h"
#include "ops/nd/phase.h"
#include "ops/nd/schedule.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SESSION = 3, // pairs of a batch-norm step and one of this network, in a row
    FIRST_SESSION = BL_BUDGET_BASE,
    SESSION_EVERY = 300, // steps between two sessions
    PLAN_EVERY = 25,
    KEPT_EVERY = 25,               // steps between two recorded ones
    KEPT_EVERY_GIVEN = 5,          // where the yardstick costs nothing
    OPENING_EVERY = 4,             // steps between two recorded ones of the opening: one exact, one not
    EXACT_EVERY = 100,             // a layer's refresh is recorded again after so many steps
    CHANGE_FROM = BL_BUDGET_EXACT, // of the opening's steps, the last few tell how far D turns
};

struct bl_overhead {
    struct blanch_network *net, *bn; // bn NULL: given_ms is the yardstick
    struct bl_budget *budget;
    struct bl_ledger *ledger;
    struct bl_node **node;       // of the budget's layers
    double *ms;                  // of a recorded step, by layer
    int64_t *age, *measured;     // before this step's refresh; step at which a refresh was last recorded
    double ratio[FIRST_SESSION]; // of this session's pairs
    int pairs;
    double base_ms, given_ms;
    bool warm;        // bn has made a step: its kernels are built
    int64_t recorded; // the last recorded step
    int whole;        // images of the largest batch so far
};

/* --- setting up ------------------------------------------------------------------------------- */

static bool is_scheduled(const struct bl_node *node) {
    return node->whitening && bl_whitening_look(node->whitening, 0).scheduled;
}

static int list_layers(struct bl_overhead *o, double share) {
    struct bl_graph *graph = o->net->graph;
    int nodes = bl_graph_nodes(graph), count = 0;
    o->node = bl_calloc((size_t)nodes + 1, sizeof *o->node);
    o->ms = bl_calloc((size_t)nodes + 1, sizeof *o->ms);
    o->age = bl_calloc((size_t)nodes + 1, sizeof *o->age);
    o->measured = bl_calloc((size_t)nodes + 1, sizeof *o->measured);
    if (!o->node || !o->ms || !o->age || !o->measured) return BLANCH_ENOMEM;
    for (int i = 0; i < nodes; i++)
        if (is_scheduled(bl_graph_node(graph, i))) o->node[count++] = bl_graph_node(graph, i);
    int code = bl_budget_create(&o->budget, share, count);
    for (int i = 0; i < count && !code; i++) o->budget->layer[i].name = o->node[i]->name;
    return code;
}

static int make_yardstick(struct bl_overhead *o) {
    struct blanch_network_options options = o->net->options;
    options.norm = BLANCH_BN;
    options.nd = (struct blanch_nd_options){.eps = NAN, .momentum = NAN};
    int code = blanch_network_create(&o->bn, o->net->dev, &options);
    return code ? bl_fail_in(code, "an overhead budget keeps the network with batch norm beside the trained one") : 0;
}

int bl_overhead_open(struct bl_overhead **overhead, struct blanch_network *net, double share, bool own,
                     const char *state) {
    struct bl_overhead *o = *overhead = bl_calloc(1, sizeof *o);
    if (!o) return BLANCH_ENOMEM;
    o->net = net;
    int code = list_layers(o, share);
    if (!code && own) code = make_yardstick(o);
    if (!code) code = bl_ledger_create(&o->ledger, net->graph);
    if (!code && state) code = bl_budget_restore(o->budget, state);
    if (!code && o->budget->planned) o->recorded = o->budget->step;
    return code;
}

void bl_overhead_close(struct bl_overhead *o) {
    if (!o) return;
    blanch_network_free(o->bn);
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
void bl_overhead_yardstick(struct bl_overhead *o, double ms) {
    o->given_ms = ms;
}
const struct bl_budget *bl_overhead_budget(const struct bl_overhead *o) {
    return o->budget;
}

/* --- before a step ---------------------------------------------------------------------------- */

static int64_t session_step(const struct bl_overhead *o) {
    return (o->budget->step - 1 - BL_BUDGET_ALL) % SESSION_EVERY;
}

/* The base steps until there is a plan, and later the first of every SESSION_EVERY. */
static bool in_session(const struct bl_overhead *o) {
    return o->budget->planned ? session_step(o) < SESSION : o->budget->stage == BL_BUDGET_IS_BASE;
}

static int pairs_wanted(const struct bl_overhead *o) {
    return o->budget->planned && o->bn ? SESSION : FIRST_SESSION;
}

/* Every fourth step of the opening, not the first, whose kernels are new; sessions; now and then, and where a refresh
 * has long not been recorded. */
static bool is_wanted(const struct bl_overhead *o) {
    int64_t step = o->budget->step - 1;
    if (o->budget->stage <= BL_BUDGET_OPENS) return step % OPENING_EVERY == OPENING_EVERY - 1;
    if (!o->budget->planned) return o->budget->stage != BL_BUDGET_WARMS;
    if (in_session(o) || step - o->recorded >= (o->bn ? KEPT_EVERY : KEPT_EVERY_GIVEN)) return true;
    for (int i = 0; i < o->budget->count; i++)
        if (o->budget->layer[i].refresh && step - o->measured[i] >= EXACT_EVERY) return true;
    return false;
}

struct bl_ledger *bl_overhead_before(struct bl_overhead *o) {
    if (!o) return NULL;
    for (int i = 0; i < o->budget->count; i++) o->age[i] = o->budget->layer[i].age + 1;
    bl_budget_next(o->budget);
    const enum bl_nd_action refresh = o->budget->stage == BL_BUDGET_IS_EXACT ? BL_ND_EXACT : BL_ND_RENEW;
    for (int i = 0; i < o->budget->count; i++)
        bl_whitening_order(o->node[i]->whitening, o->budget->layer[i].refresh ? refresh : BL_ND_REUSE);
    return is_wanted(o) ? o->ledger : NULL;
}

bool bl_overhead_compares(const struct bl_overhead *o) {
    return o && o->bn && in_session(o);
}

/* --- after a step ----------------------------------------------------------------------------- */

static double whitening_ms(const struct bl_ledger *ledger, int row) {
    return bl_ledger_last_ms(ledger, row, BL_COVARIANCE) + bl_ledger_last_ms(ledger, row, BL_INVERSE_SQRT) +
           bl_ledger_last_ms(ledger, row, BL_WHITEN_BACKWARD) + bl_ledger_last_ms(ledger, row, BL_FOLD);
}

/* The base step's time, or 0 where it cannot be told yet. */
static double take_times(struct bl_overhead *o, const struct bl_ledger *ledger, double wall_ms) {
    struct bl_budget *b = o->budget;
    for (int i = 0; i < b->count; i++) {
        o->ms[i] = whitening_ms(ledger, o->node[i]->index);
        if (b->layer[i].refresh) o->measured[i] = b->step - 1;
    }
    o->recorded = b->step - 1;
    double base = bl_budget_record(b, wall_ms, o->ms);
    if (base > 0) o->base_ms = o->base_ms > 0 ? 0.7 * o->base_ms + 0.3 * base : base;
    return base;
}

static int take_changes(struct bl_overhead *o) {
    struct bl_budget *b = o->budget;
    int code = 0;
    if (b->step - 1 < CHANGE_FROM) return 0;
    for (int i = 0; i < b->count && !code; i++) {
        double change;
        if (!b->layer[i].refresh) continue;
        code = bl_whitening_change(o->node[i]->whitening, &change);
        if (!code) bl_budget_change(b, i, o->age[i], change);
    }
    return code;
}

/* A batch-norm step on the same images; its learning rate is 0, so that it stays the network that it is. */
static int yardstick_ms(struct bl_overhead *o, const struct bl_batch *batch, double *ms) {
    const struct blanch_update still = {0, 0.9f, 0};
    struct blanch_metrics metrics;
    *ms = o->given_ms;
    if (!o->bn) return 0;
    int code = o->warm ? 0 : bl_network_step(o->bn, batch, &still, &metrics);
    o->warm = true;
    if (!code) code = bl_finish(o->net->dev);
    double start = bl_now();
    if (!code) code = bl_network_step(o->bn, batch, &still, &metrics);
    if (!code) code = bl_finish(o->net->dev);
    *ms = 1e3 * (bl_now() - start);
    return code;
}

/* A pair of a session; *done: it was the last. Steps that were not recorded, validated ones, make no pair. */
static int make_pair(struct bl_overhead *o, const struct bl_batch *batch, double base, bool *done) {
    double ms = 0;
    int code = base > 0 ? yardstick_ms(o, batch, &ms) : 0;
    if (!code && ms > 0) o->ratio[o->pairs++] = ms / base;
    *done = o->pairs == pairs_wanted(o) || (o->bn && o->pairs && o->budget->planned && session_step(o) == SESSION - 1);
    if (code || !*done) return code;
    bl_budget_measure(o->budget, bl_quantile(o->ratio, o->pairs, 0.5), o->bn ? o->pairs : 0);
    o->pairs = 0;
    return 0;
}

static void describe(struct bl_overhead *o, const char *reason, bool was_least, cJSON **line, char *warning,
                     size_t size) {
    const struct bl_budget *b = o->budget;
    *line = cJSON_CreateObject();
    cJSON_AddStringToObject(*line, "reason", reason);
    bl_budget_describe(b, o->base_ms, *line);
    if (b->least && !was_least)
        snprintf(warning, size,
                 "--overhead-budget %.3g%% is less than this network can have here: with few refreshes the overhead is "
                 "%.3g %%",
                 100 * b->share, 100 * bl_budget_floor(b));
}

int bl_overhead_after(struct bl_overhead *o, const struct bl_batch *batch, const struct bl_ledger *ledger,
                      double wall_ms, cJSON **line, char *warning, size_t size) {
    bool measured = false, was_least = o->budget->least, first = !o->budget->planned;
    o->whole = batch->count > o->whole ? batch->count : o->whole;
    double base = ledger && wall_ms > 0 && batch->count == o->whole ? take_times(o, ledger, wall_ms) : 0;
    int code = take_changes(o);
    *line = NULL, *warning = 0;
    if (!code && (in_session(o) || !o->bn)) code = make_pair(o, batch, base, &measured);
    measured &= o->bn != NULL; // pairs that cost nothing are made all the time
    if (code || (!first && !measured && o->budget->step % PLAN_EVERY)) return code;
    if (!bl_budget_plan(o->budget, measured)) return 0;
    describe(o,
             first      ? "first measurement"
             : measured ? "batch norm measured again"
                        : "costs or drifts changed",
             was_least, line, warning, size);
    return 0;
}
