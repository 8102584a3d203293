/* What a run writes for TensorBoard. Steps are the horizontal axis of every tag. */
#include "train/run.h"
#include <stdlib.h>
#include <string.h>

static double per_cent(int part, int count) {
    return count ? 100.0 * part / count : 0;
}

struct point {
    const char *tag;
    double value;
};

static int write(const struct run *run, const struct point *points, int count) {
    int code = 0;
    for (int i = 0; !code && i < count; i++) {
        if (!bl_run_classifies(run) && strstr(points[i].tag, "top")) continue; // there are none
        code = bl_tensorboard_scalar(run->tensorboard, points[i].tag, run->position.step, points[i].value);
    }
    return code;
}

int bl_run_tensorboard_step(const struct run *run, const struct blanch_metrics *batch, float lr, double images_per_s) {
    if (!run->tensorboard) return 0;
    const struct point points[] = {
        {"train/loss", batch->loss},
        {run->iou ? "train/pixel_accuracy" : "train/top1", bl_accuracy(batch)},
        {"lr", (double)lr},
        {"images_per_s", images_per_s},
    };
    return write(run, points, BL_COUNT(points));
}

int bl_run_tensorboard_epoch(const struct run *run, const struct blanch_metrics *judged, double seconds) {
    if (!run->tensorboard) return 0;
    const bool val = bl_dataset_judge(run->data) == BL_VAL;
    const struct blanch_metrics *train = &run->position.train;
    const struct point points[] = {
        {"epoch/train_loss", train->loss},
        {run->iou ? "epoch/train_pixel_accuracy" : "epoch/train_top1", bl_accuracy(train)},
        {"epoch/train_s", run->position.train_s},
        {val ? "epoch/val_s" : "epoch/test_s", seconds},
        {val ? "val/loss" : "test/loss", judged->loss},
    };
    const struct point of_images[] = {
        {"epoch/train_top5", per_cent(train->top5, train->count)},
        {val ? "val/top1" : "test/top1", bl_accuracy(judged)},
        {val ? "val/top5" : "test/top5", per_cent(judged->top5, judged->count)},
    };
    const struct point of_pixels[] = {
        {val ? "val/mean_iou" : "test/mean_iou", judged->mean_iou},
        {val ? "val/pixel_accuracy" : "test/pixel_accuracy", bl_accuracy(judged)},
    };
    int code = write(run, points, BL_COUNT(points) - !judged->count);
    if (code) return code;
    if (run->iou) return write(run, of_pixels, judged->count ? BL_COUNT(of_pixels) : 0);
    return write(run, of_images, judged->count ? BL_COUNT(of_images) : 1);
}

int bl_run_tensorboard_test(const struct run *run, const struct blanch_metrics *test) {
    if (!run->tensorboard) return 0;
    const struct point points[] = {
        {"test/loss", test->loss},
        {run->iou ? "test/pixel_accuracy" : "test/top1", bl_accuracy(test)},
        {run->iou ? "test/mean_iou" : "test/top5", run->iou ? test->mean_iou : per_cent(test->top5, test->count)},
    };
    return write(run, points, BL_COUNT(points));
}

/* Each layer's whitened covariance: how far its eigenvalues spread about 1, where whitening is complete. */
int bl_run_tensorboard_diagnoses(const struct run *run, const struct bl_diagnosis *diagnoses, int count) {
    int code = 0;
    for (int i = 0; run->tensorboard && !code && i < count; i++) {
        float values[BL_EIGENVALUES];
        char *tag = bl_format("whitened/%s", diagnoses[i].node->name);
        if (!tag) return BLANCH_ENOMEM;
        for (int k = 0; k < diagnoses[i].eigenvalue_count; k++) values[k] = (float)diagnoses[i].eigenvalue[k];
        code = bl_tensorboard_histogram(run->tensorboard, tag, run->position.step + 1, values,
                                        diagnoses[i].eigenvalue_count);
        free(tag);
    }
    return code;
}

int bl_run_tensorboard_budget(const struct run *run, const cJSON *line) {
    const cJSON *held = cJSON_GetObjectItemCaseSensitive(line, "held_pct");
    if (!run->tensorboard || !cJSON_IsNumber(held)) return 0;
    const struct point point = {"overhead/held_pct", held->valuedouble};
    return write(run, &point, 1);
}
