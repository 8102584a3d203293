/* y[n][oy][ox][c] = mean of x[n][iy][ix][c] over rows iy from floor(oy h / oh) to before ceil((oy + 1) h / oh), and
 * columns likewise.
 * backward gathers: dx[n][iy][ix][c] = sum over the windows that hold the pixel of dy / their size.
 * Layout NHWC. An item takes some vectors (dimension 0), columns (1) and rows n*height + y (2) of what it writes.
 * `add` other than 0 adds to what dx holds.
 *   VEC   channels in a vector, 1 to 16, dividing the channels; required */
#include "vec.h"

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))

/* Where window o of `windows` over `size` positions starts, and before which position it stops. */
#define START(o, size, windows) (int)((long)(o) * (size) / (windows))
#define STOP(o, size, windows) (int)((((long)(o) + 1) * (size) + (windows)-1) / (windows))
#define EXTENT(o, size, windows) (STOP(o, size, windows) - START(o, size, windows))
/* The windows that hold position i, likewise: the same with the two sizes exchanged. */
#define FIRST(i, size, windows) START(i, windows, size)
#define PAST(i, size, windows) STOP(i, windows, size)

kernel void forward(global const ACT *restrict x, global ACT *restrict y, long rows, int vectors, int h, int w, int oh,
                    int ow) {
    const size_t end = END(2, rows), columns = END(1, ow), last = END(0, vectors), channels = (size_t)vectors * VEC;
    for (size_t r = BEGIN(2, rows); r < end; r++)
        for (size_t ox = BEGIN(1, ow); ox < columns; ox++) {
            const int oy = (int)(r % oh), y0 = START(oy, h, oh), y1 = STOP(oy, h, oh);
            const int x0 = START(ox, w, ow), x1 = STOP(ox, w, ow);
            global const ACT *image = x + r / oh * h * w * channels;
            for (size_t v = BEGIN(0, vectors); v < last; v++) {
                vec sum = (vec)(0.0f);
                for (int iy = y0; iy < y1; iy++)
                    for (int ix = x0; ix < x1; ix++)
                        sum += LOAD_ALIGNED(image + ((size_t)iy * w + ix) * channels + v * VEC);
                STORE_ALIGNED(sum / (float)((y1 - y0) * (x1 - x0)), y + (r * ow + ox) * channels + v * VEC);
            }
        }
}

kernel void backward(global const ACT *restrict dy, global ACT *restrict dx, long rows, int vectors, int h, int w,
                     int oh, int ow, int add) {
    const size_t end = END(2, rows), columns = END(1, w), last = END(0, vectors), channels = (size_t)vectors * VEC;
    for (size_t r = BEGIN(2, rows); r < end; r++)
        for (size_t ix = BEGIN(1, w); ix < columns; ix++) {
            const int iy = (int)(r % h), oy0 = FIRST(iy, h, oh), oy1 = PAST(iy, h, oh);
            const int ox0 = FIRST(ix, w, ow), ox1 = PAST(ix, w, ow);
            global const ACT *image = dy + r / h * oh * ow * channels;
            for (size_t v = BEGIN(0, vectors); v < last; v++) {
                global ACT *to = dx + (r * w + ix) * channels + v * VEC;
                vec sum = (vec)(0.0f);
                for (int oy = oy0; oy < oy1; oy++)
                    for (int ox = ox0; ox < ox1; ox++)
                        sum += LOAD_ALIGNED(image + ((size_t)oy * ow + ox) * channels + v * VEC) /
                               (float)(EXTENT(oy, h, oh) * EXTENT(ox, w, ow));
                if (add) sum += LOAD_ALIGNED(to);
                STORE_ALIGNED(sum, to);
            }
        }
}
