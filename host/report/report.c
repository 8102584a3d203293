/* The page: title, device, headline, one section per device, how it was measured. */
#include "report.h"
#include "html.h"
#include "io/files.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const cJSON *pairs_of(const cJSON *document) {
    return cJSON_GetObjectItemCaseSensitive(document, "pairs");
}

static void put_device(struct bl_html *html, const cJSON *device) {
    double units = bl_json_get(device, "compute_units"), memory = bl_json_get(device, "memory_bytes");
    bl_html(html, "<p class=\"meta\"><b>");
    bl_html_text(html, bl_json_text(device, "name"));
    bl_html(html, "</b>");
    if (!isnan(units)) bl_html(html, " · %.0f compute units", units);
    if (!isnan(memory)) bl_html(html, " · %.1f GiB", memory / 1073741824.0);
    if (*bl_json_text(device, "platform")) bl_html(html, " · ");
    bl_html_text(html, bl_json_text(device, "platform"));
    if (*bl_json_text(device, "driver")) bl_html(html, " · driver ");
    bl_html_text(html, bl_json_text(device, "driver"));
    bl_html(html, "</p>\n");
}

static void put_title(struct bl_html *html, const cJSON *document) {
    const cJSON *pairs = pairs_of(document), *device;
    double percent = bl_pair_overhead(cJSON_GetArrayItem(pairs, 0));
    bl_html(html, "<p class=\"eyebrow\">Blanch · ");
    bl_html_text(html, bl_json_text(document, "model"));
    bl_html(html, " · ");
    bl_html_text(html, bl_json_text(document, "data"));
    bl_html(html, "</p>\n<h1>");
    if (cJSON_GetArraySize(pairs) == 1 && !isnan(percent)) {
        bl_html(html, "Network deconvolution costs %s a step on ", bl_percent(percent));
        bl_html_text(html, bl_json_text(document, "model"));
    } else if (!cJSON_GetArraySize(pairs)) {
        char label[120];
        bl_run_label(cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(document, "runs"), 0), label, sizeof label);
        bl_html_text(html, bl_json_text(document, "model"));
        bl_html(html, " with ");
        bl_html_text(html, label);
    } else {
        bl_html_text(html, bl_json_text(document, "model"));
        bl_html(html, ": what normalising costs");
    }
    bl_html(html, "</h1>\n");
    cJSON_ArrayForEach(device, cJSON_GetObjectItemCaseSensitive(document, "devices")) put_device(html, device);
}

/* Runs that have no partner: one row each. */
static void put_runs_table(struct bl_html *html, const cJSON *document) {
    const cJSON *run;
    bl_html(
        html,
        "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th>device</th><th>norm</th><th>step ms</th>"
        "<th>images/s</th><th>inference ms</th><th>coverage %%</th><th>recording costs</th></tr></thead>\n<tbody>\n");
    cJSON_ArrayForEach(run, cJSON_GetObjectItemCaseSensitive(document, "runs")) {
        double coverage = bl_json_get(run, "coverage"), cost = bl_json_get(run, "recording_cost");
        bl_html(html, "<tr><td>");
        bl_html_text(html, bl_json_text(run, "device"));
        bl_html(html, "</td><td>");
        bl_html_text(html, bl_json_text(run, "norm"));
        bl_html(html, " ");
        bl_html_text(html, bl_json_text(run, "setting"));
        bl_html(html, "</td><td>%s</td><td>%s</td><td>%s</td>", bl_ms(bl_json_get(run, "step_ms")),
                bl_whole(bl_json_get(run, "images_per_s")), bl_ms(bl_json_get(run, "inference_ms")));
        if (isnan(coverage))
            bl_html(html, "<td>–</td>");
        else
            bl_html(html, "<td>%.1f</td>", 100 * coverage);
        bl_html(html, "<td>%s</td></tr>\n", bl_percent(100 * (cost - 1)));
    }
    bl_html(html, "</tbody></table></div>\n");
}

/* --- how it was measured ------------------------------------------------------------------------- */

static void put_value(struct bl_html *html, const cJSON *value) {
    char *text = cJSON_IsString(value) ? NULL : cJSON_PrintUnformatted(value);
    bl_html_text(html, cJSON_IsString(value) ? value->valuestring : text);
    cJSON_free(text);
}

static void put_fact(struct bl_html *html, const cJSON *document, const char *key, const char *label) {
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(document, key);
    if (!value || cJSON_IsNull(value) || (cJSON_IsString(value) && !*value->valuestring)) return;
    bl_html(html, "<dt>%s</dt><dd>", label);
    put_value(html, value);
    bl_html(html, "</dd>\n");
}

static void put_settings(struct bl_html *html, const cJSON *pair) {
    const cJSON *settings = cJSON_GetObjectItemCaseSensitive(pair, "settings"), *item;
    if (!cJSON_GetArraySize(settings)) return;
    bl_html(html, "<dt>ND</dt><dd>");
    cJSON_ArrayForEach(item, settings) {
        bl_html_text(html, item->string);
        bl_html(html, " ");
        put_value(html, item);
        if (item->next) bl_html(html, ", ");
    }
    bl_html(html, "</dd>\n");
}

static void put_method(struct bl_html *html, const cJSON *document) {
    static const char *const facts[][2] = {{"source", "from"},
                                           {"model", "network"},
                                           {"data", "data"},
                                           {"augment", "augmentation"},
                                           {"batch", "batch"},
                                           {"steps", "steps"},
                                           {"epochs", "epochs"},
                                           {"lr", "learning rate"},
                                           {"schedule", "schedule"},
                                           {"momentum", "momentum"},
                                           {"weight_decay", "weight decay"},
                                           {"seed", "seed"},
                                           {"date", "date"},
                                           {"blanch", "Blanch"}};
    if (strcmp(bl_json_text(document, "kind"), "compare"))
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
    put_runs_table(html, document);
    bl_html(html, "<dl>\n");
    for (int i = 0; i < BL_COUNT(facts); i++) put_fact(html, document, facts[i][0], facts[i][1]);
    put_settings(html, cJSON_GetArrayItem(pairs_of(document), 0));
    bl_html(html, "</dl>\n");
}

/* alone: the page has no other. Several pairs, or several documents, begin with the overview of all runs. */
static void put_document(struct bl_html *html, const cJSON *document, bool alone) {
    const cJSON *pair, *device, *run;
    bool many = cJSON_GetArraySize(pairs_of(document)) != 1;
    put_title(html, document);
    if (alone && many) bl_html_overview(html, &document, 1);
    cJSON_ArrayForEach(pair, pairs_of(document)) bl_html_pair(html, document, pair, many);
    if (!cJSON_GetArraySize(pairs_of(document))) {
        cJSON_ArrayForEach(device, cJSON_GetObjectItemCaseSensitive(document, "devices"))
            bl_html_curves(html, document, bl_json_text(device, "name"));
        cJSON_ArrayForEach(run, cJSON_GetObjectItemCaseSensitive(document, "runs")) bl_html_run(html, run, true);
    }
    put_method(html, document);
}

static void put_together(struct bl_html *html, const cJSON *const *documents, int count) {
    bl_html(html, "<p class=\"eyebrow\">Blanch</p>\n<h1>%d results side by side</h1>\n", count);
    bl_html_overview(html, documents, count);
    bl_html_joint_curves(html, documents, count);
}

int bl_report_write(const char *path, const cJSON *const *documents, int count) {
    struct bl_html html = {0};
    bl_html(&html, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                   "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                   "<link rel=\"icon\" href=\"data:,\"><title>Blanch: ");
    bl_html_text(&html, bl_json_text(documents[0], "model"));
    bl_html(&html, "</title>\n<style>%s</style></head>\n<body><main>\n", bl_report_style);
    if (count > 1) put_together(&html, documents, count);
    for (int i = 0; i < count; i++) put_document(&html, documents[i], count == 1);
    bl_html(&html, "</main>\n<script>%s</script></body></html>\n", bl_report_script);
    bl_html_label_cells(&html);
    int error = html.error ? html.error : bl_file_write(path, html.data, html.size);
    free(html.data);
    return error;
}
