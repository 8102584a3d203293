/* The pixels of a PNG, by libpng: 16 bits by the high byte, alpha and transparent colours dropped. */
#include "image_internal.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <png.h>

struct reader {
    const struct bl_image *image;
    size_t at; // bytes that were read
    png_structp png;
    png_infop info;
    int code;
    char reason[160];
};

static _Noreturn void fail(png_structp png, png_const_charp text) {
    struct reader *reader = png_get_error_ptr(png);
    bool cut = !strncmp(text, "Not enough", 10);
    snprintf(reader->reason, sizeof reader->reason, cut ? "the PNG is cut off: %s" : "the PNG is not readable: %s",
             text);
    png_longjmp(png, 1);
}

/* Of colour profiles, times, texts: pixels depend on none of them. */
static void hear(png_structp png, png_const_charp text) {}

static png_voidp take(png_structp png, png_alloc_size_t size) {
    struct reader *reader = png_get_mem_ptr(png);
    void *data = bl_malloc(size);
    if (!data) reader->code = BLANCH_ENOMEM;
    return data;
}

static void give(png_structp png, png_voidp data) {
    free(data);
}

static void copy_bytes(png_structp png, png_bytep to, size_t count) {
    struct reader *reader = png_get_io_ptr(png);
    if (count > reader->image->size - reader->at) png_error(png, "Not enough bytes");
    memcpy(to, reader->image->bytes + reader->at, count);
    reader->at += count;
}

/* In place, from the right: the indices are the first bytes of the row. */
static void from_palette(struct reader *reader, uint8_t *row, int width) {
    png_colorp palette = NULL;
    int colours = 0;
    png_get_PLTE(reader->png, reader->info, &palette, &colours);
    for (int x = width - 1; x >= 0; x--) {
        if (row[x] >= colours) png_error(reader->png, "a colour is not in the palette");
        png_color colour = palette[row[x]];
        bl_put_rgb(row + 3 * (size_t)x, (const uint8_t[]){colour.red, colour.green, colour.blue});
    }
}

/* Rows become 8-bit RGB, or, with a palette, indices of 8 bits. */
static void set_up(struct reader *reader) {
    png_structp png = reader->png;
    png_byte kind = png_get_color_type(png, reader->info);
    if (kind == PNG_COLOR_TYPE_PALETTE) {
        png_set_packing(png);
        return;
    }
    png_set_strip_16(png);
    if (!(kind & PNG_COLOR_MASK_COLOR)) {
        png_set_expand_gray_1_2_4_to_8(png);
        png_set_gray_to_rgb(png);
    }
    png_set_strip_alpha(png);
}

static void read_image(struct reader *reader, struct bl_image *image) {
    png_structp png = reader->png;
    size_t row = (size_t)image->width * 3;
    png_set_read_fn(png, reader, copy_bytes);
    png_set_user_limits(png, (png_uint_32)image->width, (png_uint_32)image->height);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_read_info(png, reader->info);
    set_up(reader);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, reader->info);
    if (png_get_rowbytes(png, reader->info) > row) png_error(png, "rows are too long");
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < image->height; y++) png_read_row(png, image->pixels + row * (size_t)y, NULL);
    png_read_end(png, NULL);
    if (png_get_color_type(png, reader->info) == PNG_COLOR_TYPE_PALETTE)
        for (int y = 0; y < image->height; y++) from_palette(reader, image->pixels + row * (size_t)y, image->width);
}

/* What changes between setjmp and longjmp is no local variable of this function: all of it is the caller's. */
static int guarded(struct reader *reader, struct bl_image *image) {
    if (setjmp(png_jmpbuf(reader->png))) return bl_fail(reader->code, "%s", reader->reason);
    read_image(reader, image);
    return 0;
}

int bl_png_held(const struct bl_png *png) {
    return 3;
}

int bl_png_pixels(struct bl_image *image, const struct bl_png *png) {
    struct reader reader = {.image = image, .code = BLANCH_EINPUT};
    reader.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &reader, fail, hear, &reader, take, give);
    if (reader.png) reader.info = png_create_info_struct(reader.png);
    int code = reader.info ? guarded(&reader, image) : bl_fail(BLANCH_ENOMEM, "out of memory for an image");
    if (reader.png) png_destroy_read_struct(&reader.png, &reader.info, NULL);
    return code;
}
