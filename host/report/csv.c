/* The rows of a report as comma-separated values: one of each run, then one for each of its layers and phases. */
#include "html.h"
#include "base/text.h"
#include "io/files.h"
#include "report.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* As spreadsheets see it: they pass over blanks before it. A number is none. */
static bool is_formula(const char *text) {
    char *end;
    if (!strchr("+-", *text)) return strchr("=@\t\r\n", *text) != NULL;
    double value = strtod(text, &end);
    return end == text || *end || !isfinite(value);
}

void bl_csv_text(struct bl_html *csv, const char *text) {
    bool quote = strpbrk(text, ",\"\r\n") != NULL;
    if (quote) bl_html(csv, "\"");
    if (*text && is_formula(text)) bl_html(csv, "'");
    for (uint32_t code; *text; text++) {
        int bytes = bl_utf8(text, &code);
        if (!bytes)
            bl_html(csv, "\\x%02X", (unsigned char)*text);
        else if (*text == '"')
            bl_html(csv, "\"\"");
        else
            bl_html(csv, "%.*s", bytes, text), text += bytes - 1;
    }
    if (quote) bl_html(csv, "\"");
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

static void put_work(struct bl_html *out, double ms, const struct bl_work_done *work) {
    bool known = work->launches > 0;
    const double values[] = {ms,          work->device_ms,  work->host_ms,    work->launches,
                             work->bytes, work->operations, work->arithmetic, work->bandwidth};
    for (int i = 0; i < BL_COUNT(values); i++) put_number(out, i == 0 || known ? values[i] : NAN);
    bl_html(out, "\n");
}

static void put_run(struct bl_html *out, const struct bl_result *result, const struct bl_run_result *run) {
    put_start(out, result, run, "(run)", "", "step");
    put_work(out, run->step_ms, &run->step.all);
    for (int i = 0; i < run->step.rows; i++) {
        const struct bl_ledger_row *row = &run->step.row[i];
        for (int p = 0; p < BL_PHASES; p++) {
            if (!(row->ms[p] > 0)) continue;
            put_start(out, result, run, row->name, row->op, bl_phase_names[p]);
            put_work(out, row->ms[p], &row->work[p]);
        }
    }
}

int bl_report_csv(const char *path, const struct bl_result *results, int count) {
    struct bl_html out = {0};
    bl_html(&out, "batch,source,model,device,norm,setting,layer,op,phase,ms,device_ms,host_ms,launches,bytes,"
                  "operations,arithmetic,"
                  "bandwidth\n");
    for (int i = 0; i < count; i++)
        for (int r = 0; r < results[i].runs; r++) put_run(&out, &results[i], &results[i].run[r]);
    int code = out.error ? out.error : bl_file_write(path, out.data, out.size);
    free(out.data);
    return code;
}
