/* What an ND linear layer needs beside matrix products. Rows: (N, O). Work-items share rows, or columns, evenly.
 * No parameters. */
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
    SHARE(columns);
    for (int o = first; o < end; o++) sums[o] = 0.0f;
    for (int n = 0; n < rows; n++)
        for (int o = first; o < end; o++) sums[o] += in[(size_t)n * columns + o];
}
