/* Masks: the classes of an image's pixels, which a PNG holds as the indices of its palette or as grey levels. Decoders
 * of pictures make colours of both, so the numbers themselves are read here. */
#include "image_internal.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { MOST_PIXELS = 1 << 28, GREY = 0, PALETTE = 3 };
enum { AROUND = 12, MOST_PACKED = 1100 }; // bytes of a chunk beside its data; that deflate makes one of, or a few more

struct png {
    const uint8_t *bytes;
    size_t size, at;
    int width, height, depth;
};

/* The next chunk, whose data have `length` bytes, at the place that is returned; NULL: the file ends. */
static const uint8_t *next_chunk(struct png *png, size_t *length) {
    if (png->size - png->at < AROUND) return NULL;
    const uint8_t *chunk = png->bytes + png->at + 4;
    *length = bl_be32(chunk - 4);
    if (*length > png->size - png->at - AROUND) return NULL;
    png->at += AROUND + *length;
    return chunk;
}

static int read_header(struct png *png) {
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    size_t length = 0;
    png->at = sizeof signature;
    if (png->size < sizeof signature || memcmp(png->bytes, signature, sizeof signature))
        return bl_fail(BLANCH_EINPUT, "a mask is a PNG, and this is none");
    const uint8_t *chunk = next_chunk(png, &length), *data = chunk + 4;
    if (!chunk || memcmp(chunk, "IHDR", 4) || length != 13)
        return bl_fail(BLANCH_EINPUT, "the PNG does not begin with a header");
    const uint32_t width = bl_be32(data), height = bl_be32(data + 4);
    png->depth = data[8];
    if (data[9] != GREY && data[9] != PALETTE)
        return bl_fail(BLANCH_EINPUT, "a mask is a PNG in grey or with a palette, and this one has colours or alpha");
    if (png->depth > 8 || png->depth < 1 || png->depth & (png->depth - 1))
        return bl_fail(BLANCH_EINPUT, "a mask has up to 8 bits a pixel, and this one has %d", png->depth);
    if (data[10] || data[11] || data[12])
        return bl_fail(BLANCH_EINPUT, "the PNG is interlaced or packed in another way, which is not read of masks");
    if (!width || !height || width > MOST_PIXELS || height > MOST_PIXELS || (uint64_t)width * height > MOST_PIXELS)
        return bl_fail(BLANCH_EINPUT, "the PNG has %u x %u pixels", width, height);
    png->width = (int)width, png->height = (int)height;
    return 0;
}

/* All IDAT chunks as one stream, which has to give `size` bytes, no fewer. */
static int inflate_all(struct png *png, uint8_t *rows, size_t size) {
    z_stream stream = {.next_out = rows, .avail_out = (uInt)size};
    const uint8_t *chunk = NULL;
    size_t length = 0;
    int code = 0, state = Z_OK;
    if (inflateInit(&stream) != Z_OK) return BLANCH_ENOMEM;
    while (!code && state == Z_OK && stream.avail_out && (chunk = next_chunk(png, &length))) {
        if (memcmp(chunk, "IDAT", 4)) continue;
        if (crc32(0, chunk, (uInt)length + 4) != bl_be32(chunk + 4 + length))
            code = bl_fail(BLANCH_EINPUT, "the PNG is damaged: a checksum is wrong");
        stream.next_in = (uint8_t *)chunk + 4, stream.avail_in = (uInt)length;
        if (!code && length) state = inflate(&stream, Z_NO_FLUSH);
        if (state == Z_BUF_ERROR) state = Z_OK;
    }
    if (!code && (stream.avail_out || (state != Z_OK && state != Z_STREAM_END)))
        code = bl_fail(BLANCH_EINPUT,
                       state == Z_OK || state == Z_STREAM_END ? "the PNG is cut off" : "the PNG is damaged");
    inflateEnd(&stream);
    return code;
}

static int paeth(int left, int up, int corner) {
    const int p = left + up - corner, a = abs(p - left), b = abs(p - up), c = abs(p - corner);
    return a <= b && a <= c ? left : b <= c ? up : corner;
}

/* In place, as the specification has it; a pixel has no more than a byte. */
static int unfilter(uint8_t *row, const uint8_t *before, size_t bytes) {
    const int filter = row[0];
    if (filter > 4) return bl_fail(BLANCH_EINPUT, "the PNG is damaged: a row has a filter that there is not");
    for (size_t i = 1; i <= bytes; i++) {
        const int left = i > 1 ? row[i - 1] : 0, up = before ? before[i] : 0,
                  corner = before && i > 1 ? before[i - 1] : 0;
        const int add[] = {0, left, up, (left + up) / 2, paeth(left, up, corner)};
        row[i] = (uint8_t)(row[i] + add[filter]);
    }
    return 0;
}

static int decode(struct png *png, struct bl_pixels *mask) {
    const size_t bytes = ((size_t)png->width * (size_t)png->depth + 7) / 8, row = bytes + 1;
    if (row * (size_t)png->height / MOST_PACKED > png->size) return bl_fail(BLANCH_EINPUT, "the PNG is cut off");
    uint8_t *rows = bl_malloc(row * (size_t)png->height);
    *mask = (struct bl_pixels){bl_malloc((size_t)png->width * (size_t)png->height), png->width, png->height, 1, 0};
    int code = rows && mask->data ? inflate_all(png, rows, row * (size_t)png->height) : BLANCH_ENOMEM;
    for (int y = 0; y < png->height && !code; y++) {
        uint8_t *from = rows + row * (size_t)y, *to = mask->data + (size_t)y * (size_t)png->width;
        code = unfilter(from, y ? from - row : NULL, bytes);
        for (int x = 0; x < png->width; x++) {
            const int bit = x * png->depth, shift = 8 - png->depth - bit % 8;
            to[x] = (uint8_t)(from[1 + bit / 8] >> shift & ((1 << png->depth) - 1));
        }
    }
    free(rows);
    if (code) bl_pixels_free(mask);
    return code;
}

int bl_mask_read(const char *path, struct bl_pixels *mask) {
    struct png png = {0};
    uint8_t *bytes;
    *mask = (struct bl_pixels){0};
    int code = bl_data_read(path, &bytes, &png.size);
    if (code) return code;
    png.bytes = bytes;
    code = read_header(&png);
    if (!code) code = decode(&png, mask);
    free(bytes);
    return code ? bl_fail_in(code, "%s", path) : 0;
}

/* --- as the input shows it -------------------------------------------------------------------- */

static int clamp(int value, int size) {
    return value < 0 ? 0 : value >= size ? size - 1 : value;
}

/* The place in the mask of one in what was scaled, whose window begins at `first`: of the nearest pixel. */
static int source(int at, int first, int from, int length, int scaled, int size) {
    return clamp(from + (int)((2 * (int64_t)(at + first) + 1) * length / (2 * (int64_t)scaled)), size);
}

void bl_mask_place(const struct bl_pixels *mask, const struct bl_placing *at, const struct bl_view *view,
                   int32_t *labels) {
    const bool scaled = at->width > 0;
    const int height = scaled ? at->window.height : mask->height, width = scaled ? at->window.width : mask->width;
    for (int y = 0; y < view->height; y++)
        for (int x = 0; x < view->width; x++, labels++) {
            int row = y + at->top, column = (at->flip ? view->width - 1 - x : x) + at->left;
            *labels = BL_UNLABELLED;
            if (row < 0 || row >= height || column < 0 || column >= width) continue;
            if (scaled) {
                row = source(row, at->window.y, at->region.y, at->region.height, at->height, mask->height);
                column = source(column, at->window.x, at->region.x, at->region.width, at->width, mask->width);
            }
            *labels = mask->data[(size_t)row * (size_t)mask->width + (size_t)column];
        }
}
