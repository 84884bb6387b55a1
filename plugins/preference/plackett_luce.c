/* plackett_luce.c - rankings as a sequence of choices, best first.
 * Source  : Plackett, Applied Statistics 24 (1975); Luce (1959).
 * Formula : P(ranking) = product over places j of exp(s_j) / sum of exp(s_i) over those not yet placed, scores divided
 * by the temperature. With two responses it is bradley_terry. Each factor is formed from differences of scores, so that
 * a factor near 1 keeps its digits. */
#include <sail/plugin.h>
#include <sail/preference.h>

struct plackett_luce {
    double temperature;
    int64_t top;
};

static const sail_opt opts[] = {
    SAIL_OPT_F64(struct plackett_luce, temperature, .def = 1, .min = 1e-6, .max = 1e6, .help = "divides the scores"),
    SAIL_OPT_INT(struct plackett_luce, top, .def = 0, .min = 0, .max = SAIL_MAX_RESPONSES,
                 .help = "how many places are ranked, of at least as many responses; 0: all"),
    {0},
};

static int places(const struct plackett_luce *o, int k)
{
    return o->top > 0 ? (int)o->top : k;
}

static int outcomes(const void *self, int k)
{
    const struct plackett_luce *o = self;
    int n = 1;
    if (o->top > k)
        return -(int)o->top; /* not so many responses */
    for (int j = 0; j < places(o, k); j++)
        n *= k - j;
    return n;
}

static sail_var logprob(const void *self, sail_tape *t, int k, const sail_var *score, int outcome)
{
    const struct plackett_luce *o = self;
    int order[SAIL_MAX_RESPONSES], top = places(o, k);
    bool placed[SAIL_MAX_RESPONSES] = {false};
    sail_outcome_ranking(outcome, k, top, order);
    sail_var scale = sail_number(t, 1 / o->temperature), total = sail_mul(t, score[0], sail_number(t, 0));
    for (int j = 0; j < top && j < k - 1; j++) { /* the last place is no choice */
        sail_var rivals = {-1};
        placed[order[j]] = true;
        for (int i = 0; i < k; i++) {
            if (placed[i])
                continue;
            sail_var ahead = sail_mul(t, sail_sub(t, score[i], score[order[j]]), scale);
            rivals = rivals.id <= 0 ? ahead : sail_logaddexp(t, rivals, ahead);
        }
        total = sail_sub(t, total, sail_softplus(t, rivals));
    }
    return total;
}

static const sail_preference ops = {.size = sizeof ops, .outcomes = outcomes, .logprob = logprob};
SAIL_PLUGIN(SAIL_KIND_PREFERENCE, plackett_luce, "rankings of two or more responses", "Plackett, 1975; Luce, 1959",
            struct plackett_luce, opts, &ops, SAIL_CAP_PAIRS)
