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

static int visit(struct bl_graph *graph, struct bl_node *node, const struct bl_run *run, bool backward,
                 const struct bl_visitor *visitor) {
    int code = visitor->before ? visitor->before(visitor->context, node, run, backward) : 0;
    if (!code) code = bl_graph_run_node(graph, node, run, backward);
    if (!code && visitor->after) code = visitor->after(visitor->context, node, run, backward);
    return code;
}

int bl_graph_walk(struct bl_graph *graph, int n, const struct bl_visitor *visitor) {
    if (n < 1 || n > graph->batch)
        return bl_fail(BLANCH_EUSAGE, "%d images for a graph planned for 1 to %d", n, graph->batch);
    if (graph->inference) return bl_fail(BLANCH_EUSAGE, "a network made for inference cannot be trained");
    struct kept *kept = bl_calloc(graph->param_count, sizeof *kept);
    int code = kept ? bl_graph_end_targets(graph) : BLANCH_ENOMEM;
    if (!code) code = keep(graph, kept);
    if (code) goto done;
    graph->version++;
    struct bl_run run = bl_graph_run(graph, n, true);
    run.step++; // as the step that follows will have it
    for (size_t i = 0; i < graph->node_count && !code; i++)
        if (bl_graph_runs(graph->nodes[i])) code = visit(graph, graph->nodes[i], &run, false, visitor);
    for (size_t i = graph->node_count; i-- > 0 && !code;)
        if (bl_graph_has_backward(graph, graph->nodes[i])) code = visit(graph, graph->nodes[i], &run, true, visitor);
    bl_tag(graph->dev, -1, BL_OTHER);
    int restored = put_back(graph, kept);
    if (!code) code = restored;
    graph->version++;
done:
    for (size_t i = 0; kept && i < graph->param_count; i++) free(kept[i].values);
    free(kept);
    return code;
}
