/* The memory plan: which tensors are alive when, and where in a few arenas they lie. Placed greedily by size, largest
 * first, each at the lowest offset free during its life (Pisarchyk and Lee, arXiv 2001.03288, "greedy by size"). */
#include "graph/internal.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static uint64_t limit_of(const struct bl_graph *graph) {
    return graph->dev ? blanch_device_info(graph->dev)->max_alloc : UINT64_MAX;
}

static uint64_t aligned(const struct bl_graph *graph, uint64_t bytes) {
    uint64_t align = graph->dev ? bl_mem_align(graph->dev) : 64;
    return (bytes + align - 1) / align * align;
}

/* --- gradients -------------------------------------------------------------------------------- */

static bool wants_grad(const struct bl_graph *graph, const struct bl_tensor *tensor) {
    const struct slot *slot = &graph->slots[tensor->id];
    if (slot->life == LIFE_INPUT) return graph->want_input_grads && tensor != graph->labels;
    return tensor->grad != NULL;
}

/* An output has a gradient where parameters, or inputs whose gradient is wanted, lie at or below it. */
static int add_gradients(struct bl_graph *graph) {
    size_t fixed = graph->slot_count;
    for (size_t i = 0; graph->want_input_grads && i < fixed; i++) {
        struct bl_tensor *t = graph->slots[i].tensor;
        if (graph->slots[i].life == LIFE_INPUT && t != graph->labels &&
            !(t->grad = bl_graph_tensor(graph, LIFE_GRADIENT, -1, t->n, t->c, t->h, t->w)))
            return graph->error;
    }
    for (size_t i = 0; i < graph->node_count; i++) {
        struct bl_node *node = graph->nodes[i];
        bool needed = node->params > 0;
        for (int k = 0; k < node->inputs; k++) needed |= wants_grad(graph, node->in[k]);
        if (!needed || !node->op->backward || node == graph->loss || !bl_graph_runs(node)) continue;
        struct bl_tensor *t = node->out[0];
        if (!(t->grad = bl_graph_tensor(graph, LIFE_GRADIENT, node->index, t->n, t->c, t->h, t->w)))
            return graph->error;
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
        if (node != graph->loss && node->out[0]->grad && !written[node->out[0]->id])
            code = bl_fail(BLANCH_EINPUT, "%s: nothing uses its output", node->name);
        for (int k = 0; k < node->inputs; k++) {
            struct bl_tensor *t = node->in[k];
            if (!t->grad || node->idle) continue;
            node->accumulate[k] = written[t->id];
            written[t->id] = true;
        }
    }
    free(written);
    return code;
}

/* --- lifetimes -------------------------------------------------------------------------------- */

static void extend(struct slot *slot, int moment) {
    if (moment < slot->first) slot->first = moment;
    if (moment > slot->last) slot->last = moment;
}

/* What the backward pass reads of the forward pass. */
static unsigned reads_of(const struct bl_node *node) {
    unsigned reads = node->op->reads;
    for (int i = 0; i < node->fused; i++) reads |= node->fusion[i]->reads;
    return reads;
}

static void set_lifetimes(struct bl_graph *graph) {
    int count = (int)graph->node_count, end = 2 * count;
    for (size_t i = 0; i < graph->slot_count; i++) {
        struct slot *s = &graph->slots[i];
        int forward = s->node, backward = end - 1 - s->node;
        s->added = INT_MAX;
        switch (s->life) {
        case BL_LIFE_SAVED:
        case BL_LIFE_PINNED:
            s->first = forward, s->last = backward;
            break;
        case BL_LIFE_BACKWARD:
            s->first = s->last = backward;
            break;
        case BL_LIFE_FORWARD:
        case LIFE_ACTIVATION:
            s->first = s->last = forward;
            break;
        case LIFE_GRADIENT:
            s->first = end, s->last = s->node < 0 ? end : backward;
            break;
        default:
            s->first = 0, s->last = end;
            break;
        }
    }
    for (int i = 0; i < count; i++) {
        struct bl_node *node = graph->nodes[i];
        int backward = end - 1 - i;
        if (node->fused_into) continue;
        bool back = !graph->inference && node->op->backward;
        unsigned keeps = reads_of(node);
        for (int k = 0; k < node->inputs; k++) {
            extend(&graph->slots[node->in[k]->id], i);
            if (back && (keeps & (BL_IN(k)))) extend(&graph->slots[node->in[k]->id], backward);
            struct slot *grad = node->in[k]->grad ? &graph->slots[node->in[k]->grad->id] : NULL;
            if (grad) extend(grad, backward);
            if (grad && node->accumulate[k] && backward < grad->added) grad->added = backward;
        }
        if (back && (keeps & BL_OUT(0))) extend(&graph->slots[node->out[0]->id], backward);
    }
    extend(&graph->slots[graph->logits->id], end);
    if (graph->logits->grad) extend(&graph->slots[graph->logits->grad->id], count);
    if (graph->loss) extend(&graph->slots[graph->loss->out[0]->id], end);
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
        if (placed[i]->arena == arena && placed[i]->first <= slot->last && slot->first <= placed[i]->last)
            busy[n++] = placed[i];
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
        if (offset && offset + slot->bytes > limit_of(graph)) continue;
        slot->arena = a, slot->offset = offset;
        if (offset + slot->bytes > graph->arenas[a].bytes) graph->arenas[a].bytes = offset + slot->bytes;
        return 0;
    }
}

static uint64_t count_parameters(const struct bl_graph *graph) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < graph->param_count; i++) {
        const struct bl_param *p = graph->params[i];
        if (!p->counter)
            bytes += aligned(graph, 4 * (uint64_t)p->data.count) *
                     (p->trainable && !graph->inference ? 2 + (graph->optimiser ? graph->optimiser->states : 0) : 1);
    }
    return bytes;
}

int bl_graph_make_plan(struct bl_graph *graph) {
    int code = 0;
    bl_graph_fuse(graph);
    if (!graph->inference && ((code = add_gradients(graph)) || (code = set_accumulate(graph)))) return code;
    set_lifetimes(graph);
    bl_graph_share(graph);
    struct slot **order = bl_calloc(graph->slot_count * 2, sizeof *order);
    if (!order) return BLANCH_ENOMEM;
    graph->plan = (struct bl_plan){0};
    size_t own = 0;
    for (size_t i = 0; i < graph->slot_count; i++) {
        struct slot *slot = &graph->slots[i];
        if (slot->life == LIFE_NONE) continue;
        graph->plan.tensors++;
        if (slot->shares == (int)i) order[own++] = slot;
        slot->bytes = aligned(graph, 4 * (uint64_t)slot->tensor->count);
        graph->plan.unshared += slot->bytes;
        if (slot->life == BL_LIFE_KEPT || slot->life == LIFE_INPUT) graph->plan.kept += slot->bytes;
    }
    qsort(order, own, sizeof *order, larger_first);
    for (size_t i = 0; i < own && !code; i++) code = place(graph, order[i], order, i, order + graph->slot_count);
    free(order);
    for (size_t i = 0; i < graph->arena_count; i++) graph->plan.arena += graph->arenas[i].bytes;
    graph->plan.parameters = count_parameters(graph);
    graph->plan.total = graph->plan.arena + graph->plan.parameters;
    return code;
}

/* --- allocation ------------------------------------------------------------------------------- */

static int allocate_slots(struct bl_graph *graph) {
    int code;
    for (size_t i = 0; i < graph->arena_count; i++)
        if ((code = bl_mem_alloc(graph->dev, graph->arenas[i].bytes, &graph->arenas[i].mem)))
            return bl_fail_in(code, "the plan's arena %d of %d", (int)i + 1, (int)graph->arena_count);
    for (size_t i = 0; i < graph->slot_count; i++) {
        struct slot *s = &graph->slots[i];
        if (s->life == LIFE_NONE || s->shares != (int)i) continue;
        if ((code = bl_mem_part(graph->arenas[s->arena].mem, s->offset, 4 * (size_t)s->tensor->count, &s->tensor->mem)))
            return code;
    }
    for (size_t i = 0; i < graph->slot_count; i++) {
        size_t at = i;
        while (graph->slots[at].shares != (int)at) at = (size_t)graph->slots[at].shares;
        graph->slots[i].tensor->mem = graph->slots[at].tensor->mem;
    }
    return 0;
}

static bool idle(const struct bl_graph *graph, size_t param) {
    return graph->params[param]->node->idle;
}

/* Trainable parameters lie one after another, with the same offsets in the three arenas of a group, so that one launch
 * updates a group and a few all-reduces would serve. */
static int allocate_group(struct bl_graph *graph, size_t *next) {
    uint64_t bytes = 0;
    size_t first = *next, i;
    for (i = first; i < graph->param_count && graph->params[i]->trainable; i++) {
        uint64_t size = aligned(graph, 4 * (uint64_t)graph->params[i]->data.count);
        if (bytes && (bytes + size > limit_of(graph) || idle(graph, i) != idle(graph, first))) break;
        bytes += size;
    }
    *next = i;
    if (bl_grow((void **)&graph->groups, &graph->group_capacity, graph->group_count + 1, sizeof *graph->groups))
        return BLANCH_ENOMEM;
    struct group *group = &graph->groups[graph->group_count++];
    *group = (struct group){.bytes = bytes, .idle = idle(graph, first)};
    struct bl_mem **arena[2 + BL_MAX_STATES] = {&group->data, &group->grad};
    for (int k = 0; k < BL_MAX_STATES; k++) arena[2 + k] = &group->state[k];
    int parts = graph->inference ? 1 : 2 + (graph->optimiser ? graph->optimiser->states : 0);
    for (int k = 0; k < parts; k++) {
        int code;
        if ((code = bl_mem_alloc(graph->dev, bytes, arena[k])) || (code = bl_mem_fill(*arena[k], 0, bytes, 0.0f)))
            return code;
        uint64_t offset = 0;
        for (size_t p = first; p < i; p++) {
            struct bl_param *param = graph->params[p];
            struct bl_tensor *part = k > 1 ? &param->state[k - 2] : k ? &param->grad : &param->data;
            if ((code = bl_mem_part(*arena[k], offset, 4 * (size_t)param->data.count, &part->mem))) return code;
            offset += aligned(graph, 4 * (uint64_t)param->data.count);
        }
    }
    return 0;
}

static int allocate_buffers(struct bl_graph *graph) {
    uint64_t bytes = 0, offset = 0;
    for (size_t i = 0; i < graph->param_count; i++)
        if (!graph->params[i]->trainable && !graph->params[i]->counter)
            bytes += aligned(graph, 4 * (uint64_t)graph->params[i]->data.count);
    if (!bytes) return 0;
    int code = bl_mem_alloc(graph->dev, bytes, &graph->buffers);
    for (size_t i = 0; i < graph->param_count && !code; i++) {
        struct bl_param *param = graph->params[i];
        if (param->trainable || param->counter) continue;
        code = bl_mem_part(graph->buffers, offset, 4 * (size_t)param->data.count, &param->data.mem);
        offset += aligned(graph, 4 * (uint64_t)param->data.count);
    }
    return code;
}

int bl_graph_allocate(struct bl_graph *graph) {
    const struct blanch_device_info *info = blanch_device_info(graph->dev);
    if (graph->plan.total > info->global_memory)
        return bl_fail(BLANCH_ELIMIT, "batch %d needs %.0f MiB on the device, which has %.0f MiB", graph->batch,
                       (double)graph->plan.total / 1048576, (double)info->global_memory / 1048576);
    for (size_t i = 0; i < graph->slot_count; i++)
        if (graph->slots[i].bytes > info->max_alloc)
            return bl_fail(
                BLANCH_ELIMIT, "batch %d: a tensor of %s takes %.0f MiB, where the device allows %.0f MiB at once",
                graph->batch, graph->slots[i].node < 0 ? "the input" : graph->nodes[graph->slots[i].node]->name,
                (double)graph->slots[i].bytes / 1048576, (double)info->max_alloc / 1048576);
    int code = allocate_slots(graph);
    for (size_t next = 0; !code && next < graph->param_count && graph->params[next]->trainable;)
        code = allocate_group(graph, &next);
    return code ? code : allocate_buffers(graph);
}

uint64_t bl_graph_bytes_at(const struct bl_graph *graph, int batch) {
    struct bl_graph *other = NULL;
    uint64_t bytes = UINT64_MAX;
    if (bl_graph_create(&other, graph->dev, batch, graph->inference)) goto done;
    other->want_input_grads = graph->want_input_grads;
    struct bl_tensor **map = bl_calloc(graph->slot_count, sizeof *map);
    if (!map) goto done;
    for (size_t i = 0; i < graph->slot_count; i++) {
        const struct bl_tensor *t = graph->slots[i].tensor;
        if (graph->slots[i].life != LIFE_INPUT) continue;
        map[i] = t == graph->labels ? bl_graph_input_labels(other) : bl_graph_input(other, t->c, t->h, t->w);
    }
    for (size_t i = 0; i < graph->node_count; i++) {
        const struct bl_node *node = graph->nodes[i];
        struct bl_tensor *in[BL_MAX_INPUTS] = {0};
        for (int k = 0; k < node->inputs; k++) in[k] = map[node->in[k]->id];
        map[node->out[0]->id] = bl_graph_add(other, node->op->name, node->name, node->attrs, in, node->inputs);
        if (node->idle) bl_graph_idle(other, map[node->out[0]->id]);
    }
    free(map);
    if (other->error) goto done;
    struct bl_node *last = other->nodes[other->node_count - 1];
    other->loss = other->labels ? last : NULL;
    other->logits = other->loss ? last->in[0] : last->out[0];
    if (bl_graph_make_plan(other)) goto done;
    bytes = other->plan.total;
    for (size_t i = 0; i < other->slot_count; i++)
        if (other->slots[i].bytes > limit_of(other)) bytes = UINT64_MAX;
done:
    bl_graph_free(other);
    return bytes;
}
