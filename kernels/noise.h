/* Normal numbers, as bl_normals (host/base) has them; for kernels that include it after vec.h. An image's elements, in
 * the order of the layout, take blocks of four: element i is number i % 4 of the counter image * blocks + i / 4. */
#define LANES 1
#include "loop.h"
#include "philox.h"

INLINE float4 normals(ulong position, ulong stream, uint2 key) {
    uint c[4] = {(uint)position, (uint)(position >> 32), (uint)stream, (uint)(stream >> 32)};
    philox(c, key);
    const float2 u = ((float2)(c[0] >> 8, c[2] >> 8) + 0.5f) * 0x1p-24f,
                 angle = (float2)(c[1] >> 8, c[3] >> 8) * 0x1p-23f, // of pi
        radius = sqrt(-2.0f * log(u)), x = radius * cospi(angle), y = radius * sinpi(angle);
    return (float4)(x.s0, y.s0, x.s1, y.s1);
}
