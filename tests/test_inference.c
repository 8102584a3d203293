/* A network made for inference, whose convolutions take up the batch norms, sums and activations that follow them,
 * gives what the same network gives without: in whole batches and single images, and after weights have changed. Other
 * engines than the rule's take what they do not apply themselves from a pass after them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>
#include "graph/graph.h"
#include "harness.h"
#include "train/train.h"

enum { BATCH = 3, CLASSES = 7 };

static struct blanch_device *device;

struct row {
    const char *title, *model;
    enum blanch_norm norm;
    int size, merged;   // nodes that others apply
    const char *engine; // NULL: the rule's
};
/* Residual sums of both orders, what is used twice, layers normalised before their activation and after. */
static struct row rows[] = {
    {"residual", "resnet18", BLANCH_BN, 32, 45, NULL},
    {"residual, deconvolved, batch norm on shortcuts", "resnet18d", BLANCH_ND, 32, 28, NULL},
    {"bottlenecks", "resnet50-imagenet", BLANCH_BN, 32, 118, NULL},
    {"normalised before", "preact18", BLANCH_BN, 32, 32, NULL},
    {"dense", "densenet121", BLANCH_BN, 32, 178, NULL},
    {"depthwise", "mobilenetv2-imagenet", BLANCH_BN, 32, 97, NULL},
    {"depthwise, deconvolved", "mobilenetv2-imagenet", BLANCH_ND, 32, 45, NULL},
    {"groups", "resnext29", BLANCH_BN, 32, 68, NULL},
    {"squeezed and excited", "senet18", BLANCH_BN, 32, 34, NULL},
    {"residual, Winograd's engine", "resnet18", BLANCH_BN, 32, 45, "winograd"},
    {"residual, patches", "resnet18", BLANCH_BN, 32, 45, "patches"},
};

static struct blanch_network *make(const struct row *row, bool fuse, bool inference) {
    const struct bl_network_options options = {.model = row->model,
                                               .norm = row->norm,
                                               .batch = BATCH,
                                               .classes = CLASSES,
                                               .height = row->size,
                                               .width = row->size,
                                               .inference = inference,
                                               .seed = 5,
                                               .nd = {.eps = NAN, .momentum = NAN}};
    struct blanch_network *net = NULL;
    setenv("BLANCH_FUSE", fuse ? "1" : "0", 1);
    setenv("BLANCH_CONV", row->engine ? row->engine : "", 1);
    check(bl_network_create(&net, device, &options));
    unsetenv("BLANCH_FUSE"), unsetenv("BLANCH_CONV");
    return net;
}

/* Statistics, scales and shifts of batch norms that are no identity, about as large as training leaves them. */
static void shake(struct blanch_network *net, uint64_t seed) {
    for (int i = 0; i < bl_graph_params(net->graph); i++) {
        struct bl_param *p = bl_graph_param(net->graph, i);
        if (p->counter || strcmp(p->node->op->name, "batchnorm2d") != 0) continue;
        const bool is_scale = strstr(p->name, ".weight") || strstr(p->name, "running_var");
        float *values = calloc((size_t)p->data.count, sizeof *values);
        assert_non_null(values);
        for (int64_t k = 0; k < p->data.count; k++) {
            const double z = normal(seed + (uint64_t)i, (uint64_t)k);
            values[k] = (float)(is_scale ? exp(0.2 * z) : 0.2 * z);
        }
        check(bl_param_write(p, values));
        free(values);
    }
    bl_graph_touch(net->graph);
}

static void infer(struct blanch_network *net, int n, float *logits) {
    static float images[BATCH * 3 * 32 * 32];
    for (int i = 0; i < BL_COUNT(images); i++) images[i] = (float)normal(1, (uint64_t)i);
    check(bl_tensor_write_nhwc(bl_graph_in(net->graph), n, images));
    check(bl_graph_forward(net->graph, n, false));
    check(bl_tensor_read(net->graph, bl_graph_out(net->graph), n, logits));
}

static void compare(struct blanch_network *fused, struct blanch_network *plain, int n) {
    float found[BATCH * CLASSES], wanted[BATCH * CLASSES];
    double largest = 1e-6;
    infer(fused, n, found), infer(plain, n, wanted);
    for (int i = 0; i < n * CLASSES; i++) largest = fmax(largest, fabs((double)wanted[i]));
    for (int i = 0; i < n * CLASSES; i++)
        if (!(fabs((double)found[i] - (double)wanted[i]) <= 2e-5 * largest))
            fail_msg("logit %d of %d images: %.9g and %.9g", i, n, (double)found[i], (double)wanted[i]);
}

static int count_merged(const struct blanch_network *net) {
    int count = 0;
    for (int i = 0; i < bl_graph_nodes(net->graph); i++) count += bl_graph_node(net->graph, i)->fused_into != NULL;
    return count;
}

static void run_case(void **state) {
    const struct row *row = *state;
    if (!device) skip();
    struct blanch_network *fused = make(row, true, true), *plain = make(row, false, true);
    assert_int_equal(count_merged(fused), row->merged);
    assert_int_equal(count_merged(plain), 0);
    assert_true(row->engine || bl_graph_bytes_at(fused->graph, BATCH) <= bl_graph_plan(fused->graph)->total);
    shake(fused, 10), shake(plain, 10);
    compare(fused, plain, BATCH), compare(fused, plain, 1);
    shake(fused, 99), shake(plain, 99);
    compare(fused, plain, BATCH);
    if (row->norm == BLANCH_ND) { // its linear layers are another product
        struct blanch_network *training = make(row, true, false);
        shake(training, 99);
        compare(fused, training, BATCH);
        blanch_network_free(training);
    }
    blanch_network_free(fused), blanch_network_free(plain);
}

/* On a CPU the graph of a large batch holds a part of it; the images do not see with how many others they came. */
static void run_slices(void **state) {
    enum { MANY = 67, PIXELS = 32 * 32 };
    if (!device) skip();
    struct bl_network_options options = {
        .model = "resnet18", .norm = BLANCH_BN, .batch = MANY, .classes = CLASSES, .inference = true};
    struct blanch_network *many = NULL, *single = NULL;
    check(bl_network_create(&many, device, &options));
    options.batch = 1;
    check(bl_network_create(&single, device, &options));
    if (blanch_device_info(device)->kind == BLANCH_CPU) assert_true(bl_graph_in(many->graph)->n < MANY / 2);
    shake(many, 10), shake(single, 10);
    float *images = calloc((size_t)MANY * 3 * PIXELS, sizeof *images), found[MANY * CLASSES], wanted[CLASSES];
    assert_non_null(images);
    for (int i = 0; i < MANY * 3 * PIXELS; i++) images[i] = (float)normal(2, (uint64_t)i);
    for (int count = MANY; count > 0; count -= MANY / 2) {
        check(blanch_network_predict(many, images, count, found));
        for (int n = 0; n < count; n += 11) {
            check(blanch_network_predict(single, images + (size_t)n * 3 * PIXELS, 1, wanted));
            for (int c = 0; c < CLASSES; c++)
                assert_true(fabs((double)found[n * CLASSES + c] - (double)wanted[c]) <=
                            1e-5 * fabs((double)wanted[c]) + 1e-5);
        }
    }
    free(images);
    blanch_network_free(many), blanch_network_free(single);
}

/* What 8 bits keep, with and without a sign, at odd sizes and batch 1: ties to even, both ends, a NaN passes. */
static void run_eight_bits(void **state) {
    const struct bl_fake_quantize_attrs ranges[] = {{0.5f, 3, 0, 255}, {0.125f, -7, -128, 127}};
    for (int r = 0; r < 2; r++) {
        const struct bl_fake_quantize_attrs *a = &ranges[r];
        enum { C = 5, H = 3, W = 7, COUNT = C * H * W };
        struct bl_graph *graph;
        float in[COUNT], out[COUNT];
        check(bl_graph_create(&graph, device, 1, true));
        struct blanch_tensor *x = bl_graph_input(graph, C, H, W);
        assert_non_null(bl_graph_add(graph, "fake_quantize", NULL, a, &x, 1));
        check(bl_graph_finish(graph, 0));
        for (int i = 0; i < COUNT; i++)
            in[i] = i == 4 ? NAN : a->scale * (float)(i % 3 ? 0.5 * i : 60.3 * normal(4, (uint64_t)i));
        check(bl_tensor_write(graph, bl_graph_in(graph), 1, in));
        check(bl_graph_forward(graph, 1, false));
        check(bl_tensor_read(graph, bl_graph_out(graph), 1, out));
        for (int i = 0; i < COUNT; i++) {
            const double q =
                fmin(fmax(nearbyint((double)in[i] / (double)a->scale) + a->zero_point, a->quant_min), a->quant_max);
            if (isnan(in[i]))
                assert_true(isnan(out[i]));
            else
                assert_true((double)out[i] == (q - a->zero_point) * (double)a->scale); // powers of two: exact
        }
        bl_graph_free(graph);
    }
}

int main(int argc, char **argv) {
    setenv("BLANCH_POISON", "1", 1);
    int failed = open_test_device(&device);
    struct CMUnitTest tests[BL_COUNT(rows) + 2] = {
        [BL_COUNT(rows)] = {"slices of a batch", run_slices, NULL, NULL, NULL},
        [BL_COUNT(rows) + 1] = {"what 8 bits keep", run_eight_bits, NULL, NULL, NULL}};
    for (int i = 0; i < BL_COUNT(rows); i++)
        tests[i] = (struct CMUnitTest){rows[i].title, run_case, NULL, NULL, &rows[i]};
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    failed += _cmocka_run_group_tests("inference", tests, BL_COUNT(tests), NULL, NULL);
    return failed + close_test_device(device);
}
