/* guards.c - see guards.h. */
#include "guards.h"

#include <math.h>
#include <string.h>

/* Losses of single steps say little of what is usual before so many are known. */
enum { LOSSES_LEAST = 20, KL_LEAST = 5 };
/* A window, steps; a chance fall of so many windows on end is rare (1 in 5! each). */
enum { WINDOW = 10, FALLS = 4 };
/* nats: a run that has learned its data has losses of next to nothing, and the first pair it does not know is no spike. */
static const double loss_floor = 0.1;

void sail__guards_init(sail__guards *g)
{
    memset(g, 0, sizeof *g);
    g->ladder.healthy = g->ladder.candidate = -1;
    g->ladder.coef = 1;
}

/* ---- what was seen ---- */

/* An equal mean of the first 1/rate values, then one that forgets. */
static void take_in(sail__running *r, double rate, double x)
{
    const double share = fmax(rate, 1 / (double)(r->n + 1)), d = x - r->mean;
    r->mean += share * d;
    r->var = (1 - share) * (r->var + share * d * d);
    r->n++;
}

static bool add(sail__trend *t, double x)
{
    t->sum += x;
    if (++t->n < WINDOW)
        return false;
    const double mean = t->sum / WINDOW;
    if (t->windows == 0)
        t->first = mean;
    if (t->windows > 0 && mean < t->last) {
        t->falls++;
    } else {
        t->falls = 0;
        t->top = mean;
    }
    t->last = mean;
    t->windows++;
    t->n = 0;
    t->sum = 0;
    return true;
}

double sail__guards_deviations(const sail__guards *g, double loss)
{
    const sail__running *r = &g->seen.loss;
    return r->n >= LOSSES_LEAST && isfinite(loss) ? (loss - r->mean) / sqrt(r->var + loss_floor * loss_floor) : NAN;
}

bool sail__guards_spike(const sail__guards *g, const sail__guard_section *o, double loss)
{
    return o->spike > 0 && fabs(sail__guards_deviations(g, loss)) > o->spike;
}

double sail__guards_fall(const sail__guards *g)
{
    const sail__trend *t = &g->seen.chosen;
    return t->windows > 0 ? t->top - t->last : NAN;
}

double sail__guards_drift(const sail__guards *g)
{
    const sail__trend *t = &g->seen.length;
    return t->windows > 0 ? t->last / t->first : NAN;
}

/* Alarms that are due and were not given before. */
static int64_t see(sail__guards *g, const sail__guard_section *o, const sail__guard_look *look)
{
    int64_t due = 0;
    if (!look->skipped && !look->empty)
        take_in(&g->seen.loss, 0.02, look->loss);
    if (isfinite(look->kl))
        take_in(&g->seen.kl, 0.1, look->kl);
    if (isfinite(look->chosen) && add(&g->seen.chosen, look->chosen) && o->chosen_fall > 0 && g->seen.chosen.falls >= FALLS &&
        sail__guards_fall(g) >= o->chosen_fall)
        due |= SAIL__ALARM_CHOSEN;
    if (look->length > 0 && add(&g->seen.length, look->length) && o->length_drift > 1 &&
        fabs(log(sail__guards_drift(g))) >= log(o->length_drift))
        due |= SAIL__ALARM_LENGTH;
    /* Equal vectors have log-odds of 0 whatever they are, and no gradient tells them apart: a model that has come there stays. One that has
     * not begun yet never had them further apart. */
    if (isfinite(look->apart)) {
        g->seen.vectors.most = fmax(g->seen.vectors.most, look->apart);
        g->seen.vectors.equal = look->lead < 0.01 && look->apart < g->seen.vectors.most / 3 ? g->seen.vectors.equal + 1 : 0;
        if (o->equal > 0 && g->seen.vectors.equal >= o->equal)
            due |= SAIL__ALARM_EQUAL;
    }
    due &= ~g->ladder.alarms;
    g->ladder.alarms |= due;
    return due;
}

/* ---- what is done ---- */

static void good(sail__guards *g, const sail__guard_section *o, int64_t step, sail__guard_orders *out)
{
    g->ladder.bad = 0;
    g->ladder.good++;
    if (g->ladder.good < o->recover)
        return;
    if (g->ladder.good % o->recover == 0 && g->ladder.coef < 1) {
        g->ladder.coef *= 2;
        out->grown = true;
    }
    g->ladder.strikes = 0;
    if (g->ladder.candidate >= 0 && step - g->ladder.candidate >= o->recover) {
        g->ladder.healthy = g->ladder.candidate;
        g->ladder.candidate = -1;
    }
}

static void halve(sail__guards *g, sail__guard_orders *out)
{
    g->ladder.coef /= 2;
    out->halved = true;
}

static void give_way(const sail__guards *g, const sail__guard_section *o, sail__guard_orders *out)
{
    out->stop = g->ladder.rollbacks >= o->rollbacks || g->ladder.healthy < 0;
    out->roll_back = !out->stop;
}

static void bad(sail__guards *g, const sail__guard_section *o, bool extra, sail__guard_orders *out)
{
    g->ladder.good = 0;
    g->ladder.bad++;
    g->ladder.strikes++;
    g->ladder.candidate = -1; /* whether it was healthy is not known */
    if (extra && o->halve > 0 && g->ladder.strikes % o->halve == 0)
        halve(g, out);
    if (g->ladder.bad >= o->skips)
        give_way(g, o, out);
}

sail__guard_orders sail__guards_judge(sail__guards *g, const sail__guard_section *o, int64_t step, const sail__guard_look *look)
{
    sail__guard_orders out = {.alarms = see(g, o, look)};
    const bool far = o->max_kl > 0 && g->seen.kl.n >= KL_LEAST && g->seen.kl.mean > o->max_kl;
    g->ladder.skipped += look->skipped || look->empty;
    g->ladder.empty = look->empty ? g->ladder.empty + 1 : 0;
    out.too_far = far && !look->skipped && isfinite(look->kl);
    if (look->empty)
        out.stop = g->ladder.empty >= o->skips; /* going back would not give it more */
    else if (look->skipped || out.too_far)
        bad(g, o, look->extra, &out);
    else if (!far) /* else there is no telling whether it came any nearer */
        good(g, o, step, &out);
    return out;
}

sail__guard_orders sail__guards_judge_evaluation(sail__guards *g, const sail__guard_section *o, bool failed, bool extra, double kl)
{
    sail__guard_orders out = {.too_far = !failed && o->max_kl > 0 && kl > o->max_kl};
    if (!failed && !out.too_far)
        return out;
    if (extra && o->halve > 0)
        halve(g, &out);
    give_way(g, o, &out);
    return out;
}

void sail__guards_due(sail__guards *g, int64_t step)
{
    if (g->ladder.bad > 0)
        return;
    if (g->ladder.healthy < 0)
        g->ladder.healthy = step;
    else if (g->ladder.candidate < 0)
        g->ladder.candidate = step;
}

void sail__guards_back(sail__guards *g, const sail__guards *then)
{
    g->seen = then->seen;
    g->ladder.bad = g->ladder.strikes = g->ladder.good = g->ladder.empty = 0;
    g->ladder.candidate = -1;
    g->ladder.rollbacks++;
}
