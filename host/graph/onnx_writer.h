/* What the files of graph/ that write ONNX share. */
#ifndef BL_ONNX_WRITER_H
#define BL_ONNX_WRITER_H

#include "graph/onnx.h"

struct written { // what a node gives
    const char *name;
    enum bl_onnx_view view;
};

struct bl_onnx_writer {
    const struct bl_graph *graph;
    const struct bl_onnx_options *options;
    int code;
    void **memory;
    size_t memory_count, memory_capacity;
    struct bl_onnx_node *nodes;
    size_t node_count, node_capacity;
    struct bl_st_tensor *tensors, *weights; // initialisers; those that are no constants
    size_t tensor_count, tensor_capacity, weight_count, weight_capacity;
    struct written *written;           // by node; the last: of the graph's input
    int *uses;                         // by node: how many inputs take what it gives,
    const struct bl_node **user;       // and the last node that does
    const struct bl_node **stands_for; // by node: the last that is folded into it
};

void *bl_onnx_room(struct bl_onnx_writer *w, size_t count, size_t size); // zeroed, the writer's; NULL: a failure
/* An initialiser of any type; data live as long as the writer. */
const char *bl_onnx_put_raw(struct bl_onnx_writer *w, const struct bl_node *node, const char *name, enum bl_type type,
                            const void *data, int dims, const int64_t *sizes);

#endif
