/* One tile of a product (kernels/product.cl says of what), as a function TILE_OF; included once for each that a program
 * has, after product.h.
 *
 *  TILE_OF           its name; required
 *  TRANS_A, TRANS_B  whether A, B are stored transposed; required
 *  SYMMETRIC, TWO, SCALED, DOTS, NORMED  as in product.cl; required
 *  CENTRED           1: A - u v^T is read for A, u by rows, v by columns. 2, of A^T B + B^T A: likewise for B, in both
 *                    pairs, u by terms, v by lines. 0: neither; required
 */
#define LINE_A(i) LINE(i, DEEP, !TRANS_A)
#define TERM_A(i) TERM(i, DEEP, !TRANS_A)
#define LINE_B(i) LINE(i, OUTS, TRANS_B)
#define TERM_B(i) TERM(i, OUTS, TRANS_B)
#if CENTRED == 1
#define LESS_A -u[top + line] * v[at_k + k]
#define LESS_B
#elif CENTRED == 2
#define LESS_A -(second ? u[at_k + k] * v[top + line] : 0.0f)
#define LESS_B -(second ? 0.0f : u[at_k + k] * v[start + line])
#else
#define LESS_A
#define LESS_B
#endif

INLINE void TILE_OF(int tile, int matrix, local rows *a_piece, local float4 *b_piece, global const float *a,
                    global const float *b, global const float *a2, global const float *b2, global const float *d0,
                    global const float *d1, global const float *d2, global float *c, global float *e, struct product p,
                    float alpha, float beta0, float beta1, float beta2, float gamma, float e_alpha, float e_beta0,
                    float e_beta1, float e_beta2, float e_gamma, global float *scales, global float *w,
                    global float *dots, global const float *u, global const float *v) {
    const int col = get_local_id(0), row = get_local_id(1), id = row * COLS + col,
              part = SPLIT > 1 ? get_local_id(2) : 0;
#if SPLIT > 1
    local rows *a_room = a_piece;
    local float4 *b_room = b_piece;
    a_piece += part * KC * (ROWS + 1), b_piece += part * KC * (COLS + 1);
#endif
    local float *a_values = (local float *)a_piece, *b_values = (local float *)b_piece;
#if SYMMETRIC
    int across = tile, down = 0;
    for (int left = p.across; across >= left; left--) across -= left, down++;
    across += down;
#else
    const int across = tile % p.across, down = tile / p.across;
#endif
    const int top = down * DEEP, start = across * OUTS, chunks = (p.k + KC - 1) / KC, steps = chunks * p.runs * p.pairs;
    const int lda = p.lda, ldb = p.ldb, ldc = p.ldc, step = p.step;
    const size_t at_a = p.offset_a + matrix * p.stride_a + (TRANS_A ? top : top * p.lda);
    const size_t at_b = p.offset_b + matrix * p.stride_b + (TRANS_B ? start * p.ldb : start);
    const long step_a = TRANS_A ? KC * p.lda : KC, step_b = TRANS_B ? KC : KC * p.ldb;

#if NORMED
    float squares = 0.0f;
    for (int i = id; i < p.n; i += ITEMS) squares += dots[matrix * p.n + i];
    a_values[id] = squares;
    const float s = fmax(sqrt(sum_group(a_values, id)), 1e-30f), by = 1.0f / s; // finite for a constant batch
    if (id == 0 && part == 0 && tile == 0) {
        global float *to = scales + 4 * matrix;
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
    int chunk = part, run = 0; // of this part's round; runs of the second pair follow those of the first
#if CENTRED
    u += matrix * p.stride_u, v += matrix * p.stride_v;
#endif
    const int rounds = (steps + SPLIT - 1) / SPLIT;
    for (int done = 0; done <= rounds; done++) {
        if (done > 0) { // what the round before has read
            LOOP for (int i = 0; i < LEFT; i++) a_values[TERM_A(i) * PITCH_A + LINE_A(i)] = OPERAND(next_a[i]);
            LOOP for (int i = 0; i < RIGHT; i++) b_values[TERM_B(i) * PITCH_B + LINE_B(i)] = OPERAND(next_b[i]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (done < rounds) {
            for (; chunk >= chunks; chunk -= chunks) run++;
            const int second = run >= p.runs, at_k = chunk * KC, rest = run < p.runs * p.pairs ? p.k - at_k : 0;
            const long at_run = (run - second * p.runs) * p.run_stride;
            global const float *from_a = (second ? a2 : a) + at_a + at_run + chunk * step_a;
            global const float *from_b = (second ? b2 : b) + at_b + at_run + chunk * step_b;
            LOOP for (int i = 0; i < LEFT; i++) {
                const int line = LINE_A(i), k = TERM_A(i);
                next_a[i] =
                    line < p.m - top && k < rest ? from_a[TRANS_A ? k * lda + line : line * lda + k] LESS_A : 0.0f;
            }
            LOOP for (int i = 0; i < RIGHT; i++) {
                const int line = LINE_B(i), k = TERM_B(i);
                next_b[i] =
                    line < p.n - start && k < rest ? from_b[TRANS_B ? line * ldb + k : k * ldb + line] LESS_B : 0.0f;
            }
            chunk += SPLIT;
        }
        if (done > 0) {
            LOOP_TERMS for (int i = 0; i < KC; i++) {
                const rows left = a_piece[i * (ROWS + 1) + row];
                const float4 line = b_piece[i * (COLS + 1) + col];
                EACH_ROW(MULTIPLY)
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    ADD_PARTS
    const size_t place = p.offset_c + matrix * p.stride_c;
    const size_t corner = top * p.ldc + start * step, mirror = start * p.ldc + top;
    const int j = 4 * col, width = p.n - start - j, diagonal = SYMMETRIC && top == start;
    d0 += p.offset_d + matrix * p.stride_c + corner, d1 += place + corner, d2 += place + corner;
    c += place, e += place;
#if SCALED
    const float scale = scales[4 * matrix + 2];
#define SUM(sum, alpha, beta0, beta1, beta2, gamma)                                                                    \
    FMA((float4)(scale), FMA((float4)(alpha), sum, beta0 *t0) + (beta1 * t1 - gamma * unit), beta2 * t2)
#else
#define SUM(sum, alpha, beta0, beta1, beta2, gamma)                                                                    \
    FMA((float4)(alpha), sum, beta0 *t0) + FMA((float4)(beta1), t1, beta2 *t2) - gamma *unit
#endif
#if DOTS
    w += place + corner;
    float4 share = (float4)(0.0f);
#define DOT share = FMA(value * addend(w + at, width), diagonal ? above(i - j) : (float4)(2.0f), share);
#elif NORMED
    w += place;
#define DOT PUT(t0, w)
#else
#define DOT
#endif
#define FINISH(r)                                                                                                      \
    if (part == 0 && width > 0 && row * TM + r < p.m - top && (!diagonal || row * TM + r <= j + 3)) {                  \
        const int i = row * TM + r, at = i * ldc + j * step;                                                           \
        const float4 none = (float4)(0.0f), t0 = p.first ? OPERAND(addend(d0 + at, width)) : none,                     \
                     t1 = p.second ? addend(d1 + at, width) : none, t2 = p.third ? addend(d2 + at, width) : none;      \
        const float4 unit = convert_float4((int4)(top + i - start - j) == (int4)(0, 1, 2, 3));                         \
        const float4 value = SUM(sum##r, alpha, beta0, beta1, beta2, gamma);                                           \
        PUT(value, c)                                                                                                  \
        SECOND(sum##r)                                                                                                 \
        DOT                                                                                                            \
    }
#if SYMMETRIC
#define PUT(value, to) put_both(value, diagonal ? i : -1, j, width, ldc, to + corner + at, to + mirror + j * ldc + i);
#else
#define PUT(value, to) put_row(value, width, step, to + corner + at);
#endif
#if TWO
#define SECOND(sum) PUT((SUM(sum, e_alpha, e_beta0, e_beta1, e_beta2, e_gamma)), e)
#else
#define SECOND(sum)
#endif
    EACH_ROW(FINISH)
#if DOTS
    a_values[id] = share.s0 + share.s1 + share.s2 + share.s3; // the pieces were read
    const float all = sum_group(a_values, id);
    if (id == 0 && part == 0) dots[(size_t)matrix * p.tiles + tile] = all;
#endif
}

#undef LINE_A
#undef TERM_A
#undef LINE_B
#undef TERM_B
#undef LESS_A
#undef LESS_B
#undef OPERAND
#undef SUM
#undef DOT
#undef FINISH
#undef PUT
#undef SECOND
#undef TILE_OF
#undef TRANS_A
#undef TRANS_B
#undef SYMMETRIC
#undef TWO
#undef SCALED
#undef DOTS
#undef NORMED
#undef CENTRED
