/* When a layer computes D anew, and what holds in between: D = c D_r with c = sqrt(v_r / v) (kernels/nd/refresh.cl). */
#ifndef BL_ND_REFRESH_H
#define BL_ND_REFRESH_H

#include "ops/nd/schedule.h"
#include "ops/nd/statistics.h"

struct bl_refresh {
    struct bl_node *node;
    const struct bl_nd_attrs *attrs;
    struct bl_statistics *statistics;
    bool reuses;             // false: every step that is not frozen is exact, and nothing below but `freeze` is there
    enum bl_nd_action order; // see bl_whitening_order
    struct bl_param *freeze, *counter;  // training passes, as the published layer counts them; passes, see below
    struct bl_param *deconv, *variance; // D_r, v_r
    struct blanch_tensor *factors;      // (matrices, 2): c, v; from forward to backward
    struct blanch_tensor *mean;         // (taps, C): by channels
    struct blanch_tensor *sums, *slopes, *change;
    struct bl_kernel *kernel[7];
};

/* The gradients that a layer's weights have of mean and D. Where that of D passes through its scale alone, <dD, D>
 * stands for dD: `dots` values for every matrix, to be summed. */
struct bl_deconv_gradient {
    struct bl_mem *mean, *deconv; // (parts, matrices, F), parts to be summed; (matrices, F, F)
    int parts;                    // 1, but where D is exact elsewhere than on CPUs
    int shares;                   // there deconv is symmetric, and
    struct bl_mem *products;      // <dD, D> in so many shares: (matrices, shares)
    struct bl_mem *scale;         // (matrices, dots)
    int64_t dots;
};

/* In setup, after the running buffers: declares freeze_counter, refresh_counter, last_deconv and last_variance. */
void bl_refresh_setup(struct bl_refresh *r, struct bl_node *node, const struct bl_nd_attrs *attrs,
                      struct bl_statistics *statistics);
int bl_refresh_prepare(struct bl_refresh *r);
bool bl_refresh_scheduled(const struct bl_refresh *r);
/* What the next training pass does, and counting it. refresh_counter is the number of passes where an interval decides,
 * else of passes since D was computed; files of older versions may hold 0 and -1 there, which is no less true. */
enum bl_nd_action bl_refresh_next(const struct bl_refresh *r);
void bl_refresh_count(struct bl_refresh *r, enum bl_nd_action action);

/* In a step that computes D: S is there, D not yet; then Z_K = D/scalars[2] is. */
int bl_refresh_begin(struct bl_refresh *r, enum bl_nd_action action, struct bl_mem *covariance);
int bl_refresh_compare(struct bl_refresh *r, struct bl_mem *z, struct bl_mem *scalars);
/* In one that reuses it: c; then running += momentum (c D_r - running), and where `whole` c D_r to deconv. */
int bl_refresh_factor(struct bl_refresh *r, const struct bl_run *run);
int bl_refresh_rescale(struct bl_refresh *r, bool whole, struct bl_mem *deconv, struct bl_mem *running);
/* Adds to the input's gradient what comes through the mean and the scale of D. */
int bl_refresh_backward(struct bl_refresh *r, int images, const struct bl_deconv_gradient *gradient);
int bl_refresh_change(const struct bl_refresh *r, double *change);

#endif
