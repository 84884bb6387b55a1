/* uncertainty.c - the pairs about which the policy's own preference is least certain.
 * Of n responses to a prompt, the two with the largest entropy of q; of `pool` times as many prompts as are used, those whose margin was
 * the smallest when they were last learned from (prompts that have not been come first). */
#include <math.h>
#include <sail/plugin.h>
#include <sail/strategy.h>

struct uncertainty {
    int64_t n, pool;
};

static const sail_opt opts[] = {
    SAIL_OPT_INT(struct uncertainty, n, .def = 4, .min = 2, .max = SAIL_MAX_RESPONSES, .help = "responses written to a prompt"),
    SAIL_OPT_INT(struct uncertainty, pool, .def = 1, .min = 1, .max = 1000, .help = "prompts looked at for each one used"),
    {0},
};

static sail_code plan(const void *self, int64_t step, sail_plan *p, sail_err *err)
{
    const struct uncertainty *o = self;
    p->responses = (int32_t)o->n;
    p->pool = o->pool;
    return SAIL_OK;
}

static double certainty(const sail_prompt *p) { return isnan(p->margin) ? -1 : fabs(p->margin); }

static sail_code prompts(const void *self, const sail_moment *at, const sail_prompt *p, int64_t n, int64_t want, int64_t *chosen, sail_err *err)
{
    for (int64_t i = 0, held = 0; i < n; i++) { /* the `want` least certain so far, in order; of equals the first */
        int64_t j = held < want ? held++ : want;
        for (; j > 0 && certainty(&p[i]) < certainty(&p[chosen[j - 1]]); j--)
            if (j < want)
                chosen[j] = chosen[j - 1];
        if (j < want)
            chosen[j] = i;
    }
    return SAIL_OK;
}

static double entropy(const sail_candidates *c, int a, int b)
{
    double p[3] = {0}, h = 0;
    const double score[2] = {c->reward[a], c->reward[b]};
    sail_err err;
    if (c->preference.ops->outcomes(c->preference.self, 2) > 3 || sail_preference_probabilities(&c->preference, 2, score, p, &err) != SAIL_OK)
        return -1; /* a model of larger groups only, or of more than two wins and a tie: the first two */
    for (int i = 0; i < 3; i++)
        h -= p[i] > 0 ? p[i] * log(p[i]) : 0;
    return h;
}

static sail_code responses(const void *self, const sail_moment *at, const sail_candidates *c, int *slot, int *n, sail_err *err)
{
    double most = -2;
    for (int a = 0; a < c->k; a++)
        for (int b = a + 1; b < c->k; b++) {
            double h = entropy(c, a, b);
            if (h > most) {
                most = h;
                slot[0] = a;
                slot[1] = b;
            }
        }
    if (most == -2) { /* no entropy is a number */
        slot[0] = 0;
        slot[1] = 1;
    }
    *n = 2;
    return SAIL_OK;
}

static const sail_strategy ops = {.size = sizeof ops, .plan = plan, .prompts = prompts, .responses = responses};
SAIL_PLUGIN(SAIL_KIND_STRATEGY, uncertainty, "pairs and prompts with the largest entropy of the policy's preference", "", struct uncertainty,
            opts, &ops, SAIL_CAP_ONLINE | SAIL_CAP_REFERENCE)
