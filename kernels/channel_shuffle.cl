/* y[r][c] = x[r][c % GROUPS * (CHANNELS / GROUPS) + c / GROUPS] over rows r: the pixels of all images, layout NHWC.
 * With CHANNELS / GROUPS for GROUPS it is its own inverse. An item takes some channels (dimension 0) of some rows (1).
 * `add` other than 0 adds to what y holds. CHANNELS, GROUPS   the channels and what divides them; required VEC 1;
 * required, for vec.h */
#include "vec.h"

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))

kernel void channel_shuffle(global const ACT *restrict x, global ACT *restrict y, long rows, int add) {
    const size_t end = END(1, rows), last = END(0, CHANNELS);
    for (size_t r = BEGIN(1, rows); r < end; r++) {
        global const ACT *from = x + r * CHANNELS;
        global ACT *to = y + r * CHANNELS;
        for (size_t c = BEGIN(0, CHANNELS); c < last; c++) {
            float value = LOAD_ACT1(from + c % GROUPS * (CHANNELS / GROUPS) + c / GROUPS);
            if (add) value += LOAD_ACT1(to + c);
            STORE_ACT1(value, to + c);
        }
    }
}
