/* What the inverse root has of the form in which it computes the iteration (docs/whitening.md). Matrices are sets of
 * symmetric ones, iterate[0] W_0 = S/|S|. */
#ifndef BL_ND_ROOT_FORM_H
#define BL_ND_ROOT_FORM_H

#include "ops/nd/inverse_root.h"

struct bl_root_line { // of W, X1 and I
    float w, x, i;
};
/* The coefficients of root_five.c. */
struct bl_root_polynomial {
    float x1, x3;
    struct bl_root_line b, c;
    struct {
        float square, w, b, i;
    } x4;
    struct {
        float square, i;
    } x5, x6;
    struct {
        float w, b, x5, x6, i;
    } r;
    struct {
        float w, b, i;
    } z;
};

struct bl_root_form {
    int (*iterates)(int n_iter); // matrices of the forward pass that the gradient reads, W_0 among them
    int work;                    // matrices of the gradient
    bool normalises; // where products can: forward, given the sums of squares of S's rows, finds iterate[0] of S itself
    int (*prepare)(struct bl_inverse_root *root); // NULL: nothing
    /* From iterate[0]: Z_K, to `last`, or to the iterate that *z names. Where `to` is not NULL, it may leave D and the
     * running buffer instead: then *z is NULL. */
    int (*forward)(const struct bl_inverse_root *root, struct bl_mem *squares, const struct bl_root_result *to,
                   struct bl_mem **z);
    /* The derivative of Z_K in a direction, which may be overwritten; *dz is that or one of tangent. *shares of <dZ_K,
     * W_0> are in dots_w; 0: none. */
    int (*backward)(const struct bl_inverse_root *root, struct bl_mem *direction, struct bl_mem **dz, int *shares);
};
/* root_small.c: root->small.items is 0 where matrices are not small; else what iterates and differentiates them. */
int bl_root_small_prepare(struct bl_inverse_root *root);
int bl_root_small_iterate(const struct bl_inverse_root *root, const struct bl_root_polynomial *k,
                          struct bl_mem *squares, const struct bl_root_result *to, struct bl_mem **z);
int bl_root_small_differentiate(const struct bl_inverse_root *root, const struct bl_root_polynomial *k,
                                struct bl_mem *direction, struct bl_mem **dz, int *shares);
int64_t bl_inverse_root_step(const struct bl_inverse_root *root); // floats from one set of matrices to the next

extern const struct bl_root_form bl_root_pairs;     // any number of steps, two at a time
extern const struct bl_root_form bl_root_five;      // five steps as a polynomial with six products
extern const struct bl_root_form bl_root_variances; // of S's diagonal alone, exact

static inline int bl_root_multiply(const struct bl_inverse_root *root, struct bl_symmetric_product product) {
    return bl_symmetric_multiply(&root->product, &product);
}
#define BL_ROOT_PRODUCT(...) ((struct bl_symmetric_product){__VA_ARGS__})

#endif
