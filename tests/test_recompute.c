/* Recomputation: with whatever segments, the same bits of parameters, optimiser state, buffers and counters as without,
 * in less memory; and a node's running buffers and counters move once a step. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include "harness.h"
#include "graph/graph.h"
#include "optim/optim.h"

enum { BATCH = 3, CHANNELS = 3, SIDE = 9, CLASSES = 5, STEPS = 3 };
static struct blanch_device *device;

/* --- networks --------------------------------------------------------------------------------- */

static struct blanch_tensor *conv_bn_relu(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                          int out) {
    char norm[32];
    snprintf(norm, sizeof norm, "%s_norm", name);
    x = blanch_conv2d(b, name, x, (struct blanch_conv_spec){.out = out, .kernel = 3, .padding = 1, .no_bias = true});
    return blanch_relu(b, blanch_batchnorm2d(b, norm, x));
}

static struct blanch_tensor *plain(struct blanch_builder *b, struct blanch_tensor *x) {
    x = conv_bn_relu(b, "a", x, 8);
    x = blanch_maxpool2d(b, blanch_relu(b, conv_bn_relu(b, "b", x, 8)), 2, 2, 0);
    x = blanch_dropout(b, conv_bn_relu(b, "c", x, 12), 0.3f);
    x = blanch_unary(b, "sigmoid", conv_bn_relu(b, "d", x, 12));
    return conv_bn_relu(b, "e", x, 6);
}

static struct blanch_tensor *residual(struct blanch_builder *b, struct blanch_tensor *x) {
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    x = conv_bn_relu(b, "stem", x, 8);
    for (int i = 0; i < 5; i++) {
        struct blanch_tensor *y = conv_bn_relu(b, names[i], x, 8);
        x = blanch_relu(b, blanch_add(b, x, y));
        if (i == 2) x = blanch_mul(b, x, blanch_unary(b, "sigmoid", blanch_global_avgpool2d(b, x)));
    }
    return x;
}

static struct blanch_tensor *dense(struct blanch_builder *b, struct blanch_tensor *x) {
    static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    x = conv_bn_relu(b, "stem", x, 4);
    for (int i = 0; i < 6; i++) {
        struct blanch_tensor *y = conv_bn_relu(b, names[i], x, 4);
        x = blanch_cat(b, (struct blanch_tensor *[]){y, x}, 2);
        if (i == 3) x = blanch_avgpool2d(b, blanch_slice(b, x, 2, 0), 2, 2, 0);
    }
    return x;
}

/* Layer norms, linear layers over pixels, branches scaled and dropped, as in ConvNeXt. */
static struct blanch_tensor *pixels(struct blanch_builder *b, struct blanch_tensor *x) {
    x = blanch_layernorm(b, "norm", conv_bn_relu(b, "stem", x, 8), 0);
    for (int i = 0; i < 4; i++) {
        blanch_scope(b, "%d.", i);
        struct blanch_tensor *y = blanch_linear(b, "up", blanch_layernorm(b, "norm", x, 1e-6f), 16);
        y = blanch_scale(b, "scale", blanch_linear(b, "down", blanch_unary(b, i % 2 ? "gelu" : "silu", y), 8));
        x = blanch_add(b, x, blanch_stochastic_depth(b, y, 0.2f));
    }
    blanch_scope(b, "%s", "");
    return blanch_unary(b, "hardswish", x);
}

struct row {
    const char *name;
    struct blanch_tensor *(*define)(struct blanch_builder *b, struct blanch_tensor *x);
    enum blanch_norm norm;
    int refresh;
};
static const struct row rows[] = {
    {"plain, bn", plain, BLANCH_BN},
    {"residual, bn", residual, BLANCH_BN},
    {"dense, bn", dense, BLANCH_BN},
    {"pixels, bn", pixels, BLANCH_BN},
    {"plain, none", plain, BLANCH_NONE},
    {"plain, nd", plain, BLANCH_ND},
    {"residual, nd", residual, BLANCH_ND},
    {"dense, nd", dense, BLANCH_ND},
    {"pixels, nd", pixels, BLANCH_ND},
    {"plain, nd, frozen", plain, BLANCH_ND, -1},
    {"residual, nd, refresh 2", residual, BLANCH_ND, 2},
};

static struct bl_graph *make(const struct row *row, int segments) {
    struct bl_graph *graph;
    check(bl_graph_create(&graph, device, BATCH, false));
    bl_graph_use(graph, &bl_optimiser_sgd);
    bl_graph_recompute(graph, segments);
    struct blanch_builder b = {.graph = graph, .norm = row->norm, .classes = CLASSES, .block = 4, .block_fc = 8};
    b.nd.refresh = row->refresh > 0 ? row->refresh : 0;
    b.nd.freeze = row->refresh < 0;
    struct blanch_tensor *x = row->define(&b, bl_graph_input(graph, CHANNELS, SIDE, SIDE));
    x = blanch_linear(&b, "classifier", blanch_flatten(&b, blanch_global_avgpool2d(&b, x)), CLASSES);
    bl_graph_add(graph, "softmax_cross_entropy", NULL, NULL,
                 (struct blanch_tensor *[]){x, bl_graph_input_labels(graph)}, 2);
    check(bl_graph_finish(graph, 3));
    return graph;
}

/* --- steps ------------------------------------------------------------------------------------ */

static void set_batch(struct bl_graph *graph, int step) {
    float images[BATCH * CHANNELS * SIDE * SIDE];
    int32_t labels[BATCH];
    uint32_t word[4];
    for (int i = 0; i < BL_COUNT(images); i++) {
        bl_philox(7, BL_RANDOM_DATA, (uint64_t)i, (uint64_t)step, word);
        images[i] = 2 * bl_uniform(word[0]) - 0.8f;
    }
    for (int i = 0; i < BATCH; i++) labels[i] = (i + step) % CLASSES;
    check(bl_tensor_write(graph, bl_graph_in(graph), BATCH, images));
    check(bl_mem_write(bl_graph_labels(graph)->mem, 0, sizeof labels, labels));
}

static void train(struct bl_graph *graph, int steps) {
    const struct blanch_update update = {.lr = 0.05f, .momentum = 0.9f, .weight_decay = 1e-3f};
    for (int step = 0; step < steps; step++) {
        int n = step % 2 ? BATCH - 1 : BATCH;
        set_batch(graph, step);
        check(bl_graph_forward_to_update(graph, n));
        check(bl_graph_backward(graph, n));
        check(bl_graph_update(graph, &update));
    }
}

static void read_param(struct bl_param *p, int state, float *values) {
    if (p->counter)
        memcpy(values, &p->value, sizeof p->value);
    else
        check(state < 0 ? bl_param_read(p, values) : bl_param_read_state(p, state, values));
}

static void compare(struct bl_graph *a, struct bl_graph *b, const char *name, int segments) {
    for (int i = 0; i < bl_graph_params(a); i++) {
        struct bl_param *p = bl_graph_param(a, i), *q = bl_graph_param(b, i);
        size_t count = p->counter ? 2 : (size_t)p->data.count;
        float *x = bl_calloc(count, sizeof *x), *y = bl_calloc(count, sizeof *y);
        for (int state = -1; state < (p->trainable ? 1 : 0); state++) {
            read_param(p, state, x), read_param(q, state, y);
            if (memcmp(x, y, count * sizeof *x)) fail_msg("%s: %s differs with %d segments", name, p->name, segments);
        }
        free(x), free(y);
    }
}

static void test_same_bits(void **state) {
    if (!device) skip();
    for (int r = 0; r < BL_COUNT(rows); r++) {
        int steps = rows[r].refresh > 1 ? 24 : STEPS; // the first 20 are exact
        struct bl_graph *whole = make(&rows[r], 0);
        train(whole, steps);
        assert_int_equal(bl_graph_plan(whole)->segments, 1);
        for (int segments = 2; segments <= 5; segments++) {
            struct bl_graph *cut = make(&rows[r], segments);
            assert_in_range(bl_graph_plan(cut)->segments, 2, segments);
            train(cut, steps);
            compare(whole, cut, rows[r].name, segments);
            bl_graph_free(cut);
        }
        bl_graph_free(whole);
    }
}

static void test_less_memory(void **state) {
    if (!device) skip();
    for (int r = 0; r < 3; r++) {
        struct bl_graph *whole = make(&rows[r], 0), *cut = make(&rows[r], 4);
        assert_true(bl_graph_plan(cut)->arena < bl_graph_plan(whole)->arena);
        bl_graph_free(whole), bl_graph_free(cut);
    }
}

/* On a device whose memory holds the network only with recomputation, as little of it as does is chosen. */
static void test_auto(void **state) {
    if (!device) skip();
    struct bl_graph *whole = make(&rows[1], 0), *cut = make(&rows[1], 3);
    uint64_t most = bl_graph_plan(whole)->total, least = bl_graph_plan(cut)->total;
    bl_graph_free(whole), bl_graph_free(cut);
    struct blanch_device *all = device, *small = NULL;
    check(blanch_device_open(&small, NULL, least + (most - least) / 8));
    device = small;
    struct bl_graph *graph = make(&rows[1], BL_RECOMPUTE_AUTO);
    assert_in_range(bl_graph_plan(graph)->segments, 2, 3);
    train(graph, 1);
    bl_graph_free(graph);
    blanch_device_close(small);
    device = all;
    graph = make(&rows[1], BL_RECOMPUTE_AUTO);
    assert_int_equal(bl_graph_plan(graph)->segments, 1);
    bl_graph_free(graph);
}

int main(int argc, char **argv) {
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_less_memory),
        cmocka_unit_test(test_auto),
    };
    int failed = open_test_device(&device);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed + close_test_device(device);
}
