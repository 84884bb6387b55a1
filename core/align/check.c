/* check.c - derivatives against central differences. */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../sail/plugin.h"
#include "../sail/rng.h"
#include "tape_internal.h"

enum { PAIRS = 8, MAX_TOKENS = 5, MOST = PAIRS * SAIL_MAX_RESPONSES, PROMPT = 3 };
static const double STEP = 1e-4, TOLERANCE = 1e-6, KINK = 1e-3;

/* A function of x[n] on a tape: its value and, when grad is not NULL, its derivatives. */
typedef sail_code function(void *user, const double *x, double *value, double *grad, sail_err *err);

static sail_code at(function *f, void *user, double *x, int64_t i, double by, double *value, sail_err *err)
{
    double was = x[i];
    x[i] = was + by;
    sail_code c = f(user, x, value, NULL, err);
    x[i] = was;
    return c;
}

/* Central differences with two steps, extrapolated; where the two disagree the function has a kink. Returns false there. */
static sail_code difference(function *f, void *user, double *x, int64_t i, double scale, double *out, bool *smooth, sail_err *err)
{
    double v[4];
    for (int k = 0; k < 4; k++)
        SAIL_TRY(at(f, user, x, i, (k % 2 ? -1 : 1) * (k < 2 ? STEP : STEP / 2), &v[k], err));
    double wide = (v[0] - v[1]) / (2 * STEP), narrow = (v[2] - v[3]) / STEP;
    *out = (4 * narrow - wide) / 3;
    *smooth = fabs(wide - narrow) <= KINK * scale;
    return SAIL_OK;
}

static void describe(sail__check *out, double derivative, double difference, double deviation, const char *where)
{
    if (out->compared > 1 && deviation <= out->largest)
        return;
    out->largest = deviation;
    out->derivative = derivative;
    out->difference = difference;
    snprintf(out->where, sizeof out->where, "%s", where);
}

static sail_code compare(function *f, void *user, double *x, const double *grad, int64_t n,
                         void (*name)(void *user, int64_t i, char *text, size_t size), sail__check *out, sail_err *err)
{
    double scale = 1e-8;
    for (int64_t i = 0; i < n; i++)
        scale = fmax(scale, fabs(grad[i]));
    for (int64_t i = 0; i < n; i++) {
        double d;
        bool smooth;
        SAIL_TRY(difference(f, user, x, i, scale, &d, &smooth, err));
        if (!smooth) {
            out->kinks++;
            continue;
        }
        char where[160];
        name(user, i, where, sizeof where);
        out->compared++;
        describe(out, grad[i], d, fabs(grad[i] - d) / scale, where);
    }
    return SAIL_OK;
}

static void judge(sail__check *out)
{
    out->ok = out->compared > 0 && out->largest <= TOLERANCE && out->kinks <= out->compared;
    if (out->ok)
        return;
    if (out->compared == 0 || out->kinks > out->compared)
        snprintf(out->message, sizeof out->message, "the loss has a kink almost everywhere (%lld of %lld)", (long long)out->kinks,
                 (long long)(out->kinks + out->compared));
    else
        snprintf(out->message, sizeof out->message, "the derivative with respect to %s is %.9g on the tape, %.9g by differences",
                 out->where, out->derivative, out->difference);
}

/* ---- objectives ---- */

typedef struct batch {
    sail_arena *arena; /* of one build */
    sail_tape *tape;
    sail__frozen frozen;
    const sail__objective *o;
    sail__batch rows;
    int k, inputs; /* responses of a group; 1 to 3 arrays of tokens one after the other, then the prompts' */
    int64_t n_prompt; /* 0: not asked for */
    bool entropy, lss;
    int64_t of_pair[PAIRS + 1], of_response[MOST + 1], response_id[MOST], prompt_of_pair[PAIRS + 1];
    int32_t outcome[PAIRS];
    uint8_t route[PAIRS], wrote[MOST];
    double ref[MOST * MAX_TOKENS], old[MOST * MAX_TOKENS], baseline[PAIRS], judged[MOST], mismatched[PAIRS];
    double x[3 * MOST * MAX_TOKENS + PAIRS * PROMPT], grad[3 * MOST * MAX_TOKENS + PAIRS * PROMPT];
} batch;

static double draw(uint64_t seed, int64_t i, uint64_t what) { return sail_rng_uniform(seed, SAIL_RNG_USER, (uint64_t)i, what, 0); }

static void fill(batch *b, const sail__checked_method *c, uint64_t seed)
{
    sail_layout *l = &b->rows.layout;
    int outcomes = c->preference.ops->outcomes(c->preference.self, b->k);
    for (int64_t i = 0; i < PAIRS; i++) {
        b->of_pair[i + 1] = (i + 1) * b->k;
        b->prompt_of_pair[i + 1] = (i + 1) * PROMPT;
        b->route[i] = c->n_routes ? (uint8_t)(i % c->n_routes) : 0;
        b->outcome[i] = outcomes > 0 ? (int32_t)(draw(seed, i, 1) * outcomes) : 0;
        b->mismatched[i] = 2 * draw(seed, i, 8) - 0.5;
    }
    for (int64_t r = 0; r < PAIRS * b->k; r++) {
        const sail_route *route = c->n_routes ? &c->routes[b->route[r / b->k]] : NULL;
        b->of_response[r + 1] = b->of_response[r] + 1 + (int64_t)(draw(seed, r, 2) * MAX_TOKENS);
        b->response_id[r] = r;
        b->judged[r] = route && route->labeller == SAIL_BY_JUDGE ? 3 * draw(seed, r, 9) : NAN;
        b->wrote[r] = (uint8_t)(route ? route->writer : SAIL_BY_DATA);
        if (c->rival && b->wrote[r] == SAIL_BY_POLICY && r % b->k == b->k - 1)
            b->wrote[r] = (uint8_t)c->rival;
    }
    *l = (sail_layout){PAIRS, PAIRS * b->k, b->of_response[PAIRS * b->k], b->of_pair, b->of_response, PAIRS, PAIRS * b->k,
                       b->of_response[PAIRS * b->k]};
    for (int64_t t = 0; t < l->tokens; t++) {
        b->x[t] = -0.1 - 3 * draw(seed, t, 3);
        b->ref[t] = -0.1 - 3 * draw(seed, t, 4);
        b->old[t] = b->x[t] + 0.6 * (draw(seed, t, 11) - 0.5); /* some ratios lie beyond what is usually clipped */
        b->x[l->tokens + t] = 0.2 + 2 * draw(seed, t, 5);     /* entropy, or log sum p^2 where only that is asked for */
        b->x[2 * l->tokens + t] = -0.2 - 2 * draw(seed, t, 6);
    }
    for (int64_t t = 0; t < b->n_prompt; t++)
        b->x[b->inputs * l->tokens + t] = -0.1 - 3 * draw(seed, t, 10);
    b->rows.ref = b->ref;
    b->rows.old_logp = b->old;
    b->rows.outcome = b->outcome;
    b->rows.route = c->n_routes ? b->route : NULL;
    b->rows.routes = c->routes;
    b->rows.n_routes = c->n_routes;
    b->rows.response_id = b->response_id;
    b->rows.response_writer = b->wrote;
    b->rows.judge_score = b->judged;
    b->rows.mismatched_rho = b->mismatched;
    b->rows.prompt_of_pair = b->n_prompt ? b->prompt_of_pair : NULL;
    b->rows.step_prompt_tokens = b->n_prompt;
    b->rows.baseline = b->baseline;
    b->rows.preference = c->preference;
    b->rows.modifiers = c->modifiers;
    b->rows.beta = c->beta;
    b->rows.max_margin = c->max_margin;
    b->rows.seed = seed;
}

static sail_code build(batch *b, const double *x, sail_pairs *p, sail_err *err)
{
    int64_t n = b->rows.layout.tokens;
    b->rows.logp = x;
    b->rows.entropy = b->entropy ? x + n : NULL;
    b->rows.lss = b->lss ? x + (b->entropy ? 2 : 1) * n : NULL;
    b->rows.prompt_logp = x + b->inputs * n;
    sail__arena_reset(b->arena);
    return sail__pairs_build(b->arena, b->tape, &b->rows, p, err);
}

static sail_code loss(void *user, const double *x, double *value, double *grad, sail_err *err)
{
    batch *b = user;
    int64_t n = b->rows.layout.tokens;
    sail_pairs p;
    sail_loss l = {.size = sizeof l, .per_pair = {-1}};
    SAIL_TRY(build(b, x, &p, err));
    b->frozen.replay = !grad;
    b->frozen.next = 0;
    if (grad)
        b->frozen.n = 0;
    b->tape->frozen = &b->frozen;
    sail_code c = sail__objective_loss(b->o, b->tape, &p, &l, err);
    b->tape->frozen = NULL;
    SAIL_TRY(c);
    if (b->frozen.failed)
        return sail_fail(err, SAIL_E_NOMEM, "%s: what it detaches cannot be held still", b->o->name);
    *value = *sail_value_of(b->tape, l.loss);
    if (grad && b->n_prompt)
        SAIL_TRY(sail__pairs_prompt_weights(&p, grad + b->inputs * n, err));
    if (grad)
        SAIL_TRY(sail__pairs_weights(&p, grad, b->entropy ? grad + n : NULL, b->lss ? grad + (b->entropy ? 2 : 1) * n : NULL, err));
    return SAIL_OK;
}

static void token_name(void *user, int64_t i, char *text, size_t size)
{
    const batch *b = user;
    int64_t n = b->rows.layout.tokens, t = i % n, r = 0;
    if (i >= b->inputs * n) {
        snprintf(text, size, "log p of token %lld of the prompts", (long long)(i - b->inputs * n + 1));
        return;
    }
    while (b->of_response[r + 1] <= t)
        r++;
    const char *what = i < n ? "log p" : i < 2 * n && b->entropy ? "the entropy" : "log sum p^2";
    const char *route = b->rows.route ? b->rows.routes[b->route[r / b->k]].name : "offline";
    snprintf(text, size, "%s of token %lld of response %lld of pair %lld (route %s)", what, (long long)(t - b->of_response[r] + 1),
             (long long)(r % b->k + 1), (long long)(r / b->k + 1), route);
}

static sail_code check_batch(batch *b, sail__check *out, sail_err *err)
{
    sail_pairs p;
    double state[SAIL_OBJECTIVE_STATE] = {0}, value;
    SAIL_TRY(build(b, b->x, &p, err));
    SAIL_TRY(sail__objective_prepare(b->o, b->tape, &p, state, b->baseline, err));
    SAIL_TRY(loss(b, b->x, &value, b->grad, err));
    SAIL_TRY(compare(loss, b, b->x, b->grad, b->inputs * b->rows.layout.tokens + b->n_prompt, token_name, out, err));
    judge(out);
    return SAIL_OK;
}

sail_code sail__objective_check(const sail__objective *o, uint32_t caps, const sail__checked_method *method, uint64_t seed, sail__check *out,
                                sail_err *err)
{
    const sail_preference_model *m = &method->preference;
    memset(out, 0, sizeof *out);
    batch *b = sail__calloc(1, sizeof *b);
    sail_code c = SAIL_OK;
    if (b) {
        b->arena = sail__arena_new();
        b->tape = sail_tape_new(NULL);
    }
    if (!b || !b->arena || !b->tape) {
        c = sail_fail(err, SAIL_E_NOMEM, "no memory to check %s", o->name);
    } else {
        b->o = o;
        b->k = method->responses ? method->responses : m->ops->outcomes(m->self, 2) > 0 ? 2 : 3;
        b->entropy = caps & SAIL_CAP_ENTROPY;
        b->lss = caps & SAIL_CAP_LSS;
        b->inputs = 1 + b->entropy + b->lss;
        b->n_prompt = caps & SAIL_CAP_PROMPT ? PAIRS * PROMPT : 0;
        if (!method->responses && m->ops->outcomes(m->self, b->k) <= 0) {
            c = sail_fail(err, SAIL_E_OPTION, "preference model %s applies neither to two nor to three responses", m->name);
        } else {
            fill(b, method, seed);
            c = check_batch(b, out, err);
        }
    }
    if (b) {
        sail_tape_free(b->tape);
        sail__arena_free(b->arena);
        sail__free(b->frozen.values);
    }
    sail__free(b);
    return c;
}

/* ---- preference models ---- */

typedef struct scores {
    const sail_preference_model *m;
    sail_tape *tape;
    int k, width, outcome;
} scores;

static sail_code log_q(void *user, const double *x, double *value, double *grad, sail_err *err)
{
    scores *s = user;
    sail_var slot[SAIL_MAX_RESPONSES * SAIL_MAX_WIDTH];
    const int n = s->k * s->width;
    sail_tape_reset(s->tape, NULL);
    for (int i = 0; i < n; i++)
        slot[i] = sail_tape_leaf(s->tape, SAIL_SCALAR, 1, &x[i]);
    sail_var q = s->m->ops->logprob(s->m->self, s->tape, s->k, slot, s->outcome);
    if (sail_tape_status(s->tape) == SAIL_OK && grad)
        sail_tape_backward(s->tape, q);
    if (sail_tape_status(s->tape) != SAIL_OK)
        return sail_fail(err, sail_tape_status(s->tape), "%s", sail_tape_message(s->tape));
    *value = *sail_value_of(s->tape, q);
    for (int i = 0; grad && i < n; i++)
        grad[i] = *sail_gradient_of(s->tape, slot[i]);
    return SAIL_OK;
}

static void score_name(void *user, int64_t i, char *text, size_t size)
{
    const scores *s = user;
    if (s->width > 1)
        snprintf(text, size, "number %lld of score %lld of %d (outcome %d)", (long long)i % s->width + 1, (long long)i / s->width + 1, s->k,
                 s->outcome + 1);
    else
        snprintf(text, size, "score %lld of %d (outcome %d)", (long long)i + 1, s->k, s->outcome + 1);
}

static sail_code check_scores(scores *s, uint64_t seed, double spread, bool differences, sail__check *out, sail_err *err)
{
    double x[SAIL_MAX_RESPONSES * SAIL_MAX_WIDTH], grad[SAIL_MAX_RESPONSES * SAIL_MAX_WIDTH], value, sum = 0;
    const int outcomes = s->m->ops->outcomes(s->m->self, s->k), n = s->k * s->width;
    for (int i = 0; i < n; i++)
        x[i] = spread * (draw(seed, i, 7) - 0.5);
    for (s->outcome = 0; s->outcome < outcomes && !out->message[0]; s->outcome++) {
        SAIL_TRY(log_q(s, x, &value, grad, err));
        sum += exp(value);
        bool impossible = value == -INFINITY;
        for (int i = 0; i < n; i++)
            if (!isfinite(grad[i]) || (!isfinite(value) && !impossible))
                snprintf(out->message, sizeof out->message, "log q of outcome %d is %g with derivative %g at scores %g apart",
                         s->outcome + 1, value, grad[i], spread);
        if (differences && !impossible)
            SAIL_TRY(compare(log_q, s, x, grad, n, score_name, out, err));
    }
    if (!out->message[0] && !(fabs(sum - 1) <= 1e-9))
        snprintf(out->message, sizeof out->message, "probabilities of the %d outcomes of %d responses sum to %.12g, not to 1", outcomes,
                 s->k, sum);
    return SAIL_OK;
}

sail_code sail__preference_check(const sail_preference_model *m, int k, uint64_t seed, sail__check *out, sail_err *err)
{
    static const double far[] = {30, 1e3};
    memset(out, 0, sizeof *out);
    if (k < 2 || k > SAIL_MAX_RESPONSES || m->ops->outcomes(m->self, k) <= 0)
        return sail_fail(err, SAIL_E_OPTION, "preference model %s does not apply to %d responses", m->name, k);
    scores s = {.m = m, .tape = sail_tape_new(NULL), .k = k, .width = sail_preference_width(m)};
    if (s.width < 1 || s.width > SAIL_MAX_WIDTH) {
        sail_tape_free(s.tape);
        return sail_fail(err, SAIL_E_PLUGIN, "preference model %s scores a response with %d numbers; 1 to %d are possible", m->name, s.width, SAIL_MAX_WIDTH);
    }
    if (!s.tape)
        return sail_fail(err, SAIL_E_NOMEM, "no memory to check %s", m->name);
    sail_code c = SAIL_OK;
    for (uint64_t i = 0; c == SAIL_OK && !out->message[0] && i < 4; i++)
        c = check_scores(&s, seed + i, 4, true, out, err);
    for (size_t i = 0; c == SAIL_OK && !out->message[0] && i < sizeof far / sizeof *far; i++)
        c = check_scores(&s, seed, far[i], false, out, err);
    sail_tape_free(s.tape);
    if (c == SAIL_OK && !out->message[0])
        judge(out);
    return c;
}
