/* The update of a step: gradients summed over ranks and clipped, then the optimiser, group by group. */
#include "graph/internal.h"
#include <stdlib.h>
#include <string.h>

/* --- by which optimiser ------------------------------------------------------------------------------- */

int64_t bl_param_rows(const struct bl_param *param) {
    return param->dims ? param->shape[0] : 1;
}

static bool is_matrix(const struct bl_param *param) {
    const int64_t rows = bl_param_rows(param);
    return rows > 1 && param->data.count / rows > 1 && param->node != bl_graph_head(param->node->graph);
}

const struct bl_optimiser *bl_param_optimiser(const struct bl_param *param) {
    const struct bl_optimiser *optimiser = param->node->graph->optimiser;
    return optimiser && optimiser->rest && !is_matrix(param) ? optimiser->rest : optimiser;
}

int64_t bl_graph_update_workspace(const struct bl_graph *graph) {
    int64_t most = 0;
    if (!graph->optimiser || !graph->optimiser->workspace || graph->inference) return 0;
    for (size_t i = 0; i < graph->param_count; i++) {
        const struct bl_param *p = graph->params[i];
        const int64_t rows = bl_param_rows(p);
        if (!p->trainable || p->frozen || !is_matrix(p)) continue;
        const int64_t floats = graph->optimiser->workspace(rows, p->data.count / rows);
        most = floats > most ? floats : most;
    }
    return most;
}

bool bl_group_is_updated(const struct group *group) {
    return !group->first->node->idle && !group->first->frozen;
}

/* --- the gradients' norm ---------------------------------------------------------------------------- */

struct bl_spread bl_spread(const struct blanch_device *dev, int64_t count) {
    enum { CHUNK = 4096 };
    const int64_t chunks = (count + CHUNK - 1) / CHUNK, most = count < BL_MOST_ITEMS ? count : BL_MOST_ITEMS;
    if (blanch_device_info(dev)->kind == BLANCH_CPU && chunks < INT32_MAX)
        return (struct bl_spread){count, CHUNK, 1, (int)chunks};
    return (struct bl_spread){count, 1, most > 1 ? most : 2, (int)most};
}

struct bl_spread bl_spread_of(const struct bl_graph *graph, const struct group *group) {
    return bl_spread(graph->dev, (int64_t)(group->bytes / sizeof(float)));
}

int bl_gradients_kernel(const struct bl_graph *graph, const char *name, struct bl_kernel **kernel) {
    const struct bl_define defines[] = {{"VEC", 1}, {"ITEMS", 1}};
    return bl_kernel_get(graph->dev, "gradients", name, defines, BL_COUNT(defines), kernel);
}

/* Sums of squares of all groups, and behind them the factor; made once. */
static int prepare_norm(struct bl_graph *graph, int *sums) {
    *sums = 0;
    for (size_t i = 0; i < graph->group_count; i++)
        if (bl_group_is_updated(&graph->groups[i])) *sums += bl_spread_of(graph, &graph->groups[i]).items;
    return graph->norm ? 0 : bl_mem_alloc(graph->dev, ((uint64_t)*sums + 1) * sizeof(float), &graph->norm);
}

/* Of a group's gradients, which are 0 between two parameters, to the sums from `first` on. */
static int sum_squares(const struct bl_graph *graph, const struct group *group, int first) {
    const struct bl_spread spread = bl_spread_of(graph, group);
    struct bl_kernel *kernel;
    int code = bl_gradients_kernel(graph, "squares", &kernel);
    return code ? code
                : bl_launch(kernel, BL_ITEMS((size_t)spread.items), BL_MEM(group->grad), BL_MEM(graph->norm),
                            BL_SPREAD(spread), BL_I32(first));
}

/* By as many items as a group of the device has, up to MOST; on a CPU by one. */
static int find_factor(const struct bl_graph *graph, int sums, float most) {
    enum { MOST = 64 };
    const struct blanch_device_info *info = blanch_device_info(graph->dev);
    const size_t largest =
        info->max_work_group < info->max_work_item[0] ? info->max_work_group : info->max_work_item[0];
    struct bl_kernel *kernel = NULL;
    int items = info->kind == BLANCH_CPU ? 1 : MOST;
    for (; items >= 1; items /= 2) {
        const struct bl_define defines[] = {{"VEC", 1}, {"ITEMS", items}};
        if ((size_t)items > largest) continue;
        int code = bl_kernel_get(graph->dev, "gradients", "clip_factor", defines, BL_COUNT(defines), &kernel);
        if (code) return code;
        if (bl_kernel_items(kernel) >= (size_t)items) break;
    }
    const struct bl_range range = {.global = {(size_t)items, 1, 1}, .local = {(size_t)items, 1, 1}};
    return bl_launch(kernel, range, BL_MEM(graph->norm), BL_I32(sums), BL_F32(most));
}

static int scale(const struct bl_graph *graph, const struct group *group, int sums) {
    const struct bl_spread spread = bl_spread_of(graph, group);
    struct bl_kernel *kernel;
    int code = bl_gradients_kernel(graph, "scale", &kernel);
    return code ? code
                : bl_launch(kernel, BL_ITEMS((size_t)spread.items), BL_MEM(group->grad), BL_SPREAD(spread),
                            BL_MEM(graph->norm), BL_I32(sums));
}

/* As torch.nn.utils.clip_grad_norm_, on the device: the host waits for nothing. */
static int clip(struct bl_graph *graph, float most) {
    int sums, first = 0, code = prepare_norm(graph, &sums);
    for (size_t i = 0; i < graph->group_count && !code; i++) {
        if (!bl_group_is_updated(&graph->groups[i])) continue;
        code = sum_squares(graph, &graph->groups[i], first);
        first += bl_spread_of(graph, &graph->groups[i]).items;
    }
    if (!code && sums) code = find_factor(graph, sums, most);
    for (size_t i = 0; i < graph->group_count && !code; i++)
        if (bl_group_is_updated(&graph->groups[i])) code = scale(graph, &graph->groups[i], sums);
    return code;
}

/* --- steps in parts --------------------------------------------------------------------------------- */

void bl_graph_accumulate(struct bl_graph *graph) {
    graph->accumulates = true;
}

void bl_graph_begin_part(struct bl_graph *graph, int part, int64_t first) {
    graph->first_image = first;
    graph->continues = part > 0;
}

static int add(const struct bl_graph *graph, const struct group *group, struct bl_mem *from, struct bl_mem *to) {
    const struct bl_spread spread = bl_spread_of(graph, group);
    struct bl_kernel *kernel;
    int code = bl_gradients_kernel(graph, "add", &kernel);
    return code ? code : bl_launch(kernel, BL_ITEMS((size_t)spread.items), BL_MEM(from), BL_MEM(to), BL_SPREAD(spread));
}

int bl_graph_end_part(struct bl_graph *graph, int part, int parts) {
    const bool last = part == parts - 1;
    int code = 0;
    bl_tag(graph->dev, -1, BL_UPDATE);
    for (size_t i = 0; i < graph->group_count && !code; i++) {
        const struct group *g = &graph->groups[i];
        if (!bl_group_is_updated(g)) continue;
        code = part ? add(graph, g, last ? g->sum : g->grad, last ? g->grad : g->sum)
                    : bl_mem_copy(g->grad, 0, g->sum, 0, g->bytes);
    }
    bl_tag(graph->dev, -1, BL_OTHER);
    return code;
}

/* --- the update ------------------------------------------------------------------------------------- */

static struct blanch_update update_of(const struct bl_param *param, const struct blanch_update *update) {
    struct blanch_update own = *update;
    if (param->no_decay) own.weight_decay = 0;
    return own;
}

/* Each by itself. */
static int update_matrices(const struct bl_graph *graph, const struct blanch_update *update) {
    const struct bl_optimiser *optimiser = graph->optimiser;
    int code = 0;
    for (size_t i = 0; i < graph->param_count && !code; i++) {
        const struct bl_param *p = graph->params[i];
        if (!p->trainable || p->frozen || p->node->idle || bl_param_optimiser(p) != optimiser) continue;
        struct bl_update_span span = {.dev = graph->dev,
                                      .value = p->data.mem,
                                      .grad = p->grad.mem,
                                      .count = p->data.count,
                                      .rows = bl_param_rows(p),
                                      .columns = p->data.count / bl_param_rows(p),
                                      .workspace = graph->workspace,
                                      .skip = graph->skip};
        for (int s = 0; s < optimiser->states; s++) span.state[s] = p->state[s].mem;
        const struct blanch_update own = update_of(p, update);
        code = optimiser->update(&span, &own, (int64_t)graph->updates);
        if (code) bl_fail_in(code, "%s", p->name);
    }
    return code;
}

int bl_graph_update(struct bl_graph *graph, const struct blanch_update *update) {
    const struct bl_optimiser *optimiser = graph->optimiser;
    if (!optimiser || graph->inference)
        return bl_fail(BLANCH_EUSAGE, "a network made without an optimiser cannot be updated");
    int code = !bl_graph_scales_loss(graph) ? bl_graph_sum_gradients(graph)
               : graph->unscaled            ? 0
                                            : bl_graph_unscale(graph);
    graph->unscaled = false;
    bl_tag(graph->dev, -1, BL_UPDATE);
    if (!code && update->clip_grad_norm > 0) code = clip(graph, update->clip_grad_norm);
    graph->updates++;
    for (size_t i = 0; i < graph->group_count && !code; i++) {
        const struct group *g = &graph->groups[i];
        const struct bl_optimiser *by = bl_param_optimiser(g->first);
        if (!bl_group_is_updated(g) || by->rest) continue;
        struct bl_update_span span = {.dev = graph->dev,
                                      .value = g->data,
                                      .grad = g->grad,
                                      .count = (int64_t)(g->bytes / sizeof(float)),
                                      .skip = graph->skip};
        memcpy(span.state, g->state, sizeof span.state);
        const struct blanch_update own = update_of(g->first, update);
        code = by->update(&span, &own, (int64_t)graph->updates);
    }
    if (!code && optimiser->rest) code = update_matrices(graph, update);
    if (!code) code = bl_graph_average_all(graph);
    bl_tag(graph->dev, -1, BL_OTHER);
    for (size_t i = 0; i < graph->param_count; i++) {
        const struct bl_update_target *target = graph->params[i]->target;
        const struct blanch_update own = update_of(graph->params[i], update);
        if (target) target->updated(target->context, optimiser, &own);
    }
    graph->version++;
    return code;
}
