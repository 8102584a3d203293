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
 *  CENTRED  1: A - u v^T is read for A (0)
 *  COLS  items of a group along the columns; required
 *  ROWS  items along the rows; required
 *  TM    rows of an item: 4 or 8; required
 *  KC, SPLIT  as in product.h; required
 */
#if !defined(TRANS_A) || !defined(TRANS_B) || !defined(SYMMETRIC) || !defined(TWO)
#error "product.cl needs TRANS_A, TRANS_B, SYMMETRIC and TWO"
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
#ifndef CENTRED
#define CENTRED 0
#endif

#include "product.h"
#define TILE_OF compute_tile
#include "product_tile.h"

kernel LANES16 __attribute__((reqd_work_group_size(COLS, ROWS, SPLIT))) void
product(global const float *a, global const float *b, global const float *a2, global const float *b2,
        global const float *d0, global const float *d1, global const float *d2, global float *c, global float *e,
        struct product p, float alpha, float beta0, float beta1, float beta2, float gamma, float e_alpha, float e_beta0,
        float e_beta1, float e_beta2, float e_gamma, global float *scales, global float *w, global float *dots,
        global const float *u, global const float *v) {
    PIECES;
    compute_tile(get_group_id(0), get_group_id(2), a_piece, b_piece, a, b, a2, b2, d0, d1, d2, c, e, p, alpha, beta0,
                 beta1, beta2, gamma, e_alpha, e_beta0, e_beta1, e_beta2, e_gamma, scales, w, dots, u, v);
}
