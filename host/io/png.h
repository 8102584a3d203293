/* PNG files of images in memory: masks, overlays, grids. */
#ifndef BL_PNG_H
#define BL_PNG_H

#include "base/base.h"

struct bl_png_image {
    const uint8_t *pixels; // (height, width, channels)
    int width, height;
    int channels;           // 1, grey or of the palette, or 3, RGB
    const uint8_t *palette; // (colours, 3); NULL: there is none
    int colours;            // up to 256; indices are below
};
/* The file's bytes, malloc'd. BLANCH_ENOMEM. */
int bl_png_encode(const struct bl_png_image *image, uint8_t **bytes, size_t *size);
/* The same into a file, which is replaced whole. BLANCH_EIO. */
int bl_png_write(const char *path, const struct bl_png_image *image);
/* The colour of class i of masks, as PASCAL VOC's palette has it: the bits of i spread over red, green and blue. */
void bl_png_class_colour(int class, uint8_t colour[3]);

#endif
