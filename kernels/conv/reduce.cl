/* The end of a weight gradient that was summed in shares (conv/direct.cl, conv/winograd.cl):
 * partial[group][block of TN outputs][split][taps*group_in + 1][TN], rows in the order (tap, channel), the last one the
 * bias's, to [O][G][F] (see host/ops/conv/conv.h).
 *
 *  TN  outputs of a block: 4, 8 or 16
 */
#ifndef TN
#error "conv/reduce.cl needs TN"
#endif
#define VEC TN
#include "vec.h"
#include "loop.h"

/* Sums the splits in order and writes [O][G][F], and dbias where has_bias. An item takes `span` channels of a block. */
kernel void reduce(global const float *restrict partial, global float *restrict dweight, global float *restrict dbias,
                   int group_in, int group_out, int taps, int interleave, int blocks, int splits, int span,
                   int has_bias) {
    const int c0 = get_global_id(0) * span, block = get_global_id(1), group = get_global_id(2);
    const int width = min(TN, group_out - block * TN), c1 = min(c0 + span, group_in);
    if (c0 >= group_in || block >= blocks) return;
    const size_t features = (size_t)group_in * taps, length = features / interleave, step = (features + 1) * TN;
    const size_t o = (size_t)group * group_out + (size_t)block * TN;
    global const float *from = partial + ((size_t)group * blocks + block) * splits * step;
    size_t f = (size_t)c0 * taps / interleave;
    int g = (size_t)c0 * taps % interleave;
    for (int c = c0; c < c1; c++) {
        for (int tap = 0; tap < taps; tap++) {
            global const float *at = from + ((size_t)tap * group_in + c) * TN;
            vec sum = LOAD(at);
            for (int s = 1; s < splits; s++) sum += LOAD(at + s * step);
            float part[TN];
            STORE(sum, part);
            global float *to = dweight + o * features + g * length + f;
            EACH_OF(l, TN, width) to[l * features] = part[l];
            if (++g == interleave) g = 0, f++;
        }
    }
    if (!has_bias || c0 > 0) return;
    vec sum = LOAD(from + features * TN);
    for (int s = 1; s < splits; s++) sum += LOAD(from + s * step + features * TN);
    float part[TN];
    STORE(sum, part);
    EACH_OF(l, TN, width) dbias[o + l] = part[l];
}
