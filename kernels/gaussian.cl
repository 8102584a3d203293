/* A Gaussian of each image by means m and logarithms v of variances, x (N, pixels, 2 C): m, then v.
 *   sample           y (N, pixels, C) = m + exp(v / 2) e, e normal (noise.h); m alone where it is not `random`
 *   sample_gradient  dm = dy, dv = exp(v / 2) e dy / 2
 *   divergence       of N(m, exp(v)) from N(0, 1), summed over an image: (exp(v) + m m - 1 - v) / 2
 *   divergence_gradient  dm = m dk, dv = (exp(v) - 1) dk / 2
 * The first image is number `first` of the batch on all ranks. An item takes some blocks of four elements, or pixels
 * (dimension 0), of some images (1); in divergence it takes some images. `add` other than 0 adds to what dx holds.
 *   VEC   1; required, for vec.h */
#include "vec.h"

#include "noise.h"

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))
#define EACH(d, i, total) for (size_t i = BEGIN(d, total), end_##i = END(d, total); i < end_##i; i++)

static void put(float value, int add, global ACT *to) {
    STORE_ACT1(add ? LOAD_ACT1(to) + value : value, to);
}

kernel void sample(global const ACT *x, global ACT *y, int images, int pixels, int channels, int random, long first,
                   ulong seed, uint purpose, ulong stream) {
    const int features = pixels * channels, blocks = (features + 3) / 4;
    EACH(1, n, images) EACH(0, k, blocks) {
        float e[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        if (random) vstore4(normals((ulong)(first + n) * blocks + k, stream, PHILOX_KEY(seed, purpose)), 0, e);
        for (int i = (int)k * 4; i < min((int)k * 4 + 4, features); i++) {
            global const ACT *from = x + (n * pixels + i / channels) * 2 * channels + i % channels;
            STORE_ACT1(LOAD_ACT1(from) + exp(0.5f * LOAD_ACT1(from + channels)) * e[i % 4], y + n * features + i);
        }
    }
}

kernel void sample_gradient(global const ACT *x, global const ACT *dy, global ACT *dx, int images, int pixels,
                            int channels, int random, long first, ulong seed, uint purpose, ulong stream, int add) {
    const int features = pixels * channels, blocks = (features + 3) / 4;
    EACH(1, n, images) EACH(0, k, blocks) {
        float e[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        if (random) vstore4(normals((ulong)(first + n) * blocks + k, stream, PHILOX_KEY(seed, purpose)), 0, e);
        for (int i = (int)k * 4; i < min((int)k * 4 + 4, features); i++) {
            const size_t at = (n * pixels + i / channels) * 2 * channels + i % channels;
            const float g = LOAD_ACT1(dy + n * features + i);
            put(g, add, dx + at);
            put(0.5f * exp(0.5f * LOAD_ACT1(x + at + channels)) * e[i % 4] * g, add, dx + at + channels);
        }
    }
}

kernel void divergence(global const ACT *x, global float *k, int images, int pixels, int channels) {
    EACH(0, n, images) {
        float sum = 0.0f;
        for (int i = 0; i < pixels * channels; i++) {
            global const ACT *from = x + (n * pixels + i / channels) * 2 * channels + i % channels;
            const float m = LOAD_ACT1(from), v = LOAD_ACT1(from + channels);
            sum += (expm1(v) - v) + m * m;
        }
        k[n] = 0.5f * sum;
    }
}

kernel void divergence_gradient(global const ACT *x, global const float *dk, global ACT *dx, int images, int pixels,
                                int channels, int add) {
    EACH(1, n, images) EACH(0, i, pixels * channels) {
        const size_t at = (n * pixels + i / channels) * 2 * channels + i % channels;
        put(LOAD_ACT1(x + at) * dk[n], add, dx + at);
        put(0.5f * expm1(LOAD_ACT1(x + at + channels)) * dk[n], add, dx + at + channels);
    }
}
