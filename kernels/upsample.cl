/* Resampling of an image of h x w pixels to oh x ow, by the nearest pixel or bilinearly, pixels' centres in place
 * (PyTorch's align_corners=False): output o lies at (o + 1/2) h / oh - 1/2, no further out than the outermost pixels'
 * centres, and has of pixel i the share max(0, 1 - |its place - i|); the nearest is floor(o h / oh).
 * backward gathers: dx[i] = sum over outputs of dy times their share of i. Layout NHWC. An item takes some vectors
 * (dimension 0), columns (1) and rows n*height + y (2) of what it writes. `add` other than 0 adds to what dx holds.
 *   VEC       channels in a vector, 1 to 16, dividing the channels; required
 *   BILINEAR  0 or 1; required */
#include "vec.h"
#ifndef BILINEAR
#error "BILINEAR is missing"
#endif

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))

#if BILINEAR
/* Where output o of `outs` lies among `size` pixels. */
float place_of(int o, int size, int outs) {
    const float place = (float)(2 * o + 1) * (float)size / (float)(2 * outs) - 0.5f;
    return clamp(place, 0.0f, (float)(size - 1));
}
#define SHARE(o, i, size, outs) fmax(0.0f, 1.0f - fabs(place_of(o, size, outs) - (float)(i)))
/* The outputs that may have a share of pixel i, from FIRST to before PAST: those between its neighbours' centres, and
 * all beyond the outermost ones. */
#define FIRST(i, size, outs) ((i) < 1 ? 0 : (int)(((long)(2 * (i)-1) * (outs)) / (2 * (long)(size))))
#define PAST(i, size, outs)                                                                                            \
    ((i) > (size)-2 ? (outs) : min((outs), (int)(((long)(2 * (i) + 3) * (outs)) / (2 * (long)(size))) + 1))
#else
#define NEAREST(o, size, outs) (int)((long)(o) * (size) / (outs))
#define SHARE(o, i, size, outs) 1.0f
#define FIRST(i, size, outs) (int)(((long)(i) * (outs) + (size)-1) / (size))
#define PAST(i, size, outs) (int)((((long)(i) + 1) * (outs) + (size)-1) / (size))
#endif

kernel void forward(global const ACT *restrict x, global ACT *restrict y, long rows, int vectors, int h, int w, int oh,
                    int ow) {
    const size_t end = END(2, rows), columns = END(1, ow), last = END(0, vectors), channels = (size_t)vectors * VEC;
    for (size_t r = BEGIN(2, rows); r < end; r++) {
        global const ACT *image = x + r / oh * h * w * channels;
#if BILINEAR
        const float py = place_of((int)(r % oh), h, oh);
        const int top = (int)py, bottom = min(top + 1, h - 1);
#else
        const int top = NEAREST(r % oh, h, oh);
#endif
        for (size_t ox = BEGIN(1, ow); ox < columns; ox++) {
            global ACT *to = y + (r * ow + ox) * channels;
#if BILINEAR
            const float px = place_of((int)ox, w, ow), down = py - (float)top;
            const int left = (int)px, right = min(left + 1, w - 1);
            const float across = px - (float)left;
            global const ACT *a = image + ((size_t)top * w + left) * channels,
                             *b = image + ((size_t)top * w + right) * channels,
                             *c = image + ((size_t)bottom * w + left) * channels,
                             *d = image + ((size_t)bottom * w + right) * channels;
            for (size_t v = BEGIN(0, vectors); v < last; v++) {
                const vec upper = (1.0f - across) * LOAD_ALIGNED(a + v * VEC) + across * LOAD_ALIGNED(b + v * VEC);
                const vec lower = (1.0f - across) * LOAD_ALIGNED(c + v * VEC) + across * LOAD_ALIGNED(d + v * VEC);
                STORE_ALIGNED((1.0f - down) * upper + down * lower, to + v * VEC);
            }
#else
            global const ACT *from = image + ((size_t)top * w + NEAREST(ox, w, ow)) * channels;
            for (size_t v = BEGIN(0, vectors); v < last; v++) STORE_ALIGNED(LOAD_ALIGNED(from + v * VEC), to + v * VEC);
#endif
        }
    }
}

kernel void backward(global const ACT *restrict dy, global ACT *restrict dx, long rows, int vectors, int h, int w,
                     int oh, int ow, int add) {
    const size_t end = END(2, rows), columns = END(1, w), last = END(0, vectors), channels = (size_t)vectors * VEC;
    for (size_t r = BEGIN(2, rows); r < end; r++)
        for (size_t ix = BEGIN(1, w); ix < columns; ix++) {
            const int iy = (int)(r % h), oy0 = FIRST(iy, h, oh), oy1 = PAST(iy, h, oh);
            const int ox0 = FIRST((int)ix, w, ow), ox1 = PAST((int)ix, w, ow);
            global const ACT *image = dy + r / h * oh * ow * channels;
            for (size_t v = BEGIN(0, vectors); v < last; v++) {
                global ACT *to = dx + (r * w + ix) * channels + v * VEC;
                vec sum = (vec)(0.0f);
                for (int oy = oy0; oy < oy1; oy++) {
                    vec row = (vec)(0.0f);
                    for (int ox = ox0; ox < ox1; ox++)
                        row += SHARE(ox, (int)ix, w, ow) *
                               LOAD_ALIGNED(image + ((size_t)oy * ow + ox) * channels + v * VEC);
                    sum += SHARE(oy, iy, h, oh) * row;
                }
                if (add) sum += LOAD_ALIGNED(to);
                STORE_ALIGNED(sum, to);
            }
        }
}
