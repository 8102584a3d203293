/* What the files of graph/ share. */
#ifndef BL_GRAPH_INTERNAL_H
#define BL_GRAPH_INTERNAL_H

#include "graph/graph.h"
#include <cjson/cJSON.h>

struct bl_action {        // of the step's list
    struct bl_node *node; // NULL: of the update
    enum bl_action_kind kind;
};

enum { LIFE_ACTIVATION = BL_LIFE_KEPT + 1, LIFE_GRADIENT, LIFE_INPUT, LIFE_NONE }; // NONE: no memory
enum { BL_MAX_INTERVALS = 4 };
struct interval {
    int first, last; // positions in the step's list
};
struct slot { // a tensor of the plan
    struct blanch_tensor *tensor;
    int life;      // enum bl_life, or one of the above
    int node;      // that declared it; -1: a graph input
    int next;      // the next slot of the same node; -1: none
    int intervals; // in which its contents matter, in order; none: nobody uses it
    struct interval live[BL_MAX_INTERVALS];
    int added;  // LIFE_GRADIENT: the first moment in which something is added to it
    int shares; // the slot whose memory it has; itself: its own
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

enum { BL_MAX_PATTERNS = 64 };
struct bl_patterns { // of an option, which selects parameters
    const char *option;
    char *all, *text[BL_MAX_PATTERNS]; // the latter within the former
    bool used[BL_MAX_PATTERNS];
    int count;
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
    const struct bl_collectives *all; // NULL: one rank
    bool sync;                        // statistics of a batch are those of all ranks
    bool overlaps, repeats;           // see bl_graph_overlap, bl_graph_repeat_batch
    struct bl_bucket *buckets;        // of gradients, as they become ready
    size_t bucket_count, next_bucket;
    int64_t first_image, whole;  // of the batch that is given next
    double loss_total;           // 0: whole
    bool accumulates, continues; // steps may have parts; the next pass is not the first of its step
    struct blanch_tensor *input, *labels, *others, *number, *logits;
    float share;                        // of the labels; the rest is of the others
    struct bl_action *actions;          // of a training step
    size_t action_count, forward_count; // the forward pass comes first
    int (*when)[BL_DO_UPDATE];          // by node and kind: where it is in the list; -1: nowhere
    int *first_slot;                    // by node; -1: none
    int recompute, segments;            // as asked for, see bl_graph_recompute; as the list has them
    bool again;                         // a node is running again
    struct bl_node *loss;               // the last node, if it is one
    struct arena *arenas;
    size_t arena_count, arena_capacity;
    struct group {
        struct bl_mem *data, *grad, *sum, *average, *state[BL_MAX_STATES];
        uint64_t bytes;
        int number;                   // among the groups
        const struct bl_param *first; // the others are treated as it is
    } * groups;                       // trainable parameters, contiguous
    struct bl_patterns no_decay, frozen;
    size_t group_count, group_capacity;
    float ema;                                // the averages' decay; 0: none are kept
    struct bl_mem *buffers, *buffers_average; // all buffers
    uint64_t buffer_bytes;
    const struct bl_optimiser *optimiser; // NULL: none
    struct bl_mem *workspace;             // of an optimiser of matrices
    struct bl_mem *skip;                  // an int: other than 0, updates change nothing; of a graph that has them;
                                          // beside it the loss's scale (loss_scale.c)
    bool judges;                          // the loss sets it
    struct bl_mem *norm;                  // of clipping: sums of squares, and the factor behind them; NULL: not yet
    bool unscaled;                        // the gradients of the step
    struct bl_plan plan;
    uint64_t version, seed, step, updates;
    struct shared { // by nodes
        const void *key;
        void *what;
        void (*release)(void *what);
    } * shared;
    size_t shared_count, shared_capacity;
    float *metrics; // host copy of the loss's output
    cJSON *about;   // see bl_graph_set_about
};

/* The builders whose layers the rule of network deconvolution turns, with all that they can be given (build.c). */
struct blanch_tensor *bl_build_conv2d(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                      struct bl_conv_attrs conv, const struct bl_nd_rule *rule);
struct blanch_tensor *bl_build_linear(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                      struct bl_linear_attrs linear, const struct bl_nd_rule *rule);
struct blanch_tensor *bl_build_group_norm(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                          struct bl_group_norm_attrs attrs);
struct blanch_tensor *bl_build_layernorm(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                         struct bl_layernorm_attrs attrs);
struct blanch_tensor *bl_build_conv_transpose2d(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                                struct bl_conv_transpose_attrs attrs, const struct bl_nd_rule *rule);
struct blanch_tensor *bl_build_batchnorm2d(struct blanch_builder *b, const char *name, struct blanch_tensor *x,
                                           struct bl_batchnorm_attrs attrs, bool keep);
int bl_build_block(int wanted, int channels);
struct blanch_tensor *bl_build_flatten(struct blanch_builder *b, const char *name, struct blanch_tensor *x);

/* The product of sizes; 0: one is below 1, or it is beyond what can be, which is the graph's error. node: its index,
 * for the message; negative: the input. */
int64_t bl_graph_count(struct bl_graph *graph, int node, int dims, const int64_t *sizes);
/* Of the same shape and type as another; NULL: an error of the graph. */
struct blanch_tensor *bl_graph_tensor(struct bl_graph *graph, int life, int node, const struct blanch_tensor *like);
int64_t bl_param_rows(const struct bl_param *param);             // as a matrix
int64_t bl_graph_update_workspace(const struct bl_graph *graph); // floats
int bl_graph_average_all(struct bl_graph *graph);                // after an update
int bl_graph_allocate_skip(struct bl_graph *graph);
int bl_graph_begin_sums(struct bl_graph *graph, size_t action); // of gradients that are there behind it
int bl_graph_sum_gradients(struct bl_graph *graph);             // over all ranks: those not begun too
void bl_graph_find_ends(struct bl_graph *graph);                // the loss, and what it judges
void bl_graph_leave(struct bl_graph *graph);                    // ends what bl_graph_join began
bool bl_group_is_updated(const struct group *group);
struct bl_spread bl_spread_of(const struct bl_graph *graph, const struct group *group);
int bl_gradients_kernel(const struct bl_graph *graph, const char *name, struct bl_kernel **kernel);
void bl_graph_select_param(struct bl_graph *graph, struct bl_param *param);
int bl_graph_check_selected(const struct bl_graph *graph);
int bl_graph_sort_params(struct bl_graph *graph);
int bl_graph_fuse(struct bl_graph *graph); // neighbours into what makes their inputs, or uses what they make
/* Makes the list, with recomputation in up to `segments` segments; 1: none. */
int bl_graph_list_step(struct bl_graph *graph, int segments);
void bl_graph_find_lifetimes(struct bl_graph *graph); // from the list
void bl_graph_share(struct bl_graph *graph);          // lifetimes are known: tensors that can lie in one place
int bl_graph_make_plan(struct bl_graph *graph);       // gradients, list, lifetimes, offsets; allocates nothing
unsigned bl_graph_reads(const struct bl_node *node);  // what its backward pass reads of the forward pass: BL_IN, BL_OUT
uint64_t bl_graph_aligned(const struct bl_graph *graph, uint64_t bytes);
uint64_t bl_graph_largest_buffer(const struct bl_graph *graph);

/* The node whose output `user` takes, as it was defined: one that is fused into its producer has the producer's tensor,
 * one that is fused into its only consumer has, for that consumer alone, its input's. NULL: the graph's input. */
const struct bl_node *bl_graph_maker(const struct bl_node *user, const struct blanch_tensor *tensor);
/* The node's name; of nodes without parameters several may have one, and the input is "x". */
void bl_graph_id(const struct bl_node *node, char id[160]);

int bl_slot_first(const struct slot *slot);
int bl_slot_last(const struct slot *slot);
bool bl_slots_overlap(const struct slot *a, const struct slot *b);
bool bl_slot_follows(const struct slot *a, const struct slot *b); // b may take a's place
void bl_slot_join(struct slot *a, const struct slot *b);          // and does: a lives on as b
int bl_graph_allocate(struct bl_graph *graph);
struct bl_run bl_graph_run(const struct bl_graph *graph, int n, bool training);
int bl_graph_act(struct bl_graph *graph, const struct bl_action *action, const struct bl_run *run);
int bl_graph_visit(struct bl_graph *graph, const struct bl_run *run, const struct bl_visitor *visitor); // a whole step
int bl_graph_check_batch(const struct bl_graph *graph, int n, bool training);
bool bl_graph_runs(const struct bl_node *node);
bool bl_graph_has_backward(const struct bl_graph *graph, const struct bl_node *node);
int bl_graph_initialise(struct bl_graph *graph, uint64_t seed);

#endif
