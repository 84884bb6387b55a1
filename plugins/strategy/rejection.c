/* rejection.c - responses accepted with probability exp((r - max r) / temperature): nearly from the policy that the rewards would make.
 * Source : statistical rejection sampling, arXiv 2309.06657, algorithm 1, among n responses to a prompt: the first two that are accepted
 *          make the pair; where fewer are, the best of the others take their places.
 * Needs  : the judge's scores on routes that it labels, else (and where it gives none) the implicit reward. */
#include <math.h>
#include <sail/plugin.h>
#include <sail/strategy.h>

struct rejection {
    int64_t n;
    double temperature;
};

static const sail_opt opts[] = {
    SAIL_OPT_INT(struct rejection, n, .def = 8, .min = 2, .max = SAIL_MAX_RESPONSES, .help = "responses written to a prompt"),
    SAIL_OPT_F64(struct rejection, temperature, .def = 1, .min = 1e-6, .max = 1e6, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "of the acceptance, in the reward's unit; small: the best only; large: any"),
    {0},
};

static sail_code plan(const void *self, int64_t step, sail_plan *p, sail_err *err)
{
    p->responses = (int32_t)((const struct rejection *)self)->n;
    p->judged = true;
    return SAIL_OK;
}

static sail_code responses(const void *self, const sail_moment *at, const sail_candidates *c, int *slot, int *n, sail_err *err)
{
    const struct rejection *o = self;
    const double *r = c->score, *u = c->reward;
    bool taken[SAIL_MAX_RESPONSES] = {false};
    *n = 0;
    for (int k = 0; k < c->k; k++)
        if (!isfinite(c->score[k]))
            r = u;
    double most = r[0];
    for (int k = 1; k < c->k; k++)
        most = fmax(most, r[k]);
    for (int k = 0; k < c->k && *n < 2; k++)
        if (sail_rng_uniform(at->seed, SAIL_RNG_CHOICE, (uint64_t)at->step, (uint64_t)at->index, (uint64_t)k) <= exp((r[k] - most) / o->temperature)) {
            slot[(*n)++] = k;
            taken[k] = true;
        }
    while (*n < 2) {
        int best = -1;
        for (int k = 0; k < c->k; k++)
            if (!taken[k] && (best < 0 || r[k] > r[best]))
                best = k;
        slot[(*n)++] = best;
        taken[best] = true;
    }
    return SAIL_OK;
}

static const sail_strategy ops = {.size = sizeof ops, .plan = plan, .responses = responses};
SAIL_PLUGIN(SAIL_KIND_STRATEGY, rejection, "responses accepted by their reward make the pair", "arXiv:2309.06657", struct rejection, opts, &ops,
            SAIL_CAP_ONLINE | SAIL_CAP_REFERENCE)
