/* The files of kernels/ embedded at build time (kernels/embed.py), named by their paths ("conv/direct.cl", "vec.h").
 * BLANCH_KERNELS=DIR reads DIR/NAME instead. */
#ifndef BL_KERNELS_H
#define BL_KERNELS_H

#include <stddef.h>

struct bl_kernel_source {
    const char *name, *text;
    size_t size;
};
extern const struct bl_kernel_source bl_kernel_sources[]; // ends with a NULL name

#endif
