/* When the contents of every tensor matter: intervals of positions in the step's list, each from a write to the last
 * read before the next write. A tensor that is computed twice lives twice. */
#include "graph/internal.h"
#include <limits.h>

static void begin(struct slot *slot, int moment) {
    struct interval *last = slot->intervals ? &slot->live[slot->intervals - 1] : NULL;
    if (last && last->last >= moment) return; // still there
    if (slot->intervals == BL_MAX_INTERVALS)
        last->last = moment; // lives through
    else
        slot->live[slot->intervals++] = (struct interval){moment, moment};
}

static void extend(struct slot *slot, int moment) {
    if (!slot->intervals) begin(slot, moment);
    struct interval *last = &slot->live[slot->intervals - 1];
    if (moment > last->last) last->last = moment;
}

int bl_slot_last(const struct slot *slot) {
    return slot->intervals ? slot->live[slot->intervals - 1].last : INT_MIN;
}
int bl_slot_first(const struct slot *slot) {
    return slot->intervals ? slot->live[0].first : INT_MAX;
}

static struct slot *slot_of(struct bl_graph *graph, const struct blanch_tensor *tensor) {
    return &graph->slots[tensor->id];
}

/* Workspaces of the node, in a pass of this kind. */
static void use_workspaces(struct bl_graph *graph, const struct bl_node *node, enum bl_action_kind kind, int moment) {
    for (int i = graph->first_slot[node->index]; i >= 0; i = graph->slots[i].next) {
        struct slot *slot = &graph->slots[i];
        bool forward = kind != BL_DO_BACKWARD;
        if (slot->life == BL_LIFE_PINNED) kind == BL_DO_FORWARD ? begin(slot, moment) : extend(slot, moment);
        if (slot->life == BL_LIFE_SAVED) forward ? begin(slot, moment) : extend(slot, moment);
        if (slot->life == BL_LIFE_FORWARD && forward) begin(slot, moment);
        if (slot->life == BL_LIFE_BACKWARD && !forward) begin(slot, moment);
    }
}

static void go_forward(struct bl_graph *graph, const struct bl_node *node, int moment) {
    for (int i = 0; i < node->inputs; i++) extend(slot_of(graph, node->in[i]), moment);
    if (node->addend) extend(slot_of(graph, node->addend), moment);
    for (int i = 0; i < node->outputs; i++) begin(slot_of(graph, node->out[i]), moment);
}

static void go_backward(struct bl_graph *graph, const struct bl_node *node, int moment) {
    unsigned reads = bl_graph_reads(node);
    for (int i = 0; i < node->outputs; i++) {
        if (reads & BL_OUT(i)) extend(slot_of(graph, node->out[i]), moment);
        if (node->out[i]->grad) extend(slot_of(graph, node->out[i]->grad), moment);
    }
    for (int i = 0; i < node->inputs; i++) {
        if (reads & BL_IN(i)) extend(slot_of(graph, node->in[i]), moment);
        struct slot *grad = node->in[i]->grad ? slot_of(graph, node->in[i]->grad) : NULL;
        if (grad) extend(grad, moment);
        if (grad && node->accumulate[i] && moment < grad->added) grad->added = moment;
    }
}

static void always(struct slot *slot, int end) {
    slot->intervals = 1;
    slot->live[0] = (struct interval){0, end};
}

void bl_graph_find_lifetimes(struct bl_graph *graph) {
    int end = (int)graph->action_count;
    for (size_t i = 0; i < graph->slot_count; i++) {
        graph->slots[i].intervals = 0;
        graph->slots[i].added = INT_MAX;
        graph->slots[i].shares = (int)i;
    }
    for (size_t i = 0; i < graph->node_count; i++)
        for (int k = 0; k < BL_DO_UPDATE; k++) graph->when[i][k] = -1;
    /* The caller sets the gradient of the logits of a graph without a loss between the two passes. */
    if (graph->logits->grad) begin(slot_of(graph, graph->logits->grad), (int)graph->forward_count);
    for (int i = 0; i < end; i++) {
        const struct bl_action *action = &graph->actions[i];
        if (!action->node) continue;
        int *when = graph->when[action->node->index];
        when[action->kind] = i;
        use_workspaces(graph, action->node, action->kind, i);
        const struct blanch_tensor *moments = action->node->given.of_chunks;
        if (moments && action->kind == BL_DO_FORWARD) extend(slot_of(graph, moments), i);
        action->kind == BL_DO_BACKWARD ? go_backward(graph, action->node, i) : go_forward(graph, action->node, i);
    }
    extend(slot_of(graph, graph->logits), end);
    if (graph->loss)
        for (int i = 0; i < graph->loss->outputs; i++) extend(slot_of(graph, graph->loss->out[i]), end);
    for (size_t i = 0; i < graph->slot_count; i++) {
        struct slot *slot = &graph->slots[i];
        if (slot->life == BL_LIFE_KEPT || slot->life == LIFE_INPUT) always(slot, end);
        if (slot->life == LIFE_GRADIENT && slot->node < 0)
            extend(slot, end); // of the graph's inputs: read by the caller
    }
}

/* --- sharing ---------------------------------------------------------------------------------- */

bool bl_slots_overlap(const struct slot *a, const struct slot *b) {
    for (int i = 0; i < a->intervals; i++)
        for (int k = 0; k < b->intervals; k++)
            if (a->live[i].first <= b->live[k].last && b->live[k].first <= a->live[i].last) return true;
    return false;
}

/* Whether each of b's lives begins where one of a's ends, and they meet nowhere else. */
bool bl_slot_follows(const struct slot *a, const struct slot *b) {
    for (int k = 0; k < b->intervals; k++) {
        bool ends = false;
        for (int i = 0; i < a->intervals; i++) {
            const struct interval *x = &a->live[i], *y = &b->live[k];
            if (x->last == y->first)
                ends = true;
            else if (x->first <= y->last && y->first <= x->last)
                return false;
        }
        if (!ends) return false;
    }
    return b->intervals > 0;
}

/* b's lives continue a's, which takes them over. */
void bl_slot_join(struct slot *a, const struct slot *b) {
    for (int k = 0; k < b->intervals; k++)
        for (int i = 0; i < a->intervals; i++)
            if (a->live[i].last == b->live[k].first) {
                a->live[i].last = b->live[k].last;
                break;
            }
}
