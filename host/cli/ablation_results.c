/* What an ablation found: each setting at its best sweep, beside the first setting; as a table and as JSON. */
#include "cli/ablation.h"
#include "base/text.h"
#include "io/files.h"
#include "io/json.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { TEXT = 400 };

double bl_ablation_judged(const struct bl_cell *cell) {
    if (cell->state != BL_CELL_DONE) return NAN;
    return isnan(cell->test_top1) ? cell->train_top1 : cell->test_top1;
}

const struct bl_ablation_measure *bl_ablation_measure(const struct bl_ablation *a) {
    static const struct bl_ablation_measure measures[2][2] = {
        {{"top-1", "top1", "Top-1 of held-out data"}, {"mean IoU", "mean_iou", "Mean IoU of held-out data"}},
        {{"top-1", "top1", "Top-1 while training"}, {"pixels", "pixel_accuracy", "Pixels right while training"}}};
    const int count = a->models * a->settings * a->sweeps * a->seeds;
    for (int i = 0; i < count; i++)
        if (a->cells[i].state == BL_CELL_DONE) return &measures[isnan(a->cells[i].test_top1)][a->cells[i].pixels];
    return &measures[0][0];
}

int bl_ablation_best(const struct bl_ablation *a, int model, int setting) {
    int best = -1;
    double most = -INFINITY;
    for (int k = 0; k < a->sweeps; k++) {
        const struct bl_cell *cell = bl_ablation_cell(a, model, setting, k, 0);
        const double judged = bl_ablation_judged(cell);
        if (cell->state < BL_CELL_DONE) return -1;
        if (judged > most) most = judged, best = k;
    }
    return best;
}

int bl_ablation_rates(const struct bl_ablation *a) {
    int axis = -1;
    for (int i = 0; i < a->axes; i++)
        if (a->axis[i].swept && a->axis[i].values > 1) axis = axis < 0 ? i : a->axes;
    for (int k = 0; axis >= 0 && axis < a->axes && k < a->axis[axis].values; k++) {
        const struct bl_ablation_words *words = &a->axis[axis].value[k].words;
        double rate = 0;
        if (words->count != 2 || !bl_text_decimal(words->word[1], &rate) || !(rate > 0)) return -1;
    }
    return axis < a->axes ? axis : -1;
}

double bl_ablation_rate(const struct bl_ablation *a, int axis, int setting, int sweep) {
    double rate = 1;
    bl_text_decimal(bl_ablation_value(a, axis, setting, sweep)->words.word[1], &rate);
    return rate;
}

bool bl_ablation_at_end(const struct bl_ablation *a, int model, int setting) {
    const int axis = bl_ablation_rates(a), best = bl_ablation_best(a, model, setting);
    bool less = false, more = false;
    for (int k = 0; axis >= 0 && best >= 0 && k < a->sweeps; k++) {
        const double rate = bl_ablation_rate(a, axis, setting, k), own = bl_ablation_rate(a, axis, setting, best);
        less |= rate < own;
        more |= own < rate;
    }
    return less != more;
}

/* Of the seeds that both have. */
static void compare(const struct bl_ablation *a, int model, int setting, struct bl_ablation_row *row) {
    const int first = bl_ablation_best(a, model, 0);
    double sum = 0, squares = 0;
    for (int seed = 0; seed < a->seeds && first >= 0 && setting; seed++) {
        const double difference = bl_ablation_judged(bl_ablation_cell(a, model, setting, row->best, seed)) -
                                  bl_ablation_judged(bl_ablation_cell(a, model, 0, first, seed));
        if (isnan(difference)) continue;
        row->pairs++;
        sum += difference;
        squares += difference * difference;
    }
    if (!row->pairs) return;
    const double n = row->pairs;
    row->against = sum / n;
    if (n > 1) row->error = sqrt(fmax(0, squares - n * row->against * row->against) / (n - 1) / n);
}

static int64_t steps_of(const struct bl_cell *cell) {
    return cell->steps_done > 0 ? cell->steps_done : cell->steps;
}

struct bl_ablation_row bl_ablation_row(const struct bl_ablation *a, int model, int setting) {
    struct bl_ablation_row row = {.best = bl_ablation_best(a, model, setting),
                                  .judged = NAN,
                                  .spread = NAN,
                                  .against = NAN,
                                  .error = NAN,
                                  .step_ms = NAN};
    double sum = 0, squares = 0, ms = 0;
    for (int k = 0; k < a->sweeps; k++)
        row.diverged += bl_ablation_cell(a, model, setting, k, 0)->state == BL_CELL_DIVERGED;
    for (int seed = 0; seed < a->seeds && row.best >= 0; seed++) {
        const struct bl_cell *cell = bl_ablation_cell(a, model, setting, row.best, seed);
        const double judged = bl_ablation_judged(cell);
        if (seed) row.diverged += cell->state == BL_CELL_DIVERGED;
        if (isnan(judged)) continue;
        row.done++;
        sum += judged;
        squares += judged * judged;
        ms += 1e3 * cell->train_s / (double)steps_of(cell);
    }
    if (!row.done) return row;
    row.judged = sum / row.done;
    row.step_ms = ms / row.done;
    if (row.done > 1) row.spread = sqrt(fmax(0, squares - row.done * row.judged * row.judged) / (row.done - 1));
    compare(a, model, setting, &row);
    return row;
}

/* --- for people ------------------------------------------------------------------------------- */

static void print_row(const struct bl_ablation *a, int model, int setting) {
    const struct bl_ablation_row row = bl_ablation_row(a, model, setting);
    char text[TEXT], sweep[TEXT] = "";
    bl_ablation_setting(a, setting, text, sizeof text);
    if (row.best >= 0) bl_ablation_sweep(a, row.best, sweep, sizeof sweep);
    printf("%-12s %-44s %-28s %5d", bl_shown(a->model[model]), bl_shown(text), bl_shown(sweep), row.done);
    bl_print_number(row.judged, 8, "%.2f");
    bl_print_number(row.spread, 6, "%.2f");
    bl_print_number(row.against, 8, "%+.2f");
    bl_print_number(row.error, 6, "%.2f");
    bl_print_number(row.step_ms, 9, "%.1f");
    if (row.diverged) printf("  %d diverged", row.diverged);
    putchar('\n');
}

static void print_rates(const struct bl_ablation *a, int model) {
    char text[TEXT];
    for (int s = 0; s < a->settings; s++) {
        const int best = bl_ablation_best(a, model, s);
        bl_ablation_setting(a, s, text, sizeof text);
        printf("%-12s %-44s", bl_shown(a->model[model]), bl_shown(text));
        for (int k = 0; k < a->sweeps; k++) {
            const struct bl_cell *cell = bl_ablation_cell(a, model, s, k, 0);
            char value[16] = "-";
            if (cell->state == BL_CELL_DIVERGED) snprintf(value, sizeof value, "div.");
            if (isfinite(bl_ablation_judged(cell))) snprintf(value, sizeof value, "%.2f", bl_ablation_judged(cell));
            printf(" %8s%s", value, k == best ? "*" : " ");
        }
        putchar('\n');
    }
}

static void print_ends(const struct bl_ablation *a) {
    char text[TEXT];
    bool said = false;
    for (int m = 0; m < a->models; m++)
        for (int s = 0; s < a->settings; s++) {
            if (!bl_ablation_at_end(a, m, s)) continue;
            bl_ablation_setting(a, s, text, sizeof text);
            if (!said) puts("\nBest at an end of what was tried, so that one beyond it may be better:");
            said = true;
            printf("%-12s %s\n", bl_shown(a->model[m]), bl_shown(text));
        }
}

void bl_ablation_print(const struct bl_ablation *a) {
    const struct bl_ablation_measure *measure = bl_ablation_measure(a);
    char text[TEXT];
    printf("%-12s %-44s %-28s %5s %8s %6s %8s %6s %9s\n", "network", "setting", "best", "seeds", measure->name, "+-",
           "against", "+-", "step, ms");
    for (int m = 0; m < a->models; m++)
        for (int s = 0; s < a->settings; s++) print_row(a, m, s);
    bl_ablation_setting(a, 0, text, sizeof text);
    printf("\n%s in per cent after the last step, its mean and standard deviation over the seeds;\n"
           "against: the difference to `%s`, seed by seed, and the standard error of its mean.\n",
           measure->what, bl_shown(text));
    if (a->sweeps == 1) return;
    printf("\nSeed %d at", a->seed[0]);
    for (int k = 0; k < a->sweeps; k++) {
        bl_ablation_sweep(a, k, text, sizeof text);
        printf("%s %s", k ? ";" : "", bl_shown(text));
    }
    puts("; * the best, with which the other seeds run:");
    for (int m = 0; m < a->models; m++) print_rates(a, m);
    print_ends(a);
}

/* --- for programs ----------------------------------------------------------------------------- */

static void add(cJSON *json, const char *key, double value) {
    cJSON_AddItemToObject(json, key, bl_json_number(value, 6));
}

static void add_cell(const struct bl_ablation *a, cJSON *cells, int m, int s, int k, int seed) {
    const struct bl_cell *cell = bl_ablation_cell(a, m, s, k, seed);
    char text[TEXT], name[200];
    if (cell->state == BL_CELL_NEW) return;
    cJSON *json = cJSON_CreateObject();
    bl_ablation_name(a, m, s, k, seed, name);
    cJSON_AddStringToObject(json, "dir", name);
    cJSON_AddStringToObject(json, "model", a->model[m]);
    bl_ablation_setting(a, s, text, sizeof text);
    cJSON_AddStringToObject(json, "setting", text);
    bl_ablation_sweep(a, k, text, sizeof text);
    cJSON_AddStringToObject(json, "sweep", text);
    cJSON_AddNumberToObject(json, "seed", a->seed[seed]);
    cJSON_AddStringToObject(json, "state", bl_cell_states[cell->state]);
    cJSON_AddStringToObject(json, "device", cell->device.name);
    add(json, cell->pixels ? "test_mean_iou" : "test_top1", cell->test_top1);
    add(json, cell->pixels ? "train_pixel_accuracy" : "train_top1", cell->train_top1);
    add(json, "train_s", cell->train_s);
    if (cell->state == BL_CELL_DIVERGED) cJSON_AddStringToObject(json, "message", cell->note);
    cJSON_AddItemToArray(cells, json);
}

static void add_row(const struct bl_ablation *a, cJSON *rows, int m, int s) {
    const struct bl_ablation_row row = bl_ablation_row(a, m, s);
    char text[TEXT];
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "model", a->model[m]);
    bl_ablation_setting(a, s, text, sizeof text);
    cJSON_AddStringToObject(json, "setting", text);
    if (row.best >= 0) bl_ablation_sweep(a, row.best, text, sizeof text);
    cJSON_AddStringToObject(json, "best", row.best < 0 ? "" : text);
    cJSON_AddNumberToObject(json, "seeds", row.done);
    cJSON_AddNumberToObject(json, "diverged", row.diverged);
    add(json, bl_ablation_measure(a)->key, row.judged);
    add(json, "spread", row.spread);
    add(json, "against_first", row.against);
    add(json, "standard_error", row.error);
    add(json, "step_ms", row.step_ms);
    cJSON_AddItemToArray(rows, json);
}

cJSON *bl_ablation_json(const struct bl_ablation *a, const char *out, cJSON *settings) {
    cJSON *json = bl_document("ablation", NULL, settings), *rows = cJSON_CreateArray(), *cells = cJSON_CreateArray();
    cJSON_AddStringToObject(json, "dir", out);
    cJSON_AddStringToObject(json, "measure", bl_ablation_measure(a)->key);
    cJSON_AddItemToObject(json, "file", cJSON_Duplicate(a->json, true));
    for (int m = 0; m < a->models; m++)
        for (int s = 0; s < a->settings; s++) {
            add_row(a, rows, m, s);
            for (int k = 0; k < a->sweeps; k++)
                for (int seed = 0; seed < a->seeds; seed++) add_cell(a, cells, m, s, k, seed);
        }
    cJSON_AddItemToObject(json, "rows", rows);
    cJSON_AddItemToObject(json, "cells", cells);
    return json;
}
