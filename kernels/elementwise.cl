/* Operations on each element of tensors of any layout:
 *   relu      y = max(x, 0)                dx = y > 0 ? dy : 0
 *   relu6     y = min(max(x, 0), 6)        dx = 0 < y < 6 ? dy : 0
 *   sigmoid   y = 1 / (1 + exp(-x))        dx = dy y (1 - y)
 *   add       y = a + b, activated
 *   copy      y = x, or y += x
 *   widen     y = x from vector `first` on, as floats; narrow: the other way round
 * A NaN passes through. total counts vectors. The items share them in contiguous runs: one item may take one vector
 * or all. `add` other than 0 adds to what dx or y holds.
 * Activations, their gradients and add may be in place: no restrict there.
 *   VEC   floats in a vector, 1 to 16, dividing the elements; required
 *   ACTIVATION   what add does to its result: 0 nothing (default), 1 relu, 2 relu6 */
#include "elements.h"

#define SIGMOID_GRADIENT(y, dy) ((dy) * (y) * (1.0f - (y)))

PAIR(relu, RELU, RELU_GRADIENT)
PAIR(relu6, RELU6, RELU6_GRADIENT)
PAIR(sigmoid, SIGMOID, SIGMOID_GRADIENT)

kernel void add(global const ACT *a, global const ACT *b, global ACT *y, long total) {
    const size_t end = END(total);
    for (size_t i = BEGIN(total); i < end; i++)
        STORE_ALIGNED(ACTIVATE(LOAD_ALIGNED(a + i * VEC) + LOAD_ALIGNED(b + i * VEC)), y + i * VEC);
}

kernel void copy(global const ACT *restrict x, global ACT *restrict y, long total, int add) {
    const size_t end = END(total);
    for (size_t i = BEGIN(total); i < end; i++) {
        vec v = LOAD_ALIGNED(x + i * VEC);
        if (add) v += LOAD_ALIGNED(y + i * VEC);
        STORE_ALIGNED(v, y + i * VEC);
    }
}

kernel void widen(global const ACT *restrict x, global float *restrict y, long first, long total) {
    const size_t end = END(total);
    x += (size_t)first * VEC;
    for (size_t i = BEGIN(total); i < end; i++) STORE(LOAD_ACT(x + i * VEC), y + i * VEC);
}

kernel void narrow(global ACT *restrict x, global const float *restrict y, long first, long total) {
    const size_t end = END(total);
    x += (size_t)first * VEC;
    for (size_t i = BEGIN(total); i < end; i++) STORE_ACT(LOAD(y + i * VEC), x + i * VEC);
}
