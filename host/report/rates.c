/* Learning rates: which of batch norm's is the best, and what runs at one rate for both norms do not show. */
#include "result.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static bool is_bn(const struct bl_run_result *run) {
    return !strcmp(run->norm, "bn");
}

static bool is_nd(const struct bl_run_result *run) {
    return !strcmp(run->norm, "nd");
}

/* The higher the better; NAN: it learnt nothing that counts. */
static double merit(const struct bl_run_result *run, bool by_accuracy) {
    if (!isnan(run->diverged_after)) return NAN;
    return by_accuracy ? bl_test_top1(run) : -run->last_loss;
}

static void mark_device(struct bl_result *result, int device) {
    struct bl_run_result *best = NULL;
    bool by_accuracy = false;
    int count = 0;
    for (int r = 0; r < result->runs; r++) {
        struct bl_run_result *run = &result->run[r];
        if (run->device != device || !is_bn(run)) continue;
        by_accuracy |= isfinite(merit(run, true));
        count++;
    }
    for (int r = 0; r < result->runs && count > 1; r++) {
        struct bl_run_result *run = &result->run[r];
        if (run->device != device || !is_bn(run)) continue;
        double value = merit(run, by_accuracy);
        run->best = 0;
        if (isfinite(value) && (!best || value > merit(best, by_accuracy))) best = run;
    }
    if (best) best->best = 1;
}

void bl_rates_mark(struct bl_result *result) {
    for (int d = 0; d < result->devices; d++) mark_device(result, d);
}

void bl_rate_text(const struct bl_update_result *update, char *text, size_t size) {
    char warmup[60] = "";
    if (update->warmup > 0)
        snprintf(warmup, sizeof warmup, "%swarm-up of %.0f steps", *update->schedule ? ", " : "", update->warmup);
    snprintf(text, size, "%.6g%s%s%s%s", update->lr, *update->schedule || *warmup ? " (" : "", update->schedule, warmup,
             *update->schedule || *warmup ? ")" : "");
}

static bool same_number(double a, double b) {
    return a == b || (isnan(a) && isnan(b));
}

static bool same_rate(const struct bl_update_result *a, const struct bl_update_result *b) {
    return same_number(a->lr, b->lr) && same_number(a->warmup, b->warmup) && !strcmp(a->schedule, b->schedule) &&
           !strcmp(a->optimiser, b->optimiser);
}

struct rates {
    const struct bl_run_result *bn, *nd, *best; // the first of each norm, batch norm's best
    int tried;                                  // of batch norm
    bool others;                                // batch norm has more than one rate
    bool shared;                                // deconvolution has batch norm's
};

static void add_bn(struct rates *rates, const struct bl_run_result *run) {
    if (!is_bn(run) || isnan(run->update.lr)) return;
    if (!rates->bn) rates->bn = run;
    if (run->best == 1) rates->best = run;
    rates->others |= !same_rate(&rates->bn->update, &run->update);
    rates->tried++;
}

/* After all of batch norm. */
static void add_nd(struct rates *rates, const struct bl_run_result *run) {
    if (!is_nd(run) || isnan(run->update.lr)) return;
    if (!rates->nd) rates->nd = run;
    rates->shared |= rates->bn && same_rate(&rates->bn->update, &run->update);
}

static bool is_one(const struct rates *rates) {
    return rates->bn && !rates->others && rates->shared;
}

static void say_one(const struct rates *rates, char *text, size_t size) {
    char rate[120];
    bl_rate_text(&rates->bn->update, rate, sizeof rate);
    snprintf(text, size,
             "Both norms had one learning rate, %s: what each reaches at a rate of its own is not shown "
             "(`compare --sweep-lr 0.003,0.01,0.03,0.1` tries some with batch norm).",
             rate);
}

/* The accuracy or loss that it was chosen by. */
static void say_best(const struct rates *rates, char *text, size_t size) {
    char rate[120], own[120] = "", by[120];
    double top1 = bl_test_top1(rates->best);
    bl_rate_text(&rates->best->update, rate, sizeof rate);
    if (rates->nd) bl_rate_text(&rates->nd->update, own, sizeof own);
    if (isfinite(top1))
        snprintf(by, sizeof by, "%.2f %% of the images right after epoch %d", top1, rates->best->epochs);
    else
        snprintf(by, sizeof by, "a loss of %.4f in the last tenth of the steps", rates->best->last_loss);
    snprintf(text, size, "Best of %d runs with batch norm: learning rate %s, %s.%s%s%s", rates->tried, rate, by,
             *own ? " Deconvolution had " : "", own, *own ? "." : "");
}

void bl_rates_say(const struct bl_result *result, int device, char *text, size_t size) {
    struct rates rates = {0};
    *text = 0;
    for (int r = 0; r < result->runs; r++)
        if (result->run[r].device == device) add_bn(&rates, &result->run[r]);
    for (int r = 0; r < result->runs; r++)
        if (result->run[r].device == device) add_nd(&rates, &result->run[r]);
    if (is_one(&rates))
        say_one(&rates, text, size);
    else if (rates.best && rates.tried > 1)
        say_best(&rates, text, size);
}

void bl_rates_say_of(const struct bl_result *results, int count, const char *model, char *text, size_t size) {
    struct rates rates = {0};
    *text = 0;
    for (int d = 0; d < count; d++)
        for (int r = 0; r < results[d].runs && !strcmp(results[d].model, model); r++)
            add_bn(&rates, &results[d].run[r]);
    for (int d = 0; d < count; d++)
        for (int r = 0; r < results[d].runs && !strcmp(results[d].model, model); r++)
            add_nd(&rates, &results[d].run[r]);
    if (is_one(&rates)) say_one(&rates, text, size);
}
