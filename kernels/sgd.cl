/* Stochastic gradient descent as torch.optim.SGD (dampening 0, not Nesterov): g = grad + weight_decay w; v = momentum
 * v + g; w -= lr v. The velocity starts at 0, so that the first step has v = g. Arrays of count floats; an item takes
 * `chunk` of them.
 *   VEC   floats in a vector, 1 to 16; required */
#ifndef VEC
#error "VEC is missing"
#endif

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#if VEC == 1
typedef float vec;
#define LOAD(p) (*(p))
#define STORE(v, p) (*(p) = (v))
#else
typedef JOIN(float, VEC) vec;
#define LOAD(p) JOIN(vload, VEC)(0, p)
#define STORE(v, p) JOIN(vstore, VEC)(v, 0, p)
#endif

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
