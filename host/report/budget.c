/* What an overhead budget decided in a comparison, and what it held. */
#include "html.h"
#include "report.h"
#include <math.h>
#include <stdio.h>

static cJSON *item(const cJSON *object, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

bool bl_pair_varies(const cJSON *pair) {
    const cJSON *settings = item(pair, "settings");
    return bl_json_get(settings, "refresh") > 1 || item(settings, "overhead_budget_pct");
}

double bl_pair_overhead(const cJSON *pair) {
    double mean = bl_json_get(pair, "overhead_mean_pct");
    return bl_pair_varies(pair) && isfinite(mean) ? mean : bl_json_get(pair, "overhead_pct");
}

static void put_number(struct bl_html *html, double value, const char *text) {
    bl_html(html, "<td data-v=\"%.6g\">%s</td>", isfinite(value) ? value : -1, text);
}

static void put_decision(struct bl_html *html, const cJSON *decision) {
    double low = INFINITY, high = 0;
    char range[64];
    const cJSON *layer;
    cJSON_ArrayForEach(layer, item(decision, "layers")) {
        low = fmin(low, bl_json_get(layer, "interval"));
        high = fmax(high, bl_json_get(layer, "interval"));
    }
    snprintf(range, sizeof range, low < high ? "%.1f to %.1f" : "%.1f", isfinite(low) ? low : 1, high);
    bl_html(html, "<tr><td data-v=\"%.0f\">%.0f</td><td class=\"wide\">", bl_json_get(decision, "step"),
            bl_json_get(decision, "step"));
    bl_html_text(html, bl_json_text(decision, "reason"));
    bl_html(html, "</td>");
    static const char *const times[] = {"base_ms", "bn_ms", "allowance_ms"};
    for (int i = 0; i < BL_COUNT(times); i++)
        put_number(html, bl_json_get(decision, times[i]), bl_ms(bl_json_get(decision, times[i])));
    put_number(html, high, range);
    put_number(html, bl_json_get(decision, "least_pct"), bl_percent(bl_json_get(decision, "least_pct")));
    put_number(html, bl_json_get(decision, "held_pct"), bl_percent(bl_json_get(decision, "held_pct")));
    bl_html(html, "</tr>\n");
}

static void put_layers(struct bl_html *html, const cJSON *decision) {
    const cJSON *layer;
    bl_html(html, "<details><summary>The last decision by layer</summary>\n<div class=\"scroll\" tabindex=\"0\"><table "
                  "class=\"sort\"><thead>"
                  "<tr><th>layer</th><th>steps between refreshes</th><th>a refresh costs, ms</th><th>drift a "
                  "step</th></tr></thead>\n<tbody>\n");
    cJSON_ArrayForEach(layer, item(decision, "layers")) {
        char drift[32];
        snprintf(drift, sizeof drift, "%.2g", bl_json_get(layer, "drift"));
        bl_html(html, "<tr><td>");
        bl_html_text(html, bl_json_text(layer, "name"));
        bl_html(html, "</td>");
        put_number(html, bl_json_get(layer, "interval"), bl_ms(bl_json_get(layer, "interval")));
        put_number(html, bl_json_get(layer, "refresh_ms"), bl_ms(bl_json_get(layer, "refresh_ms")));
        put_number(html, bl_json_get(layer, "drift"), drift);
        bl_html(html, "</tr>\n");
    }
    bl_html(html, "</tbody></table></div></details>\n");
}

void bl_html_budget(struct bl_html *html, const cJSON *pair, const cJSON *run) {
    const cJSON *budget = item(run, "budget"), *decisions = item(budget, "decisions"), *decision;
    int count = cJSON_GetArraySize(decisions);
    if (!budget) return;
    bl_html(html, "<h3>The overhead budget of %.4g&nbsp;%%</h3>\n", bl_json_get(budget, "budget_pct"));
    if (!count) {
        bl_html(html,
                "<p>The run ended before anything was decided: its first steps refresh every layer, or measure.</p>\n");
        return;
    }
    bl_html(html, "<p>By the clock, %s over all steps, those before the first decision and every refresh included",
            bl_percent(bl_json_get(pair, "overhead_mean_pct")));
    if (bl_json_get(pair, "bound_steps") > 0)
        bl_html(html, ", and %s in the %s steps after the first decision",
                bl_percent(bl_json_get(pair, "overhead_bound_pct")), bl_whole(bl_json_get(pair, "bound_steps")));
    bl_html(html, ". The baseline is ");
    bl_html_text(html, bl_json_text(budget, "yardstick"));
    bl_html(html, ".</p>\n<div class=\"scroll\" tabindex=\"0\"><table "
                  "class=\"sort\"><thead><tr><th>step</th><th>reason</th><th>base step ms</th>"
                  "<th>BN step ms</th><th>for refreshes ms</th><th>steps between refreshes</th><th>least "
                  "possible</th><th>held so far</th></tr>"
                  "</thead>\n<tbody>\n");
    cJSON_ArrayForEach(decision, decisions) put_decision(html, decision);
    bl_html(html, "</tbody></table></div>\n");
    put_layers(html, cJSON_GetArrayItem(decisions, count - 1));
}
