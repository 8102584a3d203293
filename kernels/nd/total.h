/* TOTAL(v): the sum of a vector's elements, in pairs; for kernels that include vec.h. */
#if VEC == 1
#define TOTAL(v) (v)
#elif VEC == 2
#define TOTAL(v) ((v).s0 + (v).s1)
#elif VEC == 4
#define TOTAL(v) ((v).s0 + (v).s1 + (v).s2 + (v).s3)
#elif VEC == 8
#define TOTAL(v) (((v).s0 + (v).s4) + ((v).s1 + (v).s5) + ((v).s2 + (v).s6) + ((v).s3 + (v).s7))
#elif VEC == 16
float total16(float16 v) {
    const float8 a = v.lo + v.hi;
    const float4 b = a.lo + a.hi;
    return (b.s0 + b.s2) + (b.s1 + b.s3);
}
#define TOTAL(v) total16(v)
#endif
