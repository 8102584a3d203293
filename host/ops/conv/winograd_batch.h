/* The Winograd engines where many items work side by side (kernels/conv/winograd_batch.cl), behind those of winograd.c:
 * the functions of struct bl_conv_engine, for tiles by its variant. */
#ifndef BL_CONV_WINOGRAD_BATCH_H
#define BL_CONV_WINOGRAD_BATCH_H

#include "ops/conv/engine.h"

extern const struct bl_conv_engine bl_conv_winograd_batch;

#endif
