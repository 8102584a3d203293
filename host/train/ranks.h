/* A run on several ranks: who has which device, which images, and what all of them do alike. A run of one rank asks
 * nothing here. */
#ifndef BL_TRAIN_RANKS_H
#define BL_TRAIN_RANKS_H

#include "train/run.h"

/* Before anything else is done: what rank 0 found in the directory is known to all. code: of rank 0's look. */
int bl_run_meet(struct run *run, const struct bl_train_options *given, int code);
/* The device of this rank: run->o.device. BLANCH_EUSAGE: there are not enough. */
int bl_run_choose_device(struct run *run);
/* The device is open: the table of ranks is complete. */
int bl_run_introduce(struct run *run);
/* How the batch is divided: run->part, and the images of it that this rank's network is made for. */
int bl_run_divide(struct run *run, int *batch);
/* Which part of a batch each rank has: run->share, by what is asked for, recorded or measured. A rank that does not
 * help is left out: run->left_out, and its process waits for the others' end. */
int bl_run_share(struct run *run);
/* After a step: shares follow speeds that have changed. */
int bl_run_review_shares(struct run *run, const struct bl_stepped *stepped);
/* The network is made: it becomes that of a rank. */
int bl_run_join(struct run *run);
/* Everybody is here. */
int bl_run_wait_for_all(const struct run *run);
/* One who is to stop stops all. */
int bl_run_agree_to_stop(const struct run *run, bool *stops);
/* As bl_network_test, of all ranks: each looks at a part. */
int bl_run_test(const struct run *run, struct blanch_network *net, enum bl_split split, struct blanch_metrics *metrics,
                double *seconds);
cJSON *bl_run_ranks_json(const struct run *run); // NULL: there is one
/* The same with what each rank's recorded steps took, by all ranks; rank 0 has it. NULL: there is one. */
int bl_run_rank_times(const struct run *run, cJSON **json);
void bl_run_tell_ranks(const struct run *run);

#endif
