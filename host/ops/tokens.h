/* What the operations on tokens share (kernels/tokens.cl). */
#ifndef BL_TOKENS_H
#define BL_TOKENS_H

#include "ops/common.h"

/* to[i] = the sum over images of from[n stride + i], i below `count`, which the vector of the channels divides. */
int bl_sum_images(const struct bl_node *node, struct bl_mem *from, int64_t images, int64_t stride, int64_t count,
                  struct bl_mem *to);
int bl_token_kernel(const struct bl_node *node, const char *name, struct bl_kernel **kernel);

#endif
