/* y[n][oy][ox][c] = sum over the window of x[n][oy*SH - PH + ky][ox*SW - PW + kx][c] / count; outside the image x is
 * zero. backward gathers: dx[n][iy][ix][c] = sum of dy / count over the windows that cover the pixel. Layout NHWC. An
 * item takes some vectors (dimension 0), columns (1) and rows n*height + y (2) of what it writes. `add` other than 0
 * adds to what dx holds. VEC       channels in a vector, 1 to 16, dividing the channels; required KH, KW    the window;
 * required SH, SW    its steps; required PH, PW    padding on every side; required DIVISOR   what of the window counts:
 * 0 all, KH*KW; 1 what lies in the image and its padding; 2 in the image; required */
#include "vec.h"
#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(PH) || !defined(PW)
#error "KH, KW, SH, SW, PH and PW are all needed"
#endif

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))

/* The first and last window that cover input position i: those o with o*step - padding <= i < o*step - padding +
 * size. */
#define FIRST(i, size, step, padding) ((i) + (padding) < (size) ? 0 : ((i) + (padding) - (size)) / (step) + 1)
#define LAST(i, step, padding, windows) min(((i) + (padding)) / (step), (windows)-1)

/* How many of window o's `size` positions along an axis of `length` count. */
#if DIVISOR == 0
#define COUNTED(o, length, size, step, padding) (size)
#elif DIVISOR == 1
#define COUNTED(o, length, size, step, padding) min(size, (length) + 2 * (padding) - (o) * (step))
#else
#define COUNTED(o, length, size, step, padding)                                                                        \
    (min((o) * (step) - (padding) + (size), length) - max((o) * (step) - (padding), 0))
#endif
#define COUNT(oy, ox) (float)(COUNTED(oy, h, KH, SH, PH) * COUNTED(ox, w, KW, SW, PW))

#define SHARE(dy, oy, ox) (DIVISOR ? (dy) / COUNT(oy, ox) : (dy))

kernel void forward(global const ACT *restrict x, global ACT *restrict y, long rows, int vectors, int h, int w, int oh,
                    int ow) {
    const size_t end = END(2, rows), columns = END(1, ow), last = END(0, vectors), channels = (size_t)vectors * VEC;
    for (size_t r = BEGIN(2, rows); r < end; r++)
        for (size_t ox = BEGIN(1, ow); ox < columns; ox++) {
            const int top = (int)(r % oh) * SH - PH, left = (int)ox * SW - PW;
            const int y0 = max(0, -top), y1 = min(KH, h - top), x0 = max(0, -left), x1 = min(KW, w - left);
            global const ACT *corner = x + (long)(r / oh * h + top) * w * channels + (long)left * (long)channels;
            for (size_t v = BEGIN(0, vectors); v < last; v++) {
                vec sum = (vec)(0.0f);
                for (int ky = y0; ky < y1; ky++)
                    for (int kx = x0; kx < x1; kx++)
                        sum += LOAD_ALIGNED(corner + ((long)ky * w + kx) * (long)channels + v * VEC);
                STORE_ALIGNED(sum / COUNT((int)(r % oh), (int)ox), y + (r * ow + ox) * channels + v * VEC);
            }
        }
}

kernel void backward(global const ACT *restrict dy, global ACT *restrict dx, long rows, int vectors, int h, int w,
                     int oh, int ow, int add) {
    const size_t end = END(2, rows), columns = END(1, w), last = END(0, vectors), channels = (size_t)vectors * VEC;
    for (size_t r = BEGIN(2, rows); r < end; r++) {
        const int iy = (int)(r % h), oy0 = FIRST(iy, KH, SH, PH), oy1 = LAST(iy, SH, PH, oh);
        const size_t image = r / h * oh;
        for (size_t ix = BEGIN(1, w); ix < columns; ix++) {
            const int ox0 = FIRST((int)ix, KW, SW, PW), ox1 = LAST((int)ix, SW, PW, ow);
            for (size_t v = BEGIN(0, vectors); v < last; v++) {
                global ACT *to = dx + (r * w + ix) * channels + v * VEC;
                vec sum = (vec)(0.0f);
                for (int oy = oy0; oy <= oy1; oy++)
                    for (int ox = ox0; ox <= ox1; ox++)
                        sum += SHARE(LOAD_ALIGNED(dy + ((image + oy) * ow + ox) * channels + v * VEC), oy, ox);
                if (!DIVISOR) sum /= (float)(KH * KW);
                if (add) sum += LOAD_ALIGNED(to);
                STORE_ALIGNED(sum, to);
            }
        }
    }
}
