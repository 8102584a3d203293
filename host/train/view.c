/* How images become a network's input, as records have it: config.json, the metadata of weights. */
#include "train/torchvision.h"
#include "train/train.h"
#include "base/text.h"
#include "io/document.h"
#include "io/files.h"
#include <float.h>
#include <math.h>
#include <string.h>

/* --- sizes ------------------------------------------------------------------------------------ */

/* N or HxW. */
static bool parse_size(const char *text, int *height, int *width) {
    long long h, w;
    size_t length = bl_text_whole(text, &h), more = 0;
    if (!length || h < 1 || h > BL_LARGEST_INPUT) return false;
    w = h;
    if (text[length] == 'x' && (more = bl_text_whole(text + length + 1, &w))) length += 1 + more;
    if (text[length] || w < 1 || w > BL_LARGEST_INPUT) return false;
    *height = (int)h;
    *width = (int)w;
    return true;
}

int bl_model_size(const struct blanch_model *model, const char *text, int *height, int *width) {
    *height = model->size;
    *width = bl_model_width(model);
    if (!text || parse_size(text, height, width)) return 0;
    return bl_fail(BLANCH_EUSAGE, "--size takes pixels from 1 to %d, as in 96 or 96x128 (height x width), not '%s'",
                   BL_LARGEST_INPUT, text);
}

/* --- choosing --------------------------------------------------------------------------------- */

int bl_view_choose(struct bl_view *view, struct bl_dataset *data, const struct bl_network_options *input,
                   const char *augment, const char **normalise) {
    bl_view_default(view, data, input->channels, input->height, input->width);
    int code = augment ? bl_augment_parse(augment, &view->augment) : 0;
    if (!*normalise && bl_torchvision_named(input->model)) *normalise = "imagenet";
    if (!*normalise) *normalise = bl_normalise_default(data, input->height, input->width);
    return code ? code : bl_view_normalise(view, data, *normalise);
}

/* --- writing ---------------------------------------------------------------------------------- */

static cJSON *size_json(int height, int width) {
    return height == width ? cJSON_CreateNumber(height) : cJSON_CreateIntArray((int[]){height, width}, 2);
}

cJSON *bl_view_json(const struct bl_view *view) {
    cJSON *json = cJSON_CreateObject();
    int height, width;
    bl_view_scale(view, &height, &width);
    cJSON_AddNumberToObject(json, "channels", view->channels);
    cJSON_AddItemToObject(json, "size", size_json(view->height, view->width));
    cJSON_AddStringToObject(json, "augment", bl_augment_name(view->augment));
    cJSON_AddItemToObject(json, "scaled_to_cover", size_json(height, width));
    cJSON *mean = cJSON_AddArrayToObject(json, "mean"), *deviation = cJSON_AddArrayToObject(json, "deviation");
    for (int c = 0; c < view->channels; c++) {
        cJSON_AddItemToArray(mean, bl_json_float(view->mean[c]));
        cJSON_AddItemToArray(deviation, bl_json_float(view->deviation[c]));
    }
    return json;
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool is_whole(const cJSON *item, int most) {
    return cJSON_IsNumber(item) && item->valuedouble >= 1 && item->valuedouble <= most &&
           item->valuedouble == floor(item->valuedouble);
}

static int read_size(const cJSON *json, const char *path, struct bl_view *view) {
    const cJSON *size = cJSON_GetObjectItemCaseSensitive(json, "size");
    const bool two = cJSON_IsArray(size) && cJSON_GetArraySize(size) == 2;
    const cJSON *height = two ? cJSON_GetArrayItem(size, 0) : size, *width = two ? cJSON_GetArrayItem(size, 1) : size;
    if (!is_whole(height, BL_LARGEST_INPUT) || !is_whole(width, BL_LARGEST_INPUT))
        return bl_fail(BLANCH_EINPUT, "%s: \"size\" is not a whole number from 1 to %d, nor two of them", path,
                       BL_LARGEST_INPUT);
    view->height = (int)height->valuedouble;
    view->width = (int)width->valuedouble;
    return 0;
}

/* One for every channel. */
static int read_channels(const cJSON *json, const char *key, int channels, const char *path, float *out) {
    const cJSON *array = cJSON_GetObjectItemCaseSensitive(json, key);
    bool right = cJSON_IsArray(array) && cJSON_GetArraySize(array) == channels;
    for (int i = 0; right && i < channels; i++) {
        const cJSON *item = cJSON_GetArrayItem(array, i);
        right = cJSON_IsNumber(item) && fabs(item->valuedouble) <= FLT_MAX;
        out[i] = right ? (float)item->valuedouble : 0;
    }
    return right ? 0 : bl_fail(BLANCH_EINPUT, "%s: \"%s\" is not a number for every channel", path, key);
}

int bl_view_read(struct bl_view *view, const cJSON *json, const char *path) {
    const cJSON *channels = cJSON_GetObjectItemCaseSensitive(json, "channels");
    *view = (struct bl_view){0};
    if (!is_whole(channels, BL_MOST_CHANNELS))
        return bl_fail(BLANCH_EINPUT, "%s: \"channels\" is not a whole number from 1 to %d", path, BL_MOST_CHANNELS);
    view->channels = (int)channels->valuedouble;
    int code = read_size(json, path, view);
    if (!code) code = read_channels(json, "mean", view->channels, path, view->mean);
    if (!code) code = read_channels(json, "deviation", view->channels, path, view->deviation);
    if (code) return code;
    code = bl_augment_parse(bl_json_text(json, "augment"), &view->augment);
    return code ? bl_fail_in(BLANCH_EINPUT, "%s", path) : 0;
}
