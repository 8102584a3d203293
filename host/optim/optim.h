/* The optimisers, one file each. */
#ifndef BL_OPTIM_H
#define BL_OPTIM_H

#include "graph/optimiser.h"

#define X(name) extern const struct bl_optimiser bl_optimiser_##name;
#include "optim/optimisers.h"
#undef X
extern const struct bl_optimiser *const bl_optimiser_list[]; // NULL-terminated, the default first

/* name NULL: the default. BLANCH_EUSAGE names those that there are. */
int bl_optimiser_find(const char *name, const struct bl_optimiser **optimiser);

/* Work sizes and vector width for a kernel that updates `count` floats, of which each item takes `chunk`. */
struct bl_update_shape {
    struct bl_range range;
    int vec;
    int64_t chunk;
};
struct bl_update_shape bl_update_shape(const struct bl_update_span *span);
/* For the record: the next launch reads or writes the span's floats so many times, the arrays that it changes twice. */
void bl_update_passes(const struct bl_update_span *span, int passes);
/* BLANCH_EUSAGE: a setting of this optimiser, or one that all have, is out of range. */
int bl_update_check_all(const struct bl_optimiser *optimiser, const struct blanch_update *update);
/* BLANCH_EUSAGE unless low <= value (< high, where high is above low). */
int bl_update_check(const char *name, float value, double low, double high);

#endif
