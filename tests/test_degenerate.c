/* Inputs without variance: a constant batch, a dead channel, a single sample. Results are defined: every output,
 * gradient and buffer is finite, in training and in evaluation after it. And logits that are not finite. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "graph/graph.h"
#include "harness.h"

#define ND(b, it, st)                                                                                                  \
    { .block = b, .n_iter = it, .freeze_iter = 100, .cov_sampling_stride = {st, st}, .eps = 1e-5f, .momentum = 0.1f }
#define CONV(ci, co, k, p, g)                                                                                          \
    { ci, co, {k, k}, {1, 1}, {p, p}, {1, 1}, g, 1 }

static const struct bl_nd_conv_attrs conv3 = {CONV(6, 5, 3, 1, 1), ND(6, 5, 3)},
                                     conv1 = {CONV(6, 5, 1, 0, 1), ND(3, 15, 3)},
                                     grouped = {CONV(6, 6, 3, 1, 6), ND(1, 15, 1)};
static const struct bl_nd_linear_attrs linear = {{6, 5, 1}, ND(6, 15, 1)};
static const struct bl_batchnorm_attrs norm = {6, 1e-5f, 0.1f};

enum content { CONSTANT, ZERO, DEAD_CHANNEL, LARGE_MEAN };
static struct row {
    const char *name, *op;
    const void *attrs;
    int n, h;
    enum content content;
} rows[] = {
    {"nd conv, constant batch", "nd_conv2d", &conv3, 3, 5, CONSTANT},
    {"nd conv, zeros", "nd_conv2d", &conv3, 2, 4, ZERO},
    {"nd conv, dead channel", "nd_conv2d", &conv3, 3, 7, DEAD_CHANNEL},
    {"nd conv, one sample", "nd_conv2d", &conv3, 1, 1, DEAD_CHANNEL},
    {"nd conv 1x1, constant batch, many iterations", "nd_conv2d", &conv1, 3, 5, CONSTANT},
    {"nd conv 1x1, one sample", "nd_conv2d", &conv1, 1, 1, DEAD_CHANNEL},
    {"nd conv 1x1, mean far from zero", "nd_conv2d", &conv1, 4, 6, LARGE_MEAN},
    {"nd conv depthwise, dead channel", "nd_conv2d", &grouped, 2, 5, DEAD_CHANNEL},
    {"nd conv depthwise, zeros", "nd_conv2d", &grouped, 2, 5, ZERO},
    {"nd linear, one sample", "nd_linear", &linear, 1, 1, DEAD_CHANNEL},
    {"nd linear, constant batch", "nd_linear", &linear, 7, 1, CONSTANT},
    {"batch norm, constant batch", "batchnorm2d", &norm, 3, 5, CONSTANT},
    {"batch norm, dead channel", "batchnorm2d", &norm, 3, 5, DEAD_CHANNEL},
    {"batch norm, mean far from zero", "batchnorm2d", &norm, 4, 6, LARGE_MEAN},
};

static struct blanch_device *device;

static float value(enum content content, int64_t channel, int64_t i) {
    float wave = sinf(0.7f * (float)i + (float)channel);
    switch (content) {
    case CONSTANT:
        return 3;
    case ZERO:
        return 0;
    case DEAD_CHANNEL:
        return channel == 2 ? 0 : wave;
    default:
        return 100 + 0.1f * wave;
    }
}

static void check_finite(const char *what, struct bl_mem *mem, int64_t count) {
    float *values = malloc(sizeof *values * (size_t)count);
    assert_non_null(values);
    check(bl_mem_read(mem, 0, 4 * (size_t)count, values));
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(values[i])) fail_msg("%s[%lld] is %g", what, (long long)i, (double)values[i]);
    free(values);
}

static void check_all(struct bl_node *node) {
    check_finite("y", node->out[0]->mem, node->out[0]->count);
    check_finite("grad_x", node->in[0]->grad->mem, node->in[0]->count);
    for (int i = 0; i < node->params; i++)
        check_finite(node->param[i]->name, node->param[i]->grad.mem, node->param[i]->data.count);
    for (int i = 0; i < node->buffers; i++)
        if (!node->buffer[i]->counter)
            check_finite(node->buffer[i]->name, node->buffer[i]->data.mem, node->buffer[i]->data.count);
}

static void run_case(void **state) {
    if (!device) skip();
    const struct row *row = *state;
    struct bl_graph *graph;
    check(bl_graph_create(&graph, device, row->n, false));
    bl_graph_want_input_grads(graph);
    struct blanch_tensor *x = bl_graph_input(graph, 6, row->h, row->h),
                         *y = bl_graph_add(graph, row->op, "layer", row->attrs, &x, 1);
    check(bl_graph_finish(graph, 1));
    int64_t plane = row->h * row->h;
    float *values = malloc(sizeof *values * (size_t)x->count), *ones = malloc(sizeof *ones * (size_t)y->count);
    assert_true(values && ones);
    for (int64_t i = 0; i < x->count; i++) values[i] = value(row->content, i / plane % 6, i);
    for (int64_t i = 0; i < y->count; i++) ones[i] = 1 + 0.1f * (float)(i % 7);
    check(bl_tensor_write(graph, x, row->n, values));
    for (int pass = 0; pass < 3; pass++) { // training twice, then evaluation
        check(bl_graph_forward(graph, row->n, pass < 2));
        check(bl_tensor_write(graph, y->grad, row->n, ones));
        check(bl_graph_backward_from(graph, row->n, pass < 2));
        check_all(bl_graph_node(graph, 0));
    }
    free(values), free(ones);
    bl_graph_free(graph);
}

/* A logit that is not finite, whichever it is, makes the loss no number and its image wrong, among few classes too,
 * where every rank is below five; the other images count as they do. */
static void wrong_logits(void **state) {
    if (!device) skip();
    enum { N = 6, CLASSES = 3 };
    static const int32_t labels[N] = {0, 0, 1, 2, 1, 1};
    const float logits[N][CLASSES] = {{1, 0, 0},         {NAN, 1, 0},     {0, INFINITY, 0},
                                      {0, -INFINITY, 1}, {NAN, NAN, NAN}, {2, 2, 2}};
    struct bl_graph *graph;
    struct blanch_metrics metrics;
    check(bl_graph_create(&graph, device, N, false));
    struct blanch_tensor *x = bl_graph_input(graph, CLASSES, 1, 1);
    bl_graph_add(graph, "softmax_cross_entropy", NULL, NULL,
                 (struct blanch_tensor *[]){x, bl_graph_input_labels(graph)}, 2);
    check(bl_graph_finish(graph, 1));
    check(bl_tensor_write(graph, x, N, logits[0]));
    check(bl_mem_write(bl_graph_labels(graph)->mem, 0, sizeof labels, labels));
    check(bl_graph_forward(graph, N, true));
    check(bl_graph_metrics(graph, N, &metrics));
    assert_true(isnan(metrics.loss));
    assert_int_equal(metrics.top1, 1); // the last one's label is second among equals
    assert_int_equal(metrics.top5, 2);
    bl_graph_free(graph);
}

int main(void) {
    int failed = open_test_device(&device);
    struct CMUnitTest tests[BL_COUNT(rows) + 1];
    tests[BL_COUNT(rows)] = (struct CMUnitTest)cmocka_unit_test(wrong_logits);
    for (int i = 0; i < BL_COUNT(rows); i++)
        tests[i] = (struct CMUnitTest){rows[i].name, run_case, NULL, NULL, &rows[i]};
    failed += _cmocka_run_group_tests("degenerate inputs", tests, BL_COUNT(tests), NULL, NULL);
    return failed + close_test_device(device);
}
