/* Every operation in plain double precision C, written from the definitions and sharing nothing with the kernels. NCHW. */
#ifndef REF_H
#define REF_H

#include "ops/op.h"

struct ref_tensor { int n, c, h, w; double *v; };
struct ref_layer {
    const char *op;
    const void *attrs;
    bool training;
    double *param[BL_MAX_PARAMS];           // in the order in which the operation declares them
    double *buffer[BL_MAX_BUFFERS];         // updated by a training forward
    const int32_t *labels;                  // of softmax_cross_entropy
};

size_t ref_count(const struct ref_tensor *t);
struct ref_tensor ref_new(int n, int c, int h, int w);
/* y is allocated. */
void ref_forward(const struct ref_layer *layer, const struct ref_tensor *x, int inputs, struct ref_tensor *y);

#endif
