/* Convolution in groups of few channels for devices with local memory: forward, data gradient, weight gradient.
 *
 *   y[n, y, x, o]  = bias[o] + sum over taps, k of x[n, y*step + first + ky*dilation, ..., group(o)*IN + k] w[o, k, .]
 *   dx             = the same of dy, the kernel turned around, UP_Y - 1 rows and UP_X - 1 columns of zeros between
 *   dw[o, k, tap]  = sum over n, y, x of x[shifted by the tap, group(o)*IN + k] dy[n, y, x, o]
 *
 * Activations are NHWC, weights [O][G][F] (see host/ops/conv/conv.h), packed as [tap][k][result]. An item computes four
 * results of a group for TM pixels; items side by side take fours side by side, of whatever group, so that they read
 * and write whole lines of memory. A group of COLS by ROWS items has the results of 4*COLS channels and a chunk of
 * TM*ROWS pixels.
 *
 *  IN    channels of a group that are summed over: 4, 8, 12 or 16; in the data gradient, outputs; required
 *  OUT   results of a group, the same; required
 *  COLS  items of a group along the results; required
 *  ROWS  items along the pixels; required
 *  TM    pixels of an item: 2 or 4; required
 *  UP_Y, UP_X  see above (1)
 *  ACT_TYPE    as in vec.h
 *  MOMENTS     1: a convolution tells the moments of what it writes (0)
 */
#if !defined(IN) || !defined(OUT) || !defined(COLS) || !defined(ROWS) || !defined(TM)
#error "conv/grouped4.cl needs IN, OUT, COLS, ROWS and TM"
#endif
#ifndef UP_Y
#define UP_Y 1
#endif
#ifndef UP_X
#define UP_X 1
#endif
#ifndef MOMENTS
#define MOMENTS 0
#endif
#define VEC 4
#define OUT4 1
#include "activation.h"
#include "loop.h"
#include "tile.h"

#include "conv/sizes.h"

#include "conv/classes.h"

#include "conv/finish.h"

#define GROUP LANES16 __attribute__((reqd_work_group_size(COLS, ROWS, 1)))

/* An item packs one value. transposed: the sum runs over the outputs and the inputs come out, the kernel turned around.
 */
kernel void pack(global const float *restrict weight, global float *restrict packed, int results, int taps,
                 int interleave, int transposed) {
    const int result = get_global_id(0), tap = get_global_id(1) / IN, k = get_global_id(1) % IN;
    if (result >= results || tap >= taps) return;
    const int group = result / OUT, within = result % OUT, channels = transposed ? OUT : IN;
    const int o = transposed ? group * IN + k : result, c = transposed ? within : k;
    const int features = channels * taps, j = c * taps + (transposed ? taps - 1 - tap : tap);
    packed[((size_t)tap * IN + k) * results + result] =
        weight[(size_t)o * features + j % interleave * (features / interleave) + j / interleave];
}

#define CLEAR(i) float4 sum##i = (float4)(0.0f);
#define PLACE(i)                                                                                                       \
    const struct place at##i = place_of(min(first + i, pixels - 1), s.out_h, s.out_w);                                 \
    const int top##i = at##i.y * down.in_step + down.in_first, left##i = at##i.x * across.in_step + across.in_first;
/* Whether row or column `at` is one of the input's, with zeros between. */
#define IS_INPUT(at, up, size) ((at) >= 0 && (up == 1 || (at) % up == 0) && (at) / up < (size))
#define START(i)                                                                                                       \
    const int row##i = top##i + dy, column##i = left##i + dx;                                                          \
    const bool in##i = IS_INPUT(row##i, UP_Y, s.in_h) && IS_INPUT(column##i, UP_X, s.in_w);                            \
    const size_t from##i =                                                                                             \
        in##i ? (((size_t)at##i.n * s.in_h + row##i / UP_Y) * s.in_w + column##i / UP_X) * s.in_c : 0;
#define MULTIPLY(i)                                                                                                    \
    {                                                                                                                  \
        const float4 v = in##i ? LOAD_ALIGNED(x + from##i + k) : (float4)(0.0f);                                       \
        sum##i = FMA((float4)(v.s0), w0, sum##i);                                                                      \
        sum##i = FMA((float4)(v.s1), w1, sum##i);                                                                      \
        sum##i = FMA((float4)(v.s2), w2, sum##i);                                                                      \
        sum##i = FMA((float4)(v.s3), w3, sum##i);                                                                      \
    }
#define TELL(i) sum##i += first + i < end ? result##i - origin : (float4)(0.0f);
#define PLUS(i) +sum##i
#define SQUARE(i)                                                                                                      \
    {                                                                                                                  \
        const float4 d = first + i < end ? result##i - centre : (float4)(0.0f);                                        \
        square = FMA(d, d, square);                                                                                    \
    }
#define PUT(i)                                                                                                         \
    if (first + i < pixels) {                                                                                          \
        const size_t to = (size_t)(first + i) * s.out_c + o;                                                           \
        store_some(finish_some(result##i, out + to, beside + to, width, f), out + to, width);                          \
    }

kernel GROUP void convolve(global const ACT *restrict x, global const float *restrict packed,
                           global const float *restrict bias, global ACT *out, global const ACT *beside,
                           global float *moments, struct sizes s, struct axis down, struct axis across,
                           struct finish f) {
    const int pixels = s.images * s.out_h * s.out_w, chunk = get_group_id(1), vectors = s.out_c / 4;
    const int vector = get_global_id(0), o = 4 * min(vector, vectors - 1), width = vector < vectors ? 4 : 0;
    const int first = get_global_id(1) * TM;
    x += o / OUT * IN;
    EACH_ROW(PLACE)
    EACH_ROW(CLEAR)
    global const float4 *w = (global const float4 *)(packed + o);
    for (int jy = 0, dy = 0; jy < down.taps; jy++, dy += down.tap_step) {
        for (int jx = 0, dx = 0; jx < across.taps; jx++, dx += across.tap_step) {
            EACH_ROW(START)
            _Pragma("unroll 1") for (int k = 0; k < IN; k += 4, w += 4 * vectors) {
                const float4 w0 = w[0], w1 = w[vectors], w2 = w[2 * vectors], w3 = w[3 * vectors];
                EACH_ROW(MULTIPLY)
            }
        }
    }
    const float4 more = f.has_bias ? load_bias(bias + o, 4) : (float4)(0.0f);
#define RESULT(i) const float4 result##i = sum##i + more;
    EACH_ROW(RESULT)
#if MOMENTS
    /* Of the group's pixels, as in conv/tiled.cl. */
    local float4 room[COLS * ROWS];
    const int col = get_local_id(0), row = get_local_id(1), end = min((chunk + 1) * TM * ROWS, pixels);
    room[row * COLS + col] = result0;
    barrier(CLK_LOCAL_MEM_FENCE);
    const float4 origin = room[col];
#define AGAIN(i) sum##i = (float4)(0.0f);
    EACH_ROW(AGAIN)
    EACH_ROW(TELL)
    const float4 centre =
        origin + sum_rows((float4)(0.0f)EACH_ROW(PLUS), room, col, row) / (float)(end - chunk * TM * ROWS);
    float4 square = (float4)(0.0f);
    EACH_ROW(SQUARE)
    square = sum_rows(square, room, col, row);
    if (f.moments && row == 0) {
        global float *to = moments + (size_t)chunk * 2 * s.out_c + o;
        put_moments(centre, to, width);
        put_moments(square, to + s.out_c, width);
    }
#endif
    EACH_ROW(PUT)
}

/* The sums over one share of the rows: partial[four of outputs][split][rows + 1][4], rows = taps*IN in the order
 * (tap, k); the last row is the bias's. Items of dimension 0 take a four of outputs, those of 1 a split, those of 2 a
 * tap and four k, the last the bias. Sizes are those of the layer. */
kernel void weights(global const ACT *restrict x, global const ACT *restrict dy, global float *restrict partial,
                    struct sizes s, struct axis down, struct axis across, int splits) {
    const int vector = get_global_id(0), split = get_global_id(1), taps = down.taps * across.taps;
    const int tap = get_global_id(2) / (IN / 4), k = get_global_id(2) % (IN / 4) * 4, rows = taps * IN;
    const int o = 4 * vector, lines = s.images * s.out_h;
    if (o >= s.out_c || split >= splits || get_global_id(2) * 4 > rows) return;
    const int share = (lines + splits - 1) / splits, begin = min(split * share, lines), end = min(begin + share, lines);
    const int ty = down.in_first + tap / across.taps * down.tap_step;
    const int tx = across.in_first + tap % across.taps * across.tap_step;
    x += o / OUT * IN + k;
    dy += o;
    float4 sum0 = (float4)(0.0f), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    for (int line = begin; line < end; line++) {
        const int n = line / s.out_h, iy = (line - n * s.out_h) * down.in_step + ty;
        global const ACT *gradient = dy + (size_t)line * s.out_w * s.out_c;
        if (tap == taps)
            for (int i = 0; i < s.out_w; i++) sum0 += LOAD_ALIGNED(gradient + (size_t)i * s.out_c);
        if (tap == taps || iy < 0 || iy >= s.in_h) continue;
        global const ACT *from = x + ((size_t)n * s.in_h + iy) * s.in_w * s.in_c;
        for (int i = 0, ix = tx; i < s.out_w; i++, ix += across.in_step) {
            if (ix < 0 || ix >= s.in_w) continue;
            const float4 v = LOAD_ALIGNED(from + (size_t)ix * s.in_c);
            const float4 g = LOAD_ALIGNED(gradient + (size_t)i * s.out_c);
            sum0 = FMA((float4)(v.s0), g, sum0);
            sum1 = FMA((float4)(v.s1), g, sum1);
            sum2 = FMA((float4)(v.s2), g, sum2);
            sum3 = FMA((float4)(v.s3), g, sum3);
        }
    }
    global float4 *to = (global float4 *)partial + ((size_t)vector * splits + split) * (rows + 1) + tap * IN + k;
    to[0] = sum0;
    if (tap == taps) return;
    to[1] = sum1, to[2] = sum2, to[3] = sum3;
}
