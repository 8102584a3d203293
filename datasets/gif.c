/* GIF: the first image, on the screen's area, as PIL shows it. */
#include "image_internal.h"

#include <string.h>

#define SCREEN 13 // bytes of signature and screen
#define MOST_CODES 4096

struct gif {
    size_t at;                    // of the image's compressed blocks
    const uint8_t *palette;       // entries of red, green, blue; NULL: an index is a grey
    uint32_t colours;             // of the palette
    int left, top, width, height; // of the image on the screen
    bool interlaced;
    uint8_t ground; // the colour around the image: the transparent one, else 0
};

static int cut_off(void) {
    return bl_fail(BLANCH_EINPUT, "the GIF is cut off");
}

static int damaged(const char *what) {
    return bl_fail(BLANCH_EINPUT, "the GIF is damaged: %s", what);
}

/* The palette that flags announce, at *at, which moves on behind it. */
static int read_palette(const struct bl_image *image, struct gif *gif, size_t *at, uint8_t flags) {
    if (!(flags & 0x80)) return 0;
    gif->colours = 2u << (flags & 7);
    gif->palette = image->bytes + *at;
    if ((image->size - *at) / 3 < gif->colours) return cut_off();
    *at += 3 * (size_t)gif->colours;
    return 0;
}

/* An extension: a kind, then blocks up to an empty one. Of the graphic control the transparent colour is taken. */
static int read_extension(const struct bl_image *image, struct gif *gif, size_t *at) {
    const uint8_t *bytes = image->bytes;
    bool control = *at < image->size && bytes[*at] == 0xf9;
    for (++*at; *at < image->size && bytes[*at]; *at += 1 + (size_t)bytes[*at]) {
        if (control && bytes[*at] >= 4 && image->size - *at > 4 && bytes[*at + 1] & 1) gif->ground = bytes[*at + 4];
        control = false;
    }
    if (*at >= image->size) return cut_off();
    ++*at;
    return 0;
}

static int read_place(struct bl_image *image, struct gif *gif, size_t *at) {
    const uint8_t *place = image->bytes + *at;
    if (image->size - *at < 9) return cut_off();
    gif->left = (int)bl_le16(place);
    gif->top = (int)bl_le16(place + 2);
    gif->width = (int)bl_le16(place + 4);
    gif->height = (int)bl_le16(place + 6);
    gif->interlaced = place[8] & 0x40;
    if (gif->left + gif->width > image->width) image->width = gif->left + gif->width;
    if (gif->top + gif->height > image->height) image->height = gif->top + gif->height;
    *at += 9;
    return read_palette(image, gif, at, place[8]);
}

/* As far as the first image's compressed blocks. What is neither extension nor image is passed over. */
static int read_header(struct bl_image *image, struct gif *gif) {
    const uint8_t *bytes = image->bytes;
    size_t at = SCREEN;
    *gif = (struct gif){0};
    if (image->size < SCREEN) return cut_off();
    image->width = (int)bl_le16(bytes + 6);
    image->height = (int)bl_le16(bytes + 8);
    image->held = 3;
    int code = read_palette(image, gif, &at, bytes[10]);
    while (!code) {
        if (at >= image->size) return cut_off();
        uint8_t kind = bytes[at++];
        if (kind == ';') return damaged("it has no image");
        if (kind == ',') break;
        if (kind == '!') code = read_extension(image, gif, &at);
    }
    if (!code) code = read_place(image, gif, &at);
    gif->at = at;
    if (!code && (gif->width < 1 || gif->height < 1)) return damaged("its image has no pixels");
    return code;
}

/* --- codes ------------------------------------------------------------------------------------ */

/* Bits, the lowest first, of blocks that each begin with their length. */
struct bits {
    const uint8_t *bytes;
    size_t at, size, block; // block: bytes left of it
    uint32_t held;
    int count;
};

static int read_bits(struct bits *bits, int count, uint32_t *value) {
    while (bits->count < count) {
        if (bits->at >= bits->size) return cut_off();
        if (!bits->block) {
            bits->block = bits->bytes[bits->at++];
            if (!bits->block) return damaged("its image ends early");
            continue;
        }
        bits->held |= (uint32_t)bits->bytes[bits->at++] << bits->count;
        bits->count += 8;
        bits->block--;
    }
    *value = bits->held & ((1u << count) - 1);
    bits->held >>= count;
    bits->count -= count;
    return 0;
}

/* LZW: a code stands for a string of indices, that of another code and one more. */
struct table {
    uint16_t before[MOST_CODES], length[MOST_CODES];
    uint8_t first[MOST_CODES], last[MOST_CODES];
    uint32_t clear, next, former; // next: the code made next; former: the code read last, or `clear` for none
    int width;
};

static void clear_table(struct table *table, int width) {
    table->clear = 1u << width;
    table->next = table->clear + 2;
    table->former = table->clear;
    table->width = width + 1;
    for (uint32_t i = 0; i < table->clear; i++) {
        table->first[i] = table->last[i] = (uint8_t)i;
        table->length[i] = 1;
    }
}

/* Makes the code that follows from this one and the former. */
static int extend(struct table *table, uint32_t code) {
    uint32_t former = table->former, next = table->next;
    if (code > next || (code == next && former == table->clear) || (code == next && next == MOST_CODES) ||
        (former == table->clear && code >= table->clear))
        return damaged("a code is not in its table");
    if (former != table->clear && next < MOST_CODES) {
        table->before[next] = (uint16_t)former;
        table->length[next] = (uint16_t)(table->length[former] + 1);
        table->first[next] = table->first[former];
        table->last[next] = table->first[code == next ? former : code];
        if (++table->next == 1u << table->width && table->width < 12) table->width++;
    }
    table->former = code;
    return 0;
}

/* --- pixels ----------------------------------------------------------------------------------- */

struct canvas {
    const struct bl_image *image;
    const struct gif *gif;
    size_t count, done; // pixels of the GIF's image
};

/* Interlaced, rows come as every 8th, every 8th from the 4th, every 4th from the 2nd, every 2nd from the 1st. */
static size_t row_of(const struct gif *gif, size_t y) {
    if (!gif->interlaced) return y;
    static const size_t begin[] = {0, 4, 2, 1}, step[] = {8, 8, 4, 2};
    for (int pass = 0;; pass++) {
        size_t height = (size_t)gif->height;
        size_t rows = height > begin[pass] ? (height - begin[pass] + step[pass] - 1) / step[pass] : 0;
        if (y < rows) return begin[pass] + step[pass] * y;
        y -= rows;
    }
}

static int put_index(const struct gif *gif, uint8_t index, uint8_t *pixel) {
    if (gif->palette && index >= gif->colours) return damaged("a colour is not in its palette");
    bl_put_rgb(pixel, gif->palette ? gif->palette + 3 * (size_t)index : (const uint8_t[]){index, index, index});
    return 0;
}

static int put(const struct canvas *canvas, size_t i, uint8_t index) {
    const struct gif *gif = canvas->gif;
    size_t width = (size_t)gif->width, x = (size_t)gif->left + i % width, y = (size_t)gif->top + row_of(gif, i / width);
    return put_index(gif, index, canvas->image->pixels + 3 * ((size_t)canvas->image->width * y + x));
}

/* The string of a code, from its end. */
static int put_string(struct canvas *canvas, const struct table *table, uint32_t code) {
    size_t length = table->length[code];
    int result = 0;
    for (size_t i = canvas->done + length; !result && i-- > canvas->done; code = table->before[code])
        if (i < canvas->count) result = put(canvas, i, table->last[code]);
    canvas->done += length;
    return result;
}

/* Around the image is the ground, which must be in the palette only where it shows. */
static int paint_ground(const struct bl_image *image, const struct gif *gif) {
    size_t count = (size_t)image->width * (size_t)image->height;
    int code = 0;
    if (gif->width == image->width && gif->height == image->height) return 0;
    for (size_t i = 0; !code && i < count; i++) code = put_index(gif, gif->ground, image->pixels + 3 * i);
    return code;
}

static int read_codes(struct canvas *canvas, struct table *table) {
    const struct bl_image *image = canvas->image;
    struct bits bits = {image->bytes, canvas->gif->at + 1, image->size, 0, 0, 0};
    if (canvas->gif->at >= image->size) return cut_off();
    int width = image->bytes[canvas->gif->at], result = 0;
    if (width < 1 || width > 8) return damaged("its first code width is not in 1..8");
    clear_table(table, width);
    while (!result && canvas->done < canvas->count) {
        uint32_t code = 0;
        if ((result = read_bits(&bits, table->width, &code))) break;
        if (code == table->clear)
            clear_table(table, width);
        else if (code == table->clear + 1)
            result = damaged("its image ends early");
        else if (!(result = extend(table, code)))
            result = put_string(canvas, table, code);
    }
    return result;
}

/* --- decoding --------------------------------------------------------------------------------- */

static bool match(const uint8_t *bytes, size_t size) {
    return size >= 6 && (!memcmp(bytes, "GIF87a", 6) || !memcmp(bytes, "GIF89a", 6));
}

static int header(struct bl_image *image) {
    struct gif gif;
    return read_header(image, &gif);
}

static int decode(struct bl_image *image) {
    struct gif gif;
    int code = read_header(image, &gif);
    if (!code) code = paint_ground(image, &gif);
    if (code) return code;
    struct canvas canvas = {image, &gif, (size_t)gif.width * (size_t)gif.height, 0};
    struct table table;
    return read_codes(&canvas, &table);
}

const struct bl_decoder bl_decoder_gif = {match, header, decode};
