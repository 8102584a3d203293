/* How long the collectives of blanch_collectives_mpi take, by bytes: `mpirun -n N build/tests/measure_collectives`. No
 * test; docs/scaling.md has what came out. Prints the bytes that each rank gives, microseconds of gather and exchange,
 * and what leaves a rank a second in a gather. */
#include <blanch/blanch.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMES = 200, TIMES_OF_MANY = 30, GATHER = 0, EXCHANGE };
static const size_t most_bytes = 4 << 20, many = 65536;

/* One after another: each needs what all others give, so that nobody runs ahead. Microseconds of one. */
static double time_one(const struct blanch_collectives *all, int way, char *own, size_t bytes, char *of_all) {
    const int times = bytes < many ? TIMES : TIMES_OF_MANY;
    double start = 0;
    for (int i = -1; i < times; i++) {
        if (i == 0) start = MPI_Wtime(); // the first one opens connections
        const int failed = way == GATHER ? all->gather(all->context, own, bytes, of_all)
                                         : all->exchange(all->context, own, bytes / (size_t)all->ranks, of_all);
        if (failed) MPI_Abort(MPI_COMM_WORLD, 3);
    }
    return 1e6 * (MPI_Wtime() - start) / times;
}

int main(int argc, char **argv) {
    int level, rank, ranks;
    struct blanch_collectives all = {.size = sizeof all};
    MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (blanch_collectives_mpi(&all, &(MPI_Comm){MPI_COMM_WORLD}, 60)) {
        fprintf(stderr, "%s\n", blanch_error_message());
        MPI_Abort(MPI_COMM_WORLD, 3);
    }
    char *own = malloc(most_bytes), *of_all = malloc(most_bytes * (size_t)ranks);
    if (!own || !of_all) MPI_Abort(MPI_COMM_WORLD, 3);
    memset(own, 1, most_bytes);
    if (!rank) printf("%10s %12s %12s %12s\n", "bytes", "gather us", "exchange us", "MB/s");
    for (size_t bytes = 8 * (size_t)ranks; bytes <= most_bytes; bytes *= 8) {
        const double gather = time_one(&all, GATHER, own, bytes, of_all),
                     exchange = time_one(&all, EXCHANGE, own, bytes, of_all);
        if (!rank)
            printf("%10zu %12.1f %12.1f %12.1f\n", bytes, gather, exchange, (double)bytes * (ranks - 1) / gather);
    }
    blanch_collectives_mpi_free(&all);
    free(own), free(of_all);
    return MPI_Finalize();
}
