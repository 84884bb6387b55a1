/* compare.h - the stage `eval`: models answer the same held-out prompts, and a judge compares the answers.
 *
 * Floor: align. Threads: one. Models are opened one after another. Several models under one name are seeds of one method:
 * what is told of a name is the mean over its seeds, with an interval that resamples seeds and prompts. */
#ifndef SAIL_COMPARE_H
#define SAIL_COMPARE_H

#include "evaluate.h"

typedef struct sail__contender {
    const char *name;
    sail__model_section *models; /* [n], paths as they are on disk */
    size_t n;
    bool baseline; /* the others are compared with it */
} sail__contender;

/* Seed s of a contender meets seed s of a baseline (counted round where one has fewer). scores[s] (n each; NAN: no verdict) are the
 * win scores of seed s. The mean of all, and a 95% interval: seeds drawn with replacement, then prompts, the same for all
 * seeds of a draw. */
sail_code sail__seeds_interval(const double *const *scores, size_t seeds, int64_t n, int64_t resamples, uint64_t seed, double *mean,
                               double *low, double *high, sail_err *err);

/* Metrics to the store at step 0: win_rate/A_vs_B with /low, /high, /length_controlled, /ties (and /one_order), of each two that meet
 * baseline B win_rate_difference/A_minus_C_vs_B with /low and /high (a paired bootstrap), completions/mean_length/A, completions/prompts (how many); responses side by
 * side as samples of kind "eval". Uses data.eval (or what is held out of data.train), eval.generate, eval.judge, eval.bootstrap,
 * eval.temperature. */
sail_code sail__compare_models(sail_ctx *ctx, const sail__stage *stage, const sail__contender *c, size_t n, sail__store *store,
                               sail__metrics *out, sail_err *err);

#endif
