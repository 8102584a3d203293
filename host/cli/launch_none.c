/* A build without MPI starts no ranks. */
#include "cli/launch.h"
#include <stddef.h>

int bl_launch_ranks(const char *devices, int argc, char **argv) {
    struct bl_ranks *ranks;
    return bl_ranks_open(&ranks, 0);
}

int bl_launched_begin(const struct bl_ranks *ranks) {
    return 0;
}
