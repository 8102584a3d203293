#include "ops/nd/symmetric_product.h"
#include "blas/blas.h"
#include "ops/common.h"
#include <stdlib.h>

enum {
    BLOCK = 144,            // most rows of a block
    MOST_DOWN = 12,         // blocks, where fewer are as large
    MOST_DOWN_DIVIDED = 24, // likewise, of several ranks
    SHAPE_INTS = 4          // struct shape of the kernel
};

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
    s->shape = bl_node_workspace(node, BL_LIFE_KEPT, SHAPE_INTS);
    s->divided_shape = bl_node_workspace(node, BL_LIFE_KEPT, SHAPE_INTS);
}

/* How a product is shared out: blocks down a matrix, strips of 16 columns in each, matrices of an item. */
struct sharing {
    int64_t down, wide, each;
};

static struct sharing share_out(const struct bl_symmetric *s, int ranks) {
    int64_t want = 5 * (int64_t)blanch_device_info(s->node->dev)->compute_units * ranks, strips = (s->n + 15) / 16,
            most = ranks > 1 ? MOST_DOWN_DIVIDED : MOST_DOWN;
    struct sharing share = {.down = (s->n + BLOCK - 1) / BLOCK};
    while (share.down < most && share.down < strips && share.down * (share.down + 1) / 2 * s->matrices < want)
        share.down++;
    share.wide = (strips + share.down - 1) / share.down;
    share.down = (strips + share.wide - 1) / share.wide;
    share.each = s->n <= 32 ? (s->matrices + want - 1) / want : 1; // a launch of a few items for very small ones
    return share;
}

static int64_t blocks_of(const struct bl_symmetric *s, const struct sharing *share) {
    return share->down * (share->down + 1) / 2 * ((s->matrices + share->each - 1) / share->each);
}

static int write_shape(const struct bl_symmetric *s, int ranks, const struct blanch_tensor *to) {
    const struct sharing share = share_out(s, ranks);
    const int32_t shape[SHAPE_INTS] = {(int32_t)s->n, s->matrices, (int32_t)share.each, (int32_t)(16 * share.wide)};
    return bl_mem_write(to->mem, 0, sizeof shape, shape);
}

static int get_kernel(const struct bl_symmetric *s, const char *name, struct bl_kernel **kernel) {
    const bool two = bl_tile_rows(s->node->dev) > 6;
    const struct bl_define tile[] = {{"TM", two ? 8 : 6}, {"STRIPS", two ? 2 : 1}};
    return bl_kernel_get(s->node->dev, "nd/symmetric_product", name, tile, BL_COUNT(tile), kernel);
}

int bl_symmetric_prepare(struct bl_symmetric *s) {
    if (!bl_on_cpu(s->node->dev)) return 0;
    int code = get_kernel(s, "symmetric_product", &s->product);
    return code ? code : write_shape(s, 1, s->shape);
}

/* For the ledger: the next command touches so many sets of matrices. */
static void touch(const struct bl_symmetric *s, double operations, int sets) {
    bl_work(s->node->dev, operations, BL_FLOAT_BYTES * (uint64_t)(s->matrices * s->n * s->n) * (uint64_t)sets);
}

static int multiply_half(const struct bl_symmetric *s, const struct bl_symmetric_product *p) {
    const int ranks = s->all ? s->all->ranks : 1, rank = s->all ? s->all->rank : 0, products = p->a2 ? 2 : 1;
    const struct sharing share = share_out(s, ranks);
    const int64_t blocks = blocks_of(s, &share), own = (blocks - rank + ranks - 1) / ranks;
    if (own < 1) return 0;
    touch(s, products * (double)(s->matrices * s->n * s->n) * (double)(s->n + 1) * (double)own / (double)blocks,
          2 * products + (p->beta != 0) + (p->beta2 != 0) + 1 - (p->a == p->b));
    return bl_launch(s->product, BL_GROUPS1((size_t)own), BL_MEM(p->a), BL_MEM(p->b), BL_MEM(p->a2 ? p->a2 : p->a),
                     BL_MEM(p->a2 ? p->b2 : p->b), BL_MEM(p->beta != 0 ? p->d : p->a),
                     BL_MEM(p->beta2 != 0 ? p->d2 : p->a), BL_MEM(p->c),
                     BL_MEM((s->all ? s->divided_shape : s->shape)->mem), BL_I32(rank), BL_I32(ranks), BL_I32(products),
                     BL_F32(p->alpha), BL_F32(p->beta), BL_F32(p->beta2), BL_F32(p->gamma));
}

/* --- divided among ranks ---------------------------------------------------------------------- */

/* Of a device, as large as its largest product needs: blocks of this rank, and of all. */
struct room {
    struct bl_mem *own, *all;
    size_t own_bytes, all_bytes;
};

static void release_room(void *what) {
    struct room *room = what;
    bl_mem_free(room->own), bl_mem_free(room->all);
    free(room);
}

static int grow_memory(struct blanch_device *dev, size_t bytes, struct bl_mem **mem, size_t *has) {
    if (*has >= bytes) return 0;
    bl_mem_free(*mem);
    *mem = NULL, *has = 0;
    int code = bl_mem_alloc(dev, bytes, mem);
    if (!code) *has = bytes;
    return code;
}

static int find_room(struct blanch_device *dev, size_t own, size_t all, struct room **found) {
    static char key; // its address is the key
    struct room *room = *found = bl_attached(dev, &key);
    if (!room) {
        if (!(room = *found = bl_calloc(1, sizeof *room))) return BLANCH_ENOMEM;
        int code = bl_attach(dev, &key, room, release_room);
        if (code) return free(room), code;
    }
    int code = grow_memory(dev, own, &room->own, &room->own_bytes);
    return code ? code : grow_memory(dev, all, &room->all, &room->all_bytes);
}

int bl_symmetric_divide(struct bl_symmetric *s, int ranks) {
    int code = get_kernel(s, "give_blocks", &s->give);
    if (!code) code = get_kernel(s, "take_blocks", &s->take);
    return code ? code : write_shape(s, ranks, s->divided_shape);
}

/* C of what each rank has of it. */
static int share_blocks(const struct bl_symmetric *s, struct bl_mem *c) {
    const struct sharing share = share_out(s, s->all->ranks);
    const int64_t blocks = blocks_of(s, &share), slots = (blocks + s->all->ranks - 1) / s->all->ranks,
                  count = slots * share.each * 256 * share.wide * share.wide;
    struct blanch_device *dev = s->node->dev;
    struct bl_mem *shape = s->divided_shape->mem;
    struct room *room;
    int code = find_room(dev, sizeof(float) * (size_t)count, sizeof(float) * (size_t)(count * s->all->ranks), &room);
    if (!code)
        code = bl_launch_light(dev, s->give, BL_GROUPS1((size_t)slots), BL_MEM(c), BL_MEM(shape), BL_I32(s->all->rank),
                               BL_I32(s->all->ranks), BL_MEM(room->own));
    if (!code) code = s->all->gather(s->all->context, dev, &(struct bl_floats){room->own, 0, count}, room->all);
    return code ? code
                : bl_launch_light(dev, s->take, BL_GROUPS1((size_t)blocks), BL_MEM(room->all), BL_MEM(shape),
                                  BL_I32(slots), BL_I32(s->all->ranks), BL_MEM(c));
}

/* --- elsewhere than on CPUs ------------------------------------------------------------------- */

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
    if (!bl_on_cpu(s->node->dev)) return multiply_in_tiles(s, p);
    int code = multiply_half(s, p);
    return code || !s->all ? code : share_blocks(s, p->c);
}
