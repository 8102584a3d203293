/* Tuning for a network: which shapes it has, and measuring them. */
#ifndef BL_TRAIN_TUNE_H
#define BL_TRAIN_TUNE_H

#include "sched/tune.h"
#include "train/train.h"

/* The convolutions of a network that is about to be created: nothing is allocated for it. */
int bl_tune_convolutions(struct bl_tuner *tuner, struct blanch_device *dev, const struct blanch_network_options *options,
                         const struct bl_tune_bounds *bounds, struct bl_tune_report *report);
/* The products of one training step, which is gone through without being computed. The network stays as it was. */
int bl_tune_products(struct bl_tuner *tuner, struct blanch_network *net, const struct bl_tune_bounds *bounds,
                     struct bl_tune_report *report);
/* Creates the network with both; the bounds' seconds are for the two together. bounds NULL: with what is known. */
int bl_tune_create(struct bl_tuner *tuner, struct blanch_network **net, struct blanch_device *dev,
                   const struct blanch_network_options *options, const struct bl_tune_bounds *bounds,
                   struct bl_tune_report *report);

#endif
