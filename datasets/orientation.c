/* EXIF's orientation: how a camera was held, applied as PIL's ImageOps.exif_transpose does. */
#include "image_internal.h"

#include <stdlib.h>

#define ORIENTATION 0x112
#define ENTRY 12 // tag, type, count, value or where it lies

/* By type: bytes of a value; and which are whole numbers, as PIL has it, to which BYTE is none. */
static const uint8_t unit_bytes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};
static const bool is_whole[BL_COUNT(unit_bytes)] = {
    [3] = true, [4] = true, [6] = true, [8] = true, [9] = true, [13] = true};

/* The first directory of a TIFF file, of its entry the first value. What is damaged in it says nothing, nor what comes
 * behind a value that lies outside: the pixels are not concerned. */
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
        const uint32_t type = get16(entry + 2), unit = type < BL_COUNT(unit_bytes) ? unit_bytes[type] : 0;
        const uint64_t bytes = (uint64_t)unit * get32(entry + 4);
        const uint8_t *first = entry + 8;
        if (bytes > 4) {
            const size_t offset = get32(first);
            if (offset > size || bytes > size - offset) break;
            first = tiff + offset;
        }
        if (get16(entry) != ORIENTATION || !bytes) continue;
        value = !is_whole[type] ? 1 : unit == 1 ? *first : unit == 2 ? get16(first) : get32(first);
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
