/* C = alpha (A B + A2 B2) + beta D + beta2 D2 + gamma I of sets of symmetric matrices whose result is known to be
 * symmetric: half of it is computed, by kernels/nd/symmetric_product.cl on CPUs, by kernels/product.cl elsewhere. */
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
    struct blanch_tensor *shape, *divided_shape; // what the kernels know of it
    struct bl_kernel *product, *give, *take;
    /* NULL: this rank computes products alone. Else each rank, all of which ask for the same product, computes a part
     * of C and gets the others': on CPUs, after bl_symmetric_divide. Element by element it is computed alike, so that
     * like devices come to the same bits either way. */
    const struct bl_collectives *all;
};
struct bl_symmetric_product {
    struct bl_mem *a, *b, *a2, *b2; // a2 NULL: one pair alone
    float alpha, beta, beta2, gamma;
    struct bl_mem *d, *d2, *c; // c may be d, no other; read where their beta is not 0
    /* With bl_symmetric_has_also(), a second sum of the same product; to NULL: none. It may be d, d2 or d3. */
    struct bl_symmetric_also {
        struct bl_mem *to, *d3;
        float alpha, beta, beta2, beta3, gamma;
    } also;
    struct bl_mem *scales;      // likewise; as those of bl_product, whose third sum is also.d3
    struct bl_mem *with, *dots; // likewise; <c, with> in *shares shares
    int *shares;
    struct bl_mem *squares, *normed; // likewise; a, b and d are S, in place of which S/|S| is taken
};

void bl_symmetric_setup(struct bl_symmetric *s, struct bl_node *node, int matrices, int64_t n); // in setup
int bl_symmetric_prepare(struct bl_symmetric *s);
int bl_symmetric_divide(struct bl_symmetric *s, int ranks); // what products need that so many ranks divide
bool bl_symmetric_has_also(const struct bl_symmetric *s);
int bl_symmetric_multiply(const struct bl_symmetric *s, const struct bl_symmetric_product *p);

#endif
