/* FETCH(p): brings the cache line at p nearer, for what no hardware foresees: rows that lie apart. Nothing where a
 * compiler for the machine itself is not at work (OpenCL's own prefetch does nothing on PoCL 3.1). */
#if defined(__clang__) && (defined(__x86_64__) || defined(__aarch64__))
#define FETCH(p) __builtin_prefetch((const void *)(size_t)(p), 0, 2)
#else
#define FETCH(p) ((void)0)
#endif
