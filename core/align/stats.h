/* stats.h - what judged comparisons amount to: win rates in both orders, intervals, length control.
 *
 * Floor: align. Pure functions of their arguments. Definitions: METHOD 7, golden/method/README (evaluation). */
#ifndef SAIL_STATS_H
#define SAIL_STATS_H

#include "../base/base.h"

/* A verdict from the model's side, whatever it was shown as. */
typedef enum sail__verdict_kind { SAIL__WIN, SAIL__TIE, SAIL__LOSS, SAIL__NO_VERDICT } sail__verdict_kind;
/* One prompt judged in both orders: [0] with the model's response shown first, [1] with it shown second. */
typedef struct sail__verdicts {
    uint8_t order[2]; /* sail__verdict_kind */
} sail__verdicts;

typedef struct sail__win_rate {
    int64_t prompts, judged;          /* judged: with a verdict in at least one order */
    int64_t wins, ties, losses, none; /* verdicts */
    double win_rate;                  /* mean score of the judged prompts (win 1, tie 1/2); NAN where there are none */
    double tie_rate, abstention_rate; /* of the verdicts; of all judgements asked for */
    double order_agreement;           /* of prompts with two verdicts: share with the same one; NAN: none */
    double first_position_share;      /* of decided verdicts: share won by what was shown first; NAN: none */
} sail__win_rate;

/* score[n] (may be NULL): each prompt's score, NAN where no order gave a verdict. */
void sail__win_rate_of(const sail__verdicts *v, int64_t n, double *score, sail__win_rate *out);

/* The authors' convention, for comparison with their tables: one order a prompt (order[i] 0 or 1), ties are losses. */
double sail__win_rate_authors(const sail__verdicts *v, int64_t n, const uint8_t *order);

/* A 95% interval of the mean of x[n] (prompts, so that both orders move together) by resampling. indices: [resamples *
 * n] positions in x, or NULL: drawn from (seed, SAIL_RNG_BOOTSTRAP). means: [resamples] or NULL. */
sail_code sail__bootstrap(const double *x, int64_t n, const int64_t *indices, int64_t resamples, uint64_t seed,
                          double *means, double *lower, double *upper, sail_err *err);

/* The q-quantile of n numbers in ascending order, linear between order statistics (position q (n - 1)). */
double sail__quantile(const double *sorted, int64_t n, double q);

/* The win rate at equal lengths: y ~ sigmoid(a + phi tanh(d / sd) + psi g), fitted with a ridge penalty; the figure is
 * the mean of sigmoid(a + psi g). y: scores in [0, 1]; d: the model's length less the other's; g: difficulty, or NULL.
 * Without a penalty there is no fit where one side wins everything: SAIL_E_NUMERIC. */
typedef struct sail__length_control {
    double sd, intercept, length, difficulty, win_rate;
} sail__length_control;
sail_code sail__length_controlled(const double *y, const double *d, const double *g, int64_t n, double ridge,
                                  sail__length_control *out, sail_err *err);

#endif
