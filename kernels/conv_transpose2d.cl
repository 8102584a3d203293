/* The bias of a transposed convolution, over rows (pixels) of C = vectors*VEC channels; layout NHWC.
 *   add_bias  y += bias; an item takes some vectors (dimension 0) of some rows (1)
 *   sums      partial[k] = the sum of dy over the rows of chunk k: what chunks.cl adds to the bias's gradient; an item
 *             takes some vectors (dimension 0) of one chunk (1)
 *   VEC   channels in a vector, 1 to 16, dividing the channels; required */
#include "vec.h"

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))

kernel void add_bias(global ACT *restrict y, global const float *restrict bias, long rows, int vectors) {
    const size_t end = END(1, rows), last = END(0, vectors);
    for (size_t r = BEGIN(1, rows); r < end; r++)
        for (size_t v = BEGIN(0, vectors); v < last; v++) {
            global ACT *to = y + (r * vectors + v) * VEC;
            STORE_ALIGNED(LOAD_ALIGNED(to) + LOAD(bias + v * VEC), to);
        }
}

kernel void sums(global const ACT *restrict dy, global float *restrict partial, long rows, int vectors, long chunk) {
    const size_t first = get_global_id(1) * chunk, end = END(0, vectors);
    if (first >= (size_t)rows) return;
    const size_t last = min(first + (size_t)chunk, (size_t)rows);
    for (size_t v = BEGIN(0, vectors); v < end; v++) {
        vec sum = (vec)(0.0f);
        for (size_t r = first; r < last; r++) sum += LOAD_ALIGNED(dy + (r * vectors + v) * VEC);
        STORE(sum, partial + (get_global_id(1) * vectors + v) * VEC);
    }
}
