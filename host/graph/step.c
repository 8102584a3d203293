/* What runs in a training step, as a list made once: every node forwards; then backwards, where segments whose
 * activations were not kept run forwards again first; then the update. Memory plan and execution go along it.
 *
 * Recomputation (Chen et al., arXiv 1604.06174): the nodes are cut into segments of about equal activation memory. What
 * crosses a cut is kept, what lies within a segment is computed again when the backward pass reaches it. The last
 * segment needs no second pass: the backward pass begins there. */
#include "graph/internal.h"
#include <stdlib.h>

bool bl_graph_runs(const struct bl_node *node) {
    return !node->idle && !node->fused_into;
}

bool bl_graph_has_backward(const struct bl_graph *graph, const struct bl_node *node) {
    if (!node->op->backward || !bl_graph_runs(node)) return false;
    for (int i = 0; i < node->outputs; i++)
        if (node->out[i]->grad) return true;
    return node == graph->loss;
}

unsigned bl_graph_reads(const struct bl_node *node) {
    unsigned reads = node->op->reads | (node->cuts ? BL_IN(0) : 0);
    for (int i = 0; i < node->fused && !node->is_cut; i++) reads |= node->fusion[i]->reads;
    return reads;
}

/* --- cutting ---------------------------------------------------------------------------------- */

struct cutter {
    const struct bl_graph *graph;
    uint64_t *held, *crossing; // by node: activations and saved workspaces up to it; what crosses a cut behind it
    int *segment;              // by node
};

/* The last node that reads the tensor in a forward pass. */
static int last_reader(const struct bl_graph *graph, const struct blanch_tensor *tensor, int producer) {
    for (int i = (int)graph->node_count - 1; i > producer; i--)
        for (int k = 0; k < graph->nodes[i]->inputs && bl_graph_runs(graph->nodes[i]); k++)
            if (graph->nodes[i]->in[k] == tensor) return i;
    return producer;
}

static void weigh(struct cutter *c) {
    for (size_t i = 0; i < c->graph->slot_count; i++) {
        const struct slot *slot = &c->graph->slots[i];
        if (slot->node < 0 || (slot->life != LIFE_ACTIVATION && slot->life != BL_LIFE_SAVED)) continue;
        c->held[slot->node] += bl_tensor_bytes(slot->tensor);
        int last = slot->life == LIFE_ACTIVATION ? last_reader(c->graph, slot->tensor, slot->node) : slot->node;
        for (int k = slot->node; k < last; k++) c->crossing[k] += bl_tensor_bytes(slot->tensor);
    }
    for (size_t i = 1; i < c->graph->node_count; i++) c->held[i] += c->held[i - 1];
}

/* Behind which node: near the share `target` of all memory, where little crosses. */
static int place_cut(const struct cutter *c, uint64_t target, uint64_t window, int after) {
    int best = -1, count = (int)c->graph->node_count;
    for (int i = after + 1; i < count - 1; i++) {
        uint64_t off = c->held[i] > target ? c->held[i] - target : target - c->held[i];
        if (off > window && (best >= 0 || c->held[i] < target)) continue;
        if (best < 0 || c->crossing[i] < c->crossing[best]) best = i;
        if (c->held[i] > target + window) break;
    }
    return best;
}

/* Sets segment[]; returns how many there are, at most `wanted`. */
static int cut(struct cutter *c, int wanted) {
    int count = (int)c->graph->node_count, segments = 1, from = 0;
    uint64_t all = c->held[count - 1];
    for (int s = 1; s < wanted; s++) {
        uint64_t share = all / (uint64_t)wanted;
        int at = place_cut(c, share * (uint64_t)s, share / 3, from ? from - 1 : -1);
        if (at < from) continue;
        for (; from <= at; from++) c->segment[from] = segments - 1;
        segments++;
    }
    for (; from < count; from++) c->segment[from] = segments - 1;
    return segments;
}

/* --- what a segment computes again -------------------------------------------------------------- */

static int producer_of(const struct bl_graph *graph, const struct blanch_tensor *tensor) {
    return graph->slots[tensor->id].node;
}

/* Read by a later segment, or by whoever looks at the step's end: kept. */
static bool crosses(const struct cutter *c, const struct blanch_tensor *tensor) {
    int producer = producer_of(c->graph, tensor);
    return tensor == c->graph->logits || c->segment[last_reader(c->graph, tensor, producer)] != c->segment[producer];
}

static bool has_saved(const struct bl_graph *graph, int node) {
    for (int i = graph->first_slot[node]; i >= 0; i = graph->slots[i].next)
        if (graph->slots[i].life == BL_LIFE_SAVED) return true;
    return false;
}

static void want(const struct cutter *c, const struct blanch_tensor *tensor, int segment, bool *again) {
    int producer = producer_of(c->graph, tensor);
    if (producer >= 0 && c->segment[producer] == segment && !crosses(c, tensor)) again[producer] = true;
}

/* again[]: by node, whether it runs a second time. */
static void find_again(const struct cutter *c, int segments, bool *again) {
    const struct bl_graph *graph = c->graph;
    for (size_t i = graph->node_count; i-- > 0;) {
        const struct bl_node *node = graph->nodes[i];
        const int segment = c->segment[i];
        if (segment == segments - 1 || !bl_graph_runs(node)) continue;
        if (bl_graph_has_backward(graph, node)) {
            unsigned reads = bl_graph_reads(node);
            again[i] |= has_saved(graph, (int)i);
            for (int k = 0; k < node->inputs; k++)
                if (reads & BL_IN(k)) want(c, node->in[k], segment, again);
            for (int k = 0; k < node->outputs; k++)
                if (reads & BL_OUT(k)) want(c, node->out[k], segment, again);
        }
        for (int k = 0; k < node->inputs && again[i]; k++) want(c, node->in[k], segment, again);
    }
}

/* --- the list --------------------------------------------------------------------------------- */

static void append(struct bl_graph *graph, struct bl_node *node, enum bl_action_kind kind) {
    graph->actions[graph->action_count++] = (struct bl_action){node, kind};
}

static void list_backward(struct bl_graph *graph, const int *segment, const bool *again) {
    for (size_t end = graph->node_count; end > 0;) {
        size_t begin = end - 1;
        while (begin > 0 && segment[begin - 1] == segment[end - 1]) begin--;
        for (size_t i = begin; i < end; i++)
            if (again[i]) append(graph, graph->nodes[i], BL_DO_AGAIN);
        for (size_t i = end; i-- > begin;)
            if (bl_graph_has_backward(graph, graph->nodes[i])) append(graph, graph->nodes[i], BL_DO_BACKWARD);
        end = begin;
    }
}

int bl_graph_list_step(struct bl_graph *graph, int segments) {
    size_t count = graph->node_count;
    struct cutter c = {.graph = graph};
    bool *again = bl_calloc(count, sizeof *again);
    c.held = bl_calloc(count, sizeof *c.held);
    c.crossing = bl_calloc(count, sizeof *c.crossing);
    c.segment = bl_calloc(count, sizeof *c.segment);
    free(graph->actions);
    graph->actions = bl_calloc(3 * count + 1, sizeof *graph->actions);
    int code = again && c.held && c.crossing && c.segment && graph->actions ? 0 : BLANCH_ENOMEM;
    if (code) goto done;
    graph->action_count = 0, graph->segments = 1;
    if (segments > 1 && !graph->inference) {
        weigh(&c);
        graph->segments = cut(&c, segments);
        find_again(&c, graph->segments, again);
    }
    for (size_t i = 0; i < count; i++)
        if (bl_graph_runs(graph->nodes[i])) append(graph, graph->nodes[i], BL_DO_FORWARD);
    graph->forward_count = graph->action_count;
    if (!graph->inference) {
        list_backward(graph, c.segment, again);
        append(graph, NULL, BL_DO_UPDATE);
    }
done:
    free(again), free(c.held), free(c.crossing), free(c.segment);
    return code;
}
