/* Several devices of one machine, without an mpirun line: `train --devices A,B` starts MPI's ranks itself. */
#ifndef BL_CLI_LAUNCH_H
#define BL_CLI_LAUNCH_H

#include "dist/mpi.h"

/* Runs this program again, a rank for each device of the list, with the arguments but for --devices, and waits. Their
 * lines pass through. Returns the exit status of what ended them, 3 for a lost rank or a failure of MPI; negative: they
 * were not started. */
int bl_launch_ranks(const char *devices, int argc, char **argv);
/* In ranks that were started so: the starter knows their processes, and a stop asked of it is rank 0's. */
int bl_launched_begin(const struct bl_ranks *ranks);

#endif
