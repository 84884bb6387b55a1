/* strategy.h - strategies: which prompts are used, who writes and labels their responses, which responses are learned from.
 *
 * Floor: align. A plugin of kind SAIL_KIND_STRATEGY whose ops point to a sail_strategy. Every function is optional, and where it is
 * absent the recipe decides. In a step they are asked in this order:
 *
 *   plan        how many prompts to look at, how many responses to write, what to keep for later    (else: 1, rollout.responses, nothing)
 *   prompts     which prompts of those looked at are used                                           (else: all, in the data's order)
 *   routes      who writes and who labels; each prompt then draws one                               (else: method.routes)
 *   responses   which of the responses written to a prompt are learned from                         (else: all)
 *
 * Functions are pure: of their arguments, the options (built anew from the recipe's schedules every step) and, for choices at random,
 * of sail_rng_uniform(at->seed, SAIL_RNG_CHOICE, at->step, at->index, …). So a resumed run makes the same choices. An error of theirs
 * ends the run, after a checkpoint. They run on the training thread; what they are given is valid during the call.
 *
 * The gradient of E[F], F = log q(label), has three terms (arXiv 2406.15567): T2 = E[grad F], what is learned from any pair; T1, since the
 * policy wrote the responses: E[F grad log pi(y1) pi(y2)]; T3, since it drew the label: E[F grad log q(label)]. */
#ifndef SAIL_STRATEGY_H
#define SAIL_STRATEGY_H

#include "objective.h"
#include "rng.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sail_route {
    const char *name;         /* lives as long as the recipe: "offline", "ddp", … ; metrics are named after it */
    double probability;       /* that a prompt takes this route */
    int writer, labeller;     /* SAIL_BY_DATA or _POLICY; SAIL_BY_DATA, _POLICY or _JUDGE, but not data for what the policy writes */
    double coefficient;       /* c >= 0 of the extra terms: T1 where the policy writes, T3 where it labels (above) */
} sail_route;

/* What a step does; filled with the recipe's own on entry. */
typedef struct sail_plan {
    uint32_t size;
    int32_t responses;     /* written to each prompt on a route where the policy writes: 2 to SAIL_MAX_RESPONSES */
    int64_t pool;          /* prompts looked at for each one used: 1 or more; above 1, `prompts` chooses */
    bool judged;           /* `responses` reads verdicts: on a route that a judge labels it is asked about all that was written, not only
                            * about what is learned from */
    double replay;         /* share of the prompts, of those that the policy would answer, in whose place an earlier step's responses
                            * come back: 0 to 1 */
    int64_t keep, age;     /* prompts that are kept for that, the oldest leaving first; steps after which one leaves whatever the room */
} sail_plan;

/* Where a choice is made. */
typedef struct sail_moment {
    int64_t step; /* from 0 */
    int64_t index; /* of the prompt in the step; -1 in `prompts`, so that its draws are not those of the first prompt */
    uint64_t seed;
} sail_moment;

/* A prompt of the data. */
typedef struct sail_prompt {
    uint64_t id;     /* of its text: stable over runs */
    int64_t tokens;
    int64_t visits;  /* how often it has been learned from */
    double margin;   /* at the last of these, nats: implicit reward of what won less that of what lost; of a ranking the first less the last, or
                      * less one that it leaves out; of several pairs of one prompt's responses (rollout.pairing: all) that of the last pair. NaN: none yet, or nobody won */
    double gap;      /* of the data's pair: its score of the chosen response less that of the rejected one. NaN: it has none */
} sail_prompt;

/* Responses that the policy wrote to one prompt, before they are learned from. Arrays have k elements. */
typedef struct sail_candidates {
    uint32_t size;
    int k;
    const char *route;
    int writer, labeller;
    sail_preference_model preference;
    const int64_t *tokens;
    const double *logp;   /* log pi(y|x), nats: of the policy that wrote it */
    const double *reward; /* implicit rewards, nats: beta log pi/pi0. NULL unless the strategy declares SAIL_CAP_REFERENCE */
    const double *score;  /* the judge's; NaN where it gives none, or was not asked (sail_plan.judged) */
    const int *place;     /* the judge's ranking, 0 the best; two that tie have the same. -1: it was not asked, or abstained */
} sail_candidates;

enum { SAIL_MAX_ROUTES = 16 };
typedef struct sail_strategy {
    uint32_t size;
    /* The routes at this step (from 0) into out[SAIL_MAX_ROUTES]; probabilities sum to 1 (checked to 1e-9). Returns their number. */
    int (*routes)(const void *self, int64_t step, sail_route *out);

    sail_code (*plan)(const void *self, int64_t step, sail_plan *plan, sail_err *err);

    /* Which `want` of the n prompts are used: different indices into chosen[want]. */
    sail_code (*prompts)(const void *self, const sail_moment *at, const sail_prompt *prompts, int64_t n, int64_t want, int64_t *chosen,
                         sail_err *err);

    /* Which are learned from: different slots into slot[c->k], their number into *n, at least 2. What is left aside still counts where
     * the writing is weighed (T1), since the choice depends on it: that is what keeps the gradient that of the choice's own expectation. */
    sail_code (*responses)(const void *self, const sail_moment *at, const sail_candidates *c, int *slot, int *n, sail_err *err);
} sail_strategy;

#ifdef __cplusplus
}
#endif
#endif
