#include "ops/nd/packed_product.h"
#include "ops/common.h"

enum { HIGH = 48 }; // rows that an item takes

static int64_t strips_of(const struct bl_packed_product *p) {
    return (p->n + 15) / 16;
}

bool bl_packed_product_serves(const struct bl_node *node, int64_t matrices) {
    return bl_on_cpu(node->dev) && matrices == 1;
}

void bl_packed_product_setup(struct bl_packed_product *p, struct bl_node *node, int64_t n, enum bl_life life) {
    p->node = node, p->n = n;
    p->packed = bl_node_workspace(node, life, 16 * strips_of(p) * n);
}

int bl_packed_product_prepare(struct bl_packed_product *p) {
    struct blanch_device *dev = p->node->dev;
    const int rows = bl_tile_rows(dev), strips = rows > 6 ? 2 : 1;
    const struct bl_define defines[] = {{"TM", rows / strips}, {"STRIPS", strips}};
    int code = bl_kernel_get(dev, "nd/packed_product", "pack_deconv", defines, BL_COUNT(defines), &p->pack);
    if (code) return code;
    return bl_kernel_get(dev, "nd/packed_product", "fold_product", defines, BL_COUNT(defines), &p->product);
}

int bl_packed_product_pack(const struct bl_packed_product *p, struct bl_mem *d, double scale) {
    return bl_launch_light(p->node->dev, p->pack, bl_share(p->node->dev, p->n, 2 * BL_FLOAT_BYTES * p->n), BL_MEM(d),
                           BL_I32(p->n), BL_F32(scale), BL_MEM(p->packed->mem));
}

/* All rows by all of D's columns; few rows are shared out by columns too. */
int bl_packed_product_multiply(const struct bl_packed_product *p, struct bl_mem *a, struct bl_interval wanted,
                               int64_t interleave, struct bl_mem *c) {
    int64_t n = p->n, rows = wanted.count, strips = strips_of(p), high = HIGH,
            want = 4 * (int64_t)blanch_device_info(p->node->dev)->compute_units;
    while (high > 24 && (rows + high - 1) / high < want) high -= 12;
    if (rows < 1) return 0;
    int64_t down = (rows + high - 1) / high, wide = strips;
    while (wide > 2 && down * ((strips + wide - 1) / wide) < want) wide--;
    bl_work(p->node->dev, 2 * (double)rows * (double)n * (double)n, (uint64_t)(BL_FLOAT_BYTES * n * (2 * rows + n)));
    return bl_launch(p->product, BL_GROUPS1((size_t)down, (size_t)((strips + wide - 1) / wide)), BL_MEM(a),
                     BL_MEM(p->packed->mem), BL_I32(wanted.first), BL_I32(rows), BL_I32(n), BL_I32(interleave),
                     BL_I32(high), BL_I32(wide), BL_MEM(c));
}
