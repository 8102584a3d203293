/* Writing PNG: eight bits, no filter, one block of data. */
#include "io/png.h"
#include "base/replace.h"
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct out {
    uint8_t *bytes;
    size_t size;
};

static void put32(uint8_t *to, uint32_t value) {
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* There is room for it. */
static void put_chunk(struct out *out, const char *type, const void *data, size_t length) {
    uint8_t *at = out->bytes + out->size;
    put32(at, (uint32_t)length);
    memcpy(at + 4, type, 4);
    if (length) memcpy(at + 8, data, length);
    put32(at + 8 + length, (uint32_t)crc32(0, at + 4, (uInt)length + 4));
    out->size += 12 + length;
}

/* Rows with their filter, 0, before each. */
static int pack(const struct bl_png_image *image, uint8_t **packed, size_t *size) {
    const size_t row = (size_t)image->width * (size_t)image->channels, length = (row + 1) * (size_t)image->height;
    uint8_t *rows = bl_malloc(length);
    uLongf room = compressBound((uLong)length);
    *packed = bl_malloc(room);
    int code = rows && *packed ? 0 : BLANCH_ENOMEM;
    for (size_t y = 0; y < (size_t)image->height && !code; y++) {
        rows[y * (row + 1)] = 0;
        memcpy(rows + y * (row + 1) + 1, image->pixels + y * row, row);
    }
    if (!code && compress2(*packed, &room, rows, (uLong)length, Z_BEST_COMPRESSION) != Z_OK) code = BLANCH_ENOMEM;
    *size = room;
    free(rows);
    return code;
}

int bl_png_encode(const struct bl_png_image *image, uint8_t **bytes, size_t *size) {
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    enum { GREY = 0, RGB = 2, PALETTE = 3, BESIDE = 200 + 3 * 256 };
    uint8_t *packed = NULL, header[13] = {0};
    size_t length = 0;
    struct out out = {0};
    *bytes = NULL;
    int code = pack(image, &packed, &length);
    if (!code && !(out.bytes = bl_malloc(length + BESIDE))) code = BLANCH_ENOMEM;
    if (!code) {
        put32(header, (uint32_t)image->width);
        put32(header + 4, (uint32_t)image->height);
        header[8] = 8, header[9] = image->palette ? PALETTE : image->channels == 3 ? RGB : GREY;
        memcpy(out.bytes, signature, out.size = sizeof signature);
        put_chunk(&out, "IHDR", header, sizeof header);
        if (image->palette) put_chunk(&out, "PLTE", image->palette, 3 * (size_t)image->colours);
        put_chunk(&out, "IDAT", packed, length);
        put_chunk(&out, "IEND", NULL, 0);
        *bytes = out.bytes, *size = out.size;
    }
    free(packed);
    return code;
}

int bl_png_write(const char *path, const struct bl_png_image *image) {
    struct bl_replace file;
    uint8_t *bytes;
    size_t size;
    int code = bl_png_encode(image, &bytes, &size);
    if (code) return code;
    code = bl_replace_open(&file, path);
    if (!code) code = bl_replace_close(&file, bl_replace_write(&file, bytes, size));
    free(bytes);
    return code;
}

void bl_png_class_colour(int class, uint8_t colour[3]) {
    memset(colour, 0, 3);
    for (int bit = 7; bit >= 0 && class; bit--, class >>= 3)
        for (int c = 0; c < 3; c++) colour[c] |= (uint8_t)((class >> c & 1) << bit);
}
