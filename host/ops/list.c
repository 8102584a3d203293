/* Operations by name. */
#include "graph/op.h"
#include "ops/nd/phase.h"
#include <string.h>

#define X(name) extern const struct bl_op bl_op_##name;
#include "ops/operations.h"
#undef X

const struct bl_op *const bl_op_list[] = {
#define X(name) &bl_op_##name,
#include "ops/operations.h"
#undef X
    NULL};

const char *const bl_role_names[BL_ROLES] = {"layer",   "normalisation", "activation", "elementwise",
                                             "pooling", "shape",         "loss"};

const struct bl_op *bl_op_find(const char *name) {
    for (int i = 0; bl_op_list[i]; i++)
        if (!strcmp(bl_op_list[i]->name, name)) return bl_op_list[i];
    return NULL;
}

/* An operation's own phases: one line for each folder that has some. */
const char *const bl_phase_names[BL_PHASES] = {
    [BL_FORWARD] = "forward",
    [BL_BACKWARD_DATA] = "backward_data",
    [BL_BACKWARD_WEIGHTS] = "backward_weights",
    [BL_NORM] = "norm",
    [BL_ACTIVATION] = "activation",
    [BL_POOL] = "pool",
    [BL_LOSS] = "loss",
    [BL_UPDATE] = "update",
    [BL_COMMUNICATE] = "communicate",
    [BL_RECOMPUTE] = "recompute",
    [BL_LOAD] = "load",
    [BL_WAIT] = "wait",
    [BL_OTHER] = "other",
    BL_ND_PHASE_NAMES,
};
_Static_assert((int)BL_ND_PHASES_END <= (int)BL_NORM, "graph/phase.h leaves too few places for operations' own phases");
