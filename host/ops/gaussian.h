/* What the operations on Gaussians share (kernels/gaussian.cl): of 2 C channels the first half are means, the others
 * the logarithms of variances. */
#ifndef BL_GAUSSIAN_H
#define BL_GAUSSIAN_H

#include "ops/common.h"

/* BLANCH_EINPUT unless the one input has an even count of channels. */
int bl_gaussian_check(const struct bl_node *node);

#endif
