/* parts.c - see parts.h. */
#include "parts.h"

#include <math.h>
#include <string.h>

#include "routes.h"

static void counts(const sail__step *s, sail_layout *l, int64_t *chosen_tokens)
{
    l->step_pairs = s->n;
    for (int64_t i = 0; i < s->n; i++) {
        const sail__group *g = &s->groups[i];
        l->step_responses += g->k;
        *chosen_tokens += g->r[0].n;
        for (int k = 0; k < g->k; k++)
            l->step_tokens += g->r[k].n;
    }
}

static void *need(sail__step *s, size_t n, size_t size, bool *ok)
{
    void *p = sail__arena_array(s->arena, n + 1, size);
    *ok = *ok && p;
    return p;
}

static void widen(double *to, const float *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = from ? (double)from[i] : 0;
}

/* The routes of the whole step, the same in each of its parts: those that its groups took, each once, with the coefficients
 * they were drawn with; after them, for the shares, those that the strategy has and nobody took. */
static sail_code routes_of(const sail__step *s, const sail__stage *live, sail_route *routes, int *n, uint8_t *of_group, sail_err *err)
{
    *n = 0;
    for (int64_t i = 0; i < s->n; i++) {
        const sail__group *g = &s->groups[i];
        int k = 0;
        while (k < *n && (routes[k].writer != g->writer || routes[k].labeller != g->labeller || routes[k].coefficient != g->coef ||
                          strcmp(routes[k].name, g->route) != 0))
            k++;
        if (k == SAIL_MAX_ROUTES)
            return sail_fail(err, SAIL_E_BUG, "more than %d routes in a step", SAIL_MAX_ROUTES);
        if (k == *n)
            routes[(*n)++] = (sail_route){.name = g->route, .writer = g->writer, .labeller = g->labeller, .coefficient = g->coef};
        of_group[i] = (uint8_t)k;
    }
    sail_route asked[SAIL_MAX_ROUTES];
    int n_asked = 0;
    SAIL_TRY(sail__routes_of(live, s->step, asked, &n_asked, err));
    for (int i = 0; i < n_asked && *n < SAIL_MAX_ROUTES; i++) {
        int k = 0;
        while (k < *n && strcmp(routes[k].name, asked[i].name) != 0)
            k++;
        if (k == *n)
            routes[(*n)++] = asked[i];
    }
    return SAIL_OK;
}

/* By how much the data say that the first response is better; 0 where they do not. */
static double margin_of(const sail__group *g)
{
    double d = g->k == 2 && g->writer == SAIL_BY_DATA && g->labeller == SAIL_BY_DATA ? g->r[0].score - g->r[1].score : 0;
    return isfinite(d) ? d : 0;
}

/* The judge's score of response k; where it only ranks, the share of the others that the response beat, 1/2 for a tie. NaN: no judge, or no
 * verdict. Scores that come with data stay as they are. */
static double judge_score(const sail__group *g, int k)
{
    const int n = sail__group_compared(g);
    int order[SAIL_MAX_RESPONSES];
    if (!isnan(g->r[k].score) || g->labeller != SAIL_BY_JUDGE || n < 2 || k >= n || g->outcome < 0)
        return g->r[k].score;
    if (n == 2)
        return g->outcome == SAIL_TIE ? 0.5 : g->outcome == k;
    if (!sail_outcome_ranking(g->outcome, n, n, order))
        return NAN;
    int place = 0;
    while (order[place] != k)
        place++;
    return (double)(n - 1 - place) / (n - 1);
}

/* What only some objectives are given. */
static sail_code add_extras(const sail__learner *l, sail__step *s, int64_t first, int64_t n, sail__step_part *p, sail_err *err)
{
    sail__batch *b = &p->batch;
    const int64_t responses = b->layout.responses, tokens = b->layout.tokens;
    bool ok = true, judged = false;
    double *old = need(s, (size_t)tokens, sizeof *old, &ok), *score = need(s, (size_t)responses, sizeof *score, &ok);
    double *beside = need(s, (size_t)n, sizeof *beside, &ok);
    uint8_t *wrote = need(s, (size_t)responses, sizeof *wrote, &ok), *desirable = need(s, (size_t)responses, sizeof *desirable, &ok);
    if (!ok)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for a batch of %lld tokens", (long long)tokens);
    int64_t r = 0, t = 0, n_prompt = 0;
    bool single = true, mismatched = n > 0;
    for (int64_t i = 0; i < n; i++) {
        const sail__group *g = &s->groups[first + i];
        mismatched = mismatched && g->mismatched;
        beside[i] = g->mismatched ? sail__log_ratio(&g->beside) : 0;
        n_prompt += g->n_prompt > 0 ? g->n_prompt - 1 : 0;
        single = single && g->k == 1;
        for (int k = 0; k < g->k; k++, r++) {
            const sail__response *y = &g->r[k];
            score[r] = judge_score(g, k);
            judged = judged || isfinite(score[r]);
            wrote[r] = (uint8_t)(y->writer ? y->writer : g->writer);
            desirable[r] = (uint8_t)g->desirable;
            for (int64_t j = 0; j < y->n; j++, t++)
                old[t] = y->old_logp && wrote[r] != SAIL_BY_DATA ? y->old_logp[j] : b->logp[t];
        }
    }
    b->old_logp = old;
    b->judge_score = judged ? score : NULL;
    b->response_writer = wrote;
    b->desirable = single ? desirable : NULL;
    b->mismatched_rho = mismatched ? beside : NULL;
    if (!l->passes.prompts)
        return SAIL_OK;
    int64_t *of_pair = need(s, (size_t)n + 1, sizeof *of_pair, &ok), at = 0;
    double *prompt = need(s, (size_t)n_prompt, sizeof *prompt, &ok);
    p->d_prompt = need(s, (size_t)n_prompt, sizeof *p->d_prompt, &ok);
    if (!ok)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for %lld prompt tokens", (long long)n_prompt);
    for (int64_t i = 0; i < n; i++) {
        const sail__group *g = &s->groups[first + i];
        of_pair[i] = at;
        for (int64_t j = 1; j < g->n_prompt; j++)
            prompt[at++] = g->prompt_logp ? g->prompt_logp[j] : 0;
    }
    of_pair[n] = at;
    b->prompt_of_pair = of_pair;
    b->prompt_logp = prompt;
    for (int64_t i = 0; i < s->n; i++)
        b->step_prompt_tokens += s->groups[i].n_prompt > 0 ? s->groups[i].n_prompt - 1 : 0;
    return SAIL_OK;
}

sail_code sail__step_part_make(const sail__learner *l, const sail__stage *live, sail__step *s, int64_t first, int64_t n, bool prior, sail__step_part *p,
                           sail_err *err)
{
    memset(p, 0, sizeof *p);
    sail__batch *b = &p->batch;
    b->layout.pairs = n;
    for (int64_t i = first; i < first + n; i++) {
        b->layout.responses += s->groups[i].k;
        for (int k = 0; k < s->groups[i].k; k++)
            b->layout.tokens += s->groups[i].r[k].n;
    }
    counts(s, &b->layout, &b->step_chosen_tokens);
    size_t pairs = (size_t)n, responses = (size_t)b->layout.responses, tokens = (size_t)b->layout.tokens;
    bool ok = true;
    int64_t *of_pair = need(s, pairs + 1, sizeof *of_pair, &ok), *of_response = need(s, responses + 1, sizeof *of_response, &ok);
    int64_t *prompt_id = need(s, pairs, sizeof *prompt_id, &ok), *response_id = need(s, responses, sizeof *response_id, &ok);
    double *v[5];
    for (int i = 0; i < 5; i++)
        v[i] = need(s, tokens, sizeof **v, &ok);
    for (int i = 0; i < 3; i++)
        p->d[i] = need(s, tokens, sizeof **v, &ok);
    const size_t width = l->passes.labels > 1 ? (size_t)l->passes.labels : 1;
    double *head = need(s, responses * width, sizeof *head, &ok), *margin = need(s, pairs, sizeof *margin, &ok);
    p->d_head = need(s, responses * width, sizeof *p->d_head, &ok);
    uint8_t *route = need(s, (size_t)s->n, sizeof *route, &ok);
    sail_route *routes = need(s, SAIL_MAX_ROUTES, sizeof *routes, &ok);
    p->outcome = need(s, pairs, sizeof *p->outcome, &ok);
    int32_t *compared = need(s, pairs, sizeof *compared, &ok);
    double *weight = need(s, pairs, sizeof *weight, &ok), whole = 0;
    if (!ok)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for a batch of %zu tokens", tokens);
    SAIL_TRY(routes_of(s, live, routes, &b->n_routes, route, err));
    int64_t r = 0, t = 0;
    bool entropy = true, lss = true;
    for (int64_t i = 0; i < n; i++) {
        const sail__group *g = &s->groups[first + i];
        of_pair[i] = r;
        prompt_id[i] = g->prompt_id;
        p->outcome[i] = g->outcome;
        margin[i] = margin_of(g);
        compared[i] = sail__group_compared(g);
        weight[i] = g->weight > 0 ? g->weight : 1;
        for (int k = 0; k < g->k; k++, r++) {
            const sail__response *y = &g->r[k];
            widen(head + (size_t)r * width, y->head, y->head ? (int64_t)width : 0);
            of_response[r] = t;
            response_id[r] = y->id;
            widen(v[0] + t, y->logp ? y->logp : prior ? y->old_logp : NULL, y->n);
            widen(v[1] + t, y->ref, y->n);
            widen(v[2] + t, y->entropy, y->n);
            widen(v[3] + t, y->lss, y->n);
            if ((y->writer ? y->writer : g->writer) == SAIL_BY_POLICY && y->drawn)
                widen(v[4] + t, y->drawn, y->n);
            else
                memcpy(v[4] + t, v[0] + t, (size_t)y->n * sizeof *v[4]);
            entropy = entropy && y->entropy;
            lss = lss && y->lss;
            t += y->n;
        }
    }
    of_pair[n] = r;
    of_response[r] = t;
    b->layout.response_of_pair = of_pair;
    b->layout.token_of_response = of_response;
    for (int64_t i = 0; i < s->n; i++) {
        const sail__group *g = &s->groups[i];
        whole += g->weight > 0 ? g->weight : 1;
        if (g->compared && g->compared < g->k)
            b->layout.compared = compared;
        if (g->weight > 0 && g->weight < 1)
            b->layout.pair_weight = weight;
    }
    b->layout.step_weight = whole;
    b->first = first;
    b->step = s->step;
    b->seed = s->seed;
    b->beta = live->method.beta;
    b->max_margin = live->method.max_margin;
    b->preference = sail__stage_preference(live);
    b->logp = v[0];
    b->ref = sail__stage_needs_reference(live) ? v[1] : NULL;
    b->head = l->passes.labels ? head : NULL;
    b->width = (int32_t)width;
    b->margin = margin;
    b->entropy = entropy ? v[2] : NULL;
    b->lss = lss ? v[3] : NULL;
    b->drawn = v[4];
    b->outcome = p->outcome;
    b->route = route + first;
    b->routes = routes;
    b->prompt_id = prompt_id;
    b->response_id = response_id;
    b->modifiers = live->modifiers;
    return add_extras(l, s, first, n, p, err);
}
