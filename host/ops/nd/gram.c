#include "ops/nd/gram.h"
#include "ops/common.h"

enum {
    MOST_FEATURES = 160, // beyond, a packed product is faster, and can be divided among ranks
    MOST_WIDE = 640,     // of panels, where registers hold 16 floats
    MOST_PARTS = 64,
    MOST_BYTES = 64 << 20, // of all parts' sums
};

static bool is_wide(const struct bl_node *node) {
    return node->dev && bl_tile_rows(node->dev) > 6;
}

bool bl_gram_serves(const struct bl_node *node, int64_t matrices, int64_t n) {
    return bl_on_cpu(node->dev) && matrices == 1 && n <= MOST_FEATURES;
}

bool bl_panels_serve(const struct bl_node *node, int64_t matrices, int64_t n) {
    return bl_on_cpu(node->dev) && matrices == 1 && n <= (is_wide(node) ? MOST_WIDE : MOST_FEATURES);
}

/* Fewer where their sums are large. */
int bl_panel_parts(const struct bl_node *node, int64_t n) {
    const int64_t each = n <= MOST_FEATURES ? 4 : 2, most = MOST_BYTES / (BL_FLOAT_BYTES * n * n),
                  parts = node->dev ? each * (int64_t)blanch_device_info(node->dev)->compute_units : 1;
    return (int)(parts < most && parts < MOST_PARTS ? parts : most < MOST_PARTS ? most : MOST_PARTS);
}

int64_t bl_panel_size(int64_t n) {
    return BL_PANEL_ROWS * ((n + 15) / 16 * 16);
}

void bl_panel_defines(const struct bl_node *node, struct bl_define defines[2]) {
    const bool wide = is_wide(node);
    defines[0] = (struct bl_define){"TM", wide ? 8 : 4};
    defines[1] = (struct bl_define){"STRIPS", wide ? 2 : 1};
}

int bl_gram_setup(struct bl_gram *gram, struct bl_node *node, int64_t n, int operands, enum bl_life life) {
    gram->node = node, gram->n = n;
    gram->parts = bl_panel_parts(node, n);
    if (bl_node_training(node))
        gram->scratch = bl_node_workspace(node, life, gram->parts * operands * bl_panel_size(n));
    return gram->parts;
}

int bl_gram_kernel(const struct bl_node *node, const char *name, struct bl_kernel **kernel) {
    struct bl_define tile[2];
    bl_panel_defines(node, tile);
    return bl_kernel_get(node->dev, "nd/gram", name, tile, BL_COUNT(tile), kernel);
}

int bl_gram_prepare(struct bl_gram *gram) {
    return bl_gram_kernel(gram->node, "gram", &gram->kernel);
}

int bl_gram_multiply(const struct bl_gram *gram, const struct bl_gram_product *p) {
    int64_t n = gram->n;
    const bool symmetric = p->a == p->b;
    bl_work(gram->node->dev, (symmetric ? 1 : 2) * (double)p->rows * (double)n * (double)n,
            BL_FLOAT_BYTES * (uint64_t)(n * ((symmetric ? 1 : 2) * p->rows + gram->parts * n)));
    return bl_launch(gram->kernel, BL_GROUPS1((size_t)gram->parts), BL_MEM(p->a), BL_MEM(p->b), BL_I32(n),
                     BL_I32(p->rows), BL_I32(p->interleave), BL_I32(p->interleave > 1), BL_I32(symmetric),
                     BL_F32(p->alpha), BL_MEM(gram->scratch->mem), BL_MEM(p->sums));
}
