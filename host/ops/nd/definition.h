/* Network deconvolution in plain double precision, as bl_op.definition. */
#ifndef BL_ND_DEFINITION_H
#define BL_ND_DEFINITION_H

#include "graph/reference.h"

int bl_nd_conv_definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y);
int bl_nd_linear_definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs, struct bl_ref_tensor *y);
int bl_channel_deconv_definition(struct bl_ref_layer *l, const struct bl_ref_tensor *x, int inputs,
                                 struct bl_ref_tensor *y);

#endif
