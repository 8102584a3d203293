/* C = alpha op(A) op(B) + beta D, row-major, a batch in the third dimension. D has C's layout and may be C.
 *
 * A work-item computes a block of up to `rows` rows by `strips` strips of 16 columns of one matrix of the batch, by
 * even chunks of at most KC along k: B is packed into private memory in strips, A (under PACK_A) in panels of TM
 * rows; then register tiles of TM rows by 16 columns are summed along the chunk and added to C. The accumulators are
 * named variables: as an array they would leave the registers. Written for work-groups of one item.
 *
 * SYMMETRIC: C and D are known to be symmetric (m == n). Blocks are square, rows == 16 * strips; dimension 0 counts the
 * blocks on and above the diagonal, row by row; tiles wholly below the diagonal are left out, and every block is
 * mirrored at the end if `last` is set (a product may come in several launches, slab after slab of k).
 *
 *  TM         rows of the register tile: 4, 6 or 8 (6: with 16 columns it fills 16 registers of 8 floats)
 *  STRIPS     strips that a tile is wide: 1 or 2 (1). Fewer rows then fill as many registers: rows that lie a power of
 *             two apart share lines of the first cache, which holds eight of them
 *  KC         longest chunk of k (256)
 *  MB         most rows and columns of a block: the size of panels and strips (144)
 *  TRANS_A    1: A is stored k by m, lda between its rows
 *  PACK_A     (TRANS_A) 1: A is packed even if it is not transposed: rows a power of two apart share cache lines
 *  TRANS_B    1: B is stored n by k
 *  SYMMETRIC  1: see above (0)
 */
#if !defined(TRANS_A) || !defined(TRANS_B)
#error "gemm.cl needs TRANS_A and TRANS_B"
#endif
#ifndef TM
#define TM 6
#endif
#ifndef STRIPS
#define STRIPS 1
#endif
#ifndef KC
#define KC 256
#endif
#ifndef MB
#define MB 144
#endif
#ifndef SYMMETRIC
#define SYMMETRIC 0
#endif
#ifndef PACK_A
#define PACK_A TRANS_A
#endif
#if TRANS_A && !PACK_A
#error "gemm.cl: a transposed A is packed"
#endif

#include "tile.h"
#include "transpose.h"

#include "fetch.h"

#define ROWS_AHEAD 4 // that are fetched of what is packed, as they lie apart
#define PANELS ((MB + TM - 1) / TM)
#define STRIP (KC + 1)
#define PANEL (KC * TM + 16) // not a multiple of 4096 bytes, so that panels do not fall on the same cache lines

/* Rows k0..k0+kn of op(B), columns col..col+15 (zeros from n on), to packed[kn]. */
void pack_strip(global const float *b, long ldb, int col, int n, int k0, int kn, float16 *packed) {
    const int width = min(16, n - col);
    float *to = (float *)packed;
#if TRANS_B
    if (width == 16) {
        b += (size_t)col * ldb + k0;
        int i = 0;
        for (; i + 16 <= kn; i += 16) {
#define TAKE(j) vload16(0, b + (size_t)(j)*ldb + i)
#define GIVE(row, j) packed[i + j] = row;
            TRANSPOSE(TAKE, GIVE)
        }
        for (; i < kn; i++)
            for (int j = 0; j < 16; j++) to[i * 16 + j] = b[(size_t)j * ldb + i];
        return;
    }
#endif
    for (int i = 0; i < kn; i++) {
        for (int j = 0; j < 16; j++) {
#if TRANS_B
            to[i * 16 + j] = j < width ? b[(size_t)(col + j) * ldb + k0 + i] : 0.0f;
#else
            to[i * 16 + j] = j < width ? b[(size_t)(k0 + i) * ldb + col + j] : 0.0f;
#endif
        }
    }
}

/* Columns col0..col1 to strips STRIP apart: row by row, so that what is read lies together. */
void pack_b(global const float *b, long ldb, int col0, int col1, int n, int k0, int kn, float16 *packed) {
#if TRANS_B
    const int whole = 0;
#else
    const int whole = (col1 - col0) / 16;
    global const float *from = b + (size_t)k0 * ldb + col0;
    for (int i = 0; i < kn; i++, from += ldb)
        for (int s = 0; s < whole; s++) {
            FETCH(from + ROWS_AHEAD * ldb + 16 * s);
            packed[s * STRIP + i] = vload16(s, from);
        }
#endif
    for (int s = whole; col0 + 16 * s < col1; s++) pack_strip(b, ldb, col0 + 16 * s, n, k0, kn, packed + s * STRIP);
}

#if TRANS_A
/* Rows row0..row1 of op(A), chunk k0..k0+kn, to panels of TM rows: packed[panel][k][TM], PANEL elements apart. Eight
 * values are copied at once, those beyond TM to where the next k's will stand; of the last panels each alone. */
void pack_a(global const float *a, long lda, int row0, int row1, int k0, int kn, float *packed) {
    const int whole = (row1 - row0) / TM, rest = (row1 - row0) % TM, wide = (row1 - row0 + TM - 8) / TM;
    global const float *from = a + (size_t)k0 * lda + row0;
    for (int i = 0; i < kn; i++, from += lda, packed += TM) {
        int p = 0;
        for (; p < wide; p++) {
            if (p % 2 == 0) FETCH(from + ROWS_AHEAD * lda + p * TM);
            vstore8(vload8(0, from + p * TM), 0, packed + p * PANEL);
        }
        for (; p < whole; p++) {
#define COPY(r) packed[p * PANEL + r] = from[p * TM + r];
            EACH_ROW(COPY)
        }
        if (rest > 0)
            for (int r = 0; r < TM; r++) packed[whole * PANEL + r] = r < rest ? from[whole * TM + r] : 0.0f;
    }
}
#elif PACK_A
/* The same from rows of A; what lies below the last row repeats it. */
void pack_a(global const float *a, long lda, int row0, int row1, int k0, int kn, float *packed) {
    for (int row = row0; row < row1; row += TM, packed += PANEL) {
#define POINT_A(r) global const float *a##r = a + (size_t)min(row + r, row1 - 1) * lda + k0;
        EACH_ROW(POINT_A)
        for (int i = 0; i < kn; i++) {
#define COPY_A(r) packed[i * TM + r] = a##r[i];
            EACH_ROW(COPY_A)
        }
    }
}
#endif

/* C = alpha sum + beta D for one row of a tile. */
void put(float16 sum, float alpha, float beta, int width, global const float *d, global float *c) {
    sum *= alpha;
    if (width == 16) {
        if (beta != 0.0f) sum = FMA((float16)(beta), vload16(0, d), sum);
        vstore16(sum, 0, c);
        return;
    }
    float part[16];
    vstore16(sum, 0, part);
    for (int j = 0; j < width; j++) c[j] = beta != 0.0f ? FMA(beta, d[j], part[j]) : part[j];
}

struct product { // of the host's too (host/blas/gemm.c)
    long lda, ldb, ldc, offset_a, offset_b, offset_d, offset_c, stride_a, stride_b, stride_c;
    int m, n, k, rows, strips, last;
};

kernel void gemm(global const float *restrict a, global const float *restrict b, global const float *d, global float *c,
                 struct product p, float alpha, float beta) {
    const long matrix = get_global_id(2), lda = p.lda, ldb = p.ldb, ldc = p.ldc;
    const int m = p.m, n = p.n, k = p.k, rows = p.rows, strips = p.strips;
    a += p.offset_a + matrix * p.stride_a;
    b += p.offset_b + matrix * p.stride_b;
    c += p.offset_c + matrix * p.stride_c;
    d += p.offset_d + matrix * p.stride_c;
#if SYMMETRIC
    const int blocks = (m + rows - 1) / rows;
    int block_row = 0, block_col = get_global_id(0);
    while (block_row < blocks && block_col >= blocks - block_row) block_col -= blocks - block_row++;
    block_col += block_row;
#else
    const int block_col = get_global_id(0), block_row = get_global_id(1);
#endif
    const int row0 = block_row * rows, row1 = min(row0 + rows, m);
    const int col0 = block_col * strips * 16, col1 = min(col0 + strips * 16, n);
    if (row0 >= m || col0 >= n) return;

    float16 packed_b[(MB + 15) / 16 * STRIP];
#if PACK_A
    float packed_a[PANELS * PANEL];
#endif
    const int chunks = (k + KC - 1) / KC, chunk = (k + chunks - 1) / chunks;
    for (int k0 = 0; k0 < k; k0 += chunk) {
        const int kn = min(chunk, k - k0);
#if PACK_A
        pack_a(a, lda, row0, row1, k0, kn, packed_a);
#endif
        pack_b(b, ldb, col0, col1, n, k0, kn, packed_b);
        for (int col = col0; col < col1; col += 16 * STRIPS) {
            const float16 *strip = packed_b + (col - col0) / 16 * STRIP;
#if SYMMETRIC
            const int end = min(row1, col + 16 * STRIPS);
#else
            const int end = row1;
#endif
            for (int row = row0; row < end; row += TM) {
#define CLEAR(r) float16 sum##r = (float16)(0.0f);
                EACH_ROW(CLEAR)
#if PACK_A
                const float *panel = packed_a + (row - row0) / TM * PANEL;
#define MULTIPLY(r) sum##r = FMA((float16)(panel[i * TM + r]), line, sum##r);
#define MULTIPLY_NEXT(r) next##r = FMA((float16)(panel[i * TM + r]), after, next##r);
#else
#define POINT(r) global const float *a##r = a + (size_t)min(row + r, row1 - 1) * lda + k0;
                EACH_ROW(POINT)
#define MULTIPLY(r) sum##r = FMA((float16)(a##r[i]), line, sum##r);
#define MULTIPLY_NEXT(r) next##r = FMA((float16)(a##r[i]), after, next##r);
#endif
                const size_t at = (size_t)row * ldc + col;
                global const float *from = k0 == 0 ? d : c; // later chunks add to what the first has stored
                const float scale = k0 == 0 ? beta : 1.0f;
#if STRIPS == 2
                if (col + 16 < col1) {
#define CLEAR_NEXT(r) float16 next##r = (float16)(0.0f);
                    EACH_ROW(CLEAR_NEXT)
                    for (int i = 0; i < kn; i++) {
                        const float16 line = strip[i], after = strip[STRIP + i];
                        EACH_ROW(MULTIPLY)
                        EACH_ROW(MULTIPLY_NEXT)
                    }
#define PUT_NEXT(r)                                                                                                    \
    if (row + r < row1)                                                                                                \
        put(next##r, alpha, scale, min(16, n - col - 16), from + at + (size_t)r * ldc + 16,                            \
            c + at + (size_t)r * ldc + 16);
                    EACH_ROW(PUT_NEXT)
                } else
#endif
                    for (int i = 0; i < kn; i++) {
                        const float16 line = strip[i];
                        EACH_ROW(MULTIPLY)
                    }
#define PUT(r)                                                                                                         \
    if (row + r < row1)                                                                                                \
        put(sum##r, alpha, scale, min(16, n - col), from + at + (size_t)r * ldc, c + at + (size_t)r * ldc);
                EACH_ROW(PUT)
            }
        }
    }
#if SYMMETRIC
    if (p.last) mirror(c, ldc, row0, row1, col0, col1);
#endif
}
