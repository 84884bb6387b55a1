/* jinja_test.c - what stands behind `is`, and the global functions. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <utf8proc.h>

#include "jinja_impl.h"

/* ---- tests ---- */

#define SAYS(condition)                                                                                                          \
    do {                                                                                                                         \
        (void)vm;                                                                                                                \
        (void)args;                                                                                                              \
        *out = SAIL__JV(BOOL, .boolean = (condition));                                                                           \
        return true;                                                                                                             \
    } while (0)

static bool is_boolean_value(const sail__jv *v, bool value)
{
    return v->kind == SAIL__J_BOOL && v->boolean == value;
}

SAIL__JFN(defined)
{
    SAYS(self->kind != SAIL__J_UNDEFINED);
}
SAIL__JFN(undefined)
{
    SAYS(self->kind == SAIL__J_UNDEFINED);
}
SAIL__JFN(none)
{
    SAYS(self->kind == SAIL__J_NONE);
}
SAIL__JFN(boolean)
{
    SAYS(self->kind == SAIL__J_BOOL);
}
SAIL__JFN(is_true)
{
    SAYS(is_boolean_value(self, true));
}
SAIL__JFN(is_false)
{
    SAYS(is_boolean_value(self, false));
}
SAIL__JFN(integer)
{
    SAYS(self->kind == SAIL__J_INT);
}
SAIL__JFN(is_float)
{
    SAYS(self->kind == SAIL__J_FLOAT);
}
SAIL__JFN(number)
{
    SAYS(self->kind == SAIL__J_INT || self->kind == SAIL__J_FLOAT || self->kind == SAIL__J_BOOL);
}
SAIL__JFN(string)
{
    SAYS(self->kind == SAIL__J_STRING);
}
SAIL__JFN(mapping)
{
    SAYS(self->kind == SAIL__J_DICT);
}
SAIL__JFN(iterable)
{
    SAYS(self->kind == SAIL__J_UNDEFINED || (self->kind >= SAIL__J_STRING && self->kind <= SAIL__J_VIEW) ||
         self->kind == SAIL__J_LOOP);
}
SAIL__JFN(sequence)
{
    SAYS(self->kind == SAIL__J_UNDEFINED || (self->kind >= SAIL__J_STRING && self->kind <= SAIL__J_RANGE));
}
SAIL__JFN(callable)
{
    SAYS(self->kind == SAIL__J_UNDEFINED || self->kind == SAIL__J_FUNCTION || self->kind == SAIL__J_MACRO ||
         self->kind == SAIL__J_LOOP || self->kind == SAIL__J_JOINER);
}
SAIL__JFN(escaped)
{
    SAYS(self->kind == SAIL__J_STRING && self->string->markup);
}
SAIL__JFN(filter)
{
    SAYS(self->kind == SAIL__J_STRING && sail__jfilter_find(self->string->p));
}
SAIL__JFN(test)
{
    SAYS(self->kind == SAIL__J_STRING && sail__jtest_find(self->string->p));
}

static bool one(sail__jvm *vm, const char *what, const sail__jargs *args, sail__jv *a)
{
    return sail__jbind(vm, what, args, "other", 1, a);
}

SAIL__JFN(sameas)
{
    sail__jv a;
    bool equal;
    if (!one(vm, "sameas", args, &a) || !sail__jequal(vm, self, &a, &equal))
        return false;
    bool plain = self->kind < SAIL__J_LIST && self->kind != SAIL__J_FLOAT;
    SAYS(self->kind == a.kind && (plain ? equal : self->dict == a.dict));
}

static bool by_order(sail__jvm *vm, sail__jop op, const sail__jv *self, const sail__jargs *args, sail__jv *out)
{
    sail__jv a;
    bool yes;
    if (!one(vm, "comparison", args, &a) || !sail__jcompare(vm, op, self, &a, &yes))
        return false;
    SAYS(yes);
}
SAIL__JFN(eq)
{
    return by_order(vm, SAIL__J_EQ, self, args, out);
}
SAIL__JFN(ne)
{
    return by_order(vm, SAIL__J_NE, self, args, out);
}
SAIL__JFN(lt)
{
    return by_order(vm, SAIL__J_LT, self, args, out);
}
SAIL__JFN(le)
{
    return by_order(vm, SAIL__J_LE, self, args, out);
}
SAIL__JFN(gt)
{
    return by_order(vm, SAIL__J_GT, self, args, out);
}
SAIL__JFN(ge)
{
    return by_order(vm, SAIL__J_GE, self, args, out);
}
SAIL__JFN(in)
{
    return by_order(vm, SAIL__J_IN, self, args, out);
}

static bool remainder_is(sail__jvm *vm, const sail__jv *self, const sail__jv *by, int want, sail__jv *out)
{
    sail__jv r, w = SAIL__JV(INT, .integer = want);
    bool equal;
    if (!sail__jbinary(vm, SAIL__J_MOD, self, by, &r) || !sail__jequal(vm, &r, &w, &equal))
        return false;
    *out = SAIL__JV(BOOL, .boolean = equal);
    return true;
}
SAIL__JFN(odd)
{
    (void)args;
    sail__jv two = SAIL__JV(INT, .integer = 2);
    return remainder_is(vm, self, &two, 1, out);
}
SAIL__JFN(even)
{
    (void)args;
    sail__jv two = SAIL__JV(INT, .integer = 2);
    return remainder_is(vm, self, &two, 0, out);
}
SAIL__JFN(divisibleby)
{
    sail__jv a;
    return one(vm, "divisibleby", args, &a) && remainder_is(vm, self, &a, 0, out);
}

static bool cased(sail__jvm *vm, const char *method, const sail__jv *self, sail__jv *out)
{
    const sail__jstr *s;
    const sail__jargs no_args = {0};
    if (!sail__jv_to_string(vm, self, &s))
        return false;
    sail__jv v = SAIL__JV(STRING, .string = s);
    return sail__jentry_find(sail__jmethods_string_more, method)->fn(vm, &v, &no_args, out);
}
SAIL__JFN(lower)
{
    (void)args;
    return cased(vm, "islower", self, out);
}
SAIL__JFN(upper)
{
    (void)args;
    return cased(vm, "isupper", self, out);
}

const sail__jentry sail__jtests[] = {
    {"!=", ne},
    {"<", lt},
    {"<=", le},
    {"==", eq},
    {">", gt},
    {">=", ge},
    {"boolean", boolean},
    {"callable", callable},
    {"defined", defined},
    {"divisibleby", divisibleby},
    {"eq", eq},
    {"equalto", eq},
    {"escaped", escaped},
    {"even", even},
    {"false", is_false},
    {"filter", filter},
    {"float", is_float},
    {"ge", ge},
    {"greaterthan", gt},
    {"gt", gt},
    {"in", in},
    {"integer", integer},
    {"iterable", iterable},
    {"le", le},
    {"lessthan", lt},
    {"lower", lower},
    {"lt", lt},
    {"mapping", mapping},
    {"ne", ne},
    {"none", none},
    {"number", number},
    {"odd", odd},
    {"sameas", sameas},
    {"sequence", sequence},
    {"string", string},
    {"test", test},
    {"true", is_true},
    {"undefined", undefined},
    {"upper", upper},
    {NULL, NULL},
};

sail__jfn *sail__jtest_find(const char *name)
{
    const sail__jentry *e = sail__jentry_find(sail__jtests, name);
    return e ? e->fn : NULL;
}

/* ---- global functions ---- */

enum { LONGEST_RANGE = 100000 };

SAIL__JFN(range)
{
    (void)self;
    int64_t v[3] = {0, 0, 1};
    if (args->n < 1 || args->n > 3 || args->n_named)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "range expected 1 to 3 arguments, got %zu", args->n + args->n_named);
    for (size_t i = 0; i < args->n; i++)
        if (!sail__jas_int(vm, &args->items[i], "range", &v[args->n == 1 ? 1 : i]))
            return false;
    if (v[2] == 0)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "range() arg 3 must not be zero");
    sail__jint span = v[2] > 0 ? (sail__jint)v[1] - v[0] : (sail__jint)v[0] - v[1], by = v[2] > 0 ? v[2] : -(sail__jint)v[2];
    sail__jint n = span > 0 ? (span + by - 1) / by : 0;
    if (n > LONGEST_RANGE)
        return sail__jfail(vm, SAIL__JINJA_LIMIT, "Range too big. The sandbox blocks ranges larger than %d.", LONGEST_RANGE);
    sail__jrange *r = sail__jalloc(vm, 1, sizeof *r);
    if (!r)
        return false;
    *r = (sail__jrange){v[0], v[1], v[2], (size_t)n};
    *out = SAIL__JV(RANGE, .range = r);
    return true;
}

/* dict(mapping, key=value, …), and the members of a namespace. */
static sail__jdict *mapping_of(sail__jvm *vm, const char *what, const sail__jargs *args)
{
    sail__jdict *d = sail__jdict_new(vm, args->n_named);
    if (!d)
        return NULL;
    if (args->n > 1) {
        sail__jfail(vm, SAIL__JINJA_RUNTIME, "%s expected at most 1 argument, got %zu", what, args->n);
        return NULL;
    }
    if (args->n && args->items[0].kind == SAIL__J_DICT) {
        const sail__jdict *from = args->items[0].dict;
        for (size_t i = 0; i < from->n; i++)
            if (!sail__jdict_set(vm, d, from->keys[i], from->values[i]))
                return NULL;
    } else if (args->n) {
        sail__jlist l, two;
        if (!sail__jitems_of(vm, &args->items[0], &l))
            return NULL;
        for (size_t i = 0; i < l.n; i++) {
            if (!sail__jitems_of(vm, &l.items[i], &two))
                return NULL;
            if (two.n != 2) {
                sail__jfail(vm, SAIL__JINJA_RUNTIME, "dictionary update sequence element #%zu has length %zu; 2 is required", i,
                            two.n);
                return NULL;
            }
            if (!sail__jdict_set(vm, d, two.items[0], two.items[1]))
                return NULL;
        }
    }
    for (size_t i = 0; i < args->n_named; i++) {
        sail__jv key = SAIL__JV(STRING, .string = args->names[i]);
        if (!sail__jdict_set(vm, d, key, args->named[i]))
            return NULL;
    }
    return d;
}

SAIL__JFN(dict)
{
    (void)self;
    *out = SAIL__JV(DICT, .dict = mapping_of(vm, "dict", args));
    return out->dict != NULL;
}

SAIL__JFN(namespace)
{
    (void)self;
    *out = SAIL__JV(NAMESPACE, .dict = mapping_of(vm, "namespace", args));
    return out->dict != NULL;
}

static bool new_cycler(sail__jvm *vm, sail__jkind kind, const sail__jv *items, size_t n, sail__jv *out)
{
    sail__jcycler *c = sail__jalloc(vm, 1, sizeof *c);
    if (!c)
        return false;
    *c = (sail__jcycler){.list = {(sail__jv *)items, n}};
    *out = (sail__jv){.kind = (unsigned char)kind, .cycler = c};
    return true;
}

SAIL__JFN(cycler)
{
    (void)self;
    if (!args->n)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "at least one item has to be provided");
    return new_cycler(vm, SAIL__J_CYCLER, args->items, args->n, out);
}

SAIL__JFN(joiner)
{
    (void)self;
    sail__jv a, *items = sail__jalloc(vm, 2, sizeof *items);
    if (!items || !sail__jbind(vm, "joiner", args, "sep", 0, &a) || (!a.kind && !sail__jv_text(vm, ", ", &a)))
        return false;
    items[0] = a; /* from the second call on */
    return sail__jv_text(vm, "", &items[1]) && new_cycler(vm, SAIL__J_JOINER, items, 2, out);
}

SAIL__JFN(cycler_next)
{
    (void)vm;
    (void)args;
    sail__jcycler *c = self->cycler;
    *out = c->list.items[c->at];
    c->at = (c->at + 1) % c->list.n;
    return true;
}

SAIL__JFN(cycler_reset)
{
    (void)vm;
    (void)args;
    self->cycler->at = 0;
    *out = SAIL__JV_NONE;
    return true;
}

SAIL__JFN(raise_exception)
{
    (void)self;
    (void)out;
    sail__jv a;
    const sail__jstr *s;
    if (!sail__jbind(vm, "raise_exception", args, "message", 1, &a) || !sail__jv_to_string(vm, &a, &s))
        return false;
    return sail__jfail(vm, SAIL__JINJA_RAISED, "%.*s", (int)(s->n > 500 ? 500 : s->n), s->p);
}

SAIL__JFN(strftime_now)
{
    (void)self;
    sail__jv a;
    const sail__jstr *s;
    if (!sail__jbind(vm, "strftime_now", args, "format", 1, &a) || !sail__jv_to_string(vm, &a, &s))
        return false;
    time_t t = vm->o->now < 0 ? time(NULL) : (time_t)vm->o->now;
    struct tm tm;
    char text[512], format[256];
    if (!(vm->o->now < 0 ? localtime_r(&t, &tm) : gmtime_r(&t, &tm)) || s->n >= sizeof format - 1 || memchr(s->p, 0, s->n))
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "strftime_now: a format of %zu bytes cannot be used", s->n);
    memcpy(format, s->p, s->n);
    memcpy(format + s->n, "!", 2); /* so that nothing is told from an error */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t n = strftime(text, sizeof text, format, &tm);
#pragma GCC diagnostic pop
    if (!n || !sail__utf8_valid(text, n))
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "strftime_now: the text is too long");
    sail__jbuf b = {0};
    return sail__jbuf_add(vm, &b, text, n - 1, NULL) && sail__jv_built(vm, &b, out);
}

const sail__jentry sail__jmethods_cycler[] = {{"next", cycler_next}, {"reset", cycler_reset}, {NULL, NULL}};

const sail__jentry sail__jglobals[] = {
    {"cycler", cycler},
    {"dict", dict},
    {"joiner", joiner},
    {"namespace", namespace},
    {"raise_exception", raise_exception},
    {"range", range},
    {"strftime_now", strftime_now},
    {NULL, NULL},
};
