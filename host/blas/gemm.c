/* Matrix products: the device's own kernel (kernels/gemm.cl on CPUs, kernels/product.cl elsewhere) or CLBlast. */
#include "blas/internal.h"
#include "base/types.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHUNK = 384,          // of k, at most: a strip of 16 columns is 24 KiB
    CHUNK_PACKED = 256,   // where A is packed too
    BLOCK = 144,          // most rows of a block; measured against 96 and 192 on a Zen 3 core
    SLAB_BYTES = 5 << 19, // of A and B that a launch reads, when both are long: what stays in the caches meanwhile
    LARGE = 1024,         // rows, columns and depth from which on CLBlast computes a product, but on CPUs
};

struct blocking {
    int rows, strips;
    int64_t down, across;
};

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* Square blocks of a symmetric product, as large as leaves every core a few. */
static struct blocking block_symmetric(int64_t n, int64_t batch, int64_t want) {
    int64_t strips = ceil_div(n, 16), down = ceil_div(n, BLOCK);
    while (down < 12 && down < strips && down * (down + 1) / 2 * batch < want) down++;
    int64_t wide = ceil_div(strips, down);
    down = ceil_div(strips, wide);
    return (struct blocking){(int)(wide * 16), (int)wide, down, down};
}

static struct blocking block_general(int64_t m, int64_t n, int64_t batch, int64_t want, int tile) {
    int64_t strips = ceil_div(n, 16), down = ceil_div(m, BLOCK), across = ceil_div(strips, BLOCK / 16);
    while (down * across * batch < want) {
        bool can_across = across < strips, can_down = down < ceil_div(m, 2 * tile);
        if (can_across && (across * 48 <= n || !can_down))
            across++;
        else if (can_down)
            down++;
        else
            break;
    }
    int64_t wide = ceil_div(strips, across), high = ceil_div(ceil_div(m, down), tile) * tile;
    return (struct blocking){(int)high, (int)wide, ceil_div(m, high), ceil_div(strips, wide)};
}

/* Rows of k in one launch. A long product of transposed operands is cut, so that all blocks work on the same slab. */
static int64_t slab_of(const struct bl_gemm *g, int64_t blocks) {
    int64_t bytes = BL_FLOAT_BYTES * (g->m + g->n);
    if (!g->trans_a || blocks == 1 || bytes * g->k <= SLAB_BYTES) return g->k;
    int64_t slab = SLAB_BYTES / bytes / CHUNK_PACKED * CHUNK_PACKED;
    return slab < CHUNK_PACKED ? CHUNK_PACKED : slab;
}

void bl_gemm_work(struct blanch_device *dev, const struct bl_gemm *g, int64_t k) {
    double batch = g->batch > 0 ? g->batch : 1, results = (double)g->m * (double)(g->symmetric ? g->n + 1 : 2 * g->n);
    double read =
        (double)k * (double)(g->a == g->b && g->symmetric ? g->m : g->m + g->n) + (g->init ? (double)(g->m * g->n) : 0);
    bl_work(dev, batch * results * (double)k, (uint64_t)(sizeof(float) * batch * (read + (double)(g->m * g->n))));
}

struct product { // as the kernel's
    int64_t lda, ldb, ldc, offset_a, offset_b, offset_d, offset_c, stride_a, stride_b, stride_c;
    int32_t m, n, k, rows, strips, last;
};

static struct product slab_product(const struct bl_gemm *g, const struct blocking *b, int64_t from, int64_t to) {
    return (struct product){.lda = g->lda,
                            .ldb = g->ldb,
                            .ldc = g->ldc,
                            .offset_a = (int64_t)g->offset_a + (g->trans_a ? from * g->lda : from),
                            .offset_b = (int64_t)g->offset_b + (g->trans_b ? from : from * g->ldb),
                            .offset_d = (int64_t)(from == 0 && g->init ? g->offset_init : g->offset_c),
                            .offset_c = (int64_t)g->offset_c,
                            .stride_a = g->stride_a,
                            .stride_b = g->stride_b,
                            .stride_c = g->stride_c,
                            .m = (int32_t)g->m,
                            .n = (int32_t)g->n,
                            .k = (int32_t)(to - from),
                            .rows = b->rows,
                            .strips = b->strips,
                            .last = to == g->k};
}

static int launch_slab(struct blanch_device *dev, struct bl_kernel *kernel, const struct bl_gemm *g,
                       const struct blocking *b, int64_t from, int64_t to) {
    const bool first = from == 0;
    const struct product product = slab_product(g, b, from, to);
    size_t batch = g->batch > 0 ? (size_t)g->batch : 1, blocks = (size_t)b->down, across = (size_t)b->across;
    struct bl_range range =
        g->symmetric ? BL_GROUPS1(blocks * (blocks + 1) / 2, 1, batch) : BL_GROUPS1(across, blocks, batch);
    bl_gemm_work(dev, g, to - from);
    return bl_launch(kernel, range, BL_MEM(g->a), BL_MEM(g->b), BL_MEM(first && g->init ? g->init : g->c), BL_MEM(g->c),
                     BL_STRUCT(product), BL_F32(g->alpha), BL_F32(first ? g->beta : 1));
}

static int gemm_cpu(struct blanch_device *dev, const struct bl_gemm *g, enum bl_gemm_route route) {
    const struct blanch_device_info *info = blanch_device_info(dev);
    const int strips = bl_tile_rows(dev) > 6 ? 2 : 1, tile = 6;
    bool pack = g->trans_a || route == BL_GEMM_PACKED;
    const struct bl_define defines[] = {{"TRANS_A", g->trans_a},
                                        {"TRANS_B", g->trans_b},
                                        {"SYMMETRIC", g->symmetric},
                                        {"TM", tile},
                                        {"STRIPS", strips},
                                        {"KC", pack ? CHUNK_PACKED : CHUNK},
                                        {"PACK_A", pack},
                                        {"MB", BLOCK}};
    struct bl_kernel *kernel;
    int code = bl_kernel_get(dev, "gemm", "gemm", defines, BL_COUNT(defines), &kernel);
    if (code) return code;
    int64_t batch = g->batch > 0 ? g->batch : 1, want = 5 * (int64_t)info->compute_units;
    struct blocking b =
        g->symmetric ? block_symmetric(g->n, batch, want) : block_general(g->m, g->n, batch, want, tile);
    int64_t slab = slab_of(g, b.down * b.across);
    for (int64_t from = 0; from < g->k && !code; from += slab)
        code = launch_slab(dev, kernel, g, &b, from, from + slab < g->k ? from + slab : g->k);
    return code;
}

static int gemm_gpu(struct blanch_device *dev, const struct bl_gemm *g) {
    const struct bl_product product = {.pair = *g,
                                       .d = {g->init ? g->init : g->c},
                                       .offset_d = g->init ? g->offset_init : g->offset_c,
                                       .result = {{.to = g->c, .alpha = g->alpha, .beta = {g->beta}}}};
    return bl_product(dev, &product);
}

static int gemm_own(struct blanch_device *dev, const struct bl_gemm *g, enum bl_gemm_route route) {
    return blanch_device_info(dev)->kind == BLANCH_CPU ? gemm_cpu(dev, g, route) : gemm_gpu(dev, g);
}

const char *const bl_gemm_route_names[BL_GEMM_ROUTES] = {"rule", "own", "packed", "clblast", "matrix"};

static char chooser_key; // its address is the key

int bl_gemm_choose_by(struct blanch_device *dev, struct bl_gemm_chooser *chooser) {
    if (chooser) return bl_attach(dev, &chooser_key, chooser, NULL);
    bl_detach(dev, &chooser_key);
    return 0;
}

/* CLBlast's kernels are for large products: it copies others beside padding, and has no symmetric ones. */
static enum bl_gemm_route rule(const struct blanch_device *dev, const struct bl_gemm *g) {
    const bool large = g->m >= LARGE && g->n >= LARGE && g->k >= LARGE && !g->symmetric && g->batch <= 1;
    return large && blanch_device_info(dev)->kind != BLANCH_CPU ? BL_GEMM_CLBLAST : BL_GEMM_OWN;
}

/* BLANCH_GEMM=NAME, a route's, so that tests reach each everywhere. */
static int forced(enum bl_gemm_route *route) {
    const char *name = getenv("BLANCH_GEMM");
    *route = BL_GEMM_RULE;
    if (!name || !*name) return 0;
    for (int i = 0; i < BL_GEMM_ROUTES; i++)
        if (!strcmp(name, bl_gemm_route_names[i])) return *route = (enum bl_gemm_route)i, 0;
    return bl_fail(BLANCH_EUSAGE, "BLANCH_GEMM=%s: there is no such way; known are rule, own, packed, clblast, matrix",
                   name);
}

/* Where CLBlast is chosen but refuses, as its kernels want larger groups than the device has, the own kernel computes
 * this product and those after it. */
static int gemm_clblast(struct blanch_device *dev, const struct bl_gemm *g) {
    int code = bl_clblast_refused(dev) ? 0 : bl_clblast_gemm(dev, g);
    if (!bl_clblast_refused(dev)) return code;
    if (code) bl_warn("%s; the device's own kernel computes products instead", blanch_error_message());
    return gemm_own(dev, g, BL_GEMM_OWN);
}

int bl_gemm(struct blanch_device *dev, const struct bl_gemm *gemm) {
    if (gemm->m < 1 || gemm->n < 1 || gemm->k < 1 || gemm->m > INT_MAX || gemm->n > INT_MAX || gemm->k > INT_MAX)
        return bl_fail(BLANCH_ELIMIT, "a matrix product of %lld x %lld x %lld is out of range", (long long)gemm->m,
                       (long long)gemm->n, (long long)gemm->k);
    if (gemm->symmetric && gemm->m != gemm->n) return bl_fail(BLANCH_EUSAGE, "a symmetric product is not square");
    const struct bl_gemm_chooser *chooser = bl_attached(dev, &chooser_key);
    enum bl_gemm_route route;
    int code = forced(&route);
    if (code) return code;
    bool exact = route != BL_GEMM_RULE;
    if (!exact && chooser) route = chooser->route(chooser->context, gemm), exact = chooser->exact;
    if (route == BL_GEMM_RULE) route = rule(dev, gemm);
    if (route == BL_GEMM_MATRIX && bl_matrix_product_serves(dev, gemm)) return bl_matrix_product(dev, gemm);
    if (route != BL_GEMM_CLBLAST) return gemm_own(dev, gemm, route);
    return exact ? bl_clblast_gemm(dev, gemm) : gemm_clblast(dev, gemm);
}
