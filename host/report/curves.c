/* Learning curves and accuracies of the runs on one device. */
#include "html.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RUNS = 4 };

const cJSON *bl_compare_run(const cJSON *document, const char *device, const char *norm) {
    const cJSON *run;
    cJSON_ArrayForEach(run, cJSON_GetObjectItemCaseSensitive(document, "runs"))
        if (!strcmp(bl_json_text(run, "device"), device) && !strcmp(bl_json_text(run, "norm"), norm)) return run;
    return NULL;
}

const cJSON *bl_last_epoch(const cJSON *run) {
    const cJSON *epochs = cJSON_GetObjectItemCaseSensitive(run, "epochs");
    return cJSON_GetArrayItem(epochs, cJSON_GetArraySize(epochs) - 1);
}

static int runs_of(const cJSON *document, const char *device, const cJSON **runs) {
    const cJSON *run;
    int count = 0;
    cJSON_ArrayForEach(run, cJSON_GetObjectItemCaseSensitive(document, "runs"))
        if (count < MAX_RUNS && !strcmp(bl_json_text(run, "device"), device)) runs[count++] = run;
    return count;
}

static const char *norm_label(const cJSON *run) {
    const char *norm = bl_json_text(run, "norm");
    return !strcmp(norm, "bn") ? "BN" : !strcmp(norm, "nd") ? "ND" : "no norm";
}

/* Points (x, y) by key of the run's list; the label is kept by the caller. */
static int read_series(struct bl_series *series, const cJSON *run, const char *list, const char *x, const char *y) {
    const cJSON *points = cJSON_GetObjectItemCaseSensitive(run, list), *point;
    series->count = 0;
    series->css = bl_json_text(run, "norm");
    series->x = bl_calloc((size_t)cJSON_GetArraySize(points) + 1, sizeof *series->x);
    series->y = bl_calloc((size_t)cJSON_GetArraySize(points) + 1, sizeof *series->y);
    if (!series->x || !series->y) return BLANCH_ENOMEM;
    cJSON_ArrayForEach(point, points) {
        series->x[series->count] = bl_json_get(point, x);
        series->y[series->count++] = bl_json_get(point, y);
    }
    return 0;
}

static void put_loss(struct bl_html *html, const cJSON *const *runs, int count, const char *x, const char *title,
                     const char *x_label) {
    struct bl_series series[MAX_RUNS] = {0};
    for (int i = 0; i < count && !html->error; i++) {
        series[i].label = norm_label(runs[i]);
        html->error = read_series(&series[i], runs[i], "curve", x, "loss");
    }
    struct bl_chart chart = {.title = title, .x_label = x_label, .series = series, .count = count, .y_low = 0, .y_high = NAN};
    if (!html->error) bl_html_chart(html, &chart);
    for (int i = 0; i < count; i++) {
        free(series[i].x);
        free(series[i].y);
    }
}

static void put_accuracy(struct bl_html *html, const cJSON *const *runs, int count) {
    struct bl_series series[2 * MAX_RUNS] = {0};
    char labels[2 * MAX_RUNS][32], css[2 * MAX_RUNS][16];
    for (int i = 0; i < 2 * count && !html->error; i++) {
        bool test = i < count;
        const cJSON *run = runs[i % count];
        html->error = read_series(&series[i], run, "epochs", "epoch", test ? "test_top1" : "train_top1");
        snprintf(labels[i], sizeof labels[i], "%s %s", norm_label(run), test ? "test" : "training");
        snprintf(css[i], sizeof css[i], "%s%s", bl_json_text(run, "norm"), test ? "" : " dash");
        series[i].label = labels[i];
        series[i].css = css[i];
    }
    struct bl_chart chart = {.title = "Accuracy, per cent", .x_label = "epoch", .series = series, .count = 2 * count,
                             .y_low = NAN, .y_high = NAN, .whole_x = true};
    if (!html->error) bl_html_chart(html, &chart);
    for (int i = 0; i < 2 * count; i++) {
        free(series[i].x);
        free(series[i].y);
    }
}

static void put_epoch_cells(struct bl_html *html, const cJSON *const *runs, int count, int index) {
    static const char *const keys[] = {"train_top1", "test_top1", "train_s"};
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < count; i++) {
            const cJSON *epoch = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(runs[i], "epochs"), index);
            double value = bl_json_get(epoch, keys[k]);
            if (isnan(value)) bl_html(html, "<td>–</td>");
            else bl_html(html, "<td>%.*f</td>", k < 2 ? 2 : 1, value);
        }
}

static void put_epochs(struct bl_html *html, const cJSON *const *runs, int count) {
    int epochs = count ? cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(runs[0], "epochs")) : 0;
    static const char *const heads[] = {"training %", "test %", "training s"};
    if (!epochs) return;
    bl_html(html, "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th>epoch</th>");
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < count; i++) bl_html(html, "<th>%s %s</th>", norm_label(runs[i]), heads[k]);
    bl_html(html, "</tr></thead>\n<tbody>\n");
    for (int e = 0; e < epochs; e++) {
        bl_html(html, "<tr><td>%d</td>", e + 1);
        put_epoch_cells(html, runs, count, e);
        bl_html(html, "</tr>\n");
    }
    bl_html(html, "</tbody></table></div>\n");
}

void bl_html_curves(struct bl_html *html, const cJSON *document, const char *device) {
    const cJSON *runs[MAX_RUNS] = {NULL};
    int count = runs_of(document, device, runs);
    bl_html(html, "<h3>Learning</h3>\n<div class=\"charts\">\n");
    put_loss(html, runs, count, "step", "Training loss over steps", "step");
    put_loss(html, runs, count, "seconds", "Training loss over time", "seconds of its own training after the first step");
    put_accuracy(html, runs, count);
    bl_html(html, "</div>\n");
    put_epochs(html, runs, count);
}
