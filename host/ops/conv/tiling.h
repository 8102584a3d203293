/* The tiles of the engines tiled, matrix and winograd in one launch, and which of them a pass takes. */
#ifndef BL_CONV_TILING_H
#define BL_CONV_TILING_H

#include "blas/blas.h"
#include "ops/conv/engine.h"

/* Of an engine on a device: its tiles, the largest first. */
struct bl_conv_tilings {
    const struct bl_tile *tile;
    int count;
    int first;    // from which on the rule chooses
    bool spare;   // the last is for devices that allow no other
    int unit;     // of matrix.h, what multiplies; -1: the items do
    int elements; // of Winograd's transform, each with such a product of its own; 1: of none
};
/* Variants of an engine; else the tile of that number. */
enum { BL_CONV_BY_RULE = -1, BL_CONV_MATRIX = -2, BL_CONV_WINOGRAD = -3 };
struct bl_conv_tilings bl_conv_tilings_of(const struct blanch_device *dev, int variant);

/* Whether dev allows such groups and has the local memory for two pieces of both factors. */
bool bl_conv_tile_fits(const struct blanch_device *dev, const struct bl_conv_tilings *of, int index);

/* What a pass computes: `lines` rows by `results` outputs in each of `products` products, as sums of so many `terms`,
 * which parts of a group may share; 0: they may not. */
struct bl_conv_extent {
    int64_t lines, products;
    int results, terms;
};
/* At least half of the tile is used. */
bool bl_conv_tile_filled(const struct bl_tile *t, const struct bl_conv_extent *e);
/* Groups and items are enough to keep `units` compute units busy. */
bool bl_conv_tile_busy(const struct blanch_device *dev, const struct bl_tile *t, const struct bl_conv_extent *e,
                       int units);
/* How many parts of a group share a tile's terms: as many as keep `units` compute units busy; 1, 2 or 4. */
int bl_conv_tile_split(const struct blanch_device *dev, const struct bl_conv_tilings *of, int index,
                       const struct bl_conv_extent *e, int units);
/* The first tile that is at least half full, with parts of groups enough to keep `units` compute units busy; else the
 * smallest that is no spare one; -1: none fits. */
int bl_conv_tile_by_rule(const struct blanch_device *dev, const struct bl_conv_tilings *of,
                         const struct bl_conv_extent *e, int units);

#endif
