/* Folding of whitening into weights, what is not a matrix product: W'_g = W_g D, b' = b - sum_g W'_g m, and back.
 * Weights in rows: (O, G, F), row o*G + g; as parameters: (O, F, G), flat feature f*G + g. m, dm: (matrices, F); the
 * rows are divided evenly among the matrices.
 *
 * A work-item takes a share of the outputs or rows (dimension 1), and vectors of features in turn (dimension 0; one
 * item does a whole row where it is summed).
 *
 *  VEC  features at once: 1, 2, 4, 8, 16; divides F
 */
#include "vec.h"
#ifdef FP_FAST_FMAF
#define FMA(a, b, c) fma(a, b, c)
#else   // contracted under -cl-mad-enable where that is faster; PoCL's mad() is always a product and a sum
#define FMA(a, b, c) ((a) * (b) + (c))
#endif

float total(vec v)
{
#if VEC == 1
    return v;
#else
    float part[VEC], sum = 0.0f;
    STORE(v, part);
    for (int i = 0; i < VEC; i++) sum += part[i];
    return sum;
#endif
}

/* This item's share first..end of count. */
#define SHARE(count)                                                                     \
    const int each = ((count) + (int)get_global_size(1) - 1) / (int)get_global_size(1);  \
    const int first = get_global_id(1) * each, end = min(first + each, count)
#define LANES const int lane = get_global_id(0) * VEC, lanes = get_global_size(0) * VEC

/* Parameter order to rows. */
kernel void to_rows(global const float *weight, int outputs, int interleave, int features, global float *rows)
{
    SHARE(outputs);
    for (int o = first; o < end; o++) {
        const size_t at = (size_t)o * interleave * features;
        for (int g = 0; g < interleave; g++)
            for (int f = get_global_id(0); f < features; f += get_global_size(0))
                rows[at + (size_t)g * features + f] = weight[at + (size_t)f * interleave + g];
    }
}

/* Rows to parameter order. */
kernel void from_rows(global const float *rows, int outputs, int interleave, int features, global float *weight)
{
    SHARE(outputs);
    for (int o = first; o < end; o++) {
        const size_t at = (size_t)o * interleave * features;
        for (int f = get_global_id(0); f < features; f += get_global_size(0))
            for (int g = 0; g < interleave; g++)
                weight[at + (size_t)f * interleave + g] = rows[at + (size_t)g * features + f];
    }
}

/* b' = b - sum_g W'_g m. */
kernel void fold_bias(global const float *folded, global const float *mean, global const float *bias, int outputs,
                      int interleave, int features, int matrices, global float *out)
{
    SHARE(outputs);
    for (int o = first; o < end; o++) {
        global const float *m = mean + (size_t)(o / (outputs / matrices)) * features;
        vec sum = (vec)(0.0f);
        for (int g = 0; g < interleave; g++) {
            global const float *row = folded + ((size_t)o * interleave + g) * features;
            for (int f = 0; f < features; f += VEC) sum = FMA(LOAD(row + f), LOAD(m + f), sum);
        }
        out[o] = bias[o] - total(sum);
    }
}

/* dW' -= db (outer product) m. */
kernel void subtract_mean(global const float *dbias, global const float *mean, int outputs, int interleave,
                          int features, int matrices, global float *gradient)
{
    SHARE(outputs);
    LANES;
    for (int o = first; o < end; o++) {
        global const float *m = mean + (size_t)(o / (outputs / matrices)) * features;
        const float scale = -dbias[o];
        for (int g = 0; g < interleave; g++) {
            global float *row = gradient + ((size_t)o * interleave + g) * features;
            for (int f = lane; f < features; f += lanes) STORE(FMA((vec)(scale), LOAD(m + f), LOAD(row + f)), row + f);
        }
    }
}

/* dm = -sum over o, g of db[o] W'_g[o]; dimension 1 counts matrices. */
kernel void mean_gradient(global const float *folded, global const float *dbias, int outputs, int interleave,
                          int features, int matrices, global float *dmean)
{
    SHARE(matrices);
    LANES;
    const int share = outputs / matrices;
    for (int matrix = first; matrix < end; matrix++) {
        for (int f = lane; f < features; f += lanes) {
            vec sum = (vec)(0.0f);
            for (int o = matrix * share; o < (matrix + 1) * share; o++) {
                vec part = (vec)(0.0f);
                for (int g = 0; g < interleave; g++) part += LOAD(folded + ((size_t)o * interleave + g) * features + f);
                sum = FMA((vec)(-dbias[o]), part, sum);
            }
            STORE(sum, dmean + (size_t)matrix * features + f);
        }
    }
}
