/* LOOP, before a loop over a constant number of rounds: unrolled, so that arrays indexed by it stay in registers. A
 * CPU's compiler would unroll and vectorize the loops over the items of a group for many seconds. */
#if defined(__x86_64__) || defined(__i386__) || defined(__aarch64__)
#define LOOP _Pragma("unroll 1")
#else
#define LOOP _Pragma("unroll")
#endif
