/* Products of matrices for devices with local memory, and what is added to them, in one launch:
 *
 *   P = op(A) op(B), or op(A) op(B) + op(A2) op(B2)
 *   C = alpha P + beta0 D0 + beta1 D1 + beta2 D2 + gamma I
 *   E the same with factors of its own, where TWO
 *   where SCALED, all but beta2 D2 times the third of the four `scales` of the matrix
 *   where DOTS, <C, W>: a share for each group, (batch, groups)
 *   where NORMED, for A = B = D0 = S, of all of which S/s is read, s = |S| by the sums of squares of its rows: W = S/s,
 *   and of each matrix s, 1/s, 1/sqrt(s) to `scales` (batch, 4)
 *
 * Row-major, float32; a batch in dimension 2, all laid out with the same strides. A2 and B2 are laid out as A and B;
 * D1, D2 and E as C; D0 too, but for where it begins. C and E may be one of the D, no operand of a product.
 *
 * A work-group computes a tile of TM*ROWS by 4*COLS of the result and keeps a piece of both factors in local memory;
 * item (col, row) sums TM rows by 4 columns, and reads what comes next into registers while it multiplies. All items of
 * a group go through all its barriers: the loops around them depend on the arguments alone.
 *
 *  TRANS_A, TRANS_B  whether A, B are stored transposed; required
 *  SYMMETRIC  1: the result is known to be symmetric: tiles on and above the diagonal are computed, and mirrored;
 *             TM*ROWS is 4*COLS then; required
 *  TWO   whether E is written; required
 *  SCALED, DOTS, NORMED  as above (0); the last two with SYMMETRIC alone, and one of them
 *  COLS  items of a group along the columns; required
 *  ROWS  items along the rows; required
 *  TM    rows of an item: 4 or 8; required
 *  KC    terms of a sum that are in local memory at a time; divides by COLS and ROWS; required
 */
#if !defined(TRANS_A) || !defined(TRANS_B) || !defined(SYMMETRIC) || !defined(TWO) || !defined(COLS) ||                \
    !defined(ROWS) || !defined(TM) || !defined(KC)
#error "product.cl needs TRANS_A, TRANS_B, SYMMETRIC, TWO, COLS, ROWS, TM and KC"
#endif

#ifndef SCALED
#define SCALED 0
#endif
#ifndef DOTS
#define DOTS 0
#endif
#ifndef NORMED
#define NORMED 0
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

struct product {
    long lda, ldb, ldc, offset_a, offset_b, offset_d, offset_c, stride_a, stride_b, stride_c;
    long step;                         // from column to column of C and E; where it is not 1, nothing is added
    int m, n, k, pairs, across, first; // tiles across the result; whether D0 is read
    int second, third;                 // D1, D2
};
/* Which value of a piece the item's i-th one is: its line (a row of A, a column of B) and its term of the sum. Items
 * side by side take values side by side in memory. */
#define LINE(i, lines, by_terms) ((by_terms) ? (id + (i)*ITEMS) / KC : (id + (i)*ITEMS) % (lines))
#define TERM(i, lines, by_terms) ((by_terms) ? (id + (i)*ITEMS) % KC : (id + (i)*ITEMS) / (lines))
#define LINE_A(i) LINE(i, DEEP, !TRANS_A)
#define TERM_A(i) TERM(i, DEEP, !TRANS_A)
#define LINE_B(i) LINE(i, OUTS, TRANS_B)
#define TERM_B(i) TERM(i, OUTS, TRANS_B)

#define CLEAR(r) float4 sum##r = (float4)(0.0f);
#define MULTIPLY(r) sum##r = FMA((float4)(left.s##r), line, sum##r);

/* What is added to `width` columns, up to 4. */
float4 addend(global const float *d, int width) {
    if (width >= 4) return vload4(0, d);
    return (float4)(d[0], width > 1 ? d[1] : 0.0f, width > 2 ? d[2] : 0.0f, 0.0f);
}

/* A row of an item, and where SYMMETRIC its mirror image, from `mirror` on: of the tile on the diagonal (`i`, `j`: row
 * and first column in it; else i is below 0) what lies on and above it. */
void put(float4 value, int i, int j, int width, int ldc, int step, global float *to, global float *mirror) {
#if SYMMETRIC
    const float part[4] = {value.s0, value.s1, value.s2, value.s3};
    LOOP for (int l = 0; l < 4; l++) {
        if (l >= width || i > j + l) continue;
        to[l] = part[l];
        mirror[l * ldc] = part[l];
    }
#else
    if (width >= 4 && step == 1) {
        vstore4(value, 0, to);
        return;
    }
    to[0] = value.s0;
    if (width > 1) to[step] = value.s1;
    if (width > 2) to[2 * step] = value.s2;
    if (width > 3) to[3 * step] = value.s3;
#endif
}

#if DOTS || NORMED
/* The sum over the group of each item's value in `values`. */
float sum_group(local float *values, int id) {
    for (int half_way = ITEMS / 2; half_way > 0; half_way /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (id < half_way) values[id] += values[id + half_way];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return values[0];
}
#endif

#if DOTS
/* How often four columns count, of which the first is `before` behind the row: those above the diagonal twice. */
float4 above(int before) {
    return clamp(convert_float4((int4)(1, 2, 3, 4) - before), 0.0f, 2.0f);
}
#endif

kernel __attribute__((reqd_work_group_size(COLS, ROWS, 1))) void
product(global const float *a, global const float *b, global const float *a2, global const float *b2,
        global const float *d0, global const float *d1, global const float *d2, global float *c, global float *e,
        struct product p, float alpha, float beta0, float beta1, float beta2, float gamma, float e_alpha, float e_beta0,
        float e_beta1, float e_beta2, float e_gamma, global float *scales, global float *w, global float *dots) {
    local rows a_piece[KC * (ROWS + 1)];
    local float4 b_piece[KC * (COLS + 1)];
    local float *a_values = (local float *)a_piece, *b_values = (local float *)b_piece;
    const int col = get_local_id(0), row = get_local_id(1), id = row * COLS + col;
#if SYMMETRIC
    int across = get_group_id(0), down = 0;
    for (int left = p.across; across >= left; left--) across -= left, down++;
    across += down;
#else
    const int across = get_group_id(0) % p.across, down = get_group_id(0) / p.across;
#endif
    const int top = down * DEEP, start = across * OUTS, chunks = (p.k + KC - 1) / KC, steps = chunks * p.pairs;
    const int lda = p.lda, ldb = p.ldb, ldc = p.ldc, step = p.step;
    const size_t at_a = p.offset_a + get_group_id(2) * p.stride_a + (TRANS_A ? top : top * p.lda);
    const size_t at_b = p.offset_b + get_group_id(2) * p.stride_b + (TRANS_B ? start * p.ldb : start);
    a += at_a, a2 += at_a, b += at_b, b2 += at_b;

#if NORMED
    float squares = 0.0f;
    for (int i = id; i < p.n; i += ITEMS) squares += dots[get_group_id(2) * p.n + i];
    a_values[id] = squares;
    const float s = fmax(sqrt(sum_group(a_values, id)), 1e-30f), by = 1.0f / s; // finite for a constant batch
    if (id == 0 && get_group_id(0) == 0) {
        global float *to = scales + 4 * get_group_id(2);
        to[0] = s;
        to[1] = by;
        to[2] = 1.0f / sqrt(s);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
#define OPERAND(value) (by * (value))
#else
#define OPERAND(value) (value)
#endif

    EACH_ROW(CLEAR)
    float next_a[LEFT], next_b[RIGHT];
    int rest = p.k; // terms that are not read yet
    for (int done = 0; done <= steps; done++) {
        if (done > 0) { // what the round before has read
            LOOP for (int i = 0; i < LEFT; i++) a_values[TERM_A(i) * PITCH_A + LINE_A(i)] = OPERAND(next_a[i]);
            LOOP for (int i = 0; i < RIGHT; i++) b_values[TERM_B(i) * PITCH_B + LINE_B(i)] = OPERAND(next_b[i]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (done < steps) {
            if (rest <= 0) a = a2, b = b2, rest = p.k;
            LOOP for (int i = 0; i < LEFT; i++) {
                const int line = LINE_A(i), k = TERM_A(i);
                next_a[i] = line < p.m - top && k < rest ? a[TRANS_A ? k * lda + line : line * lda + k] : 0.0f;
            }
            LOOP for (int i = 0; i < RIGHT; i++) {
                const int line = LINE_B(i), k = TERM_B(i);
                next_b[i] = line < p.n - start && k < rest ? b[TRANS_B ? line * ldb + k : k * ldb + line] : 0.0f;
            }
            a += TRANS_A ? KC * p.lda : KC, b += TRANS_B ? KC : KC * p.ldb, rest -= KC;
        }
        if (done > 0) {
            LOOP for (int i = 0; i < KC; i++) {
                const rows left = a_piece[i * (ROWS + 1) + row];
                const float4 line = b_piece[i * (COLS + 1) + col];
                EACH_ROW(MULTIPLY)
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    const size_t matrix = p.offset_c + get_group_id(2) * p.stride_c;
    const size_t tile = top * p.ldc + start * step, mirror = start * p.ldc + top;
    const int j = 4 * col, width = p.n - start - j, diagonal = SYMMETRIC && top == start;
    d0 += p.offset_d + get_group_id(2) * p.stride_c + tile, d1 += matrix + tile, d2 += matrix + tile;
    c += matrix, e += matrix;
#if SCALED
    const float scale = scales[4 * get_group_id(2) + 2];
#define SUM(sum, alpha, beta0, beta1, beta2, gamma)                                                                    \
    FMA((float4)(scale), FMA((float4)(alpha), sum, beta0 *t0) + (beta1 * t1 - gamma * unit), beta2 * t2)
#else
#define SUM(sum, alpha, beta0, beta1, beta2, gamma)                                                                    \
    FMA((float4)(alpha), sum, beta0 *t0) + FMA((float4)(beta1), t1, beta2 *t2) - gamma *unit
#endif
#if DOTS
    w += matrix + tile;
    float4 share = (float4)(0.0f);
#define DOT share = FMA(value * addend(w + at, width), diagonal ? above(i - j) : (float4)(2.0f), share);
#elif NORMED
    w += matrix;
#define DOT PUT(t0, w)
#else
#define DOT
#endif
#define FINISH(r)                                                                                                      \
    if (width > 0 && row * TM + r < p.m - top && (!diagonal || row * TM + r <= j + 3)) {                               \
        const int i = row * TM + r, at = i * ldc + j * step;                                                           \
        const float4 none = (float4)(0.0f), t0 = p.first ? OPERAND(addend(d0 + at, width)) : none,                     \
                     t1 = p.second ? addend(d1 + at, width) : none, t2 = p.third ? addend(d2 + at, width) : none;      \
        const float4 unit = convert_float4((int4)(top + i - start - j) == (int4)(0, 1, 2, 3));                         \
        const float4 value = SUM(sum##r, alpha, beta0, beta1, beta2, gamma);                                           \
        PUT(value, c)                                                                                                  \
        SECOND(sum##r)                                                                                                 \
        DOT                                                                                                            \
    }
#define PUT(value, to) put(value, diagonal ? i : -1, j, width, ldc, step, to + tile + at, to + mirror + j * ldc + i);
#if TWO
#define SECOND(sum) PUT((SUM(sum, e_alpha, e_beta0, e_beta1, e_beta2, e_gamma)), e)
#else
#define SECOND(sum)
#endif
    EACH_ROW(FINISH)
#if DOTS
    a_values[id] = share.s0 + share.s1 + share.s2 + share.s3; // the pieces were read
    const float all = sum_group(a_values, id);
    if (id == 0) dots[get_group_id(2) * get_num_groups(0) + get_group_id(0)] = all;
#endif
}
