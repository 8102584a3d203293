/* The update of a step: gradients summed over ranks and clipped, then the optimiser, group by group. */
#include "graph/internal.h"
#include <math.h>
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

bool bl_group_updated(const struct group *group) {
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

static struct bl_spread spread_of(const struct bl_graph *graph, const struct group *group) {
    return bl_spread(graph->dev, (int64_t)(group->bytes / sizeof(float)));
}

static int kernel_of(const struct bl_graph *graph, const char *name, struct bl_kernel **kernel) {
    const struct bl_define defines[] = {{"VEC", 1}};
    return bl_kernel_get(graph->dev, "gradients", name, defines, BL_COUNT(defines), kernel);
}

/* Of the group's gradients, which are 0 between two parameters. */
static int sum_squares(const struct bl_graph *graph, const struct group *group, struct bl_mem *sums, float *host,
                       double *sum) {
    const struct bl_spread spread = spread_of(graph, group);
    struct bl_kernel *kernel;
    int code = kernel_of(graph, "squares", &kernel);
    if (!code)
        code = bl_launch(kernel, BL_ITEMS((size_t)spread.items), BL_MEM(group->grad), BL_MEM(sums), BL_SPREAD(spread));
    if (!code) code = bl_mem_read(sums, 0, (size_t)spread.items * sizeof *host, host);
    for (int i = 0; i < spread.items && !code; i++) *sum += (double)host[i];
    return code;
}

static int norm_of(const struct bl_graph *graph, double *norm) {
    struct bl_mem *sums = NULL;
    int most = 1;
    double sum = 0;
    for (size_t i = 0; i < graph->group_count; i++) {
        const int items = spread_of(graph, &graph->groups[i]).items;
        most = items > most ? items : most;
    }
    float *host = bl_calloc((size_t)most, sizeof *host);
    int code = host ? bl_mem_alloc(graph->dev, (uint64_t)most * sizeof *host, &sums) : BLANCH_ENOMEM;
    for (size_t i = 0; i < graph->group_count && !code; i++)
        if (bl_group_updated(&graph->groups[i])) code = sum_squares(graph, &graph->groups[i], sums, host, &sum);
    bl_mem_free(sums);
    free(host);
    *norm = sqrt(sum);
    return code;
}

static int scale(const struct bl_graph *graph, const struct group *group, double by) {
    const struct bl_spread spread = spread_of(graph, group);
    struct bl_kernel *kernel;
    int code = kernel_of(graph, "scale", &kernel);
    return code ? code
                : bl_launch(kernel, BL_ITEMS((size_t)spread.items), BL_MEM(group->grad), BL_SPREAD(spread), BL_F32(by));
}

/* As torch.nn.utils.clip_grad_norm_. */
static int clip(const struct bl_graph *graph, double most) {
    double norm;
    int code = norm_of(graph, &norm);
    const double by = most / (norm + 1e-6);
    for (size_t i = 0; i < graph->group_count && !code && by < 1; i++)
        if (bl_group_updated(&graph->groups[i])) code = scale(graph, &graph->groups[i], by);
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
    const struct bl_spread spread = spread_of(graph, group);
    struct bl_kernel *kernel;
    int code = kernel_of(graph, "add", &kernel);
    return code ? code : bl_launch(kernel, BL_ITEMS((size_t)spread.items), BL_MEM(from), BL_MEM(to), BL_SPREAD(spread));
}

int bl_graph_end_part(struct bl_graph *graph, int part, int parts) {
    const bool last = part == parts - 1;
    int code = 0;
    bl_tag(graph->dev, -1, BL_UPDATE);
    for (size_t i = 0; i < graph->group_count && !code; i++) {
        const struct group *g = &graph->groups[i];
        if (!bl_group_updated(g)) continue;
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
    int code = bl_graph_sum_gradients(graph);
    bl_tag(graph->dev, -1, BL_UPDATE);
    if (!code && update->clip_grad_norm > 0) code = clip(graph, (double)update->clip_grad_norm);
    graph->updates++;
    for (size_t i = 0; i < graph->group_count && !code; i++) {
        const struct group *g = &graph->groups[i];
        const struct bl_optimiser *by = bl_param_optimiser(g->first);
        if (!bl_group_updated(g) || by->rest) continue;
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
