/* What weights are, in the metadata of their file: "model", "norm", "classes" (their names as JSON, or their number),
 * "input" ([C, H, W]), "options" (of deconvolution, as config.json has them), "view" (how images become the input) and,
 * of a network that no name of the program stands for, "network", its description. docs/runs.md lists them. */
#ifndef BL_ABOUT_H
#define BL_ABOUT_H

#include "train/train.h"

/* Of the network's description, so that two of one name can be told apart; the same on every device. */
int bl_network_hash(const struct blanch_network *net, char text[17]);
/* From now on files of the network's weights say so, of its view and names of classes as far as they are known. */
int bl_about_set(struct blanch_network *net);
/* The network's view, and names of classes: those of data, which may be NULL. */
int bl_about_images(struct blanch_network *net, const struct bl_view *view, const struct bl_dataset *data);
/* Both as a file of weights says, as far as it does. BLANCH_EINPUT: what it says is malformed. */
struct bl_about_said {
    struct bl_view view; // channels 0: it does not say
    cJSON *class_names;  // the caller's; NULL: likewise
};
int bl_about_said_read(struct bl_about_said *said, const char *path);
void bl_about_take(struct blanch_network *net, struct bl_about_said *said); // where they fit; said is empty afterwards
/* Of a file of weights, as though it were a run's: settings of the network, view, names of classes; config->json NULL:
 * the file does not say. Without a view its channels are 0. BLANCH_EINPUT: what it says is malformed. */
int bl_about_read(struct bl_run_config *config, const char *path);

#endif
