/* The schedule of a diffusion, which sampling goes back along. */
#ifndef BL_DIFFUSE_H
#define BL_DIFFUSE_H

#include "graph/op.h"

enum { BL_MOST_DIFFUSED = 100000 };                              // steps
double bl_diffuse_beta(const struct bl_diffuse_attrs *a, int t); // the variance of the noise that step t, from 0, adds

#endif
