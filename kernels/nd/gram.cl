/* sums = alpha A^T B, over parts of the rows: A, B (rows, n), sums (parts, n, n). Rows come in groups; where A is in
 * parameter order (`strided`), element f of row g of a group lies at f*group + g of the group, else at g*n + f.
 *
 * A work-item sums a part: by chunks of `chunk` groups, which stay cached, register tiles of TM features of A by 16 of
 * B are summed along the chunk's rows and added to its sums. The accumulators are named variables: as an array they
 * would leave the registers. Where the result is symmetric, tiles below the diagonal are mirrored. Written for
 * work-groups of one item.
 *
 *  TM  rows of the register tile: 6 or 12 (6)
 */
#ifndef TM
#define TM 6
#endif

#include "tile.h"

struct groups {
    int n, rows, group, strided;
};

float16 load_some(global const float *from, int width) {
    if (width >= 16) return vload16(0, from);
    float part[16];
    for (int j = 0; j < 16; j++) part[j] = j < width ? from[j] : 0.0f;
    return vload16(0, part);
}

void add_some(float16 value, int width, global float *to) {
    if (width >= 16) {
        vstore16(vload16(0, to) + value, 0, to);
        return;
    }
    float part[16];
    vstore16(value, 0, part);
    for (int j = 0; j < width; j++) to[j] += part[j];
}

/* Adds groups first..end to the tile at (row, col). */
void add_tile(global const float *a, global const float *b, const struct groups s, int first, int end, int row, int col,
              float alpha, global float *sums) {
    const int n = s.n, width = n - col, across = s.strided ? s.group : 1, down = s.strided ? 1 : n;
#define CLEAR(r) float16 sum##r = (float16)(0.0f);
    EACH_ROW(CLEAR)
    for (int group = first; group < end; group++) {
        const int from = group * s.group, count = min(s.group, s.rows - from);
        global const float *left = a + (size_t)from * n;
        global const float *line = b + (size_t)from * n + col;
#define POINT(r) global const float *a##r = left + (size_t)min(row + r, n - 1) * across;
        EACH_ROW(POINT)
#define MULTIPLY(r) sum##r = FMA((float16)(a##r[at]), value, sum##r);
        if (width >= 16) {
            for (int i = 0, at = 0; i < count; i++, at += down, line += n) {
                const float16 value = vload16(0, line);
                EACH_ROW(MULTIPLY)
            }
        } else {
            for (int i = 0, at = 0; i < count; i++, at += down, line += n) {
                const float16 value = load_some(line, width);
                EACH_ROW(MULTIPLY)
            }
        }
    }
#define ADD(r)                                                                                                         \
    if (row + r < n) add_some(alpha *sum##r, width, sums + (size_t)(row + r) * n + col);
    EACH_ROW(ADD)
}

kernel void gram(global const float *a, global const float *b, int n, int rows, int groups, int group, int strided,
                 int chunk, int symmetric, float alpha, global float *sums) {
    const struct groups s = {n, rows, group, strided};
    const int parts = get_num_groups(0), part = get_group_id(0), each = (groups + parts - 1) / parts;
    const int first = min(part * each, groups), end = min(first + each, groups);
    sums += (size_t)part * n * n;
    for (int i = 0; i < n * n; i++) sums[i] = 0.0f;
    for (int from = first; from < end; from += chunk)
        for (int col = 0; col < n; col += 16)
            for (int row = 0; row < (symmetric ? min(col + 16, n) : n); row += TM)
                add_tile(a, b, s, from, min(from + chunk, end), row, col, alpha, sums);
    if (!symmetric) return;
    for (int row = 1; row < n; row++)
        for (int col = 0; col < row; col++) sums[row * n + col] = sums[col * n + row];
}
