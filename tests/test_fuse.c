/* A graph whose activations are applied by the operations before them and whose tensors share memory gives what the
 * plain one gives: outputs, parameter gradients, running buffers, in training and evaluation, on whole and partial
 * batches. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>
#include "graph/graph.h"
#include "harness.h"
#include "optim/optim.h"

enum { BATCH = 5, CHANNELS = 3, SIDE = 7, CLASSES = 4 };

static struct blanch_device *device;

/* --- networks --------------------------------------------------------------------------------- */

static struct blanch_tensor *conv3(struct blanch_builder *b, const char *name, struct blanch_tensor *x, int out) {
    return blanch_conv2d(b, name, x, (struct blanch_conv_spec){.out = out, .kernel = 3, .padding = 1, .no_bias = true});
}

static struct blanch_tensor *residual(struct blanch_builder *b, struct blanch_tensor *x) {
    x = blanch_relu(b, blanch_batchnorm2d(b, "bn0", conv3(b, "conv0", x, 9)));
    struct blanch_tensor *y = blanch_unary(b, "relu6", blanch_batchnorm2d(b, "bn1", conv3(b, "conv1", x, 9)));
    return blanch_relu(b, blanch_add(b, blanch_batchnorm2d(b, "bn2", conv3(b, "conv2", y, 9)), x));
}

/* Blocks whose sum is not rectified, one of them with a convolution on its shortcut: gradients pass through unchanged.
 */
static struct blanch_tensor *linear_residual(struct blanch_builder *b, struct blanch_tensor *x) {
    x = blanch_batchnorm2d(b, "bn0", conv3(b, "conv0", x, 16));
    x = blanch_add(b, blanch_batchnorm2d(b, "bn1", conv3(b, "conv1", x, 16)), x);
    x = blanch_add(b, blanch_batchnorm2d(b, "bn2", conv3(b, "conv2", x, 16)),
                   blanch_batchnorm2d(b, "bn3", conv3(b, "conv3", x, 16)));
    return blanch_dropout(b, x, 0.3f);
}

/* A batch norm that is used beside its ReLU too, a ReLU of a sum that is, and a sum of a tensor with itself. */
static struct blanch_tensor *shared(struct blanch_builder *b, struct blanch_tensor *x) {
    struct blanch_tensor *norm = blanch_batchnorm2d(b, "bn0", conv3(b, "conv0", x, 8)), *on = blanch_relu(b, norm);
    struct blanch_tensor *sum = blanch_add(b, on, norm), *y = blanch_relu(b, sum);
    y = blanch_add(b, conv3(b, "conv1", y, 8), sum);
    return blanch_add(b, y, y);
}

/* Concatenations of what is used again, as in dense networks, a pool after a ReLU, a ReLU twice. */
static struct blanch_tensor *dense(struct blanch_builder *b, struct blanch_tensor *x) {
    x = blanch_relu(b, blanch_relu(b, blanch_batchnorm2d(b, "bn0", conv3(b, "conv0", x, 6))));
    x = blanch_maxpool2d(b, x, 3, 2, 1);
    struct blanch_tensor *y = conv3(b, "conv1", blanch_relu(b, blanch_batchnorm2d(b, "bn1", x)), 5);
    x = blanch_cat(b, (struct blanch_tensor *[]){y, x}, 2);
    y = conv3(b, "conv2", blanch_relu(b, blanch_batchnorm2d(b, "bn2", x)), 5);
    return blanch_unary(b, "sigmoid", blanch_cat(b, (struct blanch_tensor *[]){y, x}, 2));
}

/* Operations whose gradients lie where those of their outputs do, some of which need their inputs. */
static struct blanch_tensor *pixels(struct blanch_builder *b, struct blanch_tensor *x) {
    x = blanch_layernorm(b, "norm0", blanch_unary(b, "hardsigmoid", blanch_linear(b, "up", x, 8)), 1e-6f);
    x = blanch_unary(b, "gelu", blanch_scale(b, "scale", blanch_unary(b, "tanh", x)));
    struct blanch_tensor *y = blanch_linear(b, "down", blanch_unary(b, "silu", blanch_elu(b, x, 0.5f)), 8);
    y = blanch_add(b, x, blanch_stochastic_depth(b, blanch_scale(b, "last", y), 0.2f));
    return blanch_leaky_relu(b, blanch_layernorm(b, "norm1", blanch_unary(b, "hardswish", y), 0), 0.1f);
}

/* Layers wide enough for the tiled engine: some rectified by themselves, sums used by one and by two layers, and by the
 * pool. */
static struct blanch_tensor *rectified(struct blanch_builder *b, struct blanch_tensor *x) {
    x = blanch_relu(b, conv3(b, "conv0", x, 18));
    struct blanch_tensor *y = conv3(b, "conv2", blanch_relu(b, conv3(b, "conv1", x, 17)), 18);
    x = blanch_relu(b, blanch_add(b, y, x));
    const struct blanch_conv_spec half = {.out = 20, .kernel = 3, .stride = 2, .padding = 1},
                                  shortcut = {.out = 20, .kernel = 1, .stride = 2};
    y = conv3(b, "conv4", blanch_relu(b, blanch_conv2d(b, "conv3", x, half)), 20);
    return blanch_relu(b, blanch_add(b, y, blanch_conv2d(b, "shortcut", x, shortcut)));
}

/* Of maps with an even side, for moments by Winograd's tiles. */
static struct blanch_tensor *even(struct blanch_builder *b, struct blanch_tensor *x) {
    return residual(b, blanch_conv2d(b, "even", x, (struct blanch_conv_spec){.out = 9, .kernel = 2}));
}

struct row {
    const char *name;
    struct blanch_tensor *(*define)(struct blanch_builder *b, struct blanch_tensor *x);
    enum blanch_norm norm;
    int merged;    // activations that operations before or after them apply
    int elsewhere; // as many more elsewhere than on CPUs
    int refresh;
    const char *engine; // NULL: the rule's
};
static struct row rows[] = {
    {"residual block", residual, BLANCH_BN, 3},
    {"residual block, deconvolved", residual, BLANCH_ND, 1},
    {"residual block, no norm", residual, BLANCH_NONE, 1},
    {"linear residual blocks", linear_residual, BLANCH_BN, 0},
    {"linear residual blocks, no norm", linear_residual, BLANCH_NONE, 0},
    {"outputs used twice", shared, BLANCH_BN, 0},
    {"outputs used twice, no norm", shared, BLANCH_NONE, 0},
    {"layers of pixels", pixels, BLANCH_BN, 0},
    {"layers of pixels, deconvolved", pixels, BLANCH_ND, 0},
    {"dense block", dense, BLANCH_BN, 4},
    {"dense block, deconvolved", dense, BLANCH_ND, 1},
    {"rectified layers", rectified, BLANCH_NONE, 2, 3},
    {"rectified layers, deconvolved", rectified, BLANCH_ND, 2, 3},
    {"rectified layers, whitened now and then", rectified, BLANCH_ND, 2, 3, .refresh = 2},
    {"residual block, even, by Winograd's tiles", even, BLANCH_BN, 3, .engine = "winograd"},
    {"rectified layers, by Winograd's tiles", rectified, BLANCH_NONE, 2, 3, .engine = "winograd"},
    {"rectified layers, deconvolved, by Winograd's tiles", rectified, BLANCH_ND, 2, 3, .engine = "winograd"},
    {"rectified layers, by Winograd's larger tiles", rectified, BLANCH_NONE, 2, 3, .engine = "winograd4"},
};

/* --- running ---------------------------------------------------------------------------------- */

static struct bl_graph *build(const struct row *row, bool fuse) {
    struct bl_graph *graph = NULL;
    setenv("BLANCH_FUSE", fuse ? "1" : "0", 1), setenv("BLANCH_CONV", row->engine ? row->engine : "", 1);
    check(bl_graph_create(&graph, device, BATCH, false));
    bl_graph_use(graph, &bl_optimiser_sgd);
    struct blanch_builder b = {.graph = graph, .norm = row->norm, .classes = CLASSES, .block = 64, .block_fc = 512};
    b.nd.refresh = row->refresh;
    struct blanch_tensor *x = row->define(&b, bl_graph_input(graph, CHANNELS, SIDE, SIDE));
    x = blanch_linear(&b, "classifier", blanch_flatten(&b, blanch_global_avgpool2d(&b, x)), CLASSES);
    struct blanch_tensor *inputs[] = {x, bl_graph_input_labels(graph)};
    bl_graph_add(graph, "softmax_cross_entropy", NULL, NULL, inputs, 2);
    check(bl_graph_finish(graph, 3));
    unsetenv("BLANCH_FUSE"), unsetenv("BLANCH_CONV");
    return graph;
}

static int count_merged(struct bl_graph *graph) {
    int count = 0;
    for (int i = 0; i < bl_graph_nodes(graph); i++) count += bl_graph_node(graph, i)->fused_into != NULL;
    return count;
}

static void load(struct bl_graph *graph, int n) {
    static float image[BATCH * CHANNELS * SIDE * SIDE];
    int32_t labels[BATCH];
    uint32_t word[4];
    for (int i = 0; i < BL_COUNT(image); i++) {
        bl_philox(1, BL_RANDOM_WEIGHTS, (uint64_t)i, 9, word);
        image[i] = (float)(4 * bl_uniform(word[0]) - 2);
    }
    for (int i = 0; i < BATCH; i++) labels[i] = i % CLASSES;
    check(bl_tensor_write(graph, bl_graph_in(graph), n, image));
    check(bl_mem_write(bl_graph_labels(graph)->mem, 0, sizeof *labels * (size_t)n, labels));
}

static float *read(struct bl_mem *mem, int64_t count) {
    float *values = calloc((size_t)count, sizeof *values);
    assert_non_null(values);
    check(bl_mem_read(mem, 0, 4 * (size_t)count, values));
    return values;
}

static void compare(const char *what, struct bl_mem *a, struct bl_mem *b, int64_t count, double tolerance) {
    float *x = read(a, count), *y = read(b, count);
    double largest = 1e-6;
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs((double)y[i]));
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)x[i] - (double)y[i]) <= tolerance * largest))
            fail_msg("%s[%d]: %.9g and %.9g", what, (int)i, (double)x[i], (double)y[i]);
    free(x), free(y);
}

static void compare_all(struct bl_graph *a, struct bl_graph *b, int n, bool gradients, double tolerance) {
    compare("logits", bl_graph_out(a)->mem, bl_graph_out(b)->mem, (int64_t)n * CLASSES, tolerance);
    for (int i = 0; i < bl_graph_params(a); i++) {
        struct bl_param *p = bl_graph_param(a, i), *q = bl_graph_param(b, i);
        if (!p->counter)
            compare(p->name, p->data.mem, q->data.mem, p->data.count, tolerance);
        else
            assert_int_equal(p->value, q->value);
        if (p->trainable && gradients) compare(p->name, p->grad.mem, q->grad.mem, p->data.count, tolerance);
    }
}

static void step(struct bl_graph *graph, int n) {
    load(graph, n);
    check(bl_graph_forward(graph, n, true));
    check(bl_graph_backward(graph, n));
}

static void run_case(void **state) {
    const struct row *row = *state;
    if (!device) skip();
    struct bl_graph *fused = build(row, true), *again = build(row, true), *plain = build(row, false);
    const bool cpu = blanch_device_info(device)->kind == BLANCH_CPU;
    assert_int_equal(count_merged(fused), row->merged + (cpu ? 0 : row->elsewhere));
    assert_int_equal(count_merged(plain), 0);
    assert_true(bl_graph_plan(fused)->arena <= bl_graph_plan(plain)->arena);
    assert_true(bl_graph_bytes_at(fused, BATCH) <= bl_graph_plan(plain)->total);
    const double tolerance = row->norm == BLANCH_ND ? 1e-3 : 2e-5;
    const struct blanch_update sgd = {.lr = 0.05f, .momentum = 0.9f, .weight_decay = 1e-3f};
    for (int n = BATCH; n >= 1; n -= 2) {
        step(fused, n), step(again, n), step(plain, n);
        compare_all(fused, plain, n, true, tolerance);
        compare_all(fused, again, n, true, 0);
        check(bl_graph_update(fused, &sgd)), check(bl_graph_update(again, &sgd)), check(bl_graph_update(plain, &sgd));
    }
    load(fused, 2), load(plain, 2);
    check(bl_graph_forward(fused, 2, false)), check(bl_graph_forward(plain, 2, false));
    compare_all(fused, plain, 2, false, 5 * tolerance);
    bl_graph_free(fused), bl_graph_free(again), bl_graph_free(plain);
}

int main(int argc, char **argv) {
    setenv("BLANCH_POISON", "1", 1);
    int failed = open_test_device(&device);
    struct CMUnitTest tests[BL_COUNT(rows)];
    for (int i = 0; i < BL_COUNT(rows); i++)
        tests[i] = (struct CMUnitTest){rows[i].name, run_case, NULL, NULL, &rows[i]};
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    failed += _cmocka_run_group_tests("fusion", tests, BL_COUNT(tests), NULL, NULL);
    return failed + close_test_device(device);
}
