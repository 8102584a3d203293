/* Running a graph: initial parameters, forward, backward, update, transfers, the search for what is not finite. */
#include "graph/internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- running ---------------------------------------------------------------------------------- */

void bl_graph_touch(struct bl_graph *graph) {
    graph->version++;
}
struct bl_counts bl_graph_counts(const struct bl_graph *graph) {
    return (struct bl_counts){graph->step, graph->updates};
}
void bl_graph_set_counts(struct bl_graph *graph, struct bl_counts counts) {
    graph->step = counts.steps, graph->updates = counts.updates;
}
void bl_graph_share_labels(struct bl_graph *graph, float share) {
    graph->share = share;
}
void bl_graph_weigh_batch(struct bl_graph *graph, double total) {
    graph->loss_total = total;
}
int bl_graph_judge(struct bl_graph *graph, bool on) {
    if (!graph->skip) return bl_fail(BLANCH_EUSAGE, "a network made without an optimiser has no updates to skip");
    if (graph->judges == on) return 0;
    graph->judges = on;
    return on ? 0 : bl_mem_fill(graph->skip, 0, sizeof(int32_t), 0);
}
void bl_graph_no_dropout(struct bl_graph *graph) {
    graph->no_dropout = true;
}
void bl_graph_want_input_grads(struct bl_graph *graph) {
    graph->want_input_grads = true;
}

struct bl_run bl_graph_run(const struct bl_graph *graph, int n, bool training) {
    const int64_t all = graph->whole ? graph->whole : n;
    const bool shared = graph->all && graph->sync && !graph->repeats;
    return (struct bl_run){.n = n,
                           .training = training,
                           .shares = shared && !graph->accumulates,
                           .no_dropout = graph->no_dropout,
                           .weights_version = graph->version,
                           .seed = graph->seed,
                           .step = graph->step,
                           .whole = shared ? all : n,
                           .share = graph->share,
                           .loss_total = graph->loss_total > 0 ? graph->loss_total : (double)all,
                           .first_image = graph->first_image,
                           .skip = training && graph->judges ? graph->skip : NULL,
                           .all = shared ? graph->all : NULL};
}

int bl_graph_act(struct bl_graph *graph, const struct bl_action *action, const struct bl_run *run) {
    struct bl_node *node = action->node;
    if (!node) return 0; // the update, which bl_graph_update makes
    struct bl_run mine = *run;
    int code;
    mine.again = graph->again = action->kind == BL_DO_AGAIN;
    if (action->kind == BL_DO_BACKWARD) {
        bl_node_phase(node, node->op->phase_backward);
        code = node->op->backward(node, &mine);
    } else {
        bl_node_phase(node, node->op->phase_forward);
        code = node->op->forward(node, &mine);
    }
    graph->again = false;
    return code ? bl_fail_in(code, "%s", node->name) : 0;
}

/* Actions from `begin` to `end` of the list. */
static int act(struct bl_graph *graph, size_t begin, size_t end, const struct bl_run *run) {
    int code = 0;
    for (size_t i = begin; i < end && !code; i++) {
        code = bl_graph_act(graph, &graph->actions[i], run);
        if (!code && i >= graph->forward_count) code = bl_graph_begin_sums(graph, i);
    }
    bl_tag(graph->dev, -1, BL_OTHER);
    return code;
}

int bl_graph_check_batch(const struct bl_graph *graph, int n, bool training) {
    if (n < 1 || n > graph->batch)
        return bl_fail(BLANCH_EUSAGE, "%d images for a graph planned for 1 to %d", n, graph->batch);
    if (training && graph->inference) return bl_fail(BLANCH_EUSAGE, "a network made for inference cannot be trained");
    return 0;
}

static int forward(struct bl_graph *graph, int n, bool training, bool update) {
    int code = bl_graph_check_batch(graph, n, training);
    if (code) return code;
    if (training) graph->version++, graph->step += !graph->continues; // running buffers change
    struct bl_run run = bl_graph_run(graph, n, training);
    run.update = update && (!graph->all || graph->sync); // a target is in coordinates that all ranks have
    return act(graph, 0, graph->forward_count, &run);
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
    if (training && bl_graph_scales_loss(graph)) run.scale = graph->skip;
    graph->unscaled = false;
    return act(graph, graph->forward_count, graph->action_count, &run);
}

int bl_graph_backward(struct bl_graph *graph, int n) {
    return bl_graph_backward_from(graph, n, true);
}

int bl_graph_read_losses(struct bl_graph *graph, int n, float *losses, struct bl_event **event) {
    if (!graph->loss) return bl_fail(BLANCH_EUSAGE, "the graph has no loss");
    return bl_mem_read_later(graph->loss->out[0]->mem, 0, 3 * (size_t)n * sizeof *losses, losses, event);
}

/* Per image the loss and the rank of its class, or sums over its pixels. */
struct blanch_metrics bl_metrics_of(const float *losses, int n, bool pixels) {
    struct blanch_metrics metrics = {.count = n};
    for (int i = 0; i < n && pixels; i++) {
        metrics.loss += losses[3 * i];
        metrics.right += (int64_t)losses[3 * i + 1];
        metrics.pixels += (int64_t)losses[3 * i + 2];
    }
    if (metrics.pixels) metrics.loss /= (double)metrics.pixels;
    for (int i = 0; i < n && !pixels; i++) {
        metrics.loss += losses[3 * i] / (double)n;
        metrics.top1 += losses[3 * i + 1] < 1;
        metrics.top5 += losses[3 * i + 1] < 5;
    }
    return metrics;
}

int bl_graph_metrics(struct bl_graph *graph, int n, struct blanch_metrics *metrics) {
    if (!graph->loss) return bl_fail(BLANCH_EUSAGE, "the graph has no loss");
    if (!graph->metrics && !(graph->metrics = bl_calloc(3 * (size_t)graph->batch, sizeof(float)))) return BLANCH_ENOMEM;
    int code = bl_mem_read(graph->loss->out[0]->mem, 0, 3 * (size_t)n * sizeof(float), graph->metrics);
    if (!code) *metrics = bl_metrics_of(graph->metrics, n, bl_graph_pixels(graph) > 1);
    return code;
}

int bl_graph_answers(struct bl_graph *graph, int n, int32_t *answers) {
    if (!graph->loss || graph->loss->outputs < 2) return bl_fail(BLANCH_EUSAGE, "the graph has no loss of pixels");
    const struct blanch_tensor *first = graph->loss->out[1];
    return bl_mem_read(first->mem, 0, bl_tensor_bytes(first) / (size_t)first->n * (size_t)n, answers);
}

/* --- transfers -------------------------------------------------------------------------------- */

static void reorder(const struct blanch_tensor *t, int n, float *nchw, float *nhwc, bool to_device) {
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

int bl_tensor_write_nhwc(struct blanch_tensor *tensor, int n, const float *nhwc) {
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
static int read_floats(const struct blanch_tensor *tensor, int64_t count, float *values) {
    size_t bytes = (size_t)count * bl_type_bytes(tensor->type);
    if (tensor->type == BL_F32) return bl_mem_read(tensor->mem, 0, bytes, values);
    void *stored = bl_calloc((size_t)count, bl_type_bytes(tensor->type));
    int code = stored ? bl_mem_read(tensor->mem, 0, bytes, stored) : BLANCH_ENOMEM;
    if (!code) bl_type_widen(tensor->type, stored, values, (size_t)count);
    free(stored);
    return code;
}

int bl_tensor_write(struct bl_graph *graph, struct blanch_tensor *tensor, int n, const float *nchw) {
    int64_t count = tensor->count / tensor->n * n;
    float *copy = bl_calloc((size_t)count, sizeof *copy);
    if (!copy) return BLANCH_ENOMEM;
    reorder(tensor, n, (float *)nchw, copy, true);
    int code = bl_tensor_write_nhwc(tensor, n, copy);
    free(copy);
    return code;
}

int bl_tensor_read(struct bl_graph *graph, struct blanch_tensor *tensor, int n, float *nchw) {
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
static int nonfinite(const struct blanch_tensor *tensor, int64_t count) {
    float *values = bl_calloc((size_t)count, sizeof *values);
    if (!values) return BLANCH_ENOMEM;
    int found = read_floats(tensor, count, values);
    for (int64_t i = 0; i < count && !found; i++) found = !isfinite(values[i]);
    free(values);
    return found;
}

struct search {
    struct bl_graph *graph;
    const char *node, *what;
};

enum { FOUND = 1 };

static int found(struct search *search, const char *node, const char *what) {
    search->node = node, search->what = what;
    return FOUND;
}

static int look_at(void *context, struct bl_node *node, const struct bl_run *run, enum bl_action_kind kind) {
    struct search *search = context;
    for (int i = 0; i < node->outputs && kind != BL_DO_BACKWARD; i++) {
        struct blanch_tensor *y = node->out[i];
        int is = y->type != BL_I32 ? nonfinite(y, y->count / y->n * run->n) : 0;
        if (is) return is < 0 ? is : found(search, node->name, "output");
    }
    for (int k = 0; k < node->inputs + node->params && kind == BL_DO_BACKWARD; k++) {
        struct blanch_tensor *t = k < node->inputs ? node->in[k]->grad : &node->param[k - node->inputs]->grad;
        int is = t && t->type != BL_I32 ? nonfinite(t, k < node->inputs ? t->count / t->n * run->n : t->count) : 0;
        if (is) return is < 0 ? is : found(search, node->name, "gradient");
    }
    return 0;
}

static int look_at_params(struct search *search) {
    int code = bl_graph_end_targets(search->graph);
    for (size_t i = 0; i < search->graph->param_count && !code; i++) {
        struct bl_param *p = search->graph->params[i];
        code = p->counter ? 0 : nonfinite(&p->data, p->data.count);
        if (code > 0) return found(search, p->name, p->trainable ? "parameter" : "buffer");
    }
    return code;
}

int bl_graph_find_nonfinite(struct bl_graph *graph, int n, const char **node, const char **what) {
    struct search search = {.graph = graph};
    const struct bl_visitor visitor = {&search, NULL, look_at};
    struct bl_run run = bl_graph_run(graph, n, !graph->inference);
    int code = look_at_params(&search);
    if (!code) code = bl_graph_visit(graph, &run, &visitor);
    *node = search.node, *what = search.what;
    return code < 0 ? code : 0;
}
