/* Muon's passes over a matrix of count floats, shared among `items` items as spread.h says. work holds X from its
 * begin. gather: b += (1 - momentum) (g - b); X = nesterov ? g + momentum (b - g) : b; the sum of the item's squares
 * goes to work[sums + item]. normalise: X /= max(|X|, 1e-7), |X|^2 being the sum of the items' sums. apply: w = keep w
 * - rate X, X from `from` on. Where *skip, b and w stay. VEC   1; required, for vec.h */
#include "spread.h"
#include "vec.h"

kernel void gather(global const float *restrict grad, global float *restrict buffer, global float *restrict work,
                   long sums, long count, long chunk, long step, int items, float momentum, int nesterov,
                   global const int *skip) {
    float sum = 0.0f;
    if (get_global_id(0) >= (size_t)items || *skip) return;
    for (size_t i = SPREAD_BEGIN; i < SPREAD_END; i += step) {
        const float g = grad[i], b = buffer[i] + (1.0f - momentum) * (g - buffer[i]);
        const float x = nesterov ? g + momentum * (b - g) : b;
        buffer[i] = b;
        work[i] = x;
        sum += x * x;
    }
    work[sums + get_global_id(0)] = sum;
}

kernel void normalise(global float *restrict work, long sums, long count, long chunk, long step, int items) {
    float sum = 0.0f;
    if (get_global_id(0) >= (size_t)items) return;
    for (int i = 0; i < items; i++) sum += work[sums + i];
    const float by = 1.0f / fmax(sqrt(sum), 1e-7f);
    for (size_t i = SPREAD_BEGIN; i < SPREAD_END; i += step) work[i] *= by;
}

kernel void apply(global float *restrict w, global const float *restrict work, long from, long count, long chunk,
                  long step, int items, float keep, float rate, global const int *skip) {
    if (get_global_id(0) >= (size_t)items || *skip) return;
    for (size_t i = SPREAD_BEGIN; i < SPREAD_END; i += step) w[i] = keep * w[i] - rate * work[from + i];
}
