/* What is particular to network deconvolution beside its arithmetic (test_ops.c): running buffers, evaluation,
 * freezing, batches that have no variance, and refreshes that a scheduler chooses. test_nd [TEST] */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "harness.h"
#include "io/safetensors.h"
#include "ops/nd/schedule.h"
#include "graph/reference.h"
#include "optim/optim.h"
#include "train/train.h"

static struct blanch_device *device;

/* --- layers ----------------------------------------------------------------------------------- */

#define CONV(ci, co, k, p, g)                                                                                          \
    { ci, co, {k, k}, {1, 1}, {p, p}, {1, 1}, g, 1 }
#define ND(b, st)                                                                                                      \
    .block = b, .n_iter = 5, .freeze_iter = 100, .cov_sampling_stride = {st, st}, .eps = 1e-5f, .momentum = 0.1f
static const struct bl_nd_conv_attrs conv = {CONV(6, 5, 3, 1, 1), {ND(3, 2)}},
                                     grouped = {CONV(6, 4, 3, 1, 2), {ND(3, 1)}};
static const struct bl_nd_conv_attrs depthwise = {CONV(8, 8, 3, 0, 8), {ND(1, 1)}},
                                     valid = {CONV(6, 5, 3, 0, 1), {ND(6, 1)}};
static const struct bl_nd_conv_attrs pointwise = {CONV(6, 5, 1, 0, 1), {ND(3, 1)}};
static const struct bl_nd_linear_attrs linear = {{12, 5, 1}, {ND(6, 1)}};
static const struct {
    const char *op;
    const void *attrs;
    int shape[4];
} layers[] = {
    {"nd_conv2d", &conv, {3, 6, 6, 5}},      {"nd_conv2d", &grouped, {3, 6, 6, 5}},
    {"nd_conv2d", &depthwise, {3, 8, 6, 5}}, {"nd_conv2d", &valid, {3, 6, 6, 5}},
    {"nd_conv2d", &pointwise, {3, 6, 6, 5}}, {"nd_linear", &linear, {9, 12, 1, 1}},
    {"nd_linear", &linear, {3, 12, 4, 3}},
};

struct layer {
    struct bl_graph *graph;
    struct bl_node *node;
    struct blanch_tensor *in;
    int n;
};

static float value_at(uint64_t seed, size_t i) {
    uint32_t w[4];
    bl_philox(seed, BL_RANDOM_DATA, i, 0, w);
    return 2 * bl_uniform(w[0]) - 1;
}

static const struct bl_optimiser *optimiser = &bl_optimiser_sgd; // of what is made

static void make(struct layer *l, const char *op, const void *attrs, int n, int c, int h, int w, bool inference) {
    check(bl_graph_create(&l->graph, device, n, inference));
    bl_graph_use(l->graph, optimiser);
    if (!inference) bl_graph_want_input_grads(l->graph);
    l->in = bl_graph_input(l->graph, c, h, w);
    bl_graph_add(l->graph, op, "layer", attrs, &l->in, 1);
    check(bl_graph_finish(l->graph, 7));
    l->node = bl_graph_node(l->graph, 0);
    l->n = n;
}

static void make_nth(struct layer *l, int i, bool inference) {
    const int *s = layers[i].shape;
    make(l, layers[i].op, layers[i].attrs, s[0], s[1], s[2], s[3], inference);
}

static size_t input_count(const struct layer *l) {
    return (size_t)(l->n * l->in->c * l->in->h * l->in->w);
}
static size_t output_count(const struct layer *l) {
    return (size_t)(l->n * l->node->out[0]->c * l->node->out[0]->h * l->node->out[0]->w);
}

static float *allocate(size_t count) {
    float *values = calloc(count, sizeof *values);
    assert_non_null(values);
    return values;
}

static void write_random(struct layer *l, uint64_t seed) {
    float *x = allocate(input_count(l));
    for (size_t i = 0; i < input_count(l); i++) x[i] = 1.5f * value_at(seed, i) + 0.5f;
    check(bl_tensor_write(l->graph, l->in, l->n, x));
    free(x);
}

static float *output(struct layer *l, bool training) {
    float *y = allocate(output_count(l));
    check(bl_graph_forward(l->graph, l->n, training));
    check(bl_tensor_read(l->graph, l->node->out[0], l->n, y));
    return y;
}

static float *values_of(struct bl_param *p) {
    float *values = allocate((size_t)p->data.count);
    check(bl_param_read(p, values));
    return values;
}

static bool all_finite(const float *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i])) return false;
    return true;
}

static double difference(const float *a, const float *b, size_t count) {
    double largest = 0, scale = 1e-30;
    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)a[i] - b[i]));
        scale = fmax(scale, fabs((double)b[i]));
    }
    return largest / scale;
}

/* --- running buffers -------------------------------------------------------------------------- */

static void assert_start(struct bl_param *mean, struct bl_param *deconv) {
    int64_t side = deconv->shape[deconv->dims - 1];
    float *m = values_of(mean), *d = values_of(deconv);
    for (int64_t i = 0; i < mean->data.count; i++) assert_true(m[i] == 0);
    for (int64_t i = 0; i < deconv->data.count; i++) assert_true(d[i] == (i / side % side == i % side ? 1.0f : 0.0f));
    free(m);
    free(d);
}

static void test_start(void **state) {
    if (!device) skip();
    for (int i = 0; i < BL_COUNT(layers); i++) {
        struct layer l;
        make_nth(&l, i, false);
        assert_int_equal(l.node->buffers, 2);
        assert_start(l.node->buffer[0], l.node->buffer[1]);
        bl_graph_free(l.graph);
    }
}

/* W D and b - W D m of running buffers, then a plain layer in double precision. */
static struct bl_ref_tensor plain_layer(struct layer *l, uint64_t seed) {
    struct bl_ref_layer reference = {.attrs = l->node->attrs, .training = false};
    struct bl_ref_tensor x = {l->n, (int)l->in->c, (int)l->in->h, (int)l->in->w, NULL}, y;
    struct bl_param **groups[] = {l->node->param, l->node->buffer};
    double **into[] = {reference.param, reference.buffer};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 2; i++) {
            size_t count = (size_t)groups[k][i]->data.count;
            float *narrow = values_of(groups[k][i]);
            assert_non_null(into[k][i] = bl_ref_doubles(count));
            for (size_t j = 0; j < count; j++) into[k][i][j] = narrow[j];
            free(narrow);
        }
    assert_non_null(x.v = bl_ref_doubles(input_count(l)));
    for (size_t i = 0; i < input_count(l); i++) x.v[i] = 1.5f * value_at(seed, i) + 0.5f;
    check(bl_ref_forward(l->node->op, &reference, &x, 1, &y));
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 2; i++) free(into[k][i]);
    free(x.v);
    return y;
}

static void assert_plain(struct layer *l, uint64_t seed, const float *y) {
    struct bl_ref_tensor want = plain_layer(l, seed);
    float *narrow = allocate(output_count(l));
    for (size_t i = 0; i < output_count(l); i++) narrow[i] = (float)want.v[i];
    assert_true(difference(y, narrow, output_count(l)) < 1e-5);
    free(narrow);
    free(want.v);
}

static void copy_params(struct layer *to, struct layer *from) {
    for (int i = 0; i < 4; i++) {
        float *values = values_of(i < 2 ? from->node->param[i] : from->node->buffer[i - 2]);
        check(bl_param_write(i < 2 ? to->node->param[i] : to->node->buffer[i - 2], values));
        free(values);
    }
    bl_graph_touch(to->graph);
}

/* Evaluation folds the running buffers into the weights, changes nothing, and does the same without a gradient's
 * memory. */
static void test_evaluation(void **state) {
    if (!device) skip();
    for (int i = 0; i < BL_COUNT(layers); i++) {
        struct layer l, bare;
        make_nth(&l, i, false);
        make_nth(&bare, i, true);
        for (uint64_t step = 0; step < 3; step++) {
            write_random(&l, step);
            check(bl_graph_forward(l.graph, l.n, true));
        }
        float *mean = values_of(l.node->buffer[0]), *deconv = values_of(l.node->buffer[1]);
        write_random(&l, 9);
        float *y = output(&l, false), *mean_after = values_of(l.node->buffer[0]),
              *deconv_after = values_of(l.node->buffer[1]);
        assert_plain(&l, 9, y);
        assert_memory_equal(mean, mean_after, 4 * (size_t)l.node->buffer[0]->data.count);
        assert_memory_equal(deconv, deconv_after, 4 * (size_t)l.node->buffer[1]->data.count);
        copy_params(&bare, &l);
        write_random(&bare, 9);
        float *z = output(&bare, false);
        assert_true(difference(z, y, output_count(&l)) < 1e-6);
        free(mean), free(deconv), free(mean_after), free(deconv_after), free(y), free(z);
        bl_graph_free(l.graph);
        bl_graph_free(bare.graph);
    }
}

/* --- freezing --------------------------------------------------------------------------------- */

static float *gradients(struct layer *l, bool training, size_t *count) {
    size_t inputs = input_count(l), weights = (size_t)l->node->param[0]->data.count,
           biases = (size_t)l->node->param[1]->data.count;
    float *dy = allocate(output_count(l)), *all = allocate(*count = inputs + weights + biases);
    for (size_t i = 0; i < output_count(l); i++) dy[i] = value_at(77, i);
    check(bl_tensor_write(l->graph, l->node->out[0]->grad, l->n, dy));
    check(bl_graph_backward_from(l->graph, l->n, training));
    check(bl_tensor_read(l->graph, l->in->grad, l->n, all));
    check(bl_mem_read(l->node->param[0]->grad.mem, 0, 4 * weights, all + inputs));
    check(bl_mem_read(l->node->param[1]->grad.mem, 0, 4 * biases, all + inputs + weights));
    free(dy);
    return all;
}

/* A frozen step is what evaluation computes, gradients included. */
static void assert_as_evaluation(struct layer *l, uint64_t seed, const float *y) {
    size_t count;
    assert_plain(l, seed, y);
    float *frozen = gradients(l, true, &count), *z = output(l, false), *evaluated = gradients(l, false, &count);
    assert_true(difference(z, y, output_count(l)) < 1e-6);
    assert_true(difference(frozen, evaluated, count) < 1e-6);
    size_t inputs = input_count(l), weights = (size_t)l->node->param[0]->data.count;
    size_t begin[] = {0, inputs, inputs + weights, count};
    for (int part = 0; part < 3; part++) {
        double largest = 0;
        for (size_t i = begin[part]; i < begin[part + 1]; i++) largest = fmax(largest, fabs((double)frozen[i]));
        assert_true(largest > 0);
    }
    free(frozen), free(evaluated), free(z);
}

static void freeze_layer(const struct bl_nd_conv_attrs *base) {
    enum { ITERATIONS = 2, WRAP = 10 * ITERATIONS };
    struct bl_nd_conv_attrs attrs = *base;
    struct layer l;
    attrs.nd.freeze = 1;
    attrs.nd.freeze_iter = ITERATIONS;
    make(&l, "nd_conv2d", &attrs, 3, attrs.conv.in_channels, 6, 5, false);
    assert_int_equal(l.node->buffers, 3);
    struct bl_param *deconv = l.node->buffer[1], *counter = l.node->buffer[2];
    assert_true(counter->counter && counter->private_state && counter->value == 0);
    for (int call = 0; call < WRAP + 5; call++) {
        bool frozen = call % WRAP > ITERATIONS;
        write_random(&l, (uint64_t)call);
        float *before = values_of(deconv), *y = output(&l, true), *after = values_of(deconv);
        assert_int_equal(memcmp(before, after, 4 * (size_t)deconv->data.count) == 0, frozen);
        assert_int_equal(counter->value, (call + 1) % WRAP);
        if (frozen && call < 6) assert_as_evaluation(&l, (uint64_t)call, y);
        assert_int_equal(counter->value, (call + 1) % WRAP); // evaluation does not count
        free(before), free(after), free(y);
    }
    bl_graph_free(l.graph);
}

static void test_freeze(void **state) {
    if (!device) skip();
    freeze_layer(&conv);
    freeze_layer(&grouped);
    freeze_layer(&depthwise);
}

static bool has_tensor(const char *path, const char *name) {
    struct bl_safetensors *file = NULL;
    check(bl_st_open(&file, path));
    bool found = bl_st_find(file, name) != NULL;
    bl_st_close(file);
    return found;
}

/* The counter is in the second file of a checkpoint alone; linear layers have none. */
static void test_freeze_is_saved(void **state) {
    if (!device) skip();
    char dir[] = "/tmp/blanch-nd-XXXXXX", weights[80], state_file[80];
    assert_non_null(mkdtemp(dir));
    snprintf(weights, sizeof weights, "%s/last.safetensors", dir);
    snprintf(state_file, sizeof state_file, "%s/last.state.safetensors", dir);
    struct bl_network_options options = {
        .model = "smallcnn", .norm = BLANCH_ND, .nd = {.freeze = 1, .eps = NAN, .momentum = NAN}, .batch = 2};
    struct blanch_network *net = NULL, *other = NULL;
    struct bl_position position = {.step = 3}, loaded;
    struct blanch_metrics metrics = {.size = sizeof metrics};
    static float images[2 * 28 * 28];
    for (int i = 0; i < BL_COUNT(images); i++) images[i] = value_at(3, (size_t)i);
    check(bl_network_create(&net, device, &options));
    check(bl_network_create(&other, device, &options));
    for (int i = 0; i < 3; i++)
        check(blanch_network_step(net, images, (const int32_t[]){1, 2}, 2,
                                  &(struct blanch_update){sizeof(struct blanch_update), 1e-3f}, &metrics));
    check(bl_checkpoint_save(net->graph, dir, &position));
    assert_true(has_tensor(state_file, "conv1.freeze_counter") && !has_tensor(weights, "conv1.freeze_counter"));
    assert_false(has_tensor(state_file, "fc.freeze_counter"));
    check(bl_checkpoint_load(other->graph, dir, &loaded));
    assert_int_equal(bl_graph_find_param(other->graph, "conv1.freeze_counter")->value, 3);
    assert_int_equal(unlink(weights) || unlink(state_file) || rmdir(dir), 0);
    blanch_network_free(net);
    blanch_network_free(other);
}

/* --- batches without variance ----------------------------------------------------------------- */

static void assert_all_finite(struct layer *l, const float *y) {
    size_t count;
    float *all = gradients(l, true, &count);
    assert_true(all_finite(y, output_count(l)));
    assert_true(all_finite(all, count));
    for (int i = 0; i < 2; i++) {
        float *buffer = values_of(l->node->buffer[i]);
        assert_true(all_finite(buffer, (size_t)l->node->buffer[i]->data.count));
        free(buffer);
    }
    free(all);
}

static void write_constant(struct layer *l, float value) {
    float *x = allocate(input_count(l));
    for (size_t i = 0; i < input_count(l); i++) x[i] = value;
    check(bl_tensor_write(l->graph, l->in, l->n, x));
    free(x);
}

/* Where nothing varies, x - m is 0 and the bias remains; what rounds is W'x, with D = 1/sqrt(eps). */
static void test_constant_batch(void **state) {
    if (!device) skip();
    const float values[] = {0, 1, -300, 1e-4f};
    for (int i = 0; i < BL_COUNT(layers); i++)
        for (int v = 0; v < BL_COUNT(values); v++) {
            struct layer l;
            make_nth(&l, i, false);
            write_constant(&l, values[v]);
            float *y = output(&l, true), *bias = values_of(l.node->param[1]);
            int64_t area = l.node->out[0]->h * l.node->out[0]->w, channels = l.node->out[0]->c;
            bool padded = layers[i].attrs == &conv || layers[i].attrs == &grouped;
            assert_all_finite(&l, y);
            for (size_t j = 0; j < output_count(&l) && !padded; j++)
                assert_true(fabs((double)(y[j] - bias[(int64_t)j / area % channels])) <=
                            2e-2 * fabs((double)values[v]) + 1e-6);
            free(y), free(bias);
            bl_graph_free(l.graph);
        }
}

/* Iterations enough for a slightly negative eigenvalue to explode. */
static void test_one_sample(void **state) {
    if (!device) skip();
    struct bl_nd_conv_attrs three = valid, one = pointwise, deep = depthwise;
    struct bl_nd_linear_attrs flat = linear;
    three.nd.n_iter = one.nd.n_iter = deep.nd.n_iter = flat.nd.n_iter = 15;
    one.nd.block = 6, flat.nd.block = 12;
    const struct {
        const char *op;
        const void *attrs;
        int c, side;
    } single[] = {
        {"nd_conv2d", &three, 6, 3},
        {"nd_conv2d", &one, 6, 1},
        {"nd_conv2d", &deep, 8, 3},
        {"nd_linear", &flat, 12, 1},
    };
    for (int i = 0; i < BL_COUNT(single); i++) {
        struct layer l;
        make(&l, single[i].op, single[i].attrs, 1, single[i].c, single[i].side, single[i].side, false);
        for (uint64_t step = 0; step < 3; step++) {
            write_random(&l, step);
            float *y = output(&l, true), *bias = values_of(l.node->param[1]);
            assert_all_finite(&l, y);
            for (size_t j = 0; j < output_count(&l); j++) assert_true(fabs((double)(y[j] - bias[j])) < 2e-2);
            free(y), free(bias);
        }
        bl_graph_free(l.graph);
    }
}

/* --- refreshes that a scheduler chooses ------------------------------------------------------- */

enum { SCHEDULED = 4 };
static void make_scheduled(struct layer *l, int i) {
    struct bl_nd_conv_attrs convs[] = {conv, grouped, pointwise};
    struct bl_nd_linear_attrs flat = linear;
    flat.nd.refresh = BL_REFRESH_SCHEDULED;
    if (i < 3) convs[i].nd.refresh = BL_REFRESH_SCHEDULED;
    make(l, i < 3 ? "nd_conv2d" : "nd_linear", i < 3 ? (const void *)&convs[i] : &flat, i < 3 ? 3 : 9, i < 3 ? 6 : 12,
         i < 3 ? 6 : 1, i < 3 ? 5 : 1, false);
}

static void step(struct layer *l, uint64_t seed, enum bl_nd_action step) {
    write_random(l, seed);
    bl_whitening_order(l->node->whitening, step);
    free(output(l, true));
    assert_int_equal(bl_whitening_look(l->node->whitening, l->n).last, step);
}

static float *deconv_of(struct layer *l) {
    const struct bl_whitening_facts facts = bl_whitening_look(l->node->whitening, l->n);
    const size_t count = (size_t)(facts.features * facts.features);
    float *all = allocate((size_t)facts.matrices * count), *s = allocate(count);
    for (int m = 0; m < facts.matrices; m++)
        check(bl_whitening_read(l->node->whitening, m, s, all + (size_t)m * count));
    free(s);
    return all;
}

/* |a/|a| - b/|b||, the mean over the matrices. */
static double turn_between(const float *a, const float *b, int matrices, size_t count) {
    double mean = 0;
    for (int m = 0; m < matrices; m++, a += count, b += count) {
        double aa = 0, bb = 0, squares = 0;
        for (size_t i = 0; i < count; i++) aa += (double)a[i] * a[i], bb += (double)b[i] * b[i];
        for (size_t i = 0; i < count; i++) squares += pow(a[i] / sqrt(aa) - b[i] / sqrt(bb), 2);
        mean += sqrt(squares) / matrices;
    }
    return mean;
}

/* A step in between that keeps the directions changes neither what is remembered nor what is found. */
static void test_change(void **state) {
    if (!device) skip();
    for (int i = 0; i < SCHEDULED; i++) {
        struct layer l;
        make_scheduled(&l, i);
        assert_true(bl_whitening_look(l.node->whitening, l.n).scheduled);
        step(&l, 1, BL_ND_EXACT);
        float *before = deconv_of(&l);
        step(&l, 2, BL_ND_REUSE);
        step(&l, 3, i % 2 ? BL_ND_RENEW : BL_ND_EXACT);
        float *after = deconv_of(&l);
        const struct bl_whitening_facts facts = bl_whitening_look(l.node->whitening, l.n);
        const double want = turn_between(after, before, facts.matrices, (size_t)(facts.features * facts.features));
        double change;
        check(bl_whitening_change(l.node->whitening, &change));
        assert_true(want > 0.05 && fabs(change - want) < 1e-4);
        free(before), free(after);
        bl_graph_free(l.graph);
    }
}

/* --- updates between refreshes ---------------------------------------------------------------- */

static void backward(struct layer *l, uint64_t seed) {
    float *dy = allocate(output_count(l));
    for (size_t i = 0; i < output_count(l); i++) dy[i] = 0.1f * value_at(seed, i);
    check(bl_tensor_write(l->graph, l->node->out[0]->grad, l->n, dy));
    check(bl_graph_backward(l->graph, l->n));
    free(dy);
}

static void update(struct layer *l, uint64_t seed, enum bl_nd_action step, bool to_update) {
    const struct blanch_update settings =
        optimiser->decay ? (struct blanch_update){.lr = 0.05f, .momentum = 0.9f, .weight_decay = 0.1f}
                         : optimiser->defaults;
    write_random(l, seed);
    bl_whitening_order(l->node->whitening, step);
    check(to_update ? bl_graph_forward_to_update(l->graph, l->n) : bl_graph_forward(l->graph, l->n, true));
    backward(l, seed + 100);
    check(bl_graph_update(l->graph, &settings));
}

static void assert_same(struct layer *a, struct layer *b, const struct blanch_tensor *x,
                        const struct blanch_tensor *y) {
    const size_t count = (size_t)x->count;
    float *got = allocate(count), *want = allocate(count);
    check(bl_mem_read(x->mem, 0, 4 * count, got));
    check(bl_mem_read(y->mem, 0, 4 * count, want));
    assert_true(difference(got, want, count) < 2e-5);
    free(got), free(want);
}

/* A step that computes D but not its whole gradient has the gradients of one that finds the same D remembered. */
static void test_renew(void **state) {
    if (!device) skip();
    for (int i = 0; i < SCHEDULED; i++) {
        struct layer renewed, kept;
        make_scheduled(&renewed, i), make_scheduled(&kept, i);
        step(&renewed, 1, BL_ND_RENEW);
        step(&kept, 1, BL_ND_EXACT);
        step(&kept, 1, BL_ND_REUSE);
        backward(&renewed, 2), backward(&kept, 2);
        assert_same(&renewed, &kept, renewed.node->out[0], kept.node->out[0]);
        assert_same(&renewed, &kept, renewed.in->grad, kept.in->grad);
        for (int p = 0; p < 2; p++)
            assert_same(&renewed, &kept, &renewed.node->param[p]->grad, &kept.node->param[p]->grad);
        step(&renewed, 1, BL_ND_EXACT);
        backward(&renewed, 2);
        float *whole = allocate(input_count(&kept)), *part = allocate(input_count(&kept));
        check(bl_tensor_read(renewed.graph, renewed.in->grad, renewed.n, whole));
        check(bl_tensor_read(kept.graph, kept.in->grad, kept.n, part));
        assert_true(difference(part, whole, input_count(&kept)) > 0.01);
        free(whole), free(part);
        bl_graph_free(renewed.graph), bl_graph_free(kept.graph);
    }
}

/* Where parameters stay in the coordinates of the last refresh and where every update is taken back from them: the same
 * outputs, input gradients, weights, velocities. */
static void test_updates(void **state) {
    if (!device) skip();
    static const char turns[] = "EEkkk?kkEEkRkRRkkkkk!kkRE?R"; // exact, kept, renewed, evaluated, ended
    for (int i = 0; i < SCHEDULED; i++) {
        struct layer l[2];
        make_scheduled(&l[0], i), make_scheduled(&l[1], i);
        for (uint64_t t = 0; turns[t]; t++) {
            if (turns[t] == '!') {
                float *before = values_of(l[0].node->param[0]), *plain = values_of(l[1].node->param[0]);
                assert_non_null(l[0].node->param[0]->target); // its memory holds something else, reading resolves it
                assert_true(difference(before, plain, (size_t)l->node->param[0]->data.count) < 2e-5);
                free(before), free(plain);
                check(bl_graph_end_targets(l[0].graph));
            } else if (turns[t] == '?') {
                write_random(&l[0], t), write_random(&l[1], t);
                free(output(&l[0], false)), free(output(&l[1], false));
            } else
                for (int k = 0; k < 2; k++)
                    update(&l[k], t, turns[t] == 'E' ? BL_ND_EXACT : turns[t] == 'R' ? BL_ND_RENEW : BL_ND_REUSE, !k);
            assert_same(&l[0], &l[1], l[0].node->out[0], l[1].node->out[0]);
            if (turns[t] != '?') assert_same(&l[0], &l[1], l[0].in->grad, l[1].in->grad); // not there in evaluation
        }
        check(bl_graph_end_targets(l[0].graph));
        for (int p = 0; p < 2; p++) {
            assert_same(&l[0], &l[1], &l[0].node->param[p]->data, &l[1].node->param[p]->data);
            assert_same(&l[0], &l[1], &l[0].node->param[p]->state[0], &l[1].node->param[p]->state[0]);
        }
        for (int b = 0; b < l->node->buffers; b++)
            if (!l->node->buffer[b]->counter)
                assert_same(&l[0], &l[1], &l[0].node->buffer[b]->data, &l[1].node->buffer[b]->data);
        for (int k = 0; k < 2; k++) bl_graph_free(l[k].graph);
    }
}

/* An optimiser that is not linear in the gradient has that of the weights themselves at every step: AdamW's first one
 * goes against the sign of each. */
static void test_not_linear(void **state) {
    if (!device) skip();
    static const char steps[] = "EEkkRkkEk";
    optimiser = &bl_optimiser_adamw;
    for (int i = 0; i < SCHEDULED; i++) {
        struct layer l[2];
        make_scheduled(&l[0], i), make_scheduled(&l[1], i);
        struct bl_param *weight = l[0].node->param[0];
        size_t count = (size_t)weight->data.count;
        float *start = values_of(weight), *gradient = allocate(count);
        for (uint64_t t = 0; steps[t]; t++) {
            enum bl_nd_action action = steps[t] == 'E' ? BL_ND_EXACT : steps[t] == 'R' ? BL_ND_RENEW : BL_ND_REUSE;
            for (int k = 0; k < 2; k++) update(&l[k], t, action, !k);
            assert_null(weight->target);
            assert_same(&l[0], &l[1], l[0].node->out[0], l[1].node->out[0]);
            assert_same(&l[0], &l[1], &weight->data, &l[1].node->param[0]->data);
            if (t) continue;
            float *moved = values_of(weight);
            check(bl_mem_read(weight->grad.mem, 0, 4 * count, gradient));
            for (size_t j = 0; j < count; j++)
                if (fabs((double)gradient[j]) > 1e-4) assert_true((moved[j] < start[j]) == (gradient[j] > 0));
            free(moved);
        }
        free(start), free(gradient);
        for (int k = 0; k < 2; k++) bl_graph_free(l[k].graph);
    }
    optimiser = &bl_optimiser_sgd;
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),          cmocka_unit_test(test_evaluation),
        cmocka_unit_test(test_freeze),         cmocka_unit_test(test_freeze_is_saved),
        cmocka_unit_test(test_constant_batch), cmocka_unit_test(test_one_sample),
        cmocka_unit_test(test_change),         cmocka_unit_test(test_renew),
        cmocka_unit_test(test_updates),        cmocka_unit_test(test_not_linear),
    };
    int failed = open_test_device(&device);
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed + close_test_device(device);
}
