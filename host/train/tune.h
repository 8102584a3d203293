/* Tuning for a network: which shapes it has, and measuring them. */
#ifndef BL_TRAIN_TUNE_H
#define BL_TRAIN_TUNE_H

#include "sched/tune.h"
#include "train/train.h"

/* Creates a network on a device, by create, with what the device's tuner knows or measures: first, where the network's
 * plan fits the device, the convolutions, for which nothing is allocated but one layer at a time; then the products of
 * one training step, which is gone through without being computed. A network that fits with the rule's engines alone is
 * created with those. */
typedef int bl_network_creator(struct blanch_network **net, struct blanch_device *dev,
                               const struct bl_network_options *options);
int bl_tune_create(bl_network_creator *create, struct blanch_network **net, struct blanch_device *dev,
                   const struct bl_network_options *options);

#endif
