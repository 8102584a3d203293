/* y = (clamp(rint(x / scale) + zero, least, most) - zero) scale: what a tensor of 8 bits keeps of x, on each element. A
 * NaN passes through.
 *   VEC   floats in a vector, 1 to 16, dividing the elements; required */
#include "elements.h"

kernel void forward(global const ACT *x, global ACT *y, long total, float scale, float zero, float least, float most) {
    const size_t end = END(total);
    for (size_t i = BEGIN(total); i < end; i++) {
        const vec v = LOAD_ALIGNED(x + i * VEC), q = rint(v / scale) + zero;
        STORE_ALIGNED(v != v ? v : (clamp(q, (vec)(least), (vec)(most)) - zero) * scale, y + i * VEC);
    }
}
