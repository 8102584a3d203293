/* One device's part of a page: what each layer costs under batch normalisation and under network deconvolution. */
#include "html.h"
#include "ops/nd/phase.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *label, *css;
} styles[BL_PHASES] = {
    [BL_FORWARD] = {"convolution forward", "c1"},
    [BL_BACKWARD_DATA] = {"gradient of the input", "c2"},
    [BL_BACKWARD_WEIGHTS] = {"gradient of the weights", "c3"},
    [BL_COVARIANCE] = {"covariance", "w1"},
    [BL_INVERSE_SQRT] = {"inverse root", "w2"},
    [BL_FOLD] = {"folding", "w3"},
    [BL_WHITEN_BACKWARD] = {"whitening gradient", "w4"},
    [BL_NORM] = {"batch norm", "n"},
    [BL_ACTIVATION] = {"activation", "a"},
    [BL_POOL] = {"pooling", "p"},
    [BL_LOSS] = {"loss", "g1"},
    [BL_UPDATE] = {"update", "g2"},
    [BL_COMMUNICATE] = {"among ranks", "g6"},
    [BL_RECOMPUTE] = {"computed again", "r"},
    [BL_LOAD] = {"waiting for data", "g3"},
    [BL_WAIT] = {"device waits for host", "g4"},
    [BL_OTHER] = {"host, other", "g5"},
};

const char *bl_phase_label(int phase) {
    return styles[phase].label ? styles[phase].label : bl_phase_names[phase];
}

const char *bl_phase_css(int phase) {
    return styles[phase].css ? styles[phase].css : "w1";
}

/* The phases between convolution and activation have columns of their own; not every place among them is taken. */
enum { FIRST_OWN = BL_PHASE_OWN, LAST_OWN = BL_NORM };

struct row { // a layer, or all operations of one kind, or the step
    const char *name;
    int count; // rows added up
    bool layer;
    struct bl_pair_row sum;
};
struct rows {
    struct row *row;
    int count;
};

static struct row *row_for(struct rows *rows, const struct bl_pair_row *layer) {
    bool own = layer->role == BL_ROLE_LAYER, alone = own || !strcmp(layer->op, "(step)");
    for (int i = 0; !alone && i < rows->count; i++)
        if (!rows->row[i].layer && !strcmp(rows->row[i].name, layer->op)) return &rows->row[i];
    struct row *row = &rows->row[rows->count++];
    *row = (struct row){.name = alone ? layer->name : layer->op, .layer = own};
    snprintf(row->sum.bn_name, sizeof row->sum.bn_name, "%s", alone ? layer->bn_name : layer->op);
    return row;
}

static void add_row(struct bl_pair_row *sum, const struct bl_pair_row *row) {
    sum->bn_ms += row->bn_ms;
    sum->nd_ms += row->nd_ms;
    for (int p = 0; p < BL_PHASES; p++) {
        sum->bn[p] += row->bn[p];
        sum->nd[p] += row->nd[p];
    }
}

static int sum_rows(const struct bl_pair_result *pair, struct rows *rows) {
    rows->count = 0;
    if (!(rows->row = bl_calloc((size_t)pair->rows + 1, sizeof *rows->row))) return BLANCH_ENOMEM;
    for (int i = 0; i < pair->rows; i++) {
        struct row *row = row_for(rows, &pair->row[i]);
        row->count++;
        add_row(&row->sum, &pair->row[i]);
    }
    return 0;
}

static struct bl_pair_row all_rows(const struct rows *rows) {
    struct bl_pair_row all = {.role = -1};
    for (int r = 0; r < rows->count; r++) add_row(&all, &rows->row[r].sum);
    return all;
}

static double overhead_of(const struct row *row) {
    return row->sum.nd_ms - row->sum.bn_ms;
}

static double convolution_of(const struct bl_pair_row *row) {
    double sum = 0;
    for (int p = 0; p < FIRST_OWN; p++) sum += bl_pair_row_difference(row, p);
    return sum;
}

static void put_name(struct bl_html *html, const struct row *row) {
    bl_html_text(html, row->name);
    if (row->layer && *row->sum.bn_name && strcmp(row->name, row->sum.bn_name)) {
        bl_html(html, " <span class=\"soft\">/ ");
        bl_html_text(html, row->sum.bn_name);
        bl_html(html, "</span>");
    }
    if (row->count > 1) bl_html(html, " <span class=\"soft\">(%d)</span>", row->count);
}

/* --- the headline's "where" --------------------------------------------------------------------- */

/* Numbers that are shown add up: they are rounded first. */
static double rounded(double ms, int digits) {
    const double scale = pow(10, digits);
    return nearbyint(ms * scale) / scale;
}

static void add_part(struct bl_html *html, bool *first, const char *label, double ms, int digits) {
    if (ms == 0) return;
    bl_html(html, "%s%s&nbsp;%s%s", *first ? "" : ", ", label, ms < 0 ? "−" : "+", bl_fixed(fabs(ms), digits));
    *first = false;
}

/* What the recorded steps say, part by part, and their sum; the headline's steps are others, whose medians differ a
 * little. */
static void put_where(struct bl_html *html, const struct rows *rows, double overhead) {
    struct bl_pair_row all = all_rows(rows);
    const struct row *most = NULL;
    double rest = 0, part[LAST_OWN + 1] = {0}, sum = 0;
    bool first = true;
    for (int r = 0; r < rows->count; r++)
        if (rows->row[r].layer && (!most || overhead_of(&rows->row[r]) > overhead_of(most))) most = &rows->row[r];
    const int digits = fabs(overhead) < 1 ? 3 : fabs(overhead) < 100 ? 2 : 1;
    for (int p = LAST_OWN + 1; p < BL_PHASES; p++) rest += bl_pair_row_difference(&all, p);
    for (int p = FIRST_OWN; p <= LAST_OWN; p++)
        if (bl_phase_names[p]) sum += part[p] = rounded(bl_pair_row_difference(&all, p), digits);
    const double convolution = rounded(convolution_of(&all), digits);
    rest = rounded(rest, digits);
    sum += convolution + rest;
    bl_html(html,
            "<p>Network deconvolution adds <b>%s&nbsp;ms</b> to a training step on this device. By layers and phases, "
            "in the steps that were recorded, %s%s&nbsp;ms: ",
            bl_signed_ms(overhead), sum < 0 ? "−" : "+", bl_fixed(fabs(sum), digits));
    for (int p = FIRST_OWN; p <= LAST_OWN; p++)
        if (bl_phase_names[p]) add_part(html, &first, bl_phase_label(p), part[p], digits);
    add_part(html, &first, "convolutions", convolution, digits);
    add_part(html, &first, "the rest", rest, digits);
    bl_html(html, ".");
    if (most && overhead > 0 && overhead_of(most) > 0) {
        bl_html(html, " The layer that pays most is <b>");
        bl_html_text(html, most->name);
        bl_html(html, "</b>, %s&nbsp;ms.", bl_signed_ms(overhead_of(most)));
    }
    bl_html(html, "</p>\n");
}

/* The flame and the tables are of recorded steps, the headline is not: on a busy machine they contradict one another.
 * Where steps differ by plan, so do the few that are recorded. */
static void put_recorded(struct bl_html *html, const struct rows *rows, const struct bl_pair_result *pair) {
    const struct bl_pair_row all = all_rows(rows);
    const double recorded = all.nd_ms / all.bn_ms, apart = recorded / (1 + bl_pair_overhead(pair) / 100);
    if (bl_pair_varies(pair) || !(recorded > 0) || !isfinite(apart) || (apart < 1.1 && apart > 1 / 1.1)) return;
    bl_html(html,
            "<p class=\"recorded\">The recorded steps, whose parts stand below, say <b>%s</b>: recording, or noise "
            "of the machine, is the reason.</p>\n",
            bl_percent(100 * (recorded - 1)));
}

/* --- bars ----------------------------------------------------------------------------------------- */

void bl_html_bar(struct bl_html *html, const char *who, const double *phases, double scale) {
    double at = 0, ms = 0;
    for (int p = 0; p < BL_PHASES; p++) ms += phases[p];
    bl_html(html, "<svg role=\"img\" aria-label=\"%s%s%s ms\">", who, *who ? " " : "", bl_ms(ms));
    for (int p = 0; p < BL_PHASES; p++) {
        double width = bl_percent_of(phases[p], scale);
        if (!(width >= 0.005)) continue;
        bl_html(html,
                "<rect class=\"%s\" x=\"%.2f%%\" width=\"%.2f%%\" height=\"100%%\"><title>%s: %s ms</title></rect>",
                bl_phase_css(p), at, width, bl_phase_label(p), bl_ms(phases[p]));
        at += width;
    }
    bl_html(html, "</svg><div class=\"ms\">%s</div>", bl_ms(ms));
}

void bl_html_legend(struct bl_html *html, const double *ms) {
    bl_html(html, "<ul class=\"legend\">");
    for (int p = 0; p < BL_PHASES; p++)
        if (ms[p] > 0)
            bl_html(html,
                    "<li><svg class=\"swatch\"><rect class=\"%s\" width=\"100%%\" height=\"100%%\"/></svg>%s</li>",
                    bl_phase_css(p), bl_phase_label(p));
    bl_html(html, "</ul>\n");
}

static void put_bars(struct bl_html *html, const struct rows *rows) {
    struct bl_pair_row all = all_rows(rows);
    double scale = 0, both[BL_PHASES];
    for (int r = 0; r < rows->count; r++) scale = fmax(scale, fmax(rows->row[r].sum.bn_ms, rows->row[r].sum.nd_ms));
    for (int p = 0; p < BL_PHASES; p++) both[p] = all.bn[p] + all.nd[p];
    if (!(scale > 0)) return;
    bl_html(html, "<h3>Each layer, milliseconds a step</h3>\n");
    bl_html_legend(html, both);
    bl_html(html, "<div class=\"bars\">\n");
    for (int r = 0; r < rows->count; r++) {
        const struct row *row = &rows->row[r];
        if (!row->layer && fmax(row->sum.bn_ms, row->sum.nd_ms) < scale / 200) continue;
        bl_html(html, "<div class=\"name\">");
        put_name(html, row);
        bl_html(html, "</div><div class=\"who\">BN</div>");
        bl_html_bar(html, "BN", row->sum.bn, scale);
        bl_html(html, "<div class=\"who\">ND</div>");
        bl_html_bar(html, "ND", row->sum.nd, scale);
        bl_html(html, "<div class=\"gap\"></div>\n");
    }
    bl_html(html, "</div>\n");
}

/* --- tables --------------------------------------------------------------------------------------- */

static void put_cell(struct bl_html *html, double value, const char *text) {
    bl_html_cell(html, isfinite(value) ? value : 0, text);
}

static void put_layer_cells(struct bl_html *html, const struct bl_pair_row *row) {
    double over = row->nd_ms - row->bn_ms, percent = row->bn_ms > 0 ? bl_percent_of(over, row->bn_ms) : NAN;
    put_cell(html, row->bn_ms, bl_ms(row->bn_ms));
    put_cell(html, row->nd_ms, bl_ms(row->nd_ms));
    bl_html(html, "<td class=\"strong\" data-v=\"%.6g\">%s</td>", isfinite(over) ? over : 0, bl_signed_ms(over));
    put_cell(html, percent, bl_percent(percent));
    put_cell(html, convolution_of(row), bl_signed_ms(convolution_of(row)));
    for (int p = FIRST_OWN; p <= LAST_OWN; p++)
        if (bl_phase_names[p])
            put_cell(html, bl_pair_row_difference(row, p), bl_signed_ms(bl_pair_row_difference(row, p)));
}

static void put_layer_table(struct bl_html *html, const struct rows *rows) {
    struct bl_pair_row all = all_rows(rows);
    bl_html(
        html,
        "<h3>Table of layers</h3>\n<p class=\"soft\">Milliseconds a step; after the overhead, ND minus BN by phase. "
        "A batch norm counts to the convolution that it follows, or precedes before activation.</p>\n<div "
        "class=\"scroll\" tabindex=\"0\"><table class=\"sort\">"
        "<thead><tr><th>layer</th><th>BN</th><th>ND</th>"
        "<th>overhead</th><th>%%</th><th>convolution</th>");
    for (int p = FIRST_OWN; p <= LAST_OWN; p++)
        if (bl_phase_names[p]) bl_html(html, "<th>%s</th>", bl_phase_label(p));
    bl_html(html, "</tr></thead>\n<tbody>\n");
    for (int r = 0; r < rows->count; r++) {
        bl_html(html, "<tr><td data-v=\"%d\">", r);
        put_name(html, &rows->row[r]);
        bl_html(html, "</td>");
        put_layer_cells(html, &rows->row[r].sum);
        bl_html(html, "</tr>\n");
    }
    bl_html(html, "</tbody>\n<tfoot><tr><td>all rows</td>");
    put_layer_cells(html, &all);
    bl_html(html, "</tr></tfoot></table></div>\n");
}

static void put_phase_table(struct bl_html *html, const struct rows *rows) {
    struct bl_pair_row all = all_rows(rows);
    bl_html(
        html,
        "<h3>The step by phase</h3>\n<div class=\"scroll\" tabindex=\"0\"><table class=\"sort\"><thead><tr><th>phase"
        "</th><th>BN ms</th><th>ND ms</th><th>difference</th></tr></thead>\n<tbody>\n");
    for (int p = 0; p < BL_PHASES; p++) {
        if (all.bn[p] <= 0 && all.nd[p] <= 0) continue;
        bl_html(html, "<tr><td data-v=\"%d\">%s</td>", p, bl_phase_label(p));
        put_cell(html, all.bn[p], bl_ms(all.bn[p]));
        put_cell(html, all.nd[p], bl_ms(all.nd[p]));
        put_cell(html, all.nd[p] - all.bn[p], bl_signed_ms(all.nd[p] - all.bn[p]));
        bl_html(html, "</tr>\n");
    }
    bl_html(html, "</tbody></table></div>\n");
}

/* --- the section ---------------------------------------------------------------------------------- */

static void put_card(struct bl_html *html, const char *label, const char *value, const char *detail) {
    bl_html(html,
            "<li><span class=\"label\">%s</span><span class=\"value\">%s</span><span class=\"detail\">%s</span></li>\n",
            label, value, detail);
}

/* What batch norm learns at its best rate, where there are several. */
static const struct bl_run_result *best_bn(const struct bl_result *result, const struct bl_run_result *bn) {
    for (int r = 0; r < result->runs; r++)
        if (result->run[r].device == bn->device && result->run[r].best == 1) return &result->run[r];
    return bn;
}

static void put_result_card(struct bl_html *html, const struct bl_run_result *bn, const struct bl_run_result *nd) {
    char value[200], detail[160], rates[80] = "";
    if (!isnan(bn->update.lr) && !isnan(nd->update.lr))
        snprintf(rates, sizeof rates, ", learning rates %.6g and %.6g", bn->update.lr, nd->update.lr);
    double a = bl_test_top1(bn), b = bl_test_top1(nd);
    if (!isnan(a) && !isnan(b)) {
        snprintf(value, sizeof value, "<i class=\"bn\">%s</i> <i class=\"to\">/</i> <i class=\"nd\">%s</i>&nbsp;%%",
                 bl_fixed(a, 1), bl_fixed(b, 1));
        snprintf(detail, sizeof detail, "after %d epoch%s%s", bn->epochs, bn->epochs == 1 ? "" : "s", rates);
        put_card(html, "Test accuracy, BN and ND", value, detail);
    } else if (!isnan(bn->last_loss) && !isnan(nd->last_loss)) {
        snprintf(value, sizeof value, "<i class=\"bn\">%s</i> <i class=\"to\">/</i> <i class=\"nd\">%s</i>",
                 bl_fixed(bn->last_loss, 3), bl_fixed(nd->last_loss, 3));
        snprintf(detail, sizeof detail, "mean of the last tenth of the steps%s", rates);
        put_card(html, "Last training loss, BN and ND", value, detail);
    }
}

static void put_cards(struct bl_html *html, const struct bl_result *result, const struct bl_pair_result *pair,
                      const struct bl_run_result *bn, const struct bl_run_result *nd) {
    char value[200], detail[160];
    bool varies = bl_pair_varies(pair);
    bl_html(html, "<ul class=\"cards\">\n");
    snprintf(value, sizeof value, "%s", bl_percent(bl_pair_overhead(pair)));
    snprintf(detail, sizeof detail, "ND %s ms, BN %s ms, %s, batch %s",
             bl_ms(varies ? pair->nd_mean_ms : pair->nd_step_ms), bl_ms(varies ? pair->bn_mean_ms : pair->bn_step_ms),
             varies ? "means of all steps" : "medians", bl_fixed(result->batch, 0));
    put_card(html, "ND’s training step beside BN’s", value, detail);
    put_result_card(html, best_bn(result, bn), nd);
    snprintf(value, sizeof value, "<i class=\"bn\">%s</i> <i class=\"to\">/</i> <i class=\"nd\">%s</i>&nbsp;ms",
             bl_ms(bn->inference_ms), bl_ms(nd->inference_ms));
    snprintf(detail, sizeof detail, "ND is folded into the weights: %s",
             bl_percent(bl_percent_more(nd->inference_ms, bn->inference_ms)));
    if (!isnan(bn->inference_ms) && !isnan(nd->inference_ms))
        put_card(html, "Inference of a batch, BN and ND", value, detail);
    snprintf(value, sizeof value, "<i class=\"bn\">%s</i> <i class=\"to\">/</i> <i class=\"nd\">%s</i>",
             bl_whole(bn->images_per_s), bl_whole(nd->images_per_s));
    put_card(html, "Training images a second, BN and ND", value, "median step");
    bl_html(html, "</ul>\n");
}

/* What it brings, as far as the runs say. */
static void put_brings(struct bl_html *html, const struct bl_run_result *bn, const struct bl_run_result *nd) {
    const double a = bl_test_top1(bn), b = bl_test_top1(nd);
    if (isnan(a) || isnan(b)) return;
    bl_html(html,
            "<p>After %d epoch%s it has <b class=\"nd\">%s&nbsp;%%</b> of the held-out images right, batch norm%s <b "
            "class=\"bn\">%s&nbsp;%%</b>.</p>\n",
            nd->epochs, nd->epochs == 1 ? "" : "s", bl_fixed(b, 2), bn->best == 1 ? " at its best rate" : "",
            bl_fixed(a, 2));
}

void bl_html_pair(struct bl_html *html, const struct bl_result *result, const struct bl_pair_result *pair, bool many) {
    const struct bl_run_result *bn = bl_result_run(result, pair->device, "bn", NULL);
    const struct bl_run_result *nd = bl_result_run(result, pair->device, "nd", pair->setting);
    const bool first = pair == result->pair || pair[-1].device != pair->device;
    double overhead = bl_pair_varies(pair) ? pair->nd_mean_ms - pair->bn_mean_ms : pair->nd_step_ms - pair->bn_step_ms;
    struct rows rows;
    if (!bn || !nd) return; // a document cut by hand
    if ((html->error = html->error ? html->error : sum_rows(pair, &rows))) return;
    if (many) {
        bl_html(html, "<h2>");
        bl_html_text(html, result->device[pair->device].label);
        if (*pair->setting) bl_html(html, ", ND ");
        bl_html_text(html, pair->setting);
        bl_html(html, "</h2>\n");
    } else
        bl_html(html, "<h2>What it costs, where, and what it brings</h2>\n");
    put_cards(html, result, pair, bn, nd);
    put_recorded(html, &rows, pair);
    put_where(html, &rows, overhead);
    put_brings(html, best_bn(result, bn), nd);
    bl_html_budget(html, pair, nd);
    if (first) bl_html_curves(html, result, pair->device);
    bl_html_flame(html, pair);
    put_bars(html, &rows);
    put_layer_table(html, &rows);
    put_phase_table(html, &rows);
    if (first) bl_html_run(html, bn, false);
    bl_html_run(html, nd, false);
    free(rows.row);
}
