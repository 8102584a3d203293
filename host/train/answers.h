/* What a network answered, image by image, and what that says of each class. */
#ifndef BL_ANSWERS_H
#define BL_ANSWERS_H

#include "train/train.h"

struct bl_answers { // start from zero
    int32_t *label, *answer;
    size_t count, capacity;
};
int bl_answers_add(struct bl_answers *answers, int32_t label, int32_t answer);
int bl_answers_join(struct bl_answers *sum, const struct bl_answers *part);
void bl_answers_free(struct bl_answers *answers);
/* bl_network_test of a network made for inference, which adds every image's answer: the likeliest class, of equal ones
 * the first. */
int bl_network_answer(struct blanch_network *net, struct bl_dataset *data, enum bl_split split,
                      const struct bl_view *view, struct blanch_metrics *metrics, double *seconds,
                      struct bl_answers *answers);

struct bl_class_score {
    uint32_t images, answered, right;
    double precision, recall, f1; // per cent; NAN: never answered, no images, or both
};
struct bl_confused { // images of a class that another was answered for
    int32_t label, answer;
    uint32_t count;
};
struct bl_scores {
    int classes;
    struct bl_class_score *class;
    double precision, recall, f1; // means over the classes that have images; what is NAN counts 0
    struct bl_confused *confused; // most often first
    size_t confusions;
};
int bl_scores_make(struct bl_scores *scores, const struct bl_answers *answers, int classes);
void bl_scores_free(struct bl_scores *scores);
/* Adds "macro_precision" and its like, "classes" (by class, with its name) and, of up to BL_MOST_CONFUSION classes,
 * "confusion": by class, how often which was answered. */
enum { BL_MOST_CONFUSION = 256 };
void bl_scores_json(const struct bl_scores *scores, const char *(*name)(const void *context, int label),
                    const void *context, cJSON *json);

#endif
