/* Matrix products against sums in double precision: transposes, factors, offsets, room between rows and matrices,
 * batches, symmetric results, results that start from another matrix; by the rule's choice and by the device's own
 * kernels (on CPUs without and with A packed), by those for matrix units with factors rounded to 16 bits, by CLBlast
 * where that may be chosen. What a GPU's kernel adds to products, in groups of every size. With BLANCH_KIND=gpu in the
 * environment as on a GPU. A row is a case. test_gemm [ROW] */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "blas/blas.h"
#include "harness.h"
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { A_T = 1, B_T = 2, SYMMETRIC = 4, INIT = 8 };
static struct row {
    const char *name;
    int flags, m, n, k;
    float alpha, beta;
    int batch, apart; // more elements between rows than a row has; offsets and strides follow from it
} rows[] = {
    {"one element", 0, 1, 1, 1, 1, 0, 0, 0},
    {"one element, added", A_T | B_T, 1, 1, 1, -2, 1, 0, 3},
    {"a row", 0, 1, 37, 5, 1, 0, 0, 0},
    {"a row, A transposed", A_T, 1, 37, 5, 1, 0, 0, 2},
    {"a column", 0, 37, 1, 5, 1, 0, 0, 0},
    {"a column, B transposed", B_T, 37, 1, 5, 1, 0, 0, 2},
    {"an outer product", 0, 19, 35, 1, 0.5f, 0, 0, 0},
    {"odd", 0, 13, 29, 31, 1, 0, 0, 0},
    {"odd, A transposed", A_T, 13, 29, 31, 1, 0, 0, 0},
    {"odd, B transposed", B_T, 13, 29, 31, 1, 0, 0, 0},
    {"odd, both transposed", A_T | B_T, 13, 29, 31, 1, 0, 0, 0},
    {"rows apart", 0, 13, 29, 31, 1, 0, 0, 5},
    {"rows apart, A transposed", A_T, 13, 29, 31, -1.5f, 0.5f, 0, 5},
    {"rows apart, B transposed", B_T, 13, 29, 31, -1.5f, 0.5f, 0, 5},
    {"rows apart, both transposed", A_T | B_T, 13, 29, 31, -1.5f, 0.5f, 0, 5},
    {"alpha nothing", 0, 9, 18, 7, 0, 0.5f, 0, 0},
    {"whole vectors", 0, 48, 64, 32, 1, 1, 0, 0},
    {"several blocks", 0, 150, 170, 65, 1, 0, 0, 0},
    {"several blocks, both transposed", A_T | B_T, 150, 170, 65, 1, 0.25f, 0, 1},
    {"several chunks", 0, 21, 35, 800, 1, -1, 0, 0},
    {"several chunks, A transposed", A_T, 21, 35, 600, 1, -1, 0, 4},
    {"several chunks, B transposed", B_T, 21, 35, 600, 1, 0, 0, 0},
    {"several slabs", A_T, 170, 230, 2100, 1, 0.5f, 0, 0},
    {"several slabs from another", A_T | INIT, 170, 230, 2100, 2, 0.5f, 0, 0},
    {"batch", 0, 7, 20, 9, 1, 0, 3, 0},
    {"batch, A transposed", A_T, 7, 20, 9, 2, 1, 3, 3},
    {"batch, B transposed", B_T, 33, 20, 9, 2, 1, 5, 3},
    {"batch of one", 0, 7, 20, 9, 1, 0, 1, 0},
    {"from another", INIT, 23, 19, 14, 1.5f, 2, 0, 0},
    {"from another, rows apart", INIT | B_T, 23, 19, 14, 1.5f, 2, 0, 3},
    {"from another, batch", INIT, 5, 18, 6, 1, -1, 4, 0},
    {"from another, not taken", INIT, 5, 18, 6, 1, 0, 0, 0},
    {"symmetric, one element", SYMMETRIC | B_T, 1, 1, 7, 1, 0, 0, 0},
    {"symmetric", SYMMETRIC | B_T, 37, 37, 11, 1, 0, 0, 0},
    {"symmetric, A transposed", SYMMETRIC | A_T, 37, 37, 11, 1, 0.5f, 0, 2},
    {"symmetric, several blocks", SYMMETRIC | B_T, 200, 200, 33, -1, 1, 0, 0},
    {"symmetric, several slabs", SYMMETRIC | A_T, 210, 210, 2000, 1, 0.5f, 0, 0},
    {"symmetric, batch", SYMMETRIC | A_T, 18, 18, 40, 1, 0, 3, 1},
    {"symmetric, from another, batch", SYMMETRIC | INIT | B_T, 18, 18, 40, 2, 3, 3, 0},
};

static const float GUARD = 12345;
static struct blanch_device *device;

/* A matrix of each of the batch: value[offset + matrix * stride + row * ld + column]. */
struct layout {
    size_t offset, size; // size: with what lies behind the last matrix
    int64_t rows, columns, ld, stride;
};

static struct layout layout_of(const struct row *r, int64_t height, int64_t columns, size_t offset) {
    int64_t ld = columns + r->apart, stride = height * ld + 2 * r->apart, batch = r->batch > 0 ? r->batch : 1;
    offset *= (size_t)(r->apart > 0);
    return (struct layout){offset, offset + (size_t)(batch * stride) + 16, height, columns, ld, stride};
}

static float *fill_random(const struct layout *at, uint64_t seed, bool symmetric) {
    double *v = random_values(at->size, seed, 1, 0.1);
    for (int64_t first = (int64_t)at->offset; symmetric && first + at->stride <= (int64_t)at->size; first += at->stride)
        for (int64_t i = 0; i < at->rows; i++)
            for (int64_t j = 0; j < i; j++) v[first + i * at->ld + j] = v[first + j * at->ld + i];
    float *f = narrow(v, at->size);
    free(v);
    return f;
}

static struct bl_mem *uploaded(const float *v, size_t count) {
    struct bl_mem *mem;
    check(bl_mem_alloc(device, 4 * count, &mem));
    check(bl_mem_write(mem, 0, 4 * count, v));
    return mem;
}

/* op(X)[i][j] of a matrix of the batch */
static double element(const float *x, const struct layout *at, bool transposed, int64_t matrix, int64_t i, int64_t j) {
    return x[(int64_t)at->offset + matrix * at->stride + (transposed ? j * at->ld + i : i * at->ld + j)];
}

/* One product with everything that belongs to it. */
struct product {
    const struct row *row;
    struct layout at_a, at_b, at_c;
    float *a, *b, *start; // start: what beta multiplies
    float *c, *got;       // c: the result's buffer before
    struct bl_gemm gemm;
};

static void make(struct product *p, const struct row *r) {
    bool ta = r->flags & A_T, tb = r->flags & B_T, symmetric = r->flags & SYMMETRIC;
    *p = (struct product){.row = r};
    p->at_a = layout_of(r, ta ? r->k : r->m, ta ? r->m : r->k, 3);
    p->at_b = symmetric ? p->at_a : layout_of(r, tb ? r->n : r->k, tb ? r->k : r->n, 7);
    p->at_c = layout_of(r, r->m, r->n, 17);
    p->a = fill_random(&p->at_a, 1, false), p->b = symmetric ? p->a : fill_random(&p->at_b, 2, false);
    p->start = fill_random(&p->at_c, 3, symmetric);
    p->c = malloc(4 * p->at_c.size), p->got = malloc(4 * p->at_c.size);
    assert_true(p->c && p->got);
    for (size_t i = 0; i < p->at_c.size; i++) p->c[i] = GUARD;
    bool other = r->flags & INIT, added = r->beta != 0 && !other;
    for (int64_t z = 0; z < (r->batch > 0 ? r->batch : 1); z++) // NaN where the result goes, unless it is added to
        for (int64_t i = 0; i < r->m; i++)
            for (int64_t j = 0; j < r->n; j++) {
                int64_t at = (int64_t)p->at_c.offset + z * p->at_c.stride + i * p->at_c.ld + j;
                p->c[at] = added ? p->start[at] : NAN;
            }
    const size_t before = p->at_c.offset / 2; // so that the two offsets differ
    struct bl_mem *a = uploaded(p->a, p->at_a.size);
    p->gemm = (struct bl_gemm){ta,
                               tb,
                               symmetric,
                               r->m,
                               r->n,
                               r->k,
                               r->alpha,
                               r->beta,
                               .a = a,
                               .b = symmetric ? a : uploaded(p->b, p->at_b.size),
                               .c = uploaded(p->c, p->at_c.size),
                               .offset_a = p->at_a.offset,
                               .offset_b = p->at_b.offset,
                               .offset_c = p->at_c.offset,
                               .lda = p->at_a.ld,
                               .ldb = p->at_b.ld,
                               .ldc = p->at_c.ld,
                               .batch = r->batch,
                               .stride_a = p->at_a.stride,
                               .stride_b = p->at_b.stride,
                               .stride_c = p->at_c.stride,
                               .init = other ? uploaded(p->start + before, p->at_c.size - before) : NULL,
                               .offset_init = p->at_c.offset - before};
}

static void release(struct product *p) {
    if (p->gemm.b != p->gemm.a) bl_mem_free(p->gemm.b), free(p->b);
    bl_mem_free(p->gemm.a), bl_mem_free(p->gemm.c), bl_mem_free(p->gemm.init);
    free(p->a), free(p->start), free(p->c), free(p->got);
}

/* Within what float32 sums of k products in any order can be off, of factors that were rounded to their type; all that
 * is no result is as it was. */
static void compare(const struct product *p, const char *route) {
    const struct row *r = p->row;
    int64_t batch = r->batch > 0 ? r->batch : 1;
    const struct layout *at = &p->at_c;
    const enum bl_type rounds = p->gemm.rounds;
    const double rounded = rounds == BL_F16 ? 0x1.01p-10 : rounds == BL_BF16 ? 0x1.01p-7 : 0;
    for (int64_t z = 0; z < batch; z++)
        for (int64_t i = 0; i < r->m; i++)
            for (int64_t j = 0; j < r->n; j++) {
                double sum = 0, size = 0;
                for (int64_t l = 0; l < r->k; l++) {
                    double x = element(p->a, &p->at_a, r->flags & A_T, z, i, l) *
                               element(p->b, &p->at_b, r->flags & B_T, z, l, j);
                    sum += x, size += fabs(x);
                }
                double added = r->beta * element(p->start, at, false, z, i, j), want = r->alpha * sum + added;
                size_t index = at->offset + (size_t)(z * at->stride + i * at->ld + j);
                double bound =
                    0x1p-24 * (r->k + 8) * (fabs(r->alpha) * size + fabs(added)) + rounded * fabs(r->alpha) * size;
                if (!(fabs(p->got[index] - want) <= bound))
                    fail_msg("%s: matrix %lld, row %lld, column %lld is %.9g, not %.9g", route, (long long)z,
                             (long long)i, (long long)j, p->got[index], want);
                p->got[index] = GUARD;
            }
    for (size_t i = 0; i < at->size; i++)
        if (p->got[i] != GUARD) fail_msg("%s: element %zu, outside of the result, is %g", route, i, p->got[i]);
}

static void run_row(void **state) {
    static const char *const routes[] = {"rule", "own", "packed", "matrix", "matrix", "clblast"};
    static const enum bl_type rounds[] = {BL_F32, BL_F32, BL_F32, BL_F16, BL_BF16, BL_F32};
    const struct row *r = *state;
    if (!device) skip();
    bool by_clblast = blanch_device_info(device)->kind != BLANCH_CPU;
    const bool large_groups = blanch_device_info(device)->max_work_group >= 64; // as CLBlast wants them
    const bool clblast = by_clblast && large_groups && bl_clblast_available();
    for (int i = 0; i < BL_COUNT(routes) - !clblast; i++) {
        struct product p;
        if (rounds[i] == BL_BF16 && (r - rows) % 5) continue; // PoCL compiles each
        setenv("BLANCH_GEMM", routes[i], 1);
        make(&p, r);
        p.gemm.rounds = rounds[i];
        int code = bl_gemm(device, &p.gemm);
        if (!strcmp(routes[i], "clblast") && (r->flags & INIT) && r->apart) { // CLBlast's results then have to be dense
            assert_int_equal(code, BLANCH_EUSAGE);
        } else {
            check(code);
            check(bl_mem_read(p.gemm.c, 0, 4 * p.at_c.size, p.got));
            compare(&p, routes[i]);
        }
        release(&p);
    }
}

/* Uploads sums of squares of the rows of a batch of S in v, and takes S/|S| for it; |S| of each to `norms`. */
static struct bl_mem *norm(double *v, int64_t batch, int64_t n, double *norms) {
    float *squares = calloc((size_t)(batch * n), sizeof *squares);
    for (int64_t z = 0; z < batch; z++) {
        double all = 0;
        for (int64_t i = 0; i < n; i++) {
            double sum = 0;
            for (int64_t j = 0; j < n; j++) sum += v[(z * n + i) * n + j] * v[(z * n + i) * n + j];
            squares[z * n + i] = (float)sum, all += sum;
        }
        norms[z] = sqrt(all);
        for (int64_t i = 0; i < n * n; i++) v[z * n * n + i] /= norms[z];
    }
    struct bl_mem *mem = uploaded(squares, (size_t)(batch * n));
    free(squares);
    return mem;
}

/* size: of what is summed, beside which rounding counts. */
static void compare_all(struct bl_mem *mem, const double *expected, int64_t count, double size, const char *what) {
    float *got = calloc((size_t)count, sizeof *got);
    check(bl_mem_read(mem, 0, sizeof *got * (size_t)count, got));
    for (int64_t i = 0; i < count; i++)
        if (!(fabs(expected[i] - (double)got[i]) <= 1e-5 * (size + fabs(expected[i]))))
            fail_msg("%s: value %lld is %.9g, not %.9g", what, (long long)i, (double)got[i], expected[i]);
    free(got);
}

/* C = f (A B - A/2 + I) + 3 D2, f of the matrix, with <C, W>; then W = S/|S|, C = W W + 2 W + I, E = W W / 2. */
static void run_scaled(int64_t n) {
    enum { BATCH = 3 };
    const int64_t size = n * n, all = BATCH * size;
    const struct layout square = {0, (size_t)all, n, n, n, size};
    float *const s = fill_random(&square, 60, true), *const d = fill_random(&square, 61, true), scales[4 * BATCH] = {0};
    double *v = calloc((size_t)all, sizeof *v), *c = calloc((size_t)all, sizeof *c),
           *e = calloc((size_t)all, sizeof *e);
    double norms[BATCH], three[4 * BATCH], dots[BATCH] = {0};
    for (int64_t i = 0; i < all; i++) v[i] = (double)s[i];
    for (int z = 0; z < BATCH; z++) scales[4 * z + 2] = 0.5f + (float)z;
    struct bl_mem *a = uploaded(s, (size_t)all), *with = uploaded(d, (size_t)all), *to = uploaded(d, (size_t)all),
                  *also = uploaded(d, (size_t)all), *factors = uploaded(scales, 4 * BATCH), *shares = NULL;
    const int64_t most = bl_product_most_shares(n);
    int count = 0;
    check(bl_mem_alloc(device, sizeof(float) * (size_t)(BATCH * most), &shares));
    struct bl_product p = {.pair = {.symmetric = true,
                                    .m = n,
                                    .n = n,
                                    .k = n,
                                    .lda = n,
                                    .ldb = n,
                                    .ldc = n,
                                    .a = a,
                                    .b = a,
                                    .batch = BATCH,
                                    .stride_a = size,
                                    .stride_b = size,
                                    .stride_c = size},
                           .d = {a, NULL, with},
                           .result = {{to, 1, {-0.5f, 0, 3}, 1}},
                           .scales = factors,
                           .with = with,
                           .dots = shares,
                           .shares = &count};
    check(bl_product(device, &p));
    assert_in_range(count, 1, most);
    for (int64_t at = 0; at < all; at++) {
        const int64_t z = at / size, i = at % size / n, j = at % n;
        double sum = 0;
        for (int64_t q = 0; q < n; q++) sum += v[z * size + i * n + q] * v[z * size + q * n + j];
        c[at] = (double)scales[4 * z + 2] * (sum - v[at] / 2 + (i == j)) + 3 * (double)d[at];
        dots[z] += c[at] * (double)d[at];
    }
    compare_all(to, c, all, 10, "scaled");
    float *got = calloc((size_t)(BATCH * count), sizeof *got);
    check(bl_mem_read(shares, 0, sizeof *got * (size_t)(BATCH * count), got));
    for (int z = 0; z < BATCH; z++) {
        double sum = 0;
        for (int i = 0; i < count; i++) sum += (double)got[z * count + i];
        if (!(fabs(sum - dots[z]) <= 1e-5 * (double)size)) fail_msg("a product is %.9g, not %.9g", sum, dots[z]);
    }
    p.squares = norm(v, BATCH, n, norms), p.normed = with, p.with = NULL, p.d[2] = NULL;
    p.result[0] = (struct bl_product_result){to, 1, {2, 0, 0}, 1};
    p.result[1] = (struct bl_product_result){also, 0.5f, {0}, 0};
    check(bl_product(device, &p));
    for (int64_t at = 0; at < all; at++) {
        const int64_t z = at / size, i = at % size / n, j = at % n;
        double sum = 0;
        for (int64_t q = 0; q < n; q++) sum += v[z * size + i * n + q] * v[z * size + q * n + j];
        c[at] = sum + 2 * v[at] + (i == j), e[at] = sum / 2;
    }
    for (int z = 0; z < BATCH; z++)
        three[4 * z] = norms[z], three[4 * z + 1] = 1 / norms[z], three[4 * z + 2] = 1 / sqrt(norms[z]),
                  three[4 * z + 3] = 0;
    compare_all(with, v, all, 0.1, "normed"), compare_all(to, c, all, 0.1, "first"),
        compare_all(also, e, all, 0.1, "second");
    compare_all(factors, three, 4 * BATCH, 0.1, "scales");
    struct bl_mem *const mem[] = {a, with, to, also, factors, shares, p.squares};
    for (int i = 0; i < BL_COUNT(mem); i++) bl_mem_free(mem[i]);
    void *const host[] = {s, d, v, c, e, got};
    for (int i = 0; i < BL_COUNT(host); i++) free(host[i]);
}

/* Columns apart, a batch between them. */
static void run_columns(int64_t m, int64_t n, int64_t k, int64_t step) {
    double *a = random_values((size_t)(step * m * k), 70, 1, 0.1), *b = random_values((size_t)(k * n), 71, 1, 0.1);
    double *c = calloc((size_t)(step * m * n), sizeof *c);
    float *const fa = narrow(a, (size_t)(step * m * k)), *const fb = narrow(b, (size_t)(k * n));
    float *const fc = calloc((size_t)(step * m * n), sizeof *fc);
    const struct bl_product p = {.pair = {.m = m,
                                          .n = n,
                                          .k = k,
                                          .lda = k,
                                          .ldb = n,
                                          .ldc = n * step,
                                          .a = uploaded(fa, (size_t)(step * m * k)),
                                          .b = uploaded(fb, (size_t)(k * n)),
                                          .batch = (int)step,
                                          .stride_a = m * k,
                                          .stride_c = 1},
                                 .result = {{uploaded(fc, (size_t)(step * m * n)), 1}},
                                 .step_c = step};
    check(bl_product(device, &p));
    for (int64_t at = 0; at < step * m * n; at++)
        for (int64_t q = 0; q < k; q++) c[at] += a[(at % step * m + at / step / n) * k + q] * b[q * n + at / step % n];
    compare_all(p.result[0].to, c, step * m * n, 10, "columns");
    bl_mem_free(p.pair.a), bl_mem_free(p.pair.b), bl_mem_free(p.result[0].to);
    free(a), free(b), free(c), free(fa), free(fb), free(fc);
}

static void test_scaled(void **state) {
    if (!device || blanch_device_info(device)->kind == BLANCH_CPU) skip();
    run_scaled(40);
    run_columns(40, 42, 9, 3);
}

/* Both results of two pairs, symmetric or not, with all that is added, for a batch. The first result overwrites D0. */
static void run_sums(bool symmetric, int64_t n, int64_t k) {
    const int64_t batch = 2, m = symmetric ? n : n + 5, size = m * n, step = symmetric ? n * n : m * k;
    const int64_t room = step > n * k ? step : n * k;
    struct bl_mem *mem[8]; // A, B, A2, B2, D0, D1, D2, E; the last four laid out as C
    double *v[8];
    float *got = calloc((size_t)(batch * size), sizeof *got);
    const struct layout square = {0, (size_t)(batch * n * n), n, n, n, n * n};
    if (symmetric) k = n;
    for (int i = 0; i < 8; i++) {
        const size_t count = (size_t)(batch * (i < 4 ? room : size));
        float *f = symmetric ? fill_random(&square, (uint64_t)(40 + i), true) : NULL;
        v[i] = random_values(count, (uint64_t)(40 + i), 1, 0.1);
        for (size_t j = 0; f && j < square.size; j++) v[i][j] = (double)f[j];
        free(f);
        /* Two symmetric matrices and their derivative commute in the iteration; A B + B A is symmetric for any. */
        if (symmetric && (i == 2 || i == 3)) memcpy(v[i], v[3 - i], 8 * count);
        f = narrow(v[i], count);
        mem[i] = uploaded(f, count);
        free(f);
    }
    const struct bl_product p = {
        .pair = {.symmetric = symmetric,
                 .m = m,
                 .n = n,
                 .k = k,
                 .lda = k,
                 .ldb = n,
                 .ldc = n,
                 .a = mem[0],
                 .b = mem[1],
                 .batch = (int)batch,
                 .stride_a = m * k,
                 .stride_b = k * n,
                 .stride_c = size},
        .a2 = mem[2],
        .b2 = mem[3],
        .d = {mem[4], mem[5], mem[6]},
        .result = {{mem[4], 0.5f, {2, -1, 0}, 3}, {mem[7], -1.5f, {0.25f, 1, -2}, 0.5f}},
    };
    check(bl_product(device, &p));
    for (int r = 0; r < 2; r++) {
        const struct bl_product_result *to = &p.result[r];
        check(bl_mem_read(to->to, 0, sizeof *got * (size_t)(batch * size), got));
        for (int64_t at = 0; at < batch * size; at++) {
            const int64_t z = at / size, i = at % size / n, j = at % n;
            double sum = to->gamma * (i == j), product = 0;
            for (int64_t q = 0; q < k; q++)
                product += v[0][z * m * k + i * k + q] * v[1][z * k * n + q * n + j] +
                           v[2][z * m * k + i * k + q] * v[3][z * k * n + q * n + j];
            sum += to->alpha * product;
            for (int d = 0; d < 3; d++) sum += to->beta[d] * v[4 + d][at];
            if (fabs(sum - got[at]) > 1e-5 * (10 + fabs(sum)))
                fail_msg("result %d of %lld: matrix %lld, row %lld, column %lld is %.9g, not %.9g", r, (long long)n,
                         (long long)z, (long long)i, (long long)j, got[at], sum);
        }
    }
    for (int i = 0; i < 8; i++) bl_mem_free(mem[i]), free(v[i]);
    free(got);
}

static void test_sums(void **state) {
    if (!device || blanch_device_info(device)->kind == BLANCH_CPU) skip();
    static const int sizes[] = {1, 3, 9, 27, 66, 130};
    for (int i = 0; i < BL_COUNT(sizes); i++) run_sums(true, sizes[i], 0), run_sums(false, sizes[i], 2 * sizes[i] + 1);
}

static void test_refusals(void **state) {
    static const struct row small = {"", 0, 4, 5, 6, 1, 0, 0, 0};
    struct product p;
    if (!device) skip();
    make(&p, &small);
    int64_t launches = bl_launch_count(device), *const sizes[] = {&p.gemm.m, &p.gemm.n, &p.gemm.k};
    for (int i = 0; i < BL_COUNT(sizes); i++) {
        const int64_t was = *sizes[i], wrong[] = {0, -1, (int64_t)INT_MAX + 1};
        for (int j = 0; j < BL_COUNT(wrong); j++) {
            *sizes[i] = wrong[j];
            assert_int_equal(bl_gemm(device, &p.gemm), BLANCH_ELIMIT);
            assert_non_null(strstr(blanch_error_message(), "out of range"));
        }
        *sizes[i] = was;
    }
    p.gemm.symmetric = true;
    assert_int_equal(bl_gemm(device, &p.gemm), BLANCH_EUSAGE);
    assert_non_null(strstr(blanch_error_message(), "not square"));
    assert_int_equal(bl_launch_count(device), launches);
    release(&p);
}

int main(int argc, char **argv) {
    int failed = open_test_device(&device);
    struct CMUnitTest tests[BL_COUNT(rows) + 3];
    for (int i = 0; i < BL_COUNT(rows); i++)
        tests[i] = (struct CMUnitTest){rows[i].name, run_row, NULL, NULL, &rows[i]};
    tests[BL_COUNT(rows)] = (struct CMUnitTest)cmocka_unit_test(test_refusals);
    tests[BL_COUNT(rows) + 1] = (struct CMUnitTest)cmocka_unit_test(test_sums);
    tests[BL_COUNT(rows) + 2] = (struct CMUnitTest)cmocka_unit_test(test_scaled);
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    failed += _cmocka_run_group_tests("matrix products", tests, BL_COUNT(tests), NULL, NULL);
    return failed + close_test_device(device);
}
