/* Copies between layouts.
 * nhwc_to_nchw, nchw_to_nhwc: (N, H, W, C) to (N, C, H, W) and back; an item takes some channels, pixels and images.
 * copy_channels: to[p][to_offset + c] = from[p][from_offset + c] for a run of channels, where a pixel of either side
 *   has `stride` channels in all. An item takes some vectors of some pixels.
 * pad_channels: to[p] = `before` vectors of zeros, the pixel's channels of from, `after` vectors of zeros. The same.
 * `add` other than 0 adds to what is there.
 *   VEC   channels in a vector, 1 to 16, dividing the run of channels; required */
#include "vec.h"

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))

kernel void nhwc_to_nchw(global const ACT *restrict x, global ACT *restrict y, int images, int channels, int pixels,
                         int add) {
    for (size_t n = BEGIN(2, images); n < END(2, images); n++)
        for (size_t c = BEGIN(0, channels); c < END(0, channels); c++)
            for (size_t p = BEGIN(1, pixels); p < END(1, pixels); p++) {
                const size_t to = (n * channels + c) * pixels + p;
                const float v = LOAD_ACT1(x + ((n * pixels + p) * channels + c));
                STORE_ACT1(add ? LOAD_ACT1(y + to) + v : v, y + to);
            }
}

kernel void nchw_to_nhwc(global const ACT *restrict x, global ACT *restrict y, int images, int channels, int pixels,
                         int add) {
    for (size_t n = BEGIN(2, images); n < END(2, images); n++)
        for (size_t p = BEGIN(1, pixels); p < END(1, pixels); p++)
            for (size_t c = BEGIN(0, channels); c < END(0, channels); c++) {
                const size_t to = (n * pixels + p) * channels + c;
                const float v = LOAD_ACT1(x + ((n * channels + c) * pixels + p));
                STORE_ACT1(add ? LOAD_ACT1(y + to) + v : v, y + to);
            }
}

kernel void copy_channels(global const ACT *restrict from, long from_stride, long from_offset, global ACT *restrict to,
                          long to_stride, long to_offset, int vectors, long pixels, int add) {
    const size_t end = END(1, pixels), last = END(0, vectors);
    for (size_t p = BEGIN(1, pixels); p < end; p++) {
        global const ACT *source = from + p * from_stride + from_offset;
        global ACT *target = to + p * to_stride + to_offset;
        for (size_t v = BEGIN(0, vectors); v < last; v++) {
            vec value = LOAD_ACT(source + v * VEC);
            if (add) value += LOAD_ACT(target + v * VEC);
            STORE_ACT(value, target + v * VEC);
        }
    }
}

kernel void pad_channels(global const ACT *restrict from, global ACT *restrict to, int before, int vectors, int after,
                         long pixels) {
    const size_t end = END(1, pixels), all = (size_t)before + vectors + after, last = END(0, all);
    for (size_t p = BEGIN(1, pixels); p < end; p++) {
        global const ACT *source = from + (p * vectors - before) * VEC;
        global ACT *target = to + p * all * VEC;
        for (size_t v = BEGIN(0, all); v < last; v++) {
            vec value = (vec)(0.0f);
            if (v >= (size_t)before && v < (size_t)before + vectors) value = LOAD_ALIGNED(source + v * VEC);
            STORE_ALIGNED(value, target + v * VEC);
        }
    }
}
