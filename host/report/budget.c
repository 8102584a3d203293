/* What an overhead budget decided in a comparison, and what it held. */
#include "html.h"
#include <math.h>
#include <stdio.h>

static void put_decision(struct bl_html *html, const struct bl_decision_result *decision) {
    double low = INFINITY, high = 0;
    char range[64];
    for (int i = 0; i < decision->layers; i++) {
        low = fmin(low, decision->layer[i].interval);
        high = fmax(high, decision->layer[i].interval);
    }
    snprintf(range, sizeof range, low < high ? "%s to %s" : "%s", bl_fixed(isfinite(low) ? low : 1, 1),
             bl_fixed(high, 1));
    bl_html(html, "<tr>");
    bl_html_cell(html, decision->step, bl_fixed(decision->step, 0));
    bl_html(html, "<td class=\"wide\">");
    bl_html_text(html, decision->reason);
    bl_html(html, "</td>");
    bl_html_cell(html, decision->base_ms, bl_ms(decision->base_ms));
    bl_html_cell(html, decision->bn_ms, bl_ms(decision->bn_ms));
    bl_html_cell(html, decision->allowance_ms, bl_ms(decision->allowance_ms));
    bl_html_cell(html, high, range);
    bl_html_cell(html, decision->least_pct, bl_percent(decision->least_pct));
    bl_html_cell(html, decision->held_pct, bl_percent(decision->held_pct));
    bl_html(html, "</tr>\n");
}

static void put_layers(struct bl_html *html, const struct bl_decision_result *decision) {
    bl_html(html, "<details><summary>The last decision by layer</summary>\n<div class=\"scroll\" tabindex=\"0\"><table "
                  "class=\"sort\"><thead>"
                  "<tr><th>layer</th><th>steps between refreshes</th><th>a refresh costs, ms</th><th>drift a "
                  "step</th></tr></thead>\n<tbody>\n");
    for (int i = 0; i < decision->layers; i++) {
        const struct bl_decision_layer_result *layer = &decision->layer[i];
        char drift[32] = "–";
        if (isfinite(layer->drift)) snprintf(drift, sizeof drift, "%.2g", layer->drift);
        bl_html(html, "<tr><td>");
        bl_html_text(html, layer->name);
        bl_html(html, "</td>");
        bl_html_cell(html, layer->interval, bl_ms(layer->interval));
        bl_html_cell(html, layer->refresh_ms, bl_ms(layer->refresh_ms));
        bl_html_cell(html, layer->drift, drift);
        bl_html(html, "</tr>\n");
    }
    bl_html(html, "</tbody></table></div></details>\n");
}

void bl_html_budget(struct bl_html *html, const struct bl_pair_result *pair, const struct bl_run_result *run) {
    const struct bl_budget_result *budget = &run->budget;
    if (isnan(budget->budget_pct)) return;
    bl_html(html, "<h3>The overhead budget of %.4g&nbsp;%%</h3>\n", budget->budget_pct);
    if (!budget->decisions) {
        bl_html(html,
                "<p>The run ended before anything was decided: its first steps refresh every layer, or measure.</p>\n");
        return;
    }
    bl_html(html, "<p>By the clock, %s over all steps, those before the first decision and every refresh included",
            bl_percent(pair->overhead_mean_pct));
    if (pair->bound_steps > 0)
        bl_html(html, ", and %s in the %s steps after the first decision", bl_percent(pair->overhead_bound_pct),
                bl_whole(pair->bound_steps));
    bl_html(html, ". The baseline is ");
    bl_html_text(html, budget->baseline);
    bl_html(html, ".</p>\n<div class=\"scroll\" tabindex=\"0\"><table "
                  "class=\"sort\"><thead><tr><th>step</th><th>reason</th><th>base step ms</th>"
                  "<th>BN step ms</th><th>for refreshes ms</th><th>steps between refreshes</th><th>least "
                  "possible</th><th>held so far</th></tr>"
                  "</thead>\n<tbody>\n");
    for (int i = 0; i < budget->decisions; i++) put_decision(html, &budget->decision[i]);
    bl_html(html, "</tbody></table></div>\n");
    put_layers(html, &budget->decision[budget->decisions - 1]);
}
