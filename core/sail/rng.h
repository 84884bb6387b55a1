/* rng.h - counter-based random numbers (Philox 4x32-10; Salmon et al., SC 2011).
 *
 * Floor: base. Threads: any; there is no state. A number is a pure function of (seed, purpose, a, b, c), so a
 * run is a function of its seed whatever the order of the work. Never draw twice with the same five. */
#ifndef SAIL_RNG_H
#define SAIL_RNG_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum sail_purpose {
    SAIL_RNG_INIT = 1, /* parameters: a = parameter index, b = element */
    SAIL_RNG_SHUFFLE,  /* order of the data: a = epoch, b = position */
    SAIL_RNG_ROUTE,    /* a = step, b = prompt in the step */
    SAIL_RNG_TOKEN,    /* sampled tokens: a = prompt, b = child, c = position */
    SAIL_RNG_LABEL,    /* outcomes drawn from a preference model: a = step, b = pair */
    SAIL_RNG_DROPOUT,  /* a = key of the token (ops.def), b = layer, c = column / 4 */
    SAIL_RNG_BOOTSTRAP,
    SAIL_RNG_ORDER,    /* a coin for a judge's tie: a = step, b = pair */
    SAIL_RNG_WORLD,    /* synthetic data */
    SAIL_RNG_CHOICE,   /* of strategies: a = step, b = prompt in the step (2^64 - 1 where prompts are chosen), c = theirs from 0; the host's replay: c from 2^32 */
    SAIL_RNG_VERDICT, /* outcomes that a judge draws: a = hash of the item */
    SAIL_RNG_USER = 64 /* plugins and recipes: from here on */
} sail_purpose;

/* The bare generator: 4 words from a 128-bit counter and a 64-bit key. */
void sail_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Four independent words for (seed, purpose, a, b, c). The key is made of seed, purpose and a, the counter of b and c; all five
 * matter. */
void sail_rng_words(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b, uint64_t c, uint32_t out[4]);

/* Uniform in the open interval (0, 1), 53 bits. */
double sail_rng_uniform(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b, uint64_t c);

/* Standard normal (Box-Muller on two of the words). */
double sail_rng_normal(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b, uint64_t c);

/* Uniform integer in [0, n), n >= 1, without modulo bias beyond 2^-64. */
uint64_t sail_rng_below(uint64_t seed, uint32_t purpose, uint64_t a, uint64_t b, uint64_t c, uint64_t n);

#ifdef __cplusplus
}
#endif
#endif
