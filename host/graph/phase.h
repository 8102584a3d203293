/* The phases that a step's time is told by: what a command is for, as bl_tag says. Here are those of every network;
 * between BL_PHASE_OWN and BL_NORM lie those that operations add, each folder in a header of its own (ops/nd/phase.h).
 * Reports keep this order. */
#ifndef BL_PHASE_H
#define BL_PHASE_H

#include "cl/cl.h"

enum {
    BL_FORWARD,
    BL_BACKWARD_DATA,
    BL_BACKWARD_WEIGHTS,
    BL_PHASE_OWN,
    BL_NORM = BL_PHASE_OWN + 8,
    BL_ACTIVATION,
    BL_POOL,
    BL_LOSS,
    BL_UPDATE,
    BL_COMMUNICATE, // among ranks: what the device waits for it, and what is staged
    BL_RECOMPUTE,
    BL_LOAD,
    BL_WAIT,
    BL_OTHER,
    BL_PHASES
};
/* "forward", "backward_data", ...; NULL where no operation has taken a place. Defined in ops/list.c. */
extern const char *const bl_phase_names[BL_PHASES];

/* The layer (a node's index; -1: none) and the phase that following commands count to. In the phases norm, activation,
 * pool, loss, update and load they compute little for what they move and count 0 operations unsaid (docs/reading.md);
 * elsewhere each says so with bl_work. Cheap. */
void bl_tag(struct blanch_device *dev, int layer, int phase);

#endif
