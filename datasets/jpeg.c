/* JPEG: the walk through its segments, which tells size, kind and orientation, and whether all of it is there. */
#include "image_internal.h"

#include <string.h>

enum marker { SOI = 0xd8, EOI = 0xd9, SOS = 0xda, DHT = 0xc4, JPG = 0xc8, DAC = 0xcc, APP1 = 0xe1, APP14 = 0xee };

struct segment {
    int marker;
    const uint8_t *bytes;
    size_t length; // 0 of the end
};

/* The next segment; passes over compressed data, and leaves *at after the segment. False: the file ends before. */
static bool next_segment(const struct bl_image *image, size_t *at, struct segment *segment) {
    const uint8_t *bytes = image->bytes;
    for (;;) {
        const uint8_t *found = *at + 1 < image->size ? memchr(bytes + *at, 0xff, image->size - 1 - *at) : NULL;
        if (!found) return false;
        *at = (size_t)(found - bytes) + 1;
        segment->marker = bytes[*at];
        if (segment->marker == 0xff) continue; // a fill byte: what follows it is the marker
        ++*at;
        if (segment->marker > 1 && (segment->marker < 0xd0 || segment->marker > SOI)) break;
    }
    segment->bytes = bytes + *at;
    segment->length = 0;
    if (segment->marker == EOI) return true;
    size_t length = image->size - *at < 2 ? 0 : bl_be16(bytes + *at);
    if (length < 2 || length > image->size - *at) return false;
    segment->bytes += 2;
    segment->length = length - 2;
    *at += length;
    return true;
}

static int cut_off(void) {
    return bl_fail(BLANCH_EINPUT, "the JPEG is cut off");
}

static bool starts_frame(int marker) {
    return marker >= 0xc0 && marker <= 0xcf && marker != DHT && marker != JPG && marker != DAC;
}

/* What the walk knows of the frame. */
struct walk {
    struct bl_jpeg jpeg;
    uint8_t ids[4];
    bool begun[4], scanned, turned; // begun: a scan with its first coefficient was there
};

static int read_frame(struct bl_image *image, const struct segment *segment, struct walk *walk) {
    const uint8_t *bytes = segment->bytes;
    int kind = segment->marker - 0xc0;
    if (walk->jpeg.components) return bl_fail(BLANCH_EINPUT, "the JPEG is damaged: it has two frames");
    if (segment->length < 6) return cut_off();
    if (kind > 2 && kind != 9 && kind != 10)
        return bl_fail(BLANCH_EINPUT, "a lossless or hierarchical JPEG is not read; convert it to PNG");
    if (bytes[0] != 8) return bl_fail(BLANCH_EINPUT, "a JPEG of %d bits is not read; convert it to 8", bytes[0]);
    image->height = (int)bl_be16(bytes + 1);
    image->width = (int)bl_be16(bytes + 3);
    int components = bytes[5];
    if (components != 1 && components != 3 && components != 4)
        return bl_fail(BLANCH_EINPUT, "a JPEG of %d components is not read; known are 1, 3 and 4", components);
    if (segment->length < 6 + 3 * (size_t)components) return cut_off();
    for (int c = 0; c < components; c++) walk->ids[c] = bytes[6 + 3 * c];
    walk->jpeg.components = components;
    walk->jpeg.progressive = kind == 2 || kind == 10;
    walk->jpeg.arithmetic = kind > 2;
    return 0;
}

/* Huffman tables: a kind, counts of codes of 1 to 16 bits, a byte for each. More than 256 make stb_image write out of
 * its own. */
static int read_tables(const struct segment *segment) {
    for (size_t at = 0; at < segment->length;) {
        size_t codes = 0;
        if (segment->length - at < 17) return cut_off();
        for (int i = 1; i <= 16; i++) codes += segment->bytes[at + (size_t)i];
        at += 17;
        if (codes > 256 || codes > segment->length - at)
            return bl_fail(BLANCH_EINPUT, "the JPEG is damaged: a Huffman table is not one");
        at += codes;
    }
    return 0;
}

/* A scan begins with: count; component and tables, each; first and last coefficient. */
static int read_scan(const struct segment *segment, struct walk *walk) {
    const uint8_t *bytes = segment->bytes;
    int components = segment->length ? bytes[0] : 0;
    if (!walk->jpeg.components) return bl_fail(BLANCH_EINPUT, "the JPEG is damaged: a scan comes before its frame");
    if (segment->length < 1 + 2 * (size_t)components + 3) return cut_off();
    for (int i = 0; i < components && !bytes[1 + 2 * components]; i++)
        for (int c = 0; c < walk->jpeg.components; c++)
            if (walk->ids[c] == bytes[1 + 2 * i]) walk->begun[c] = true;
    if (components < walk->jpeg.components) walk->jpeg.progressive = true;
    walk->scanned = true;
    return 0;
}

/* Of EXIF the first before the scans counts. */
static void read_application(struct bl_image *image, const struct segment *segment, struct walk *walk) {
    if (segment->marker == APP14 && segment->length >= 12 && !memcmp(segment->bytes, "Adobe", 5))
        walk->jpeg.adobe = true;
    if (segment->marker != APP1 || walk->scanned || walk->turned) return;
    if (segment->length < 6 || memcmp(segment->bytes, "Exif\0", 5)) return;
    image->orientation = bl_exif_orientation(segment->bytes + 6, segment->length - 6);
    walk->turned = true;
}

static int walk_through(struct bl_image *image, struct bl_jpeg *jpeg) {
    struct walk walk = {0};
    struct segment segment;
    size_t at = 2;
    int code = 0;
    do {
        if (!next_segment(image, &at, &segment)) return cut_off();
        if (starts_frame(segment.marker))
            code = read_frame(image, &segment, &walk);
        else if (segment.marker == SOS)
            code = read_scan(&segment, &walk);
        else if (segment.marker == DHT)
            code = read_tables(&segment);
        else
            read_application(image, &segment, &walk);
        if (code) return code;
    } while (segment.marker != EOI);
    if (!walk.scanned) return bl_fail(BLANCH_EINPUT, "the JPEG is damaged: it has no scan");
    for (int c = 0; c < walk.jpeg.components; c++)
        if (!walk.begun[c]) return bl_fail(BLANCH_EINPUT, "the JPEG is damaged: a component has no scan");
    *jpeg = walk.jpeg;
    return 0;
}

static bool match(const uint8_t *bytes, size_t size) {
    return size >= 3 && bytes[0] == 0xff && bytes[1] == SOI && bytes[2] == 0xff;
}

static int header(struct bl_image *image) {
    struct bl_jpeg jpeg;
    int code = walk_through(image, &jpeg);
    if (!code) image->held = bl_jpeg_held(&jpeg);
    return code;
}

static int decode(struct bl_image *image) {
    struct bl_jpeg jpeg;
    int code = walk_through(image, &jpeg);
    return code ? code : bl_jpeg_pixels(image, &jpeg);
}

const struct bl_decoder bl_decoder_jpeg = {match, header, decode};
