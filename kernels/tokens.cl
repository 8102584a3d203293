/* Operations on the tokens of an image, which are its pixels in order, layout (N, T, C):
 *   add_position   y = x + p, p (T, C): position.c
 *   prepend        y (N, T + 1, C) = the token, then x; drop_first: dx (+)= dy without its first: class_token.c
 *   take           y (N, C) = token `index` of x; place: dx = dy there, 0 elsewhere: token.c
 *   sum_images     to[i] = the sum over images of from[n stride + i], in order: gradients of parameters
 *   pool           weights = softmax of an image's scores, y (N, C) = sum over t of weights[t] x[t]; pool_inputs: dx =
 * weights dy; pool_scores: ds = weights <dy, x[t] - y>: sequence_pool.c An item takes some vectors of channels
 * (dimension 0) of some rows (1): tokens, or images; in pool_scores, and in sum_images, some of dimension 0. `add`
 * other than 0 adds to what a gradient holds. VEC   floats in a vector, 1 to 16, dividing the channels; required */
#include "vec.h"

#include "nd/total.h"

/* This item's share [BEGIN, END) of total units in dimension d. */
#define BEGIN(d, total) (get_global_id(d) * (((size_t)(total) + get_global_size(d) - 1) / get_global_size(d)))
#define END(d, total)                                                                                                  \
    min(BEGIN(d, total) + ((size_t)(total) + get_global_size(d) - 1) / get_global_size(d), (size_t)(total))
#define EACH(d, i, total) for (size_t i = BEGIN(d, total), end_##i = END(d, total); i < end_##i; i++)

void put(vec value, int add, global ACT *to) {
    if (add) value += LOAD_ACT(to);
    STORE_ACT(value, to);
}

kernel void add_position(global const ACT *x, global const float *restrict p, global ACT *y, long images, int vectors) {
    EACH(1, n, images) EACH(0, v, vectors) {
        const size_t at = (n * vectors + v) * VEC;
        STORE_ACT(LOAD_ACT(x + at) + LOAD(p + v * VEC), y + at);
    }
}

kernel void prepend(global const ACT *restrict x, global const float *restrict token, global ACT *restrict y,
                    long images, int tokens, int vectors) {
    EACH(1, r, images * (tokens + 1)) EACH(0, v, vectors) {
        const size_t n = r / (tokens + 1), t = r % (tokens + 1);
        const vec value = t ? LOAD_ACT(x + ((n * tokens + t - 1) * vectors + v) * VEC) : LOAD(token + v * VEC);
        STORE_ACT(value, y + (r * vectors + v) * VEC);
    }
}

kernel void drop_first(global const ACT *restrict dy, global ACT *restrict dx, long images, int tokens, int vectors,
                       int add) {
    EACH(1, r, images * tokens) EACH(0, v, vectors) {
        const size_t from = r + r / tokens + 1;
        put(LOAD_ACT(dy + (from * vectors + v) * VEC), add, dx + (r * vectors + v) * VEC);
    }
}

kernel void take(global const ACT *restrict x, global ACT *restrict y, long images, int tokens, int index,
                 int vectors) {
    EACH(1, n, images)
    EACH(0, v, vectors)
    STORE_ACT(LOAD_ACT(x + ((n * tokens + index) * vectors + v) * VEC), y + (n * vectors + v) * VEC);
}

kernel void place(global const ACT *restrict dy, global ACT *restrict dx, long images, int tokens, int index,
                  int vectors, int add) {
    EACH(1, r, images * tokens) EACH(0, v, vectors) {
        const size_t n = r / tokens;
        const vec value = r % tokens == (size_t)index ? LOAD_ACT(dy + (n * vectors + v) * VEC) : (vec)(0.0f);
        put(value, add, dx + (r * vectors + v) * VEC);
    }
}

kernel void sum_images(global const ACT *restrict from, long images, long stride, int vectors,
                       global float *restrict to) {
    EACH(0, v, vectors) {
        vec sum = (vec)(0.0f);
        for (long n = 0; n < images; n++) sum += LOAD_ACT(from + n * stride + v * VEC);
        STORE(sum, to + v * VEC);
    }
}

kernel void pool(global const ACT *restrict x, global const ACT *restrict scores, global ACT *restrict y,
                 global float *restrict weights, long images, int tokens, int vectors) {
    EACH(1, n, images) {
        global const ACT *score = scores + n * tokens;
        float most = LOAD_ACT1(score), sum = 0.0f;
        for (int t = 1; t < tokens; t++) most = fmax(most, LOAD_ACT1(score + t));
        for (int t = 0; t < tokens; t++) sum += exp(LOAD_ACT1(score + t) - most);
        EACH(0, v, vectors) {
            vec value = (vec)(0.0f);
            for (int t = 0; t < tokens; t++) {
                const float weight = exp(LOAD_ACT1(score + t) - most) / sum;
                value += weight * LOAD_ACT(x + ((n * tokens + t) * vectors + v) * VEC);
                if (v == 0) weights[n * tokens + t] = weight;
            }
            STORE_ACT(value, y + (n * vectors + v) * VEC);
        }
    }
}

kernel void pool_inputs(global const ACT *restrict dy, global const float *restrict weights, global ACT *restrict dx,
                        long images, int tokens, int vectors, int add) {
    EACH(1, r, images * tokens)
    EACH(0, v, vectors)
    put(weights[r] * LOAD_ACT(dy + (r / tokens * vectors + v) * VEC), add, dx + (r * vectors + v) * VEC);
}

kernel void pool_scores(global const ACT *restrict x, global const ACT *restrict y, global const ACT *restrict dy,
                        global const float *restrict weights, global ACT *restrict ds, long images, int tokens,
                        int vectors, int add) {
    EACH(0, r, images * tokens) {
        vec sum = (vec)(0.0f);
        for (int v = 0; v < vectors; v++) {
            const size_t of = (r / tokens * vectors + v) * VEC;
            sum += LOAD_ACT(dy + of) * (LOAD_ACT(x + (r * vectors + v) * VEC) - LOAD_ACT(y + of));
        }
        const float value = weights[r] * TOTAL(sum);
        STORE_ACT1(add ? value + LOAD_ACT1(ds + r) : value, ds + r);
    }
}
