/* How a batch is shared by ranks of unlike speed. */
#ifndef BL_SHARES_H
#define BL_SHARES_H

#include "base/base.h"

/* share (ranks), 1 or more each, about `batch` in all: in proportion to images a second. */
void bl_shares_of(const double *speed, int ranks, int batch, int *share);
/* Seconds of a step's arithmetic: those of the rank that takes longest. */
double bl_shares_time(const double *speed, const int *share, int ranks, int batch);
/* keep (ranks): false for ranks that are so slow that the others may be as fast without them. Rank 0 stays. Returns
 * whether there are such. */
bool bl_shares_doubt(const double *speed, int ranks, bool *keep);
/* Whether all together are faster than the others, whose speeds are `alone`, by more than 2 per cent. */
bool bl_shares_help(const double *speed, const double *alone, int ranks, const bool *keep);

#endif
