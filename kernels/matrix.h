/* Small products by a device's matrix units, as a compiler offers them in OpenCL C: a wave of WAVE items multiplies FM
 * rows by FN columns with FK terms of 16 bits, half or bfloat16 by ACT_TYPE, and adds them to SUMS floats an item. Both
 * factors lie in local memory by lines (a row of the left factor, a column of the right one), two terms in a uint,
 * lines `step` times PITCH uints apart, each at a multiple of 16 bytes. For kernels that include it after vec.h.
 *
 *   left_part load_left(p, step, lane)     FM lines from p on, right_part load_right(p, step, lane) FN lines
 *   MULTIPLY_PARTS(left, right, sums)      sums += left right
 *   EACH_SUM(X)                            X(i, member) of each of an item's sums, which is the one of row SUM_ROW(i),
 *                                          column SUM_COLUMN(i) by lane
 *
 *  UNIT      0: none, an item multiplies alone; 1: NVIDIA's mma.sync, from compute capability 8.0 on; 2: AMD's WMMA of
 *            RDNA 3; 3: AMD's MFMA of CDNA; 4: Intel's DPAS. All but 0 are found by host/cl/matrix.c
 *  WAVE      items of a wave
 *  ACT_TYPE  1 or 2, as in vec.h
 */
#if ACT_TYPE != 1 && ACT_TYPE != 2
#error "matrix units take 16 bits"
#endif

#if UNIT == 0
#define FM 4
#define FN 4
#define FK 2
#define SUMS 16
typedef float8 left_part;  // line by line
typedef float8 right_part; // term by term
typedef float16 sums_part;
#if ACT_TYPE == 1
#define PAIR(p) vload_half2(0, (local const half *)(p))
#else
#define PAIR(p) as_float2((uint2)(*(p) << 16, *(p)&0xffff0000u))
#endif
left_part load_left(local const uint *p, int step, int lane) {
    step *= PITCH;
    return (float8)(PAIR(p), PAIR(p + step), PAIR(p + 2 * step), PAIR(p + 3 * step));
}
right_part load_right(local const uint *p, int step, int lane) {
    const float8 lines = load_left(p, step, lane);
    return (float8)(lines.even, lines.odd);
}
#define ADD_ROW(sum, first, second)                                                                                    \
    sum = FMA((float4)(first), right.lo, sum);                                                                         \
    sum = FMA((float4)(second), right.hi, sum);
sums_part multiply_parts(left_part left, right_part right, sums_part sums) {
    float4 row0 = sums.s0123, row1 = sums.s4567, row2 = sums.s89ab, row3 = sums.scdef;
    ADD_ROW(row0, left.s0, left.s1)
    ADD_ROW(row1, left.s2, left.s3)
    ADD_ROW(row2, left.s4, left.s5)
    ADD_ROW(row3, left.s6, left.s7)
    return (float16)(row0, row1, row2, row3);
}
#define MULTIPLY_PARTS(left, right, sums) sums = multiply_parts(left, right, sums);
#define SUM_ROW(i) ((i) / 4)
#define SUM_COLUMN(i) ((i) % 4)

#elif UNIT == 1
#define FM 16
#define FN 8
#define FK 16
#define SUMS 4
typedef uint4 left_part;
typedef uint2 right_part;
typedef float4 sums_part;
left_part load_left(local const uint *p, int step, int lane) {
    p += lane / 4 * step * PITCH + lane % 4;
    return (uint4)(p[0], p[8 * step * PITCH], p[4], p[8 * step * PITCH + 4]);
}
right_part load_right(local const uint *p, int step, int lane) {
    p += lane / 4 * step * PITCH + lane % 4;
    return (uint2)(p[0], p[4]);
}
#if ACT_TYPE == 1
#define MMA "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
#else
#define MMA "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
#endif
#define MULTIPLY_PARTS(left, right, sums)                                                                              \
    __asm__(MMA "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                                                \
            : "+f"(sums.s0), "+f"(sums.s1), "+f"(sums.s2), "+f"(sums.s3)                                               \
            : "r"(left.s0), "r"(left.s1), "r"(left.s2), "r"(left.s3), "r"(right.s0), "r"(right.s1));
#define SUM_ROW(i) (lane / 4 + 8 * ((i) / 2))
#define SUM_COLUMN(i) (lane % 4 * 2 + (i) % 2)

#elif UNIT == 2
#if defined(__AMDGCN_WAVEFRONT_SIZE) && __AMDGCN_WAVEFRONT_SIZE != 32
#error "WMMA is used by waves of 32"
#endif
#define FM 16
#define FN 16
#define FK 16
#define SUMS 8
typedef uint8 left_part; // the upper half of the wave has the same lines again
typedef uint8 right_part;
typedef float8 sums_part;
left_part load_left(local const uint *p, int step, int lane) {
    local const uint4 *from = (local const uint4 *)(p + lane % 16 * step * PITCH);
    return (uint8)(from[0], from[1]);
}
#define load_right load_left
#if ACT_TYPE == 1
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
typedef half sixteen __attribute__((ext_vector_type(16)));
#define WMMA __builtin_amdgcn_wmma_f32_16x16x16_f16_w32
#else
typedef short sixteen __attribute__((ext_vector_type(16)));
#define WMMA __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32
#endif
#define MULTIPLY_PARTS(left, right, sums)                                                                              \
    sums = WMMA(__builtin_astype(left, sixteen), __builtin_astype(right, sixteen), sums);
#define SUM_ROW(i) (2 * (i) + lane / 16)
#define SUM_COLUMN(i) (lane % 16)

#elif UNIT == 3
#if defined(__AMDGCN_WAVEFRONT_SIZE) && __AMDGCN_WAVEFRONT_SIZE != 64
#error "MFMA is used by waves of 64"
#endif
#define FM 16
#define FN 16
#define FK 16
#define SUMS 4
typedef uint2 left_part;
typedef uint2 right_part;
typedef float4 sums_part;
left_part load_left(local const uint *p, int step, int lane) {
    return *(local const uint2 *)(p + lane % 16 * step * PITCH + lane / 16 * 2);
}
#define load_right load_left
#if ACT_TYPE == 1
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
typedef half four __attribute__((ext_vector_type(4)));
#define MFMA __builtin_amdgcn_mfma_f32_16x16x16f16
#else
typedef short four __attribute__((ext_vector_type(4)));
#define MFMA __builtin_amdgcn_mfma_f32_16x16x16bf16_1k
#endif
#define MULTIPLY_PARTS(left, right, sums)                                                                              \
    sums = MFMA(__builtin_astype(left, four), __builtin_astype(right, four), sums, 0, 0, 0);
#define SUM_ROW(i) (lane / 16 * 4 + (i))
#define SUM_COLUMN(i) (lane % 16)

#elif UNIT == 4
#define FM 8
#define FN WAVE
#define FK 16
#define SUMS 8
typedef int8 right_part;
typedef float8 sums_part;
right_part load_right(local const uint *p, int step, int lane) {
    local const int4 *from = (local const int4 *)(p + lane * step * PITCH);
    return (int8)(from[0], from[1]);
}
#if ACT_TYPE == 1
#define DPAS intel_sub_group_f16_f16_matrix_mad_k16
#else
#define DPAS intel_sub_group_bf16_bf16_matrix_mad_k16
#endif
#if WAVE == 8
typedef int8 left_part;
typedef int left_value;
#else
typedef short8 left_part;
typedef short left_value;
#endif
/* Some compilers know it, but do not declare it. */
float8 __attribute__((overloadable)) DPAS(left_part left, int8 right, float8 sums);
left_part load_left(local const uint *p, int step, int lane) {
    local const left_value *from = (local const left_value *)p + lane;
    step *= PITCH * 4 / sizeof(left_value);
    return (left_part)(from[0], from[step], from[2 * step], from[3 * step], from[4 * step], from[5 * step],
                       from[6 * step], from[7 * step]);
}
#define MULTIPLY_PARTS(left, right, sums) sums = DPAS(left, right, sums);
#define SUM_ROW(i) (i)
#define SUM_COLUMN(i) lane
#endif

#define EACH_SUM4(X) X(0, s0) X(1, s1) X(2, s2) X(3, s3)
#define EACH_SUM8(X) EACH_SUM4(X) X(4, s4) X(5, s5) X(6, s6) X(7, s7)
#define EACH_SUM16(X) EACH_SUM8(X) X(8, s8) X(9, s9) X(10, sa) X(11, sb) X(12, sc) X(13, sd) X(14, se) X(15, sf)
#define EACH_SUM JOIN(EACH_SUM, SUMS)
