/* What surrounds the matrix products (symmetric_product.cl) of D = S^(-1/2), truncated Newton-Schulz iteration in the form
 * that carries W = ZY (W_0 = S/s, s = |S|, D = Z_K/sqrt(s)), and of its exact gradient, which is the derivative of Z_K
 * by W_0 in the direction G = sym(Dbar)/sqrt(s), as the derivative of a function of a symmetric matrix is its own
 * adjoint: Sbar = dZ_K[G]/s - W_0 (<dZ_K[G], W_0> + <Dbar, D>/2)/s
 *
 * Matrices: (matrices, F, F), features in the order of the weights: f = taps*i + r. Sample rows have them as r*block
 * + i (statistics.cl): covariance() and back_finish() go from one order to the other, and mean() gives both. Depthwise
 * layers (`depthwise`, block 1) have the matrices last instead, a channel each.
 * scalars: (matrices, 4): s, 1/s, 1/sqrt(s), the factor of W_0 in Sbar.
 *
 * A work-item takes `each` rows of a matrix (dimension 1, counted over all matrices) and vectors of columns in turn
 * (dimension 0; one item does a whole row where it is summed).
 *
 *  VEC  columns at once: 1, 2, 4, 8, 16; divides F
 */
#include "vec.h"
#if VEC == 1
#define DOWN(p, f) (*(p))
#define TOTAL(v) (v)
#elif VEC == 2
#define DOWN(p, f) (vec)((p)[0], (p)[f])
#define TOTAL(v) ((v).s0 + (v).s1)
#elif VEC == 4
#define DOWN(p, f) (vec)((p)[0], (p)[f], (p)[2 * f], (p)[3 * f])
#define TOTAL(v) ((v).s0 + (v).s1 + (v).s2 + (v).s3)
#elif VEC == 8
#define DOWN(p, f) (vec)((p)[0], (p)[f], (p)[2 * f], (p)[3 * f], (p)[4 * f], (p)[5 * f], (p)[6 * f], (p)[7 * f])
#define TOTAL(v) (((v).s0 + (v).s4) + ((v).s1 + (v).s5) + ((v).s2 + (v).s6) + ((v).s3 + (v).s7))
#elif VEC == 16
#define DOWN(p, f)                                                                                                     \
    (vec)((p)[0], (p)[f], (p)[2 * f], (p)[3 * f], (p)[4 * f], (p)[5 * f], (p)[6 * f], (p)[7 * f], (p)[8 * f],          \
          (p)[9 * f], (p)[10 * f], (p)[11 * f], (p)[12 * f], (p)[13 * f], (p)[14 * f], (p)[15 * f])
float total16(float16 v) {
    const float8 a = v.lo + v.hi;
    const float4 b = a.lo + a.hi;
    return (b.s0 + b.s2) + (b.s1 + b.s3);
}
#define TOTAL(v) total16(v)
#endif

/* This item's rows first..end of all count = matrices*F. */
#define ROWS(count) const int first = get_global_id(1) * each, end = min(first + each, count)
#define LANES const int lane = get_global_id(0) * VEC, lanes = get_global_size(0) * VEC

/* mean = sums/samples, in the order of the rows and in that of the weights; running += momentum (mean - running).
 * partial: (chunks, taps, C), what each tap met; statistics.cl says which channels a feature is. An item takes `each`
 * features. */
kernel void mean(global const float *partial, int chunks, int matrices, int block, int taps, int interleave,
                 int strided, int depthwise, float scale, float momentum, int each, global float *row_mean,
                 global float *mean, global float *running) {
    const int features = block * taps, count = matrices * features, channels = block * interleave * matrices;
    ROWS(count);
    for (int at = first; at < end; at++) {
        const int matrix = at / features, r = at % features / block, i = at % block;
        float sum = 0.0f;
        for (int g = 0; g < interleave; g++) {
            const int place = r * interleave + g, segment = matrices > 1 ? matrix : place / taps;
            const int channel = strided ? segment + i * interleave : segment * block + i;
            global const float *from = partial + place % taps * channels + channel;
            for (int c = 0; c < chunks; c++) sum += from[(size_t)c * taps * channels];
        }
        sum *= scale;
        const int to = matrix * features + i * taps + r;
        row_mean[depthwise ? r * matrices + matrix : at] = sum;
        mean[to] = sum;
        running[to] += momentum * (sum - running[to]);
    }
}

/* S = sum of the parts + eps I, and the sum of squares of every row. parts: (splits, matrices, F, F), rows' order. */
kernel void covariance(global const float *parts, int splits, int matrices, int block, int taps, float eps, int each,
                       global float *s, global float *squares) {
    const int features = block * taps, count = matrices * features;
    ROWS(count);
    for (int row = first; row < end; row++) {
        const int f = row % features;
        global float *to = s + (size_t)row * features;
        global const float *from = parts + ((size_t)(row - f) + f % taps * block + f / taps) * features;
        for (int r = 0; r < taps; r++) {
            for (int i = 0; i < block; i++) {
                float sum = from[r * block + i];
                for (int c = 1; c < splits; c++) sum += from[(size_t)c * count * features + r * block + i];
                to[taps * i + r] = sum;
            }
        }
        to[f] += eps;
        vec square = (vec)(0.0f);
        for (int j = 0; j < features; j += VEC) square += LOAD(to + j) * LOAD(to + j);
        squares[row] = TOTAL(square);
    }
}

/* The same from sums of products of taps a <= b: (splits, F*(F+1)/2, matrices), of channels whitened alone. */
kernel void covariance_lanes(global const float *parts, int splits, int matrices, int features, float scale, float eps,
                             int each, global float *s, global float *squares) {
    const int count = matrices * features, pairs = features * (features + 1) / 2;
    ROWS(count);
    for (int row = first; row < end; row++) {
        const int f = row % features, matrix = row / features;
        float square = 0.0f;
        for (int j = 0; j < features; j++) {
            const int a = min(f, j), pair = a * features - a * (a - 1) / 2 + max(f, j) - a;
            float sum = 0.0f;
            for (int c = 0; c < splits; c++) sum += parts[((size_t)c * pairs + pair) * matrices + matrix];
            sum = scale * sum + (f == j ? eps : 0.0f);
            s[(size_t)row * features + j] = sum;
            square += sum * sum;
        }
        squares[row] = square;
    }
}

/* s = |S|; an item does a matrix. */
kernel void norm(global const float *squares, int matrices, int features, global float *scalars) {
    const int matrix = get_global_id(0);
    if (matrix >= matrices) return;
    float sum = 0.0f;
    for (int f = 0; f < features; f++) sum += squares[(size_t)matrix * features + f];
    const float s = fmax(sqrt(sum), 1e-30f); // a constant batch without eps stays finite
    scalars[4 * matrix] = s;
    scalars[4 * matrix + 1] = 1.0f / s;
    scalars[4 * matrix + 2] = 1.0f / sqrt(s);
}

/* W_0 = S/s in place. */
kernel void scale(global float *w, global const float *scalars, int count, int features, int each) {
    ROWS(count);
    LANES;
    for (int row = first; row < end; row++) {
        const float scale = scalars[4 * (row / features) + 1];
        for (int j = lane; j < features; j += lanes) {
            const size_t at = (size_t)row * features + j;
            STORE(scale * LOAD(w + at), w + at);
        }
    }
}

/* out = alpha in + gamma I; they may be the same. */
kernel void affine(global const float *in, long offset_in, float alpha, float gamma, int count, int features, int each,
                   global float *out, long offset_out) {
    ROWS(count);
    LANES;
    for (int row = first; row < end; row++) {
        const int f = row % features;
        for (int j = lane; j < features; j += lanes) {
            const size_t at = (size_t)row * features + j;
            STORE(alpha * LOAD(in + offset_in + at), out + offset_out + at);
            if (f >= j && f < j + VEC) out[offset_out + at + f - j] += gamma;
        }
    }
}

/* D = Z_K/sqrt(s); running += momentum (D - running). */
kernel void finish(global const float *z, long offset_z, global const float *scalars, int count, int features, int each,
                   float momentum, global float *d, global float *running) {
    ROWS(count);
    LANES;
    for (int row = first; row < end; row++) {
        const float scale = scalars[4 * (row / features) + 2];
        for (int j = lane; j < features; j += lanes) {
            const size_t at = (size_t)row * features + j;
            const vec value = scale * LOAD(z + offset_z + at), old = LOAD(running + at);
            STORE(value, d + at);
            STORE(old + momentum * (value - old), running + at);
        }
    }
}

/* G = sym(Dbar)/sqrt(s), and the rows of <Dbar, D>. */
kernel void back_begin(global const float *ddeconv, global const float *d, global const float *scalars, int count,
                       int features, int each, global float *direction, global float *dots) {
    ROWS(count);
    for (int row = first; row < end; row++) dots[row] = 0.0f;
    for (int j = 0; j < features; j += VEC) {
        for (int row = first; row < end; row++) {
            const int f = row % features;
            const size_t matrix = (size_t)(row - f) * features, at = (size_t)row * features + j;
            const vec value = 0.5f * (LOAD(ddeconv + at) + DOWN(ddeconv + matrix + (size_t)j * features + f, features));
            const vec product = value * LOAD(d + at);
            STORE(value * scalars[4 * (row / features) + 2], direction + at);
            dots[row] += TOTAL(product);
        }
    }
}

/* The rows of the inner product of two matrices. */
kernel void back_dots(global const float *a, long offset_a, global const float *b, int count, int features, int each,
                      global float *dots) {
    ROWS(count);
    for (int row = first; row < end; row++) {
        const size_t at = (size_t)row * features;
        vec sum = (vec)(0.0f);
        for (int j = 0; j < features; j += VEC) sum += LOAD(a + offset_a + at + j) * LOAD(b + at + j);
        dots[row] = TOTAL(sum);
    }
}

/* The factor of W_0; an item does a matrix. */
kernel void back_norm(global const float *dots_w, global const float *dots_d, int matrices, int features,
                      global float *scalars) {
    const int matrix = get_global_id(0);
    if (matrix >= matrices) return;
    float w = 0.0f, d = 0.0f;
    for (int f = 0; f < features; f++) {
        w += dots_w[(size_t)matrix * features + f];
        d += dots_d[(size_t)matrix * features + f];
    }
    scalars[4 * matrix + 3] = scalars[4 * matrix + 1] * (w + 0.5f * d);
}

/* Sbar in the rows' order. */
kernel void back_finish(global const float *wbar, long offset_wbar, global const float *w, global const float *scalars,
                        int matrices, int block, int taps, int depthwise, int each, global float *sbar) {
    const int features = block * taps, count = matrices * features;
    ROWS(count);
    for (int row = first; row < end; row++) {
        const int f = row % features;
        const float a = scalars[4 * (row / features) + 1], b = scalars[4 * (row / features) + 3];
        const size_t at = (size_t)row * features;
        global float *to = sbar + ((size_t)(row - f) + f % taps * block + f / taps) * features;
        for (int r = 0; r < taps; r++)
            for (int i = 0; i < block; i++) {
                const size_t from = at + taps * i + r;
                const float value = a * wbar[offset_wbar + from] - b * w[from];
                if (depthwise)
                    sbar[((size_t)f * features + r) * matrices + row / features] = value;
                else
                    to[r * block + i] = value;
            }
    }
}

/* The gradient of the mean in the rows' order, shared by the samples. */
kernel void back_mean(global const float *dmean, int matrices, int block, int taps, int depthwise, float scale,
                      int each, global float *row_mean) {
    const int features = block * taps, count = matrices * features;
    ROWS(count);
    for (int at = first; at < end; at++) {
        const int matrix = at / features, place = at % features;
        const float value = scale * dmean[matrix * features + place % block * taps + place / block];
        row_mean[depthwise ? place * matrices + matrix : at] = value;
    }
}
