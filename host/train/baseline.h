/* What an overhead budget compares with where nobody trains the network with batch norm anyway: one of its own. */
#ifndef BL_BASELINE_H
#define BL_BASELINE_H

#include "train/overhead.h"
#include "train/train.h"

/* Makes the network that `net` is, with batch norm, beside it; it takes its memory. */
int bl_baseline_open(struct bl_baseline *baseline, const struct blanch_network *net);

#endif
