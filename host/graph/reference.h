/* Operations in plain double precision C, on the host: what a definition (bl_op.definition) is given, and what
 * definitions share. Written from the formulas, sharing nothing with the kernels: what the tests and `blanch train
 * --validate` compare the device with. Tensors are NCHW. */
#ifndef BL_REFERENCE_H
#define BL_REFERENCE_H

#include "graph/op.h"

struct bl_ref_tensor {
    int n, c, h, w;
    double *v;
};
struct bl_ref_layer {
    const void *attrs;
    bool training;
    int images;                      // convolutions and linear layers: outputs of the first so many (statistics are
                                     // of all); 0: of all
    double *param[BL_MAX_PARAMS];    // in the order in which the operation declares them
    double *buffer[BL_MAX_BUFFERS];  // updated by a training forward
    int64_t counter[BL_MAX_BUFFERS]; // values of the buffers that are counters, updated likewise
    const int32_t *labels, *others;  // of softmax_cross_entropy; others NULL: none
    double share;                    // of the labels where there are others
    bool reuse;                      // of a layer whose refreshes are scheduled: it reuses the last D
    uint64_t seed, step;             // of dropout
    int index;                       // the node's, of dropout
};

size_t bl_ref_count(const struct bl_ref_tensor *t);
/* y->v is allocated, the caller frees it; NULL on failure: BLANCH_ENOMEM, or BLANCH_EUSAGE for an operation without a
 * definition. */
int bl_ref_forward(const struct bl_op *op, struct bl_ref_layer *layer, const struct bl_ref_tensor *x, int inputs,
                   struct bl_ref_tensor *y);

/* --- for definitions ---------------------------------------------------------------------------- */

int bl_ref_new(struct bl_ref_tensor *t, int n, int c, int h, int w); // zeros
double *bl_ref_doubles(size_t count);
double *bl_ref_at(const struct bl_ref_tensor *t, int n, int c, int y, int x);
double bl_ref_padded(const struct bl_ref_tensor *t, int n, int c, int y, int x); // 0 outside
struct bl_ref_tensor bl_ref_plane(const struct bl_ref_tensor *t, int n, int c);  // one channel of one image, in place
int bl_ref_images(const struct bl_ref_layer *l, const struct bl_ref_tensor *x);  // whose outputs are wanted

#endif
