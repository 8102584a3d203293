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

/* Sums over rows in chunks, (chunks, size), of what they have more than `origin` (size); NULL: than 0. */
struct bl_sums {
    struct bl_mem *partial, *origin;
    int64_t chunks, size;
    double rows;
};

/* `count` floats on the device from the `offset`th on. */
struct bl_floats {
    struct bl_mem *mem;
    int64_t offset, count;
};

/* A matrix (rows, width) that ranks have divided: the k-th of n has its k-th share, of ceil(rows/n) rows as far as they
 * go. */
struct bl_shared_rows {
    struct bl_mem *mem;
    int64_t rows, width;
};
struct bl_interval {
    int64_t first, count;
};

/* Seconds since the table was made: under way among the ranks, and of those the ones that somebody waited. Bytes that
 * this rank has sent. */
struct bl_traffic {
    double seconds, waited;
    uint64_t bytes;
};

struct bl_collectives {
    int rank, ranks;
    void *context;
    /* They become their sums over all ranks, added in the ranks' order. */
    int (*sum)(void *context, struct blanch_device *dev, const struct bl_floats *floats);
    /* The same, begun: what the queue holds by now makes them, and nothing touches them before `finish`, which gives
     * all that were begun their sums, in queue order. drop: they stay what they are. begin_shares: rank k has the k-th
     * `share` floats, as far as they go, and gets the others' from them. */
    int (*begin)(void *context, struct blanch_device *dev, const struct bl_floats *floats);
    int (*begin_shares)(void *context, struct blanch_device *dev, const struct bl_floats *floats, int64_t share);
    int (*finish)(void *context, bool drop);
    /* They become those of rank `root`. */
    int (*spread)(void *context, struct blanch_device *dev, const struct bl_floats *floats, int root);
    /* all: (ranks, count) floats become those of every rank, in the ranks' order. */
    int (*gather)(void *context, struct blanch_device *dev, const struct bl_floats *own, struct bl_mem *all);
    /* Each rank's share of the rows becomes its sum over all ranks; the other rows are left. */
    int (*sum_shares)(void *context, struct blanch_device *dev, const struct bl_shared_rows *rows);
    /* All rows become those of the rank whose share they are. */
    int (*gather_shares)(void *context, struct blanch_device *dev, const struct bl_shared_rows *rows);
    /* Moments become those of all ranks' rows: in one chunk, or in as many as fit where they were. */
    int (*merge)(void *context, struct blanch_device *dev, struct bl_moments *moments);
    /* Sums become those of all ranks' rows, in one chunk; with an origin it too becomes another, the same for all,
     * about the mean. */
    int (*merge_sums)(void *context, struct blanch_device *dev, struct bl_sums *sums);
    /* Numbers on the host become their sums: counts of images, losses, and decisions that all must take alike. */
    int (*sum_host)(void *context, double *values, int count);
    int (*gather_host)(void *context, const double *own, int count, double *all); // all: (ranks, count)
    struct bl_traffic (*traffic)(void *context);
    /* This rank has failed in a step, with the code and the message that are there: all calls fail by them from now on,
     * and none is under way any more where the ranks can be told. */
    void (*give_up)(void *context, int code);
};

/* The same without a table: nothing to do. */
static inline int bl_sum(const struct bl_collectives *all, struct blanch_device *dev, struct bl_mem *mem,
                         int64_t offset, int64_t count) {
    return all ? all->sum(all->context, dev, &(struct bl_floats){mem, offset, count}) : 0;
}
static inline int bl_merge(const struct bl_collectives *all, struct blanch_device *dev, struct bl_moments *moments) {
    return all ? all->merge(all->context, dev, moments) : 0;
}
static inline int bl_merge_sums(const struct bl_collectives *all, struct blanch_device *dev, struct bl_sums *sums) {
    return all ? all->merge_sums(all->context, dev, sums) : 0;
}
static inline int bl_sum_host(const struct bl_collectives *all, double *values, int count) {
    return all ? all->sum_host(all->context, values, count) : 0;
}
static inline int64_t bl_most_of_share(const struct bl_collectives *all, int64_t rows) {
    return all ? (rows + all->ranks - 1) / all->ranks : rows;
}
static inline struct bl_interval bl_share_of(const struct bl_collectives *all, int64_t rows) {
    const int64_t each = bl_most_of_share(all, rows), first = all ? each * all->rank : 0;
    return (struct bl_interval){first < rows ? first : rows, first >= rows         ? 0
                                                             : rows - first < each ? rows - first
                                                                                   : each};
}
static inline int bl_spread_from(const struct bl_collectives *all, struct blanch_device *dev, struct bl_mem *mem,
                                 int64_t count, int root) {
    return all ? all->spread(all->context, dev, &(struct bl_floats){mem, 0, count}, root) : 0;
}

#endif
