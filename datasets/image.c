/* Image files: read whole, checked to be complete, decoded to RGB. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

/* stb_image fills what a cut-off JPEG lacks with grey, so the end marker is looked for: segment by segment, because a
 * thumbnail inside a segment has one of its own. */
static bool jpeg_complete(const uint8_t *bytes, size_t size) {
    size_t at = 2;
    while (at + 1 < size) {
        if (bytes[at] != 0xff) { // compressed data: go to the next marker
            const uint8_t *next = memchr(bytes + at, 0xff, size - at);
            if (!next) return false;
            at = (size_t)(next - bytes);
            continue;
        }
        uint8_t marker = bytes[at + 1];
        if (marker == 0xd9) return true;
        if (marker == 0xff) {
            at++;
        } else if (marker == 0 || marker == 1 || (marker >= 0xd0 && marker <= 0xd8)) {
            at += 2;
        } else {
            if (at + 3 >= size) return false;
            at += 2 + ((size_t)bytes[at + 2] << 8 | bytes[at + 3]);
        }
    }
    return false;
}

/* stb_image checks no sums; the critical chunks' are checked here. */
static const char *png_fault(const uint8_t *bytes, size_t size) {
    for (size_t at = 8; size - at >= 12;) {
        const uint8_t *chunk = bytes + at;
        size_t length = (size_t)chunk[0] << 24 | (size_t)chunk[1] << 16 | (size_t)chunk[2] << 8 | chunk[3];
        if (length > size - at - 12) return "the PNG is cut off";
        const uint8_t *sum = chunk + 8 + length;
        uint32_t expected = (uint32_t)sum[0] << 24 | (uint32_t)sum[1] << 16 | (uint32_t)sum[2] << 8 | sum[3];
        bool critical = !(chunk[4] & 0x20);
        if (critical && crc32(0, chunk + 4, (uInt)length + 4) != expected)
            return "the PNG is damaged: a checksum is wrong";
        if (!memcmp(chunk + 4, "IEND", 4)) return NULL;
        at += 12 + length;
    }
    return "the PNG is cut off";
}

static const char *fault(const uint8_t *bytes, size_t size) {
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    if (size >= 4 && bytes[0] == 0xff && bytes[1] == 0xd8)
        return jpeg_complete(bytes, size) ? NULL : "the JPEG is cut off";
    if (size >= 8 && !memcmp(bytes, png, 8)) return png_fault(bytes, size);
    return NULL;
}

int bl_image_read(const char *path, struct bl_pixels *pixels) {
    uint8_t *bytes;
    size_t size;
    int code = bl_data_read(path, &bytes, &size);
    if (code) return code;
    const char *reason = fault(bytes, size);
    *pixels = (struct bl_pixels){.channels = 3};
    if (reason)
        code = bl_fail(BLANCH_EINPUT, "%s: %s", path, reason);
    else if (!(pixels->data = bl_stb_decode(bytes, size, &pixels->width, &pixels->height, &reason)))
        code = bl_fail(BLANCH_EINPUT, "%s: not a readable image: %s", path, reason);
    free(bytes);
    return code;
}

int bl_image_size(const char *path, int *width, int *height) {
    uint8_t *bytes;
    size_t size;
    const char *reason;
    int code = bl_data_read(path, &bytes, &size);
    if (code) return code;
    if (!bl_stb_size(bytes, size, width, height, &reason))
        code = bl_fail(BLANCH_EINPUT, "%s: not a readable image: %s", path, reason);
    free(bytes);
    return code;
}

bool bl_image_looks_whole(const char *path) {
    static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}, iend[] = {'I', 'E', 'N', 'D'};
    uint8_t begin[8], end[8];
    FILE *file = fopen(path, "rb");
    bool read = file && fread(begin, sizeof begin, 1, file) == 1 && !fseek(file, -8, SEEK_END) &&
                fread(end, sizeof end, 1, file) == 1;
    if (file) fclose(file);
    if (!read) return false;
    if (begin[0] == 0xff && begin[1] == 0xd8) return end[6] == 0xff && end[7] == 0xd9;
    return !memcmp(begin, png, sizeof png) && !memcmp(end, iend, sizeof iend);
}

bool bl_image_named(const char *name) {
    static const char *const endings[] = {".jpg", ".jpeg", ".jpe", ".png", ".bmp",
                                          ".gif", ".tga",  ".ppm", ".pgm", ".pnm"};
    const char *dot = strrchr(name, '.');
    for (int i = 0; dot && i < BL_COUNT(endings); i++)
        if (!strcasecmp(dot, endings[i])) return true;
    return false;
}
