/* What the engines tiled and matrix, and winograd in one launch, share beside their products: the packing of weights,
 * the end of the weight gradient. Weights come as [O][G][F] (see host/ops/conv/conv.h) and are packed by classes of
 * taps (conv/classes.h), with k = tap*channels + c, zeros beyond the last k and result.
 *
 *  ACT_TYPE  what packed weights are stored as, as in vec.h (0)
 */
#define VEC 4
#include "vec.h"

#include "loop.h"

#include "conv/packing.h"

/* --- packing ---------------------------------------------------------------------------------- */

/* The weights of `count` classes from `first` on, to a memory for each of both passes. An item packs one value, or one
 * kernel's elements. */
kernel void pack(global const float *restrict weight, global ACT *restrict packed, global ACT *restrict transposed,
                 global const struct tap_class *restrict classes, int first, int count, int group_in, int group_out,
                 int taps, int interleave) {
    pack_value(weight, packed, transposed, classes, first, count, get_global_id(0), get_global_id(1), group_in,
               group_out, taps, interleave);
}

/* --- weight gradient -------------------------------------------------------------------------- */

/* partial[group][split][taps*group_in + 1][width], rows in the order (tap, c), the last one the bias's:
 * sums the splits in order and writes [O][G][F], and dbias where has_bias. An item takes one output of one row. */
kernel void reduce(global const float *restrict partial, global float *restrict dweight, global float *restrict dbias,
                   int group_in, int group_out, int taps, int interleave, int width, int splits, int has_bias) {
    const size_t features = (size_t)group_in * taps, at = get_global_id(0);
    const size_t group = get_global_id(1), row = at / width, l = at % width, o = group * group_out + l;
    if (row > features || l >= group_out || (row == features && !has_bias)) return;
    global const float *from = partial + group * splits * (features + 1) * width + at;
    float sum = 0.0f;
    for (int s = 0; s < splits; s++) sum += from[s * (features + 1) * width];
    if (row == features) {
        dbias[o] = sum;
        return;
    }
    const size_t j = row % group_in * taps + row / group_in;
    dweight[o * features + j % interleave * (features / interleave) + j / interleave] = sum;
}
