/* schedule.c - see schedule.h. */
#include "schedule.h"

#include <math.h>
#include <stddef.h>
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

static const char *const lr_names[] = {[SAIL__LR_CONSTANT] = "constant", [SAIL__LR_LINEAR] = "linear", [SAIL__LR_COSINE] = "cosine",
                                       [SAIL__LR_COSINE_WITH_RESTARTS] = "cosine_with_restarts", [SAIL__LR_POLYNOMIAL] = "polynomial",
                                       [SAIL__LR_INVERSE_SQRT] = "inverse_sqrt"};
enum { LR_KINDS = sizeof lr_names / sizeof *lr_names };

static const struct {
    const char *key;
    int kind; /* that has it; -1: all */
    size_t at;
    double least, most;
    const char *wanted;
} lr_keys[] = {
    {"warmup", -1, offsetof(sail__lr_schedule, warmup), 0, 1e15, "a share below 1 or a number of steps"},
    {"floor", -1, offsetof(sail__lr_schedule, floor), 0, 1, "a share of the rate, from 0 to 1"},
    {"cycles", SAIL__LR_COSINE_WITH_RESTARTS, offsetof(sail__lr_schedule, cycles), 1, 1e6, "the number of times that it falls, 1 or more"},
    {"power", SAIL__LR_POLYNOMIAL, offsetof(sail__lr_schedule, power), 0, 100, "a power from 0 to 100"},
    {"timescale", SAIL__LR_INVERSE_SQRT, offsetof(sail__lr_schedule, timescale), 0, 1e15, "a number of steps; 0: those of the warm-up"},
};

static sail_code lr_value(sail__lr_schedule *out, const char *key, const sail_node *v, sail_err *err)
{
    char path[64], known[128] = "kind";
    for (size_t i = 0; i < sizeof lr_keys / sizeof *lr_keys; i++) {
        if (lr_keys[i].kind >= 0 && lr_keys[i].kind != (int)out->kind)
            continue;
        snprintf(known + strlen(known), sizeof known - strlen(known), ", %s", lr_keys[i].key);
        if (!sail__name_equal(key, lr_keys[i].key))
            continue;
        double *to = (double *)(void *)((char *)out + lr_keys[i].at);
        snprintf(path, sizeof path, "train.schedule.%s", lr_keys[i].key);
        SAIL_TRY(sail__node_as_double(v, path, to, err));
        if (!(*to >= lr_keys[i].least && *to <= lr_keys[i].most))
            return sail_fail(err, SAIL_E_RECIPE, "%s must be %s, not %g", path, lr_keys[i].wanted, *to);
        return SAIL_OK;
    }
    return sail_fail(err, SAIL_E_RECIPE, "train.schedule of kind %s has no key '%s': %s", lr_names[out->kind], key, known);
}

sail_code sail__lr_parse(const sail_node *node, sail__lr_schedule *out, sail_err *err)
{
    *out = (sail__lr_schedule){.kind = SAIL__LR_CONSTANT, .cycles = 1, .power = 1};
    if (!node)
        return SAIL_OK;
    const sail_node *kind = node->kind == SAIL_NODE_MAP ? sail__node_get(node, "kind") : node;
    const char *name = NULL;
    char known[160] = "";
    int k = 0;
    for (int i = 0; i < LR_KINDS; i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", lr_names[i]);
    if (!kind)
        return sail_fail(err, SAIL_E_RECIPE, "train.schedule.kind is missing: %s", known);
    SAIL_TRY(sail__node_as_string(kind, "train.schedule", &name, err));
    while (k < LR_KINDS && !sail__name_equal(lr_names[k], name))
        k++;
    if (k == LR_KINDS)
        return sail_fail(err, SAIL_E_RECIPE, "train.schedule '%s' is none of %s", name, known);
    out->kind = (sail__lr_kind)k;
    for (size_t i = 0; node->kind == SAIL_NODE_MAP && i < node->list.n; i++)
        if (!sail__name_equal(node->list.keys[i], "kind"))
            SAIL_TRY(lr_value(out, node->list.keys[i], node->list.items[i], err));
    return SAIL_OK;
}

/* From 1 to 0 as x, the share of the steps behind the warm-up, goes from 0 to 1. */
static double falling(const sail__lr_schedule *s, double x)
{
    switch (s->kind) {
    case SAIL__LR_LINEAR: return 1 - x;
    case SAIL__LR_COSINE_WITH_RESTARTS: return x < 1 ? (1 + cos(M_PI * fmod(s->cycles * x, 1))) / 2 : 0;
    case SAIL__LR_POLYNOMIAL: return x < 1 ? pow(1 - x, s->power) : 0;
    default: return (1 + cos(M_PI * x)) / 2;
    }
}

double sail__lr_factor(const sail__lr_schedule *s, int64_t k, int64_t total)
{
    const double warmup = s->warmup < 1 ? ceil(s->warmup * (double)total) : s->warmup, left = (double)total - warmup;
    double shape;
    if ((double)k < warmup)
        return (double)k / warmup;
    if (s->kind == SAIL__LR_CONSTANT)
        return 1;
    if (s->kind == SAIL__LR_INVERSE_SQRT) {
        const double scale = s->timescale > 0 ? s->timescale : warmup > 0 ? warmup : 10000;
        shape = 1 / sqrt(((double)k - warmup) / scale + 1);
    } else {
        shape = falling(s, left > 0 ? fmin(((double)k - warmup) / left, 1) : 1);
    }
    return s->floor + (1 - s->floor) * shape;
}
