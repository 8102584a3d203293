/* What saves passes over memory and memory itself: an activation is applied by the operation that makes its input or by
 * the one that uses its output, in an inference also a sum and a batch norm by the one before; and tensors lie in one
 * place where one ends as the other begins. BLANCH_FUSE=0 in the environment does neither. */
#include "graph/internal.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static bool wanted(void) {
    const char *fuse = getenv("BLANCH_FUSE");
    return !fuse || strcmp(fuse, "0");
}

/* --- neighbours ------------------------------------------------------------------------------- */

/* Besides nodes that its producer applies, which take and give it. */
static int consumers(const struct bl_graph *graph, const struct blanch_tensor *tensor) {
    int count = 0;
    for (size_t i = 0; i < graph->node_count; i++) {
        const struct bl_node *node = graph->nodes[i];
        for (int k = 0; k < node->inputs && node->out[0] != tensor; k++) count += node->in[k] == tensor;
    }
    return count;
}

/* The node whose backward pass is the last to write the tensor's gradient, where it can leave 0 in what a ReLU cut;
 * else NULL. */
static struct bl_node *cutter(const struct bl_graph *graph, const struct blanch_tensor *tensor) {
    for (size_t i = 0; i < graph->node_count; i++) {
        struct bl_node *node = graph->nodes[i];
        int uses = 0;
        for (int k = 0; k < node->inputs && !node->idle && node->out[0] != tensor; k++) uses += node->in[k] == tensor;
        if (!uses) continue;
        return uses == 1 && node->in[0] == tensor && node->op->may_cut && node->op->may_cut(node) ? node : NULL;
    }
    return NULL;
}

/* Of sums and layers that rectify what they write. */
static void share_cuts(const struct bl_graph *graph) {
    for (size_t i = 0; i < graph->node_count && !graph->inference; i++) {
        struct bl_node *node = graph->nodes[i];
        if (!node->op->takes_cut || node->idle || node->fused_into || !bl_node_activation(node)) continue;
        struct bl_node *last = cutter(graph, node->out[0]);
        if (last) last->cuts = node->is_cut = true;
    }
}

/* From who can tell them of what it writes, as nothing changes it then. */
static int give_moments(const struct bl_graph *graph) {
    int code = 0;
    for (size_t i = 0; i < graph->node_count && !graph->inference && !code; i++) {
        struct bl_node *node = graph->nodes[i];
        if (!node->op->takes_moments || node->idle || node->fused_into) continue;
        struct bl_node *producer = bl_graph_producer(graph, node->in[0]);
        if (!producer || !producer->op->make_moments || producer->fused) continue;
        if (!producer->makes.of_chunks) code = producer->op->make_moments(producer);
        node->given = producer->makes;
    }
    return code;
}

/* How a node can apply a neighbour itself; NULL: it cannot, or applies as many as it can. */
static const struct bl_fusion *fusion_of(const struct bl_node *node, const struct bl_op *neighbour, bool of_input) {
    int most = node->op->chain ? node->op->chain : 1;
    if (node->idle || node->fused_into || node->fused == most) return NULL;
    int rank = node->fused ? node->fusion[node->fused - 1]->rank : 0;
    for (const struct bl_fusion *f = node->op->fusions; f && f->op; f++)
        if (f->op == neighbour && f->of_input == of_input && (!f->rank || f->rank > rank) &&
            (!f->inference || node->graph->inference) && (!f->cut || (!node->graph->inference && f->cut(node))))
            return f;
    return NULL;
}

static void fuse(struct bl_node *node, const struct bl_fusion *fusion, struct bl_node *neighbour) {
    node->fused_node[node->fused] = neighbour;
    node->fusion[node->fused++] = fusion;
    neighbour->fused_into = node;
}

/* The input that is made last: when it is there, the others are. */
static int last_made(const struct bl_graph *graph, const struct bl_node *node) {
    int last = 0;
    for (int k = 1; k < node->inputs; k++)
        if (graph->slots[node->in[k]->id].node > graph->slots[node->in[last]->id].node) last = k;
    return last;
}

static void replace(struct bl_node *node, const struct blanch_tensor *from, struct blanch_tensor *to) {
    for (int k = 0; k < node->inputs; k++)
        if (node->in[k] == from) node->in[k] = to;
    if (node->out[0] == from) node->out[0] = to;
}

/* The producer writes what the node would have: its former output is gone. The node stays in the list, for its number
 * and name, from and to the same tensor, as those stay that the producer applies already. */
static bool fuse_into_producer(struct bl_graph *graph, struct bl_node *node) {
    const int last = last_made(graph, node);
    const struct blanch_tensor *former = node->in[last];
    struct bl_node *producer = bl_graph_producer(graph, former);
    const struct bl_fusion *fusion = producer ? fusion_of(producer, node->op, false) : NULL;
    if (!fusion || producer->outputs > 1 || consumers(graph, former) != 1) return false;
    if (fusion->cut && !cutter(graph, node->out[0])) return false;
    graph->slots[former->id].life = LIFE_NONE;
    graph->slots[node->out[0]->id].node = producer->index;
    if (node->inputs == 2) producer->addend = node->in[1 - last];
    fuse(producer, fusion, node);
    replace(producer, former, node->out[0]);
    for (int i = 0; i < producer->fused; i++) replace(producer->fused_node[i], former, node->out[0]);
    return true;
}

/* The only consumer, whose result it commutes with, takes the activation's input and applies it to what it writes. */
static void fuse_input(struct bl_graph *graph, struct bl_node *consumer) {
    struct bl_node *node = bl_graph_producer(graph, consumer->in[0]);
    if (!node || node->fused_into || node->idle || node->inputs != 1) return;
    const struct bl_fusion *fusion = fusion_of(consumer, node->op, true);
    if (!fusion || consumers(graph, consumer->in[0]) != 1) return;
    graph->slots[node->out[0]->id].life = LIFE_NONE;
    consumer->in[0] = node->out[0] = node->in[0];
    fuse(consumer, fusion, node);
}

int bl_graph_fuse(struct bl_graph *graph) {
    for (size_t i = 0; i < graph->node_count && wanted(); i++) {
        struct bl_node *node = graph->nodes[i];
        if (node->idle || node->inputs < 1 || fuse_into_producer(graph, node)) continue;
        fuse_input(graph, node);
    }
    share_cuts(graph);
    int code = wanted() ? give_moments(graph) : 0;
    for (size_t i = 0; i < graph->node_count && !code; i++) {
        struct bl_node *node = graph->nodes[i];
        if (node->fused && node->op->fused) code = node->op->fused(node);
    }
    return code ? code : graph->error;
}

/* --- one place for two ------------------------------------------------------------------------ */

static struct slot *root(struct bl_graph *graph, const struct blanch_tensor *tensor) {
    struct slot *slot = &graph->slots[tensor->id];
    while (slot->shares != slot->tensor->id) slot = &graph->slots[slot->shares];
    return slot;
}

/* The output takes the place of the first input that nothing needs any more. */
static void share_output(struct bl_graph *graph, const struct bl_node *node) {
    for (int k = 0; k < node->inputs; k++) {
        struct slot *in = root(graph, node->in[k]), *out = &graph->slots[node->out[0]->id];
        if (in->life != LIFE_ACTIVATION || bl_tensor_bytes(in->tensor) != bl_tensor_bytes(node->out[0])) continue;
        if (!bl_slot_follows(in, out)) continue;
        out->shares = in->tensor->id;
        bl_slot_join(in, out);
        return;
    }
}

/* The inputs' gradients take the place of the output's, which ends here. Two that share it must not disturb each other:
 * what is added to either later comes after the other's end. */
static void share_gradients(struct bl_graph *graph, const struct bl_node *node) {
    struct slot *out = root(graph, node->out[0]->grad);
    int moment = graph->when[node->index][BL_DO_BACKWARD];
    if (bl_slot_last(out) != moment || (node->out[0] == graph->logits && !graph->loss))
        return; // set by the caller, and kept
    int last = INT_MIN, added = INT_MAX, longest = bl_slot_last(out);
    for (int k = 0; k < node->inputs; k++) {
        if (!node->in[k]->grad || node->accumulate[k]) continue;
        struct slot *in = &graph->slots[node->in[k]->grad->id];
        if (in->node < 0 || bl_tensor_bytes(in->tensor) != bl_tensor_bytes(out->tensor) || bl_slot_first(in) != moment)
            continue;
        if (in->added <= last || added <= bl_slot_last(in) || in->added == moment) continue;
        if (bl_slot_last(in) > last) last = bl_slot_last(in);
        if (in->added < added) added = in->added;
        in->shares = out->tensor->id;
        if (last > longest) longest = last;
    }
    out->live[out->intervals - 1].last = longest;
}

static unsigned in_place(const struct bl_node *node) {
    const struct bl_op *op = node->op;
    return op->keeps && op->keeps(node) ? BL_IN_PLACE_OUT | BL_IN_PLACE_GRAD : op->in_place;
}

void bl_graph_share(struct bl_graph *graph) {
    for (size_t i = 0; i < graph->node_count && wanted(); i++) {
        const struct bl_node *node = graph->nodes[i];
        if (bl_graph_runs(node) && node->outputs == 1 && in_place(node) & BL_IN_PLACE_OUT) share_output(graph, node);
    }
    for (size_t i = graph->node_count; i-- > 0 && wanted() && !graph->inference;) {
        const struct bl_node *node = graph->nodes[i];
        if (bl_graph_has_backward(graph, node) && node->outputs == 1 && node->out[0]->grad &&
            in_place(node) & BL_IN_PLACE_GRAD)
            share_gradients(graph, node);
    }
}
