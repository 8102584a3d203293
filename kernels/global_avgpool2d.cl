/* Mean over the pixels of an image, layout NHWC.
 *   forward    y[n][c] = sum over p of x[n][p][c] / pixels, in order of pixels, RUN at a time; an item takes some
 *              vectors of some images
 *   backward   dx[r][c] = dy[r / pixels][c] / pixels over rows r = n*pixels + p; an item takes some vectors of some
 *              rows
 * `add` other than 0 adds to what dx holds.
 *   VEC   channels in a vector, 1 to 16, dividing the channels; required
 *   CUT   1: x is rectified, and where it is not above 0 its gradient is 0; required */
#include "activation.h"
#ifndef CUT
#error "CUT is missing"
#endif

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

kernel void forward(global const ACT *restrict x, global ACT *restrict y, int images, int pixels, int vectors) {
    const size_t end = END(1, images), last = END(0, vectors), channels = (size_t)vectors * VEC;
    for (size_t n = BEGIN(1, images); n < end; n++)
        for (size_t p = 0; p < (size_t)pixels; p += RUN) {
            const size_t stop = min(p + RUN, (size_t)pixels);
            for (size_t v = BEGIN(0, vectors); v < last; v++) {
                global ACT *to = y + n * channels + v * VEC;
                vec sum = (vec)(0.0f);
                for (size_t q = p; q < stop; q++) sum += LOAD_ALIGNED(x + (n * pixels + q) * channels + v * VEC);
                if (p) sum += LOAD_ALIGNED(to);
                STORE_ALIGNED(stop == (size_t)pixels ? sum / (float)pixels : sum, to);
            }
        }
}

kernel void backward(global const ACT *restrict dy, global const ACT *restrict x, global ACT *restrict dx, long rows,
                     int pixels, int vectors, int add) {
    const size_t end = END(1, rows), last = END(0, vectors), channels = (size_t)vectors * VEC;
    for (size_t r = BEGIN(1, rows); r < end; r++)
        for (size_t v = BEGIN(0, vectors); v < last; v++) {
            global ACT *to = dx + r * channels + v * VEC;
            vec value = LOAD_ALIGNED(dy + r / pixels * channels + v * VEC) / (float)pixels;
            if (add) value += LOAD_ALIGNED(to);
#if CUT
            value = RELU_GRADIENT(LOAD_ALIGNED(x + r * channels + v * VEC), value);
#endif
            STORE_ALIGNED(value, to);
        }
}
