/* Matrix products and transforms. Row-major float32. The device's own kernel computes them (kernels/gemm.cl on CPUs,
 * kernels/product.cl elsewhere), or CLBlast, with parameters set for the device (tune.c). */
#ifndef BL_BLAS_H
#define BL_BLAS_H

#include "base/types.h"
#include "cl/cl.h"

struct bl_gemm {
    bool trans_a, trans_b;
    bool symmetric; // the result is known to be (m == n): half of it is computed, then mirrored
    int64_t m, n, k;
    float alpha, beta; // C = alpha op(A) op(B) + beta C
    struct bl_mem *a, *b, *c;
    size_t offset_a, offset_b, offset_c;  // elements
    int64_t lda, ldb, ldc;                // elements between rows
    int batch;                            // 0 counts as 1
    int64_t stride_a, stride_b, stride_c; // elements between matrices of a batch
    enum bl_type rounds;                  // A and B may be rounded to it; BL_F32: they may not
    struct bl_mem *init;                  // C = alpha op(A) op(B) + beta init, init laid out as C; NULL: C itself
    size_t offset_init;
};
int bl_gemm(struct blanch_device *dev, const struct bl_gemm *gemm);

/* Products by the device's own kernel for local memory (kernels/product.cl), which computes and adds in one launch:
 *
 *   P = op(A) op(B) + op(A2) op(B2)       result[r] = alpha P + sum of beta[i] D[i] + gamma I
 *
 * where there are scales, but no squares, all but beta[2] D[2] times the matrix's third one.
 *
 * Not for CPUs, which only imitate local memory. */
struct bl_product {
    struct bl_gemm pair;    // sizes and layout; A, B, without alpha, beta, C and init
    struct bl_mem *a2, *b2; // laid out as A and B; NULL: one pair
    struct bl_mem *d[3];    // laid out as C; NULL: none
    size_t offset_d;        // elements, of d[0]; the others begin at pair.offset_c
    struct bl_product_result {
        struct bl_mem *to; // laid out as C; NULL, of the second: there is one. May be one of D, but no operand
        float alpha, beta[3], gamma;
    } result[2];
    struct bl_mem *scales; // (batch, 4); NULL: none
    /* Of a symmetric product, one of both: */
    struct bl_mem *with; // W, laid out as C; NULL: none
    struct bl_mem *dots; // <result[0], W>, in so many shares of each matrix: (batch, *shares)
    int *shares;
    /* A, B and D[0] are S, in place of which S/s is taken: s = |S|, by the sums of squares of its rows (batch, n);
     * NULL: they are not. S/s goes to `normed`, s, 1/s and 1/sqrt(s) to `scales`. */
    struct bl_mem *squares, *normed;
    int64_t step_c; // elements between columns of the results, to which nothing is added then; 0 counts as 1
    /* A - u v^T is A, u by its rows, v by its columns, from matrix to matrix so far apart. NULL: it is not. */
    struct bl_mem *u, *v;
    int64_t stride_u, stride_v;
    int64_t runs, run_stride; // the sum runs over k so often, A and B this far apart from run to run; 0 counts as 1
};
int64_t bl_product_most_shares(int64_t n); // of matrices of n rows, at most
int bl_product(struct blanch_device *dev, const struct bl_product *product);

/* For kernels that compute tiles of products by kernels/product_tile.h: a tile's size, items and terms as the kernel's
 * COLS, ROWS, TM, KC and SPLIT; struct product of kernels/product.h. */
struct bl_product_tile {
    int cols, rows, tile, chunk, split;
};
static inline size_t bl_product_items(const struct bl_product_tile *t) { // of a group
    return (size_t)(t->cols * t->rows * t->split);
}
struct bl_product_layout {
    int64_t lda, ldb, ldc, offset_a, offset_b, offset_d, offset_c, stride_a, stride_b, stride_c, step;
    int64_t run_stride, stride_u, stride_v;
    int32_t m, n, k, pairs, across, first, second, third, runs, tiles;
};
/* The tile that a product gets (`after` NULL), or the next smaller one, where a kernel takes no groups of that. NULL:
 * there is none. */
const struct bl_product_tile *bl_product_tile(const struct blanch_device *dev, const struct bl_gemm *gemm,
                                              const struct bl_product_tile *after);
struct bl_product_layout bl_product_layout(const struct bl_product *product, const struct bl_product_tile *tile);

/* A tile of a product: a group of cols by rows items, of cols by rows waves of `wave` items where matrix units
 * multiply. Each sums `down` rows of the tile by `across` columns; `chunk` terms of a sum are in local memory at a
 * time. */
struct bl_tile {
    int cols, rows, wave, down, across, chunk;
};
static inline int bl_tile_deep(const struct bl_tile *t) {
    return t->rows * t->down;
}
static inline int bl_tile_outs(const struct bl_tile *t) {
    return t->cols * t->across;
}
static inline int bl_tile_items(const struct bl_tile *t) {
    return t->cols * t->rows * t->wave;
}
/* Those of kernels/matrix_tile.h by a device's units, the largest first; of no unit the last is for devices that allow
 * no other. */
const struct bl_tile *bl_matrix_tiles(struct bl_matrix unit, int *count);
/* Whether matrix units may compute it: operands may be rounded to 16 bits, elsewhere than on CPUs. */
bool bl_matrix_product_serves(const struct blanch_device *dev, const struct bl_gemm *gemm);

/* How a product is computed: by rule of thumb, by the device's own kernel (on CPUs also with A packed), by CLBlast, by
 * matrix units where they serve, else by the own kernel. */
enum bl_gemm_route { BL_GEMM_RULE, BL_GEMM_OWN, BL_GEMM_PACKED, BL_GEMM_CLBLAST, BL_GEMM_MATRIX, BL_GEMM_ROUTES };
extern const char *const bl_gemm_route_names[BL_GEMM_ROUTES];
/* Asked for every product on a device, for one that has measured. BLANCH_GEMM takes precedence over it. */
struct bl_gemm_chooser {
    enum bl_gemm_route (*route)(void *context, const struct bl_gemm *gemm);
    void *context;
    bool exact; // what is chosen is computed so or fails, as it is being measured; else another way may stand in
};
/* The chooser, the caller's, must outlive the device or be replaced; NULL: the rule, which cannot fail. */
int bl_gemm_choose_by(struct blanch_device *dev, struct bl_gemm_chooser *chooser);

/* CLBlast's parameters of its kernel Xgemm: GEMMK KREG KWG KWI MDIMA MDIMC MWG NDIMB NDIMC NWG SA SB STRM STRN VWM VWN.
 */
enum { BL_CLBLAST_PARAMETERS = 16 };
struct bl_clblast_set {
    int value[BL_CLBLAST_PARAMETERS];
};
bool bl_clblast_available(void); // whether this build has it; without, what needs it is refused
const struct bl_clblast_set *
bl_clblast_seed(const struct blanch_device *dev); // to start from; NULL: what CLBlast ships
void bl_clblast_ship(struct blanch_device *dev);  // the shipped set, if nothing was set or computed before
int bl_clblast_set(struct blanch_device *dev, const struct bl_clblast_set *set); // for this process
void bl_clblast_text(const struct bl_clblast_set *set, char *text, size_t size); // "GEMMK=0,KREG=1,..."
int bl_clblast_parse(struct bl_clblast_set *set, const char *text);
/* The position-th of a fixed sequence of sets that CLBlast accepts. cpu: for work-groups that one core goes through. */
void bl_clblast_random(struct bl_clblast_set *set, bool cpu, uint64_t position);

#endif
