/* Products by matrix units (kernels/matrix_product.cl). */
#include "blas/internal.h"

/* By units of matrix.h. */
static const struct bl_tile alone[] = {{8, 16, 1, 4, 8, 16}, {8, 8, 1, 4, 4, 16}, {4, 4, 1, 4, 4, 16}};
static const struct bl_tile waves32[] = {{4, 2, 32, 64, 32, 16}, {2, 2, 32, 32, 32, 32}};
static const struct bl_tile waves64[] = {{2, 2, 64, 64, 64, 16}, {2, 2, 64, 32, 32, 32}};
static const struct bl_tile waves8[] = {{4, 8, 8, 16, 16, 32}, {4, 4, 8, 16, 16, 16}};
static const struct bl_tile waves16[] = {{4, 8, 16, 16, 16, 32}, {4, 4, 16, 16, 16, 32}};
enum { GROUPS_PER_UNIT = 2 };

#define TILES(list) (*count = BL_COUNT(list), (list))

const struct bl_tile *bl_matrix_tiles(struct bl_matrix unit, int *count) {
    switch (unit.kind) {
    case BL_MATRIX_MMA:
    case BL_MATRIX_WMMA:
        return TILES(waves32);
    case BL_MATRIX_MFMA:
        return TILES(waves64);
    case BL_MATRIX_DPAS:
        return unit.wave == 16 ? TILES(waves16) : TILES(waves8);
    case BL_MATRIX_NONE:
        break;
    }
    return TILES(alone);
}

static int64_t div_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
static int64_t batch_of(const struct bl_gemm *g) {
    return g->batch > 0 ? g->batch : 1;
}

/* As the kernel pads its pieces, of which there are two. */
static bool is_allowed(const struct blanch_device_info *info, const struct bl_tile *t) {
    const int lines = bl_tile_deep(t) + bl_tile_outs(t);
    return (size_t)bl_tile_items(t) <= info->max_work_group && (size_t)(t->cols * t->wave) <= info->max_work_item[0] &&
           (size_t)t->rows <= info->max_work_item[1] &&
           BL_FLOAT_BYTES * 2 * (size_t)((t->chunk / 2 + 4) * lines) <= info->local_memory;
}

static bool is_full(const struct blanch_device_info *info, const struct bl_gemm *g, const struct bl_tile *t) {
    const int64_t tiles = div_up(g->m, bl_tile_deep(t)) * div_up(g->n, bl_tile_outs(t)) * batch_of(g);
    return 2 * g->m > bl_tile_deep(t) && 2 * g->n > bl_tile_outs(t) &&
           tiles >= GROUPS_PER_UNIT * (int64_t)info->compute_units;
}

static int get_kernel(struct blanch_device *dev, const struct bl_gemm *g, int unit, const struct bl_tile *t,
                      struct bl_kernel **kernel) {
    const struct bl_define defines[] = {
        {"TRANS_A", g->trans_a}, {"TRANS_B", g->trans_b},      {"UNIT", unit},    {"WAVE", t->wave},
        {"WAVES_DOWN", t->rows}, {"WAVES_ACROSS", t->cols},    {"DOWN", t->down}, {"ACROSS", t->across},
        {"KC", t->chunk},        {"ACT_TYPE", (long)g->rounds}};
    return bl_kernel_get(dev, "matrix_product", "matrix_product", defines, BL_COUNT(defines), kernel);
}

/* The first tile that is at least half full in groups enough, else the smallest, of those that device and kernel allow.
 */
static int choose(struct blanch_device *dev, const struct bl_gemm *g, struct bl_tile *tile, struct bl_kernel **kernel) {
    const struct blanch_device_info *info = blanch_device_info(dev);
    const struct bl_matrix unit = bl_matrix_of(dev);
    int count, first = 0, code = 0;
    const struct bl_tile *tiles = bl_matrix_tiles(unit, &count);
    while (first + 1 < count && !(is_allowed(info, &tiles[first]) && is_full(info, g, &tiles[first]))) first++;
    for (int i = first; i < count; i++) {
        if (!is_allowed(info, &tiles[i])) continue;
        *tile = tiles[i];
        code = get_kernel(dev, g, (int)unit.kind, tile, kernel);
        if (!code && bl_kernel_items(*kernel) >= (size_t)bl_tile_items(tile)) return 0;
        if (code && !(code == BLANCH_EDEVICE && bl_device_refused())) return code;
    }
    return code ? code : bl_fail(BLANCH_EDEVICE, "kernel matrix_product: %s allows it no group", info->name);
}

bool bl_matrix_product_serves(const struct blanch_device *dev, const struct bl_gemm *g) {
    const struct blanch_device_info *info = blanch_device_info(dev);
    const bool rounds = g->rounds == BL_F16 || g->rounds == BL_BF16;
    int count;
    const struct bl_tile *tiles = bl_matrix_tiles(bl_matrix_of(dev), &count);
    if (!rounds || g->symmetric || info->kind == BLANCH_CPU) return false;
    for (int i = 0; i < count; i++)
        if (is_allowed(info, &tiles[i])) return true;
    return false;
}

struct product { // as the kernel's
    int64_t lda, ldb, ldc, offset_a, offset_b, offset_d, offset_c, stride_a, stride_b, stride_c;
    int32_t m, n, k, across;
};

int bl_matrix_product(struct blanch_device *dev, const struct bl_gemm *g) {
    struct bl_kernel *kernel;
    struct bl_tile t = {0};
    int code = bl_product_check(g);
    if (!code) code = choose(dev, g, &t, &kernel);
    if (code) return code;
    const struct product product = {.lda = g->lda,
                                    .ldb = g->ldb,
                                    .ldc = g->ldc,
                                    .offset_a = (int64_t)g->offset_a,
                                    .offset_b = (int64_t)g->offset_b,
                                    .offset_d = (int64_t)(g->init ? g->offset_init : g->offset_c),
                                    .offset_c = (int64_t)g->offset_c,
                                    .stride_a = g->stride_a,
                                    .stride_b = g->stride_b,
                                    .stride_c = g->stride_c,
                                    .m = (int32_t)g->m,
                                    .n = (int32_t)g->n,
                                    .k = (int32_t)g->k,
                                    .across = (int32_t)div_up(g->n, bl_tile_outs(&t))};
    const size_t cols = (size_t)(t.cols * t.wave), rows = (size_t)t.rows;
    const int64_t tiles = product.across * div_up(g->m, bl_tile_deep(&t));
    const struct bl_range range = {.global = {(size_t)tiles * cols, rows, (size_t)batch_of(g)},
                                   .local = {cols, rows, 1}};
    bl_gemm_work(dev, g, g->k);
    return bl_launch(kernel, range, BL_MEM(g->a), BL_MEM(g->b), BL_MEM(g->init ? g->init : g->c), BL_MEM(g->c),
                     BL_STRUCT(product), BL_F32(g->alpha), BL_F32(g->beta));
}
