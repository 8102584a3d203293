/* Pictures to files. */
#ifndef BL_PNG_H
#define BL_PNG_H

#include <stdint.h>

/* Writes pixels (height, width, channels), 1: grey, 3: red, green and blue, replacing the file whole. BLANCH_EIO. */
int bl_png_write(const char *path, int width, int height, int channels, const uint8_t *pixels);

#endif
