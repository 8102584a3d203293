/* What the files of blas/ share. */
#ifndef BL_BLAS_INTERNAL_H
#define BL_BLAS_INTERNAL_H

#include "blas/blas.h"

int bl_clblast_gemm(struct blanch_device *dev, const struct bl_gemm *gemm);
/* Gives CLBlast this device's parameters, once. */
int bl_clblast_tune(struct blanch_device *dev);

#endif
