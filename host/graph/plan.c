/* The memory plan: which tensors are alive when, and where in a few arenas they lie. Placed greedily by size, largest
 * first, each at the lowest offset free during its life (Pisarchyk and Lee, arXiv 2001.03288, "greedy by size"). */
#include "graph/internal.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

uint64_t bl_graph_largest_buffer(const struct bl_graph *graph) {
    return graph->dev ? blanch_device_info(graph->dev)->max_alloc : UINT64_MAX;
}

uint64_t bl_graph_aligned(const struct bl_graph *graph, uint64_t bytes) {
    uint64_t align = graph->dev ? bl_mem_align(graph->dev) : 64;
    return (bytes + align - 1) / align * align;
}

/* --- gradients -------------------------------------------------------------------------------- */

static bool wants_grad(const struct bl_graph *graph, const struct blanch_tensor *tensor) {
    const struct slot *slot = &graph->slots[tensor->id];
    if (slot->life == LIFE_INPUT) return graph->want_input_grads && tensor->type != BL_I32;
    return tensor->grad != NULL;
}

static bool add_gradient(struct bl_graph *graph, struct blanch_tensor *tensor, int node) {
    tensor->grad = bl_graph_tensor(graph, LIFE_GRADIENT, node, tensor);
    return tensor->grad != NULL;
}

/* An output has a gradient where parameters, or inputs whose gradient is wanted, lie at or below it. */
static int add_gradients(struct bl_graph *graph) {
    size_t fixed = graph->slot_count;
    for (size_t i = 0; graph->want_input_grads && i < fixed; i++) {
        struct blanch_tensor *t = graph->slots[i].tensor;
        if (graph->slots[i].life == LIFE_INPUT && t->type != BL_I32 && !add_gradient(graph, t, -1)) return graph->error;
    }
    for (size_t i = 0; i < graph->node_count; i++) {
        struct bl_node *node = graph->nodes[i];
        bool needed = bl_node_trains(node);
        for (int k = 0; k < node->inputs; k++) needed |= wants_grad(graph, node->in[k]);
        if (!needed || !node->op->backward || node == graph->loss || !bl_graph_runs(node)) continue;
        for (int k = 0; k < node->outputs; k++)
            if (!add_gradient(graph, node->out[k], node->index)) return graph->error;
    }
    return 0;
}

/* The consumer that runs first in the backward direction overwrites, the others add. */
static int set_accumulate(struct bl_graph *graph) {
    bool *written = bl_calloc(graph->slot_count, 1);
    if (!written) return BLANCH_ENOMEM;
    if (!graph->loss) written[graph->logits->id] = true;
    int code = 0;
    for (size_t i = graph->node_count; i-- > 0 && !code;) {
        struct bl_node *node = graph->nodes[i];
        if (node->fused_into) continue;
        for (int k = 0; k < node->outputs && node != graph->loss && !code; k++)
            if (node->out[k]->grad && !written[node->out[k]->id])
                code = bl_fail(BLANCH_EINPUT, "%s: nothing uses its output", node->name);
        for (int k = 0; k < node->inputs; k++) {
            struct blanch_tensor *t = node->in[k];
            if (!t->grad || node->idle) continue;
            node->accumulate[k] = written[t->id];
            written[t->id] = true;
        }
    }
    free(written);
    return code;
}

/* --- offsets ---------------------------------------------------------------------------------- */

static int larger_first(const void *a, const void *b) {
    const struct slot *x = *(struct slot *const *)a, *y = *(struct slot *const *)b;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    return x->tensor->id < y->tensor->id ? -1 : 1;
}

static int lower_first(const void *a, const void *b) {
    const struct slot *x = *(struct slot *const *)a, *y = *(struct slot *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The lowest offset in this arena that is free during slot's life. */
static uint64_t free_offset(const struct slot *slot, struct slot *const *placed, size_t count, int arena,
                            struct slot **busy) {
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (placed[i]->arena == arena && bl_slots_overlap(placed[i], slot)) busy[n++] = placed[i];
    qsort(busy, n, sizeof *busy, lower_first);
    uint64_t offset = 0;
    for (size_t i = 0; i < n && busy[i]->offset < offset + slot->bytes; i++)
        if (busy[i]->offset + busy[i]->bytes > offset) offset = busy[i]->offset + busy[i]->bytes;
    return offset;
}

static int place(struct bl_graph *graph, struct slot *slot, struct slot *const *placed, size_t count,
                 struct slot **busy) {
    for (int a = 0;; a++) {
        if ((size_t)a == graph->arena_count) {
            if (bl_grow((void **)&graph->arenas, &graph->arena_capacity, (size_t)a + 1, sizeof *graph->arenas))
                return BLANCH_ENOMEM;
            graph->arenas[graph->arena_count++] = (struct arena){0};
        }
        uint64_t offset = free_offset(slot, placed, count, a, busy);
        if (offset && offset + slot->bytes > bl_graph_largest_buffer(graph)) continue;
        slot->arena = a, slot->offset = offset;
        if (offset + slot->bytes > graph->arenas[a].bytes) graph->arenas[a].bytes = offset + slot->bytes;
        return 0;
    }
}

/* How many tensors of its shape a parameter or buffer has. */
static uint64_t parts_of(const struct bl_graph *graph, const struct bl_param *param) {
    if (param->counter) return 0;
    if (graph->inference) return 1;
    const struct bl_optimiser *optimiser = bl_param_optimiser(param);
    const int states = optimiser && !param->frozen ? optimiser->states : 0;
    const int sum = graph->accumulates && param->trainable && !param->frozen;
    return (uint64_t)(1 + bl_graph_keeps_average(graph) + sum + (param->trainable ? 1 + states : 0));
}

static uint64_t count_parameters(const struct bl_graph *graph) {
    uint64_t bytes = (uint64_t)bl_graph_update_workspace(graph) * sizeof(float);
    for (size_t i = 0; i < graph->param_count; i++) {
        const struct bl_param *p = graph->params[i];
        bytes += bl_graph_aligned(graph, bl_tensor_bytes(&p->data)) * parts_of(graph, p);
    }
    return bytes;
}

static int index_slots(struct bl_graph *graph) {
    free(graph->first_slot), free(graph->when);
    graph->first_slot = bl_calloc(graph->node_count, sizeof *graph->first_slot);
    graph->when = bl_calloc(graph->node_count, sizeof *graph->when);
    if (!graph->first_slot || !graph->when) return BLANCH_ENOMEM;
    for (size_t i = 0; i < graph->node_count; i++) graph->first_slot[i] = -1;
    for (size_t i = graph->slot_count; i-- > 0;) {
        struct slot *slot = &graph->slots[i];
        if (slot->node < 0) continue;
        slot->next = graph->first_slot[slot->node];
        graph->first_slot[slot->node] = (int)i;
    }
    return 0;
}

/* Offsets for a list with so many segments. */
static int place_all(struct bl_graph *graph, int segments) {
    int code = bl_graph_list_step(graph, segments);
    if (code) return code;
    bl_graph_find_lifetimes(graph);
    bl_graph_share(graph);
    struct slot **order = bl_calloc(graph->slot_count * 2, sizeof *order);
    if (!order) return BLANCH_ENOMEM;
    graph->plan = (struct bl_plan){0};
    graph->arena_count = 0;
    size_t own = 0;
    for (size_t i = 0; i < graph->slot_count; i++) {
        struct slot *slot = &graph->slots[i];
        if (slot->life == LIFE_NONE) continue;
        graph->plan.tensors++;
        if (slot->shares == (int)i) order[own++] = slot;
        slot->bytes = bl_graph_aligned(graph, bl_tensor_bytes(slot->tensor));
        graph->plan.unshared += slot->bytes;
        if (slot->life == BL_LIFE_KEPT || slot->life == LIFE_INPUT) graph->plan.kept += slot->bytes;
    }
    qsort(order, own, sizeof *order, larger_first);
    for (size_t i = 0; i < own && !code; i++) code = place(graph, order[i], order, i, order + graph->slot_count);
    free(order);
    for (size_t i = 0; i < graph->arena_count; i++) graph->plan.arena += graph->arenas[i].bytes;
    graph->plan.parameters = count_parameters(graph);
    graph->plan.total = graph->plan.arena + graph->plan.parameters;
    graph->plan.segments = graph->segments;
    return code;
}

static bool fits(const struct bl_graph *graph) {
    if (!graph->dev) return true;
    for (size_t i = 0; i < graph->slot_count; i++)
        if (graph->slots[i].bytes > bl_graph_largest_buffer(graph)) return false;
    return graph->plan.total <= blanch_device_info(graph->dev)->global_memory;
}

/* The least recomputation that fits; without one that does, what takes least memory. More segments take less until
 * their borders weigh more than what lies between them: where two tries in a row take no less, none further is made. */
static int place_least(struct bl_graph *graph) {
    static const int tries[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, BL_MAX_SEGMENTS};
    uint64_t least = UINT64_MAX;
    int best = 1, worse = 0, code = 0;
    for (int i = 0; i < BL_COUNT(tries) && worse < 2; i++) {
        if ((code = place_all(graph, tries[i]))) return code;
        if (fits(graph)) {
            for (int between = i ? tries[i - 1] + 1 : tries[i]; between <= tries[i]; between++)
                if ((code = place_all(graph, between)) || fits(graph)) return code;
        }
        worse = graph->plan.total < least ? 0 : worse + 1;
        if (!worse) least = graph->plan.total, best = tries[i];
    }
    return place_all(graph, best);
}

int bl_graph_make_plan(struct bl_graph *graph) {
    int code = bl_graph_fuse(graph);
    if (code) return code;
    if (!graph->inference && ((code = add_gradients(graph)) || (code = set_accumulate(graph)))) return code;
    if ((code = index_slots(graph))) return code;
    return graph->recompute == BL_RECOMPUTE_AUTO && !graph->inference ? place_least(graph)
                                                                      : place_all(graph, graph->recompute);
}

/* --- at another batch --------------------------------------------------------------------------- */

uint64_t bl_graph_bytes_at(const struct bl_graph *graph, int batch) {
    return bl_graph_bytes_with(graph, batch, graph->recompute == BL_RECOMPUTE_AUTO ? graph->segments : graph->recompute,
                               NULL);
}

uint64_t bl_graph_bytes_with(const struct bl_graph *graph, int batch, int recompute, int *segments) {
    struct bl_graph *other = NULL;
    uint64_t bytes = UINT64_MAX;
    if (bl_graph_create(&other, graph->dev, batch, graph->inference)) goto done;
    other->want_input_grads = graph->want_input_grads, other->type = graph->type;
    other->optimiser = graph->optimiser, other->recompute = recompute, other->ema = graph->ema;
    other->accumulates = graph->accumulates;
    other->no_decay = graph->no_decay, other->frozen = graph->frozen;
    other->no_decay.all = other->frozen.all = NULL; // the texts are the graph's
    struct blanch_tensor **map = bl_calloc(graph->slot_count, sizeof *map);
    if (!map) goto done;
    for (size_t i = 0; i < graph->slot_count; i++) {
        const struct blanch_tensor *t = graph->slots[i].tensor;
        if (graph->slots[i].life != LIFE_INPUT) continue;
        map[i] = bl_graph_input_as(other, t->type, t->c, t->h, t->w);
    }
    for (size_t i = 0; i < graph->node_count; i++) {
        const struct bl_node *node = graph->nodes[i];
        struct blanch_tensor *in[BL_MAX_INPUTS] = {0};
        for (int k = 0; k < node->inputs; k++) in[k] = map[node->in[k]->id];
        const struct bl_node *copy = bl_graph_add_node(other, node->op, node->name, node->attrs, in, node->inputs);
        for (int k = 0; copy && k < node->outputs; k++) map[node->out[k]->id] = copy->out[k];
        if (node->idle) bl_graph_idle(other, map[node->out[0]->id]);
    }
    free(map);
    if (other->error) goto done;
    bl_graph_find_ends(other);
    if (bl_graph_make_plan(other)) goto done;
    bytes = other->plan.total;
    if (segments) *segments = other->segments;
    for (size_t i = 0; i < other->slot_count; i++)
        if (other->slots[i].bytes > bl_graph_largest_buffer(other)) bytes = UINT64_MAX;
done:
    bl_graph_free(other);
    return bytes;
}
