/* What an ND linear layer needs beside matrix products. Rows: (N, O). Work-items share rows, or columns, evenly.
 *
 *  TREE  items of a group that sums a column (tree.h); 0: an item sums some alone
 */
#include "tree.h"
#if TREE
TREE_SUM(tree_sum, float)
#endif

#define SHARE(count)                                                                                                   \
    const int each = ((count) + (int)get_global_size(0) - 1) / (int)get_global_size(0);                                \
    const int first = get_global_id(0) * each, end = min(first + each, count)

/* Every row becomes the bias (O). */
kernel void broadcast_bias(global const float *bias, int rows, int columns, global float *out) {
    SHARE(rows);
    for (int n = first; n < end; n++)
        for (int o = 0; o < columns; o++) out[(size_t)n * columns + o] = bias[o];
}

/* The sum of all rows (O). */
kernel void sum_rows(global const float *in, int rows, int columns, global float *sums) {
#if TREE
    local float room[TREE];
    const int o = get_group_id(1);
    float sum = 0.0f;
    for (int n = get_local_id(0); n < rows; n += TREE) sum += in[(size_t)n * columns + o];
    sum = tree_sum(sum, room);
    if (get_local_id(0) == 0) sums[o] = sum;
#else
    SHARE(columns);
    for (int o = first; o < end; o++) sums[o] = 0.0f;
    for (int n = 0; n < rows; n++)
        for (int o = first; o < end; o++) sums[o] += in[(size_t)n * columns + o];
#endif
}
