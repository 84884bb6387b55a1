/* davidson.c - paired comparisons with ties: a tie is as likely as the geometric mean of the wins, times nu.
 * Source  : Davidson, JASA 65 (1970).
 * Formula : P(1 over 2) ~ e^(m/2), P(2 over 1) ~ e^(-m/2), P(tie) ~ nu, m = s1 - s2. */
#include <math.h>
#include <sail/plugin.h>
#include <sail/preference.h>

struct davidson {
    double nu;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct davidson, nu, .def = 1, .min = 0, .max = 1e6, .help = "weight of a tie; 0: no ties"),
    {0},
};

static int outcomes(const void *self, int k)
{
    return k == 2 ? 3 : 0;
}

/* Each probability is 1 / (1 + ratios of the others to it). */
static sail_var logprob(const void *self, sail_tape *t, int k, const sail_var *score, int outcome)
{
    const struct davidson *o = self;
    sail_var half = sail_mul(t, sail_sub(t, score[0], score[1]), sail_number(t, 0.5)), nu = sail_number(t, log(o->nu));
    if (outcome == SAIL_TIE) {
        sail_var wins = sail_sub(t, sail_logaddexp(t, half, sail_neg(t, half)), nu);
        sail_var tie = sail_neg(t, sail_softplus(t, wins));
        return o->nu > 0 ? tie : sail_detach(t, tie); /* probability 0: -inf without a derivative */
    }
    sail_var lead = outcome == 0 ? half : sail_neg(t, half);
    sail_var rest = sail_logaddexp(t, sail_mul(t, lead, sail_number(t, -2)), sail_sub(t, nu, lead));
    return sail_neg(t, sail_softplus(t, rest));
}

static const sail_preference ops = {.size = sizeof ops, .outcomes = outcomes, .logprob = logprob};
SAIL_PLUGIN(SAIL_KIND_PREFERENCE, davidson, "paired comparisons with ties by a weight", "Davidson, 1970",
            struct davidson, opts, &ops, SAIL_CAP_PAIRS)
