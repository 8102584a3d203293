/* The collectives of a graph by those of memory on the host, which a program gives (blanch.h) or MPI has (mpi.h): what
 * lies on a device is staged. */
#ifndef BL_STAGED_H
#define BL_STAGED_H

#include "graph/collectives.h"

struct bl_staged;
/* host is copied; its context outlives this. */
int bl_staged_open(struct bl_staged **staged, const struct blanch_collectives *host);
void bl_staged_close(struct bl_staged *staged); // NULL: nothing
const struct bl_collectives *bl_staged_table(struct bl_staged *staged);

#endif
