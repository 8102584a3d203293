/* The plan's memory: arenas, parameters with their gradients and optimiser state, buffers. */
#include "graph/internal.h"
#include <stdlib.h>

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

/* One launch updates both. */
static bool alike(const struct bl_param *a, const struct bl_param *b) {
    return a->node->idle == b->node->idle && a->no_decay == b->no_decay && a->frozen == b->frozen &&
           bl_param_optimiser(a) == bl_param_optimiser(b);
}

static int states_of(const struct bl_param *param) {
    const struct bl_optimiser *optimiser = bl_param_optimiser(param);
    return optimiser && !param->frozen ? optimiser->states : 0;
}

static int allocate_workspace(struct bl_graph *graph) {
    const uint64_t bytes = (uint64_t)bl_graph_update_workspace(graph) * sizeof(float);
    return bytes ? bl_mem_alloc(graph->dev, bytes, &graph->workspace) : 0;
}

/* The parameters from the first that has no memory yet which are treated alike, as many as a buffer holds: next is in
 * it and has what is `offset` bytes from its begin. */
struct member {
    struct bl_param *param;
    uint64_t offset;
};
static uint64_t choose_members(const struct bl_graph *graph, size_t first, struct member *members, size_t *count) {
    uint64_t bytes = 0;
    *count = 0;
    for (size_t i = first; i < graph->param_count && graph->params[i]->trainable; i++) {
        struct bl_param *param = graph->params[i];
        uint64_t size = bl_graph_aligned(graph, bl_tensor_bytes(&param->data));
        if (param->data.mem || !alike(param, graph->params[first])) continue;
        if (bytes && bytes + size > bl_graph_largest_buffer(graph)) break;
        members[(*count)++] = (struct member){param, bytes};
        bytes += size;
    }
    return bytes;
}

/* Trainable parameters lie one after another, with the same offsets in the arenas of a group, so that one launch
 * updates a group and a few all-reduces would serve. */
static int allocate_group(struct bl_graph *graph, size_t first, struct member *members) {
    size_t count;
    const uint64_t bytes = choose_members(graph, first, members, &count);
    if (bl_grow((void **)&graph->groups, &graph->group_capacity, graph->group_count + 1, sizeof *graph->groups))
        return BLANCH_ENOMEM;
    struct group *group = &graph->groups[graph->group_count++];
    *group = (struct group){.number = (int)graph->group_count - 1, .bytes = bytes, .first = graph->params[first]};
    struct bl_mem **arena[3 + BL_MAX_STATES] = {&group->data, &group->grad, &group->average};
    for (int k = 0; k < BL_MAX_STATES; k++) arena[3 + k] = &group->state[k];
    if (graph->accumulates && !graph->inference && !group->first->frozen) {
        int code = bl_mem_alloc(graph->dev, bytes, &group->sum);
        if (code) return code;
    }
    int parts = graph->inference ? 1 : 3 + states_of(group->first);
    for (int k = 0; k < parts; k++) {
        int code;
        if (k == 2 && !bl_graph_keeps_average(graph)) continue;
        if ((code = bl_mem_alloc(graph->dev, bytes, arena[k])) || (code = bl_mem_fill(*arena[k], 0, bytes, 0.0f)))
            return code;
        for (size_t i = 0; i < count; i++) {
            struct bl_param *param = members[i].param;
            param->group = group->number;
            struct blanch_tensor *part = k > 2    ? &param->state[k - 3]
                                         : k == 2 ? &param->average
                                         : k      ? &param->grad
                                                  : &param->data;
            if ((code = bl_mem_part(*arena[k], members[i].offset, bl_tensor_bytes(&param->data), &part->mem)))
                return code;
        }
    }
    return 0;
}

static int allocate_groups(struct bl_graph *graph) {
    struct member *members = bl_calloc(graph->param_count + 1, sizeof *members);
    int code = members ? 0 : BLANCH_ENOMEM;
    for (size_t i = 0; i < graph->param_count && graph->params[i]->trainable && !code; i++)
        if (!graph->params[i]->data.mem) code = allocate_group(graph, i, members);
    free(members);
    return code;
}

/* Each buffer's part of an arena. */
static int place_buffers(struct bl_graph *graph, struct bl_mem *arena, bool averages) {
    uint64_t offset = 0;
    int code = 0;
    for (size_t i = 0; i < graph->param_count && !code; i++) {
        struct bl_param *param = graph->params[i];
        if (param->trainable || param->counter) continue;
        struct blanch_tensor *part = averages ? &param->average : &param->data;
        code = bl_mem_part(arena, offset, bl_tensor_bytes(&param->data), &part->mem);
        offset += bl_graph_aligned(graph, bl_tensor_bytes(&param->data));
    }
    return code;
}

static int allocate_buffers(struct bl_graph *graph) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < graph->param_count; i++)
        if (!graph->params[i]->trainable && !graph->params[i]->counter)
            bytes += bl_graph_aligned(graph, bl_tensor_bytes(&graph->params[i]->data));
    graph->buffer_bytes = bytes;
    if (!bytes) return 0;
    int code = bl_mem_alloc(graph->dev, bytes, &graph->buffers);
    if (!code) code = bl_mem_fill(graph->buffers, 0, bytes, 0.0f);
    if (!code) code = place_buffers(graph, graph->buffers, false);
    if (code || !bl_graph_keeps_average(graph)) return code;
    code = bl_mem_alloc(graph->dev, bytes, &graph->buffers_average);
    if (!code) code = bl_mem_fill(graph->buffers_average, 0, bytes, 0.0f);
    return code ? code : place_buffers(graph, graph->buffers_average, true);
}

static int digits_of(double mib) {
    return mib < 10 ? 3 : 0;
}

int bl_graph_allocate(struct bl_graph *graph) {
    const struct blanch_device_info *info = blanch_device_info(graph->dev);
    const double needed = (double)graph->plan.total / 1048576, there = (double)info->global_memory / 1048576;
    if (needed > there)
        return bl_fail(BLANCH_ELIMIT, "batch %d needs %.*f MiB on the device, which has %.*f MiB", graph->batch,
                       digits_of(needed), needed, digits_of(there), there);
    for (size_t i = 0; i < graph->slot_count; i++)
        if (graph->slots[i].bytes > info->max_alloc)
            return bl_fail(
                BLANCH_ELIMIT, "batch %d: a tensor of %s takes %.0f MiB, where the device allows %.0f MiB at once",
                graph->batch, graph->slots[i].node < 0 ? "the input" : graph->nodes[graph->slots[i].node]->name,
                (double)graph->slots[i].bytes / 1048576, (double)info->max_alloc / 1048576);
    int code = allocate_slots(graph);
    if (!code) code = allocate_groups(graph);
    if (!code) code = allocate_workspace(graph);
    if (!code) code = bl_graph_allocate_skip(graph);
    return code ? code : allocate_buffers(graph);
}
