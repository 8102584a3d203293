/* A program of the library's that MPI has started, whose step fails at one rank: tests/ranks.py. Each rank says what it
 * was told, and is done with everything else before. */
#include <blanch/blanch.h>
#include <mpi.h>
#include <stdio.h>

enum { BATCH = 2, PIXELS = 28 * 28, STEPS = 50 };

static int train(struct blanch_network *network) {
    static const float images[BATCH * PIXELS];
    static const int32_t labels[BATCH] = {1, 2};
    const struct blanch_update update = {.size = sizeof update, .lr = 0.1f};
    struct blanch_metrics metrics = {.size = sizeof metrics};
    int code = 0;
    for (int i = 0; i < STEPS && !code; i++)
        code = blanch_network_step(network, images, labels, BATCH, &update, &metrics);
    return code;
}

int main(int argc, char **argv) {
    const struct blanch_network_options options = {
        .size = sizeof options, .model = "smallcnn", .norm = BLANCH_BN, .batch = BATCH};
    struct blanch_collectives all = {.size = sizeof all};
    struct blanch_device *device = NULL;
    struct blanch_network *network = NULL;
    int level, sum = 0;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &level);
    int code = blanch_collectives_mpi(&all, &(MPI_Comm){MPI_COMM_WORLD}, 100);
    if (!code) code = blanch_device_open(&device, NULL, 0);
    if (!code) code = blanch_network_create(&network, device, &options);
    if (!code) code = blanch_network_join(network, &all, true);
    if (!code) code = train(network);
    fprintf(stderr, "rank %d: %d: %s\n", all.rank, code, code ? blanch_error_message() : "trained");
    blanch_network_free(network);
    blanch_device_close(device);
    if (code) { // nothing of the library's uses MPI any more
        MPI_Allreduce(&code, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
        fprintf(stderr, "sum of codes: %d\n", sum);
        MPI_Abort(MPI_COMM_WORLD, -code);
    }
    blanch_collectives_mpi_free(&all);
    return MPI_Finalize();
}
