/* TGA: grey, true colour and palettes, also run-length coded. Without a signature: what the header says must be
 * possible. */
#include "image_internal.h"

#define HEADER 18

enum { INDEXED = 1, COLOUR, GREY, RUNS = 8 }; // kinds; of each, with RUNS the coded one

struct tga {
    int kind, bytes; // bytes: of a pixel
    bool runs, leftwards, downwards;
    const uint8_t *palette, *at, *end;
    uint32_t first, colours; // of the palette
    int entry;               // bytes of each colour
};

static int cut_off(void) {
    return bl_fail(BLANCH_EINPUT, "the TGA is cut off");
}

static int read_header(struct bl_image *image, struct tga *tga) {
    const uint8_t *bytes = image->bytes;
    size_t palette = HEADER + (size_t)bytes[0], entry = ((size_t)bytes[7] + 7) / 8;
    size_t at = palette + (bytes[1] ? entry * bl_le16(bytes + 5) : 0);
    if (at > image->size) return cut_off();
    *tga = (struct tga){.kind = bytes[2] & ~RUNS,
                        .bytes = (bytes[16] + 7) / 8,
                        .runs = bytes[2] & RUNS,
                        .leftwards = bytes[17] & 0x10,
                        .downwards = bytes[17] & 0x20,
                        .palette = bytes + palette,
                        .at = bytes + at,
                        .end = bytes + image->size,
                        .first = bl_le16(bytes + 3),
                        .colours = bytes[1] ? bl_le16(bytes + 5) : 0,
                        .entry = (int)entry};
    image->width = (int)bl_le16(bytes + 12);
    image->height = (int)bl_le16(bytes + 14);
    image->held = 3;
    return 0;
}

/* Five bits a part, to 255, rounded down as PIL does. */
static void put_colour(const uint8_t *from, int bytes, uint8_t *pixel) {
    uint32_t value = bl_le16(from);
    if (bytes == 2)
        bl_put_rgb(pixel,
                   (const uint8_t[]){(uint8_t)((value >> 10 & 31) * 255 / 31), (uint8_t)((value >> 5 & 31) * 255 / 31),
                                     (uint8_t)((value & 31) * 255 / 31)});
    else
        bl_put_rgb(pixel, (const uint8_t[]){from[2], from[1], from[0]});
}

/* Grey of 16 bits is 8 of grey and 8 of alpha, as in PIL. */
static int put_pixel(const struct tga *tga, const uint8_t *from, uint8_t *pixel) {
    uint32_t index;
    switch (tga->kind) {
    case GREY:
        bl_put_rgb(pixel, (const uint8_t[]){from[0], from[0], from[0]});
        return 0;
    case COLOUR:
        put_colour(from, tga->bytes, pixel);
        return 0;
    default:
        index = (uint32_t)from[0] - tga->first;
        if (index >= tga->colours) return bl_fail(BLANCH_EINPUT, "the TGA is damaged: a colour is not in its palette");
        put_colour(tga->palette + (size_t)tga->entry * index, tga->entry, pixel);
        return 0;
    }
}

static uint8_t *place(const struct bl_image *image, const struct tga *tga, size_t i) {
    size_t width = (size_t)image->width, x = i % width, y = i / width;
    if (tga->leftwards) x = width - 1 - x;
    if (!tga->downwards) y = (size_t)image->height - 1 - y;
    return image->pixels + 3 * (width * y + x);
}

/* A packet: pixels that follow, or one that is repeated. May go on over the ends of rows. */
static int read_packet(const struct bl_image *image, struct tga *tga, size_t *i, size_t count) {
    if (tga->at == tga->end) return cut_off();
    bool repeated = *tga->at & 0x80;
    size_t pixels = (size_t)(*tga->at++ & 0x7f) + 1, step = (size_t)tga->bytes, left = count - *i;
    if (pixels > left) pixels = left;
    if ((size_t)(tga->end - tga->at) < (repeated ? step : step * pixels)) return cut_off();
    int code = 0;
    for (size_t k = 0; !code && k < pixels; k++)
        code = put_pixel(tga, tga->at + (repeated ? 0 : step * k), place(image, tga, *i + k));
    tga->at += repeated ? step : step * pixels;
    *i += pixels;
    return code;
}

/* --- decoding --------------------------------------------------------------------------------- */

static bool match(const uint8_t *bytes, size_t size) {
    if (size < HEADER || bytes[1] > 1 || bytes[17] & 0xc0) return false;
    int depth = bytes[16], entry = bytes[7];
    switch (bytes[2] & ~RUNS) {
    case INDEXED:
        return bytes[1] && depth == 8 && (entry == 15 || entry == 16 || entry == 24 || entry == 32);
    case COLOUR:
        return depth == 15 || depth == 16 || depth == 24 || depth == 32;
    case GREY:
        return depth == 8 || depth == 16;
    default:
        return false;
    }
}

static int header(struct bl_image *image) {
    struct tga tga;
    return read_header(image, &tga);
}

static int decode(struct bl_image *image) {
    struct tga tga = {0};
    int code = read_header(image, &tga);
    size_t count = (size_t)image->width * (size_t)image->height;
    if (!code && !tga.runs && (size_t)(tga.end - tga.at) / (size_t)tga.bytes < count) code = cut_off();
    for (size_t i = 0; !code && tga.runs && i < count;) code = read_packet(image, &tga, &i, count);
    for (size_t i = 0; !code && !tga.runs && i < count; i++, tga.at += tga.bytes)
        code = put_pixel(&tga, tga.at, place(image, &tga, i));
    return code;
}

const struct bl_decoder bl_decoder_tga = {match, header, decode};
