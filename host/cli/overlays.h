/* Pictures of what a network that labels pixels has answered. */
#ifndef BL_OVERLAYS_H
#define BL_OVERLAYS_H

#include "cli/weights.h"

/* Some images of a split, evenly apart, as the network sees them, one beneath the other: the image; its mask before it;
 * what was answered before it. Class 0 shows the image, pixels without a label are white. */
int bl_overlays_write(struct bl_trained *trained, enum bl_split split, const char *path);
/* The classes of the likeliest logits (classes, pixels) of an image, the first among equals. */
void bl_likeliest_pixels(const float *logits, int classes, size_t pixels, uint8_t *answers);

#endif
