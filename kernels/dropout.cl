/* y[i] = keep(first + i) ? x[i] scale : 0, over count elements, of which x[0] is number `first` of the whole batch.
 * Word i % 4 of Philox4x32-10 at counter (i / 4, stream) decides for element i: kept where its upper 24 bits reach
 * `threshold` = p 2^24. An item takes some blocks of BLOCK elements. `add` other than 0 adds to what y holds.
 *   VEC   16; required, for vec.h */
#include "vec.h"

#include "loop.h"

/* A CPU makes eight counters at once, for two vectors; a GPU's compiler keeps four in registers, and those for one. */
#if defined(__x86_64__) || defined(__i386__) || defined(__aarch64__)
#define LANES 8
#else
#define LANES 4
#endif
#define VECTORS (LANES / 4)
#define BLOCK (16 * VECTORS)
#include "philox.h"

/* The words of the counters in the order of elements: each counter's four together. */
INLINE void interleave(const LANED(uint) c[4], uint16 words[VECTORS]) {
#if LANES == 8
    uint16 even, odd;
    even.even = c[0], even.odd = c[2], odd.even = c[1], odd.odd = c[3];
    words[0].even = even.lo, words[0].odd = odd.lo, words[1].even = even.hi, words[1].odd = odd.hi;
#else
    uint8 even, odd;
    even.even = c[0], even.odd = c[2], odd.even = c[1], odd.odd = c[3];
    words[0].even = even, words[0].odd = odd;
#endif
}

kernel void dropout(global const ACT *x, global ACT *y, long count, long first, ulong seed, uint purpose, ulong stream,
                    uint threshold, float scale, int add) {
    const long lead = first % BLOCK; // elements of the first block that lie before x
    const size_t blocks = ((size_t)(lead + count) + BLOCK - 1) / BLOCK,
                 share = (blocks + get_global_size(0) - 1) / get_global_size(0);
    const size_t end = min((get_global_id(0) + 1) * share, blocks);
    for (size_t block = get_global_id(0) * share; block < end; block++) {
        const ulong start = (block + first / BLOCK) * LANES;
#if LANES == 8
        const ulong8 position = (ulong8)(start) + (ulong8)(0, 1, 2, 3, 4, 5, 6, 7);
#else
        const ulong4 position = (ulong4)(start) + (ulong4)(0, 1, 2, 3);
#endif
        LANED(uint)
        c[4] = {LANED(convert_uint)(position), LANED(convert_uint)(position >> 32), (LANED(uint))((uint)stream),
                (LANED(uint))((uint)(stream >> 32))};
        uint16 words[VECTORS];
        philox(c, PHILOX_KEY(seed, purpose));
        interleave(c, words);
        UNROLL for (int half_block = 0; half_block < VECTORS; half_block++) {
            const float16 factor = (words[half_block] >> 8) >= threshold ? (float16)(scale) : (float16)(0.0f);
            const long at = (long)(block * BLOCK + half_block * 16) - lead;
            if (at >= 0 && at + 16 <= count) {
                const float16 value = factor == 0.0f ? (float16)(0.0f) : LOAD_ACT(x + at) * factor;
                STORE_ACT(add ? LOAD_ACT(y + at) + value : value, y + at);
                continue;
            }
            float factors[16];
            vstore16(factor, 0, factors);
            UNROLL for (int l = 0; l < 16; l++) {
                if (at + l < 0 || at + l >= count) continue;
                const float value = factors[l] == 0.0f ? 0.0f : LOAD_ACT1(x + at + l) * factors[l];
                STORE_ACT1(add ? LOAD_ACT1(y + at + l) + value : value, y + at + l);
            }
        }
    }
}
