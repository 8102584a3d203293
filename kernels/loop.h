/* Before a loop over a constant number of rounds: unrolled, so that arrays indexed by it stay in registers. LOOP, where
 * items of a group work together: a CPU's compiler would unroll and vectorize the loops over them for many seconds.
 * UNROLL, elsewhere: a CPU's compiler decides. */
#if defined(__x86_64__) || defined(__i386__) || defined(__aarch64__)
#define LOOP _Pragma("unroll 1")
#define UNROLL
#else
#define LOOP _Pragma("unroll")
#define UNROLL _Pragma("unroll")
#endif
