/* Folding of whitening into a layer's weights, shared by nd_conv2d and nd_linear: W'_g = W_g D,
 * b' = b - sum_g W'_g m.
 *
 * Between refreshes D = c D_r, c of the batch alone, and an update is linear: what gradients dW' = c G D_r add to the
 * weight since its start W_0 stays A D_r, if A is what the same updates make of 0 with gradients c dW'. So with P = D_r
 * D_r W' = c (a U_0 + b M_0 + A P),  U_0 = W_0 D_r,  M_0 = V_0 D_r (V: momentum; a, b: what updates made of both by
 * themselves), and a step takes one product where W D and dW' D are two. So the weight has an update target: while it
 * runs, the parameter's memory holds A and the velocity's the same of V, in rows, and its value is resolved as
 * W = a W_0 + b V_0 + A D_r. A refresh ends it and starts anew with its own D (c = 1); the gradient of D, where it is
 * wanted, has W_0 for W. */
#ifndef BL_ND_FOLD_H
#define BL_ND_FOLD_H

#include "ops/conv/conv.h"
#include "ops/nd/gram.h"
#include "ops/nd/packed_product.h"
#include "ops/nd/whitening.h"

struct bl_fold {
    struct bl_node *node;
    struct bl_whitening *whitening;
    struct bl_param *weight, *bias;
    int64_t outputs, interleave, matrices; // (O, G, F) rows of weights, divided among matrices
    bool permuted;                         // the parameter is (O, F, G)
    int64_t features;
    struct bl_nd_step step;            // of the last forward pass
    struct blanch_tensor *folded;      // W' (O, G, F)
    struct blanch_tensor *folded_bias; // b' (O)
    struct blanch_tensor *gradient;    // dW', filled in before bl_fold_backward
    struct blanch_tensor *rows, *drows, *ddeconv;
    struct bl_packed_product by_deconv; // where it serves
    struct bl_gram gram;                // likewise, of dD
    struct bl_kernel *weights_backward; // likewise
    struct blanch_tensor *gram_sums;
    struct blanch_tensor *partial, *dmean, *dots;
    struct blanch_tensor *products; // <dD, D> of each matrix, in `shares`
    int shares;                     // 0: that is left to whom dD is for
    int64_t parts;                  // shares of a matrix's outputs that are summed apart
    struct bl_kernel *to_rows, *from_rows, *fold_bias, *fold_target, *resolve, *weight_gradient, *sum_parts;
    struct {
        struct bl_kernel *kernel;
        const struct bl_product_tile *tile;
        bool weight; // whether the weight's gradient is computed in the same launch
    } gradients;     // of fold_gradients.c
    const struct bl_conv
        *packer;       // packs folded weights, and where it can makes the bias in a training pass; may be NULL
    bool bias_is_left; // to it, in this pass
    uint64_t version;  // of the weights that an evaluation has folded and that are still there; 0: none
    struct {
        bool possible; // many steps reuse D, and the optimiser is linear
        struct bl_update_target target;
        double decayed[4];                          // what updates made of (W_0, V_0) by themselves: a, b of the value,
                                                    // then of the state
        const struct bl_param *deconv;              // D_r
        struct blanch_tensor *first[2], *folded[2]; // W_0, V_0; U_0, M_0
        struct blanch_tensor *square;               // P
        struct blanch_tensor *resolved;             // W, for an evaluation
    } target;
};

/* In setup, after the fields above `features` are filled in: declares the workspaces. life: that of `folded`. */
void bl_fold_setup(struct bl_fold *fold, enum bl_life life);
int bl_fold_prepare(struct bl_fold *fold);
/* Decides the step, whitens, and folds. *changed: false where an evaluation finds what an earlier one has folded. */
int bl_fold_forward(struct bl_fold *fold, const struct bl_run *run, bool *changed);
/* From `gradient` and the bias's gradient: the weight's gradient, and what whitening wants. */
int bl_fold_backward(struct bl_fold *fold, const struct bl_run *run);
/* fold_gradients.c: kernels; whether the step's gradients are computed there, but on CPUs; and computing them. */
int bl_fold_gradients_prepare(struct bl_fold *fold);
bool bl_fold_gradients_serve(const struct bl_fold *fold);
int bl_fold_gradients(struct bl_fold *fold);
int bl_fold_permuted_gradient(const struct bl_fold *fold); // dW' D in the parameter's order, a product for each g
/* After it and the gradient of the layer's own input: adds to the latter what comes through the whitening. */
int bl_fold_backward_input(struct bl_fold *fold, const struct bl_run *run);

#endif
