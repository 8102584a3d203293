/* Steps that run ahead: what comes out of them, their uploads, and a loss that is not finite. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "harness.h"
#include "train/session.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 3, STEPS = 6 };

static struct blanch_device *device;
static struct bl_dataset *data;

struct trained {
    struct blanch_network *net;
    struct bl_session session;
};

/* shares: batches reach a device that shares the host's memory as they do in a run; false: they are written. */
static void begin_as(struct trained *t, const struct bl_network_options *options, bool shares) {
    const struct bl_session_options session = {.ahead = true, .budget = -1};
    struct bl_loader_options loader = {.split = BL_TRAIN, .training = true, .seed = 5};
    check(bl_network_create(&t->net, device, options));
    bl_view_default(&loader.view, data, 3, 32, 32);
    loader.batch = bl_network_largest_step(t->net);
    check(bl_session_open(&t->session, t->net, &session));
    check(shares ? bl_session_load(&t->session, data, &loader) : bl_loader_open(&t->session.loader, data, &loader));
}

static void begin(struct trained *t, const struct bl_network_options *options) {
    begin_as(t, options, true);
}

static void end(struct trained *t) {
    bl_session_close(&t->session);
    blanch_network_free(t->net);
}

static struct bl_stepped step(struct trained *t, float lr, bool ahead) {
    struct blanch_update update = bl_graph_optimiser(t->net->graph)->defaults;
    struct bl_stepped stepped;
    update.lr = lr;
    check(bl_session_step(&t->session, &(struct bl_step){.update = &update, .ahead = ahead}, &stepped));
    return stepped;
}

static struct bl_stepped settle(struct trained *t) {
    struct bl_stepped stepped;
    check(bl_session_settle(&t->session, &stepped));
    return stepped;
}

/* Parameters, states, averages and, where wanted, buffers, bit for bit. */
static void assert_same(const struct trained *a, const struct trained *b, bool buffers) {
    for (int i = 0; i < bl_graph_params(a->net->graph); i++) {
        struct bl_param *p[2] = {bl_graph_param(a->net->graph, i), bl_graph_param(b->net->graph, i)};
        const size_t bytes = bl_tensor_bytes(&p[0]->data);
        if (p[0]->counter || !(p[0]->trainable || buffers)) continue;
        float *values[2] = {bl_calloc(bytes, 1), bl_calloc(bytes, 1)};
        for (int part = 0; part < 3; part++) {
            if ((part == 1 && !p[0]->trainable) || (part == 2 && !bl_graph_keeps_average(a->net->graph))) continue;
            for (int k = 0; k < 2; k++)
                check(!part       ? bl_param_read(p[k], values[k])
                      : part == 1 ? bl_param_read_state(p[k], 0, values[k])
                                  : bl_param_read_average(p[k], values[k]));
            if (memcmp(values[0], values[1], bytes)) fail_msg("%s differs", p[0]->name);
        }
        free(values[0]), free(values[1]);
    }
}

static void assert_same_metrics(const struct bl_stepped *a, const struct bl_stepped *b) {
    assert_true(a->finite && b->finite && a->metrics.loss == b->metrics.loss);
    assert_true(a->metrics.top1 == b->metrics.top1 && a->metrics.top5 == b->metrics.top5);
    assert_int_equal(a->metrics.count, b->metrics.count);
}

/* Begun before the step before them has ended, on batches in memory that the device shares, as otherwise. */
static void test_the_same_bits(void **state) {
    if (!device) skip();
    const struct bl_network_options rows[] = {
        {.norm = BLANCH_BN, .accumulate = 2, .ema = 0.9f},
        {.norm = BLANCH_ND, .nd.refresh = 3},
        {.norm = BLANCH_BN, .optimiser = "muon"},
    };
    for (int i = 0; i < BL_COUNT(rows); i++) {
        struct bl_network_options options = rows[i];
        struct trained one, other;
        struct bl_stepped expected[STEPS];
        options.model = "smallcnn", options.batch = BATCH, options.nd.eps = options.nd.momentum = NAN;
        begin_as(&one, &options, false), begin(&other, &options);
        const bool shared = blanch_device_info(device)->unified_memory && !options.accumulate;
        assert_true(!one.session.lender && !other.session.lender == !shared);
        for (int s = 0; s < STEPS; s++) expected[s] = step(&one, 0.01f, false);
        for (int s = 0; s < STEPS; s++) {
            step(&other, 0.01f, true);
            assert_int_equal(other.session.ahead, s ? 2 : 1);
            const struct bl_stepped got = s ? settle(&other) : expected[0];
            assert_same_metrics(&got, &expected[s ? s - 1 : 0]);
        }
        const struct bl_stepped last = settle(&other);
        assert_same_metrics(&last, &expected[STEPS - 1]);
        assert_same(&one, &other, true);
        end(&one), end(&other);
    }
}

/* A step throws the parameters far away, though not beyond what is finite; the loss behind it is not finite, and the
 * step behind that one was begun before it was known. Neither updates anything, and the session goes on. */
static void test_a_loss_that_is_not_finite(void **state) {
    if (!device) skip();
    for (int accumulate = 1; accumulate < 3; accumulate++) {
        const struct bl_network_options options = {
            .model = "smallcnn", .norm = BLANCH_BN, .batch = BATCH, .accumulate = accumulate, .ema = 0.5f};
        const char *node, *what;
        struct trained one, other;
        begin(&one, &options), begin(&other, &options);
        for (int i = 0; i < 2; i++) step(&one, i ? 1e35f : 0.1f, false);
        step(&other, 0.1f, false);
        step(&other, 1e35f, true);
        step(&other, 0.1f, true);
        assert_true(settle(&other).finite);
        step(&other, 0.1f, true);
        const struct bl_stepped spoilt = settle(&other);
        assert_false(spoilt.finite);
        assert_int_equal(other.session.ahead, 0);
        assert_same(&one, &other, false);
        const struct bl_counts counts = bl_graph_counts(other.net->graph);
        assert_true(counts.steps == 3 && counts.updates == 2);
        const struct bl_stepped again = step(&one, 0.1f, false);
        assert_false(again.finite);
        check(bl_session_find_nonfinite(&one.session, &again.batch, &node, &what));
        assert_non_null(node);
        end(&one), end(&other);
    }
}

/* What is not settled is given up. */
static void test_closing_with_steps_under_way(void **state) {
    if (!device) skip();
    struct trained t;
    begin(&t, &(struct bl_network_options){.model = "smallcnn", .norm = BLANCH_BN, .batch = BATCH});
    step(&t, 0.1f, true), step(&t, 0.1f, true);
    end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_bits),
        cmocka_unit_test(test_a_loss_that_is_not_finite),
        cmocka_unit_test(test_closing_with_steps_under_way),
    };
    int failed = open_test_device(&device);
    if (bl_dataset_open(&data, "synthetic:3x32x32:10", 1)) return 1;
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    bl_dataset_close(data);
    return failed + close_test_device(device);
}
