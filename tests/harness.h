/* What the test programs share: the device that they run on, the check of a return code, random values that both sides
 * get. Without a device a program's tests skip and say so; where CI is set in the environment they fail, and so does a
 * program in which no kernel ran. Included after cmocka.h. */
#ifndef HARNESS_H
#define HARNESS_H

#include "cl/cl.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* No program is kept but in PoCL's own cache: asked for a program's binary, PoCL 3.1 first compiles every kernel of it
 * in a general form, which takes longer than all that a test program runs. */
static inline void keep_no_programs(void) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char folder[1024] = "";
    if (cache && *cache)
        snprintf(folder, sizeof folder, "%s/pocl/kcache", cache);
    else if (home)
        snprintf(folder, sizeof folder, "%s/.cache/pocl/kcache", home);
    if (folder[0]) setenv("POCL_CACHE_DIR", folder, 0);
    setenv("XDG_CACHE_HOME", "/dev/null", 1);
}

/* *device stays NULL where there is none. Returns the failures, 0 or 1. */
static inline int open_test_device(struct blanch_device **device) {
    const char *ci = getenv("CI");
    keep_no_programs();
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

static inline void check(int code) {
    if (code) fail_msg("%s", blanch_error_message());
}

static inline double normal(uint64_t seed, uint64_t position) {
    uint32_t w[4];
    bl_philox(seed, BL_RANDOM_DATA, position, 0, w);
    return sqrt(-2 * log(1 - (double)bl_uniform(w[0]))) * cos(2 * M_PI * bl_uniform(w[1]));
}

/* Floats, held as doubles. */
static inline double *random_values(size_t count, uint64_t seed, double scale, double shift) {
    double *v = malloc(sizeof *v * count);
    assert_non_null(v);
    for (size_t i = 0; i < count; i++) v[i] = (float)(normal(seed, i) * scale + shift);
    return v;
}

static inline float *narrow(const double *v, size_t count) {
    float *f = malloc(sizeof *f * count);
    assert_non_null(f);
    for (size_t i = 0; i < count; i++) f[i] = (float)v[i];
    return f;
}

#endif
