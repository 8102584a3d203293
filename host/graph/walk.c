/* A pass over the nodes one by one, watched, that leaves the graph's state as it found it. */
#include "graph/internal.h"
#include <stdlib.h>

struct kept {
    float *values;
    int64_t count;
    const struct bl_update_target *target;
}; // of a buffer; a counter's count alone; a parameter's memory, where it has an update target

static int read_memory(const struct bl_param *p, float **values) {
    *values = bl_calloc((size_t)p->data.count, sizeof **values);
    return *values ? bl_mem_read(p->data.mem, 0, bl_tensor_bytes(&p->data), *values) : BLANCH_ENOMEM;
}

/* The parameter's memory holds its value until put_back(): the target neither ends nor is in the way. */
static int suspend_target(struct bl_param *p, struct kept *kept) {
    float *value = bl_calloc((size_t)p->data.count, sizeof *value);
    int code = value ? bl_param_read(p, value) : BLANCH_ENOMEM;
    if (!code) code = bl_mem_write(p->data.mem, 0, bl_tensor_bytes(&p->data), value);
    free(value);
    if (!code) kept->target = p->target, p->target = NULL;
    return code;
}

static int keep(const struct bl_graph *graph, struct kept *kept) {
    int code = 0;
    for (size_t i = 0; i < graph->param_count; i++) kept[i].count = graph->params[i]->value;
    for (size_t i = 0; i < graph->param_count && !code; i++) {
        struct bl_param *p = graph->params[i];
        if (p->counter || (p->trainable && !p->target)) continue;
        code = read_memory(p, &kept[i].values);
        if (!code && p->target) code = suspend_target(p, &kept[i]);
    }
    return code;
}

static int put_back(struct bl_graph *graph, const struct kept *kept) {
    int code = 0;
    for (size_t i = 0; i < graph->param_count; i++) {
        struct bl_param *p = graph->params[i];
        if (p->counter) p->value = kept[i].count;
        if (!kept[i].values || (p->trainable && !kept[i].target)) continue;
        int written = bl_mem_write(p->data.mem, 0, bl_tensor_bytes(&p->data), kept[i].values);
        if (kept[i].target) p->target = kept[i].target;
        if (!code) code = written;
    }
    return code;
}

int bl_graph_visit(struct bl_graph *graph, const struct bl_run *run, const struct bl_visitor *visitor) {
    int code = 0;
    for (size_t i = 0; i < graph->action_count && !code; i++) {
        const struct bl_action *action = &graph->actions[i];
        if (!action->node) continue;
        if (visitor->before) code = visitor->before(visitor->context, action->node, run, action->kind);
        if (!code) code = bl_graph_act(graph, action, run);
        if (!code && visitor->after) code = visitor->after(visitor->context, action->node, run, action->kind);
    }
    bl_tag(graph->dev, -1, BL_OTHER);
    return code;
}

int bl_graph_watch(struct bl_graph *graph, int n, const struct bl_visitor *visitor) {
    const struct bl_run run = bl_graph_run(graph, n, false);
    int code = bl_graph_check_batch(graph, n, false);
    return code ? code : bl_graph_visit(graph, &run, visitor);
}

int bl_graph_walk(struct bl_graph *graph, int n, const struct bl_visitor *visitor) {
    struct kept *kept = NULL;
    int code = bl_graph_check_batch(graph, n, true);
    if (!code && !(kept = bl_calloc(graph->param_count, sizeof *kept))) code = BLANCH_ENOMEM;
    if (code) return code;
    code = keep(graph, kept);
    graph->version++;
    struct bl_run run = bl_graph_run(graph, n, true);
    run.step++; // as the step that follows will have it
    code = bl_graph_visit(graph, &run, visitor);
    int restored = put_back(graph, kept);
    if (!code) code = restored;
    graph->version++;
    for (size_t i = 0; i < graph->param_count; i++) free(kept[i].values);
    free(kept);
    return code;
}
