/* Ranges of what enters a network's layers, for a network of 8 bits. */
#ifndef BL_CALIBRATE_H
#define BL_CALIBRATE_H

#include "train/train.h"

struct bl_calibrated {
    const struct bl_node *node; // of the network that was calibrated
    double least, most;         // sums over the batches of each batch's extremes
};
struct bl_calibration {
    struct bl_calibrated *layer; // free with bl_calibration_free
    int layers, batches, images;
};
/* Of convolutions and linear layers of a network made for inference, over the first `images` images of the split. */
int bl_calibrate(struct bl_calibration *calibration, struct blanch_network *net, struct bl_dataset *data,
                 enum bl_split split, const struct bl_view *view, int images);
void bl_calibration_free(struct bl_calibration *calibration);
/* As 8 bits without a sign: from the mean least value of a batch, or 0, to the mean most. false: the layer of that name
 * was not seen. context: a struct bl_calibration. */
bool bl_calibration_input(void *context, const struct bl_node *node, struct bl_fake_quantize_attrs *attrs);

#endif
