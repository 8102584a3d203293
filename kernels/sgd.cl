/* Stochastic gradient descent as torch.optim.SGD (dampening 0, not Nesterov): g = grad + weight_decay w; v = momentum
 * v + g; w -= lr v. The velocity starts at 0, so that the first step has v = g. Arrays of count floats; an item takes
 * `chunk` of them.
 *   VEC   floats in a vector, 1 to 16; required */
#include "vec.h"

kernel void sgd(global float *restrict w, global const float *restrict grad, global float *restrict velocity,
                long count, int chunk, float lr, float momentum, float weight_decay) {
    size_t i = get_global_id(0) * chunk;
    const size_t end = min(i + chunk, (size_t)count);
    for (; i + VEC <= end; i += VEC) {
        const vec weight = LOAD(w + i);
        const vec v = momentum * LOAD(velocity + i) + (LOAD(grad + i) + weight_decay * weight);
        STORE(v, velocity + i);
        STORE(weight - lr * v, w + i);
    }
    for (; i < end; i++) {
        const float v = momentum * velocity[i] + (grad[i] + weight_decay * w[i]);
        velocity[i] = v;
        w[i] -= lr * v;
    }
}
