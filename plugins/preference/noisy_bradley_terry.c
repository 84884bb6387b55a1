/* noisy_bradley_terry.c - Bradley-Terry whose labels are flipped at a known rate.
 * Source  : the model behind robust DPO, arXiv 2403.00409.
 * Formula : P(1 over 2) = (1 - epsilon) sigmoid(m) + epsilon sigmoid(-m), m = s1 - s2. */
#include <math.h>
#include <sail/plugin.h>
#include <sail/preference.h>

struct noisy {
    double epsilon;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct noisy, epsilon, .def = 0.1, .min = 0, .max = 0.4999, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "rate of flipped labels"),
    {0},
};

static int outcomes(const void *self, int k)
{
    return k == 2 ? 2 : 0;
}

static sail_var logprob(const void *self, sail_tape *t, int k, const sail_var *score, int outcome)
{
    const struct noisy *o = self;
    sail_var margin = sail_sub(t, score[outcome], score[1 - outcome]);
    sail_var kept = sail_add(t, sail_log_sigmoid(t, margin), sail_number(t, log1p(-o->epsilon)));
    if (o->epsilon == 0)
        return kept;
    sail_var flipped = sail_add(t, sail_log_sigmoid(t, sail_neg(t, margin)), sail_number(t, log(o->epsilon)));
    return sail_logaddexp(t, kept, flipped);
}

static const sail_preference ops = {.size = sizeof ops, .outcomes = outcomes, .logprob = logprob};
SAIL_PLUGIN(SAIL_KIND_PREFERENCE, noisy_bradley_terry, "bradley_terry with labels flipped at a known rate",
            "arXiv:2403.00409", struct noisy, opts, &ops, SAIL_CAP_PAIRS)
