/* Every engine of the convolution, in every pass that it suits, against plain sums in double precision, with
 * activations stored in 32 bits and, where it takes them so, in 16. The engine under test is forced by name, and
 * node->engine must name it. An engine is a test, a shape a row of the table.
 *   test_conv [ENGINE [MOST]]    MOST: leaves out shapes of more multiply-adds, for a simulated device */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "blas/fft.h"
#include "graph/graph.h"
#include "harness.h"
#include "ops/conv/layer.h"

#define CONV(ci, co, kh, kw, s, p, q, d, g)                                                                            \
    { ci, co, {kh, kw}, {s, s}, {p, q}, {d, d}, g, 1 }
static const struct row {
    const char *name;
    struct bl_conv_attrs attrs;
    int n, h, w;
} rows[] = {
    {"3x3", CONV(16, 24, 3, 3, 1, 1, 1, 1, 1), 2, 8, 8},
    {"3x3 of a rectangle, prime channels", CONV(17, 37, 3, 3, 1, 1, 1, 1, 1), 3, 5, 11},
    {"3x3, many channels on few pixels", CONV(67, 70, 3, 3, 1, 1, 1, 1, 1), 2, 2, 3},
    {"3x3, no padding", CONV(16, 16, 3, 3, 1, 0, 0, 1, 1), 2, 7, 5},
    {"3x3, wide padding", CONV(16, 17, 3, 3, 1, 3, 2, 1, 1), 1, 4, 5},
    {"3x3 stride 2", CONV(16, 32, 3, 3, 2, 1, 1, 1, 1), 2, 9, 8},
    {"3x3 stride 3 dilation 2", CONV(19, 16, 3, 3, 3, 2, 2, 2, 1), 2, 11, 13},
    {"3x3 dilation 2", CONV(16, 16, 3, 3, 1, 2, 2, 2, 1), 2, 7, 9},
    {"3x3 dilation 2 by 3, prime channels", {17, 37, {3, 3}, {1, 1}, {2, 1}, {2, 3}, 1, 1}, 2, 13, 19},
    {"3x3 dilation 1 by 2, no padding", {40, 36, {3, 3}, {1, 1}, {0, 0}, {1, 2}, 1, 1}, 1, 9, 12},
    {"3x3, apart by more than the image", CONV(16, 18, 3, 3, 1, 9, 9, 9, 1), 2, 4, 7},
    {"3x3 stride 2 by 1", {16, 18, {3, 3}, {2, 1}, {1, 1}, {1, 1}, 1, 1}, 2, 7, 6},
    {"1x1", CONV(33, 65, 1, 1, 1, 0, 0, 1, 1), 2, 6, 7},
    {"1x1 stride 2", CONV(23, 31, 1, 1, 2, 0, 0, 1, 1), 3, 5, 6},
    {"1x1, padded", CONV(16, 16, 1, 1, 1, 1, 1, 1, 1), 1, 3, 4},
    {"5x5", CONV(16, 20, 5, 5, 1, 2, 2, 1, 1), 2, 9, 7},
    {"7x7 stride 2, first layer", CONV(3, 18, 7, 7, 2, 3, 3, 1, 1), 2, 13, 11},
    {"3x3, first layer", CONV(3, 32, 3, 3, 1, 1, 1, 1, 1), 2, 10, 6},
    {"1x7", CONV(16, 16, 1, 7, 1, 0, 3, 1, 1), 2, 4, 9},
    {"2x4, even kernel", CONV(17, 16, 2, 4, 1, 1, 2, 1, 1), 2, 5, 6},
    {"7x7 of a 3x2 image", CONV(16, 18, 7, 7, 1, 3, 3, 1, 1), 2, 3, 2},
    {"7x7", CONV(9, 11, 7, 7, 1, 3, 3, 1, 1), 3, 10, 13},
    {"7x7 of more patches than fit", CONV(128, 2, 7, 7, 1, 3, 3, 1, 1), 2, 40, 37},
    {"1x7, no padding", CONV(8, 5, 1, 7, 1, 0, 0, 1, 1), 1, 3, 12},
    {"5x6, wide padding", CONV(5, 7, 5, 6, 1, 7, 6, 1, 1), 2, 4, 3},
    {"one pixel", CONV(31, 20, 3, 3, 1, 1, 1, 1, 1), 5, 1, 1},
    {"one channel each way", CONV(1, 1, 3, 3, 1, 1, 1, 1, 1), 3, 6, 5},
    {"one value each way", CONV(1, 1, 1, 1, 1, 0, 0, 1, 1), 1, 1, 1},
    {"batch 1", CONV(32, 32, 3, 3, 1, 1, 1, 1, 1), 1, 12, 10},
    {"1x1, many pixels and outputs", CONV(36, 68, 1, 1, 1, 0, 0, 1, 1), 5, 15, 16},
    {"2x1, many pixels, few outputs", CONV(17, 20, 2, 1, 1, 1, 0, 1, 1), 9, 16, 17},
    {"features", CONV(70, 11, 1, 1, 1, 0, 0, 1, 1), 7, 1, 1},
    {"groups 2", CONV(34, 36, 3, 3, 1, 1, 1, 1, 2), 2, 6, 5},
    {"groups of 16 and 24", CONV(32, 48, 3, 3, 1, 1, 1, 1, 2), 2, 5, 7},
    {"3x3 stride 2, eights of channels", CONV(72, 136, 3, 3, 2, 1, 1, 1, 1), 3, 9, 8},
    {"groups of 4", CONV(32, 32, 3, 3, 1, 1, 1, 1, 8), 2, 7, 9},
    {"groups of 8 and 12, 5x4 stride 2 dilation 2", CONV(24, 36, 5, 4, 2, 4, 1, 2, 3), 2, 11, 8},
    {"groups of 3 to 5, vectors not full", CONV(21, 35, 3, 3, 1, 1, 1, 1, 7), 2, 5, 6},
    {"groups of 9 to 16, 5x5 stride 2 dilation 2", CONV(18, 32, 5, 5, 2, 4, 3, 2, 2), 2, 11, 8},
    {"groups 3 stride 2", CONV(6, 9, 3, 3, 2, 1, 1, 1, 3), 2, 7, 6},
    {"depthwise", CONV(19, 19, 3, 3, 1, 1, 1, 1, 19), 2, 6, 5},
    {"depthwise twice stride 2", CONV(5, 10, 5, 5, 2, 2, 2, 1, 5), 2, 7, 7},
    {"depthwise, a wide image", CONV(48, 48, 3, 3, 1, 1, 1, 1, 48), 2, 5, 19},
    {"depthwise stride 2, a wide image", CONV(32, 32, 3, 3, 2, 1, 1, 1, 32), 3, 8, 21},
    {"depthwise 5x5 stride 2, batch 1", CONV(24, 24, 5, 5, 2, 2, 2, 1, 24), 1, 11, 22},
    {"depthwise 7x7", CONV(16, 16, 7, 7, 1, 3, 3, 1, 16), 2, 9, 17},
    {"depthwise 2x4, wide padding", CONV(8, 8, 2, 4, 1, 1, 4, 1, 8), 2, 4, 13},
    {"depthwise stride 3", CONV(16, 16, 3, 3, 3, 1, 1, 1, 16), 2, 8, 14},
    {"depthwise stride 2, dilation 2", CONV(16, 16, 3, 3, 2, 2, 2, 2, 16), 2, 9, 17},
};

/* On any other kind of device these suit nothing; on CPUs, that one. */
static const char *const for_cpus[] = {"grouped", "pointwise"}, *const for_others = "grouped4";

/* Largest error, relative to the largest expected value. */
static double bound_of(const char *engine) {
    return strcmp(engine, "winograd4") ? 5e-6 : 3e-5;
}

static struct blanch_device *device;
static double most = 1e30;

/* --- plain sums ------------------------------------------------------------------------------- */

struct sums {
    double *x, *w, *bias, *dy, *y, *dx, *dw, *dbias;
}; // NCHW, OIHW

static double *zeros(size_t count) {
    double *v = calloc(count, sizeof *v);
    assert_non_null(v);
    return v;
}

/* One image and output channel. */
static void sum_up(const struct row *r, const struct sums *s, int n, int o, int oh, int ow) {
    const struct bl_conv_attrs *a = &r->attrs;
    const int gi = a->in_channels / a->groups, first = o / (a->out_channels / a->groups) * gi;
    for (int p = 0; p < oh * ow; p++) {
        const int at = (n * a->out_channels + o) * oh * ow + p;
        s->y[at] += s->bias[o], s->dbias[o] += s->dy[at];
        for (int k = 0; k < gi * a->kernel[0] * a->kernel[1]; k++) {
            const int kx = k % a->kernel[1], ky = k / a->kernel[1] % a->kernel[0], c = k / a->kernel[1] / a->kernel[0];
            const int iy = p / ow * a->stride[0] - a->padding[0] + ky * a->dilation[0];
            const int ix = p % ow * a->stride[1] - a->padding[1] + kx * a->dilation[1];
            if (iy < 0 || iy >= r->h || ix < 0 || ix >= r->w) continue;
            const int in = ((n * a->in_channels + first + c) * r->h + iy) * r->w + ix;
            const int weight = o * gi * a->kernel[0] * a->kernel[1] + k;
            s->y[at] += s->x[in] * s->w[weight];
            s->dx[in] += s->dy[at] * s->w[weight];
            s->dw[weight] += s->dy[at] * s->x[in];
        }
    }
}

/* --- a row on the device ---------------------------------------------------------------------- */

struct test_case {
    const struct row *row;
    const char *engine;
    enum bl_type type;
    struct bl_graph *graph;
    struct bl_node *node;
    size_t in, out, weights; // elements
    struct sums sums;
};

struct tally {
    int runs[BL_CONV_PASSES];
    double worst[BL_CONV_PASSES];
};

static const char *always(void *engine, const struct bl_conv_shape *shape, enum bl_conv_pass pass) {
    (void)shape, (void)pass;
    return engine;
}

/* A partial batch: one image fewer than planned. */
static void build(struct test_case *t) {
    const struct bl_conv_attrs *a = &t->row->attrs;
    check(bl_graph_create(&t->graph, device, t->row->n + 1, false));
    bl_graph_store_as(t->graph, t->type);
    bl_graph_want_input_grads(t->graph);
    struct blanch_tensor *x = bl_graph_input(t->graph, a->in_channels, t->row->h, t->row->w);
    struct bl_conv_chooser chooser = {always, (void *)t->engine};
    check(bl_conv_choose_by(device, &chooser));
    bl_graph_add(t->graph, "conv2d", "layer", a, &x, 1);
    check(bl_conv_choose_by(device, NULL));
    check(bl_graph_finish(t->graph, 1));
    t->node = bl_graph_node(t->graph, 0);
    const size_t n = (size_t)t->row->n;
    t->in = n * (size_t)(x->c * x->h * x->w);
    t->out = n * (size_t)(t->node->out[0]->c * t->node->out[0]->h * t->node->out[0]->w);
    t->weights = (size_t)t->node->param[0]->data.count;
}

/* What is left of values that are stored. */
static void store(enum bl_type type, double *v, size_t count) {
    for (size_t i = 0; i < count; i++) {
        float value = (float)v[i], stored;
        bl_type_narrow(type, &value, &stored, 1);
        bl_type_widen(type, &stored, &value, 1);
        v[i] = value;
    }
}

static void fill(struct test_case *t) {
    const size_t outputs = (size_t)t->row->attrs.out_channels;
    const int oh = (int)t->node->out[0]->h, ow = (int)t->node->out[0]->w;
    struct sums *s = &t->sums;
    *s = (struct sums){.x = random_values(t->in, 1, 1.5, 0.4),
                       .w = random_values(t->weights, 2, 0.4, 0),
                       .bias = random_values(outputs, 3, 1, 0),
                       .dy = random_values(t->out, 4, 1, 0.1),
                       .y = zeros(t->out),
                       .dx = zeros(t->in),
                       .dw = zeros(t->weights),
                       .dbias = zeros(outputs)};
    store(t->type, s->x, t->in);
    store(t->type, s->dy, t->out);
    for (int n = 0; n < t->row->n; n++)
        for (int o = 0; o < t->row->attrs.out_channels; o++) sum_up(t->row, s, n, o, oh, ow);
    float *x = narrow(s->x, t->in), *w = narrow(s->w, t->weights), *bias = narrow(s->bias, outputs);
    float *dy = narrow(s->dy, t->out);
    check(bl_tensor_write(t->graph, t->node->in[0], t->row->n, x));
    check(bl_param_write(t->node->param[0], w));
    check(bl_param_write(t->node->param[1], bias));
    bl_graph_touch(t->graph);
    check(bl_graph_forward(t->graph, t->row->n, true));
    check(bl_tensor_write(t->graph, t->node->out[0]->grad, t->row->n, dy));
    free(x), free(w), free(bias), free(dy);
}

static void compare(const struct test_case *t, struct tally *tally, int pass, const char *what, const float *got,
                    const double *want, size_t count, double scale) {
    const double stored = t->type == BL_F32 ? 0 : t->type == BL_F16 ? 0x1p-10 : 0x1p-7; // and added to
    double bound = bound_of(t->engine) + stored, largest = 1e-30;
    for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs(scale * want[i]));
    for (size_t i = 0; i < count; i++) {
        const double error = fabs(got[i] - scale * want[i]) / largest;
        if (!(error <= bound))
            fail_msg("%s, %s, %s[%zu]: got %.7g, expected %.7g (largest %.3g)", t->engine, t->row->name, what, i,
                     (double)got[i], scale * want[i], largest);
        tally->worst[pass] = fmax(tally->worst[pass], error);
    }
}

static void compare_tensor(const struct test_case *t, struct tally *tally, int pass, const char *what,
                           struct blanch_tensor *tensor, const double *want, size_t count, double scale) {
    float *got = calloc(count, sizeof *got);
    assert_non_null(got);
    check(bl_tensor_read(t->graph, tensor, t->row->n, got));
    compare(t, tally, pass, what, got, want, count, scale);
    free(got);
}

static void compare_gradient(const struct test_case *t, struct tally *tally, int param, const char *what,
                             const double *want) {
    const size_t count = (size_t)t->node->param[param]->data.count;
    float *got = calloc(count, sizeof *got);
    assert_non_null(got);
    check(bl_mem_read(t->node->param[param]->grad.mem, 0, 4 * count, got));
    compare(t, tally, BL_CONV_WEIGHTS, what, got, want, count, 1);
    free(got);
}

static void compare_all(struct test_case *t, struct tally *tally) {
    struct bl_node *node = t->node;
    struct bl_conv *conv = bl_conv_layer_conv(node);
    const struct bl_run run = {.n = t->row->n, .training = true};
    check(bl_graph_backward(t->graph, t->row->n));
    compare_tensor(t, tally, BL_CONV_FORWARD, "y", node->out[0], t->sums.y, t->out, 1);
    compare_tensor(t, tally, BL_CONV_DATA, "dx", node->in[0]->grad, t->sums.dx, t->in, 1);
    check(bl_conv_backward_data(conv, &run, node->param[0]->data.mem, node->out[0]->grad, node->in[0]->grad, true));
    compare_tensor(t, tally, BL_CONV_DATA, "dx + dx", node->in[0]->grad, t->sums.dx, t->in, 2);
    compare_gradient(t, tally, 0, "dweight", t->sums.dw);
    compare_gradient(t, tally, 1, "dbias", t->sums.dbias);
}

static void run_row(const struct row *row, const char *engine, enum bl_type type, struct tally *tally) {
    struct test_case t = {.row = row, .engine = engine, .type = type};
    bool any = false;
    build(&t);
    for (int p = 0; p < BL_CONV_PASSES; p++) {
        const bool suits = bl_conv_suits(bl_conv_layer_conv(t.node), engine, (enum bl_conv_pass)p);
        if (suits != !strcmp(t.node->engine[p], engine))
            fail_msg("%s, %s, %s: it %s, and %s runs", engine, row->name, bl_conv_pass_names[p],
                     suits ? "suits" : "does not suit", t.node->engine[p]);
        tally->runs[p] += suits;
        any = any || suits;
    }
    if (any) {
        fill(&t);
        compare_all(&t, tally);
    }
    bl_graph_free(t.graph);
    const struct sums *s = &t.sums;
    free(s->x), free(s->w), free(s->bias), free(s->dy), free(s->y), free(s->dx), free(s->dw), free(s->dbias);
}

static double multiply_adds(const struct row *row) {
    const struct bl_conv_attrs *a = &row->attrs;
    int64_t h, w;
    bl_conv_out_size(a, row->h, row->w, &h, &w);
    return (double)row->n * (double)h * (double)w * a->out_channels * (a->in_channels / a->groups) * a->kernel[0] *
           a->kernel[1];
}

/* Engines for GPUs, the same kernels on every device: a CPU that is called one tries them. */
static bool is_for_gpus(const char *engine) {
    return !strncmp(engine, "tiled", 5) || !strcmp(engine, "matrix");
}
/* What differs from another engine in a constant alone is tried for some rows, and in 32 bits. */
static bool is_variant(const char *engine) {
    return is_for_gpus(engine) ? strcmp(engine, "tiled") && strcmp(engine, "matrix") : !strcmp(engine, "winograd4");
}
enum { SOME = 5 };

/* Returns how many passes it suited. */
static int run_rows(const char *engine, enum bl_type type, int step) {
    struct tally tally = {{0}, {0}};
    for (int i = 0; i < BL_COUNT(rows); i += step)
        if (multiply_adds(&rows[i]) <= most) run_row(&rows[i], engine, type, &tally);
    int runs = 0;
    for (int p = 0; p < BL_CONV_PASSES; p++) {
        print_message("%s, %s, %s: %d of %d shapes, largest error %.2g\n", engine, bl_type_traits[type].name,
                      bl_conv_pass_names[p], tally.runs[p], (int)BL_COUNT(rows), tally.worst[p]);
        runs += tally.runs[p];
    }
    return runs;
}

static void run_engine(void **state) {
    if (!device) skip();
    const char *engine = *state;
    const bool cpu = blanch_device_info(device)->kind == BLANCH_CPU;
    if (is_for_gpus(engine) && cpu) skip();
    const int runs = run_rows(engine, BL_F32, is_variant(engine) && !cpu ? SOME : 1);
    if (is_variant(engine) && !cpu) {
        assert_true(runs > 0);
        return;
    }
    const bool some = !cpu && (!strcmp(engine, "winograd") || !strcmp(engine, "tiled")); // of many programs
    const int halves = run_rows(engine, BL_F16, some ? SOME : 1);
    if (!strcmp(engine, "matrix")) {
        assert_true(runs == 0 && halves > 0 && run_rows(engine, BL_BF16, SOME) > 0);
        return;
    }
    assert_true(halves == 0 || halves == runs || some);
    if (some) assert_true(run_rows(engine, BL_BF16, SOME) == halves);
    if (!strcmp(engine, "direct")) assert_true(halves == runs); // what is left to every other type
    bool expected = true;
    for (int i = 0; i < BL_COUNT(for_cpus); i++)
        if (!strcmp(engine, for_cpus[i])) expected = cpu;
    if (!strcmp(engine, for_others)) expected = !cpu;
    if (!strcmp(engine, "fft")) expected = bl_fft_available();
    assert_true(expected == (runs > 0));
}

/* What a CPU takes unmeasured where Winograd's tiles of 2x2 suit. */
static void choose_by_rule(void **state) {
    static const struct {
        struct row row;
        enum bl_type type;
        const char *engine[BL_CONV_PASSES];
    } rules[] = {
        {{"8x8", CONV(32, 32, 3, 3, 1, 1, 1, 1, 1), 15, 8, 8}, BL_F32, {"winograd", "winograd", "winograd"}},
        {{"4x4", CONV(32, 48, 3, 3, 1, 1, 1, 1, 1), 15, 4, 4}, BL_F32, {"direct", "direct", "winograd"}},
        {{"few tiles", CONV(32, 32, 3, 3, 1, 1, 1, 1, 1), 1, 8, 8}, BL_F32, {"direct", "direct", "direct"}},
        {{"few channels", CONV(16, 32, 3, 3, 1, 1, 1, 1, 1), 15, 8, 8}, BL_F32, {"direct", "direct", "direct"}},
        {{"16 bits", CONV(32, 32, 3, 3, 1, 1, 1, 1, 1), 15, 8, 8}, BL_BF16, {"direct", "direct", "direct"}},
    };
    (void)state;
    if (!device || blanch_device_info(device)->kind != BLANCH_CPU) skip();
    for (int i = 0; i < BL_COUNT(rules); i++) {
        struct test_case t = {.row = &rules[i].row, .type = rules[i].type};
        build(&t);
        for (int p = 0; p < BL_CONV_PASSES; p++)
            if (strcmp(t.node->engine[p], rules[i].engine[p]))
                fail_msg("%s, %s: %s", rules[i].row.name, bl_conv_pass_names[p], t.node->engine[p]);
        bl_graph_free(t.graph);
    }
}

int main(int argc, char **argv) {
    unsetenv("BLANCH_CONV"); // it would go before the engine under test
    int failed = open_test_device(&device), count = 0;
    struct CMUnitTest tests[32];
    for (const char *name; count < BL_COUNT(tests) - 1 && (name = bl_conv_engine_name(count)); count++)
        tests[count] = (struct CMUnitTest){name, run_engine, NULL, NULL, (void *)name};
    tests[count++] = (struct CMUnitTest){"by rule", choose_by_rule, NULL, NULL, NULL};
    if (argc > 2) most = strtod(argv[2], NULL);
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    failed += _cmocka_run_group_tests("convolution engines", tests, (size_t)count, NULL, NULL);
    return failed + close_test_device(device);
}
