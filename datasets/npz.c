/* npz:FILE, arrays of images and labels that NumPy saved: images and labels, or those of each split, and the names of
 * their classes. */
#include "zip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SIDE 4096
#define MOST_LABELS 65536
enum { MOST_DIMS = 4, MOST_NAME = 1000 }; // characters

struct array {
    char name[32];
    uint8_t *bytes; // the member; NULL: there is none
    const uint8_t *values;
    char type[8]; // "|u1", "<i8"
    int dims;
    uint64_t shape[MOST_DIMS];
};

/* --- .npy ------------------------------------------------------------------------------------- */

static int malformed(const char *path, const struct array *array) {
    return bl_fail(BLANCH_EINPUT, "%s: %s is no array that is read: its header is malformed", path, array->name);
}

/* The value of a key of the header, which is text with a NUL; NULL: it lacks it. */
static const char *value_of(const char *header, const char *key) {
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s':", key);
    const char *at = strstr(header, quoted);
    return at ? at + strlen(quoted) + strspn(at + strlen(quoted), " ") : NULL;
}

static bool read_shape(const char *at, struct array *array) {
    if (!at || *at++ != '(') return false;
    for (array->dims = 0; *at && *at != ')'; array->dims++) {
        char *end;
        if (array->dims == MOST_DIMS || *at < '0' || *at > '9' || strspn(at, "0123456789") > 10) return false;
        array->shape[array->dims] = strtoull(at, &end, 10);
        at = end + strspn(end, ", ");
    }
    return *at == ')' && array->dims;
}

/* Of texts, "<U5" or "|S5": how many characters an item has; 0: they are none. */
static size_t characters(const struct array *array) {
    const char *type = array->type;
    const bool text = (type[0] == '<' && type[1] == 'U') || (type[0] == '|' && type[1] == 'S');
    const size_t digits = text ? strspn(type + 2, "0123456789") : 0;
    const long count = digits && digits <= 4 && !type[2 + digits] ? strtol(type + 2, NULL, 10) : 0;
    return count <= MOST_NAME ? (size_t)count : 0;
}

static size_t item_bytes(const struct array *array) {
    const char *type = array->type;
    if (characters(array)) return characters(array) * (type[1] == 'U' ? 4 : 1);
    const bool whole = (type[1] == 'u' || type[1] == 'i') && type[2] && !type[3] && strchr("1248", type[2]);
    if (!whole || (type[2] != '1' && type[0] != '<')) return 0;
    return (size_t)(type[2] - '0');
}

static int read_header(const char *path, struct array *array, char *header) {
    const char *type = value_of(header, "descr"), *order = value_of(header, "fortran_order");
    const char *end = type && *type == '\'' ? strchr(type + 1, '\'') : NULL;
    if (!end || !order || !read_shape(value_of(header, "shape"), array)) return malformed(path, array);
    snprintf(array->type, sizeof array->type, "%.*s", (int)(end - type - 1), type + 1);
    if (!strncmp(order, "True", 4))
        return bl_fail(BLANCH_EINPUT, "%s: %s is in Fortran's order; save np.ascontiguousarray of it", path,
                       array->name);
    if (!item_bytes(array))
        return bl_fail(BLANCH_EINPUT,
                       "%s: %s is of type %s; images are read as uint8, labels as whole numbers, names as texts of up "
                       "to %d characters",
                       path, array->name, array->type, MOST_NAME);
    return 0;
}

static int read_npy(const char *path, struct array *array, size_t size) {
    const uint8_t *b = array->bytes;
    if (size < 12 || memcmp(b, "\x93NUMPY", 6)) return malformed(path, array);
    const bool small = b[6] == 1;
    const size_t start = small ? 10 : 12;
    const size_t length = (size_t)b[8] | (size_t)b[9] << 8 | (small ? 0 : (size_t)b[10] << 16 | (size_t)b[11] << 24);
    if (b[6] < 1 || b[6] > 3 || length > size - start) return malformed(path, array);
    char *header = bl_format("%.*s", (int)length, (const char *)b + start);
    int code = header ? read_header(path, array, header) : BLANCH_ENOMEM;
    free(header);
    if (code) return code;
    size_t expected = item_bytes(array);
    for (int d = 0; d < array->dims; d++)
        if (__builtin_mul_overflow(expected, (size_t)array->shape[d], &expected)) return malformed(path, array);
    array->values = b + start + length;
    if (expected == size - start - length) return 0;
    return bl_fail(BLANCH_EINPUT, "%s: %s has %zu bytes of values where its shape announces %zu", path, array->name,
                   size - start - length, expected);
}

/* bytes NULL afterwards: the archive has no array of that name. */
static int open_array(const struct bl_zip *zip, const char *name, struct array *array) {
    char member_name[40];
    struct bl_zip_member member;
    *array = (struct array){.dims = 0};
    snprintf(array->name, sizeof array->name, "%s", name);
    snprintf(member_name, sizeof member_name, "%s.npy", name);
    int code = bl_zip_find(zip, member_name, &member);
    if (code) return code > 0 ? 0 : code;
    if (member.size > INT32_MAX) return bl_fail(BLANCH_EINPUT, "%s: %s is larger than 2 GiB", zip->path, array->name);
    code = bl_zip_read(zip, &member, &array->bytes);
    return code ? code : read_npy(zip->path, array, member.size);
}

/* --- images and labels ------------------------------------------------------------------------ */

/* (N, H, W), (N, H, W, C), or (N, C, H, W) where the last is no number of channels. */
static int read_layout(const char *path, const struct array *a, struct bl_dataset *data, bool *planes) {
    const bool last = a->dims == 4 && a->shape[3] <= BL_MOST_CHANNELS;
    *planes = a->dims == 4 && !last && a->shape[1] <= BL_MOST_CHANNELS;
    const uint64_t channels = a->dims == 3 ? 1 : last ? a->shape[3] : *planes ? a->shape[1] : 0;
    const uint64_t height = a->shape[*planes ? 2 : 1], width = a->shape[*planes ? 3 : 2];
    if (strcmp(a->type, "|u1") || a->dims < 3 || !channels)
        return bl_fail(BLANCH_EINPUT,
                       "%s: %s has to be uint8 of shape (N, H, W), (N, H, W, C) or (N, C, H, W), C up to %d", path,
                       a->name, BL_MOST_CHANNELS);
    if (!a->shape[0] || a->shape[0] > INT32_MAX || !height || height > MOST_SIDE || !width || width > MOST_SIDE)
        return bl_fail(BLANCH_EINPUT, "%s: %s holds no images, or of more than %d pixels a side", path, a->name,
                       MOST_SIDE);
    if (data->channels && (data->channels != (int)channels || data->height != (int)height || data->width != (int)width))
        return bl_fail(BLANCH_EINPUT, "%s: %s is of %dx%d pixels and %d channels, others of %dx%d and %d", path,
                       a->name, (int)height, (int)width, (int)channels, data->height, data->width, data->channels);
    data->channels = (int)channels;
    data->height = (int)height;
    data->width = (int)width;
    return 0;
}

static void interleave(const struct bl_dataset *data, const uint8_t *planes, uint8_t *out) {
    const size_t pixels = (size_t)data->height * (size_t)data->width;
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < (size_t)data->channels; c++) *out++ = planes[c * pixels + p];
}

static int take_images(struct bl_dataset *data, const struct array *a, struct bl_images *images) {
    bool planes;
    int code = read_layout(data->folder, a, data, &planes);
    if (code) return code;
    const size_t bytes = bl_dataset_bytes(data), count = (size_t)a->shape[0];
    if (!(images->pixels = bl_malloc(bytes * count))) return bl_fail(BLANCH_ENOMEM, "%s: out of memory", data->folder);
    images->count = (uint32_t)count;
    for (size_t i = 0; i < count && planes; i++) interleave(data, a->values + bytes * i, images->pixels + bytes * i);
    if (!planes) memcpy(images->pixels, a->values, bytes * count);
    return 0;
}

/* -1: it is no label. */
static int32_t label_at(const struct array *a, size_t i) {
    const size_t bytes = item_bytes(a);
    uint64_t value = 0;
    for (size_t b = bytes; b--;) value = value << 8 | a->values[i * bytes + b];
    const bool negative = a->type[1] == 'i' && a->values[i * bytes + bytes - 1] & 0x80;
    return !negative && value < MOST_LABELS ? (int32_t)value : -1;
}

static int take_labels(struct bl_dataset *data, const struct array *a, struct bl_images *images) {
    const bool column = a->dims == 2 && a->shape[1] == 1;
    if (characters(a) || (a->dims != 1 && !column) || a->shape[0] != images->count)
        return bl_fail(BLANCH_EINPUT, "%s: %s has to have a label for each of %u images, of shape (N,) or (N, 1)",
                       data->folder, a->name, images->count);
    if (!(images->labels = bl_calloc(images->count, sizeof *images->labels))) return BLANCH_ENOMEM;
    for (uint32_t i = 0; i < images->count; i++) {
        const int32_t label = label_at(a, i);
        if (label < 0)
            return bl_fail(BLANCH_EINPUT, "%s: label %u of %s is not in 0..%d", data->folder, i, a->name,
                           MOST_LABELS - 1);
        images->labels[i] = label;
        if (label >= data->classes) data->classes = label + 1;
    }
    return 0;
}

/* --- names ------------------------------------------------------------------------------------ */

/* UTF-8 of a code point; how many bytes. 0: it is none. */
static size_t encode(uint32_t c, char out[4]) {
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return 0;
    const size_t bytes = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = bytes; i-- > 1; c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[bytes == 1 ? 0 : bytes] | c);
    return bytes;
}

/* The i-th item, malloc'd: up to its first NUL, as NumPy fills the rest with them. */
static int name_at(const struct bl_dataset *data, const struct array *a, size_t i, char **name) {
    const size_t count = characters(a), each = a->type[1] == 'U' ? 4 : 1;
    const uint8_t *at = a->values + item_bytes(a) * i;
    char *text = *name = bl_calloc(4 * count + 1, 1);
    if (!text) return BLANCH_ENOMEM;
    for (size_t k = 0; k < count; k++, at += each) {
        const uint32_t c =
            each == 1 ? at[0] : at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        const size_t bytes = each == 1 && c >= 0x80 ? 0 : encode(c, text);
        if (!c) break;
        if (!bytes) return bl_fail(BLANCH_EINPUT, "%s: name %zu of %s is no text", data->folder, i, a->name);
        text += bytes;
    }
    return **name ? 0 : bl_fail(BLANCH_EINPUT, "%s: name %zu of %s is empty", data->folder, i, a->name);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A run knows classes by their names. */
static int check_names(const struct bl_dataset *data, const char *array) {
    const size_t count = (size_t)data->classes;
    char **sorted = bl_calloc(count, sizeof *sorted);
    if (!sorted) return BLANCH_ENOMEM;
    memcpy(sorted, data->class_names, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_text);
    int code = 0;
    for (size_t c = 1; c < count && !code; c++)
        if (!strcmp(sorted[c - 1], sorted[c]))
            code = bl_fail(BLANCH_EINPUT, "%s: %s has %s twice", data->folder, array, sorted[c]);
    free(sorted);
    return code;
}

/* There may be names of classes that no image has. */
static int take_names(struct bl_dataset *data, const struct array *a) {
    if (!characters(a) || a->dims != 1)
        return bl_fail(BLANCH_EINPUT, "%s: %s has to be an array of texts", data->folder, a->name);
    if (a->shape[0] < (uint64_t)data->classes || a->shape[0] > MOST_LABELS)
        return bl_fail(BLANCH_EINPUT, "%s: %s has %llu names, and labels go up to %d", data->folder, a->name,
                       (unsigned long long)a->shape[0], data->classes - 1);
    if (!(data->class_names = bl_calloc((size_t)a->shape[0], sizeof *data->class_names))) return BLANCH_ENOMEM;
    data->classes = (int)a->shape[0];
    int code = 0;
    for (int c = 0; c < data->classes && !code; c++) code = name_at(data, a, (size_t)c, &data->class_names[c]);
    if (!code) code = check_names(data, a->name);
    return code;
}

/* Numbers, where the file has no names. */
static int name_classes(struct bl_dataset *data, const struct bl_zip *zip) {
    static const char *const names[] = {"classes", "class_names"};
    int code = 0;
    for (int i = 0; i < BL_COUNT(names) && !code && !data->class_names; i++) {
        struct array array;
        code = open_array(zip, names[i], &array);
        if (!code && array.bytes) code = take_names(data, &array);
        free(array.bytes);
    }
    if (code || data->class_names) return code;
    if (!(data->class_names = bl_calloc((size_t)data->classes, sizeof *data->class_names))) return BLANCH_ENOMEM;
    for (int c = 0; c < data->classes; c++)
        if (!(data->class_names[c] = bl_format("%d", c))) return BLANCH_ENOMEM;
    return 0;
}

/* --- opening ---------------------------------------------------------------------------------- */

static const struct {
    const char *images, *labels;
    enum bl_split split;
} known[] = {{"train_images", "train_labels", BL_TRAIN},
             {"val_images", "val_labels", BL_VAL},
             {"test_images", "test_labels", BL_TEST},
             {"x_train", "y_train", BL_TRAIN},
             {"x_val", "y_val", BL_VAL},
             {"x_test", "y_test", BL_TEST},
             {"images", "labels", BL_TRAIN},
             {"x", "y", BL_TRAIN}};

static int take_pair(struct bl_dataset *data, const struct bl_zip *zip, int i) {
    struct array images, labels = {.bytes = NULL};
    int code = open_array(zip, known[i].images, &images);
    if (!code && images.bytes) code = open_array(zip, known[i].labels, &labels);
    if (!code && images.bytes && !labels.bytes)
        code = bl_fail(BLANCH_EINPUT, "%s has %s, but no %s", data->folder, known[i].images, known[i].labels);
    if (!code && images.bytes && data->split[known[i].split].count)
        code = bl_fail(BLANCH_EINPUT, "%s has %s beside others of the same split", data->folder, known[i].images);
    if (!code && images.bytes) code = take_images(data, &images, &data->split[known[i].split]);
    if (!code && images.bytes) code = take_labels(data, &labels, &data->split[known[i].split]);
    free(images.bytes);
    free(labels.bytes);
    return code;
}

static int open_npz(struct bl_dataset *data, const char *path, uint64_t seed) {
    struct bl_zip zip;
    uint8_t *bytes = NULL;
    size_t size;
    if (!(data->folder = bl_strdup(path))) return BLANCH_ENOMEM;
    int code = bl_data_read(path, &bytes, &size);
    if (!code) code = bl_zip_open(&zip, path, bytes, size);
    for (int i = 0; i < BL_COUNT(known) && !code; i++) code = take_pair(data, &zip, i);
    const bool empty = !data->split[BL_TRAIN].count && !data->split[BL_VAL].count && !data->split[BL_TEST].count;
    if (!code && empty)
        code = bl_fail(BLANCH_EINPUT,
                       "%s: no arrays are called images and labels, train_images and train_labels, or x_train and "
                       "y_train",
                       path);
    if (!code) code = name_classes(data, &zip);
    free(bytes);
    return code;
}

const struct bl_format bl_format_npz = {
    .name = "npz", .help = "npz:FILE", .augment = BL_AUGMENT_NONE, .open = open_npz};
