/* The .cl files embedded at build time (kernels/embed.py). BLANCH_KERNELS=DIR reads DIR/NAME.cl instead. */
#ifndef BL_KERNELS_H
#define BL_KERNELS_H

#include <stddef.h>

struct bl_kernel_source { const char *name, *text; size_t size; };
extern const struct bl_kernel_source bl_kernel_sources[];      // ends with a NULL name

#endif
