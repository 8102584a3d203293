/* The words beside the int that skips updates (host/graph/loss_scale.c); for kernels that include it. */
enum { SKIP, WRONG, SCALE, GOOD, SKIPPED };
enum { LOSS = 1, OVERFLOW = 2 }; // what SKIP may be: a loss was not finite, or a gradient of this step
