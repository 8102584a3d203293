#include "io/safetensors.h"
#include "io/document.h"
#include "io/files.h"
#include "io/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "data are copied as they are: the host must be little-endian");

enum { MOST_HEADER = 100000000 };

/* What the metadata of weights and states mean: docs/schemas/weights.schema.json and state.schema.json. */
enum { FORMAT = 1 };
static const char format_key[] = "blanch.format", version_key[] = "blanch.version";

struct bl_safetensors {
    char *path, *bytes;
    cJSON *header; // owns the names and the metadata
    struct bl_st_tensor *tensors;
    const struct bl_st_tensor **sorted; // by name
    int count;
};

/* --- reading ---------------------------------------------------------------------------------- */

/* Whole numbers up to 2^53, what JSON's doubles carry exactly. */
static bool whole_number(const cJSON *item, uint64_t *value) {
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= 9007199254740992.0) ||
        item->valuedouble != floor(item->valuedouble))
        return false;
    *value = (uint64_t)item->valuedouble;
    return true;
}

static int read_dtype(const cJSON *entry, struct bl_st_tensor *tensor) {
    const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(entry, "dtype"));
    for (int i = 0; name && i < BL_TYPES; i++) {
        if (!strcmp(name, bl_type_traits[i].safetensors)) {
            tensor->dtype = (enum bl_type)i;
            return 0;
        }
    }
    return bl_fail(BLANCH_EINPUT, "%s: tensor '%s': unknown dtype '%s'", tensor->path, tensor->name,
                   name ? name : "(none)");
}

static int read_shape(const cJSON *entry, struct bl_st_tensor *tensor) {
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(entry, "shape"), *item;
    uint64_t bytes = bl_type_bytes(tensor->dtype);
    bool good = cJSON_IsArray(shape);
    cJSON_ArrayForEach(item, shape) {
        uint64_t size;
        if (!good) break;
        good = tensor->dims < BL_COUNT(tensor->shape) && whole_number(item, &size) &&
               !__builtin_mul_overflow(bytes, size, &bytes) && bytes <= INT64_MAX;
        if (good) tensor->shape[tensor->dims++] = (int64_t)size;
    }
    if (!good)
        return bl_fail(BLANCH_EINPUT, "%s: tensor '%s': the shape is not a list of at most %d sizes", tensor->path,
                       tensor->name, BL_COUNT(tensor->shape));
    tensor->bytes = (size_t)bytes;
    return 0;
}

static int read_offsets(const cJSON *entry, const char *data, size_t data_size, struct bl_st_tensor *tensor) {
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
    uint64_t begin, end;
    if (!cJSON_IsArray(offsets) || cJSON_GetArraySize(offsets) != 2 ||
        !whole_number(cJSON_GetArrayItem(offsets, 0), &begin) || !whole_number(cJSON_GetArrayItem(offsets, 1), &end) ||
        begin > end)
        return bl_fail(BLANCH_EINPUT, "%s: tensor '%s': data_offsets is not [begin, end]", tensor->path, tensor->name);
    if (end > data_size)
        return bl_fail(BLANCH_EINPUT, "%s: tensor '%s' ends at byte %llu of %zu: the file is truncated", tensor->path,
                       tensor->name, (unsigned long long)end, data_size);
    if (end - begin != tensor->bytes)
        return bl_fail(BLANCH_EINPUT, "%s: tensor '%s' takes %zu bytes by its shape, %llu by its offsets", tensor->path,
                       tensor->name, tensor->bytes, (unsigned long long)(end - begin));
    tensor->data = data + begin;
    return 0;
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const struct bl_st_tensor *const *)a)->name, (*(const struct bl_st_tensor *const *)b)->name);
}

static int by_place(const void *a, const void *b) {
    const struct bl_st_tensor *x = *(const struct bl_st_tensor *const *)a, *y = *(const struct bl_st_tensor *const *)b;
    const char *p = x->data, *q = y->data;
    if (p != q) return p < q ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* The format wants the data filled without gap or overlap: it keeps files from hiding things or lying about their size.
 */
static int check_places(struct bl_safetensors *file, const char *data, size_t data_size) {
    const char *at = data;
    qsort(file->sorted, (size_t)file->count, sizeof *file->sorted, by_place);
    for (int i = 0; i < file->count; i++) {
        const struct bl_st_tensor *tensor = file->sorted[i];
        if ((const char *)tensor->data != at)
            return bl_fail(BLANCH_EINPUT, "%s: tensor '%s' %s", file->path, tensor->name,
                           (const char *)tensor->data < at ? "overlaps another" : "follows a gap in the data");
        at += tensor->bytes;
    }
    if (at != data + data_size)
        return bl_fail(BLANCH_EINPUT, "%s: %zu bytes after the last tensor", file->path,
                       (size_t)(data + data_size - at));
    return 0;
}

static int check_names(struct bl_safetensors *file) {
    qsort(file->sorted, (size_t)file->count, sizeof *file->sorted, by_name);
    for (int i = 1; i < file->count; i++)
        if (!strcmp(file->sorted[i - 1]->name, file->sorted[i]->name))
            return bl_fail(BLANCH_EINPUT, "%s: tensor '%s' appears twice", file->path, file->sorted[i]->name);
    return 0;
}

static int read_tensors(struct bl_safetensors *file, const char *data, size_t data_size) {
    size_t entries = (size_t)cJSON_GetArraySize(file->header);
    file->tensors = bl_calloc(entries + 1, sizeof *file->tensors);
    file->sorted = bl_calloc(entries + 1, sizeof *file->sorted);
    if (!file->tensors || !file->sorted) return BLANCH_ENOMEM;
    const cJSON *entry;
    cJSON_ArrayForEach(entry, file->header) {
        if (!strcmp(entry->string, "__metadata__")) continue;
        struct bl_st_tensor *tensor = &file->tensors[file->count];
        tensor->name = entry->string;
        tensor->path = file->path;
        if (!cJSON_IsObject(entry))
            return bl_fail(BLANCH_EINPUT, "%s: tensor '%s' has no description", file->path, entry->string);
        int code = read_dtype(entry, tensor);
        if (!code) code = read_shape(entry, tensor);
        if (!code) code = read_offsets(entry, data, data_size, tensor);
        if (code) return code;
        file->sorted[file->count++] = tensor;
    }
    int code = check_places(file, data, data_size);
    return code ? code : check_names(file);
}

static int read_metadata(const struct bl_safetensors *file) {
    const cJSON *meta = cJSON_GetObjectItemCaseSensitive(file->header, "__metadata__"), *item;
    if (meta && !cJSON_IsObject(meta)) return bl_fail(BLANCH_EINPUT, "%s: __metadata__ is not an object", file->path);
    cJSON_ArrayForEach(item, meta) if (!cJSON_IsString(item)) return bl_fail(
        BLANCH_EINPUT, "%s: __metadata__ value '%s' is not a string", file->path, item->string);
    return 0;
}

/* Parses a copy that ends in a NUL: some releases of cJSON read past a buffer that does not. */
static int parse_header(struct bl_safetensors *file, const char *text, size_t size) {
    char *copy = bl_malloc(size + 1);
    if (!copy) return bl_fail(BLANCH_ENOMEM, "%s: out of memory for its header", file->path);
    memcpy(copy, text, size);
    copy[size] = 0;
    if (copy[0] == '{') file->header = cJSON_ParseWithOpts(copy, NULL, true);
    bool nul = strlen(copy) != size;
    free(copy);
    if (!file->header && bl_memory_lacked()) return BLANCH_ENOMEM;
    if (!file->header || nul)
        return bl_fail(BLANCH_EINPUT, "%s: the header is not JSON: damaged, or not a safetensors file", file->path);
    return read_metadata(file);
}

/* Of a file of Blanch; others have no such key. */
static int check_format(const struct bl_safetensors *file) {
    const char *text = bl_st_meta(file, format_key);
    const double format = text ? strtod(text, NULL) : 0;
    return format > FORMAT ? bl_format_refuse(file->path, format, bl_st_meta(file, version_key), FORMAT) : 0;
}

static int parse(struct bl_safetensors *file, const char *path, size_t size) {
    file->path = bl_strdup(path);
    if (!file->path) return BLANCH_ENOMEM;
    if (size < 10) return bl_fail(BLANCH_EINPUT, "%s: %zu bytes are too few for a safetensors file", path, size);
    uint64_t length;
    memcpy(&length, file->bytes, 8);
    if (length > size - 8)
        return bl_fail(BLANCH_EINPUT, "%s: the header's length exceeds the file: truncated, or not a safetensors file",
                       path);
    if (length > MOST_HEADER)
        return bl_fail(BLANCH_EINPUT, "%s: a header of %llu bytes; the format's limit is %d", path,
                       (unsigned long long)length, MOST_HEADER);
    int code = parse_header(file, file->bytes + 8, (size_t)length);
    if (!code) code = check_format(file);
    return code ? code : read_tensors(file, file->bytes + 8 + length, size - 8 - (size_t)length);
}

/* A zip, or a pickle of protocol 2 to 5. */
static bool is_pickled(const char *bytes, size_t size) {
    if (size < 4) return false;
    return !memcmp(bytes, "PK\3\4", 4) || (bytes[0] == '\x80' && bytes[1] >= 2 && bytes[1] <= 5);
}

int bl_st_take(struct bl_safetensors **file, const char *path, char *bytes, size_t size) {
    *file = bl_calloc(1, sizeof **file);
    if (!*file) return free(bytes), BLANCH_ENOMEM;
    (*file)->bytes = bytes;
    int code = parse(*file, path, size);
    if (code == BLANCH_EINPUT && is_pickled(bytes, size))
        code = bl_fail(code, "%s is of torch.save; `python -m blanch.convert %s OUT.safetensors` makes it readable",
                       path, path);
    if (code) {
        bl_st_close(*file);
        *file = NULL;
    }
    return code;
}

int bl_st_open(struct bl_safetensors **file, const char *path) {
    char *bytes = NULL;
    size_t size;
    *file = NULL;
    int code = bl_file_read(path, &bytes, &size);
    return code ? code : bl_st_take(file, path, bytes, size);
}

void bl_st_close(struct bl_safetensors *file) {
    if (!file) return;
    cJSON_Delete(file->header);
    free(file->tensors);
    free(file->sorted);
    free(file->bytes);
    free(file->path);
    free(file);
}

int bl_st_count(const struct bl_safetensors *file) {
    return file->count;
}

const struct bl_st_tensor *bl_st_at(const struct bl_safetensors *file, int index) {
    return &file->tensors[index];
}

const struct bl_st_tensor *bl_st_find(const struct bl_safetensors *file, const char *name) {
    const struct bl_st_tensor key = {.name = name}, *pointer = &key;
    const struct bl_st_tensor *const *found =
        bsearch(&pointer, file->sorted, (size_t)file->count, sizeof *file->sorted, by_name);
    return found ? *found : NULL;
}

const char *bl_st_meta(const struct bl_safetensors *file, const char *key) {
    const cJSON *meta = cJSON_GetObjectItemCaseSensitive(file->header, "__metadata__");
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(meta, key));
}

/* --- values ----------------------------------------------------------------------------------- */

static int check_count(const struct bl_st_tensor *tensor, int64_t count) {
    size_t have = tensor->bytes / bl_type_bytes(tensor->dtype);
    if (count >= 0 && have == (uint64_t)count) return 0;
    return bl_fail(BLANCH_EINPUT, "%s: tensor '%s' has %zu values where %lld are expected",
                   tensor->path ? tensor->path : "-", tensor->name, have, (long long)count);
}

int bl_st_floats(const struct bl_st_tensor *tensor, float *out, int64_t count) {
    int code = check_count(tensor, count);
    if (!code && count) bl_type_widen(tensor->dtype, tensor->data, out, (size_t)count);
    return code;
}

/* Values may be unaligned, so each is copied out. */
#define EACH(type, expression)                                                                                         \
    for (int64_t i = 0; i < count; i++) {                                                                              \
        type value;                                                                                                    \
        memcpy(&value, from + (size_t)i * sizeof value, sizeof value);                                                 \
        out[i] = expression;                                                                                           \
    }                                                                                                                  \
    break

int bl_st_int64s(const struct bl_st_tensor *tensor, int64_t *out, int64_t count) {
    int code = check_count(tensor, count);
    if (code || !count) return code;
    const char *from = tensor->data;
    switch (tensor->dtype) {
    case BL_I64:
        memcpy(out, from, tensor->bytes);
        break;
    case BL_U64:
        EACH(uint64_t, (int64_t)value);
    case BL_I32:
        EACH(int32_t, value);
    case BL_U32:
        EACH(uint32_t, value);
    case BL_I16:
        EACH(int16_t, value);
    case BL_U16:
        EACH(uint16_t, value);
    case BL_I8:
        EACH(int8_t, value);
    case BL_U8:
    case BL_BOOL:
        EACH(uint8_t, value);
    default:
        return bl_fail(BLANCH_EINPUT, "%s: tensor '%s' holds %s where whole numbers are expected",
                       tensor->path ? tensor->path : "-", tensor->name, bl_type_traits[tensor->dtype].safetensors);
    }
    return 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* Element sizes in the order that data are laid out. */
static const size_t layout[] = {8, 4, 2, 1};

static int check_tensor(const char *path, const struct bl_st_tensor *tensor) {
    size_t bytes = bl_type_bytes(tensor->dtype);
    for (int i = 0; i < tensor->dims; i++) bytes *= (size_t)tensor->shape[i];
    if (bytes == tensor->bytes) return 0;
    return bl_fail(BLANCH_EUSAGE, "%s: tensor '%s' is given %zu bytes for a shape of %zu", path, tensor->name,
                   tensor->bytes, bytes);
}

static bool add_tensor(cJSON *header, const struct bl_st_tensor *tensor, size_t offset) {
    cJSON *entry = cJSON_AddObjectToObject(header, tensor->name);
    cJSON *shape, *offsets;
    bool good = entry && cJSON_AddStringToObject(entry, "dtype", bl_type_traits[tensor->dtype].safetensors) &&
                (shape = cJSON_AddArrayToObject(entry, "shape"));
    for (int i = 0; good && i < tensor->dims; i++)
        good = cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)tensor->shape[i]));
    return good && (offsets = cJSON_AddArrayToObject(entry, "data_offsets")) &&
           cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)offset)) &&
           cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)(offset + tensor->bytes)));
}

static bool add_metadata(cJSON *entries, const char *const *meta) {
    char format[12];
    bool good = entries != NULL;
    snprintf(format, sizeof format, "%d", FORMAT);
    for (; good && meta[0]; meta += 2) good = cJSON_AddStringToObject(entries, meta[0], meta[1]);
    return good && cJSON_AddStringToObject(entries, format_key, format) &&
           cJSON_AddStringToObject(entries, version_key, BLANCH_VERSION);
}

static cJSON *make_header(const struct bl_st_tensor *tensors, int count, const size_t *offsets,
                          const char *const *meta) {
    cJSON *header = cJSON_CreateObject();
    bool good = header;
    if (good && meta) good = add_metadata(cJSON_AddObjectToObject(header, "__metadata__"), meta);
    for (int i = 0; good && i < count; i++) good = add_tensor(header, &tensors[i], offsets[i]);
    if (good) return header;
    cJSON_Delete(header);
    return NULL;
}

static void place(const struct bl_st_tensor *tensors, int count, size_t *offsets) {
    size_t at = 0;
    for (int k = 0; k < BL_COUNT(layout); k++) {
        for (int i = 0; i < count; i++) {
            if (bl_type_bytes(tensors[i].dtype) != layout[k]) continue;
            offsets[i] = at;
            at += tensors[i].bytes;
        }
    }
}

static int write_data(struct bl_replace *file, const struct bl_st_tensor *tensors, int count, const char *header) {
    static const char blanks[8] = "        ";
    size_t size = strlen(header), pad = (8 - size % 8) % 8;
    uint64_t length = size + pad;
    int code = bl_replace_write(file, &length, sizeof length);
    if (!code) code = bl_replace_write(file, header, size);
    if (!code) code = bl_replace_write(file, blanks, pad);
    for (int k = 0; k < BL_COUNT(layout); k++)
        for (int i = 0; !code && i < count; i++)
            if (bl_type_bytes(tensors[i].dtype) == layout[k])
                code = bl_replace_write(file, tensors[i].data, tensors[i].bytes);
    return code;
}

int bl_st_write(const char *path, const struct bl_st_tensor *tensors, int count, const char *const *meta) {
    int code = 0;
    for (int i = 0; !code && i < count; i++) code = check_tensor(path, &tensors[i]);
    if (code) return code;
    size_t *offsets = bl_calloc((size_t)count + 1, sizeof *offsets);
    if (!offsets) return BLANCH_ENOMEM;
    place(tensors, count, offsets);
    cJSON *header = make_header(tensors, count, offsets, meta);
    char *text = header ? bl_json_print(header, false) : NULL;
    struct bl_replace file;
    if (!text)
        code = bl_fail(BLANCH_ENOMEM, "%s: out of memory for its header", path);
    else
        code = bl_replace_open(&file, path);
    if (!code) code = bl_replace_close(&file, write_data(&file, tensors, count, text));
    free(text);
    cJSON_Delete(header);
    free(offsets);
    return code;
}
