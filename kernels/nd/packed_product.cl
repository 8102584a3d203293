/* C = A D for A, C in rows (rows, n) and an n by n matrix D: W' = W D and dW = dW' D for weights, and for samples the
 * gradient that comes through their covariance. Row-major; weights may be in parameter order, where `interleave` rows
 * o*interleave + g interleave: element f of such a row lies at (o*n + f)*interleave + g.
 *
 * pack_deconv() lays out scale D in strips of 16 columns, (ceil(n/16), n, 16), once for all products of a step. In
 * fold_product() a work-item computes `high` rows (dimension 0) by `wide` strips (dimension 1), by even chunks of at
 * most KC along n: register tiles of TM rows by STRIPS strips are summed along the chunk and added to C. The
 * accumulators are named variables: as an array they would leave the registers. Written for work-groups of one item.
 *
 *  TM      rows of the register tile, as tile.h has them (6)
 *  STRIPS  strips that a tile is wide: 1 or 2 (1). Fewer rows then fill as many registers, with fewer loads
 *  KC      longest chunk of n (a strip's, or both's, are 24 KiB)
 */
#ifndef TM
#define TM 6
#endif
#ifndef STRIPS
#define STRIPS 1
#endif
#ifndef KC
#define KC (384 / STRIPS)
#endif

#include "tile.h"

/* An item takes a share of D's rows. */
kernel void pack_deconv(global const float *d, int n, float scale, global float *packed) {
    const int each = (n + (int)get_global_size(0) - 1) / (int)get_global_size(0);
    const int first = get_global_id(0) * each, end = min(first + each, n);
    for (int k = first; k < end; k++) {
        global const float *from = d + (size_t)k * n;
        for (int col = 0; col < n; col += 16) {
            global float *to = packed + (size_t)col * n + 16 * k;
            if (n - col >= 16)
                vstore16(scale * vload16(0, from + col), 0, to);
            else
                for (int j = 0; j < 16; j++) to[j] = j < n - col ? scale * from[col + j] : 0.0f;
        }
    }
}

/* C = sum, or C += sum, for one row of a tile. */
void put(float16 sum, int add, int width, global float *c) {
    if (width >= 16) {
        if (add) sum += vload16(0, c);
        vstore16(sum, 0, c);
        return;
    }
    float part[16];
    vstore16(sum, 0, part);
    for (int j = 0; j < width; j++) c[j] = add ? c[j] + part[j] : part[j];
}

/* Rows first .. first + rows. interleave: 1 where A is in rows. */
kernel void fold_product(global const float *restrict a, global const float *restrict packed, int first, int rows,
                         int n, int interleave, int high, int wide, global float *c) {
    const int row0 = first + get_global_id(0) * high, row1 = min(row0 + high, first + rows);
    const int col0 = get_global_id(1) * wide * 16, col1 = min(col0 + wide * 16, n);
    const int chunks = (n + KC - 1) / KC, chunk = (n + chunks - 1) / chunks;
    for (int k0 = 0; k0 < n; k0 += chunk) {
        const int kn = min(chunk, n - k0);
        for (int col = col0; col < col1; col += 16 * STRIPS) {
            global const float *strip = packed + (size_t)col * n + 16 * k0;
            for (int row = row0; row < row1; row += TM) {
#define CLEAR(r) float16 sum##r = (float16)(0.0f);
                EACH_ROW(CLEAR)
                /* one division a tile: they would cost as much as its sums */
                int o = interleave > 1 ? row / interleave : row, g = interleave > 1 ? row % interleave : 0;
#define POINT(r)                                                                                                       \
    global const float *a##r = a + ((size_t)o * n + k0) * interleave + g;                                              \
    if (row + r + 1 < row1 && ++g == interleave) g = 0, o++;
                EACH_ROW(POINT)
                global float *to = c + (size_t)row * n + col;
#define MULTIPLY(r) sum##r = FMA((float16)(a##r[at]), line, sum##r);
#define PUT(r)                                                                                                         \
    if (row + r < row1) put(sum##r, k0 > 0, n - col, to + (size_t)r * n);
#if STRIPS == 2
                if (col + 16 < col1) {
                    global const float *right = strip + (size_t)16 * n;
#define CLEAR_NEXT(r) float16 next##r = (float16)(0.0f);
#define MULTIPLY_NEXT(r) next##r = FMA((float16)(a##r[at]), after, next##r);
#define PUT_NEXT(r)                                                                                                    \
    if (row + r < row1) put(next##r, k0 > 0, n - col - 16, to + (size_t)r * n + 16);
                    EACH_ROW(CLEAR_NEXT)
                    for (int i = 0, at = 0; i < kn; i++, at += interleave) {
                        const float16 line = vload16(i, strip), after = vload16(i, right);
                        EACH_ROW(MULTIPLY)
                        EACH_ROW(MULTIPLY_NEXT)
                    }
                    EACH_ROW(PUT_NEXT)
                } else
#endif
                    for (int i = 0, at = 0; i < kn; i++, at += interleave) {
                        const float16 line = vload16(i, strip);
                        EACH_ROW(MULTIPLY)
                    }
                EACH_ROW(PUT)
            }
        }
    }
}
