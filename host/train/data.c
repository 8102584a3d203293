/* The data of a run: what was found in them is recorded in config.json, and the run holds to it. */
#include "train/train.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const cJSON *found_of(const struct bl_run_config *config) {
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(config->json, "data_found");
    return cJSON_IsObject(found) ? found : NULL;
}

static void hexadecimal(char text[17], uint64_t value) {
    snprintf(text, 17, "%016" PRIx64, value);
}

cJSON *bl_run_data_json(const struct bl_dataset *data) {
    const struct bl_division division = bl_dataset_division(data);
    cJSON *json = cJSON_CreateObject(), *unread = cJSON_CreateObject();
    char text[17];
    uint64_t names;
    uint32_t count;
    for (int s = 0; s < BL_SPLITS; s++) {
        cJSON *split = cJSON_CreateObject();
        cJSON_AddNumberToObject(split, "images", bl_dataset_found(data, (enum bl_split)s, &names));
        hexadecimal(text, names);
        cJSON_AddStringToObject(split, "names", text);
        cJSON_AddItemToObject(json, bl_split_name((enum bl_split)s), split);
    }
    const char *type;
    for (int t = 0; (type = bl_dataset_unread(data, t, &count)); t++) cJSON_AddNumberToObject(unread, type, count);
    cJSON_AddItemToObject(json, "unread", unread);
    hexadecimal(text, division.limit);
    if (division.limit) cJSON_AddStringToObject(json, "test_limit", text);
    hexadecimal(text, division.val_limit);
    if (division.val_limit) cJSON_AddStringToObject(json, "val_limit", text);
    if (division.old) cJSON_AddTrueToObject(json, "old_division");
    cJSON_AddStringToObject(json, "best_by", bl_split_name(bl_dataset_judge(data)));
    return json;
}

static bool read_limit(const cJSON *limit, uint64_t *value) {
    const char *text = limit && cJSON_IsString(limit) ? limit->valuestring : "0";
    *value = strtoull(text, NULL, 16);
    return !limit || (strlen(text) == 16 && strspn(text, "0123456789abcdef") == 16 && *value);
}

int bl_run_data_open(struct bl_dataset **data, const struct bl_run_config *config, const char *spec,
                     const struct bl_run_division *asked) {
    struct bl_division division = {.seed = asked->seed, .file = asked->split_file};
    const cJSON *found = found_of(config);
    *data = NULL;
    if (!found && cJSON_GetObjectItemCaseSensitive(config->json, "data_found"))
        return bl_fail(BLANCH_EINPUT, "config.json: \"data_found\" is no object");
    if (!read_limit(cJSON_GetObjectItemCaseSensitive(found, "test_limit"), &division.limit))
        return bl_fail(BLANCH_EINPUT, "config.json: \"test_limit\" of \"data_found\" is not 16 hexadecimal digits");
    if (!read_limit(cJSON_GetObjectItemCaseSensitive(found, "val_limit"), &division.val_limit))
        return bl_fail(BLANCH_EINPUT, "config.json: \"val_limit\" of \"data_found\" is not 16 hexadecimal digits");
    int code = asked->val_split ? bl_val_split_parse(asked->val_split, &division.validation) : 0;
    if (code) return code;
    division.old = (config->json && !found) || cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(found, "old_division"));
    return bl_dataset_open_divided(data, spec, &division);
}

/* --- classes ---------------------------------------------------------------------------------- */

/* Formats whose labels mean the same in every copy of them. */
static bool same_format(const struct bl_dataset *data, const char *spec) {
    const char *name = bl_dataset_name(data);
    size_t length = strlen(name);
    return strcmp(name, "folder") != 0 && !strncmp(spec, name, length) && (!spec[length] || spec[length] == ':');
}

int bl_run_data_classes(const struct bl_run_config *config, struct bl_dataset *data, const char *spec, bool all) {
    const int count = config->class_names;
    const char **names = bl_calloc((size_t)count + 1, sizeof *names);
    int code = names ? 0 : BLANCH_ENOMEM, i = 0;
    if (!code && count && count != config->options.network.classes)
        code = bl_fail(BLANCH_EINPUT, "config.json: %d \"class_names\" for %d classes", count,
                       config->options.network.classes);
    for (const cJSON *item = config->class_name ? config->class_name->child : NULL; item && !code; item = item->next)
        if (!(names[i++] = cJSON_GetStringValue(item)))
            code = bl_fail(BLANCH_EINPUT, "config.json: one of the \"class_names\" is no text");
    if (!code && count && !(config->options.data && same_format(data, config->options.data)))
        code = bl_dataset_classes_as(data, names, count, all);
    free(names);
    if (code || bl_dataset_classes(data) == config->options.network.classes) return code;
    return bl_fail(BLANCH_EINPUT, "%s has %d classes, the run's network %d", spec, bl_dataset_classes(data),
                   config->options.network.classes);
}

/* --- images ----------------------------------------------------------------------------------- */

/* The images are others than the run's; *before is how many it had. */
static bool differs(const struct bl_run_config *config, const struct bl_dataset *data, enum bl_split split,
                    uint32_t *before) {
    const cJSON *record = cJSON_GetObjectItemCaseSensitive(found_of(config), bl_split_name(split));
    const cJSON *images = cJSON_GetObjectItemCaseSensitive(record, "images");
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(record, "names");
    char text[17];
    uint64_t names, now = bl_dataset_found(data, split, &names);
    if (!cJSON_IsNumber(images) || !cJSON_IsString(list)) return false;
    hexadecimal(text, names);
    *before = images->valuedouble >= 0 && images->valuedouble <= UINT32_MAX ? (uint32_t)images->valuedouble : 0;
    return images->valuedouble != (double)now || strcmp(list->valuestring, text) != 0;
}

char *bl_run_data_changes(const struct bl_run_config *config, const struct bl_dataset *data, unsigned splits) {
    char text[512] = "";
    for (int s = 0; s < BL_SPLITS; s++) {
        uint32_t before, now = bl_dataset_found(data, (enum bl_split)s, NULL);
        if (!(splits & 1u << s) || !differs(config, data, (enum bl_split)s, &before)) continue;
        size_t length = strlen(text);
        snprintf(text + length, sizeof text - length, "%s%u %s images, the run had %u%s", length ? "; " : "", now,
                 bl_split_title((enum bl_split)s), before, now == before ? " of other names" : "");
    }
    return bl_strdup(text);
}

static bool old_batches_differ(const struct bl_run_config *config, uint32_t images) {
    const cJSON *batches = cJSON_GetObjectItemCaseSensitive(config->json, "steps_per_epoch");
    uint32_t batch = (uint32_t)config->options.network.batch;
    return !found_of(config) && cJSON_IsNumber(batches) && batches->valuedouble != (double)((images - 1) / batch + 1);
}

/* What other images chose is not to be compared with: the best of those of before would stay, under the name of now. */
static int check_judge(const struct bl_run_config *config, const struct bl_dataset *data) {
    const char *before = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(found_of(config), "best_by"));
    const enum bl_split now = bl_dataset_judge(data);
    int split = 0;
    while (before && split < BL_SPLITS && strcmp(before, bl_split_name((enum bl_split)split)) != 0) split++;
    if (!before || split == (int)now) return 0;
    if (split == BL_SPLITS)
        return bl_fail(BLANCH_EINPUT, "config.json: \"best_by\" of \"data_found\" is not train, val or test");
    return bl_fail(BLANCH_EINPUT,
                   "%s: the %s images chose the run's best.safetensors, now the %s images would: --resume needs %s, "
                   "--init begins another run",
                   config->options.data, bl_split_title((enum bl_split)split), bl_split_title(now),
                   bl_dataset_found(data, (enum bl_split)split, NULL) ? "the data as they were" : "them again");
}

int bl_run_data_resume(const struct bl_run_config *config, struct bl_dataset *data, char **changes) {
    const char *spec = config->options.data;
    int code = bl_run_data_classes(config, data, spec, true);
    *changes = NULL;
    if (code) return code;
    char *train = bl_run_data_changes(config, data, 1u << BL_TRAIN);
    if (!train) return BLANCH_ENOMEM;
    const char *cause = *train ? bl_dataset_message(data) : NULL;
    if (*train)
        code = bl_fail(BLANCH_EINPUT,
                       "%s has %s: --resume needs those that the run began with, --init begins another with these%s%s",
                       spec, train, cause ? "; " : "", cause ? cause : "");
    else if (old_batches_differ(config, bl_dataset_count(data, BL_TRAIN)))
        code = bl_fail(BLANCH_EINPUT, "%s has %u training images, another number than the run began with", spec,
                       bl_dataset_count(data, BL_TRAIN));
    free(train);
    if (!code) code = check_judge(config, data);
    if (!code && !(*changes = bl_run_data_changes(config, data, 1u << BL_VAL | 1u << BL_TEST))) code = BLANCH_ENOMEM;
    return code;
}
