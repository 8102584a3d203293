/* y[n][oy][ox][c] = max over the window of x[n][oy*SH - PH + ky][ox*SW - PW + kx][c]; the window's parts outside the
 * image do not count. The first maximum wins, and a NaN over all. index holds the winner's ky*KW + kx. With ReLU y is
 * that of the maximum, and index is KH*KW where it is cut. backward gathers: dx[n][iy][ix][c] = sum of dy over the
 * windows that cover the pixel and were won by it. Layout NHWC. An item takes some vectors (dimension 0), columns (1)
 * and rows n*height + y (2) of what it writes. `add` other than 0 adds to what dx holds.
 *
 *  VEC          channels in a vector, 1 to 16, dividing the channels; required
 *  KH, KW       the window; required
 *  SH, SW       its steps; required
 *  PH, PW       padding on every side; required
 *  INDEX_BYTES  of an element of index, 1 or 2, for 0 to KH*KW; required
 *  RELU         1: with ReLU; required
 */
#include "vec.h"
#if !defined(KH) || !defined(KW) || !defined(SH) || !defined(SW) || !defined(PH) || !defined(PW)
#error "KH, KW, SH, SW, PH and PW are all needed"
#endif
#if INDEX_BYTES == 1
typedef uchar index_t;
#define NARROW convert_uchar
#elif INDEX_BYTES == 2
typedef ushort index_t;
#define NARROW convert_ushort
#else
#error "INDEX_BYTES must be 1 or 2"
#endif

#if VEC == 1
typedef int ivec;
#define LOAD_INDEX(p) ((int)*(p))
#define STORE_INDEX(v, p) (*(p) = (index_t)(v))
#else
typedef JOIN(int, VEC) ivec;
#define LOAD_INDEX(p) JOIN(convert_int, VEC)(JOIN(vload, VEC)(0, p))
#define STORE_INDEX(v, p) JOIN(vstore, VEC)(JOIN(NARROW, VEC)(v), 0, p)
#endif

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))

/* Looks through rows y0 to y1 and columns x0 to x1 of a window whose first element is at `corner`. */
#define SEARCH(y0, y1, x0, x1)                                                                                         \
    for (int ky = y0; ky < y1; ky++)                                                                                   \
        for (int kx = x0; kx < x1; kx++) {                                                                             \
            const vec value = LOAD_ALIGNED(corner + ((long)ky * w + kx) * (long)channels + v * VEC);                   \
            const ivec better = (value > best) | (value != value);                                                     \
            best = better ? value : best;                                                                              \
            winner = better ? (ivec)(ky * KW + kx) : winner;                                                           \
        }

/* The first and last window that cover input position i: those o with o*step - padding <= i < o*step - padding +
 * size. */
#define FIRST(i, size, step, padding) ((i) + (padding) < (size) ? 0 : ((i) + (padding) - (size)) / (step) + 1)
#define LAST(i, step, padding, windows) min(((i) + (padding)) / (step), (windows)-1)

kernel void forward(global const ACT *restrict x, global ACT *restrict y, global index_t *restrict index, long rows,
                    int vectors, int h, int w, int oh, int ow) {
    const size_t end = END(2, rows), columns = END(1, ow), last = END(0, vectors), channels = (size_t)vectors * VEC;
    for (size_t r = BEGIN(2, rows); r < end; r++)
        for (size_t ox = BEGIN(1, ow); ox < columns; ox++) {
            const int top = (int)(r % oh) * SH - PH, left = (int)ox * SW - PW;
            const int y0 = max(0, -top), y1 = min(KH, h - top), x0 = max(0, -left), x1 = min(KW, w - left);
            const bool whole = y1 - y0 == KH && x1 - x0 == KW;
            global const ACT *corner = x + (long)(r / oh * h + top) * w * channels + (long)left * (long)channels;
            for (size_t v = BEGIN(0, vectors); v < last; v++) {
                vec best = (vec)(-INFINITY);
                ivec winner = (ivec)(y0 * KW + x0);
                if (whole)
                    SEARCH(0, KH, 0, KW) /* constant bounds, which compilers unroll */
                else
                    SEARCH(y0, y1, x0, x1)
#if RELU
                const ivec on = (best > 0.0f) | (best != best);
                best = on ? best : (vec)(0.0f);
                winner = on ? winner : (ivec)(KH * KW);
#endif
                const size_t at = (r * ow + ox) * channels + v * VEC;
                STORE_ALIGNED(best, y + at);
                STORE_INDEX(winner, index + at);
            }
        }
}

/* Windows that do not overlap: a pixel is in one at most, and no loop over them is left. */
#define APART (KH <= SH && KW <= SW)
#define TAKE(oy, ox)                                                                                                   \
    {                                                                                                                  \
        const size_t at = ((image + oy) * ow + ox) * channels + v * VEC;                                               \
        const int place = (iy + PH - oy * SH) * KW + (int)ix + PW - ox * SW;                                           \
        const vec value = LOAD_ALIGNED(dy + at);                                                                       \
        sum += LOAD_INDEX(index + at) == (ivec)(place) ? value : (vec)(0.0f);                                          \
    }

kernel void backward(global const ACT *restrict dy, global const index_t *restrict index, global ACT *restrict dx,
                     long rows, int vectors, int h, int w, int oh, int ow, int add) {
    const size_t end = END(2, rows), columns = END(1, w), last = END(0, vectors), channels = (size_t)vectors * VEC;
    for (size_t r = BEGIN(2, rows); r < end; r++) {
        const int iy = (int)(r % h), oy0 = FIRST(iy, KH, SH, PH), oy1 = LAST(iy, SH, PH, oh);
        const size_t image = r / h * oh;
        for (size_t ix = BEGIN(1, w); ix < columns; ix++) {
            const int ox0 = FIRST((int)ix, KW, SW, PW), ox1 = LAST((int)ix, SW, PW, ow);
            for (size_t v = BEGIN(0, vectors); v < last; v++) {
                global ACT *to = dx + (r * w + ix) * channels + v * VEC;
                vec sum = (vec)(0.0f);
                if (add) sum = LOAD_ALIGNED(to);
                if (APART && oy0 <= oy1 && ox0 <= ox1)
                    TAKE(oy0, ox0)
                else
                    for (int oy = oy0; oy <= oy1; oy++)
                        for (int ox = ox0; ox <= ox1; ox++) TAKE(oy, ox)
                STORE_ALIGNED(sum, to);
            }
        }
    }
}
