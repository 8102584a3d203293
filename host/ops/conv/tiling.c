#include "ops/conv/tiling.h"

/* Wide tiles use what they load more often. An item of the widest holds more sums than some devices have registers for:
 * it is taken by measurement alone. */
static const struct bl_tile tiled[] = {
    {16, 16, 1, 8, 8, 8},  // 128 by 128
    {16, 16, 1, 8, 4, 16}, // 128 by 64
    {16, 16, 1, 4, 4, 16}, // 64 by 64
    {8, 8, 1, 4, 4, 8},    // 32 by 32
    {4, 4, 1, 4, 4, 8},    // 16 by 16
};
/* Tiles of 2x2 outputs by outputs; an item sums 64 products of their elements (kernels/conv/winograd_fused.cl). */
static const struct bl_tile winograd[] = {{8, 32, 1, 1, 4, 8}};
enum { WINOGRAD_ELEMENTS = 16 };
enum { PARTS_PER_UNIT = 2, MOST_SPLIT = 4, SHORTEST_PART = 64 }; // the last of terms

struct bl_conv_tilings bl_conv_tilings_of(const struct blanch_device *dev, int variant) {
    if (variant == BL_CONV_WINOGRAD)
        return (struct bl_conv_tilings){
            .tile = winograd, .count = BL_COUNT(winograd), .unit = -1, .elements = WINOGRAD_ELEMENTS};
    if (variant != BL_CONV_MATRIX)
        return (struct bl_conv_tilings){
            .tile = tiled, .count = BL_COUNT(tiled), .first = 1, .spare = true, .unit = -1, .elements = 1};
    const struct bl_matrix unit = bl_matrix_of(dev);
    struct bl_conv_tilings of = {.spare = unit.kind == BL_MATRIX_NONE, .unit = (int)unit.kind, .elements = 1};
    of.tile = bl_matrix_tiles(unit, &of.count);
    return of;
}

/* As the kernels pad them. Of Winograd's there is one piece, not two. */
static size_t local_bytes(const struct bl_conv_tilings *of, const struct bl_tile *t) {
    const int deep = bl_tile_deep(t), outs = bl_tile_outs(t);
    if (of->elements > 1) return BL_FLOAT_BYTES * (size_t)(of->elements * t->chunk * (deep + outs));
    return BL_FLOAT_BYTES * 2 *
           (size_t)(of->unit < 0 ? t->chunk * (deep + 4 + outs) : (t->chunk / 2 + 4) * (deep + outs));
}

static bool fits(const struct blanch_device *dev, const struct bl_conv_tilings *of, int index, int split) {
    const struct blanch_device_info *info = blanch_device_info(dev);
    const struct bl_tile *t = &of->tile[index];
    return (of->unit >= 0 || of->elements * t->down * t->across <= bl_device_sums(dev)) &&
           (size_t)(split * bl_tile_items(t)) <= info->max_work_group &&
           (size_t)(t->cols * t->wave) <= info->max_work_item[0] && (size_t)t->rows <= info->max_work_item[1] &&
           (size_t)split <= info->max_work_item[2] && (size_t)split * local_bytes(of, t) <= info->local_memory;
}

bool bl_conv_tile_fits(const struct blanch_device *dev, const struct bl_conv_tilings *of, int index) {
    return fits(dev, of, index, 1);
}

bool bl_conv_tile_filled(const struct bl_tile *t, const struct bl_conv_extent *e) {
    return 2 * e->lines > bl_tile_deep(t) && 2 * e->results > bl_tile_outs(t);
}

static int64_t groups_of(const struct bl_tile *t, const struct bl_conv_extent *e) {
    return bl_conv_div_up(e->lines, bl_tile_deep(t)) * bl_conv_div_up(e->results, bl_tile_outs(t)) * e->products;
}

bool bl_conv_tile_busy(const struct blanch_device *dev, const struct bl_tile *t, const struct bl_conv_extent *e,
                       int units) {
    const int64_t groups = groups_of(t, e);
    return groups >= (int64_t)PARTS_PER_UNIT * units && groups * bl_tile_items(t) >= bl_device_items(dev);
}

/* The sums of an item of a wide tile leave no room in the registers, and its pieces none in local memory. */
int bl_conv_tile_split(const struct blanch_device *dev, const struct bl_conv_tilings *of, int index,
                       const struct bl_conv_extent *e, int units) {
    const struct bl_tile *t = &of->tile[index];
    const int64_t groups = groups_of(t, e), items = groups * bl_tile_items(t);
    int split = 1;
    if (of->unit >= 0 || t->down > 4 || t->across > 4) return split;
    while (split < MOST_SPLIT && e->terms >= 2 * split * SHORTEST_PART && fits(dev, of, index, 2 * split) &&
           (groups * split < (int64_t)PARTS_PER_UNIT * units || items * split < bl_device_items(dev)))
        split *= 2;
    return split;
}

int bl_conv_tile_by_rule(const struct blanch_device *dev, const struct bl_conv_tilings *of,
                         const struct bl_conv_extent *e, int units) {
    int best = -1;
    for (int i = of->first; i < of->count && !(best >= 0 && of->spare && i == of->count - 1); i++) {
        const struct bl_tile *t = &of->tile[i];
        if (!bl_conv_tile_fits(dev, of, i)) continue;
        best = i;
        const int split = bl_conv_tile_split(dev, of, i, e, units);
        if (bl_conv_tile_filled(t, e) && groups_of(t, e) * split >= PARTS_PER_UNIT * units) break;
    }
    return best;
}
