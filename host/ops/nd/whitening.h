/* Whitening of a layer's input, shared by nd_conv2d and nd_linear (Ye et al., Network Deconvolution, ICLR 2020): the
 * mean m and the truncated inverse root D of the covariance of samples of the input, and the exact gradient of both. */
#ifndef BL_ND_WHITENING_H
#define BL_ND_WHITENING_H

#include "ops/nd/refresh.h"

/* Where the weights lie that D multiplies, see fold.h. */
enum bl_nd_weights {
    BL_ND_OF_PARAMETER, // in the parameter's memory
    BL_ND_RESOLVED,     // in a workspace: the parameter's update target runs on, undisturbed
    BL_ND_OF_TARGET     // in the coordinates of the update target
};
/* What a layer does in a step and the matrices that hold in it. Decided once, at the beginning of a forward pass;
 * handed on to all that makes up this pass, one that recomputes it, and the backward pass. */
struct bl_nd_step {
    enum bl_nd_action action;
    enum bl_nd_weights weights;
    bool starts;           // the update target is a new one, of this step's D_r
    bool backward;         // a gradient passes through mean and D
    struct bl_mem *mean;   // (matrices, F)
    struct bl_mem *deconv; // D (matrices, F, F); where D is reused for weights of a target, D_r: D = c D_r
    struct bl_mem
        *factors; // (matrices, 2), every first one is c: of layers that may reuse D, until their backward pass
};

/* First in setup: attributes that are out of range (BLANCH_EINPUT). */
int bl_whitening_check(const struct bl_node *node, const struct bl_nd_attrs *attrs);
/* In setup: declares the running buffers, counters and workspaces. BLANCH_EINPUT, BLANCH_ELIMIT. */
int bl_whitening_setup(struct bl_node *node, const struct bl_nd_attrs *attrs, const struct bl_samples *samples,
                       struct bl_whitening **whitening);
int bl_whitening_prepare(struct bl_whitening *whitening);
void bl_whitening_free(struct bl_whitening *whitening); // NULL is fine

int64_t bl_whitening_features(const struct bl_whitening *whitening); // F
/* D_r, for good: where many steps reuse it, one after another; else NULL. */
const struct bl_param *bl_whitening_long_reused(const struct bl_whitening *whitening);
/* What this pass does. */
enum bl_nd_action bl_whitening_action(const struct bl_whitening *whitening, const struct bl_run *run);
/* action and weights are decided: fills in the rest, and moves the counters of a training pass on. */
void bl_whitening_begin(struct bl_whitening *whitening, const struct bl_run *run, struct bl_nd_step *step);
/* Computes what `step` says there is. */
int bl_whitening_forward(struct bl_whitening *whitening, const struct bl_run *run, const struct bl_nd_step *step);
/* Where step->backward: adds to the input's gradient what comes through mean and D. */
int bl_whitening_backward(struct bl_whitening *whitening, const struct bl_run *run, const struct bl_nd_step *step,
                          const struct bl_deconv_gradient *gradient);
/* Whether ranks divide the rows of weights that D multiplies, and those of their gradients: decided by the first pass
 * that computes D. */
bool bl_whitening_divides(const struct bl_whitening *whitening, const struct bl_run *run, bool gradients);
/* Whether that heeds node->cuts. */
bool bl_whitening_cuts(const struct bl_whitening *whitening, const struct bl_nd_step *step);

#endif
