/* Products that broadcast over the pixels of an image.
 *   scale    y[r][c] = x[r][c] s[r / repeat][c] over rows r (pixels of all images); repeat is the pixels of an image,
 *            or 1 where both operands have one shape. An item takes some vectors of some rows.
 *   reduce   ds[n][c] = sum over an image's pixels of x dy, in order of pixels, eight at a time. An item takes some
 *            vectors of some images.
 * Layout NHWC. `add` other than 0 adds to what the result holds.
 *   VEC   channels in a vector, 1 to 16, dividing the channels; required */
#include "vec.h"

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))

kernel void scale(global const float *x, global const float *s, global float *y, long rows, int repeat, int vectors,
                  int add) {
    const size_t end = END(1, rows), last = END(0, vectors), channels = (size_t)vectors * VEC;
    for (size_t r = BEGIN(1, rows); r < end; r++) {
        global const float *scales = s + r / repeat * channels;
        for (size_t v = BEGIN(0, vectors); v < last; v++) {
            const size_t at = r * channels + v * VEC;
            vec value = LOAD(x + at) * LOAD(scales + v * VEC);
            if (add) value += LOAD(y + at);
            STORE(value, y + at);
        }
    }
}

kernel void reduce(global const float *restrict x, global const float *restrict dy, global float *restrict ds,
                   int images, int pixels, int vectors, int add) {
    const size_t end = END(1, images), last = END(0, vectors), channels = (size_t)vectors * VEC;
    for (size_t n = BEGIN(1, images); n < end; n++)
        for (size_t p = 0; p < (size_t)pixels; p += 8) {
            const size_t stop = min(p + 8, (size_t)pixels);
            for (size_t v = BEGIN(0, vectors); v < last; v++) {
                global float *to = ds + n * channels + v * VEC;
                vec sum = (vec)(0.0f);
                for (size_t q = p; q < stop; q++) {
                    const size_t at = (n * pixels + q) * channels + v * VEC;
                    sum += LOAD(x + at) * LOAD(dy + at);
                }
                if (p || add) sum += LOAD(to);
                STORE(sum, to);
            }
        }
}
