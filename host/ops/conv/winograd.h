/* The Winograd engines where many items work side by side, which take the place of those of winograd.c there. */
#ifndef BL_CONV_WINOGRAD_H
#define BL_CONV_WINOGRAD_H

#include "ops/conv/engine.h"

/* Three launches a pass (kernels/conv/winograd_batch.cl): tiles of 2x2 and of 4x4. */
extern const struct bl_conv_engine bl_conv_winograd_batch, bl_conv_winograd4_batch;
/* One launch (kernels/conv/winograd_fused.cl), tiles of 2x2: forward and data gradient, where it fits. In tiled.c, for
 * all but its kernel is that engine's. */
extern const struct bl_conv_engine bl_conv_winograd_fused;

/* Whether the device has the local memory and takes such groups, of the compiled kernel too: compiles it. */
int bl_conv_winograd_fits(const struct bl_conv *conv, enum bl_conv_pass pass, bool *fits);
/* Whether its groups keep the device busy, and are at least half full. */
bool bl_conv_winograd_busy(const struct bl_conv *conv, enum bl_conv_pass pass);

#endif
