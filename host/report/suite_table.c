/* A suite's rows as a table: text, Markdown, comma-separated values. */
#include "report/suite.h"
#include "base/text.h"
#include "report/html.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 8, CELL = 480 };
static const char *const heads[COLUMNS] = {"row",   "images/s",  "ms",         "spread %",
                                           "steps", "sustained", "J an image", "ended by"};

static void put_number(char *cell, double value, const char *format) {
    if (isfinite(value)) snprintf(cell, CELL, format, value);
}

/* What a row says; "" where it says nothing. */
static void fill(const struct bl_suite_row *row, char cell[COLUMNS][CELL]) {
    const bool accuracy = !strcmp(row->mode, "accuracy");
    for (int c = 0; c < COLUMNS; c++) *cell[c] = 0;
    snprintf(cell[0], CELL, "%s", row->name);
    put_number(cell[1], row->images_per_s, row->images_per_s < 100 ? "%.1f" : "%.0f");
    put_number(cell[2], row->ms, row->ms < 10 ? "%.3f" : "%.1f");
    put_number(cell[3], bl_suite_spread(row), "%.1f");
    put_number(cell[4], accuracy ? row->target_steps : row->steps, "%.0f");
    put_number(cell[5], row->sustained_images_per_s, row->sustained_images_per_s < 100 ? "%.1f" : "%.0f");
    put_number(cell[6], row->joules_per_image, "%.3g");
    snprintf(cell[7], CELL, "%s", row->ended);
    if (accuracy && isfinite(row->target_s))
        snprintf(cell[7], CELL, "%.1f s to %.0f per cent (%.0f of %.0f runs)", row->target_s, row->target_top1,
                 row->reached, row->runs);
    if (strcmp(row->status, "measured"))
        snprintf(cell[7], CELL, "%s%s%s", row->status, *row->reason ? ": " : "", row->reason);
}

/* --- text and Markdown ------------------------------------------------------------------------- */

static const int widths[COLUMNS] = {32, 10, 10, 9, 8, 10, 11, 0};

static void put_text_line(struct bl_html *out, char cell[COLUMNS][CELL]) {
    char shown[4 * CELL];
    for (int c = 0; c < COLUMNS; c++) {
        bl_text_show(shown, sizeof shown, cell[c]);
        bl_html(out,
                c == 0            ? "%-*s"
                : c < COLUMNS - 1 ? " %*s"
                                  : "  %*s",
                widths[c], *shown || c == COLUMNS - 1 ? shown : ".");
    }
    bl_html(out, "\n");
}

static void put_markdown_line(struct bl_html *out, char cell[COLUMNS][CELL]) {
    char shown[4 * CELL];
    for (int c = 0; c < COLUMNS; c++) {
        bl_text_show(shown, sizeof shown, cell[c]);
        bl_html(out, "%s", c ? " | " : "| ");
        for (const char *at = shown; *at; at++) bl_html(out, "%s%c", *at == '|' ? "\\" : "", *at);
    }
    bl_html(out, " |\n");
}

static void put_header(struct bl_html *out, const struct bl_result *result) {
    const struct bl_suite_result *s = result->suite;
    char device[sizeof result->device->label * 4], why[400];
    bl_text_show(device, sizeof device, result->device[0].label);
    bl_html(out, "suite %.0f, %s, on %s, Blanch %s, %s\n", s->version, s->set, device, result->header.version,
            result->header.date);
    if (!bl_suite_counts(s, why, sizeof why)) {
        char shown[4 * sizeof why];
        bl_text_show(shown, sizeof shown, why);
        bl_html(out, "not to be ranked: %s\n", shown);
    }
    bl_html(out, "%d rows of %s%s; measured limits %s Gop/s, %s GB/s\n\n", s->rows, bl_fixed(s->rows_of_set, 0),
            s->complete == 1 ? "" : ", not complete",
            s->kept.operations > 0 ? bl_fixed(1e-9 * s->kept.operations, 0) : "unknown",
            s->kept.bytes > 0 ? bl_fixed(1e-9 * s->kept.bytes, 1) : "unknown");
}

static void put_lines(struct bl_html *out, const struct bl_result *result, bool markdown) {
    void (*put)(struct bl_html *, char[COLUMNS][CELL]) = markdown ? put_markdown_line : put_text_line;
    char cell[COLUMNS][CELL];
    for (int c = 0; c < COLUMNS; c++) snprintf(cell[c], CELL, "%s", heads[c]);
    put(out, cell);
    if (markdown) bl_html(out, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n");
    for (int i = 0; i < result->suite->rows; i++) {
        fill(&result->suite->row[i], cell);
        put(out, cell);
    }
}

/* --- comma-separated values --------------------------------------------------------------------- */

static void put_values(struct bl_html *out, const struct bl_result *result, const struct bl_suite_row *row) {
    const char *const texts[] = {row->name, row->model,  row->norm,   row->setting, row->precision,
                                 row->mode, row->status, row->reason, row->ended};
    const double numbers[] = {row->batch,
                              row->steps,
                              row->ms,
                              row->quartile1_ms,
                              row->quartile3_ms,
                              row->images_per_s,
                              row->sustained_images_per_s,
                              row->joules_per_image,
                              row->clock_mhz,
                              row->planned_bytes,
                              row->target_s};
    char why[400];
    const bool counts = bl_suite_counts(result->suite, why, sizeof why);
    bl_html(out, "%.0f,%s,", result->suite->version, counts ? "yes" : "no");
    bl_csv_text(out, counts ? "" : why);
    bl_html(out, ",");
    bl_csv_text(out, result->source ? result->source : "");
    bl_html(out, ",");
    bl_csv_text(out, result->device[0].label);
    for (int i = 0; i < BL_COUNT(texts); i++) bl_html(out, ","), bl_csv_text(out, texts[i]);
    for (int i = 0; i < BL_COUNT(numbers); i++) {
        bl_html(out, ",");
        if (isfinite(numbers[i])) bl_html(out, "%.9g", numbers[i]);
    }
    bl_html(out, "\n");
}

void bl_suite_csv(struct bl_html *out, const struct bl_result *results, int count) {
    bl_html(
        out,
        "suite,counts,why_not,source,device,name,model,norm,setting,precision,mode,status,reason,ended,batch,steps,ms,"
        "quartile1_ms,quartile3_ms,images_per_s,sustained_images_per_s,joules_per_image,clock_mhz,"
        "planned_bytes,target_s\n");
    for (int i = 0; i < count; i++)
        for (int r = 0; r < results[i].suite->rows; r++) put_values(out, &results[i], &results[i].suite->row[r]);
}

void bl_suite_table(struct bl_html *out, const struct bl_result *result, enum bl_suite_format format) {
    if (format == BL_SUITE_CSV) {
        bl_suite_csv(out, result, 1);
        return;
    }
    put_header(out, result);
    put_lines(out, result, format == BL_SUITE_MARKDOWN);
}
