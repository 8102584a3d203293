/* What starts ranks of the MPI that this was built with. */
#include "dist/mpi.h"
#include <mpi.h>

#ifdef OPEN_MPI
static const char *const starter_options[] = {"--oversubscribe",           "--bind-to", "none", "--mca",
                                              "odls_base_sigkill_timeout", "2",         NULL};
#elif defined MPICH_VERSION
static const char *const starter_options[] = {"-disable-auto-cleanup", NULL};
#else
static const char *const starter_options[] = {NULL};
#endif

const char *bl_ranks_starter(void) {
    return BL_MPIEXEC;
}
const char *const *bl_ranks_starter_options(void) {
    return starter_options;
}
