/* batch.h - from plain arrays to the pairs that objectives see, and back to weights for the model's backward pass.
 *
 * Floor: align. Threads: one, the tape's. Ownership: rows are borrowed and must outlive the pairs made of them; what
 * the pairs need besides lives in the arena given. The order of use, for a step of one or more parts:
 *
 *   labels   sail__labels_draw      where the policy labels: after both passes, since it needs the margins
 *   prepare  sail__objective_prepare with all pairs of the step: baselines
 *   part     sail__pairs_build, sail__objective_loss, sail__pairs_weights, sail__metrics_pairs
 */
#ifndef SAIL_BATCH_H
#define SAIL_BATCH_H

#include "../base/base.h"
#include "../sail/objective.h"
#include "../sail/strategy.h"
#include "modifiers.h"

/* A step or a part of it. Arrays are in the layout's order; NULL where a comment allows it. */
typedef struct sail__batch {
    sail_layout layout; /* bounds of this part, counts of the step */
    int64_t first;      /* index in the step of the first pair here */
    int64_t step;       /* optimiser step, from 0 */
    uint64_t seed;
    double beta;       /* 1/nat */
    double max_margin; /* method.max_margin, nats; 0: none */
    sail_preference_model preference;
    const double *logp;       /* [tokens] log p(token) under the policy, nats */
    const double *ref;        /* [tokens] under the reference; NULL: 0 */
    const double *entropy;    /* [tokens] NULL: not known */
    const double *lss;        /* [tokens] log sum p^2; NULL: not known */
    const int32_t *outcome;   /* [pairs] NULL: slot 0 wins */
    const uint8_t *route;     /* [pairs] index into routes; NULL: all offline */
    const sail_route *routes; /* of the strategy at this step; coefficients as they are to be used */
    int n_routes;
    const double *baseline;     /* [pairs] from prepare; NULL: 0 */
    int32_t width;              /* of head; 0: 1 */
    const double *head;         /* [responses][width] scores of a reward model: they are the leaves then, and logp, ref, entropy, lss are not
                                 * read; NULL: a language model */
    const double *margin;       /* [pairs] of the data; NULL: 0 */
    const int64_t *prompt_id;   /* [pairs] NULL: all different */
    const int64_t *response_id; /* [responses] NULL: all different */
    int64_t step_chosen_tokens; /* tokens of all slots 0 in the step; 0: those counted here */
    const double *drawn; /* [tokens] log-probability under the distribution that was sampled; of what the policy did not write: logp. NULL:
                          * logp everywhere */
    sail__modifiers modifiers;
    const double *old_logp;        /* [tokens] under the policy that wrote the response; NULL: logp */
    const double *judge_score;     /* [responses] NaN: none; NULL: none at all */
    const uint8_t *response_writer; /* [responses] NULL: as the pair's route says */
    const uint8_t *desirable;      /* [responses] NULL: as the outcomes say */
    const int64_t *prompt_of_pair; /* [pairs + 1]: first of each pair's prompt tokens; NULL: not known */
    const double *prompt_logp;     /* log p of the prompts' tokens but their first ones */
    int64_t step_prompt_tokens;    /* in the whole step */
    const double *mismatched_rho;  /* [pairs] NULL: not known */
} sail__batch;

/* Resets the tape to the rows' layout and fills *out. rows->layout must stay where it is. */
sail_code sail__pairs_build(sail_arena *a, sail_tape *t, const sail__batch *rows, sail_pairs *out, sail_err *err);

/* Draw the labels of the pairs that the policy labels, into outcome[pairs]; other pairs keep what is there. A label is
 * a function of (seed, step, index of the pair in the step) and the scores. */
sail_code sail__labels_draw(const sail__batch *rows, int32_t *outcome, sail_err *err);

/* How many of k places a preference model with so many outcomes ranks. */
int sail__ranked_places(int outcomes, int k);

/* Slots of winner and loser of an outcome of k responses; false where nobody won. Of a ranking: first and last placed, or the lowest slot
 * that a truncated ranking left out. */
bool sail__outcome_sides(const sail_preference_model *m, int32_t outcome, int k, int *winner, int *loser);

/* The outcome with the roles of slots 0 and 1 swapped; ties and abstentions stay. outcomes: how many k responses have.
 */
int32_t sail__outcome_reversed(int32_t outcome, int k, int outcomes);

/* An objective chosen by a recipe. */
typedef struct sail__objective {
    const sail_objective *ops;
    const void *self;
    const char *name;
} sail__objective;

/* Fill baseline[pairs] from all pairs of the step (zeros where the objective has no prepare). state:
 * SAIL_OBJECTIVE_STATE doubles, kept in checkpoints. */
sail_code sail__objective_prepare(const sail__objective *o, sail_tape *t, const sail_pairs *b, double *state,
                                  double *baseline, sail_err *err);
/* Which pairs' log-probabilities prepare reads: mask[pairs]. False: none, prepare needs no forward pass. The rows' logp
 * and ref are not read. */
bool sail__objective_prepare_needs(sail_arena *a, const sail__objective *o, const sail__batch *rows, uint8_t *mask);

/* The loss of the part, and its derivatives. A loss that is not a number is SAIL_E_NUMERIC. */
sail_code sail__objective_loss(const sail__objective *o, sail_tape *t, const sail_pairs *b, sail_loss *out,
                               sail_err *err);
/* After sail__objective_loss: d loss / d of every token's value, [tokens] each; entropy and lss may be NULL. A
 * derivative that is not finite is SAIL_E_NUMERIC; the arrays are filled all the same. */
sail_code sail__pairs_weights(const sail_pairs *b, double *logp, double *entropy, double *lss, sail_err *err);
/* The same for the prompts' tokens, as many as prompt_of_pair says. */
sail_code sail__pairs_prompt_weights(const sail_pairs *b, double *out, sail_err *err);

/* The same of a score head: d loss / d score, [responses][width]. */
sail_code sail__pairs_score_weights(const sail_pairs *b, double *out, sail_err *err);

/* ---- metrics: sums over the parts of a step ---- */
typedef struct sail__metric {
    const char *name;  /* rewards/chosen, sail/flip_rate, … */
    double sum, count; /* value: sum / count; count 0: a total, the value is the sum */
} sail__metric;
typedef struct sail__metrics {
    sail_arena *arena; /* names are copied into it */
    sail__metric *items;
    size_t n, cap;
} sail__metrics; /* items: sail__free when done */

/* Add to the metric of that name (made at its first use). Adding count 0 to a mean changes nothing. */
sail_code sail__metrics_mean(sail__metrics *m, const char *name, double sum, double count, sail_err *err);
sail_code sail__metrics_total(sail__metrics *m, const char *name, double value, sail_err *err);
double sail__metric_value(const sail__metric *x);
/* NAN where there is none. */
double sail__metrics_get(const sail__metrics *m, const char *name);

/* TRL's names, for each pair as it was labelled (pairs that nobody won are left out of chosen and rejected):
 *   loss, rewards/{chosen,rejected,accuracies,margins} (where the objective does not report its own), logps/{chosen,rejected}, entropy,
 * objective/kl and objective/entropy (mean log-ratio and mean -log p of the responses that the policy wrote), objective/scores and
 * objective/scores_margin (of the judge: mean over responses; best less worst, mean over groups), completions/mean_length and
 * sail/log_ratio (of all responses; log-ratios only where there is a reference), sail/route_NAME (share of pairs, each as it counts in
 * means), sail/flip_rate (share of the pairs written by data and labelled by the policy whose label is not the data's), and the
 * objective's own. (The learner adds sail/importance and sail/ess, mean and effective share of the weights pi/mu of what the policy
 * wrote, and sail/replay_… of what came back from earlier steps; learner.h has those of diagnostics, trainer.h those of the guards.)
 * Of a reward model: no logps/, entropy, log-ratios. Of single responses: chosen are the desirable ones, rejected the others; no accuracies. loss may be NULL. A step
 * in which the policy wrote nothing has no objective/kl: the log-ratio on responses of others estimates no divergence of the policy's. */
sail_code sail__metrics_pairs(sail__metrics *m, const sail__batch *rows, const sail_pairs *b, const sail_loss *loss,
                              sail_err *err);

#endif
