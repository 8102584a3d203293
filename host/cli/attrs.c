/* An operation's attributes to and from JSON, by its table of fields. */
#include "cli/attrs.h"
#include <limits.h>
#include <math.h>
#include <string.h>

static bool read_int(const cJSON *item, int *value) {
    if (!cJSON_IsNumber(item) || item->valuedouble != floor(item->valuedouble) || fabs(item->valuedouble) > INT_MAX)
        return false;
    *value = (int)item->valuedouble;
    return true;
}

/* [a, b], or one number for both. */
static bool read_pair(const cJSON *item, int *pair) {
    if (read_int(item, &pair[0])) {
        pair[1] = pair[0];
        return true;
    }
    return cJSON_IsArray(item) && cJSON_GetArraySize(item) == 2 && read_int(cJSON_GetArrayItem(item, 0), &pair[0]) &&
           read_int(cJSON_GetArrayItem(item, 1), &pair[1]);
}

static bool read_field(enum bl_field_kind kind, const cJSON *item, void *value) {
    switch (kind) {
    case BL_FIELD_INT:
        return cJSON_IsNull(item) || read_int(item, value);
    case BL_FIELD_INT2:
        return read_pair(item, value);
    case BL_FIELD_FLOAT:
        *(float *)value = (float)cJSON_GetNumberValue(item);
        return cJSON_IsNumber(item);
    case BL_FIELD_BOOL:
        *(int *)value = cJSON_IsTrue(item) || (cJSON_IsNumber(item) && item->valuedouble != 0);
        return cJSON_IsBool(item) || cJSON_IsNumber(item);
    }
    return false;
}

static const char *const kinds[] = {[BL_FIELD_INT] = "a whole number",
                                    [BL_FIELD_INT2] = "a whole number or two in a list",
                                    [BL_FIELD_FLOAT] = "a number",
                                    [BL_FIELD_BOOL] = "true or false"};

int bl_attrs_from_json(const struct bl_op *op, const cJSON *json, void *attrs) {
    if (op->attrs_size) memset(attrs, 0, op->attrs_size);
    if (json && !cJSON_IsObject(json))
        return bl_fail(BLANCH_EINPUT, "%s: the attributes are not a JSON object", op->name);
    for (const struct bl_field *f = op->fields; f && f->name; f++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, f->name);
        if (!item && f->optional) continue;
        if (!item) return bl_fail(BLANCH_EINPUT, "%s: the attribute '%s' is missing", op->name, f->name);
        if (!read_field(f->kind, item, (char *)attrs + f->offset))
            return bl_fail(BLANCH_EINPUT, "%s: the attribute '%s' must be %s", op->name, f->name, kinds[f->kind]);
    }
    return 0;
}

cJSON *bl_attrs_to_json(const struct bl_op *op, const void *attrs) {
    cJSON *json = cJSON_CreateObject();
    for (const struct bl_field *f = op->fields; json && f && f->name; f++) {
        const void *value = (const char *)attrs + f->offset;
        switch (f->kind) {
        case BL_FIELD_INT:
            cJSON_AddNumberToObject(json, f->name, *(const int *)value);
            break;
        case BL_FIELD_INT2:
            cJSON_AddItemToObject(json, f->name, cJSON_CreateIntArray(value, 2));
            break;
        case BL_FIELD_FLOAT:
            cJSON_AddNumberToObject(json, f->name, (double)*(const float *)value);
            break;
        case BL_FIELD_BOOL:
            cJSON_AddBoolToObject(json, f->name, *(const int *)value);
            break;
        }
    }
    return json;
}
