/* blanch eval: measures a run, or a file of weights, on a dataset. */
#include "cli/common.h"
#include "cli/overlays.h"
#include "cli/weights.h"
#include "io/files.h"
#include "train/answers.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct measured {
    enum bl_split split;
    struct blanch_metrics metrics;
    double seconds;
    struct bl_answers answers;
    struct bl_scores scores;
};
enum { TABLE_CLASSES = 20, LISTED = 10 }; // of more classes, so many are shown

static const char *title(const struct measured *m) {
    return m->split == BL_SPLITS ? "all" : bl_split_name(m->split);
}

static void print(const struct bl_trained *t, const struct measured *m) {
    const struct blanch_metrics *sum = &m->metrics;
    printf("%s-%s, %s on %s (%s): %d images\n", t->net->model->name, bl_norm_name(t->net->options.norm),
           bl_shown(t->weights), bl_shown(t->data_spec), title(m), sum->count);
    if (sum->pixels)
        printf("loss %.4f  mean IoU %.2f %%  pixels %.2f %%  %.0f images/s\n", sum->loss, sum->mean_iou,
               bl_accuracy(sum), sum->count / m->seconds);
    else
        printf("loss %.4f  top-1 %.2f %%  top-5 %.2f %%  %.0f images/s\n", sum->loss, bl_accuracy(sum),
               bl_percent_of(sum->top5, sum->count), sum->count / m->seconds);
}

/* --- text ------------------------------------------------------------------------------------- */

static void print_per_cent(double value) {
    if (isnan(value))
        printf(" %9s", "-");
    else
        printf(" %9.2f", value);
}

static void print_class(const struct bl_trained *t, const struct bl_scores *s, int c) {
    printf("%5d  %-28.28s %9" PRIu64, c, bl_shown(bl_trained_class(t, c)), s->class[c].images);
    if (s->pixels) print_per_cent(s->class[c].iou);
    print_per_cent(s->class[c].precision);
    print_per_cent(s->class[c].recall);
    print_per_cent(s->class[c].f1);
    putchar('\n');
}

/* The class of least recall that comes after `last` in that order; -1: there is none. */
static int next_worst(const struct bl_scores *s, int last) {
    int found = -1;
    for (int c = 0; c < s->classes; c++) {
        const double recall = s->class[c].recall;
        if (isnan(recall)) continue;
        const bool after = last < 0 || recall > s->class[last].recall || (recall == s->class[last].recall && c > last);
        if (after && (found < 0 || recall < s->class[found].recall)) found = c;
    }
    return found;
}

static void print_classes(const struct bl_trained *t, const struct bl_scores *s) {
    const bool all = s->classes <= TABLE_CLASSES;
    printf("\n%5s  %-28s %9s%s %9s %9s %9s\n", "class", all ? "" : "of least recall", s->pixels ? "pixels" : "images",
           s->pixels ? "       IoU" : "", "precision", "recall", "F1");
    for (int c = 0; all && c < s->classes; c++) print_class(t, s, c);
    for (int c = next_worst(s, -1), i = 0; !all && c >= 0 && i < LISTED; c = next_worst(s, c), i++)
        print_class(t, s, c);
    printf("%5s  %-28s %9s", "", "mean of classes", "");
    if (s->pixels) print_per_cent(s->mean_iou);
    print_per_cent(s->precision);
    print_per_cent(s->recall);
    print_per_cent(s->f1);
    putchar('\n');
}

static uint64_t times(const struct bl_scores *s, int label, int answer) {
    if (label == answer) return s->class[label].right;
    for (size_t i = 0; i < s->confusions; i++)
        if (s->confused[i].label == label && s->confused[i].answer == answer) return s->confused[i].count;
    return 0;
}

static void print_confusion(const struct bl_trained *t, const struct bl_scores *s) {
    if (s->classes > TABLE_CLASSES) {
        printf("\nmost often taken for another\n");
        for (size_t i = 0; i < s->confusions && i < LISTED; i++) {
            printf("%9" PRIu64 "  %s", s->confused[i].count, bl_shown(bl_trained_class(t, s->confused[i].label)));
            printf(" for %s\n", bl_shown(bl_trained_class(t, s->confused[i].answer)));
        }
        return;
    }
    const int wide = s->pixels ? 9 : 5;
    printf("\n%s of a class (row), by what was answered (column)\n%5s", s->pixels ? "pixels" : "images", "");
    for (int c = 0; c < s->classes; c++) printf(" %*d", wide, c);
    for (int label = 0; label < s->classes; label++) {
        printf("\n%5d", label);
        for (int answer = 0; answer < s->classes; answer++) printf(" %*" PRIu64, wide, times(s, label, answer));
    }
    putchar('\n');
}

/* --- JSON ------------------------------------------------------------------------------------- */

static const char *class_name(const void *trained, int label) {
    return bl_trained_class(trained, label);
}

static void add_json(cJSON *json, const struct measured *m) {
    cJSON_AddStringToObject(json, "split", title(m));
    cJSON_AddNumberToObject(json, "images", m->metrics.count);
    cJSON_AddItemToObject(json, "loss", bl_json_number(m->metrics.loss, 9));
    if (m->metrics.pixels) {
        cJSON_AddNumberToObject(json, "pixels", (double)m->metrics.pixels);
        cJSON_AddItemToObject(json, "mean_iou", bl_json_number(m->metrics.mean_iou, 6));
        cJSON_AddItemToObject(json, "pixel_accuracy", bl_json_number(bl_accuracy(&m->metrics), 6));
    } else {
        cJSON_AddItemToObject(json, "top1", bl_json_number(bl_accuracy(&m->metrics), 6));
        cJSON_AddItemToObject(json, "top5", bl_json_number(bl_percent_of(m->metrics.top5, m->metrics.count), 6));
    }
    cJSON_AddItemToObject(json, "seconds", bl_json_number(m->seconds, 5));
}

/* The last of several is their sum; "splits" has the others. */
static cJSON *document(const struct bl_trained *t, const struct measured *m, int count,
                       const struct bl_common *common) {
    cJSON *json = bl_document("eval", blanch_device_info(t->dev), bl_options_json(common->options));
    cJSON *splits = count > 1 ? cJSON_AddArrayToObject(json, "splits") : NULL;
    cJSON_AddStringToObject(json, "model", t->net->model->name);
    cJSON_AddStringToObject(json, "norm", bl_norm_name(t->net->options.norm));
    cJSON_AddStringToObject(json, "weights", t->weights);
    cJSON_AddStringToObject(json, "data", t->data_spec);
    cJSON *left_out = cJSON_AddArrayToObject(json, "left_out");
    for (int i = 0; bl_dataset_missing(t->data, i); i++)
        cJSON_AddItemToArray(left_out, cJSON_CreateString(bl_dataset_missing(t->data, i)));
    add_json(json, &m[count - 1]);
    for (int i = 0; i + 1 < count; i++) {
        cJSON *split = cJSON_CreateObject();
        add_json(split, &m[i]);
        cJSON_AddItemToArray(splits, split);
    }
    bl_scores_json(&m[count - 1].scores, class_name, t, json);
    return json;
}

/* For `report`. A run that may be read alone is measured all the same. */
static int write_json(const char *run, const cJSON *json) {
    char *path = bl_format("%s/eval.json", run);
    int code = path ? bl_json_write(path, json) : BLANCH_ENOMEM;
    free(path);
    if (code == BLANCH_EIO) bl_progress_line(NULL, "warning: %s", blanch_error_message());
    return code == BLANCH_EIO ? 0 : code;
}

/* --- measuring -------------------------------------------------------------------------------- */

/* splits: the one that is asked for, or BL_SPLITS, all; count: how many were measured, their sum included. */
static int measure(struct bl_trained *t, int wanted, struct measured m[BL_SPLITS + 1], int *count) {
    struct measured sum = {.split = BL_SPLITS};
    int code = bl_dataset_check(t->data);
    *count = 0;
    if (code) return code;
    bl_say_data(t->data, t->data_spec);
    if (t->changes && *t->changes) bl_progress_line(NULL, "warning: %s has %s", t->data_spec, t->changes);
    if (!t->config.options.data && bl_dataset_division(t->data).limit)
        bl_progress_line(NULL, "warning: %s has no splits, and which of its images %s was trained on is not known",
                         t->data_spec, t->weights);
    for (int s = 0; s < BL_SPLITS && !code; s++) {
        struct measured *one = &m[*count];
        if ((wanted != BL_SPLITS && wanted != s) || !bl_dataset_count(t->data, (enum bl_split)s)) continue;
        one->split = (enum bl_split)s;
        code = bl_network_answer(t->net, t->data, one->split, &t->view, &one->metrics, &one->seconds, &one->answers);
        for (const char *text; (text = bl_dataset_message(t->data));) bl_progress_line(NULL, "warning: %s", text);
        if (!code && !isfinite(one->metrics.loss))
            code = bl_fail(BLANCH_EDIVERGED, "%s: what the network computes on %s is not finite, so it has no accuracy",
                           t->weights, t->data_spec);
        bl_metrics_add(&sum.metrics, &one->metrics);
        if (!code && wanted == BL_SPLITS) code = bl_answers_join(&sum.answers, &one->answers);
        sum.seconds += one->seconds;
        ++*count;
    }
    if (sum.metrics.pixels) sum.metrics.mean_iou = bl_answers_mean_iou(&sum.answers);
    if (wanted == BL_SPLITS) m[(*count)++] = sum;
    struct measured *last = &m[*count - 1];
    return code ? code : bl_scores_make(&last->scores, &last->answers, t->net->options.classes);
}

/* Not given: the test images, or the validation images where there are no others. */
static int choose(const struct bl_trained *t, const char *text, bool train) {
    const char *name = text ? text : train ? "train" : bl_dataset_count(t->data, BL_TEST) ? "test" : "val";
    int split = 0;
    if (!text && !train && !bl_dataset_count(t->data, BL_TEST) && !bl_dataset_count(t->data, BL_VAL))
        return bl_fail(BLANCH_EINPUT, "%s holds neither test nor validation images; --split train measures the others",
                       t->data_spec);
    while (split < BL_SPLITS && strcmp(name, bl_split_name((enum bl_split)split)) != 0) split++;
    if (split == BL_SPLITS && strcmp(name, "all") != 0)
        return bl_fail(BLANCH_EUSAGE, "--split %s: it is train, val, test or all", name);
    if (split < BL_SPLITS && !bl_dataset_count(t->data, (enum bl_split)split))
        return bl_fail(BLANCH_EINPUT, "%s holds no %s images; --split all measures those that there are", t->data_spec,
                       bl_split_title((enum bl_split)split));
    return split;
}

/* Of the first split that was measured; they too are for `report`, and may be in the way of nothing. */
static int write_overlays(struct bl_trained *t, const struct measured *m, const char *run) {
    char *path = bl_format("%s/overlays.png", run);
    int code = path ? bl_overlays_write(t, m->split, path) : BLANCH_ENOMEM;
    free(path);
    if (code == BLANCH_EIO) bl_progress_line(NULL, "warning: %s", blanch_error_message());
    return code == BLANCH_EIO ? 0 : code;
}

static int report(struct bl_trained *t, const struct measured *m, int count, const struct bl_weights_options *o) {
    cJSON *json = document(t, m, count, &o->common);
    int code = o->run ? write_json(o->run, json) : 0;
    if (!code && o->run && m->metrics.pixels) code = write_overlays(t, m, o->run);
    if (!code && o->common.json) return bl_print_json(json);
    cJSON_Delete(json);
    if (code) return code;
    for (int i = 0; i < count; i++) print(t, &m[i]);
    print_classes(t, &m[count - 1].scores);
    print_confusion(t, &m[count - 1].scores);
    return 0;
}

static int eval(struct bl_trained *t, const char *split, bool train, const struct bl_weights_options *o) {
    struct measured m[BL_SPLITS + 1] = {{0}};
    int count, wanted = choose(t, split, train), code = wanted < 0 ? wanted : measure(t, wanted, m, &count);
    if (!code) code = report(t, m, count, o);
    for (int i = 0; i < BL_COUNT(m); i++) bl_answers_free(&m[i].answers), bl_scores_free(&m[i].scores);
    return code;
}

static int run(int argc, char **argv) {
    struct bl_weights_options o = {.needs_data = true};
    const char *split = NULL;
    bool train = false, help;
    bl_common_init(&o.common);
    const struct bl_option own[] = {
        {"run", BL_OPT_TEXT, &o.run, 0, 0, "DIR", "a run: its last weights, settings and data"},
        {"best", BL_OPT_FLAG, &o.best, 0, 0, NULL, "the run's best weights instead"},
        {"weights", BL_OPT_TEXT, &o.weights, 0, 0, "FILE",
         "a state dict as safetensors; --model and --norm where it does not say"},
        {"normalise", BL_OPT_TEXT, &o.normalise, 0, 0, "NAME",
         "of weights that do not say: imagenet, cifar10, none, ..."},
        {"data", BL_OPT_TEXT, &o.data, 0, 0, "SPEC", "the dataset (default: the run's)"},
        {"split", BL_OPT_TEXT, &split, 0, 0, "NAME",
         "train, val, test or all (default: test, or val where there are no test images)"},
        {"train", BL_OPT_FLAG, &train, 0, 0, NULL, "as --split train"},
        {"seed", BL_OPT_INT64, &o.common.seed, 0, 9007199254740992.0, "N",
         "divides data as that of training did: --val-split, folders without splits (the run's, 0)"},
        {0},
    };
    struct bl_option options[BL_MAX_OPTIONS];
    bl_common_options(options, own, &o.common,
                      BL_COMMON_NETWORK | BL_COMMON_BATCH | BL_COMMON_DEVICE | BL_COMMON_ND | BL_COMMON_JSON |
                          BL_COMMON_DIVISION | BL_COMMON_CACHE);
    int code = bl_options_parse(&bl_command_eval, options, argc, argv, NULL, &help);
    if (code || help) return code;
    if (train && split) return bl_fail(BLANCH_EUSAGE, "--train is --split train: give one of them");
    struct bl_trained trained;
    bl_end_in_order();
    if (!(code = bl_trained_open(&trained, &o))) {
        code = eval(&trained, split, train, &o);
        bl_trained_close(&trained);
    }
    return code;
}

const struct bl_command bl_command_eval = {
    .name = "eval",
    .summary = "measures a trained network on a dataset",
    .usage = "usage: blanch eval --run DIR [--best] [--data SPEC] [options]\n"
             "       blanch eval --weights FILE [--model NAME --norm NORM] --data SPEC [options]\n"
             "\n"
             "Prints the mean loss and the share of images whose class is the likeliest (top-1) or among the five\n"
             "likeliest (top-5); then each class's precision and recall, and which are taken for which; of a network "
             "that\n"
             "labels pixels the share of them that is right and each class's intersection over union. With --run,\n"
             "eval.json in DIR has all of it, overlays.png some masks, and `blanch report DIR` shows them.\n",
    .run = run,
};
