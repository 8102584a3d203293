/* The pixels of a JPEG, by libjpeg (libjpeg-turbo): the bits that PIL gives. */
#include "image_internal.h"

#include <setjmp.h>
#include <stdio.h>
#include <jpeglib.h>
#include <jerror.h>

#define MOST_SCANS 200      // more are an attack on time: each may be small, and passes over the whole image
#define OVERHEAD (1L << 25) // of the library, beside what grows with the pixels

struct reader {
    struct jpeg_decompress_struct info; // first: its address is the reader's
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    int code;
    char reason[JMSG_LENGTH_MAX + 32];
};

static _Noreturn void give_up(j_common_ptr info, const char *what) {
    struct reader *reader = (struct reader *)info;
    char text[JMSG_LENGTH_MAX];
    (*info->err->format_message)(info, text);
    snprintf(reader->reason, sizeof reader->reason, "%s: %s", what, text);
    longjmp(reader->escape, 1);
}

static void fail(j_common_ptr info) {
    if (info->err->msg_code == JERR_OUT_OF_MEMORY) ((struct reader *)info)->code = BLANCH_ENOMEM;
    give_up(info, "the JPEG is not readable");
}

/* Warnings (level -1) are of two kinds: after these of the first, every pixel is what the file says; after any other
 * the library goes on with pixels of its own making. */
static void hear(j_common_ptr info, int level) {
    if (level >= 0) return;
    switch (info->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_BOGUS_PROGRESSION:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_NOT_SEQUENTIAL:
        return;
    case JWRN_JPEG_EOF:
        give_up(info, "the JPEG is cut off");
    default:
        give_up(info, "the JPEG is damaged");
    }
}

static void watch(j_common_ptr info) {
    struct reader *reader = (struct reader *)info;
    if (reader->info.input_scan_number <= MOST_SCANS) return;
    snprintf(reader->reason, sizeof reader->reason, "the JPEG has more than %d scans", MOST_SCANS);
    longjmp(reader->escape, 1);
}

/* As PIL: four components are inverted, with Adobe's mark and without, then nk = 255 - K, and each is nk - C * nk. */
static void from_cmyk(const uint8_t *cmyk, uint8_t *rgb, int count) {
    for (int i = 0; i < count; i++, cmyk += 4, rgb += 3)
        for (int c = 0; c < 3; c++) {
            int nk = cmyk[3], product = (255 - cmyk[c]) * nk + 128, value = nk - ((product >> 8) + product) / 256;
            rgb[c] = (uint8_t)(value < 0 ? 0 : value);
        }
}

static void read_rows(struct reader *reader, struct bl_image *image) {
    j_decompress_ptr info = &reader->info;
    JSAMPARRAY line = NULL;
    size_t row = (size_t)image->width * 3;
    if (info->out_color_space == JCS_CMYK)
        line = (*info->mem->alloc_sarray)((j_common_ptr)info, JPOOL_IMAGE, (JDIMENSION)image->width * 4, 1);
    while (info->output_scanline < info->output_height) {
        JSAMPROW to = image->pixels + row * info->output_scanline;
        if (jpeg_read_scanlines(info, line ? line : &to, 1) && line) from_cmyk(line[0], to, image->width);
    }
}

static void read_image(struct reader *reader, struct bl_image *image, const struct bl_jpeg *jpeg) {
    j_decompress_ptr info = &reader->info;
    jpeg_create_decompress(info);
    info->progress = &reader->progress;
    info->mem->max_memory_to_use = (long)image->width * image->height * image->held + OVERHEAD;
    jpeg_mem_src(info, (unsigned char *)image->bytes, (unsigned long)image->size);
    jpeg_read_header(info, TRUE);
    if ((int)info->image_width != image->width || (int)info->image_height != image->height ||
        info->num_components != jpeg->components)
        ERREXIT(info, JERR_BAD_LENGTH);
    info->out_color_space = jpeg->components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(info);
    read_rows(reader, image);
    jpeg_finish_decompress(info);
}

/* What changes between setjmp and longjmp is no local variable of this function: all of it is the caller's. */
static int guarded(struct reader *reader, struct bl_image *image, const struct bl_jpeg *jpeg) {
    if (setjmp(reader->escape)) return bl_fail(reader->code, "%s", reader->reason);
    read_image(reader, image, jpeg);
    return 0;
}

int bl_jpeg_held(const struct bl_jpeg *jpeg) {
    return jpeg->progressive ? 3 + 2 * jpeg->components : 3;
}

int bl_jpeg_pixels(struct bl_image *image, const struct bl_jpeg *jpeg) {
    struct reader reader = {.progress.progress_monitor = watch, .code = BLANCH_EINPUT};
    reader.info.err = jpeg_std_error(&reader.errors);
    reader.errors.error_exit = fail;
    reader.errors.emit_message = hear;
    int code = guarded(&reader, image, jpeg);
    jpeg_destroy_decompress(&reader.info);
    return code;
}
