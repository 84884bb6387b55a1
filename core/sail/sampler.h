/* sampler.h - from logits to the distribution that a token is drawn from.
 *
 * Floor: backend (the filters), align (the kind of plugin). Threads: any; all functions are pure.
 * The order of the filters is that of transformers: repetition penalty, temperature, top-k, top-p, min-p, typical, then
 * softmax. Each filter sees the distribution renormalised after the ones before it. */
#ifndef SAIL_SAMPLER_H
#define SAIL_SAMPLER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Elements of a row of SAMPLE's params, and the members below. */
enum {
    SAIL_SAMPLE_TEMPERATURE, /* 0: greedy */
    SAIL_SAMPLE_TOP_K,       /* 0: off; ties with the k-th are kept */
    SAIL_SAMPLE_TOP_P,       /* 1: off; drops the least likely while their total stays <= 1 - p */
    SAIL_SAMPLE_MIN_P,       /* 0: off; keeps p >= min_p max p */
    SAIL_SAMPLE_TYPICAL,     /* 1: off; keeps what lies nearest the entropy in surprise, until its mass is reached */
    SAIL_SAMPLE_PENALTY,     /* 1: off; repetition: a positive logit is divided by it, a negative one multiplied */
    SAIL_SAMPLE_PARAMS = 8
};

typedef struct sail_filter_params {
    double temperature, top_p, min_p, typical, penalty;
    int64_t top_k;
} sail_filter_params;

/* p: n logits (not NaN; -inf: never), replaced by probabilities; what was filtered out is 0. history: ids seen so far (others than
 * 0..n-1 are passed over, repetitions count once). scratch: n numbers of the caller's. Greedy gives 1 to the largest logit
 * (the lowest id among equals). Returns how many tokens were kept, at least 1; 0 when n is 0 or no logit is finite. */
int64_t sail_filter(double *p, int64_t n, const sail_filter_params *params, const int32_t *history, int64_t history_n,
                    int32_t *scratch);

/* The least id at which the running sum of p exceeds u in (0, 1); never one with p = 0. */
int64_t sail_filter_draw(const double *p, int64_t n, double u);

#ifdef __cplusplus
}
#endif
#endif
