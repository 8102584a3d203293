/* A vector of VEC floats and how it is read and written; for kernels that include it. LOAD and STORE are of floats:
 * parameters, statistics, sums. Activations and their gradients are stored as ACT, which LOAD_ACT and STORE_ACT convert
 * from and to floats, rounding to the nearest, to even between two; LOAD_ACT1 and STORE_ACT1 take one element, and
 * JOIN(LOAD_ACT, n) and its like n of them: 1, 2, 4, 8 or 16. LOAD_ALIGNED and STORE_ALIGNED are LOAD_ACT and STORE_ACT
 * of global memory at a multiple of the vector's size, which a compiler does not know of pointers to single elements:
 * NVIDIA's then makes one access of each element.
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
#define LOAD_ACT1(p) (*(p))
#define LOAD_ACT2(p) vload2(0, p)
#define LOAD_ACT4(p) vload4(0, p)
#define LOAD_ACT8(p) vload8(0, p)
#define LOAD_ACT16(p) vload16(0, p)
#define STORE_ACT1(v, p) (*(p) = (v))
#define LOAD_ALIGNED(p) (*(global const vec *)(p))
#define STORE_ALIGNED(v, p) (*(global vec *)(p) = (v))
#define STORE_ACT2(v, p) vstore2(v, 0, p)
#define STORE_ACT4(v, p) vstore4(v, 0, p)
#define STORE_ACT8(v, p) vstore8(v, 0, p)
#define STORE_ACT16(v, p) vstore16(v, 0, p)

#elif ACT_TYPE == 1
#define ACT half
#define LOAD_ACT1(p) vload_half(0, p)
#define LOAD_ACT2(p) vload_half2(0, p)
#define LOAD_ACT4(p) vload_half4(0, p)
#define LOAD_ACT8(p) vload_half8(0, p)
#define LOAD_ACT16(p) vload_half16(0, p)
#define STORE_ACT1(v, p) vstore_half_rte(v, 0, p)
#define STORE_ACT2(v, p) vstore_half2_rte(v, 0, p)
#define STORE_ACT4(v, p) vstore_half4_rte(v, 0, p)
#define STORE_ACT8(v, p) vstore_half8_rte(v, 0, p)
#define STORE_ACT16(v, p) vstore_half16_rte(v, 0, p)
#if VEC == 1
#define LOAD_ALIGNED(p) LOAD_ACT1(p)
#define STORE_ALIGNED(v, p) STORE_ACT1(v, p)
#else
#define STORE_HALF_(n) vstorea_half##n##_rte
#define STORE_HALF(n) STORE_HALF_(n)
#define LOAD_ALIGNED(p) JOIN(vloada_half, VEC)(0, p)
#define STORE_ALIGNED(v, p) STORE_HALF(VEC)(v, 0, p)
#endif

#elif ACT_TYPE == 2
#define ACT ushort
/* Of the bits u of floats: those of bfloat16. A NaN stays one. */
#define BF16_BITS(u)                                                                                                   \
    select(((u) + 0x7fffu + (((u) >> 16) & 1u)) >> 16, ((u) >> 16) | 0x40u, ((u)&0x7fffffffu) > 0x7f800000u)
#define BF16_OF(n)                                                                                                     \
    ushort##n bf16_of##n(float##n v) {                                                                                 \
        const uint##n u = as_uint##n(v);                                                                               \
        return convert_ushort##n(BF16_BITS(u));                                                                        \
    }
ushort bf16_of(float v) {
    const uint u = as_uint(v);
    return (ushort)BF16_BITS(u);
}
BF16_OF(2)
BF16_OF(4)
BF16_OF(8)
BF16_OF(16)
#define LOAD_ACT1(p) as_float(convert_uint(*(p)) << 16)
#define LOAD_ACT2(p) as_float2(convert_uint2(vload2(0, p)) << 16)
#define LOAD_ACT4(p) as_float4(convert_uint4(vload4(0, p)) << 16)
#define LOAD_ACT8(p) as_float8(convert_uint8(vload8(0, p)) << 16)
#define LOAD_ACT16(p) as_float16(convert_uint16(vload16(0, p)) << 16)
#define STORE_ACT1(v, p) (*(p) = bf16_of(v))
#define STORE_ACT2(v, p) vstore2(bf16_of2(v), 0, p)
#define STORE_ACT4(v, p) vstore4(bf16_of4(v), 0, p)
#define STORE_ACT8(v, p) vstore8(bf16_of8(v), 0, p)
#define STORE_ACT16(v, p) vstore16(bf16_of16(v), 0, p)
#if VEC == 1
#define LOAD_ALIGNED(p) LOAD_ACT1(p)
#define STORE_ALIGNED(v, p) STORE_ACT1(v, p)
#else
#define LOAD_ALIGNED(p) JOIN(as_float, VEC)(JOIN(convert_uint, VEC)(*(global const JOIN(ushort, VEC) *)(p)) << 16)
#define STORE_ALIGNED(v, p) (*(global JOIN(ushort, VEC) *)(p) = JOIN(bf16_of, VEC)(v))
#endif

#else
#error "ACT_TYPE is 0, 1 or 2"
#endif

#define LOAD_ACT(p) JOIN(LOAD_ACT, VEC)(p)
#define STORE_ACT(v, p) JOIN(STORE_ACT, VEC)(v, p)
