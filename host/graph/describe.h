/* A network to JSON and back: docs/network-format.md. */
#ifndef BL_DESCRIBE_H
#define BL_DESCRIBE_H

#include "graph/graph.h"
#include <cjson/cJSON.h>

/* Adds num_classes, input, trainable, multiply_adds, parameters, buffers and graph to json: nodes in execution order,
 * without the loss of logits; of a network that ends in one of images all but num_classes. After bl_graph_finish, which
 * orders the parameters. */
void bl_graph_describe(const struct bl_graph *graph, cJSON *json);

/* What files of the graph's parameters say of them: texts by key. The graph takes it over; NULL: nothing. */
void bl_graph_set_about(struct bl_graph *graph, cJSON *about);
const cJSON *bl_graph_about(const struct bl_graph *graph);

enum { BL_USUAL_BLOCK_FC = 512, BL_MOST_LAYERS = 5000 }; // nodes of a description, its input included

/* A description of a network, and what it says of the whole. */
struct bl_description {
    const cJSON *json; // outlives this
    const char *name;  // that errors of building begin with, likewise; NULL: none
    int classes;
    int channels, height, width;       // of the input
    int block_fc;                      // of deconvolution's rule, as struct blanch_builder has it
    bool nd;                           // it has layers of network deconvolution, and is built as it says alone
    bool generates;                    // it ends in a loss of images
    float mean, deviation;             // of pixels from 0 to 1, which it then sees less the mean, by the deviation
    int latent[3];                     // what it samples, channels, height and width; 0: nothing
    struct bl_diffuse_attrs diffusion; // zero: it is none
};
/* Reads and checks all of it. BLANCH_EINPUT names the node, the attribute or the parameter that is wrong. */
int bl_description_read(struct bl_description *description, const cJSON *json);
/* Builds what was read behind x, with the builder's norm and settings of deconvolution; other channels, sizes or
 * classes than the description's go through to the layers that see them. What fails is the graph's error. Returns the
 * logits, or of one that generates its loss, what it makes or encodes: the definition of a struct blanch_model whose
 * variant is a description. */
struct blanch_tensor *bl_description_build(struct blanch_builder *b, struct blanch_tensor *x, const void *description);

/* Fills attrs (op->attrs_size bytes, zeroed first). A key that the operation does not know, a missing one that it
 * needs, or one of the wrong type is BLANCH_EINPUT, the message naming it. */
int bl_attrs_from_json(const struct bl_op *op, const cJSON *json, void *attrs);
/* What may be left out and is 0 is left out. NULL: no memory. */
cJSON *bl_attrs_to_json(const struct bl_op *op, const void *attrs);

bool bl_json_int(const cJSON *item, int *value); // false: it is no whole number
/* BLANCH_EINPUT: a key of the object is not among the known ones (which end with NULL); the message says which was
 * likely meant. */
int bl_json_keys(const cJSON *json, const char *const *known, const char *where, const char *what);

#endif
