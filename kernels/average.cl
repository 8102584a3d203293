/* average += part (value - average). Arrays of count floats; an item takes `chunk` of them.
 *   VEC   1; required, for vec.h */
#include "vec.h"

kernel void average(global float *restrict average, global const float *restrict value, long count, int chunk,
                    float part) {
    const size_t begin = get_global_id(0) * chunk, end = min(begin + chunk, (size_t)count);
    for (size_t i = begin; i < end; i++) average[i] += part * (value[i] - average[i]);
}
