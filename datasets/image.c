/* Image files: read whole, decoded to RGB or refused. How much memory files and pixels take is limited before it is
 * taken, for an image and for all threads together. */
#include "image_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MOST_PIXELS 178956970        // where PIL refuses; 512 MiB of RGB
#define MOST_BYTES ((size_t)1 << 30) // of files, and of pixels while they are decoded, each: of one and of all threads
#define TURNED 6                     // bytes a pixel while an image is turned

/* The last is the one without a signature. */
static const struct bl_decoder *const decoders[] = {&bl_decoder_jpeg, &bl_decoder_png, &bl_decoder_gif,
                                                    &bl_decoder_bmp,  &bl_decoder_pnm, &bl_decoder_tga};

/* --- memory of all threads -------------------------------------------------------------------- */

/* Who asks for at most MOST_BYTES is let in sooner or later: a thread takes from `files` first, then from `pixels`,
 * once each, and waits for nothing while it holds pixels. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t freed;
    size_t taken;
};
static struct gate files = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
static struct gate pixel_bytes = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};

static void enter(struct gate *gate, size_t bytes) {
    pthread_mutex_lock(&gate->lock);
    while (bytes > MOST_BYTES - gate->taken) pthread_cond_wait(&gate->freed, &gate->lock);
    gate->taken += bytes;
    pthread_mutex_unlock(&gate->lock);
}

static void leave(struct gate *gate, size_t bytes) {
    if (!bytes) return;
    pthread_mutex_lock(&gate->lock);
    gate->taken -= bytes;
    pthread_cond_broadcast(&gate->freed);
    pthread_mutex_unlock(&gate->lock);
}

/* --- files ------------------------------------------------------------------------------------ */

static int read_file(const char *path, struct bl_image *image) {
    FILE *file;
    *image = (struct bl_image){.orientation = 1};
    int code = bl_data_open(path, &file, &image->size);
    if (code) return code;
    if (image->size > MOST_BYTES) {
        fclose(file);
        return bl_fail(BLANCH_EINPUT, "%s: a file of %zu bytes is too large for an image; the limit is %zu", path,
                       image->size, MOST_BYTES);
    }
    enter(&files, image->size);
    uint8_t *bytes;
    code = bl_data_take(path, file, image->size, &bytes);
    if (code) leave(&files, image->size);
    image->bytes = bytes;
    return code;
}

static void free_file(struct bl_image *image) {
    free((void *)image->bytes);
    leave(&files, image->size);
}

static const struct bl_decoder *decoder_of(const struct bl_image *image) {
    for (int i = 0; i < BL_COUNT(decoders); i++)
        if (decoders[i]->match(image->bytes, image->size)) return decoders[i];
    return NULL;
}

/* Kinds that are met where images are expected, by bytes at an offset. */
static int unknown_kind(const struct bl_image *image) {
    static const struct {
        size_t at;
        const char *bytes, *kind;
    } known[] = {{8, "WEBP", "a WebP"},
                 {0, "II*", "a TIFF"},
                 {0, "MM", "a TIFF"},
                 {4, "ftyp", "a HEIF or AVIF"},
                 {0, "8BPS", "a Photoshop"},
                 {4, "jP  ", "a JPEG 2000"},
                 {0, "\xff\x0a", "a JPEG XL"},
                 {4, "JXL ", "a JPEG XL"},
                 {0, "P7", "a PAM"},
                 {0, "%PDF", "a PDF"},
                 {0, "<", "an XML or HTML"},
                 {0, "\x1f\x8b", "a gzip"},
                 {0, "PK", "a zip"}};
    for (int i = 0; i < BL_COUNT(known); i++) {
        size_t length = strlen(known[i].bytes);
        if (image->size >= known[i].at + length && !memcmp(image->bytes + known[i].at, known[i].bytes, length))
            return bl_fail(BLANCH_EINPUT, "%s file is not read; convert it to PNG or JPEG", known[i].kind);
    }
    return bl_fail(BLANCH_EINPUT, "not a readable image: neither JPEG, PNG, GIF, BMP, PNM nor TGA");
}

/* The header, held against the limits; held becomes that of all that follows. */
static int read_header(struct bl_image *image, const struct bl_decoder **decoder) {
    *decoder = decoder_of(image);
    int code = *decoder ? (*decoder)->header(image) : unknown_kind(image);
    if (code) return code;
    if (image->width < 1 || image->height < 1) return bl_fail(BLANCH_EINPUT, "the image has no pixels");
    uint64_t pixels = (uint64_t)image->width * (uint64_t)image->height;
    if (image->orientation > 1 && image->held < TURNED) image->held = TURNED;
    if (pixels > MOST_PIXELS)
        return bl_fail(BLANCH_EINPUT, "an image of %dx%d pixels is too large; the limit is %d pixels", image->width,
                       image->height, MOST_PIXELS);
    if (pixels * (uint64_t)image->held > MOST_BYTES)
        return bl_fail(BLANCH_EINPUT,
                       "an image of %dx%d pixels that takes %d bytes a pixel is too large; the limit is "
                       "%zu bytes",
                       image->width, image->height, image->held, MOST_BYTES);
    return 0;
}

static int decode(struct bl_image *image, const struct bl_decoder *decoder, struct bl_pixels *pixels) {
    size_t count = (size_t)image->width * (size_t)image->height, most = count * (size_t)image->held;
    enter(&pixel_bytes, most);
    image->pixels = bl_calloc(count, 3);
    int code = image->pixels ? decoder->decode(image) : bl_fail(BLANCH_ENOMEM, "out of memory for an image");
    *pixels = (struct bl_pixels){image->pixels, image->width, image->height, 3, 0};
    if (!code) code = bl_orient(pixels, image->orientation);
    if (code) {
        free(pixels->data);
        pixels->data = NULL;
    } else {
        pixels->held = count * 3;
    }
    leave(&pixel_bytes, most - pixels->held);
    return code;
}

int bl_image_read(const char *path, struct bl_pixels *pixels) {
    struct bl_image image;
    const struct bl_decoder *decoder;
    *pixels = (struct bl_pixels){.channels = 3};
    int code = read_file(path, &image);
    if (code) return code;
    code = read_header(&image, &decoder);
    if (!code) code = decode(&image, decoder, pixels);
    free_file(&image);
    return code ? bl_fail_in(code, "%s", path) : 0;
}

void bl_pixels_free(struct bl_pixels *pixels) {
    free(pixels->data);
    leave(&pixel_bytes, pixels->held);
    *pixels = (struct bl_pixels){0};
}

int bl_image_size(const char *path, int *width, int *height) {
    struct bl_image image;
    const struct bl_decoder *decoder;
    int code = read_file(path, &image);
    if (code) return code;
    code = read_header(&image, &decoder);
    bool turned = image.orientation >= 5;
    *width = turned ? image.height : image.width;
    *height = turned ? image.width : image.height;
    free_file(&image);
    return code ? bl_fail_in(code, "%s", path) : 0;
}

bool bl_image_looks_whole(const char *path) {
    static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}, iend[] = {'I', 'E', 'N', 'D'};
    uint8_t begin[8], end[8];
    FILE *file;
    size_t size;
    if (bl_data_open(path, &file, &size)) return false;
    bool read =
        fread(begin, sizeof begin, 1, file) == 1 && !fseek(file, -8, SEEK_END) && fread(end, sizeof end, 1, file) == 1;
    fclose(file);
    if (!read) return false;
    if (begin[0] == 0xff && begin[1] == 0xd8) return end[6] == 0xff && end[7] == 0xd9;
    return !memcmp(begin, png, sizeof png) && !memcmp(end, iend, sizeof iend);
}

const char bl_image_endings[] = ".jpg .jpeg .jpe .png .gif .bmp .tga .pbm .pgm .ppm .pnm";

bool bl_ending_among(const char *name, const char *endings) {
    const char *dot = strrchr(name, '.');
    for (size_t length; dot && *endings; endings += length + (endings[length] == ' ')) {
        length = strcspn(endings, " ");
        if (strlen(dot) == length && !strncasecmp(dot, endings, length)) return true;
    }
    return false;
}

bool bl_image_named(const char *name) {
    return bl_ending_among(name, bl_image_endings);
}
