/* A build without MPI has one rank. */
#include "dist/mpi.h"

static const char no_mpi[] = "this blanch was built without MPI: install Open MPI or MPICH and build it again "
                             "(docs/scaling.md)";

int bl_ranks_open(struct bl_ranks **ranks, double timeout) {
    *ranks = NULL;
    return bl_fail(BLANCH_EUSAGE, "%s", no_mpi);
}

int bl_ranks_describe(struct bl_ranks *ranks, const char *device) {
    return 0;
}
const struct bl_rank *bl_ranks_at(const struct bl_ranks *ranks, int rank) {
    return NULL;
}
int bl_ranks_keep(struct bl_ranks *ranks, const bool *keep, bool *left) {
    return 0;
}
bool bl_ranks_agree(struct bl_ranks *ranks, int *code) {
    return true;
}
bool bl_ranks_part(struct bl_ranks *ranks, int *code) {
    return false;
}
void bl_ranks_close(struct bl_ranks *ranks) {}

int blanch_collectives_mpi(struct blanch_collectives *all, const void *communicator, double timeout) {
    return bl_fail(BLANCH_EUSAGE, "%s", no_mpi);
}
void blanch_collectives_mpi_free(struct blanch_collectives *all) {}
