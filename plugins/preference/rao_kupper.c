/* rao_kupper.c - paired comparisons with ties: a difference below a threshold is not seen.
 * Source  : Rao and Kupper, JASA 62 (1967).
 * Formula : P(1 over 2) = 1 / (1 + nu e^-m), P(tie) = (nu^2 - 1) P(1 over 2) P(2 over 1), m = s1 - s2. */
#include <math.h>
#include <sail/plugin.h>
#include <sail/preference.h>

struct rao_kupper {
    double nu;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct rao_kupper, nu, .def = 1.5, .min = 1, .max = 1e6, .help = "width of the tie; 1: no ties"),
    {0},
};

static int outcomes(const void *self, int k)
{
    return k == 2 ? 3 : 0;
}

static sail_var logprob(const void *self, sail_tape *t, int k, const sail_var *score, int outcome)
{
    const struct rao_kupper *o = self;
    sail_var margin = sail_sub(t, score[0], score[1]), threshold = sail_number(t, log(o->nu));
    sail_var first = sail_log_sigmoid(t, sail_sub(t, margin, threshold));
    sail_var second = sail_log_sigmoid(t, sail_sub(t, sail_neg(t, margin), threshold));
    if (outcome != SAIL_TIE)
        return outcome == 0 ? first : second;
    sail_var tie = sail_add(t, sail_add(t, first, second), sail_number(t, log((o->nu - 1) * (o->nu + 1))));
    return o->nu > 1 ? tie : sail_detach(t, tie); /* probability 0: -inf without a derivative */
}

static const sail_preference ops = {.size = sizeof ops, .outcomes = outcomes, .logprob = logprob};
SAIL_PLUGIN(SAIL_KIND_PREFERENCE, rao_kupper, "paired comparisons with ties by a threshold", "Rao and Kupper, 1967",
            struct rao_kupper, opts, &ops, SAIL_CAP_PAIRS)
