/* Parameters and buffers: declaring them, their order in a state dict, initial values, update targets, transfers. */
#include "graph/internal.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- declaring, and their order ------------------------------------------------------------------------------- */

static struct bl_param *param_new(struct bl_node *node, const char *name, enum bl_init init, int dims,
                                  const int64_t *shape) {
    struct bl_graph *graph = node->graph;
    int64_t count = bl_graph_count(graph, node->index, dims, shape);
    struct bl_param *param = count ? bl_calloc(1, sizeof *param) : NULL;
    if (!count) return NULL;
    if (!param ||
        bl_grow((void **)&graph->params, &graph->param_capacity, graph->param_count + 1, sizeof *graph->params)) {
        free(param);
        bl_graph_stick(graph, BLANCH_ENOMEM);
        return NULL;
    }
    if (name)
        snprintf(param->name, sizeof param->name, "%.*s.%s", (int)(sizeof param->name - 2 - strlen(name)), node->name,
                 name);
    else
        snprintf(param->name, sizeof param->name, "%s", node->name);
    param->node = node, param->init = init, param->dims = dims;
    if (dims) memcpy(param->shape, shape, (size_t)dims * sizeof *shape);
    param->data = (struct blanch_tensor){.n = 1, .c = count, .h = 1, .w = 1, .count = count, .id = -1};
    param->average = param->data;
    graph->params[graph->param_count++] = param;
    return param;
}

static int states_of(const struct bl_graph *graph) {
    return graph->optimiser && !graph->inference ? graph->optimiser->states : 0;
}

struct bl_param *bl_node_param(struct bl_node *node, const char *name, enum bl_init init, int dims,
                               const int64_t *shape) {
    struct bl_param *param = param_new(node, name, init, dims, shape);
    if (!param) return NULL;
    param->trainable = true;
    bl_graph_select_param(node->graph, param);
    param->grad = param->data;
    for (int i = 0; i < states_of(node->graph); i++) param->state[i] = param->data;
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
    struct order *order = &graph->orders[graph->order_count++];
    *order = (struct order){bl_strdup(prefix), bl_strdup(names)};
    if (!order->prefix || !order->names) bl_graph_stick(graph, BLANCH_ENOMEM);
}

enum { UNDECLARED = 1 << 30 };

/* Where the node's name stands among the declared ones; those never declared come after all, in execution order. */
static int64_t declared_rank(const struct bl_graph *graph, const struct bl_node *node) {
    int64_t rank = 0;
    if (node->rank) return node->rank;
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
    return UNDECLARED + (int64_t)node->index;
}

struct key {
    int64_t kind, rank, declared;
    struct bl_param *param;
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
        struct bl_param *param = graph->params[i];
        keys[i] = (struct key){!param->trainable, declared_rank(graph, param->node), (int64_t)i, param};
    }
    qsort(keys, graph->param_count, sizeof *keys, compare_keys);
    for (size_t i = 0; i < graph->param_count; i++) graph->params[i] = keys[i].param;
    free(keys);
    return 0;
}

struct bl_param *bl_graph_find_param(const struct bl_graph *graph, const char *name) {
    for (size_t i = 0; i < graph->param_count; i++)
        if (!strcmp(graph->params[i]->name, name)) return graph->params[i];
    return NULL;
}

int64_t bl_graph_trainable(const struct bl_graph *graph) {
    int64_t count = 0;
    for (size_t i = 0; i < graph->param_count; i++)
        if (graph->params[i]->trainable && !graph->params[i]->frozen) count += graph->params[i]->data.count;
    return count;
}

/* --- update targets --------------------------------------------------------------------------- */

void bl_param_offer_target(struct bl_param *param, const struct bl_update_target *target) {
    if (param) param->offered = target;
}

void bl_param_begin_target(struct bl_param *param, const struct bl_update_target *target) {
    param->target = target;
}

int bl_param_resume_target(struct bl_param *param) {
    int code = param->offered->resume(param->offered->context);
    bl_tag(param->node->dev, -1, BL_OTHER);
    if (code) return bl_fail_in(code, "%s", param->name);
    param->target = param->offered;
    return 0;
}

/* What the parameter's memory (0) or that of state `which` - 1 would hold without the target, in memory of its own. */
static int resolve(struct bl_param *param, int which, struct bl_mem **mem) {
    struct bl_node *node = param->node;
    int code = bl_mem_alloc(node->dev, bl_tensor_bytes(&param->data), mem);
    if (!code) code = param->target->resolve(param->target->context, which, *mem);
    bl_tag(node->dev, -1, BL_OTHER);
    return code ? bl_fail_in(code, "%s", param->name) : 0;
}

static struct blanch_tensor *part(struct bl_param *param, int which) {
    return which ? &param->state[which - 1] : &param->data;
}

int bl_param_end_target(struct bl_param *param) {
    if (!param->target) return 0;
    struct bl_mem *mem[1 + BL_MAX_STATES] = {NULL};
    int parts = 1 + states_of(param->node->graph), code = 0;
    for (int i = 0; i < parts && !code; i++) code = resolve(param, i, &mem[i]);
    for (int i = 0; i < parts && !code; i++)
        code = bl_mem_copy(mem[i], 0, part(param, i)->mem, 0, bl_tensor_bytes(&param->data));
    if (!code) code = bl_finish(param->node->dev); // before the memory goes
    for (int i = 0; i < parts; i++) bl_mem_free(mem[i]);
    if (code) return code;
    param->target = NULL;
    return 0;
}

int bl_graph_end_targets(struct bl_graph *graph) {
    int code = 0;
    for (size_t i = 0; i < graph->param_count && !code; i++) code = bl_param_end_target(graph->params[i]);
    return code;
}

/* --- transfers -------------------------------------------------------------------------------- */

static int read_part(struct bl_param *param, int which, float *values) {
    size_t bytes = bl_tensor_bytes(&param->data);
    if (!param->target) return bl_mem_read(part(param, which)->mem, 0, bytes, values);
    struct bl_mem *mem = NULL;
    int code = resolve(param, which, &mem);
    if (!code) code = bl_mem_read(mem, 0, bytes, values);
    bl_mem_free(mem);
    return code;
}

int bl_param_write(struct bl_param *param, const float *values) {
    int code = bl_param_end_target(param);
    return code ? code : bl_mem_write(param->data.mem, 0, bl_tensor_bytes(&param->data), values);
}
int bl_param_read(struct bl_param *param, float *values) {
    return read_part(param, 0, values);
}
int bl_param_read_state(struct bl_param *param, int state, float *values) {
    return read_part(param, 1 + state, values);
}

/* --- initial values --------------------------------------------------------------------------- */

static double fan_in(const struct bl_node *node) {
    double product = 1;
    for (int i = 1; i < node->param[0]->dims; i++) product *= (double)node->param[0]->shape[i];
    return product;
}

/* Uniform in +-1/sqrt(fan_in), the bias with its weight's bound. stream counts layers, not parameters, so that a
 * network with batch norm and the same one with deconvolution start from the same weights. */
static void fill_uniform(float *values, int64_t count, double bound, uint64_t seed, uint64_t stream) {
    uint32_t word[4];
    for (int64_t i = 0; i < count; i++) {
        if (i % 4 == 0) bl_philox(seed, BL_RANDOM_WEIGHTS, (uint64_t)i / 4, stream, word);
        values[i] = (float)((2.0 * bl_uniform(word[i % 4]) - 1.0) * bound);
    }
}

/* By Box and Muller's transform. */
static void fill_normal(float *values, int64_t count, double deviation, uint64_t seed, uint64_t stream) {
    for (int64_t i = 0; i < count; i++) {
        uint32_t w[4];
        bl_philox(seed, BL_RANDOM_WEIGHTS, (uint64_t)i, stream, w);
        values[i] = (float)(deviation * sqrt(-2 * log(1 - (double)bl_uniform(w[0]))) *
                            cos(2 * M_PI * (double)bl_uniform(w[1])));
    }
}

static void fill_param(float *values, const struct bl_param *p, const struct bl_node *node, uint64_t seed,
                       uint64_t stream) {
    int64_t count = p->data.count;
    switch (p->init) {
    case BL_INIT_FAN_IN:
        fill_uniform(values, count, 1 / sqrt(fan_in(node)), seed, stream);
        break;
    case BL_INIT_NORMAL:
        fill_normal(values, count, 0.02, seed, stream);
        break;
    case BL_INIT_EYE: {
        int64_t n = p->shape[p->dims - 1];
        for (int64_t i = 0; i < count; i++) values[i] = (i / n) % n == i % n;
        break;
    }
    case BL_INIT_VALUE:
        for (int64_t i = 0; i < count; i++) values[i] = p->begin;
        break;
    default:
        for (int64_t i = 0; i < count; i++) values[i] = p->init == BL_INIT_ONES;
    }
}

static int initialise_node(struct bl_node *node, uint64_t seed, uint64_t *layer) {
    bool drawn = false;
    for (int i = 0; i < node->params + node->buffers; i++) {
        struct bl_param *p = i < node->params ? node->param[i] : node->buffer[i - node->params];
        if (p->counter) continue;
        float *values = bl_calloc((size_t)p->data.count, sizeof *values);
        if (!values) return BLANCH_ENOMEM;
        drawn |= p->init == BL_INIT_FAN_IN || p->init == BL_INIT_NORMAL;
        fill_param(values, p, node, seed, 2 * *layer + (uint64_t)(i > 0));
        int code = bl_param_write(p, values);
        free(values);
        if (code) return code;
    }
    *layer += drawn;
    return 0;
}

int bl_graph_initialise(struct bl_graph *graph, uint64_t seed) {
    uint64_t layer = 0;
    int code = 0;
    graph->seed = seed;
    for (size_t i = 0; i < graph->node_count && !code; i++) code = initialise_node(graph->nodes[i], seed, &layer);
    return code;
}
