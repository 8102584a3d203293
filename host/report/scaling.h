/* What several ranks bring: runs of one network, batch and kind of images, on different numbers of them. */
#ifndef BL_SCALING_H
#define BL_SCALING_H

#include "report/result.h"

struct bl_scaling_row {
    const struct bl_result *result;
    const struct bl_run_result *run;
    int ranks;
    double speed_up;   // images a second over those of the run with the fewest ranks, the first of its group
    double efficiency; // over the ranks added: 1 where twice the ranks are twice as fast
    bool first;
};
/* The runs of `results` that have others beside them with another number of ranks, group by group, the fewest ranks
 * first. *rows is the caller's; *count may be 0. BLANCH_ENOMEM. */
int bl_scaling_rows(const struct bl_result *results, int count, struct bl_scaling_row **rows, int *found);
int bl_ranks_of(const struct bl_run_result *run); // 1 where none are told of
/* Of a rank's step: what is left without waiting for others, for images and for the device. */
double bl_rank_compute_ms(const struct bl_rank_result *rank);

#endif
