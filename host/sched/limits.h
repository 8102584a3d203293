/* What a device can do at most, measured: what the fractions of the ledger refer to. */
#ifndef BL_LIMITS_H
#define BL_LIMITS_H

#include "cl/cl.h"

struct bl_limits {
    double operations; // float32 multiply-adds in registers, 2 operations each, a second
    double bytes;      // read or copied between large buffers, a second
};

/* The best that was ever measured on this device with this driver (a third of a second, once; then from
 * $XDG_CACHE_HOME/blanch/limits). again: measures now too, and keeps what is higher, for the first time may have met a
 * busy machine. 0 where none was measured and the device has no memory left for it. Fails where the device does. */
int bl_limits_get(struct blanch_device *dev, bool again, struct bl_limits *limits);
/* What is measured now, whatever was before; zeros where there is no memory for it. What is higher is kept as above. */
int bl_limits_now(struct blanch_device *dev, struct bl_limits *now);

enum bl_limit { BL_LIMIT_OPERATIONS, BL_LIMIT_BYTES };
/* The word that stands for a share of a limit (1: all of it) above 1, which is none: "fewer", an engine with fewer
 * multiplications than are counted (Winograd, a transform), or "cached", tensors that stayed in a cache. NULL where the
 * share is one, or unknown. */
const char *bl_limit_beyond(enum bl_limit limit, double share);

#endif
