/* best_of_n.c - of several responses to a prompt, the best and a worse one make the pair.
 * Source : best-of-n against worst-of-n, as in arXiv 2312.11456 (iterative preference learning), section 4; what was left aside counts in
 *          T1, so that the gradient is that of E log q(best over worse), responses from the policy (host: sail_strategy.responses).
 * Needs  : the judge's ranking on routes that it labels, else the implicit reward. */
#include <sail/plugin.h>
#include <sail/strategy.h>

enum { WORST, SECOND, ANY };

struct best_of_n {
    int64_t n;
    int against;
};

static const char *const others[] = {"worst", "second", "any", NULL};
static const sail_opt opts[] = {
    SAIL_OPT_INT(struct best_of_n, n, .def = 4, .min = 2, .max = SAIL_MAX_RESPONSES, .help = "responses written to a prompt"),
    SAIL_OPT_CHOICE(struct best_of_n, against, .choices = others, .def = WORST, .help = "what the best is paired with; any: one of the others by lot"),
    {0},
};

static sail_code plan(const void *self, int64_t step, sail_plan *p, sail_err *err)
{
    p->responses = (int32_t)((const struct best_of_n *)self)->n;
    p->judged = true;
    return SAIL_OK;
}

static bool before(const sail_candidates *c, int a, int b)
{
    return c->place[0] >= 0 ? c->place[a] < c->place[b] : c->reward[a] > c->reward[b];
}

static sail_code responses(const void *self, const sail_moment *at, const sail_candidates *c, int *slot, int *n, sail_err *err)
{
    const struct best_of_n *o = self;
    int order[SAIL_MAX_RESPONSES], second = o->against == WORST ? c->k - 1 : 1;
    for (int i = 0; i < c->k; i++) {
        int j = i;
        for (; j > 0 && before(c, i, order[j - 1]); j--)
            order[j] = order[j - 1];
        order[j] = i;
    }
    if (o->against == ANY)
        second = 1 + (int)sail_rng_below(at->seed, SAIL_RNG_CHOICE, (uint64_t)at->step, (uint64_t)at->index, 0, (uint64_t)(c->k - 1));
    slot[0] = order[0];
    slot[1] = order[second];
    *n = 2;
    return SAIL_OK;
}

static const sail_strategy ops = {.size = sizeof ops, .plan = plan, .responses = responses};
SAIL_PLUGIN(SAIL_KIND_STRATEGY, best_of_n, "of n responses the best against the worst, or another", "arXiv:2312.11456", struct best_of_n,
            opts, &ops, SAIL_CAP_ONLINE | SAIL_CAP_REFERENCE)
