/* evaluate.h - what a policy is worth on held-out data (METHOD 7).
 *
 * Floor: align. Threads: one. Results depend on the weights and the seed only, not on when they are asked for. */
#ifndef SAIL_EVALUATE_H
#define SAIL_EVALUATE_H

#include "learner.h"
#include "stats.h"
#include "stream.h"

typedef struct sail__evaluator { /* keeps the reference's responses, which never change */
    sail__stream *stream;
    sail__learner *learner;
    sail_arena *arena;
    sail__written *reference;
    size_t n_reference;
} sail__evaluator;

sail_code sail__evaluator_init(sail__evaluator *e, sail__stream *st, sail__learner *l, sail_err *err);
void sail__evaluator_free(sail__evaluator *e);

/* Metrics with eval_ before TRL's names: eval_loss, eval_rewards/…, eval_logps/…, and of fresh responses eval_objective/kl,
 * eval_completions/mean_length, of a reward model eval_calibration/error (calibration.h), eval_win_rate with eval_win_rate/low, /high, /ties, /length_controlled. step: of the samples
 * that go to the store. */
sail_code sail__evaluate(sail__evaluator *e, const sail__stage *live, int64_t step, sail__metrics *out, sail_err *err);

/* How a stage's evaluation has its responses written. */
sail__writing sail__evaluation_writing(const sail__stage *s, uint64_t key);

/* Win rate of responses a over b, to the same prompts in the same order, judged both ways. score: [n] or NULL. */
typedef struct sail__compared {
    sail__win_rate rate;
    double low, high, length_controlled; /* NAN where not to be had */
    double authors; /* by their convention: one order a prompt, drawn by the seed, ties are losses */
} sail__compared;
sail_code sail__compare(sail__stream *st, const sail_slot *judge, const sail__rows *rows, const sail__written *a, const sail__written *b,
                        int64_t n, int64_t resamples, double *score, sail__compared *out, sail_err *err);

#endif
