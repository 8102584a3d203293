/* Pairing the rows of two networks. */
#include "report/result.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct side { // a network's nodes gathered under the layers that they count to
    const struct bl_graph *graph;
    const struct bl_measured *step;
    int nodes, *owner; // per node, and for the step: the row that it counts to
};

static bool is_layer(const struct bl_node *node) {
    return node->op->role == BL_ROLE_LAYER;
}

static const struct bl_node *under_activations(const struct bl_graph *graph, const struct bl_node *node) {
    while (node && node->op->role == BL_ROLE_ACTIVATION) node = bl_graph_producer(graph, node->in[0]);
    return node;
}

/* Of a normalisation that neither follows nor feeds a layer: its own. */
static int owner_of(const struct bl_graph *graph, const struct bl_node *norm) {
    if (norm->op->role != BL_ROLE_NORMALISATION) return norm->index;
    const struct bl_node *before = bl_graph_producer(graph, norm->in[0]);
    if (before && is_layer(before)) return before->index;
    for (int i = norm->index + 1; i < bl_graph_nodes(graph); i++) {
        const struct bl_node *node = bl_graph_node(graph, i);
        if (is_layer(node) && under_activations(graph, bl_graph_producer(graph, node->in[0])) == norm) return i;
    }
    return norm->index;
}

static int gather(struct side *side, const struct bl_graph *graph, const struct bl_measured *step) {
    *side = (struct side){graph, step, bl_graph_nodes(graph), NULL};
    if (!(side->owner = bl_calloc((size_t)side->nodes + 1, sizeof *side->owner))) return BLANCH_ENOMEM;
    for (int i = 0; i < side->nodes; i++) side->owner[i] = owner_of(graph, bl_graph_node(graph, i));
    side->owner[side->nodes] = side->nodes;
    return 0;
}

/* Milliseconds of all that counts to `row`, by phase, and their sum; row -1: nothing. */
static double sum_row(const struct side *side, int row, double *phases) {
    double sum = 0;
    for (int i = 0; row >= 0 && i <= side->nodes; i++)
        for (int p = 0; p < BL_PHASES && side->owner[i] == row; p++) phases[p] += side->step->row[i].ms[p];
    for (int p = 0; p < BL_PHASES; p++) sum += phases[p];
    return sum;
}

/* a and b: rows of the two networks; -1: it has no such row. */
static void add_row(struct bl_pair_result *pair, const struct side *bn, int a, const struct side *nd, int b) {
    struct bl_pair_row *row = &pair->row[pair->rows];
    const struct bl_ledger_row *left = a >= 0 ? &bn->step->row[a] : NULL, *right = b >= 0 ? &nd->step->row[b] : NULL;
    const struct bl_ledger_row *either = left ? left : right;
    *row = (struct bl_pair_row){.role = either->role};
    row->bn_ms = sum_row(bn, a, row->bn);
    row->nd_ms = sum_row(nd, b, row->nd);
    if (row->bn_ms <= 0 && row->nd_ms <= 0) return;
    snprintf(row->name, sizeof row->name, "%s", right ? right->name : left->name);
    snprintf(row->bn_name, sizeof row->bn_name, "%s", left ? left->name : "");
    snprintf(row->op, sizeof row->op, "%s", either->op);
    pair->rows++;
}

static bool pairs_with(const struct bl_node *a, const struct bl_node *b) {
    return is_layer(a) ? is_layer(b) : a->op == b->op;
}

static int partner(const struct side *from, int index, const struct side *in) {
    const struct bl_node *node = bl_graph_node(from->graph, index);
    int rank = 0;
    for (int i = 0; i < index; i++) rank += from->owner[i] == i && pairs_with(bl_graph_node(from->graph, i), node);
    for (int i = 0; i < in->nodes; i++)
        if (in->owner[i] == i && pairs_with(bl_graph_node(in->graph, i), node) && rank-- == 0) return i;
    return -1;
}

static void add_rows(struct bl_pair_result *pair, const struct side *bn, const struct side *nd, bool layers) {
    for (int b = 0; b < nd->nodes; b++)
        if (nd->owner[b] == b && is_layer(bl_graph_node(nd->graph, b)) == layers)
            add_row(pair, bn, partner(nd, b, bn), nd, b);
    for (int a = 0; a < bn->nodes; a++)
        if (bn->owner[a] == a && is_layer(bl_graph_node(bn->graph, a)) == layers && partner(bn, a, nd) < 0)
            add_row(pair, bn, a, nd, -1);
}

int bl_pair_rows(struct bl_pair_result *pair, const struct bl_graph *bn_graph, const struct bl_measured *bn,
                 const struct bl_graph *nd_graph, const struct bl_measured *nd) {
    struct side left = {0}, right = {0};
    int code = gather(&left, bn_graph, bn);
    if (!code) code = gather(&right, nd_graph, nd);
    if (!code && !(pair->row = bl_calloc((size_t)left.nodes + (size_t)right.nodes + 2, sizeof *pair->row)))
        code = BLANCH_ENOMEM;
    if (!code) {
        add_rows(pair, &left, &right, true);
        add_rows(pair, &left, &right, false);
        add_row(pair, &left, left.nodes, &right, right.nodes);
    }
    free(left.owner);
    free(right.owner);
    return code;
}
