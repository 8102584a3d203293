/* Before a loop over a constant number of rounds: unrolled, so that arrays indexed by it stay in registers. LOOP, where
 * items of a group work together: a CPU's compiler would unroll and vectorize the loops over them for many seconds.
 * LOOP4, the same for rounds that would take too many registers if all of them began at once. UNROLL, elsewhere: a
 * CPU's compiler decides. EACH_OF(i, most, count) is a loop over the first `count` of an array of `most`, unrolled so.
 */
#if defined(__x86_64__) || defined(__i386__) || defined(__aarch64__)
#define LOOP _Pragma("unroll 1")
#define LOOP4 _Pragma("unroll 1")
#define UNROLL
#define EACH_OF(i, most, count) for (int i = 0; i < (count); i++)
#else
#define LOOP _Pragma("unroll")
#define LOOP4 _Pragma("unroll 4")
#define UNROLL _Pragma("unroll")
#define EACH_OF(i, most, count) _Pragma("unroll") for (int i = 0; i < (most); i++) if (i < (count))
#endif
