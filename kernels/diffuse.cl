/* A step of a diffusion of each image: y = a[t] x + b[t] e, e normal (noise.h), t uniform below `steps`: Philox's word
 * 0 at counter (image, stream) of `time`. table: a, b of each t. Written are y, e and t, as a float; layout NHWC. An
 * item takes some blocks of four elements (dimension 0) of some images (1), of which the first is number `first` of the
 * batch on all ranks.
 *   VEC   1; required, for vec.h */
#include "vec.h"

#include "noise.h"

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))
#define EACH(d, i, total) for (size_t i = BEGIN(d, total), end_##i = END(d, total); i < end_##i; i++)

kernel void diffuse(global const ACT *x, global const float *table, global ACT *y, global ACT *noise,
                    global float *times, int images, int features, int steps, long first, ulong seed, uint purpose,
                    uint time, ulong stream) {
    const int blocks = (features + 3) / 4;
    EACH(1, n, images) {
        const ulong image = (ulong)first + n;
        uint c[4] = {(uint)image, (uint)(image >> 32), (uint)stream, (uint)(stream >> 32)};
        philox(c, PHILOX_KEY(seed, time));
        const uint t = mul_hi(c[0], (uint)steps);
        const float a = table[2 * t], b = table[2 * t + 1];
        if (get_global_id(0) == 0) times[n] = (float)t;
        EACH(0, k, blocks) {
            float e[4];
            vstore4(normals(image * blocks + k, stream, PHILOX_KEY(seed, purpose)), 0, e);
            for (int i = (int)k * 4; i < min((int)k * 4 + 4, features); i++) {
                const size_t at = n * features + i;
                STORE_ACT1(e[i % 4], noise + at);
                STORE_ACT1(a * LOAD_ACT1(x + at) + b * e[i % 4], y + at);
            }
        }
    }
}
