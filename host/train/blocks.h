/* Block and samples of each convolution: the record of a run that has chosen them, and choosing them within an overhead
 * budget. docs/budget.md states the rule. */
#ifndef BL_BLOCKS_H
#define BL_BLOCKS_H

#include "train/train.h"

/* {"layer1.0.conv1": {"block": 32, "cov_samples": "4F"}, ...} of the layers that have their own; NULL: none has.
 * Without cov_samples: all. config.json has it, and as a text the metadata of weights, under "blocks". */
cJSON *bl_blocks_json(const struct bl_graph *graph);
/* The same from JSON; where: what errors call it. *layers is malloc'd. BLANCH_EINPUT: it is no such record. */
int bl_blocks_read(const cJSON *json, const char *where, struct blanch_nd_layer **layers, int *count);
/* Of a file of weights; *count 0: it names none, or is none. A block or samples beside it, in nd, contradict it:
 * BLANCH_EUSAGE. *layers is what nd has then. */
int bl_blocks_of_weights(const char *path, struct blanch_nd_options *nd, struct blanch_nd_layer **layers);

struct bl_blocks {
    struct blanch_nd_layer *layer; // malloc'd
    int layers;
    bool exact;        // every step may be, within the budget; else refreshes have to be fewer
    cJSON *line;       // what was measured, for a log
    char summary[200]; // for people
};
struct bl_blocks_options {
    struct blanch_device *dev;
    struct bl_dataset *data; // whose first training batch is used
    const struct bl_view *view;
    const struct bl_network_options *network; // its block is to be chosen, and its samples where they are 0
    double share;                             // of the budget, 0.2 for 20 %
};
/* Measures steps of the network at each rung, beside the network with batch norm, whose memory it needs too. */
int bl_blocks_choose(struct bl_blocks *blocks, const struct bl_blocks_options *options);
/* nd has them from now on, and they outlive it. */
void bl_blocks_apply(const struct bl_blocks *blocks, struct blanch_nd_options *nd);
void bl_blocks_free(struct bl_blocks *blocks);

#endif
