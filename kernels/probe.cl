/* For `blanch devices --check`, and on some devices for opening them: what the other kernels rely on, in the smallest
 * form. One work-item an element.
 *
 * probe: y[i] = 2 x[i] + 1.
 * probe_time: y[i] <- 0.5 y[i] + 0.25, `steps` times, so that a launch takes a time worth measuring.
 * probe_local: y[i] = the index of the next work-item of the group, passed through a local array of `size` floats, over
 *     which the group spreads; y[n] = the group's size.
 * probe_finite: flags[i] = 1 where x[i] * scale is infinite or no number, by its exponent bits.
 * probe_loop: y[0] = x after `turns` steps of x <- 1664525 x + 1013904223, modulo 2^32, from x = 1.
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

__kernel void probe_local(__global float *y, __local float *shared, const int size, const int n) {
    const size_t i = get_global_id(0), l = get_local_id(0), items = get_local_size(0), stride = (size_t)size / items;
    shared[l * stride] = (float)i;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (i < (size_t)n) y[i] = shared[(l + 1) % items * stride];
    if (i == 0) y[n] = (float)items;
}

__kernel void probe_finite(__global const float *x, __global int *flags, const int n, const float scale) {
    const size_t i = get_global_id(0);
    if (i < (size_t)n) flags[i] = (as_uint(x[i] * scale) & 0x7f800000u) == 0x7f800000u;
}

__kernel void probe_loop(__global uint *y, const int turns) {
    uint x = 1;
    if (get_global_id(0)) return;
    for (int k = 0; k < turns; k++) x = 1664525u * x + 1013904223u;
    y[0] = x;
}
