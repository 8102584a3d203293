/* A batch that is divided among ranks. */
#ifndef BL_DIVIDE_H
#define BL_DIVIDE_H

#include "base/base.h"

enum { BL_MOST_RANKS = 4096 };
struct bl_division_of { // of every batch among the ranks; ranks 0: there is one
    int rank, ranks;
    int least;        // images that a rank has of a batch, or more
    const int *share; // (ranks) above 0: of a whole batch
};
/* Of a batch that has fewer than `ranks` times `least` images every rank has all: there is nothing to share. */
struct bl_own_part {
    int first, count; // of the batch
    bool whole;       // every rank has all of it, and one's gradients count
};
/* Of `images` in proportion to the shares: the largest remainders get what is left, in the ranks' order. */
struct bl_own_part bl_divide(const struct bl_division_of *division, int images);
/* The most that this rank has of any batch of up to `images`. */
int bl_divide_most(const struct bl_division_of *division, int images);

#endif
