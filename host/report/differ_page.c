/* What may be compared of several documents, as a section of a page. */
#include "html.h"
#include "differ.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void put_source(struct bl_html *html, const struct bl_repeats *group) {
    bl_html(html, "<td class=\"wide soft\">");
    bl_html_text(html, group->result->source);
    if (group->count > 1) bl_html(html, ", and %d more", group->count - 1);
    bl_html(html, "</td>");
}

static void put_verdict(struct bl_html *html, const struct bl_difference *d) {
    if (d->against.run)
        put_source(html, &d->against);
    else
        bl_html(html, "<td>–</td>");
    bl_html_cell(html, d->pct, isnan(d->pct) ? "–" : bl_percent(d->pct));
    bl_html(html, "<td class=\"wide\">");
    if (*d->why) bl_html(html, "not comparable: ");
    bl_html_text(html, d->why);
    if (!*d->why && d->against.run)
        bl_html(html, "%s",
                isnan(fmax(d->of.spread_pct, d->against.spread_pct)) ? "of unknown spread"
                : bl_difference_is_none(d)                           ? "none: within the spread"
                                                                     : "beyond the spread");
    bl_html(html, "</td>");
}

static void put_row(struct bl_html *html, const struct bl_result *results, int count, const struct bl_difference *d) {
    const struct bl_repeats *of = &d->of;
    char label[120];
    bl_run_label(of->run, label, sizeof label);
    bl_html(html, "<tr><td>");
    bl_html_text(html, of->result->model);
    bl_html(html, " <span class=\"%s\">", strcmp(of->run->norm, "nd") ? "bn" : "nd");
    bl_html_text(html, label);
    bl_html(html, "</span></td><td class=\"wide\">");
    bl_html_device(html, results, count, of->result, of->run->device);
    bl_html(html, "</td>");
    put_source(html, of);
    bl_html_cell(html, of->count, bl_whole(of->count));
    bl_html_cell(html, of->ms, bl_ms(of->ms));
    bl_html_cell(html, of->spread_pct, isnan(of->spread_pct) ? "–" : bl_fixed(of->spread_pct, 1));
    put_verdict(html, d);
    bl_html(html, "</tr>\n");
}

/* Networks with another norm that no batch norm stands beside, and why. */
static void put_lonely(struct bl_html *html, const struct bl_result *results, int count) {
    for (int d = 0; d < count; d++)
        for (int r = 0; r < results[d].runs; r++) {
            const struct bl_run_result *run = &results[d].run[r];
            char why[400], label[120];
            if (!strcmp(run->norm, "bn") || bl_bn_beside(results, count, &results[d], run, why, sizeof why) || !*why)
                continue;
            bl_run_label(run, label, sizeof label);
            bl_html(html, "<p class=\"soft lonely\">");
            bl_html_text(html, results[d].model);
            bl_html(html, " ");
            bl_html_text(html, label);
            bl_html(html, " of ");
            bl_html_text(html, results[d].source);
            bl_html(html, " stands beside no batch norm: the nearest has ");
            bl_html_text(html, why);
            bl_html(html, ".</p>\n");
        }
}

int bl_html_differences(struct bl_html *html, const struct bl_result *results, int count) {
    struct bl_difference *list = NULL;
    int differences = 0, code = bl_differences(results, count, &list, &differences);
    if (code || !differences) return free(list), code;
    bl_html(html, "<h2>What may be compared</h2>\n<p>Each network and norm stands beside the first of its like, of "
                  "another document or device. The spread is that of repeated runs, from least to most, or between the "
                  "quartiles of a run’s steps; a difference below the wider of both is none.</p>\n"
                  "<div class=\"scroll\" tabindex=\"0\"><table class=\"sort\" id=\"differences\"><thead><tr>"
                  "<th>network</th><th class=\"wide\">device</th><th class=\"wide\">from</th><th>runs</th><th>ms</th>"
                  "<th>spread %%</th><th class=\"wide\">beside</th><th>difference</th><th class=\"wide\">is it one"
                  "</th></tr></thead>\n<tbody>\n");
    for (int i = 0; i < differences; i++) put_row(html, results, count, &list[i]);
    bl_html(html, "</tbody></table></div>\n");
    put_lonely(html, results, count);
    free(list);
    return html->error;
}
