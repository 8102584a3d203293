/* The overview of all runs of a page, and what a single run's step consists of. */
#include "html.h"
#include "differ.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *norm_label(const struct bl_run_result *run) {
    return !strcmp(run->norm, "bn")     ? "BN"
           : !strcmp(run->norm, "nd")   ? "ND"
           : !strcmp(run->norm, "none") ? "no norm"
           : !strcmp(run->norm, "gn")   ? "group norm"
           : !strcmp(run->norm, "ln")   ? "layer norm"
                                        : run->norm;
}

void bl_run_label(const struct bl_run_result *run, char *label, size_t size) {
    snprintf(label, size, "%s%s%s", norm_label(run), *run->setting ? ", " : "", run->setting);
}

/* What can tell a device from another of its name; "": unknown. */
enum { FACTS = 9 };
static const char *fact_text(const struct bl_result *result, int device, int fact, char text[160]) {
    const struct bl_device_facts *facts = &result->device[device].facts;
    const struct bl_host *host = &result->header.host;
    const struct {
        const char *format, *text;
        double number;
    } all[FACTS] = {{"%s", facts->platform, 0},
                    {"%s", facts->version, 0},
                    {"driver %s", facts->driver, 0},
                    {"%.0f compute units", NULL, facts->compute_units},
                    {"%.2f GiB", NULL, strcmp(facts->kind, "cpu") ? facts->memory / 1073741824.0 : 0},
                    {"%s", host->cpu, 0},
                    {"%.0f cores", NULL, host->cores},
                    {"%s", host->os, 0},
                    {"kernel %s", host->kernel, 0}};
    *text = 0;
    if (all[fact].text && *all[fact].text) snprintf(text, 160, all[fact].format, all[fact].text);
    if (!all[fact].text && all[fact].number > 0) snprintf(text, 160, all[fact].format, all[fact].number);
    return text;
}

static bool fact_differs(const struct bl_result *results, int count, const struct bl_result *result, int device,
                         int fact) {
    char own[160], others[160];
    fact_text(result, device, fact, own);
    for (int d = 0; d < count; d++)
        for (int other = 0; other < results[d].devices; other++)
            if (!strcmp(results[d].device[other].label, result->device[device].label) &&
                *fact_text(&results[d], other, fact, others) && strcmp(others, own))
                return true;
    return false;
}

void bl_html_device(struct bl_html *html, const struct bl_result *results, int count, const struct bl_result *result,
                    int device) {
    char text[160];
    bl_html_text(html, result->device[device].label);
    for (int fact = 0; fact < FACTS; fact++) {
        if (!fact_differs(results, count, result, device, fact) || !*fact_text(result, device, fact, text)) continue;
        bl_html(html, " · ");
        bl_html_text(html, text);
    }
}

/* Less than the quartiles of either lie apart is no difference. */
static void put_overhead(struct bl_html *html, const struct bl_run_result *run, const struct bl_run_result *bn,
                         double ms, double bn_ms) {
    const double over = bl_percent_more(ms, bn_ms);
    const bool none = bn && fabs(over) <= fmax(bl_run_spread(run), bl_run_spread(bn));
    char text[60];
    snprintf(text, sizeof text, "%s%s", none ? "none, " : "", bl_percent(over));
    bl_html_cell(html, over, strcmp(run->norm, "bn") ? text : "–");
}

void bl_html_rate(struct bl_html *html, const struct bl_run_result *run) {
    char text[100] = "–";
    const double lr = run->update.lr;
    if (!isnan(run->diverged_after))
        snprintf(text, sizeof text, "%.6g, diverged after %.0f steps", lr, run->diverged_after);
    else if (!isnan(lr))
        snprintf(text, sizeof text, "%.6g%s", lr, run->best == 1 ? ", best" : "");
    bl_html_cell(html, lr, text);
}

/* One stands above the table. */
static bool several_devices(const struct bl_result *results, int count) {
    return count > 1 || results[0].devices > 1;
}

static void put_overview_row(struct bl_html *html, const struct bl_result *results, int count,
                             const struct bl_result *result, const struct bl_run_result *run) {
    const struct bl_run_result *bn = bl_bn_beside(results, count, result, run, NULL, 0);
    double top1 = bl_test_top1(run);
    char label[120];
    bl_run_label(run, label, sizeof label);
    bl_html(html, "<tr><td>");
    bl_html_text(html, result->model);
    bl_html(html, " <span class=\"%s\">", strcmp(run->norm, "nd") ? "bn" : "nd");
    bl_html_text(html, label);
    bl_html(html, "</span></td>");
    if (several_devices(results, count)) {
        bl_html(html, "<td class=\"wide\">");
        bl_html_device(html, results, count, result, run->device);
        bl_html(html, "</td>");
    }
    bl_html_cell(html, result->batch, bl_whole(result->batch));
    bl_html_rate(html, run);
    bl_html_cell(html, run->step_ms, bl_ms(run->step_ms));
    bl_html_cell(html, run->images_per_s, bl_whole(run->images_per_s));
    put_overhead(html, run, bn, run->step_ms, bn ? bn->step_ms : NAN);
    put_overhead(html, run, bn, run->mean_ms, bn ? bn->mean_ms : NAN);
    bl_html_share(html, BL_LIMIT_OPERATIONS, run->step.all.launches > 0 ? run->step.all.arithmetic : NAN);
    bl_html_share(html, BL_LIMIT_BYTES, run->step.all.launches > 0 ? run->step.all.bandwidth : NAN);
    bl_html_cell(html, top1, bl_fixed(top1, 2));
    bl_html_cell(html, run->target_s, bl_ms(run->target_s));
    if (count > 1) {
        bl_html(html, "<td class=\"wide soft\">");
        bl_html_text(html, result->source);
        bl_html(html, "</td>");
    }
    bl_html(html, "</tr>\n");
}

/* Which device trains this fastest: of all runs of one network with one norm, where all may be compared. */
static void put_fastest(struct bl_html *html, const struct bl_result *results, int count, const char *norm) {
    const struct bl_run_result *best = NULL;
    const struct bl_result *of = NULL;
    int seen = 0;
    for (int d = 0; d < count; d++)
        for (int r = 0; r < results[d].runs; r++) {
            const struct bl_run_result *run = &results[d].run[r];
            if (strcmp(run->norm, norm) || !(run->images_per_s > 0)) continue;
            if (strcmp(results[d].model, results[0].model)) return;
            if (best && !bl_may_compare(&results[d], run, of, best)) return;
            if (!best || run->images_per_s > best->images_per_s) best = run, of = &results[d];
            seen++;
        }
    if (seen < 2) return;
    char label[120];
    bl_run_label(best, label, sizeof label);
    bl_html(html, "<p>Fastest with %s: <b>", norm_label(best));
    bl_html_device(html, results, count, of, best->device);
    bl_html(html, "</b> (");
    bl_html_text(html, label);
    bl_html(html, "), %s&nbsp;ms a step, %s images a second.</p>\n", bl_ms(best->step_ms),
            bl_whole(best->images_per_s));
}

void bl_html_overview(struct bl_html *html, const struct bl_result *results, int count) {
    put_fastest(html, results, count, "bn");
    put_fastest(html, results, count, "nd");
    bl_html(html,
            "<div class=\"scroll\" tabindex=\"0\"><table class=\"sort\" "
            "id=\"overview\"><thead><tr><th>network</th>%s<th>batch</th><th>rate</th><th>step "
            "ms</th><th>images/s</th><th>beside BN</th><th>mean beside "
            "BN</th><th>%% of "
            "arithmetic</th>"
            "<th>%% of bandwidth</th><th>test %%</th><th>target s</th>%s</tr></thead>\n<tbody>\n",
            several_devices(results, count) ? "<th class=\"wide\">device</th>" : "",
            count > 1 ? "<th class=\"wide\">from</th>" : "");
    for (int d = 0; d < count; d++)
        for (int r = 0; r < results[d].runs; r++)
            put_overview_row(html, results, count, &results[d], &results[d].run[r]);
    bl_html(html, "</tbody></table></div>\n"
                  "<p class=\"soft\">In place of a share above 100&nbsp;%%: fewer, an engine needs fewer "
                  "multiplications than are "
                  "counted; cached, tensors stayed in a cache.</p>\n");
    const double target = results[0].runs ? results[0].run[0].target_top1 : NAN;
    if (isfinite(target) && count == 1)
        bl_html(html,
                "<p class=\"soft\">target s: seconds of training until %s&nbsp;%% of the test images are right.</p>\n",
                bl_fixed(target, 2));
}

/* --- one run ---------------------------------------------------------------------------------- */

static void put_work_cells(struct bl_html *html, double ms, const struct bl_work_done *work) {
    static const struct bl_work_done none = {.device_ms = NAN,
                                             .host_ms = NAN,
                                             .launches = NAN,
                                             .bytes = NAN,
                                             .operations = NAN,
                                             .arithmetic = NAN,
                                             .bandwidth = NAN};
    if (!(work->launches > 0)) work = &none;
    bl_html_cell(html, ms, bl_ms(ms));
    bl_html_cell(html, work->device_ms, bl_ms(work->device_ms));
    bl_html_cell(html, work->host_ms, bl_ms(work->host_ms));
    bl_html_cell(html, work->launches, bl_ms(work->launches));
    bl_html_cell(html, 1e-6 * work->bytes, bl_ms(1e-6 * work->bytes));
    bl_html_cell(html, 1e-9 * work->operations, bl_ms(1e-9 * work->operations));
    bl_html_share(html, BL_LIMIT_OPERATIONS, work->arithmetic);
    bl_html_share(html, BL_LIMIT_BYTES, work->bandwidth);
}

static void start_table(struct bl_html *html, const char *first) {
    bl_html(
        html,
        "<div class=\"scroll\" tabindex=\"0\"><table class=\"sort\"><thead><tr><th>%s</th><th>ms</th><th>device ms</th>"
        "<th>host ms</th><th>commands</th><th>MB</th><th>Gop</th><th>%% of arithmetic</th><th>%% of bandwidth</th></tr>"
        "</thead>\n<tbody>\n",
        first);
}

static double phase_ms(const struct bl_measured *step, int phase) {
    double ms = 0;
    for (int i = 0; i < step->rows; i++) ms += step->row[i].ms[phase];
    return ms;
}

static void put_phases(struct bl_html *html, const struct bl_measured *step) {
    start_table(html, "phase");
    for (int p = 0; p < BL_PHASES; p++) {
        double ms = phase_ms(step, p);
        if (!(ms > 0)) continue;
        bl_html(html, "<tr><td data-v=\"%d\">%s</td>", p, bl_phase_label(p));
        put_work_cells(html, ms, &step->work[p]);
        bl_html(html, "</tr>\n");
    }
    bl_html(html, "</tbody></table></div>\n");
}

static void put_layers(struct bl_html *html, const struct bl_measured *step) {
    int shown = 0;
    start_table(html, "layer");
    for (int i = 0; i < step->rows; i++) {
        const struct bl_ledger_row *row = &step->row[i];
        if (!(bl_row_ms(row) > 0)) continue;
        bl_html(html, "<tr><td data-v=\"%d\">", shown++);
        bl_html_text(html, row->name);
        bl_html(html, "</td>");
        put_work_cells(html, bl_row_ms(row), &row->all);
        bl_html(html, "</tr>\n");
    }
    bl_html(html, "</tbody></table></div>\n");
}

static void put_bars(struct bl_html *html, const struct bl_measured *step) {
    double scale = 0, all[BL_PHASES];
    for (int i = 0; i < step->rows; i++) scale = fmax(scale, bl_row_ms(&step->row[i]));
    if (!(scale > 0)) return;
    for (int p = 0; p < BL_PHASES; p++) all[p] = phase_ms(step, p);
    bl_html_legend(html, all);
    bl_html(html, "<div class=\"bars single\">\n");
    for (int i = 0; i < step->rows; i++) {
        if (bl_row_ms(&step->row[i]) <= scale / 500) continue;
        bl_html(html, "<div class=\"name\">");
        bl_html_text(html, step->row[i].name);
        bl_html(html, "</div>");
        bl_html_bar(html, "", step->row[i].ms, scale);
        bl_html(html, "\n");
    }
    bl_html(html, "</div>\n");
}

void bl_html_run(struct bl_html *html, const struct bl_run_result *run, bool bars) {
    const struct bl_limits *limits = &run->step.limits;
    char label[120];
    if (!run->step.rows) return;
    bl_run_label(run, label, sizeof label);
    const int level = bars ? 2 : 3; // of a page of its own, or among a pair's
    bl_html(html, "<h%d>A step with ", level);
    bl_html_text(html, label);
    bl_html(html, ", by phase</h%d>\n", level);
    if (limits->operations > 0)
        bl_html(html,
                "<p class=\"soft\">The device’s measured limits: %s&nbsp;Gop/s, %s&nbsp;GB/s. Bytes count every tensor "
                "of a command once, operations what the method asks for; fewer: an engine needs fewer multiplications "
                "than that, cached: tensors stayed in a cache.</p>\n",
                bl_fixed(1e-9 * limits->operations, 0), bl_fixed(1e-9 * limits->bytes, 1));
    put_phases(html, &run->step);
    bl_html(html, "<details%s><summary>The same by layer</summary>\n", bars ? " open" : "");
    if (bars) put_bars(html, &run->step);
    put_layers(html, &run->step);
    bl_html(html, "</details>\n");
}
