/* Activations on each element of tensors of any layout, with s(x) = 1 / (1 + exp(-x)):
 *   silu         y = x s(x)                      dx = dy s(x) (1 + x (1 - s(x)))
 *   gelu         y = x P(x)                      dx = dy (P(x) + x exp(-x^2 / 2) / sqrt(2 pi))
 *                P(x) = (1 + erf(x / sqrt(2))) / 2
 *   gelu_tanh    y = x s(u), the same as x (1 + tanh(u / 2)) / 2, u = sqrt(8 / pi) (x + 0.044715 x^3)
 *                                                dx = dy s(u) (1 + x (1 - s(u)) u')
 *   hardswish    y = x min(max(x + 3, 0), 6) / 6 dx = dy (x / 3 + 1 / 2), 0 up to -3, dy from 3 on
 *   hardsigmoid  y = min(max(x + 3, 0), 6) / 6   dx = 0 < y < 1 ? dy / 6 : 0
 *   tanh         y = tanh(x)                     dx = dy (1 - y^2)
 *   leaky_relu   y = x > 0 ? x : A x             dx = y > 0 ? dy : A dy
 *   elu          y = x > 0 ? x : A (exp(x) - 1)  dx = y > 0 ? dy : dy (y + A)
 * A gradient is computed from what its formula has, x or y. A NaN passes through. total counts vectors; `add` other
 * than 0 adds to what dx holds. Activations and their gradients may be in place.
 *   VEC      floats in a vector, 1 to 16, dividing the elements; required
 *   A_BITS   A, above 0, as the bits of a float; required */
#include "elements.h"

#include "fma.h"

#define A as_float((uint)(A_BITS))

#define SILU(x) ((x)*SIGMOID(x))
#define SILU_GRADIENT(x, dy) silu_gradient(x, dy)
static vec silu_gradient(vec x, vec dy) {
    const vec s = SIGMOID(x);
    return dy * s * (1.0f + x * (1.0f - s));
}

/* P(x) from e = exp(-x^2 / 2): Abramowitz and Stegun 7.1.26, off by 8e-8 at most, which vectors compute several times
 * as fast as erf. */
static vec below(vec x, vec e) {
    const vec t = 1.0f / FMA(fabs(x), (vec)(0.3275911f * M_SQRT1_2_F), (vec)(1.0f));
    vec sum = FMA(t, (vec)(1.061405429f), (vec)(-1.453152027f));
    sum = FMA(sum, t, (vec)(1.421413741f));
    sum = FMA(sum, t, (vec)(-0.284496736f));
    sum = FMA(sum, t, (vec)(0.254829592f));
    const vec tail = 0.5f * sum * t * e;
    return x > ZERO ? 1.0f - tail : tail;
}

#define BELL(x) exp(-0.5f * (x) * (x))
#define GELU(x) ((x)*below(x, BELL(x)))
#define GELU_GRADIENT(x, dy) gelu_gradient(x, dy)
static vec gelu_gradient(vec x, vec dy) {
    const vec e = BELL(x);
    return dy * FMA(x * (0.5f * M_2_SQRTPI_F * M_SQRT1_2_F), e, below(x, e));
}

#define U(x) ((x)*FMA((vec)(0.07135481283f), (x) * (x), (vec)(1.595769122f)))
#define GELU_TANH(x) ((x)*SIGMOID(U(x)))
#define GELU_TANH_GRADIENT(x, dy) gelu_tanh_gradient(x, dy)
static vec gelu_tanh_gradient(vec x, vec dy) {
    const vec s = SIGMOID(U(x)), slope = FMA((vec)(3.0f * 0.07135481283f), x * x, (vec)(1.595769122f));
    return dy * s * (1.0f + x * (1.0f - s) * slope);
}

#define HARDSIGMOID(x) (RELU6((x) + 3.0f) / 6.0f)
#define HARDSIGMOID_GRADIENT(y, dy) ((y) <= ZERO ? ZERO : (y) >= (vec)(1.0f) ? ZERO : (dy) / 6.0f)
#define HARDSWISH(x) ((x)*HARDSIGMOID(x))
#define HARDSWISH_GRADIENT(x, dy)                                                                                      \
    ((x) <= (vec)(-3.0f) ? ZERO : (x) >= (vec)(3.0f) ? (dy) : (dy)*FMA(x, (vec)(1.0f / 3.0f), (vec)(0.5f)))

#define TANH(x) tanh(x)
#define TANH_GRADIENT(y, dy) ((dy) * (1.0f - (y) * (y)))

#define LEAKY_RELU(x) ((x) > ZERO ? (x) : A * (x))
#define LEAKY_RELU_GRADIENT(y, dy) ((y) > ZERO ? (dy) : A * (dy))
#define ELU(x) ((x) > ZERO ? (x) : A * expm1(x))
#define ELU_GRADIENT(y, dy) ((y) > ZERO ? (dy) : (dy) * ((y) + A))

PAIR(silu, SILU, SILU_GRADIENT)
PAIR(gelu, GELU, GELU_GRADIENT)
PAIR(gelu_tanh, GELU_TANH, GELU_TANH_GRADIENT)
PAIR(hardswish, HARDSWISH, HARDSWISH_GRADIENT)
PAIR(hardsigmoid, HARDSIGMOID, HARDSIGMOID_GRADIENT)
PAIR(tanh, TANH, TANH_GRADIENT)
PAIR(leaky_relu, LEAKY_RELU, LEAKY_RELU_GRADIENT)
PAIR(elu, ELU, ELU_GRADIENT)
