/* How the engines tiled and matrix pack weights; for kernels that include vec.h before it, whose ACT packed weights are
 * stored as. */
#include "conv/sizes.h"

#include "conv/classes.h"

/* Value `at` of a group's packed weights of class c. */
float packed_value(global const float *weight, const struct tap_class c, size_t at, int group, int group_in,
                   int group_out, int taps, int interleave) {
    const int channels = c.transposed ? group_out : group_in, results = c.transposed ? group_in : group_out;
    const size_t line = at / c.chunk, chunks = c.depth / c.chunk;
    const int k = (int)(line / c.outs % chunks) * c.chunk + (int)(at % c.chunk);
    const int result = (int)(line / c.outs / chunks) * c.outs + (int)(line % c.outs);
    const int tap = k / channels, channel = k - tap * channels;
    if (tap >= c.down.taps * c.across.taps || result >= results) return 0.0f;
    const int jy = tap / c.across.taps, jx = tap - jy * c.across.taps;
    const int from = c.down.weight_first + c.across.weight_first + jy * c.down.weight_step + jx * c.across.weight_step;
    const size_t o = c.transposed ? channel : result, in = c.transposed ? result : channel;
    const size_t features = (size_t)group_in * taps, j = in * taps + from;
    const size_t feature = j % interleave * (features / interleave) + j / interleave;
    return weight[((size_t)group * group_out + o) * features + feature];
}

/* Value `at` of a group's weights of `count` classes from `first` on, in the memory of its pass. */
void pack_value(global const float *restrict weight, global ACT *restrict packed, global ACT *restrict transposed,
                global const struct tap_class *restrict classes, int first, int count, size_t at, int group,
                int group_in, int group_out, int taps, int interleave) {
    size_t matrix = 0;
    int i = first;
    for (; i < first + count; i++, at -= matrix) {
        matrix = (size_t)classes[i].depth * classes[i].blocks * classes[i].outs;
        if (at < matrix) break;
    }
    if (i == first + count) return;
    const struct tap_class c = classes[i];
    global ACT *to = (c.transposed ? transposed : packed) + c.first + group * matrix + at;
    STORE_ACT1(packed_value(weight, c, at, group, group_in, group_out, taps, interleave), to);
}
