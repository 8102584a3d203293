/* What a network answered, image by image, and what that says of each class. */
#ifndef BL_ANSWERS_H
#define BL_ANSWERS_H

#include "train/train.h"

struct bl_answers { // start from zero
    int32_t *label, *answer;
    size_t count, capacity;
    /* Of networks that label pixels: (classes, classes), how many of a class were answered as which. */
    double *pixels;
    int classes;
};
/* Labelled pixels are added, BL_IGNORED_LABEL left out. */
int bl_answers_add_pixels(struct bl_answers *answers, const int32_t *labels, const int32_t *given, size_t count,
                          int classes);
/* Of a class: right / (right, taken for another, or another taken for it), per cent; NAN: there was none of it, and
 * none answered. The mean is over the others. */
double bl_answers_iou(const struct bl_answers *answers, int class);
double bl_answers_mean_iou(const struct bl_answers *answers);
/* pixels.c: of a batch's logits, NCHW, metrics and answers, which may be NULL; the answers of the batch that went
 * forward to a loss. */
int bl_pixels_evaluate(const struct blanch_network *net, const struct bl_batch *batch, const float *logits,
                       struct blanch_metrics *metrics, struct bl_answers *answers);
int bl_pixels_answered(struct blanch_network *net, const struct bl_batch *batch, struct bl_answers *answers);
int bl_answers_add(struct bl_answers *answers, int32_t label, int32_t answer);
int bl_answers_join(struct bl_answers *sum, const struct bl_answers *part);
void bl_answers_free(struct bl_answers *answers);
/* bl_network_test of a network made for inference, or of one that labels pixels, which adds every answer: the likeliest
 * class, of equal ones the first. */
int bl_network_answer(struct blanch_network *net, struct bl_dataset *data, enum bl_split split,
                      const struct bl_view *view, struct blanch_metrics *metrics, double *seconds,
                      struct bl_answers *answers);

/* bl_network_eval of such a network, with its answers; NULL: without. */
int bl_network_eval_answers(struct blanch_network *net, const struct bl_batch *batch, struct blanch_metrics *metrics,
                            struct bl_answers *answers);

struct bl_class_score {
    uint64_t images, answered, right;  // or pixels
    double precision, recall, f1, iou; // per cent; NAN: never answered, no images, or both
};
struct bl_confused { // images of a class that another was answered for
    int32_t label, answer;
    uint64_t count;
};
struct bl_scores {
    int classes;
    bool pixels;     // they are what is counted
    double mean_iou; // of them
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
