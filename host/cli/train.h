/* A training run as the options of `blanch train` ask for it. */
#ifndef BL_CLI_TRAIN_H
#define BL_CLI_TRAIN_H

#include "cli/common.h"
#include "train/train.h"

struct bl_train_call {
    struct bl_common common;
    struct bl_train_options options; // texts are the arguments'
    const char *devices;             // NULL: not several that this process is to start
    int timeout;                     // seconds until a rank counts as hung; 0: 600
    bool quiet;
};
/* argv[0] is no option. Where help was asked for, it was printed, and nothing else is there. BLANCH_EUSAGE. */
int bl_train_call_read(struct bl_train_call *call, int argc, char **argv, bool *help);

#endif
