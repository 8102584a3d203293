/* Decoded pictures kept in a folder: scaled to what evaluation scales to, so that it sees the same bytes, and training
 * crops from these. A file is named by the picture's own and the size, and holds their hash, its size and a sum. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct head {
    char magic[8];
    uint64_t key, sum;
    uint32_t width, height;
};
static const char magic[8] = "blpixel2";

int bl_dataset_cache(struct bl_dataset *data, const char *folder) {
    return bl_cache_open_at(&data->cache, folder);
}

/* Which file it was, and for which size. */
static uint64_t key_of(const struct stat *file, int height, int width) {
    const uint64_t facts[] = {(uint64_t)file->st_dev,   (uint64_t)file->st_ino,
                              (uint64_t)file->st_size,  (uint64_t)file->st_mtime,
                              (uint64_t)file->st_ctime, (uint64_t)height << 32 | (uint64_t)width};
    return bl_hash(BL_HASH_START, facts, sizeof facts);
}

/* Of words in turn, four sums that do not wait for each other: a byte's own would take as long as the picture. */
static uint64_t sum_of(const uint8_t *bytes, size_t size) {
    enum { SUMS = 4 };
    uint64_t sums[SUMS] = {1, 2, 3, 4}, words[SUMS];
    for (; size >= sizeof words; bytes += sizeof words, size -= sizeof words) {
        memcpy(words, bytes, sizeof words);
        for (int i = 0; i < SUMS; i++) {
            sums[i] = (sums[i] ^ words[i]) * 0x9e3779b97f4a7c15u;
            sums[i] ^= sums[i] >> 29;
        }
    }
    return bl_hash(bl_hash(BL_HASH_START, sums, sizeof sums), bytes, size);
}

/* false: it is not kept, or not whole. */
static bool read_kept(const struct bl_dataset *data, const char *name, uint64_t key, struct bl_pixels *pixels) {
    struct head head;
    size_t size;
    char *file = bl_cache_read(&data->cache, name, &size);
    if (!file) return false;
    bool good = size > sizeof head;
    if (good) memcpy(&head, file, sizeof head);
    const uint64_t bytes = size - sizeof head;
    good = good && !memcmp(head.magic, magic, sizeof magic) && head.key == key && head.width && head.height &&
           (uint64_t)head.width * head.height <= bytes / 3 && (uint64_t)head.width * head.height * 3 == bytes;
    good = good && sum_of((uint8_t *)file + sizeof head, bytes) == head.sum;
    if (good) {
        *pixels = (struct bl_pixels){(uint8_t *)file, (int)head.width, (int)head.height, 3, 0};
        memmove(file, file + sizeof head, bytes);
    } else
        free(file);
    return good;
}

static void keep(const struct bl_dataset *data, const char *name, uint64_t key, const struct bl_pixels *pixels) {
    const size_t bytes = (size_t)pixels->width * (size_t)pixels->height * 3;
    struct head head = {.key = key, .width = (uint32_t)pixels->width, .height = (uint32_t)pixels->height};
    memcpy(head.magic, magic, sizeof magic);
    head.sum = sum_of(pixels->data, bytes);
    const struct bl_part parts[] = {{&head, sizeof head}, {pixels->data, bytes}};
    bl_cache_write(&data->cache, name, parts, BL_COUNT(parts));
}

/* Smaller ones stay as they are. */
static int shrink(struct bl_pixels *pixels, const struct bl_view *view) {
    const struct bl_window all = {0, 0, pixels->width, pixels->height};
    struct bl_pixels scaled;
    int height, width;
    int code = bl_view_cover(view, pixels, &height, &width);
    if (code || width >= pixels->width || height >= pixels->height) return code;
    code = bl_resize(pixels, all, width, height, (struct bl_window){0, 0, width, height}, &scaled);
    if (code) return code;
    bl_pixels_free(pixels);
    *pixels = scaled;
    return 0;
}

int bl_dataset_read(const struct bl_dataset *data, enum bl_split split, uint32_t index, const struct bl_view *view,
                    struct bl_pixels *pixels) {
    const struct bl_images *images = &data->split[split];
    struct stat file;
    char name[32];
    int height, width;
    if (!data->cache.path || !images->paths || stat(images->paths[index], &file))
        return data->read(data, split, index, pixels);
    bl_view_scale(view, &height, &width);
    const uint64_t key = key_of(&file, height, width);
    snprintf(name, sizeof name, "%016llx.rgb", (unsigned long long)key);
    if (read_kept(data, name, key, pixels)) return 0;
    int code = data->read(data, split, index, pixels);
    if (code) return code;
    if ((code = shrink(pixels, view)))
        bl_pixels_free(pixels);
    else
        keep(data, name, key, pixels);
    return code;
}
