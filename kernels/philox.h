/* Philox4x32-10 (Salmon et al., SC 2011), as bl_philox (host/base) has it; for kernels that include it after vec.h and
 * loop.h. LANES   counters at once, 1, 4 or 8; required */
#if LANES == 1
#define LANED(type) type
#else
#define LANED(type) JOIN(type, LANES)
#endif

#define PHILOX_KEY(seed, purpose) ((uint2)((uint)(seed), (uint)((seed) >> 32) ^ (purpose)*0x85EBCA6Bu))

/* c: the counters' four words, which become the random ones: word j of counter k comes out as element k of c[j]. */
INLINE void philox(LANED(uint) c[4], uint2 key) {
    UNROLL for (int round = 0; round < 10; round++) {
        const LANED(ulong) a = LANED(convert_ulong)(c[0]) * 0xD2511F53UL, b = LANED(convert_ulong)(c[2]) * 0xCD9E8D57UL;
        c[0] = LANED(convert_uint)(b >> 32) ^ c[1] ^ key.x;
        c[2] = LANED(convert_uint)(a >> 32) ^ c[3] ^ key.y;
        c[1] = LANED(convert_uint)(b);
        c[3] = LANED(convert_uint)(a);
        key += (uint2)(0x9E3779B9u, 0xBB67AE85u);
    }
}
