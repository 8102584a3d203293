/* Measuring on first use, for the subcommands that train. */
#ifndef BL_CLI_TUNE_H
#define BL_CLI_TUNE_H

#include "cli/cli.h"
#include "train/tune.h"

struct bl_first_use {
    struct bl_tune_bounds bounds;
    struct bl_progress *progress;
    bool wanted, quiet, said;
};
/* Fills in the bounds; wanted is false with no_tune, or with BLANCH_TUNE=0 in the environment. use stays where it is
 * for as long as a device has the bounds. */
void bl_first_use_init(struct bl_first_use *use, bool no_tune);
/* Gives the device a tuner, where that is wanted. */
int bl_first_use_open(struct bl_first_use *use, struct blanch_device *dev);

#endif
