/* Muon's passes over a matrix of count floats; an item takes `chunk` of them. work holds X from its begin.
 * gather: b += (1 - momentum) (g - b); X = nesterov ? g + momentum (b - g) : b; the sum of the chunk's squares goes to
 *   work[sums + chunk].
 * normalise: X /= max(|X|, 1e-7), |X|^2 being the sum of the chunks' sums.
 * apply: w = keep w - rate X, X from `from` on.
 *   VEC   1; required, for vec.h */
#include "vec.h"

kernel void gather(global const float *restrict grad, global float *restrict buffer, global float *restrict work,
                   long sums, long count, int chunk, float momentum, int nesterov) {
    const size_t begin = get_global_id(0) * chunk, end = min(begin + chunk, (size_t)count);
    if (begin >= (size_t)count) return;
    float sum = 0.0f;
    for (size_t i = begin; i < end; i++) {
        const float g = grad[i], b = buffer[i] + (1.0f - momentum) * (g - buffer[i]);
        const float x = nesterov ? g + momentum * (b - g) : b;
        buffer[i] = b;
        work[i] = x;
        sum += x * x;
    }
    work[sums + get_global_id(0)] = sum;
}

kernel void normalise(global float *restrict work, long sums, int chunks, long count, int chunk) {
    const size_t begin = get_global_id(0) * chunk, end = min(begin + chunk, (size_t)count);
    float sum = 0.0f;
    for (int i = 0; i < chunks; i++) sum += work[sums + i];
    const float by = 1.0f / fmax(sqrt(sum), 1e-7f);
    for (size_t i = begin; i < end; i++) work[i] *= by;
}

kernel void apply(global float *restrict w, global const float *restrict work, long from, long count, int chunk,
                  float keep, float rate) {
    const size_t begin = get_global_id(0) * chunk, end = min(begin + chunk, (size_t)count);
    for (size_t i = begin; i < end; i++) w[i] = keep * w[i] - rate * work[from + i];
}
