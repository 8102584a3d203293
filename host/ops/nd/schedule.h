/* What a scheduler has of a layer that whitens its input (node->whitening): telling it when to refresh D, and looking
 * at what it did. */
#ifndef BL_ND_SCHEDULE_H
#define BL_ND_SCHEDULE_H

#include "graph/op.h"

/* What a layer's whitening does in a step. */
enum bl_nd_action {
    BL_ND_CONSTANT, // mean and D are the running ones: evaluation, and steps while it is frozen
    BL_ND_EXACT,    // both are of this batch, and so is their gradient
    BL_ND_RENEW,    // both are of this batch, but the gradient passes through the mean and the scale of D alone, as in
                    // the steps around it: about half the cost
    BL_ND_REUSE     // D = c D_r of the last step that computed it, c of this batch, and the mean
};

/* What the following training passes do where the layer itself does not ask for EXACT; until the next call. At first
 * EXACT where attrs.refresh is BL_REFRESH_SCHEDULED, else REUSE. Returns what held before. */
enum bl_nd_action bl_whitening_order(struct bl_whitening *whitening, enum bl_nd_action action);

struct bl_whitening_facts {
    bool scheduled;         // an order decides; false: an interval, or it is exact at every step (whitening single
                            // channels costs less than remembering it)
    enum bl_nd_action next; // of the training pass that comes next
    enum bl_nd_action last; // of the last pass
    int matrices;
    int64_t features, samples; // F; of a matrix, of so many images
    bool capped;               // cov_samples makes them that few
    double eps;
};
struct bl_whitening_facts bl_whitening_look(const struct bl_whitening *whitening, int images);
/* After a pass that was EXACT or RENEW: S and D of a matrix, (F, F) each. Waits for the device. */
int bl_whitening_read(const struct bl_whitening *whitening, int matrix, float *s, float *d);
/* How far the last pass that computed D turned it from the one before: |D/|D| - D_r/|D_r||, 0 to 2; of scheduled
 * layers. Waits for the device. */
int bl_whitening_change(const struct bl_whitening *whitening, double *change);

#endif
