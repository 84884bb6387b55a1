/* schedule.c - see schedule.h. */
#include "schedule.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *kind_of(const sail_node *n)
{
    const sail_node *k = n && n->kind == SAIL_NODE_MAP ? sail__node_get(n, "kind") : NULL;
    return k && k->kind == SAIL_NODE_STRING ? k->string.data : "";
}

bool sail__schedule_is(const sail_node *n)
{
    const char *kind = kind_of(n);
    if (!strcmp(kind, "piecewise"))
        return sail__node_get(n, "points") != NULL;
    return (!strcmp(kind, "ramp") || !strcmp(kind, "cosine")) && sail__node_get(n, "from") && sail__node_get(n, "to");
}

static double wrong(sail_err *err, const sail_node *n, const char *what)
{
    char line[16] = "";
    if (n->line > 0)
        snprintf(line, sizeof line, ":%d", n->line);
    sail_fail(err, SAIL_E_RECIPE,
              "%s%s: %s; a schedule is {kind: ramp | cosine, from, to, steps, start} or {kind: piecewise, points: "
              "[[step, value], …]}",
              n->origin, line, what);
    return NAN;
}

/* Only `allowed` keys; the first other one is told. */
static bool keys_are(const sail_node *n, const char *const *allowed, sail_err *err)
{
    for (size_t i = 0; i < n->list.n; i++) {
        bool known = false;
        for (size_t k = 0; allowed[k]; k++)
            known |= sail__name_equal(n->list.keys[i], allowed[k]);
        if (!known) {
            char text[160];
            snprintf(text, sizeof text, "a schedule of kind %s has no key '%.60s'", kind_of(n), n->list.keys[i]);
            wrong(err, n, text);
            return false;
        }
    }
    return true;
}

static double piecewise(const sail_node *n, int64_t step, sail_err *err)
{
    const sail_node *points = sail__node_get(n, "points");
    double before_step = 0, before = 0;
    if (points->kind != SAIL_NODE_LIST || points->list.n == 0)
        return wrong(err, n, "points must be a list of [step, value]");
    for (size_t i = 0; i < points->list.n; i++) {
        const sail_node *p = points->list.items[i];
        double at, value;
        if (p->kind != SAIL_NODE_LIST || p->list.n != 2)
            return wrong(err, p, "a point must be [step, value]");
        if (sail__node_as_double(p->list.items[0], "points", &at, err) ||
            sail__node_as_double(p->list.items[1], "points", &value, err))
            return NAN;
        if (i && at <= before_step)
            return wrong(err, p, "the points' steps must go up");
        if ((double)step <= at)
            return i ? before + (value - before) * (((double)step - before_step) / (at - before_step)) : value;
        before_step = at;
        before = value;
    }
    return before;
}

double sail__schedule_value(const sail_node *n, int64_t step, sail_err *err)
{
    static const char *const line_keys[] = {"kind", "from", "to", "steps", "start", NULL};
    static const char *const point_keys[] = {"kind", "points", NULL};
    double from, to, steps, start = 0, value;
    if (n->kind != SAIL_NODE_MAP)
        return sail__node_as_double(n, "schedule", &value, err) ? NAN : value;
    if (!sail__schedule_is(n))
        return wrong(err, n, "this map is no schedule");
    bool points = !strcmp(kind_of(n), "piecewise");
    if (!keys_are(n, points ? point_keys : line_keys, err))
        return NAN;
    if (points)
        return piecewise(n, step, err);
    const sail_node *length = sail__node_get(n, "steps"), *begin = sail__node_get(n, "start");
    if (!length)
        return wrong(err, n, "steps is missing");
    if (sail__node_as_double(sail__node_get(n, "from"), "from", &from, err) ||
        sail__node_as_double(sail__node_get(n, "to"), "to", &to, err) ||
        sail__node_as_double(length, "steps", &steps, err) ||
        (begin && sail__node_as_double(begin, "start", &start, err)))
        return NAN;
    if (!(steps > 0))
        return wrong(err, n, "steps must be above 0");
    double x = ((double)step - start) / steps;
    if (x <= 0)
        return from;
    if (x >= 1)
        return to;
    return from + (to - from) * (!strcmp(kind_of(n), "ramp") ? x : (1 - cos(M_PI * x)) / 2);
}

/* ---- learning rates ---- */
static const char *const lr_names[] = {"constant", "linear", "cosine", NULL};

sail_code sail__lr_parse(const sail_node *node, sail__lr_schedule *out, sail_err *err)
{
    *out = (sail__lr_schedule){.kind = SAIL__LR_CONSTANT};
    if (!node)
        return SAIL_OK;
    const sail_node *kind = node->kind == SAIL_NODE_MAP ? sail__node_get(node, "kind") : node;
    const char *name;
    if (!kind)
        return sail_fail(err, SAIL_E_RECIPE, "%s:%d: schedule: kind is missing: constant, linear or cosine",
                         node->origin, node->line);
    SAIL_TRY(sail__node_as_string(kind, "schedule", &name, err));
    int k = 0;
    while (lr_names[k] && !sail__name_equal(lr_names[k], name))
        k++;
    if (!lr_names[k])
        return sail_fail(err, SAIL_E_RECIPE, "%s:%d: schedule: '%s' is none of constant, linear, cosine", node->origin,
                         node->line, name);
    out->kind = (sail__lr_kind)k;
    for (size_t i = 0; node->kind == SAIL_NODE_MAP && i < node->list.n; i++) {
        const char *key = node->list.keys[i];
        const sail_node *v = node->list.items[i];
        if (sail__name_equal(key, "warmup")) {
            SAIL_TRY(sail__node_as_double(v, "schedule.warmup", &out->warmup, err));
            if (!(out->warmup >= 0 && isfinite(out->warmup)))
                return sail_fail(err, SAIL_E_RECIPE,
                                 "%s:%d: schedule.warmup must be a share below 1 or a number of steps, not %g",
                                 v->origin, v->line, out->warmup);
        } else if (sail__name_equal(key, "floor")) {
            SAIL_TRY(sail__node_as_double(v, "schedule.floor", &out->floor, err));
            if (!(out->floor >= 0 && out->floor <= 1))
                return sail_fail(err, SAIL_E_RECIPE,
                                 "%s:%d: schedule.floor is a share of the rate, from 0 to 1, not %g", v->origin,
                                 v->line, out->floor);
        } else if (!sail__name_equal(key, "kind")) {
            return sail_fail(err, SAIL_E_RECIPE, "%s:%d: schedule has no key '%s': kind, warmup, floor", v->origin,
                             v->line, key);
        }
    }
    return SAIL_OK;
}

double sail__lr_factor(const sail__lr_schedule *s, int64_t k, int64_t total)
{
    double warmup = s->warmup < 1 ? ceil(s->warmup * (double)total) : s->warmup;
    if ((double)k < warmup)
        return (double)k / warmup;
    if (s->kind == SAIL__LR_CONSTANT)
        return 1;
    double left = (double)total - warmup, x = left > 0 ? ((double)k - warmup) / left : 1, shape;
    if (x > 1)
        x = 1;
    shape = s->kind == SAIL__LR_LINEAR ? 1 - x : (1 + cos(M_PI * x)) / 2;
    return s->floor + (1 - s->floor) * shape;
}
