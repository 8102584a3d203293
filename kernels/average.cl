/* average += part (value - average), unless *skip. Arrays of count floats, shared among items as spread.h says.
 *   VEC   1; required, for vec.h */
#include "spread.h"
#include "vec.h"

kernel void average(global float *restrict average, global const float *restrict value, long count, long chunk,
                    long step, int items, float part, global const int *skip) {
    if (get_global_id(0) >= (size_t)items || *skip) return;
    for (size_t i = SPREAD_BEGIN; i < SPREAD_END; i += step) average[i] += part * (value[i] - average[i]);
}
