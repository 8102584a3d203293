/* Squares of 16 by 16 floats, turned around in registers, and with them what a symmetric matrix has below its diagonal.
 *
 * TRANSPOSE(TAKE, GIVE): rows TAKE(0) to TAKE(15), float16 each, become columns: GIVE(column, i). Pairs of rows
 * exchange halves, then quarters, eighths, single ones. Named, since an array would leave the registers. */
#define HALVES(X) X(8, 0, 8) X(8, 1, 9) X(8, 2, a) X(8, 3, b) X(8, 4, c) X(8, 5, d) X(8, 6, e) X(8, 7, f)
#define QUARTERS(X) X(4, 0, 4) X(4, 1, 5) X(4, 2, 6) X(4, 3, 7) X(4, 8, c) X(4, 9, d) X(4, a, e) X(4, b, f)
#define EIGHTHS(X) X(2, 0, 2) X(2, 1, 3) X(2, 4, 6) X(2, 5, 7) X(2, 8, a) X(2, 9, b) X(2, c, e) X(2, d, f)
#define SINGLES(X) X(1, 0, 1) X(1, 2, 3) X(1, 4, 5) X(1, 6, 7) X(1, 8, 9) X(1, a, b) X(1, c, d) X(1, e, f)
#define LEFT8(p, q) (float16)(p.s01234567, q.s01234567)
#define RIGHT8(p, q) (float16)(p.s89abcdef, q.s89abcdef)
#define LEFT4(p, q) (float16)(p.s0123, q.s0123, p.s89ab, q.s89ab)
#define RIGHT4(p, q) (float16)(p.s4567, q.s4567, p.scdef, q.scdef)
#define LEFT2(p, q) (float16)(p.s01, q.s01, p.s45, q.s45, p.s89, q.s89, p.scd, q.scd)
#define RIGHT2(p, q) (float16)(p.s23, q.s23, p.s67, q.s67, p.sab, q.sab, p.sef, q.sef)
#define LEFT1(p, q)                                                                                                    \
    (float16)(p.s0, q.s0, p.s2, q.s2, p.s4, q.s4, p.s6, q.s6, p.s8, q.s8, p.sa, q.sa, p.sc, q.sc, p.se, q.se)
#define RIGHT1(p, q)                                                                                                   \
    (float16)(p.s1, q.s1, p.s3, q.s3, p.s5, q.s5, p.s7, q.s7, p.s9, q.s9, p.sb, q.sb, p.sd, q.sd, p.sf, q.sf)
#define EXCHANGE(size, i, j)                                                                                           \
    {                                                                                                                  \
        const float16 left = LEFT##size(r##i, r##j), right = RIGHT##size(r##i, r##j);                                  \
        r##i = left, r##j = right;                                                                                     \
    }
#define LOWER(X, W) X(W, 0, 0) X(W, 1, 1) X(W, 2, 2) X(W, 3, 3) X(W, 4, 4) X(W, 5, 5) X(W, 6, 6) X(W, 7, 7)
#define UPPER(X, W) X(W, 8, 8) X(W, 9, 9) X(W, a, 10) X(W, b, 11) X(W, c, 12) X(W, d, 13) X(W, e, 14) X(W, f, 15)
#define TAKE_ROW(TAKE, name, i) float16 r##name = TAKE(i);
#define GIVE_ROW(GIVE, name, i) GIVE(r##name, i)
#define TRANSPOSE(TAKE, GIVE)                                                                                          \
    {                                                                                                                  \
        LOWER(TAKE_ROW, TAKE);                                                                                         \
        UPPER(TAKE_ROW, TAKE);                                                                                         \
        HALVES(EXCHANGE);                                                                                              \
        QUARTERS(EXCHANGE);                                                                                            \
        EIGHTHS(EXCHANGE);                                                                                             \
        SINGLES(EXCHANGE);                                                                                             \
        LOWER(GIVE_ROW, GIVE);                                                                                         \
        UPPER(GIVE_ROW, GIVE);                                                                                         \
    }

/* Copies what lies above the diagonal of a block of c, n by n in rows ldc apart, to its mirror image. The block begins
 * at multiples of 16. */
void mirror(global float *c, long ldc, int row0, int row1, int col0, int col1) {
    for (int row = row0; row < row1; row += 16)
        for (int col = max(col0, row); col < col1; col += 16) {
            if (col > row && row1 - row >= 16 && col1 - col >= 16) {
                global const float *from = c + (size_t)row * ldc + col;
                global float *to = c + (size_t)col * ldc + row;
#define TAKE_ABOVE(i) vload16(0, from + (size_t)(i)*ldc)
#define GIVE_BELOW(column, i) vstore16(column, 0, to + (size_t)(i)*ldc);
                TRANSPOSE(TAKE_ABOVE, GIVE_BELOW)
                continue;
            }
            for (int i = row; i < min(row + 16, row1); i++)
                for (int j = max(col, i + 1); j < min(col + 16, col1); j++)
                    c[(size_t)j * ldc + i] = c[(size_t)i * ldc + j];
        }
}
