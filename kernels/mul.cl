/* Products that broadcast over the pixels of an image.
 *   scale    y[r][c] = x[r][c] s[r / repeat][c] over rows r (pixels of all images); repeat is the pixels of an image,
 *            or 1 where both operands have one shape. An item takes some vectors of some rows.
 *   reduce   ds[n][c] = sum over an image's pixels of x dy, in order of pixels, RUN at a time. An item takes some
 *            vectors of some images.
 * Layout NHWC. `add` other than 0 adds to what the result holds.
 *   VEC   channels in a vector, 1 to 16, dividing the channels; required */
#include "vec.h"

/* Pixels summed before the sum is stored: all of them where the store would round it. */
#if ACT_TYPE
#define RUN (size_t) pixels
#else
#define RUN 8
#endif

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))

kernel void scale(global const ACT *x, global const ACT *s, global ACT *y, long rows, int repeat, int vectors,
                  int add) {
    const size_t end = END(1, rows), last = END(0, vectors), channels = (size_t)vectors * VEC;
    for (size_t r = BEGIN(1, rows); r < end; r++) {
        global const ACT *scales = s + r / repeat * channels;
        for (size_t v = BEGIN(0, vectors); v < last; v++) {
            const size_t at = r * channels + v * VEC;
            vec value = LOAD_ALIGNED(x + at) * LOAD_ALIGNED(scales + v * VEC);
            if (add) value += LOAD_ALIGNED(y + at);
            STORE_ALIGNED(value, y + at);
        }
    }
}

kernel void reduce(global const ACT *restrict x, global const ACT *restrict dy, global ACT *restrict ds, int images,
                   int pixels, int vectors, int add) {
    const size_t end = END(1, images), last = END(0, vectors), channels = (size_t)vectors * VEC;
    for (size_t n = BEGIN(1, images); n < end; n++)
        for (size_t p = 0; p < (size_t)pixels; p += RUN) {
            const size_t stop = min(p + RUN, (size_t)pixels);
            for (size_t v = BEGIN(0, vectors); v < last; v++) {
                global ACT *to = ds + n * channels + v * VEC;
                vec sum = (vec)(0.0f);
                for (size_t q = p; q < stop; q++) {
                    const size_t at = (n * pixels + q) * channels + v * VEC;
                    sum += LOAD_ALIGNED(x + at) * LOAD_ALIGNED(dy + at);
                }
                if (p || add) sum += LOAD_ALIGNED(to);
                STORE_ALIGNED(sum, to);
            }
        }
}
