/* What a graph demands of an optimiser: how it updates parameters, in one const table at the end of its file in optim/.
 * To add one: a file there, a .cl file of the same name in kernels/, a line in optim/optimisers.h (docs/overview.md).
 */
#ifndef BL_OPTIMISER_H
#define BL_OPTIMISER_H

#include "graph/op.h"

/* Parameters that lie one after another, with their gradients and states at the same places; or one that is updated as
 * a matrix. */
struct bl_update_span {
    struct blanch_device *dev;
    struct bl_mem *value, *grad, *state[BL_MAX_STATES];
    int64_t count;            // floats
    int64_t rows, columns;    // of a matrix, row by row; else 0
    struct bl_mem *workspace; // of a matrix: as many floats as the table's workspace() says, or more
    struct bl_mem *skip;      // an int: where it is not 0 when the device comes to it, value and states stay
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
    /* Of an optimiser of matrices, each updated by itself: parameters whose first dimension (rows) and whose others
     * together (columns) are 2 or more, but for the classifier. What is none is updated by `rest`, with its own states,
     * from the same settings. */
    const struct bl_optimiser *rest;                     // NULL: it updates all
    int64_t (*workspace)(int64_t rows, int64_t columns); // floats
};

/* An array of floats shared among items, as kernels/spread.h has it: at most BL_MOST_ITEMS of them on a GPU, which take
 * every step-th; on a CPU as many as there are chunks. */
enum { BL_MOST_ITEMS = 4096 };
struct bl_spread {
    int64_t count, chunk, step;
    int items;
};
struct bl_spread bl_spread(const struct blanch_device *dev, int64_t count);
#define BL_SPREAD(s) BL_I64((s).count), BL_I64((s).chunk), BL_I64((s).step), BL_I32((s).items)

struct bl_param;
/* What updates it, once the graph is finished; NULL: nothing does. */
const struct bl_optimiser *bl_param_optimiser(const struct bl_param *param);

#endif
