/* objective.h - objectives: a loss on token log-probabilities.
 *
 * Floor: align. An objective is a plugin of kind SAIL_KIND_OBJECTIVE whose ops point to a sail_objective. It knows nothing
 * of devices or models: the model's backward pass takes the derivatives of its loss as weights. Callbacks run on the
 * training thread; what they get is valid during the call only. */
#ifndef SAIL_OBJECTIVE_H
#define SAIL_OBJECTIVE_H

#include "preference.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Who wrote the responses and who labelled them. Of a pair: data or policy writes; of a single response also the reference or the
 * mixture of both (rollout.rival). */
enum { SAIL_BY_DATA, SAIL_BY_POLICY, SAIL_BY_JUDGE, SAIL_BY_REFERENCE, SAIL_BY_MIXTURE };
enum { SAIL_LABELS_SAMPLED, SAIL_LABELS_EXPECTED };
/* What is known of a response by itself. Of pairs: the winner is desirable, the loser is not, a tie says nothing. */
enum { SAIL_UNLABELLED, SAIL_DESIRABLE, SAIL_UNDESIRABLE };

/* One side of two-response pairs: slot 0 (`chosen`) or slot 1 (`rejected`), the winner and the loser where data or judge labelled; where
 * the policy did, sail_labelled_sides tells. Every member a PAIR value. */
typedef struct sail_side {
    sail_var logp;   /* log pi(y|x), nats: sum over the response's tokens */
    sail_var ref;    /* the same under the reference (0 without SAIL_CAP_REFERENCE) */
    sail_var rho;    /* logp - ref */
    sail_var score;  /* implicit reward, nats: beta * rho; under another divergence than reverse KL beta * f'(pi/ref), up to a constant */
    sail_var length; /* tokens */
} sail_side;

/* A batch: the whole optimiser step or a part of it. In the stage `reward` the leaves are the scores of a model's head, and there are no
 * log-probabilities: token_…, logp, ref and rho are no values. Elsewhere leaves that carry derivatives: token_logp, token_entropy, token_lss
 * (the latter two only with the capability). Of two responses slot 0 is the winner as data or judge labelled it; where the policy labels,
 * the order of slots means nothing and `outcome` says who won. */
typedef struct sail_pairs {
    uint32_t size;
    sail_tape *tape;
    const sail_layout *layout;
    int64_t n;     /* pairs here; layout->step_pairs in the step */
    int64_t first; /* index in the step of the first pair here */
    double beta;   /* 1/nat */
    sail_preference_model preference;

    sail_var token_logp, token_ref, token_entropy, token_lss; /* TOKEN */
    sail_var logp, ref, rho, scores, length;                  /* RESPONSE */
    sail_side chosen, rejected; /* valid when every pair has exactly two responses (has_sides) */
    bool has_sides;

    const int32_t *outcome, *reversed; /* [n]; reversed: slots 0 and 1 with roles swapped; a tie stays */
    const uint8_t *writer, *labeller;  /* [n] SAIL_BY_… */
    const double *coef_written;        /* [n] the route's c where the policy wrote the responses, else 0 */
    const double *coef_labelled;       /* [n] the route's c where the policy drew the label, else 0 */
    const double *baseline;            /* [n] from prepare; 0 without */
    const double *kl_slack;            /* reserved, NULL */
    const int64_t *prompt_id;          /* [n] pairs of one prompt share it: they may share responses */
    const int64_t *response_id;        /* [responses] equal for a response that occurs in several pairs */
    int64_t step_chosen_tokens;        /* in the whole step */
    int64_t step;                      /* optimiser step, from 0 */
    uint64_t seed;
    double max_margin; /* bound on the margin that enters terms beside the likelihood, nats; 0: none */
    /* TOKEN and RESPONSE: log-probability under the distribution that a response was really drawn from: at a temperature, under filters,
     * from an earlier step's policy. No derivative. Of responses that the policy did not write: the value of logp as it is now, so that the ratio is 1
     * and its derivative is logp's. */
    sail_var token_drawn, drawn;
    /* What the preference model compares: `width` numbers a response, RESPONSE each. One, the scores, but for reward models with a head of
     * vectors: scores is then half of log q(1 over 2) - log q(2 over 1), and minus that. Since ABI 1.1 */
    int32_t width;
    const sail_var *head;
    sail_var margin;   /* PAIR, a constant: by how much the data say that slot 0 leads (score_chosen - score_rejected); 0 where they do
                        * not say. Since ABI 1.1 */

    sail_var judge_scores;    /* RESPONSE, no derivative: what the judge (or the data) gave, NaN where nothing; id -1: nobody gave any */
    sail_var token_old;       /* TOKEN, no derivative: log p under the policy of the rollout; as it is now where there was none */
    const uint8_t *response_writer; /* [responses] SAIL_BY_… */
    sail_var whole_logp;      /* RESPONSE: log pi(y|x) of all tokens alike, whatever ld_alpha makes of logp: the score function's */
    sail_var token_prompt;    /* ANY, a leaf: log p of all prompts' tokens but their first ones. SAIL_CAP_PROMPT */
    sail_var prompt_logp;     /* PAIR, with derivative: sum of log p over the prompt's tokens but its first. SAIL_CAP_PROMPT */
    int64_t step_prompt_tokens; /* that many in the whole step */
    sail_var mismatched_rho;  /* PAIR, no derivative: log-ratio of another prompt's response after this prompt. SAIL_CAP_MISMATCHED */
    const uint8_t *desirable; /* [responses] SAIL_DESIRABLE, … */
} sail_pairs;

/* The sides as labelled: the winner's and the loser's by `outcome`; slots 0 and 1 where nobody won. decided (PAIR): 1 where
 * somebody won, 0 at ties and abstentions, to multiply a loss per pair with. The tape fails unless every pair has two
 * responses. Any of the three may be NULL. */
void sail_labelled_sides(sail_tape *t, const sail_pairs *b, sail_side *winner, sail_side *loser, sail_var *decided);

/* Baselines of score-function terms: for each pair the mean of v over the other pairs of the step that count and share no response with it;
 * where there is none (the policy wrote one pair, or all pairs are made of the same responses), or without leave_one_out, the moving mean of
 * the steps before: neither depends on the responses that it is multiplied with. counts: [n] the pairs whose v is told. state: two doubles
 * of the objective's own, 0 at the start; this step is taken in. Since ABI 1.1 */
void sail_baselines(const sail_pairs *b, const uint8_t *counts, const double *v, bool leave_one_out, double decay, double *state, double *baseline);

enum { SAIL_MAX_METRICS = 32 };
/* SCALAR: minus the mean log p of a token of the responses in slot 0 (the chosen ones), over the whole step; nats a token. */
sail_var sail_chosen_nll(sail_tape *t, const sail_pairs *b);

typedef struct sail_loss {
    uint32_t size;
    sail_var loss;     /* SCALAR; to be minimised; required */
    sail_var per_pair; /* PAIR, for reports; id -1: none */
    int n_metrics;     /* extra metrics: PAIR values are averaged over the step, SCALAR ones summed over its parts */
    struct {
        const char *name; /* lives as long as the plugin; shown as sail/NAME unless it has a '/'; "/NAME" is shown as NAME. A name that the
                           * host reports by itself (rewards/chosen, …) is reported as given here instead */
        sail_var value;
    } metrics[SAIL_MAX_METRICS];
} sail_loss;
void sail_loss_metric(sail_loss *out, const char *name, sail_var value);
/* Report rewards/… and logps/… from these PAIR values, for an objective whose rewards are not beta * rho. log_ratio, logp: of the chosen
 * response, of the rejected one. log_ratio stands in rho's place, before beta: it is multiplied here. */
void sail_loss_rewards(sail_tape *t, sail_loss *out, double beta, const sail_var log_ratio[2], const sail_var logp[2]);

/* What an objective may have to be cautioned about. */
typedef struct sail_circumstances {
    uint32_t size;
    bool policy_writes; /* a route on which the policy writes is taken */
    bool off_policy;    /* what it writes is drawn from another distribution than its own: a temperature, filters, an earlier step's */
} sail_circumstances;

enum { SAIL_OBJECTIVE_STATE = 16 };
typedef struct sail_objective {
    uint32_t size; /* sizeof(sail_objective) */

    /* Errors: sail_tape_fail says what was wrong; a bare code has only its short text. */

    /* The loss of the pairs in b, as its share of the step's (use sail_mean, which divides by the step's counts). */
    sail_code (*loss)(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out);

    /* Optional. Called once a step before any derivative, with all pairs of the step; log-probabilities are values known
     * so far (kept by the rollout, or of a first forward pass): fill baseline[b->n] (0 on entry). t may be used. state: SAIL_OBJECTIVE_STATE doubles,
     * zero at the start, kept in checkpoints. */
    sail_code (*prepare)(const void *self, sail_tape *t, const sail_pairs *b, double *state, double *baseline);

    /* Optional: which pairs' log-probabilities prepare reads: mask[n] is 1 on entry, to be set to 0 for those it does not. Without
     * it: all. Lets the trainer skip a forward pass where rollouts have already given them. b->tape is NULL and its sail_vars are no
     * values then. */
    void (*prepare_needs)(const void *self, const sail_pairs *b, uint8_t *mask);

    /* Optional: what a user should know of this objective in such circumstances and what would be better, one sentence in lower case; NULL:
     * nothing. Asked every step, told once. Static text. */
    const char *(*caution)(const void *self, const sail_circumstances *c);
} sail_objective;

#ifdef __cplusplus
}
#endif
#endif
