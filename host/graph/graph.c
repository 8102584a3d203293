/* Building a graph: nodes, tensors, parameters and their order. */
#include "graph/internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int bl_graph_create(struct bl_graph **out, struct blanch_device *dev, int batch, bool inference) {
    struct bl_graph *graph = bl_calloc(1, sizeof *graph);
    if (!graph) return BLANCH_ENOMEM;
    *graph = (struct bl_graph){.dev = dev, .batch = batch, .inference = inference, .version = 1, .share = 1};
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
    for (size_t i = 0; i < graph->shared_count; i++) graph->shared[i].release(graph->shared[i].what);
    free(graph->shared);
    for (size_t i = 0; i < graph->param_count; i++) {
        bl_mem_free(graph->params[i]->data.mem);
        bl_mem_free(graph->params[i]->grad.mem);
        bl_mem_free(graph->params[i]->average.mem);
        for (int k = 0; k < BL_MAX_STATES; k++) bl_mem_free(graph->params[i]->state[k].mem);
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
        bl_mem_free(graph->groups[i].average);
        bl_mem_free(graph->groups[i].sum);
        for (int k = 0; k < BL_MAX_STATES; k++) bl_mem_free(graph->groups[i].state[k]);
    }
    for (size_t i = 0; i < graph->order_count; i++) free(graph->orders[i].prefix), free(graph->orders[i].names);
    bl_mem_free(graph->workspace);
    bl_mem_free(graph->skip);
    bl_mem_free(graph->norm);
    bl_mem_free(graph->buffers);
    bl_mem_free(graph->buffers_average);
    bl_graph_leave(graph);
    free(graph->nodes), free(graph->slots), free(graph->params), free(graph->orders), free(graph->actions),
        free(graph->when), free(graph->first_slot);
    cJSON_Delete(graph->about);
    free(graph->arenas), free(graph->groups), free(graph->message), free(graph->metrics);
    free(graph->no_decay.all), free(graph->frozen.all);
    free(graph);
}

int bl_graph_stick(struct bl_graph *graph, int code) {
    if (code && !graph->error) {
        graph->error = code;
        graph->message = bl_strdup(blanch_error_message());
    }
    return code;
}

void bl_graph_use(struct bl_graph *graph, const struct bl_optimiser *optimiser) {
    graph->optimiser = optimiser;
}
void bl_graph_recompute(struct bl_graph *graph, int segments) {
    graph->recompute = segments;
}
const struct bl_optimiser *bl_graph_optimiser(const struct bl_graph *graph) {
    return graph->optimiser;
}

void bl_graph_store_as(struct bl_graph *graph, enum bl_type type) {
    graph->type = type;
}

/* --- tensors ---------------------------------------------------------------------------------- */

int64_t bl_graph_count(struct bl_graph *graph, int node, int dims, const int64_t *sizes) {
    const int64_t most = (int64_t)1 << 48; // so that sums of bytes over a network stay far below 2^63
    int64_t count = 1;
    for (int i = 0; i < dims; i++) {
        if (sizes[i] > 0 && !__builtin_mul_overflow(count, sizes[i], &count) && count <= most) continue;
        bl_graph_stick(graph, bl_fail(BLANCH_ELIMIT, "%s: a tensor without values, or of more than 2^48",
                                      node < 0 ? "the input" : graph->nodes[node]->name));
        return 0;
    }
    return count;
}

struct blanch_tensor *bl_graph_tensor(struct bl_graph *graph, int life, int node, const struct blanch_tensor *like) {
    int64_t count = bl_graph_count(graph, node, 4, (const int64_t[]){like->n, like->c, like->h, like->w});
    struct blanch_tensor *tensor = count ? bl_calloc(1, sizeof *tensor) : NULL;
    if (!count) return NULL;
    if (!tensor ||
        bl_grow((void **)&graph->slots, &graph->slot_capacity, graph->slot_count + 1, sizeof *graph->slots)) {
        free(tensor);
        bl_graph_stick(graph, BLANCH_ENOMEM);
        return NULL;
    }
    *tensor = (struct blanch_tensor){.n = like->n, .c = like->c, .h = like->h, .w = like->w, .type = like->type};
    tensor->count = count;
    tensor->id = (int)graph->slot_count;
    graph->slots[graph->slot_count++] =
        (struct slot){.tensor = tensor, .life = life, .node = node, .arena = -1, .shares = tensor->id};
    return tensor;
}

struct blanch_tensor *bl_graph_input_as(struct bl_graph *graph, enum bl_type type, int64_t c, int64_t h, int64_t w) {
    if (graph->error) return NULL;
    if (c < 1 || h < 1 || w < 1) {
        bl_graph_stick(graph, bl_fail(BLANCH_EINPUT, "an input of %lld x %lld x %lld: every size must be at least 1",
                                      (long long)c, (long long)h, (long long)w));
        return NULL;
    }
    const struct blanch_tensor shape = {.n = graph->batch, .c = c, .h = h, .w = w, .type = type};
    struct blanch_tensor *tensor = bl_graph_tensor(graph, LIFE_INPUT, -1, &shape);
    if (!tensor) return NULL;
    struct blanch_tensor **first = type == BL_I32 ? &graph->labels : &graph->input;
    if (type == BL_I32 && graph->labels && !graph->others) graph->others = tensor;
    if (type != BL_I32 && graph->input && !graph->number && c * h * w == 1) graph->number = tensor;
    if (!*first) *first = tensor;
    return tensor;
}

struct blanch_tensor *bl_graph_input(struct bl_graph *graph, int64_t c, int64_t h, int64_t w) {
    return bl_graph_input_as(graph, graph->type, c, h, w);
}
struct blanch_tensor *bl_graph_input_labels(struct bl_graph *graph) {
    return bl_graph_input_as(graph, BL_I32, 1, 1, 1);
}

/* --- nodes ------------------------------------------------------------------------------------ */

static struct bl_node *node_new(struct bl_graph *graph, const struct bl_op *op, const char *name, const void *attrs,
                                struct blanch_tensor *const *inputs, int count) {
    struct bl_node *node = bl_calloc(1, sizeof *node);
    if (!node) return NULL;
    node->op = op, node->graph = graph, node->dev = graph->dev, node->index = (int)graph->node_count;
    if (name)
        snprintf(node->name, sizeof node->name, "%s", name);
    else
        snprintf(node->name, sizeof node->name, "%s_%d", op->name, node->index);
    node->inputs = count;
    if (count) memcpy(node->in, inputs, sizeof *inputs * (size_t)count);
    if (op->attrs_size) {
        if (!(node->attrs = bl_calloc(1, op->attrs_size))) return free(node), NULL;
        if (attrs) memcpy(node->attrs, attrs, op->attrs_size);
    }
    if (bl_grow((void **)&graph->nodes, &graph->node_capacity, graph->node_count + 1, sizeof *graph->nodes))
        return free(node->attrs), free(node), NULL;
    graph->nodes[graph->node_count++] = node;
    return node;
}

static bool is_own(const struct bl_graph *graph, const struct blanch_tensor *tensor) {
    return tensor->id >= 0 && (size_t)tensor->id < graph->slot_count && graph->slots[tensor->id].tensor == tensor;
}

static int check_inputs(const struct bl_graph *graph, const char *name, struct blanch_tensor *const *inputs,
                        int count) {
    if (count < 0 || count > BL_MAX_INPUTS)
        return bl_fail(BLANCH_EINPUT, "%s: %d inputs, where at most %d can be", name, count, BL_MAX_INPUTS);
    for (int i = 0; i < count; i++)
        if (!inputs || !inputs[i]) return bl_fail(BLANCH_EINPUT, "%s: input %d is missing", name, i);
    for (int i = 0; i < count; i++)
        if (!is_own(graph, inputs[i])) return bl_fail(BLANCH_EINPUT, "%s: input %d is of another network", name, i);
    return 0;
}

static int check_type(const struct bl_node *node) {
    enum bl_type type = node->graph->type;
    if (type == BL_F32 || node->op->types & BL_TYPE_BIT(type)) return 0;
    return bl_fail(BLANCH_EUSAGE, "%s (%s): has no %s yet; use %s", node->name, node->op->name,
                   bl_type_traits[type].name, bl_type_traits[BL_F32].name);
}

struct bl_node *bl_graph_add_node(struct bl_graph *graph, const struct bl_op *op, const char *name, const void *attrs,
                                  struct blanch_tensor *const *inputs, int count) {
    if (graph->error || bl_graph_stick(graph, check_inputs(graph, name ? name : op->name, inputs, count))) return NULL;
    struct bl_node *node = node_new(graph, op, name, attrs, inputs, count);
    if (!node) return bl_graph_stick(graph, BLANCH_ENOMEM), NULL;
    int code = check_type(node);
    bl_graph_stick(graph, code ? code : op->setup(node));
    if (!graph->error && !node->outputs)
        bl_graph_stick(graph, bl_fail(BLANCH_EINPUT, "%s: no output shape", node->name));
    return graph->error ? NULL : node;
}

struct blanch_tensor *bl_graph_add(struct bl_graph *graph, const char *op_name, const char *name, const void *attrs,
                                   struct blanch_tensor *const *inputs, int count) {
    const struct bl_op *op = op_name ? bl_op_find(op_name) : NULL;
    if (!op && !graph->error)
        bl_graph_stick(graph, bl_fail(BLANCH_EINPUT, "unknown operation '%s'", op_name ? op_name : ""));
    const struct bl_node *node = op ? bl_graph_add_node(graph, op, name, attrs, inputs, count) : NULL;
    return node ? node->out[0] : NULL;
}

void bl_node_out_as(struct bl_node *node, enum bl_type type, int64_t c, int64_t h, int64_t w) {
    struct bl_graph *graph = node->graph;
    const struct blanch_tensor *x = node->inputs ? node->in[0] : NULL;
    if (node->outputs == BL_MAX_OUTPUTS) {
        bl_graph_stick(graph, bl_fail(BLANCH_EINPUT, "%s: more than %d outputs", node->name, BL_MAX_OUTPUTS));
        return;
    }
    if (c < 1 || h < 1 || w < 1) {
        bl_graph_stick(graph, bl_fail(BLANCH_EINPUT,
                                      "%s: its output would be %lld x %lld x %lld; the input (%lld x %lld x %lld) "
                                      "is too small for it",
                                      node->name, (long long)c, (long long)h, (long long)w, (long long)(x ? x->c : 0),
                                      (long long)(x ? x->h : 0), (long long)(x ? x->w : 0)));
        return;
    }
    const struct blanch_tensor shape = {.n = graph->batch, .c = c, .h = h, .w = w, .type = type};
    struct blanch_tensor *out = bl_graph_tensor(graph, LIFE_ACTIVATION, node->index, &shape);
    if (out) node->out[node->outputs++] = out;
}

void bl_node_out(struct bl_node *node, int64_t c, int64_t h, int64_t w) {
    bl_node_out_as(node, node->graph->type, c, h, w);
}

struct blanch_tensor *bl_node_workspace(struct bl_node *node, enum bl_life life, int64_t count) {
    if (node->graph->inference && (life == BL_LIFE_SAVED || life == BL_LIFE_PINNED)) life = BL_LIFE_FORWARD;
    const struct blanch_tensor shape = {.n = 1, .c = count > 0 ? count : 1, .h = 1, .w = 1};
    return bl_graph_tensor(node->graph, life, node->index, &shape);
}

static bool is_light(int phase) {
    return phase == BL_NORM || phase == BL_ACTIVATION || phase == BL_POOL || phase == BL_LOSS || phase == BL_UPDATE ||
           phase == BL_COMMUNICATE || phase == BL_LOAD;
}

void bl_tag(struct blanch_device *dev, int layer, int phase) {
    bl_tag_as(dev, layer, phase, is_light(phase));
}

void bl_node_phase(struct bl_node *node, int phase) {
    bl_tag_as(node->dev, node->index, node->graph->again ? BL_RECOMPUTE : phase, is_light(phase));
}
bool bl_node_training(const struct bl_node *node) {
    return !node->graph->inference;
}
int bl_node_batch(const struct bl_node *node) {
    return node->graph->batch;
}
enum bl_type bl_node_type(const struct bl_node *node) {
    return node->graph->type;
}
bool bl_node_updates_linearly(const struct bl_node *node) {
    const struct bl_graph *graph = node->graph;
    return graph->optimiser && graph->optimiser->decay && !graph->frozen.count && !bl_graph_keeps_average(graph) &&
           !bl_graph_scales_loss(graph);
}
void *bl_node_shared(const struct bl_node *node, const void *key) {
    const struct bl_graph *graph = node->graph;
    for (size_t i = 0; i < graph->shared_count; i++)
        if (graph->shared[i].key == key) return graph->shared[i].what;
    return NULL;
}
int bl_node_share(struct bl_node *node, const void *key, void *what, void (*release)(void *what)) {
    struct bl_graph *graph = node->graph;
    if (bl_grow((void **)&graph->shared, &graph->shared_capacity, graph->shared_count + 1, sizeof *graph->shared))
        return BLANCH_ENOMEM;
    graph->shared[graph->shared_count++] = (struct shared){key, what, release};
    return 0;
}
int bl_node_activation(const struct bl_node *node) {
    int code = 0;
    for (int i = 0; i < node->fused; i++)
        code = node->fusion[i]->op->activation ? node->fusion[i]->op->activation : code;
    return code;
}
const struct bl_nd_attrs *bl_node_nd(const struct bl_node *node) {
    return node->op->nd_offset ? (const void *)((const char *)node->attrs + node->op->nd_offset) : NULL;
}
size_t bl_tensor_bytes(const struct blanch_tensor *tensor) {
    return (size_t)tensor->count * bl_type_bytes(tensor->type);
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
struct blanch_tensor *bl_graph_in(const struct bl_graph *graph) {
    return graph->input;
}
struct blanch_tensor *bl_graph_labels(const struct bl_graph *graph) {
    return graph->labels;
}
struct blanch_tensor *bl_graph_others(const struct bl_graph *graph) {
    return graph->others;
}
struct blanch_tensor *bl_graph_out(const struct bl_graph *graph) {
    return graph->logits;
}
struct blanch_tensor *bl_graph_number(const struct bl_graph *graph) {
    return graph->number;
}
bool bl_graph_has_loss(const struct bl_graph *graph) {
    return graph->loss != NULL;
}
/* As the labels have it where there are some. */
int64_t bl_graph_pixels(const struct bl_graph *graph) {
    const struct blanch_tensor *of = graph->labels ? graph->labels : graph->logits;
    return graph->loss && !graph->labels ? 1 : of->h * of->w;
}
struct blanch_device *bl_graph_device(const struct bl_graph *graph) {
    return graph->dev;
}
const struct bl_plan *bl_graph_plan(const struct bl_graph *graph) {
    return &graph->plan;
}

const struct bl_node *bl_graph_head(const struct bl_graph *graph) {
    const struct bl_node *node = bl_graph_producer(graph, graph->logits);
    while (node && !node->params && node->inputs) node = bl_graph_producer(graph, node->in[0]);
    return node;
}

struct bl_node *bl_graph_producer(const struct bl_graph *graph, const struct blanch_tensor *tensor) {
    int node = graph->slots[tensor->id].node;
    return node < 0 ? NULL : graph->nodes[node];
}

void bl_graph_idle(struct bl_graph *graph, struct blanch_tensor *out) {
    if (out) bl_graph_producer(graph, out)->idle = true;
}

void bl_graph_find_ends(struct bl_graph *graph) {
    struct bl_node *last = graph->nodes[graph->node_count - 1];
    graph->loss = last->op->role == BL_ROLE_LOSS ? last : NULL;
    graph->logits = graph->loss ? last->in[0] : last->out[0];
}

int bl_graph_finish(struct bl_graph *graph, uint64_t seed) {
    int code = graph->error;
    if (code) return bl_fail(code, "%s", graph->message ? graph->message : blanch_error_text(code));
    if (!graph->node_count) return bl_fail(BLANCH_EINPUT, "the graph has no operation");
    bl_graph_find_ends(graph);
    if ((code = bl_graph_check_selected(graph)) || (code = bl_graph_sort_params(graph)) ||
        (code = bl_graph_make_plan(graph)) || !graph->dev)
        return code;
    if ((code = bl_graph_allocate(graph)) || (code = bl_graph_initialise(graph, seed))) return code;
    for (size_t i = 0; i < graph->node_count; i++) {
        struct bl_node *node = graph->nodes[i];
        if ((code = bl_check_interrupted())) return code; // kernels may have to be built
        if (node->op->prepare && bl_graph_runs(node) && (code = node->op->prepare(node)))
            return bl_fail_in(code, "%s", node->name);
    }
    graph->finished = true;
    return 0;
}
