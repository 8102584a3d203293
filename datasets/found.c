/* What opening found: to be told in a run's first line, recorded, and held to. */
#include "listing.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t hash_names(const struct bl_images *images, size_t skip) {
    uint64_t hash = BL_HASH_START;
    for (uint32_t i = 0; i < images->count; i++)
        hash = images->paths ? bl_hash(hash, images->paths[i] + skip, strlen(images->paths[i] + skip) + 1)
                             : bl_hash(hash, &images->labels[i], sizeof images->labels[i]);
    return hash;
}

/* Classes that a split lacks, where it has others. */
static int remark_missing(struct bl_dataset *data, enum bl_split split) {
    const struct bl_images *images = &data->split[split];
    struct bl_names missing = {0};
    bool *has = bl_calloc((size_t)data->classes, sizeof *has);
    int code = has ? 0 : BLANCH_ENOMEM;
    for (uint32_t i = 0; has && i < images->count; i++) has[images->labels[i]] = true;
    for (int c = 0; !code && c < data->classes; c++)
        if (!has[c]) code = bl_names_add(&missing, data->class_names[c]);
    char *list = code ? NULL : bl_names_join(&missing);
    if (!code) code = list ? 0 : BLANCH_ENOMEM;
    if (!code && missing.count)
        code = bl_dataset_remark(data, "%s: there are no %s images of %s", data->folder, bl_split_title(split), list);
    free(list);
    free(has);
    bl_names_free(&missing);
    return code;
}

static int by_count(const void *a, const void *b) {
    const struct bl_unread *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count ? 1 : -1) : strcmp(x->type, y->type);
}

int bl_dataset_note(struct bl_dataset *data) {
    int code = 0;
    if (data->unread) qsort(data->unread, (size_t)data->unread_types, sizeof *data->unread, by_count);
    for (int s = 0; s < BL_SPLITS && !code; s++) {
        struct bl_images *images = &data->split[s];
        data->found_count[s] = images->count;
        data->found_names[s] = hash_names(images, data->root[s] ? strlen(data->root[s]) + 1 : 0);
        if (images->count && data->format == &bl_format_folder) code = remark_missing(data, (enum bl_split)s);
    }
    return code;
}

uint32_t bl_dataset_found(const struct bl_dataset *data, enum bl_split split, uint64_t *names) {
    if (names) *names = data->found_names[split];
    return data->found_count[split];
}

struct bl_division bl_dataset_division(const struct bl_dataset *data) {
    return data->division;
}

const char *bl_dataset_unread(const struct bl_dataset *data, int type, uint32_t *count) {
    if (type >= data->unread_types) return NULL;
    *count = data->unread[type].count;
    return data->unread[type].type;
}

enum bl_split bl_dataset_judge(const struct bl_dataset *data) {
    return data->found_count[BL_VAL] ? BL_VAL : data->found_count[BL_TEST] ? BL_TEST : BL_TRAIN;
}

/* --- the line ----------------------------------------------------------------------------------- */

struct line {
    char text[2048]; // holds all that there can be: types have short names, and there are few of them
    size_t length;
};

static void add(struct line *line, const char *format, ...) BL_PRINTF(2, 3);
static void add(struct line *line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line->text + line->length, sizeof line->text - line->length, format, arguments);
    va_end(arguments);
    if (length > 0) line->length += (size_t)length;
    if (line->length >= sizeof line->text) line->length = sizeof line->text - 1;
}

static void add_counts(struct line *line, const struct bl_dataset *data) {
    int last = 0, told = 0;
    for (int s = 0; s < BL_SPLITS; s++)
        if (data->split[s].count) last = s;
    for (int s = 0; s < BL_SPLITS; s++)
        if (data->split[s].count)
            add(line, "%s%u %s",
                !told++     ? ""
                : s == last ? " and "
                            : ", ",
                data->split[s].count, bl_split_title((enum bl_split)s));
    add(line, " images, %d class%s", data->classes, data->classes == 1 ? "" : "es");
    if (data->divided)
        add(line, data->split[BL_TEST].count ? " (no splits: a tenth is for testing)"
                                             : " (no splits, and no image to spare for testing)");
    if (data->left_out)
        add(line, "; %u damaged image%s left out", data->left_out, data->left_out == 1 ? " is" : "s are");
}

static void add_unread(struct line *line, const struct bl_dataset *data) {
    uint64_t files = 0;
    for (int t = 0; t < data->unread_types; t++) files += data->unread[t].count;
    if (files) add(line, "; %llu file%s of types not read: ", (unsigned long long)files, files == 1 ? "" : "s");
    for (int t = 0; t < data->unread_types; t++)
        add(line, "%s%s %u", t ? ", " : "", data->unread[t].type, data->unread[t].count);
}

char *bl_dataset_describe(const struct bl_dataset *data) {
    struct line line = {.length = 0};
    add_counts(&line, data);
    add_unread(&line, data);
    return bl_strdup(line.text);
}

/* --- classes ------------------------------------------------------------------------------------ */

static int find(const char *name, const char *const *names, int count) {
    for (int i = 0; i < count; i++)
        if (!strcmp(name, names[i])) return i;
    return -1;
}

/* Class c of the data becomes number[c]. */
static int renumber(struct bl_dataset *data, const int *number, const char *const *names, int count) {
    char **copies = bl_calloc((size_t)count, sizeof *copies);
    int code = copies ? 0 : BLANCH_ENOMEM;
    for (int i = 0; i < count && !code; i++)
        if (!(copies[i] = bl_strdup(names[i]))) code = BLANCH_ENOMEM;
    char **old = code ? copies : data->class_names;
    int olds = code ? (copies ? count : 0) : data->classes;
    if (!code) {
        for (int s = 0; s < BL_SPLITS; s++)
            for (uint32_t i = 0; i < data->split[s].count; i++)
                data->split[s].labels[i] = number[data->split[s].labels[i]];
        data->class_names = copies;
        data->classes = count;
    }
    for (int i = 0; i < olds; i++) free(old[i]);
    free(old);
    return code;
}

static int match(struct bl_dataset *data, int *number, bool *has, const char *const *names, int count) {
    struct bl_names extra = {0};
    int code = 0;
    for (int c = 0; c < data->classes && !code; c++) {
        number[c] = c < count && !strcmp(data->class_names[c], names[c]) ? c : find(data->class_names[c], names, count);
        if (number[c] >= 0)
            has[number[c]] = true;
        else
            code = bl_names_add(&extra, data->class_names[c]);
    }
    char *list = code ? NULL : bl_names_join(&extra);
    if (!code) code = list ? 0 : BLANCH_ENOMEM;
    if (!code && extra.count)
        code = bl_fail(BLANCH_EINPUT, "%s: the run does not know the class%s %s", data->folder,
                       extra.count == 1 ? "" : "es", list);
    free(list);
    bl_names_free(&extra);
    return code;
}

static int check_missing(struct bl_dataset *data, const bool *has, const char *const *names, int count, bool all) {
    struct bl_names missing = {0};
    int code = 0;
    for (int i = 0; i < count && !code; i++)
        if (!has[i]) code = bl_names_add(&missing, names[i]);
    char *list = code ? NULL : bl_names_join(&missing);
    if (!code) code = list ? 0 : BLANCH_ENOMEM;
    if (!code && missing.count)
        code = all ? bl_fail(BLANCH_EINPUT, "%s lacks the run's class%s %s", data->folder,
                             missing.count == 1 ? "" : "es", list)
                   : bl_dataset_remark(data, "%s lacks the run's class%s %s: left out", data->folder,
                                       missing.count == 1 ? "" : "es", list);
    free(list);
    bl_names_free(&data->missing);
    data->missing = missing;
    return code;
}

const char *bl_dataset_missing(const struct bl_dataset *data, int index) {
    return (size_t)index < data->missing.count ? data->missing.at[index] : NULL;
}

int bl_dataset_classes_as(struct bl_dataset *data, const char *const *names, int count, bool all) {
    int *number = bl_calloc((size_t)data->classes, sizeof *number);
    bool *has = bl_calloc((size_t)count, sizeof *has);
    int code = number && has ? match(data, number, has, names, count) : BLANCH_ENOMEM;
    for (int c = 0; c < data->classes && !code && data->read_mask; c++)
        if (number[c] != c)
            code = bl_fail(BLANCH_EINPUT, "%s: class %d of its masks is '%s', and '%s' to the run", data->folder, c,
                           data->class_names[c], c < count ? names[c] : "");
    if (!code) code = check_missing(data, has, names, count, all);
    if (!code) code = renumber(data, number, names, count);
    free(number);
    free(has);
    return code;
}
