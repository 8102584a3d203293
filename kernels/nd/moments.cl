/* Mean and covariance of samples from the sums that statistics.cl and matrix products make, and the mean's gradient. Of
 * no layer's geometry, so that all layers share a program.
 *
 *  VEC   features at once in sums of squares: 1, 2, 4, 8, 16; divides F
 *  TREE  items of a group that makes a feature of the mean, or a row of S (tree.h); 0: an item makes some alone
 */
#include "vec.h"
#include "tree.h"
#if TREE
TREE_SUM(tree_sum, float)
#endif
#include "nd/geometry.h"
#include "nd/total.h"

/* This item's rows first..end of all count = matrices*F; dimension 1. */
#define ROWS(count) const int first = get_global_id(1) * each, end = min(first + each, count)

/* The mean in two parts, high (rounded) and low (what it lacks), in the order of the rows, and their sum in that of the
 * weights; running += momentum (mean - running). pilot: (taps, C); partial: (chunks, taps, C), sums of what each tap
 * met less its pilot. */
kernel void mean(global const float *pilot, global const float *partial, int chunks,
                 global const struct geometry *layer, float scale, float momentum, int each, global float *row_high,
                 global float *row_low, global float *mean, global float *running) {
    const struct geometry g = *layer;
    const int taps = g.taps, features = g.block * taps, count = g.matrices * features;
#if TREE
    local float room[TREE];
    const int lane = get_local_id(0), first = get_group_id(1), end = first + 1;
#else
    ROWS(count);
#endif
    for (int at = first; at < end; at++) {
        const int matrix = at / features, r = at % features / g.block, i = at % g.block;
        float high = 0.0f, low = 0.0f;
        for (int pass = 0; pass < 2; pass++) { // what lacks is found from differences to the first result
            float pilots = 0.0f, sum = 0.0f;
            for (int k = 0; k < g.interleave; k++) {
                const int place = r * g.interleave + k, segment = g.matrices > 1 ? matrix : place / taps;
                const int channel = g.strided ? segment + i * g.interleave : segment * g.block + i;
                const size_t source = place % taps * g.channels + channel;
                pilots += pilot[source] - high;
#if TREE
                for (int c = lane; c < chunks; c += TREE) sum += partial[(size_t)c * taps * g.channels + source];
#else
                for (int c = 0; c < chunks; c++) sum += partial[(size_t)c * taps * g.channels + source];
#endif
            }
#if TREE
            sum = tree_sum(sum, room);
#endif
            low = pilots / g.interleave + scale * sum;
            if (pass == 0) high = low;
        }
#if TREE
        if (lane > 0) return;
#endif
        const int to = matrix * features + i * taps + r, row = g.depthwise ? r * g.matrices + matrix : at;
        row_high[row] = high;
        row_low[row] = low;
        mean[to] = high + low;
        running[to] += momentum * (high + low - running[to]);
    }
}

/* S = sum of the parts + eps I, and the sum of squares of every row. parts: (splits, matrices, F, F), rows' order; S
 * has its features in the order of the weights. */
kernel void covariance(global const float *parts, int splits, global const struct geometry *layer, float eps, int each,
                       global float *s, global float *squares) {
    const int block = layer->block, taps = layer->taps, features = block * taps, count = layer->matrices * features;
#if TREE
    local float room[TREE];
    const int row = get_group_id(1), f = row % features;
    global float *to = s + (size_t)row * features;
    global const float *from = parts + ((size_t)(row - f) + f % taps * block + f / taps) * features;
    float square = 0.0f;
    for (int j = get_local_id(0); j < features; j += TREE) {
        const int r = j / block, i = j % block;
        float sum = from[j];
        for (int c = 1; c < splits; c++) sum += from[(size_t)c * count * features + j];
        if (taps * i + r == f) sum += eps;
        to[taps * i + r] = sum;
        square += sum * sum;
    }
    square = tree_sum(square, room);
    if (get_local_id(0) == 0) squares[row] = square;
#else
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
#endif
}

/* The same from sums of products of taps a <= b: (splits, F*(F+1)/2, matrices), of channels whitened alone. */
kernel void covariance_lanes(global const float *parts, int splits, global const struct geometry *layer, float scale,
                             float eps, int each, global float *s, global float *squares) {
    const int matrices = layer->matrices, taps = layer->taps, count = matrices * taps, pairs = taps * (taps + 1) / 2;
    ROWS(count);
    for (int at = first; at < end; at++) {
#if TREE /* neighbours read neighbouring channels */
        const int f = at / matrices, matrix = at % matrices, row = matrix * taps + f;
#else
        const int row = at, f = row % taps, matrix = row / taps;
#endif
        float square = 0.0f;
        for (int j = 0; j < taps; j++) {
            const int a = min(f, j), pair = a * taps - a * (a - 1) / 2 + max(f, j) - a;
            float sum = 0.0f;
            for (int c = 0; c < splits; c++) sum += parts[((size_t)c * pairs + pair) * matrices + matrix];
            sum = scale * sum + (f == j ? eps : 0.0f);
            s[(size_t)row * taps + j] = sum;
            square += sum * sum;
        }
        squares[row] = square;
    }
}

/* The gradient of the mean in the rows' order, shared by the samples. */
kernel void back_mean(global const float *dmean, global const struct geometry *layer, float scale, int each,
                      global float *row_mean) {
    const int block = layer->block, taps = layer->taps, features = block * taps, count = layer->matrices * features;
    ROWS(count);
    for (int at = first; at < end; at++) {
        const int matrix = at / features, place = at % features;
        const float value = scale * dmean[matrix * features + place % block * taps + place / block];
        row_mean[layer->depthwise ? place * layer->matrices + matrix : at] = value;
    }
}
