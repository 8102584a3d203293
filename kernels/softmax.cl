/* y = exp(x - max) / sum over the channels of each row (pixel), layout (rows, C); backward: dx = y (dy - <y, dy>). An
 * item takes some rows. `add` other than 0 adds to what dx holds.
 *   VEC   floats in a vector, 1 to 16, dividing the channels; required */
#include "vec.h"

#include "nd/total.h"

/* This item's share [BEGIN, END) of total units in dimension 0. */
#define BEGIN(total) (get_global_id(0) * (((size_t)(total) + get_global_size(0) - 1) / get_global_size(0)))
#define END(total) min(BEGIN(total) + ((size_t)(total) + get_global_size(0) - 1) / get_global_size(0), (size_t)(total))

kernel void forward(global const ACT *x, global ACT *y, long rows, int vectors) {
    for (size_t r = BEGIN(rows); r < END(rows); r++) {
        global const ACT *from = x + r * vectors * VEC;
        global ACT *to = y + r * vectors * VEC;
        float most = -INFINITY;
        vec sum = (vec)(0.0f);
        for (int i = 0; i < vectors * VEC; i++) most = fmax(most, LOAD_ACT1(from + i));
        for (int v = 0; v < vectors; v++) sum += exp(LOAD_ALIGNED(from + v * VEC) - most);
        const float by = 1.0f / TOTAL(sum);
        for (int v = 0; v < vectors; v++) STORE_ALIGNED(exp(LOAD_ALIGNED(from + v * VEC) - most) * by, to + v * VEC);
    }
}

kernel void backward(global const ACT *y, global const ACT *dy, global ACT *dx, long rows, int vectors, int add) {
    for (size_t r = BEGIN(rows); r < END(rows); r++) {
        const size_t at = r * vectors * VEC;
        vec sum = (vec)(0.0f);
        for (int v = 0; v < vectors; v++) sum += LOAD_ALIGNED(y + at + v * VEC) * LOAD_ALIGNED(dy + at + v * VEC);
        const float along = TOTAL(sum);
        for (int v = 0; v < vectors; v++) {
            vec g = LOAD_ALIGNED(y + at + v * VEC) * (LOAD_ALIGNED(dy + at + v * VEC) - along);
            if (add) g += LOAD_ALIGNED(dx + at + v * VEC);
            STORE_ALIGNED(g, dx + at + v * VEC);
        }
    }
}
