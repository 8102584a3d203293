/* A vector of VEC floats and how it is read and written; for kernels that include it.
 *
 *  VEC  floats at once: 1, 2, 4, 8 or 16; required
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
