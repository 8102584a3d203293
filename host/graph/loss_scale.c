/* The loss's scale: gradients in half precision are computed of the loss times a power of two, which adapts as that of
 * torch.cuda.amp.GradScaler does. It lies on the device and is decided there (kernels/gradients.cl), so that a step
 * need not wait for the one before it. */
#include "graph/internal.h"
#include <math.h>
#include <string.h>

/* Words of graph->skip; the kernels' too. */
enum { SKIP, WRONG, SCALE, GOOD, SKIPPED };

bool bl_graph_scales_loss(const struct bl_graph *graph) {
    return graph->type == BL_F16 && graph->optimiser && !graph->inference;
}

int bl_graph_allocate_skip(struct bl_graph *graph) {
    if (!graph->optimiser || graph->inference) return 0;
    const struct bl_loss_scale first = {.scale = BL_FIRST_LOSS_SCALE};
    int code = bl_mem_alloc(graph->dev, BL_SKIP_WORDS * sizeof(int32_t), &graph->skip);
    if (!code) code = bl_mem_fill(graph->skip, 0, BL_SKIP_WORDS * sizeof(int32_t), 0);
    return code ? code : bl_graph_set_loss_scale(graph, &first);
}

int bl_graph_set_loss_scale(struct bl_graph *graph, const struct bl_loss_scale *scale) {
    int32_t words[BL_SKIP_WORDS] = {[GOOD] = scale->good, [SKIPPED] = scale->skipped};
    memcpy(&words[SCALE], &scale->scale, sizeof scale->scale);
    return bl_mem_write(graph->skip, 0, sizeof words, words);
}

struct bl_loss_scale bl_loss_scale_of(const int32_t words[BL_SKIP_WORDS]) {
    struct bl_loss_scale scale = {.good = words[GOOD], .skipped = words[SKIPPED], .overflow = words[SKIP] != 0};
    memcpy(&scale.scale, &words[SCALE], sizeof scale.scale);
    return scale;
}

int bl_graph_read_loss_scale(struct bl_graph *graph, int32_t words[BL_SKIP_WORDS], struct bl_event **event) {
    bl_tag(graph->dev, -1, BL_UPDATE);
    int code = bl_mem_read_later(graph->skip, 0, BL_SKIP_WORDS * sizeof *words, words, event);
    bl_tag(graph->dev, -1, BL_OTHER);
    return code;
}

int bl_graph_loss_scale(struct bl_graph *graph, struct bl_loss_scale *scale) {
    int32_t words[BL_SKIP_WORDS];
    int code = bl_mem_read(graph->skip, 0, sizeof words, words);
    if (!code) *scale = bl_loss_scale_of(words);
    return code;
}

static int unscale(const struct bl_graph *graph, const struct group *group) {
    const struct bl_spread spread = bl_spread_of(graph, group);
    struct bl_kernel *kernel;
    int code = bl_gradients_kernel(graph, "unscale", &kernel);
    return code ? code
                : bl_launch(kernel, BL_ITEMS((size_t)spread.items), BL_MEM(group->grad), BL_SPREAD(spread),
                            BL_MEM(graph->skip));
}

int bl_graph_unscale(struct bl_graph *graph) {
    struct bl_kernel *kernel;
    int code = bl_graph_sum_gradients(graph);
    bl_tag(graph->dev, -1, BL_UPDATE);
    for (size_t i = 0; i < graph->group_count && !code; i++)
        if (bl_group_is_updated(&graph->groups[i])) code = unscale(graph, &graph->groups[i]);
    if (!code) code = bl_gradients_kernel(graph, "adapt", &kernel);
    if (!code) code = bl_launch(kernel, BL_ITEMS(1), BL_MEM(graph->skip), BL_I32(BL_GROWTH_INTERVAL));
    bl_tag(graph->dev, -1, BL_OTHER);
    graph->unscaled = !code;
    return code;
}
