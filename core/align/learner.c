/* learner.c - the passes of an optimiser step and the objective between them.
 *
 * A step that fits one forward pass runs it once. One that does not runs each micro-batch forward, objective, backward in
 * turn; what couples the pairs (a baseline) is prepared beforehand from the log-probabilities that rollouts kept, or, where
 * those do not suffice, from a forward pass of the whole step first. */
#include "learner.h"

#include <math.h>
#include <string.h>

int sail__objective_grad_want(uint32_t caps)
{
    return (caps & SAIL_CAP_ENTROPY ? SAIL_WANT_ENTROPY : 0) | (caps & SAIL_CAP_LSS ? SAIL_WANT_LSS : 0);
}

sail_code sail__learner_init(sail__learner *l, sail__model *m, uint32_t objective_caps, sail_err *err)
{
    memset(l, 0, sizeof *l);
    sail__passes_init(&l->passes, m);
    l->grad_want = sail__objective_grad_want(objective_caps);
    l->want = l->grad_want | SAIL_WANT_ENTROPY; /* the entropy is a metric */
    l->tape = sail_tape_new(NULL);
    return l->tape ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

void sail__learner_free(sail__learner *l)
{
    sail__passes_free(&l->passes);
    sail_tape_free(l->tape);
    memset(l, 0, sizeof *l);
}

/* ---- groups as the plain arrays of a batch ---- */

typedef struct part {
    sail__batch batch;
    int32_t *outcome;
    double *d[3]; /* derivatives by token */
} part;

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

/* Routes of the step, each once, with their coefficients. */
static uint8_t route_index(const sail__group *g, sail_route *routes, int *n)
{
    int i = 0;
    while (i < *n && (routes[i].writer != g->writer || routes[i].labeller != g->labeller || routes[i].coefficient != g->coef ||
                      strcmp(routes[i].name, g->route) != 0))
        i++;
    if (i == *n && *n < SAIL_MAX_ROUTES)
        routes[(*n)++] = (sail_route){.name = g->route, .writer = g->writer, .labeller = g->labeller, .coefficient = g->coef};
    return (uint8_t)(i < SAIL_MAX_ROUTES ? i : SAIL_MAX_ROUTES - 1);
}

/* Groups [first, first + n). prior: take what the rollout kept where the policy's own pass has not been. */
static sail_code make_part(const sail__learner *l, const sail__stage *live, sail__step *s, int64_t first, int64_t n, bool prior, part *p,
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
    double *v[4];
    for (int i = 0; i < 4; i++)
        v[i] = need(s, tokens, sizeof **v, &ok);
    for (int i = 0; i < 3; i++)
        p->d[i] = need(s, tokens, sizeof **v, &ok);
    uint8_t *route = need(s, pairs, sizeof *route, &ok);
    sail_route *routes = need(s, SAIL_MAX_ROUTES, sizeof *routes, &ok);
    p->outcome = need(s, pairs, sizeof *p->outcome, &ok);
    if (!ok)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory for a batch of %zu tokens", tokens);
    int64_t r = 0, t = 0;
    bool entropy = true, lss = true;
    for (int64_t i = 0; i < n; i++) {
        const sail__group *g = &s->groups[first + i];
        of_pair[i] = r;
        prompt_id[i] = g->prompt_id;
        route[i] = route_index(g, routes, &b->n_routes);
        p->outcome[i] = g->outcome;
        for (int k = 0; k < g->k; k++, r++) {
            const sail__response *y = &g->r[k];
            of_response[r] = t;
            response_id[r] = y->id;
            widen(v[0] + t, y->logp ? y->logp : prior ? y->old_logp : NULL, y->n);
            widen(v[1] + t, y->ref, y->n);
            widen(v[2] + t, y->entropy, y->n);
            widen(v[3] + t, y->lss, y->n);
            entropy = entropy && y->entropy;
            lss = lss && y->lss;
            t += y->n;
        }
    }
    of_pair[n] = r;
    of_response[r] = t;
    b->layout.response_of_pair = of_pair;
    b->layout.token_of_response = of_response;
    b->first = first;
    b->step = s->step;
    b->seed = s->seed;
    b->beta = live->method.beta;
    b->max_margin = live->method.max_margin;
    b->preference = (sail_preference_model){live->preference.loaded->ops, live->preference.options, live->preference.loaded->plugin.name};
    b->logp = v[0];
    b->ref = live->objective.loaded->plugin.caps & SAIL_CAP_REFERENCE ? v[1] : NULL;
    b->entropy = entropy ? v[2] : NULL;
    b->lss = lss ? v[3] : NULL;
    b->outcome = p->outcome;
    b->route = route;
    b->routes = routes;
    b->prompt_id = prompt_id;
    b->response_id = response_id;
    return SAIL_OK;
}

static sail__objective objective_of(const sail__stage *live)
{
    return (sail__objective){live->objective.loaded->ops, live->objective.options, live->objective.loaded->plugin.name};
}

/* Labels of the pairs that the policy labels; those that `fixed` marks were drawn before and stay. */
static sail_code draw(sail__step *s, part *p, const uint8_t *fixed, sail_err *err)
{
    if (s->outcomes_given)
        return SAIL_OK;
    int64_t first = p->batch.first, n = p->batch.layout.pairs;
    SAIL_TRY(sail__labels_draw(&p->batch, p->outcome, err));
    for (int64_t i = 0; i < n; i++) {
        sail__group *g = &s->groups[first + i];
        if (fixed && fixed[first + i])
            p->outcome[i] = g->outcome;
        g->outcome = p->outcome[i];
        g->flipped = g->labeller == SAIL_BY_POLICY && g->writer == SAIL_BY_DATA && g->outcome == 1;
    }
    return SAIL_OK;
}

/* ---- the objective ---- */

/* Loss, derivatives into p->d, metrics. */
static sail_code lossy(sail__learner *l, const sail__stage *live, sail__step *s, part *p, const double *baseline, bool derive,
                       sail__metrics *metrics, double *loss, bool *numeric, sail_err *err)
{
    sail__objective o = objective_of(live);
    sail_pairs pairs;
    sail_loss out = {.size = sizeof out};
    p->batch.baseline = baseline ? baseline + p->batch.first : NULL;
    SAIL_TRY(sail__pairs_build(s->arena, l->tape, &p->batch, &pairs, err));
    sail_code code = sail__objective_loss(&o, l->tape, &pairs, &out, err);
    if (code == SAIL_E_NUMERIC) {
        *numeric = true;
        *loss = NAN;
        return SAIL_OK;
    }
    SAIL_TRY(code);
    *loss += sail_value_of(l->tape, out.loss)[0];
    if (derive) {
        code = sail__pairs_weights(&pairs, p->d[0], l->grad_want & SAIL_WANT_ENTROPY ? p->d[1] : NULL,
                                   l->grad_want & SAIL_WANT_LSS ? p->d[2] : NULL, err);
        if (code == SAIL_E_NUMERIC)
            *numeric = true;
        else
            SAIL_TRY(code);
    }
    return metrics ? sail__metrics_pairs(metrics, &p->batch, &pairs, &out, err) : SAIL_OK;
}

static sail_code prepare(sail__learner *l, const sail__stage *live, sail__step *s, part *whole, double *baseline, sail_err *err)
{
    sail__objective o = objective_of(live);
    sail_pairs pairs;
    if (!o.ops->prepare)
        return SAIL_OK;
    SAIL_TRY(sail__pairs_build(s->arena, l->tape, &whole->batch, &pairs, err));
    return sail__objective_prepare(&o, l->tape, &pairs, l->state, baseline, err);
}

static sail_code back(sail__learner *l, sail__step *s, const sail__micro *m, double *const d[3], int64_t offset, sail_err *err)
{
    return sail__passes_backward(&l->passes, s, m, d[0] + offset, l->grad_want & SAIL_WANT_ENTROPY ? d[1] + offset : NULL,
                                 l->grad_want & SAIL_WANT_LSS ? d[2] + offset : NULL, err);
}

/* ---- the three ways through a step ---- */

static sail_code in_one(sail__learner *l, const sail__stage *live, sail__step *s, const sail__micro *m, double *baseline,
                        sail__metrics *metrics, double *loss, bool *numeric, sail_err *err)
{
    part p;
    SAIL_TRY(sail__passes_forward(&l->passes, s, m, l->want, true, err));
    SAIL_TRY(make_part(l, live, s, 0, s->n, false, &p, err));
    SAIL_TRY(draw(s, &p, NULL, err));
    SAIL_TRY(prepare(l, live, s, &p, baseline, err));
    SAIL_TRY(lossy(l, live, s, &p, baseline, true, metrics, loss, numeric, err));
    return *numeric ? SAIL_OK : back(l, s, m, p.d, 0, err);
}

static sail_code forward_all(sail__learner *l, sail__step *s, const sail__micro *m, int64_t n, sail_err *err)
{
    for (int64_t i = 0; i < n; i++)
        SAIL_TRY(sail__passes_forward(&l->passes, s, &m[i], l->want, false, err));
    l->extra_forwards += n;
    return SAIL_OK;
}

/* The objective couples everything: one tape over the whole step, then each part again with its derivatives. */
static sail_code coupled(sail__learner *l, const sail__stage *live, sail__step *s, const sail__micro *m, int64_t n, double *baseline,
                         sail__metrics *metrics, double *loss, bool *numeric, sail_err *err)
{
    part p;
    SAIL_TRY(forward_all(l, s, m, n, err));
    SAIL_TRY(make_part(l, live, s, 0, s->n, false, &p, err));
    SAIL_TRY(draw(s, &p, NULL, err));
    SAIL_TRY(prepare(l, live, s, &p, baseline, err));
    SAIL_TRY(lossy(l, live, s, &p, baseline, true, metrics, loss, numeric, err));
    int64_t response = 0;
    for (int64_t i = 0; i < n && !*numeric; i++) {
        SAIL_TRY(sail__passes_forward(&l->passes, s, &m[i], l->want, true, err));
        SAIL_TRY(back(l, s, &m[i], p.d, p.batch.layout.token_of_response[response], err));
        response = p.batch.layout.response_of_pair[m[i].first + m[i].n];
    }
    return SAIL_OK;
}

/* Baselines before any derivative. fixed[i] is set for pairs whose label was drawn for it. */
static sail_code prepare_first(sail__learner *l, const sail__stage *live, sail__step *s, const sail__micro *m, int64_t n,
                               double *baseline, uint8_t *fixed, sail_err *err)
{
    sail__objective o = objective_of(live);
    part p;
    SAIL_TRY(make_part(l, live, s, 0, s->n, true, &p, err));
    if (!o.ops->prepare || !sail__objective_prepare_needs(s->arena, &o, &p.batch, fixed))
        return SAIL_OK;
    bool known = true;
    for (int64_t i = 0; i < s->n; i++)
        for (int k = 0; fixed[i] && k < s->groups[i].k; k++)
            known = known && s->groups[i].r[k].old_logp;
    if (!known) {
        SAIL_TRY(forward_all(l, s, m, n, err));
        SAIL_TRY(make_part(l, live, s, 0, s->n, true, &p, err));
        memset(fixed, 1, (size_t)s->n);
    }
    SAIL_TRY(draw(s, &p, NULL, err));
    return prepare(l, live, s, &p, baseline, err);
}

static sail_code in_parts(sail__learner *l, const sail__stage *live, sail__step *s, const sail__micro *m, int64_t n, double *baseline,
                          sail__metrics *metrics, double *loss, bool *numeric, sail_err *err)
{
    uint8_t *fixed = sail__arena_array(s->arena, (size_t)s->n + 1, sizeof *fixed);
    if (!fixed)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(prepare_first(l, live, s, m, n, baseline, fixed, err));
    for (int64_t i = 0; i < n; i++) {
        part p;
        SAIL_TRY(sail__passes_forward(&l->passes, s, &m[i], l->want, true, err));
        SAIL_TRY(make_part(l, live, s, m[i].first, m[i].n, false, &p, err));
        SAIL_TRY(draw(s, &p, fixed, err));
        SAIL_TRY(lossy(l, live, s, &p, baseline, true, metrics, loss, numeric, err));
        if (*numeric)
            return SAIL_OK;
        SAIL_TRY(back(l, s, &m[i], p.d, 0, err));
    }
    return SAIL_OK;
}

static sail_code reference(sail__learner *l, const sail__stage *live, sail__step *s, const sail__micro *m, int64_t n, sail_err *err)
{
    if (!(live->objective.loaded->plugin.caps & SAIL_CAP_REFERENCE))
        return SAIL_OK;
    for (int64_t i = 0; i < n; i++)
        SAIL_TRY(sail__passes_reference(&l->passes, s, &m[i], err));
    return SAIL_OK;
}

sail_code sail__learner_gradients(sail__learner *l, const sail__stage *live, sail__step *s, sail__metrics *metrics, double *loss,
                                  bool *numeric, sail_err *err)
{
    sail__micro *m;
    int64_t n;
    *loss = 0;
    *numeric = false;
    SAIL_TRY(sail__flat_zero_gradients(sail__model_flat(l->passes.model), err));
    if (s->n == 0)
        return SAIL_OK;
    SAIL_TRY(sail__passes_plan(s, live->train.micro_batch, live->train.max_tokens, &m, &n, err));
    SAIL_TRY(reference(l, live, s, m, n, err));
    double *baseline = sail__arena_array(s->arena, (size_t)s->n + 1, sizeof *baseline);
    if (!baseline)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (n == 1)
        return in_one(l, live, s, m, baseline, metrics, loss, numeric, err);
    if (live->objective.loaded->plugin.caps & SAIL_CAP_STEP)
        return coupled(l, live, s, m, n, baseline, metrics, loss, numeric, err);
    return in_parts(l, live, s, m, n, baseline, metrics, loss, numeric, err);
}

sail_code sail__learner_evaluate(sail__learner *l, const sail__stage *live, sail__step *s, sail__metrics *metrics, double *loss,
                                 sail_err *err)
{
    sail__micro *m;
    int64_t n;
    bool numeric = false;
    *loss = 0;
    SAIL_TRY(sail__passes_plan(s, live->train.micro_batch, live->train.max_tokens, &m, &n, err));
    SAIL_TRY(reference(l, live, s, m, n, err));
    for (int64_t i = 0; i < n; i++)
        SAIL_TRY(sail__passes_forward(&l->passes, s, &m[i], l->want, false, err));
    part p;
    SAIL_TRY(make_part(l, live, s, 0, s->n, false, &p, err));
    return lossy(l, live, s, &p, NULL, false, metrics, loss, &numeric, err);
}
