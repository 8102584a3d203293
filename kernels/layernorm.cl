/* Layer normalisation over the channels of a pixel: y = (x - m) i w + b, i = 1 / sqrt(v + eps), m and v the mean and
 * the biased variance of the pixel's C = vectors*VEC channels, in two passes. Layout NHWC: a row is a pixel, of all
 * images. saved (2, rows): m, i. forward         y and saved input_gradient  dx = i (g - mean(g) - h mean(g h)), g = dy
 * w, h = (x - m) i, means over the row gradients       partial[k] = (sum dy h, sum dy) over the rows of chunk k: what
 * chunks.cl adds to dw and db An item takes some rows; in gradients some vectors (dimension 0) of one chunk (1). y may
 * be in place of x, dx of dy. `add` other than 0 adds to what dx holds. VEC   channels in a vector, 1 to 16, dividing
 * the channels; required */
#include "vec.h"

#include "fma.h"
#include "nd/total.h"

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))

kernel void forward(global const ACT *x, global const float *restrict weight, global const float *restrict bias,
                    global ACT *y, global float *restrict saved, long rows, int vectors, float eps) {
    const size_t end = END(0, rows), channels = (size_t)vectors * VEC;
    for (size_t r = BEGIN(0, rows); r < end; r++) {
        global const ACT *from = x + r * channels;
        global ACT *to = y + r * channels;
        vec sum = (vec)(0.0f), square = (vec)(0.0f);
        for (int v = 0; v < vectors; v++) sum += LOAD_ALIGNED(from + v * VEC);
        const float mean = TOTAL(sum) / (float)channels;
        for (int v = 0; v < vectors; v++) {
            const vec d = LOAD_ALIGNED(from + v * VEC) - mean;
            square = FMA(d, d, square);
        }
        const float inverse = 1.0f / sqrt(TOTAL(square) / (float)channels + eps);
        saved[r] = mean;
        saved[rows + r] = inverse;
        for (int v = 0; v < vectors; v++) {
            const vec h = (LOAD_ALIGNED(from + v * VEC) - mean) * inverse;
            STORE_ALIGNED(FMA(h, LOAD(weight + v * VEC), LOAD(bias + v * VEC)), to + v * VEC);
        }
    }
}

kernel void input_gradient(global const ACT *restrict x, global const ACT *dy, global const float *restrict weight,
                           global const float *restrict saved, global ACT *dx, long rows, int vectors, int add) {
    const size_t end = END(0, rows), channels = (size_t)vectors * VEC;
    for (size_t r = BEGIN(0, rows); r < end; r++) {
        global const ACT *from = x + r * channels, *gradient = dy + r * channels;
        global ACT *to = dx + r * channels;
        const float mean = saved[r], inverse = saved[rows + r];
        vec sum = (vec)(0.0f), product = (vec)(0.0f);
        for (int v = 0; v < vectors; v++) {
            const vec g = LOAD_ALIGNED(gradient + v * VEC) * LOAD(weight + v * VEC);
            sum += g;
            product = FMA(g, (LOAD_ALIGNED(from + v * VEC) - mean) * inverse, product);
        }
        const float all = TOTAL(sum) / (float)channels, along = TOTAL(product) / (float)channels;
        for (int v = 0; v < vectors; v++) {
            const vec h = (LOAD_ALIGNED(from + v * VEC) - mean) * inverse;
            const vec g = LOAD_ALIGNED(gradient + v * VEC) * LOAD(weight + v * VEC);
            vec d = inverse * (g - all - h * along);
            if (add) d += LOAD_ALIGNED(to + v * VEC);
            STORE_ALIGNED(d, to + v * VEC);
        }
    }
}

kernel void gradients(global const ACT *restrict x, global const ACT *restrict dy, global const float *restrict saved,
                      global float *restrict partial, long rows, int vectors, long chunk) {
    const size_t channels = (size_t)vectors * VEC, first = get_global_id(1) * chunk, v0 = BEGIN(0, vectors),
                 v1 = END(0, vectors);
    if (first >= (size_t)rows) return;
    const size_t last = min(first + chunk, (size_t)rows);
    global float *products = partial + get_global_id(1) * 2 * channels, *sums = products + channels;
    for (size_t r = first; r < last; r++)
        for (size_t v = v0; v < v1; v++) {
            const vec g = LOAD_ALIGNED(dy + r * channels + v * VEC);
            const vec h = (LOAD_ALIGNED(x + r * channels + v * VEC) - saved[r]) * saved[rows + r];
            const bool begun = r != first;
            STORE(FMA(g, h, begun ? LOAD(products + v * VEC) : (vec)(0.0f)), products + v * VEC);
            STORE(begun ? g + LOAD(sums + v * VEC) : g, sums + v * VEC);
        }
}
