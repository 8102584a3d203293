/* What kernels that compute products of matrices share (kernels/product_tile.h): sizes and layouts, and how a row of a
 * result is written.
 *
 *  COLS  items of a group along the columns; required
 *  ROWS  items along the rows; required
 *  TM    rows of an item: 4 or 8; required
 *  KC    terms of a sum that are in local memory at a time; divides by COLS and ROWS; required
 *  SPLIT  parts of a group, of COLS by ROWS items each, that share a tile's terms and add up in the end: 1, 2, 4, 8;
 *         more than 1 with TM 4 alone; required
 */
#if !defined(COLS) || !defined(ROWS) || !defined(TM) || !defined(KC) || !defined(SPLIT)
#error "products need COLS, ROWS, TM, KC and SPLIT"
#endif

#include "tile.h"
#include "loop.h"

#define ITEMS (COLS * ROWS)
#define DEEP (TM * ROWS)
#define OUTS (4 * COLS)
#define LEFT (KC * DEEP / ITEMS) // values of A, of B that an item brings to local memory at a time
#define RIGHT (KC * OUTS / ITEMS)
#if TM == 8
typedef float8 rows;
#else
typedef float4 rows;
#endif
/* A row of the piece of A is one vector longer than it need be, and of B: writers along k use different banks then. */
#define PITCH_A (TM * (ROWS + 1))
#define PITCH_B (4 * (COLS + 1))
#define PIECES                                                                                                         \
    local rows a_piece[SPLIT * KC * (ROWS + 1)];                                                                       \
    local float4 b_piece[SPLIT * KC * (COLS + 1)]

struct product {
    long lda, ldb, ldc, offset_a, offset_b, offset_d, offset_c, stride_a, stride_b, stride_c;
    long step;       // from column to column of C and E; where it is not 1, nothing is added
    long run_stride; // of A and B: the sum runs over k so often, this far apart
    long stride_u;   // of u from matrix to matrix, and of v
    long stride_v;
    int m, n, k, pairs, across, first; // tiles across the result; whether D0 is read
    int second, third, runs, tiles;    // D1, D2; tiles of a matrix
};
/* Which value of a piece the item's i-th one is: its line (a row of A, a column of B) and its term of the sum. Items
 * side by side take values side by side in memory. */
#define LINE(i, lines, by_terms) ((by_terms) ? (id + (i)*ITEMS) / KC : (id + (i)*ITEMS) % (lines))
#define TERM(i, lines, by_terms) ((by_terms) ? (id + (i)*ITEMS) % KC : (id + (i)*ITEMS) / (lines))

#define CLEAR(r) float4 sum##r = (float4)(0.0f);
#define MULTIPLY(r) sum##r = FMA((float4)(left.s##r), line, sum##r);

/* What is added to `width` columns, up to 4. */
float4 addend(global const float *d, int width) {
    if (width >= 4) return vload4(0, d);
    return (float4)(d[0], width > 1 ? d[1] : 0.0f, width > 2 ? d[2] : 0.0f, 0.0f);
}

void put_row(float4 value, int width, int step, global float *to) {
    if (width >= 4 && step == 1) {
        vstore4(value, 0, to);
        return;
    }
    to[0] = value.s0;
    if (width > 1) to[step] = value.s1;
    if (width > 2) to[2 * step] = value.s2;
    if (width > 3) to[3 * step] = value.s3;
}

/* A row of an item of a symmetric result, and its mirror image, from `mirror` on: of the tile on the diagonal (`i`,
 * `j`: row and first column in it; else i is below 0) what lies on and above it. */
void put_both(float4 value, int i, int j, int width, int ldc, global float *to, global float *mirror) {
    const float part[4] = {value.s0, value.s1, value.s2, value.s3};
    LOOP for (int l = 0; l < 4; l++) {
        if (l >= width || i > j + l) continue;
        to[l] = part[l];
        mirror[l * ldc] = part[l];
    }
}

/* The sum over a part of the group of each item's value in `values`, the part's own. */
float sum_group(local float *values, int id) {
    for (int half_way = ITEMS / 2; half_way > 0; half_way /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (id < half_way) values[id] += values[id + half_way];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return values[0];
}

/* How often four columns count, of which the first is `before` behind the row: those above the diagonal twice. */
float4 above(int before) {
    return clamp(convert_float4((int4)(1, 2, 3, 4) - before), 0.0f, 2.0f);
}

#if SPLIT > 1
/* Two of an item's sums each to the first part that adds the item's own, from a part that lies `half_way` behind. */
#define LEND(first, second, piece)                                                                                     \
    piece[2 * at] = sum##first;                                                                                        \
    piece[2 * at + 1] = sum##second;
#define TAKE(first, second, piece)                                                                                     \
    sum##first += piece[2 * at];                                                                                       \
    sum##second += piece[2 * at + 1];
#define ADD_PARTS                                                                                                      \
    for (int half_way = SPLIT / 2; half_way > 0; half_way /= 2) {                                                      \
        const int at = (part % half_way) * ITEMS + id;                                                                 \
        barrier(CLK_LOCAL_MEM_FENCE);                                                                                  \
        if (part >= half_way && part < 2 * half_way) {                                                                 \
            LEND(0, 1, a_room)                                                                                         \
            LEND(2, 3, b_room)                                                                                         \
        }                                                                                                              \
        barrier(CLK_LOCAL_MEM_FENCE);                                                                                  \
        if (part < half_way) {                                                                                         \
            TAKE(0, 1, a_room)                                                                                         \
            TAKE(2, 3, b_room)                                                                                         \
        }                                                                                                              \
    }                                                                                                                  \
    barrier(CLK_LOCAL_MEM_FENCE);
#else
#define ADD_PARTS
#endif
