/* Packing for the engines tiled and winograd in one launch, of many layers' weights or of one layer's together with
 * what is made of them besides.
 *
 *  TREE  items of a group that sums together (tree.h); 0: there is no such kernel; required
 */
#define VEC 1
#include "vec.h"

#include "loop.h"

#include "conv/packing.h"
#include "fma.h"
#include "tree.h"

/* Many layers in one launch (ahead.h): a job is a class of taps of a layer, and `to` where that begins. Of Winograd's
 * transform an item does the 16 elements of a kernel. */

struct packing {
    long block, from, to;
    struct tap_class c;
    int group_in, group_out, taps, groups;
};
#define TABLED packing
#include "ahead.h"

kernel void pack_ahead(global const float *weights, global float *packed, global const struct packing *table, int first,
                       int count) {
    const struct packing p = table[find_entry(table, first, count, THIS_BLOCK)];
    const long matrix = (long)p.c.depth * p.c.blocks * p.c.outs, end = min(AHEAD_END(p), matrix * p.groups);
    if (p.c.elements > 1) {
        const long at = (THIS_BLOCK - p.block) * 64 + (long)(get_global_id(0) % 64);
        if (at < matrix) pack_elements(weights + p.from, p.c, at, p.group_in, p.group_out, p.taps, 1, packed + p.to);
        return;
    }
    for (long i = AHEAD_BEGIN(p); i < end; i += 64)
        packed[p.to + i] =
            packed_value(weights + p.from, p.c, i % matrix, i / matrix, p.group_in, p.group_out, p.taps, 1);
}

#if TREE
TREE_SUM(tree_sum, float)

/* The folded weights of one layer, as pack of conv/tiles.cl, by `items` of a group of channels; and their bias
 * b' = b - sum over g of W'_g m, W' (O, G, F), m (matrices, F). First a group for each output sums its bias, then the
 * items of the others pack. */
kernel __attribute__((reqd_work_group_size(TREE, 1, 1))) void
pack_with_bias(global const float *restrict weight, global float *restrict packed, global float *restrict transposed,
               global const struct tap_class *restrict classes, int first, int count, int group_in, int group_out,
               int taps, int interleave, long items, int groups, global const float *restrict mean,
               global const float *restrict bias, global float *restrict out, int outputs, int rows, int features,
               int matrices) {
    local float room[TREE];
    const int o = get_group_id(1), lane = get_local_id(0);
    if (o < outputs) {
        global const float *m = mean + (size_t)(o / (outputs / matrices)) * features;
        float sum = 0.0f;
        for (int g = 0; g < rows; g++) {
            global const float *row = weight + ((size_t)o * rows + g) * features;
            for (int f = lane; f < features; f += TREE) sum = FMA(row[f], m[f], sum);
        }
        sum = tree_sum(sum, room);
        if (lane == 0) out[o] = bias[o] - sum;
        return;
    }
    const long item = (long)(o - outputs) * TREE + lane;
    const int group = (int)(item / items);
    if (group >= groups) return;
    pack_value(weight, packed, transposed, classes, first, count, item % items, group, group_in, group_out, taps,
               interleave);
}
#endif
