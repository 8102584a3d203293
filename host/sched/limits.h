/* What a device can do at most, measured: what the fractions of the ledger refer to. */
#ifndef BL_LIMITS_H
#define BL_LIMITS_H

#include "cl/cl.h"

struct bl_limits {
    double operations; // float32 multiply-adds in registers, 2 operations each, a second
    double bytes;      // read or copied between large buffers, a second
    char lacking[64];  // where one of them is 0 though it was to be measured: why
};

/* The best that was ever measured on this device with this driver (half a second, once; then from
 * $XDG_CACHE_HOME/blanch/limits). again: measures now too, and keeps what is higher, for the first time may have met a
 * busy machine. 0 where none could be measured, and why. Fails where the device does. */
int bl_limits_get(struct blanch_device *dev, bool again, struct bl_limits *limits);
/* At the end of a training: again where the device was open for ten seconds, of which half a second is little. */
int bl_limits_at_end(struct blanch_device *dev, struct bl_limits *limits);
/* What is measured now, whatever was before; zeros and why where it cannot be. What is higher is kept as above. */
int bl_limits_now(struct blanch_device *dev, struct bl_limits *now);

/* Work that can be had in units. run: does that many of them, in that many seconds, or fails. */
struct bl_growing {
    int (*run)(void *context, int units, double *seconds);
    void *context;
    int most;
};
/* Units a second. Their number is doubled until the shortest of some rounds takes long enough to be timed, and nearly
 * twice as long as half of them: where it does not, what was timed is something else, such as a launch on a busy
 * machine, or a compiler. rate 0 where that is never so up to `most`. */
int bl_growing_rate(const struct bl_growing *work, double *rate);

enum bl_limit { BL_LIMIT_OPERATIONS, BL_LIMIT_BYTES };
/* The word that stands for a share of a limit (1: all of it) above 1, which is none: "fewer", an engine with fewer
 * multiplications than are counted (Winograd, a transform), or "cached", tensors that stayed in a cache. NULL where the
 * share is one, or unknown. */
const char *bl_limit_beyond(enum bl_limit limit, double share);

#endif
