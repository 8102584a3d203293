/* The plan's memory: arenas, parameters with their gradients and optimiser state, buffers. */
#include "graph/internal.h"

static int allocate_slots(struct bl_graph *graph) {
    int code;
    for (size_t i = 0; i < graph->arena_count; i++)
        if ((code = bl_mem_alloc(graph->dev, graph->arenas[i].bytes, &graph->arenas[i].mem)))
            return bl_fail_in(code, "the plan's arena %d of %d", (int)i + 1, (int)graph->arena_count);
    for (size_t i = 0; i < graph->slot_count; i++) {
        struct slot *s = &graph->slots[i];
        if (s->life == LIFE_NONE || s->shares != (int)i) continue;
        if ((code = bl_mem_part(graph->arenas[s->arena].mem, s->offset, bl_tensor_bytes(s->tensor), &s->tensor->mem)))
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
        uint64_t size = bl_graph_aligned(graph, bl_tensor_bytes(&graph->params[i]->data));
        if (bytes && (bytes + size > bl_graph_largest_buffer(graph) || idle(graph, i) != idle(graph, first))) break;
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
            struct blanch_tensor *part = k > 1 ? &param->state[k - 2] : k ? &param->grad : &param->data;
            if ((code = bl_mem_part(*arena[k], offset, bl_tensor_bytes(&param->data), &part->mem))) return code;
            offset += bl_graph_aligned(graph, bl_tensor_bytes(&param->data));
        }
    }
    return 0;
}

static int allocate_buffers(struct bl_graph *graph) {
    uint64_t bytes = 0, offset = 0;
    for (size_t i = 0; i < graph->param_count; i++)
        if (!graph->params[i]->trainable && !graph->params[i]->counter)
            bytes += bl_graph_aligned(graph, bl_tensor_bytes(&graph->params[i]->data));
    if (!bytes) return 0;
    int code = bl_mem_alloc(graph->dev, bytes, &graph->buffers);
    for (size_t i = 0; i < graph->param_count && !code; i++) {
        struct bl_param *param = graph->params[i];
        if (param->trainable || param->counter) continue;
        code = bl_mem_part(graph->buffers, offset, bl_tensor_bytes(&param->data), &param->data.mem);
        offset += bl_graph_aligned(graph, bl_tensor_bytes(&param->data));
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
