/* A study's table: our cells beside the original's and the reproduction's values. */
#include "cli/study.h"
#include "io/files.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The attempts at one network, norm and length together. */
struct row {
    const struct bl_cell *cell;       // the first
    const struct bl_study_fact *fact; // NULL: not published
    int attempts, done, diverged;
    double test, least, most, train; // per cent: mean, and the range of the test accuracy; NAN: nothing is done
    double seconds;                  // of training, mean
    bool mixed;                      // attempts on several devices: their times are not compared
};

static const double near = 0.10; // of the published value

static bool same_device(const struct bl_cell *a, const struct bl_cell *b) {
    return bl_same_device(&a->device, &a->host, &b->device, &b->host);
}

/* A shortened cell is held against nothing. */
static struct row make_row(const struct bl_cell *cells, int count) {
    struct row row = {.cell = cells,
                      .attempts = count,
                      .test = NAN,
                      .train = NAN,
                      .seconds = NAN,
                      .least = INFINITY,
                      .most = -INFINITY};
    double test = 0, train = 0, seconds = 0;
    if (!cells->steps) row.fact = bl_study_fact(cells->dataset, cells->network, cells->norm, cells->epochs);
    for (int i = 0; i < count; i++) {
        if (cells[i].state == BL_CELL_DIVERGED) row.diverged++;
        if (cells[i].state != BL_CELL_DONE) continue;
        row.done++;
        test += cells[i].test_top1;
        train += cells[i].train_top1;
        seconds += cells[i].train_s;
        row.least = fmin(row.least, cells[i].test_top1);
        row.most = fmax(row.most, cells[i].test_top1);
        if (!same_device(&cells[i], cells)) row.mixed = true;
    }
    if (!row.done) return row;
    row.test = test / row.done;
    row.train = train / row.done;
    row.seconds = seconds / row.done;
    return row;
}

static bool same_length(const struct bl_cell *a, const struct bl_cell *b) {
    return !strcmp(a->dataset, b->dataset) && !strcmp(a->network, b->network) && a->epochs == b->epochs &&
           a->steps == b->steps;
}

static int row_length(const struct bl_cell *cells, int count) {
    int length = 1;
    while (length < count && same_length(cells, cells + length) && !strcmp(cells->norm, cells[length].norm)) length++;
    return length;
}

static const char *mark(double ours, double published) {
    if (isnan(ours) || isnan(published)) return "";
    return fabs(ours - published) <= near * published ? "within" : ours > published ? "better" : "worse";
}

static double original(const struct row *row) {
    return row->fact ? row->fact->original : NAN;
}
static double reproduced(const struct row *row) {
    return row->fact ? row->fact->reproduced : NAN;
}

/* ND's extra time over BN's, per cent; NAN where one of them is missing or ran elsewhere. */
static double overhead(const struct row *bn, const struct row *nd) {
    if (!bn || strcmp(nd->cell->norm, "nd") || bn->mixed || nd->mixed || !same_device(bn->cell, nd->cell)) return NAN;
    return bl_percent_more(nd->seconds, bn->seconds);
}

static double published_overhead(const struct row *row) {
    if (!row->fact || strcmp(row->cell->norm, "nd")) return NAN;
    const struct bl_study_fact *bn = bl_study_fact(row->cell->dataset, row->cell->network, "bn", row->cell->epochs);
    return bn ? bl_percent_more(row->fact->seconds, bn->seconds) : NAN;
}

/* --- for people ----------------------------------------------------------------------------- */

static void print_length(const struct bl_cell *cell) {
    char text[32];
    if (cell->steps)
        snprintf(text, sizeof text, "%lld st", (long long)cell->steps);
    else
        snprintf(text, sizeof text, "%d", cell->epochs);
    printf(" %7s", text);
}

/* Where nothing is done: why. */
static void print_state(const struct row *row) {
    if (row->diverged == row->attempts)
        printf("  diverged");
    else if (!row->done)
        printf("  not finished: %d of %d epochs", row->cell->epochs_done, row->cell->epochs);
    else if (row->diverged)
        printf("  %d diverged", row->diverged);
    if (row->done > 1) printf("  %.2f to %.2f", row->least, row->most);
}

static void print_row(const struct row *row, const struct row *bn) {
    printf("%-9s %-20s", bl_shown(row->cell->dataset), bl_shown(row->cell->network));
    print_length(row->cell);
    printf(" %-4s %4d", bl_shown(row->cell->norm), row->done);
    bl_print_number(row->test, 7, "%.2f");
    bl_print_number(original(row), 7, "%.2f");
    printf(" %-6s", mark(row->test, original(row)));
    bl_print_number(reproduced(row), 7, "%.2f");
    printf(" %-6s", mark(row->test, reproduced(row)));
    bl_print_number(row->train, 7, "%.2f");
    bl_print_number(row->seconds / 60, 8, "%.1f");
    bl_print_number(overhead(bn, row), 8, "%+.0f %%");
    bl_print_number(published_overhead(row), 8, "%+.0f %%");
    print_state(row);
    putchar('\n');
}

static bool is_first(const struct bl_cell *cells, int i, size_t offset) {
    const char *text = (const char *)&cells[i] + offset;
    for (int k = 0; k < i; k++)
        if (!strcmp((const char *)&cells[k] + offset, text)) return false;
    return *text != 0;
}

static void print_sources(const struct bl_cell *cells, int count, const char *title, size_t offset) {
    for (int i = 0; i < count; i++)
        if (is_first(cells, i, offset)) printf("%s: %s\n", title, bl_shown((const char *)&cells[i] + offset));
}

static void print_notes(const struct bl_cell *cells, int count) {
    printf(
        "\nTop-1 in per cent after the last epoch; several runs: their mean, and the range of the test accuracy at the "
        "end.\n"
        "within: within ten per cent of the published value; else better or worse. minutes: training without testing.\n"
        "overhead: ND's training time over BN's, here and in the reproduction (V100; imagenet: A100).\n"
        "Both norms have the study's one learning rate; `blanch compare --sweep-lr` tries others with batch norm.\n");
    print_sources(cells, count, "data", offsetof(struct bl_cell, data));
    print_sources(cells, count, "device", offsetof(struct bl_cell, device.name));
    for (int i = 0; i < count; i++) {
        char name[128];
        bl_cell_name(&cells[i], name);
        if (cells[i].state == BL_CELL_DIVERGED)
            printf("%s: %s\n", bl_shown(name), bl_shown(cells[i].note));
        else if (cells[i].steps && cells[i].attempt == 1)
            printf("%s: shortened by --steps, no cell of the study\n", bl_shown(name));
    }
}

int bl_study_print(const struct bl_cell *cells, int count) {
    struct row bn = {0};
    printf("%-9s %-20s %7s %-4s %4s %7s %7s %-6s %7s %-6s %7s %8s %8s %8s\n", "dataset", "network", "epochs", "norm",
           "runs", "test", "origin.", "", "reprod.", "", "train", "minutes", "overhead", "reprod.");
    for (int i = 0, length; i < count; i += length) {
        length = row_length(cells + i, count - i);
        struct row row = make_row(cells + i, length);
        print_row(&row, bn.cell && same_length(bn.cell, row.cell) ? &bn : NULL);
        if (!strcmp(row.cell->norm, "bn")) bn = row;
    }
    if (!count)
        puts("no cell has been run");
    else
        print_notes(cells, count);
    return 0;
}

/* --- for programs --------------------------------------------------------------------------- */

static void add(cJSON *json, const char *key, double value) {
    cJSON_AddItemToObject(json, key, bl_json_number(value, 6));
}

static void add_mark(cJSON *json, const char *key, const char *text) {
    if (*text)
        cJSON_AddStringToObject(json, key, text);
    else
        cJSON_AddNullToObject(json, key);
}

static cJSON *identity(const struct bl_cell *cell) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "dataset", cell->dataset);
    cJSON_AddStringToObject(json, "network", cell->network);
    cJSON_AddStringToObject(json, "norm", cell->norm);
    cJSON_AddNumberToObject(json, "epochs", cell->epochs);
    if (cell->steps) cJSON_AddNumberToObject(json, "steps", (double)cell->steps);
    return json;
}

static cJSON *cell_json(const struct bl_cell *cell) {
    cJSON *json = identity(cell);
    char name[128];
    bl_cell_name(cell, name);
    cJSON_AddNumberToObject(json, "attempt", cell->attempt);
    cJSON_AddStringToObject(json, "dir", name);
    cJSON_AddStringToObject(json, "state", bl_cell_states[cell->state]);
    cJSON_AddStringToObject(json, "data", cell->data);
    cJSON_AddStringToObject(json, "device", cell->device.name);
    cJSON_AddNumberToObject(json, "epochs_done", cell->epochs_done);
    add(json, "test_top1", cell->test_top1);
    add(json, "train_top1", cell->train_top1);
    add(json, "train_s", cell->train_s);
    add(json, "test_s", cell->test_s);
    if (cell->state == BL_CELL_DIVERGED) cJSON_AddStringToObject(json, "message", cell->note);
    return json;
}

static cJSON *row_json(const struct row *row, const struct row *bn) {
    cJSON *json = identity(row->cell);
    cJSON_AddNumberToObject(json, "runs", row->done);
    cJSON_AddNumberToObject(json, "diverged", row->diverged);
    add(json, "test_top1", row->test);
    add(json, "train_top1", row->train);
    add(json, "original_top1", original(row));
    add_mark(json, "original_mark", mark(row->test, original(row)));
    add(json, "reproduced_top1", reproduced(row));
    add_mark(json, "reproduced_mark", mark(row->test, reproduced(row)));
    add(json, "train_s", row->seconds);
    add(json, "reproduced_train_s", row->fact ? row->fact->seconds : NAN);
    add(json, "overhead_pct", overhead(bn, row));
    add(json, "reproduced_overhead_pct", published_overhead(row));
    return json;
}

cJSON *bl_study_json(const char *dir, cJSON *settings, const struct bl_cell *cells, int count) {
    cJSON *json = bl_document("study", NULL, settings), *list = cJSON_CreateArray(), *rows = cJSON_CreateArray();
    struct row bn = {0};
    cJSON_AddStringToObject(json, "dir", dir);
    for (int i = 0; i < count; i++) cJSON_AddItemToArray(list, cell_json(&cells[i]));
    for (int i = 0, length; i < count; i += length) {
        length = row_length(cells + i, count - i);
        struct row row = make_row(cells + i, length);
        cJSON_AddItemToArray(rows, row_json(&row, bn.cell && same_length(bn.cell, row.cell) ? &bn : NULL));
        if (!strcmp(row.cell->norm, "bn")) bn = row;
    }
    cJSON_AddItemToObject(json, "rows", rows);
    cJSON_AddItemToObject(json, "cells", list);
    return json;
}
