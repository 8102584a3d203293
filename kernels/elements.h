/* Sharing vectors among items, and activations as pairs of kernels; for kernels that include it.
 *   VEC   floats in a vector, 1 to 16, dividing the elements; required */
#include "activation.h"

/* The run of vectors that is this item's. */
#define BEGIN(total) (get_global_id(0) * (((size_t)(total) + get_global_size(0) - 1) / get_global_size(0)))
#define END(total) min(BEGIN(total) + ((size_t)(total) + get_global_size(0) - 1) / get_global_size(0), (size_t)(total))

/* y = F(x), and dx = G(kept, dy), or that added to dx; kept is what G wants to see, y or x. */
#define PAIR(name, F, G)                                                                                               \
    kernel void name##_forward(global const ACT *x, global ACT *y, long total) {                                       \
        const size_t end = END(total);                                                                                 \
        for (size_t i = BEGIN(total); i < end; i++) {                                                                  \
            const vec v = LOAD_ALIGNED(x + i * VEC);                                                                   \
            STORE_ALIGNED(F(v), y + i * VEC);                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    kernel void name##_backward(global const ACT *restrict kept, global const ACT *dy, global ACT *dx, long total,     \
                                int add) {                                                                             \
        const size_t end = END(total);                                                                                 \
        for (size_t i = BEGIN(total); i < end; i++) {                                                                  \
            const vec v = LOAD_ALIGNED(kept + i * VEC), d = LOAD_ALIGNED(dy + i * VEC);                                \
            vec g = G(v, d);                                                                                           \
            if (add) g += LOAD_ALIGNED(dx + i * VEC);                                                                  \
            STORE_ALIGNED(g, dx + i * VEC);                                                                            \
        }                                                                                                              \
    }

#define SIGMOID(x) (1.0f / (1.0f + exp(-(x))))
