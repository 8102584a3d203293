/* Opening by spec, and what all formats share. */
#include "listing.h"
#include "base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct bl_format *const formats[] = {
    &bl_format_fashion_mnist, &bl_format_mnist,     &bl_format_cifar10, &bl_format_cifar100, &bl_format_folder,
    &bl_format_npz,           &bl_format_synthetic, &bl_format_pairs,   &bl_format_voc,      &bl_format_synthetic_seg,
};

static int unknown_spec(const char *spec) {
    char known[512] = "", word[BL_MAX_WORD + 1];
    const char *names[BL_COUNT(formats) + 1] = {NULL};
    for (int i = 0; i < BL_COUNT(formats); i++) {
        names[i] = formats[i]->name;
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", formats[i]->help);
    }
    snprintf(word, sizeof word, "%.*s", (int)strcspn(spec, ":"), spec);
    const char *near = bl_nearest(word, names);
    return bl_fail(BLANCH_EUSAGE, "dataset '%s' is unknown%s%s%s; known are %s", spec, near ? ", did you mean " : "",
                   near ? near : "", near ? "?" : "", known);
}

int bl_dataset_open(struct bl_dataset **data, const char *spec, uint64_t seed) {
    return bl_dataset_open_divided(data, spec, &(struct bl_division){.seed = seed});
}

int bl_dataset_open_divided(struct bl_dataset **data, const char *spec, const struct bl_division *division) {
    const char *colon = strchr(spec, ':');
    size_t length = colon ? (size_t)(colon - spec) : strlen(spec);
    const char *argument = colon && colon[1] ? colon + 1 : NULL;
    const struct bl_format *format = NULL;
    for (int i = 0; i < BL_COUNT(formats); i++)
        if (strlen(formats[i]->name) == length && !strncmp(formats[i]->name, spec, length)) format = formats[i];
    *data = NULL;
    if (!format) return unknown_spec(spec);
    if (!argument && !format->optional)
        return bl_fail(BLANCH_EUSAGE, "dataset '%s' is incomplete: it is given as %s", spec, format->help);
    struct bl_dataset *opened = bl_calloc(1, sizeof *opened);
    if (!opened) return BLANCH_ENOMEM;
    opened->format = format;
    opened->division = *division;
    pthread_mutex_init(&opened->lock, NULL);
    int code = format->open(opened, argument, division->seed);
    if (!code) code = bl_dataset_split(opened);
    if (!code) code = bl_dataset_note(opened);
    if (code) {
        bl_dataset_close(opened);
        return code;
    }
    *data = opened;
    return 0;
}

void bl_dataset_close(struct bl_dataset *data) {
    if (!data) return;
    for (int s = 0; s < BL_SPLITS; s++) {
        struct bl_images *images = &data->split[s];
        for (uint32_t i = 0; images->paths && i < images->count; i++) free(images->paths[i]);
        free(images->paths);
        free(images->labels);
        free(images->pixels);
        free((void *)images->damaged);
        free(data->root[s]);
    }
    bl_cache_close(&data->cache);
    free(data->unread);
    bl_names_free(&data->missing);
    for (int i = 0; data->class_names && i < data->classes; i++) free(data->class_names[i]);
    for (size_t i = 0; i < data->message_count; i++) free(data->messages[i]);
    free(data->messages);
    free(data->class_names);
    free(data->folder);
    pthread_mutex_destroy(&data->lock);
    free(data);
}

const char *bl_dataset_name(const struct bl_dataset *data) {
    return data->format->name;
}

int bl_dataset_classes(const struct bl_dataset *data) {
    return data->classes;
}

static const char *const split_names[][2] = {
    [BL_TRAIN] = {"train", "training"}, [BL_VAL] = {"val", "validation"}, [BL_TEST] = {"test", "test"}};

const char *bl_split_name(enum bl_split split) {
    return split_names[split][0];
}

const char *bl_split_title(enum bl_split split) {
    return split_names[split][1];
}

const char *bl_dataset_class_name(const struct bl_dataset *data, int label) {
    return label >= 0 && label < data->classes ? data->class_names[label] : "?";
}

uint32_t bl_dataset_count(const struct bl_dataset *data, enum bl_split split) {
    return data->split[split].count;
}

int32_t bl_dataset_label(const struct bl_dataset *data, enum bl_split split, uint32_t index) {
    return data->split[split].labels[index];
}

bool bl_dataset_has_masks(const struct bl_dataset *data) {
    return data->read_mask != NULL;
}

int bl_dataset_check_view(const struct bl_dataset *data, const struct bl_view *view) {
    if (!data->read_mask || (!view->policy && !(view->erase > 0) && !(view->mixup > 0) && !(view->cutmix > 0)))
        return 0;
    return bl_fail(BLANCH_EUSAGE,
                   "%s: images with masks are cropped and mirrored alone: leave --auto-augment, --random-erase, "
                   "--mixup and --cutmix out",
                   data->folder);
}

int bl_dataset_channels(const struct bl_dataset *data) {
    return data->channels;
}

void bl_dataset_size(const struct bl_dataset *data, int *height, int *width) {
    *height = data->height;
    *width = data->width;
}

size_t bl_dataset_bytes(const struct bl_dataset *data) {
    return (size_t)data->height * (size_t)data->width * (size_t)data->channels;
}

/* --- for the formats -------------------------------------------------------------------------- */

int bl_dataset_names(struct bl_dataset *data, const char *const *names) {
    data->class_names = bl_calloc((size_t)data->classes, sizeof *data->class_names);
    if (!data->class_names) return BLANCH_ENOMEM;
    for (int i = 0; i < data->classes; i++)
        if (!(data->class_names[i] = bl_strdup(names[i]))) return BLANCH_ENOMEM;
    return 0;
}

bool bl_data_exists(const char *path) {
    struct stat status;
    return !stat(path, &status) || (errno != ENOENT && errno != ENOTDIR); // opening it tells what else is wrong
}

/* The file's own fault, or the system's: of a disk, of too many open files. That must not pass for a damaged image. */
static int fail_open(const char *path, int cause) {
    const bool own = cause == ENOENT || cause == EACCES || cause == ELOOP || cause == ENOTDIR || cause == ENXIO;
    return bl_fail(own ? BLANCH_EINPUT : BLANCH_EIO, "%s: %s", path, strerror(cause));
}

int bl_data_open(const char *path, FILE **file, size_t *size) {
    int code = 0, descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    struct stat status;
    if (descriptor < 0) return fail_open(path, errno);
    if (fstat(descriptor, &status))
        code = bl_fail(BLANCH_EIO, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(status.st_mode))
        code = bl_fail(BLANCH_EINPUT, "%s: not a regular file", path);
    else if (!status.st_size)
        code = bl_fail(BLANCH_EINPUT, "%s: the file is empty", path);
    else if (!(*file = fdopen(descriptor, "rb")))
        code = bl_fail(BLANCH_ENOMEM, "%s: %s", path, strerror(errno));
    else
        *size = (size_t)status.st_size;
    if (code) close(descriptor);
    return code;
}

int bl_data_take(const char *path, FILE *file, size_t size, uint8_t **bytes) {
    int code = 0;
    if (!(*bytes = bl_malloc(size)))
        code = bl_fail(BLANCH_ENOMEM, "%s: out of memory", path);
    else if (setvbuf(file, NULL, _IONBF, 0) || fread(*bytes, 1, size, file) != size)
        code = ferror(file) ? bl_fail(BLANCH_EIO, "%s: %s", path, strerror(errno))
                            : bl_fail(BLANCH_EINPUT, "%s: it shrank while it was read", path);
    fclose(file);
    if (code) {
        free(*bytes);
        *bytes = NULL;
    }
    return code;
}

int bl_data_read(const char *path, uint8_t **bytes, size_t *size) {
    FILE *file = NULL;
    *bytes = NULL;
    int code = bl_data_open(path, &file, size);
    return code ? code : bl_data_take(path, file, *size, bytes);
}

/* Locked. Takes text over. */
static int add_message(struct bl_dataset *data, char *text) {
    int code =
        bl_grow((void **)&data->messages, &data->message_capacity, data->message_count + 1, sizeof *data->messages);
    if (code)
        free(text);
    else
        data->messages[data->message_count++] = text;
    return code;
}

int bl_dataset_remark(struct bl_dataset *data, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    char *copy = bl_strdup(text);
    return copy ? add_message(data, copy) : BLANCH_ENOMEM;
}

const char *bl_dataset_message(struct bl_dataset *data) {
    pthread_mutex_lock(&data->lock);
    const char *message = data->reported < data->message_count ? data->messages[data->reported++] : NULL;
    pthread_mutex_unlock(&data->lock);
    return message;
}

int bl_dataset_damage(struct bl_dataset *data, enum bl_split split, uint32_t index) {
    struct bl_images *images = &data->split[split];
    char *reason = bl_strdup(blanch_error_message());
    if (!reason) return BLANCH_ENOMEM;
    pthread_mutex_lock(&data->lock);
    bool known = images->damaged[index];
    int code = known ? 0 : add_message(data, reason);
    if (!code && !known) {
        images->damaged[index] = 1;
        images->damaged_count++;
        if ((uint64_t)images->damaged_count * 10 > images->count)
            code = bl_fail(BLANCH_EINPUT, "%s: more than a tenth of the %u %s images are damaged; the last: %s",
                           data->folder, images->count, bl_split_title(split), reason);
    }
    pthread_mutex_unlock(&data->lock);
    if (known) free(reason);
    return code;
}
