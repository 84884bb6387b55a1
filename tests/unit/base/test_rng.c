/* test_rng.c - Philox against the published vectors; streams that do not touch. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sail/rng.h"

static void philox_gives_the_published_words(void **state)
{
    (void)state;
    /* Random123, kat_vectors: philox4x32 10 */
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t got[4];
        sail_philox4x32(known[i].counter, known[i].key, got);
        assert_memory_equal(got, known[i].want, sizeof got);
    }
}

static int by_value(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

static void every_argument_matters_in_all_its_bits(void **state)
{
    (void)state;
    /* flip each bit of each argument, from a base of zeros and from another: all words differ */
    enum { BITS = 64 + 32 + 3 * 64 };
    static uint32_t words[2 * (BITS + 1)][4];
    size_t n = 0;
    for (int base = 0; base < 2; base++) {
        uint64_t start = base ? 0x0123456789abcdefu : 0;
        for (int bit = -1; bit < BITS; bit++) {
            uint64_t v[5] = {start, (uint32_t)start, start, start, start};
            if (bit >= 0 && bit < 64)
                v[0] ^= 1ull << bit;
            else if (bit >= 64 && bit < 96)
                v[1] ^= 1ull << (bit - 64);
            else if (bit >= 96)
                v[2 + (bit - 96) / 64] ^= 1ull << ((bit - 96) % 64);
            sail_rng_words(v[0], (uint32_t)v[1], v[2], v[3], v[4], words[n++]);
        }
    }
    qsort(words, n, sizeof *words, by_value);
    for (size_t i = 1; i < n; i++)
        assert_memory_not_equal(words[i - 1], words[i], sizeof *words);
}

static void uniform_and_normal_have_their_moments(void **state)
{
    (void)state;
    enum { N = 200000 };
    double u1 = 0, u2 = 0, z1 = 0, z2 = 0, z4 = 0, least = 1, most = 0;
    for (int i = 0; i < N; i++) {
        double u = sail_rng_uniform(7, SAIL_RNG_WORLD, 0, (uint64_t)i, 0), z = sail_rng_normal(7, SAIL_RNG_WORLD, 1, (uint64_t)i, 0);
        u1 += u, u2 += u * u, z1 += z, z2 += z * z, z4 += z * z * z * z;
        least = fmin(least, u), most = fmax(most, u);
    }
    /* five standard errors of each mean */
    double s = 5 / sqrt(N);
    assert_true(fabs(u1 / N - 0.5) < s * sqrt(1.0 / 12));
    assert_true(fabs(u2 / N - 1.0 / 3) < s * sqrt(4.0 / 45));
    assert_true(fabs(z1 / N) < s);
    assert_true(fabs(z2 / N - 1) < s * sqrt(2));
    assert_true(fabs(z4 / N - 3) < s * sqrt(96));
    assert_true(least > 0 && most < 1 && least < 1e-4 && most > 1 - 1e-4);
}

static void below_is_even_and_stays_below(void **state)
{
    (void)state;
    int count[7] = {0};
    for (int i = 0; i < 70000; i++) {
        uint64_t k = sail_rng_below(3, SAIL_RNG_SHUFFLE, 1, 2, (uint64_t)i, 7);
        assert_true(k < 7);
        count[k]++;
    }
    for (int i = 0; i < 7; i++)
        assert_true(abs(count[i] - 10000) < 5 * 93); /* sqrt(70000 * 1/7 * 6/7) = 92.6 */
    assert_int_equal(sail_rng_below(3, 1, 1, 2, 3, 1), 0);
    assert_true(sail_rng_below(3, 1, 1, 2, 3, UINT64_MAX) < UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_words),
        cmocka_unit_test(every_argument_matters_in_all_its_bits),
        cmocka_unit_test(uniform_and_normal_have_their_moments),
        cmocka_unit_test(below_is_even_and_stays_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
