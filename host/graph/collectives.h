/* What a step asks of the other ranks of a data-parallel run: one small table that a graph is given and every run
 * carries. Each rank has the same network and some images of every batch. With one rank there is no table, and nothing
 * is asked. All ranks ask in the same order. */
#ifndef BL_COLLECTIVES_H
#define BL_COLLECTIVES_H

#include "cl/cl.h"

/* Moments of channels over rows, in chunks of `chunk` rows: partial (chunks, 2, channels) holds each chunk's mean and
 * its sum of squared differences from it; the last chunk may be shorter. */
struct bl_moments {
    struct bl_mem *partial;
    int64_t rows, chunk, channels;
};

struct bl_collectives {
    int rank, ranks;
    void *context;
    /* `count` floats on the device from the `offset`th on become their sums over all ranks, added in the ranks' order.
     */
    int (*sum)(void *context, struct blanch_device *dev, struct bl_mem *mem, int64_t offset, int64_t count);
    /* Moments become those of all ranks' rows: in one chunk, or in as many as fit where they were. */
    int (*merge)(void *context, struct blanch_device *dev, struct bl_moments *moments);
    /* Numbers on the host become their sums: counts of images, losses, and decisions that all must take alike. */
    int (*sum_host)(void *context, double *values, int count);
};

/* The same without a table: nothing to do. */
static inline int bl_sum(const struct bl_collectives *all, struct blanch_device *dev, struct bl_mem *mem,
                         int64_t offset, int64_t count) {
    return all ? all->sum(all->context, dev, mem, offset, count) : 0;
}
static inline int bl_merge(const struct bl_collectives *all, struct blanch_device *dev, struct bl_moments *moments) {
    return all ? all->merge(all->context, dev, moments) : 0;
}
static inline int bl_sum_host(const struct bl_collectives *all, double *values, int count) {
    return all ? all->sum_host(all->context, values, count) : 0;
}

#endif
