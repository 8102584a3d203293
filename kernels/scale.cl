/* A factor per channel, of all images alike.
 *   scale       y = x w; an item takes some vectors (dimension 0) of some rows (1)
 *   gradients   partial[k] = sum of x dy over the rows of chunk k, which chunks.cl adds; some vectors of one chunk
 * Layout NHWC: a row is a pixel. y may be in place of x. `add` other than 0 adds to what y holds.
 *   VEC   channels in a vector, 1 to 16, dividing the channels; required */
#include "vec.h"

#include "fma.h"

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))

kernel void scale(global const ACT *x, global const float *restrict w, global ACT *y, long rows, int vectors, int add) {
    const size_t end = END(1, rows), last = END(0, vectors), channels = (size_t)vectors * VEC;
    for (size_t r = BEGIN(1, rows); r < end; r++)
        for (size_t v = BEGIN(0, vectors); v < last; v++) {
            const size_t at = r * channels + v * VEC;
            vec value = LOAD_ALIGNED(x + at) * LOAD(w + v * VEC);
            if (add) value += LOAD_ALIGNED(y + at);
            STORE_ALIGNED(value, y + at);
        }
}

kernel void gradients(global const ACT *restrict x, global const ACT *restrict dy, global float *restrict partial,
                      long rows, int vectors, long chunk) {
    const size_t channels = (size_t)vectors * VEC, first = get_global_id(1) * chunk, v0 = BEGIN(0, vectors),
                 v1 = END(0, vectors);
    if (first >= (size_t)rows) return;
    const size_t last = min(first + chunk, (size_t)rows);
    global float *sums = partial + get_global_id(1) * channels;
    for (size_t r = first; r < last; r++)
        for (size_t v = v0; v < v1; v++) {
            const size_t at = r * channels + v * VEC;
            const vec sum = r == first ? (vec)(0.0f) : LOAD(sums + v * VEC);
            STORE(FMA(LOAD_ALIGNED(x + at), LOAD_ALIGNED(dy + at), sum), sums + v * VEC);
        }
}
