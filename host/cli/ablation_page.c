/* The page of an ablation: for each network its curves, small, side by side, the rates, the table. */
#include "cli/ablation.h"
#include "report/html.h"
#include "report/report.h"
#include "base/text.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT = 400, MOST_LINES = 24, POINTS = 10 }; // POINTS: of 120, whose mean loss is drawn

/* A setting's run with the first seed at its best sweep. */
struct line {
    struct bl_result result;
    char label[TEXT], css[24];
    bool there;
};

/* The first setting with a norm has that norm's colour, the others colours of their own, dashed the second time. */
static void choose_colour(const struct bl_ablation *a, int setting, char css[24]) {
    static const char *const norms[] = {"bn", "nd", "none"};
    char text[TEXT];
    int others = 0;
    for (int s = 0, taken = 0; s <= setting; s++) {
        int own = -1;
        bl_ablation_setting(a, s, text, sizeof text);
        for (int n = 0; n < BL_COUNT(norms) && own < 0; n++) {
            char word[24];
            size_t length = (size_t)snprintf(word, sizeof word, "--norm %s", norms[n]);
            const char *found = strstr(text, word);
            if (found && !(taken & 1 << n) && (!found[length] || found[length] == ' ')) own = n;
        }
        if (own >= 0) taken |= 1 << own;
        if (own >= 0 && s == setting) snprintf(css, 24, "%s", norms[own]);
        if (own < 0 && s == setting) snprintf(css, 24, "k%d%s", 1 + others % 7, others >= 7 ? " dash" : "");
        others += own < 0;
    }
}

static int read_lines(const struct bl_ablation *a, const char *out, int model, struct line *lines, int count) {
    for (int s = 0; s < count; s++) {
        const int best = bl_ablation_best(a, model, s);
        struct line *line = &lines[s];
        char name[200];
        bl_ablation_setting(a, s, line->label, sizeof line->label);
        choose_colour(a, s, line->css);
        if (best < 0) continue;
        bl_ablation_name(a, model, s, best, 0, name);
        char *folder = bl_format("%s/%s", out, name);
        int code = folder ? bl_report_read(folder, &line->result) : BLANCH_ENOMEM;
        free(folder);
        line->there = true; // what could not be read is freed like the rest
        if (code) return code;
    }
    return 0;
}

/* --- charts ----------------------------------------------------------------------------------- */

static int allot(struct bl_series *series, int count) {
    series->x = bl_calloc((size_t)count + 1, sizeof *series->x);
    series->y = bl_calloc((size_t)count + 1, sizeof *series->y);
    return series->x && series->y ? 0 : BLANCH_ENOMEM;
}

enum what { LOSS, ACCURACY };

/* Over the last points up to the at-th: single ones hide the curves that others are compared with. */
static double mean_loss(const struct bl_run_result *run, int at) {
    double sum = 0;
    const int first = at < POINTS ? 0 : at - POINTS + 1;
    for (int i = first; i <= at; i++) sum += run->curve[i].loss;
    return sum / (at - first + 1);
}

static int fill(struct bl_series *series, const struct bl_run_result *run, enum what what, bool over_time) {
    const int count = what == LOSS ? run->points : run->epochs;
    int code = allot(series, count);
    double seconds = 0;
    for (int i = 0; i < count && !code; i++) {
        series->count++;
        if (what == LOSS) {
            series->x[i] = over_time ? run->curve[i].seconds : run->curve[i].step;
            series->y[i] = mean_loss(run, i);
            continue;
        }
        seconds += run->epoch[i].train_s;
        series->x[i] = over_time ? seconds : run->epoch[i].epoch;
        series->y[i] = bl_held_top1(&run->epoch[i]);
    }
    return code;
}

static void put_chart(struct bl_html *html, const char *title, const struct line *lines, int count, enum what what,
                      bool over_time) {
    struct bl_series series[MOST_LINES] = {0};
    for (int s = 0; s < count && !html->error; s++) {
        series[s].label = lines[s].label, series[s].css = lines[s].css;
        if (lines[s].there) html->error = fill(&series[s], &lines[s].result.run[0], what, over_time);
    }
    char text[120];
    snprintf(text, sizeof text, "%s%s%s", title, over_time ? " over time" : "", what == LOSS ? "" : ", per cent");
    const struct bl_chart chart = {.title = text,
                                   .x_label = over_time      ? "seconds of its own training"
                                              : what == LOSS ? "step; losses are means over a twelfth of the run"
                                                             : "epoch",
                                   .series = series,
                                   .count = count,
                                   .y_low = what == LOSS ? 0 : NAN,
                                   .y_high = NAN,
                                   .whole_x = what == ACCURACY && !over_time};
    if (!html->error) bl_html_chart(html, &chart);
    for (int s = 0; s < count; s++) {
        free(series[s].x);
        free(series[s].y);
    }
}

static void put_rates(struct bl_html *html, const struct bl_ablation *a, int model, const struct line *lines,
                      int count) {
    const int axis = bl_ablation_rates(a);
    struct bl_series series[MOST_LINES] = {0};
    char label[120], title[120];
    if (axis < 0) return;
    for (int s = 0; s < count && !html->error; s++) {
        series[s].label = lines[s].label, series[s].css = lines[s].css;
        html->error = allot(&series[s], a->sweeps);
        for (int k = 0; k < a->sweeps && !html->error; k++) {
            series[s].x[k] = log10(bl_ablation_rate(a, axis, s, k));
            series[s].y[k] = bl_ablation_judged(bl_ablation_cell(a, model, s, k, 0));
            series[s].count++;
        }
        series[s].marked = html->error ? 0 : bl_ablation_best(a, model, s) + 1;
    }
    snprintf(label, sizeof label, "%.60s, the best of each marked", a->axis[axis].name);
    snprintf(title, sizeof title, "%s at the end, of each rate, per cent", bl_ablation_measure(a)->what);
    const struct bl_chart chart = {.title = title,
                                   .x_label = label,
                                   .series = series,
                                   .count = count,
                                   .y_low = NAN,
                                   .y_high = NAN,
                                   .powers_x = true};
    if (!html->error) bl_html_chart(html, &chart);
    for (int s = 0; s < count; s++) {
        free(series[s].x);
        free(series[s].y);
    }
}

/* --- tables ----------------------------------------------------------------------------------- */

static void put_row(struct bl_html *html, const struct bl_ablation *a, int model, int setting) {
    const struct bl_ablation_row row = bl_ablation_row(a, model, setting);
    char text[TEXT], sweep[TEXT] = "–";
    bl_ablation_setting(a, setting, text, sizeof text);
    if (row.best >= 0 && a->sweeps > 1) bl_ablation_sweep(a, row.best, sweep, sizeof sweep);
    bl_html(html, "<tr><td>");
    bl_html_text(html, text);
    bl_html(html, "</td><td>");
    bl_html_text(html, sweep);
    bl_html(html, "</td>");
    bl_html_cell(html, row.done, bl_whole(row.done));
    bl_html_cell(html, row.judged, bl_fixed(row.judged, 2));
    bl_html_cell(html, row.spread, bl_fixed(row.spread, 2));
    bl_html_cell(html, row.against, bl_fixed(row.against, 2));
    bl_html_cell(html, row.error, bl_fixed(row.error, 2));
    bl_html_cell(html, row.step_ms, bl_ms(row.step_ms));
    bl_html(html, "<td>%d</td></tr>\n", row.diverged);
}

static void put_table(struct bl_html *html, const struct bl_ablation *a, int model) {
    bl_html(html,
            "<div class=\"scroll\" tabindex=\"0\"><table class=\"sort\"><thead><tr><th>setting</th><th>best</th>"
            "<th>seeds</th><th>%s %%</th><th>±</th><th>against the first</th><th>±</th><th>step ms</th>"
            "<th>diverged</th></tr></thead>\n<tbody>\n",
            bl_ablation_measure(a)->name);
    for (int s = 0; s < a->settings; s++) put_row(html, a, model, s);
    bl_html(html, "</tbody></table></div>\n");
}

static void put_ends(struct bl_html *html, const struct bl_ablation *a, int model) {
    char text[TEXT];
    int said = 0;
    for (int s = 0; s < a->settings; s++) {
        if (!bl_ablation_at_end(a, model, s)) continue;
        bl_ablation_setting(a, s, text, sizeof text);
        bl_html(html, said++ ? ", " : "<p>Best at an end of what was tried, so that one beyond it may be better: ");
        bl_html_text(html, text);
    }
    if (said) bl_html(html, ".</p>\n");
}

static void put_rates_table(struct bl_html *html, const struct bl_ablation *a, int model) {
    char text[TEXT];
    if (a->sweeps == 1) return;
    bl_html(html,
            "<details><summary>All rates, seed %d</summary><div class=\"scroll\" tabindex=\"0\"><table><thead><tr>"
            "<th>setting</th>",
            a->seed[0]);
    for (int k = 0; k < a->sweeps; k++) {
        bl_ablation_sweep(a, k, text, sizeof text);
        bl_html(html, "<th>");
        bl_html_text(html, text);
        bl_html(html, "</th>");
    }
    bl_html(html, "</tr></thead>\n<tbody>\n");
    for (int s = 0; s < a->settings; s++) {
        const int best = bl_ablation_best(a, model, s);
        bl_ablation_setting(a, s, text, sizeof text);
        bl_html(html, "<tr><td>");
        bl_html_text(html, text);
        bl_html(html, "</td>");
        for (int k = 0; k < a->sweeps; k++) {
            const struct bl_cell *cell = bl_ablation_cell(a, model, s, k, 0);
            bl_html(html, "<td%s>%s%s</td>", k == best ? " class=\"strong\"" : "",
                    cell->state == BL_CELL_DIVERGED ? "diverged" : bl_fixed(bl_ablation_judged(cell), 2),
                    k == best ? ", best" : "");
        }
        bl_html(html, "</tr>\n");
    }
    bl_html(html, "</tbody></table></div></details>\n");
}

/* --- the page --------------------------------------------------------------------------------- */

static int put_model(struct bl_html *html, const struct bl_ablation *a, const char *out, int model) {
    const int count = a->settings < MOST_LINES ? a->settings : MOST_LINES;
    const char *measure = bl_ablation_measure(a)->what;
    struct line *lines = bl_calloc((size_t)count, sizeof *lines);
    if (!lines) return BLANCH_ENOMEM;
    int code = read_lines(a, out, model, lines, count);
    bool epochs = false;
    for (int s = 0; s < count && !code; s++) epochs |= lines[s].there && lines[s].result.run[0].epochs > 1;
    if (!code) {
        bl_html(html, "<h2>");
        bl_html_text(html, a->model[model]);
        bl_html(html, "</h2>\n");
        put_table(html, a, model);
        bl_html(html, "<div class=\"charts\">\n");
        put_chart(html, "Training loss", lines, count, LOSS, false);
        put_chart(html, "Training loss", lines, count, LOSS, true);
        if (epochs) put_chart(html, measure, lines, count, ACCURACY, false);
        if (epochs) put_chart(html, measure, lines, count, ACCURACY, true);
        put_rates(html, a, model, lines, count);
        bl_html(html, "</div>\n");
        put_ends(html, a, model);
        put_rates_table(html, a, model);
    }
    for (int s = 0; s < count; s++)
        if (lines[s].there) bl_result_free(&lines[s].result);
    free(lines);
    return code;
}

static void put_devices(struct bl_html *html, const struct bl_ablation *a) {
    const int count = a->models * a->settings * a->sweeps * a->seeds;
    for (int i = 0; i < count; i++) {
        bool said = !*a->cells[i].device.name;
        for (int k = 0; k < i; k++) said |= !strcmp(a->cells[k].device.name, a->cells[i].device.name);
        if (said) continue;
        bl_html(html, "<p class=\"meta\">");
        bl_html_text(html, a->cells[i].device.name);
        bl_html(html, " · ");
        bl_html_text(html, a->cells[i].data);
        bl_html(html, "</p>\n");
    }
}

int bl_ablation_page(const struct bl_ablation *a, const char *out, const char *path) {
    struct bl_html html = {0};
    char text[TEXT];
    bl_ablation_setting(a, 0, text, sizeof text);
    bl_html_begin(&html, "ablation");
    bl_html(&html, "<p class=\"eyebrow\">Blanch</p>\n<h1>%d settings on %d network%s</h1>\n", a->settings, a->models,
            a->models > 1 ? "s" : "");
    put_devices(&html, a);
    bl_html(&html, "<p>Every setting at the best of its rates, which was found with seed %d. ", a->seed[0]);
    bl_html(&html, "%s after the last step, with its standard deviation over the seeds; differences are to <b>",
            bl_ablation_measure(a)->what);
    bl_html_text(&html, text);
    bl_html(&html, "</b>, seed by seed, with the standard error of their mean.</p>\n");
    int code = 0;
    for (int m = 0; m < a->models && !code; m++) code = put_model(&html, a, out, m);
    return bl_html_end(&html, path, code);
}
