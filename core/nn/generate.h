/* generate.h - writing responses: one engine for rollouts, evaluation and `sail generate`.
 *
 * Floor: nn. Threads: one. Many sequences are decoded together; a prompt is computed once and its keys and values are
 * shared by its children; a finished sequence makes room for the next. The cache is made of pages, reference-counted.
 *
 * A token is a function of (seed, prompt key, child, position) and the model's distribution, whatever else is decoded. */
#ifndef SAIL_GENERATE_H
#define SAIL_GENERATE_H

#include "../sail/sampler.h"
#include "model.h"

typedef struct sail__gen_request {
    const int32_t *prompt; /* at least one token */
    int64_t n_prompt;
    int children, first_child; /* children first_child .. first_child + children - 1 */
    int64_t max_new;
    uint64_t key;             /* of the prompt, for the random numbers */
    sail_filter_params sampling;
    bool ignore_end; /* go on past end tokens */
    double mixture;  /* of a generator of the mixture: weight of the reference */
    double penalty_alpha; /* above 0: not for sail__generate, but for contrastive.h's search */
} sail__gen_request;

typedef enum sail__finish { SAIL__FINISH_STOP, SAIL__FINISH_LENGTH } sail__finish;

typedef struct sail__gen_response {
    int request, child;
    int32_t *ids; /* the end token among them when one was produced */
    float *logp;  /* under the model (of a mixture: the policy) at temperature 1, nats */
    float *drawn; /* under the distribution that was sampled */
    int64_t n;
    sail__finish finish;
} sail__gen_response;

/* After every token: return true to stop this response here (a stop string). May be NULL. */
typedef bool (*sail__gen_token)(void *user, const sail__gen_response *so_far);

typedef struct sail__generator sail__generator;
/* The model must outlive it. batch: sequences decoded together at most. */
sail_code sail__generator_new(sail__model *m, sail__role_kind role, int batch, sail__generator **out, sail_err *err);
/* … of the geometric mixture of policy and reference (mixture.h): both are computed, tokens are drawn on the host from the whole rows of
 * logits, which come down for it. */
sail_code sail__generator_new_mixture(sail__model *m, int batch, sail__generator **out, sail_err *err);
void sail__generator_free(sail__generator *g);
/* Tokens decoded between two looks at them, at most (1 to 16): a look waits for the device, and what a sequence draws beyond its end is
 * computed in vain. Only where on_token is NULL and the device draws alone. What is drawn stays the same. Unless set: 8 on a GPU, else 1. */
void sail__generator_ahead(sail__generator *g, int tokens);

/* From now on the cache of a response outlives it, and a prompt that begins with the same tokens is computed from where it differs: for a
 * conversation, one request with one child at a time; not of a mixture. */
void sail__generator_keep(sail__generator *g);

/* Responses in the order of (request, child), in the arena. ends [n_ends]: end tokens (the model's where NULL). */
sail_code sail__generate(sail__generator *g, uint64_t seed, const sail__gen_request *requests, size_t n, const int32_t *ends,
                         int n_ends, sail__gen_token on_token, void *user, sail_arena *a, sail__gen_response **out,
                         size_t *n_out, sail_err *err);

typedef struct sail__gen_counters {
    int64_t prompt_tokens, new_tokens, steps;
    double seconds, prefill_seconds; /* steps that held a prompt count as prefill */
} sail__gen_counters;
void sail__generator_counters(sail__generator *g, sail__gen_counters *out);

#endif
