/* Validation: a training step's layers recomputed on the host in plain C, each from the inputs that the device has, so
 * that errors do not add up from layer to layer. Layers without statistics of the batch are compared on its first
 * images alone; those with them (batch norm, network deconvolution) need all images for the statistics, which is what
 * takes long: the covariance and the inverse root of a layer of 576 features cost a few seconds of one core. */
#include "train/train.h"
#include "graph/reference.h"
#include "ops/nd/schedule.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_IMAGES = 8 };

struct validator {
    struct bl_graph *graph;
    struct bl_validation *result;
    int64_t step;
    struct bl_ref_layer layer;
    struct bl_ref_tensor x[BL_MAX_INPUTS];
    int inputs;
    int32_t *labels, *others;
};

static double *widen(const float *values, size_t count) {
    double *wide = bl_ref_doubles(count);
    for (size_t i = 0; i < count && wide; i++) wide[i] = (double)values[i];
    return wide;
}

static void forget(struct validator *v) {
    for (int i = 0; i < BL_MAX_INPUTS; i++) free(v->x[i].v);
    for (int i = 0; i < BL_MAX_PARAMS; i++) free(v->layer.param[i]);
    for (int i = 0; i < BL_MAX_BUFFERS; i++) free(v->layer.buffer[i]);
    free(v->labels), free(v->others);
    memset(v->x, 0, sizeof v->x);
    v->layer = (struct bl_ref_layer){0};
    v->labels = v->others = NULL;
    v->inputs = 0;
}

/* --- what the device has ---------------------------------------------------------------------- */

/* n images, NCHW, in freshly allocated floats. */
static int read_tensor(struct bl_graph *graph, struct blanch_tensor *tensor, int n, float **values) {
    *values = bl_calloc((size_t)(tensor->count / tensor->n * n), sizeof **values);
    return *values ? bl_tensor_read(graph, tensor, n, *values) : BLANCH_ENOMEM;
}

static int read_input(struct validator *v, struct blanch_tensor *tensor, int n) {
    float *values = NULL;
    int code = read_tensor(v->graph, tensor, n, &values);
    struct bl_ref_tensor *x = &v->x[v->inputs];
    *x = (struct bl_ref_tensor){n, (int)tensor->c, (int)tensor->h, (int)tensor->w, NULL};
    if (!code && !(x->v = widen(values, bl_ref_count(x)))) code = BLANCH_ENOMEM;
    free(values);
    v->inputs++;
    return code;
}

/* The loss's: labels, and others where images are mixed. */
static int read_labels(struct validator *v, struct blanch_tensor *tensor, int n) {
    int32_t **to = tensor == bl_graph_labels(v->graph) ? &v->labels : &v->others;
    *to = bl_calloc((size_t)n, sizeof **to);
    v->layer.labels = v->labels, v->layer.others = v->others;
    return *to ? bl_mem_read(tensor->mem, 0, sizeof **to * (size_t)n, *to) : BLANCH_ENOMEM;
}

static int read_param(struct bl_param *param, double **out) {
    float *values = bl_calloc((size_t)param->data.count, sizeof *values);
    int code = values ? bl_param_read(param, values) : BLANCH_ENOMEM;
    if (!code && !(*out = widen(values, (size_t)param->data.count))) code = BLANCH_ENOMEM;
    free(values);
    return code;
}

static bool reuses(const struct bl_node *node) {
    return node->whitening && bl_whitening_look(node->whitening, 0).next == BL_ND_REUSE;
}

/* Before a node runs: its inputs, parameters and buffers, as its forward pass will find them. */
static int before(void *context, struct bl_node *node, const struct bl_run *run, enum bl_action_kind kind) {
    struct validator *v = context;
    int n = node->buffers || run->n < FIRST_IMAGES ? run->n : FIRST_IMAGES, code = bl_check_interrupted();
    if (code || kind != BL_DO_FORWARD) return code;
    forget(v);
    v->layer = (struct bl_ref_layer){.attrs = node->attrs,
                                     .training = run->training,
                                     .images = FIRST_IMAGES,
                                     .reuse = reuses(node),
                                     .seed = run->seed,
                                     .step = run->step,
                                     .share = (double)run->share,
                                     .index = node->index};
    for (int i = 0; i < node->inputs && !code; i++)
        code = node->in[i]->type == BL_I32 ? read_labels(v, node->in[i], n) : read_input(v, node->in[i], n);
    if (!v->inputs) v->x[0].n = n; // labels alone
    for (int i = 0; i < node->params && !code; i++) code = read_param(node->param[i], &v->layer.param[i]);
    for (int i = 0; i < node->buffers && !code; i++)
        if (node->buffer[i]->counter)
            v->layer.counter[i] = node->buffer[i]->value;
        else
            code = read_param(node->buffer[i], &v->layer.buffer[i]);
    return code;
}

/* --- comparing -------------------------------------------------------------------------------- */

static int differs(const struct validator *v, const struct bl_node *node, const char *where, double got,
                   double expected) {
    if (!isfinite(expected))
        return bl_fail(BLANCH_EDIVERGED,
                       "step %" PRId64 ": %s (%s): %s is %g on the device and %g in plain C; try a smaller --lr",
                       v->step, node->name, node->op->name, where, got, expected);
    return bl_fail(BLANCH_EMISMATCH, "step %" PRId64 ": %s (%s): %s is %.7g on the device, %.7g in plain C", v->step,
                   node->name, node->op->name, where, got, expected);
}

/* By how much a value is off for being stored so, of itself. */
static double rounding_of(enum bl_type type) {
    return type == BL_F16 ? 0x1p-11 : type == BL_BF16 ? 0x1p-8 : 0;
}

/* The first value that is off by more than the tolerance, or count; the largest error goes to the result. Values of the
 * device lie `stride` apart. */
static size_t first_difference(struct validator *v, const struct bl_node *node, enum bl_type type, const float *got,
                               const double *expected, size_t count, size_t stride) {
    double bound = node->op->tolerance + rounding_of(type), largest = 1e-6;
    for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs(expected[i]));
    for (size_t i = 0; i < count; i++) {
        double error = fabs((double)got[i * stride] - expected[i]) / largest;
        if (!(error <= bound)) return i;
        if (error <= v->result->largest_error) continue;
        v->result->largest_error = error;
        snprintf(v->result->largest_in, sizeof v->result->largest_in, "%s", node->name);
    }
    return count;
}

static int compare_output(struct validator *v, struct bl_node *node, const struct bl_ref_tensor *y) {
    float *got = NULL;
    char where[100];
    size_t count = bl_ref_count(y), stride = (size_t)(node->out[0]->count / node->out[0]->n * y->n) / count;
    int code = read_tensor(v->graph, node->out[0], y->n, &got);
    if (!code) {
        size_t at = first_difference(v, node, node->out[0]->type, got, y->v, count, stride),
               plane = (size_t)y->h * y->w;
        if (at < count) {
            snprintf(where, sizeof where, "output[%zu, %zu, %zu, %zu]", at / (plane * y->c), at / plane % y->c,
                     at % plane / y->w, at % y->w);
            code = differs(v, node, where, (double)got[at * stride], y->v[at]);
        }
    }
    free(got);
    return code;
}

static int compare_buffer(struct validator *v, struct bl_node *node, int index) {
    struct bl_param *p = node->buffer[index];
    size_t count = (size_t)p->data.count;
    char where[200];
    if (p->counter) {
        if (p->value == v->layer.counter[index]) return 0;
        return differs(v, node, p->name, (double)p->value, (double)v->layer.counter[index]);
    }
    float *got = bl_calloc(count, sizeof *got);
    int code = got ? bl_param_read(p, got) : BLANCH_ENOMEM;
    size_t at = code ? count : first_difference(v, node, BL_F32, got, v->layer.buffer[index], count, 1);
    if (at < count) {
        snprintf(where, sizeof where, "%s[%zu]", p->name, at);
        code = differs(v, node, where, (double)got[at], v->layer.buffer[index][at]);
    }
    free(got);
    return code;
}

static int check_finite(const struct validator *v, const struct bl_node *node, const char *what,
                        struct blanch_tensor *tensor, int n) {
    const int64_t count = tensor->count / tensor->n * n;
    float *values = NULL;
    int code = read_tensor(v->graph, tensor, n, &values);
    for (int64_t i = 0; i < count && !code; i++)
        if (!isfinite(values[i]))
            code = bl_fail(BLANCH_EMISMATCH,
                           "step %" PRId64 ": %s (%s): the gradient of %s is not finite on the device (%g)", v->step,
                           node->name, node->op->name, what, (double)values[i]);
    free(values);
    return code;
}

static int check_gradients(const struct validator *v, struct bl_node *node, int n) {
    int code = 0;
    for (int i = 0; i < node->inputs && !code; i++)
        if (node->in[i]->grad) code = check_finite(v, node, "its input", node->in[i]->grad, n);
    for (int i = 0; i < node->params && !code; i++)
        code = check_finite(v, node, node->param[i]->name, &node->param[i]->grad, (int)node->param[i]->grad.n);
    return code;
}

/* What the graph had this node apply to its output. */
static int apply_fused(const struct bl_node *node, struct bl_ref_tensor *y) {
    int code = 0;
    for (int i = 0; i < node->fused && !code; i++) {
        struct bl_ref_layer layer = {0};
        struct bl_ref_tensor x = *y;
        code = bl_ref_forward(node->fusion[i]->op, &layer, &x, 1, y);
        free(x.v);
    }
    return code;
}

static int after(void *context, struct bl_node *node, const struct bl_run *run, enum bl_action_kind kind) {
    struct validator *v = context;
    struct bl_ref_tensor y = {0};
    if (kind == BL_DO_AGAIN) return 0;
    if (kind == BL_DO_BACKWARD) return check_gradients(v, node, run->n);
    int code = bl_ref_forward(node->op, &v->layer, v->x, v->inputs, &y);
    if (!code) code = apply_fused(node, &y);
    if (!code) code = compare_output(v, node, &y);
    for (int i = 0; i < node->buffers && !code; i++) code = compare_buffer(v, node, i);
    free(y.v);
    v->result->layers++;
    return code;
}

int bl_network_validate(struct blanch_network *net, const struct bl_batch *batch, int64_t step,
                        struct bl_validation *result) {
    struct validator v = {.graph = net->graph, .result = result, .step = step};
    const struct bl_visitor visitor = {&v, before, after};
    double start = bl_now();
    *result = (struct bl_validation){0};
    int code = bl_network_load(net, batch);
    if (!code) code = bl_graph_walk(net->graph, batch->count, &visitor);
    forget(&v);
    result->seconds = bl_now() - start;
    return code;
}
