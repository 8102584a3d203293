/* The rows of a report as comma-separated values: one of each run, then one for each of its layers and phases. */
#include "html.h"
#include "differ.h"
#include "base/text.h"
#include "io/files.h"
#include "report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_blank(uint32_t code) {
    return code == ' ' || code == 0xa0 || code == 0xad || code == 0x1680 || code == 0x180e ||
           (code >= 0x2000 && code <= 0x200d) || code == 0x202f || code == 0x205f || code == 0x3000;
}

/* Spreadsheets may drop blanks, of any kind and width, before it, and take wide signs for narrow ones; hidden
 * characters are written out. A number is none. */
static bool is_formula(const char *text) {
    static const char *const signs[] = {"+", "-", "=", "@", "\uff0b", "\uff0d", "\uff1d", "\uff20"};
    uint32_t code;
    double value;
    for (int bytes; (bytes = bl_utf8(text, &code)) && is_blank(code);) text += bytes;
    size_t length = *text == '-' ? bl_text_decimal(text, &value) : *text == '+' ? bl_text_decimal(text + 1, &value) : 0;
    if (length && text[1] != '-' && !text[length + (*text == '+')] && isfinite(value)) return false;
    for (int i = 0; i < BL_COUNT(signs); i++)
        if (!strncmp(text, signs[i], strlen(signs[i]))) return true;
    return false;
}

/* text, which shows as it stands. */
static void put_text(struct bl_html *csv, const char *text) {
    bool quote = strpbrk(text, ",\"") != NULL;
    if (quote) bl_html(csv, "\"");
    if (is_formula(text)) bl_html(csv, "'");
    for (const char *part = text; *part; part += strcspn(part, "\""), part += *part == '"')
        bl_html(csv, "%.*s%s", (int)strcspn(part, "\""), part, part[strcspn(part, "\"")] ? "\"\"" : "");
    if (quote) bl_html(csv, "\"");
}

void bl_csv_text(struct bl_html *csv, const char *text) {
    size_t size = bl_text_show(NULL, 0, text) + 1;
    char *shown = bl_malloc(size);
    if (!shown) {
        csv->error = BLANCH_ENOMEM;
        return;
    }
    bl_text_show(shown, size, text);
    put_text(csv, shown);
    free(shown);
}

static void put_number(struct bl_html *out, double value) {
    bl_html(out, ",");
    if (isfinite(value)) bl_html(out, "%.9g", value);
}

static void put_start(struct bl_html *out, const struct bl_result *result, const struct bl_run_result *run,
                      const char *layer, const char *op, const char *phase) {
    const char *const texts[] = {result->source ? result->source : "",
                                 result->model,
                                 result->device[run->device].label,
                                 run->norm,
                                 run->setting,
                                 layer,
                                 op,
                                 phase};
    if (isfinite(result->batch)) bl_html(out, "%.0f", result->batch);
    for (int i = 0; i < BL_COUNT(texts); i++) {
        bl_html(out, ",");
        bl_csv_text(out, texts[i]);
    }
}

/* Of the row of a run; NULL: of a layer. */
static void put_difference(struct bl_html *out, const struct bl_difference *d) {
    const char *const texts[] = {d && d->against.run && d->against.result->source ? d->against.result->source : "",
                                 !d || !d->against.run || *d->why                       ? ""
                                 : isnan(fmax(d->of.spread_pct, d->against.spread_pct)) ? "unknown"
                                 : bl_difference_is_none(d)                             ? "none"
                                                                                        : "yes",
                                 d ? d->why : ""};
    put_number(out, d ? d->of.count : NAN);
    put_number(out, d ? d->of.spread_pct : NAN);
    put_number(out, d ? d->pct : NAN);
    for (int i = 0; i < BL_COUNT(texts); i++) bl_html(out, ","), bl_csv_text(out, texts[i]);
}

/* Ends a line. */
static void put_work(struct bl_html *out, double ms, const struct bl_work_done *work,
                     const struct bl_difference *difference) {
    bool known = work->launches > 0;
    const double values[] = {ms,          work->device_ms,  work->host_ms,    work->launches,
                             work->bytes, work->operations, work->arithmetic, work->bandwidth};
    for (int i = 0; i < BL_COUNT(values); i++) put_number(out, i == 0 || known ? values[i] : NAN);
    put_difference(out, difference);
    bl_html(out, "\n");
}

static void put_run(struct bl_html *out, const struct bl_result *result, const struct bl_run_result *run,
                    const struct bl_difference *difference) {
    put_start(out, result, run, "(run)", "", "step");
    put_work(out, run->step_ms, &run->step.all, difference);
    for (int i = 0; i < run->step.rows; i++) {
        const struct bl_ledger_row *row = &run->step.row[i];
        for (int p = 0; p < BL_PHASES; p++) {
            if (!(row->ms[p] > 0)) continue;
            put_start(out, result, run, row->name, row->op, bl_phase_names[p]);
            put_work(out, row->ms[p], &row->work[p], NULL);
        }
    }
}

int bl_report_table(const struct bl_result *results, int count, char **table) {
    struct bl_html out = {0};
    int suites = 0;
    for (int i = 0; i < count; i++) suites += results[i].suite != NULL;
    if (suites && suites < count)
        return *table = NULL,
               bl_fail(BLANCH_EUSAGE, "--csv: suites and other documents have other columns; give them apart");
    if (suites)
        bl_suite_csv(&out, results, count);
    else
        bl_html(&out, "batch,source,model,device,norm,setting,layer,op,phase,ms,device_ms,host_ms,launches,bytes,"
                      "operations,arithmetic,bandwidth,runs,spread_pct,difference_pct,against,difference,not_comparable"
                      "\n");
    struct bl_difference *list = NULL;
    int differences = 0;
    if (!out.error) out.error = bl_differences(results, count, &list, &differences);
    for (int i = 0; i < count && !suites; i++)
        for (int r = 0; r < results[i].runs; r++) {
            const struct bl_run_result *run = &results[i].run[r];
            put_run(&out, &results[i], run, bl_difference_of(list, differences, &results[i], run));
        }
    free(list);
    if (out.error) free(out.data);
    *table = out.error ? NULL : out.data;
    return out.error;
}

int bl_report_csv(const char *path, const struct bl_result *results, int count) {
    char *table = NULL;
    int code = bl_report_table(results, count, &table);
    if (!code) code = bl_file_write(path, table, strlen(table));
    free(table);
    return code;
}
