/* C = alpha (A B + A2 B2) + beta D + beta2 D2 + gamma I of sets of symmetric matrices whose result is known to be
 * symmetric: on CPUs half of it is computed (kernels/nd/symmetric_product.cl), elsewhere general products take its
 * place. */
#ifndef BL_ND_SYMMETRIC_PRODUCT_H
#define BL_ND_SYMMETRIC_PRODUCT_H

#include "graph/op.h"

/* Work sizes for kernels that take rows of all matrices (matrices, F, F), `each` an item; lanes: also columns, where an
 * item does not need its whole row. */
int bl_rows_each(const struct bl_node *node, int64_t features);
struct bl_range bl_over_rows(const struct bl_node *node, int64_t matrices, int64_t features, bool lanes);
struct bl_range bl_over_matrices(const struct bl_node *node, int64_t matrices);

struct bl_symmetric {
    struct bl_node *node;
    int matrices;
    int64_t n;
    struct blanch_tensor *shape; // what the kernel knows of it
    struct bl_kernel *product, *add;
};
struct bl_symmetric_product {
    struct bl_mem *a, *b, *a2, *b2; // a2 NULL: one pair alone
    float alpha, beta, beta2, gamma;
    struct bl_mem *d, *d2, *c; // c may be d, no other; read where their beta is not 0
};

void bl_symmetric_setup(struct bl_symmetric *s, struct bl_node *node, int matrices, int64_t n); // in setup
int bl_symmetric_prepare(struct bl_symmetric *s);
int bl_symmetric_multiply(const struct bl_symmetric *s, const struct bl_symmetric_product *p);
/* C = alpha A + beta B + gamma I; c may be a or b, b is read where beta is not 0. */
struct bl_symmetric_sum {
    float alpha, beta, gamma;
    struct bl_mem *a, *b, *c;
};
int bl_symmetric_add(const struct bl_symmetric *s, const struct bl_symmetric_sum *sum);

#endif
