/* Products of matrices by a device's matrix units (matrix.h), for devices with local memory: both factors are rounded
 * to 16 bits as they come to local memory, sums are floats.
 *
 *   C = alpha op(A) op(B) + beta D
 *
 * Row-major, float32; a batch in dimension 2, all laid out with the same strides; D as C, but for where it begins.
 *
 * A work-group has WAVES_DOWN by WAVES_ACROSS waves of WAVE items; a wave sums DOWN rows of the tile by ACROSS columns.
 * It reads what comes next into registers while it multiplies, and of both pieces there are two in local memory. All
 * items of a group go through all its barriers.
 *
 *  TRANS_A, TRANS_B  whether A, B are stored transposed; required
 *  UNIT, WAVE, ACT_TYPE  as in matrix.h; required
 *  WAVES_DOWN, WAVES_ACROSS, DOWN, ACROSS  as above; the last two are multiples of matrix.h's FM and FN; required
 *  KC  terms of a sum that are in local memory at a time: 16 or 32; required
 */
#if !defined(TRANS_A) || !defined(TRANS_B)
#error "matrix_product.cl needs TRANS_A and TRANS_B"
#endif
#include "matrix_tile.h"

#define LEFT (KC * DEEP / ITEMS) // values of A, of B that an item brings at a time
#define RIGHT (KC * OUTS / ITEMS)

struct product {
    long lda, ldb, ldc, offset_a, offset_b, offset_d, offset_c, stride_a, stride_b, stride_c;
    int m, n, k, across;
};

/* Which value of a piece the item's i-th one is: its line (a row of A, a column of B) and its term of the sum. Items
 * side by side take values side by side in memory. */
#define LINE(i, lines, by_terms) ((by_terms) ? (id + (i)*ITEMS) / KC : (id + (i)*ITEMS) % (lines))
#define TERM(i, lines, by_terms) ((by_terms) ? (id + (i)*ITEMS) % KC : (id + (i)*ITEMS) / (lines))
#define LINE_A(i) LINE(i, DEEP, !TRANS_A)
#define TERM_A(i) TERM(i, DEEP, !TRANS_A)
#define LINE_B(i) LINE(i, OUTS, TRANS_B)
#define TERM_B(i) TERM(i, OUTS, TRANS_B)

kernel GROUP void matrix_product(global const float *restrict a, global const float *restrict b, global const float *d,
                                 global float *c, struct product p, float alpha, float beta) {
    local uint4 a_piece[2 * DEEP * PITCH / 4], b_piece[2 * OUTS * PITCH / 4];
    local ACT *a_values = (local ACT *)a_piece, *b_values = (local ACT *)b_piece;
    WHERE
    const int matrix = get_group_id(2), start = get_group_id(0) % p.across * OUTS;
    const int top = get_group_id(0) / p.across * DEEP, lda = p.lda, ldb = p.ldb;
    a += p.offset_a + matrix * p.stride_a + (TRANS_A ? (long)top : top * p.lda);
    b += p.offset_b + matrix * p.stride_b + (TRANS_B ? start * p.ldb : (long)start);

    sums_part sums[PARTS_DOWN * PARTS_ACROSS];
    CLEAR_SUMS
    float next_a[LEFT], next_b[RIGHT];
    const int chunks = (p.k + KC - 1) / KC;
    for (int done = 0, now = 0; done <= chunks; done++, now ^= 1) {
        if (done < chunks) {
            const int rest = p.k - done * KC;
            LOOP for (int i = 0; i < LEFT; i++) {
                const int line = LINE_A(i), k = TERM_A(i);
                next_a[i] = line < p.m - top && k < rest ? a[TRANS_A ? k * lda + line : line * lda + k] : 0.0f;
            }
            LOOP for (int i = 0; i < RIGHT; i++) {
                const int line = LINE_B(i), k = TERM_B(i);
                next_b[i] = line < p.n - start && k < rest ? b[TRANS_B ? line * ldb + k : k * ldb + line] : 0.0f;
            }
            a += TRANS_A ? KC * p.lda : KC;
            b += TRANS_B ? KC : KC * p.ldb;
        }
        if (done > 0) {
            local const uint *from = (local const uint *)(a_piece + (now ^ 1) * (DEEP * PITCH / 4));
            local const uint *with = (local const uint *)(b_piece + (now ^ 1) * (OUTS * PITCH / 4));
            MULTIPLY_PIECE(from, with)
        }
        if (done < chunks) {
            LOOP for (int i = 0; i < LEFT; i++)
                STORE_ACT1(next_a[i], a_values + ((now * DEEP + LINE_A(i)) * (2 * PITCH) + TERM_A(i)));
            LOOP for (int i = 0; i < RIGHT; i++)
                STORE_ACT1(next_b[i], b_values + ((now * OUTS + LINE_B(i)) * (2 * PITCH) + TERM_B(i)));
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    d += p.offset_d + matrix * p.stride_c;
    c += p.offset_c + matrix * p.stride_c;
    LOOP for (int i = 0; i < PARTS_DOWN; i++) {
        LOOP for (int j = 0; j < PARTS_ACROSS; j++) {
#define WRITE(l, member)                                                                                               \
    {                                                                                                                  \
        const int row = top + FIRST_ROW(i) + SUM_ROW(l) * STEP_DOWN;                                                   \
        const int column = start + FIRST_COLUMN(j) + SUM_COLUMN(l) * STEP_ACROSS;                                      \
        if (row < p.m && column < p.n) {                                                                               \
            const long at = row * p.ldc + column;                                                                      \
            const float value = alpha * sums[i * PARTS_ACROSS + j].member;                                             \
            c[at] = beta == 0.0f ? value : FMA(beta, d[at], value);                                                    \
        }                                                                                                              \
    }
            EACH_SUM(WRITE)
        }
    }
}
