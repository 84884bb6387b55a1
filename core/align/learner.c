/* learner.c - the passes of an optimiser step and the objective between them.
 *
 * A step that fits one forward pass runs it once. One that does not runs each micro-batch forward, objective, backward in
 * turn; what couples the pairs (a baseline) is prepared beforehand from the log-probabilities that rollouts kept, or, where
 * those do not suffice, from a forward pass of the whole step first. */
#include "learner.h"

#include "coupling.h"
#include "mismatch.h"
#include "parts.h"

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
    l->passes.prompts = (objective_caps & SAIL_CAP_PROMPT) != 0;
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

/* Labels of the pairs that the policy labels; those that `fixed` marks were drawn before and stay. */
static sail_code draw(sail__step *s, sail__step_part *p, const uint8_t *fixed, sail_err *err)
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

/* What the three ways through a step share. */
typedef struct update {
    sail__learner *l;
    const sail__stage *live;
    sail__step *s;
    const sail__micro *m; /* [n] */
    int64_t n;
    double *baseline;       /* [pairs of the step] */
    sail__metrics *metrics; /* NULL: not wanted */
    double loss;
    struct {
        double sum, square, n;
    } weight, replayed; /* importance weights of the groups that the policy wrote, and of those that an earlier step's did */
    bool numeric; /* not finite: no gradient */
    bool couples; /* a part's loss depends on the step's other pairs: to be done over, as a whole */
} update;

/* How far the responses are from the policy's own distribution: pi/mu of each group that it wrote. */
static void weigh(update *u, const sail__step_part *p, const sail_pairs *b)
{
    if (b->logp.id <= 0) /* a reward model */
        return;
    const double *logp = sail_value_of(b->tape, b->whole_logp), *drawn = sail_value_of(b->tape, b->drawn);
    for (int64_t i = 0; i < b->n; i++) {
        double ratio = 0;
        for (int64_t k = p->batch.layout.response_of_pair[i]; k < p->batch.layout.response_of_pair[i + 1]; k++)
            ratio += logp[k] - drawn[k];
        double w = exp(fmin(ratio, 300)); /* its square is finite */
        if (b->writer[i] != SAIL_BY_POLICY || !isfinite(w))
            continue;
        u->weight.sum += w;
        u->weight.square += w * w;
        u->weight.n++;
        if (u->s->groups[p->batch.first + i].replayed) {
            u->replayed.sum += w;
            u->replayed.square += w * w;
            u->replayed.n++;
        }
    }
}

/* The effective sample size, as a share of the groups. */
static double ess(double sum, double square, double n) { return square > 0 ? sum * sum / square / n : 0; }

static sail_code tell_weights(const update *u, sail_err *err)
{
    int64_t age = 0;
    if (!u->metrics || u->weight.n == 0)
        return SAIL_OK;
    SAIL_TRY(sail__metrics_mean(u->metrics, "sail/importance", u->weight.sum, u->weight.n, err));
    SAIL_TRY(sail__metrics_mean(u->metrics, "sail/ess", ess(u->weight.sum, u->weight.square, u->weight.n), 1, err));
    if (u->replayed.n == 0)
        return SAIL_OK;
    for (int64_t i = 0; i < u->s->n; i++)
        age += u->s->groups[i].replayed ? u->s->groups[i].age : 0;
    SAIL_TRY(sail__metrics_mean(u->metrics, "sail/replayed", u->replayed.n, u->weight.n, err));
    SAIL_TRY(sail__metrics_mean(u->metrics, "sail/replay_age", (double)age, u->replayed.n, err));
    SAIL_TRY(sail__metrics_mean(u->metrics, "sail/replay_importance", u->replayed.sum, u->replayed.n, err));
    return sail__metrics_mean(u->metrics, "sail/replay_ess", ess(u->replayed.sum, u->replayed.square, u->replayed.n), 1, err);
}

/* Loss, derivatives into p->d, metrics. */
static sail_code lossy(update *u, sail__step_part *p, bool derive, sail_err *err)
{
    sail__learner *l = u->l;
    sail__objective o = sail__stage_objective(u->live);
    sail_pairs pairs;
    sail_loss out = {.size = sizeof out};
    p->batch.baseline = u->baseline ? u->baseline + p->batch.first : NULL;
    SAIL_TRY(sail__pairs_build(u->s->arena, l->tape, &p->batch, &pairs, err));
    sail_code code = sail__objective_loss(&o, l->tape, &pairs, &out, err);
    if (code == SAIL_E_NUMERIC) {
        u->numeric = true;
        u->loss = NAN;
        return SAIL_OK;
    }
    SAIL_TRY(code);
    if (p->batch.layout.pairs < u->s->n && sail__tape_couples(l->tape, out.loss)) {
        u->couples = true;
        return SAIL_OK;
    }
    u->loss += sail_value_of(l->tape, out.loss)[0];
    if (derive) {
        code = p->batch.head ? sail__pairs_score_weights(&pairs, p->d_head, err)
             : sail__pairs_weights(&pairs, p->d[0], l->grad_want & SAIL_WANT_ENTROPY ? p->d[1] : NULL,
                                   l->grad_want & SAIL_WANT_LSS ? p->d[2] : NULL, err);
        if (code == SAIL_OK && p->d_prompt)
            code = sail__pairs_prompt_weights(&pairs, p->d_prompt, err);
        if (code == SAIL_E_NUMERIC)
            u->numeric = true;
        else
            SAIL_TRY(code);
    }
    weigh(u, p, &pairs);
    return u->metrics ? sail__metrics_pairs(u->metrics, &p->batch, &pairs, &out, err) : SAIL_OK;
}

static sail_code prepare(const update *u, sail__step_part *whole, sail_err *err)
{
    sail__objective o = sail__stage_objective(u->live);
    sail_pairs pairs;
    if (!o.ops->prepare)
        return SAIL_OK;
    SAIL_TRY(sail__pairs_build(u->s->arena, u->l->tape, &whole->batch, &pairs, err));
    return sail__objective_prepare(&o, u->l->tape, &pairs, u->l->state, u->baseline, err);
}

static sail_code forward(const update *u, int64_t i, sail__pass pass, sail_err *err)
{
    return sail__passes_forward(&u->l->passes, u->s, &u->m[i], u->l->want, pass, err);
}

/* The derivatives of p, which begins with group `first`, for micro-batch i. */
static sail_code back(const update *u, int64_t i, const sail__step_part *p, sail_err *err)
{
    const sail__batch *b = &p->batch;
    const int64_t pair = u->m[i].first - b->first, at = b->layout.token_of_response[b->layout.response_of_pair[pair]];
    int want = u->l->grad_want;
    if (b->head)
        return sail__passes_scores_backward(&u->l->passes, &u->m[i], p->d_head + b->layout.response_of_pair[pair] * b->width, err);
    return sail__passes_backward(&u->l->passes, u->s, &u->m[i], p->d[0] + at, want & SAIL_WANT_ENTROPY ? p->d[1] + at : NULL,
                                 want & SAIL_WANT_LSS ? p->d[2] + at : NULL, p->d_prompt ? p->d_prompt + b->prompt_of_pair[pair] : NULL, err);
}

/* ---- the three ways through a step ---- */

static sail_code in_one(update *u, sail_err *err)
{
    sail__step_part p;
    SAIL_TRY(forward(u, 0, SAIL__PASS_TRAIN, err));
    SAIL_TRY(sail__step_part_make(u->l, u->live, u->s, 0, u->s->n, false, &p, err));
    SAIL_TRY(draw(u->s, &p, NULL, err));
    SAIL_TRY(prepare(u, &p, err));
    SAIL_TRY(lossy(u, &p, true, err));
    return u->numeric ? SAIL_OK : back(u, 0, &p, err);
}

static sail_code forward_all(const update *u, sail_err *err)
{
    for (int64_t i = 0; i < u->n; i++)
        SAIL_TRY(forward(u, i, SAIL__PASS_PROBE, err));
    u->l->extra_forwards += u->n;
    return SAIL_OK;
}

/* The objective couples everything: one tape over the whole step, then each part again with its derivatives. */
static sail_code coupled(update *u, sail_err *err)
{
    sail__step_part p;
    SAIL_TRY(forward_all(u, err));
    SAIL_TRY(sail__step_part_make(u->l, u->live, u->s, 0, u->s->n, false, &p, err));
    SAIL_TRY(draw(u->s, &p, NULL, err));
    SAIL_TRY(prepare(u, &p, err));
    SAIL_TRY(lossy(u, &p, true, err));
    for (int64_t i = 0; i < u->n && !u->numeric; i++) {
        SAIL_TRY(forward(u, i, SAIL__PASS_TRAIN, err));
        SAIL_TRY(back(u, i, &p, err));
    }
    return SAIL_OK;
}

/* Baselines before any derivative. fixed[i] is set for pairs whose label was drawn for it. */
static sail_code prepare_first(const update *u, uint8_t *fixed, sail_err *err)
{
    sail__objective o = sail__stage_objective(u->live);
    sail__step *s = u->s;
    sail__step_part p;
    if (!o.ops->prepare)
        return SAIL_OK;
    SAIL_TRY(sail__step_part_make(u->l, u->live, s, 0, s->n, true, &p, err));
    if (!sail__objective_prepare_needs(s->arena, &o, &p.batch, fixed))
        return SAIL_OK;
    bool known = !sail__model_has_dropout(u->l->passes.model); /* rollouts are written without */
    for (int64_t i = 0; i < s->n; i++)
        for (int k = 0; fixed[i] && k < s->groups[i].k; k++)
            known = known && s->groups[i].r[k].old_logp && !s->groups[i].mismatched && !s->groups[i].replayed;
    if (!known) {
        SAIL_TRY(forward_all(u, err));
        SAIL_TRY(sail__step_part_make(u->l, u->live, s, 0, s->n, true, &p, err));
        memset(fixed, 1, (size_t)s->n);
    }
    SAIL_TRY(draw(s, &p, NULL, err));
    return prepare(u, &p, err);
}

static sail_code in_parts(update *u, sail_err *err)
{
    uint8_t *fixed = sail__arena_array(u->s->arena, (size_t)u->s->n + 1, sizeof *fixed);
    if (!fixed)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(prepare_first(u, fixed, err));
    for (int64_t i = 0; i < u->n; i++) {
        sail__step_part p;
        SAIL_TRY(forward(u, i, SAIL__PASS_TRAIN, err));
        SAIL_TRY(sail__step_part_make(u->l, u->live, u->s, u->m[i].first, u->m[i].n, false, &p, err));
        SAIL_TRY(draw(u->s, &p, fixed, err));
        SAIL_TRY(lossy(u, &p, true, err));
        if (u->numeric || u->couples)
            return SAIL_OK;
        SAIL_TRY(back(u, i, &p, err));
    }
    return SAIL_OK;
}

/* In parts, until one shows that the objective couples them; then, and from then on, as a whole. */
static sail_code cut(update *u, sail_err *err)
{
    sail__learner *l = u->l;
    if (!l->couples && !(u->live->objective.loaded->plugin.caps & SAIL_CAP_STEP)) {
        double state[SAIL_OBJECTIVE_STATE];
        size_t n_metrics = u->metrics ? u->metrics->n : 0;
        memcpy(state, l->state, sizeof state);
        SAIL_TRY(in_parts(u, err));
        if (!u->couples)
            return SAIL_OK;
        l->couples = true;
        memcpy(l->state, state, sizeof state);
        if (u->metrics)
            u->metrics->n = n_metrics; /* those of pairs are made by the parts */
        u->loss = 0;
        memset(&u->weight, 0, sizeof u->weight);
        memset(&u->replayed, 0, sizeof u->replayed);
        SAIL_TRY(sail__flat_zero_gradients(sail__model_flat(l->passes.model), err));
    }
    return coupled(u, err);
}

static sail_code reference(sail__learner *l, const sail__stage *live, sail__step *s, const sail__micro *m, int64_t n, sail_err *err)
{
    if (!sail__stage_needs_reference(live))
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
    if (live->objective.loaded->plugin.caps & SAIL_CAP_MISMATCHED)
        sail__mismatch(s);
    SAIL_TRY(sail__passes_plan(s, live->train.micro_batch, live->train.max_tokens, &m, &n, err));
    SAIL_TRY(reference(l, live, s, m, n, err));
    double *baseline = sail__arena_array(s->arena, (size_t)s->n + 1, sizeof *baseline);
    if (!baseline)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    l->baseline = baseline;
    update u = {.l = l, .live = live, .s = s, .m = m, .n = n, .baseline = baseline, .metrics = metrics};
    SAIL_TRY(n == 1 ? in_one(&u, err) : cut(&u, err));
    SAIL_TRY(tell_weights(&u, err));
    *loss = u.loss;
    *numeric = u.numeric;
    return SAIL_OK;
}

sail_code sail__learner_evaluate(sail__learner *l, const sail__stage *live, sail__step *s, sail__metrics *metrics, double *loss,
                                 sail_err *err)
{
    sail__micro *m;
    int64_t n;
    if (live->objective.loaded->plugin.caps & SAIL_CAP_MISMATCHED)
        sail__mismatch(s);
    SAIL_TRY(sail__passes_plan(s, live->train.micro_batch, live->train.max_tokens, &m, &n, err));
    SAIL_TRY(reference(l, live, s, m, n, err));
    for (int64_t i = 0; i < n; i++)
        SAIL_TRY(sail__passes_forward(&l->passes, s, &m[i], l->want, SAIL__PASS_EVAL, err));
    sail__step_part p;
    double state[SAIL_OBJECTIVE_STATE], *baseline = sail__arena_array(s->arena, (size_t)s->n + 1, sizeof *baseline);
    update u = {.l = l, .live = live, .s = s, .baseline = baseline, .metrics = metrics};
    if (!baseline)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(sail__step_part_make(l, live, s, 0, s->n, false, &p, err));
    memcpy(state, l->state, sizeof state); /* held-out pairs leave no trace in what training remembers */
    sail_code code = prepare(&u, &p, err);
    memcpy(l->state, state, sizeof state);
    SAIL_TRY(code);
    SAIL_TRY(lossy(&u, &p, false, err));
    *loss = u.loss;
    return SAIL_OK;
}
