/* What the engines of the convolution share. */
#ifndef BL_CONV_ENGINE_H
#define BL_CONV_ENGINE_H

#include "ops/conv/conv.h"

struct bl_conv_engine;
struct bl_conv {
    struct bl_node *node;
    struct bl_conv_attrs attrs;
    int interleave;                // G
    int64_t h, w, out_h, out_w;    // of input and output
    int group_in, group_out, taps; // channels of a group; kh * kw
    bool adjoint;                  // the node's forward pass is the data gradient
    bool cpu;
    int units;                                           // compute units of the device
    enum bl_type type;                                   // of activations and their gradients
    struct bl_mem *bias;                                 // of an adjoint, while backward_data runs; NULL: none
    enum bl_life packed;                                 // of the forward pass's packed weights
    const struct bl_conv_engine *engine[BL_CONV_PASSES]; // NULL: not set up; in an inference the forward pass alone is
    void *state[BL_CONV_PASSES];                         // the engine's for that pass, one allocation
    const struct bl_node *norm;                          // that is folded into the weights; NULL: none
    struct blanch_tensor *scaled, *scaled_bias;          // by it: the weights, while they are packed; the bias
    struct bl_kernel *fold, *finish;                     // finish NULL: nothing is left to do after the engine
};

/* An engine computes the passes that it suits, each with a state of its own; those that it never suits have no
 * function. The functions are those of conv.h, for one pass. */
struct bl_conv_engine {
    const char *name;
    int variant;    // engines of the same functions tell themselves apart by it
    unsigned types; // of activations that it takes, a BL_TYPE_BIT each
    bool applies;   // forward adds node->addend and applies bl_node_activation(node) itself
    bool cuts;      // backward_data heeds node->cuts
    bool biases;    // backward_data adds conv->bias
    int (*rows_of_moments)(
        const struct bl_conv *conv); // forward makes node->makes, in chunks of so many; NULL, 0: it does not
    bool (*suits)(const struct bl_conv *conv, enum bl_conv_pass pass); // can compute it, of its types
    /* By rule of thumb, where it suits: the largest one is chosen, the first of the table among equals.
     * Negative: neither chosen nor measured, only had by name. */
    int (*preference)(const struct bl_conv *conv, enum bl_conv_pass pass);
    /* Before any setup: puts the table of this name by which the device computes the pass into conv->engine[pass],
     * where there are several. NULL: this is the only one. */
    int (*settle)(struct bl_conv *conv, enum bl_conv_pass pass);
    int (*setup)(struct bl_conv *conv, enum bl_conv_pass pass);
    int (*prepare)(struct bl_conv *conv, enum bl_conv_pass pass);
    int (*pack)(struct bl_conv *conv, enum bl_conv_pass pass, const struct bl_run *run, struct bl_mem *weight);
    /* Of the forward pass, and with it conv->bias; NULL: it makes no bias. */
    int (*pack_with_bias)(struct bl_conv *conv, const struct bl_run *run, struct bl_mem *weight,
                          const struct bl_conv_bias *bias);
    int (*forward)(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x, struct bl_mem *bias,
                   const struct blanch_tensor *y);
    int (*backward_data)(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *dy,
                         const struct blanch_tensor *dx, bool accumulate);
    int (*backward_weights)(struct bl_conv *conv, const struct bl_run *run, const struct blanch_tensor *x,
                            const struct blanch_tensor *dy, struct bl_mem *dweight, struct bl_mem *dbias);
};
#define X(name) extern const struct bl_conv_engine bl_conv_##name;
#include "ops/conv/engines.h"
#undef X

/* What follows the convolution (epilogue.c): kernels; a batch norm folded into weights and bias, which may be NULL;
 * what the engine does not apply. */
int bl_conv_prepare_epilogue(struct bl_conv *conv);
int bl_conv_fold(const struct bl_conv *conv, struct bl_mem *weight, struct bl_mem *bias);
int bl_conv_finish(const struct bl_conv *conv, int images, const struct blanch_tensor *y);

/* What widen.c makes of a pass's input: floats of `images` images at a time; of all, the input itself, where `to` is
 * NULL. */
struct bl_conv_wide {
    int images;
    int64_t values; // of an image
    struct blanch_tensor *to;
    struct bl_kernel *kernel;
};
int bl_conv_widen_setup(struct bl_conv *conv, enum bl_conv_pass pass, struct bl_conv_wide *wide);
int bl_conv_widen_prepare(const struct bl_conv *conv, struct bl_conv_wide *wide);
/* values: those of `count` images of x from `first` on. */
int bl_conv_widen(const struct bl_conv *conv, struct bl_conv_wide *wide, const struct blanch_tensor *x, int first,
                  int count, struct bl_mem **values);

/* As struct finish of kernels/conv/classes.h. */
struct bl_conv_finish {
    int32_t has_bias, accumulate, has_addend, activation, cut, moments;
};

/* As struct sizes of kernels/conv/sizes.h. */
struct bl_conv_sizes {
    int32_t images, in_h, in_w, in_c, group_in, out_h, out_w, out_c, group_out;
};
/* Of the layer. */
static inline struct bl_conv_sizes bl_conv_sizes(const struct bl_conv *conv, int images) {
    return (struct bl_conv_sizes){.images = images,
                                  .in_h = (int32_t)conv->h,
                                  .in_w = (int32_t)conv->w,
                                  .in_c = conv->attrs.in_channels,
                                  .group_in = conv->group_in,
                                  .out_h = (int32_t)conv->out_h,
                                  .out_w = (int32_t)conv->out_w,
                                  .out_c = conv->attrs.out_channels,
                                  .group_out = conv->group_out};
}
/* Of the data gradient as another forward pass, which reads the layer's outputs. */
static inline struct bl_conv_sizes bl_conv_data_sizes(const struct bl_conv *conv, int images) {
    const struct bl_conv_sizes s = bl_conv_sizes(conv, images);
    return (struct bl_conv_sizes){s.images, s.out_h, s.out_w, s.out_c, s.group_out, s.in_h, s.in_w, s.in_c, s.group_in};
}

static inline int64_t bl_conv_div_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
static inline int64_t bl_conv_clamp(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}
/* How long a pass's workspaces last: for the node's pass that it is. */
static inline enum bl_life bl_conv_life(const struct bl_conv *conv, enum bl_conv_pass pass) {
    return pass == (conv->adjoint ? BL_CONV_DATA : BL_CONV_FORWARD) ? BL_LIFE_FORWARD : BL_LIFE_BACKWARD;
}
/* Where a pass keeps its weights, several times as large as they come. */
static inline enum bl_life bl_conv_packed(const struct bl_conv *conv, enum bl_conv_pass pass) {
    return pass == BL_CONV_FORWARD ? conv->packed : bl_conv_life(conv, pass);
}
/* Channels at once: the widest vector worth using that divides them. */
static inline int bl_conv_vec(const struct bl_conv *conv, int channels) {
    int vec = conv->cpu ? 16 : 4;
    while (channels % vec) vec /= 2;
    return vec;
}
/* Rows of the register tile for a pass over `pixels`, of those that keep the device's registers busy: few pixels should
 * not leave much of the last tile empty. A row costs one, a tile one more. */
static inline int bl_conv_tile_rows(const struct bl_conv *conv, int64_t pixels) {
    static const int wide[] = {12, 10, 8}, narrow[] = {6, 5, 4};
    const int *rows = bl_tile_rows(conv->node->dev) > 6 ? wide : narrow;
    int best = 0;
    for (int i = 1; i < 3; i++)
        if (bl_conv_div_up(pixels, rows[i]) * (rows[i] + 1) < bl_conv_div_up(pixels, rows[best]) * (rows[best] + 1))
            best = i;
    return rows[best];
}
/* Blocks of 16 outputs that the tile is wide, where a layer has so many: two share a row's loads, and half as many rows
 * fill the registers. Rows lie a power of two apart where channels are that many, and of more than eight of these a
 * first cache of eight ways loses lines before they were used. */
static inline int bl_conv_tile_blocks(const struct bl_conv *conv, int blocks) {
    return blocks > 1 && bl_tile_rows(conv->node->dev) > 6 ? 2 : 1;
}
/* The kernel that sums the shares of a weight gradient, in blocks of `width` outputs. */
static inline int bl_conv_get_reduce(const struct bl_conv *conv, int width, struct bl_kernel **kernel) {
    const struct bl_define defines[] = {{"TN", width}};
    return bl_kernel_get(conv->node->dev, "conv/reduce", "reduce", defines, 1, kernel);
}
/* Items of one, or what the launcher likes. */
static inline struct bl_range bl_conv_range(const struct bl_conv *conv, int64_t a, int64_t b, int64_t c) {
    return conv->cpu ? BL_GROUPS1((size_t)a, (size_t)b, (size_t)c) : BL_ITEMS((size_t)a, (size_t)b, (size_t)c);
}

#endif
