/* All products of a small matrix in one launch each way, elsewhere than on CPUs (kernels/nd/small_root.cl): they are
 * too small to fill a device, and a launch each takes longer than they do. */
#include "ops/common.h"
#include "ops/nd/root_form.h"

enum { MOST_FEATURES = 72, FEWEST_ITEMS = 32, MOST_ITEMS = 256 };

/* Blocks of 4 by 4 of half a matrix: more items have nothing to do. */
static int64_t blocks_of(const struct bl_inverse_root *root) {
    const int64_t across = (root->features + 3) / 4;
    return across * (across + 1) / 2;
}

int bl_root_small_prepare(struct bl_inverse_root *root) {
    struct blanch_device *dev = root->node->dev;
    const struct blanch_device_info *info = blanch_device_info(dev);
    const size_t most = info->max_work_group < info->max_work_item[0] ? info->max_work_group : info->max_work_item[0];
    root->small.items = 0;
    if (bl_on_cpu(dev) || root->features > MOST_FEATURES) return 0;
    for (int items = MOST_ITEMS; items >= FEWEST_ITEMS; items /= 2) {
        const struct bl_define defines[] = {{"ITEMS", items}};
        if ((size_t)items > most || (items > 64 && items / 2 >= blocks_of(root))) continue;
        int code = bl_kernel_get(dev, "nd/small_root", "iterate", defines, 1, &root->small.iterate);
        if (!code) code = bl_kernel_get(dev, "nd/small_root", "differentiate", defines, 1, &root->small.differentiate);
        if (code) return code;
        if (bl_kernel_items(root->small.iterate) < (size_t)items ||
            bl_kernel_items(root->small.differentiate) < (size_t)items)
            continue;
        root->small.items = items;
        return 0;
    }
    return 0;
}

static struct bl_range matrices_of(const struct bl_inverse_root *root) {
    return (struct bl_range){.global = {(size_t)root->small.items, (size_t)root->matrices},
                             .local = {(size_t)root->small.items, 1, 1}};
}

/* For the ledger. */
static void count_work(const struct bl_inverse_root *root, int pairs, int sets) {
    bl_work(root->node->dev, 6.0 * pairs * (double)root->size * (double)(root->features + 1),
            sizeof(float) * (uint64_t)root->size * (uint64_t)sets);
}

int bl_root_small_iterate(const struct bl_inverse_root *root, const struct bl_root_polynomial *k,
                          struct bl_mem *squares, const struct bl_root_result *to, struct bl_mem **z) {
    struct bl_mem *w = root->iterate[0], *s = squares ? root->s->mem : w, *last = to ? to->deconv : root->last->mem;
    *z = to ? NULL : last;
    count_work(root, 1, 24);
    return bl_launch(root->small.iterate, matrices_of(root), BL_MEM(s), BL_MEM(squares ? squares : w),
                     BL_I32(root->features), BL_STRUCT(*k), BL_I32(squares != NULL), BL_I32(to != NULL),
                     BL_F32(to ? to->momentum : 0), BL_I64(bl_inverse_root_step(root)), BL_MEM(root->scalars->mem),
                     BL_MEM(w), BL_MEM(root->saved->mem), BL_MEM(last), BL_MEM(to ? to->running : last));
}

int bl_root_small_differentiate(const struct bl_inverse_root *root, const struct bl_root_polynomial *k,
                                struct bl_mem *direction, struct bl_mem **dz, int *shares) {
    *dz = root->tangent[2], *shares = 1;
    count_work(root, 2, 40);
    return bl_launch(root->small.differentiate, matrices_of(root), BL_MEM(direction), BL_MEM(root->iterate[0]),
                     BL_MEM(root->saved->mem), BL_I32(root->features), BL_STRUCT(*k),
                     BL_I64(bl_inverse_root_step(root)), BL_MEM(root->work->mem), BL_MEM(root->dots_w->mem));
}
