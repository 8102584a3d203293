#include "ops/nd/symmetric_product.h"
#include "blas/blas.h"
#include "ops/common.h"

enum { BLOCK = 144 }; // most rows of a block

/* --- work sizes ------------------------------------------------------------------------------- */

int bl_rows_each(const struct bl_node *node, int64_t features) {
    if (!bl_on_cpu(node->dev)) return 1;
    int64_t each = 16384 / features;
    return each < 16 ? 16 : (int)each;
}

struct bl_range bl_over_rows(const struct bl_node *node, int64_t matrices, int64_t features, bool lanes) {
    int64_t rows = matrices * features, each = bl_rows_each(node, features);
    size_t items = (size_t)((rows + each - 1) / each);
    if (bl_on_cpu(node->dev)) return BL_GROUPS1(1, items);
    return BL_ITEMS(lanes ? (size_t)(features / bl_vec(node->dev, features)) : 1, items);
}

struct bl_range bl_over_matrices(const struct bl_node *node, int64_t matrices) {
    return bl_on_cpu(node->dev) ? BL_GROUPS1((size_t)matrices) : BL_ITEMS((size_t)matrices);
}

/* --- products --------------------------------------------------------------------------------- */

void bl_symmetric_setup(struct bl_symmetric *s, struct bl_node *node, int matrices, int64_t n) {
    s->node = node, s->matrices = matrices, s->n = n;
    s->shape = bl_node_workspace(node, BL_LIFE_KEPT, 4);
}

/* How a product is shared out: blocks down a matrix, strips of 16 columns in each, matrices of an item. */
struct sharing {
    int64_t down, wide, each;
};

static struct sharing share_out(const struct bl_symmetric *s) {
    int64_t want = 5 * (int64_t)blanch_device_info(s->node->dev)->compute_units, strips = (s->n + 15) / 16;
    struct sharing share = {.down = (s->n + BLOCK - 1) / BLOCK};
    while (share.down < 12 && share.down < strips && share.down * (share.down + 1) / 2 * s->matrices < want)
        share.down++;
    share.wide = (strips + share.down - 1) / share.down;
    share.down = (strips + share.wide - 1) / share.wide;
    share.each = s->n <= 32 ? (s->matrices + want - 1) / want : 1; // a launch of a few items for very small ones
    return share;
}

int bl_symmetric_prepare(struct bl_symmetric *s) {
    struct blanch_device *dev = s->node->dev;
    const bool two = bl_tile_rows(dev) > 6;
    const struct bl_define tile[] = {{"TM", two ? 8 : 6}, {"STRIPS", two ? 2 : 1}};
    const struct sharing share = share_out(s);
    const int32_t shape[] = {(int32_t)s->n, s->matrices, (int32_t)share.each, (int32_t)(16 * share.wide)};
    if (!bl_on_cpu(dev)) return 0;
    int code = bl_kernel_get(dev, "nd/symmetric_product", "symmetric_product", tile, BL_COUNT(tile), &s->product);
    return code ? code : bl_mem_write(s->shape->mem, 0, sizeof shape, shape);
}

/* For the ledger: the next command touches so many sets of matrices. */
static void touch(const struct bl_symmetric *s, double operations, int sets) {
    bl_work(s->node->dev, operations, BL_FLOAT_BYTES * (uint64_t)(s->matrices * s->n * s->n) * (uint64_t)sets);
}

static int multiply_half(const struct bl_symmetric *s, const struct bl_symmetric_product *p) {
    const struct sharing share = share_out(s);
    struct bl_range range =
        BL_GROUPS1((size_t)(share.down * (share.down + 1) / 2), (size_t)((s->matrices + share.each - 1) / share.each));
    int products = p->a2 ? 2 : 1;
    touch(s, products * (double)(s->matrices * s->n * s->n) * (double)(s->n + 1),
          2 * products + (p->beta != 0) + (p->beta2 != 0) + 1 - (p->a == p->b));
    return bl_launch(s->product, range, BL_MEM(p->a), BL_MEM(p->b), BL_MEM(p->a2 ? p->a2 : p->a),
                     BL_MEM(p->a2 ? p->b2 : p->b), BL_MEM(p->beta != 0 ? p->d : p->a),
                     BL_MEM(p->beta2 != 0 ? p->d2 : p->a), BL_MEM(p->c), BL_MEM(s->shape->mem), BL_I32(products),
                     BL_F32(p->alpha), BL_F32(p->beta), BL_F32(p->beta2), BL_F32(p->gamma));
}

static int multiply_in_tiles(const struct bl_symmetric *s, const struct bl_symmetric_product *p) {
    const int64_t n = s->n;
    const struct bl_symmetric_also *e = &p->also;
    const struct bl_product product = {
        .pair = {.symmetric = true,
                 .m = n,
                 .n = n,
                 .k = n,
                 .a = p->a,
                 .b = p->b,
                 .lda = n,
                 .ldb = n,
                 .ldc = n,
                 .batch = s->matrices,
                 .stride_a = n * n,
                 .stride_b = n * n,
                 .stride_c = n * n},
        .a2 = p->a2,
        .b2 = p->b2,
        .d = {p->d, p->d2, e->d3},
        .result = {{p->c, p->alpha, {p->beta, p->beta2}, p->gamma},
                   {e->to, e->alpha, {e->beta, e->beta2, e->beta3}, e->gamma}},
        .scales = p->scales,
        .with = p->with,
        .dots = p->dots,
        .shares = p->shares,
        .squares = p->squares,
        .normed = p->normed,
    };
    return bl_product(s->node->dev, &product);
}

bool bl_symmetric_has_also(const struct bl_symmetric *s) {
    return !bl_on_cpu(s->node->dev);
}

int bl_symmetric_multiply(const struct bl_symmetric *s, const struct bl_symmetric_product *p) {
    return bl_on_cpu(s->node->dev) ? multiply_half(s, p) : multiply_in_tiles(s, p);
}
