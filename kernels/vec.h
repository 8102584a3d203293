/* A vector of VEC floats and how it is read and written; for kernels that include it. LOAD and STORE are of floats:
 * parameters, statistics, sums. Activations and their gradients are stored as ACT, which LOAD_ACT and STORE_ACT convert
 * from and to floats, rounding to the nearest, to even between two; LOAD_ACT1 and STORE_ACT1 take one element.
 * LOAD_ALIGNED and STORE_ALIGNED are LOAD_ACT and STORE_ACT of global memory at a multiple of the vector's size, which
 * a compiler does not know of pointers to single elements: NVIDIA's then makes one access of each element.
 *
 *  VEC       floats at once: 1, 2, 4, 8 or 16; required
 *  ACT_TYPE  how activations are stored: 0 float (default), 1 half, 2 bfloat16 (the upper half of a float)
 */
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

#if !defined(ACT_TYPE) || ACT_TYPE == 0
#define ACT float
#define LOAD_ACT(p) LOAD(p)
#define STORE_ACT(v, p) STORE(v, p)
#define LOAD_ACT1(p) (*(p))
#define STORE_ACT1(v, p) (*(p) = (v))
#define LOAD_ALIGNED(p) (*(global const vec *)(p))
#define STORE_ALIGNED(v, p) (*(global vec *)(p) = (v))

#elif ACT_TYPE == 1
#define ACT half
#define LOAD_ACT1(p) vload_half(0, p)
#define STORE_ACT1(v, p) vstore_half_rte(v, 0, p)
#if VEC == 1
#define LOAD_ACT(p) LOAD_ACT1(p)
#define STORE_ACT(v, p) STORE_ACT1(v, p)
#define LOAD_ALIGNED(p) LOAD_ACT1(p)
#define STORE_ALIGNED(v, p) STORE_ACT1(v, p)
#else
#define LOAD_ACT(p) JOIN(vload_half, VEC)(0, p)
#define STORE_HALF_(name, n) name##n##_rte
#define STORE_HALF(name, n) STORE_HALF_(name, n)
#define STORE_ACT(v, p) STORE_HALF(vstore_half, VEC)(v, 0, p)
#define LOAD_ALIGNED(p) JOIN(vloada_half, VEC)(0, p)
#define STORE_ALIGNED(v, p) STORE_HALF(vstorea_half, VEC)(v, 0, p)
#endif

#elif ACT_TYPE == 2
#define ACT ushort
/* Of the bits u of floats: those of bfloat16. A NaN stays one. */
#define BF16_BITS(u)                                                                                                   \
    select(((u) + 0x7fffu + (((u) >> 16) & 1u)) >> 16, ((u) >> 16) | 0x40u, ((u)&0x7fffffffu) > 0x7f800000u)
ushort bf16_of(float v) {
    const uint u = as_uint(v);
    return (ushort)BF16_BITS(u);
}
#define LOAD_ACT1(p) as_float(convert_uint(*(p)) << 16)
#define STORE_ACT1(v, p) (*(p) = bf16_of(v))
#if VEC == 1
#define LOAD_ACT(p) LOAD_ACT1(p)
#define STORE_ACT(v, p) STORE_ACT1(v, p)
#define LOAD_ALIGNED(p) LOAD_ACT1(p)
#define STORE_ALIGNED(v, p) STORE_ACT1(v, p)
#else
JOIN(ushort, VEC) bf16s_of(vec v) {
    const JOIN(uint, VEC) u = JOIN(as_uint, VEC)(v);
    return JOIN(convert_ushort, VEC)(BF16_BITS(u));
}
#define FLOATS_OF(v) JOIN(as_float, VEC)(JOIN(convert_uint, VEC)(v) << 16)
#define LOAD_ACT(p) FLOATS_OF(JOIN(vload, VEC)(0, p))
#define STORE_ACT(v, p) JOIN(vstore, VEC)(bf16s_of(v), 0, p)
#define LOAD_ALIGNED(p) FLOATS_OF(*(global const JOIN(ushort, VEC) *)(p))
#define STORE_ALIGNED(v, p) (*(global JOIN(ushort, VEC) *)(p) = bf16s_of(v))
#endif

#else
#error "ACT_TYPE is 0, 1 or 2"
#endif
