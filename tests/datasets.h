/* What the tests of datasets share: small files of their own folder, checks, a loader that must open. */
#ifndef DATASETS_H
#define DATASETS_H

#include "dataset.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wunused-function"
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#include <stb_image_write.h>
#pragma GCC diagnostic pop
static char root[] = "/tmp/blanch-datasets-XXXXXX";

/* --- small files ------------------------------------------------------------------------------ */

/* "DIR/..." below a folder of this test's own; kept in a ring of buffers */
static const char *in(const char *dir, const char *format, ...) {
    static char buffers[8][512];
    static int next;
    char *at = buffers[next++ % 8];
    int length = snprintf(at, 256, "%s/%s%s", root, dir, *format ? "/" : "");
    va_list list;
    va_start(list, format);
    vsnprintf(at + length, 256, format, list);
    va_end(list);
    return at;
}

static void make_folder(const char *path) {
    char copy[512];
    snprintf(copy, sizeof copy, "%s", path);
    for (char *slash = copy + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(copy, 0777);
        *slash = '/';
    }
    mkdir(copy, 0777);
}

static void write_file(const char *path, const void *data, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* A picture that differs everywhere: value of pixel (y, x), channel c, of image i. */
static inline uint8_t picture(int i, int y, int x, int c) {
    return (uint8_t)(i * 37 + y * 11 + x * 5 + c * 83 + (x * y) % 7);
}

/* --- checks ----------------------------------------------------------------------------------- */

static inline struct bl_dataset *opened(const char *format, const char *dir) {
    struct bl_dataset *data;
    char spec[512];
    snprintf(spec, sizeof spec, "%s:%s", format, in(dir, ""));
    if (bl_dataset_open(&data, spec, 1)) fail_msg("%s", blanch_error_message());
    return data;
}

static inline struct bl_view raw_view(int channels, int size, enum bl_augment augment) {
    struct bl_view view = {.channels = channels, .height = size, .width = size, .augment = augment};
    for (int c = 0; c < channels; c++) view.deviation[c] = 1 / 255.0f;
    return view;
}

static inline int side_of(const struct bl_dataset *data) {
    int height, width;
    bl_dataset_size(data, &height, &width);
    assert_int_equal(height, width);
    return height;
}

static inline struct bl_transform transform_of(struct bl_view view, bool training, uint64_t seed) {
    struct bl_transform transform;
    if (bl_transform_init(&transform, &view, training, seed)) fail_msg("%s", blanch_error_message());
    return transform;
}

static inline int byte_of(float value) {
    return (int)lrintf(value);
}

static inline void write_cifar(const char *path, int count, int label_bytes, int classes) {
    size_t record = 3072 + (size_t)label_bytes;
    uint8_t *bytes = calloc((size_t)count, record);
    for (int i = 0; i < count; i++) {
        uint8_t *at = bytes + record * (size_t)i;
        at[label_bytes - 1] = (uint8_t)(i % classes);
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < 32; y++)
                for (int x = 0; x < 32; x++) at[label_bytes + (c * 32 + y) * 32 + x] = picture(i, y, x, c);
    }
    write_file(path, bytes, record * (size_t)count);
    free(bytes);
}

static inline void write_cifar10(const char *dir) {
    make_folder(in(dir, ""));
    for (int i = 1; i <= 5; i++) write_cifar(in(dir, "data_batch_%d.bin", i), 10, 1, 10);
    write_cifar(in(dir, "test_batch.bin"), 7, 1, 10);
}

static inline struct bl_loader *loader_of(struct bl_dataset *data, struct bl_loader_options options) {
    struct bl_loader *loader;
    if (bl_loader_open(&loader, data, &options)) fail_msg("%s", blanch_error_message());
    return loader;
}

static int set_up(void **state) {
    return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

#endif
