/* What the ONNX forms of operations share: convolutions, linear layers, windows. */
#ifndef BL_OPS_ONNX_H
#define BL_OPS_ONNX_H

#include "graph/onnx.h"

/* Of a Conv with the input x. */
void bl_conv_read(struct bl_onnx_reader *r, const struct bl_onnx_node *n, const struct blanch_tensor *x,
                  struct bl_conv_attrs *attrs);
void bl_conv_write(struct bl_onnx_writer *w, const struct bl_node *node, const struct bl_conv_attrs *attrs,
                   const struct bl_onnx_layer *layer);
void bl_pool_read(struct bl_onnx_reader *r, const struct bl_onnx_node *n, struct bl_pool_attrs *attrs);
void bl_pool_write(struct bl_onnx_writer *w, const struct bl_node *node, const char *type);
void bl_linear_write(struct bl_onnx_writer *w, const struct bl_node *node, const struct bl_onnx_layer *layer);

#endif
