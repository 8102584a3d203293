/* A network's definition. To add one: a file here (or a row in its family's), a line in models/list.c, and its table in
 * tests/reference/architectures. */
#ifndef BL_MODEL_H
#define BL_MODEL_H

#include "graph/graph.h"

/* What is wanted of a network: the public struct blanch_network_options, without its pointers. */
struct bl_network_options {
    const char *model;
    enum blanch_norm norm;
    struct blanch_nd_options nd;
    int classes;
    int channels, height, width;
    int batch;
    bool inference;
    uint64_t seed;
    int recompute;
    enum blanch_precision precision;
    const char *optimiser;
};

struct blanch_model {
    const char *name;
    int classes;        // default
    int channels, size; // default input
    int block_fc;       // ND's block in linear layers
    struct blanch_tensor *(*define)(struct blanch_builder *b, struct blanch_tensor *x,
                                    const void *variant); // returns the logits
    const void *variant;                                  // the family's own table
    const char *summary;                                  // one line
};
const struct blanch_model *bl_model_find(const char *name);
extern const struct blanch_model *const bl_model_list[]; // NULL-terminated

/* Builds the definition into graph; adds the loss unless inference. Zero classes, channels, size: the model's own.
 * bl_graph_finish follows, and returns what failed here. */
int bl_model_build(struct bl_graph *graph, const struct blanch_model *model, const struct bl_network_options *options);

#endif
