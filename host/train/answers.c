/* What a network answered, and what that says of each class. */
#include "train/answers.h"
#include "io/files.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- answers ---------------------------------------------------------------------------------- */

int bl_answers_add(struct bl_answers *answers, int32_t label, int32_t answer) {
    size_t capacity = answers->capacity;
    int code = bl_grow((void **)&answers->label, &capacity, answers->count + 1, sizeof *answers->label);
    if (!code)
        code = bl_grow((void **)&answers->answer, &answers->capacity, answers->count + 1, sizeof *answers->answer);
    if (code) return code;
    answers->label[answers->count] = label;
    answers->answer[answers->count++] = answer;
    return 0;
}

static int make_pixels(struct bl_answers *answers, int classes) {
    answers->classes = classes;
    answers->pixels = bl_calloc((size_t)classes * (size_t)classes, sizeof *answers->pixels);
    return answers->pixels ? 0 : BLANCH_ENOMEM;
}

int bl_answers_add_pixels(struct bl_answers *answers, const int32_t *labels, const int32_t *given, size_t count,
                          int classes) {
    int code = answers->pixels ? 0 : make_pixels(answers, classes);
    for (size_t i = 0; i < count && !code; i++)
        if (labels[i] != BL_IGNORED_LABEL) answers->pixels[(size_t)labels[i] * (size_t)classes + (size_t)given[i]]++;
    return code;
}

double bl_answers_iou(const struct bl_answers *answers, int class) {
    const size_t classes = (size_t)answers->classes, c = (size_t) class;
    const double right = answers->pixels[c * classes + c];
    double either = -right;
    for (size_t i = 0; i < classes; i++) either += answers->pixels[c * classes + i] + answers->pixels[i * classes + c];
    return either > 0 ? 100 * right / either : NAN;
}

double bl_answers_mean_iou(const struct bl_answers *answers) {
    double sum = 0;
    int there = 0;
    for (int c = 0; c < answers->classes; c++) {
        const double iou = bl_answers_iou(answers, c);
        if (!isnan(iou)) sum += iou, there++;
    }
    return there ? sum / there : 0;
}

int bl_answers_join(struct bl_answers *sum, const struct bl_answers *part) {
    int code = part->pixels && !sum->pixels ? make_pixels(sum, part->classes) : 0;
    const size_t cells = part->pixels ? (size_t)part->classes * (size_t)part->classes : 0;
    for (size_t i = 0; i < cells && !code; i++) sum->pixels[i] += part->pixels[i];
    for (size_t i = 0; i < part->count && !code; i++) code = bl_answers_add(sum, part->label[i], part->answer[i]);
    return code;
}

void bl_answers_free(struct bl_answers *answers) {
    free(answers->label);
    free(answers->answer);
    free(answers->pixels);
    *answers = (struct bl_answers){0};
}

/* --- scores ----------------------------------------------------------------------------------- */

static double per_cent(uint64_t part, uint64_t whole) {
    return whole ? 100.0 * (double)part / (double)whole : NAN;
}

static void count_pixels(struct bl_scores *s, const struct bl_answers *answers) {
    for (int label = 0; label < s->classes && answers->pixels; label++)
        for (int answer = 0; answer < s->classes; answer++) {
            const uint64_t count = (uint64_t)answers->pixels[(size_t)label * (size_t)s->classes + (size_t)answer];
            s->class[label].images += count, s->class[answer].answered += count;
            if (label == answer) s->class[label].right = count;
        }
    s->pixels = answers->pixels != NULL;
    if (s->pixels) s->mean_iou = bl_answers_mean_iou(answers);
}

static void score_classes(struct bl_scores *s, const struct bl_answers *answers) {
    int shown = 0;
    count_pixels(s, answers);
    for (size_t i = 0; i < answers->count; i++) {
        s->class[answers->label[i]].images++;
        s->class[answers->answer[i]].answered++;
        if (answers->label[i] == answers->answer[i]) s->class[answers->label[i]].right++;
    }
    for (int c = 0; c < s->classes; c++) {
        struct bl_class_score *class = &s->class[c];
        class->precision = per_cent(class->right, class->answered);
        class->recall = per_cent(class->right, class->images);
        class->f1 = per_cent(2 * class->right, class->images + class->answered);
        class->iou = per_cent(class->right, class->images + class->answered - class->right);
        if (!class->images) continue;
        shown++;
        s->precision += class->answered ? class->precision : 0;
        s->recall += class->recall;
        s->f1 += class->f1;
    }
    s->precision /= shown, s->recall /= shown, s->f1 /= shown;
}

static int by_pair(const void *a, const void *b) {
    const struct bl_confused *x = a, *y = b;
    if (x->label != y->label) return x->label < y->label ? -1 : 1;
    return x->answer < y->answer ? -1 : x->answer > y->answer;
}

static int by_count(const void *a, const void *b) {
    const struct bl_confused *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count ? 1 : -1) : by_pair(a, b);
}

static int list_pixels(struct bl_scores *s, const struct bl_answers *answers) {
    const size_t cells = (size_t)s->classes * (size_t)s->classes;
    if (!(s->confused = bl_calloc(cells + 1, sizeof *s->confused))) return BLANCH_ENOMEM;
    for (size_t i = 0; i < cells; i++) {
        const int32_t label = (int32_t)(i / (size_t)s->classes), answer = (int32_t)(i % (size_t)s->classes);
        if (label != answer && answers->pixels[i] > 0)
            s->confused[s->confusions++] = (struct bl_confused){label, answer, (uint64_t)answers->pixels[i]};
    }
    qsort(s->confused, s->confusions, sizeof *s->confused, by_count);
    return 0;
}

static int count_confusions(struct bl_scores *s, const struct bl_answers *answers) {
    size_t kept = 0;
    if (answers->pixels) return list_pixels(s, answers);
    if (!(s->confused = bl_calloc(answers->count + 1, sizeof *s->confused))) return BLANCH_ENOMEM;
    for (size_t i = 0; i < answers->count; i++)
        if (answers->label[i] != answers->answer[i])
            s->confused[s->confusions++] = (struct bl_confused){answers->label[i], answers->answer[i], 1};
    qsort(s->confused, s->confusions, sizeof *s->confused, by_pair);
    for (size_t i = 0; i < s->confusions; i++) {
        if (kept && !by_pair(&s->confused[kept - 1], &s->confused[i]))
            s->confused[kept - 1].count++;
        else
            s->confused[kept++] = s->confused[i];
    }
    s->confusions = kept;
    qsort(s->confused, kept, sizeof *s->confused, by_count);
    return 0;
}

int bl_scores_make(struct bl_scores *scores, const struct bl_answers *answers, int classes) {
    *scores = (struct bl_scores){.classes = classes, .class = bl_calloc((size_t)classes, sizeof *scores->class)};
    int code = scores->class ? count_confusions(scores, answers) : BLANCH_ENOMEM;
    if (code)
        bl_scores_free(scores);
    else
        score_classes(scores, answers);
    return code;
}

void bl_scores_free(struct bl_scores *scores) {
    free(scores->class);
    free(scores->confused);
    *scores = (struct bl_scores){0};
}

/* --- JSON ------------------------------------------------------------------------------------- */

static cJSON *class_json(const struct bl_scores *s, const struct bl_class_score *class, const char *name) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", name);
    cJSON_AddNumberToObject(json, s->pixels ? "pixels" : "images", (double)class->images);
    cJSON_AddNumberToObject(json, "answered", (double)class->answered);
    cJSON_AddNumberToObject(json, "right", (double)class->right);
    if (s->pixels) cJSON_AddItemToObject(json, "iou", bl_json_number(class->iou, 6));
    cJSON_AddItemToObject(json, "precision", bl_json_number(class->precision, 6));
    cJSON_AddItemToObject(json, "recall", bl_json_number(class->recall, 6));
    cJSON_AddItemToObject(json, "f1", bl_json_number(class->f1, 6));
    return json;
}

/* counts: of a class's answers, all zero before and after. */
static cJSON *row_json(const struct bl_scores *s, int label, double *counts) {
    counts[label] = (double)s->class[label].right;
    for (size_t i = 0; i < s->confusions; i++)
        if (s->confused[i].label == label) counts[s->confused[i].answer] = (double)s->confused[i].count;
    cJSON *row = cJSON_CreateDoubleArray(counts, s->classes);
    memset(counts, 0, (size_t)s->classes * sizeof *counts);
    return row;
}

void bl_scores_json(const struct bl_scores *s, const char *(*name)(const void *context, int label), const void *context,
                    cJSON *json) {
    double counts[BL_MOST_CONFUSION] = {0};
    if (s->pixels) cJSON_AddItemToObject(json, "mean_iou", bl_json_number(s->mean_iou, 6));
    cJSON_AddItemToObject(json, "macro_precision", bl_json_number(s->precision, 6));
    cJSON_AddItemToObject(json, "macro_recall", bl_json_number(s->recall, 6));
    cJSON_AddItemToObject(json, "macro_f1", bl_json_number(s->f1, 6));
    cJSON *classes = cJSON_AddArrayToObject(json, "classes");
    for (int c = 0; c < s->classes; c++) cJSON_AddItemToArray(classes, class_json(s, &s->class[c], name(context, c)));
    if (s->classes > BL_MOST_CONFUSION) return;
    cJSON *confusion = cJSON_AddArrayToObject(json, "confusion");
    for (int c = 0; c < s->classes; c++) cJSON_AddItemToArray(confusion, row_json(s, c, counts));
}
