/* Whitening between refreshes (tests/reference/README.md, "Refreshing less often"): D = D_r sqrt(v_r / v), with D_r
 * and v_r = trace(S_r)/F of the last refresh and v = mean((X - m)^2) + eps of this batch, and the gradient through m
 * and v. Samples need not be gathered: what a tap of a patch adds to the gradient of its pixel is
 *   dm/samples + factor (x - m),  factor = -<dD, D> / (v samples F)
 * (at a refresh, too, whose gradient shall pass through m and v alone), which is factor x plus a number of the tap and
 * channel, its slope (square_samples() and scatter_reused() in statistics.cl).
 *
 * Matrices: (matrices, F, F). m, dm: (matrices, F), in the order of the weights. By channels: (taps, C), what tap t
 * sees of channel c. factors: (matrices, 2): sqrt(v_r/v), v; in the gradient the first becomes `factor`. A work-item is
 * described at its kernel.
 *
 *  VEC  columns at once: 1, 2, 4, 8, 16; divides F
 */
#include "vec.h"

/* v_r, and factors of D = D_r; an item does a matrix. */
kernel void variance(global const float *s, int matrices, int features, global float *variance, global float *factors) {
    const int matrix = get_global_id(0);
    if (matrix >= matrices) return;
    float sum = 0.0f;
    for (int f = 0; f < features; f++) sum += s[((size_t)matrix * features + f) * features + f];
    variance[matrix] = sum / features;
    factors[2 * matrix] = 1.0f;
    factors[2 * matrix + 1] = fmax(sum / features, 1e-30f);
}

/* Where a matrix's mean has what tap `tap` sees of channel c; statistics.cl says which channels a feature is. */
int feature_of(int tap, int c, int taps, int block, int interleave, int matrices, int strided) {
    if (matrices > 1) return c * taps + tap;
    const int place = (strided ? c % interleave : c / block) * taps + tap;
    return (strided ? c / interleave : c % block) * taps + place / interleave;
}

/* m by channels; an item does elements first, first + all, ... */
kernel void broadcast_mean(global const float *mean, int channels, int taps, int block, int interleave, int matrices,
                           int strided, global float *by_channel) {
    for (int at = get_global_id(0); at < taps * channels; at += get_global_size(0))
        by_channel[at] = mean[feature_of(at / channels, at % channels, taps, block, interleave, matrices, strided)];
}

/* The slopes by channels, and behind them every channel's factor: (taps + 1, C). scale: 1/samples. */
kernel void slopes(global const float *dmean, global const float *by_channel, global const float *factors, int channels,
                   int taps, int block, int interleave, int matrices, int strided, float scale, global float *slopes) {
    for (int at = get_global_id(0); at < (taps + 1) * channels; at += get_global_size(0)) {
        const int tap = at / channels, c = at % channels;
        const float factor = factors[2 * (matrices > 1 ? c / block : 0)];
        if (tap == taps)
            slopes[at] = factor;
        else
            slopes[at] =
                scale * dmean[feature_of(tap, c, taps, block, interleave, matrices, strided)] - factor * by_channel[at];
    }
}

/* factors of this batch from sums of squares (chunks, C); an item does a matrix. */
kernel void factor(global const float *partial, int chunks, int channels, int matrices, float scale, float eps,
                   global const float *variance, global float *factors) {
    const int matrix = get_global_id(0), share = channels / matrices;
    if (matrix >= matrices) return;
    float sum = 0.0f;
    for (int chunk = 0; chunk < chunks; chunk++) {
        global const float *from = partial + (size_t)chunk * channels + matrix * share;
        float part = 0.0f;
        for (int c = 0; c < share; c++) part += from[c];
        sum += part;
    }
    const float v = fmax(sum * scale + eps, 1e-30f);
    factors[2 * matrix] = sqrt(variance[matrix] / v);
    factors[2 * matrix + 1] = v;
}

/* running += momentum (factor D_r - running), and factor D_r to d where `whole`. An item takes `each` rows of the
 * matrices (dimension 1). */
kernel void rescale(global const float *last, global const float *factors, int count, int features, int each,
                    float momentum, int whole, global float *d, global float *running) {
    const int first = get_global_id(1) * each, end = min(first + each, count);
    for (int row = first; row < end; row++) {
        const float scale = factors[2 * (row / features)];
        for (int j = get_global_id(0) * VEC; j < features; j += get_global_size(0) * VEC) {
            const size_t at = (size_t)row * features + j;
            const vec value = scale * LOAD(last + at), old = LOAD(running + at);
            if (whole) STORE(value, d + at);
            STORE(old + momentum * (value - old), running + at);
        }
    }
}

/* -<dD, D> / (v samples F), the inner product in `count` parts a matrix. An item does a matrix. */
kernel void back_factor(global const float *dots, int count, int matrices, float scale, global float *factors) {
    const int matrix = get_global_id(0);
    if (matrix >= matrices) return;
    float sum = 0.0f;
    for (int i = 0; i < count; i++) sum += dots[(size_t)matrix * count + i];
    factors[2 * matrix] = -sum * scale / factors[2 * matrix + 1];
}

/* <D, D_r>, <D, D>, <D_r, D_r> of every row of the matrices, to dots (rows, 3); D = z scalars[2] (inverse_root.cl). An
 * item takes `each` rows (dimension 1). */
kernel void change(global const float *z, global const float *scalars, global const float *last, int count,
                   int features, int each, global float *dots) {
    const int first = get_global_id(1) * each, end = min(first + each, count);
    for (int row = first; row < end; row++) {
        const float scale = scalars[4 * (row / features) + 2];
        vec both = (vec)(0.0f), now = (vec)(0.0f), before = (vec)(0.0f);
        for (int j = 0; j < features; j += VEC) {
            const vec a = scale * LOAD(z + (size_t)row * features + j), b = LOAD(last + (size_t)row * features + j);
            both += a * b, now += a * a, before += b * b;
        }
        float lanes[3 * VEC];
        STORE(both, lanes);
        STORE(now, lanes + VEC);
        STORE(before, lanes + 2 * VEC);
        for (int k = 0; k < 3; k++) {
            float sum = 0.0f;
            for (int i = 0; i < VEC; i++) sum += lanes[k * VEC + i];
            dots[3 * (size_t)row + k] = sum;
        }
    }
}
