/* Whitening between refreshes (tests/reference/README.md, "Refreshing less often"): D = D_r sqrt(v_r / v), with D_r and
 * v_r = trace(S_r)/F of the last refresh and v = mean((X - m)^2) + eps of this batch, and the gradient through v:
 *   dX = -<dD, D> / (v samples F) (X - m)
 *
 * Matrices: (matrices, F, F). rows: centred samples (samples, matrices, F). factors: (matrices, 2): sqrt(v_r/v), v; in the
 * gradient the first becomes the rows' factor. A work-item is described at its kernel.
 *
 *  VEC  columns at once: 1, 2, 4, 8, 16; divides F
 */
#include "vec.h"

/* v_r; an item does a matrix. */
kernel void variance(global const float *s, int matrices, int features, global float *variance)
{
    const int matrix = get_global_id(0);
    if (matrix >= matrices) return;
    float sum = 0.0f;
    for (int f = 0; f < features; f++) sum += s[((size_t)matrix * features + f) * features + f];
    variance[matrix] = sum / features;
}

/* Sums of squares of a matrix's rows first..first+chunk; an item does a chunk (dimension 1) of a matrix (dimension 0). */
kernel void squares(global const float *rows, int matrices, int features, long samples, long chunk, int chunks, global float *partial)
{
    const int matrix = get_global_id(0), part = get_global_id(1);
    if (matrix >= matrices || part >= chunks) return;
    const long end = min((part + 1) * chunk, samples);
    float total = 0.0f;
    for (long r = part * chunk; r < end; r++) {
        global const float *row = rows + (size_t)(r * matrices + matrix) * features;
        vec sum = (vec)(0.0f);
        for (int f = 0; f < features; f += VEC) sum += LOAD(row + f) * LOAD(row + f);
        float lanes[VEC];
        STORE(sum, lanes);
        float line = 0.0f;
        for (int i = 0; i < VEC; i++) line += lanes[i];
        total += line;
    }
    partial[(size_t)part * matrices + matrix] = total;
}

/* factors of this batch; an item does a matrix. */
kernel void factor(global const float *partial, int chunks, int matrices, float scale, float eps, global const float *variance,
                   global float *factors)
{
    const int matrix = get_global_id(0);
    if (matrix >= matrices) return;
    float sum = 0.0f;
    for (int c = 0; c < chunks; c++) sum += partial[(size_t)c * matrices + matrix];
    const float v = fmax(sum * scale + eps, 1e-30f);
    factors[2 * matrix] = sqrt(variance[matrix] / v);
    factors[2 * matrix + 1] = v;
}

/* D = factor D_r; running += momentum (D - running). An item takes `each` rows of the matrices (dimension 1). */
kernel void rescale(global const float *last, global const float *factors, int count, int features, int each, float momentum,
                    global float *d, global float *running)
{
    const int first = get_global_id(1) * each, end = min(first + each, count);
    for (int row = first; row < end; row++) {
        const float scale = factors[2 * (row / features)];
        for (int j = get_global_id(0) * VEC; j < features; j += get_global_size(0) * VEC) {
            const size_t at = (size_t)row * features + j;
            const vec value = scale * LOAD(last + at), old = LOAD(running + at);
            STORE(value, d + at);
            STORE(old + momentum * (value - old), running + at);
        }
    }
}

/* The rows' factor, -<dD, D> / (v samples F); dots: (matrices, F), the rows of <dD, D>. An item does a matrix. */
kernel void back_factor(global const float *dots, int matrices, int features, float scale, global float *factors)
{
    const int matrix = get_global_id(0);
    if (matrix >= matrices) return;
    float sum = 0.0f;
    for (int f = 0; f < features; f++) sum += dots[(size_t)matrix * features + f];
    factors[2 * matrix] = -sum * scale / factors[2 * matrix + 1];
}

/* drows = factor rows; an item takes a chunk of samples (dimension 1). */
kernel void scale_rows(global const float *rows, global const float *factors, int matrices, int features, long samples, long chunk,
                       global float *drows)
{
    const long first = get_global_id(1) * chunk, end = min(first + chunk, samples);
    for (long r = first; r < end; r++)
        for (int m = 0; m < matrices; m++) {
            const float scale = factors[2 * m];
            const size_t at = (size_t)(r * matrices + m) * features;
            for (int f = get_global_id(0) * VEC; f < features; f += get_global_size(0) * VEC) STORE(scale * LOAD(rows + at + f), drows + at + f);
        }
}

/* <D, D_r>, <D, D>, <D_r, D_r> of every row of the matrices, to dots (rows, 3). An item takes `each` rows (dimension 1). */
kernel void change(global const float *d, global const float *last, int count, int features, int each, global float *dots)
{
    const int first = get_global_id(1) * each, end = min(first + each, count);
    for (int row = first; row < end; row++) {
        vec both = (vec)(0.0f), now = (vec)(0.0f), before = (vec)(0.0f);
        for (int j = 0; j < features; j += VEC) {
            const vec a = LOAD(d + (size_t)row * features + j), b = LOAD(last + (size_t)row * features + j);
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
