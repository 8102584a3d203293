/* --class-weights: of the training images, from a file, or as the record of a run has them. */
#include "io/files.h"
#include "train/run.h"
#include <float.h>
#include <stdlib.h>
#include <string.h>

/* Images / (classes * images of the class), as scikit-learn balances; a class without images keeps 1. */
static int balance(struct run *run, int classes) {
    const uint32_t images = bl_dataset_count(run->data, BL_TRAIN);
    uint32_t *count = bl_calloc((size_t)classes, sizeof *count);
    if (!count) return BLANCH_ENOMEM;
    for (uint32_t i = 0; i < images; i++) count[bl_dataset_label(run->data, BL_TRAIN, i)]++;
    for (int c = 0; c < classes; c++)
        run->class_weight[c] = count[c] ? (float)((double)images / ((double)classes * (double)count[c])) : 1;
    free(count);
    return 0;
}

/* An array by class, or an object by the classes' names. */
static int take(struct run *run, const cJSON *json, int classes, const char *path) {
    if (!cJSON_IsArray(json) && !cJSON_IsObject(json))
        return bl_fail(BLANCH_EINPUT, "%s: is no array of a weight for each class, nor an object by their names", path);
    if (cJSON_GetArraySize(json) != classes)
        return bl_fail(BLANCH_EINPUT, "%s: has %d weights, and there are %d classes", path, cJSON_GetArraySize(json),
                       classes);
    bool any = false;
    for (int c = 0; c < classes; c++) {
        const char *name = bl_dataset_class_name(run->data, c);
        const cJSON *item =
            cJSON_IsArray(json) ? cJSON_GetArrayItem(json, c) : cJSON_GetObjectItemCaseSensitive(json, name);
        if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= 1e6))
            return bl_fail(BLANCH_EINPUT, "%s: has no weight from 0 to 1e6 for class %d, '%s'", path, c,
                           name ? name : "");
        run->class_weight[c] = (float)item->valuedouble;
        any |= run->class_weight[c] > 0;
    }
    return any ? 0 : bl_fail(BLANCH_EINPUT, "%s: no class has a weight above 0", path);
}

static int read_file(struct run *run, int classes) {
    cJSON *json = NULL;
    int code = bl_json_read(run->o.class_weights, &json);
    if (!code) code = take(run, json, classes, run->o.class_weights);
    cJSON_Delete(json);
    return code;
}

int bl_run_weigh_classes(struct run *run) {
    const int classes = bl_dataset_classes(run->data);
    const cJSON *record = cJSON_GetObjectItemCaseSensitive(run->config.json, "class_weight");
    if (!run->o.class_weights) return 0;
    if (!(run->class_weight = bl_calloc((size_t)classes, sizeof *run->class_weight))) return BLANCH_ENOMEM;
    run->o.network.loss.weight = run->class_weight;
    if (!strcmp(run->o.class_weights, "balanced") && bl_dataset_has_masks(run->data))
        return bl_fail(BLANCH_EUSAGE, "--class-weights balanced counts images, not pixels: give a file");
    if (run->config.json) return take(run, record, classes, "config.json, \"class_weight\"");
    return strcmp(run->o.class_weights, "balanced") ? read_file(run, classes) : balance(run, classes);
}
