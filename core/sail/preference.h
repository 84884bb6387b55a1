/* preference.h - preference models: the probability of each outcome, given the responses' scores.
 *
 * Floor: align. A preference model is a plugin of kind SAIL_KIND_PREFERENCE whose ops point to a sail_preference. It
 * supplies one formula; drawing an outcome, the entropy, the probability of a win and all derivatives follow from it.
 * Callbacks run on the tape's thread, keep nothing, and are pure functions of their arguments.
 *
 * Outcomes of K responses are numbered. K = 2: 0 slot 0 wins, 1 slot 1 wins, 2 tie (if the model has one). K > 2: rankings
 * in lexicographic order of the slots, best first (all permutations, or the prefixes of `top` for a truncated ranking). */
#ifndef SAIL_PREFERENCE_H
#define SAIL_PREFERENCE_H

#include "plugin.h"
#include "tape.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SAIL_MAX_RESPONSES = 8, SAIL_MAX_WIDTH = 64, SAIL_TIE = 2, SAIL_ABSTAIN = -1 };

typedef struct sail_preference {
    uint32_t size; /* sizeof(sail_preference) */

    /* How many outcomes k responses have; 0: the model does not apply to k; -m: only to m responses or more. */
    int (*outcomes)(const void *self, int k);

    /* log q(outcome) in nats for every row: score[j] is the value of slot j (k of them, one domain and length).
     * `outcome` is one number for all rows. Must be finite for every finite score, except where q = 0. With width: score[j * width + d]
     * is number d of slot j. */
    sail_var (*logprob)(const void *self, sail_tape *t, int k, const sail_var *score, int outcome);

    /* Optional: how many numbers score one response; 1 without it. More than 1: for reward models whose head gives as many, and for
     * judges; the implicit reward is one number. At most SAIL_MAX_WIDTH. */
    int (*width)(const void *self);
} sail_preference;

/* A chosen model: its table and its options. */
typedef struct sail_preference_model {
    const sail_preference *ops;
    const void *self;
    const char *name;
} sail_preference_model;

int sail_preference_width(const sail_preference_model *m);

/* scores: RESPONSE (nats; implicit rewards or a reward model's). outcome: one a pair, [pairs]; SAIL_ABSTAIN gives 0 and no
 * derivative. -> PAIR, log q(outcome). Pairs of different K may be mixed. */
sail_var sail_preference_logprob(sail_tape *t, const sail_preference_model *m, sail_var scores, const int32_t *outcome);

/* The same for a model of any width: scores[width], each RESPONSE, one for each number of a response's score. */
sail_var sail_preference_logprob_of(sail_tape *t, const sail_preference_model *m, int width, const sail_var *scores,
                                    const int32_t *outcome);
sail_var sail_preference_entropy_of(sail_tape *t, const sail_preference_model *m, int width, const sail_var *scores);

/* -> PAIR: the entropy H = -sum over outcomes of q log q, nats (0 log 0 = 0), differentiable. */
sail_var sail_preference_entropy(sail_tape *t, const sail_preference_model *m, sail_var scores);

/* Probabilities of all outcomes of one pair, into p[outcomes], from score[k * width], slot after slot. No tape needed. Probabilities that
 * do not sum to 1 (to 1e-6) are the model's error. */
sail_code sail_preference_probabilities(const sail_preference_model *m, int k, const double *score, double *p,
                                        sail_err *err);

/* The outcome at u in (0, 1) of the cumulative distribution. */
sail_code sail_preference_draw(const sail_preference_model *m, int k, const double *score, double u, int32_t *outcome,
                               sail_err *err);

/* The slots that `outcome` ranks, best first, into order[top]: `top` of k are ranked (k: all), what lies behind them is not
 * filled. False for a tie or a number that is no outcome. */
bool sail_outcome_ranking(int outcome, int k, int top, int *order);
int sail_outcome_of_ranking(const int *order, int k, int top);

#ifdef __cplusplus
}
#endif
#endif
