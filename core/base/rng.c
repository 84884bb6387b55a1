/* rng.c - Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011). */
#include <math.h>

#include "../sail/rng.h"

__extension__ typedef unsigned __int128 wide;

void sail_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c0 = n0, c1 = (uint32_t)p1, c2 = n2, c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* The five numbers are 288 bits, a key and a counter hold 192: the key is itself drawn by the generator, from
 * (purpose, a) under the seed; the counter is (b, c). Two draws collide only where two keys do. */
void sail_rng_words(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b, uint64_t c, uint32_t out[4])
{
    uint32_t top[4] = {(uint32_t)a, (uint32_t)(a >> 32), purpose, 0x5341494Cu};
    uint32_t key[4], seeds[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    sail_philox4x32(top, seeds, key);
    uint32_t counter[4] = {(uint32_t)b, (uint32_t)(b >> 32), (uint32_t)c, (uint32_t)(c >> 32)};
    sail_philox4x32(counter, key, out);
}

/* The middle of one of 2^52 equal cells: a 53-bit number that is never 0 or 1, and never rounded. */
static double open_unit(uint32_t high, uint32_t low)
{
    uint64_t cell = ((uint64_t)high << 32 | low) >> 12;
    return (double)(2 * cell + 1) * 0x1p-53;
}

double sail_rng_uniform(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b, uint64_t c)
{
    uint32_t w[4];
    sail_rng_words(seed, purpose, a, b, c, w);
    return open_unit(w[0], w[1]);
}

double sail_rng_normal(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b, uint64_t c)
{
    uint32_t w[4];
    sail_rng_words(seed, purpose, a, b, c, w);
    return sqrt(-2.0 * log(open_unit(w[0], w[1]))) * cos(6.283185307179586476925 * open_unit(w[2], w[3]));
}

/* The high word of a 128-bit product: each of the n values has 2^64/n of the words, within one. */
uint64_t sail_rng_below(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b, uint64_t c, uint64_t n)
{
    uint32_t w[4];
    sail_rng_words(seed, purpose, a, b, c, w);
    return (uint64_t)((wide)((uint64_t)w[0] << 32 | w[1]) * n >> 64);
}
