/* Of all gradients together, for clipping their norm, and for steps in parts. Arrays of count floats, shared among
 * items as spread.h says; those before `items` take part. squares: sums[i] = the sum of the squares that item i has.
 * scale: grad *= by. add: to += from. unscale: grad /= the loss's scale; one that is not finite is WRONG. adapt: what
 * that makes of the scale and of the update. VEC   1; required, for vec.h */
#include "loss_scale.h"
#include "spread.h"
#include "vec.h"

kernel void squares(global const float *restrict grad, global float *restrict sums, long count, long chunk, long step,
                    int items) {
    float part[8], sum = 0.0f;
    if (get_global_id(0) >= (size_t)items) return;
    for (int k = 0; k < 8; k++) part[k] = 0.0f;
    size_t i = SPREAD_BEGIN;
    const size_t end = SPREAD_END;
    for (; i + 7 * step < end; i += 8 * step)
        for (int k = 0; k < 8; k++) part[k] += grad[i + k * step] * grad[i + k * step];
    for (; i < end; i += step) sum += grad[i] * grad[i];
    for (int k = 0; k < 8; k++) sum += part[k];
    sums[get_global_id(0)] = sum;
}

kernel void scale(global float *restrict grad, long count, long chunk, long step, int items, float by) {
    if (get_global_id(0) >= (size_t)items) return;
    for (size_t i = SPREAD_BEGIN; i < SPREAD_END; i += step) grad[i] *= by;
}

kernel void add(global const float *restrict from, global float *restrict to, long count, long chunk, long step,
                int items) {
    if (get_global_id(0) >= (size_t)items) return;
    for (size_t i = SPREAD_BEGIN; i < SPREAD_END; i += step) to[i] += from[i];
}

kernel void unscale(global float *restrict grad, long count, long chunk, long step, int items,
                    volatile global int *state) {
    const float by = 1.0f / as_float(state[SCALE]);
    bool finite = true;
    if (get_global_id(0) >= (size_t)items) return;
    for (size_t i = SPREAD_BEGIN; i < SPREAD_END; i += step) {
        const float g = grad[i];
        finite &= isfinite(g) != 0;
        grad[i] = g * by;
    }
    if (!finite) atomic_xchg(state + WRONG, 1);
}

/* One item. After `interval` good updates the scale is doubled. */
kernel void adapt(global int *state, int interval) {
    if (get_global_id(0)) return;
    const bool wrong = state[WRONG] != 0;
    state[WRONG] = 0;
    if (state[SKIP] & LOSS) return;
    const float scale = as_float(state[SCALE]);
    const int good = wrong ? 0 : state[GOOD] + 1;
    const bool grows = good == interval && isfinite(2.0f * scale);
    state[SKIP] = wrong ? OVERFLOW : 0;
    state[SCALE] = as_int(wrong ? 0.5f * scale : grows ? 2.0f * scale : scale);
    state[GOOD] = good == interval ? 0 : good;
    state[SKIPPED] += wrong;
}
