/* PNG (ISO/IEC 15948), as much of it as writing takes: one IDAT chunk, lines unfiltered. */
#include "io/png.h"
#include "base/base.h"
#include "io/files.h"
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct out {
    uint8_t *data;
    size_t size;
};

static void put32(struct out *out, uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) out->data[out->size++] = (uint8_t)(value >> shift);
}

static void put_chunk(struct out *out, const char *type, const uint8_t *data, size_t size) {
    put32(out, (uint32_t)size);
    const size_t begin = out->size;
    memcpy(out->data + out->size, type, 4);
    if (size) memcpy(out->data + out->size + 4, data, size);
    out->size += 4 + size;
    put32(out, (uint32_t)crc32(0, out->data + begin, (uInt)(out->size - begin)));
}

static int write_file(const char *path, int width, int height, int channels, const uint8_t *packed, size_t size) {
    static const uint8_t signature[] = {137, 'P', 'N', 'G', '\r', '\n', 26, '\n'};
    uint8_t head[13] = {0};
    struct out ends = {.data = head}, out = {.data = bl_malloc(size + 100)};
    if (!out.data) return BLANCH_ENOMEM;
    put32(&ends, (uint32_t)width), put32(&ends, (uint32_t)height);
    head[8] = 8, head[9] = channels == 3 ? 2 : 0;
    memcpy(out.data, signature, sizeof signature);
    out.size = sizeof signature;
    put_chunk(&out, "IHDR", head, sizeof head);
    put_chunk(&out, "IDAT", packed, size);
    put_chunk(&out, "IEND", NULL, 0);
    int code = bl_file_write(path, out.data, out.size);
    free(out.data);
    return code;
}

int bl_png_write(const char *path, int width, int height, int channels, const uint8_t *pixels) {
    const size_t line = (size_t)width * (size_t)channels, size = (line + 1) * (size_t)height;
    uLongf packed_size = compressBound((uLong)size);
    uint8_t *lines = bl_malloc(size), *packed = bl_malloc(packed_size);
    int code = lines && packed ? 0 : BLANCH_ENOMEM;
    for (size_t y = 0; y < (size_t)height && !code; y++) {
        lines[y * (line + 1)] = 0; // no filter
        memcpy(lines + y * (line + 1) + 1, pixels + y * line, line);
    }
    if (!code && compress2(packed, &packed_size, lines, (uLong)size, Z_BEST_COMPRESSION) != Z_OK) code = BLANCH_ENOMEM;
    if (!code) code = write_file(path, width, height, channels, packed, packed_size);
    free(lines), free(packed);
    return code;
}
