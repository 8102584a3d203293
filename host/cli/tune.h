/* Measuring on first use, for the subcommands that train. */
#ifndef BL_CLI_TUNE_H
#define BL_CLI_TUNE_H

#include "cli/cli.h"
#include "train/tune.h"

enum { BL_FIRST_USE_SECONDS = 10 };
struct bl_first_use {
    struct bl_tuner *tuner; // NULL: nothing is measured nor looked up
    struct bl_tune_bounds bounds;
    struct bl_tune_report report;
    struct bl_progress *progress;
    bool quiet, said;
};
/* Fills in the bounds; no_tune, or BLANCH_TUNE=0 in the environment: *wanted is false. */
void bl_first_use_bounds(struct bl_first_use *use, bool no_tune, bool *wanted);
/* The same with a tuner of its own. */
int bl_first_use_open(struct bl_first_use *use, bool no_tune);
int bl_first_use_network(struct bl_first_use *use, struct blanch_network **net, struct blanch_device *dev,
                         const struct blanch_network_options *options);
void bl_first_use_close(struct bl_first_use *use);

#endif
