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
 * busy machine. Fails where the device does. */
int bl_limits_get(struct blanch_device *dev, bool again, struct bl_limits *limits);

#endif
