/* Every operation's forward pass in plain double precision C, written from the definitions and sharing nothing with the
 * kernels: what the tests and `blanch train --validate` compare the device with. Tensors are NCHW. */
#ifndef BL_REFERENCE_H
#define BL_REFERENCE_H

#include "ops/op.h"

struct bl_ref_tensor {
    int n, c, h, w;
    double *v;
};
struct bl_ref_layer {
    const char *op;
    const void *attrs;
    bool training;
    int images;                      // convolutions and linear layers: outputs of the first so many (statistics are
                                     // of all); 0: of all
    double *param[BL_MAX_PARAMS];    // in the order in which the operation declares them
    double *buffer[BL_MAX_BUFFERS];  // updated by a training forward
    int64_t counter[BL_MAX_BUFFERS]; // values of the buffers that are counters, updated likewise
    const int32_t *labels;           // of softmax_cross_entropy
    uint64_t seed, step;             // of dropout
    int index;                       // the node's, of dropout
};

size_t bl_ref_count(const struct bl_ref_tensor *t);
/* y->v is allocated, the caller frees it; NULL on failure: BLANCH_ENOMEM, or BLANCH_EUSAGE for an operation that has no
 * reference. */
int bl_ref_forward(struct bl_ref_layer *layer, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y);

/* --- what the files of the reference share ---------------------------------------------------- */

int bl_ref_new(struct bl_ref_tensor *t, int n, int c, int h, int w); // zeros
double *bl_ref_doubles(size_t count);
double *bl_ref_at(const struct bl_ref_tensor *t, int n, int c, int y, int x);
double bl_ref_padded(const struct bl_ref_tensor *t, int n, int c, int y, int x); // 0 outside
int bl_ref_conv(const struct bl_conv_attrs *a, const double *weight, const double *bias, const struct bl_ref_tensor *x,
                struct bl_ref_tensor *y);
int bl_ref_linear(const double *weight, const double *bias, int in, int out, const struct bl_ref_tensor *x,
                  struct bl_ref_tensor *y);
int bl_ref_nd_conv(struct bl_ref_layer *l, const struct bl_ref_tensor *x, struct bl_ref_tensor *y);
int bl_ref_nd_linear(struct bl_ref_layer *l, const struct bl_ref_tensor *x, struct bl_ref_tensor *y);
int bl_ref_channel_deconv(struct bl_ref_layer *l, const struct bl_ref_tensor *x, struct bl_ref_tensor *y);

#endif
