/* The device that a test program runs on. Without one its tests skip and say so; where CI is set in the environment
 * they fail, and so does a program in which no kernel ran. */
#ifndef DEVICE_H
#define DEVICE_H

#include "cl/cl.h"
#include <stdio.h>
#include <stdlib.h>

/* *device stays NULL where there is none. Returns the failures, 0 or 1. */
static inline int open_test_device(struct blanch_device **device) {
    const char *ci = getenv("CI");
    if (!blanch_device_open(device, NULL, 0)) {
        fprintf(stderr, "device: %s\n", blanch_device_info(*device)->name);
        return 0;
    }
    bool must = ci && *ci;
    fprintf(stderr, "%s, no OpenCL device: %s\n", must ? "failed" : "skipped", blanch_error_message());
    return must;
}

static inline int close_test_device(struct blanch_device *device) {
    int failed = device && !bl_launch_count(device);
    if (failed) fprintf(stderr, "failed: no kernel ran\n");
    blanch_device_close(device);
    return failed;
}

#endif
