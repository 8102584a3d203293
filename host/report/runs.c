/* The overview of all runs of a page, and what a single run's step consists of. */
#include "html.h"
#include "report.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static cJSON *item(const cJSON *object, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static void put_cell(struct bl_html *html, double value, const char *text) {
    bl_html(html, "<td data-v=\"%.6g\">%s</td>", isfinite(value) ? value : -1, text);
}

static const char *norm_label(const cJSON *run) {
    const char *norm = bl_json_text(run, "norm");
    return !strcmp(norm, "bn") ? "BN" : !strcmp(norm, "nd") ? "ND" : !strcmp(norm, "none") ? "no norm" : norm;
}

void bl_run_label(const cJSON *run, char *label, size_t size) {
    const char *setting = bl_json_text(run, "setting");
    snprintf(label, size, "%s%s%s", norm_label(run), *setting ? ", " : "", setting);
}

/* The BN step that a run is held against: same network, batch and device, of its own document if it has one. */
static double bn_step(const cJSON *const *documents, int count, const cJSON *document, const cJSON *run,
                      const char *key) {
    double found = NAN;
    for (int d = 0; d < count; d++) {
        const cJSON *other;
        if (strcmp(bl_json_text(documents[d], "model"), bl_json_text(document, "model")) ||
            bl_json_get(documents[d], "batch") != bl_json_get(document, "batch"))
            continue;
        cJSON_ArrayForEach(other, item(documents[d], "runs")) {
            bool suits = !strcmp(bl_json_text(other, "norm"), "bn") &&
                         !strcmp(bl_json_text(other, "device"), bl_json_text(run, "device"));
            if (suits && (isnan(found) || documents[d] == document)) found = bl_json_get(other, key);
        }
    }
    return found;
}

static void put_share(struct bl_html *html, double value) {
    char text[32] = "–";
    if (isfinite(value)) snprintf(text, sizeof text, "%.1f", 100 * value);
    put_cell(html, value, text);
}

static void put_overview_row(struct bl_html *html, const cJSON *const *documents, int count, const cJSON *document,
                             const cJSON *run) {
    char label[120], text[32] = "–";
    double ms = bl_json_get(run, "step_ms"),
           over = 100 * (ms / bn_step(documents, count, document, run, "step_ms") - 1);
    double mean = 100 * (bl_json_get(run, "mean_ms") / bn_step(documents, count, document, run, "mean_ms") - 1);
    double top1 = bl_json_get(bl_last_epoch(run), "test_top1"), target = bl_json_get(run, "target_s");
    const cJSON *work = item(run, "work_all");
    bl_run_label(run, label, sizeof label);
    bl_html(html, "<tr><td>");
    bl_html_text(html, bl_json_text(document, "model"));
    bl_html(html, " <span class=\"%s\">",
            bl_json_text(run, "norm")[0] == 'n' && bl_json_text(run, "norm")[1] == 'd' ? "nd" : "bn");
    bl_html_text(html, label);
    bl_html(html, "</span></td><td class=\"wide\">");
    bl_html_text(html, bl_json_text(run, "device"));
    bl_html(html, "</td>");
    put_cell(html, bl_json_get(document, "batch"), bl_whole(bl_json_get(document, "batch")));
    put_cell(html, ms, bl_ms(ms));
    put_cell(html, bl_json_get(run, "images_per_s"), bl_whole(bl_json_get(run, "images_per_s")));
    put_cell(html, over, !strcmp(bl_json_text(run, "norm"), "bn") ? "–" : bl_percent(over));
    put_cell(html, mean, !strcmp(bl_json_text(run, "norm"), "bn") ? "–" : bl_percent(mean));
    put_share(html, bl_json_get(work, "arithmetic"));
    put_share(html, bl_json_get(work, "bandwidth"));
    if (isfinite(top1)) snprintf(text, sizeof text, "%.2f", top1);
    put_cell(html, top1, text);
    put_cell(html, target, bl_ms(target));
    bl_html(html, "<td class=\"wide soft\">");
    bl_html_text(html, bl_json_text(document, "source"));
    bl_html(html, "</td></tr>\n");
}

/* Which device trains this fastest: of all runs of one network with one norm. */
static void put_fastest(struct bl_html *html, const cJSON *const *documents, int count, const char *norm) {
    const cJSON *best = NULL, *run;
    int seen = 0;
    for (int d = 0; d < count; d++) cJSON_ArrayForEach(run, item(documents[d], "runs")) {
            if (strcmp(bl_json_text(run, "norm"), norm) || !(bl_json_get(run, "images_per_s") > 0)) continue;
            if (strcmp(bl_json_text(documents[d], "model"), bl_json_text(documents[0], "model"))) return;
            if (!best || bl_json_get(run, "images_per_s") > bl_json_get(best, "images_per_s")) best = run;
            seen++;
        }
    if (seen < 2) return;
    char label[120];
    bl_run_label(best, label, sizeof label);
    bl_html(html, "<p>Fastest with %s: <b>", norm_label(best));
    bl_html_text(html, bl_json_text(best, "device"));
    bl_html(html, "</b> (");
    bl_html_text(html, label);
    bl_html(html, "), %s&nbsp;ms a step, %s images a second.</p>\n", bl_ms(bl_json_get(best, "step_ms")),
            bl_whole(bl_json_get(best, "images_per_s")));
}

void bl_html_overview(struct bl_html *html, const cJSON *const *documents, int count) {
    const cJSON *run;
    put_fastest(html, documents, count, "bn");
    put_fastest(html, documents, count, "nd");
    bl_html(html, "<div class=\"scroll\" tabindex=\"0\"><table class=\"sort\" "
                  "id=\"overview\"><thead><tr><th>network</th><th>device</th>"
                  "<th>batch</th><th>step ms</th><th>images/s</th><th>beside BN</th><th>mean beside BN</th><th>%% of "
                  "arithmetic</th>"
                  "<th>%% of bandwidth</th><th>test %%</th><th>target s</th><th>from</th></tr></thead>\n<tbody>\n");
    for (int d = 0; d < count; d++)
        cJSON_ArrayForEach(run, item(documents[d], "runs")) put_overview_row(html, documents, count, documents[d], run);
    bl_html(html, "</tbody></table></div>\n");
    const double target = bl_json_get(cJSON_GetArrayItem(item(documents[0], "runs"), 0), "target_top1");
    if (isfinite(target) && count == 1)
        bl_html(
            html,
            "<p class=\"soft\">target s: seconds of training until %.2f&nbsp;%% of the test images are right.</p>\n",
            target);
}

/* --- one run ---------------------------------------------------------------------------------- */

static void put_work_cells(struct bl_html *html, double ms, const cJSON *work) {
    double host = bl_json_get(work, "host_ms"), launches = bl_json_get(work, "launches");
    double bytes = 1e-6 * bl_json_get(work, "bytes"), operations = 1e-9 * bl_json_get(work, "operations");
    put_cell(html, ms, bl_ms(ms));
    put_cell(html, bl_json_get(work, "device_ms"), bl_ms(bl_json_get(work, "device_ms")));
    put_cell(html, host, bl_ms(host));
    put_cell(html, launches, bl_ms(launches));
    put_cell(html, bytes, bl_ms(bytes));
    put_cell(html, operations, bl_ms(operations));
    put_share(html, bl_json_get(work, "arithmetic"));
    put_share(html, bl_json_get(work, "bandwidth"));
}

static void start_table(struct bl_html *html, const char *first) {
    bl_html(
        html,
        "<div class=\"scroll\" tabindex=\"0\"><table class=\"sort\"><thead><tr><th>%s</th><th>ms</th><th>device ms</th>"
        "<th>host ms</th><th>commands</th><th>MB</th><th>Gop</th><th>%% of arithmetic</th><th>%% of bandwidth</th></tr>"
        "</thead>\n<tbody>\n",
        first);
}

static double sum_phases(const cJSON *layer, const char *only) {
    const cJSON *phase;
    double sum = 0;
    cJSON_ArrayForEach(phase,
                       item(layer, "phases")) if (cJSON_IsNumber(phase) && (!only || !strcmp(phase->string, only)))
        sum += phase->valuedouble;
    return sum;
}

static void put_phases(struct bl_html *html, const cJSON *run) {
    const cJSON *layer;
    start_table(html, "phase");
    for (int p = 0; bl_phase_styles[p].name; p++) {
        double ms = 0;
        cJSON_ArrayForEach(layer, item(run, "layers")) ms += sum_phases(layer, bl_phase_styles[p].name);
        if (!(ms > 0)) continue;
        bl_html(html, "<tr><td data-v=\"%d\">%s</td>", p, bl_phase_styles[p].label);
        put_work_cells(html, ms, item(item(run, "work"), bl_phase_styles[p].name));
        bl_html(html, "</tr>\n");
    }
    bl_html(html, "</tbody></table></div>\n");
}

static void put_layers(struct bl_html *html, const cJSON *run) {
    const cJSON *layer;
    int row = 0;
    start_table(html, "layer");
    cJSON_ArrayForEach(layer, item(run, "layers")) {
        bl_html(html, "<tr><td data-v=\"%d\">", row++);
        bl_html_text(html, bl_json_text(layer, "name"));
        bl_html(html, "</td>");
        put_work_cells(html, sum_phases(layer, NULL), item(layer, "work_all"));
        bl_html(html, "</tr>\n");
    }
    bl_html(html, "</tbody></table></div>\n");
}

static void put_bar(struct bl_html *html, const cJSON *layer, double scale) {
    double at = 0;
    bl_html(html, "<div class=\"name\">");
    bl_html_text(html, bl_json_text(layer, "name"));
    bl_html(html, "</div><svg role=\"img\" aria-label=\"%s ms\">", bl_ms(sum_phases(layer, NULL)));
    for (int p = 0; bl_phase_styles[p].name; p++) {
        double ms = sum_phases(layer, bl_phase_styles[p].name), width = 100 * ms / scale;
        if (width < 0.005) continue;
        bl_html(html,
                "<rect class=\"%s\" x=\"%.2f%%\" width=\"%.2f%%\" height=\"100%%\"><title>%s: %s ms</title></rect>",
                bl_phase_styles[p].css, at, width, bl_phase_styles[p].label, bl_ms(ms));
        at += width;
    }
    bl_html(html, "</svg><div class=\"ms\">%s</div>\n", bl_ms(sum_phases(layer, NULL)));
}

static void put_bars(struct bl_html *html, const cJSON *run) {
    const cJSON *layer;
    double scale = 0;
    cJSON_ArrayForEach(layer, item(run, "layers")) scale = fmax(scale, sum_phases(layer, NULL));
    if (!(scale > 0)) return;
    bl_html(html, "<ul class=\"legend\">");
    for (int p = 0; bl_phase_styles[p].name; p++) {
        double ms = 0;
        cJSON_ArrayForEach(layer, item(run, "layers")) ms += sum_phases(layer, bl_phase_styles[p].name);
        if (ms > 0)
            bl_html(html,
                    "<li><svg class=\"swatch\"><rect class=\"%s\" width=\"100%%\" height=\"100%%\"/></svg>%s</li>",
                    bl_phase_styles[p].css, bl_phase_styles[p].label);
    }
    bl_html(html, "</ul>\n<div class=\"bars single\">\n");
    cJSON_ArrayForEach(layer, item(run, "layers")) if (sum_phases(layer, NULL) > scale / 500)
        put_bar(html, layer, scale);
    bl_html(html, "</div>\n");
}

void bl_html_run(struct bl_html *html, const cJSON *run, bool bars) {
    const cJSON *limits = item(run, "limits");
    char label[120];
    if (!cJSON_GetArraySize(item(run, "layers"))) return;
    bl_run_label(run, label, sizeof label);
    bl_html(html, "<h3>A step with ");
    bl_html_text(html, label);
    bl_html(html, ", by phase</h3>\n");
    if (bl_json_get(limits, "operations_per_s") > 0)
        bl_html(
            html,
            "<p class=\"soft\">The device’s measured limits: %.0f&nbsp;Gop/s, %.1f&nbsp;GB/s. Bytes count every tensor "
            "of a command once, operations what the method asks for.</p>\n",
            1e-9 * bl_json_get(limits, "operations_per_s"), 1e-9 * bl_json_get(limits, "bytes_per_s"));
    put_phases(html, run);
    bl_html(html, "<details%s><summary>The same by layer</summary>\n", bars ? " open" : "");
    if (bars) put_bars(html, run);
    put_layers(html, run);
    bl_html(html, "</details>\n");
}
