/* What a device can do at most, by simple loops that are bound by one thing each.
 *
 * multiply_add: c <- c * a + b, `steps` times, in CHAINS independent registers; y[i] = their sum.
 *     2 * CHAINS * VEC operations a step and work-item.
 * stream_copy: y = x. stream_read: y[item] = the sum of what the item read. Vectors of VEC floats; work-item i touches
 * the vectors i * first + k * stride, k = 0 .. count - 1, below n: on a CPU a stretch (stride 1), elsewhere every
 *     get_global_size(0)-th, so that neighbours read neighbouring addresses.
 *
 * -D VEC     floats of a vector: 1, 4, 8 or 16; 1 by default */
#ifndef VEC
#define VEC 1
#endif
#define CHAINS 12

#if VEC == 1
typedef float real;
#define SUM(v) (v)
#elif VEC == 4
typedef float4 real;
#define SUM(v) (v.x + v.y + v.z + v.w)
#elif VEC == 8
typedef float8 real;
#define SUM(v) (v.s0 + v.s1 + v.s2 + v.s3 + v.s4 + v.s5 + v.s6 + v.s7)
#elif VEC == 16
typedef float16 real;
#define HALF(v) (v.s0 + v.s1 + v.s2 + v.s3 + v.s4 + v.s5 + v.s6 + v.s7)
#define SUM(v) (HALF(v.lo) + HALF(v.hi))
#else
#error "VEC is 1, 4, 8 or 16"
#endif

#define ALL(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define BEGIN(i) real c##i = b * (float)(i + 1);
#define STEP(i) c##i = c##i * a + b;
#define ADD(i) sum += c##i;

__kernel void multiply_add(__global float *y, const int n, const int steps) {
    const size_t i = get_global_id(0);
    if (i >= (size_t)n) return;
    const real a = (real)(0.5f * y[i]), b = (real)(y[i]);
    ALL(BEGIN)
    for (int k = 0; k < steps; k++) {
        ALL(STEP)
    }
    real sum = (real)(0.0f);
    ALL(ADD)
    y[i] = SUM(sum) * 1e-30f + 1.0f;
}

__kernel void stream_copy(__global const real *x, __global real *y, const long n, const int first, const int stride,
                          const int count) {
    size_t at = get_global_id(0) * (size_t)first;
    for (int k = 0; k < count && at < (size_t)n; k++, at += (size_t)stride) y[at] = x[at];
}

__kernel void stream_read(__global const real *x, __global float *y, const long n, const int first, const int stride,
                          const int count) {
    size_t at = get_global_id(0) * (size_t)first;
    real sum = (real)(0.0f);
    for (int k = 0; k < count && at < (size_t)n; k++, at += (size_t)stride) sum += x[at];
    y[get_global_id(0)] = SUM(sum);
}
