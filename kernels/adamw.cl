/* AdamW as torch.optim.AdamW: w *= keep; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= rate m / (sqrt(v) root +
 * eps), with keep = 1 - lr weight_decay, rate = lr / (1 - b1^t), root = 1 / sqrt(1 - b2^t). Unless *skip. Arrays of
 * count floats; an item takes `chunk` of them. VEC   floats in a vector, 1 to 16; required */
#include "vec.h"

kernel void adamw(global float *restrict w, global const float *restrict grad, global float *restrict mean,
                  global float *restrict square, long count, int chunk, float keep, float b1, float b2, float rate,
                  float root, float eps, global const int *skip) {
    if (*skip) return;
    size_t i = get_global_id(0) * chunk;
    const size_t end = min(i + chunk, (size_t)count);
    for (; i + VEC <= end; i += VEC) {
        const vec g = LOAD(grad + i);
        const vec m = b1 * LOAD(mean + i) + (1 - b1) * g, v = b2 * LOAD(square + i) + (1 - b2) * g * g;
        STORE(m, mean + i);
        STORE(v, square + i);
        STORE(keep * LOAD(w + i) - rate * m / (sqrt(v) * root + eps), w + i);
    }
    for (; i < end; i++) {
        const float g = grad[i], m = b1 * mean[i] + (1 - b1) * g, v = b2 * square[i] + (1 - b2) * g * g;
        mean[i] = m;
        square[i] = v;
        w[i] = keep * w[i] - rate * m / (sqrt(v) * root + eps);
    }
}
