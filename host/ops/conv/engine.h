/* What the engines of the convolution share. */
#ifndef BL_CONV_ENGINE_H
#define BL_CONV_ENGINE_H

#include "ops/conv/conv.h"

struct bl_conv_engine;
struct bl_conv {
    struct bl_node *node;
    struct bl_conv_attrs attrs;
    int interleave;                         // G
    int64_t h, w, out_h, out_w;             // of input and output
    int group_in, group_out, taps;          // channels of a group; kh * kw
    bool cpu;
    int units;                              // compute units of the device
    const struct bl_conv_engine *engine;
    void *state;                            // the engine's, one allocation
};

/* The functions are those of conv.h, for one engine. */
struct bl_conv_engine {
    const char *name;
    bool (*suits)(const struct bl_conv *conv);              // can compute this convolution, all three passes
    int (*setup)(struct bl_conv *conv);
    int (*prepare)(struct bl_conv *conv);
    int (*pack)(struct bl_conv *conv, const struct bl_run *run, struct bl_mem *weight);
    int (*forward)(struct bl_conv *conv, const struct bl_run *run, const struct bl_tensor *x, struct bl_mem *bias,
                   const struct bl_tensor *y);
    int (*backward_data)(struct bl_conv *conv, const struct bl_run *run, const struct bl_tensor *dy,
                         const struct bl_tensor *dx, bool accumulate);
    int (*backward_weights)(struct bl_conv *conv, const struct bl_run *run, const struct bl_tensor *x,
                            const struct bl_tensor *dy, struct bl_mem *dweight, struct bl_mem *dbias);
};
extern const struct bl_conv_engine bl_conv_direct, bl_conv_depthwise;

static inline int64_t bl_conv_div_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

#endif
