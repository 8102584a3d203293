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
#include <unistd.h>
#include "harness.h"
#include "dist/staged.h"
#include "graph/graph.h"
#include "optim/optim.h"
#include "ops_rows.h"

enum { BATCH = 7, FIRST = 3, CHANNELS = 3, SIDE = 7, CLASSES = 5, STEPS = 3, RANKS = 2 };
static struct blanch_device *device;
static int width = 8, block = 4; // channels of the network's layers, and of their covariances

/* --- ranks that are threads --------------------------------------------------------------------- */

struct room { // where the ranks meet
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int here, meetings;
    bool given_up;
    const void *given[RANKS];
    int gathers, exchanges;
    int fails; // the gather that fails at rank 1; 0: none
};
struct rank {
    struct room *room;
    int rank;
};

static void open_room(struct room *room) {
    *room = (struct room){0};
    pthread_mutex_init(&room->lock, NULL);
    pthread_cond_init(&room->changed, NULL);
}
static void close_room(struct room *room) {
    pthread_mutex_destroy(&room->lock);
    pthread_cond_destroy(&room->changed);
}

static int meet(struct room *room) {
    pthread_mutex_lock(&room->lock);
    const int meeting = room->meetings;
    if (++room->here == RANKS) room->here = 0, room->meetings++, pthread_cond_broadcast(&room->changed);
    while (room->meetings == meeting && !room->given_up) pthread_cond_wait(&room->changed, &room->lock);
    const bool met = room->meetings != meeting;
    pthread_mutex_unlock(&room->lock);
    return met ? 0 : bl_fail(BLANCH_EDEVICE, "the other rank has given up");
}

static void give_up(void *context, int code) {
    struct room *room = ((struct rank *)context)->room;
    pthread_mutex_lock(&room->lock);
    room->given_up = true;
    pthread_cond_broadcast(&room->changed);
    pthread_mutex_unlock(&room->lock);
}

static int give(struct rank *r, const void *own) {
    r->room->given[r->rank] = own;
    return meet(r->room);
}

static int gather(void *context, const void *own, size_t bytes, void *all) {
    struct rank *r = context;
    if (r->rank && r->room->fails && r->room->gathers >= r->room->fails)
        return bl_fail(BLANCH_ENOMEM, "no memory for a rank");
    int code = give(r, own);
    if (code) return code;
    for (int k = 0; k < RANKS; k++) memcpy((char *)all + (size_t)k * bytes, r->room->given[k], bytes);
    if (!r->rank) r->room->gathers++;
    return meet(r->room);
}

static int exchange(void *context, const void *from, size_t bytes, void *to) {
    struct rank *r = context;
    int code = give(r, from);
    if (code) return code;
    for (int k = 0; k < RANKS; k++)
        memcpy((char *)to + (size_t)k * bytes, (const char *)r->room->given[k] + (size_t)r->rank * bytes, bytes);
    if (!r->rank) r->room->exchanges++;
    return meet(r->room);
}

static int spread(void *context, void *values, size_t bytes, int root) {
    struct rank *r = context;
    int code = give(r, values);
    if (code) return code;
    if (r->rank != root) memcpy(values, r->room->given[root], bytes);
    return meet(r->room);
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
    struct blanch_builder b = {.graph = graph, .norm = norm, .classes = CLASSES, .block = block, .block_fc = 4};
    b.nd.refresh = refresh;
    struct blanch_tensor *x = bl_graph_input(graph, CHANNELS, SIDE, SIDE);
    struct blanch_conv_spec spec = {.out = width, .kernel = 3, .padding = 1};
    x = activation(&b, blanch_batchnorm2d(&b, "norm1", blanch_conv2d(&b, "conv1", x, spec)), refresh);
    x = activation(&b, blanch_batchnorm2d(&b, "norm2", blanch_conv2d(&b, "conv2", x, spec)), refresh);
    if (width > 8) { // an odd number of rows: shares differ
        spec.out = width + 1;
        x = activation(&b, blanch_batchnorm2d(&b, "norm4", blanch_conv2d(&b, "conv4", x, spec)), refresh);
    }
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
    struct rank rank, apart;
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

/* Ranks of a network of their own, trained together; they meet in the second room for what is summed meanwhile, or,
 * where there is none, in the first. */
static void train_parts(struct part part[RANKS], struct room room[2], enum blanch_norm norm, int refresh, int steps,
                        bool meanwhile) {
    pthread_t thread[RANKS];
    for (int i = 0; i < 2; i++) open_room(&room[i]);
    for (int k = 0; k < RANKS; k++) {
        part[k] = (struct part){.rank = {&room[0], k}, .apart = {&room[1], k}};
        const struct blanch_collectives other = {sizeof other, k,        RANKS,  &part[k].apart,
                                                 gather,       exchange, spread, NULL};
        const struct blanch_collectives host = {sizeof host, k,        RANKS,  &part[k].rank,
                                                gather,      exchange, spread, meanwhile ? &other : NULL};
        check(bl_staged_open(&part[k].staged, &host));
        check(blanch_device_open(&part[k].dev, NULL, 0));
        part[k].graph = make(part[k].dev, k ? BATCH - FIRST : FIRST, norm, refresh);
        part[k].steps = steps;
        check(bl_graph_join(part[k].graph, bl_staged_table(part[k].staged), true));
        bl_graph_overlap(part[k].graph, true);
    }
    for (int k = 0; k < RANKS; k++) pthread_create(&thread[k], NULL, run_part, &part[k]);
    for (int k = 0; k < RANKS; k++) pthread_join(thread[k], NULL);
}

static void free_parts(struct part part[RANKS], struct room room[2]) {
    for (int k = 0; k < RANKS; k++)
        bl_graph_free(part[k].graph), bl_staged_close(part[k].staged), blanch_device_close(part[k].dev);
    for (int i = 0; i < 2; i++) close_room(&room[i]);
}

/* refresh: 0, or steps between two refreshes, which begin after 20 exact steps. */
static void compare_ranks(enum blanch_norm norm, int refresh, double tolerance) {
    struct room room[2];
    struct part part[RANKS];
    const int steps = refresh ? 23 : STEPS;
    struct bl_graph *whole = make(device, BATCH, norm, refresh);
    train(whole, 0, BATCH, steps);
    train_parts(part, room, norm, refresh, steps, false);
    assert_true(room[0].gathers >= steps); // a group of gradients at least
    for (int i = 0; i < bl_graph_params(whole); i++) {
        struct bl_param *p = bl_graph_param(whole, i);
        for (int k = 0; k < RANKS && !p->counter; k++) {
            double worst = difference(p, bl_graph_param(part[k].graph, i));
            if (!(worst < tolerance)) fail_msg("%s of rank %d is off by %g", p->name, k, worst);
        }
    }
    bl_graph_free(whole);
    free_parts(part, room);
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

static uint64_t hash_of(const struct bl_graph *graph) {
    uint64_t hash = BL_HASH_START;
    for (int i = 0; i < bl_graph_params(graph); i++) {
        struct bl_param *p = bl_graph_param(graph, i);
        float *values = p->counter ? NULL : bl_calloc((size_t)p->data.count, sizeof *values);
        if (!values) continue;
        check(bl_param_read(p, values));
        hash = bl_hash(hash, values, (size_t)p->data.count * sizeof *values);
        free(values);
    }
    return hash;
}

/* Where features are many ranks divide the rows of weights, forwards and backwards. */
static void test_divided_folding(void **state) {
    struct room room[2];
    struct part part[RANKS];
    int exchanges[2], divided[2] = {0};
    if (!device) skip();
    width = block = 24;
    for (int way = 0; way < 2; way++) {
        setenv("BLANCH_ROOTS", way ? "divided" : "whole", 1);
        train_parts(part, room, BLANCH_ND, 0, 1, false);
        exchanges[way] = room[0].exchanges;
        for (int i = 0; i < bl_graph_params(part[0].graph); i++)
            divided[way] += bl_graph_param(part[0].graph, i)->divided;
        free_parts(part, room);
    }
    compare_ranks(BLANCH_ND, 0, 1e-3);
    unsetenv("BLANCH_ROOTS");
    width = 8, block = 4;
    const bool cpu = blanch_device_info(device)->kind == BLANCH_CPU;
    assert_int_equal(divided[0], 0);
    assert_int_equal(divided[1], cpu ? 2 : 0);
    assert_int_equal(exchanges[1], exchanges[0]); // dW' is summed in place of dW
}

/* Divided roots are the same bits as whole ones, on like devices. */
static void test_divided_roots(void **state) {
    uint64_t hash[2];
    int gathers[2];
    if (!device) skip();
    for (int way = 0; way < 2; way++) {
        struct part part[RANKS];
        struct room room[2];
        setenv("BLANCH_ROOTS", way ? "divided" : "whole", 1);
        train_parts(part, room, BLANCH_ND, 0, STEPS, false);
        hash[way] = hash_of(part[1].graph), gathers[way] = room[0].gathers;
        free_parts(part, room);
    }
    unsetenv("BLANCH_ROOTS");
    assert_true(hash[0] == hash[1]);
    enum { PRODUCTS = 6 * (4 + 3) }; // of four layers' roots, and of the gradients of all but the first
    if (blanch_device_info(device)->kind == BLANCH_CPU) assert_true(gathers[1] >= gathers[0] + PRODUCTS * STEPS);
}

/* Gradients that are summed by a table of their own, while layers exchange statistics, are the same bits. */
static void test_meanwhile(void **state) {
    uint64_t hash[2];
    if (!device) skip();
    for (int way = 0; way < 2; way++) {
        struct part part[RANKS];
        struct room room[2];
        train_parts(part, room, BLANCH_ND, 0, STEPS, way);
        hash[way] = hash_of(part[1].graph);
        assert_int_equal(room[1].gathers > 0, way);
        free_parts(part, room);
    }
    assert_true(hash[0] == hash[1]);
}

/* --- a rank that fails -------------------------------------------------------------------------- */

struct member {
    struct rank rank, apart;
    struct room *room;
    int code[2]; // of two steps
    char said[2][160];
};

static const float black[2 * 28 * 28]; // images
static const int32_t two_labels[2] = {1, 2};
static const struct blanch_update some_update = {.size = sizeof some_update, .lr = 0.1f};
static const struct blanch_network_options of_two = {
    .size = sizeof of_two, .model = "smallcnn", .norm = BLANCH_BN, .batch = 2};

/* As a program does: a step, once more, and away with it. */
static void *try_steps(void *argument) {
    struct member *m = argument;
    const struct blanch_collectives other = {sizeof other, m->rank.rank, RANKS, &m->apart, gather,
                                             exchange,     spread,       NULL,  give_up};
    const struct blanch_collectives host = {sizeof host, m->rank.rank, RANKS,  &m->rank, gather,
                                            exchange,    spread,       &other, give_up};
    struct blanch_network *network;
    struct blanch_device *own;
    check(blanch_device_open(&own, NULL, 0));
    check(blanch_network_create(&network, own, &of_two));
    blanch_device_close(own);
    check(blanch_network_join(network, &host, true));
    check(meet(m->room));
    if (m->rank.rank) m->room->fails = m->room->gathers + 5; // in the backward pass
    check(meet(m->room));
    for (int i = 0; i < 2; i++) {
        struct blanch_metrics metrics = {.size = sizeof metrics};
        m->code[i] = blanch_network_step(network, black, two_labels, 2, &some_update, &metrics);
        snprintf(m->said[i], sizeof m->said[i], "%s", blanch_error_message());
    }
    blanch_network_free(network);
    return NULL;
}

/* Both ranks' steps end, and nothing of them is under way behind it; there is no second one. */
static void test_a_failed_step(void **state) {
    struct room room[2];
    struct member member[RANKS];
    pthread_t thread[RANKS];
    if (!device) skip();
    alarm(60); // else it may wait for ever
    for (int i = 0; i < 2; i++) open_room(&room[i]);
    for (int k = 0; k < RANKS; k++) member[k] = (struct member){{&room[0], k}, {&room[1], k}, &room[0], {0}, {{0}}};
    for (int k = 0; k < RANKS; k++) pthread_create(&thread[k], NULL, try_steps, &member[k]);
    for (int k = 0; k < RANKS; k++) pthread_join(thread[k], NULL);
    alarm(0);
    for (int i = 0; i < 2; i++) close_room(&room[i]);
    assert_int_equal(member[0].code[0], BLANCH_EDEVICE);
    assert_int_equal(member[1].code[0], BLANCH_ENOMEM);
    for (int k = 0; k < RANKS; k++) {
        assert_int_equal(member[k].code[1], member[k].code[0]);
        assert_non_null(strstr(member[k].said[1], "an earlier step or join has failed: "));
        assert_non_null(strstr(member[k].said[1], member[k].said[0]));
    }
}

/* --- every operation with statistics ------------------------------------------------------------ */

/* A row of ops_rows.h: an operation alone, its images divided. */
struct case_of_row {
    const struct row *row;
    int n;
    struct bl_graph *graph;
    struct blanch_tensor *in;
    struct bl_node *node;
};

static void make_row(struct case_of_row *c, struct blanch_device *dev, const struct row *row, int n) {
    *c = (struct case_of_row){.row = row, .n = n};
    check(bl_graph_create(&c->graph, dev, n, false));
    bl_graph_want_input_grads(c->graph);
    c->in = bl_graph_input(c->graph, row->shape[1], row->shape[2], row->shape[3]);
    bl_graph_add(c->graph, row->op, "layer", &row->attrs, &c->in, 1);
    check(bl_graph_finish(c->graph, 1));
    c->node = bl_graph_node(c->graph, 0);
    for (int i = 0; i < c->node->params; i++) {
        struct bl_param *p = c->node->param[i];
        double *v = random_values((size_t)p->data.count, 20 + (uint64_t)i, 0.4, 0);
        float *values = narrow(v, (size_t)p->data.count);
        check(bl_param_write(p, values));
        free(v), free(values);
    }
    for (int i = 0; i < c->node->buffers; i++)
        if (c->node->buffer[i]->counter) c->node->buffer[i]->value = row->counter;
    bl_graph_touch(c->graph);
}

/* From the first-th image of a batch on. */
static void put_images(struct case_of_row *c, struct blanch_tensor *tensor, int first, uint64_t seed, double shift) {
    const int64_t each = tensor->c * tensor->h * tensor->w;
    double *v = random_values((size_t)(each * (first + c->n)), seed, 1.5, shift);
    float *values = narrow(v + each * first, (size_t)(each * c->n));
    check(bl_tensor_write(c->graph, tensor, c->n, values));
    free(v), free(values);
}

static void step_row(struct case_of_row *c, int first, int whole) {
    bl_graph_place_batch(c->graph, first, whole);
    put_images(c, c->in, first, 10, c->row->mean != 0 ? c->row->mean : 0.4);
    check(bl_graph_forward(c->graph, c->n, true));
    put_images(c, c->node->out[0]->grad, first, 30, 0);
    check(bl_graph_backward_from(c->graph, c->n, true));
}

struct part_of_row {
    struct rank rank;
    struct case_of_row c;
    int first, whole;
};
static void *run_row(void *argument) {
    struct part_of_row *p = argument;
    step_row(&p->c, p->first, p->whole);
    return NULL;
}

static float *read_images(const struct case_of_row *c, struct blanch_tensor *tensor) {
    float *values = bl_calloc((size_t)(tensor->c * tensor->h * tensor->w * c->n), sizeof *values);
    check(bl_tensor_read(c->graph, tensor, c->n, values));
    return values;
}

static void compare_values(const struct row *row, const char *what, const float *got, const float *want,
                           int64_t count) {
    double largest = 1e-30, tolerance = row->tolerance > 0 ? row->tolerance : 1e-4;
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs((double)want[i]));
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= tolerance * largest))
            fail_msg("%s: %s[%lld]: %.7g on two ranks, %.7g on one (largest %.3g)", row->name, what, (long long)i,
                     (double)got[i], (double)want[i], largest);
}

static void compare_images(const struct case_of_row *whole, const struct part_of_row *p, bool gradient) {
    struct blanch_tensor *mine = gradient ? p->c.in->grad : p->c.node->out[0],
                         *all = gradient ? whole->in->grad : whole->node->out[0];
    const int64_t each = mine->c * mine->h * mine->w;
    float *got = read_images(&p->c, mine), *want = read_images(whole, all);
    compare_values(whole->row, gradient ? "grad_x" : "y", got, want + each * p->first, each * p->c.n);
    free(got), free(want);
}

/* Gradients are still each rank's part. */
static void compare_gradient(const struct case_of_row *whole, const struct part_of_row part[RANKS], int index) {
    const size_t count = (size_t)whole->node->param[index]->data.count;
    float *want = bl_calloc(count, sizeof *want), *sum = bl_calloc(count, sizeof *sum),
          *mine = bl_calloc(count, sizeof *mine);
    check(bl_mem_read(whole->node->param[index]->grad.mem, 0, count * sizeof *want, want));
    for (int k = 0; k < RANKS; k++) {
        check(bl_mem_read(part[k].c.node->param[index]->grad.mem, 0, count * sizeof *mine, mine));
        for (size_t i = 0; i < count; i++) sum[i] += mine[i];
    }
    compare_values(whole->row, whole->node->param[index]->name, sum, want, (int64_t)count);
    free(want), free(sum), free(mine);
}

static void compare_buffer(const struct case_of_row *whole, const struct part_of_row *p, int index) {
    struct bl_param *of_all = whole->node->buffer[index], *mine = p->c.node->buffer[index];
    if (of_all->counter) {
        assert_int_equal(of_all->value, mine->value);
        return;
    }
    float *want = bl_calloc((size_t)of_all->data.count, sizeof *want),
          *got = bl_calloc((size_t)of_all->data.count, sizeof *got);
    check(bl_param_read(of_all, want));
    check(bl_param_read(mine, got));
    compare_values(whole->row, of_all->name, got, want, of_all->data.count);
    free(want), free(got);
}

/* Whether the ranks met: a layer that is frozen asks nothing. */
static bool compare_row(const struct row *row, struct blanch_device *const dev[RANKS]) {
    static struct room room;
    const int n = row->shape[0] < 3 ? 5 : row->shape[0], first = (n + 2) / 3;
    struct case_of_row whole;
    struct part_of_row part[RANKS];
    struct bl_staged *staged[RANKS];
    pthread_t thread[RANKS];
    make_row(&whole, device, row, n);
    step_row(&whole, 0, n);
    open_room(&room);
    for (int k = 0; k < RANKS; k++) {
        part[k] = (struct part_of_row){.rank = {&room, k}, .first = k ? first : 0, .whole = n};
        const struct blanch_collectives host = {sizeof host, k, RANKS, &part[k].rank, gather, exchange, spread};
        check(bl_staged_open(&staged[k], &host));
        make_row(&part[k].c, dev[k], row, k ? n - first : first);
        check(bl_graph_join(part[k].c.graph, bl_staged_table(staged[k]), true));
    }
    for (int k = 0; k < RANKS; k++) pthread_create(&thread[k], NULL, run_row, &part[k]);
    for (int k = 0; k < RANKS; k++) pthread_join(thread[k], NULL);
    for (int k = 0; k < RANKS; k++) {
        compare_images(&whole, &part[k], false);
        compare_images(&whole, &part[k], true);
        for (int i = 0; i < whole.node->buffers; i++) compare_buffer(&whole, &part[k], i);
    }
    for (int i = 0; i < whole.node->params; i++) compare_gradient(&whole, part, i);
    for (int k = 0; k < RANKS; k++) bl_graph_free(part[k].c.graph), bl_staged_close(staged[k]);
    bl_graph_free(whole.graph);
    close_room(&room);
    return room.gathers + room.exchanges > 0;
}

/* What has running buffers has statistics of the batch. */
static bool has_statistics(const struct row *row) {
    const struct bl_op *op = bl_op_find(row->op);
    struct bl_graph *graph;
    if (row->eval || op->alone || (op->role != BL_ROLE_LAYER && op->role != BL_ROLE_NORMALISATION)) return false;
    check(bl_graph_create(&graph, NULL, 1, false));
    struct blanch_tensor *in = bl_graph_input(graph, row->shape[1], row->shape[2], row->shape[3]);
    bl_graph_add(graph, row->op, "layer", &row->attrs, &in, 1);
    const bool has = bl_graph_node(graph, 0)->buffers > 0;
    bl_graph_free(graph);
    return has;
}

/* Outputs, gradients and running statistics of two ranks, with divided roots, against those of one. */
static void test_operations(void **state) {
    struct blanch_device *dev[RANKS];
    int compared = 0;
    if (!device) skip();
    setenv("BLANCH_ROOTS", "divided", 1);
    for (int k = 0; k < RANKS; k++) check(blanch_device_open(&dev[k], NULL, 0));
    for (int i = 0; i < BL_COUNT(rows); i++) compared += has_statistics(&rows[i]) && compare_row(&rows[i], dev);
    for (int k = 0; k < RANKS; k++) blanch_device_close(dev[k]);
    unsetenv("BLANCH_ROOTS");
    print_message("%d layers with statistics\n", compared);
    assert_true(compared > 20);
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_norm),
        cmocka_unit_test(test_divided_folding),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_deconvolution),
        cmocka_unit_test(test_reused_deconvolution),
        cmocka_unit_test(test_divided_roots),
        cmocka_unit_test(test_meanwhile),
        cmocka_unit_test(test_a_failed_step),
        cmocka_unit_test(test_operations),
    };
    int failed = open_test_device(&device);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed + close_test_device(device);
}
