/* difficulty.c - prompts of a wanted difficulty, out of `pool` times as many as are used.
 * They are put in order by a measure, easy first, and the ones nearest to the quantile `target` are taken: 0 the easiest, 1 the hardest. A
 * schedule of `target` is a curriculum. Prompts without the measure (not yet learned from; no scores in the data) count as the middle. */
#include <math.h>
#include <sail/plugin.h>
#include <sail/strategy.h>
#include <stdlib.h>

enum { MARGIN, GAP, LENGTH };

struct difficulty {
    int64_t pool;
    int measure;
    double target;
};

static const char *const measures[] = {"margin", "gap", "length", NULL};
static const sail_opt opts[] = {
    SAIL_OPT_INT(struct difficulty, pool, .def = 4, .min = 1, .max = 1000, .help = "prompts looked at for each one used"),
    SAIL_OPT_CHOICE(struct difficulty, measure, .choices = measures, .def = MARGIN,
                    .help = "small margin when last learned from, small gap of the data's scores, or long prompt: hard"),
    SAIL_OPT_F64(struct difficulty, target, .def = 0.5, .min = 0, .max = 1, .flags = SAIL_OPT_SCHEDULABLE, .help = "quantile wanted: 0 easy, 1 hard"),
    {0},
};

typedef struct ranked {
    double hard;
    int64_t index;
} ranked;

static int easier(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    return x->hard != y->hard ? (x->hard < y->hard ? -1 : 1) : x->index < y->index ? -1 : x->index > y->index;
}

static sail_code plan(const void *self, int64_t step, sail_plan *p, sail_err *err)
{
    p->pool = ((const struct difficulty *)self)->pool;
    return SAIL_OK;
}

static sail_code prompts(const void *self, const sail_moment *at, const sail_prompt *p, int64_t n, int64_t want, int64_t *chosen, sail_err *err)
{
    const struct difficulty *o = self;
    ranked *r = calloc((size_t)n, sizeof *r), *known = calloc((size_t)n, sizeof *known);
    int64_t m = 0;
    for (int64_t i = 0; r && known && i < n; i++) {
        r[i] = (ranked){o->measure == LENGTH ? (double)p[i].tokens : o->measure == GAP ? -p[i].gap : -p[i].margin, i};
        if (!isnan(r[i].hard))
            known[m++] = r[i];
    }
    if (r && known) {
        qsort(known, (size_t)m, sizeof *known, easier);
        for (int64_t i = 0; i < n; i++)
            if (isnan(r[i].hard))
                r[i].hard = m ? known[m / 2].hard : 0;
        qsort(r, (size_t)n, sizeof *r, easier);
    }
    const int64_t first = (int64_t)(o->target * (double)(n - want) + 0.5);
    for (int64_t i = 0; r && known && i < want; i++)
        chosen[i] = r[first + i].index;
    const bool ok = r && known;
    free(r);
    free(known);
    return ok ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "no memory for %lld prompts", (long long)n);
}

static const sail_strategy ops = {.size = sizeof ops, .plan = plan, .prompts = prompts};
SAIL_PLUGIN(SAIL_KIND_STRATEGY, difficulty, "prompts of a wanted difficulty", "", struct difficulty, opts, &ops, 0)
