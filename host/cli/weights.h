/* A trained network for eval, predict and export: from a run's directory, or from the network's name or file and a file
 * of weights; an ONNX file has weights of its own. */
#ifndef BL_WEIGHTS_H
#define BL_WEIGHTS_H

#include "cli/common.h"
#include "train/train.h"

struct bl_weights_options {
    struct bl_common common;
    const char *run, *weights, *data, *normalise;
    bool best;
    bool needs_data; // false: only the class names and the normalisation are wanted of it
    int batch;       // 0: as given, else 128
};
struct bl_trained {
    struct blanch_device *dev;
    struct blanch_model *model;  // a reference
    struct blanch_network *net;  // made for inference
    struct bl_dataset *data;     // NULL where none is needed or named
    struct bl_run_config config; // of a run; json NULL: none
    struct bl_view view;         // channels 0: what the images were normalised by is not known
    const char *data_spec;
    char *weights; // the file; of the model's own values, that one
    bool own;      // the model's
    char *changes; // of a run's own data since it began: bl_run_data_changes; NULL or "": none
};
/* All but the device and the network: what network is to be made, and data. Afterwards, bl_trained_close. */
int bl_trained_find(struct bl_trained *trained, const struct bl_weights_options *options,
                    struct bl_network_options *network);
/* BLANCH_EINPUT: the model's own values are not those of this graph, some of its parameters being without. */
int bl_trained_check_own(const struct bl_trained *trained, struct bl_graph *graph);
/* After a failure nothing is left open. */
int bl_trained_open(struct bl_trained *trained, const struct bl_weights_options *options);
void bl_trained_close(struct bl_trained *trained);
const char *bl_trained_class(const struct bl_trained *trained, int label); // "" where it has no name

#endif
