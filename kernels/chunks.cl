/* to[c] = sum over k, in order, of partial[k * stride + offset + c]: what sums over chunks of pixels come to. An item
 * takes some vectors.
 *   VEC   floats in a vector, 1 to 16, dividing the channels; required */
#include "vec.h"

kernel void sum_chunks(global const float *restrict partial, long chunks, long stride, long offset,
                       global float *restrict to, int vectors) {
    const size_t share = ((size_t)vectors + get_global_size(0) - 1) / get_global_size(0);
    const size_t end = min((get_global_id(0) + 1) * share, (size_t)vectors);
    for (size_t v = get_global_id(0) * share; v < end; v++) {
        vec sum = (vec)(0.0f);
        for (long k = 0; k < chunks; k++) sum += LOAD(partial + k * stride + offset + v * VEC);
        STORE(sum, to + v * VEC);
    }
}
