/* Learning curves and accuracies of the runs on one device. */
#include "html.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RUNS = 10, MAX_LABEL = 160 };

struct named {
    const cJSON *run;
    char label[MAX_LABEL], css[24];
}; // a line of the charts

const cJSON *bl_compare_run(const cJSON *document, const char *device, const char *norm, const char *setting) {
    const cJSON *run;
    cJSON_ArrayForEach(
        run, cJSON_GetObjectItemCaseSensitive(
                 document, "runs")) if (!strcmp(bl_json_text(run, "device"), device) &&
                                        !strcmp(bl_json_text(run, "norm"), norm) &&
                                        (!setting || !strcmp(bl_json_text(run, "setting"), setting))) return run;
    return NULL;
}

const cJSON *bl_last_epoch(const cJSON *run) {
    const cJSON *epochs = cJSON_GetObjectItemCaseSensitive(run, "epochs");
    return cJSON_GetArrayItem(epochs, cJSON_GetArraySize(epochs) - 1);
}

/* The first of each norm has the norm's colour, further ones colours of their own. */
static void name_run(struct named *named, int *count, const cJSON *run, const char *prefix) {
    struct named *entry = &named[*count];
    char label[120];
    bool taken = false;
    if (*count == MAX_RUNS) return;
    for (int i = 0; i < *count; i++) taken |= !strcmp(bl_json_text(named[i].run, "norm"), bl_json_text(run, "norm"));
    bl_run_label(run, label, sizeof label);
    *entry = (struct named){.run = run};
    snprintf(entry->label, sizeof entry->label, "%.100s%s%.50s", prefix, *prefix ? " " : "", label);
    if (taken)
        snprintf(entry->css, sizeof entry->css, "k%d", *count % 8);
    else
        snprintf(entry->css, sizeof entry->css, "%.8s", bl_json_text(run, "norm"));
    ++*count;
}

static int runs_of(const cJSON *document, const char *device, struct named *named) {
    const cJSON *run;
    int count = 0;
    cJSON_ArrayForEach(
        run, cJSON_GetObjectItemCaseSensitive(document, "runs")) if (!strcmp(bl_json_text(run, "device"), device))
        name_run(named, &count, run, "");
    return count;
}

/* Points (x, y) by key of the run's list; the label is kept by the caller. */
static int read_series(struct bl_series *series, const cJSON *run, const char *list, const char *x, const char *y) {
    const cJSON *points = cJSON_GetObjectItemCaseSensitive(run, list), *point;
    series->count = 0;
    series->x = bl_calloc((size_t)cJSON_GetArraySize(points) + 1, sizeof *series->x);
    series->y = bl_calloc((size_t)cJSON_GetArraySize(points) + 1, sizeof *series->y);
    if (!series->x || !series->y) return BLANCH_ENOMEM;
    cJSON_ArrayForEach(point, points) {
        series->x[series->count] = bl_json_get(point, x);
        series->y[series->count++] = bl_json_get(point, y);
    }
    return 0;
}

static void put_loss(struct bl_html *html, const struct named *runs, int count, const char *x, const char *title,
                     const char *x_label) {
    struct bl_series series[MAX_RUNS] = {0};
    for (int i = 0; i < count && !html->error; i++) {
        series[i].label = runs[i].label;
        series[i].css = runs[i].css;
        html->error = read_series(&series[i], runs[i].run, "curve", x, "loss");
    }
    struct bl_chart chart = {
        .title = title, .x_label = x_label, .series = series, .count = count, .y_low = 0, .y_high = NAN};
    if (!html->error) bl_html_chart(html, &chart);
    for (int i = 0; i < count; i++) {
        free(series[i].x);
        free(series[i].y);
    }
}

/* Over epochs, or over the seconds of training until their ends. */
static int read_accuracy(struct bl_series *series, const cJSON *run, const char *key, bool over_time) {
    int code = read_series(series, run, "epochs", "epoch", key);
    const cJSON *epochs = cJSON_GetObjectItemCaseSensitive(run, "epochs");
    double seconds = 0;
    for (int e = 0; e < series->count && !code && over_time; e++) {
        seconds += bl_json_get(cJSON_GetArrayItem(epochs, e), "train_s");
        series->x[e] = seconds;
    }
    return code;
}

static void put_accuracy(struct bl_html *html, const struct named *runs, int count, bool over_time) {
    struct bl_series series[2 * MAX_RUNS] = {0};
    char labels[2 * MAX_RUNS][MAX_LABEL + 16], css[2 * MAX_RUNS][40];
    for (int i = 0; i < 2 * count && !html->error; i++) {
        bool test = i < count;
        const struct named *named = &runs[i % count];
        html->error = read_accuracy(&series[i], named->run, test ? "test_top1" : "train_top1", over_time);
        snprintf(labels[i], sizeof labels[i], "%s %s", named->label, test ? "test" : "training");
        snprintf(css[i], sizeof css[i], "%s%s", named->css, test ? "" : " dash");
        series[i].label = labels[i];
        series[i].css = css[i];
    }
    struct bl_chart chart = {.title = over_time ? "Accuracy over time, per cent" : "Accuracy, per cent",
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
    static const char *const keys[] = {"train_top1", "test_top1", "train_s"};
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < count; i++) {
            const cJSON *epoch = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(runs[i].run, "epochs"), index);
            double value = bl_json_get(epoch, keys[k]);
            if (isnan(value))
                bl_html(html, "<td>–</td>");
            else
                bl_html(html, "<td>%.*f</td>", k < 2 ? 2 : 1, value);
        }
}

static void put_epochs(struct bl_html *html, const struct named *runs, int count) {
    int epochs = 0;
    for (int i = 0; i < count; i++) {
        int own = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(runs[i].run, "epochs"));
        if (own > epochs) epochs = own;
    }
    static const char *const heads[] = {"training %", "test %", "training s"};
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

static void put_learning(struct bl_html *html, const struct named *runs, int count, bool table) {
    bool any = false;
    for (int i = 0; i < count; i++)
        any |= cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(runs[i].run, "curve")) > 1;
    if (!any) return;
    bl_html(html, "<h3>Learning</h3>\n<div class=\"charts\">\n");
    put_loss(html, runs, count, "step", "Training loss over steps", "step");
    put_loss(html, runs, count, "seconds", "Training loss over time",
             "seconds of its own training after the first step");
    put_accuracy(html, runs, count, false);
    put_accuracy(html, runs, count, true);
    bl_html(html, "</div>\n");
    if (table) put_epochs(html, runs, count);
}

void bl_html_curves(struct bl_html *html, const cJSON *document, const char *device) {
    struct named runs[MAX_RUNS];
    put_learning(html, runs, runs_of(document, device, runs), true);
}

static void name_joint(struct named *runs, int *used, const cJSON *run, const cJSON *document) {
    char prefix[200];
    bool several = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(document, "devices")) > 1;
    snprintf(prefix, sizeof prefix, "%.60s%s%.40s", bl_json_text(document, "source"), several ? ", " : "",
             several ? bl_json_text(run, "device") : "");
    name_run(runs, used, run, prefix);
}

void bl_html_joint_curves(struct bl_html *html, const cJSON *const *documents, int count) {
    struct named runs[MAX_RUNS];
    const cJSON *run;
    int used = 0;
    for (int d = 0; d < count; d++)
        cJSON_ArrayForEach(
            run, cJSON_GetObjectItemCaseSensitive(
                     documents[d], "runs")) if (cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(run, "curve")) > 1)
            name_joint(runs, &used, run, documents[d]);
    put_learning(html, runs, used, false);
}
