/* Moving averages of parameters and buffers. */
#include "graph/internal.h"

void bl_graph_keep_average(struct bl_graph *graph, float decay) {
    graph->ema = decay;
}

bool bl_graph_keeps_average(const struct bl_graph *graph) {
    return graph->ema > 0 && !graph->inference;
}

static int take_in(const struct bl_graph *graph, struct bl_mem *average, struct bl_mem *value, uint64_t bytes) {
    const struct bl_define defines[] = {{"VEC", 1}};
    const struct bl_spread spread = bl_spread(graph->dev, (int64_t)(bytes / sizeof(float)));
    struct bl_kernel *kernel;
    if (graph->updates == 1) return bl_mem_copy(value, 0, average, 0, bytes);
    int code = bl_kernel_get(graph->dev, "average", "average", defines, BL_COUNT(defines), &kernel);
    return code ? code
                : bl_launch(kernel, BL_ITEMS((size_t)spread.items), BL_MEM(average), BL_MEM(value), BL_SPREAD(spread),
                            BL_F32(1 - (double)graph->ema), BL_MEM(graph->skip));
}

int bl_graph_average_all(struct bl_graph *graph) {
    int code = 0;
    if (!bl_graph_keeps_average(graph)) return 0;
    for (size_t i = 0; i < graph->group_count && !code; i++)
        code = take_in(graph, graph->groups[i].average, graph->groups[i].data, graph->groups[i].bytes);
    return code || !graph->buffers ? code : take_in(graph, graph->buffers_average, graph->buffers, graph->buffer_bytes);
}

int bl_param_read_average(struct bl_param *param, float *values) {
    if (!param->node->graph->updates) return bl_param_read(param, values);
    return bl_mem_read(param->average.mem, 0, bl_tensor_bytes(&param->data), values);
}
