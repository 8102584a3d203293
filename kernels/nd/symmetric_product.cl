/* C = alpha (A B + A2 B2) + beta D + beta2 D2 + gamma I for symmetric n by n matrices whose result is known to be
 * symmetric: half of it is computed, then mirrored. A second pair of operands (`pairs` 2) makes the derivative of a
 * product, which is symmetric only as a whole. Row-major and dense; C may not be an operand of a product, but it may be
 * D.
 *
 * A work-item computes a square block on or above the diagonal (dimension 0, row by row) of `each` matrices in turn
 * (dimension 1), by even chunks of at most KC along k: columns of B are packed into strips of 16, STRIPS of them at a
 * time; then register tiles of TM rows by as many columns are summed along the chunk and added to C. The accumulators
 * are named variables: as an array they would leave the registers. While tiles are summed, the lines that the next
 * strip is packed from are fetched, a few for every tile: they lie a row apart, which no hardware foresees. Written for
 * work-groups of one item.
 *
 *  TM      rows of the register tile: 6 or 8 (6)
 *  STRIPS  its columns, in strips: 1 or 2 (1)
 */
#ifndef TM
#define TM 6
#endif
#ifndef STRIPS
#define STRIPS 1
#endif
#define KC (384 / STRIPS) /* longest chunk of k that strips of B are packed for */

#include "tile.h"

/* Brings the cache line at p nearer; nothing where a compiler for the machine itself is not at work. */
#if defined(__clang__) && (defined(__x86_64__) || defined(__aarch64__))
#define FETCH(p) __builtin_prefetch((const void *)(size_t)(p), 0, 2)
#else
#define FETCH(p)
#endif

/* Rows k0..k0+kn of B, columns col..col+15 (zeros from n on). */
void pack_strip(global const float *b, int n, int col, int k0, int kn, float16 *packed) {
    if (n - col >= 16) {
        for (int i = 0; i < kn; i++) packed[i] = vload16(0, b + (size_t)(k0 + i) * n + col);
        return;
    }
    float *to = (float *)packed;
    for (int i = 0; i < kn; i++)
        for (int j = 0; j < 16; j++) to[i * 16 + j] = j < n - col ? b[(size_t)(k0 + i) * n + col + j] : 0.0f;
}

/* What is added to a product: of D and D2, or for a later chunk of what C holds. */
struct addends {
    float alpha, beta, beta2;
    global const float *d, *d2;
};

/* C = alpha sum + beta D + beta2 D2 for one row of a tile, which begins at `at`. */
void put(float16 sum, const struct addends add, size_t at, int width, global float *c) {
    sum *= add.alpha;
    if (width >= 16) {
        if (add.beta != 0.0f) sum = FMA((float16)(add.beta), vload16(0, add.d + at), sum);
        if (add.beta2 != 0.0f) sum = FMA((float16)(add.beta2), vload16(0, add.d2 + at), sum);
        vstore16(sum, 0, c + at);
        return;
    }
    float part[16];
    vstore16(sum, 0, part);
    for (int j = 0; j < width; j++) {
        float value = part[j];
        if (add.beta != 0.0f) value = FMA(add.beta, add.d[at + j], value);
        if (add.beta2 != 0.0f) value = FMA(add.beta2, add.d2[at + j], value);
        c[at + j] = value;
    }
}

/* What rows k0..k0+kn of one pair add to the tiles of columns col..col+width: C = alpha sum + beta D. next: what will
 * be packed after these strips, as many rows or fewer. */
void add_strips(global const float *left, int k0, const float16 *strips, int kn, int n, int row0, int row1, int col,
                int width, const struct addends add, global float *c, global const float *next) {
    const int end = min(row1, col + width); // tiles wholly below the diagonal are left out
    const int share = (kn * TM + end - row0 - 1) / (end - row0);
    for (int row = row0; row < end; row += TM) {
        for (int i = 0; i < share; i++) FETCH(next + (size_t)i * n);
        next += (size_t)share * n;
        const size_t at = (size_t)row * n + col;
#define POINT(r) global const float *a##r = left + (size_t)min(row + r, row1 - 1) * n + k0;
        EACH_ROW(POINT)
#define CLEAR(r) float16 sum##r = (float16)(0.0f);
        EACH_ROW(CLEAR)
#define MULTIPLY(r) sum##r = FMA((float16)(a##r[i]), line, sum##r);
#if STRIPS == 2
        if (width > 16) {
#define CLEAR_NEXT(r) float16 next##r = (float16)(0.0f);
            EACH_ROW(CLEAR_NEXT)
#define MULTIPLY_NEXT(r) next##r = FMA((float16)(a##r[i]), after, next##r);
            for (int i = 0; i < kn; i++) {
                const float16 line = strips[i], after = strips[KC + i];
                EACH_ROW(MULTIPLY)
                EACH_ROW(MULTIPLY_NEXT)
            }
#define PUT_NEXT(r)                                                                                                    \
    if (row + r < row1) put(next##r, add, at + (size_t)r * n + 16, n - col - 16, c);
            EACH_ROW(PUT_NEXT)
        } else
#endif
            for (int i = 0; i < kn; i++) {
                const float16 line = strips[i];
                EACH_ROW(MULTIPLY)
            }
#define PUT(r)                                                                                                         \
    if (row + r < row1) put(sum##r, add, at + (size_t)r * n, n - col, c);
        EACH_ROW(PUT)
    }
}

/* Copies what lies above the diagonal of a block to its mirror image, few rows at a time so that they stay cached. */
void mirror(global float *c, int n, int row0, int row1, int col0, int col1) {
    for (int from = row0; from < row1; from += 32) {
        for (int col = max(col0, from + 1); col < col1; col++) {
            const int end = min(min(row1, from + 32), col);
            for (int row = from; row < end; row++) c[(size_t)col * n + row] = c[(size_t)row * n + col];
        }
    }
}

/* Of the matrices, and of how the work is shared: kept on the device. */
struct shape {
    int n, matrices;
    int each, rows; // matrices of an item; rows of a block
};

kernel void symmetric_product(global const float *a, global const float *b, global const float *a2,
                              global const float *b2, global const float *d, global const float *d2, global float *c,
                              global const struct shape *shape, int pairs, float alpha, float beta, float beta2,
                              float gamma) {
    const int n = shape->n, matrices = shape->matrices, each = shape->each, rows = shape->rows;
    const int blocks = (n + rows - 1) / rows;
    int block_row = 0, block_col = get_global_id(0);
    while (block_row < blocks && block_col >= blocks - block_row) block_col -= blocks - block_row++;
    block_col += block_row;
    const int row0 = block_row * rows, row1 = min(row0 + rows, n);
    const int col0 = block_col * rows, col1 = min(col0 + rows, n);
    if (row0 >= n || col0 >= n) return;

    float16 strips[STRIPS * KC];
    const int chunks = (n + KC - 1) / KC, chunk = (n + chunks - 1) / chunks;
    const int first = get_global_id(1) * each, last = min(first + each, matrices);
    for (int matrix = first; matrix < last; matrix++) {
        const size_t at = (size_t)matrix * n * n;
        global float *to = c + at;
        for (int pair = 0; pair < pairs; pair++) {
            global const float *left = (pair ? a2 : a) + at;
            global const float *right = (pair ? b2 : b) + at;
            for (int k0 = 0; k0 < n; k0 += chunk) {
                struct addends add = {alpha, beta, beta2, d + at, d2 + at};
                if (pair > 0 || k0 > 0) add.beta = 1.0f, add.beta2 = 0.0f, add.d = to; // to what the first has stored
                for (int col = col0; col < col1; col += 16 * STRIPS) {
                    const int width = min(16 * STRIPS, col1 - col);
                    global const float *next = col + width < col1 ? right + (size_t)k0 * n + col + width
                                               : k0 + chunk < n   ? right + (size_t)(k0 + chunk) * n + col0
                                                                  : b2 + at + col0;
                    for (int i = 0; 16 * i < width; i++)
                        pack_strip(right, n, col + 16 * i, k0, min(chunk, n - k0), strips + i * KC);
                    add_strips(left, k0, strips, min(chunk, n - k0), n, row0, row1, col, width, add, to, next);
                }
            }
        }
        if (row0 == col0)
            for (int row = row0; row < row1; row++) to[(size_t)row * n + row] += gamma;
        mirror(to, n, row0, row1, col0, col1);
    }
}
