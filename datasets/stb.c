/* The pixels of a JPEG or a PNG by stb_image, where libjpeg or libpng is missing: compiled once and kept inside this
 * file, so that a program may carry its own copy. What it reads wrongly is refused or mended here. */
#include "image_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* A small file can claim or unpack to any size: no single piece is larger than what its image may need. */
static _Thread_local size_t largest;
static _Thread_local bool failed; // there was no memory

static void *take(void *data, size_t size) {
    if (size > largest) return NULL;
    void *taken = data ? bl_realloc(data, size) : bl_malloc(size);
    failed = failed || !taken;
    return taken;
}

/* stb_image weighs the last two samples of a row the wrong way round where a JPEG halves its colours' width alone. This
 * macro takes the name from its function's definition, not from its address where it is used; ours is below. */
static unsigned char *stbi__resample_row_h_2(unsigned char *out, unsigned char *near, unsigned char *far, int w, int h);
#define stbi__resample_row_h_2(a, b, c, d, e) resample_as_shipped(a, b, c, d, e)

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#pragma GCC diagnostic ignored "-Wmisleading-indentation"
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_NO_STDIO
#define STBI_NO_HDR
#define STBI_NO_LINEAR
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_MAX_DIMENSIONS INT_MAX
#define STBI_MALLOC(size) take(NULL, size)
#define STBI_REALLOC(data, size) take(data, size)
#define STBI_FREE(data) free(data)
#include <stb_image.h>
#pragma GCC diagnostic pop
#pragma GCC diagnostic ignored "-Wunused-function" // judged at the end of the file, for stb_image's sake

#undef stbi__resample_row_h_2
static unsigned char *stbi__resample_row_h_2(unsigned char *out, unsigned char *near, unsigned char *far, int w,
                                             int h) {
    (void)far, (void)h;
    for (int i = 0; i < w; i++) {
        int left = near[i ? i - 1 : 0], here = near[i], right = near[i < w - 1 ? i + 1 : i];
        out[2 * i] = (unsigned char)((3 * here + left + 2) >> 2);
        out[2 * i + 1] = (unsigned char)((3 * here + right + 2) >> 2);
    }
    return out;
}

static int read_pixels(struct bl_image *image, const char *kind) {
    int width, height, channels;
    size_t count = (size_t)image->width * (size_t)image->height;
    largest = count * (size_t)image->held + image->size + (1 << 20);
    failed = false;
    uint8_t *pixels = stbi_load_from_memory(image->bytes, (int)image->size, &width, &height, &channels, 3);
    int code = 0;
    if (!pixels)
        code =
            bl_fail(failed ? BLANCH_ENOMEM : BLANCH_EINPUT, "the %s is not readable: %s", kind, stbi_failure_reason());
    else if (width != image->width || height != image->height)
        code = bl_fail(BLANCH_EINPUT, "the %s is damaged: it has two sizes", kind);
    else
        memcpy(image->pixels, pixels, count * 3);
    free(pixels);
    return code;
}

#ifndef BL_HAVE_JPEG
int bl_jpeg_held(const struct bl_jpeg *jpeg) {
    return 10 + (jpeg->progressive ? 3 : 1) * jpeg->components;
}

int bl_jpeg_pixels(struct bl_image *image, const struct bl_jpeg *jpeg) {
    if (jpeg->arithmetic) return bl_fail(BLANCH_EINPUT, "an arithmetic-coded JPEG is not read without libjpeg");
    if (jpeg->components == 4 && !jpeg->adobe)
        return bl_fail(BLANCH_EINPUT, "a JPEG of four components without Adobe's mark is not read without libjpeg");
    return read_pixels(image, "JPEG");
}
#endif

#ifndef BL_HAVE_PNG
int bl_png_held(const struct bl_png *png) {
    return png->depth == 16 ? 26 : 14;
}

/* stb_image takes colours beyond the palette from memory that was never written. */
int bl_png_pixels(struct bl_image *image, const struct bl_png *png) {
    if (png->colours && png->colours < 1 << png->depth)
        return bl_fail(BLANCH_EINPUT, "a PNG with a palette of %d colours for %d bits is not read without libpng",
                       png->colours, png->depth);
    return read_pixels(image, "PNG");
}
#endif
