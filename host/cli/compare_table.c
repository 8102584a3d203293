/* A comparison for people: a table of layers, then the totals. */
#include "compare.h"
#include "ops/nd/phase.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { COLUMNS = 7 };

/* What the overhead is split into; the last column takes the phases that the others do not name. */
static const struct {
    const char *head;
    int phases[4];
    int count;
} columns[COLUMNS] = {
    {"convol.", {BL_FORWARD, BL_BACKWARD_DATA, BL_BACKWARD_WEIGHTS}, 3},
    {"covar.", {BL_COVARIANCE}, 1},
    {"inv.root", {BL_INVERSE_SQRT}, 1},
    {"fold", {BL_FOLD}, 1},
    {"whiten.b", {BL_WHITEN_BACKWARD}, 1},
    {"norm", {BL_NORM}, 1},
    {"other", {0}, 0},
};

struct line {
    double bn, nd, split[COLUMNS];
};

static void add_line(struct line *line, const struct bl_pair_row *row) {
    double rest = row->nd_ms - row->bn_ms;
    line->bn += row->bn_ms;
    line->nd += row->nd_ms;
    for (int k = 0; k < COLUMNS - 1; k++)
        for (int p = 0; p < columns[k].count; p++) {
            double ms = bl_pair_row_difference(row, columns[k].phases[p]);
            line->split[k] += ms;
            rest -= ms;
        }
    line->split[COLUMNS - 1] += rest;
}

static void print_line(const char *name, const struct line *line) {
    printf("%-26.26s %9.2f %9.2f %+9.2f ", bl_shown(name), line->bn, line->nd, line->nd - line->bn);
    for (int k = 0; k < COLUMNS; k++) {
        if (fabs(line->split[k]) < 0.005)
            printf(" %8s", ".");
        else
            printf(" %+8.2f", line->split[k]);
    }
    putchar('\n');
}

/* All operations of one kind in one line: there may be a hundred activations. */
static void print_kind(const struct bl_pair_result *pair, int first) {
    struct line line = {0};
    const char *op = pair->row[first].op;
    char name[64];
    int count = 0;
    for (int i = 0; i < pair->rows; i++) {
        if (strcmp(pair->row[i].op, op)) continue;
        if (i < first) return;
        add_line(&line, &pair->row[i]);
        count++;
    }
    if (count > 1)
        snprintf(name, sizeof name, "%s (%d)", op, count);
    else
        snprintf(name, sizeof name, "%s", op);
    print_line(name, &line);
}

static void print_pair(const struct bl_pair_result *pair) {
    struct line all = {0};
    printf("%-26s %9s %9s %9s ", "layer", "BN ms", "ND ms", "overhead");
    for (int k = 0; k < COLUMNS; k++) printf(" %8s", columns[k].head);
    putchar('\n');
    for (int i = 0; i < pair->rows; i++) {
        const struct bl_pair_row *row = &pair->row[i];
        struct line line = {0};
        add_line(&line, row);
        add_line(&all, row);
        if (row->role == BL_ROLE_LAYER)
            print_line(row->name, &line);
        else
            print_kind(pair, i);
    }
    print_line("all rows", &all);
}

static void print_value(const char *format, double value) {
    if (isfinite(value))
        printf(format, value);
    else
        printf("%11s", "-");
}

static void print_run(const struct bl_run_result *run) {
    const struct bl_epoch_result *last = bl_last_epoch(run);
    bool worked = run->step.all.launches > 0;
    char name[100], rate[40] = "-";
    snprintf(name, sizeof name, "%s %s", run->norm, run->setting);
    if (!isnan(run->update.lr)) snprintf(rate, sizeof rate, "%.4g%s", run->update.lr, run->best == 1 ? " best" : "");
    printf("%-24.24s%11s", bl_shown(name), isnan(run->diverged_after) ? rate : "diverged");
    print_value("%11.2f", run->step_ms);
    print_value("%11.0f", run->images_per_s);
    print_value("%11.2f", run->inference_ms);
    bl_print_share(BL_LIMIT_OPERATIONS, worked ? run->step.all.arithmetic : NAN);
    bl_print_share(BL_LIMIT_BYTES, worked ? run->step.all.bandwidth : NAN);
    print_value("%11.1f", 100 * run->coverage);
    print_value("%+11.1f", bl_percent_more(run->recording_cost, 1));
    print_value("%11.4f", run->last_loss);
    print_value("%11.2f", last ? last->train_top1 : NAN);
    print_value("%11.2f", last ? bl_held_top1(last) : NAN);
    print_value("%11.1f", run->target_s);
    putchar('\n');
}

/* A median step has no refresh in it, so a budget is judged by means. */
static void print_budget(const struct bl_result *result, const struct bl_pair_result *pair) {
    const struct bl_run_result *run = bl_result_run(result, pair->device, "nd", pair->setting);
    const struct bl_budget_result *budget = run ? &run->budget : NULL;
    if (!budget || isnan(budget->budget_pct)) return;
    printf("Budget %g %%: ", budget->budget_pct);
    if (isnan(budget->held_pct))
        printf("nothing was decided, the run is too short.\n");
    else
        printf("%d decisions; by its own measurements it held %+.1f %%, first steps included, and could do with %+.1f "
               "%%. By the clock: %+.1f %% "
               "in the %.0f steps after the first decision.\n",
               budget->decisions, budget->held_pct, budget->least_pct, pair->overhead_bound_pct, pair->bound_steps);
}

static void print_pair_totals(const struct bl_result *result, const struct bl_pair_result *pair) {
    double inference = bl_percent_more(pair->nd_inference_ms, pair->bn_inference_ms);
    printf("\nND%s%s costs %+.1f %% per step (%.2f ms beside %.2f ms, medians; by the means of all steps %+.1f %%)",
           *pair->setting ? ", " : "", bl_shown(pair->setting), pair->overhead_pct, pair->nd_step_ms, pair->bn_step_ms,
           pair->overhead_mean_pct);
    if (isfinite(inference)) printf("; inference %+.1f %%", inference);
    puts(".");
    print_budget(result, pair);
}

static void print_device(const struct bl_result *result, int d) {
    const struct bl_device_result *device = &result->device[d];
    char rates[600];
    printf("\n%s on %s (%.0f compute units, %s, driver %s), batch %.0f\n\n", result->model, bl_shown(device->label),
           device->facts.compute_units, bl_shown(device->facts.platform), bl_shown(device->facts.driver),
           result->batch);
    for (int p = 0; p < result->pairs; p++) {
        const struct bl_pair_result *pair = &result->pair[p];
        if (pair->device != d) continue;
        if (*pair->setting) printf("\nND, %s\n", bl_shown(pair->setting));
        print_pair(pair);
    }
    printf("\n%-24s%11s%11s%11s%11s%11s%11s%11s%11s%11s%11s%11s%11s\n", "norm, setting", "rate", "step ms", "images/s",
           "infer. ms", "arithm. %", "bandw. %", "covered %", "recording%", "last loss", "train %", "test %",
           "target s");
    for (int r = 0; r < result->runs; r++)
        if (result->run[r].device == d) print_run(&result->run[r]);
    bl_rates_say(result, d, rates, sizeof rates);
    if (*rates) printf("\n%s\n", bl_shown(rates));
    for (int p = 0; p < result->pairs; p++)
        if (result->pair[p].device == d) print_pair_totals(result, &result->pair[p]);
}

/* Which device trains this fastest, where there are several. */
static void print_fastest(const struct bl_result *result) {
    static const char *const norms[] = {"bn", "nd", "none"};
    if (result->devices < 2) return;
    putchar('\n');
    for (int n = 0; n < BL_COUNT(norms); n++) {
        const struct bl_run_result *best = NULL;
        for (int r = 0; r < result->runs; r++) {
            const struct bl_run_result *run = &result->run[r];
            if (!strcmp(run->norm, norms[n]) && (!best || run->step_ms < best->step_ms)) best = run;
        }
        if (best)
            printf("Fastest with %s: %s%s%s, %.2f ms a step, %.0f images/s.\n", norms[n],
                   bl_shown(result->device[best->device].label), *best->setting ? ", " : "", bl_shown(best->setting),
                   best->step_ms, best->images_per_s);
    }
}

void bl_compare_print(const struct bl_result *result) {
    for (int d = 0; d < result->devices; d++) print_device(result, d);
    print_fastest(result);
}
