/* An image of w columns and CHANNELS*R*R channels becomes one of R*w columns, R times the rows and CHANNELS channels
 * (Shi et al., 2016), less what is cut off at its edges: whole[Y][X][c] is narrow[Y / R][X / R][(c*R + Y % R)*R + X %
 * R] and wide[Y][X] is whole[Y + TOP][X + LEFT]. Layout NHWC; rows are those of all images. to_pixels writes the wide
 * one, to_channels the narrow one, with zeros for what is cut off. An item takes some channels (dimension 0), columns
 * (1) and rows (2), of the wide one in to_pixels, of the whole in to_channels. `add` other than 0 adds to what is
 * there.
 *
 *  CHANNELS, R               required
 *  TOP, LEFT, BOTTOM, RIGHT  rows and columns that are cut off; required
 *  VEC                       1; required, for vec.h
 */
#include "vec.h"

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))
#define EACH(i, d, total) for (size_t i = BEGIN(d, total), i##_end = END(d, total); i < i##_end; i++)

#define DOWN ((size_t)h * R - TOP - BOTTOM)
#define ACROSS ((size_t)w * R - LEFT - RIGHT)
/* Where the first channel of pixel (y, x) of the whole lies. */
#define NARROW(image, y, x) ((((image)*h + (y) / R) * w + (x) / R) * (CHANNELS * R * R) + (y) % R * R + (x) % R)

kernel void to_pixels(global const ACT *restrict narrow, global ACT *restrict wide, long rows, int h, int w, int add) {
    EACH(r, 2, rows) {
        const size_t image = r / DOWN, y = r % DOWN + TOP;
        EACH(column, 1, ACROSS) {
            const size_t from = NARROW(image, y, column + LEFT), to = (r * ACROSS + column) * CHANNELS;
            EACH(c, 0, CHANNELS) {
                const float value = LOAD_ACT1(narrow + from + c * (R * R));
                STORE_ACT1(add ? LOAD_ACT1(wide + to + c) + value : value, wide + to + c);
            }
        }
    }
}

kernel void to_channels(global const ACT *restrict wide, global ACT *restrict narrow, long rows, int h, int w,
                        int add) {
    EACH(r, 2, rows) {
        const size_t image = r / ((size_t)h * R), y = r % ((size_t)h * R);
        EACH(x, 1, (size_t)w * R) {
            const bool there = y >= TOP && y < TOP + DOWN && x >= LEFT && x < LEFT + ACROSS;
            const size_t from = there ? ((image * DOWN + y - TOP) * ACROSS + x - LEFT) * CHANNELS : 0,
                         to = NARROW(image, y, x);
            EACH(c, 0, CHANNELS) {
                const float value = there ? LOAD_ACT1(wide + from + c) : 0;
                global ACT *at = narrow + to + c * (R * R);
                STORE_ACT1(add ? LOAD_ACT1(at) + value : value, at);
            }
        }
    }
}
