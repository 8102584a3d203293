/* Whitening of activations; host/ops/nd/channel_deconv.c has the order of things.
 *   y = D (x - mean) for the channels of G blocks of b, channel i*G + j being feature i of block j; D = S^(-1/2),
 *   truncated, of S = sum of samples x x^T / count + eps I. The other channels: y = (x - m) / sqrt(v + eps), m and v
 *   over all their samples.
 * x, y: NHWC. Rows: (pixels*G, b), row p*G + j. Column j*pixels + p is a sample where `step` divides it.
 * A work-item takes a run of pixels, samples, images or matrix rows; those that sum a whole matrix or batch are one
 * item. `add` other than 0 adds to what dx holds. x, y and their gradients are ACT, all else
 * floats.
 *   VEC   1; required, for vec.h */
#include "vec.h"

/* This item's share [BEGIN, END) of total units in dimension d. */
#define SHARE_OF(d, total) (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d))
#define BEGIN(d, total) (get_global_id(d) * SHARE_OF(d, total))
#define END(d, total) min(BEGIN(d, total) + SHARE_OF(d, total), (size_t)(total))

/* --- rows --------------------------------------------------------------------------------------- */

kernel void gather(global const ACT *x, global const float *mean, global float *rows, long pixels, int channels,
                   int groups, int block, int centred) {
    for (size_t p = BEGIN(0, pixels); p < END(0, pixels); p++)
        for (int j = 0; j < groups; j++)
            for (int i = 0; i < block; i++)
                rows[(p * groups + j) * block + i] =
                    LOAD_ACT1(x + (p * channels + i * groups + j)) - (centred ? mean[i] : 0.0f);
}

kernel void scatter(global const float *rows, global ACT *y, long pixels, int channels, int groups, int block) {
    for (size_t p = BEGIN(0, pixels); p < END(0, pixels); p++)
        for (int i = 0; i < block; i++)
            for (int j = 0; j < groups; j++)
                STORE_ACT1(rows[(p * groups + j) * block + i], y + (p * channels + i * groups + j));
}

kernel void sample(global const ACT *x, global float *samples, long count, int step, long pixels, int channels,
                   int groups, int block) {
    for (size_t k = BEGIN(0, count); k < END(0, count); k++) {
        const size_t column = k * step, j = column / pixels, p = column % pixels;
        for (int i = 0; i < block; i++) samples[k * block + i] = LOAD_ACT1(x + (p * channels + i * groups + j));
    }
}

/* partial[k] = sum of the rows of part k of `parts`. */
kernel void sums(global const float *rows, global float *partial, long count, int block, int parts) {
    const size_t each = ((size_t)count + parts - 1) / parts;
    for (size_t k = BEGIN(1, parts); k < END(1, parts); k++)
        for (size_t i = BEGIN(0, block); i < END(0, block); i++) {
            float sum = 0.0f;
            for (size_t r = k * each; r < min((k + 1) * each, (size_t)count); r++) sum += rows[r * block + i];
            partial[k * block + i] = sum;
        }
}

kernel void mean(global const float *partial, global float *mean, int parts, int block, float scale) {
    for (size_t i = BEGIN(0, block); i < END(0, block); i++) {
        float sum = 0.0f;
        for (int k = 0; k < parts; k++) sum += partial[k * block + i];
        mean[i] = sum * scale;
    }
}

/* --- the moment --------------------------------------------------------------------------------- */

/* Adds eps to the diagonal of S; squares of its rows. */
kernel void squares(global float *s, global float *squares, int n, float eps) {
    for (size_t i = BEGIN(0, n); i < END(0, n); i++) {
        float sum = 0.0f;
        s[i * n + i] += eps;
        for (int j = 0; j < n; j++) sum += s[i * n + j] * s[i * n + j];
        squares[i] = sum;
    }
}

/* Averages value in, or copies it the first time. */
kernel void track(global const float *value, global float *running, long count, float momentum, int first) {
    for (size_t i = BEGIN(0, count); i < END(0, count); i++)
        running[i] = first ? value[i] : running[i] + momentum * (value[i] - running[i]);
}

/* dx = rows, and where the column is a sample also what comes through S and the mean. step 0: nothing comes through. */
kernel void back_scatter(global const float *rows, global const float *samples, global const float *dmean,
                         global ACT *dx, long pixels, int channels, int groups, int block, int step, int add) {
    for (size_t p = BEGIN(0, pixels); p < END(0, pixels); p++)
        for (int j = 0; j < groups; j++) {
            const size_t column = j * (size_t)pixels + p;
            const bool sampled = step && column % step == 0;
            for (int i = 0; i < block; i++) {
                const size_t to = p * channels + i * groups + j;
                float value = rows[(p * groups + j) * block + i];
                if (sampled) value += samples[column / step * block + i] + dmean[i];
                STORE_ACT1(add ? LOAD_ACT1(dx + to) + value : value, dx + to);
            }
        }
}

/* --- the other channels ------------------------------------------------------------------------- */

/* Element q of an image's other channels, counted (c, y, x). */
#define REST(q) ((n * pixels + (q) % pixels) * (size_t)channels + head + (q) / pixels)

/* partial[n] = mean and sum of squared distances from it of the image's samples. */
kernel void tail_sums(global const ACT *x, global float *partial, int images, int pixels, int channels, int head,
                      int step) {
    const size_t all = (size_t)(channels - head) * pixels, count = (all + step - 1) / step;
    for (size_t n = BEGIN(0, images); n < END(0, images); n++) {
        float sum = 0.0f, square = 0.0f;
        for (size_t q = 0; q < all; q += step) sum += LOAD_ACT1(x + REST(q));
        const float mean = sum / (float)count;
        for (size_t q = 0; q < all; q += step) {
            const float d = LOAD_ACT1(x + REST(q)) - mean;
            square += d * d;
        }
        partial[n * 2] = mean;
        partial[n * 2 + 1] = square;
    }
}

/* constants = mean, 1/sqrt(var + eps); a single sample has variance 0. One item. */
kernel void tail_merge(global const float *partial, global float *constants, global float *running_mean,
                       global float *running_var, int images, int count, float eps, float momentum, int first) {
    if (get_global_id(0)) return;
    float mean = 0.0f, square = 0.0f;
    for (int n = 0; n < images; n++) mean += partial[n * 2];
    mean /= (float)images;
    for (int n = 0; n < images; n++) {
        const float d = partial[n * 2] - mean;
        square += partial[n * 2 + 1] + (float)count * d * d;
    }
    const float total = (float)images * (float)count, var = total > 1.0f ? square / (total - 1.0f) : 0.0f;
    constants[0] = mean;
    constants[1] = 1.0f / sqrt(var + eps);
    running_mean[0] = first ? mean : running_mean[0] + momentum * (mean - running_mean[0]);
    running_var[0] = first ? var : running_var[0] + momentum * (var - running_var[0]);
}

kernel void tail_recall(global const float *running_mean, global const float *running_var, global float *constants,
                        float eps) {
    if (get_global_id(0)) return;
    constants[0] = running_mean[0];
    constants[1] = 1.0f / sqrt(running_var[0] + eps);
}

kernel void tail_apply(global const ACT *x, global const float *constants, global ACT *y, long pixels, int channels,
                       int head) {
    for (size_t p = BEGIN(0, pixels); p < END(0, pixels); p++)
        for (size_t c = head; c < (size_t)channels; c++)
            STORE_ACT1((LOAD_ACT1(x + (p * channels + c)) - constants[0]) * constants[1], y + (p * channels + c));
}

/* partial[n] = sums of dy and of dy (x - mean) over the image. */
kernel void tail_back_sums(global const ACT *x, global const ACT *dy, global const float *constants,
                           global float *partial, int images, int pixels, int channels, int head) {
    for (size_t n = BEGIN(0, images); n < END(0, images); n++) {
        float sum = 0.0f, product = 0.0f;
        for (size_t p = n * pixels; p < (n + 1) * pixels; p++) {
            float pixel_sum = 0.0f, pixel_product = 0.0f;
            for (size_t c = head; c < (size_t)channels; c++) {
                const float d = LOAD_ACT1(dy + (p * channels + c));
                pixel_sum += d;
                pixel_product += d * (LOAD_ACT1(x + (p * channels + c)) - constants[0]);
            }
            sum += pixel_sum;
            product += pixel_product;
        }
        partial[n * 2] = sum;
        partial[n * 2 + 1] = product;
    }
}

/* For a sample: coefficients[0] comes through the mean, coefficients[1] (x - mean) through the variance. One item. */
kernel void tail_back_merge(global const float *partial, global const float *constants, global float *coefficients,
                            int images, int count) {
    if (get_global_id(0)) return;
    float sum = 0.0f, product = 0.0f;
    for (int n = 0; n < images; n++) {
        sum += partial[n * 2];
        product += partial[n * 2 + 1];
    }
    const float total = (float)images * (float)count, inverse = constants[1];
    coefficients[0] = -sum * inverse / total;
    coefficients[1] = total > 1.0f ? -product * inverse * inverse * inverse / (total - 1.0f) : 0.0f;
}

/* step 0: nothing comes through mean and variance. */
kernel void tail_back(global const ACT *x, global const ACT *dy, global const float *constants,
                      global const float *coefficients, global ACT *dx, int images, int pixels, int channels, int head,
                      int step, int add) {
    const size_t all = (size_t)(channels - head) * pixels;
    for (size_t n = BEGIN(0, images); n < END(0, images); n++)
        for (size_t q = 0; q < all; q++) {
            const size_t at = REST(q);
            float value = LOAD_ACT1(dy + at) * constants[1];
            if (step && q % step == 0) value += coefficients[0] + coefficients[1] * (LOAD_ACT1(x + at) - constants[0]);
            STORE_ACT1(add ? LOAD_ACT1(dx + at) + value : value, dx + at);
        }
}
