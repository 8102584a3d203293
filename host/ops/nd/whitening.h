/* Whitening of a layer's input, shared by nd_conv2d and nd_linear (Ye et al., Network Deconvolution, ICLR 2020): the
 * mean m and the truncated inverse root D of the covariance of samples of the input, and the exact gradient of both. */
#ifndef BL_WHITENING_H
#define BL_WHITENING_H

#include "graph/op.h"

/* How samples are taken of node->in[0]. A patch gives `interleave` samples of block*kernel[0]*kernel[1] features. */
struct bl_samples {
    int kernel[2], step[2], padding[2], dilation[2];
    int flat;        // 0: patches; n: every n-th pixel of the batch (kernel 1x1)
    int block;       // channels of a sample
    int interleave;  // blocks of the channels that share one matrix
    bool contiguous; // block g is channels g*block ...; else channels g, g + interleave, ...
    int matrices;    // groups of channels whitened apart, then interleave is 1
};

struct bl_whitening;

/* In setup: declares the running buffers, the freeze counter and the workspaces. */
int bl_whitening_setup(struct bl_node *node, const struct bl_nd_attrs *attrs, const struct bl_samples *samples,
                       struct bl_whitening **whitening);
int bl_whitening_prepare(struct bl_whitening *whitening);
void bl_whitening_free(struct bl_whitening *whitening); // NULL is fine

/* Statistics of this batch, or the running ones: *constant says so. mean (matrices, F), deconv (matrices, F, F). */
int bl_whitening_forward(struct bl_whitening *whitening, const struct bl_run *run);
struct bl_mem *bl_whitening_mean(const struct bl_whitening *whitening);
struct bl_mem *bl_whitening_deconv(const struct bl_whitening *whitening);
bool bl_whitening_constant(const struct bl_whitening *whitening);
/* Whether the forward pass that comes next keeps the last refresh's directions: D = factor D_r. */
bool bl_whitening_will_keep(const struct bl_whitening *whitening, const struct bl_run *run);
/* Whether it computes D of its batch. */
bool bl_whitening_will_compute(const struct bl_whitening *whitening, const struct bl_run *run);
/* True where many steps keep them, one after another. */
bool bl_whitening_keeps_long(const struct bl_whitening *whitening);
struct bl_mem *bl_whitening_kept(const struct bl_whitening *whitening); // D_r, until the next refresh
/* (matrices, 2), every first one is the factor, from forward to bl_whitening_backward. NULL: it never keeps. */
struct bl_mem *bl_whitening_factors(const struct bl_whitening *whitening);
/* False: backward has nothing to do, its arguments need not be computed. */
bool bl_whitening_has_backward(const struct bl_whitening *whitening);
/* The gradients of mean and deconv. Where that of D passes through its scale alone, between refreshes, <dD, D> stands
 * for dD: `dots` values for every matrix, to be summed. */
struct bl_deconv_gradient {
    struct bl_mem *mean, *deconv; // (matrices, F), (matrices, F, F)
    struct bl_mem *scale;         // (matrices, dots)
    int64_t dots;
};
bool bl_whitening_wants_scale(const struct bl_whitening *whitening);
/* Adds to the input's gradient what comes through mean and deconv. */
int bl_whitening_backward(struct bl_whitening *whitening, const struct bl_run *run,
                          const struct bl_deconv_gradient *gradient);

/* Where attrs.refresh is BL_REFRESH_SCHEDULED, every step is told before it begins. EXACT: D is of this batch, and so
 * is its gradient. RENEW: D is of this batch, but the gradient passes through mean and scale alone, as it does when the
 * step KEEPs the directions of the last D that was computed; it costs about half. False: this layer is exact at
 * every step (whitening single channels costs less than remembering it). */
enum bl_whitening_step { BL_WHITENING_EXACT, BL_WHITENING_RENEW, BL_WHITENING_KEEP };
bool bl_whitening_is_scheduled(const struct bl_whitening *whitening);
void bl_whitening_schedule(struct bl_whitening *whitening, enum bl_whitening_step step);
/* Right after a training forward pass of the node: what it did. exact: S and D are of this batch, and of matrix
 * `matrix` can be read, (F, F) each. Waits for the device. */
struct bl_whitening_facts {
    bool exact;
    int matrices;
    int64_t features, samples;
    double eps;
};
struct bl_whitening_facts bl_whitening_look(const struct bl_whitening *whitening, int images);
int bl_whitening_read(const struct bl_whitening *whitening, int matrix, float *s, float *d);
/* How far the last step that computed D turned it from the one before: |D/|D| - D_r/|D_r||, 0 to 2. Waits for the
 * device. */
int bl_whitening_change(const struct bl_whitening *whitening, double *change);

int64_t bl_whitening_features(const struct bl_whitening *whitening); // F

#endif
