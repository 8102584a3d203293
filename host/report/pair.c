/* One device's part of a page: what each layer costs under batch normalisation and under network deconvolution. */
#include "html.h"
#include "report.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PHASES = 15, COVARIANCE = 3, NORM = 7 };

const struct bl_phase_style bl_phase_styles[PHASES + 1] = {
    {"forward", "convolution forward", "c1"},
    {"backward_data", "gradient of the input", "c2"},
    {"backward_weights", "gradient of the weights", "c3"},
    {"covariance", "covariance", "w1"},
    {"inverse_sqrt", "inverse root", "w2"},
    {"fold", "folding", "w3"},
    {"whiten_backward", "whitening gradient", "w4"},
    {"norm", "batch norm", "n"},
    {"activation", "activation", "a"},
    {"pool", "pooling", "p"},
    {"loss", "loss", "g1"},
    {"update", "update", "g2"},
    {"load", "waiting for data", "g3"},
    {"wait", "device waits for host", "g4"},
    {"other", "host, other", "g5"},
    {NULL, NULL, NULL},
};

struct row { // a layer, or all operations of one kind, or the step
    const char *name, *other_name;
    int count; // nodes added up
    bool layer;
    double bn_ms, nd_ms, bn[PHASES], nd[PHASES];
};
struct rows {
    struct row *row;
    int count;
};

static double add_phases(double *sum, const cJSON *phases) {
    double all = 0;
    for (int p = 0; p < PHASES; p++) {
        double ms = bl_json_get(phases, bl_phase_styles[p].name);
        if (isnan(ms)) continue;
        sum[p] += ms;
        all += ms;
    }
    return all;
}

static bool is_layer(const char *op) {
    return strstr(op, "conv2d") || strstr(op, "linear");
}

static struct row *row_for(struct rows *rows, const cJSON *layer) {
    const char *name = bl_json_text(layer, "name"), *op = bl_json_text(layer, "op");
    bool alone = is_layer(op) || !strcmp(name, "(step)");
    for (int i = 0; !alone && i < rows->count; i++)
        if (!rows->row[i].layer && !strcmp(rows->row[i].name, op)) return &rows->row[i];
    struct row *row = &rows->row[rows->count++];
    row->name = alone ? name : op;
    row->other_name = alone ? bl_json_text(layer, "bn_name") : op;
    row->layer = is_layer(op);
    return row;
}

static int read_rows(const cJSON *pair, struct rows *rows) {
    const cJSON *layers = cJSON_GetObjectItemCaseSensitive(pair, "layers"), *layer;
    rows->count = 0;
    rows->row = bl_calloc((size_t)cJSON_GetArraySize(layers) + 1, sizeof *rows->row);
    if (!rows->row) return BLANCH_ENOMEM;
    cJSON_ArrayForEach(layer, layers) {
        struct row *row = row_for(rows, layer);
        row->count++;
        row->bn_ms += bl_json_get(layer, "bn_ms");
        row->nd_ms += bl_json_get(layer, "nd_ms");
        add_phases(row->bn, cJSON_GetObjectItemCaseSensitive(layer, "bn_phases"));
        add_phases(row->nd, cJSON_GetObjectItemCaseSensitive(layer, "nd_phases"));
    }
    return 0;
}

static void put_name(struct bl_html *html, const struct row *row) {
    bl_html_text(html, row->name);
    if (row->layer && *row->other_name && strcmp(row->name, row->other_name)) {
        bl_html(html, " <span class=\"soft\">/ ");
        bl_html_text(html, row->other_name);
        bl_html(html, "</span>");
    }
    if (row->count > 1) bl_html(html, " <span class=\"soft\">(%d)</span>", row->count);
}

/* --- the headline's "where" --------------------------------------------------------------------- */

static void add_part(struct bl_html *html, bool *first, const char *label, double ms) {
    if (fabs(ms) < 0.005) return;
    bl_html(html, "%s%s&nbsp;%s", *first ? "" : ", ", label, bl_signed_ms(ms));
    *first = false;
}

static void put_where(struct bl_html *html, const struct rows *rows, double overhead) {
    double difference[PHASES] = {0}, rest = 0;
    const struct row *most = NULL;
    for (int r = 0; r < rows->count; r++) {
        const struct row *row = &rows->row[r];
        for (int p = 0; p < PHASES; p++) difference[p] += row->nd[p] - row->bn[p];
        if (row->layer && (!most || row->nd_ms - row->bn_ms > most->nd_ms - most->bn_ms)) most = row;
    }
    bool first = true;
    bl_html(html, "<p>Network deconvolution adds <b>%s&nbsp;ms</b> to a training step on this device. Where: ",
            bl_signed_ms(overhead));
    for (int p = COVARIANCE; p <= NORM; p++) add_part(html, &first, bl_phase_styles[p].label, difference[p]);
    add_part(html, &first, "convolutions", difference[0] + difference[1] + difference[2]);
    for (int p = NORM + 1; p < PHASES; p++) rest += difference[p];
    add_part(html, &first, "the rest", rest);
    bl_html(html, ".");
    if (most && overhead > 0 && most->nd_ms > most->bn_ms) {
        bl_html(html, " The layer that pays most is <b>");
        bl_html_text(html, most->name);
        bl_html(html, "</b>, %s&nbsp;ms.", bl_signed_ms(most->nd_ms - most->bn_ms));
    }
    bl_html(html, "</p>\n");
}

/* --- bars ----------------------------------------------------------------------------------------- */

static void put_bar(struct bl_html *html, const char *who, const double *phases, double ms, double scale) {
    double at = 0;
    bl_html(html, "<div class=\"who\">%s</div><svg role=\"img\" aria-label=\"%s %s ms\">", who, who, bl_ms(ms));
    for (int p = 0; p < PHASES; p++) {
        double width = 100 * phases[p] / scale;
        if (width < 0.005) continue;
        bl_html(html,
                "<rect class=\"%s\" x=\"%.2f%%\" width=\"%.2f%%\" height=\"100%%\"><title>%s: %s ms</title></rect>",
                bl_phase_styles[p].css, at, width, bl_phase_styles[p].label, bl_ms(phases[p]));
        at += width;
    }
    bl_html(html, "</svg><div class=\"ms\">%s</div>", bl_ms(ms));
}

static void put_bars(struct bl_html *html, const struct rows *rows) {
    double scale = 0, sum[PHASES] = {0};
    for (int r = 0; r < rows->count; r++) {
        scale = fmax(scale, fmax(rows->row[r].bn_ms, rows->row[r].nd_ms));
        for (int p = 0; p < PHASES; p++) sum[p] += rows->row[r].bn[p] + rows->row[r].nd[p];
    }
    if (!(scale > 0)) return;
    bl_html(html, "<h3>Each layer, milliseconds a step</h3>\n<ul class=\"legend\">");
    for (int p = 0; p < PHASES; p++)
        if (sum[p] > 0)
            bl_html(html,
                    "<li><svg class=\"swatch\"><rect class=\"%s\" width=\"100%%\" height=\"100%%\"/></svg>%s</li>",
                    bl_phase_styles[p].css, bl_phase_styles[p].label);
    bl_html(html, "</ul>\n<div class=\"bars\">\n");
    for (int r = 0; r < rows->count; r++) {
        if (!rows->row[r].layer && fmax(rows->row[r].bn_ms, rows->row[r].nd_ms) < scale / 200) continue;
        bl_html(html, "<div class=\"name\">");
        put_name(html, &rows->row[r]);
        bl_html(html, "</div>");
        put_bar(html, "BN", rows->row[r].bn, rows->row[r].bn_ms, scale);
        put_bar(html, "ND", rows->row[r].nd, rows->row[r].nd_ms, scale);
        bl_html(html, "<div class=\"gap\"></div>\n");
    }
    bl_html(html, "</div>\n");
}

/* --- tables --------------------------------------------------------------------------------------- */

static void put_cell(struct bl_html *html, double value, const char *text) {
    bl_html(html, "<td data-v=\"%.6g\">%s</td>", isfinite(value) ? value : 0, text);
}

static void put_layer_cells(struct bl_html *html, const struct row *row) {
    double over = row->nd_ms - row->bn_ms, convolution = 0;
    for (int p = 0; p < COVARIANCE; p++) convolution += row->nd[p] - row->bn[p];
    put_cell(html, row->bn_ms, bl_ms(row->bn_ms));
    put_cell(html, row->nd_ms, bl_ms(row->nd_ms));
    bl_html(html, "<td class=\"strong\" data-v=\"%.6g\">%s</td>", over, bl_signed_ms(over));
    double percent = row->bn_ms > 0 ? 100 * over / row->bn_ms : NAN;
    put_cell(html, percent, bl_percent(percent));
    put_cell(html, convolution, bl_signed_ms(convolution));
    for (int p = COVARIANCE; p <= NORM; p++)
        put_cell(html, row->nd[p] - row->bn[p], bl_signed_ms(row->nd[p] - row->bn[p]));
}

static void put_layer_table(struct bl_html *html, const struct rows *rows) {
    struct row all = {.name = "all"};
    bl_html(
        html,
        "<h3>Table of layers</h3>\n<p class=\"soft\">Milliseconds a step; after the overhead, ND minus BN by phase. "
        "A batch norm counts to the convolution that it follows, or precedes before activation.</p>\n<div "
        "class=\"scroll\" tabindex=\"0\"><table class=\"sort\">"
        "<thead><tr><th>layer</th><th>BN</th><th>ND</th>"
        "<th>overhead</th><th>%%</th><th>convolution</th>");
    for (int p = COVARIANCE; p <= NORM; p++) bl_html(html, "<th>%s</th>", bl_phase_styles[p].label);
    bl_html(html, "</tr></thead>\n<tbody>\n");
    for (int r = 0; r < rows->count; r++) {
        const struct row *row = &rows->row[r];
        bl_html(html, "<tr><td data-v=\"%d\">", r);
        put_name(html, row);
        bl_html(html, "</td>");
        put_layer_cells(html, row);
        bl_html(html, "</tr>\n");
        all.bn_ms += row->bn_ms;
        all.nd_ms += row->nd_ms;
        for (int p = 0; p < PHASES; p++) {
            all.bn[p] += row->bn[p];
            all.nd[p] += row->nd[p];
        }
    }
    bl_html(html, "</tbody>\n<tfoot><tr><td>all rows</td>");
    put_layer_cells(html, &all);
    bl_html(html, "</tr></tfoot></table></div>\n");
}

static void put_phase_table(struct bl_html *html, const struct rows *rows) {
    bl_html(
        html,
        "<h3>The step by phase</h3>\n<div class=\"scroll\" tabindex=\"0\"><table class=\"sort\"><thead><tr><th>phase"
        "</th><th>BN ms</th><th>ND ms</th><th>difference</th></tr></thead>\n<tbody>\n");
    for (int p = 0; p < PHASES; p++) {
        double bn = 0, nd = 0;
        for (int r = 0; r < rows->count; r++) {
            bn += rows->row[r].bn[p];
            nd += rows->row[r].nd[p];
        }
        if (bn <= 0 && nd <= 0) continue;
        bl_html(html, "<tr><td data-v=\"%d\">%s</td>", p, bl_phase_styles[p].label);
        put_cell(html, bn, bl_ms(bn));
        put_cell(html, nd, bl_ms(nd));
        put_cell(html, nd - bn, bl_signed_ms(nd - bn));
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

static void put_result_card(struct bl_html *html, const cJSON *bn, const cJSON *nd) {
    char value[200], detail[120];
    double a = bl_json_get(bl_last_epoch(bn), "test_top1"), b = bl_json_get(bl_last_epoch(nd), "test_top1");
    int epochs = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(bn, "epochs"));
    const char *label = "Test accuracy, BN and ND";
    if (isnan(a) || isnan(b)) {
        label = "Last training loss, BN and ND";
        a = bl_json_get(bn, "last_loss");
        b = bl_json_get(nd, "last_loss");
        if (isnan(a) || isnan(b)) return;
        snprintf(value, sizeof value, "<i class=\"bn\">%.3f</i> <i class=\"to\">/</i> <i class=\"nd\">%.3f</i>", a, b);
        snprintf(detail, sizeof detail, "mean of the last tenth of the steps");
    } else {
        snprintf(value, sizeof value, "<i class=\"bn\">%.1f</i> <i class=\"to\">/</i> <i class=\"nd\">%.1f</i>&nbsp;%%",
                 a, b);
        snprintf(detail, sizeof detail, "after %d epoch%s", epochs, epochs == 1 ? "" : "s");
    }
    put_card(html, label, value, detail);
}

static double pair_ms(const cJSON *pair, const char *norm) {
    char key[32];
    snprintf(key, sizeof key, "%s_%s_ms", norm, bl_pair_varies(pair) ? "mean" : "step");
    return bl_json_get(pair, key);
}

static void put_cards(struct bl_html *html, const cJSON *document, const cJSON *pair, const cJSON *bn,
                      const cJSON *nd) {
    char value[200], detail[160];
    double a = pair_ms(pair, "bn"), b = pair_ms(pair, "nd");
    bl_html(html, "<ul class=\"cards\">\n");
    snprintf(value, sizeof value, "%s", bl_percent(bl_pair_overhead(pair)));
    snprintf(detail, sizeof detail, "ND %s ms, BN %s ms, %s, batch %.0f", bl_ms(b), bl_ms(a),
             bl_pair_varies(pair) ? "means of all steps" : "medians", bl_json_get(document, "batch"));
    put_card(html, "ND’s training step beside BN’s", value, detail);
    put_result_card(html, bn, nd);
    a = bl_json_get(bn, "inference_ms");
    b = bl_json_get(nd, "inference_ms");
    snprintf(value, sizeof value, "<i class=\"bn\">%s</i> <i class=\"to\">/</i> <i class=\"nd\">%s</i>&nbsp;ms",
             bl_ms(a), bl_ms(b));
    snprintf(detail, sizeof detail, "ND is folded into the weights: %s", bl_percent(100 * (b / a - 1)));
    if (!isnan(a) && !isnan(b)) put_card(html, "Inference of a batch, BN and ND", value, detail);
    snprintf(value, sizeof value, "<i class=\"bn\">%s</i> <i class=\"to\">/</i> <i class=\"nd\">%s</i>",
             bl_whole(bl_json_get(bn, "images_per_s")), bl_whole(bl_json_get(nd, "images_per_s")));
    put_card(html, "Training images a second, BN and ND", value, "median step");
    bl_html(html, "</ul>\n");
}

void bl_html_pair(struct bl_html *html, const cJSON *document, const cJSON *pair, bool many) {
    const char *device = bl_json_text(pair, "device");
    const cJSON *bn = bl_compare_run(document, device, "bn", NULL);
    const char *setting = bl_json_text(pair, "setting");
    const cJSON *nd = bl_compare_run(document, device, "nd", setting);
    struct rows rows;
    if ((html->error = html->error ? html->error : read_rows(pair, &rows))) return;
    if (many) {
        bl_html(html, "<h2>");
        bl_html_text(html, device);
        if (*setting) bl_html(html, ", ND ");
        bl_html_text(html, setting);
        bl_html(html, "</h2>\n");
    }
    put_cards(html, document, pair, bn, nd);
    put_where(html, &rows, pair_ms(pair, "nd") - pair_ms(pair, "bn"));
    bl_html_budget(html, pair, nd);
    if (!*setting) bl_html_curves(html, document, device);
    put_bars(html, &rows);
    put_layer_table(html, &rows);
    put_phase_table(html, &rows);
    if (!*setting) bl_html_run(html, bn, false);
    bl_html_run(html, nd, false);
    free(rows.row);
}
