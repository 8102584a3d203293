/* C = A^T B for many rows of few features (kernels/nd/gram.cl): covariances of samples, and gradients of D from weights
 * and their gradients. For CPUs, one matrix. The result is left as sums over parts of the rows. */
#ifndef BL_ND_GRAM_H
#define BL_ND_GRAM_H

#include "graph/op.h"

struct bl_gram {
    struct bl_node *node;
    int64_t n; // features
    int parts;
    struct blanch_tensor *scratch;
    struct bl_kernel *kernel;
};
struct bl_gram_product {
    struct bl_mem *a, *b, *sums; // a may be b; sums: (parts, n, n)
    int64_t rows;
    int64_t interleave; // of A's rows, in parameter order (packed_product.h); 1: none
    double alpha;
};

/* Whether products of n features are computed here. */
bool bl_gram_serves(const struct bl_node *node, int64_t matrices, int64_t n);
/* Whether covariances of n features are, of samples that are gathered into panels and have no rows in memory. */
bool bl_panels_serve(const struct bl_node *node, int64_t matrices, int64_t n);
enum { BL_PANEL_ROWS = 128 };                              // as in kernels/nd/panels.h
int bl_panel_parts(const struct bl_node *node, int64_t n); // shares of work that have panels of their own
int64_t bl_panel_size(int64_t n);                          // floats of one
/* The defines TM and STRIPS of panels.h. */
void bl_panel_defines(const struct bl_node *node, struct bl_define defines[2]);

/* In setup; says how many parts the sums have. operands: 1 where A is always B, else 2. */
int bl_gram_setup(struct bl_gram *gram, struct bl_node *node, int64_t n, int operands, enum bl_life life);
int bl_gram_prepare(struct bl_gram *gram);
int bl_gram_kernel(const struct bl_node *node, const char *name, struct bl_kernel **kernel); // of gram.cl
int bl_gram_multiply(const struct bl_gram *gram, const struct bl_gram_product *product);

#endif
