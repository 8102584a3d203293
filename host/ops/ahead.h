/* What layers make of their parameters alone, elsewhere than on CPUs: all of one kind in one launch, when the first of
 * them in a training pass wants it, where each would make one. */
#ifndef BL_OPS_AHEAD_H
#define BL_OPS_AHEAD_H

#include "graph/op.h"

/* Each begins with this in the kernel's table: the first of its blocks of values; where it reads and writes, elements
 * from the buffers' begins. Filled in here. */
struct bl_ahead {
    int64_t block, from, to;
};
enum { BL_AHEAD_BLOCK = 1024 }; // values, which 64 items share (kernels/ahead.h)
/* What the kernel is given: both buffers, the table, the first of its entries that lie in these buffers, their number.
 */
struct bl_ahead_kind {
    const char *file, *kernel;
    const struct bl_define *defines;
    int define_count;
    size_t entry; // bytes
};
/* In prepare: `values` values of memory `to`, which lasts, are made of a parameter's. The entry is copied. */
int bl_ahead_add(struct bl_node *node, const struct bl_ahead_kind *kind, struct bl_mem *from, struct bl_mem *to,
                 const void *entry, int64_t values);
/* In a training pass: makes what was added, once for these weights. The launch counts to the step's update; then the
 * node's phase is `phase` again. */
int bl_ahead_make(struct bl_node *node, const struct bl_ahead_kind *kind, const struct bl_run *run, int phase);

#endif
