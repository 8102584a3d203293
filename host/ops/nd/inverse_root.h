/* D = S^(-1/2) by the truncated coupled Newton-Schulz iteration and its exact gradient, for a set of symmetric matrices
 * (docs/whitening.md). */
#ifndef BL_ND_INVERSE_ROOT_H
#define BL_ND_INVERSE_ROOT_H

#include "ops/nd/symmetric_product.h"

struct bl_root_form; // root_form.h
struct bl_inverse_root {
    struct bl_node *node;
    const struct bl_root_form *form;
    int matrices, n_iter;
    int64_t features, size; // F, matrices*F*F
    struct bl_symmetric product;
    struct blanch_tensor *s;             // S is put there
    struct blanch_tensor *w;             // W_0 = S/|S|; may be s
    struct blanch_tensor *scalars;       // (matrices, 4)
    struct blanch_tensor *saved, *work;  // iterates that the gradient reads again; of the gradient
    struct blanch_tensor *last;          // Z, where no gradient reads it
    struct bl_mem *z;                    // Z_K of the last iteration
    struct blanch_tensor *dots, *dots_w; // of the gradient
    struct bl_mem **iterate, **tangent;
    struct bl_kernel *norm, *scale, *finish, *back_begin, *back_dots, *back_norm, *back_finish;
    struct bl_kernel *combine_first, *combine_last; // of root_five.c
    struct bl_kernel *add_unit;                     // of root_pairs.c
    struct bl_kernel *variances, *back_variances;   // of root_variances.c
    struct {
        struct bl_kernel *iterate, *differentiate;
        int items; // of a group; 0: matrices are not small
    } small;       // of root_small.c
    struct {
        int ranks;              // that it was decided for; 0: none
        bool forward, backward; // products of the iteration, and of its gradient
        bool rows;              // of weights, in the gradients of folding
    } division;                 // root_division.c
};

enum { BL_ROOT_VARIANCES = 0 }; // as n_iter: D = diag(S)^(-1/2), without an iteration
/* In setup. last: a workspace of the forward pass of at least matrices*F*F that is free when the iteration begins. */
void bl_inverse_root_setup(struct bl_inverse_root *root, struct bl_node *node, int matrices, int64_t features,
                           int n_iter, struct blanch_tensor *last);
int bl_inverse_root_prepare(struct bl_inverse_root *root);
void bl_inverse_root_free(struct bl_inverse_root *root);
/* D, and running += momentum (D - running). */
struct bl_root_result {
    float momentum;
    struct bl_mem *deconv, *running;
};
/* `all`, in these and the gradient: the ranks that share S, NULL: there are no others. All make the same calls.
 * From S in `s` and the sums of squares of its rows; leaves Z_K = D/scalars[2] in z. Where `to` is not NULL, the last
 * product may make that of it at once: then z is NULL. */
int bl_inverse_root_iterate(struct bl_inverse_root *root, const struct bl_collectives *all, struct bl_mem *squares,
                            const struct bl_root_result *to);
/* The same from the W_0 that an earlier call has left in `s`. */
int bl_inverse_root_iterate_again(struct bl_inverse_root *root, const struct bl_collectives *all);
/* From Z_K, if it is there. */
int bl_inverse_root_finish(const struct bl_inverse_root *root, const struct bl_root_result *to);

/* From the gradient of D, and D: that of S in the order of the sample rows (depthwise: channels last). */
struct bl_root_gradient {
    struct bl_mem *ddeconv, *deconv, *sbar;
    int taps;
    bool depthwise;
    /* Elsewhere than on CPUs: where it is not 0, ddeconv is symmetric, and <ddeconv, deconv> comes in so many shares
     * of each matrix. The gradient may be overwritten. */
    int shares;
    struct bl_mem *dots;
    /* Likewise: where it is not 0, dmean, the mean's gradient in so many parts (parts, matrices, F), is brought to the
     * same order, times mean_scale: row_mean. */
    int parts;
    float mean_scale;
    struct bl_mem *dmean, *row_mean;
};
int bl_inverse_root_backward(struct bl_inverse_root *root, const struct bl_collectives *all,
                             const struct bl_root_gradient *gradient);
/* root_division.c, by the first iteration with other ranks: what they divide. `s` is read, `last` written. */
int bl_inverse_root_divide(struct bl_inverse_root *root, const struct bl_collectives *all);
/* S of one matrix (F, F), as it was before the iteration. Waits for the device. */
int bl_inverse_root_read(const struct bl_inverse_root *root, int matrix, float *s);

#endif
