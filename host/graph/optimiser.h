/* What a graph demands of an optimiser: how it updates parameters, in one const table at the end of its file in optim/.
 * To add one: a file there, a .cl file of the same name in kernels/, a line in optim/optimisers.h (docs/overview.md).
 */
#ifndef BL_OPTIMISER_H
#define BL_OPTIMISER_H

#include "graph/op.h"

/* Parameters that lie one after another, with their gradients and states at the same places. */
struct bl_update_span {
    struct blanch_device *dev;
    struct bl_mem *value, *grad, *state[BL_MAX_STATES];
    int64_t count; // floats
};

struct bl_optimiser {
    const char *name;
    int states;                                  // tensors of a parameter's shape that it keeps, at first zero
    const char *state_name[BL_MAX_STATES];       // in a checkpoint after the parameter's name: "momentum_buffer"
    struct blanch_update defaults;               // what a run uses where nothing is given
    int (*check)(const struct blanch_update *u); // BLANCH_EUSAGE: a setting is out of range
    /* Enqueues the update number `step`, from 1. */
    int (*update)(const struct bl_update_span *span, const struct blanch_update *u, int64_t step);
    /* Of an optimiser that is linear in gradient, value and its one state: what an update without a gradient makes of a
     * value and its state. NULL: it is not linear. */
    void (*decay)(const struct blanch_update *u, double *value, double *state);
};

#endif
