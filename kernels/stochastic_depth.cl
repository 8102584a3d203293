/* y[n] = keep(first + n) ? x[n] scale : 0 for whole images n, of which x[0] is number `first` of the batch on all
 * ranks. Word i % 4 of Philox4x32-10 at counter (i / 4, stream) decides for image i: kept where its upper 24 bits reach
 * `threshold` = p 2^24. An item takes some vectors (dimension 0) of some images (1). `add` other than 0 adds to what y
 * holds.
 *   VEC   elements in a vector, 1 to 16, dividing those of an image; required */
#include "vec.h"

#include "loop.h"

#define LANES 1
#include "philox.h"

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))

kernel void stochastic_depth(global const ACT *x, global ACT *y, int images, long vectors, long first, ulong seed,
                             uint purpose, ulong stream, uint threshold, float scale, int add) {
    const size_t end = END(1, images), last = END(0, vectors);
    for (size_t n = BEGIN(1, images); n < end; n++) {
        const ulong image = (ulong)first + n;
        uint c[4] = {(uint)(image / 4), (uint)(image / 4 >> 32), (uint)stream, (uint)(stream >> 32)};
        philox(c, PHILOX_KEY(seed, purpose));
        const uint word = image % 4 < 2 ? (image % 4 ? c[1] : c[0]) : (image % 4 == 2 ? c[2] : c[3]);
        const bool kept = word >> 8 >= threshold;
        for (size_t v = BEGIN(0, vectors); v < last; v++) {
            const size_t at = (n * vectors + v) * VEC;
            vec value = (vec)(0.0f);
            if (kept) value = LOAD_ALIGNED(x + at) * scale;
            if (add) value += LOAD_ALIGNED(y + at);
            STORE_ALIGNED(value, y + at);
        }
    }
}
