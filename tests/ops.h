/* Random values that both sides get, and the check of a return code, for tests of layers. Included after cmocka.h. */
#ifndef OPS_H
#define OPS_H

#include "base/base.h"
#include <math.h>
#include <stdlib.h>

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
