/* Network deconvolution in plain double precision, as bl_op.definition. */
#ifndef BL_ND_DEFINITION_H
#define BL_ND_DEFINITION_H

#include "graph/reference.h"

struct bl_nd_folding { // (out, blocks*f), (out)
    const double *weight, *bias;
    int out, f, blocks;
    bool interleaved; // feature j of block g is j*blocks + g
    double *folded, *folded_bias;
};
/* W' = W D in every block, b' = b - W' m. */
int bl_nd_fold_definition(const struct bl_nd_folding *w, const double *m, const double *d);

int bl_nd_conv_definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y);
int bl_nd_linear_definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y);
int bl_channel_deconv_definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs,
                                 struct bl_ref_tensor *y);

#endif
