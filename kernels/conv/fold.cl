/* Batch norm by running statistics, folded into the weights of the convolution before it:
 *   scale = gamma / sqrt(var + eps),  w'[o, f] = w[o, f] scale[o],  b'[o] = (b[o] - mean[o]) scale[o] + beta[o]
 * The weights are (outputs, length), whatever the order of an output's features. An item takes some outputs. */
#include "fma.h"

kernel void fold(global const float *restrict weight, global const float *restrict bias,
                 global const float *restrict gamma, global const float *restrict beta,
                 global const float *restrict mean, global const float *restrict var, global float *restrict to,
                 global float *restrict to_bias, long outputs, long length, float eps, int has_bias) {
    const long share = (outputs + get_global_size(0) - 1) / get_global_size(0), first = get_global_id(0) * share;
    for (long o = first; o < min(first + share, outputs); o++) {
        const float scale = gamma[o] * (1.0f / sqrt(var[o] + eps));
        for (long f = 0; f < length; f++) to[o * length + f] = weight[o * length + f] * scale;
        to_bias[o] = FMA((has_bias ? bias[o] : 0.0f) - mean[o], scale, beta[o]);
    }
}
