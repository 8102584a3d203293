/* For `blanch devices --check`: what the other kernels rely on, in the smallest form.
 *
 * probe: y[i] = 2 x[i] + 1, one work-item an element.
 * probe_time: every work-item iterates y <- fma(y, 0.5, 0.25) `steps` times, so that a launch takes a time worth measuring.
 * -D parameters: none. */

__kernel void probe(__global const float *x, __global float *y, const int n) {
    const size_t i = get_global_id(0);
    if (i < (size_t)n) y[i] = 2.0f * x[i] + 1.0f;
}

__kernel void probe_time(__global float *y, const int n, const int steps) {
    const size_t i = get_global_id(0);
    if (i >= (size_t)n) return;
    float value = y[i];
    for (int k = 0; k < steps; k++) value = mad(value, 0.5f, 0.25f);
    y[i] = value;
}
