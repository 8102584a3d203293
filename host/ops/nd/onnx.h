/* How network deconvolution is written as ONNX: folded, by the running buffers. */
#ifndef BL_ND_ONNX_H
#define BL_ND_ONNX_H

#include "graph/onnx.h"

extern const struct bl_onnx_op bl_nd_conv_onnx, bl_nd_linear_onnx, bl_channel_deconv_onnx;

#endif
