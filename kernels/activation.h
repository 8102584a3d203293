/* The activations that other operations apply to what they write, and their gradients from the activated value y; for
 * kernels that include it. NaN passes.
 *
 *  VEC         as in vec.h
 *  ACTIVATION  what ACTIVATE does: 0 nothing (default), 1 relu, 2 relu6
 */
#include "vec.h"

/* A comparison that a NaN fails keeps the NaN. */
#define ZERO ((vec)(0.0f))
#define SIX ((vec)(6.0f))
#define RELU(x) ((x) <= ZERO ? ZERO : (x))
#define RELU6(x) (RELU(x) >= SIX ? SIX : RELU(x))
#define RELU_GRADIENT(y, dy) ((y) <= ZERO ? ZERO : (dy))
#define RELU6_GRADIENT(y, dy) ((y) >= SIX ? ZERO : RELU_GRADIENT(y, dy))

#if ACTIVATION == 1
#define ACTIVATE(x) RELU(x)
#define ACTIVATED_GRADIENT(y, dy) RELU_GRADIENT(y, dy)
#elif ACTIVATION == 2
#define ACTIVATE(x) RELU6(x)
#define ACTIVATED_GRADIENT(y, dy) RELU6_GRADIENT(y, dy)
#else
#define ACTIVATE(x) (x)
#endif
