/* FMA(a, b, c): a*b + c as one operation where the device has it, for floats and vectors. PoCL's mad() is always a
 * product and a sum, which -cl-mad-enable contracts only when it is written out. */
#if defined(FP_FAST_FMAF) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define FMA(a, b, c) fma(a, b, c)
#else
#define FMA(a, b, c) ((a) * (b) + (c))
#endif
