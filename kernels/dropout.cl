/* y[i] = keep(i) ? x[i] scale : 0, over count elements. Word i % 4 of Philox4x32-10 (Salmon et al., SC 2011) at counter
 * (i / 4, stream) decides: kept where its upper 24 bits reach `threshold` = p 2^24. The words are bl_philox's (host/base), whose
 * key is (seed low, seed high ^ purpose 0x85EBCA6B). An item takes some groups of four elements. `add` other than 0 adds to what
 * y holds. No -D parameters of its own (VEC is accepted and not used). */

static uint4 philox(uint4 c, uint2 key) {
    for (int round = 0; round < 10; round++) {
        c = (uint4)(mul_hi(0xCD9E8D57u, c.z) ^ c.y ^ key.x, 0xCD9E8D57u * c.z,
                    mul_hi(0xD2511F53u, c.x) ^ c.w ^ key.y, 0xD2511F53u * c.x);
        key += (uint2)(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

kernel void dropout(global const float *restrict x, global float *restrict y, long count, ulong seed, uint purpose, ulong stream,
                    uint threshold, float scale, int add) {
    const uint2 key = (uint2)((uint)seed, (uint)(seed >> 32) ^ purpose * 0x85EBCA6Bu);
    const size_t groups = ((size_t)count + 3) / 4, share = (groups + get_global_size(0) - 1) / get_global_size(0);
    const size_t end = min((get_global_id(0) + 1) * share, groups);
    for (size_t group = get_global_id(0) * share; group < end; group++) {
        const uint4 counter = (uint4)((uint)group, (uint)((ulong)group >> 32), (uint)stream, (uint)(stream >> 32));
        const uint4 drawn = philox(counter, key) >> 8;
        const uint word[4] = {drawn.x, drawn.y, drawn.z, drawn.w};
        const size_t stop = min(group * 4 + 4, (size_t)count);
        for (size_t i = group * 4; i < stop; i++) {
            const float value = word[i % 4] >= threshold ? x[i] * scale : 0.0f;
            y[i] = add ? y[i] + value : value;
        }
    }
}
