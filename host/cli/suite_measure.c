/* A row of the suite: a figure, with what belongs to it. */
#include "cli/suite.h"
#include "cli/timed.h"
#include "cli/tune.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WARMUP = 3, LEAST_STEPS = 5, STEPS = 10, RECORDED = 3 }; // STEPS: before quartiles are looked at
static const double spread_pct = 3;                             // between the quartiles, when a figure ends
static const double least_part = 1.0 / 30;                      // of --seconds: a card needs a while to reach its clock
static const double last_part = 0.2;                            // of a sustained run, which counts

struct figure {
    const struct bl_suite_means *means;
    const struct bl_suite_entry *entry;
    struct bl_suite_row *row;
    struct blanch_device *dev;
    struct bl_timed timed;
    struct bl_meter meter;
    double *times, *sorted; // milliseconds
    size_t capacity, sorted_capacity;
    int count;
};

static int step(struct figure *f) {
    void *times = f->times;
    int code = bl_grow(&times, &f->capacity, (size_t)f->count + 1, sizeof *f->times);
    f->times = times;
    if (!code) code = bl_timed_step(&f->timed, false, &f->times[f->count]);
    if (code) return code;
    bl_meter_sample(&f->meter);
    f->count++;
    return 0;
}

static void show(const struct figure *f, const char *what) {
    char text[160];
    snprintf(text, sizeof text, "%s: %s%d steps, %.2f ms", f->entry->name, what, f->count, f->times[f->count - 1]);
    f->means->show(f->means->context, text);
}

/* Quartiles, median, least and mean of the steps so far. */
static int sum_up(struct figure *f) {
    struct bl_suite_row *row = f->row;
    void *sorted = f->sorted;
    int code = bl_grow(&sorted, &f->sorted_capacity, (size_t)f->count, sizeof *f->sorted);
    f->sorted = sorted;
    if (code) return code;
    memcpy(f->sorted, f->times, (size_t)f->count * sizeof *f->sorted);
    row->quartile1_ms = bl_quantile(f->sorted, f->count, 0.25);
    row->quartile3_ms = bl_quantile(f->sorted, f->count, 0.75);
    row->ms = bl_quantile(f->sorted, f->count, 0.5);
    row->min_ms = f->sorted[0];
    row->mean_ms = 0;
    for (int i = 0; i < f->count; i++) row->mean_ms += f->sorted[i] / f->count;
    return 0;
}

/* Steps of a budget differ by plan: neither do their quartiles tell when to end, nor a median how long they take. */
static int measure_short(struct figure *f) {
    struct bl_suite_row *row = f->row;
    const bool varies = f->entry->budget >= 0;
    const double start = bl_now(), most = f->means->seconds;
    int next = STEPS, code = 0;
    bl_meter_start(&f->meter);
    while (!code && !*row->ended) {
        code = step(f);
        if (code) break;
        row->seconds = bl_now() - start;
        show(f, "");
        if (!varies && f->count >= next && row->seconds >= least_part * most) {
            code = sum_up(f);
            next = f->count + f->count / 10 + 1;
            if (!code && bl_suite_spread(row) <= spread_pct) snprintf(row->ended, sizeof row->ended, "spread");
        }
        if (!*row->ended && row->seconds >= most && f->count >= LEAST_STEPS)
            snprintf(row->ended, sizeof row->ended, "time");
    }
    double joules;
    bl_meter_stop(&f->meter, &joules, &row->clock_mhz);
    if (code || (code = sum_up(f))) return code;
    if (varies) row->ms = row->mean_ms;
    row->steps = f->count;
    row->images_per_s = 1e3 * row->batch / row->ms;
    row->joules_per_image = joules / (row->batch * row->steps);
    row->watts = joules / row->seconds;
    return 0;
}

/* The same steps for minutes: what is left of the speed when the device is warm. */
static int measure_sustained(struct figure *f) {
    struct bl_suite_row *row = f->row;
    const double start = bl_now(), most = f->means->sustain, from = (1 - last_part) * most;
    double now = 0, counted = 0, joules;
    bool last = false;
    int code = 0;
    f->count = 0;
    while (!code && (now < most || f->count < LEAST_STEPS)) {
        if (now >= from && !last) {
            last = true;
            counted = bl_now();
            bl_meter_start(&f->meter);
        }
        if (!last) f->count = 0;
        code = step(f);
        now = bl_now() - start;
        if (!code) show(f, "sustained, ");
    }
    if (code) return code;
    bl_meter_stop(&f->meter, &joules, &row->sustained_clock_mhz);
    row->sustained_s = now;
    row->sustained_ms = bl_quantile(f->times, f->count, 0.5);
    row->sustained_images_per_s = 1e3 * row->batch / row->sustained_ms;
    row->sustained_watts = joules / (bl_now() - counted);
    return 0;
}

/* Where the time goes, in a few steps of their own. */
static int record(struct figure *f) {
    struct bl_ledger *ledger = f->timed.session.ledger;
    struct bl_limits limits;
    double ms;
    int code = bl_limits_get(f->dev, false, &limits);
    for (int i = 0; i < RECORDED && !code; i++) code = bl_timed_step(&f->timed, true, &ms);
    if (code) return code;
    bl_ledger_limits(ledger, &limits);
    for (int n = 0; n <= bl_graph_nodes(f->timed.net->graph); n++)
        for (int p = 0; p < BL_PHASES; p++) f->row->phase[p] += bl_ledger_ms(ledger, n, p);
    struct bl_work_done work = bl_ledger_work(ledger, -1, -1);
    f->row->coverage = bl_ledger_covered(ledger);
    f->row->arithmetic = work.arithmetic;
    f->row->bandwidth = work.bandwidth;
    return 0;
}

static void take_tuning(const struct figure *f) {
    const struct bl_tuner *tuner = bl_tuner_of(f->dev);
    if (!tuner) return;
    const struct bl_tune_report *report = bl_tuner_report(tuner);
    f->row->shapes_known = report->known;
    f->row->shapes_measured = report->measured;
    f->row->shapes_left = report->left;
    f->row->shapes_refused = report->wrong + report->failed;
}

static int measure_steps(struct figure *f) {
    const struct bl_suite_entry *e = f->entry;
    const struct bl_network_options network = {.model = e->model,
                                               .norm = e->norm,
                                               .nd = {.block = e->block, .eps = NAN, .momentum = NAN},
                                               .batch = e->batch,
                                               .inference = e->mode == BL_SUITE_INFERENCE,
                                               .precision = e->precision};
    const int warmup = e->budget >= 0 ? BL_BUDGET_WARMUP : WARMUP;
    int code = bl_timed_open(&f->timed, f->dev, &network, e->budget);
    take_tuning(f);
    if (!code) f->row->planned_bytes = (double)bl_graph_plan(f->timed.net->graph)->total;
    for (int i = 0; i < warmup && !code; i++) {
        code = step(f);
        if (!code) show(f, "warm-up, ");
    }
    f->count = 0;
    if (!code) code = measure_short(f);
    f->row->device_bytes = (double)bl_mem_peak(f->dev);
    if (!code) code = record(f);
    if (!code && e->sustained) code = measure_sustained(f);
    return code;
}

static void begin(struct bl_suite_row *row, const struct bl_suite_entry *e) {
    static const char *const modes[] = {"train", "inference", "accuracy"};
    bl_suite_row_clear(row);
    snprintf(row->name, sizeof row->name, "%s", e->name);
    snprintf(row->model, sizeof row->model, "%s", e->model);
    snprintf(row->norm, sizeof row->norm, "%s", bl_norm_name(e->norm));
    snprintf(row->setting, sizeof row->setting, "%s", e->setting);
    snprintf(row->precision, sizeof row->precision, "%s", bl_precision_name(e->precision));
    snprintf(row->mode, sizeof row->mode, "%s", modes[e->mode]);
    row->batch = e->batch;
}

/* A part of a figure is none. */
static void fail_row(struct bl_suite_row *row, const struct bl_suite_entry *e, int code) {
    const char *message = blanch_error_message();
    double best = row->best_top1, runs = row->runs, planned = row->planned_bytes;
    begin(row, e);
    row->best_top1 = best, row->runs = runs, row->planned_bytes = planned;
    snprintf(row->status, sizeof row->status, "%s", code == BLANCH_EINPUT ? "left out" : "failed");
    snprintf(row->reason, sizeof row->reason, "%s", *message ? message : blanch_error_text(code));
}

int bl_suite_measure(const struct bl_suite_means *means, const struct bl_suite_entry *entry, struct bl_suite_row *row) {
    struct figure f = {.means = means, .entry = entry, .row = row};
    struct bl_first_use use = {0};
    begin(row, entry);
    bl_first_use_init(&use, means->common->no_tune);
    int code = blanch_device_open(&f.dev, means->common->device, means->common->max_alloc);
    if (!code) code = bl_first_use_open(&use, f.dev);
    if (!code) code = bl_meter_open(&f.meter, blanch_device_info(f.dev), means->energy);
    if (!code)
        code = entry->mode == BL_SUITE_ACCURACY ? bl_suite_accuracy(means, entry, f.dev, row) : measure_steps(&f);
    if (code)
        fail_row(row, entry, code);
    else
        snprintf(row->status, sizeof row->status, "measured");
    bl_timed_close(&f.timed);
    bl_meter_close(&f.meter);
    blanch_device_close(f.dev);
    free(f.times);
    free(f.sorted);
    return code;
}
