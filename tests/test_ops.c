/* Every operation, forward against its definition in double precision and backward against central differences of the
 * reference, at odd sizes and batch 1. A row is a case in each type that its operation takes; the harness knows no
 * operation but for the loss's labels. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "graph/describe.h"
#include "graph/graph.h"
#include "graph/reference.h"
#include "harness.h"
#include "ops_rows.h"

static struct blanch_device *device;

/* What storing a value rounds it by: 2^-11 and 2^-8 of itself; twice that of the largest, for values added to what is
 * there and gradients from stored outputs. */
static const double rounding[] = {[BL_F32] = 0, [BL_F16] = 0x1p-11, [BL_BF16] = 0x1p-8};

/* --- numbers ---------------------------------------------------------------------------------- */

static void compare(const char *what, const float *got, const double *want, size_t count, size_t step,
                    double tolerance) {
    double largest = 1e-30;
    for (size_t i = 0; i < count; i += step) largest = fmax(largest, fabs(want[i]));
    for (size_t i = 0; i < count; i += step)
        if (!(fabs(got[i] - want[i]) <= tolerance * largest))
            fail_msg("%s[%zu]: got %.7g, expected %.7g (largest %.3g)", what, i, (double)got[i], want[i], largest);
}

/* --- a case ----------------------------------------------------------------------------------- */

struct typed {
    const struct row *row;
    enum bl_type type;
    char name[96];
};

struct test_case {
    const struct row *row;
    enum bl_type type;
    double tolerance;
    struct bl_graph *graph;
    struct bl_node *node;
    struct blanch_tensor *in[2];
    struct bl_ref_layer layer;
    struct bl_ref_tensor x[2];
    int inputs, n;
    double *grad_y;
    int32_t *labels;           // of images, or of pixels
    int label_count, labelled; // of labels; those that are not ignored
    size_t outputs;
};

/* Its input is the labels alone. */
static bool is_of_labels(const struct test_case *t) {
    return !strcmp(t->row->op, "embedding");
}
static bool is_loss(const struct test_case *t) {
    return bl_op_find(t->row->op)->role == BL_ROLE_LOSS;
}

static void build(struct test_case *t) {
    const int *s = t->row->shape, *s2 = t->row->shape2;
    check(bl_graph_create(&t->graph, device, t->n + 1, false)); // a partial batch: one image fewer than planned
    bl_graph_want_input_grads(t->graph);
    bl_graph_store_as(t->graph, t->type);
    struct blanch_tensor *in[2] = {NULL};
    int inputs = 0;
    if (!is_of_labels(t)) in[inputs++] = t->in[0] = bl_graph_input(t->graph, s[1], s[2], s[3]);
    if (t->inputs > 1) in[inputs++] = t->in[1] = bl_graph_input(t->graph, s2[1], s2[2], s2[3]);
    if (t->labels)
        in[inputs++] = bl_graph_input_as(t->graph, BL_I32, 1, is_of_labels(t) ? 1 : s[2], is_of_labels(t) ? 1 : s[3]);
    bl_graph_add(t->graph, t->row->op, "layer", &t->row->attrs, in, inputs);
    check(bl_graph_finish(t->graph, 1));
    t->node = bl_graph_node(t->graph, 0);
}

/* Puts values on the device, and what was stored of them back: the same on both sides. */
static void put(struct test_case *t, struct blanch_tensor *tensor, double *v, size_t count) {
    float *values = narrow(v, count);
    check(bl_tensor_write(t->graph, tensor, t->n, values));
    check(bl_tensor_read(t->graph, tensor, t->n, values));
    for (size_t i = 0; i < count; i++) v[i] = values[i];
    free(values);
}

/* Random inputs, parameters and buffers, the same on both sides. */
static void fill(struct test_case *t) {
    t->layer = (struct bl_ref_layer){
        .attrs = &t->row->attrs, .training = !t->row->eval, .labels = t->labels, .seed = 1, .step = 1};
    for (int k = 0; k < t->inputs; k++) {
        const int *s = k ? t->row->shape2 : t->row->shape;
        t->x[k] = (struct bl_ref_tensor){s[0], s[1], s[2], s[3], NULL};
        t->x[k].v = random_values(bl_ref_count(&t->x[k]), 10 + (uint64_t)k, t->row->spread > 0 ? t->row->spread : 1.5,
                                  t->row->mean != 0 ? t->row->mean : 0.4);
        if (t->in[k]) put(t, t->in[k], t->x[k].v, bl_ref_count(&t->x[k]));
    }
    for (int i = 0; i < t->node->params + t->node->buffers; i++) {
        bool buffer = i >= t->node->params;
        struct bl_param *p = buffer ? t->node->buffer[i - t->node->params] : t->node->param[i];
        if (p->counter) {
            t->layer.counter[i - t->node->params] = p->value = t->row->counter;
            continue;
        }
        bool square = p->dims > 1 && buffer, variance = strstr(p->name, "_var");
        double *v = random_values((size_t)p->data.count, 20 + (uint64_t)i, buffer ? 0.1 : 0.4, 0);
        int64_t side = square ? p->shape[p->dims - 1] : 1;
        for (int64_t j = 0; j < p->data.count; j++) {
            if (square && j / side % side == j % side) v[j] += 1;
            if (variance) v[j] = (float)(0.5 + fabs(v[j]));
        }
        for (int64_t j = 0; square && j < p->data.count; j++) { // symmetric, as the buffers of D are
            int64_t base = j - j % (side * side), r = j / side % side, c = j % side;
            if (c > r) v[base + c * side + r] = v[j];
        }
        float *values = narrow(v, (size_t)p->data.count);
        check(bl_param_write(p, values));
        free(values);
        if (buffer)
            t->layer.buffer[i - t->node->params] = v;
        else
            t->layer.param[i] = v;
    }
    bl_graph_touch(t->graph);
}

/* sum(y * grad_y) of the reference at the counters of the case; buffers are left as they were. */
static double objective(struct test_case *t) {
    struct bl_ref_layer copy = t->layer;
    struct bl_ref_tensor y;
    double sum = 0;
    for (int i = 0; i < t->node->buffers; i++)
        if (copy.buffer[i]) {
            size_t bytes = sizeof(double) * (size_t)t->node->buffer[i]->data.count;
            copy.buffer[i] = memcpy(malloc(bytes), t->layer.buffer[i], bytes);
        }
    for (int i = 0; i < t->node->buffers; i++) copy.counter[i] = t->row->counter;
    check(bl_ref_forward(bl_op_find(t->row->op), &copy, t->x, t->inputs, &y));
    for (size_t i = 0; i < bl_ref_count(&y); i++) sum += y.v[i] * t->grad_y[i];
    for (int i = 0; i < t->node->buffers; i++) free(copy.buffer[i]);
    free(y.v);
    return sum;
}

static void check_gradient(struct test_case *t, const char *what, double *values, size_t count, const float *got) {
    double *want = calloc(count, sizeof *want);
    size_t step = count / 150 + 1;
    assert_non_null(want);
    for (size_t i = 0; i < count; i += step) {
        double keep = values[i], h = 1e-5;
        values[i] = keep + h;
        double up = objective(t);
        values[i] = keep - h;
        want[i] = (up - objective(t)) / (2 * h);
        values[i] = keep;
    }
    compare(what, got, want, count, step, 2 * t->tolerance);
    free(want);
}

static void check_backward(struct test_case *t) {
    for (int k = 0; k < t->inputs && t->in[k]; k++) {
        float *got = calloc(bl_ref_count(&t->x[k]), sizeof *got);
        check(bl_tensor_read(t->graph, t->in[k]->grad, t->n, got));
        check_gradient(t, k ? "grad_x2" : "grad_x", t->x[k].v, bl_ref_count(&t->x[k]), got);
        free(got);
    }
    for (int i = 0; i < t->node->params; i++) {
        struct bl_param *p = t->node->param[i];
        float *got = calloc((size_t)p->data.count, sizeof *got);
        check(bl_mem_read(p->grad.mem, 0, 4 * (size_t)p->data.count, got));
        check_gradient(t, p->name, t->layer.param[i], (size_t)p->data.count, got);
        free(got);
    }
}

/* How many pixels of an image are right, and how many have a label; and what the largest logit's class is. */
static void check_counts(struct test_case *t, const float *got) {
    const size_t classes = (size_t)t->x[0].c, plane = (size_t)(t->x[0].h * t->x[0].w);
    int32_t *first = calloc((size_t)t->n * plane, sizeof *first);
    if (t->node->outputs > 1) check(bl_mem_read(t->node->out[1]->mem, 0, sizeof *first * (size_t)t->n * plane, first));
    for (size_t n = 0; n < (size_t)t->n && t->node->outputs > 1; n++) {
        int right = 0, labelled = 0;
        for (size_t p = 0; p < plane; p++) {
            const double *z = t->x[0].v + n * classes * plane + p;
            const int32_t label = t->labels[n * plane + p];
            int32_t best = 0;
            for (size_t c = 1; c < classes; c++)
                if (z[c * plane] > z[(size_t)best * plane]) best = (int32_t)c;
            assert_int_equal(first[n * plane + p], best);
            right += best == label, labelled += label != BL_IGNORED_LABEL;
        }
        assert_int_equal((int)got[3 * n + 1], right);
        assert_int_equal((int)got[3 * n + 2], labelled);
    }
    free(first);
}

static void check_forward(struct test_case *t, const struct bl_ref_tensor *y, double tolerance) {
    float *got = calloc(3 * bl_ref_count(y), sizeof *got);
    assert_non_null(got);
    check(bl_tensor_read(t->graph, t->node->out[0], t->n, got));
    if (is_loss(t) && t->labels) check_counts(t, got);
    if (is_loss(t))
        for (int i = 0; i < t->n; i++) got[i] = got[3 * i];
    compare("y", got, y->v, bl_ref_count(y), 1, tolerance);
    free(got);
}

static void check_buffers(struct test_case *t, double tolerance) {
    for (int i = 0; i < t->node->buffers; i++) {
        struct bl_param *p = t->node->buffer[i];
        if (p->counter && p->value != t->layer.counter[i])
            fail_msg("%s: got %d, expected %d", p->name, (int)p->value, (int)t->layer.counter[i]);
        if (p->counter) continue;
        float *got = calloc((size_t)p->data.count, sizeof *got);
        check(bl_param_read(p, got));
        compare(p->name, got, t->layer.buffer[i], (size_t)p->data.count, 1, tolerance);
        free(got);
    }
}

static void set_grad_y(struct test_case *t, const struct bl_ref_tensor *y) {
    t->grad_y = random_values(bl_ref_count(y), 30, 1, 0);
    if (is_loss(t)) { // the mean over the rows that have one, or the images; no gradient comes in
        const int64_t total = t->labels ? t->labelled : t->n;
        for (int i = 0; i < t->n; i++) t->grad_y[i] = 1.0 / (double)total;
        bl_graph_weigh_batch(t->graph, (double)total);
        return;
    }
    put(t, t->node->out[0]->grad, t->grad_y, bl_ref_count(y));
}

/* What the table does not say that backward reads is gone by then. */
static void forget_unread(struct test_case *t) {
    const struct bl_node *node = t->node;
    const int inputs = is_of_labels(t) ? 0 : t->inputs;
    for (int i = 0; i < inputs + node->outputs; i++) {
        const bool in = i < inputs;
        const struct blanch_tensor *tensor = in ? node->in[i] : node->out[i - inputs];
        if (node->op->reads & (in ? BL_IN(i) : BL_OUT(i - inputs))) continue;
        check(bl_mem_fill(tensor->mem, 0, bl_tensor_bytes(tensor) / sizeof(float) * sizeof(float), NAN));
    }
}

static void release(struct test_case *t) {
    bl_graph_free(t->graph);
    for (int i = 0; i < BL_MAX_PARAMS; i++) free(t->layer.param[i]);
    for (int i = 0; i < BL_MAX_BUFFERS; i++) free(t->layer.buffer[i]);
    free(t->x[0].v), free(t->x[1].v), free(t->grad_y), free(t->labels);
}

static void run_case(void **state) {
    if (!device) skip();
    const struct typed *typed = *state;
    struct test_case t = {.row = typed->row, .type = typed->type};
    t.tolerance = (t.row->tolerance > 0 ? t.row->tolerance : 1e-4) + rounding[t.type];
    t.n = t.row->shape[0], t.inputs = t.row->shape2[0] ? 2 : 1;
    if (!strcmp(t.row->op, "softmax_cross_entropy") || is_of_labels(&t)) {
        const int classes = is_of_labels(&t) ? t.row->attrs.embedding.count : t.row->shape[1],
                  plane = is_of_labels(&t) ? 1 : t.row->shape[2] * t.row->shape[3];
        t.label_count = t.n * plane;
        t.labels = calloc((size_t)t.label_count, sizeof *t.labels);
        for (int i = 0; i < t.label_count; i++) {
            const bool ignored = plane > 1 && i % 5 == 3;
            t.labels[i] = ignored ? BL_IGNORED_LABEL : (i * 7 + 2) % classes, t.labelled += !ignored;
        }
    }
    build(&t);
    if (t.labels) check(bl_mem_write(bl_graph_labels(t.graph)->mem, 0, 4 * (size_t)t.label_count, t.labels));
    fill(&t);
    struct bl_ref_tensor y;
    check(bl_graph_forward(t.graph, t.n, !t.row->eval));
    check(bl_ref_forward(bl_op_find(t.row->op), &t.layer, t.x, t.inputs, &y));
    check_forward(&t, &y, t.tolerance);
    check_buffers(&t, t.tolerance);
    if (t.node->op->backward) {
        set_grad_y(&t, &y);
        forget_unread(&t);
        check(bl_graph_backward_from(t.graph, t.n, !t.row->eval));
        check_backward(&t);
    }
    free(y.v);
    release(&t);
}

/* Of every row: to JSON, back, and to JSON again. */
static void test_attributes(void **state) {
    for (int i = 0; i < BL_COUNT(rows); i++) {
        const struct bl_op *op = bl_op_find(rows[i].op);
        void *back = calloc(1, op->attrs_size + 1);
        cJSON *json = bl_attrs_to_json(op, &rows[i].attrs), *again = NULL;
        assert_true(back && json);
        check(bl_attrs_from_json(op, json, back));
        again = bl_attrs_to_json(op, back);
        char *want = cJSON_Print(json), *got = cJSON_Print(again);
        if (strcmp(want, got)) fail_msg("%s: %s became %s", rows[i].name, want, got);
        cJSON_free(want), cJSON_free(got), free(back);
        cJSON_Delete(json), cJSON_Delete(again);
    }
}

/* Kernels are built for every type, which takes most of the time: the suite takes each operation's first row in 16
 * bits, of those for GPUs in half precision alone; a filter on the command line ('*') takes all of them. */
static bool is_first(int row) {
    for (int i = 0; i < row; i++)
        if (!strcmp(rows[i].op, rows[row].op)) return false;
    return true;
}

int main(int argc, char **argv) {
    int failed = open_test_device(&device);
    enum { MOST = BL_COUNT(rows) * BL_COUNT(rounding) };
    struct CMUnitTest tests[MOST + 1];
    static struct typed cases[MOST];
    const bool gpu = !strcmp(getenv("BLANCH_KIND") ? getenv("BLANCH_KIND") : "", "gpu");
    size_t count = 0;
    for (int type = 0; type < BL_COUNT(rounding); type++)
        for (int i = 0; i < BL_COUNT(rows); i++) {
            if (type != BL_F32 && !(bl_op_find(rows[i].op)->types & BL_TYPE_BIT(type))) continue;
            if (type != BL_F32 && argc == 1 && !is_first(i)) continue;
            if (type == BL_BF16 && argc == 1 && gpu) continue;
            struct typed *c = &cases[count];
            *c = (struct typed){.row = &rows[i], .type = (enum bl_type)type};
            snprintf(c->name, sizeof c->name, type ? "%s, %s" : "%s", rows[i].name, bl_type_traits[type].name);
            tests[count++] = (struct CMUnitTest){c->name, run_case, NULL, NULL, c};
        }
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(test_attributes);
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    failed += _cmocka_run_group_tests("operations", tests, count, NULL, NULL);
    return failed + close_test_device(device);
}
