/* Steps and forward passes on made-up images. */
#include "cli/timed.h"
#include <math.h>
#include <stdlib.h>

/* Where the batch lies, the device having had it or not. */
static int find_data(struct bl_timed *t) {
    const struct bl_network_options *n = &t->net->options;
    struct bl_lender *lender = t->session.lender;
    const size_t bytes[] = {sizeof *t->images * (size_t)n->batch * (size_t)n->channels * (size_t)n->height *
                                (size_t)n->width,
                            sizeof *t->labels * (size_t)n->batch * (size_t)bl_graph_pixels(t->net->graph)};
    void *at[] = {t->own[0], t->own[1]};
    int code = 0;
    for (int k = 0; k < BL_COUNT(at) && !code; k++) {
        if (lender) code = bl_lender_take(lender, 0, k ? BL_BATCH_LABELS : BL_BATCH_IMAGES, bytes[k], &at[k]);
        if (!lender && !at[k] && !(at[k] = t->own[k] = bl_calloc(1, bytes[k]))) code = BLANCH_ENOMEM;
    }
    t->images = at[0], t->labels = at[1];
    return code;
}

static int make_data(struct bl_timed *t) {
    const struct bl_network_options *n = &t->net->options;
    const size_t count = (size_t)n->batch * (size_t)n->channels * (size_t)n->height * (size_t)n->width;
    const int64_t labels = n->batch * bl_graph_pixels(t->net->graph);
    uint32_t word[4];
    int code = n->inference ? 0 : bl_session_lend(&t->session);
    if (!code) code = find_data(t);
    if (code == BLANCH_ELIMIT && t->session.lender) { // no room: the host's own memory
        bl_lender_free(t->session.lender);
        t->session.lender = NULL;
        code = find_data(t);
    }
    if (code) return code;
    t->logits = bl_calloc((size_t)n->batch * bl_network_logit_count(t->net), sizeof *t->logits);
    if (!t->logits) return BLANCH_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        if (i % 4 == 0) bl_philox(n->seed, BL_RANDOM_DATA, i / 4, 0, word);
        t->images[i] = (bl_uniform(word[i % 4]) - 0.5f) * 3.4641016f;
    }
    for (int64_t i = 0; i < labels; i++) {
        bl_philox(n->seed, BL_RANDOM_DATA, (uint64_t)i, 1, word);
        t->labels[i] = (int32_t)bl_below(word[0], (uint32_t)n->classes);
    }
    return 0;
}

static int not_finite(const struct bl_timed *t, const char *what) {
    const struct bl_network_options *n = &t->net->options;
    return bl_fail(BLANCH_EDIVERGED, "%s with %s, %s: %s", t->net->model->name, bl_norm_name(n->norm),
                   bl_precision_name(n->precision), what);
}

/* What is derived from the weights is there from now on. */
static int evaluate_once(struct bl_timed *t) {
    const struct bl_batch batch = {.count = t->net->options.batch, .images = t->images, .labels = t->labels};
    struct blanch_metrics metrics;
    int code = bl_network_eval(t->net, &batch, &metrics);
    return code || isfinite(metrics.loss) ? code : not_finite(t, "what it computes is not finite");
}

int bl_timed_open(struct bl_timed *t, struct blanch_device *dev, const struct bl_network_options *options,
                  double budget) {
    struct bl_network_options network = *options;
    const struct bl_session_options session = {.ledger = true, .budget = budget};
    if (budget >= 0) network.nd.refresh = BL_REFRESH_SCHEDULED;
    int code = bl_network_create(&t->net, dev, &network);
    if (code || (code = bl_session_open(&t->session, t->net, &session)) || (code = make_data(t))) return code;
    return options->inference ? evaluate_once(t) : 0;
}

void bl_timed_close(struct bl_timed *t) {
    bl_session_close(&t->session);
    blanch_network_free(t->net);
    free(t->logits);
    free(t->own[0]), free(t->own[1]);
    *t = (struct bl_timed){0};
}

static int one_pass(struct bl_timed *t, bool record, double *ms) {
    struct bl_ledger *ledger = record ? t->session.ledger : NULL;
    int code = bl_check_interrupted();
    if (code) return code;
    if (ledger && (code = bl_ledger_begin(ledger))) return code;
    double start = bl_now();
    if (ledger) bl_ledger_loaded(ledger);
    code = bl_network_infer(t->net, t->images, t->net->options.batch, t->logits);
    *ms = 1e3 * (bl_now() - start);
    int ended = ledger ? bl_ledger_end(ledger, ms) : 0;
    return code ? code : ended;
}

/* The learning rate is tiny: the arithmetic of an update without its consequences. */
int bl_timed_step(struct bl_timed *t, bool record, double *ms) {
    struct blanch_update update = {.size = sizeof update};
    struct bl_stepped stepped;
    if (t->net->options.inference) return one_pass(t, record, ms);
    int code = bl_check_interrupted();
    if (code || (code = find_data(t)) || (code = blanch_update_defaults(t->net->options.optimiser, &update)))
        return code;
    update.lr = 1e-6f;
    const struct bl_batch batch = {.count = t->net->options.batch, .images = t->images, .labels = t->labels};
    const struct bl_step wanted = {.batch = &batch, .update = &update, .record = record, .finish = true};
    code = bl_session_step(&t->session, &wanted, &stepped);
    if (!code && !stepped.finite) code = not_finite(t, "the loss is not finite, and such a step has no update to time");
    if (!code) *ms = stepped.wall_ms + stepped.budget_ms;
    bl_stepped_release(&stepped);
    return code;
}
