/* Networks that generate: their losses, the noise, what is made on unlike devices, and how far images are apart. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "harness.h"
#include "train/open.h"
#include "train/sample.h"

static struct blanch_device *device;

/* --- losses ------------------------------------------------------------------------------------- */

enum { IMAGES = 3, VALUES = 6 };

static struct bl_graph *loss_graph(void) {
    struct bl_graph *graph;
    check(bl_graph_create(&graph, device, IMAGES, false));
    bl_graph_want_input_grads(graph);
    struct blanch_tensor *x = bl_graph_input(graph, VALUES, 1, 1), *t = bl_graph_input(graph, VALUES, 1, 1);
    struct blanch_builder b = {.graph = graph};
    blanch_binary_cross_entropy(&b, x, t, true, blanch_gaussian_divergence(&b, x));
    check(bl_graph_finish(graph, 1));
    return graph;
}

static double loss_of(struct bl_graph *graph, const float *x, float (*parts)[3]) {
    struct blanch_metrics metrics;
    check(bl_tensor_write(graph, bl_graph_in(graph), IMAGES, x));
    check(bl_graph_forward(graph, IMAGES, true));
    check(bl_graph_metrics(graph, IMAGES, &metrics));
    const struct bl_node *loss = bl_graph_node(graph, bl_graph_nodes(graph) - 1);
    check(bl_mem_read(loss->out[0]->mem, 0, IMAGES * 3 * sizeof(float), parts));
    assert_int_equal(metrics.top1 + metrics.top5, 0);
    return metrics.loss;
}

/* What is beside a value counts to the loss and has its gradient, in double precision. */
static void test_loss_of_two_parts(void **state) {
    if (!device) skip();
    struct bl_graph *graph = loss_graph();
    double *x = random_values(IMAGES * VALUES, 1, 1, 0), *wanted = calloc(IMAGES * VALUES, sizeof *wanted), sum = 0;
    float t[IMAGES * VALUES], parts[IMAGES][3], *given = narrow(x, IMAGES * VALUES), got[IMAGES * VALUES];
    for (int i = 0; i < IMAGES * VALUES; i++) t[i] = (float)i / (IMAGES * VALUES);
    for (int n = 0; n < IMAGES; n++)
        for (int i = 0; i < VALUES; i++) {
            const int at = n * VALUES + i;
            const double p = 1 / (1 + exp(-x[at])), target = (double)t[at];
            sum += -target * log(p) - (1 - target) * log(1 - p);
            wanted[at] = (p - target) / IMAGES;
            if (i < VALUES / 2) {
                const double v = x[at + VALUES / 2];
                sum += (exp(v) + x[at] * x[at] - 1 - v) / 2;
                wanted[at] += x[at] / IMAGES;
            } else
                wanted[at] += (exp(x[at]) - 1) / 2 / IMAGES;
        }
    struct blanch_tensor *other = bl_graph_node(graph, 1)->in[1];
    check(bl_tensor_write(graph, other, IMAGES, t));
    assert_true(fabs(loss_of(graph, given, parts) - sum / IMAGES) < 1e-5 * sum);
    check(bl_graph_backward(graph, IMAGES));
    check(bl_tensor_read(graph, bl_graph_in(graph)->grad, IMAGES, got));
    for (int i = 0; i < IMAGES * VALUES; i++) assert_true(fabs((double)got[i] - wanted[i]) < 1e-5);
    given[0] = NAN;
    assert_true(isnan(loss_of(graph, given, parts)));
    free(x), free(wanted), free(given);
    bl_graph_free(graph);
}

/* --- noise -------------------------------------------------------------------------------------- */

static void test_normal_numbers(void **state) {
    double sum = 0, squares = 0, fourth = 0, product = 0, e[4];
    const int count = 20000;
    for (int i = 0; i < count; i++) {
        bl_normals(3, BL_RANDOM_NOISE, (uint64_t)i, 5, e);
        for (int k = 0; k < 4; k++) sum += e[k], squares += e[k] * e[k], fourth += pow(e[k], 4);
        product += e[0] * e[1] + e[2] * e[3];
    }
    assert_true(fabs(sum / (4 * count)) < 0.015 && fabs(squares / (4 * count) - 1) < 0.02);
    assert_true(fabs(fourth / (4 * count) - 3) < 0.15 && fabs(product / (2 * count)) < 0.02);
}

/* What noise, image and time give is what the operation gives: y = a[t] x + b[t] e, a^2 + b^2 = 1. */
static void test_diffusion_tells_its_noise(void **state) {
    if (!device) skip();
    enum { N = 40, PIXELS = 6 };
    const struct bl_diffuse_attrs attrs = {1000, 1e-4f, 0.02f};
    struct bl_graph *graph;
    check(bl_graph_create(&graph, device, N, false));
    struct blanch_builder b = {.graph = graph};
    struct blanch_tensor *x = bl_graph_input(graph, 1, 2, 3), *noise, *time;
    struct blanch_tensor *y = blanch_diffuse(&b, x, &attrs, &noise, &time);
    check(bl_graph_finish(graph, 7));
    double *values = random_values(N * PIXELS, 2, 1, 0), left[1000], before = 1;
    float *given = narrow(values, N * PIXELS), got[N * PIXELS], e[N * PIXELS], t[2][N];
    for (int i = 0; i < 1000; i++) before = left[i] = before * (1 - (1e-4 + (0.02 - 1e-4) * i / 999));
    check(bl_tensor_write(graph, x, N, given));
    for (int pass = 0; pass < 2; pass++) {
        check(bl_graph_forward(graph, N, true));
        check(bl_tensor_read(graph, y, N, got));
        check(bl_tensor_read(graph, noise, N, e));
        check(bl_tensor_read(graph, time, N, t[pass]));
        for (int i = 0; i < N * PIXELS; i++) {
            const double a = left[(int)t[pass][i / PIXELS]];
            assert_true(fabs((double)got[i] - sqrt(a) * values[i] - sqrt(1 - a) * (double)e[i]) < 1e-5);
        }
    }
    double mean = 0;
    for (int n = 0; n < N; n++) mean += (double)t[0][n] / N;
    assert_true(mean > 300 && mean < 700);            // of 0 to 999, 40 times
    assert_memory_not_equal(t[0], t[1], sizeof t[0]); // each step has its own
    free(values), free(given);
    bl_graph_free(graph);
}

/* --- images ------------------------------------------------------------------------------------- */

static struct blanch_network *generator(struct blanch_device *dev, const char *name, enum blanch_norm norm) {
    struct blanch_network *net;
    const struct bl_network_options options = {.definition = bl_model_find(name),
                                               .norm = norm,
                                               .nd = {.eps = NAN, .momentum = NAN},
                                               .channels = 1,
                                               .height = 28,
                                               .width = 28,
                                               .batch = 2,
                                               .inference = true,
                                               .seed = 5};
    check(bl_network_create(&net, dev, &options));
    return net;
}

enum { MADE = 3, PICTURE = 28 * 28 };

static void make(struct blanch_device *dev, const char *name, enum blanch_norm norm, int stop, float *images) {
    struct blanch_network *net = generator(dev, name, norm);
    check(bl_sample(net, &(struct bl_sample_options){.seed = 9, .count = MADE, .stop = stop}, images));
    blanch_network_free(net);
}

static struct blanch_device *open_as(const char *kind) {
    const char *was = getenv("BLANCH_KIND");
    char *kept = was ? bl_strdup(was) : NULL;
    struct blanch_device *dev;
    setenv("BLANCH_KIND", kind, 1);
    check(blanch_device_open(&dev, NULL, 0));
    kept ? setenv("BLANCH_KIND", kept, 1) : unsetenv("BLANCH_KIND");
    free(kept);
    return dev;
}

/* The largest difference, of images made by both kinds of kernels; on one device they are the same bits. */
static double apart(const char *name, enum blanch_norm norm, int stop) {
    float *one = calloc(MADE * PICTURE, sizeof *one), *other = calloc(MADE * PICTURE, sizeof *other);
    double largest = 0, spread = 0;
    for (int i = 0; i < 2; i++) {
        struct blanch_device *dev = open_as(i ? "gpu" : "cpu");
        make(dev, name, norm, stop, other);
        if (!i) make(dev, name, norm, stop, one), assert_memory_equal(one, other, MADE * PICTURE * sizeof *one);
        blanch_device_close(dev);
    }
    for (int i = 0; i < MADE * PICTURE; i++) {
        largest = fmax(largest, fabs((double)one[i] - (double)other[i]));
        spread = fmax(spread, fabs((double)one[i] - (double)one[i % PICTURE]));
    }
    assert_true(spread > 1e-3); // images are not all the same
    free(one), free(other);
    return largest;
}

static void test_autoencoder_on_unlike_devices(void **state) {
    if (!device) skip();
    assert_true(apart("vae", BLANCH_BN, 0) < 8.0 / 255);
    assert_true(apart("vae", BLANCH_ND, 0) < 8.0 / 255);
}

static void test_diffusion_on_unlike_devices(void **state) {
    if (!device) skip();
    assert_true(apart("ddpm-unet", BLANCH_BN, 50) < 1e-3);
}

/* By seed, number and class alone, however many are made at once; the noise of a seed is no other's. */
static void test_images_by_number(void **state) {
    if (!device) skip();
    float *all = calloc(MADE * PICTURE, sizeof *all), *one = calloc(PICTURE, sizeof *one);
    struct blanch_network *net = generator(device, "ddpm-unet", BLANCH_BN);
    struct bl_sample_options o = {.seed = 1, .count = MADE, .stop = 2};
    check(bl_sample(net, &o, all));
    o.count = 1, o.first = 2;
    check(bl_sample(net, &o, one));
    for (int i = 0; i < PICTURE; i++) assert_true(fabsf(one[i] - all[2 * PICTURE + i]) < 1e-4f);
    int32_t label = 2; // whose turn it was
    o.labels = &label;
    check(bl_sample(net, &o, one));
    for (int i = 0; i < PICTURE; i++) assert_true(fabsf(one[i] - all[2 * PICTURE + i]) < 1e-4f);
    label = 4;
    check(bl_sample(net, &o, one));
    double classes = 0, seeds = 0;
    for (int i = 0; i < PICTURE; i++) classes += fabs((double)(one[i] - all[2 * PICTURE + i]));
    label = 2, o.seed = 2;
    check(bl_sample(net, &o, one));
    for (int i = 0; i < PICTURE; i++) seeds += fabs((double)(one[i] - all[2 * PICTURE + i])) / PICTURE;
    assert_true(classes > 0 && seeds > 0.5);
    label = 10;
    assert_int_equal(bl_sample(net, &o, one), BLANCH_EUSAGE);
    o.labels = NULL, o.stop = 1001;
    assert_int_equal(bl_sample(net, &o, one), BLANCH_EUSAGE);
    float logits[10];
    assert_int_equal(bl_network_infer(net, one, 1, logits), BLANCH_EUSAGE);
    assert_non_null(strstr(blanch_error_message(), "sample"));
    blanch_network_free(net);
    net = generator(device, "smallcnn", BLANCH_BN);
    assert_int_equal(bl_sample(net, &o, one), BLANCH_EUSAGE);
    blanch_network_free(net);
    free(all), free(one);
}

/* --- distances ---------------------------------------------------------------------------------- */

enum { SIZE = 4, MANY = 4000 };

/* Of numbers with these means, and deviations along axes that are turned by an angle in the first plane. */
static struct bl_features features(uint64_t seed, const double *mean, const double *deviation, double angle) {
    struct bl_features f = {.size = SIZE, .count = MANY, .sum = calloc(SIZE, sizeof(double))};
    f.product = calloc(SIZE * SIZE, sizeof(double));
    for (int n = 0; n < MANY; n++) {
        double e[4], v[SIZE];
        bl_normals(seed, BL_RANDOM_DATA, (uint64_t)n, 0, e);
        for (int i = 0; i < SIZE; i++) v[i] = e[i] * deviation[i];
        const double x = v[0], y = v[1];
        v[0] = cos(angle) * x - sin(angle) * y, v[1] = sin(angle) * x + cos(angle) * y;
        for (int i = 0; i < SIZE; i++) f.sum[i] += v[i] += mean[i];
        for (int i = 0; i < SIZE * SIZE; i++) f.product[i] += v[i / SIZE] * v[i % SIZE];
    }
    return f;
}

/* Where covariances commute, the distance is that of means and of deviations: |m - n|^2 + sum (s - t)^2. */
static void test_distance_of_gaussians(void **state) {
    const double mean[SIZE] = {1, -2, 0, 3}, apart[SIZE] = {0, -2, 1, 3}, one[SIZE] = {2, 1, 0.5, 1},
                 two[SIZE] = {1, 1, 2, 0.1};
    struct bl_features a = features(1, mean, one, 0.4), b = features(2, apart, two, 0.4), c = features(3, mean, one, 2);
    double distance, back, turned;
    check(bl_features_distance(&a, &b, &distance));
    check(bl_features_distance(&b, &a, &back));
    assert_true(fabs(distance - (2 + 1 + 2.25 + 0.81)) < 0.25 && fabs(distance - back) < 1e-9);
    check(bl_features_distance(&a, &a, &distance));
    assert_true(fabs(distance) < 1e-6);
    /* In the first plane det and trace of the product of covariances give the trace of its root. */
    check(bl_features_distance(&a, &c, &turned));
    const double s = sin(1.6), cc = cos(1.6), trace = cc * cc * (16 + 1) + s * s * 8, root = sqrt(trace + 2 * 4);
    assert_true(fabs(turned - (10 - 2 * root)) < 0.25 && turned > 0.5);
    bl_features_close(&a), bl_features_close(&b), bl_features_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loss_of_two_parts),           cmocka_unit_test(test_normal_numbers),
        cmocka_unit_test(test_diffusion_tells_its_noise),   cmocka_unit_test(test_autoencoder_on_unlike_devices),
        cmocka_unit_test(test_diffusion_on_unlike_devices), cmocka_unit_test(test_images_by_number),
        cmocka_unit_test(test_distance_of_gaussians),
    };
    int failed = open_test_device(&device);
    failed += cmocka_run_group_tests_name("generation", tests, NULL, NULL);
    return failed + close_test_device(device);
}
