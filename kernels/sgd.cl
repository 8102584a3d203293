/* Stochastic gradient descent as torch.optim.SGD (dampening 0): g = grad + weight_decay w; v = momentum v + g;
 * w -= lr v, or with Nesterov's momentum w -= lr (g + momentum v). The velocity starts at 0, so that the first step has
 * v = g. Unless *skip. Arrays of count floats; an item takes `chunk` of them.
 *   VEC       floats in a vector, 1 to 16; required
 *   NESTEROV  1: Nesterov's momentum; required */
#include "vec.h"
#ifndef NESTEROV
#error "NESTEROV is missing"
#endif

kernel void sgd(global float *restrict w, global const float *restrict grad, global float *restrict velocity,
                long count, int chunk, float lr, float momentum, float weight_decay, global const int *skip) {
    if (*skip) return;
    size_t i = get_global_id(0) * chunk;
    const size_t end = min(i + chunk, (size_t)count);
    for (; i + VEC <= end; i += VEC) {
        const vec weight = LOAD(w + i);
        const vec g = LOAD(grad + i) + weight_decay * weight;
        const vec v = momentum * LOAD(velocity + i) + g;
        STORE(v, velocity + i);
        STORE(weight - lr * (NESTEROV ? g + momentum * v : v), w + i);
    }
    for (; i < end; i++) {
        const float g = grad[i] + weight_decay * w[i], v = momentum * velocity[i] + g;
        velocity[i] = v;
        w[i] -= lr * (NESTEROV ? g + momentum * v : v);
    }
}
