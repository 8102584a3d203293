/* Folding of whitening into a layer's weights, shared by nd_conv2d and nd_linear: W'_g = W_g D,
 * b' = b - sum_g W'_g m.
 *
 * Between refreshes D = c D_r, c of the batch alone, and an update is linear: what gradients dW' = c G D_r add to the
 * weight since its start W_0 stays A D_r, if A is what the same updates make of 0 with gradients c dW'. So with P = D_r
 * D_r W' = c (a U_0 + b M_0 + A P),  U_0 = W_0 D_r,  M_0 = V_0 D_r (V: momentum; a, b: what updates made of both by
 * themselves), and a step takes one product where W D and dW' D are two. While it is so, the parameter's memory holds A
 * and the velocity's the same of V, in rows; resolving is W = a W_0 + b V_0 + A D_r. A refresh resolves and starts anew
 * with its own D (c = 1); the gradient of D, where it is wanted, has W_0 for W. */
#ifndef BL_ND_FOLD_H
#define BL_ND_FOLD_H

#include "ops/nd/packed_product.h"
#include "ops/nd/whitening.h"

struct bl_fold {
    struct bl_update_target target;
    double decayed[4]; // what updates made of (W_0, V_0) by themselves: a, b of the value, then of the state
    struct bl_node *node;
    struct bl_whitening *whitening;
    struct bl_param *weight, *bias;
    int64_t outputs, interleave, matrices; // (O, G, F) rows of weights, divided among matrices
    bool permuted;                         // the parameter is (O, F, G)
    int64_t features;
    struct bl_tensor *folded;   // W' (O, G, F)
    struct bl_tensor *shift;    // b' (O)
    struct bl_tensor *gradient; // dW', filled in before bl_fold_backward
    struct bl_tensor *rows, *drows, *ddeconv;
    struct bl_tensor *first[2], *first_folded[2]; // W_0, V_0; U_0, M_0: where bl_whitening_keeps_long
    struct bl_tensor *squared;                    // P
    struct bl_packed_product by_deconv;           // where it serves
    struct bl_tensor *partial, *dmean, *dots;
    int64_t parts; // shares of a matrix's outputs that are summed apart
    struct bl_kernel *to_rows, *from_rows, *fold_bias, *fold_kept, *resolve, *weight_gradient, *sum_parts;
    uint64_t version;         // of the weights that an evaluation has folded
    bool kept;                // that version is still there
    bool accumulates, starts; // the parameter holds A; starting to, from this step's D
};

/* In setup, after the fields above `features` are filled in: declares the workspaces. life: that of `folded`. */
void bl_fold_setup(struct bl_fold *fold, enum bl_life life);
int bl_fold_prepare(struct bl_fold *fold);
/* True when an evaluation finds what an earlier one has folded. */
bool bl_fold_is_current(struct bl_fold *fold, const struct bl_run *run);
/* Before the whitening's forward pass: chooses where the weight's updates go, see above. */
int bl_fold_begin(struct bl_fold *fold, const struct bl_run *run);
int bl_fold_forward(struct bl_fold *fold);
/* From `gradient` and the bias's gradient: the weight's gradient, and what whitening wants. */
int bl_fold_backward(struct bl_fold *fold);
struct bl_deconv_gradient bl_fold_deconv_gradient(const struct bl_fold *fold);

#endif
