/* An image of w columns and CHANNELS*R*R channels becomes one of R*w columns, R times the rows and CHANNELS channels
 * (Shi et al., 2016): wide[Y][X][c] is narrow[Y / R][X / R][(c*R + Y % R)*R + X % R]. Layout NHWC; rows are those of
 * the wide one, of all images. to_pixels writes the wide one, to_channels the narrow one. An item takes some channels
 * (dimension 0), columns (1) and rows (2) of the wide one. `add` other than 0 adds to what is there.
 *   CHANNELS, R  required
 *   VEC          1; required, for vec.h */
#include "vec.h"

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))

#define EACH(statement)                                                                                                \
    const size_t end = END(2, rows), columns = END(1, (size_t)w * R), last = END(0, CHANNELS);                         \
    for (size_t r = BEGIN(2, rows); r < end; r++)                                                                      \
        for (size_t column = BEGIN(1, (size_t)w * R); column < columns; column++) {                                    \
            const size_t part = r % R * R + column % R;                                                                \
            const size_t from = (r / R * w + column / R) * (CHANNELS * R * R) + part,                                  \
                         to = (r * w * R + column) * CHANNELS;                                                         \
            for (size_t c = BEGIN(0, CHANNELS); c < last; c++) statement                                               \
        }

kernel void to_pixels(global const ACT *restrict narrow, global ACT *restrict wide, long rows, int w, int add){EACH({
    const float value = LOAD_ACT1(narrow + from + c * (R * R));
    STORE_ACT1(add ? LOAD_ACT1(wide + to + c) + value : value, wide + to + c);
})}

kernel void to_channels(global const ACT *restrict wide, global ACT *restrict narrow, long rows, int w, int add) {
    EACH({
        const float value = LOAD_ACT1(wide + to + c);
        global ACT *at = narrow + from + c * (R * R);
        STORE_ACT1(add ? LOAD_ACT1(at) + value : value, at);
    })
}
