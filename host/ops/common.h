/* What the operations outside conv/ share: vector widths, sharing work among items, checks, plain copies. */
#ifndef BL_OPS_COMMON_H
#define BL_OPS_COMMON_H

#include "graph/op.h"

/* The widest vector worth using on dev that divides count. dev NULL (a graph that only describes): as on a CPU. */
int bl_vec(const struct blanch_device *dev, int64_t count);
bool bl_on_cpu(const struct blanch_device *dev);

/* bl_launch of what computes little for what it moves: states 0 operations. */
#define bl_launch_light(dev, ...) (bl_work((dev), 0, 0), bl_launch(__VA_ARGS__))

/* Work sizes for `units` equal pieces that move `bytes` each. On a CPU a few groups of one item that share the units;
 * elsewhere an item per unit. The kernel divides by get_global_size(), so both run the same source.
 * rows: units in dimension 1, vectors of channels in 0 (on a CPU one item does them all). grid: the same in 2, 1 and
 * 0. */
struct bl_range bl_share(const struct blanch_device *dev, int64_t units, int64_t bytes);
struct bl_range bl_share_rows(const struct blanch_device *dev, int64_t vectors, int64_t units, int64_t bytes);
struct bl_range bl_share_grid(const struct blanch_device *dev, int64_t vectors, int64_t columns, int64_t units,
                              int64_t bytes);

/* Items of a group that sums as a tree (kernels/tree.h), for the define TREE; 0: on dev an item sums alone. A group for
 * each of `rows` sums, in dimension 1. */
int bl_tree(struct blanch_device *dev);
struct bl_range bl_tree_rows(struct blanch_device *dev, int64_t rows);
/* Sums over all pixels of a batch, by channel, are formed of chunks of so many pixels, which are added in order
 * afterwards: as many of them as the CPU's cache holds, or as keep a GPU busy. bl_share_chunks: an item for each vector
 * of channels and chunk; on a CPU one takes all channels of its chunk. */
int64_t bl_chunk(const struct bl_node *node, int vec); // of the node's first input
int64_t bl_chunk_of(const struct blanch_device *dev, const struct blanch_tensor *x, int vec);
static inline int64_t bl_chunks(int64_t rows, int64_t chunk) {
    return (rows + chunk - 1) / chunk;
}
struct bl_range bl_share_chunks(const struct blanch_device *dev, int64_t vectors, int64_t chunks);
/* What is made of the chunks: on a CPU an item takes some vectors, of so many bytes each, elsewhere a group one. */
struct bl_range bl_share_merge(struct blanch_device *dev, int64_t vectors, int64_t bytes);
/* to = the sums of `channels` floats over chunks that lie `stride` floats apart, from `offset` on. */
struct bl_chunk_sums {
    struct bl_mem *partial;
    int64_t chunks, stride, offset;
};
int bl_sum_chunks(const struct bl_node *node, struct bl_chunk_sums from, int64_t channels, struct bl_mem *to);

int64_t bl_features(const struct blanch_tensor *tensor);                          // c*h*w, the elements of an image
bool bl_same_shape(const struct blanch_tensor *a, const struct blanch_tensor *b); // but for n
/* BLANCH_EINPUT unless the node has between low and high inputs. */
int bl_check_inputs(const struct bl_node *node, int low, int high);
/* BLANCH_EINPUT unless eps is finite and not negative, and momentum, of running buffers, 0 to 1. */
int bl_check_statistics(const struct bl_node *node, float eps, float momentum);

/* The state of an operation that needs a kernel for each direction, and a saved workspace perhaps. bl_plain_state
 * returns the node's, made at the first call; NULL where there is no memory. */
struct bl_plain_state {
    struct bl_kernel *forward, *backward;
    int vec;
    struct blanch_tensor *saved;
};
struct bl_plain_state *bl_plain_state(struct bl_node *node);
int bl_plain_prepare(struct bl_node *node, int vec, const char *file, const char *forward, const char *backward);
void bl_plain_release(struct bl_node *node);

/* How the node's activations are stored, for kernels that include vec.h. */
#define BL_ACT(node)                                                                                                   \
    { "ACT_TYPE", (long)bl_node_type(node) }
/* Bytes of so many elements like the tensor's. */
static inline int64_t bl_bytes_of(const struct blanch_tensor *tensor, int64_t elements) {
    return elements * (int64_t)bl_type_bytes(tensor->type);
}

/* to = from, or to += from, over count activations; vec divides count. */
int bl_copy(const struct bl_node *node, struct bl_mem *from, struct bl_mem *to, int64_t count, int vec, bool add);

/* The channels [offset, offset + channels) of a tensor with `stride` channels in all. */
struct bl_channels {
    struct bl_mem *mem;
    int64_t stride, offset;
};
int bl_copy_channels(const struct bl_node *node, struct bl_channels from, struct bl_channels to, int64_t channels,
                     int64_t pixels, bool add);
int bl_prepare_channels(const struct bl_node *node, int64_t channels); // builds its kernel

/* Activations: each is a pair of kernels, its gradient computed from its output or its input, whichever the table says
 * that backward reads. prepare: NAME_forward and NAME_backward of activations.cl, with its constant A. */
int bl_activation_setup(struct bl_node *node);
int bl_activation_prepare(struct bl_node *node, const char *name, float a);
int bl_activation_forward(struct bl_node *node, const struct bl_run *run);
int bl_activation_backward(struct bl_node *node, const struct bl_run *run);

/* What drops elements or images by bl_dropout_attrs. */
int bl_dropout_setup(struct bl_node *node);
extern const struct bl_field bl_dropout_fields[];

/* Pooling windows: fills in a zero stride (the kernel's), checks, declares the output. */
int bl_pool_setup(struct bl_node *node, struct bl_pool_attrs *pool);
int bl_pool_prepare(struct bl_node *node, const char *file, const struct bl_pool_attrs *pool, int index_bytes);
#define BL_POOL_FIELDS                                                                                                 \
    {"kernel", BL_FIELD_INT2, offsetof(struct bl_pool_attrs, kernel), false},                                          \
        {"stride", BL_FIELD_INT2, offsetof(struct bl_pool_attrs, stride), true},                                       \
        {"padding", BL_FIELD_INT2, offsetof(struct bl_pool_attrs, padding), true}, {                                   \
        "ceil_mode", BL_FIELD_BOOL, offsetof(struct bl_pool_attrs, ceil_mode), true                                    \
    }
int bl_pool_definition(const struct bl_pool_attrs *a, const struct bl_ref_tensor *x, struct bl_ref_tensor *y, bool max);

/* BLANCH_EINPUT unless the input has so many channels. */
int bl_linear_check(const struct bl_node *node, int in_features);
int bl_linear_definition(const double *weight, const double *bias, int in, int out, const struct bl_ref_tensor *x,
                         struct bl_ref_tensor *y);

/* What other operations apply to what they write. */
extern const struct bl_op bl_op_relu, bl_op_relu6, bl_op_add, bl_op_batchnorm2d;

#endif
