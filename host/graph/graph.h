/* A network as a list of nodes in execution order: building, shapes, memory plan, execution. */
#ifndef BL_GRAPH_H
#define BL_GRAPH_H

#include "graph/optimiser.h"

/* dev may be NULL: a graph that can be described (shapes, parameters) but not run. */
int bl_graph_create(struct bl_graph **graph, struct blanch_device *dev, int batch, bool inference);
void bl_graph_free(struct bl_graph *graph); // and everything beneath it

/* Before any node is added: what updates parameters. Without one they have no optimiser state and cannot be updated. */
void bl_graph_use(struct bl_graph *graph, const struct bl_optimiser *optimiser);
const struct bl_optimiser *bl_graph_optimiser(const struct bl_graph *graph); // NULL: none
/* Before any node is added: which parameters weight decay leaves out, and which no update changes. Shell patterns of
 * names, or of what stands before one of their dots, separated by commas; "norm-bias": biases and what normalisations
 * have; NULL: none. bl_graph_finish returns BLANCH_EUSAGE where a pattern names nothing, or nothing is left to train.
 */
int bl_graph_select(struct bl_graph *graph, const char *no_decay, const char *frozen);
/* Before any node is added: after every update a moving average of every parameter and buffer takes in what it is then,
 * average += (1 - decay) (value - average), as torch.optim.swa_utils.AveragedModel does by get_ema_multi_avg_fn, the
 * buffers too: the first update begins them. 0: none. No parameter has an update target then. */
void bl_graph_keep_average(struct bl_graph *graph, float decay);
bool bl_graph_keeps_average(const struct bl_graph *graph);
int bl_param_read_average(struct bl_param *param, float *values); // before the first update: the value
/* Before anything is added: how activations and their gradients are stored, BL_F32, BL_F16 or BL_BF16. Without it
 * BL_F32. An operation that has no such type is refused (BLANCH_EUSAGE). */
void bl_graph_store_as(struct bl_graph *graph, enum bl_type type);

/* Before finish. segments: the forward pass is cut into so many, of which all but the last keep what crosses a cut
 * alone and are computed again in the backward pass; 0 and 1: everything is kept; BL_RECOMPUTE_AUTO: as few as fit the
 * device. Same bits, less memory, up to one more forward pass of time. */
enum { BL_RECOMPUTE_AUTO = BLANCH_RECOMPUTE_AUTO, BL_MAX_SEGMENTS = 64 };
void bl_graph_recompute(struct bl_graph *graph, int segments);

/* Building. Tensors are named by pointers owned by the graph. A failed add records the error, returns NULL and makes
 * every later add return NULL, so that definitions need no checks: bl_graph_finish returns it. */
int bl_graph_stick(struct bl_graph *graph, int code); // records it with the message that is set; returns code
struct blanch_tensor *bl_graph_input(struct bl_graph *graph, int64_t c, int64_t h, int64_t w);
struct blanch_tensor *bl_graph_input_labels(struct bl_graph *graph); // int32 (N)
/* Of any type and shape: labels by pixel are int32 (N, 1, H, W). The first of int32 are the graph's labels. */
struct blanch_tensor *bl_graph_input_as(struct bl_graph *graph, enum bl_type type, int64_t c, int64_t h, int64_t w);
/* name NULL: made from the operation's name. attrs are copied. */
struct blanch_tensor *bl_graph_add(struct bl_graph *graph, const char *op, const char *name, const void *attrs,
                                   struct blanch_tensor *const *inputs, int count);
/* The same by its table, for operations with several outputs, which the node has. NULL: a recorded error. */
struct bl_node *bl_graph_add_node(struct bl_graph *graph, const struct bl_op *op, const char *name, const void *attrs,
                                  struct blanch_tensor *const *inputs, int count);
/* Fixes the state-dict order: parameters of nodes named PREFIX.NAME come in the order of these calls, names separated
 * by blanks; nodes never declared follow in execution order. */
void bl_graph_order(struct bl_graph *graph, const char *prefix, const char *names);
/* The node that gives this output is there for its parameters' names alone: they keep their initial values. */
void bl_graph_idle(struct bl_graph *graph, struct blanch_tensor *out);
/* Gradients of inputs are wanted too (tests). Before finish. */
void bl_graph_want_input_grads(struct bl_graph *graph);
/* Shapes are known: plans memory, allocates, builds programs, initialises parameters from seed. With dev NULL, only
 * orders the parameters. */
int bl_graph_finish(struct bl_graph *graph, uint64_t seed);

/* Looking. */
int bl_graph_nodes(const struct bl_graph *graph);
struct bl_node *bl_graph_node(const struct bl_graph *graph, int index);
struct bl_node *bl_graph_producer(const struct bl_graph *graph, const struct blanch_tensor *tensor);
int bl_graph_params(const struct bl_graph *graph); // parameters, then buffers, in state-dict order each
struct bl_param *bl_graph_param(const struct bl_graph *graph, int index);
struct bl_param *bl_graph_find_param(const struct bl_graph *graph, const char *name);
int64_t bl_graph_trainable(const struct bl_graph *graph);
struct blanch_tensor *bl_graph_in(const struct bl_graph *graph); // the first input
struct blanch_tensor *bl_graph_labels(const struct bl_graph *graph);
struct blanch_tensor *bl_graph_others(const struct bl_graph *graph); // the second of int32; NULL: there is none
struct blanch_tensor *bl_graph_number(const struct bl_graph *graph); // of further inputs, the first of one value
bool bl_graph_has_loss(const struct bl_graph *graph);
const struct bl_node *bl_graph_head(const struct bl_graph *graph); // the last layer with parameters before the logits
struct blanch_tensor *bl_graph_out(const struct bl_graph *graph);  // the logits: last node's out, or the loss's input
/* How many logits of a class an image has: 1, or as many as it has pixels, where those are labelled. */
int64_t bl_graph_pixels(const struct bl_graph *graph);
struct blanch_device *bl_graph_device(const struct bl_graph *graph);

/* The memory plan: bytes of the arena, of parameters and optimiser state, and what one allocation per tensor would
 * take. */
struct bl_plan {
    uint64_t arena, kept, parameters, unshared;
    int tensors;
    uint64_t total;
    int segments; // of recomputation; 1: nothing is computed again
};
const struct bl_plan *bl_graph_plan(const struct bl_graph *graph);
/* Bytes that the plan would take at another batch, with as much recomputation as it has now, or with another (segments:
 * how many it has then; may be NULL), without allocating; for "the largest batch that fits". */
uint64_t bl_graph_bytes_at(const struct bl_graph *graph, int batch);
uint64_t bl_graph_bytes_with(const struct bl_graph *graph, int batch, int recompute, int *segments);

/* The graph, which was finished, is that of one rank of several; `all` outlives it. sync: statistics of a batch are
 * those of all ranks. BLANCH_EUSAGE: it was joined before, or has a layer whose statistics are of one rank. */
int bl_graph_join(struct bl_graph *graph, const struct bl_collectives *all, bool sync);
const struct bl_collectives *bl_graph_collectives(const struct bl_graph *graph); // NULL: one rank
bool bl_graph_shares_statistics(const struct bl_graph *graph);
/* The images given next are `first` and those after it of a batch of `whole` on all ranks. 0, 0: they are all. */
void bl_graph_place_batch(struct bl_graph *graph, int64_t first, int64_t whole);
/* While on, all ranks are given the same images, too few to share: gradients are those of rank 0. */
void bl_graph_repeat_batch(struct bl_graph *graph, bool repeats);
/* While on, an update follows each backward pass, or bl_graph_drop_sums: gradients are summed as they are ready. */
void bl_graph_overlap(struct bl_graph *graph, bool overlaps);
int bl_graph_drop_sums(struct bl_graph *graph); // of a step whose update is left out
/* Parameters, the optimiser's state, buffers, averages and counts become those of rank 0; or buffers and their averages
 * alone. */
int bl_graph_spread(struct bl_graph *graph);
int bl_graph_spread_buffers(struct bl_graph *graph);

/* In training passes from now on `share` of every image is of its label, the rest of its other one. 1: at first. */
void bl_graph_share_labels(struct bl_graph *graph, float share);
/* The losses of what is given next are divided by this: the sum of the weights of the batch's labels on all ranks, or
 * the images of all parts; 0: by the images of the batch. */
void bl_graph_weigh_batch(struct bl_graph *graph, double total);
/* A step in parts, each a forward and a backward pass over the images of a batch from `first` on, with the randomness
 * that they have in it: begin before each part's forward pass, end after its backward pass. Gradients are those of the
 * batch after the last one; statistics are each part's own. part 0, first 0: the next pass is a step of its own. The
 * graph was told to accumulate before any node was added. */
void bl_graph_accumulate(struct bl_graph *graph);
void bl_graph_begin_part(struct bl_graph *graph, int part, int64_t first);
int bl_graph_end_part(struct bl_graph *graph, int part, int parts);

/* Dropout drops nothing from now on. */
void bl_graph_no_dropout(struct bl_graph *graph);

/* Running. All enqueue and return; n images. */
int bl_graph_forward(struct bl_graph *graph, int n, bool training);
/* A training pass whose gradients go to bl_graph_update alone: parameters may have update targets. */
int bl_graph_forward_to_update(struct bl_graph *graph, int n);
/* Between two steps: no parameter has an update target any more. */
int bl_graph_end_targets(struct bl_graph *graph);
int bl_graph_backward(struct bl_graph *graph, int n); // from the loss, or from out->grad set by the caller
/* The same with the mode of the forward pass stated: in evaluation the statistics are constants. */
int bl_graph_backward_from(struct bl_graph *graph, int n, bool training);
int bl_graph_update(struct bl_graph *graph, const struct blanch_update *update);
/* After a forward pass with a loss node: per image, loss and the rank of the right class (0 is first), read back. */
int bl_graph_metrics(struct bl_graph *graph, int n, struct blanch_metrics *metrics);
/* The same in two parts: (n, 3) floats come when the device has computed them, see bl_mem_read_later. */
int bl_graph_read_losses(struct bl_graph *graph, int n, float *losses, struct bl_event **event);
/* pixels: what is there is of labelled pixels, see bl_graph_pixels. */
struct blanch_metrics bl_metrics_of(const float *losses, int n, bool pixels);
/* The classes of the likeliest logits of the pixels of n images that went forward to a loss, into (n, pixels). */
int bl_graph_answers(struct bl_graph *graph, int n, int32_t *answers);
/* While on, the device judges the loss of training passes: where one is not finite, the updates enqueued behind it
 * change no parameter, no state and no average, until it is turned off. Off at first: who updates has looked before. */
int bl_graph_judge(struct bl_graph *graph, bool on);
/* Of a graph in BL_F16 that is updated: a training pass's gradients are of the loss times the scale. Where a
 * parameter's is not finite, the update is skipped and the scale halved; after BL_GROWTH_INTERVAL updates it is
 * doubled. Such a graph's parameters have no update targets. */
enum { BL_GROWTH_INTERVAL = 2000, BL_SKIP_WORDS = 5 };
static const float BL_FIRST_LOSS_SCALE = 65536;
struct bl_loss_scale {
    float scale;   // of the next step
    int good;      // updates since it was changed
    int skipped;   // updates in all
    bool overflow; // in the last step: it was skipped
};
bool bl_graph_scales_loss(const struct bl_graph *graph);
/* Enqueued when the step's gradients are there, which are the loss's own from then on: decides. bl_graph_update does it
 * where it was not done. */
int bl_graph_unscale(struct bl_graph *graph);
int bl_graph_loss_scale(struct bl_graph *graph, struct bl_loss_scale *scale);
int bl_graph_set_loss_scale(struct bl_graph *graph, const struct bl_loss_scale *scale);
/* In two parts: the words come when the device has computed them, see bl_mem_read_later. */
int bl_graph_read_loss_scale(struct bl_graph *graph, int32_t words[BL_SKIP_WORDS], struct bl_event **event);
struct bl_loss_scale bl_loss_scale_of(const int32_t words[BL_SKIP_WORDS]);
void bl_graph_touch(struct bl_graph *graph); // parameters were changed from outside
/* Training passes made so far, what dropout's randomness is counted by, and updates made, which are fewer where a loss
 * was not finite. A resumed run sets them. */
struct bl_counts {
    uint64_t steps, updates;
};
struct bl_counts bl_graph_counts(const struct bl_graph *graph);
void bl_graph_set_counts(struct bl_graph *graph, struct bl_counts counts);
/* The first thing, in the order parameters, outputs (run again on the batch that is there), gradients, that is not
 * finite: its name and what it is ("parameter", "buffer", "output", "gradient"); *node NULL: none. Slow: reads
 * everything. */
int bl_graph_find_nonfinite(struct bl_graph *graph, int n, const char **node, const char **what);
/* What a node does in a step: AGAIN is a forward pass of what was not kept, just before the backward passes that need
 * it. */
enum bl_action_kind { BL_DO_FORWARD, BL_DO_AGAIN, BL_DO_BACKWARD, BL_DO_UPDATE };

/* One training pass over the n images that are there, along the list of its actions, with a call before and
 * after each node; the first code other than 0 ends it. Running buffers and counters are put back at the end: the next
 * step finds everything but the gradients as it was. Slow: a visitor may read whatever it likes. */
struct bl_visitor {
    void *context;
    int (*before)(void *context, struct bl_node *node, const struct bl_run *run, enum bl_action_kind kind);
    int (*after)(void *context, struct bl_node *node, const struct bl_run *run, enum bl_action_kind kind);
};
int bl_graph_walk(struct bl_graph *graph, int n, const struct bl_visitor *visitor);
/* A forward pass in evaluation of a graph made for inference, watched likewise. */
int bl_graph_watch(struct bl_graph *graph, int n, const struct bl_visitor *visitor);

/* Host transfers, converted from and to the tensor's type; n images, in NCHW or as they lie on the device. */
int bl_tensor_write_nhwc(struct blanch_tensor *tensor, int n, const float *nhwc);
int bl_tensor_write(struct bl_graph *graph, struct blanch_tensor *tensor, int n, const float *nchw);
int bl_tensor_read(struct bl_graph *graph, struct blanch_tensor *tensor, int n, float *nchw);
int bl_param_write(struct bl_param *param, const float *values);
int bl_param_read(struct bl_param *param, float *values);
/* A checkpoint has put back the memory of a parameter whose offered target ran, and what the target wants to have: it
 * goes on. */
int bl_param_resume_target(struct bl_param *param);
/* The optimiser's state number `state`. */
int bl_param_read_state(struct bl_param *param, int state, float *values);

/* --- what builders of definitions share (blanch.h): models see only this file ------------------ */

struct blanch_builder {
    struct bl_graph *graph;
    enum blanch_norm norm;
    struct blanch_nd_options nd; // resolved overrides; zero: the definition's own
    int classes;
    int block, block_fc; // the definition's defaults, 64 and 512
    char prefix[128];    // put before every name: "layer1.0."
    char name[128];      // of blanch_name
    bool samples;        // a network that generates is to make images, not to learn it
    bool encodes;        // or its encoder alone is wanted
    int image[3];        // channels, height and width of an image, where the input is none
};

/* Of networks that generate. A sample of the Gaussian whose means are the first half of x's channels, and the
 * logarithms of its variances the others; how far that Gaussian is from the standard one, a value of each image. */
struct blanch_tensor *blanch_gaussian_sample(struct blanch_builder *b, struct blanch_tensor *x);
struct blanch_tensor *blanch_gaussian_divergence(struct blanch_builder *b, struct blanch_tensor *x);
/* x with noise of a random time, the noise, and the time, (N, 1, 1, 1). */
struct blanch_tensor *blanch_diffuse(struct blanch_builder *b, struct blanch_tensor *x,
                                     const struct bl_diffuse_attrs *attrs, struct blanch_tensor **noise,
                                     struct blanch_tensor **time);
/* Losses, which definitions end in: of an image the sum over its values or their mean, and `more`, a value of each,
 * where that is not NULL. The first is of logits x and probabilities t. */
struct blanch_tensor *blanch_binary_cross_entropy(struct blanch_builder *b, struct blanch_tensor *x,
                                                  struct blanch_tensor *t, bool sum, struct blanch_tensor *more);
struct blanch_tensor *blanch_mean_squared_error(struct blanch_builder *b, struct blanch_tensor *x,
                                                struct blanch_tensor *t, bool sum, struct blanch_tensor *more);

#endif
