/* What the files of graph/ share. */
#ifndef BL_GRAPH_INTERNAL_H
#define BL_GRAPH_INTERNAL_H

#include "graph/graph.h"

/* Time runs over one step: node i's forward is moment i, its backward moment 2*count - 1 - i. */
enum { LIFE_ACTIVATION = BL_LIFE_KEPT + 1, LIFE_GRADIENT, LIFE_INPUT, LIFE_NONE }; // NONE: no memory
struct slot {                                                                      // a tensor of the plan
    struct bl_tensor *tensor;
    int life;        // enum bl_life, or one of the above
    int node;        // that declared it; -1: a graph input
    int first, last; // moments in which its contents matter
    int added;       // LIFE_GRADIENT: the first moment in which something is added to it
    int shares;      // the slot whose memory it has; itself: its own
    int arena;
    uint64_t offset, bytes;
};
struct order {
    char *prefix, *names;
};
struct arena {
    struct bl_mem *mem;
    uint64_t bytes;
};

struct bl_graph {
    struct blanch_device *dev;
    int batch;
    bool inference, want_input_grads, no_dropout, finished;
    enum bl_type type; // of activations and their gradients
    int error;
    char *message; // of error
    struct bl_node **nodes;
    size_t node_count, node_capacity;
    struct slot *slots;
    size_t slot_count, slot_capacity;
    struct bl_param **params; // as declared, then in state-dict order
    size_t param_count, param_capacity;
    struct order *orders;
    size_t order_count, order_capacity;
    struct bl_tensor *input, *labels, *logits;
    struct bl_node *loss; // the last node if its operation computes a loss
    struct arena *arenas;
    size_t arena_count, arena_capacity;
    struct group {
        struct bl_mem *data, *grad, *state[BL_MAX_STATES];
        uint64_t bytes;
        bool idle;
    } * groups; // trainable parameters, contiguous
    size_t group_count, group_capacity;
    struct bl_mem *buffers;               // all buffers
    const struct bl_optimiser *optimiser; // NULL: none
    struct bl_plan plan;
    uint64_t version, seed, step, updates;
    float *metrics; // host copy of the loss's output
};

int bl_graph_stick(struct bl_graph *graph, int code); // remembers the first error and its message
struct bl_tensor *bl_graph_tensor(struct bl_graph *graph, int life, int node, int64_t n, int64_t c, int64_t h,
                                  int64_t w);
int bl_graph_sort_params(struct bl_graph *graph);
void bl_graph_fuse(struct bl_graph *graph);     // activations into what makes their inputs
void bl_graph_share(struct bl_graph *graph);    // lifetimes are known: tensors that can lie in one place
int bl_graph_make_plan(struct bl_graph *graph); // gradients, lifetimes, offsets; allocates nothing
int bl_graph_allocate(struct bl_graph *graph);
struct bl_run bl_graph_run(const struct bl_graph *graph, int n, bool training);
int bl_graph_run_node(struct bl_graph *graph, struct bl_node *node, const struct bl_run *run, bool backward);
bool bl_graph_runs(const struct bl_node *node);
bool bl_graph_has_backward(const struct bl_graph *graph, const struct bl_node *node);
int bl_graph_initialise(struct bl_graph *graph, uint64_t seed);

#endif
