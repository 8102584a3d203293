/* What a network answered, and what that says of each class. */
#include "train/answers.h"
#include "io/files.h"
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

int bl_answers_join(struct bl_answers *sum, const struct bl_answers *part) {
    int code = 0;
    for (size_t i = 0; i < part->count && !code; i++) code = bl_answers_add(sum, part->label[i], part->answer[i]);
    return code;
}

void bl_answers_free(struct bl_answers *answers) {
    free(answers->label);
    free(answers->answer);
    *answers = (struct bl_answers){0};
}

/* --- scores ----------------------------------------------------------------------------------- */

static double per_cent(uint32_t part, uint32_t whole) {
    return whole ? 100.0 * part / whole : NAN;
}

static void score_classes(struct bl_scores *s, const struct bl_answers *answers) {
    int shown = 0;
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

static int count_confusions(struct bl_scores *s, const struct bl_answers *answers) {
    size_t kept = 0;
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

static cJSON *class_json(const struct bl_class_score *class, const char *name) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "name", name);
    cJSON_AddNumberToObject(json, "images", class->images);
    cJSON_AddNumberToObject(json, "answered", class->answered);
    cJSON_AddNumberToObject(json, "right", class->right);
    cJSON_AddItemToObject(json, "precision", bl_json_number(class->precision, 6));
    cJSON_AddItemToObject(json, "recall", bl_json_number(class->recall, 6));
    cJSON_AddItemToObject(json, "f1", bl_json_number(class->f1, 6));
    return json;
}

/* counts: of a class's answers, all zero before and after. */
static cJSON *row_json(const struct bl_scores *s, int label, int *counts) {
    counts[label] = (int)s->class[label].right;
    for (size_t i = 0; i < s->confusions; i++)
        if (s->confused[i].label == label) counts[s->confused[i].answer] = (int)s->confused[i].count;
    cJSON *row = cJSON_CreateIntArray(counts, s->classes);
    memset(counts, 0, (size_t)s->classes * sizeof *counts);
    return row;
}

void bl_scores_json(const struct bl_scores *s, const char *(*name)(const void *context, int label), const void *context,
                    cJSON *json) {
    int counts[BL_MOST_CONFUSION] = {0};
    cJSON_AddItemToObject(json, "macro_precision", bl_json_number(s->precision, 6));
    cJSON_AddItemToObject(json, "macro_recall", bl_json_number(s->recall, 6));
    cJSON_AddItemToObject(json, "macro_f1", bl_json_number(s->f1, 6));
    cJSON *classes = cJSON_AddArrayToObject(json, "classes");
    for (int c = 0; c < s->classes; c++) cJSON_AddItemToArray(classes, class_json(&s->class[c], name(context, c)));
    if (s->classes > BL_MOST_CONFUSION) return;
    cJSON *confusion = cJSON_AddArrayToObject(json, "confusion");
    for (int c = 0; c < s->classes; c++) cJSON_AddItemToArray(confusion, row_json(s, c, counts));
}
