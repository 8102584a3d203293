/* The page: title, device, headline, one section per device, how it was measured. */
#include "report.h"
#include "html.h"
#include "io/files.h"
#include "result_internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_device(struct bl_html *html, const struct bl_device_result *device) {
    bl_html(html, "<p class=\"meta\"><b>");
    bl_html_text(html, device->label);
    bl_html(html, "</b>");
    if (device->facts.compute_units > 0) bl_html(html, " · %s compute units", bl_fixed(device->facts.compute_units, 0));
    if (device->facts.memory > 0) bl_html(html, " · %s GiB", bl_fixed(device->facts.memory / 1073741824.0, 1));
    if (*device->facts.platform) bl_html(html, " · ");
    bl_html_text(html, device->facts.platform);
    if (*device->facts.driver) bl_html(html, " · driver ");
    bl_html_text(html, device->facts.driver);
    bl_html(html, "</p>\n");
}

static void put_host(struct bl_html *html, const struct bl_host *host) {
    if (!*host->os && !*host->cpu) return;
    bl_html(html, "<p class=\"meta\">On ");
    bl_html_text(html, *host->cpu ? host->cpu : "an unnamed processor");
    if (host->cores > 0) bl_html(html, " · %s core%s", bl_fixed(host->cores, 0), host->cores > 1 ? "s" : "");
    if (host->memory > 0) bl_html(html, " · %s GiB", bl_fixed(host->memory / 1073741824.0, 1));
    if (*host->os) bl_html(html, " · ");
    bl_html_text(html, host->os);
    if (*host->kernel) bl_html(html, " · kernel ");
    bl_html_text(html, host->kernel);
    bl_html(html, "</p>\n");
}

static void put_title(struct bl_html *html, const struct bl_result *result) {
    double percent = result->pairs ? bl_pair_overhead(&result->pair[0]) : NAN;
    bl_html(html, "<p class=\"eyebrow\">Blanch · ");
    bl_html_text(html, result->model);
    bl_html(html, " · ");
    bl_html_text(html, result->data);
    bl_html(html, "</p>\n<h1>");
    if (result->pairs == 1 && !isnan(percent)) {
        bl_html(html, "Network deconvolution costs %s a step on ", bl_percent(percent));
        bl_html_text(html, result->model);
    } else if (!result->pairs) {
        char label[120];
        bl_run_label(&result->run[0], label, sizeof label);
        bl_html_text(html, result->model);
        bl_html(html, " with ");
        bl_html_text(html, label);
    } else {
        bl_html_text(html, result->model);
        bl_html(html, ": what normalising costs");
    }
    bl_html(html, "</h1>\n");
    for (int d = 0; d < result->devices; d++) put_device(html, &result->device[d]);
    put_host(html, &result->header.host);
}

/* Runs that have no partner: one row each. */
static void put_runs_table(struct bl_html *html, const struct bl_result *result) {
    bl_html(html,
            "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th>device</th><th>norm</th><th>rate</th><th>step "
            "ms</th><th>images/s</th><th>inference ms</th><th>coverage %%</th><th>recording "
            "costs</th></tr></thead>\n<tbody>\n");
    for (int r = 0; r < result->runs; r++) {
        const struct bl_run_result *run = &result->run[r];
        bl_html(html, "<tr><td>");
        bl_html_text(html, result->device[run->device].label);
        bl_html(html, "</td><td>");
        bl_html_text(html, run->norm);
        bl_html(html, " ");
        bl_html_text(html, run->setting);
        bl_html(html, "</td>");
        bl_html_rate(html, run);
        bl_html(html, "<td>%s</td><td>%s</td><td>%s</td>", bl_ms(run->step_ms), bl_whole(run->images_per_s),
                bl_ms(run->inference_ms));
        bl_html(html, "<td>%s</td><td>%s</td></tr>\n", bl_fixed(100 * run->coverage, 1),
                bl_percent(bl_percent_more(run->recording_cost, 1)));
    }
    bl_html(html, "</tbody></table></div>\n");
}

/* --- how it was measured ------------------------------------------------------------------------- */

static void put_text(struct bl_html *html, const char *label, const char *text) {
    if (!text || !*text) return;
    bl_html(html, "<dt>%s</dt><dd>", label);
    bl_html_text(html, text);
    bl_html(html, "</dd>\n");
}

/* The shortest that is the same number: 0.1, also of the float that is nearest to it. */
static const char *number_text(double value, char text[32]) {
    const bool single = (double)(float)value == value && value != floor(value);
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, value);
        if (single ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value) break;
    }
    return text;
}

static void put_number(struct bl_html *html, const char *label, double value) {
    char text[32];
    if (!isnan(value)) put_text(html, label, number_text(value, text));
}

static void put_settings(struct bl_html *html, const struct bl_nd_result *nd) {
    bool first = true;
    for (const struct bl_result_field *f = bl_nd_fields; f->key; f++) {
        double value = bl_field_value(f, nd);
        char text[32];
        if (isnan(value)) continue;
        bl_html(html, "%s%s %s", first ? "<dt>ND</dt><dd>" : ", ", f->key,
                bl_field_is_auto(f, value) ? "auto"
                : f->digits != BL_FLAG     ? number_text(value, text)
                : value != 0               ? "true"
                                           : "false");
        first = false;
    }
    if (!first) bl_html(html, "</dd>\n");
}

static void put_facts(struct bl_html *html, const struct bl_result *result) {
    char version[128];
    snprintf(version, sizeof version, "%s%s%s", result->header.version, *result->header.commit ? ", commit " : "",
             result->header.commit);
    bl_html(html, "<dl>\n");
    put_text(html, "from", result->source);
    put_text(html, "network", result->model);
    put_text(html, "precision", result->precision);
    put_text(html, "data", result->data);
    put_text(html, "augmentation", result->augment);
    put_number(html, "batch", result->batch);
    put_number(html, "steps", result->steps);
    put_number(html, "epochs", result->epochs);
    put_number(html, "segments computed again", result->recompute);
    put_text(html, "optimiser", result->update.optimiser);
    put_number(html, "learning rate", result->update.lr);
    put_text(html, "schedule", result->update.schedule);
    put_number(html, "warm-up, steps", result->update.warmup);
    put_number(html, "momentum", result->update.momentum);
    put_number(html, "weight decay", result->update.weight_decay);
    put_number(html, "seed", result->seed);
    put_text(html, "date", result->header.date);
    put_text(html, "Blanch", version);
    if (result->pairs) put_settings(html, &result->pair[0].nd);
    bl_html(html, "</dl>\n");
}

static void put_method(struct bl_html *html, const struct bl_result *result) {
    if (strcmp(result->header.kind, "compare"))
        bl_html(
            html,
            "<h2>How it was measured</h2>\n<p>The step time is the median of whole steps. Times of layers and phases "
            "come from recorded steps.</p>\n");
    else
        bl_html(
            html,
            "<h2>How it was measured</h2>\n<p>The networks were trained in one process, in turn, step by step, on the "
            "same batches, so that a change in the machine’s speed meets each of them. Step times are medians of whole "
            "steps, update included, warm-up excluded. The times of layers and phases are medians of the recorded "
            "steps; steps with and without recording took turns, and what recording costs is the ratio of the two "
            "medians. Coverage is the sum of all phases over the wall time of the recorded steps. Inference is a "
            "forward pass in evaluation mode of a batch that is already on the device.</p>\n");
    put_runs_table(html, result);
    put_facts(html, result);
}

/* Of each device: the best of batch norm's rates, or that both norms had one. */
static void put_rates(struct bl_html *html, const struct bl_result *result) {
    char text[600];
    for (int d = 0; d < result->devices; d++) {
        bl_rates_say(result, d, text, sizeof text);
        if (!*text) continue;
        bl_html(html, "<p class=\"rates\">");
        if (result->devices > 1) bl_html_device(html, result, 1, result, d);
        if (result->devices > 1) bl_html(html, ": ");
        bl_html_said(html, text);
        bl_html(html, "</p>\n");
    }
}

/* alone: the page has no other. Several pairs, or several documents, begin with the overview of all runs. */
static void put_document(struct bl_html *html, const struct bl_result *result, bool alone) {
    bool many = result->pairs != 1;
    put_title(html, result);
    if (alone && (many || result->runs > 2)) bl_html_overview(html, result, 1);
    put_rates(html, result);
    for (int p = 0; p < result->pairs; p++) bl_html_pair(html, result, &result->pair[p], many);
    for (int d = 0; d < result->devices && !result->pairs; d++) bl_html_curves(html, result, d);
    bl_html_eval(html, result->eval);
    for (int r = 0; r < result->runs && !result->pairs; r++) {
        bl_html_ranks(html, &result->run[r]);
        bl_html_run(html, &result->run[r], true);
    }
    put_method(html, result);
}

/* Documents of one run each say nothing of their own. */
static void put_joint_rates(struct bl_html *html, const struct bl_result *results, int count) {
    char text[600];
    for (int i = 0; i < count; i++) {
        bool said = false;
        for (int d = 0; d < i; d++) said |= !strcmp(results[d].model, results[i].model);
        if (said) continue;
        bl_rates_say_of(results, count, results[i].model, text, sizeof text);
        if (!*text) continue;
        bl_html(html, "<p class=\"rates\">");
        bl_html_text(html, results[i].model);
        bl_html(html, ": ");
        bl_html_said(html, text);
        bl_html(html, "</p>\n");
    }
}

static void put_together(struct bl_html *html, const struct bl_result *results, int count) {
    bl_html(html, "<p class=\"eyebrow\">Blanch</p>\n<h1>%d results side by side</h1>\n", count);
    bl_html_overview(html, results, count);
    if (!html->error) html->error = bl_html_differences(html, results, count);
    if (!html->error) html->error = bl_html_scaling(html, results, count);
    put_joint_rates(html, results, count);
    bl_html_joint_curves(html, results, count);
}

/* What is not of a suite. */
static void put_runs(struct bl_html *html, const struct bl_result *results, int count) {
    if (count > 1) put_together(html, results, count);
    for (int i = 0; i < count; i++) put_document(html, &results[i], count == 1);
}

/* Suites come first, in their own order. The copies own nothing. */
static int put_all(struct bl_html *html, const struct bl_result *results, int count) {
    struct bl_result *sorted = bl_calloc((size_t)count, sizeof *sorted);
    int suites = 0, others = 0;
    if (!sorted) return BLANCH_ENOMEM;
    for (int i = 0; i < count; i++)
        if (results[i].suite) sorted[suites++] = results[i];
    for (int i = 0; i < count; i++)
        if (!results[i].suite) sorted[suites + others++] = results[i];
    if (suites) bl_html_suites(html, sorted, suites);
    if (others) put_runs(html, sorted + suites, others);
    free(sorted);
    return 0;
}

int bl_report_write(const char *path, const struct bl_result *results, int count) {
    struct bl_html html = {0};
    bl_html_begin(&html, results[0].model);
    int code = put_all(&html, results, count);
    return bl_html_end(&html, path, code);
}
