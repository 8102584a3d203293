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

/* --- rates that differ ------------------------------------------------------------------------ */

enum { MOST = 64, SHOWN = 5, LIST = 170 }; // a list has room for the longest rate

struct rates { // of one norm, each once; those beyond MOST are left out
    const struct bl_update_result *rate[MOST];
    int count;
};

static bool same_number(double a, double b) {
    return a == b || (isnan(a) && isnan(b));
}

static bool same_rate(const struct bl_update_result *a, const struct bl_update_result *b) {
    return same_number(a->lr, b->lr) && same_number(a->warmup, b->warmup) && !strcmp(a->schedule, b->schedule) &&
           !strcmp(a->optimiser, b->optimiser);
}

static bool has_rate(const struct rates *rates, const struct bl_update_result *rate) {
    for (int i = 0; i < rates->count; i++)
        if (same_rate(rates->rate[i], rate)) return true;
    return false;
}

static void add_rate(struct rates *rates, const struct bl_update_result *rate) {
    if (!isnan(rate->lr) && rates->count < MOST && !has_rate(rates, rate)) rates->rate[rates->count++] = rate;
}

/* " (cosine, warm-up of 100 steps)", or "". */
static void details_of(const struct bl_update_result *rate, bool optimiser, char *text, size_t size) {
    char warmup[60] = "";
    if (rate->warmup > 0) snprintf(warmup, sizeof warmup, "warm-up of %.15g steps", rate->warmup);
    const char *const parts[] = {optimiser ? rate->optimiser : "", rate->schedule, warmup};
    size_t used = 0;
    *text = 0;
    for (int i = 0; i < BL_COUNT(parts); i++)
        if (*parts[i] && used < size)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : " (", parts[i]);
    if (used && used < size) snprintf(text + used, size - used, ")");
}

static bool alike_but_for_lr(const struct rates *rates) {
    for (int i = 1; i < rates->count; i++) {
        struct bl_update_result other = *rates->rate[i];
        other.lr = rates->rate[0]->lr;
        if (!same_rate(rates->rate[0], &other)) return false;
    }
    return true;
}

/* "0.1, 0.03 and 0.01 (cosine)", "0.1 (cosine) and 0.01 (constant)"; of many, and where there is no room, the first
 * ones "and others". */
static void list_rates(const struct rates *rates, bool optimiser, char text[LIST]) {
    static const char others[] = " and others";
    const bool alike = alike_but_for_lr(rates);
    const int shown = rates->count <= SHOWN ? rates->count : SHOWN;
    char details[LIST - 20] = "", one[LIST];
    size_t used = 0;
    int i = 0;
    for (; i < shown; i++) {
        const char *before = !i ? "" : i + 1 == rates->count ? " and " : ", ";
        details_of(rates->rate[i], optimiser, details, sizeof details);
        snprintf(one, sizeof one, "%.6g%s", rates->rate[i]->lr, alike ? "" : details);
        if (i && used + strlen(before) + strlen(one) + (alike ? strlen(details) : 0) + sizeof others > LIST) break;
        snprintf(text + used, LIST - used, "%s%s", before, one);
        used += strlen(text + used);
    }
    snprintf(text + used, LIST - used, "%s%s", i < rates->count ? others : "", alike ? details : "");
}

/* --- what is said ----------------------------------------------------------------------------- */

struct said {
    struct rates bn, nd;
    const struct bl_run_result *best; // of batch norm
    int tried;                        // with batch norm
};

static void add_run(struct said *said, const struct bl_run_result *run) {
    if (is_nd(run)) add_rate(&said->nd, &run->update);
    if (!is_bn(run) || isnan(run->update.lr)) return;
    add_rate(&said->bn, &run->update);
    if (run->best == 1) said->best = run;
    said->tried++;
}

/* Rates have to tell more where the optimisers differ. */
static bool of_optimisers(const struct said *said) {
    const char *first = said->bn.rate[0]->optimiser;
    for (int i = 0; i < said->bn.count; i++)
        if (strcmp(said->bn.rate[i]->optimiser, first)) return true;
    for (int i = 0; i < said->nd.count; i++)
        if (strcmp(said->nd.rate[i]->optimiser, first)) return true;
    return false;
}

/* Batch norm has one, which deconvolution has too. */
static bool is_one(const struct said *said) {
    return said->bn.count == 1 && has_rate(&said->nd, said->bn.rate[0]);
}

static void say_one(const struct said *said, char *text, size_t size) {
    static const char sweep[] = "(`compare --sweep-lr 0.003,0.01,0.03,0.1` tries some with batch norm)";
    const bool optimiser = of_optimisers(said);
    struct rates others = {0};
    char rate[LIST], beside[LIST];
    for (int i = 0; i < said->nd.count; i++)
        if (!has_rate(&said->bn, said->nd.rate[i])) add_rate(&others, said->nd.rate[i]);
    list_rates(&said->bn, optimiser, rate);
    if (!others.count) {
        snprintf(text, size,
                 "Both norms had one learning rate, %s: what each reaches at a rate of its own is not shown %s.", rate,
                 sweep);
        return;
    }
    list_rates(&others, optimiser, beside);
    snprintf(text, size,
             "Batch norm had one learning rate, %s, which deconvolution had too, beside %s: what batch norm reaches at "
             "a rate of its own is not shown %s.",
             rate, beside, sweep);
}

/* The accuracy or loss that it was chosen by. */
static void say_best(const struct said *said, char *text, size_t size) {
    const bool optimiser = of_optimisers(said);
    const struct rates best = {{&said->best->update}, 1};
    char rate[LIST], own[LIST] = "", by[120];
    double top1 = bl_test_top1(said->best);
    list_rates(&best, optimiser, rate);
    if (said->nd.count) list_rates(&said->nd, optimiser, own);
    if (isfinite(top1))
        snprintf(by, sizeof by, "%.2f %% of the images right after epoch %d", top1, said->best->epochs);
    else
        snprintf(by, sizeof by, "a loss of %.4f in the last tenth of the steps", said->best->last_loss);
    snprintf(text, size, "Best of %d runs with batch norm: learning rate %s, %s.%s%s%s", said->tried, rate, by,
             *own ? " Deconvolution had " : "", own, *own ? "." : "");
}

void bl_rates_say(const struct bl_result *result, int device, char *text, size_t size) {
    struct said said = {0};
    *text = 0;
    for (int r = 0; r < result->runs; r++)
        if (result->run[r].device == device) add_run(&said, &result->run[r]);
    if (is_one(&said))
        say_one(&said, text, size);
    else if (said.best && said.tried > 1)
        say_best(&said, text, size);
}

void bl_rates_say_of(const struct bl_result *results, int count, const char *model, char *text, size_t size) {
    struct said said = {0};
    *text = 0;
    for (int d = 0; d < count; d++)
        for (int r = 0; r < results[d].runs && !strcmp(results[d].model, model); r++)
            add_run(&said, &results[d].run[r]);
    if (is_one(&said)) say_one(&said, text, size);
}
