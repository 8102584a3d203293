/* A graph of one rank of several: the sums of its gradients, begun as the backward pass makes them, and what ranks
 * start from. */
#include "graph/internal.h"
#include <stdlib.h>
#include <string.h>

static const uint64_t bucket_bytes = 4 << 20; // of gradients that travel together, about

struct bl_bucket {
    const struct group *group;
    struct bl_floats floats;
    const struct bl_param *divides; // the only one in it, which ranks may have divided; NULL: none
    size_t ready;                   // the action of the list behind which its gradients are there
};

void bl_graph_leave(struct bl_graph *graph) {
    free(graph->buckets);
    graph->buckets = NULL, graph->bucket_count = 0, graph->all = NULL;
}

const struct bl_collectives *bl_graph_collectives(const struct bl_graph *graph) {
    return graph->all;
}
bool bl_graph_shares_statistics(const struct bl_graph *graph) {
    return graph->all && graph->sync;
}
void bl_graph_place_batch(struct bl_graph *graph, int64_t first, int64_t whole) {
    graph->first_image = first, graph->whole = whole;
}
void bl_graph_repeat_batch(struct bl_graph *graph, bool repeats) {
    graph->repeats = repeats;
}
void bl_graph_overlap(struct bl_graph *graph, bool overlaps) {
    graph->overlaps = overlaps && graph->all;
}

/* --- buckets ------------------------------------------------------------------------------------ */

static size_t ready_after(const struct bl_graph *graph, const struct bl_param *p) {
    const int when = graph->when[p->node->index][BL_DO_BACKWARD];
    return when < 0 ? graph->forward_count : (size_t)when;
}

static int add_bucket(struct bl_graph *graph, size_t *capacity, const struct bl_bucket *bucket) {
    int code = bl_grow((void **)&graph->buckets, capacity, graph->bucket_count + 1, sizeof *graph->buckets);
    if (!code) graph->buckets[graph->bucket_count++] = *bucket;
    return code;
}

static int end_bucket(struct bl_graph *graph, size_t *capacity, struct bl_bucket *bucket, uint64_t end) {
    const int64_t begin = bucket->floats.offset;
    bucket->floats.count = (int64_t)(end / sizeof(float)) - begin;
    int code = bucket->floats.count ? add_bucket(graph, capacity, bucket) : 0;
    bucket->floats.offset += bucket->floats.count;
    bucket->ready = 0, bucket->divides = NULL;
    return code;
}

/* The parameters lie in the group in the order of the state dict, about that of the layers. */
static int cut_group(struct bl_graph *graph, const struct group *group, size_t *capacity) {
    struct bl_bucket bucket = {.group = group, .floats.mem = group->grad};
    uint64_t offset = 0;
    int code = 0;
    for (size_t i = 0; i < graph->param_count && !code; i++) {
        const struct bl_param *p = graph->params[i];
        if (!p->trainable || p->group != group->number) continue;
        if (p->divides) code = end_bucket(graph, capacity, &bucket, offset);
        const size_t ready = ready_after(graph, p);
        if (ready > bucket.ready) bucket.ready = ready;
        if (p->divides) bucket.divides = p;
        offset += bl_graph_aligned(graph, bl_tensor_bytes(&p->data));
        const bool full = offset - (uint64_t)bucket.floats.offset * sizeof(float) >= bucket_bytes;
        if (!code && (full || p->divides || offset >= group->bytes))
            code = end_bucket(graph, capacity, &bucket, offset);
    }
    return code;
}

static int by_readiness(const void *a, const void *b) {
    const struct bl_bucket *x = a, *y = b;
    if (x->ready != y->ready) return x->ready < y->ready ? -1 : 1;
    return x->floats.offset > y->floats.offset ? -1 : x->floats.offset < y->floats.offset;
}

static int make_buckets(struct bl_graph *graph) {
    size_t capacity = 0;
    int code = 0;
    for (size_t i = 0; i < graph->group_count && !code; i++)
        if (bl_group_is_updated(&graph->groups[i])) code = cut_group(graph, &graph->groups[i], &capacity);
    if (graph->bucket_count) qsort(graph->buckets, graph->bucket_count, sizeof *graph->buckets, by_readiness);
    return code;
}

/* What a rank that repeats another's work has counts nothing. */
static int begin(struct bl_graph *graph, const struct bl_bucket *bucket) {
    const struct bl_floats *f = &bucket->floats;
    const struct bl_param *p = bucket->divides;
    int code = 0;
    if (p && p->divided) {
        const int64_t count = (int64_t)(bl_tensor_bytes(&p->data) / sizeof(float)), rows = p->shape[0];
        const struct bl_floats own = {f->mem, f->offset, count};
        const int64_t share = bl_most_of_share(graph->all, rows) * (count / rows);
        return graph->all->begin_shares(graph->all->context, graph->dev, &own, share);
    }
    if (graph->repeats && graph->all->rank)
        code = bl_mem_fill(f->mem, (size_t)f->offset * sizeof(float), (size_t)f->count * sizeof(float), 0);
    return code ? code : graph->all->begin(graph->all->context, graph->dev, f);
}

/* In the order in which they are ready, behind the action. */
int bl_graph_begin_sums(struct bl_graph *graph, size_t action) {
    int code = 0;
    if (!graph->overlaps || graph->next_bucket == graph->bucket_count) return 0;
    if (graph->buckets[graph->next_bucket].ready > action) return 0;
    bl_tag(graph->dev, -1, BL_COMMUNICATE);
    while (graph->next_bucket < graph->bucket_count && graph->buckets[graph->next_bucket].ready <= action && !code)
        code = begin(graph, &graph->buckets[graph->next_bucket++]);
    return code;
}

static int finish(struct bl_graph *graph, bool drop) {
    graph->next_bucket = 0;
    bl_tag(graph->dev, -1, BL_COMMUNICATE);
    return graph->all->finish(graph->all->context, drop);
}

int bl_graph_sum_gradients(struct bl_graph *graph) {
    int code = 0;
    if (!graph->all) return 0;
    bl_tag(graph->dev, -1, BL_COMMUNICATE);
    while (graph->next_bucket < graph->bucket_count && !code)
        code = begin(graph, &graph->buckets[graph->next_bucket++]);
    const int finished = finish(graph, false);
    return code ? code : finished;
}

int bl_graph_drop_sums(struct bl_graph *graph) {
    return graph->all && graph->next_bucket ? finish(graph, true) : 0;
}

/* --- the beginning ------------------------------------------------------------------------------ */

static int spread_group(const struct bl_graph *graph, const struct group *g) {
    const int64_t count = (int64_t)(g->bytes / sizeof(float));
    int code = bl_spread_from(graph->all, graph->dev, g->data, count, 0);
    if (!code && g->average) code = bl_spread_from(graph->all, graph->dev, g->average, count, 0);
    for (int k = 0; k < BL_MAX_STATES && !code; k++)
        if (g->state[k]) code = bl_spread_from(graph->all, graph->dev, g->state[k], count, 0);
    return code;
}

static int spread_counters(struct bl_graph *graph) {
    const size_t ranks = (size_t)graph->all->ranks, each = graph->param_count + 2;
    double *own = bl_calloc((ranks + 1) * each, sizeof *own), *all = own + each;
    if (!own) return BLANCH_ENOMEM;
    for (size_t i = 0; i < graph->param_count; i++) own[i] = (double)graph->params[i]->value;
    own[each - 2] = (double)graph->step, own[each - 1] = (double)graph->updates;
    int code = graph->all->gather_host(graph->all->context, own, (int)each, all);
    for (size_t i = 0; i < graph->param_count && !code; i++) graph->params[i]->value = (int64_t)all[i];
    if (!code) graph->step = (uint64_t)all[each - 2], graph->updates = (uint64_t)all[each - 1];
    free(own);
    return code;
}

int bl_graph_spread_buffers(struct bl_graph *graph) {
    const int64_t count = (int64_t)(graph->buffer_bytes / sizeof(float));
    int code = count ? bl_spread_from(graph->all, graph->dev, graph->buffers, count, 0) : 0;
    graph->version++;
    return code || !graph->buffers_average ? code
                                           : bl_spread_from(graph->all, graph->dev, graph->buffers_average, count, 0);
}

int bl_graph_spread(struct bl_graph *graph) {
    int code = bl_graph_end_targets(graph);
    for (size_t i = 0; i < graph->group_count && !code; i++) code = spread_group(graph, &graph->groups[i]);
    if (!code) code = bl_graph_spread_buffers(graph);
    return code ? code : spread_counters(graph);
}

static int check_statistics(const struct bl_graph *graph) {
    for (size_t i = 0; i < graph->node_count; i++)
        if (graph->nodes[i]->op->alone)
            return bl_fail(BLANCH_EUSAGE, "%s: %s has no statistics of several ranks: leave sync-stats out",
                           graph->nodes[i]->name, graph->nodes[i]->op->name);
    return 0;
}

int bl_graph_join(struct bl_graph *graph, const struct bl_collectives *all, bool sync) {
    if (graph->all) return bl_fail(BLANCH_EUSAGE, "the network is of several ranks already");
    int code = sync ? check_statistics(graph) : 0;
    if (!code) code = make_buckets(graph);
    if (code) return code;
    graph->all = all, graph->sync = sync;
    return 0;
}
