/* Products for devices with local memory (kernels/product.cl). */
#include "blas/internal.h"
#include <limits.h>

/* COLS, ROWS, TM, KC, SPLIT of the kernel, the largest tile first: it uses what it loads most often. The last is for
 * devices whose groups have one item. Of a symmetric product tiles are square. */
static const struct bl_product_tile tilings[] = {
    {16, 16, 8, 16, 1}, {16, 16, 4, 16, 1}, {8, 8, 4, 8, 8}, {8, 8, 4, 8, 4},
    {8, 8, 4, 8, 1},    {4, 4, 4, 8, 1},    {1, 1, 4, 1, 1},
};
enum { SINGLE = BL_COUNT(tilings) - 1, GROUPS_PER_UNIT = 2 };
enum { SHORTEST_PART = 32 };         // of terms
enum { FURTHEST = INT32_MAX / 128 }; // elements between rows: kernels count within a tile in 32 bits

static int64_t div_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
static int deep(const struct bl_product_tile *t) {
    return t->tile * t->rows;
}
static int wide(const struct bl_product_tile *t) {
    return 4 * t->cols;
}

/* --- tiles ------------------------------------------------------------------------------------ */

static int64_t tiles_of(const struct bl_gemm *g, const struct bl_product_tile *t) {
    const int64_t across = div_up(g->n, wide(t));
    return g->symmetric ? across * (across + 1) / 2 : across * div_up(g->m, deep(t));
}

/* As the kernel pads its pieces. */
static size_t local_bytes(const struct bl_product_tile *t) {
    return BL_FLOAT_BYTES * (size_t)(t->split * t->chunk * (t->tile * (t->rows + 1) + 4 * (t->cols + 1)));
}

static bool is_allowed(const struct blanch_device *dev, const struct bl_gemm *g, const struct bl_product_tile *t) {
    const struct blanch_device_info *info = blanch_device_info(dev);
    return (size_t)(t->cols * t->rows * t->split) <= info->max_work_group &&
           (size_t)t->cols <= info->max_work_item[0] && (size_t)t->rows <= info->max_work_item[1] &&
           (size_t)t->split <= info->max_work_item[2] && local_bytes(t) <= info->local_memory &&
           4 * t->tile <= bl_device_sums(dev) && (!g->symmetric || deep(t) == wide(t));
}

/* Tiles that are at least half full, and groups enough to keep the device busy. */
static bool is_full(const struct blanch_device_info *info, const struct bl_gemm *g, const struct bl_product_tile *t) {
    const int64_t batch = g->batch > 0 ? g->batch : 1;
    return 2 * g->m > deep(t) && 2 * g->n > wide(t) &&
           tiles_of(g, t) * batch >= GROUPS_PER_UNIT * (int64_t)info->compute_units;
}

/* Whether a tile is to be shared: where there are few, of long sums, and groups of fewer parts, which stand behind it,
 * would not do. */
static bool is_split(const struct blanch_device *dev, const struct bl_gemm *g, const struct bl_product_tile *t) {
    const int64_t batch = g->batch > 0 ? g->batch : 1;
    return 2 * g->m > deep(t) && 2 * g->n > wide(t) && g->k >= t->split * SHORTEST_PART &&
           tiles_of(g, t) * batch * (int64_t)bl_product_items(t + 1) < bl_device_items(dev);
}

/* The first that is full, else the smallest; groups of fewer than 64 items are for small matrices, and for devices that
 * take no larger ones. */
static int first_choice(const struct blanch_device *dev, const struct bl_gemm *g) {
    const struct blanch_device_info *info = blanch_device_info(dev);
    const bool small = g->m <= 16 && g->n <= 16;
    int best = SINGLE;
    for (int i = 0; i < SINGLE; i++) {
        if (!is_allowed(dev, g, &tilings[i])) continue;
        if (best < SINGLE && !small && tilings[i].cols * tilings[i].rows < 64) break;
        if (tilings[i].split > 1 && !is_split(dev, g, &tilings[i])) continue;
        best = i;
        if (tilings[i].split > 1 || is_full(info, g, &tilings[i])) break;
    }
    return best;
}

const struct bl_product_tile *bl_product_tile(const struct blanch_device *dev, const struct bl_gemm *g,
                                              const struct bl_product_tile *after) {
    for (int i = after ? (int)(after - tilings) + 1 : first_choice(dev, g); i <= SINGLE; i++)
        if (is_allowed(dev, g, &tilings[i])) return &tilings[i];
    return NULL;
}

static int get_kernel(struct blanch_device *dev, const struct bl_product *p, const struct bl_product_tile *t,
                      struct bl_kernel **kernel) {
    const struct bl_define defines[] = {{"TRANS_A", p->pair.trans_a},
                                        {"TRANS_B", p->pair.trans_b},
                                        {"SYMMETRIC", p->pair.symmetric},
                                        {"TWO", p->result[1].to != NULL},
                                        {"SCALED", p->scales && !p->squares},
                                        {"DOTS", p->with != NULL},
                                        {"NORMED", p->squares != NULL},
                                        {"CENTRED", p->u != NULL},
                                        {"COLS", t->cols},
                                        {"ROWS", t->rows},
                                        {"TM", t->tile},
                                        {"KC", t->chunk},
                                        {"SPLIT", t->split}};
    return bl_kernel_get(dev, "product", "product", defines, BL_COUNT(defines), kernel);
}

/* A kernel may take smaller groups than its device does, where it needs many registers: then the next tile. */
static int choose(struct blanch_device *dev, const struct bl_product *p, const struct bl_product_tile **tiling,
                  struct bl_kernel **kernel) {
    const struct blanch_device_info *info = blanch_device_info(dev);
    int code = 0;
    for (*tiling = bl_product_tile(dev, &p->pair, NULL); *tiling; *tiling = bl_product_tile(dev, &p->pair, *tiling)) {
        code = get_kernel(dev, p, *tiling, kernel);
        if (!code && bl_kernel_items(*kernel) >= bl_product_items(*tiling)) return 0;
        if (code && !(code == BLANCH_EDEVICE && bl_device_refused())) return code;
    }
    return code ? code : bl_fail(BLANCH_EDEVICE, "kernel product: %s allows it no group at all", info->name);
}

/* --- launching -------------------------------------------------------------------------------- */

static bool is_read(const struct bl_product *p, int addend) {
    return p->d[addend] && (p->result[0].beta[addend] != 0 || p->result[1].beta[addend] != 0);
}

struct bl_product_layout bl_product_layout(const struct bl_product *p, const struct bl_product_tile *t) {
    const struct bl_gemm *g = &p->pair;
    return (struct bl_product_layout){.lda = g->lda,
                                      .ldb = g->ldb,
                                      .ldc = g->ldc,
                                      .offset_a = (int64_t)g->offset_a,
                                      .offset_b = (int64_t)g->offset_b,
                                      .offset_d = (int64_t)p->offset_d,
                                      .offset_c = (int64_t)g->offset_c,
                                      .stride_a = g->stride_a,
                                      .stride_b = g->stride_b,
                                      .stride_c = g->stride_c,
                                      .step = p->step_c ? p->step_c : 1,
                                      .run_stride = p->run_stride,
                                      .stride_u = p->stride_u,
                                      .stride_v = p->stride_v,
                                      .m = (int32_t)g->m,
                                      .n = (int32_t)g->n,
                                      .k = (int32_t)g->k,
                                      .pairs = p->a2 ? 2 : 1,
                                      .across = (int32_t)div_up(g->n, wide(t)),
                                      .first = is_read(p, 0),
                                      .second = is_read(p, 1),
                                      .third = is_read(p, 2),
                                      .runs = p->runs ? (int32_t)p->runs : 1,
                                      .tiles = (int32_t)tiles_of(g, t)};
}

/* For the ledger. */
static void count_work(struct blanch_device *dev, const struct bl_product *p) {
    const struct bl_gemm *g = &p->pair;
    const double batch = g->batch > 0 ? g->batch : 1, pairs = (p->a2 ? 2 : 1) * (double)(p->runs ? p->runs : 1);
    const double results = (double)g->m * (double)(g->symmetric ? g->n + 1 : 2 * g->n);
    const int touched =
        1 + (p->result[1].to != NULL) + (p->with || p->normed) + is_read(p, 0) + is_read(p, 1) + is_read(p, 2);
    const int64_t read = g->k * (g->a == g->b && g->symmetric ? g->m : g->m + g->n);
    bl_work(dev, batch * pairs * results * (double)g->k,
            (uint64_t)(sizeof(float) * batch * (pairs * (double)read + touched * (double)(g->m * g->n))));
}

int bl_product_check(const struct bl_gemm *g) {
    if (g->lda <= FURTHEST && g->ldb <= FURTHEST && g->ldc <= FURTHEST) return 0;
    return bl_fail(BLANCH_ELIMIT, "a matrix product with more than %d elements between rows is out of range", FURTHEST);
}

int64_t bl_product_most_shares(int64_t n) {
    const struct bl_gemm smallest = {.symmetric = true, .m = n, .n = n};
    return tiles_of(&smallest, &tilings[SINGLE]);
}

int bl_product(struct blanch_device *dev, const struct bl_product *p) {
    const struct bl_gemm *g = &p->pair;
    const struct bl_product_result *r = p->result;
    const struct bl_product_tile *t;
    struct bl_kernel *kernel;
    int code = bl_product_check(g);
    if (!code) code = choose(dev, p, &t, &kernel);
    if (code) return code;
    struct bl_mem *from[3];
    for (int i = 0; i < 3; i++) from[i] = is_read(p, i) ? p->d[i] : g->a;
    const struct bl_product_layout layout = bl_product_layout(p, t);
    const struct bl_range range = {.global = {(size_t)(tiles_of(g, t) * t->cols), (size_t)t->rows,
                                              (g->batch > 0 ? (size_t)g->batch : 1) * (size_t)t->split},
                                   .local = {(size_t)t->cols, (size_t)t->rows, (size_t)t->split}};
    count_work(dev, p);
    if (p->with) *p->shares = (int)tiles_of(g, t);
    return bl_launch(kernel, range, BL_MEM(g->a), BL_MEM(g->b), BL_MEM(p->a2 ? p->a2 : g->a),
                     BL_MEM(p->a2 ? p->b2 : g->b), BL_MEM(from[0]), BL_MEM(from[1]), BL_MEM(from[2]), BL_MEM(r[0].to),
                     BL_MEM(r[1].to ? r[1].to : r[0].to), BL_STRUCT(layout), BL_F32(r[0].alpha), BL_F32(r[0].beta[0]),
                     BL_F32(r[0].beta[1]), BL_F32(r[0].beta[2]), BL_F32(r[0].gamma), BL_F32(r[1].alpha),
                     BL_F32(r[1].beta[0]), BL_F32(r[1].beta[1]), BL_F32(r[1].beta[2]), BL_F32(r[1].gamma),
                     BL_MEM(p->scales ? p->scales : r[0].to),
                     BL_MEM(p->with     ? p->with
                            : p->normed ? p->normed
                                        : r[0].to),
                     BL_MEM(p->with      ? p->dots
                            : p->squares ? p->squares
                                         : r[0].to),
                     BL_MEM(p->u ? p->u : g->a), BL_MEM(p->u ? p->v : g->a));
}
