/* EXIF's orientation: how a camera was held, applied as PIL's ImageOps.exif_transpose does. */
#include "image_internal.h"

#include <stdlib.h>

#define ORIENTATION 0x112
#define ENTRY 12 // tag, type, count, value

/* The first directory of a TIFF file. What is damaged in it says nothing: the pixels are not concerned. */
int bl_exif_orientation(const uint8_t *tiff, size_t size) {
    if (size < 8 || tiff[0] != tiff[1] || (tiff[0] != 'I' && tiff[0] != 'M')) return 1;
    bool little = tiff[0] == 'I';
    uint32_t (*const get16)(const uint8_t *) = little ? bl_le16 : bl_be16;
    uint32_t (*const get32)(const uint8_t *) = little ? bl_le32 : bl_be32;
    size_t at = get32(tiff + 4);
    if (get16(tiff + 2) != 42 || at > size - 2) return 1;
    uint32_t value = 1, entries = get16(tiff + at);
    const uint8_t *entry = tiff + at + 2;
    for (uint32_t i = 0; i < entries && (size_t)(tiff + size - entry) >= ENTRY; i++, entry += ENTRY) {
        uint32_t type = get16(entry + 2);
        if (get16(entry) != ORIENTATION || get32(entry + 4) != 1) continue;
        value = type == 3 ? get16(entry + 8) : type == 4 ? get32(entry + 8) : 1;
    }
    return value >= 1 && value <= 8 ? (int)value : 1;
}

int bl_orient(struct bl_pixels *pixels, int orientation) {
    if (orientation == 1) return 0;
    bool turned = orientation >= 5; // rows become columns
    bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    bool from_below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    int width = pixels->width, height = pixels->height;
    size_t row = (size_t)width * 3;
    uint8_t *data = bl_malloc(row * (size_t)height), *to = data;
    if (!data) return bl_fail(BLANCH_ENOMEM, "out of memory for an image");
    ptrdiff_t across = from_right ? -3 : 3, down = from_below ? -(ptrdiff_t)row : (ptrdiff_t)row;
    const uint8_t *first = pixels->data + (from_right ? row - 3 : 0) + (from_below ? row * (size_t)(height - 1) : 0);
    ptrdiff_t step = turned ? down : across, next = turned ? across : down;
    pixels->width = turned ? height : width;
    pixels->height = turned ? width : height;
    for (int y = 0; y < pixels->height; y++)
        for (int x = 0; x < pixels->width; x++, to += 3) bl_put_rgb(to, first + y * next + x * step);
    free(pixels->data);
    pixels->data = data;
    return 0;
}
