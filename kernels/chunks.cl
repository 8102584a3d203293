/* to[c] = sum over k of partial[k * stride + offset + c]: what sums over chunks of pixels come to.
 *   VEC   floats in a vector, 1 to 16, dividing the channels; required
 *   TREE  items of a group that sums one vector together (tree.h); 0: an item takes some alone, in the chunks' order
 */
#include "vec.h"
#include "tree.h"
#if TREE
TREE_SUM(tree_sum, vec)
#endif

kernel void sum_chunks(global const float *restrict partial, long chunks, long stride, long offset,
                       global float *restrict to, int vectors) {
#if TREE
    local vec room[TREE];
    const size_t v = get_group_id(1);
    vec sum = (vec)(0.0f);
    for (long k = get_local_id(0); k < chunks; k += TREE) sum += LOAD(partial + k * stride + offset + v * VEC);
    sum = tree_sum(sum, room);
    if (get_local_id(0) == 0) STORE(sum, to + v * VEC);
#else
    const size_t share = ((size_t)vectors + get_global_size(0) - 1) / get_global_size(0);
    const size_t end = min((get_global_id(0) + 1) * share, (size_t)vectors);
    for (size_t v = get_global_id(0) * share; v < end; v++) {
        vec sum = (vec)(0.0f);
        for (long k = 0; k < chunks; k++) sum += LOAD(partial + k * stride + offset + v * VEC);
        STORE(sum, to + v * VEC);
    }
#endif
}
