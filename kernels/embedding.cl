/* What stands for a class or a number in a network, one row of C values of each image.
 *   take      y[n] = w[label[n]]; labels beyond the table take its last row
 *   scatter   dw[k] = the sum of dy[n] over images of label k, in their order
 *   number    y[n][i] = sin(x[n] f[i]), y[n][half + i] = cos(x[n] f[i]) for the `half` frequencies f
 *   number_gradient   dx[n] = the sum over i of f[i] (dy[n][i] cos - dy[n][half + i] sin)
 * An item takes some values (dimension 0) of some rows (1); in number_gradient some images (0). NUMBER is how x is
 * stored: 0 as activations, 1 as floats. `add` other than 0 adds to what dx holds.
 *   VEC   1; required, for vec.h */
#include "vec.h"

#if NUMBER
#define NUMBER_OF float
#define LOAD_NUMBER(p) (*(p))
#define STORE_NUMBER(v, p) (*(p) = (v))
#else
#define NUMBER_OF ACT
#define LOAD_NUMBER(p) LOAD_ACT1(p)
#define STORE_NUMBER(v, p) STORE_ACT1(v, p)
#endif

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))
#define EACH(d, i, total) for (size_t i = BEGIN(d, total), end_##i = END(d, total); i < end_##i; i++)

kernel void take(global const int *labels, global const float *w, global ACT *y, int images, int count, int channels) {
    EACH(1, n, images)
    EACH(0, c, channels)
    STORE_ACT1(w[(size_t)clamp(labels[n], 0, count - 1) * channels + c], y + n * channels + c);
}

kernel void scatter(global const int *labels, global const ACT *dy, global float *dw, int images, int count,
                    int channels) {
    EACH(1, k, count) EACH(0, c, channels) {
        float sum = 0.0f;
        for (int n = 0; n < images; n++)
            if (clamp(labels[n], 0, count - 1) == (int)k) sum += LOAD_ACT1(dy + n * channels + c);
        dw[k * channels + c] = sum;
    }
}

kernel void number(global const NUMBER_OF *x, global const float *f, global ACT *y, int images, int half_) {
    EACH(1, n, images) EACH(0, i, half_) {
        const float angle = LOAD_NUMBER(x + n) * f[i];
        STORE_ACT1(sin(angle), y + n * 2 * half_ + i);
        STORE_ACT1(cos(angle), y + (n * 2 + 1) * half_ + i);
    }
}

kernel void number_gradient(global const NUMBER_OF *x, global const float *f, global const ACT *dy,
                            global NUMBER_OF *dx, int images, int half_, int add) {
    EACH(0, n, images) {
        float sum = add ? LOAD_NUMBER(dx + n) : 0.0f;
        for (int i = 0; i < half_; i++) {
            const float angle = LOAD_NUMBER(x + n) * f[i];
            sum += f[i] * (LOAD_ACT1(dy + n * 2 * half_ + i) * cos(angle) -
                           LOAD_ACT1(dy + (n * 2 + 1) * half_ + i) * sin(angle));
        }
        STORE_NUMBER(sum, dx + n);
    }
}
