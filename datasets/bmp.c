/* BMP, of Windows and OS/2: 1, 4 and 8 bits with a palette, also run-length coded, 16, 24 and 32 bits, with masks. */
#include "image_internal.h"

#include <string.h>

#define FILE_HEADER 14
#define MASKS (FILE_HEADER + 40) // the same place within long headers as after the short one

enum { PLAIN, RLE8, RLE4, FIELDS, ALPHA_FIELDS = 6 };

struct bmp {
    int bits, compression;
    bool downwards;          // rows from the top; else from below
    uint32_t mask[3];        // red, green, blue, of 16 and 32 bits
    const uint8_t *palette;  // entries of blue, green, red
    uint32_t colours, entry; // of the palette; entry: bytes of each
    size_t offset;           // of the pixels
};

static int damaged(const char *what) {
    return bl_fail(BLANCH_EINPUT, "the BMP is damaged: %s", what);
}

static int cut_off(void) {
    return bl_fail(BLANCH_EINPUT, "the BMP is cut off");
}

static int read_palette(const struct bl_image *image, struct bmp *bmp, size_t at, uint32_t colours) {
    bmp->colours = colours && colours < 1u << bmp->bits ? colours : 1u << bmp->bits;
    if (image->size < at || (image->size - at) / bmp->entry < bmp->colours) return cut_off();
    bmp->palette = image->bytes + at;
    if (bmp->offset == at) bmp->offset += (size_t)bmp->entry * bmp->colours; // some writers forget the palette
    return 0;
}

static int read_masks(const struct bl_image *image, struct bmp *bmp) {
    static const uint32_t of16[3] = {0x7c00, 0x3e0, 0x1f}, of32[3] = {0xff0000, 0xff00, 0xff};
    memcpy(bmp->mask, bmp->bits == 16 ? of16 : of32, sizeof bmp->mask);
    if (bmp->compression == PLAIN) return 0;
    if (image->size < MASKS + 12) return cut_off();
    static const uint8_t none[12];
    if (!memcmp(image->bytes + MASKS, none, sizeof none)) return 0;
    for (int c = 0; c < 3; c++) {
        uint32_t mask = bl_le32(image->bytes + MASKS + 4 * c), low = mask & -mask;
        if (!mask || (mask + low) & mask || (bmp->bits == 16 && mask > 0xffff))
            return damaged("the mask of a colour is not one");
        bmp->mask[c] = mask;
    }
    return 0;
}

/* Which compression goes with which number of bits. */
static bool known(const struct bmp *bmp) {
    switch (bmp->compression) {
    case PLAIN:
        return bmp->bits == 1 || bmp->bits == 4 || bmp->bits == 8 || bmp->bits == 16 || bmp->bits == 24 ||
               bmp->bits == 32;
    case RLE8:
        return bmp->bits == 8;
    case RLE4:
        return bmp->bits == 4;
    case FIELDS:
    case ALPHA_FIELDS:
        return bmp->bits == 16 || bmp->bits == 32;
    default:
        return false;
    }
}

static int read_header(struct bl_image *image, struct bmp *bmp) {
    const uint8_t *info = image->bytes + FILE_HEADER;
    *bmp = (struct bmp){.entry = 4};
    if (image->size < FILE_HEADER + 12) return cut_off();
    uint32_t length = bl_le32(info), colours = 0;
    if (image->size - FILE_HEADER < length) return cut_off();
    bmp->offset = bl_le32(image->bytes + 10);
    if (length == 12) { // of OS/2
        image->width = (int)bl_le16(info + 4);
        image->height = (int)bl_le16(info + 6);
        bmp->bits = (int)bl_le16(info + 10);
        bmp->entry = 3;
    } else if (length >= 40) {
        int64_t height = (int32_t)bl_le32(info + 8);
        bmp->downwards = height < 0;
        image->width = (int32_t)bl_le32(info + 4);
        image->height = (int)(height < -INT32_MAX ? 0 : bmp->downwards ? -height : height);
        bmp->bits = (int)bl_le16(info + 14);
        bmp->compression = (int)(bl_le32(info + 16) & 0xff) | (bl_le32(info + 16) > 0xff ? 0x100 : 0);
        colours = bl_le32(info + 32);
    } else {
        return bl_fail(BLANCH_EINPUT, "a BMP with a header of %u bytes is not read", length);
    }
    if (!known(bmp))
        return bl_fail(BLANCH_EINPUT, "a BMP of %d bits and compression %d is not read", bmp->bits, bmp->compression);
    image->held = 3;
    return bmp->bits <= 8 ? read_palette(image, bmp, FILE_HEADER + length, colours) : read_masks(image, bmp);
}

/* --- pixels ----------------------------------------------------------------------------------- */

static uint8_t *row_of(const struct bl_image *image, const struct bmp *bmp, int y) {
    return image->pixels + (size_t)image->width * 3 * (size_t)(bmp->downwards ? y : image->height - 1 - y);
}

static int put_index(const struct bmp *bmp, uint32_t index, uint8_t *pixel) {
    const uint8_t *colour = bmp->palette + (size_t)bmp->entry * index;
    if (index >= bmp->colours) return damaged("a colour is not in its palette");
    bl_put_rgb(pixel, (const uint8_t[]){colour[2], colour[1], colour[0]});
    return 0;
}

/* Of its mask's largest, to 255, rounded down as PIL does. */
static uint8_t part(uint32_t pixel, uint32_t mask) {
    uint32_t low = mask & -mask, largest = mask / low;
    return (uint8_t)((uint64_t)((pixel & mask) / low) * 255 / largest);
}

static int put_pixel(const struct bmp *bmp, const uint8_t *row, int x, uint8_t *pixel) {
    uint32_t value;
    switch (bmp->bits) {
    case 1:
        return put_index(bmp, row[x / 8] >> (7 - x % 8) & 1, pixel);
    case 4:
        return put_index(bmp, row[x / 2] >> (x % 2 ? 0 : 4) & 15, pixel);
    case 8:
        return put_index(bmp, row[x], pixel);
    case 24:
        bl_put_rgb(pixel, (const uint8_t[]){row[3 * (size_t)x + 2], row[3 * (size_t)x + 1], row[3 * (size_t)x]});
        return 0;
    default:
        value = bmp->bits == 16 ? bl_le16(row + 2 * (size_t)x) : bl_le32(row + 4 * (size_t)x);
        for (int c = 0; c < 3; c++) pixel[c] = part(value, bmp->mask[c]);
        return 0;
    }
}

/* The padding of the last row may be missing. */
static int read_rows(struct bl_image *image, const struct bmp *bmp) {
    uint64_t row = ((uint64_t)image->width * (uint64_t)bmp->bits + 7) / 8, stride = (row + 3) & ~3ull;
    if (image->size < bmp->offset || image->size - bmp->offset < stride * (uint64_t)(image->height - 1) + row)
        return cut_off();
    const uint8_t *from = image->bytes + bmp->offset;
    int code = 0;
    for (int y = 0; y < image->height; y++, from += stride) {
        uint8_t *to = row_of(image, bmp, y);
        for (int x = 0; !code && x < image->width; x++) code = put_pixel(bmp, from, x, to + 3 * (size_t)x);
        if (code) return code;
    }
    return 0;
}

/* --- run lengths ------------------------------------------------------------------------------ */

/* Where the next pixel goes, y below the image's height. Pixels that are passed over, by a jump or the end of a line,
 * are of colour 0. */
struct pen {
    const struct bl_image *image;
    const struct bmp *bmp;
    int x, y; // y: in the file's order
};

/* What a run has beyond the end of its line is passed over, as PIL does. */
static int put(struct pen *pen, uint32_t index) {
    if (pen->x >= pen->image->width) return 0;
    return put_index(pen->bmp, index, row_of(pen->image, pen->bmp, pen->y) + 3 * (size_t)pen->x++);
}

/* Goes on to (x, y), which is not before the pen. */
static int pass_to(struct pen *pen, int x, int y) {
    int code = 0;
    if (x > pen->image->width || y > pen->image->height) return damaged("a jump leaves the image");
    while (!code && (pen->y < y || pen->x < x)) {
        if (pen->x == pen->image->width)
            pen->x = 0, pen->y++;
        else
            code = put(pen, 0);
        if (pen->y == pen->image->height) break;
    }
    return code;
}

static uint32_t nth(const uint8_t *values, uint32_t i, bool halves) {
    return halves ? values[i / 2] >> (i % 2 ? 0 : 4) & 15 : values[i];
}

/* A code of two bytes and what follows it; *end: the image ends here. */
static int read_code(struct pen *pen, const uint8_t **at, const uint8_t *last, bool *end) {
    const uint8_t *bytes = *at;
    bool halves = pen->bmp->bits == 4;
    size_t left = (size_t)(last - bytes) - 2, length = 0;
    uint32_t count = bytes[0], second = bytes[1];
    int code = 0;
    if (count) {
        for (uint32_t i = 0; !code && i < count; i++) code = put(pen, halves ? nth(bytes + 1, i % 2, true) : second);
    } else if (second == 0) {
        code = pass_to(pen, 0, pen->y + 1);
    } else if (second == 1) {
        *end = true;
    } else if (second == 2) {
        length = 2;
        code = left < length ? cut_off() : pass_to(pen, pen->x + bytes[2], pen->y + bytes[3]);
    } else {
        length = halves ? (second + 1) / 2 : second;
        if (left < length) return cut_off();
        for (uint32_t i = 0; !code && i < second; i++) code = put(pen, nth(bytes + 2, i, halves));
        length += length % 2 && left > length;
    }
    *at += 2 + (code ? 0 : length);
    return code;
}

static bool is_done(const struct pen *pen) {
    return pen->y >= pen->image->height || (pen->y == pen->image->height - 1 && pen->x >= pen->image->width);
}

/* Whole once the last row is: what comes after it is not looked at. */
static int read_runs(struct bl_image *image, const struct bmp *bmp) {
    struct pen pen = {image, bmp, 0, 0};
    if (bmp->offset > image->size) return cut_off();
    const uint8_t *last = image->bytes + image->size, *at = image->bytes + bmp->offset;
    bool end = false;
    int code = 0;
    while (!code && !end && !is_done(&pen)) code = last - at < 2 ? cut_off() : read_code(&pen, &at, last, &end);
    return !code && end ? damaged("it ends before its last row") : code;
}

/* --- decoding --------------------------------------------------------------------------------- */

static bool match(const uint8_t *bytes, size_t size) {
    return size >= 2 && bytes[0] == 'B' && bytes[1] == 'M';
}

static int header(struct bl_image *image) {
    struct bmp bmp;
    return read_header(image, &bmp);
}

static int decode(struct bl_image *image) {
    struct bmp bmp;
    int code = read_header(image, &bmp);
    if (code) return code;
    return bmp.compression == RLE8 || bmp.compression == RLE4 ? read_runs(image, &bmp) : read_rows(image, &bmp);
}

const struct bl_decoder bl_decoder_bmp = {match, header, decode};
