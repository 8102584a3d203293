/* What the decoders of image files share. */
#ifndef BL_IMAGE_INTERNAL_H
#define BL_IMAGE_INTERNAL_H

#include "internal.h"

/* A file while it is decoded. */
struct bl_image {
    const uint8_t *bytes;
    size_t size;
    /* Of the header. Width and height are as stored, before EXIF's orientation (1..8) is applied. held: bytes a pixel
     * that decoding takes at most, the pixels' own three included. */
    int width, height, orientation, held;
    uint8_t *pixels; // (height, width, 3), zeros, for decode to fill
};

/* A kind of file, at the end of its own. header and decode fail with a message that does not name the file; decode
 * comes after header, and fills every pixel from the file, or fails. */
struct bl_decoder {
    bool (*match)(const uint8_t *bytes, size_t size); // by its first bytes
    int (*header)(struct bl_image *image);
    int (*decode)(struct bl_image *image);
};
extern const struct bl_decoder bl_decoder_jpeg, bl_decoder_png, bl_decoder_gif, bl_decoder_bmp, bl_decoder_pnm,
    bl_decoder_tga;

static inline uint32_t bl_be16(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 8 | bytes[1];
}
static inline uint32_t bl_be32(const uint8_t *bytes) {
    return bl_be16(bytes) << 16 | bl_be16(bytes + 2);
}
static inline uint32_t bl_le16(const uint8_t *bytes) {
    return bytes[0] | (uint32_t)bytes[1] << 8;
}
static inline uint32_t bl_le32(const uint8_t *bytes) {
    return bl_le16(bytes) | bl_le16(bytes + 2) << 16;
}
static inline void bl_put_rgb(uint8_t *pixel, const uint8_t colour[3]) {
    for (int c = 0; c < 3; c++) pixel[c] = colour[c];
}

/* --- orientation.c: EXIF. */
int bl_exif_orientation(const uint8_t *tiff, size_t size); // 1 where it says nothing
/* Turns and mirrors pixels as PIL's exif_transpose does. BLANCH_ENOMEM. */
int bl_orient(struct bl_pixels *pixels, int orientation);

/* --- the pixels of a JPEG and of a PNG: libjpeg.c and libpng.c, or stb.c for those that are not there */
struct bl_jpeg {
    int components;   // 1, 3, 4
    bool progressive; // or with components in scans of their own: coefficients of the whole image are held
    bool arithmetic, adobe;
};
int bl_jpeg_held(const struct bl_jpeg *jpeg);
int bl_jpeg_pixels(struct bl_image *image, const struct bl_jpeg *jpeg);

struct bl_png {
    int depth, colours; // colours: of its palette; 0: it has none
};
int bl_png_held(const struct bl_png *png);
int bl_png_pixels(struct bl_image *image, const struct bl_png *png);

#endif
