/* jinja_compare.c - values: their types, truth, equality, order, membership. */
#include <math.h>

#include "jinja_impl.h"

const char *sail__jtype(const sail__jv *v)
{
    static const char *const names[] = {
        [SAIL__J_ABSENT] = "NoneType",   [SAIL__J_UNDEFINED] = "Undefined",
        [SAIL__J_NONE] = "NoneType",     [SAIL__J_BOOL] = "bool",
        [SAIL__J_INT] = "int",           [SAIL__J_FLOAT] = "float",
        [SAIL__J_STRING] = "str",        [SAIL__J_LIST] = "list",
        [SAIL__J_TUPLE] = "tuple",       [SAIL__J_DICT] = "dict",
        [SAIL__J_RANGE] = "range",       [SAIL__J_ITER] = "generator",
        [SAIL__J_VIEW] = "dict_items",   [SAIL__J_NAMESPACE] = "Namespace",
        [SAIL__J_FUNCTION] = "function", [SAIL__J_MACRO] = "Macro",
        [SAIL__J_LOOP] = "LoopContext",  [SAIL__J_CYCLER] = "Cycler",
        [SAIL__J_JOINER] = "Joiner",
    };
    if (v->kind == SAIL__J_ITER || v->kind == SAIL__J_VIEW)
        return v->iter->name;
    return v->kind == SAIL__J_STRING && v->string->markup ? "Markup" : names[v->kind];
}

bool sail__jundefined_used(sail__jvm *vm, const sail__jv *v)
{
    return sail__jfail(vm, v->flag ? SAIL__JINJA_SECURITY : SAIL__JINJA_UNDEFINED, "%s", v->why);
}

bool sail__jtruth(const sail__jv *v)
{
    switch (v->kind) {
    case SAIL__J_ABSENT:
    case SAIL__J_UNDEFINED:
    case SAIL__J_NONE:
        return false;
    case SAIL__J_BOOL:
        return v->boolean;
    case SAIL__J_INT:
        return v->integer != 0;
    case SAIL__J_FLOAT:
        return v->number != 0;
    case SAIL__J_STRING:
        return v->string->n > 0;
    case SAIL__J_LIST:
    case SAIL__J_TUPLE:
        return v->list->n > 0;
    case SAIL__J_DICT:
        return v->dict->n > 0;
    case SAIL__J_RANGE:
        return v->range->n > 0;
    case SAIL__J_VIEW:
        return v->iter->list.n > 0;
    default:
        return true;
    }
}

static bool number_of(const sail__jv *v, double *x, sail__jint *i, bool *whole)
{
    *whole = v->kind != SAIL__J_FLOAT;
    if (v->kind == SAIL__J_FLOAT)
        *x = v->number;
    else if (v->kind == SAIL__J_INT)
        *x = (double)(*i = v->integer);
    else if (v->kind == SAIL__J_BOOL)
        *x = (double)(*i = v->boolean);
    else
        return false;
    return true;
}

static bool lists_equal(sail__jvm *vm, const sail__jlist *a, const sail__jlist *b, bool *equal)
{
    *equal = a->n == b->n;
    for (size_t i = 0; i < a->n && *equal; i++)
        if (!sail__jequal(vm, &a->items[i], &b->items[i], equal))
            return false;
    return true;
}

static bool dicts_equal(sail__jvm *vm, const sail__jdict *a, const sail__jdict *b, bool *equal)
{
    *equal = a->n == b->n;
    for (size_t i = 0; i < a->n && *equal; i++) {
        const sail__jv *other;
        if (!sail__jdict_get(vm, b, a->keys[i], &other))
            return false;
        *equal = other != NULL;
        if (other && !sail__jequal(vm, &a->values[i], other, equal))
            return false;
    }
    return true;
}

bool sail__jequal(sail__jvm *vm, const sail__jv *a, const sail__jv *b, bool *equal)
{
    if (!sail__jstep(vm, 1))
        return false;
    double x, y;
    sail__jint i = 0, j = 0;
    bool whole_a, whole_b;
    *equal = false;
    if (number_of(a, &x, &i, &whole_a)) {
        if (number_of(b, &y, &j, &whole_b))
            *equal = whole_a && whole_b ? i == j : x == y;
        return true;
    }
    if (a->kind != b->kind)
        return true;
    switch (a->kind) {
    case SAIL__J_UNDEFINED:
    case SAIL__J_NONE:
    case SAIL__J_ABSENT:
        *equal = true;
        return true;
    case SAIL__J_STRING:
        *equal = a->string->n == b->string->n && memcmp(a->string->p, b->string->p, a->string->n) == 0;
        return sail__jstep(vm, a->string->n / 64);
    case SAIL__J_LIST:
    case SAIL__J_TUPLE:
    case SAIL__J_DICT: {
        if (++vm->depth > vm->depth_limit)
            return sail__jfail(vm, SAIL__JINJA_LIMIT, "values are nested more than %d levels", vm->depth_limit);
        bool ok = a->kind == SAIL__J_DICT ? dicts_equal(vm, a->dict, b->dict, equal) : lists_equal(vm, a->list, b->list, equal);
        vm->depth--;
        return ok;
    }
    case SAIL__J_RANGE:
        *equal =
            a->range->n == b->range->n &&
            (a->range->n == 0 || (a->range->start == b->range->start && (a->range->n == 1 || a->range->step == b->range->step)));
        return true;
    default:
        *equal = a->dict == b->dict; /* the same thing */
        return true;
    }
}

static const char *const signs[] = {
    "+", "-", "*", "/", "//", "%", "** or pow()", "==", "!=", "<", "<=", ">", ">=", "in", "not in"};

bool sail__jorder(sail__jvm *vm, sail__jop op, const sail__jv *a, const sail__jv *b, int *order)
{
    double x, y;
    sail__jint i = 0, j = 0;
    bool whole_a, whole_b;
    *order = 0;
    if (a->kind == SAIL__J_UNDEFINED || b->kind == SAIL__J_UNDEFINED)
        return sail__jundefined_used(vm, a->kind == SAIL__J_UNDEFINED ? a : b);
    if (number_of(a, &x, &i, &whole_a) && number_of(b, &y, &j, &whole_b)) {
        *order = whole_a && whole_b ? (i > j) - (i < j) : isnan(x) || isnan(y) ? 2 : (x > y) - (x < y);
        return true;
    }
    if (a->kind == SAIL__J_STRING && b->kind == SAIL__J_STRING) { /* UTF-8 keeps the order of code points */
        size_t n = a->string->n < b->string->n ? a->string->n : b->string->n;
        int c = n ? memcmp(a->string->p, b->string->p, n) : 0;
        *order = c ? (c > 0) - (c < 0) : (a->string->n > b->string->n) - (a->string->n < b->string->n);
        return sail__jstep(vm, n / 64 + 1);
    }
    if (a->kind == b->kind && (a->kind == SAIL__J_LIST || a->kind == SAIL__J_TUPLE)) {
        const sail__jlist *l = a->list, *m = b->list;
        if (++vm->depth > vm->depth_limit)
            return sail__jfail(vm, SAIL__JINJA_LIMIT, "values are nested more than %d levels", vm->depth_limit);
        for (size_t k = 0; k < l->n && k < m->n; k++) {
            bool equal;
            if (!sail__jequal(vm, &l->items[k], &m->items[k], &equal))
                return false;
            if (!equal) {
                vm->depth--;
                return sail__jorder(vm, op, &l->items[k], &m->items[k], order);
            }
        }
        vm->depth--;
        *order = (l->n > m->n) - (l->n < m->n);
        return true;
    }
    return sail__jfail(vm, SAIL__JINJA_RUNTIME, "'%s' not supported between instances of '%s' and '%s'", signs[op],
                       sail__jtype(a), sail__jtype(b));
}

bool sail__jcontains(sail__jvm *vm, const sail__jv *in, const sail__jv *v, bool *yes)
{
    *yes = false;
    if (in->kind == SAIL__J_STRING) {
        if (v->kind != SAIL__J_STRING)
            return sail__jfail(vm, SAIL__JINJA_RUNTIME, "'in <string>' requires string as left operand, not %s", sail__jtype(v));
        const sail__jstr *s = in->string, *w = v->string;
        *yes = w->n == 0 || memmem(s->p, s->n, w->p, w->n) != NULL;
        return sail__jstep(vm, s->n / 16 + 1);
    }
    if (in->kind == SAIL__J_DICT) {
        const sail__jv *value;
        if (!sail__jhashable(v))
            return sail__jfail(vm, SAIL__JINJA_RUNTIME, "unhashable type: '%s'", sail__jtype(v));
        if (!sail__jdict_get(vm, in->dict, *v, &value))
            return false;
        *yes = value != NULL;
        return true;
    }
    sail__jlist l;
    if (in->kind == SAIL__J_NONE || in->kind == SAIL__J_BOOL || in->kind == SAIL__J_INT || in->kind == SAIL__J_FLOAT)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "argument of type '%s' is not iterable", sail__jtype(in));
    if (!sail__jitems_of(vm, in, &l))
        return false;
    for (size_t i = 0; i < l.n && !*yes; i++)
        if (!sail__jequal(vm, &l.items[i], v, yes))
            return false;
    return true;
}

bool sail__jcompare(sail__jvm *vm, sail__jop op, const sail__jv *a, const sail__jv *b, bool *yes)
{
    int order;
    switch (op) {
    case SAIL__J_EQ:
    case SAIL__J_NE:
        if (!sail__jequal(vm, a, b, yes))
            return false;
        *yes ^= op == SAIL__J_NE;
        return true;
    case SAIL__J_IN:
    case SAIL__J_NOT_IN:
        if (!sail__jcontains(vm, b, a, yes))
            return false;
        *yes ^= op == SAIL__J_NOT_IN;
        return true;
    default:
        if (!sail__jorder(vm, op, a, b, &order))
            return false;
        *yes = order != 2 && (op == SAIL__J_LT   ? order < 0
                              : op == SAIL__J_LE ? order <= 0
                              : op == SAIL__J_GT ? order > 0
                                                 : order >= 0);
        return true;
    }
}
