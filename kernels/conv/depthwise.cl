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
 *  KERNEL_X    the kernel's width, where it is not dilated in that direction and the forward pass shall compute COLUMNS
 *              outputs side by side, each input read once for all; 0: one by one (0)
 *  COLUMNS     see there (4)
 *  ONE_TAP     the weight gradient's items sum one tap each (dimension 2), the last the bias, as where all sums of an
 *              item would not stay in registers; 0: all (0)
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
#ifndef ONE_TAP
#define ONE_TAP 0
#endif
#ifndef STRIDE_Y
#define STRIDE_Y 1
#endif
#ifndef STRIDE_X
#define STRIDE_X 1
#endif

#define SPAN ((COLUMNS - 1) * STRIDE_X + KERNEL_X)

#include "activation.h"

#include "fma.h"

#include "conv/sizes.h"

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
        for (int ox = 0, step = 1; ox < s.out_w; ox += step) {
            const int left = ox * STRIDE_X + across.in_first;
#if KERNEL_X
            step = left >= 0 && left + SPAN <= s.in_w && ox + COLUMNS <= s.out_w ? COLUMNS : 1;
#endif
            for (int o = o0; o < o1; o += VEC) {
                const vec start = has_bias ? LOAD(bias + o) : (vec)(0.0f);
                size_t to = ((size_t)row * s.out_w + ox) * s.out_c + o;
#if KERNEL_X
                if (step > 1) {
                    vec sums[COLUMNS];
#pragma unroll
                    for (int i = 0; i < COLUMNS; i++) sums[i] = start;
                    for (int ky = 0; ky < down.taps; ky++) {
                        const int iy = top + ky * down.tap_step;
                        if (iy < 0 || iy >= s.in_h) continue;
                        global const ACT *line = x + (((size_t)n * s.in_h + iy) * s.in_w + left) * s.in_c;
                        vec w[KERNEL_X];
#pragma unroll
                        for (int kx = 0; kx < KERNEL_X; kx++)
                            w[kx] = LOAD(packed + (size_t)(ky * KERNEL_X + kx) * s.out_c + o);
#pragma unroll
                        for (int j = 0; j < SPAN; j++) {
                            const vec v = load_input(line + (size_t)j * s.in_c, o);
#pragma unroll
                            for (int i = 0; i < COLUMNS; i++)
                                if (j >= i * STRIDE_X && j < i * STRIDE_X + KERNEL_X)
                                    sums[i] = FMA(v, w[j - i * STRIDE_X], sums[i]);
                        }
                    }
#pragma unroll
                    for (int i = 0; i < COLUMNS; i++) {
                        if (adds) sums[i] += LOAD_ACT(added + to + (size_t)i * s.out_c);
                        STORE_ACT(ACTIVATE(sums[i]), y + to + (size_t)i * s.out_c);
                    }
                    continue;
                }
#endif
                vec sum = start;
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
    }
}

/* The sums over one share of the rows: partial[split][TAPS + 1][O]; the last row is the bias's. An item computes one
 * vector of outputs and one split. */
kernel void weights(global const ACT *restrict x, global const ACT *restrict dy, global float *restrict partial,
                    struct sizes s, struct axis down, struct axis across, int splits) {
    const int rows = s.images * s.out_h;
    const int o = get_global_id(0) * VEC, split = get_global_id(1);
    if (o >= s.out_c || split >= splits) return;
    const int share = (rows + splits - 1) / splits;
    const int begin = (int)min((long)split * share, (long)rows), end = (int)min((long)begin + share, (long)rows);
#if ONE_TAP
    const int tap = get_global_id(2), ky = tap / across.taps, kx = tap % across.taps;
    vec sum = (vec)(0.0f);
    for (int row = begin; row < end; row++) {
        const int n = row / s.out_h, iy = (row - n * s.out_h) * STRIDE_Y + down.in_first + ky * down.tap_step;
        global const ACT *from = dy + (size_t)row * s.out_w * s.out_c + o;
        if (tap == TAPS)
            for (int ox = 0; ox < s.out_w; ox++) sum += LOAD_ACT(from + (size_t)ox * s.out_c);
        if (tap >= TAPS || iy < 0 || iy >= s.in_h) continue;
        global const ACT *line = x + ((size_t)n * s.in_h + iy) * s.in_w * s.in_c;
        for (int ox = 0; ox < s.out_w; ox++) {
            const int ix = ox * STRIDE_X + across.in_first + kx * across.tap_step;
            if (ix >= 0 && ix < s.in_w)
                sum = FMA(load_input(line + (size_t)ix * s.in_c, o), LOAD_ACT(from + (size_t)ox * s.out_c), sum);
        }
    }
    if (tap <= TAPS) STORE(sum, partial + ((size_t)split * (TAPS + 1) + tap) * s.out_c + o);
#else
    vec sums[TAPS + 1];
    for (int tap = 0; tap <= TAPS; tap++) sums[tap] = (vec)(0.0f);
    for (int row = begin; row < end; row++) {
        const int n = row / s.out_h, top = (row - n * s.out_h) * STRIDE_Y + down.in_first;
        global const ACT *from = dy + (size_t)row * s.out_w * s.out_c + o;
        for (int ox = 0; ox < s.out_w; ox++) sums[TAPS] += LOAD_ACT(from + (size_t)ox * s.out_c);
        for (int ky = 0; ky < down.taps; ky++) {
            const int iy = top + ky * down.tap_step;
            if (iy < 0 || iy >= s.in_h) continue;
            global const ACT *line = x + ((size_t)n * s.in_h + iy) * s.in_w * s.in_c;
            for (int kx = 0; kx < across.taps; kx++) {
                const int left = kx * across.tap_step + across.in_first; // the input column of output column 0
                const int low = left < 0 ? (STRIDE_X - 1 - left) / STRIDE_X : 0;
                const int high = left < s.in_w ? min(s.out_w, (s.in_w - 1 - left) / STRIDE_X + 1) : 0;
                vec even = (vec)(0.0f), odd = (vec)(0.0f);
                int ox = low;
                for (; ox + 1 < high; ox += 2) {
                    global const ACT *at = line + (size_t)(ox * STRIDE_X + left) * s.in_c;
                    even = FMA(load_input(at, o), LOAD_ACT(from + (size_t)ox * s.out_c), even);
                    odd = FMA(load_input(at + (size_t)STRIDE_X * s.in_c, o),
                              LOAD_ACT(from + (size_t)(ox + 1) * s.out_c), odd);
                }
                if (ox < high) {
                    global const ACT *at = line + (size_t)(ox * STRIDE_X + left) * s.in_c;
                    even = FMA(load_input(at, o), LOAD_ACT(from + (size_t)ox * s.out_c), even);
                }
                sums[ky * across.taps + kx] += even + odd;
            }
        }
    }
    for (int tap = 0; tap <= TAPS; tap++) STORE(sums[tap], partial + ((size_t)split * (TAPS + 1) + tap) * s.out_c + o);
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
