/* Convolution in groups of few channels: forward, data gradient, weight gradient.
 *
 *   y[n, y, x, o]  = bias[o] + sum over taps, k of x[n, y*step + first + ky*dilation, ..., group(o)*IN + k] w[o, k, .]
 *   dx             = the same of dy, the kernel turned around, `up` - 1 zeros between its rows and columns
 *   dw[o, k, tap]  = sum over n, y, x of x[shifted by the tap, group(o)*IN + k] dy[n, y, x, o]
 *
 * Activations are NHWC, weights OIHW. A vector of 16 lanes holds GROUPS whole groups: lane l is result l % OUT of group
 * l / OUT, so that a group of 4 does not leave 12 lanes empty. What such a vector is multiplied with differs among its
 * groups. So the input rows that a row of results needs are first copied, zeros at their ends: SPREAD, as IN vectors a
 * pixel, lane l of vector k having channel k of its group; else (one group a vector) as they are, single channels
 * filling a vector as they are read. An item copies each input row once. Written for work-groups of one item.
 *
 *  IN       channels of a group that are summed over, at most 16; in the data gradient, outputs
 *  OUT      results of a group, at most 16
 *  STRIDE_X columns between results in the copied rows (1)
 *  BUFFER   floats of copied rows
 *  TAPS     kh*kw
 *  ACT_TYPE of activations (vec.h)
 *  TM       results side by side in the register tile; in the weight gradient, taps and channels
 */
#if !defined(IN) || !defined(OUT) || !defined(BUFFER) || !defined(TAPS)
#error "conv/grouped.cl needs IN, OUT, BUFFER and TAPS"
#endif
#ifndef STRIDE_X
#define STRIDE_X 1
#endif

#define VEC 16
#include "vec.h"

#include "tile.h"

#include "conv/sizes.h"

#define GROUPS (16 / (IN > OUT ? IN : OUT))
#define LANES (GROUPS * OUT)
#define SPREAD (16 / (IN > OUT ? IN : OUT) > 1)
#if SPREAD
#define PIXEL (IN * 16)
#define STEP 16
#define VALUE(from) vload16(0, from)
#else
#define PIXEL 16
#define STEP 1
#define VALUE(from) (float16)(*(from))
#endif

float16 load_some(global const float *from, int width) {
    if (width >= 16) return vload16(0, from);
    float part[16];
    for (int l = 0; l < 16; l++) part[l] = l < width ? from[l] : 0.0f;
    return vload16(0, part);
}

float16 load_acts(global const ACT *from, int width) {
    if (width >= 16) return LOAD_ACT(from);
    float part[16];
    for (int l = 0; l < 16; l++) part[l] = l < width ? LOAD_ACT1(from + l) : 0.0f;
    return vload16(0, part);
}

/* The first `lanes` of LANES values. */
void store_lanes(float16 value, global ACT *to, int lanes, int accumulate) {
    if (lanes < LANES) {
        float part[16];
        vstore16(value, 0, part);
        for (int l = 0; l < lanes; l++) STORE_ACT1(accumulate ? LOAD_ACT1(to + l) + part[l] : part[l], to + l);
        return;
    }
#if LANES == 16
    STORE_ACT16(accumulate ? value + LOAD_ACT16(to) : value, to);
#else
    float8 rest = value.lo;
#if LANES & 8
    STORE_ACT8(accumulate ? rest + LOAD_ACT8(to) : rest, to);
    rest = value.hi;
    to += 8;
#endif
    float4 last = rest.lo;
#if LANES & 4
    STORE_ACT4(accumulate ? last + LOAD_ACT4(to) : last, to);
    last = rest.hi;
    to += 4;
#endif
#if LANES & 2
    STORE_ACT2(accumulate ? last.lo + LOAD_ACT2(to) : last.lo, to);
    last.lo = last.hi;
    to += 2;
#endif
#if LANES & 1
    STORE_ACT1(accumulate ? last.x + LOAD_ACT1(to) : last.x, to);
#endif
#endif
}

/* Columns `first` to first + columns of an input row with up - 1 zeros between its pixels, for one vector. row: the
 * vector's first channel of pixel 0, `width` channels before the pixel's end. */
void copy_row(global const ACT *restrict row, float *restrict to, int first, int columns, int in_w, int in_c, int up,
              int width) {
    for (int i = 0; i < columns; i++, to += PIXEL) {
        const int column = first + i, x = up == 1 ? column : column / up;
        const bool valid = column >= 0 && x < in_w && x * up == column;
        const float16 value = valid ? load_acts(row + (size_t)x * in_c, width) : (float16)(0.0f);
#if SPREAD
        float in[16];
        vstore16(value, 0, in);
#define PICK(l) in[((l) / OUT < GROUPS ? (l) / OUT : GROUPS - 1) * IN + k]
#pragma unroll
        for (int k = 0; k < IN; k++)
            vstore16((float16)(PICK(0), PICK(1), PICK(2), PICK(3), PICK(4), PICK(5), PICK(6), PICK(7), PICK(8), PICK(9),
                               PICK(10), PICK(11), PICK(12), PICK(13), PICK(14), PICK(15)),
                     k, to);
#else
        vstore16(value, 0, to);
#endif
    }
}

/* Whether row y, counted with the zeros between, is one of the input's. */
bool is_row(int y, int in_h, int up) {
    return y >= 0 && (up == 1 || y % up == 0) && y / up < in_h;
}

/* Copies the rows from `next` to the last that a result needs whose first tap is in row `top`, each to its place among
 * `rows`. Returns the row after them. */
int copy_rows(global const ACT *restrict x, float *restrict buffer, int next, int top, int first_y, int rows,
              struct sizes s, int up_y, int up_x, int first_x, int columns, int width) {
    for (next = max(next, top); next < top + rows; next++)
        if (is_row(next, s.in_h, up_y))
            copy_row(x + (size_t)(next / up_y) * s.in_w * s.in_c, buffer + (next - first_y) % rows * columns * PIXEL,
                     first_x, columns, s.in_w, s.in_c, up_x, width);
    return next;
}

/* [vector][tap][k][16], zeros in lanes without a result; an item packs a vector. data: results are input channels, the
 * sum runs over outputs, and the kernel is turned around. */
kernel void pack(global const float *restrict weight, global float *restrict packed, int groups, int data) {
    const int vector = get_global_id(0);
    if (vector * GROUPS >= groups) return;
    for (int i = 0; i < TAPS * IN; i++) {
        const int tap = i / IN, k = i % IN;
        float part[16];
        for (int l = 0; l < 16; l++) {
            const int group = vector * GROUPS + l / OUT, result = l % OUT;
            const size_t at = data ? (((size_t)group * IN + k) * OUT + result) * TAPS + TAPS - 1 - tap
                                   : (((size_t)group * OUT + result) * IN + k) * TAPS + tap;
            part[l] = l < LANES && group < groups ? weight[at] : 0.0f;
        }
        vstore16(vload16(0, part), i, packed + (size_t)vector * TAPS * IN * 16);
    }
}

struct strips { // of the host's too (host/ops/conv/grouped.c)
    int up_y, up_x, vectors, share, strip, columns;
};

/* An item computes `share` rows of results of one vector, by strips of `strip` columns, for which `columns` columns of
 * the input are needed. in_first: where the first tap of result (0, 0) is. */
kernel void convolve(global const ACT *restrict x, global const float *restrict packed,
                     global const float *restrict bias, global ACT *restrict out, struct sizes s, struct axis down,
                     struct axis across, struct strips r, int has_bias, int accumulate) {
    const int vector = get_global_id(0), begin = get_global_id(1) * r.share;
    const int end = min(begin + r.share, s.images * s.out_h), strip = r.strip, columns = r.columns;
    const int c0 = vector * GROUPS * IN, o0 = vector * LANES, lanes = min(LANES, s.out_c - o0);
    const int first_y = down.in_first, rows = (down.taps - 1) * down.tap_step + 1;
    if (vector >= r.vectors) return;
    global const float *weights = packed + (size_t)vector * TAPS * IN * 16;
    const float16 start = has_bias ? load_some(bias + o0, s.out_c - o0) : (float16)(0.0f);
    float buffer[BUFFER];
    for (int left = 0; left < s.out_w; left += strip) {
        const int right = min(left + strip, s.out_w);
        int next = 0, image = -1;
        for (int row = begin; row < end; row++) {
            const int n = row / s.out_h, top = (row - n * s.out_h) * down.in_step + first_y;
            if (n != image) image = n, next = top;
            next = copy_rows(x + (size_t)n * s.in_h * s.in_w * s.in_c + c0, buffer, next, top, first_y, rows, s, r.up_y,
                             r.up_x, left * STRIDE_X + across.in_first, columns, s.in_c - c0);
            for (int ox = left; ox < right; ox += TM) {
#define START(i) float16 sum##i = start;
                EACH_ROW(START)
                for (int ky = 0; ky < down.taps; ky++) {
                    const int y = top + ky * down.tap_step;
                    if (!is_row(y, s.in_h, r.up_y)) continue;
                    const float *a = buffer + ((y - first_y) % rows * columns + (ox - left) * STRIDE_X) * PIXEL;
                    global const float *w = weights + ky * across.taps * IN * 16;
                    for (int kx = 0; kx < across.taps; kx++, a += across.tap_step * PIXEL, w += IN * 16) {
#pragma unroll
                        for (int k = 0; k < IN; k++) {
                            const float16 line = vload16(k, w);
#define MULTIPLY(i) sum##i = FMA(VALUE(a + i * STRIDE_X * PIXEL + k * STEP), line, sum##i);
                            EACH_ROW(MULTIPLY)
                        }
                    }
                }
                global ACT *to = out + ((size_t)row * s.out_w + ox) * s.out_c + o0;
#define FINISH(i)                                                                                                      \
    if (ox + i < right) store_lanes(sum##i, to + (size_t)i * s.out_c, lanes, accumulate);
                EACH_ROW(FINISH)
            }
        }
    }
}

/* The sums over one share of the rows: partial[vector][split][TAPS*IN + 1][16], in the order (tap, k), the last one the
 * bias's. */
kernel void weights(global const ACT *restrict x, global const ACT *restrict dy, global float *restrict partial,
                    struct sizes s, struct axis down, struct axis across, int vectors, int splits, int strip,
                    int columns) {
    const int vector = get_global_id(0), split = get_global_id(1), all = s.images * s.out_h;
    const int share = (all + splits - 1) / splits, begin = min(split * share, all), end = min(begin + share, all);
    const int c0 = vector * GROUPS * IN, o0 = vector * LANES, rows = (down.taps - 1) * down.tap_step + 1;
    const int first_y = down.in_first;
    if (vector >= vectors || split >= splits) return;
    float buffer[BUFFER], gradient[BUFFER / 4];
    float16 sums[TAPS * IN + 1];
    for (int i = 0; i <= TAPS * IN; i++) sums[i] = (float16)(0.0f);
    for (int left = 0; left < s.out_w; left += strip) {
        const int count = min(strip, s.out_w - left);
        int next = 0, image = -1;
        for (int row = begin; row < end; row++) {
            const int n = row / s.out_h, top = (row - n * s.out_h) * down.in_step + first_y;
            if (n != image) image = n, next = top;
            next = copy_rows(x + (size_t)n * s.in_h * s.in_w * s.in_c + c0, buffer, next, top, first_y, rows, s, 1, 1,
                             left * STRIDE_X + across.in_first, columns, s.in_c - c0);
            global const ACT *from = dy + ((size_t)row * s.out_w + left) * s.out_c + o0;
            for (int p = 0; p < count; p++) {
                const float16 value = load_acts(from + (size_t)p * s.out_c, s.out_c - o0);
                vstore16(value, p, gradient);
                sums[TAPS * IN] += value;
            }
            for (int ky = 0; ky < down.taps; ky++) {
                const int y = top + ky * down.tap_step, terms = across.taps * IN;
                if (!is_row(y, s.in_h, 1)) continue;
                const float *line = buffer + (y - first_y) % rows * columns * PIXEL;
                for (int j = 0; j < terms; j += TM) {
#define PLACE(i)                                                                                                       \
    const int j##i = min(j + i, terms - 1);                                                                            \
    const float *a##i = line + j##i / IN * across.tap_step * PIXEL + j##i % IN * STEP;
#define CLEAR(i) float16 sum##i = (float16)(0.0f);
#define ADD(i) sum##i = FMA(VALUE(a##i + p * STRIDE_X * PIXEL), value, sum##i);
#define KEEP(i)                                                                                                        \
    if (j + i < terms) sums[ky * terms + j + i] += sum##i;
                    EACH_ROW(PLACE)
                    EACH_ROW(CLEAR)
                    for (int p = 0; p < count; p++) {
                        const float16 value = vload16(p, gradient);
                        EACH_ROW(ADD)
                    }
                    EACH_ROW(KEEP)
                }
            }
        }
    }
    global float *to = partial + ((size_t)vector * splits + split) * (TAPS * IN + 1) * 16;
    for (int i = 0; i <= TAPS * IN; i++) vstore16(sums[i], i, to);
}

/* Sums the splits in order and writes dweight (OIHW), and dbias where has_bias; an item takes a vector. */
kernel void reduce(global const float *restrict partial, global float *restrict dweight, global float *restrict dbias,
                   int groups, int splits, int has_bias) {
    const int vector = get_global_id(0), lanes = min(GROUPS, groups - vector * GROUPS) * OUT;
    if (vector * GROUPS >= groups) return;
    const size_t o0 = (size_t)vector * LANES;
    global const float *from = partial + (size_t)vector * splits * (TAPS * IN + 1) * 16;
    for (int i = 0; i < TAPS * IN + has_bias; i++) {
        float16 sum = vload16(i, from);
        for (int s = 1; s < splits; s++) sum += vload16(i, from + (size_t)s * (TAPS * IN + 1) * 16);
        float part[16];
        vstore16(sum, 0, part);
        for (int l = 0; l < lanes; l++)
            if (i == TAPS * IN)
                dbias[o0 + l] = part[l];
            else
                dweight[((o0 + l) * IN + i % IN) * TAPS + i / IN] = part[l];
    }
}
