/* watch.c - the guards (guards.h) at work in a stage that learns: what they look at, what is told, the way back. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "calibration.h"
#include "routes.h"
#include "trainer.h"

static const struct {
    const char *what, *advice;
} causes[] = {
    [SAIL__FINE] = {"", ""},
    [SAIL__EMPTY] = {"there is nothing to learn from", "look at what the judge calls open and what the strategy leaves aside"},
    [SAIL__BAD_LOSS] = {"its loss is not finite", "try a smaller train.lr, and look for NaN in the model's files and for odd rows in the data"},
    [SAIL__BAD_DERIVATIVE] = {"the derivative of its loss is not finite", "look for a point of the objective that has no derivative, and for odd rows in the data"},
    [SAIL__BAD_GRADIENT] = {"its gradient is not finite", "try a smaller train.lr, and look for NaN in the model's files and for odd rows in the data"},
    [SAIL__BAD_NUMBER] = {"", "try a smaller train.lr, and look for NaN in the model's files and for odd rows in the data"},
    [SAIL__SPIKE] = {"its loss is a spike", "try a smaller train.lr; guard.spike is from how many deviations on"},
    [SAIL__TOO_FAR] = {"what the policy writes is too far from the reference",
                       "try a larger method.beta, a smaller train.lr or smaller coefficients of the routes; guard.max_kl is the bound"},
};

static const char *what(const sail__watched *w) { return w->cause == SAIL__BAD_NUMBER ? w->message : causes[w->cause].what; }

sail__cause sail__watch_before(const sail__trainer *t, const sail__stage *live, const sail__step *s, double loss, bool numeric)
{
    if (s->n == 0)
        return SAIL__EMPTY;
    if (numeric)
        return isfinite(loss) ? SAIL__BAD_DERIVATIVE : SAIL__BAD_LOSS;
    return sail__guards_spike(&t->guards, &live->guard, loss) ? SAIL__SPIKE : SAIL__FINE;
}

sail_code sail__watch_caught(sail_code code, sail__watched *w, sail_err *err)
{
    if (code != SAIL_E_NUMERIC)
        return code;
    w->cause = SAIL__BAD_NUMBER;
    w->loss = NAN;
    snprintf(w->message, sizeof w->message, "%s", err->message);
    err->code = SAIL_OK;
    err->message[0] = '\0';
    return SAIL_OK;
}

/* ---- what a step showed ---- */

typedef struct tally {
    double ratio, tokens, responses;
} tally;

static void count(tally *to, const sail__response *r)
{
    to->ratio += sail__log_ratio(r);
    to->tokens += (double)r->n;
    to->responses++;
}

/* How far the vectors of a pair are from each other, and what that comes to. */
static sail_code look_at_vectors(const sail__stage *live, const sail__step *s, sail__guard_look *look, sail_err *err)
{
    const sail_preference_model m = sail__stage_preference(live);
    const int width = sail_preference_width(&m);
    double apart = 0, size = 0, lead = 0, n = 0;
    for (int64_t i = 0; live->kind == SAIL__REWARD && width > 1 && i < s->n; i++) {
        const sail__response *r = s->groups[i].r;
        double both[2 * SAIL_MAX_WIDTH], p;
        if (s->groups[i].k != 2 || !r[0].head || !r[1].head)
            continue;
        for (int d = 0; d < width; d++) {
            const double u = both[d] = r[0].head[d], v = both[width + d] = r[1].head[d];
            apart += (u - v) * (u - v);
            size += u * u + v * v;
        }
        SAIL_TRY(sail__win_probability(&m, both, &p, err));
        lead += fabs(log(p / (1 - p)));
        n++;
    }
    look->apart = size > 0 ? sqrt(apart / size) : NAN;
    look->lead = n > 0 ? lead / n : NAN;
    return SAIL_OK;
}

static void look_at(const sail__step *s, sail__guard_look *look)
{
    tally written = {0}, chosen = {0};
    bool reference = true;
    for (int64_t i = 0; i < s->n; i++) {
        const sail__group *g = &s->groups[i];
        if (!g->r[0].logp) /* of a score head */
            continue;
        if (g->writer == SAIL_BY_DATA && g->labeller != SAIL_BY_JUDGE && g->desirable != SAIL_UNDESIRABLE) /* a judge puts its own winner first */
            count(&chosen, &g->r[0]);
        for (int k = 0; g->writer == SAIL_BY_POLICY && !g->replayed && k < g->k; k++)
            if (g->r[k].writer == 0 || g->r[k].writer == SAIL_BY_POLICY) {
                count(&written, &g->r[k]);
                reference = reference && g->r[k].ref;
            }
    }
    look->kl = reference && written.tokens > 0 ? written.ratio / written.tokens : NAN;
    look->chosen = chosen.tokens > 0 ? chosen.ratio / chosen.tokens : NAN;
    look->length = written.responses > 0 ? written.tokens / written.responses : NAN;
}

static sail_code has_extra(const sail__stage *live, int64_t step, bool *out, sail_err *err)
{
    sail_route routes[SAIL_MAX_ROUTES];
    int n = 0;
    *out = false;
    if (live->kind != SAIL__ALIGN)
        return SAIL_OK;
    SAIL_TRY(sail__routes_of(live, step, routes, &n, err));
    for (int i = 0; i < n; i++)
        *out = *out || (routes[i].probability > 0 && routes[i].coefficient > 0);
    return SAIL_OK;
}

static sail_code add_metrics(const sail__guards *g, bool extra, double deviations, sail__metrics *m, sail_err *err)
{
    const struct {
        const char *name;
        double value;
    } rows[] = {
        {"sail/guard_bad", (double)g->ladder.bad},
        {"sail/guard_coef", extra ? g->ladder.coef : NAN},
        {"sail/guard_loss", deviations},
        {"sail/guard_kl", g->seen.kl.n ? g->seen.kl.mean : NAN},
        {"sail/guard_fall", sail__guards_fall(g)},
        {"sail/guard_length", sail__guards_drift(g)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!isnan(rows[i].value))
            SAIL_TRY(sail__metrics_mean(m, rows[i].name, rows[i].value, 1, err));
    return SAIL_OK;
}

/* ---- what is told ---- */

/* To the log and the run's events, which `sail report` shows. */
static sail_code tell(sail__trainer *t, sail_log_level level, sail_err *err, const char *fmt, ...) SAIL_PRINTF(4, 5);
static sail_code tell(sail__trainer *t, sail_log_level level, sail_err *err, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    sail_log(t->o.ctx, level, "step %lld: %s", (long long)t->state.step, text);
    return sail__store_add_event(t->o.store, t->o.stage->name, t->state.step, "guard", text, err);
}

/* Where the step's rows stand in the data: the first few. */
static const char *rows_of(const sail__trainer *t, const sail__step *s)
{
    enum { MOST = 4 };
    char text[256] = "", line[96];
    size_t n = 0;
    for (int64_t i = 0, told = 0; i < s->n && told < MOST; i++) {
        const sail_row *row = t->stream.train.rows[s->groups[i].row];
        if (i > 0 && s->groups[i - 1].row == s->groups[i].row)
            continue;
        const int k = snprintf(line, sizeof line, "%s%.60s:%lld", told++ ? ", " : "", sail__path_base(row->file), (long long)row->line);
        if (k < (int)sizeof line && n + (size_t)k < sizeof text)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s", line);
    }
    return sail__arena_strdup(s->arena, text);
}

static sail_code tell_all(sail__trainer *t, const sail__guard_section *o, const sail__watched *w, double deviations, sail_err *err)
{
    const sail__guards *g = &t->guards;
    if (w->cause == SAIL__SPIKE)
        SAIL_TRY(tell(t, SAIL_LOG_WARN, err, "skipped: %s (%g, %.3g deviations off the mean of %g; gradient norm %g)", what(w), w->loss,
                      deviations, g->seen.loss.mean, w->norm));
    else if (w->cause != SAIL__FINE && w->cause != SAIL__TOO_FAR)
        SAIL_TRY(tell(t, SAIL_LOG_WARN, err, "skipped: %s (loss %g, gradient norm %g)", what(w), w->loss, w->norm));
    else if (w->cause == SAIL__TOO_FAR && g->ladder.bad == 1)
        SAIL_TRY(tell(t, SAIL_LOG_WARN, err, "%s: %.3g nats a token of late, beyond guard.max_kl (%g)", what(w), g->seen.kl.mean, o->max_kl));
    if (w->orders.halved)
        SAIL_TRY(tell(t, SAIL_LOG_WARN, err, "the routes' coefficients are halved, to %g of what the recipe says, after %lld bad steps", g->ladder.coef,
                      (long long)g->ladder.strikes));
    if (w->orders.grown)
        SAIL_TRY(tell(t, SAIL_LOG_INFO, err, "the routes' coefficients are doubled, to %g of what the recipe says, after %lld good steps", g->ladder.coef,
                      (long long)g->ladder.good));
    if (w->orders.alarms & SAIL__ALARM_CHOSEN)
        SAIL_TRY(tell(t, SAIL_LOG_WARN, err, "the data's chosen responses have become %.3g nats a token less likely, without a rise (guard.chosen_fall): "
                      "the margin may grow at their cost; a smaller train.lr, a larger method.beta or sft beside the objective hold them",
                      sail__guards_fall(g)));
    if (w->orders.alarms & SAIL__ALARM_LENGTH)
        SAIL_TRY(tell(t, SAIL_LOG_WARN, err, "the policy writes %.3g times as long as at first, %.3g tokens (guard.length_drift): what is preferred may go "
                      "by length", sail__guards_drift(g), g->seen.length.last));
    if (w->orders.alarms & SAIL__ALARM_EQUAL)
        SAIL_TRY(tell(t, SAIL_LOG_WARN, err, "the vectors of both responses have been next to equal for %lld steps (guard.equal), after differing by a share of %.2g: "
                      "equal vectors prefer nothing, and no gradient parts them again. Begin anew with a third of train.lr or less, and with warm-up "
                      "(train.schedule: {kind: cosine, warmup: 0.1})", (long long)g->seen.vectors.equal, g->seen.vectors.most));
    return SAIL_OK;
}

sail_code sail__watch_after(sail__trainer *t, const sail__stage *live, const sail__step *s, sail__watched *w, sail__metrics *m, sail_err *err)
{
    const double deviations = sail__guards_deviations(&t->guards, w->loss);
    sail__guard_look look = {.loss = w->loss, .apart = NAN, .lead = NAN, .empty = w->cause == SAIL__EMPTY, .skipped = w->cause != SAIL__FINE && w->cause != SAIL__EMPTY};
    look_at(s, &look);
    if (!look.skipped && !look.empty)
        SAIL_TRY(look_at_vectors(live, s, &look, err));
    SAIL_TRY(has_extra(live, s->step, &look.extra, err));
    w->orders = sail__guards_judge(&t->guards, &live->guard, t->state.step, &look);
    if (w->orders.too_far)
        w->cause = SAIL__TOO_FAR;
    if (!(w->rows = rows_of(t, s)))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    SAIL_TRY(add_metrics(&t->guards, look.extra, deviations, m, err));
    return tell_all(t, &live->guard, w, deviations, err);
}

sail_code sail__watch_evaluation(sail__trainer *t, const sail__stage *live, const sail__metrics *m, sail__watched *w, sail_err *err)
{
    const bool drawn = live->eval.temperature == 1 && live->eval.penalty_alpha == 0; /* from the policy itself */
    bool extra;
    SAIL_TRY(has_extra(live, t->state.step, &extra, err));
    w->kl = drawn ? sail__metrics_get(m, "eval_objective/kl") / sail__metrics_get(m, "eval_completions/mean_length") : NAN;
    w->orders = sail__guards_judge_evaluation(&t->guards, &live->guard, w->cause == SAIL__BAD_NUMBER, extra, w->kl);
    if (w->orders.too_far)
        w->cause = SAIL__TOO_FAR;
    return SAIL_OK;
}

/* ---- the last rungs ---- */

/* What happened, in one sentence. */
static void in_short(const sail__trainer *t, const sail__watched *w, char *out, size_t size)
{
    const bool far = w->cause == SAIL__TOO_FAR;
    const long long n = w->cause == SAIL__EMPTY ? t->guards.ladder.empty : t->guards.ladder.bad;
    char number[64] = "";
    if (w->evaluation) {
        if (far)
            snprintf(number, sizeof number, " (%.3g nats a token)", w->kl);
        snprintf(out, size, "the evaluation after step %lld went wrong: %s%s", (long long)t->state.step, what(w), number);
        return;
    }
    snprintf(number, sizeof number, far ? "%.3g nats a token of late" : "loss %g", far ? t->guards.seen.kl.mean : w->loss);
    snprintf(out, size, "%lld steps in a row went wrong: at the last %s (%s, gradient norm %g%s%s)", n, what(w), number, w->norm,
             *w->rows ? "; rows " : "", w->rows);
}

static bool has_checkpoint(const sail__trainer *t)
{
    sail_arena *a = sail__arena_new();
    sail__checkpoint *c;
    sail_err ignored = {0};
    size_t n = 0;
    const bool any = a && sail__checkpoint_list(a, t->checkpoints, &c, &n, &ignored) == SAIL_OK && n > 0;
    sail__arena_free(a);
    return any;
}

sail_code sail__watch_stop(const sail__trainer *t, const sail__watched *w, sail_err *err)
{
    const sail__guard_section *o = &t->o.stage->guard;
    char why[640], tried[128] = "";
    in_short(t, w, why, sizeof why);
    if (t->guards.ladder.rollbacks > 0)
        snprintf(tried, sizeof tried, " after going back %lld times, to step %lld;", (long long)t->guards.ladder.rollbacks,
                 (long long)t->guards.ladder.healthy);
    else if (o->rollbacks > 0 && w->cause != SAIL__EMPTY && t->state.step > 0)
        snprintf(tried, sizeof tried, " there is no healthy checkpoint to go back to (checkpoint.every);");
    return sail_fail(err, SAIL_E_NUMERIC, "%s;%s%s %s", why, tried, has_checkpoint(t) ? " the last checkpoint is whole;" : "", causes[w->cause].advice);
}

sail_code sail__watch_go_back(sail__trainer *t, const sail__watched *w, sail_err *err)
{
    const int64_t from = t->state.step, to = t->guards.ladder.healthy, position = t->stream.position;
    const sail__guards now = t->guards;
    char why[640];
    in_short(t, w, why, sizeof why);
    sail_code code = sail__trainer_return(t, to, err);
    if (code != SAIL_OK)
        return sail_fail_in(err, "%s; going back to step %lld", why, (long long)to);
    const sail__guards then = t->guards;
    const int64_t passed = position - t->stream.position;
    t->guards = now;
    sail__guards_back(&t->guards, &then);
    t->stream.position = position;
    SAIL_TRY(sail__store_cut(t->o.store, t->o.stage->name, to, err));
    code = sail__tfevents_close(t->events, err);
    t->events = NULL;
    SAIL_TRY(code);
    SAIL_TRY(sail__tfevents_open(t->o.dir, t->o.stage->name, to, &t->events, err));
    SAIL_TRY(tell(t, SAIL_LOG_WARN, err, "back from step %lld to the last healthy checkpoint, time %lld of %lld, with the routes' coefficients at %g; the %lld "
                  "prompts in between are passed over. %s", (long long)from, (long long)t->guards.ladder.rollbacks,
                  (long long)t->o.stage->guard.rollbacks, t->guards.ladder.coef, (long long)passed, why));
    return sail__trainer_save(t, err); /* over the one it came from: a resumed run must not learn from those prompts either */
}
