/* Sums that broadcast over the pixels of an image, layout NHWC.
 *   shift    y[r][c] = x[r][c] + s[r / pixels][c] over rows r (pixels of all images); an item takes some vectors
 *            (dimension 0) of some rows (1)
 *   total    ds[n][c] = the sum of dy over an image's pixels, in their order; of some images (1)
 * `add` other than 0 adds to what ds holds.
 *   VEC   channels in a vector, 1 to 16, dividing the channels; required */
#include "vec.h"

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))
#define EACH(d, i, total) for (size_t i = BEGIN(d, total), end_##i = END(d, total); i < end_##i; i++)

kernel void shift(global const ACT *x, global const ACT *s, global ACT *y, long rows, int pixels, int vectors) {
    EACH(1, r, rows) EACH(0, v, vectors) {
        const size_t at = (r * vectors + v) * VEC;
        STORE_ALIGNED(LOAD_ALIGNED(x + at) + LOAD_ALIGNED(s + (r / pixels * vectors + v) * VEC), y + at);
    }
}

kernel void total(global const ACT *dy, global ACT *ds, int images, int pixels, int vectors, int add) {
    EACH(1, n, images) EACH(0, v, vectors) {
        vec sum = (vec)(0.0f);
        for (size_t p = 0; p < (size_t)pixels; p++) sum += LOAD_ALIGNED(dy + ((n * pixels + p) * vectors + v) * VEC);
        global ACT *to = ds + (n * vectors + v) * VEC;
        STORE_ALIGNED(add ? sum + LOAD_ALIGNED(to) : sum, to);
    }
}
