/* step.h - the pairs of one optimiser step, from prompt to weights.
 *
 * Floor: align. Threads: one. Ownership: everything in a step lives in its arena, reset every step. Responses are kept as token
 * ids beside their own prompt's ids from the rollout to the loss: there is no way through text. */
#ifndef SAIL_STEP_H
#define SAIL_STEP_H

#include "../base/base.h"
#include "../io/data.h"
#include "../sail/objective.h"

typedef struct sail__response {
    const int32_t *ids; /* end token included where there is one */
    int64_t n;
    const float *old_logp; /* kept by the rollout: under the policy at temperature 1; NULL: not written by the policy */
    const float *drawn;    /* … under the distribution that was sampled */
    float *logp, *ref, *entropy, *lss; /* [n] filled by the passes; NULL before */
    float *head; /* [labels] of a model with a score head, in their place */
    int64_t id;            /* equal for the same response in several groups; of written ones the last three bits are its slot */
    double score;          /* judge's, or the data's; NaN: none */
    int writer;            /* SAIL_BY_…; 0: as the group's */
} sail__response;

/* SAIL_DESIRABLE, …: of a row's one response. */
static inline int sail__row_desirability(const sail_row *row)
{
    return row->label > 0 ? SAIL_DESIRABLE : row->label < 0 ? SAIL_UNDESIRABLE : SAIL_UNLABELLED;
}

typedef struct sail__group { /* K responses to one prompt; K = 1 in fine-tuning */
    const int32_t *prompt;
    int64_t n_prompt;
    int64_t row;      /* of the data */
    int64_t prompt_id;
    int k;
    sail__response r[SAIL_MAX_RESPONSES];
    const char *route; /* static */
    int writer, labeller; /* SAIL_BY_… */
    double coef;
    int32_t outcome; /* drawn after the passes where the policy labels */
    bool flipped;    /* the policy's label says otherwise than the data's */
    bool ref_known;  /* r[].ref was filled from the cache */
    int desirable;   /* SAIL_DESIRABLE, …: of a single response, as the data label it */
    const sail__response *mismatched; /* another prompt's response, whose log-ratio after this prompt is asked for; NULL: it is not */
    sail__response beside;            /* … as it is after this prompt: filled by the passes, without a derivative */
    float *prompt_logp; /* [n_prompt] filled by the passes where the objective needs it; that of the first token is 0 */
    int compared;    /* of r, the first so many are what the label is about, the rest was written along with them; 0: all */
    double weight;   /* in means over the pairs of the step; 0: 1 */
    int64_t shared;  /* groups made of one prompt's responses have the same number, not 0, and follow one another */
    bool labelled;   /* a judge has been asked about it */
    bool replayed;   /* written by an earlier step's policy: r[].old_logp is not the policy's any more */
    int64_t age;     /* … that many steps ago */
    int8_t place[SAIL_MAX_RESPONSES]; /* while responses are chosen: the judge's ranking, see sail_candidates */
} sail__group;

/* How many of a group's responses the label is about. */
static inline int sail__group_compared(const sail__group *g) { return g->compared ? g->compared : g->k; }

/* log pi/ref of a response, nats; where there is no reference its log-probability, 0 before the passes. */
static inline double sail__log_ratio(const sail__response *r)
{
    double sum = 0;
    for (int64_t i = 0; r->logp && i < r->n; i++)
        sum += (double)r->logp[i] - (r->ref ? (double)r->ref[i] : 0);
    return sum;
}

/* A group of a row's prompt, without responses; and with those of the data, the best first, numbered from first_id on: k of them. All else
 * is zero. */
sail__group sail__group_of_prompt(const sail__rows *rows, int64_t row);
sail__group sail__group_of_row(const sail__rows *rows, int64_t row, int64_t first_id);

typedef struct sail__step {
    int64_t step; /* from 0 */
    uint64_t seed;
    sail_arena *arena;
    sail__group *groups;
    int64_t n;
    int64_t judged, tied, abstained; /* groups a judge was asked about, what it called a tie, and what it left open: the last are
                                      * not among groups */
    int64_t replayed;    /* prompts whose responses came back from an earlier step */
    bool outcomes_given; /* tests and replays: policy labels are taken as they are, not drawn */
} sail__step;

#endif
