/* An operation: shapes, forward, backward, in one const table at the end of its file in ops/. To add one: a file here,
 * a .cl file of the same name in kernels/, a line in ops/list.c, rows in tests/. Nothing else knows it.
 *
 * Device layouts. Activations are NHWC ("channels last"), float32, unpadded: element (n, y, x, c) of an (N, C, H, W)
 * tensor is at ((n*H + y)*W + x)*C + c. Parameters and buffers are stored as PyTorch lays them out (OIHW). */
#ifndef BL_OP_H
#define BL_OP_H

#include "cl/cl.h"

enum { BL_MAX_INPUTS = 8, BL_MAX_PARAMS = 4, BL_MAX_BUFFERS = 6 };

/* What an operation can do to its output as it writes it, and to its gradient as it reads it. */
enum bl_activation { BL_ACT_NONE, BL_ACT_RELU, BL_ACT_RELU6 };

struct bl_graph;
struct bl_node;

/* A tensor on the device. Activations: (n, c, h, w) with n the planned batch. Others: count alone. */
struct bl_tensor {
    int64_t n, c, h, w;
    int64_t count;          // elements
    struct bl_mem *mem;     // given by the plan, before prepare()
    struct bl_tensor *grad; // of an activation that needs one
    int id;                 // of the plan
};

enum bl_init {
    BL_INIT_ZEROS,
    BL_INIT_ONES,
    BL_INIT_EYE,
    BL_INIT_FAN_IN
};                  // EYE: identities over the last two dimensions
struct bl_param {   // a parameter, or a buffer
    char name[128]; // state-dict name
    int dims;
    int64_t shape[4];
    enum bl_init init;
    bool trainable;     // false: a buffer
    bool counter;       // an int64 scalar kept on the host, in `value`
    bool private_state; // not in PyTorch's state dict: kept in the second checkpoint file
    int64_t value;
    struct bl_tensor data, grad, velocity; // device; grad and velocity of trainable ones alone
    double carry[4]; // of trainable ones: what updates made of data and velocity (w, v) by themselves, gradients
                     // aside, since it was last set to {1, 0, 0, 1}: (carry[0] w + carry[1] v, carry[2] w + carry[3] v)
};

struct bl_node {
    const struct bl_op *op;
    struct bl_graph *graph;
    struct blanch_device *dev;
    char name[128]; // state-dict prefix ("layer1.0.conv1"), or one made from the operation's name
    int index;      // in execution order; the ledger's row
    void *attrs;    // op->attrs_size bytes, owned by the node
    void *state;    // the operation's own, freed by op->release
    int inputs;
    struct bl_tensor *in[BL_MAX_INPUTS];
    bool accumulate[BL_MAX_INPUTS]; // backward adds to in[i]->grad instead of overwriting it
    struct bl_tensor *out;
    int params, buffers;
    struct bl_param *param[BL_MAX_PARAMS], *buffer[BL_MAX_BUFFERS];
    double multiply_adds;           // of one image's forward pass, set by setup
    const char *engine[3];          // of a convolution: forward, data gradient, weight gradient; else NULL
    struct bl_whitening *whitening; // of layers that whiten their input: what the scheduler looks at; owned by state
    enum bl_activation activation;  // to be applied to out, whose gradient is that of the activated values
    bool merged;                    // an activation that the operation before or after it applies: never run
    bool idle;                      // there for its parameters' names alone: never run, nothing uses its output
};

/* How a node is being run. */
struct bl_run {
    int n; // images in this batch, at most in[0]->n
    bool training;
    bool update;              // an update follows: the operation may prepare for it (settle)
    uint64_t weights_version; // changes whenever parameters or buffers may have: what an evaluation derives
                              // from them (packed or folded weights) may be kept while it stays the same
    uint64_t seed, step;      // of dropout
};

/* One attribute of an operation, so that JSON can be read and printed without knowing the operation. */
enum bl_field_kind { BL_FIELD_INT, BL_FIELD_INT2, BL_FIELD_FLOAT, BL_FIELD_BOOL };
struct bl_field {
    const char *name;
    enum bl_field_kind kind;
    size_t offset;
    bool optional;
};
/* INT2 takes [a, b] or a single number; a null in an INT stays 0 (slice ends: INT with 0 = to the edge). */

enum { BL_KEEP_IN0 = 1, BL_KEEP_IN1 = 2, BL_KEEP_OUT = 4 }; // what backward reads of the forward pass
/* Where the plan may let tensors share memory. OUT: out may lie where an input of the same size does. GRAD: gradients
 * of inputs may lie where that of out does, all of them at once: backward compares the addresses. */
enum { BL_IN_PLACE_OUT = 1, BL_IN_PLACE_GRAD = 2 };

struct bl_op {
    const char *name;
    size_t attrs_size;
    const struct bl_field *fields;               // ends with a NULL name; NULL: no attributes
    unsigned keeps;                              // BL_KEEP_*
    unsigned in_place;                           // BL_IN_PLACE_*
    enum bl_activation activation;               // this operation is that activation and nothing else
    unsigned activates;                          // 1 << BL_ACT_*: those that it can apply itself
    unsigned activates_input;                    // those of its first input that it may apply to its output instead
    unsigned activated_keeps;                    // BL_KEEP_*, beside keeps, where it does
    enum bl_phase phase_forward, phase_backward; // the tag set before each call; bl_node_phase() changes it within
    /* Checks inputs and attributes (BLANCH_EINPUT, with the layer's name), sets out's shape with bl_node_out, declares
     * parameters, buffers and workspaces. */
    int (*setup)(struct bl_node *node);
    /* Memory is there: get kernels, fill constants. May be NULL. */
    int (*prepare)(struct bl_node *node);
    int (*forward)(struct bl_node *node, const struct bl_run *run);
    /* out->grad is given; writes in[i]->grad (or adds, see accumulate) where that is not NULL and the parameters' grads
     * (overwriting). NULL: no gradient passes. */
    int (*backward)(struct bl_node *node, const struct bl_run *run);
    /* An operation may leave its parameters, gradients and velocities in coordinates of its own after a pass whose run
     * says `update`, where an update is linear in them. This puts parameters and velocities back. May use what is the
     * node's in a forward pass. NULL: they always are as PyTorch has them. */
    int (*settle)(struct bl_node *node);
    void (*release)(struct bl_node *node); // frees state; may be NULL
};

/* Called by setup. Names are within the node ("weight"). Errors stick and are returned by the graph. */
void bl_node_out(struct bl_node *node, int64_t c, int64_t h, int64_t w);
struct bl_param *bl_node_param(struct bl_node *node, const char *name, enum bl_init init, int dims,
                               const int64_t *shape);
struct bl_param *bl_node_buffer(struct bl_node *node, const char *name, enum bl_init init, int dims,
                                const int64_t *shape);
struct bl_param *bl_node_counter(struct bl_node *node, const char *name, bool private_state);
/* Workspaces of count floats. SAVED: from this node's forward to its backward. FORWARD, BACKWARD: within that call.
 * KEPT: for good, in evaluation too. Memory of the first three is shared with other nodes' tensors. In an evaluation
 * SAVED lives as FORWARD does. */
enum bl_life { BL_LIFE_SAVED, BL_LIFE_FORWARD, BL_LIFE_BACKWARD, BL_LIFE_KEPT };
struct bl_tensor *bl_node_workspace(struct bl_node *node, enum bl_life life, int64_t count);
/* Changes the phase that following launches of this node count to. */
void bl_node_phase(struct bl_node *node, enum bl_phase phase);
/* False where the graph was made for inference: backward will never run. */
bool bl_node_training(const struct bl_node *node);
int bl_node_batch(const struct bl_node *node); // the planned batch

/* The attributes of the operations that builders use. */
struct bl_conv_attrs {
    int in_channels, out_channels, kernel[2], stride[2], padding[2], dilation[2], groups;
    int bias;
};
enum { BL_REFRESH_SCHEDULED = -1 }; // as bl_whitening_schedule says
struct bl_nd_attrs {                // common to nd_conv2d and nd_linear
    int refresh;                    // steps between two exact whitenings; 0 and 1: every step is exact
    int constant_grad;              // the gradient stops at mean and D
    int block, n_iter, freeze, freeze_iter, cov_sampling_stride[2];
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
struct bl_pool_attrs {
    int kernel[2], stride[2], padding[2];
};
struct bl_slice_attrs {
    int begin, end;
}; // end 0: to the edge
struct bl_dropout_attrs {
    float p;
};
struct bl_channel_deconv_attrs {
    int block, n_iter, cov_sampling_stride;
    float eps, momentum;
};

const struct bl_op *bl_op_find(const char *name); // NULL: unknown
extern const struct bl_op *const bl_op_list[];    // NULL-terminated

#endif
