/* What a graph demands of an operation: shapes, forward, backward, definition, in one const table at the end of the
 * operation's file in ops/. To add one: a file there, a .cl file of the same name in kernels/, a line in
 * ops/operations.h, rows in tests/ (docs/overview.md). Nothing else knows it.
 *
 * Device layouts. Activations are NHWC ("channels last"), unpadded: element (n, y, x, c) of an (N, C, H, W) tensor is
 * at
 * ((n*H + y)*W + x)*C + c. Tokens are (N, C, T, 1). Parameters and buffers are stored as PyTorch lays them out (OIHW).
 */
#ifndef BL_OP_H
#define BL_OP_H

#include "base/types.h"
#include "graph/collectives.h"
#include "graph/phase.h"

enum {
    BL_MAX_INPUTS = 8,
    BL_MAX_OUTPUTS = 4,
    BL_MAX_PARAMS = 4,
    BL_MAX_BUFFERS = 8,
    BL_MAX_FUSED = 4,
    BL_MAX_STATES = 2
};

struct bl_graph;
struct bl_node;
struct bl_ref_layer;
struct bl_ref_tensor;
struct bl_onnx_op;

/* A tensor on the device. Activations: (n, c, h, w) with n the planned batch. Others: count alone. */
struct blanch_tensor {
    int64_t n, c, h, w;
    int64_t count; // elements
    enum bl_type type;
    struct bl_mem *mem;         // given by the plan, before prepare()
    struct blanch_tensor *grad; // of an activation that needs one
    int id;                     // of the plan
};
size_t bl_tensor_bytes(const struct blanch_tensor *tensor); // of all its elements

enum bl_init {
    BL_INIT_ZEROS,
    BL_INIT_ONES,
    BL_INIT_EYE,    // identities over the last two dimensions
    BL_INIT_FAN_IN, // uniform, +- 1 / sqrt(fan in)
    BL_INIT_NORMAL, // of deviation 0.02
    BL_INIT_VALUE   // the parameter's own
};

/* Coordinates of its own in which a layer lets a linear optimiser update one of its parameters, so that the layer need
 * not transform every gradient. While a parameter has one, the memory of its value, gradient and optimiser state is the
 * layer's to interpret; bl_param_read and bl_param_read_state compute what they would hold otherwise. */
struct bl_optimiser;
struct bl_update_target {
    void *context;
    /* Computes the value (which 0) or state `which` - 1 of the optimiser into `to`, and changes nothing. Between steps.
     */
    int (*resolve)(void *context, int which, struct bl_mem *to);
    /* An update was made: optimiser->decay says what it does by itself, gradients aside. */
    void (*updated)(void *context, const struct bl_optimiser *optimiser, const struct blanch_update *update);
    /* What a checkpoint needs beside the parameter's memory to go on: where the value and the states began, of the
     * parameter's shape, and numbers. */
    struct blanch_tensor *first[1 + BL_MAX_STATES];
    double *numbers;
    int number_count;
    /* Memory, `first` and `numbers` are as they were when they were saved: computes the rest anew. */
    int (*resume)(void *context);
};

struct bl_param { // a parameter, or a buffer
    struct bl_node *node;
    char name[128]; // state-dict name
    int dims;
    int64_t shape[4];
    enum bl_init init;
    float begin;        // where init is BL_INIT_VALUE
    bool trainable;     // false: a buffer
    bool counter;       // an int64 scalar kept on the host, in `value`
    bool private_state; // not in PyTorch's state dict: kept in the second checkpoint file
    bool no_decay;      // weight decay leaves it out
    bool frozen;        // no update changes it
    bool divides;       // ranks may make its gradient in shares of its rows, bl_share_of(), each its own
    bool divided;       // they have, in the last backward pass
    int group;          // of trainable ones: whose memory it lies in
    int64_t value;
    struct blanch_tensor data, grad;           // device; grad of trainable ones alone
    struct blanch_tensor state[BL_MAX_STATES]; // of trainable ones: the optimiser's, as many as its table says
    struct blanch_tensor average;              // its moving average, of a graph that keeps one; a counter has none
    const struct bl_update_target *offered;    // a target that may run; NULL: none
    const struct bl_update_target *target;     // the one that runs; NULL: data and state hold what their names say
};

/* What a layer, or a batch norm, has of its own where the rule turns a network to network deconvolution (build.c). */
struct bl_nd_rule {
    bool keep;         // stays what it is
    int block, n_iter; // 0: as all
    bool freeze;
    char name[128]; // by which it goes then; "": the same
};

struct bl_node {
    const struct bl_op *op;
    struct bl_graph *graph;
    struct blanch_device *dev;
    char name[128]; // state-dict prefix ("layer1.0.conv1"), or one made from the operation's name
    int index;      // in the order of definition, which is one of execution; the ledger's row
    void *attrs;    // op->attrs_size bytes, owned by the node
    void *state;    // the operation's own, freed by op->release
    int inputs, outputs;
    struct blanch_tensor *in[BL_MAX_INPUTS], *out[BL_MAX_OUTPUTS];
    bool accumulate[BL_MAX_INPUTS]; // backward adds to in[i]->grad instead of overwriting it
    int params, buffers;
    struct bl_param *param[BL_MAX_PARAMS], *buffer[BL_MAX_BUFFERS];
    double multiply_adds;           // of one image's forward pass, set by setup
    const char *engine[3];          // of a convolution: forward, data gradient, weight gradient; else NULL
    struct bl_whitening *whitening; // of layers that whiten their input: what the scheduler looks at; owned by state
    int fused;                      // neighbours that this node applies to its output, in order
    const struct bl_fusion *fusion[BL_MAX_FUSED];
    struct bl_node *fused_node[BL_MAX_FUSED]; // the neighbours themselves
    struct blanch_tensor *addend;             // what a sum among them adds to this node's output; NULL: there is none
    struct bl_node *fused_into;               // the node that applies this one, which then never runs; else NULL
    struct bl_node_moments {
        struct blanch_tensor *of_chunks; // (chunks, 2, C): mean and sum of squares of differences from it; NULL: none
        int64_t chunk;                   // rows (pixels) of out[0], in order
    } makes, given; // by this node with its output, in a training pass that is none again: a workspace FORWARD that
                    // lasts until its reader has run; of in[0], by who makes that
    bool cuts;      // in[0] is rectified by who makes it, and backward, the last to write in[0]->grad, leaves 0 in it
                    // where in[0] is not above 0
    bool is_cut;    // what uses the output, which this node rectifies, does so: out[0]->grad is as before the ReLU
    bool idle;      // there for its parameters' names alone: never run, nothing uses its output
    struct bl_nd_rule rule; // of a network without deconvolution
    int rank;               // in the order of the state dict, from 1; 0: by bl_graph_order
};

/* How a node is being run. */
struct bl_run {
    int n; // images in this batch, at most in[0]->n
    bool training;
    bool update; // an update follows: gradients are for the optimiser alone
    bool shares; // what ranks divide they hand on in shares (bl_param.divided); else as summands
    bool again;  // of a forward pass: recomputes what this step has computed before and has not kept. Nothing but
                 // outputs and workspaces changes: running buffers, counters and decisions stay
    uint64_t weights_version; // changes whenever parameters or buffers may have: what an evaluation derives
                              // from them (packed or folded weights) may be kept while it stays the same
    bool no_dropout;
    uint64_t seed, step; // of dropout
    int64_t whole;       // images whose statistics are shared: of all ranks where `all` is given
    int64_t first_image; // the place of the first one in the batch of all ranks
    float share;         // of the labels, in a training pass with pairs of them
    double loss_total;   // by which the sum of the losses is divided: the images of all ranks, or the sum of the
                         // labels' weights
    const struct bl_collectives *all; // of the ranks that share statistics; NULL: this one is alone with its own
    struct bl_mem *skip;  // an int that the loss sets where it is not finite, see bl_graph_judge; NULL: the host judges
    struct bl_mem *scale; // by which the loss multiplies its gradients, as kernels/loss_scale.h has it; NULL: 1
};

/* One attribute of an operation, so that JSON can be read and printed without knowing the operation. */
enum bl_field_kind { BL_FIELD_INT, BL_FIELD_INT2, BL_FIELD_FLOAT, BL_FIELD_BOOL };
struct bl_field {
    const char *name;
    enum bl_field_kind kind;
    size_t offset;
    bool optional;
    double otherwise; // what it is where it is left out
};
/* INT2 takes [a, b] or a single number; a null in an INT stays 0 (slice ends: INT with 0 = to the edge). */

/* What an operation is, for reports, rules and checks. */
enum bl_role {
    BL_ROLE_LAYER,         // has weights and is a row of its own in comparisons: convolutions, linear layers
    BL_ROLE_NORMALISATION, // counts to the layer that it follows, or precedes
    BL_ROLE_ACTIVATION,    // of one input, element by element
    BL_ROLE_ELEMENTWISE,   // of several inputs, or random
    BL_ROLE_POOLING,
    BL_ROLE_SHAPE, // moves values without computing
    BL_ROLE_LOSS,
    BL_ROLES
};
extern const char *const bl_role_names[BL_ROLES]; // "layer", "normalisation", ...

/* Which of its inputs and outputs a backward pass reads: a bit each. */
#define BL_IN(i) (1u << (i))
#define BL_OUT(i) (1u << (16 + (i)))
#define BL_ALL_IN 0xffffu

/* Where the plan may let tensors share memory. OUT: out may lie where an input of the same size does. GRAD: gradients
 * of inputs may lie where that of out does, all of them at once: backward compares the addresses. */
enum { BL_IN_PLACE_OUT = 1, BL_IN_PLACE_GRAD = 2 };

/* A neighbour whose work an operation can do itself. */
struct bl_fusion {
    const struct bl_op *op; // an activation; in an inference also a sum, or a normalisation by running statistics
    bool of_input;          // it comes before: applied to this operation's output instead, with which it commutes
    bool inference;         // in a network made for inference alone
    int rank;               // such are applied by ascending rank, at most one of each; 0: in any order
    unsigned reads;         // what backward reads besides, where it does
    /* Not NULL: in training alone, where this is so of the node and what uses its output cuts the gradient. */
    bool (*cut)(const struct bl_node *node);
};

struct bl_op {
    const char *name;
    enum bl_role role;
    double tolerance; // of its checks in float32, as a share of the largest expected value
    unsigned types;   // in which it takes and gives activations, a BL_TYPE_BIT each; 0: float32 alone
    size_t attrs_size;
    const struct bl_field *fields;             // ends with a NULL name; NULL: no attributes
    unsigned reads;                            // by backward, of the forward pass: BL_IN and BL_OUT
    unsigned in_place;                         // BL_IN_PLACE_*
    bool (*keeps)(const struct bl_node *node); // whether out is in[0] as it lies: both of them then. May be NULL
    int activation;                            // as kernels know it (ACTIVATION in activation.h); 0: none
    const struct bl_fusion *fusions;           // ends with a NULL op; NULL: none
    int chain;                                 // how many of them at once; 0: one
    bool alone;                                // its statistics are of the images of one rank, see graph/collectives.h
    bool normalises;                           // by statistics of the batch, so that one value per channel has none
    bool takes_moments;                        // node->given, of in[0]
    bool takes_cut;                            // a ReLU is applied so that backward heeds node->is_cut
    bool (*may_cut)(const struct bl_node *node); // whether backward heeds node->cuts; NULL: it does not
    size_t nd_offset;                            // of a struct bl_nd_attrs in attrs; 0: it does not whiten its input
    int phase_forward, phase_backward;           // the tag set before each call; bl_node_phase() changes it within
    /* Checks inputs and attributes (BLANCH_EINPUT, with the layer's name), sets outputs' shapes with bl_node_out,
     * declares parameters, buffers and workspaces. */
    int (*setup)(struct bl_node *node);
    /* Of a node that applies neighbours: declares workspaces for that. May be NULL. */
    int (*fused)(struct bl_node *node);
    /* A normalisation by the batch's statistics uses the output: may declare node->makes. May be NULL. */
    int (*make_moments)(struct bl_node *node);
    /* Memory is there: get kernels, fill constants. May be NULL. */
    int (*prepare)(struct bl_node *node);
    int (*forward)(struct bl_node *node, const struct bl_run *run);
    /* out[i]->grad is given; writes in[i]->grad (or adds, see accumulate) where that is not NULL and the parameters'
     * grads (overwriting). NULL: no gradient passes. */
    int (*backward)(struct bl_node *node, const struct bl_run *run);
    /* The forward pass in plain double precision, written from the formula and sharing nothing with the kernels: what
     * tests and `train --validate` compare with. See graph/reference.h. */
    int (*definition)(struct bl_ref_layer *layer, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y);
    void (*release)(struct bl_node *node); // frees state; may be NULL
    const struct bl_onnx_op *onnx;         // how ONNX has it (graph/onnx.h); NULL: it does not
};

/* Called by setup. Names are within the node ("weight"); NULL: the node's own is the parameter's. Errors stick and are
 * returned by the graph. */
void bl_node_out(struct bl_node *node, int64_t c, int64_t h, int64_t w); // the next output, of the graph's type
void bl_node_out_as(struct bl_node *node, enum bl_type type, int64_t c, int64_t h, int64_t w);
struct bl_param *bl_node_param(struct bl_node *node, const char *name, enum bl_init init, int dims,
                               const int64_t *shape);
struct bl_param *bl_node_buffer(struct bl_node *node, const char *name, enum bl_init init, int dims,
                                const int64_t *shape);
struct bl_param *bl_node_counter(struct bl_node *node, const char *name, bool private_state);
/* In setup: a target that a layer may begin. */
void bl_param_offer_target(struct bl_param *param, const struct bl_update_target *target);
/* From now on, until bl_param_end_target or a write, the parameter's updates go to the target. NULL ends nothing. */
void bl_param_begin_target(struct bl_param *param, const struct bl_update_target *target);
int bl_param_end_target(struct bl_param *param); // resolved; without a target nothing happens
/* Workspaces of count floats. SAVED: from this node's forward to its backward; where the forward pass runs again, from
 * the second time on. PINNED: from the first. FORWARD, BACKWARD: within that call. KEPT: for good, in evaluation too.
 * Memory of the first three is shared with other nodes' tensors. In an evaluation SAVED lives as FORWARD does. */
enum bl_life { BL_LIFE_SAVED, BL_LIFE_PINNED, BL_LIFE_FORWARD, BL_LIFE_BACKWARD, BL_LIFE_KEPT };
struct blanch_tensor *bl_node_workspace(struct bl_node *node, enum bl_life life, int64_t count);
/* The code of the activation that the node applies to its output (ACTIVATION of kernels); 0: none. */
int bl_node_activation(const struct bl_node *node);
/* Changes the phase that following launches of this node count to. */
void bl_node_phase(struct bl_node *node, int phase);
/* False where the graph was made for inference: backward will never run. */
bool bl_node_training(const struct bl_node *node);
int bl_node_batch(const struct bl_node *node);         // the planned batch
enum bl_type bl_node_type(const struct bl_node *node); // in which activations and their gradients are stored
/* Whether a parameter of its own is updated: else backward computes no gradients for them where that is work. */
bool bl_node_trains(const struct bl_node *node);
/* Whether the graph's optimiser is linear in gradients, value and state, so that a parameter may have an update target.
 */
bool bl_node_updates_linearly(const struct bl_node *node);
/* What nodes of a graph share under a key of their own, the address of something static; NULL: nothing. It is released
 * with the graph, after the nodes. */
void *bl_node_shared(const struct bl_node *node, const void *key);
int bl_node_share(struct bl_node *node, const void *key, void *what, void (*release)(void *what));
/* A layer's whitening attributes; NULL: it does not whiten. */
const struct bl_nd_attrs *bl_node_nd(const struct bl_node *node);

/* The attributes of the operations that builders use. */
struct bl_attention_attrs {
    int heads, causal;
};
struct bl_token_attrs {
    int index;
};
struct bl_fake_quantize_attrs { // y = (clamp(rint(x / scale) + zero_point, quant_min, quant_max) - zero_point) scale
    float scale;
    int zero_point, quant_min, quant_max;
};
struct bl_conv_attrs {
    int in_channels, out_channels, kernel[2], stride[2], padding[2], dilation[2], groups;
    int bias;
};
struct bl_conv_transpose_attrs {
    int in_channels, out_channels, kernel[2], stride[2], padding[2], output_padding[2], dilation[2], groups;
    int bias;
};
enum { BL_REFRESH_SCHEDULED = -1 };                          // as bl_whitening_order says
enum { BL_MOST_ITERATIONS = 1000, BL_MOST_SAMPLING = 4096 }; // n_iter; cov_sampling_stride
struct bl_nd_attrs {                                         // common to nd_conv2d and nd_linear
    int refresh;       // steps between two exact whitenings; 0 and 1: every step is exact
    int constant_grad; // the gradient stops at mean and D
    int block, n_iter, freeze, freeze_iter, cov_sampling_stride[2];
    int whiten_channels; // a convolution's samples are pixels, and D multiplies every tap of a block of channels
    int variances;       // D is that of S's diagonal: features are scaled and not whitened
    int cov_samples;     // most samples of a covariance of a convolution; -k: k times its features; 0: all
    int chosen;          // block and cov_samples are this layer's alone, and stand beside its weights in their file
    float eps, momentum;
};
struct bl_nd_conv_attrs {
    struct bl_conv_attrs conv;
    struct bl_nd_attrs nd;
};
struct bl_linear_attrs {
    int in_features, out_features;
    int bias;
};
struct bl_nd_linear_attrs {
    struct bl_linear_attrs linear;
    struct bl_nd_attrs nd;
};
struct bl_batchnorm_attrs {
    int channels;
    float eps, momentum;
};
struct bl_layernorm_attrs {
    int channels;
    float eps;
};
struct bl_group_norm_attrs {
    int groups, channels;
    float eps;
};
struct bl_pool_attrs {
    int kernel[2], stride[2], padding[2];
    int ceil_mode;         // a last window that overruns counts, if it starts within the image or the padding before it
    int count_include_pad; // of avgpool2d; 0: the mean is of the image's values alone
};
struct bl_adaptive_attrs {
    int out[2];
};
struct bl_upsample_attrs {
    int scale[2], out[2]; // one of them is 0
    int bilinear;         // 0: the nearest pixel
};
struct bl_pixel_shuffle_attrs {
    int factor, top, left, bottom, right; // the last four: rows and columns that are cut off
};
struct bl_slice_attrs {
    int begin, end;
}; // end 0: to the edge
struct bl_shuffle_attrs {
    int groups;
};
struct bl_dropout_attrs {
    float p;
};
struct bl_leaky_relu_attrs {
    float slope;
};
struct bl_elu_attrs {
    float alpha;
};
enum { BL_IGNORED_LABEL = 255 }; // of a pixel: it has no part in the loss
struct bl_loss_attrs {
    float smoothing;     // of labels, from 0 to below 1; these two are of training steps alone
    int pairs;           // a third input has other labels, for the rest of the images' share (bl_run.share)
    const float *weight; // by class, until the graph is finished; NULL: 1 each
};
struct bl_scale_attrs {
    float begin; // its values then; 0: 1
};
struct bl_image_loss_attrs {
    int sum; // over the values of an image; 0: their mean
};
struct bl_embedding_attrs {
    int count, channels;
};
struct bl_number_embedding_attrs {
    int channels;
    float period; // the longest, by 2 pi
};
struct bl_diffuse_attrs {
    int steps;
    float first, last; // variance of the noise that the steps add, linear in between
};
struct bl_channel_deconv_attrs {
    int block, n_iter, cov_sampling_stride;
    float eps, momentum;
};

const struct bl_op *bl_op_find(const char *name); // NULL: unknown
extern const struct bl_op *const bl_op_list[];    // NULL-terminated

#endif
