#include "ops/nd/gram.h"
#include "ops/common.h"

enum {
    MOST_FEATURES = 160, // beyond, a packed product is faster
    MOST_PARTS = 64,
    CHUNK = 192, // rows of A and B that are used again from the cache
};

bool bl_gram_serves(const struct bl_node *node, int64_t matrices, int64_t n) {
    return bl_on_cpu(node->dev) && matrices == 1 && n <= MOST_FEATURES;
}

int bl_gram_setup(struct bl_gram *gram, struct bl_node *node, int64_t n) {
    int64_t parts = node->dev ? 4 * (int64_t)blanch_device_info(node->dev)->compute_units : 1;
    gram->node = node, gram->n = n;
    return gram->parts = parts < MOST_PARTS ? (int)parts : MOST_PARTS;
}

int bl_gram_prepare(struct bl_gram *gram) {
    const struct bl_define tile[] = {{"TM", bl_tile_rows(gram->node->dev)}};
    return bl_kernel_get(gram->node->dev, "nd/gram", "gram", tile, 1, &gram->kernel);
}

int bl_gram_multiply(const struct bl_gram *gram, const struct bl_gram_product *p) {
    /* A group is `interleave` rows in parameter order; else as many rows as stay in the cache. */
    int64_t n = gram->n, group = p->interleave > 1 ? p->interleave : CHUNK;
    int64_t groups = (p->rows + group - 1) / group, chunk = group < CHUNK ? CHUNK / group : 1;
    bl_work(gram->node->dev, (p->symmetric ? 1 : 2) * (double)p->rows * (double)n * (double)n,
            BL_FLOAT_BYTES * (uint64_t)(n * ((p->a == p->b ? 1 : 2) * p->rows + gram->parts * n)));
    return bl_launch(gram->kernel, BL_GROUPS1((size_t)gram->parts), BL_MEM(p->a), BL_MEM(p->b), BL_I32(n),
                     BL_I32(p->rows), BL_I32(groups), BL_I32(group), BL_I32(p->interleave > 1), BL_I32(chunk),
                     BL_I32(p->symmetric), BL_F32(p->alpha), BL_MEM(p->sums));
}
