/* thurstone.c - Thurstone's law of comparative judgement, Case V.
 * Source  : Thurstone, Psychological Review 34 (1927).
 * Formula : P(1 over 2) = Phi((s1 - s2) / (sqrt(2) scale)): each score is seen with normal noise of that scale. */
#include <sail/plugin.h>
#include <sail/preference.h>

struct thurstone {
    double scale;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct thurstone, scale, .def = 1, .min = 1e-6, .max = 1e6, .unit = "nats",
                 .help = "standard deviation of the noise on each score"),
    {0},
};

static int outcomes(const void *self, int k)
{
    return k == 2 ? 2 : 0;
}

static sail_var logprob(const void *self, sail_tape *t, int k, const sail_var *score, int outcome)
{
    const struct thurstone *o = self;
    sail_var margin = sail_sub(t, score[outcome], score[1 - outcome]);
    return sail_log_ndtr(t, sail_div(t, margin, sail_number(t, 1.41421356237309504880 * o->scale)));
}

static const sail_preference ops = {.size = sizeof ops, .outcomes = outcomes, .logprob = logprob};
SAIL_PLUGIN(SAIL_KIND_PREFERENCE, thurstone, "normal distribution function of the difference of scores",
            "Thurstone, 1927", struct thurstone, opts, &ops, SAIL_CAP_PAIRS)
