#include "ops/conv/tiling.h"

/* Wide tiles use what they load more often. An item of the widest holds more sums than some devices have registers for:
 * it is taken by measurement alone. */
static const struct bl_conv_tiling tiled[] = {
    {16, 16, 1, 8, 8, 8},  // 128 by 128
    {16, 16, 1, 8, 4, 16}, // 128 by 64
    {16, 16, 1, 4, 4, 16}, // 64 by 64
    {8, 8, 1, 4, 4, 8},    // 32 by 32
    {4, 4, 1, 4, 4, 8},    // 16 by 16
};
/* By units of matrix.h. */
static const struct bl_conv_tiling alone[] = {{8, 16, 1, 4, 8, 16}, {8, 8, 1, 4, 4, 16}, {4, 4, 1, 4, 4, 16}};
static const struct bl_conv_tiling waves32[] = {{4, 2, 32, 64, 32, 16}, {2, 2, 32, 32, 32, 32}};
static const struct bl_conv_tiling waves64[] = {{2, 2, 64, 64, 64, 16}, {2, 2, 64, 32, 32, 32}};
static const struct bl_conv_tiling waves8[] = {{4, 8, 8, 16, 16, 32}, {4, 4, 8, 16, 16, 16}};
static const struct bl_conv_tiling waves16[] = {{4, 8, 16, 16, 16, 32}, {4, 4, 16, 16, 16, 32}};
enum { GROUPS_PER_UNIT = 2 };

#define TILES(list) .tile = (list), .count = BL_COUNT(list)

struct bl_conv_tilings bl_conv_tilings_of(const struct blanch_device *dev, int variant) {
    if (variant != BL_CONV_MATRIX) return (struct bl_conv_tilings){TILES(tiled), .first = 1, .spare = true, .unit = -1};
    const struct bl_matrix unit = bl_matrix_of(dev);
    switch (unit.kind) {
    case BL_MATRIX_MMA:
    case BL_MATRIX_WMMA:
        return (struct bl_conv_tilings){TILES(waves32), .unit = unit.kind};
    case BL_MATRIX_MFMA:
        return (struct bl_conv_tilings){TILES(waves64), .unit = unit.kind};
    case BL_MATRIX_DPAS:
        if (unit.wave == 16) return (struct bl_conv_tilings){TILES(waves16), .unit = unit.kind};
        return (struct bl_conv_tilings){TILES(waves8), .unit = unit.kind};
    case BL_MATRIX_NONE:
        break;
    }
    return (struct bl_conv_tilings){TILES(alone), .spare = true, .unit = BL_MATRIX_NONE};
}

/* As the kernels pad them. */
static size_t local_bytes(const struct bl_conv_tilings *of, const struct bl_conv_tiling *t) {
    const int deep = bl_conv_tile_deep(t), outs = bl_conv_tile_outs(t);
    return BL_FLOAT_BYTES * 2 *
           (size_t)(of->unit < 0 ? t->chunk * (deep + 4 + outs) : (t->chunk / 2 + 4) * (deep + outs));
}

bool bl_conv_tile_fits(const struct blanch_device *dev, const struct bl_conv_tilings *of, int index) {
    const struct blanch_device_info *info = blanch_device_info(dev);
    const struct bl_conv_tiling *t = &of->tile[index];
    return (size_t)bl_conv_tile_items(t) <= info->max_work_group &&
           (size_t)(t->cols * t->wave) <= info->max_work_item[0] && (size_t)t->rows <= info->max_work_item[1] &&
           local_bytes(of, t) <= info->local_memory;
}

bool bl_conv_tile_filled(const struct bl_conv_tiling *t, const struct bl_conv_extent *e) {
    return 2 * e->lines > bl_conv_tile_deep(t) && 2 * e->results > bl_conv_tile_outs(t);
}

int bl_conv_tile_by_rule(const struct blanch_device *dev, const struct bl_conv_tilings *of,
                         const struct bl_conv_extent *e, int units) {
    int best = -1;
    for (int i = of->first; i < of->count && !(best >= 0 && of->spare && i == of->count - 1); i++) {
        const struct bl_conv_tiling *t = &of->tile[i];
        if (!bl_conv_tile_fits(dev, of, i)) continue;
        best = i;
        const int64_t tiles =
            bl_conv_div_up(e->lines, bl_conv_tile_deep(t)) * bl_conv_div_up(e->results, bl_conv_tile_outs(t));
        if (bl_conv_tile_filled(t, e) && tiles * e->products >= GROUPS_PER_UNIT * units) break;
    }
    return best;
}
