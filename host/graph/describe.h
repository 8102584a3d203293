/* A network to JSON and back, in the format of tests/reference/architectures (tests/reference/README.md, "Networks").
 */
#ifndef BL_DESCRIBE_H
#define BL_DESCRIBE_H

#include "graph/graph.h"
#include <cjson/cJSON.h>

/* Adds num_classes, input, trainable, multiply_adds, parameters, buffers and graph to json: nodes in execution order,
 * without the loss. After bl_graph_finish, which orders the parameters. */
void bl_graph_describe(const struct bl_graph *graph, cJSON *json);

/* Adds what such a description holds to a graph without nodes, its input first, and fixes the parameters' order;
 * bl_graph_finish follows. *logits: the last node's output. BLANCH_EINPUT names the node, attribute or parameter that
 * is wrong. */
int bl_graph_add_described(struct bl_graph *graph, const cJSON *json, struct blanch_tensor **logits);

/* Fills attrs (op->attrs_size bytes, zeroed first). Keys that the operation does not know are ignored; a missing one
 * that it needs, or one of the wrong type, is BLANCH_EINPUT, the message naming it. */
int bl_attrs_from_json(const struct bl_op *op, const cJSON *json, void *attrs);
/* What may be left out and is 0 is left out. NULL: no memory. */
cJSON *bl_attrs_to_json(const struct bl_op *op, const void *attrs);

#endif
