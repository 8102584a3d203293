/* What the files of blas/ share. */
#ifndef BL_BLAS_INTERNAL_H
#define BL_BLAS_INTERNAL_H

#include "blas/blas.h"

/* For the ledger: a command that takes k of the products' depth, without what lies between the matrices' rows. */
void bl_gemm_work(struct blanch_device *dev, const struct bl_gemm *gemm, int64_t k);
/* BLANCH_ELIMIT: rows too far apart for the kernels of local memory. */
int bl_product_check(const struct bl_gemm *gemm);
int bl_matrix_product(struct blanch_device *dev, const struct bl_gemm *gemm); // where bl_matrix_product_serves
int bl_clblast_gemm(struct blanch_device *dev, const struct bl_gemm *gemm);
extern const char *const bl_clblast_names[BL_CLBLAST_PARAMETERS];
/* Whether CLBlast has refused a product on this device, or is not there. */
bool bl_clblast_refused(const struct blanch_device *dev);
/* Gives CLBlast this device's parameters, once. */
int bl_clblast_tune(struct blanch_device *dev);

#endif
