/* Tuning for a network: which shapes it has, and measuring them. */
#ifndef BL_TRAIN_TUNE_H
#define BL_TRAIN_TUNE_H

#include "sched/tune.h"
#include "train/train.h"

/* Creates the network with what is measured: first, where its plan fits the device, the convolutions, for which nothing
 * is allocated but one layer at a time; then the products of one training step, which is gone through without being
 * computed. The bounds' seconds are for both together; bounds NULL: with what is known. A network that fits with the
 * rule's engines alone is created with those. */
int bl_tune_create(struct bl_tuner *tuner, struct blanch_network **net, struct blanch_device *dev,
                   const struct blanch_network_options *options, const struct bl_tune_bounds *bounds,
                   struct bl_tune_report *report);

#endif
