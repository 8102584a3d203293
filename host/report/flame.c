/* The time of a step as a flame: the step, its phases, and in each phase the layers, with batch norm and with
 * deconvolution to one scale. Each phase opens to its layers' bars, which needs no script. */
#include "html.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 12 }; // layers of an opened phase; what the others take is one row

static double phase_ms(const struct bl_pair_result *pair, int phase, bool nd) {
    double ms = 0;
    for (int i = 0; i < pair->rows; i++) ms += nd ? pair->row[i].nd[phase] : pair->row[i].bn[phase];
    return ms;
}

static double step_ms(const struct bl_pair_result *pair, bool nd) {
    double ms = 0;
    for (int p = 0; p < BL_PHASES; p++) ms += phase_ms(pair, p, nd);
    return ms;
}

static void put_box(struct bl_html *html, int phase, double at, double width, int level, const char *layer, double ms) {
    bl_html(html, "<rect class=\"%s\" x=\"%.3f%%\" width=\"%.3f%%\" y=\"%d%%\" height=\"48%%\"><title>",
            bl_phase_css(phase), at, width, 52 * level);
    bl_html_text(html, layer);
    bl_html(html, "%s%s: %s ms</title></rect>", *layer ? ", " : "", bl_phase_label(phase), bl_ms(ms));
}

/* Phases above, the layers of each below it. */
static void put_flame(struct bl_html *html, const struct bl_pair_result *pair, bool nd, double scale) {
    const char *who = nd ? "ND" : "BN";
    double at = 0;
    bl_html(html, "<div class=\"who\">%s</div><svg role=\"img\" aria-label=\"%s, a step of %s ms by phase and layer\">",
            who, who, bl_ms(step_ms(pair, nd)));
    for (int p = 0; p < BL_PHASES; p++) {
        const double ms = phase_ms(pair, p, nd);
        double inner = at;
        if (!(ms > 0)) continue;
        put_box(html, p, at, bl_percent_of(ms, scale), 0, "", ms);
        for (int i = 0; i < pair->rows; i++) {
            const double part = nd ? pair->row[i].nd[p] : pair->row[i].bn[p], width = bl_percent_of(part, scale);
            if (width >= 0.05) put_box(html, p, inner, fmax(width - 0.08, 0.04), 1, pair->row[i].name, part);
            inner += part > 0 ? width : 0;
        }
        at += bl_percent_of(ms, scale);
    }
    bl_html(html, "</svg><div class=\"ms\">%s</div>\n", bl_ms(step_ms(pair, nd)));
}

/* --- a phase, opened -------------------------------------------------------------------------- */

static double largest_of(const struct bl_pair_row *row, int phase) {
    return fmax(row->bn[phase], row->nd[phase]);
}

struct order {
    const struct bl_pair_row *row;
    double ms;
};

static int by_time(const void *a, const void *b) {
    const double x = ((const struct order *)a)->ms, y = ((const struct order *)b)->ms;
    return (x < y) - (x > y);
}

static void put_bars(struct bl_html *html, const char *name, int phase, double bn, double nd, double scale) {
    const double both[2] = {bn, nd};
    bl_html(html, "<div class=\"name\">");
    bl_html_text(html, name);
    bl_html(html, "</div>");
    for (int k = 0; k < 2; k++) {
        double phases[BL_PHASES] = {0};
        phases[phase] = both[k];
        bl_html(html, "<div class=\"who\">%s</div>", k ? "ND" : "BN");
        bl_html_bar(html, k ? "ND" : "BN", phases, scale);
    }
    bl_html(html, "<div class=\"gap\"></div>\n");
}

static int put_layers(struct bl_html *html, const struct bl_pair_result *pair, int phase) {
    struct order *order = bl_calloc((size_t)pair->rows + 1, sizeof *order);
    double bn = 0, nd = 0;
    int count = 0;
    if (!order) return BLANCH_ENOMEM;
    for (int i = 0; i < pair->rows; i++)
        if (largest_of(&pair->row[i], phase) > 0)
            order[count++] = (struct order){&pair->row[i], largest_of(&pair->row[i], phase)};
    qsort(order, (size_t)count, sizeof *order, by_time);
    bl_html(html, "<div class=\"bars\">\n");
    for (int i = 0; i < count; i++) {
        const struct bl_pair_row *row = order[i].row;
        if (i < SHOWN)
            put_bars(html, row->name, phase, row->bn[phase], row->nd[phase], order[0].ms);
        else
            bn += row->bn[phase], nd += row->nd[phase];
    }
    if (count > SHOWN) {
        char text[40];
        snprintf(text, sizeof text, "%d others", count - SHOWN);
        put_bars(html, text, phase, bn, nd, fmax(order[0].ms, fmax(bn, nd)));
    }
    bl_html(html, "</div>");
    free(order);
    return html->error;
}

static void put_phase(struct bl_html *html, const struct bl_pair_result *pair, int phase) {
    const double bn = phase_ms(pair, phase, false), nd = phase_ms(pair, phase, true);
    if (!(bn > 0) && !(nd > 0)) return;
    bl_html(html,
            "<details class=\"phase\"><summary><svg class=\"swatch\" aria-hidden=\"true\"><rect class=\"%s\" "
            "width=\"100%%\" height=\"100%%\"/></svg> <span class=\"what\">%s</span> <span class=\"soft\">BN %s, ND %s "
            "ms</span> <b>%s</b>"
            "</summary>\n",
            bl_phase_css(phase), bl_phase_label(phase), bl_ms(bn), bl_ms(nd), bl_signed_ms(nd - bn));
    if (!html->error) html->error = put_layers(html, pair, phase);
    bl_html(html, "</details>\n");
}

void bl_html_flame(struct bl_html *html, const struct bl_pair_result *pair) {
    const double scale = fmax(step_ms(pair, false), step_ms(pair, true));
    if (!(scale > 0)) return;
    bl_html(html, "<h3>A step by phase and layer, milliseconds</h3>\n<p class=\"soft\">Above the phases, below the "
                  "layers of each. A phase opens to its layers, the slowest first.</p>\n<div class=\"flame\">\n");
    put_flame(html, pair, false, scale);
    put_flame(html, pair, true, scale);
    bl_html(html, "</div>\n");
    for (int p = 0; p < BL_PHASES; p++) put_phase(html, pair, p);
}
