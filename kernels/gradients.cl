/* Of all gradients together, for clipping their norm, and for steps in parts. Arrays of count floats; an item takes
 * `chunk` of them. squares: sums[i] = the sum of the squares of chunk i. scale: grad *= by. add: to += from. VEC   1;
 * required, for vec.h */
#include "vec.h"

kernel void squares(global const float *restrict grad, global float *restrict sums, long count, int chunk) {
    const size_t begin = get_global_id(0) * chunk;
    if (begin >= (size_t)count) return;
    const size_t end = min(begin + chunk, (size_t)count);
    float part[16];
    for (int k = 0; k < 16; k++) part[k] = 0.0f;
    size_t i = begin;
    for (; i + 16 <= end; i += 16)
        for (int k = 0; k < 16; k++) part[k] += grad[i + k] * grad[i + k];
    float sum = 0.0f;
    for (; i < end; i++) sum += grad[i] * grad[i];
    for (int k = 0; k < 16; k++) sum += part[k];
    sums[get_global_id(0)] = sum;
}

kernel void scale(global float *restrict grad, long count, int chunk, float by) {
    const size_t begin = get_global_id(0) * chunk, end = min(begin + chunk, (size_t)count);
    for (size_t i = begin; i < end; i++) grad[i] *= by;
}

kernel void add(global const float *restrict from, global float *restrict to, long count, int chunk) {
    const size_t begin = get_global_id(0) * chunk, end = min(begin + chunk, (size_t)count);
    for (size_t i = begin; i < end; i++) to[i] += from[i];
}
