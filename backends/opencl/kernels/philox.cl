/* philox.cl - the random numbers of sail/rng.h: Philox 4x32-10 (Salmon et al., SC 2011). */
static inline uint4 philox(uint4 c, uint2 k)
{
    for (int round = 0; round < 10; round++) {
        const uint h0 = mul_hi(0xD2511F53u, c.x), l0 = 0xD2511F53u * c.x, h2 = mul_hi(0xCD9E8D57u, c.z), l2 = 0xCD9E8D57u * c.z;
        c = (uint4)(h2 ^ c.y ^ k.x, l2, h0 ^ c.w ^ k.y, l0);
        k += (uint2)(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

/* sail_rng_words(seed, purpose, a, b, c) */
static inline uint4 random_words(ulong seed, uint purpose, ulong a, ulong b, ulong c)
{
    const uint4 key = philox((uint4)((uint)a, (uint)(a >> 32), purpose, 0x5341494Cu), (uint2)((uint)seed, (uint)(seed >> 32)));
    return philox((uint4)((uint)b, (uint)(b >> 32), (uint)c, (uint)(c >> 32)), key.xy);
}
