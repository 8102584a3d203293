/* How long the collectives of blanch_collectives_mpi take, by bytes: `mpirun -n N build/tests/measure_collectives`. No
 * test; docs/scaling.md has what came out. Prints bytes that each rank gives, microseconds of gather, exchange and
 * spread (medians), and what leaves a rank a second in a gather. */
#include <blanch/blanch.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TIMES = 200, WAYS = 3 };
static const size_t most_bytes = 4 << 20;

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static int call(const struct blanch_collectives *all, int way, char *own, size_t bytes, char *of_all) {
    const size_t part = bytes / (size_t)all->ranks; // of an exchange: as many bytes in all
    if (way == 0) return all->gather(all->context, own, bytes, of_all);
    if (way == 1) return all->exchange(all->context, own, part, of_all);
    return all->spread(all->context, own, bytes, 0);
}

static double median_of(const struct blanch_collectives *all, int way, char *own, size_t bytes, char *of_all) {
    double seconds[MOST_TIMES];
    const int times = bytes < 65536 ? MOST_TIMES : 40;
    for (int i = 0; i < times; i++) {
        MPI_Barrier(MPI_COMM_WORLD);
        const double start = MPI_Wtime();
        if (call(all, way, own, bytes, of_all)) MPI_Abort(MPI_COMM_WORLD, 3);
        seconds[i] = MPI_Wtime() - start;
    }
    qsort(seconds, (size_t)times, sizeof *seconds, by_value);
    return 1e6 * seconds[times / 2];
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
    if (!rank) printf("%10s %12s %12s %12s %12s\n", "bytes", "gather us", "exchange us", "spread us", "MB/s");
    for (size_t bytes = 8 * (size_t)ranks; bytes <= most_bytes; bytes *= 8) {
        double us[WAYS];
        for (int way = 0; way < WAYS; way++) us[way] = median_of(&all, way, own, bytes, of_all);
        if (!rank)
            printf("%10zu %12.1f %12.1f %12.1f %12.1f\n", bytes, us[0], us[1], us[2],
                   (double)bytes * (ranks - 1) / us[0]);
    }
    blanch_collectives_mpi_free(&all);
    free(own), free(of_all);
    return MPI_Finalize();
}
