/* C = A D for rows A and one square matrix D that is packed beforehand (kernels/packed_product.cl): weights by D, and
 * samples by the gradient of their covariance. For CPUs. */
#ifndef BL_PACKED_PRODUCT_H
#define BL_PACKED_PRODUCT_H

#include "graph/op.h"

struct bl_packed_product {
    struct bl_node *node;
    int64_t n; // rows and columns of D
    struct blanch_tensor *packed;
    struct bl_kernel *pack, *product;
};

/* Whether products by `matrices` matrices are computed here. */
bool bl_packed_product_serves(const struct bl_node *node, int64_t matrices);
/* In setup: declares the packed D. */
void bl_packed_product_setup(struct bl_packed_product *p, struct bl_node *node, int64_t n, enum bl_life life);
int bl_packed_product_prepare(struct bl_packed_product *p);
/* Packs scale D. */
int bl_packed_product_pack(const struct bl_packed_product *p, struct bl_mem *d, double scale);
/* Of the rows that are wanted. interleave: how many rows of A interleave, in parameter order; 1: none. */
int bl_packed_product_multiply(const struct bl_packed_product *p, struct bl_mem *a, struct bl_interval rows,
                               int64_t interleave, struct bl_mem *c);

#endif
