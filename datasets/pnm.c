/* PNM: PBM, PGM and PPM, plain (P1, P2, P3) and raw (P4, P5, P6). A header of magic, width, height and, but for PBM,
 * the largest value; then the values, in raw files of one byte, or of two, the high one first, where the largest is
 * above 255. White space and comments, from # to the end of the line, stand between what is written in digits. */
#include "image_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct pnm {
    const uint8_t *at, *end;
    bool plain;
    int channels; // 0: bits, of which 1 is black
    uint32_t largest;
};

static bool is_space(uint8_t byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* One white space, as which a comment counts with the end of its line. */
static void pass_one(struct pnm *pnm) {
    if (*pnm->at == '#')
        while (pnm->at < pnm->end - 1 && *pnm->at != '\n' && *pnm->at != '\r') pnm->at++;
    pnm->at++;
}

static void pass_space(struct pnm *pnm) {
    while (pnm->at < pnm->end && (is_space(*pnm->at) || *pnm->at == '#')) pass_one(pnm);
}

static int cut_off(void) {
    return bl_fail(BLANCH_EINPUT, "the PNM is cut off");
}

/* A number and the one white space after it, without which it may be the beginning of a longer one. */
static int read_number(struct pnm *pnm, uint32_t *value) {
    pass_space(pnm);
    const uint8_t *first = pnm->at;
    *value = 0;
    for (; pnm->at < pnm->end && *pnm->at >= '0' && *pnm->at <= '9'; pnm->at++)
        if (*value < 100000000) *value = *value * 10 + (*pnm->at - '0');
    if (pnm->at == pnm->end) return cut_off();
    if (pnm->at == first || (!is_space(*pnm->at) && *pnm->at != '#'))
        return bl_fail(BLANCH_EINPUT, "the PNM is damaged: '%c' stands where a number is expected",
                       *pnm->at > ' ' && *pnm->at < 127 ? *pnm->at : '?');
    pass_one(pnm);
    return 0;
}

static int read_header(struct bl_image *image, struct pnm *pnm) {
    int kind = image->bytes[1] - '0';
    static const int channels[3] = {3, 0, 1};
    *pnm = (struct pnm){image->bytes + 2, image->bytes + image->size, kind <= 3, channels[kind % 3], 1};
    uint32_t width, height;
    int code = read_number(pnm, &width);
    if (!code) code = read_number(pnm, &height);
    if (!code && pnm->channels) code = read_number(pnm, &pnm->largest);
    if (code) return code;
    if (pnm->largest < 1 || pnm->largest > 65535)
        return bl_fail(BLANCH_EINPUT, "the PNM is damaged: a largest value of %u is not in 1..65535", pnm->largest);
    image->width = (int)width;
    image->height = (int)height;
    image->held = 3;
    return 0;
}

/* --- values ----------------------------------------------------------------------------------- */

/* Bytes of the values 0..largest: 16 bits by the high byte, others scaled and rounded as PIL does. */
static uint8_t *make_table(uint32_t largest) {
    uint8_t *table = bl_malloc(largest + 1);
    for (uint32_t v = 0; table && v <= largest; v++)
        table[v] = (uint8_t)(largest == 65535 ? v >> 8 : (uint32_t)rint((double)v / largest * 255));
    return table;
}

static int read_plain(struct pnm *pnm, const uint8_t *table, size_t count, uint8_t *out) {
    for (size_t i = 0; i < count; i++) {
        uint32_t value;
        int code = read_number(pnm, &value);
        if (code) return code;
        if (value > pnm->largest)
            return bl_fail(BLANCH_EINPUT, "the PNM is damaged: the value %u is above its largest, %u", value,
                           pnm->largest);
        out[i] = table[value];
    }
    return 0;
}

/* Values above the largest are clipped, as PIL does. */
static int read_raw(struct pnm *pnm, const uint8_t *table, size_t count, uint8_t *out) {
    bool wide = pnm->largest > 255;
    if ((size_t)(pnm->end - pnm->at) >> wide < count) return cut_off();
    for (size_t i = 0; i < count; i++) {
        uint32_t value = wide ? bl_be16(pnm->at + 2 * i) : pnm->at[i];
        out[i] = table[value > pnm->largest ? pnm->largest : value];
    }
    return 0;
}

/* Bits need no space between them. */
static int read_plain_bits(struct pnm *pnm, size_t count, uint8_t *out) {
    for (size_t i = 0; i < count; i++) {
        pass_space(pnm);
        if (pnm->at == pnm->end) return cut_off();
        if (*pnm->at != '0' && *pnm->at != '1')
            return bl_fail(BLANCH_EINPUT, "the PNM is damaged: a bit is neither 0 nor 1");
        out[i] = *pnm->at++ == '1' ? 0 : 255;
    }
    return 0;
}

/* Rows begin with a byte. */
static int read_raw_bits(struct pnm *pnm, const struct bl_image *image, uint8_t *out) {
    size_t row = ((size_t)image->width + 7) / 8;
    if ((size_t)(pnm->end - pnm->at) / row < (size_t)image->height) return cut_off();
    for (int y = 0; y < image->height; y++, pnm->at += row)
        for (int x = 0; x < image->width; x++) *out++ = pnm->at[x / 8] >> (7 - x % 8) & 1 ? 0 : 255;
    return 0;
}

/* --- decoding --------------------------------------------------------------------------------- */

static bool match(const uint8_t *bytes, size_t size) {
    return size >= 3 && bytes[0] == 'P' && bytes[1] >= '1' && bytes[1] <= '6' &&
           (is_space(bytes[2]) || bytes[2] == '#');
}

static int header(struct bl_image *image) {
    struct pnm pnm;
    return read_header(image, &pnm);
}

static int decode(struct bl_image *image) {
    struct pnm pnm;
    int code = read_header(image, &pnm);
    if (code) return code;
    size_t count = (size_t)image->width * (size_t)image->height;
    uint8_t *table = make_table(pnm.largest);
    if (!table) return bl_fail(BLANCH_ENOMEM, "out of memory for an image");
    if (!pnm.channels)
        code = pnm.plain ? read_plain_bits(&pnm, count, image->pixels) : read_raw_bits(&pnm, image, image->pixels);
    else
        code = (pnm.plain ? read_plain : read_raw)(&pnm, table, count * (size_t)pnm.channels, image->pixels);
    free(table);
    if (code || pnm.channels == 3) return code;
    for (size_t i = count; i-- > 0;) {
        uint8_t grey = image->pixels[i];
        bl_put_rgb(image->pixels + 3 * i, (const uint8_t[]){grey, grey, grey});
    }
    return 0;
}

const struct bl_decoder bl_decoder_pnm = {match, header, decode};
