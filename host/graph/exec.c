/* Running a graph: initial parameters, forward, backward, update, transfers, the search for what is not finite. */
#include "graph/internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- running ---------------------------------------------------------------------------------- */

void bl_graph_touch(struct bl_graph *graph) {
    graph->version++;
}
void bl_graph_set_step(struct bl_graph *graph, uint64_t step) {
    graph->step = graph->updates = step;
}
void bl_graph_no_dropout(struct bl_graph *graph) {
    graph->no_dropout = true;
}
void bl_graph_want_input_grads(struct bl_graph *graph) {
    graph->want_input_grads = true;
}

int bl_graph_run_node(struct bl_graph *graph, struct bl_node *node, const struct bl_run *run, bool backward) {
    bl_tag(graph->dev, node->index, backward ? node->op->phase_backward : node->op->phase_forward);
    int code = backward ? node->op->backward(node, run) : node->op->forward(node, run);
    return code ? bl_fail_in(code, "%s", node->name) : 0;
}

struct bl_run bl_graph_run(const struct bl_graph *graph, int n, bool training) {
    return (struct bl_run){.n = n,
                           .training = training,
                           .no_dropout = graph->no_dropout,
                           .weights_version = graph->version,
                           .seed = graph->seed,
                           .step = graph->step};
}

bool bl_graph_runs(const struct bl_node *node) {
    return !node->idle && !node->fused_into;
}

bool bl_graph_has_backward(const struct bl_graph *graph, const struct bl_node *node) {
    return node->op->backward && !node->fused_into && (node->out[0]->grad || node == graph->loss);
}

static int forward(struct bl_graph *graph, int n, bool training, bool update) {
    if (n < 1 || n > graph->batch)
        return bl_fail(BLANCH_EUSAGE, "%d images for a graph planned for 1 to %d", n, graph->batch);
    if (training && graph->inference) return bl_fail(BLANCH_EUSAGE, "a network made for inference cannot be trained");
    if (training) graph->version++, graph->step++; // running buffers change
    struct bl_run run = bl_graph_run(graph, n, training);
    run.update = update;
    int code = 0;
    for (size_t i = 0; i < graph->node_count && !code; i++)
        if (bl_graph_runs(graph->nodes[i])) code = bl_graph_run_node(graph, graph->nodes[i], &run, false);
    bl_tag(graph->dev, -1, BL_OTHER);
    return code;
}

int bl_graph_forward(struct bl_graph *graph, int n, bool training) {
    return forward(graph, n, training, false);
}
int bl_graph_forward_to_update(struct bl_graph *graph, int n) {
    return forward(graph, n, true, true);
}

int bl_graph_backward_from(struct bl_graph *graph, int n, bool training) {
    if (graph->inference) return bl_fail(BLANCH_EUSAGE, "a network made for inference has no backward pass");
    struct bl_run run = bl_graph_run(graph, n, training);
    int code = 0;
    for (size_t i = graph->node_count; i-- > 0 && !code;) {
        struct bl_node *node = graph->nodes[i];
        if (bl_graph_has_backward(graph, node)) code = bl_graph_run_node(graph, node, &run, true);
    }
    bl_tag(graph->dev, -1, BL_OTHER);
    return code;
}

int bl_graph_backward(struct bl_graph *graph, int n) {
    return bl_graph_backward_from(graph, n, true);
}

int bl_graph_update(struct bl_graph *graph, const struct blanch_update *update) {
    const struct bl_optimiser *optimiser = graph->optimiser;
    if (!optimiser || graph->inference)
        return bl_fail(BLANCH_EUSAGE, "a network made without an optimiser cannot be updated");
    bl_tag(graph->dev, -1, BL_UPDATE);
    int code = 0;
    graph->updates++;
    for (size_t i = 0; i < graph->group_count && !code; i++) {
        const struct group *g = &graph->groups[i];
        struct bl_update_span span = {graph->dev, g->data, g->grad, {0}, (int64_t)(g->bytes / sizeof(float))};
        memcpy(span.state, g->state, sizeof span.state);
        if (!g->idle) code = optimiser->update(&span, update, (int64_t)graph->updates);
    }
    bl_tag(graph->dev, -1, BL_OTHER);
    for (size_t i = 0; i < graph->param_count; i++) {
        const struct bl_update_target *target = graph->params[i]->target;
        if (target) target->updated(target->context, optimiser, update);
    }
    graph->version++;
    return code;
}

int bl_graph_metrics(struct bl_graph *graph, int n, struct blanch_metrics *metrics) {
    if (!graph->loss) return bl_fail(BLANCH_EUSAGE, "the graph has no loss");
    if (!graph->metrics && !(graph->metrics = bl_calloc(3 * (size_t)graph->batch, sizeof(float)))) return BLANCH_ENOMEM;
    int code = bl_mem_read(graph->loss->out[0]->mem, 0, 3 * (size_t)n * sizeof(float), graph->metrics);
    if (code) return code;
    *metrics = (struct blanch_metrics){.count = n};
    for (int i = 0; i < n; i++) {
        metrics->loss += graph->metrics[3 * i] / (double)n;
        metrics->top1 += graph->metrics[3 * i + 1] < 1;
        metrics->top5 += graph->metrics[3 * i + 1] < 5;
    }
    return 0;
}

/* --- transfers -------------------------------------------------------------------------------- */

static void reorder(const struct bl_tensor *t, int n, float *nchw, float *nhwc, bool to_device) {
    int64_t pixels = t->h * t->w;
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < t->c; c++)
            for (int64_t p = 0; p < pixels; p++) {
                float *a = &nchw[(i * t->c + c) * pixels + p], *b = &nhwc[(i * pixels + p) * t->c + c];
                if (to_device)
                    *b = *a;
                else
                    *a = *b;
            }
}

int bl_tensor_write_nhwc(struct bl_tensor *tensor, int n, const float *nhwc) {
    size_t count = (size_t)(tensor->count / tensor->n * n), bytes = count * bl_type_bytes(tensor->type);
    if (tensor->type == BL_F32) return bl_mem_write(tensor->mem, 0, bytes, nhwc);
    void *stored = bl_calloc(count, bl_type_bytes(tensor->type));
    if (!stored) return BLANCH_ENOMEM;
    bl_type_narrow(tensor->type, nhwc, stored, count);
    int code = bl_mem_write(tensor->mem, 0, bytes, stored);
    free(stored);
    return code;
}

/* The first count elements, as floats. */
static int read_floats(const struct bl_tensor *tensor, int64_t count, float *values) {
    size_t bytes = (size_t)count * bl_type_bytes(tensor->type);
    if (tensor->type == BL_F32) return bl_mem_read(tensor->mem, 0, bytes, values);
    void *stored = bl_calloc((size_t)count, bl_type_bytes(tensor->type));
    int code = stored ? bl_mem_read(tensor->mem, 0, bytes, stored) : BLANCH_ENOMEM;
    if (!code) bl_type_widen(tensor->type, stored, values, (size_t)count);
    free(stored);
    return code;
}

int bl_tensor_write(struct bl_graph *graph, struct bl_tensor *tensor, int n, const float *nchw) {
    int64_t count = tensor->count / tensor->n * n;
    float *copy = bl_calloc((size_t)count, sizeof *copy);
    if (!copy) return BLANCH_ENOMEM;
    reorder(tensor, n, (float *)nchw, copy, true);
    int code = bl_tensor_write_nhwc(tensor, n, copy);
    free(copy);
    return code;
}

int bl_tensor_read(struct bl_graph *graph, struct bl_tensor *tensor, int n, float *nchw) {
    int64_t count = tensor->count / tensor->n * n;
    float *copy = bl_calloc((size_t)count, sizeof *copy);
    if (!copy) return BLANCH_ENOMEM;
    int code = read_floats(tensor, count, copy);
    if (!code) reorder(tensor, n, nchw, copy, false);
    free(copy);
    return code;
}

/* --- what is not finite ----------------------------------------------------------------------- */

/* 1: it holds a NaN or an infinity; 0: it does not; negative: the read failed. */
static int nonfinite(const struct bl_tensor *tensor, int64_t count) {
    float *values = bl_calloc((size_t)count, sizeof *values);
    if (!values) return BLANCH_ENOMEM;
    int found = read_floats(tensor, count, values);
    for (int64_t i = 0; i < count && !found; i++) found = !isfinite(values[i]);
    free(values);
    return found;
}

int bl_graph_find_nonfinite(struct bl_graph *graph, int n, const char **node, const char **what) {
    *node = NULL, *what = NULL;
    int ended = bl_graph_end_targets(graph);
    if (ended) return ended;
    for (size_t i = 0; i < graph->param_count; i++) {
        struct bl_param *p = graph->params[i];
        int found = p->counter ? 0 : nonfinite(&p->data, p->data.count);
        if (found < 0) return found;
        if (found) return *node = p->name, *what = p->trainable ? "parameter" : "buffer", 0;
    }
    struct bl_run run = bl_graph_run(graph, n, !graph->inference);
    for (size_t i = 0; i < graph->node_count; i++) {
        struct bl_node *at = graph->nodes[i];
        if (!bl_graph_runs(at)) continue;
        int code = bl_graph_run_node(graph, at, &run, false);
        if (code) return code;
        int found = nonfinite(at->out[0], at->out[0]->count / at->out[0]->n * n);
        if (found < 0) return found;
        if (found) return *node = at->name, *what = "output", 0;
    }
    for (size_t i = graph->node_count; i-- > 0 && !graph->inference;) {
        struct bl_node *at = graph->nodes[i];
        if (!bl_graph_has_backward(graph, at)) continue;
        int code = bl_graph_run_node(graph, at, &run, true);
        if (code) return code;
        for (int k = 0; k < at->inputs + at->params; k++) {
            struct bl_tensor *t = k < at->inputs ? at->in[k]->grad : &at->param[k - at->inputs]->grad;
            int found = t ? nonfinite(t, k < at->inputs ? t->count / t->n * n : t->count) : 0;
            if (found < 0) return found;
            if (found) return *node = at->name, *what = "gradient", 0;
        }
    }
    return 0;
}
