/* The collectives of a graph by those of memory on the host, which a program gives (blanch.h) or MPI has (mpi.h): what
 * lies on a device is staged. */
#ifndef BL_STAGED_H
#define BL_STAGED_H

#include "graph/collectives.h"

struct bl_staged;
/* host is copied; its context outlives this. */
int bl_staged_open(struct bl_staged **staged, const struct blanch_collectives *host);
/* Whether a call of the host's table has failed: MPI may write to memory that it was given to the process's end then,
 * so that memory is kept, here and by who has the device's. */
bool bl_staged_close(struct bl_staged *staged); // NULL: nothing
const struct bl_collectives *bl_staged_table(struct bl_staged *staged);

#endif
