/* A pass over the nodes one by one, watched, that leaves the graph's state as it found it. */
#include "graph/internal.h"
#include <stdlib.h>

struct kept {
    float *values;
    int64_t count;
}; // of a buffer; a counter's count alone

static int keep(const struct bl_graph *graph, struct kept *kept) {
    for (size_t i = 0; i < graph->param_count; i++) {
        struct bl_param *p = graph->params[i];
        if (p->trainable) continue;
        kept[i].count = p->value;
        if (p->counter) continue;
        kept[i].values = bl_calloc((size_t)p->data.count, sizeof(float));
        int code = kept[i].values ? bl_param_read(p, kept[i].values) : BLANCH_ENOMEM;
        if (code) return code;
    }
    return 0;
}

static int put_back(struct bl_graph *graph, const struct kept *kept) {
    int code = 0;
    for (size_t i = 0; i < graph->param_count; i++) {
        struct bl_param *p = graph->params[i];
        if (p->counter)
            p->value = kept[i].count;
        else if (!p->trainable && !code)
            code = bl_param_write(p, kept[i].values);
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

int bl_graph_walk(struct bl_graph *graph, int n, const struct bl_visitor *visitor) {
    struct kept *kept = NULL;
    int code = bl_graph_check_batch(graph, n, true);
    if (!code && !(kept = bl_calloc(graph->param_count, sizeof *kept))) code = BLANCH_ENOMEM;
    if (!code) code = bl_graph_end_targets(graph);
    if (!code) code = keep(graph, kept);
    if (code) goto done;
    graph->version++;
    struct bl_run run = bl_graph_run(graph, n, true);
    run.step++; // as the step that follows will have it
    code = bl_graph_visit(graph, &run, visitor);
    int restored = put_back(graph, kept);
    if (!code) code = restored;
    graph->version++;
done:
    for (size_t i = 0; kept && i < graph->param_count; i++) free(kept[i].values);
    free(kept);
    return code;
}
