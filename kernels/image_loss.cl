/* Losses of images x beside others t, value by value: by KIND
 *   0   (x - t)^2
 *   1   |x - t|
 *   2   of logits x and probabilities t, -t log s(x) - (1 - t) log(1 - s(x)), s the sigmoid
 * loss[n] = `each` times the sum over an image, plus more[n] where there are such. out (N, 3): the loss; infinity,
 * where a classifier's loss has a rank; more[n], or 0. Where the loss is `judged`, one that is not finite sets *skip.
 *   gradient       of x, or of t: times `by`, and the loss's scale where it is `scaled`
 *   gradient_more  by, likewise
 * An item takes some images in forward and gradient_more, else some vectors. `add` other than 0 adds to what is there.
 *   VEC   floats in a vector, 1 to 16, dividing an image's values; required */
#include "loss_scale.h"
#include "vec.h"

#include "nd/total.h"

/* This item's share [BEGIN, END) of total units in dimension 0. */
#define BEGIN(total) (get_global_id(0) * (((size_t)(total) + get_global_size(0) - 1) / get_global_size(0)))
#define END(total) min(BEGIN(total) + ((size_t)(total) + get_global_size(0) - 1) / get_global_size(0), (size_t)(total))

kernel void forward(global const ACT *x, global const ACT *t, global const float *more, global float *out, int images,
                    int vectors, float each, int has_more, volatile global int *skip, int judged) {
    for (size_t n = BEGIN(images); n < END(images); n++) {
        vec sum = (vec)(0.0f);
        for (size_t i = n * vectors; i < (n + 1) * vectors; i++) {
            const vec a = LOAD_ALIGNED(x + i * VEC), b = LOAD_ALIGNED(t + i * VEC);
#if KIND == 0
            sum += (a - b) * (a - b);
#elif KIND == 1
            sum += fabs(a - b);
#else
            sum += fmax(a, 0.0f) - a * b + log1p(exp(-fabs(a)));
#endif
        }
        const float own = has_more ? more[n] : 0.0f, loss = TOTAL(sum) * each + own;
        const bool finite = isfinite(loss) != 0;
        out[n * 3] = finite ? loss : NAN;
        out[n * 3 + 1] = INFINITY;
        out[n * 3 + 2] = own;
        if (judged && !finite) atomic_xchg(skip, 1);
    }
}

kernel void gradient(global const ACT *x, global const ACT *t, global ACT *to, long vectors, float by,
                     global const int *state, int scaled, int of_other, int add) {
    const float factor = scaled ? by * as_float(state[SCALE]) : by;
    for (size_t i = BEGIN(vectors); i < END(vectors); i++) {
        const vec a = LOAD_ALIGNED(x + i * VEC), b = LOAD_ALIGNED(t + i * VEC);
#if KIND == 0
        vec g = 2.0f * (a - b);
        if (of_other) g = -g;
#elif KIND == 1
        vec g = sign(a - b);
        if (of_other) g = -g;
#else
        vec g = 1.0f / (1.0f + exp(-a)) - b;
        if (of_other) g = -a;
#endif
        g *= factor;
        if (add) g += LOAD_ALIGNED(to + i * VEC);
        STORE_ALIGNED(g, to + i * VEC);
    }
}

kernel void gradient_more(global float *to, int images, float by, global const int *state, int scaled, int add) {
    const float g = scaled ? by * as_float(state[SCALE]) : by;
    for (size_t n = BEGIN(images); n < END(images); n++) to[n] = add ? to[n] + g : g;
}
