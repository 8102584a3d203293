/* Convolution as a matrix product: what lies around it. The products themselves are bl_gemm's.
 *
 *   P[pixel, tap, c]  = x[n, y*stride - padding + ky*dilation, ..., c], zero outside the image
 *   y[pixel, o]       = bias[o] + sum over tap, c of P[pixel, tap, c] w[tap, c, o]
 *   dP[pixel, tap, c] = sum over o of dy[pixel, o] w[tap, c, o];  dx[n, y, x, c] = sum of the dP that were read from
 * there dw[tap, c, o]     = sum over pixels of P[pixel, tap, c] dy[pixel, o]
 *
 * Activations are NHWC. Patches lie as [group][pixel of the slice][tap][channel of the group], weights come as
 * [O][G][F] (see host/ops/conv/conv.h) and are packed as [group][tap][channel of the group][output of the group]. A
 * slice is a run of output pixels, counted through the batch.
 *
 *  VEC       channels at once: 1, 2, 4, 8 or 16; divides the channels of a group (in sums: all outputs); required
 *  STRIDE_Y  rows between outputs (1)
 *  STRIDE_X  columns between outputs (1)
 *  ACT_TYPE  of activations (vec.h); bias and packed weights are floats, what is multiplied too
 */
#ifndef STRIDE_Y
#define STRIDE_Y 1
#endif
#ifndef STRIDE_X
#define STRIDE_X 1
#endif

#include "vec.h"

#include "conv/sizes.h"

/* weight to packed, or back. An item takes `outputs` outputs of `span` input channels, all taps. */
kernel void pack(global float *restrict weight, global float *restrict packed, int group_in, int group_out, int taps,
                 int interleave, int outputs, int span, int back) {
    const int o0 = get_global_id(0) * outputs, c0 = get_global_id(1) * span, group = get_global_id(2);
    const int o1 = min(o0 + outputs, group_out), c1 = min(c0 + span, group_in);
    const size_t features = (size_t)group_in * taps, length = features / interleave;
    packed += (size_t)group * features * group_out;
    for (int o = o0; o < o1; o++) {
        global float *from = weight + ((size_t)group * group_out + o) * features;
        size_t f = (size_t)c0 * taps / interleave;
        int g = (size_t)c0 * taps % interleave;
        for (int c = c0; c < c1; c++) {
            for (int tap = 0; tap < taps; tap++) {
                global float *here = from + g * length + f,
                             *there = packed + ((size_t)tap * group_in + c) * group_out + o;
                if (back)
                    *here = *there;
                else
                    *there = *here;
                if (++g == interleave) g = 0, f++;
            }
        }
    }
}

/* The patches of `count` output pixels from `first` on. An item writes `span` vectors of a group, counted through
 * [pixel][tap][vector of channels]. */
kernel void gather(global const ACT *restrict x, global float *restrict patches, int first, int count, struct sizes s,
                   struct axis down, struct axis across, int span) {
    const int group = get_global_id(1), group_in = s.group_in, vectors = group_in / VEC;
    const int kernel_h = down.taps, kernel_w = across.taps, taps = kernel_h * kernel_w;
    const long all = (long)count * taps * vectors, start = (long)get_global_id(0) * span;
    if (start >= all) return;
    long left = min(all - start, (long)span);
    const int place = (int)(start / vectors % taps), pixel = (int)(start / vectors / taps) + first;
    int v = (int)(start % vectors), kx = place % kernel_w, ky = place / kernel_w;
    int ox = pixel % s.out_w, oy = pixel / s.out_w % s.out_h, n = pixel / s.out_w / s.out_h;
    global float *to = patches + (size_t)group * count * taps * group_in + start * VEC;
    x += (size_t)group * group_in;
    while (left > 0) {
        const int iy = oy * STRIDE_Y + down.in_first + ky * down.tap_step,
                  ix = ox * STRIDE_X + across.in_first + kx * across.tap_step;
        const bool inside = (uint)iy < (uint)s.in_h && (uint)ix < (uint)s.in_w;
        const int run = (int)min((long)(vectors - v), left);
        global const ACT *from =
            x + (((size_t)n * s.in_h + (inside ? iy : 0)) * s.in_w + (inside ? ix : 0)) * s.in_c + v * VEC;
        for (int i = 0; i < run; i++) STORE(inside ? LOAD_ACT(from + i * VEC) : (vec)(0.0f), to + i * VEC);
        to += (size_t)run * VEC, left -= run, v = 0;
        if (++kx < kernel_w) continue;
        kx = 0;
        if (++ky < kernel_h) continue;
        ky = 0;
        if (++ox < s.out_w) continue;
        ox = 0;
        if (++oy == s.out_h) oy = 0, n++;
    }
}

/* dx of `pixels` input pixels, from pixel `origin` of the batch on, as far as the slice's patches contribute, in the
 * order of the taps. An item computes `span` vectors of a group, counted through [pixel][vector of channels]. */
kernel void gather_back(global const float *restrict patches, global ACT *restrict dx, int origin, int pixels,
                        int first, int count, struct sizes s, struct axis down, struct axis across, int span,
                        int accumulate) {
    const int group = get_global_id(1), group_in = s.group_in, vectors = group_in / VEC;
    const int kernel_h = down.taps, kernel_w = across.taps, taps = kernel_h * kernel_w;
    const long start = (long)get_global_id(0) * span, end = min(start + span, (long)pixels * vectors);
    patches += (size_t)group * count * taps * group_in;
    for (long at = start; at < end; at++) {
        const int pixel = (int)(at / vectors) + origin, v = (int)(at % vectors);
        const int ix = pixel % s.in_w, iy = pixel / s.in_w % s.in_h, n = pixel / s.in_w / s.in_h;
        global ACT *to = dx + (size_t)pixel * s.in_c + group * group_in + v * VEC;
        vec sum = accumulate ? LOAD_ACT(to) : (vec)(0.0f);
        for (int ky = 0; ky < kernel_h; ky++) {
            const int y = iy - down.in_first - ky * down.tap_step, oy = y / STRIDE_Y;
            if (y < 0 || y % STRIDE_Y || oy >= s.out_h) continue;
            for (int kx = 0; kx < kernel_w; kx++) {
                const int tx = ix - across.in_first - kx * across.tap_step, ox = tx / STRIDE_X;
                if (tx < 0 || tx % STRIDE_X || ox >= s.out_w) continue;
                const int p = (n * s.out_h + oy) * s.out_w + ox - first;
                if ((uint)p >= (uint)count) continue;
                sum += LOAD(patches + ((size_t)p * taps + ky * kernel_w + kx) * group_in + v * VEC);
            }
        }
        STORE_ACT(sum, to);
    }
}

/* to[row][channel] = bias[channel]. An item writes `wide` channels of `span` rows. */
kernel void spread(global const float *restrict bias, global float *restrict to, int rows, int channels, int wide,
                   int span) {
    const int c0 = get_global_id(0) * wide, c1 = min(c0 + wide, channels);
    const long r0 = (long)get_global_id(1) * span, r1 = min(r0 + span, (long)rows);
    for (long r = r0; r < r1; r++)
        for (int c = c0; c < c1; c++) to[r * channels + c] = bias[c];
}

/* to[split][channel] = the sum of from[row][channel] over `span` rows, in order. An item sums a vector of channels. */
kernel void sums(global const ACT *restrict from, global float *restrict to, int rows, int channels, int span) {
    const int c = get_global_id(0) * VEC, split = get_global_id(1);
    const long r0 = (long)split * span, r1 = min(r0 + span, (long)rows);
    if (c >= channels || r0 >= rows) return;
    vec sum = (vec)(0.0f);
    for (long r = r0; r < r1; r++) sum += LOAD_ACT(from + r * channels + c);
    STORE(sum, to + (size_t)split * channels + c);
}
