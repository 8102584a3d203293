/* Building a graph: nodes, tensors, parameters and their order. */
#include "graph/internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int bl_graph_create(struct bl_graph **out, struct blanch_device *dev, int batch, bool inference) {
    struct bl_graph *graph = bl_calloc(1, sizeof *graph);
    if (!graph) return BLANCH_ENOMEM;
    *graph = (struct bl_graph){.dev = dev, .batch = batch, .inference = inference, .version = 1};
    *out = graph;
    return batch >= 1 ? 0 : bl_fail(BLANCH_EUSAGE, "a batch of %d: it must be at least 1", batch);
}

static void node_free(struct bl_node *node) {
    if (node->op->release) node->op->release(node);
    free(node->attrs);
    free(node);
}

void bl_graph_free(struct bl_graph *graph) {
    if (!graph) return;
    for (size_t i = 0; i < graph->node_count; i++) node_free(graph->nodes[i]);
    for (size_t i = 0; i < graph->param_count; i++) {
        bl_mem_free(graph->params[i]->data.mem);
        bl_mem_free(graph->params[i]->grad.mem);
        bl_mem_free(graph->params[i]->velocity.mem);
        free(graph->params[i]);
    }
    for (size_t i = 0; i < graph->slot_count; i++) {
        if (graph->slots[i].shares == (int)i) bl_mem_free(graph->slots[i].tensor->mem);
        free(graph->slots[i].tensor);
    }
    for (size_t i = 0; i < graph->arena_count; i++) bl_mem_free(graph->arenas[i].mem);
    for (size_t i = 0; i < graph->group_count; i++) {
        bl_mem_free(graph->groups[i].data);
        bl_mem_free(graph->groups[i].grad);
        bl_mem_free(graph->groups[i].velocity);
    }
    for (size_t i = 0; i < graph->order_count; i++) free(graph->orders[i].prefix), free(graph->orders[i].names);
    bl_mem_free(graph->buffers);
    free(graph->nodes), free(graph->slots), free(graph->params), free(graph->param_node), free(graph->orders);
    free(graph->arenas), free(graph->groups), free(graph->message), free(graph->metrics);
    free(graph);
}

int bl_graph_stick(struct bl_graph *graph, int code) {
    if (code && !graph->error) {
        graph->error = code;
        graph->message = bl_strdup(blanch_error_message());
    }
    return code;
}

/* --- tensors ---------------------------------------------------------------------------------- */

struct bl_tensor *bl_graph_tensor(struct bl_graph *graph, int life, int node, int64_t n, int64_t c, int64_t h,
                                  int64_t w) {
    struct bl_tensor *tensor = bl_calloc(1, sizeof *tensor);
    if (!tensor ||
        bl_grow((void **)&graph->slots, &graph->slot_capacity, graph->slot_count + 1, sizeof *graph->slots)) {
        free(tensor);
        bl_graph_stick(graph, BLANCH_ENOMEM);
        return NULL;
    }
    *tensor = (struct bl_tensor){.n = n, .c = c, .h = h, .w = w, .count = n * c * h * w, .id = (int)graph->slot_count};
    graph->slots[graph->slot_count++] =
        (struct slot){.tensor = tensor, .life = life, .node = node, .arena = -1, .shares = tensor->id};
    return tensor;
}

struct bl_tensor *bl_graph_input(struct bl_graph *graph, int64_t c, int64_t h, int64_t w) {
    if (graph->error) return NULL;
    if (c < 1 || h < 1 || w < 1) {
        bl_graph_stick(graph, bl_fail(BLANCH_EINPUT, "an input of %lld x %lld x %lld: every size must be at least 1",
                                      (long long)c, (long long)h, (long long)w));
        return NULL;
    }
    struct bl_tensor *tensor = bl_graph_tensor(graph, LIFE_INPUT, -1, graph->batch, c, h, w);
    if (tensor && !graph->input) graph->input = tensor;
    return tensor;
}

struct bl_tensor *bl_graph_input_labels(struct bl_graph *graph) {
    if (graph->error) return NULL;
    return graph->labels = bl_graph_tensor(graph, LIFE_INPUT, -1, graph->batch, 1, 1, 1);
}

/* --- nodes ------------------------------------------------------------------------------------ */

static struct bl_node *node_new(struct bl_graph *graph, const struct bl_op *op, const char *name, const void *attrs,
                                struct bl_tensor *const *inputs, int count) {
    struct bl_node *node = bl_calloc(1, sizeof *node);
    if (!node) return NULL;
    node->op = op, node->graph = graph, node->dev = graph->dev, node->index = (int)graph->node_count;
    if (name)
        snprintf(node->name, sizeof node->name, "%s", name);
    else
        snprintf(node->name, sizeof node->name, "%s_%d", op->name, node->index);
    node->inputs = count;
    memcpy(node->in, inputs, sizeof *inputs * (size_t)count);
    if (op->attrs_size) {
        if (!(node->attrs = bl_calloc(1, op->attrs_size))) return free(node), NULL;
        if (attrs) memcpy(node->attrs, attrs, op->attrs_size);
    }
    if (bl_grow((void **)&graph->nodes, &graph->node_capacity, graph->node_count + 1, sizeof *graph->nodes))
        return free(node->attrs), free(node), NULL;
    graph->nodes[graph->node_count++] = node;
    return node;
}

struct bl_tensor *bl_graph_add(struct bl_graph *graph, const char *op_name, const char *name, const void *attrs,
                               struct bl_tensor *const *inputs, int count) {
    if (graph->error) return NULL;
    const struct bl_op *op = bl_op_find(op_name);
    if (!op) {
        bl_graph_stick(graph, bl_fail(BLANCH_EINPUT, "unknown operation '%s'", op_name));
        return NULL;
    }
    if (count < 1 || count > BL_MAX_INPUTS) {
        bl_graph_stick(graph,
                       bl_fail(BLANCH_EINPUT, "%s: %d inputs, where 1 to %d can be", op_name, count, BL_MAX_INPUTS));
        return NULL;
    }
    for (int i = 0; i < count; i++)
        if (!inputs[i]) {
            bl_graph_stick(graph, bl_fail(BLANCH_EINPUT, "%s: input %d is missing", name ? name : op_name, i));
            return NULL;
        }
    struct bl_node *node = node_new(graph, op, name, attrs, inputs, count);
    if (!node) return bl_graph_stick(graph, BLANCH_ENOMEM), NULL;
    bl_graph_stick(graph, op->setup(node));
    if (!graph->error && !node->out) bl_graph_stick(graph, bl_fail(BLANCH_EINPUT, "%s: no output shape", node->name));
    return graph->error ? NULL : node->out;
}

void bl_node_out(struct bl_node *node, int64_t c, int64_t h, int64_t w) {
    struct bl_graph *graph = node->graph;
    if (c < 1 || h < 1 || w < 1) {
        bl_graph_stick(graph, bl_fail(BLANCH_EINPUT,
                                      "%s: its output would be %lld x %lld x %lld; the input (%lld x %lld x %lld) "
                                      "is too small for it",
                                      node->name, (long long)c, (long long)h, (long long)w, (long long)node->in[0]->c,
                                      (long long)node->in[0]->h, (long long)node->in[0]->w));
        return;
    }
    node->out = bl_graph_tensor(graph, LIFE_ACTIVATION, node->index, graph->batch, c, h, w);
}

struct bl_tensor *bl_node_workspace(struct bl_node *node, enum bl_life life, int64_t count) {
    if (node->graph->inference && life == BL_LIFE_SAVED) life = BL_LIFE_FORWARD;
    return bl_graph_tensor(node->graph, life, node->index, 1, count > 0 ? count : 1, 1, 1);
}

void bl_node_phase(struct bl_node *node, enum bl_phase phase) {
    bl_tag(node->dev, node->index, phase);
}
bool bl_node_training(const struct bl_node *node) {
    return !node->graph->inference;
}
int bl_node_batch(const struct bl_node *node) {
    return node->graph->batch;
}

/* --- parameters ------------------------------------------------------------------------------- */

static struct bl_param *param_new(struct bl_node *node, const char *name, enum bl_init init, int dims,
                                  const int64_t *shape) {
    struct bl_graph *graph = node->graph;
    struct bl_param *param = bl_calloc(1, sizeof *param);
    if (!param ||
        bl_grow((void **)&graph->params, &graph->param_capacity, graph->param_count + 1, sizeof *graph->params) ||
        bl_grow((void **)&graph->param_node, &graph->param_node_capacity, graph->param_count + 1,
                sizeof *graph->param_node)) {
        free(param);
        bl_graph_stick(graph, BLANCH_ENOMEM);
        return NULL;
    }
    snprintf(param->name, sizeof param->name, "%.*s.%s", (int)(sizeof param->name - 2 - strlen(name)), node->name,
             name);
    param->init = init, param->dims = dims;
    int64_t count = 1;
    for (int i = 0; i < dims; i++) count *= param->shape[i] = shape[i];
    param->data = (struct bl_tensor){.n = 1, .c = count, .h = 1, .w = 1, .count = count, .id = -1};
    graph->param_node[graph->param_count] = node->index;
    graph->params[graph->param_count++] = param;
    return param;
}

struct bl_param *bl_node_param(struct bl_node *node, const char *name, enum bl_init init, int dims,
                               const int64_t *shape) {
    struct bl_param *param = param_new(node, name, init, dims, shape);
    if (!param) return NULL;
    param->trainable = true;
    param->grad = param->velocity = param->data;
    return node->param[node->params++] = param;
}

struct bl_param *bl_node_buffer(struct bl_node *node, const char *name, enum bl_init init, int dims,
                                const int64_t *shape) {
    struct bl_param *param = param_new(node, name, init, dims, shape);
    return param ? node->buffer[node->buffers++] = param : NULL;
}

struct bl_param *bl_node_counter(struct bl_node *node, const char *name, bool private_state) {
    struct bl_param *param = bl_node_buffer(node, name, BL_INIT_ZEROS, 0, NULL);
    if (param) param->counter = true, param->private_state = private_state;
    return param;
}

void bl_graph_order(struct bl_graph *graph, const char *prefix, const char *names) {
    if (bl_grow((void **)&graph->orders, &graph->order_capacity, graph->order_count + 1, sizeof *graph->orders)) {
        bl_graph_stick(graph, BLANCH_ENOMEM);
        return;
    }
    graph->orders[graph->order_count++] = (struct order){bl_strdup(prefix), bl_strdup(names)};
}

/* Where the node's name stands among the declared ones; those never declared come after all, in execution order. */
static int64_t declared_rank(const struct bl_graph *graph, const struct bl_node *node) {
    int64_t rank = 0;
    for (size_t i = 0; i < graph->order_count; i++) {
        const struct order *order = &graph->orders[i];
        size_t skip = strlen(order->prefix);
        bool here = !strncmp(node->name, order->prefix, skip);
        for (const char *at = order->names; *at; rank++) {
            size_t length = strcspn(at, " ");
            if (here && strlen(node->name + skip) == length && !strncmp(node->name + skip, at, length)) return rank;
            at += length;
            at += strspn(at, " ");
        }
    }
    return rank + node->index;
}

struct key {
    int64_t kind, rank, declared;
    struct bl_param *param;
    int node;
};
static int compare_keys(const void *a, const void *b) {
    const struct key *x = a, *y = b;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    return x->declared < y->declared ? -1 : 1;
}

int bl_graph_sort_params(struct bl_graph *graph) {
    struct key *keys = bl_calloc(graph->param_count + 1, sizeof *keys);
    if (!keys) return BLANCH_ENOMEM;
    for (size_t i = 0; i < graph->param_count; i++) {
        struct bl_node *node = graph->nodes[graph->param_node[i]];
        keys[i] = (struct key){!graph->params[i]->trainable, declared_rank(graph, node), (int64_t)i, graph->params[i],
                               node->index};
    }
    qsort(keys, graph->param_count, sizeof *keys, compare_keys);
    for (size_t i = 0; i < graph->param_count; i++)
        graph->params[i] = keys[i].param, graph->param_node[i] = keys[i].node;
    free(keys);
    return 0;
}

/* --- looking ---------------------------------------------------------------------------------- */

int bl_graph_nodes(const struct bl_graph *graph) {
    return (int)graph->node_count;
}
struct bl_node *bl_graph_node(const struct bl_graph *graph, int index) {
    return graph->nodes[index];
}
int bl_graph_params(const struct bl_graph *graph) {
    return (int)graph->param_count;
}
struct bl_param *bl_graph_param(const struct bl_graph *graph, int index) {
    return graph->params[index];
}
struct bl_tensor *bl_graph_in(const struct bl_graph *graph) {
    return graph->input;
}
struct bl_tensor *bl_graph_labels(const struct bl_graph *graph) {
    return graph->labels;
}
struct bl_tensor *bl_graph_out(const struct bl_graph *graph) {
    return graph->logits;
}
struct blanch_device *bl_graph_device(const struct bl_graph *graph) {
    return graph->dev;
}
const struct bl_plan *bl_graph_plan(const struct bl_graph *graph) {
    return &graph->plan;
}

struct bl_node *bl_graph_producer(const struct bl_graph *graph, const struct bl_tensor *tensor) {
    int node = graph->slots[tensor->id].node;
    return node < 0 ? NULL : graph->nodes[node];
}

struct bl_param *bl_graph_find_param(const struct bl_graph *graph, const char *name) {
    for (size_t i = 0; i < graph->param_count; i++)
        if (!strcmp(graph->params[i]->name, name)) return graph->params[i];
    return NULL;
}

void bl_graph_idle(struct bl_graph *graph, struct bl_tensor *out) {
    if (out) bl_graph_producer(graph, out)->idle = true;
}

int64_t bl_graph_trainable(const struct bl_graph *graph) {
    int64_t count = 0;
    for (size_t i = 0; i < graph->param_count; i++)
        if (graph->params[i]->trainable) count += graph->params[i]->data.count;
    return count;
}

int bl_graph_finish(struct bl_graph *graph, uint64_t seed) {
    int code = graph->error;
    if (code) return bl_fail(code, "%s", graph->message ? graph->message : blanch_error_text(code));
    if (!graph->node_count) return bl_fail(BLANCH_EINPUT, "the graph has no operation");
    struct bl_node *last = graph->nodes[graph->node_count - 1];
    graph->loss = graph->labels ? last : NULL;
    graph->logits = graph->loss ? last->in[0] : last->out;
    if ((code = bl_graph_sort_params(graph)) || (code = bl_graph_make_plan(graph)) || !graph->dev) return code;
    if ((code = bl_graph_allocate(graph)) || (code = bl_graph_initialise(graph, seed))) return code;
    for (size_t i = 0; i < graph->node_count; i++) {
        struct bl_node *node = graph->nodes[i];
        if (node->op->prepare && !node->idle && (code = node->op->prepare(node)))
            return bl_fail_in(code, "%s", node->name);
    }
    graph->finished = true;
    return 0;
}
