/* Of all gradients together, for clipping their norm, and for steps in parts. Arrays of count floats, shared among
 * items as spread.h says; those before `items` take part.
 *   squares      sums[first + i] = the sum of the squares that item i has
 *   clip_factor  sums[count] = most / (the root of all sums + 1e-6), in about twice a float's digits, as a host would
 *                compute it in double precision; one group does it
 *   scale        grad *= sums[at], where that is below 1
 *   add          to += from
 *   unscale      grad /= the loss's scale; one that is not finite is WRONG
 *   adapt        what that makes of the scale and of the update; one item
 *  VEC    1; required, for vec.h
 *  ITEMS  of the group that finds the factor, a power of two; required */
#include "loss_scale.h"
#include "spread.h"
#include "vec.h"
#ifndef ITEMS
#error "ITEMS is missing"
#endif

kernel void squares(global const float *restrict grad, global float *restrict sums, long count, long chunk, long step,
                    int items, int first) {
    float part[8], sum = 0.0f;
    if (get_global_id(0) >= (size_t)items) return;
    for (int k = 0; k < 8; k++) part[k] = 0.0f;
    size_t i = SPREAD_BEGIN;
    const size_t end = SPREAD_END;
    for (; i + 7 * step < end; i += 8 * step)
        for (int k = 0; k < 8; k++) part[k] += grad[i + k * step] * grad[i + k * step];
    for (; i < end; i += step) sum += grad[i] * grad[i];
    for (int k = 0; k < 8; k++) sum += part[k];
    sums[first + get_global_id(0)] = sum;
}

/* A sum of two floats, the second of which is what the first lacks. */
float2 plus(float2 a, float2 b) {
    const float sum = a.x + b.x, of_b = sum - a.x, lacks = (a.x - (sum - of_b)) + (b.x - of_b) + (a.y + b.y);
    const float high = sum + lacks;
    return isfinite(high) ? (float2)(high, lacks - (high - sum)) : (float2)(sum, 0.0f);
}

kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void clip_factor(global float *sums, int count, float most) {
    local float2 room[ITEMS];
    const int lane = get_local_id(0);
    float2 all = (float2)(0.0f);
    for (int i = lane; i < count; i += ITEMS) all = plus(all, (float2)(sums[i], 0.0f));
    room[lane] = all;
    for (int half_way = ITEMS / 2; half_way > 0; half_way /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < half_way) room[lane] = plus(room[lane], room[lane + half_way]);
    }
    if (lane > 0) return;
    all = room[0];
    const float root = sqrt(all.x), lacks = root > 0.0f ? (fma(-root, root, all.x) + all.y) / (2.0f * root) : 0.0f;
    const float2 norm = plus((float2)(root, isfinite(root) ? lacks : 0.0f), (float2)(1e-6f, 0.0f));
    const float by = most / norm.x;
    sums[count] = isfinite(norm.x) ? by + (fma(-by, norm.x, most) - by * norm.y) / norm.x : by;
}

kernel void scale(global float *restrict grad, long count, long chunk, long step, int items,
                  global const float *restrict sums, int at) {
    const float by = sums[at];
    if (get_global_id(0) >= (size_t)items || !(by < 1.0f)) return;
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
