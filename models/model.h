/* A network's definition. To add one: a file here (or a row in its family's), a line in models/list.c, and its table in
 * tests/reference/architectures. */
#ifndef BL_MODEL_H
#define BL_MODEL_H

#include "graph/graph.h"
#include <cjson/cJSON.h>

/* What is wanted of a network: the public struct blanch_network_options, without its pointers. */
struct bl_network_options {
    const char *model;                     // a name or a file, where there is no definition yet
    const struct blanch_model *definition; // the model, opened (train/open.h); NULL: by its name
    enum blanch_norm norm;
    struct blanch_nd_options nd;
    int classes;
    int channels, height, width;
    int batch;
    bool inference;
    bool encodes; // of a network that generates, made for inference: its encoder in place of what makes images
    uint64_t seed;
    int recompute;
    enum blanch_precision precision;
    const char *optimiser;
    struct bl_loss_attrs loss;
    int accumulate;                       // steps of up to so many batches; 0: of one
    float ema;                            // decay of the moving averages that are kept; 0: none are. Likewise
    const char *no_decay, *freeze_layers; // as bl_graph_select; not of one made for inference
};

/* What a network is trained for. */
enum bl_task { BL_CLASSIFY, BL_GENERATE }; // whole images or pixels, by its logits; images

struct blanch_model {
    const char *name;
    int classes;        // default
    int channels, size; // default input, square
    int block_fc;       // ND's block in linear layers
    struct blanch_tensor *(*define)(struct blanch_builder *b, struct blanch_tensor *x,
                                    const void *variant); // returns the logits
    const void *variant;                                  // the family's own table
    const char *summary;                                  // one line
    /* The variant whose patches have another size, malloc'd, for NAME/SIZE; NULL: it has no patches. */
    void *(*patched)(int patch);

    /* Of a network that generates, whose definition returns the loss in training, else what it makes. Pixels are from 0
     * to 1, which it sees less `mean`, by `deviation`. */
    enum bl_task task;
    float mean, deviation;
    int latent;                               // values of the noise that an image is made of; 0: an image of them
    int latent_size[2];                       // height and width of what has them; 0: 1
    bool encoder;                             // it has one
    const struct bl_diffuse_attrs *diffusion; // which it is made of step by step; NULL: at once

    /* Of a definition made at run time (train/open.h); zero in the tables here. */
    _Atomic int references;
    int width;                   // of the default input, whose height is size
    bool nd;                     // it has layers of network deconvolution, and takes no other norm
    const cJSON *json;           // the description that define reads
    struct bl_st_tensor *values; // initial values of parameters and buffers, by name
    int value_count;
    void (*release)(struct blanch_model *model); // frees what variant points to; NULL: nothing
};
struct bl_st_tensor;

const struct blanch_model *bl_model_find(const char *name); // of the tables; NULL: none is called so
extern const struct blanch_model *const bl_model_list[];    // NULL-terminated

int bl_model_width(const struct blanch_model *model); // of the default input
/* What norm is for a model: BLANCH_OWN is batch norm, or, of a file with layers of network deconvolution, that. */
enum blanch_norm bl_model_norm(const struct blanch_model *model, enum blanch_norm norm);
/* Builds the definition into graph; adds the loss unless inference, or the definition has. Zero classes, channels,
 * size: the model's own. bl_graph_finish follows, and returns what failed here. */
int bl_model_build(struct bl_graph *graph, const struct blanch_model *model, const struct bl_network_options *options);

#endif
