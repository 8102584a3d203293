/* PNG: the walk through its chunks, which tells size, kind and orientation, and whether all of it is there. */
#include "image_internal.h"

#include <string.h>
#include <zlib.h>

#define AROUND 12 // bytes of a chunk beside its data: length, type, checksum

static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

struct chunk {
    const uint8_t *type, *data;
    size_t length;
};

static int cut_off(void) {
    return bl_fail(BLANCH_EINPUT, "the PNG is cut off");
}

/* The chunk at *at, which moves on behind it. Checksums of those that the pixels depend on are checked. */
static int next_chunk(const struct bl_image *image, size_t *at, struct chunk *chunk) {
    const uint8_t *bytes = image->bytes + *at;
    if (image->size - *at < AROUND) return cut_off();
    *chunk = (struct chunk){bytes + 4, bytes + 8, bl_be32(bytes)};
    if (chunk->length > image->size - *at - AROUND) return cut_off();
    bool critical = !(chunk->type[0] & 0x20);
    if (critical && crc32(0, chunk->type, (uInt)chunk->length + 4) != bl_be32(chunk->data + chunk->length))
        return bl_fail(BLANCH_EINPUT, "the PNG is damaged: a checksum is wrong");
    *at += AROUND + chunk->length;
    return 0;
}

static bool is(const struct chunk *chunk, const char *type) {
    return !memcmp(chunk->type, type, 4);
}

static int walk_through(struct bl_image *image, struct bl_png *png) {
    struct chunk chunk = {0};
    size_t at = sizeof signature;
    int code = next_chunk(image, &at, &chunk);
    if (code) return code;
    if (!is(&chunk, "IHDR") || chunk.length != 13)
        return bl_fail(BLANCH_EINPUT, "the PNG does not begin with a header");
    if (bl_be32(chunk.data) > INT32_MAX || bl_be32(chunk.data + 4) > INT32_MAX)
        return bl_fail(BLANCH_EINPUT, "the PNG is damaged: its size is not possible");
    image->width = (int)bl_be32(chunk.data);
    image->height = (int)bl_be32(chunk.data + 4);
    *png = (struct bl_png){.depth = chunk.data[8]};
    bool indexed = chunk.data[9] == 3;
    if (png->depth < 1 || png->depth > 16 || png->depth & (png->depth - 1))
        return bl_fail(BLANCH_EINPUT, "the PNG is damaged: its samples have %d bits", png->depth);
    while (!is(&chunk, "IEND")) {
        if ((code = next_chunk(image, &at, &chunk))) return code;
        if (is(&chunk, "PLTE") && indexed) png->colours = (int)(chunk.length / 3);
        if (is(&chunk, "eXIf")) image->orientation = bl_exif_orientation(chunk.data, chunk.length);
    }
    return 0;
}

static bool match(const uint8_t *bytes, size_t size) {
    return size >= sizeof signature && !memcmp(bytes, signature, sizeof signature);
}

static int header(struct bl_image *image) {
    struct bl_png png;
    int code = walk_through(image, &png);
    if (!code) image->held = bl_png_held(&png);
    return code;
}

static int decode(struct bl_image *image) {
    struct bl_png png;
    int code = walk_through(image, &png);
    return code ? code : bl_png_pixels(image, &png);
}

const struct bl_decoder bl_decoder_png = {match, header, decode};
