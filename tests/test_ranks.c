/* The seam for several devices: two ranks, threads with a device of their own, train on parts of a batch, unequal ones,
 * and come to what one rank with the whole batch comes to. What they ask of each other passes through memory. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include "harness.h"
#include "dist/staged.h"
#include "graph/graph.h"
#include "optim/optim.h"

enum { BATCH = 7, FIRST = 3, CHANNELS = 3, SIDE = 7, CLASSES = 5, STEPS = 3, RANKS = 2 };
static struct blanch_device *device;

/* --- ranks that are threads --------------------------------------------------------------------- */

struct room { // where the ranks meet
    pthread_barrier_t barrier;
    const void *given[RANKS];
    int gathers, exchanges;
};
struct rank {
    struct room *room;
    int rank;
};

static void give(struct rank *r, const void *own) {
    r->room->given[r->rank] = own;
    pthread_barrier_wait(&r->room->barrier);
}

static int gather(void *context, const void *own, size_t bytes, void *all) {
    struct rank *r = context;
    give(r, own);
    for (int k = 0; k < RANKS; k++) memcpy((char *)all + (size_t)k * bytes, r->room->given[k], bytes);
    r->room->gathers += !r->rank;
    pthread_barrier_wait(&r->room->barrier);
    return 0;
}

static int exchange(void *context, const void *from, size_t bytes, void *to) {
    struct rank *r = context;
    give(r, from);
    for (int k = 0; k < RANKS; k++)
        memcpy((char *)to + (size_t)k * bytes, (const char *)r->room->given[k] + (size_t)r->rank * bytes, bytes);
    r->room->exchanges += !r->rank;
    pthread_barrier_wait(&r->room->barrier);
    return 0;
}

static int spread(void *context, void *values, size_t bytes, int root) {
    struct rank *r = context;
    give(r, values);
    if (r->rank != root) memcpy(values, r->room->given[root], bytes);
    pthread_barrier_wait(&r->room->barrier);
    return 0;
}

/* --- a network and its steps ------------------------------------------------------------------ */

/* Smooth over many steps: a value within rounding of ReLU's kink takes different sides of it in two networks. */
static struct blanch_tensor *activation(struct blanch_builder *b, struct blanch_tensor *x, bool smooth) {
    return smooth ? blanch_unary(b, "sigmoid", x) : blanch_relu(b, x);
}

static struct bl_graph *make(struct blanch_device *dev, int batch, enum blanch_norm norm, int refresh) {
    struct bl_graph *graph;
    check(bl_graph_create(&graph, dev, batch, false));
    bl_graph_use(graph, &bl_optimiser_sgd);
    struct blanch_builder b = {.graph = graph, .norm = norm, .classes = CLASSES, .block = 4, .block_fc = 4};
    b.nd.refresh = refresh;
    struct blanch_tensor *x = bl_graph_input(graph, CHANNELS, SIDE, SIDE);
    struct blanch_conv_spec spec = {.out = 8, .kernel = 3, .padding = 1};
    x = activation(&b, blanch_batchnorm2d(&b, "norm1", blanch_conv2d(&b, "conv1", x, spec)), refresh);
    x = activation(&b, blanch_batchnorm2d(&b, "norm2", blanch_conv2d(&b, "conv2", x, spec)), refresh);
    /* Of one tap: every 9th pixel of the batch is a sample, wherever a rank's images begin. */
    struct blanch_conv_spec point = {.out = 8, .kernel = 1};
    x = activation(&b, blanch_batchnorm2d(&b, "norm3", blanch_conv2d(&b, "conv3", x, point)), refresh);
    x = blanch_stochastic_depth(&b, blanch_dropout(&b, x, 0.3f), 0.3f);
    x = blanch_linear(&b, "classifier", blanch_flatten(&b, x), CLASSES);
    bl_graph_add(graph, "softmax_cross_entropy", NULL, NULL,
                 (struct blanch_tensor *[]){x, bl_graph_input_labels(graph)}, 2);
    check(bl_graph_finish(graph, 3));
    return graph;
}

static void set_images(struct bl_graph *graph, int step, int first, int count) {
    float images[BATCH * CHANNELS * SIDE * SIDE];
    int32_t labels[BATCH];
    uint32_t word[4];
    for (int i = 0; i < count * CHANNELS * SIDE * SIDE; i++) {
        bl_philox(7, BL_RANDOM_DATA, (uint64_t)(first * CHANNELS * SIDE * SIDE + i), (uint64_t)step, word);
        images[i] = 2 * bl_uniform(word[0]) - 0.8f;
    }
    for (int i = 0; i < count; i++) labels[i] = (first + i + step) % CLASSES;
    check(bl_tensor_write(graph, bl_graph_in(graph), count, images));
    check(bl_mem_write(bl_graph_labels(graph)->mem, 0, sizeof *labels * (size_t)count, labels));
}

static void train(struct bl_graph *graph, int first, int count, int steps) {
    const struct blanch_update update = {.lr = 0.1f, .momentum = 0.9f, .weight_decay = 1e-3f};
    for (int step = 0; step < steps; step++) {
        set_images(graph, step, first, count);
        bl_graph_place_batch(graph, first, BATCH);
        check(bl_graph_forward_to_update(graph, count));
        check(bl_graph_backward(graph, count));
        check(bl_graph_update(graph, &update));
        struct blanch_metrics metrics;
        check(bl_graph_metrics(graph, count, &metrics));
    }
}

/* --- the test --------------------------------------------------------------------------------- */

struct part {
    struct rank rank;
    struct bl_staged *staged;
    struct blanch_device *dev;
    struct bl_graph *graph;
    int steps;
};

static void *run_part(void *argument) {
    struct part *p = argument;
    train(p->graph, p->rank.rank ? FIRST : 0, p->rank.rank ? BATCH - FIRST : FIRST, p->steps);
    return NULL;
}

static double difference(struct bl_param *p, struct bl_param *q) {
    size_t count = (size_t)p->data.count;
    float *x = bl_calloc(count, sizeof *x), *y = bl_calloc(count, sizeof *y);
    double worst = 0, largest = 1e-3;
    check(bl_param_read(p, x));
    check(bl_param_read(q, y));
    for (size_t i = 0; i < count; i++) {
        worst = fmax(worst, fabs((double)x[i] - (double)y[i]));
        largest = fmax(largest, fabs((double)x[i]));
    }
    free(x), free(y);
    return worst / largest;
}

/* refresh: 0, or steps between two refreshes, which begin after 20 exact steps. */
static void compare_ranks(enum blanch_norm norm, int refresh, double tolerance) {
    static struct room room;
    struct part part[RANKS];
    pthread_t thread[RANKS];
    const int steps = refresh ? 23 : STEPS;
    struct bl_graph *whole = make(device, BATCH, norm, refresh);
    memset(&room, 0, sizeof room);
    pthread_barrier_init(&room.barrier, NULL, RANKS);
    for (int k = 0; k < RANKS; k++) {
        part[k] = (struct part){.rank = {&room, k}};
        const struct blanch_collectives host = {sizeof host, k, RANKS, &part[k].rank, gather, exchange, spread};
        check(bl_staged_open(&part[k].staged, &host));
        check(blanch_device_open(&part[k].dev, NULL, 0));
        part[k].graph = make(part[k].dev, k ? BATCH - FIRST : FIRST, norm, refresh);
        part[k].steps = steps;
        check(bl_graph_join(part[k].graph, bl_staged_table(part[k].staged), true));
        bl_graph_overlap(part[k].graph, true);
    }
    train(whole, 0, BATCH, steps);
    for (int k = 0; k < RANKS; k++) pthread_create(&thread[k], NULL, run_part, &part[k]);
    for (int k = 0; k < RANKS; k++) pthread_join(thread[k], NULL);
    assert_true(room.gathers >= steps); // a group of gradients at least
    for (int i = 0; i < bl_graph_params(whole); i++) {
        struct bl_param *p = bl_graph_param(whole, i);
        for (int k = 0; k < RANKS && !p->counter; k++) {
            double worst = difference(p, bl_graph_param(part[k].graph, i));
            if (!(worst < tolerance)) fail_msg("%s of rank %d is off by %g", p->name, k, worst);
        }
    }
    bl_graph_free(whole);
    for (int k = 0; k < RANKS; k++)
        bl_graph_free(part[k].graph), bl_staged_close(part[k].staged), blanch_device_close(part[k].dev);
    pthread_barrier_destroy(&room.barrier);
}

static void test_batch_norm(void **state) {
    if (!device) skip();
    compare_ranks(BLANCH_BN, 0, 1e-4);
}

static void test_plain(void **state) {
    if (!device) skip();
    compare_ranks(BLANCH_NONE, 0, 1e-4);
}

static void test_deconvolution(void **state) {
    if (!device) skip();
    compare_ranks(BLANCH_ND, 0, 1e-3);
}

static void test_reused_deconvolution(void **state) {
    if (!device) skip();
    compare_ranks(BLANCH_ND, 8, 1e-3);
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_norm),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_deconvolution),
        cmocka_unit_test(test_reused_deconvolution),
    };
    int failed = open_test_device(&device);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed + close_test_device(device);
}
