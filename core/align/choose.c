/* choose.c - see choose.h. */
#include "choose.h"

#include <math.h>
#include <string.h>

#include "batch.h"
#include "judging.h"

static const sail_strategy *strategy_of(const sail__stage *live) { return live->strategy.loaded ? live->strategy.loaded->ops : NULL; }
static const char *name_of(const sail__stage *live) { return live->strategy.loaded->plugin.name; }

sail_code sail__plan_of(const sail__stage *live, int64_t step, sail_plan *out, sail_err *err)
{
    const sail_strategy *s = strategy_of(live);
    *out = (sail_plan){.size = sizeof *out, .responses = (int32_t)live->rollout.responses, .pool = 1};
    if (!s || !s->plan)
        return SAIL_OK;
    if (s->plan(live->strategy.options, step, out, err) != SAIL_OK)
        return sail_fail_in(err, "strategy %s, step %lld", name_of(live), (long long)step);
    if (out->responses < 2 || out->responses > SAIL_MAX_RESPONSES)
        return sail_fail(err, SAIL_E_PLUGIN, "strategy %s wants %d responses to a prompt; 2 to %d are possible", name_of(live), (int)out->responses,
                         SAIL_MAX_RESPONSES);
    if (out->pool < 1 || out->pool > 1000000 || (out->pool > 1 && !s->prompts))
        return sail_fail(err, SAIL_E_PLUGIN, "strategy %s looks at %lld prompts for each one used; it must be 1, or more with a function that chooses",
                         name_of(live), (long long)out->pool);
    if (!(out->replay >= 0 && out->replay <= 1) || out->keep < 0 || out->age < 0)
        return sail_fail(err, SAIL_E_PLUGIN, "strategy %s: a share of %g replayed, %lld prompts kept for %lld steps; the share is from 0 to 1, the others "
                         "at least 0", name_of(live), out->replay, (long long)out->keep, (long long)out->age);
    return SAIL_OK;
}

bool sail__choice_reads_verdicts(const sail__stage *live, const sail_plan *plan)
{
    return plan->judged || (live->rollout.pairing == SAIL__PAIR_BEST_WORST && plan->responses > 2);
}

bool sail__choice_reads_rewards(const sail__stage *live)
{
    const sail_strategy *s = strategy_of(live);
    return (s && s->responses && (live->strategy.loaded->plugin.caps & SAIL_CAP_REFERENCE)) || live->rollout.pairing == SAIL__PAIR_BEST_WORST;
}

/* ---- prompts ---- */

sail_code sail__choose_prompts(const sail__stage *live, const sail__step *step, const sail_prompt *prompts, int64_t n, int64_t want,
                               int64_t *chosen, sail_err *err)
{
    const sail_moment at = {.step = step->step, .index = -1, .seed = step->seed};
    uint8_t *taken = sail__arena_alloc(step->arena, (size_t)n + 1);
    if (!taken)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for %lld prompts", (long long)n);
    memset(taken, 0, (size_t)n);
    for (int64_t i = 0; i < want; i++)
        chosen[i] = -1;
    if (strategy_of(live)->prompts(live->strategy.options, &at, prompts, n, want, chosen, err) != SAIL_OK)
        return sail_fail_in(err, "strategy %s, step %lld", name_of(live), (long long)step->step);
    for (int64_t i = 0; i < want; i++) {
        if (chosen[i] < 0 || chosen[i] >= n || taken[chosen[i]])
            return sail_fail(err, SAIL_E_PLUGIN, "strategy %s, step %lld: choice %lld of %lld prompts is %lld; they are different numbers from 0 to %lld",
                             name_of(live), (long long)step->step, (long long)i, (long long)want, (long long)chosen[i], (long long)n - 1);
        taken[chosen[i]] = 1;
    }
    return SAIL_OK;
}

/* ---- verdicts ---- */

void sail__places(const sail_verdict *v, int k, int8_t *place)
{
    int order[SAIL_MAX_RESPONSES];
    memset(place, -1, SAIL_MAX_RESPONSES);
    if (v->outcome == SAIL_ABSTAIN)
        return;
    if (k == 2 && v->outcome == SAIL_TIE) {
        place[0] = place[1] = 0;
        return;
    }
    if (!sail_outcome_ranking(v->outcome, k, k == 2 ? 1 : k, order))
        return;
    if (k == 2)
        order[1] = 1 - order[0];
    for (int j = 0; j < k; j++) {
        const double a = v->score[order[j]], b = j ? v->score[order[j - 1]] : NAN;
        place[order[j]] = a == b ? place[order[j - 1]] : (int8_t)j;
    }
}

static void winner_first(sail__group *g)
{
    if (g->outcome != 1 || sail__group_compared(g) != 2)
        return;
    sail__response t = g->r[0];
    g->r[0] = g->r[1];
    g->r[1] = t;
    g->outcome = 0;
}

void sail__settle(const sail__stage *live, const sail__step *step, int64_t i, int32_t outcome, sail__group *g)
{
    const sail_preference *ops = live->preference.loaded ? live->preference.loaded->ops : NULL;
    const int k = sail__group_compared(g);
    g->outcome = outcome;
    if (outcome != SAIL_ABSTAIN && ops && k > 2) {
        int order[SAIL_MAX_RESPONSES];
        const int top = sail__ranked_places(ops->outcomes(live->preference.options, k), k);
        g->outcome = sail_outcome_ranking(outcome, k, k, order) ? sail_outcome_of_ranking(order, k, top) : SAIL_ABSTAIN;
    } else if (outcome == SAIL_TIE && ops && k == 2 && ops->outcomes(live->preference.options, k) <= SAIL_TIE) {
        g->outcome = sail_rng_uniform(step->seed, SAIL_RNG_ORDER, (uint64_t)step->step, (uint64_t)i, 0) < 0.5 ? 0 : 1;
    }
    winner_first(g);
}

/* ---- responses ---- */

typedef struct chooser {
    const sail__stage *live;
    sail__step *step;
    sail__group *groups; /* what is learned from */
    int64_t n;
} chooser;

static double sum(const float *x, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; x && i < n; i++)
        s += (double)x[i];
    return s;
}

static void rewards_of(const sail__stage *live, const sail__group *g, double *logp, double *reward)
{
    for (int k = 0; k < g->k; k++) {
        logp[k] = sum(g->r[k].old_logp, g->r[k].n);
        reward[k] = live->method.beta * (logp[k] - sum(g->r[k].ref, g->r[k].n));
    }
}

/* The strategy's choice; all where it has none. */
static sail_code kept(const chooser *c, const sail__group *g, int *slot, int *n, sail_err *err)
{
    const sail_strategy *s = strategy_of(c->live);
    double logp[SAIL_MAX_RESPONSES], reward[SAIL_MAX_RESPONSES], score[SAIL_MAX_RESPONSES];
    int64_t tokens[SAIL_MAX_RESPONSES];
    int place[SAIL_MAX_RESPONSES];
    bool taken[SAIL_MAX_RESPONSES] = {false};
    *n = g->k;
    for (int k = 0; k < g->k; k++)
        slot[k] = k;
    if (!s || !s->responses)
        return SAIL_OK;
    rewards_of(c->live, g, logp, reward);
    for (int k = 0; k < g->k; k++) {
        tokens[k] = g->r[k].n;
        score[k] = g->r[k].score;
        place[k] = g->labelled ? g->place[k] : -1;
    }
    const sail_moment at = {.step = c->step->step, .index = g->prompt_id, .seed = c->step->seed};
    const sail_candidates x = {.size = sizeof x, .k = g->k, .route = g->route, .writer = g->writer, .labeller = g->labeller,
                               .preference = sail__stage_preference(c->live), .tokens = tokens, .logp = logp,
                               .reward = c->live->strategy.loaded->plugin.caps & SAIL_CAP_REFERENCE ? reward : NULL,
                               .score = score, .place = place};
    if (s->responses(c->live->strategy.options, &at, &x, slot, n, err) != SAIL_OK)
        return sail_fail_in(err, "strategy %s, prompt %lld of step %lld", name_of(c->live), (long long)g->prompt_id, (long long)c->step->step);
    for (int k = 0; k < *n && *n <= g->k; k++) {
        if (slot[k] < 0 || slot[k] >= g->k || taken[slot[k]])
            return sail_fail(err, SAIL_E_PLUGIN, "strategy %s chooses response %d of %d to prompt %lld of step %lld; slots are different numbers from 0 to %d",
                             name_of(c->live), slot[k], g->k, (long long)g->prompt_id, (long long)c->step->step, g->k - 1);
        taken[slot[k]] = true;
    }
    if (*n < 2 || *n > g->k)
        return sail_fail(err, SAIL_E_PLUGIN, "strategy %s chooses %d of %d responses to prompt %lld of step %lld; it must be 2 or more of them",
                         name_of(c->live), *n, g->k, (long long)g->prompt_id, (long long)c->step->step);
    return SAIL_OK;
}

/* Best and worst of the slots, to the front: by the judge's ranking, or by the implicit reward. Of equals the first and the last. */
static void extremes(const sail__stage *live, const sail__group *g, int *slot, int n)
{
    double logp[SAIL_MAX_RESPONSES], reward[SAIL_MAX_RESPONSES];
    int best = 0, worst = n - 1;
    rewards_of(live, g, logp, reward);
    for (int i = 0; i < n; i++) {
        const double now = g->labelled ? -g->place[slot[i]] : reward[slot[i]];
        if (now > (g->labelled ? -g->place[slot[best]] : reward[slot[best]]))
            best = i;
        const int j = n - 1 - i;
        if ((g->labelled ? -g->place[slot[j]] : reward[slot[j]]) < (g->labelled ? -g->place[slot[worst]] : reward[slot[worst]]))
            worst = j;
    }
    const int first = slot[best], second = slot[worst == best ? (best + 1) % n : worst];
    slot[0] = first;
    slot[1] = second;
}

/* A group of n of g's responses. aside: a choice left out others, which count in T1. */
static sail_code emit(chooser *c, const sail__group *g, const int *slot, int n, bool aside, double weight, sail_err *err)
{
    sail__group *out = &c->groups[c->n];
    const sail_preference *model = c->live->preference.loaded->ops;
    bool in[SAIL_MAX_RESPONSES] = {false};
    if (model->outcomes(c->live->preference.options, n) <= 0)
        return sail_fail(err, SAIL_E_RECIPE, "preference model %s does not rank %d responses: rollout.pairing: all or best_worst, or a model that "
                         "does, such as plackett_luce", c->live->preference.loaded->plugin.name, n);
    *out = *g;
    out->k = out->compared = n;
    out->weight = weight;
    for (int i = 0; i < n; i++) {
        out->r[i] = g->r[slot[i]];
        in[slot[i]] = true;
    }
    if (aside && g->coef > 0 && (c->live->objective.loaded->plugin.caps & SAIL_CAP_ONLINE))
        for (int i = 0; i < g->k; i++)
            if (!in[i])
                out->r[out->k++] = g->r[i];
    if (g->labelled) { /* the judge's ranking of these */
        double worth[SAIL_MAX_RESPONSES];
        for (int i = 0; i < n; i++)
            worth[i] = -g->place[slot[i]];
        const int32_t outcome = sail__outcome_of_scores(worth, n, 0);
        c->step->tied += n == 2 && outcome == SAIL_TIE;
        sail__settle(c->live, c->step, c->n, outcome, out);
    }
    c->n++;
    return SAIL_OK;
}

static sail_code choose_of(chooser *c, const sail__group *g, sail_err *err)
{
    int slot[SAIL_MAX_RESPONSES], n;
    if (g->labelled && g->place[0] < 0) {
        c->step->abstained++;
        return SAIL_OK;
    }
    SAIL_TRY(kept(c, g, slot, &n, err));
    bool aside = n < g->k;
    const int pairing = c->live->rollout.pairing;
    if (pairing == SAIL__PAIR_BEST_WORST && n > 2) {
        extremes(c->live, g, slot, n);
        n = 2;
        aside = true;
    }
    if (pairing != SAIL__PAIR_ALL || n == 2)
        return emit(c, g, slot, n, aside, 1, err);
    for (int a = 0; a < n; a++)
        for (int b = a + 1; b < n; b++)
            SAIL_TRY(emit(c, g, (int[]){slot[a], slot[b]}, 2, aside, 2.0 / (n * (n - 1)), err));
    return SAIL_OK;
}

sail_code sail__choose(const sail__stage *live, sail__step *step, sail_err *err)
{
    const sail_strategy *s = strategy_of(live);
    bool any = false;
    size_t most = 1;
    for (int64_t i = 0; i < step->n; i++) {
        const sail__group *g = &step->groups[i];
        most += (size_t)(g->k > 2 ? g->k * (g->k - 1) / 2 : 1);
        any = any || (g->writer == SAIL_BY_POLICY && !g->replayed && (g->k > 2 || g->labelled || (s && s->responses)));
    }
    if (!any)
        return SAIL_OK;
    chooser c = {.live = live, .step = step, .groups = sail__arena_array(step->arena, most, sizeof *c.groups)};
    if (!c.groups)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for %lld prompts", (long long)step->n);
    for (int64_t i = 0; i < step->n; i++) {
        sail__group *g = &step->groups[i];
        if (g->writer != SAIL_BY_POLICY || g->replayed) {
            c.groups[c.n++] = *g;
            continue;
        }
        g->shared = g->prompt_id + 1;
        SAIL_TRY(choose_of(&c, g, err));
    }
    step->groups = c.groups;
    step->n = c.n;
    return SAIL_OK;
}
