/* Learning curves and accuracies of the runs on one device. */
#include "html.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RUNS = 16, MAX_LABEL = 160 };

struct named {
    const struct bl_run_result *run;
    char label[MAX_LABEL], css[24];
}; // a line of the charts

/* The first of each norm has the norm's colour, further ones colours of their own. Of batch norm at several rates the
 * best has it, and the others are pale. */
static void name_run(struct named *named, int *count, const struct bl_run_result *run, const char *prefix) {
    struct named *entry = &named[*count];
    char label[120];
    bool taken = false;
    if (*count == MAX_RUNS) return;
    for (int i = 0; i < *count; i++) taken |= !strcmp(named[i].run->norm, run->norm);
    bl_run_label(run, label, sizeof label);
    *entry = (struct named){.run = run};
    snprintf(entry->label, sizeof entry->label, "%.100s%s%.50s", prefix, *prefix ? " " : "", label);
    if (!strcmp(run->norm, "bn") && !isnan(run->best))
        snprintf(entry->css, sizeof entry->css, "%s", run->best == 1 ? "bn" : "bn pale");
    else if (taken || (strcmp(run->norm, "bn") && strcmp(run->norm, "nd") && strcmp(run->norm, "none")))
        snprintf(entry->css, sizeof entry->css, "k%d", *count % 8);
    else
        snprintf(entry->css, sizeof entry->css, "%s", run->norm);
    ++*count;
}

static int runs_of(const struct bl_result *result, int device, struct named *named) {
    int count = 0;
    for (int r = 0; r < result->runs; r++)
        if (result->run[r].device == device) name_run(named, &count, &result->run[r], "");
    return count;
}

static int make_series(struct bl_series *series, int count) {
    series->count = count;
    series->x = bl_calloc((size_t)count + 1, sizeof *series->x);
    series->y = bl_calloc((size_t)count + 1, sizeof *series->y);
    return series->x && series->y ? 0 : BLANCH_ENOMEM;
}

static int read_curve(struct bl_series *series, const struct bl_run_result *run, bool over_time) {
    int code = make_series(series, run->points);
    for (int i = 0; i < run->points && !code; i++) {
        series->x[i] = over_time ? run->curve[i].seconds : run->curve[i].step;
        series->y[i] = run->curve[i].loss;
    }
    return code;
}

static void put_loss(struct bl_html *html, const struct named *runs, int count, bool over_time) {
    struct bl_series series[MAX_RUNS] = {0};
    for (int i = 0; i < count && !html->error; i++) {
        series[i].label = runs[i].label;
        series[i].css = runs[i].css;
        html->error = read_curve(&series[i], runs[i].run, over_time);
    }
    struct bl_chart chart = {.title = over_time ? "Training loss over time" : "Training loss over steps",
                             .x_label = over_time ? "seconds of its own training after the first step" : "step",
                             .series = series,
                             .count = count,
                             .y_low = 0,
                             .y_high = NAN};
    if (!html->error) bl_html_chart(html, &chart);
    for (int i = 0; i < count; i++) {
        free(series[i].x);
        free(series[i].y);
    }
}

/* Over epochs, or over the seconds of training until their ends. */
static int read_accuracy(struct bl_series *series, const struct bl_run_result *run, bool test, bool over_time) {
    int code = make_series(series, run->epochs);
    double seconds = 0;
    for (int e = 0; e < run->epochs && !code; e++) {
        const struct bl_epoch_result *epoch = &run->epoch[e];
        seconds += epoch->train_s;
        series->x[e] = over_time ? seconds : epoch->epoch;
        series->y[e] = test ? bl_held_top1(epoch) : bl_train_top1(epoch);
    }
    return code;
}

static void put_accuracy(struct bl_html *html, const struct named *runs, int count, bool over_time) {
    struct bl_series series[2 * MAX_RUNS] = {0};
    char labels[2 * MAX_RUNS][MAX_LABEL + 16], css[2 * MAX_RUNS][40];
    bool pixels = false;
    for (int i = 0; i < 2 * count && !html->error; i++) {
        bool test = i < count;
        const struct named *named = &runs[i % count];
        html->error = read_accuracy(&series[i], named->run, test, over_time);
        const struct bl_epoch_result *last = bl_last_epoch(named->run);
        const char *held = last && isnan(last->test_loss) ? "validation" : "test";
        pixels = pixels || (last && !isnan(last->train_pixel_accuracy));
        snprintf(labels[i], sizeof labels[i], "%s %s", named->label, test ? held : "training");
        snprintf(css[i], sizeof css[i], "%s%s", named->css, test ? "" : " dash");
        series[i].label = labels[i];
        series[i].css = css[i];
    }
    const char *title = pixels ? "Mean IoU, and training pixels that are right, per cent" : "Accuracy, per cent";
    struct bl_chart chart = {.title = over_time && !pixels ? "Accuracy over time, per cent" : title,
                             .x_label = over_time ? "seconds of its own training" : "epoch",
                             .series = series,
                             .count = 2 * count,
                             .y_low = NAN,
                             .y_high = NAN,
                             .whole_x = !over_time};
    if (!html->error) bl_html_chart(html, &chart);
    for (int i = 0; i < 2 * count; i++) {
        free(series[i].x);
        free(series[i].y);
    }
}

static void put_epoch_cells(struct bl_html *html, const struct named *runs, int count, int index) {
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < count; i++) {
            const struct bl_epoch_result *epoch = index < runs[i].run->epochs ? &runs[i].run->epoch[index] : NULL;
            double value = !epoch ? NAN : k == 0 ? bl_train_top1(epoch) : k == 1 ? bl_held_top1(epoch) : epoch->train_s;
            bl_html(html, "<td>%s</td>", bl_fixed(value, k < 2 ? 2 : 1));
        }
}

static void put_epochs(struct bl_html *html, const struct named *runs, int count) {
    static const char *const heads[] = {"training %", "test %", "training s"};
    int epochs = 0;
    for (int i = 0; i < count; i++)
        if (runs[i].run->epochs > epochs) epochs = runs[i].run->epochs;
    if (!epochs) return;
    bl_html(html, "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th>epoch</th>");
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < count; i++) {
            bl_html(html, "<th>");
            bl_html_text(html, runs[i].label);
            bl_html(html, " %s</th>", heads[k]);
        }
    bl_html(html, "</tr></thead>\n<tbody>\n");
    for (int e = 0; e < epochs; e++) {
        bl_html(html, "<tr><td>%d</td>", e + 1);
        put_epoch_cells(html, runs, count, e);
        bl_html(html, "</tr>\n");
    }
    bl_html(html, "</tbody></table></div>\n");
}

/* level: of its heading, below a device's or at the top. */
static void put_learning(struct bl_html *html, const struct named *runs, int count, bool table, int level) {
    bool any = false;
    for (int i = 0; i < count; i++) any |= runs[i].run->points > 1;
    if (!any) return;
    bl_html(html, "<h%d>Learning</h%d>\n<div class=\"charts\">\n", level, level);
    put_loss(html, runs, count, false);
    put_loss(html, runs, count, true);
    put_accuracy(html, runs, count, false);
    put_accuracy(html, runs, count, true);
    bl_html(html, "</div>\n");
    if (table) put_epochs(html, runs, count);
}

void bl_html_curves(struct bl_html *html, const struct bl_result *result, int device) {
    struct named runs[MAX_RUNS];
    put_learning(html, runs, runs_of(result, device, runs), true, result->pairs ? 3 : 2);
}

static void name_joint(struct named *runs, int *used, const struct bl_run_result *run, const struct bl_result *result) {
    char prefix[200];
    bool several = result->devices > 1;
    snprintf(prefix, sizeof prefix, "%.60s%s%.40s", result->source ? result->source : "", several ? ", " : "",
             several ? result->device[run->device].label : "");
    name_run(runs, used, run, prefix);
}

void bl_html_joint_curves(struct bl_html *html, const struct bl_result *results, int count) {
    struct named runs[MAX_RUNS];
    int used = 0;
    for (int d = 0; d < count; d++)
        for (int r = 0; r < results[d].runs; r++)
            if (results[d].run[r].points > 1) name_joint(runs, &used, &results[d].run[r], &results[d]);
    put_learning(html, runs, used, false, 2);
}
