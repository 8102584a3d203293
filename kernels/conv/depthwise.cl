/* Depthwise convolution: every output channel o sees one input channel, o / MULTIPLIER.
 *
 *   y[n, y, x, o]  = bias[o] + sum over taps of x[n, y*stride - padding + ky*dilation, ..., o / MULTIPLIER] w[o, tap]
 *   dx[n, y, x, c] = sum over taps, m of dy[n, (y + padding - ky*dilation) / stride, ..., c*MULTIPLIER + m] w[., tap]
 *   dw[o, tap]     = sum over n, y, x of x[shifted by the tap, o / MULTIPLIER] dy[n, y, x, o]
 *
 * Activations are NHWC, weights [O][taps] as PyTorch's (O, 1, kh, kw), packed as [taps][O]. Items take vectors of VEC
 * neighbouring channels; a row is one (image, y).
 *
 *  VEC         channels at once: 1, 2, 4, 8 or 16; divides the channels that the items of a kernel count
 *  MULTIPLIER  outputs per input channel
 *  STRIDE_Y    rows between outputs (1)
 *  STRIDE_X    columns between outputs (1)
 *  TAPS        kh*kw
 *  KERNEL_X    the kernel's width, where it is not dilated and items shall compute COLUMNS columns side by side, each
 *              value read once for all of a line's taps; 0: one by one (0)
 *  COLUMNS     see there; a multiple of STRIDE_X (4)
 *  PADDING_X   columns of padding, with KERNEL_X (0)
 *  ACTIVATION  what the forward pass applies to its results: 0 none (0), 1 relu, 2 relu6
 */
#if !defined(VEC) || !defined(MULTIPLIER) || !defined(TAPS)
#error "conv/depthwise.cl needs VEC, MULTIPLIER and TAPS"
#endif
#ifndef KERNEL_X
#define KERNEL_X 0
#endif
#ifndef COLUMNS
#define COLUMNS 4
#endif
#ifndef PADDING_X
#define PADDING_X 0
#endif
#ifndef STRIDE_Y
#define STRIDE_Y 1
#endif
#ifndef STRIDE_X
#define STRIDE_X 1
#endif

#define SPAN ((COLUMNS - 1) * STRIDE_X + KERNEL_X) // inputs of COLUMNS outputs
/* Outputs that COLUMNS inputs from a multiple of STRIDE_X on meet, by the output at that input / STRIDE_X. */
#define LAST_OUTPUT ((COLUMNS - 1 + PADDING_X) / STRIDE_X)
#define FIRST_OUTPUT (-((KERNEL_X - 1 - PADDING_X) / STRIDE_X))

/* Lines of taps that the weight gradient sums at once: where their sums stay in registers. */
#if KERNEL_X
#define LINES (TAPS <= 9 ? TAPS / KERNEL_X : 1)
#endif

#include "activation.h"

#include "fma.h"

#include "conv/sizes.h"
#include "fetch.h"

/* x[(o + l) / MULTIPLIER] for the VEC outputs from o on. */
vec load_input(global const ACT *x, int o) {
#if MULTIPLIER == 1
    return LOAD_ACT(x + o);
#else
    float part[VEC];
    for (int l = 0; l < VEC; l++) part[l] = LOAD_ACT1(x + (o + l) / MULTIPLIER);
    return LOAD(part);
#endif
}

/* from[(c + l)*MULTIPLIER + m] for the VEC inputs from c on. */
vec load_output(global const ACT *from, int c, int m) {
#if MULTIPLIER == 1
    return LOAD_ACT(from + c);
#else
    float part[VEC];
    for (int l = 0; l < VEC; l++) part[l] = LOAD_ACT1(from + ((c + l) * MULTIPLIER + m));
    return LOAD(part);
#endif
}
vec load_weight(global const float *from, int c, int m) {
#if MULTIPLIER == 1
    return LOAD(from + c);
#else
    float part[VEC];
    for (int l = 0; l < VEC; l++) part[l] = from[(c + l) * MULTIPLIER + m];
    return LOAD(part);
#endif
}

/* weight[O][TAPS] to packed[TAPS][O]; an item takes `span` outputs. */
kernel void pack(global const float *restrict weight, global float *restrict packed, int channels, int span) {
    const int begin = get_global_id(0) * span, end = min(begin + span, channels);
    for (int o = begin; o < end; o++)
        for (int tap = 0; tap < TAPS; tap++) packed[(size_t)tap * channels + o] = weight[(size_t)o * TAPS + tap];
}

/* An item computes `strip` output rows of `span` vectors of outputs, all of these for some pixels, then for the next.
 * adds: `added`, of the output's shape, is added before the activation. In one piece: divided into functions that take
 * structs it takes twice the time (PoCL). */
kernel void forward(global const ACT *restrict x, global const float *restrict packed,
                    global const float *restrict bias, global ACT *y, global const ACT *added, struct sizes s,
                    struct axis down, struct axis across, int span, int strip, int has_bias, int adds) {
    const int rows = s.images * s.out_h;
    const int o0 = get_global_id(0) * span * VEC, o1 = min(o0 + span * VEC, s.out_c);
    const int first = get_global_id(1) * strip, last = min(first + strip, rows);
    for (int row = first; row < last; row++) {
        const int n = row / s.out_h, top = (row - n * s.out_h) * STRIDE_Y + down.in_first;
#if KERNEL_X
        for (int ox = 0; ox < s.out_w; ox += COLUMNS) {
            const int left = ox * STRIDE_X - PADDING_X;
            const bool inner = left >= 0 && left + SPAN <= s.in_w && ox + COLUMNS <= s.out_w;
            const long below = (((long)n * s.in_h + top + TAPS / KERNEL_X) * s.in_w + left) * s.in_c;
            for (int o = o0; o < o1; o += VEC) {
                const vec start = has_bias ? LOAD(bias + o) : (vec)(0.0f);
                const size_t to = ((size_t)row * s.out_w + ox) * s.out_c + o;
                for (int i = 0; i < COLUMNS * STRIDE_X * STRIDE_Y; i++)
                    FETCH(x + below + ((long)(i / COLUMNS / STRIDE_X) * s.in_w + i % (COLUMNS * STRIDE_X)) * s.in_c +
                          o);
                vec sums[COLUMNS];
#pragma unroll
                for (int i = 0; i < COLUMNS; i++) sums[i] = start;
                for (int ky = 0; ky < TAPS / KERNEL_X; ky++) {
                    const int iy = top + ky;
                    if (iy < 0 || iy >= s.in_h) continue;
                    global const ACT *line = x + (((long)n * s.in_h + iy) * s.in_w + left) * s.in_c;
                    vec w[KERNEL_X];
#pragma unroll
                    for (int kx = 0; kx < KERNEL_X; kx++)
                        w[kx] = LOAD(packed + (size_t)(ky * KERNEL_X + kx) * s.out_c + o);
#define ADD_INPUT(j)                                                                                                   \
    const vec v = load_input(line + (long)(j)*s.in_c, o);                                                              \
    _Pragma("unroll") for (int i = 0; i < COLUMNS; i++) if ((j) >= i * STRIDE_X && (j) < i * STRIDE_X + KERNEL_X)      \
        sums[i] = FMA(v, w[(j)-i * STRIDE_X], sums[i]);
                    if (inner) {
#pragma unroll
                        for (int j = 0; j < SPAN; j++) {
                            ADD_INPUT(j)
                        }
                    } else {
#pragma unroll
                        for (int j = 0; j < SPAN; j++)
                            if (left + j >= 0 && left + j < s.in_w) {
                                ADD_INPUT(j)
                            }
                    }
                }
#pragma unroll
                for (int i = 0; i < COLUMNS; i++) {
                    if (!inner && ox + i >= s.out_w) break;
                    if (adds) sums[i] += LOAD_ACT(added + to + (size_t)i * s.out_c);
                    STORE_ACT(ACTIVATE(sums[i]), y + to + (size_t)i * s.out_c);
                }
            }
        }
#else
        for (int ox = 0; ox < s.out_w; ox++) {
            const int left = ox * STRIDE_X + across.in_first;
            for (int o = o0; o < o1; o += VEC) {
                const size_t to = ((size_t)row * s.out_w + ox) * s.out_c + o;
                vec sum = has_bias ? LOAD(bias + o) : (vec)(0.0f);
                for (int ky = 0; ky < down.taps; ky++) {
                    const int iy = top + ky * down.tap_step;
                    if (iy < 0 || iy >= s.in_h) continue;
                    global const ACT *line = x + ((size_t)n * s.in_h + iy) * s.in_w * s.in_c;
                    for (int kx = 0; kx < across.taps; kx++) {
                        const int ix = left + kx * across.tap_step;
                        if (ix < 0 || ix >= s.in_w) continue;
                        const vec w = LOAD(packed + (size_t)(ky * across.taps + kx) * s.out_c + o);
                        sum = FMA(load_input(line + (size_t)ix * s.in_c, o), w, sum);
                    }
                }
                if (adds) sum += LOAD_ACT(added + to);
                STORE_ACT(ACTIVATE(sum), y + to);
            }
        }
#endif
    }
}

/* An item computes `strip` input rows of `span` vectors of inputs. Sizes and axes are those of the forward pass. */
kernel void data(global const ACT *restrict dy, global const float *restrict packed, global ACT *restrict dx,
                 struct sizes s, struct axis down, struct axis across, int span, int strip, int accumulate) {
    const int rows = s.images * s.in_h;
    const int c0 = get_global_id(0) * span * VEC, c1 = min(c0 + span * VEC, s.in_c);
    const int first = get_global_id(1) * strip, last = min(first + strip, rows);
    for (int row = first; row < last; row++) {
        const int n = row / s.in_h, top = row - n * s.in_h - down.in_first;
#if KERNEL_X && MULTIPLIER == 1
        /* Of the outputs from ox on, that at ox + d meets input ix + j by tap j + PADDING_X - d*STRIDE_X. */
        for (int ix = 0; ix < s.in_w; ix += COLUMNS) {
            const int ox = ix / STRIDE_X;
            const long below = (((long)n * s.out_h + (top + STRIDE_Y) / STRIDE_Y) * s.out_w + ox) * s.out_c;
            const bool inner = ox + FIRST_OUTPUT >= 0 && ox + LAST_OUTPUT < s.out_w && ix + COLUMNS <= s.in_w;
            for (int c = c0; c < c1; c += VEC) {
                global ACT *to = dx + ((size_t)row * s.in_w + ix) * s.in_c + c;
                for (int j = 0; j < COLUMNS / STRIDE_X; j++) FETCH(dy + below + (long)j * s.out_c + c);
                vec sums[COLUMNS];
#pragma unroll
                for (int j = 0; j < COLUMNS; j++)
                    sums[j] =
                        accumulate && (inner || ix + j < s.in_w) ? LOAD_ACT(to + (size_t)j * s.in_c) : (vec)(0.0f);
                for (int ky = 0; ky < TAPS / KERNEL_X; ky++) {
                    const int ty = top - ky, oy = ty / STRIDE_Y;
                    if (ty < 0 || ty % STRIDE_Y != 0 || oy >= s.out_h) continue;
                    global const ACT *line = dy + (((long)n * s.out_h + oy) * s.out_w + ox) * s.out_c + c;
                    vec w[KERNEL_X];
#pragma unroll
                    for (int kx = 0; kx < KERNEL_X; kx++)
                        w[kx] = LOAD(packed + (size_t)(ky * KERNEL_X + kx) * s.out_c + c);
#define ADD_OUTPUT(d)                                                                                                  \
    const vec v = LOAD_ACT(line + (long)(d)*s.out_c);                                                                  \
    _Pragma("unroll") for (int j = 0; j < COLUMNS;                                                                     \
                           j++) if (j + PADDING_X - (d)*STRIDE_X >= 0 && j + PADDING_X - (d)*STRIDE_X < KERNEL_X)      \
        sums[j] = FMA(v, w[j + PADDING_X - (d)*STRIDE_X], sums[j]);
                    if (inner) {
#pragma unroll
                        for (int d = LAST_OUTPUT; d >= FIRST_OUTPUT; d--) {
                            ADD_OUTPUT(d)
                        }
                    } else {
#pragma unroll
                        for (int d = LAST_OUTPUT; d >= FIRST_OUTPUT; d--)
                            if (ox + d >= 0 && ox + d < s.out_w) {
                                ADD_OUTPUT(d)
                            }
                    }
                }
#pragma unroll
                for (int j = 0; j < COLUMNS; j++) {
                    if (!inner && ix + j >= s.in_w) break;
                    STORE_ACT(sums[j], to + (size_t)j * s.in_c);
                }
            }
        }
#else
        for (int c = c0; c < c1; c += VEC) {
            global ACT *to = dx + (size_t)row * s.in_w * s.in_c + c;
            for (int ix = 0; ix < s.in_w; ix++, to += s.in_c) {
                vec sum = accumulate ? LOAD_ACT(to) : (vec)(0.0f);
                for (int ky = 0; ky < down.taps; ky++) {
                    const int ty = top - ky * down.tap_step, oy = ty / STRIDE_Y;
                    if (ty < 0 || ty % STRIDE_Y != 0 || oy >= s.out_h) continue;
                    global const ACT *line = dy + ((size_t)n * s.out_h + oy) * s.out_w * s.out_c;
                    for (int kx = 0; kx < across.taps; kx++) {
                        const int tx = ix - across.in_first - kx * across.tap_step, ox = tx / STRIDE_X;
                        if (tx < 0 || tx % STRIDE_X != 0 || ox >= s.out_w) continue;
                        global const float *w = packed + (size_t)(ky * across.taps + kx) * s.out_c;
                        for (int m = 0; m < MULTIPLIER; m++)
                            sum = FMA(load_output(line + (size_t)ox * s.out_c, c, m), load_weight(w, c, m), sum);
                    }
                }
                STORE_ACT(sum, to);
            }
        }
#endif
    }
}

/* The sums over one share of the rows: partial[split][TAPS + 1][O]; the last row is the bias's.
 * With KERNEL_X an item computes `span` vectors of outputs, all of these for `strip` rows, which a core's cache holds,
 * then for the next. Otherwise it computes one vector, and one tap or the bias (dimension 2). */
kernel void weights(global const ACT *restrict x, global const ACT *restrict dy, global float *restrict partial,
                    struct sizes s, struct axis down, struct axis across, int splits, int span, int strip) {
    const int rows = s.images * s.out_h;
    const int o0 = get_global_id(0) * span * VEC, o1 = min(o0 + span * VEC, s.out_c), split = get_global_id(1);
    if (o0 >= s.out_c || split >= splits) return;
    const int share = (rows + splits - 1) / splits;
    const int begin = (int)min((long)split * share, (long)rows), end = (int)min((long)begin + share, (long)rows);
    partial += (size_t)split * (TAPS + 1) * s.out_c;
#if KERNEL_X
    for (int o = o0; o < o1; o += VEC)
        for (int tap = 0; tap <= TAPS; tap++) STORE((vec)(0.0f), partial + (size_t)tap * s.out_c + o);
    for (int first = begin; first < end; first += strip)
        for (int o = o0; o < o1; o += VEC)
            for (int ky = 0; ky < TAPS / KERNEL_X; ky += LINES) {
                vec sums[LINES * KERNEL_X], bias = (vec)(0.0f);
#pragma unroll
                for (int i = 0; i < LINES * KERNEL_X; i++) sums[i] = (vec)(0.0f);
                for (int row = first; row < min(first + strip, end); row++) {
                    const int n = row / s.out_h, top = (row - n * s.out_h) * STRIDE_Y + down.in_first + ky;
                    global const ACT *from = dy + (size_t)row * s.out_w * s.out_c + o;
                    for (int ox = 0; ox < s.out_w; ox += COLUMNS, from += COLUMNS * s.out_c) {
                        const int left = ox * STRIDE_X - PADDING_X;
                        const bool inner = left >= 0 && left + SPAN <= s.in_w && ox + COLUMNS <= s.out_w;
                        if (ky == 0) {
                            for (int i = 0; i < COLUMNS; i++) FETCH(from + ((long)strip * s.out_w + i) * s.out_c);
                            for (int i = 0; i < COLUMNS * STRIDE_X * STRIDE_Y; i++)
                                FETCH(x +
                                      (((long)n * s.in_h + top + strip * STRIDE_Y + i / COLUMNS / STRIDE_X) * s.in_w +
                                       left + i % (COLUMNS * STRIDE_X)) *
                                          s.in_c +
                                      o);
                        }
                        vec d[COLUMNS];
#pragma unroll
                        for (int i = 0; i < COLUMNS; i++) {
                            d[i] = inner || ox + i < s.out_w ? LOAD_ACT(from + (size_t)i * s.out_c) : (vec)(0.0f);
                            bias += d[i];
                        }
#pragma unroll
                        for (int l = 0; l < LINES; l++) {
                            const int iy = top + l;
                            if (iy < 0 || iy >= s.in_h) continue;
                            global const ACT *line = x + (((long)n * s.in_h + iy) * s.in_w + left) * s.in_c;
#define ADD_PRODUCTS(j)                                                                                                \
    const vec v = load_input(line + (long)(j)*s.in_c, o);                                                              \
    _Pragma("unroll") for (int i = 0; i < COLUMNS; i++) if ((j) >= i * STRIDE_X && (j) < i * STRIDE_X + KERNEL_X)      \
        sums[l * KERNEL_X + (j)-i * STRIDE_X] = FMA(v, d[i], sums[l * KERNEL_X + (j)-i * STRIDE_X]);
                            if (inner) {
#pragma unroll
                                for (int j = 0; j < SPAN; j++) {
                                    ADD_PRODUCTS(j)
                                }
                            } else {
#pragma unroll
                                for (int j = 0; j < SPAN; j++)
                                    if (left + j >= 0 && left + j < s.in_w) {
                                        ADD_PRODUCTS(j)
                                    }
                            }
                        }
                    }
                }
                global float *to = partial + (size_t)ky * KERNEL_X * s.out_c + o;
#pragma unroll
                for (int i = 0; i < LINES * KERNEL_X; i++)
                    STORE(LOAD(to + (size_t)i * s.out_c) + sums[i], to + (size_t)i * s.out_c);
                to = partial + (size_t)TAPS * s.out_c + o;
                if (ky == 0) STORE(LOAD(to) + bias, to);
            }
#else
    const int o = o0, tap = get_global_id(2), ky = tap / across.taps, kx = tap % across.taps;
    if (tap > TAPS) return;
    vec sum = (vec)(0.0f);
    for (int row = begin; row < end; row++) {
        const int n = row / s.out_h, iy = (row - n * s.out_h) * STRIDE_Y + down.in_first + ky * down.tap_step;
        global const ACT *from = dy + (size_t)row * s.out_w * s.out_c + o;
        if (tap == TAPS)
            for (int ox = 0; ox < s.out_w; ox++) sum += LOAD_ACT(from + (size_t)ox * s.out_c);
        if (tap == TAPS || iy < 0 || iy >= s.in_h) continue;
        global const ACT *line = x + ((size_t)n * s.in_h + iy) * s.in_w * s.in_c;
        for (int ox = 0; ox < s.out_w; ox++) {
            const int ix = ox * STRIDE_X + across.in_first + kx * across.tap_step;
            if (ix >= 0 && ix < s.in_w)
                sum = FMA(load_input(line + (size_t)ix * s.in_c, o), LOAD_ACT(from + (size_t)ox * s.out_c), sum);
        }
    }
    STORE(sum, partial + (size_t)tap * s.out_c + o);
#endif
}

/* Sums the splits in order and writes dweight[O][TAPS], and dbias where has_bias; an item takes a vector of outputs,
 * and taps in turn (dimension 1). */
kernel void reduce(global const float *restrict partial, global float *restrict dweight, global float *restrict dbias,
                   int channels, int splits, int has_bias) {
    const int o = get_global_id(0) * VEC;
    if (o >= channels) return;
    for (int tap = get_global_id(1); tap < TAPS + has_bias; tap += get_global_size(1)) {
        vec sum = LOAD(partial + (size_t)tap * channels + o);
        for (int s = 1; s < splits; s++) sum += LOAD(partial + ((size_t)s * (TAPS + 1) + tap) * channels + o);
        float part[VEC];
        STORE(sum, part);
        if (tap == TAPS)
            for (int l = 0; l < VEC; l++) dbias[o + l] = part[l];
        else
            for (int l = 0; l < VEC; l++) dweight[(size_t)(o + l) * TAPS + tap] = part[l];
    }
}
