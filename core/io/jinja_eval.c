/* jinja_eval.c - expressions: a tree to a value. A fault is told with the line of the statement, as Jinja does. */
#include <math.h>
#include <stdio.h>

#include "jinja_impl.h"

/* ---- operators ---- */

static bool unsupported(sail__jvm *vm, sail__jop op, const sail__jv *a, const sail__jv *b)
{
    static const char *const signs[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};
    if (a->kind == SAIL__J_UNDEFINED || b->kind == SAIL__J_UNDEFINED)
        return sail__jundefined_used(vm, a->kind == SAIL__J_UNDEFINED ? a : b);
    if (op == SAIL__J_ADD && a->kind == SAIL__J_STRING)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "can only concatenate str (not \"%s\") to str", sail__jtype(b));
    if (op == SAIL__J_ADD && (a->kind == SAIL__J_LIST || a->kind == SAIL__J_TUPLE))
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "can only concatenate %s (not \"%s\") to %s", sail__jtype(a), sail__jtype(b),
                           sail__jtype(a));
    return sail__jfail(vm, SAIL__JINJA_RUNTIME, "unsupported operand type(s) for %s: '%s' and '%s'", signs[op], sail__jtype(a),
                       sail__jtype(b));
}

static bool too_large(sail__jvm *vm)
{
    return sail__jfail(vm, SAIL__JINJA_LIMIT, "a number is too large");
}

static bool power(sail__jvm *vm, sail__jint a, sail__jint b, sail__jv *out)
{
    if (b < 0) {
        if (a == 0)
            return sail__jfail(vm, SAIL__JINJA_RUNTIME, "0.0 cannot be raised to a negative power");
        *out = SAIL__JV(FLOAT, .number = pow((double)a, (double)b));
        return true;
    }
    sail__jint r = 1;
    if (a == 0 || a == 1 || a == -1)
        b = b % 2 ? 1 : b ? 2 : 0;
    for (; b; b--)
        if (__builtin_mul_overflow(r, a, &r))
            return too_large(vm);
    *out = SAIL__JV(INT, .integer = r);
    return true;
}

static bool integers(sail__jvm *vm, sail__jop op, sail__jint a, sail__jint b, sail__jv *out)
{
    sail__jint r = 0;
    bool over = false;
    if ((op == SAIL__J_DIV || op == SAIL__J_FLOORDIV || op == SAIL__J_MOD) && b == 0)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME,
                           op == SAIL__J_DIV ? "division by zero" : "integer division or modulo by zero");
    switch (op) {
    case SAIL__J_ADD:
        over = __builtin_add_overflow(a, b, &r);
        break;
    case SAIL__J_SUB:
        over = __builtin_sub_overflow(a, b, &r);
        break;
    case SAIL__J_MUL:
        over = __builtin_mul_overflow(a, b, &r);
        break;
    case SAIL__J_DIV:
        *out = SAIL__JV(FLOAT, .number = (double)a / (double)b);
        return true;
    case SAIL__J_FLOORDIV:
        over = b == -1 && __builtin_sub_overflow((sail__jint)0, a, &r);
        if (b != -1)
            r = a / b - (a % b != 0 && (a < 0) != (b < 0));
        break;
    case SAIL__J_MOD:
        r = b == -1 ? 0 : a % b;
        if (r != 0 && (r < 0) != (b < 0))
            r += b;
        break;
    default:
        return power(vm, a, b, out);
    }
    *out = SAIL__JV(INT, .integer = r);
    return over ? too_large(vm) : true;
}

static bool floats(sail__jvm *vm, sail__jop op, double a, double b, sail__jv *out)
{
    double r = 0;
    if ((op == SAIL__J_DIV || op == SAIL__J_FLOORDIV || op == SAIL__J_MOD) && b == 0)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "float division by zero");
    switch (op) {
    case SAIL__J_ADD:
        r = a + b;
        break;
    case SAIL__J_SUB:
        r = a - b;
        break;
    case SAIL__J_MUL:
        r = a * b;
        break;
    case SAIL__J_DIV:
        r = a / b;
        break;
    case SAIL__J_FLOORDIV:
    case SAIL__J_MOD:
        r = fmod(a, b);
        if (r != 0 && (r < 0) != (b < 0))
            r += b;
        if (op == SAIL__J_FLOORDIV)
            r = floor((a - r) / b + 0.5);
        else if (r == 0)
            r = copysign(0.0, b);
        break;
    default:
        if (a == 0 && b < 0)
            return sail__jfail(vm, SAIL__JINJA_RUNTIME, "0.0 cannot be raised to a negative power");
        if (a < 0 && b != floor(b))
            return sail__jfail(vm, SAIL__JINJA_RUNTIME, "a root of a negative number is not supported");
        r = pow(a, b);
        if (isinf(r) && !isinf(a) && !isinf(b))
            return sail__jfail(vm, SAIL__JINJA_RUNTIME, "Numerical result out of range");
    }
    *out = SAIL__JV(FLOAT, .number = r);
    return true;
}

static bool is_number(const sail__jv *v)
{
    return v->kind == SAIL__J_BOOL || v->kind == SAIL__J_INT || v->kind == SAIL__J_FLOAT;
}
static sail__jint whole(const sail__jv *v)
{
    return v->kind == SAIL__J_BOOL ? v->boolean : v->integer;
}
static double real(const sail__jv *v)
{
    return v->kind == SAIL__J_FLOAT ? v->number : (double)whole(v);
}

static bool join_strings(sail__jvm *vm, const sail__jv *a, const sail__jv *b, sail__jv *out)
{
    const sail__jstr *x = a->string, *y = b->string;
    bool markup = x->markup || y->markup;
    if (markup && (!sail__jescape(vm, a, &x) || !sail__jescape(vm, b, &y)))
        return false;
    sail__jbuf buf = {0};
    if (!sail__jbuf_add(vm, &buf, x->p, x->n, x->foreign) || !sail__jbuf_add(vm, &buf, y->p, y->n, y->foreign) ||
        !sail__jv_built(vm, &buf, out))
        return false;
    ((sail__jstr *)out->string)->markup = markup;
    return true;
}

static bool join_lists(sail__jvm *vm, const sail__jv *a, const sail__jv *b, sail__jv *out)
{
    size_t n = a->list->n + b->list->n;
    sail__jv *items = sail__jalloc(vm, n + 1, sizeof *items);
    if (!items || !sail__jstep(vm, n / 4))
        return false;
    for (size_t i = 0; i < n; i++)
        items[i] = i < a->list->n ? a->list->items[i] : b->list->items[i - a->list->n];
    return sail__jv_list(vm, (sail__jkind)a->kind, items, n, out);
}

static bool repeat(sail__jvm *vm, const sail__jv *v, const sail__jv *times, sail__jv *out)
{
    sail__jint n = whole(times);
    if (n < 0)
        n = 0;
    if (v->kind == SAIL__J_STRING) {
        sail__jbuf b = {0};
        for (sail__jint i = 0; i < n && v->string->n; i++)
            if (!sail__jbuf_add(vm, &b, v->string->p, v->string->n, v->string->foreign))
                return false;
        return sail__jv_built(vm, &b, out);
    }
    sail__jitems l = {0};
    for (sail__jint i = 0; i < n && v->list->n; i++)
        for (size_t k = 0; k < v->list->n; k++)
            if (!sail__jstep(vm, 1) || !sail__jitems_add(vm, &l, v->list->items[k]))
                return false;
    return sail__jv_list(vm, (sail__jkind)v->kind, l.items, l.n, out);
}

static bool sequence(const sail__jv *v)
{
    return v->kind == SAIL__J_STRING || v->kind == SAIL__J_LIST || v->kind == SAIL__J_TUPLE;
}

bool sail__jbinary(sail__jvm *vm, sail__jop op, const sail__jv *a, const sail__jv *b, sail__jv *out)
{
    if (op == SAIL__J_MOD && a->kind == SAIL__J_STRING)
        return sail__jpercent(vm, a->string, b, out);
    if (is_number(a) && is_number(b)) {
        if (a->kind == SAIL__J_FLOAT || b->kind == SAIL__J_FLOAT)
            return floats(vm, op, real(a), real(b), out);
        return integers(vm, op, whole(a), whole(b), out);
    }
    if (op == SAIL__J_ADD && a->kind == b->kind && sequence(a))
        return a->kind == SAIL__J_STRING ? join_strings(vm, a, b, out) : join_lists(vm, a, b, out);
    if (op == SAIL__J_MUL && sequence(a) && (b->kind == SAIL__J_INT || b->kind == SAIL__J_BOOL))
        return repeat(vm, a, b, out);
    if (op == SAIL__J_MUL && sequence(b) && (a->kind == SAIL__J_INT || a->kind == SAIL__J_BOOL))
        return repeat(vm, b, a, out);
    return unsupported(vm, op, a, b);
}

/* ---- nodes ---- */

static bool sign(sail__jvm *vm, const sail__jnode *n, sail__jv *out)
{
    sail__jv v;
    if (!sail__jeval(vm, n->a, &v))
        return false;
    if (v.kind == SAIL__J_UNDEFINED)
        return sail__jundefined_used(vm, &v);
    if (!is_number(&v))
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "bad operand type for unary %c: '%s'", n->kind == SAIL__JN_NEG ? '-' : '+',
                           sail__jtype(&v));
    if (v.kind == SAIL__J_FLOAT)
        *out = SAIL__JV(FLOAT, .number = n->kind == SAIL__JN_NEG ? -v.number : v.number);
    else if (n->kind == SAIL__JN_NEG)
        return integers(vm, SAIL__J_SUB, 0, whole(&v), out);
    else
        *out = SAIL__JV(INT, .integer = whole(&v));
    return true;
}

static bool binary(sail__jvm *vm, const sail__jnode *n, sail__jv *out)
{
    sail__jv a, b;
    if (!sail__jeval(vm, n->a, &a) || !sail__jeval(vm, n->b, &b))
        return false;
    return sail__jbinary(vm, (sail__jop)n->op, &a, &b, out);
}

static bool compare(sail__jvm *vm, const sail__jnode *n, sail__jv *out)
{
    sail__jv left, right;
    bool yes = true;
    if (!sail__jeval(vm, n->a, &left))
        return false;
    for (unsigned i = 0; i < n->n && yes; i++) {
        if (!sail__jeval(vm, n->items[i]->a, &right))
            return false;
        if (!sail__jcompare(vm, (sail__jop)n->items[i]->op, &left, &right, &yes))
            return false;
        left = right;
    }
    *out = SAIL__JV(BOOL, .boolean = yes);
    return true;
}

static bool concat(sail__jvm *vm, const sail__jnode *n, sail__jv *out)
{
    sail__jbuf b = {0};
    for (unsigned i = 0; i < n->n; i++) {
        sail__jv v;
        if (!sail__jeval(vm, n->items[i], &v) || !sail__jv_str(vm, &v, &b))
            return false;
    }
    return sail__jv_built(vm, &b, out);
}

static bool items(sail__jvm *vm, const sail__jnode *n, sail__jv *out)
{
    sail__jv *v = sail__jalloc(vm, n->n + 1, sizeof *v);
    if (!v)
        return false;
    for (unsigned i = 0; i < n->n; i++)
        if (!sail__jeval(vm, n->items[i], &v[i]))
            return false;
    return sail__jv_list(vm, n->kind == SAIL__JN_LIST ? SAIL__J_LIST : SAIL__J_TUPLE, v, n->n, out);
}

static bool dict(sail__jvm *vm, const sail__jnode *n, sail__jv *out)
{
    sail__jdict *d = sail__jdict_new(vm, n->n / 2);
    for (unsigned i = 0; d && i < n->n; i += 2) {
        sail__jv key, value;
        if (!sail__jeval(vm, n->items[i], &key) || !sail__jeval(vm, n->items[i + 1], &value))
            return false;
        if (!sail__jdict_set(vm, d, key, value))
            return false;
    }
    *out = SAIL__JV(DICT, .dict = d);
    return d != NULL;
}

static bool item(sail__jvm *vm, const sail__jnode *n, sail__jv *out)
{
    sail__jv v, key, part[3] = {{0}, {0}, {0}};
    if (!sail__jeval(vm, n->a, &v))
        return false;
    if (n->b->kind == SAIL__JN_SLICE) {
        const sail__jnode *parts[] = {n->b->a, n->b->b, n->b->c};
        for (int i = 0; i < 3; i++)
            if (parts[i] && !sail__jeval(vm, parts[i], &part[i]))
                return false;
        return sail__jslice(vm, &v, &part[0], &part[1], &part[2], out);
    }
    if (!sail__jeval(vm, n->b, &key))
        return false;
    return sail__jitem(vm, &v, &key, out);
}

/* *rest and **rest at the end of the arguments. */
static bool spread(sail__jvm *vm, const sail__jnode *n, sail__jitems *pos, sail__jargs *out)
{
    sail__jv v;
    sail__jlist l;
    if (n->b) {
        if (!sail__jeval(vm, n->b, &v) || !sail__jitems_of(vm, &v, &l))
            return false;
        for (size_t i = 0; i < l.n; i++)
            if (!sail__jitems_add(vm, pos, l.items[i]))
                return false;
    }
    if (!n->c)
        return true;
    if (!sail__jeval(vm, n->c, &v))
        return false;
    if (v.kind != SAIL__J_DICT)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "argument after ** must be a mapping, not %s", sail__jtype(&v));
    size_t total = out->n_named + v.dict->n;
    sail__jv *named = sail__jalloc(vm, total + 1, sizeof *named);
    const sail__jstr **names = sail__jalloc(vm, total + 1, sizeof *names);
    if (!named || !names)
        return false;
    for (size_t i = 0; i < out->n_named; i++) {
        named[i] = out->named[i];
        names[i] = out->names[i];
    }
    for (size_t i = 0; i < v.dict->n; i++) {
        if (v.dict->keys[i].kind != SAIL__J_STRING)
            return sail__jfail(vm, SAIL__JINJA_RUNTIME, "keywords must be strings");
        named[out->n_named + i] = v.dict->values[i];
        names[out->n_named + i] = v.dict->keys[i].string;
    }
    out->named = named;
    out->names = names;
    out->n_named = total;
    return true;
}

bool sail__jeval_args(sail__jvm *vm, const sail__jnode *n, sail__jargs *out)
{
    *out = (sail__jargs){0};
    sail__jitems pos = {.items = n->n ? sail__jalloc(vm, n->n, sizeof *pos.items) : NULL, .cap = n->n};
    sail__jv *named = n->n_named ? sail__jalloc(vm, n->n_named, sizeof *named) : NULL;
    const sail__jstr **names = n->n_named ? sail__jalloc(vm, n->n_named, sizeof *names) : NULL;
    if ((n->n && !pos.items) || (n->n_named && (!named || !names)))
        return false;
    for (unsigned i = 0; i < n->n; i++)
        if (!sail__jeval(vm, n->items[i], &pos.items[pos.n++]))
            return false;
    for (unsigned i = 0; i < n->n_named; i++) {
        names[i] = &n->names[i]->text;
        if (!sail__jeval(vm, n->named[i], &named[i]))
            return false;
    }
    out->named = named;
    out->names = names;
    out->n_named = n->n_named;
    if ((n->b || n->c) && !spread(vm, n, &pos, out))
        return false;
    out->items = pos.items;
    out->n = pos.n;
    return true;
}

static bool call(sail__jvm *vm, const sail__jnode *n, sail__jv *out)
{
    sail__jv callee;
    sail__jargs args;
    if (!sail__jeval(vm, n->a, &callee) || !sail__jeval_args(vm, n, &args))
        return false;
    return sail__jcall(vm, &callee, &args, out);
}

bool sail__jcall(sail__jvm *vm, const sail__jv *callee, const sail__jargs *args, sail__jv *out)
{
    switch (callee->kind) {
    case SAIL__J_UNDEFINED:
        return sail__jundefined_used(vm, callee);
    case SAIL__J_FUNCTION:
        return callee->bound->fn(vm, &callee->bound->self, args, out);
    case SAIL__J_MACRO:
        return sail__jcall_macro(vm, callee->macro, args, out);
    case SAIL__J_LOOP:
        return sail__jcall_loop(vm, callee->loop, args, out);
    case SAIL__J_JOINER:
        if (args->n || args->n_named)
            return sail__jfail(vm, SAIL__JINJA_RUNTIME, "a joiner is called without arguments");
        *out = callee->cycler->list.items[callee->cycler->at++ ? 0 : 1];
        return true;
    default:
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "'%s' object is not callable", sail__jtype(callee));
    }
}

static bool filter_or_test(sail__jvm *vm, const sail__jnode *n, const sail__jv *of, sail__jv *out)
{
    sail__jargs args;
    if (!n->fn)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "No %s named '%s' found.", n->kind == SAIL__JN_FILTER ? "filter" : "test",
                           n->name->text.p);
    return sail__jeval_args(vm, n, &args) && n->fn(vm, of, &args, out);
}

bool sail__japply_filters(sail__jvm *vm, const sail__jnode *n, const sail__jv *to, sail__jv *out)
{
    sail__jv v = *to;
    if (n->a && !sail__japply_filters(vm, n->a, to, &v))
        return false;
    return filter_or_test(vm, n, &v, out);
}

static bool filtered(sail__jvm *vm, const sail__jnode *n, sail__jv *out)
{
    sail__jv v;
    return sail__jeval(vm, n->a, &v) && filter_or_test(vm, n, &v, out);
}

static bool logical(sail__jvm *vm, const sail__jnode *n, sail__jv *out)
{
    for (unsigned i = 0; i < n->n; i++) {
        if (!sail__jeval(vm, n->items[i], out))
            return false;
        if (i + 1 < n->n && out->kind == SAIL__J_UNDEFINED && out->flag)
            return sail__jundefined_used(vm, out);
        if (sail__jtruth(out) == (n->kind == SAIL__JN_OR))
            break;
    }
    return true;
}

static bool condition(sail__jvm *vm, const sail__jnode *n, sail__jv *out)
{
    sail__jv test;
    if (!sail__jeval(vm, n->a, &test))
        return false;
    if (sail__jtruth(&test))
        return sail__jeval(vm, n->b, out);
    if (n->c)
        return sail__jeval(vm, n->c, out);
    return sail__jv_undefined(vm, out, "the inline if-expression evaluated to false and no else section was defined.");
}

static bool not_of(sail__jvm *vm, const sail__jnode *n, sail__jv *out)
{
    sail__jv v;
    if (!sail__jeval(vm, n->a, &v))
        return false;
    *out = SAIL__JV(BOOL, .boolean = !sail__jtruth(&v));
    return true;
}

static bool attribute(sail__jvm *vm, const sail__jnode *n, sail__jv *out)
{
    sail__jv v;
    if (!sail__jeval(vm, n->a, &v))
        return false;
    return sail__jattr(vm, &v, &n->name->text, out);
}

static bool lone_slice(sail__jvm *vm)
{
    return sail__jfail(vm, SAIL__JINJA_RUNTIME, "several slices at once are not supported");
}

static bool node(sail__jvm *vm, const sail__jnode *n, sail__jv *out)
{
    switch (n->kind) {
    case SAIL__JN_CONST:
        *out = n->value;
        return true;
    case SAIL__JN_NAME:
        return sail__jlookup(vm, n->name, out);
    case SAIL__JN_TUPLE:
    case SAIL__JN_LIST:
        return items(vm, n, out);
    case SAIL__JN_DICT:
        return dict(vm, n, out);
    case SAIL__JN_COND:
        return condition(vm, n, out);
    case SAIL__JN_OR:
    case SAIL__JN_AND:
        return logical(vm, n, out);
    case SAIL__JN_NOT:
        return not_of(vm, n, out);
    case SAIL__JN_COMPARE:
        return compare(vm, n, out);
    case SAIL__JN_BINARY:
        return binary(vm, n, out);
    case SAIL__JN_NEG:
    case SAIL__JN_POS:
        return sign(vm, n, out);
    case SAIL__JN_CONCAT:
        return concat(vm, n, out);
    case SAIL__JN_ATTR:
        return attribute(vm, n, out);
    case SAIL__JN_ITEM:
        return item(vm, n, out);
    case SAIL__JN_CALL:
        return call(vm, n, out);
    case SAIL__JN_FILTER:
    case SAIL__JN_TEST:
        return filtered(vm, n, out);
    default:
        return lone_slice(vm);
    }
}

bool sail__jeval(sail__jvm *vm, const sail__jnode *n, sail__jv *out)
{
    if (!sail__jstep(vm, 1))
        return false;
    if (++vm->depth > vm->depth_limit)
        return sail__jfail(vm, SAIL__JINJA_LIMIT, "the template nests more than %d levels", vm->depth_limit);
    bool ok = node(vm, n, out);
    vm->depth--;
    return ok;
}
