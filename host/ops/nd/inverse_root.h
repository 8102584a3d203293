/* D = S^(-1/2) by the truncated coupled Newton-Schulz iteration and its exact gradient, for a set of symmetric matrices
 * (docs/whitening.md). */
#ifndef BL_INVERSE_SQRT_H
#define BL_INVERSE_SQRT_H

#include "graph/op.h"

struct bl_inverse_sqrt {
    struct bl_node *node;
    int matrices, n_iter, vec;
    int64_t features, size;  // F, matrices*F*F
    struct bl_tensor *saved; // W_0 first: S is put there; then what the gradient reads again
    struct bl_tensor *last, *work, *scalars, *dots, *dots_w;
    struct bl_kernel *product, *norm, *scale, *affine, *finish, *back_begin, *back_dots, *back_norm, *back_finish;
};

/* In setup. last: a workspace of the forward pass of at least matrices*F*F that is free when the iteration begins. */
void bl_inverse_sqrt_setup(struct bl_inverse_sqrt *root, struct bl_node *node, int matrices, int64_t features,
                           int n_iter, struct bl_tensor *last);
int bl_inverse_sqrt_prepare(struct bl_inverse_sqrt *root);
/* From S in `saved` and the sums of squares of its rows: D, and running += momentum (D - running). */
int bl_inverse_sqrt_forward(struct bl_inverse_sqrt *root, struct bl_mem *squares, float momentum, struct bl_mem *deconv,
                            struct bl_mem *running);
/* From the gradient of D, and D: that of S in the order of the sample rows (depthwise: channels last). */
int bl_inverse_sqrt_backward(struct bl_inverse_sqrt *root, struct bl_mem *ddeconv, struct bl_mem *deconv, int taps,
                             bool depthwise, struct bl_mem *sbar);

/* Work sizes for kernels that take rows of all matrices, `each` an item; lanes: also columns, where an item does not
 * need its whole row. */
int bl_rows_each(const struct bl_node *node, int64_t features);
struct bl_range bl_over_rows(const struct bl_node *node, int64_t matrices, int64_t features, bool lanes);
struct bl_range bl_over_matrices(const struct bl_node *node, int64_t matrices);

#endif
