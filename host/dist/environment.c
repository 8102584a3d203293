/* Who starts several ranks says so in their environment. */
#include "dist/mpi.h"
#include <stdlib.h>

static int number(const char *name, int otherwise) {
    const char *text = getenv(name);
    char *end;
    const long value = text ? strtol(text, &end, 10) : 0;
    return text && end != text && !*end && value >= 0 && value < 1 << 24 ? (int)value : otherwise;
}

/* A batch script of Slurm has the tasks of its job, a step those of srun. */
void bl_ranks_look(int *rank, int *ranks) {
    static const struct {
        const char *size, *rank;
    } known[] = {{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"},
                 {"PMI_SIZE", "PMI_RANK"},
                 {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID"}};
    *rank = 0, *ranks = 1;
    for (int i = 0; i < BL_COUNT(known) && *ranks < 2; i++)
        *ranks = number(known[i].size, 1), *rank = number(known[i].rank, 0);
}
