/* What weights are, in the metadata of their file: "model", "norm", "classes" (their names as JSON, or their number),
 * "input" ([C, H, W]), "options" (of deconvolution, as config.json has them), "view" (how images become the input) and,
 * of a network that no name of the program stands for, "network", its description. docs/runs.md lists them. */
#ifndef BL_ABOUT_H
#define BL_ABOUT_H

#include "train/train.h"

/* From now on files of the network's weights say so. view NULL: it is not known; data NULL: nor are names of classes.
 * */
int bl_about_set(struct blanch_network *net, const struct bl_view *view, const struct bl_dataset *data);
/* Of a file of weights, as though it were a run's: settings of the network, view, names of classes; config->json NULL:
 * the file does not say. Without a view its channels are 0. BLANCH_EINPUT: what it says is malformed. */
int bl_about_read(struct bl_run_config *config, const char *path);

#endif
