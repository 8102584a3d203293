/* Convolution of stride 1 through Fourier transforms: what lies around them.
 *
 *   y  = inverse(sum over c of X[n, c] conj(W[o, c])), read from -padding on, plus the bias
 *   dx = inverse(sum over o of dY[n, o] W[o, c]), read from padding on
 *   dw = inverse(sum over n of X[n, c] conj(dY[n, o])), read from -padding on
 *
 * where capitals are the transforms of planes of h by w values, zero beyond the image (or the taps), and positions are
 * taken modulo h and w: with h at least the image's height + padding, what is read is free of wrapped values.
 *
 * Activations are NHWC, weights [O][G][F] (see host/ops/conv/conv.h). Planes lie as host/blas/fft.h states:
 * [plane][h][pitch] floats, pitch = 2*(w/2 + 1), or as many complex values of half that number; plane n*channels + c of
 * an activation, o*C + c of weights. In the kernels that copy, an item takes `span` planes, `high` rows and `wide`
 * columns.
 *
 *  VEC  complex values that an item multiplies at once: 1 or 8 (1)
 *  TM   rows of its register tile, 1 to 4; it has two columns (2)
 *  ACT_TYPE  of activations (vec.h)
 */
#ifndef VEC
#define VEC 1
#endif
#ifndef TM
#define TM 2
#endif

#include "vec.h"
#include "tile.h"

struct copy { // of the host's too (host/ops/conv/fft.c)
    int planes, rows, columns, span, high, wide;
};

#define EACH_PLACE                                                                                                     \
    const int rows = s.rows, columns = s.columns;                                                                      \
    const int x0 = get_global_id(0) * s.wide, y0 = get_global_id(1) * s.high, p0 = get_global_id(2) * s.span;          \
    const int x1 = min(x0 + s.wide, columns), y1 = min(y0 + s.high, rows), p1 = min(p0 + s.span, s.planes);            \
    for (int y = y0; y < y1; y++)                                                                                      \
        for (int x = x0; x < x1; x++)                                                                                  \
            for (int p = p0; p < p1; p++)

/* --- activations ------------------------------------------------------------------------------ */

/* to[plane][y][x] = image[plane / channels, y, x, plane % channels], zero from image `end` on; rows and columns are
 * those of the planes. */
kernel void load(global const ACT *restrict image, global float *restrict to, struct copy s, int image_h, int image_w,
                 int channels, int first_image, int end) {
    EACH_PLACE {
        const size_t n = first_image + p / channels, c = p % channels;
        const bool there = n < end && y < image_h && x < image_w;
        to[((size_t)p * rows + y) * columns + x] =
            there ? LOAD_ACT1(image + (((n * image_h + y) * image_w + x) * channels + c)) : 0.0f;
    }
}

/* image[n, y, x, c] = bias[c] + from[plane][(y + shift_y) mod h][(x + shift_x) mod w]; rows and columns are the
 * image's. */
kernel void store(global const float *restrict from, global const float *restrict bias, global ACT *restrict image,
                  struct copy s, int h, int w, int channels, int shift_y, int shift_x, int first_image, int has_bias,
                  int accumulate) {
    const int pitch = w / 2 * 2 + 2;
    EACH_PLACE {
        const int c = p % channels, fy = (y + shift_y) % h, fx = (x + shift_x) % w;
        global ACT *to = image + (((size_t)(first_image + p / channels) * rows + y) * columns + x) * channels + c;
        const float value = from[((size_t)p * h + fy) * pitch + fx] + (has_bias ? bias[c] : 0.0f);
        STORE_ACT1(accumulate ? LOAD_ACT1(to) + value : value, to);
    }
}

/* --- weights ---------------------------------------------------------------------------------- */

/* Where the tap of plane p = o*C + c lies. */
size_t weight_at(int p, int tap, int taps, int group_in, int interleave) {
    const size_t features = (size_t)group_in * taps, j = (size_t)(p % group_in) * taps + tap;
    return p / group_in * features + j % interleave * (features / interleave) + j / interleave;
}

kernel void load_weights(global const float *restrict weight, global float *restrict to, struct copy s, int kernel_h,
                         int kernel_w, int group_in, int interleave) {
    EACH_PLACE {
        float value = 0.0f;
        if (y < kernel_h && x < kernel_w)
            value = weight[weight_at(p, y * kernel_w + x, kernel_h * kernel_w, group_in, interleave)];
        to[((size_t)p * rows + y) * columns + x] = value;
    }
}

/* rows and columns are the kernel's. */
kernel void store_weights(global const float *restrict from, global float *restrict weight, struct copy s, int h, int w,
                          int group_in, int interleave, int shift_y, int shift_x) {
    const int pitch = w / 2 * 2 + 2;
    EACH_PLACE {
        const int fy = (y + shift_y) % h, fx = (x + shift_x) % w;
        weight[weight_at(p, y * columns + x, rows * columns, group_in, interleave)] =
            from[((size_t)p * h + fy) * pitch + fx];
    }
}

/* dbias[o] = the sum of dy, which is its transform's first value, over the images. spectrum: floats to the next plane.
 */
kernel void sum_first(global const float *restrict from, global float *restrict dbias, int images, int outputs,
                      int spectrum, int accumulate) {
    const int o = get_global_id(0);
    if (o >= outputs) return;
    float sum = accumulate ? dbias[o] : 0.0f;
    for (int n = 0; n < images; n++) sum += from[((size_t)n * outputs + o) * spectrum];
    dbias[o] = sum;
}

/* --- products --------------------------------------------------------------------------------- */

/* The real and imaginary parts of VEC complex values, of which the first `count` are there. */
void load_complex(global const float *from, int count, vec *re, vec *im) {
#if VEC == 1
    *re = from[0], *im = from[1];
#else
    float16 both;
    if (count >= VEC) {
        both = vload16(0, from);
    } else {
        float part[16];
        for (int i = 0; i < 16; i++) part[i] = i < 2 * count ? from[i] : 0.0f;
        both = vload16(0, part);
    }
    *re = both.even, *im = both.odd;
#endif
}

void store_complex(vec re, vec im, global float *to, int count, int accumulate) {
#if VEC == 1
    to[0] = accumulate ? to[0] + re : re;
    to[1] = accumulate ? to[1] + im : im;
#else
    float part[16];
    float16 both;
    both.even = re, both.odd = im;
    if (count >= VEC) {
        vstore16(accumulate ? vload16(0, to) + both : both, 0, to);
        return;
    }
    vstore16(both, 0, part);
    for (int i = 0; i < 2 * count; i++) to[i] = accumulate ? to[i] + part[i] : part[i];
#endif
}

struct multiply { // of the host's too
    int spectrum, is, js, ks, a_i, a_k, b_j, b_k, step_i, step_j, conjugate, accumulate, span_i, span_j;
};

/* c[i*step_i + j*step_j] (+)= sum over k of a[i*a_i + k*a_k] b[j*b_j + k*b_k], b conjugated where conjugate, at every
 * place of the spectra, which have `spectrum` complex values. An item takes VEC of them, `span_i` values of i and
 * `span_j` of j. */
kernel void multiply(global const float *restrict a, global const float *restrict b, global float *restrict c,
                     struct multiply p) {
    const int f = get_global_id(0) * VEC, j0 = get_global_id(1) * p.span_j, i0 = get_global_id(2) * p.span_i;
    const int i1 = min(i0 + p.span_i, p.is), j1 = min(j0 + p.span_j, p.js), count = p.spectrum - f;
    const float sign = p.conjugate ? -1.0f : 1.0f;
    const int is = p.is, js = p.js, ks = p.ks, accumulate = p.accumulate;
    const size_t plane = 2 * (size_t)p.spectrum;
    if (f >= p.spectrum) return;
    a += 2 * (size_t)f, b += 2 * (size_t)f, c += 2 * (size_t)f;
    for (int j = j0; j < j1; j += 2) {
        global const float *b0 = b + (size_t)j * p.b_j * plane, *b1 = b + (size_t)min(j + 1, js - 1) * p.b_j * plane;
        for (int i = i0; i < i1; i += TM) {
#define START(r)                                                                                                       \
    global const float *a##r = a + (size_t)min(i + r, is - 1) * p.a_i * plane;                                         \
    vec re##r = (vec)(0.0f), im##r = (vec)(0.0f), sre##r = (vec)(0.0f), sim##r = (vec)(0.0f);
            EACH_ROW(START)
            for (int k = 0; k < ks; k++) {
                const size_t at_a = (size_t)k * p.a_k * plane, at_b = (size_t)k * p.b_k * plane;
                vec br, bi, tr, ti;
                load_complex(b0 + at_b, count, &br, &bi);
                load_complex(b1 + at_b, count, &tr, &ti);
                bi *= sign, ti *= sign;
#define MULTIPLY(r)                                                                                                    \
    {                                                                                                                  \
        vec ar, ai;                                                                                                    \
        load_complex(a##r + at_a, count, &ar, &ai);                                                                    \
        re##r = FMA(-ai, bi, FMA(ar, br, re##r)), im##r = FMA(ai, br, FMA(ar, bi, im##r));                             \
        sre##r = FMA(-ai, ti, FMA(ar, tr, sre##r)), sim##r = FMA(ai, tr, FMA(ar, ti, sim##r));                         \
    }
                EACH_ROW(MULTIPLY)
            }
#define FINISH(r)                                                                                                      \
    if (i + r < is) {                                                                                                  \
        global float *to = c + ((size_t)(i + r) * p.step_i + (size_t)j * p.step_j) * plane;                            \
        store_complex(re##r, im##r, to, count, accumulate);                                                            \
        if (j + 1 < js) store_complex(sre##r, sim##r, to + (size_t)p.step_j * plane, count, accumulate);               \
    }
            EACH_ROW(FINISH)
        }
    }
}
