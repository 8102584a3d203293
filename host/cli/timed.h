/* A network on made-up images, whose training steps or forward passes are timed. */
#ifndef BL_TIMED_H
#define BL_TIMED_H

#include "train/session.h"

struct bl_timed {
    struct blanch_network *net; // options.inference: forward passes are timed, from images to logits in host memory
    struct bl_session session;  // with a ledger
    float *images;              // (batch, H, W, C), uniform, with mean 0 and deviation 1
    float *logits;              // (batch, classes)
    int32_t *labels;            // (batch)
    void *own[2];               // images and labels, where the device does not share the host's memory
};
/* budget: of ND over batch norm, 0.2 for 20 %; negative: none. What fails is left to bl_timed_close. */
int bl_timed_open(struct bl_timed *timed, struct blanch_device *dev, const struct bl_network_options *options,
                  double budget);
void bl_timed_close(struct bl_timed *timed); // of zeros: nothing
/* A step, update and what a budget takes for itself included, or a forward pass; wall time in milliseconds. record: in
 * the session's ledger. BLANCH_EDIVERGED: what it computes is not finite. */
int bl_timed_step(struct bl_timed *timed, bool record, double *ms);

#endif
