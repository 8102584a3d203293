/* Before a loop over a constant number of rounds: unrolled, so that arrays indexed by it stay in registers. LOOP, where
 * items of a group work together: a CPU's compiler would unroll and vectorize the loops over them for many seconds.
 * LOOP4, the same for rounds that would take too many registers if all of them began at once. UNROLL, elsewhere: a
 * CPU's compiler decides. EACH_OF(i, most, count) is a loop over the first `count` of an array of `most`, unrolled so.
 *
 * LANES16, among a kernel's attributes: Intel's compiler gives it 16 lanes, and with them half the registers of 8,
 * which it would choose otherwise. LOOP_TERMS, for the terms of a sum: LOOP, but LOOP4 there.
 *
 * INLINE, before a function: compiled where it is called, else the structs that it takes would pass through memory.
 */
#define INLINE static inline __attribute__((always_inline))
#if defined(__x86_64__) || defined(__i386__) || defined(__aarch64__)
#define LANES16
#define LOOP _Pragma("unroll 1")
#define LOOP_TERMS LOOP
#define LOOP4 _Pragma("unroll 1")
#define UNROLL
#define EACH_OF(i, most, count) for (int i = 0; i < (count); i++)
#else
#define LOOP _Pragma("unroll")
#ifdef cl_intel_required_subgroup_size
#define LANES16 __attribute__((intel_reqd_sub_group_size(16)))
#define LOOP_TERMS LOOP4
#else
#define LANES16
#define LOOP_TERMS LOOP
#endif
#define LOOP4 _Pragma("unroll 4")
#define UNROLL _Pragma("unroll")
#define EACH_OF(i, most, count) _Pragma("unroll") for (int i = 0; i < (most); i++) if (i < (count))
#endif
