/* The ranks that mpirun or srun has started this process among. */
#ifndef BL_MPI_H
#define BL_MPI_H

#include "base/base.h"

struct bl_rank { // as all ranks know it
    char host[64], device[160];
    int local, pid; // among the ranks of its host; of its process
};
struct bl_ranks {
    int rank, ranks, locals;   // of those that take part; of all on this host
    const struct bl_rank *own; // this one
    struct blanch_collectives all;
    char library[96]; // of MPI: "Open MPI 4.1.4"
};

/* What the environment says of this process: mpirun, mpiexec or srun sets it. 1 rank where it says nothing. */
void bl_ranks_look(int *rank, int *ranks);
/* The program that starts ranks of this build's MPI, and what it is to be told: several ranks may share cores, none is
 * bound to one, and where one is lost the others end by themselves. The list ends with NULL. */
const char *bl_ranks_starter(void);
const char *const *bl_ranks_starter_options(void);
/* Begins MPI. A rank that keeps the others waiting for `timeout` seconds counts as hung. BLANCH_EUSAGE: this build has
 * no MPI. */
int bl_ranks_open(struct bl_ranks **ranks, double timeout);
/* Says which device this rank has: afterwards the table is complete, everywhere. */
int bl_ranks_describe(struct bl_ranks *ranks, const char *device);
/* The rank-th of those that take part. */
const struct bl_rank *bl_ranks_at(const struct bl_ranks *ranks, int rank);
/* From now on the others are left out, *left this one: its collectives are gone, and it goes to the end. All ranks call
 * it alike; keep (ranks), rank 0's true. */
int bl_ranks_keep(struct bl_ranks *ranks, const bool *keep, bool *left);
/* The end, when nothing else uses the ranks: *code, of this rank, becomes the cause's of all of them, 0 where all ended
 * well. Whether this rank is the one to tell its message; one that has none tells nothing. All come to the end
 * together, as far as they live, rank 0 the last: what it had to write is written. */
bool bl_ranks_agree(struct bl_ranks *ranks, int *code);
/* After the message was told: the last words of all ranks, which are waited for as long as any other exchange where
 * nothing has failed. Whether this rank is the one to tell that another does not say any, *code then. */
bool bl_ranks_part(struct bl_ranks *ranks, int *code);
/* Ends MPI, but where something failed within it, or a rank has gone: all processes end without, then. */
void bl_ranks_close(struct bl_ranks *ranks); // NULL: nothing

#endif
