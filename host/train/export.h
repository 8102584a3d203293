/* A network as it is in evaluation, everything folded, to files: of the command line and of the public call. */
#ifndef BL_EXPORT_H
#define BL_EXPORT_H

#include "graph/onnx.h"
#include "train/train.h"

/* The graph whose nodes are written, without a device: nothing is computed but the folding. BLANCH_EUSAGE:
 * network->encodes, and there is no encoder. */
int bl_export_graph(struct bl_graph **graph, const struct blanch_model *model, struct bl_network_options *network);

struct bl_export {
    const struct blanch_model *model;
    enum blanch_norm norm;
    struct bl_onnx_options files; // but the metadata
    bool encodes;                 // it is the encoder
    cJSON *class_names;           // a list, deleted; NULL: not known
    const struct bl_view *view;   // channels 0: not known
};
int bl_export_write(const struct bl_graph *graph, const struct bl_export *e);

#endif
