/* How the engines tiled and matrix, and winograd in one launch, pack weights; for kernels that include vec.h before it,
 * whose ACT packed weights are stored as, and loop.h. No pointer of what is inlined is `restrict`: clang makes of that
 * what oclgrind does not know. */
#include "conv/sizes.h"

#include "conv/classes.h"

#define M 2
#include "conv/winograd.h"

/* The weight of tap (jy, jx) of class c, between a channel that is read and a result. */
INLINE float weight_of(global const float *weight, const struct tap_class c, int jy, int jx, int channel, int result,
                       int group, int group_in, int group_out, int taps, int interleave) {
    const int from = c.down.weight_first + c.across.weight_first + jy * c.down.weight_step + jx * c.across.weight_step;
    const size_t o = c.transposed ? channel : result, in = c.transposed ? result : channel;
    const size_t features = (size_t)group_in * taps, j = in * taps + from;
    const size_t feature = j % interleave * (features / interleave) + j / interleave;
    return weight[((size_t)group * group_out + o) * features + feature];
}

/* Value `at` of a group's packed weights of class c. */
INLINE float packed_value(global const float *weight, const struct tap_class c, size_t at, int group, int group_in,
                          int group_out, int taps, int interleave) {
    const int channels = c.transposed ? group_out : group_in, results = c.transposed ? group_in : group_out;
    const size_t line = at / c.chunk, chunks = c.depth / c.chunk;
    const int k = (int)(line / c.outs % chunks) * c.chunk + (int)(at % c.chunk);
    const int result = (int)(line / c.outs / chunks) * c.outs + (int)(line % c.outs);
    const int tap = k / channels, channel = k - tap * channels;
    if (tap >= c.down.taps * c.across.taps || result >= results) return 0.0f;
    const int jy = tap / c.across.taps, jx = tap - jy * c.across.taps;
    return weight_of(weight, c, jy, jx, channel, result, group, group_in, group_out, taps, interleave);
}

/* Winograd's transform of kernel `at` of a class of one group, [block][channel][outs]: an element for each matrix of
 * its piece of `chunk` channels. */
INLINE void pack_elements(global const float *weight, const struct tap_class c, size_t at, int group_in, int group_out,
                          int taps, int interleave, global ACT *to) {
    const int channels = c.transposed ? group_out : group_in, results = c.transposed ? group_in : group_out;
    const int channel = (int)(at / c.outs % c.depth), result = (int)(at / c.outs / c.depth * c.outs + at % c.outs);
    const bool is_any = channel < channels && result < results;
    const size_t piece = (size_t)c.chunk * c.outs;
    to += at / piece * (E * E) * piece + at % piece;
    float g[3], half_way[3 * E], u[E];
    UNROLL for (int jx = 0; jx < 3; jx++) {
        UNROLL for (int jy = 0; jy < 3; jy++) g[jy] =
            is_any ? weight_of(weight, c, jy, jx, channel, result, 0, group_in, group_out, taps, interleave) : 0.0f;
        WEIGHT_LINE(g, 1, u, float)
        UNROLL for (int i = 0; i < E; i++) half_way[i * 3 + jx] = u[i];
    }
    UNROLL for (int i = 0; i < E; i++) {
        const float *line = half_way + i * 3;
        WEIGHT_LINE(line, 1, u, float)
        UNROLL for (int j = 0; j < E; j++) STORE_ACT1(u[j], to + (i * E + j) * piece);
    }
}

/* What item `at` of a group packs of `count` classes from `first` on, to the memory of its pass: a value, or all
 * elements of a transform. */
INLINE void pack_value(global const float *weight, global ACT *packed, global ACT *transposed,
                       global const struct tap_class *classes, int first, int count, size_t at, int group, int group_in,
                       int group_out, int taps, int interleave) {
    size_t matrix = 0;
    int i = first;
    for (; i < first + count; i++, at -= matrix) {
        matrix = (size_t)classes[i].depth * classes[i].blocks * classes[i].outs;
        if (at < matrix) break;
    }
    if (i == first + count) return;
    const struct tap_class c = classes[i];
    global ACT *to = (c.transposed ? transposed : packed) + c.first;
    if (c.elements > 1) {
        pack_elements(weight, c, at, group_in, group_out, taps, interleave, to);
        return;
    }
    STORE_ACT1(packed_value(weight, c, at, group, group_in, group_out, taps, interleave), to + group * matrix + at);
}
