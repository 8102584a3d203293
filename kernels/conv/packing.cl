/* Weights of many layers packed for the tiled engine in one launch (ahead.h): a job is a class of taps of a layer, and
 * `to` where that begins. */
#include "conv/packing.h"

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
    for (long i = AHEAD_BEGIN(p); i < end; i += 64)
        packed[p.to + i] =
            packed_value(weights + p.from, p.c, i % matrix, i / matrix, p.group_in, p.group_out, p.taps, 1);
}
