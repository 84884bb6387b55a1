/* jinja_value.c - values: made, and looked into. */
#include <stdarg.h>
#include <stdio.h>

#include "jinja_impl.h"

bool sail__jfail(sail__jvm *vm, sail__jinja_kind kind, const char *fmt, ...)
{
    if (vm->fault->kind != SAIL__JINJA_NONE || vm->err->code)
        return false; /* the first one holds */
    va_list args;
    va_start(args, fmt);
    vsnprintf(vm->fault->message, sizeof vm->fault->message, fmt, args);
    va_end(args);
    vm->fault->kind = kind;
    vm->fault->line = vm->line;
    sail_fail(vm->err, kind == SAIL__JINJA_LIMIT ? SAIL_E_LIMIT : SAIL_E_FORMAT, "%s:%d: %s", vm->t->origin, vm->line,
              vm->fault->message);
    return false;
}

void *sail__jalloc(sail__jvm *vm, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > vm->memory_limit - vm->memory) {
        sail__jfail(vm, SAIL__JINJA_LIMIT, "the template takes too much memory and was stopped");
        return NULL;
    }
    vm->memory += bytes;
    void *p = sail__arena_alloc(vm->arena, bytes);
    if (!p && !vm->err->code)
        sail_fail(vm->err, SAIL_E_NOMEM, "%s: no memory to render the template", vm->t->origin);
    return p;
}

/* ---- making ---- */

bool sail__jv_string(sail__jvm *vm, const char *p, size_t n, const unsigned char *foreign, sail__jv *out)
{
    sail__jstr *s = sail__jalloc(vm, 1, sizeof *s);
    if (!s)
        return false;
    *s = (sail__jstr){.p = p, .n = n, .foreign = foreign};
    *out = SAIL__JV(STRING, .string = s);
    return true;
}

bool sail__jv_text(sail__jvm *vm, const char *s, sail__jv *out)
{
    return sail__jv_string(vm, s, strlen(s), NULL, out);
}

bool sail__jv_built(sail__jvm *vm, const sail__jbuf *b, sail__jv *out)
{
    return sail__jv_string(vm, b->n ? b->p : "", b->n, b->foreign, out);
}

bool sail__jv_list(sail__jvm *vm, sail__jkind kind, const sail__jv *items, size_t n, sail__jv *out)
{
    sail__jlist *l = sail__jalloc(vm, 1, sizeof *l);
    if (!l)
        return false;
    *l = (sail__jlist){(sail__jv *)items, n};
    *out = (sail__jv){.kind = (unsigned char)kind, .list = l};
    return true;
}

bool sail__jv_iter(sail__jvm *vm, sail__jkind kind, const char *name, const sail__jv *items, size_t n, sail__jv *out)
{
    sail__jiter *i = sail__jalloc(vm, 1, sizeof *i);
    if (!i)
        return false;
    *i = (sail__jiter){.list = {(sail__jv *)items, n}, .name = name};
    *out = (sail__jv){.kind = (unsigned char)kind, .iter = i};
    return true;
}

bool sail__jv_undefined(sail__jvm *vm, sail__jv *out, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    char *why = sail__jalloc(vm, strlen(text) + 1, 1);
    if (!why)
        return false;
    memcpy(why, text, strlen(text) + 1);
    *out = SAIL__JV(UNDEFINED, .why = why);
    return true;
}

bool sail__jitems_add(sail__jvm *vm, sail__jitems *l, sail__jv v)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 4;
        sail__jv *more = sail__jalloc(vm, cap, sizeof *more);
        if (!more)
            return false;
        if (l->n)
            memcpy(more, l->items, l->n * sizeof *more);
        l->items = more;
        l->cap = cap;
    }
    l->items[l->n++] = v;
    return true;
}

sail__jdict *sail__jdict_new(sail__jvm *vm, size_t cap)
{
    sail__jdict *d = sail__jalloc(vm, 1, sizeof *d);
    if (d && cap &&
        (!(d->keys = sail__jalloc(vm, cap, sizeof *d->keys)) || !(d->values = sail__jalloc(vm, cap, sizeof *d->values))))
        return NULL;
    if (d)
        d->cap = cap;
    return d;
}

const sail__jv *sail__jdict_text(const sail__jdict *d, const char *key, size_t n)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->keys[i].kind == SAIL__J_STRING && d->keys[i].string->n == n && memcmp(d->keys[i].string->p, key, n) == 0)
            return &d->values[i];
    return NULL;
}

bool sail__jhashable(const sail__jv *v)
{
    if (v->kind == SAIL__J_TUPLE)
        for (size_t i = 0; i < v->list->n; i++)
            if (!sail__jhashable(&v->list->items[i]))
                return false;
    return v->kind != SAIL__J_LIST && v->kind != SAIL__J_DICT;
}

bool sail__jdict_get(sail__jvm *vm, const sail__jdict *d, sail__jv key, const sail__jv **value)
{
    *value = NULL;
    if (!sail__jstep(vm, d->n / 4 + 1))
        return false;
    if (key.kind == SAIL__J_STRING) {
        *value = sail__jdict_text(d, key.string->p, key.string->n);
        return true;
    }
    bool equal = false;
    for (size_t i = 0; i < d->n && !equal; i++) {
        if (!sail__jequal(vm, &d->keys[i], &key, &equal))
            return false;
        if (equal)
            *value = &d->values[i];
    }
    return true;
}

bool sail__jdict_set(sail__jvm *vm, sail__jdict *d, sail__jv key, sail__jv value)
{
    const sail__jv *at;
    if (!sail__jhashable(&key))
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "unhashable type: '%s'", sail__jtype(&key));
    if (!sail__jdict_get(vm, d, key, &at))
        return false;
    if (at) {
        *(sail__jv *)at = value;
        return true;
    }
    if (d->n == d->cap) {
        size_t cap = d->cap ? 2 * d->cap : 4;
        sail__jv *keys = sail__jalloc(vm, cap, sizeof *keys), *values = sail__jalloc(vm, cap, sizeof *values);
        if (!keys || !values)
            return false;
        if (d->n) {
            memcpy(keys, d->keys, d->n * sizeof *keys);
            memcpy(values, d->values, d->n * sizeof *values);
        }
        d->keys = keys;
        d->values = values;
        d->cap = cap;
    }
    d->keys[d->n] = key;
    d->values[d->n++] = value;
    return true;
}

static bool plain_word(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!((unsigned)((s[i] | 0x20) - 'a') < 26u || (unsigned)(s[i] - '0') < 10u || s[i] == '_' || s[i] == '-'))
            return false;
    return n > 0 && n < 64;
}

static bool node_string(sail__jvm *vm, const char *s, size_t n, bool foreign, sail__jv *out)
{
    unsigned char *mask = NULL;
    if (foreign && n) {
        if (!(mask = sail__jalloc(vm, n, 1)))
            return false;
        memset(mask, 1, n);
    }
    return sail__jv_string(vm, s, n, mask, out);
}

bool sail__jv_from_node(sail__jvm *vm, const sail_node *n, bool foreign, sail__jv *out)
{
    *out = SAIL__JV_NONE;
    if (!n || !sail__jstep(vm, 1))
        return !n;
    switch (n->kind) {
    case SAIL_NODE_BOOL:
        *out = SAIL__JV(BOOL, .boolean = n->boolean);
        return true;
    case SAIL_NODE_INT:
        *out = SAIL__JV(INT, .integer = n->integer);
        return true;
    case SAIL_NODE_FLOAT:
        *out = SAIL__JV(FLOAT, .number = n->number);
        return true;
    case SAIL_NODE_STRING:
        return node_string(vm, n->string.data, n->string.len, foreign, out);
    case SAIL_NODE_LIST: {
        sail__jv *items = sail__jalloc(vm, n->list.n + 1, sizeof *items);
        if (!items)
            return false;
        for (size_t i = 0; i < n->list.n; i++)
            if (!sail__jv_from_node(vm, n->list.items[i], foreign, &items[i]))
                return false;
        return sail__jv_list(vm, SAIL__J_LIST, items, n->list.n, out);
    }
    case SAIL_NODE_MAP: {
        sail__jdict *d = sail__jdict_new(vm, n->list.n + 1);
        if (!d)
            return false;
        for (size_t i = 0; i < n->list.n; i++) {
            const char *key = n->list.keys[i];
            const sail_node *item = n->list.items[i];
            bool role = strcmp(key, "role") == 0 && item && item->kind == SAIL_NODE_STRING &&
                        plain_word(item->string.data, item->string.len);
            if (!node_string(vm, key, strlen(key), foreign, &d->keys[i]) ||
                !sail__jv_from_node(vm, item, foreign && !role, &d->values[i]))
                return false;
            d->n++;
        }
        *out = SAIL__JV(DICT, .dict = d);
        return true;
    }
    default:
        return true;
    }
}

/* ---- looking into ---- */

static bool characters(sail__jvm *vm, const sail__jstr *s, sail__jlist *out)
{
    size_t n = sail__jlength(s), at = 0;
    if (!sail__jstep(vm, n) || !(out->items = sail__jalloc(vm, n + 1, sizeof *out->items)))
        return false;
    out->n = n;
    for (size_t i = 0; i < n; i++) {
        size_t from = at;
        sail__jnext(s, &at);
        if (!sail__jv_string(vm, s->p + from, at - from, s->foreign ? s->foreign + from : NULL, &out->items[i]))
            return false;
    }
    return true;
}

bool sail__jitems_of(sail__jvm *vm, const sail__jv *v, sail__jlist *out)
{
    *out = (sail__jlist){0};
    switch (v->kind) {
    case SAIL__J_UNDEFINED:
        return v->flag ? sail__jundefined_used(vm, v) : true;
    case SAIL__J_STRING:
        return characters(vm, v->string, out);
    case SAIL__J_LIST:
    case SAIL__J_TUPLE:
        *out = *v->list;
        return sail__jstep(vm, 1);
    case SAIL__J_DICT:
        *out = (sail__jlist){v->dict->keys, v->dict->n};
        return sail__jstep(vm, 1);
    case SAIL__J_RANGE:
        if (!sail__jstep(vm, v->range->n) || !(out->items = sail__jalloc(vm, v->range->n + 1, sizeof *out->items)))
            return false;
        for (; out->n < v->range->n; out->n++)
            out->items[out->n] = SAIL__JV(INT, .integer = v->range->start + (sail__jint)out->n * v->range->step);
        return true;
    case SAIL__J_VIEW:
        *out = v->iter->list;
        return true;
    case SAIL__J_ITER:
        if (v->iter->at < v->iter->list.n)
            *out = (sail__jlist){v->iter->list.items + v->iter->at, v->iter->list.n - v->iter->at};
        v->iter->at = v->iter->list.n;
        return true;
    default:
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "'%s' object is not iterable", sail__jtype(v));
    }
}

bool sail__jsize(sail__jvm *vm, const sail__jv *v, size_t *n)
{
    switch (v->kind) {
    case SAIL__J_UNDEFINED:
        *n = 0;
        return v->flag ? sail__jundefined_used(vm, v) : true;
    case SAIL__J_STRING:
        *n = sail__jlength(v->string);
        return sail__jstep(vm, v->string->n / 16);
    case SAIL__J_LIST:
    case SAIL__J_TUPLE:
        *n = v->list->n;
        return true;
    case SAIL__J_DICT:
        *n = v->dict->n;
        return true;
    case SAIL__J_RANGE:
        *n = v->range->n;
        return true;
    case SAIL__J_VIEW:
        *n = v->iter->list.n;
        return true;
    default:
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "object of type '%s' has no len()", sail__jtype(v));
    }
}

bool sail__jas_int(sail__jvm *vm, const sail__jv *v, const char *what, int64_t *out)
{
    sail__jint i = v->kind == SAIL__J_BOOL ? v->boolean : v->kind == SAIL__J_INT ? v->integer : 0;
    if (v->kind != SAIL__J_BOOL && v->kind != SAIL__J_INT)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "%s must be an integer, not '%s'", what, sail__jtype(v));
    if (i > INT64_MAX / 4 || i < INT64_MIN / 4)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "%s is too large an integer", what);
    *out = (int64_t)i;
    return true;
}

/* The character of a string at an index that may count from the end; false: there is none. */
static bool character_at(const sail__jstr *s, int64_t i, size_t *from, size_t *to)
{
    int64_t n = (int64_t)sail__jlength(s);
    if (i < 0)
        i += n;
    if (i < 0 || i >= n)
        return false;
    for (*to = 0; i >= 0; i--) {
        *from = *to;
        sail__jnext(s, to);
    }
    return true;
}

static bool index_of(sail__jvm *vm, const sail__jv *v, int64_t i, sail__jv *out, bool *found)
{
    size_t from = 0, to = 0;
    if (v->kind == SAIL__J_STRING) {
        *found = character_at(v->string, i, &from, &to);
        if (!sail__jstep(vm, v->string->n / 16))
            return false;
        return !*found ||
               sail__jv_string(vm, v->string->p + from, to - from, v->string->foreign ? v->string->foreign + from : NULL, out);
    }
    int64_t n = v->kind == SAIL__J_RANGE ? (int64_t)v->range->n : (int64_t)v->list->n;
    if (i < 0)
        i += n;
    if ((*found = i >= 0 && i < n))
        *out = v->kind == SAIL__J_RANGE ? SAIL__JV(INT, .integer = v->range->start + (sail__jint)i * v->range->step)
                                        : v->list->items[i];
    return true;
}

/* What obj[key] gives; *found is false where Python would raise a LookupError or TypeError. */
static bool subscript(sail__jvm *vm, const sail__jv *v, const sail__jv *key, sail__jv *out, bool *found)
{
    *found = false;
    if (v->kind == SAIL__J_UNDEFINED)
        return sail__jundefined_used(vm, v);
    if (v->kind == SAIL__J_DICT) {
        const sail__jv *value = NULL;
        if (sail__jhashable(key) && !sail__jdict_get(vm, v->dict, *key, &value))
            return false;
        if ((*found = value != NULL))
            *out = *value;
        return true;
    }
    bool sequence = v->kind == SAIL__J_STRING || v->kind == SAIL__J_LIST || v->kind == SAIL__J_TUPLE || v->kind == SAIL__J_RANGE;
    if (sequence && (key->kind == SAIL__J_INT || key->kind == SAIL__J_BOOL)) {
        sail__jint i = key->kind == SAIL__J_BOOL ? key->boolean : key->integer;
        return i > INT64_MAX / 4 || i < INT64_MIN / 4 || index_of(vm, v, (int64_t)i, out, found);
    }
    return true;
}

static bool forbid(sail__jvm *vm, const sail__jv *v, const sail__jstr *name, sail__jv *out)
{
    if (!sail__jv_undefined(vm, out, "access to attribute '%.100s' of '%s' object is unsafe.", name->p, sail__jtype(v)))
        return false;
    out->flag = true;
    return true;
}

/* Python's getattr in the sandbox. */
static bool attribute(sail__jvm *vm, const sail__jv *v, const sail__jstr *name, sail__jv *out, bool *found)
{
    static const char *const changes_list[] = {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove", NULL};
    static const char *const changes_dict[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
    const sail__jentry *methods = v->kind == SAIL__J_STRING                             ? sail__jmethods_string
                                  : v->kind == SAIL__J_DICT                             ? sail__jmethods_dict
                                  : v->kind == SAIL__J_LIST || v->kind == SAIL__J_TUPLE ? sail__jmethods_list
                                                                                        : NULL;
    *found = false;
    if (v->kind == SAIL__J_UNDEFINED)
        return sail__jundefined_used(vm, v);
    if (memchr(name->p, 0, name->n))
        return true;
    if (name->n > 2 && memcmp(name->p, "__", 2) == 0) {
        static const char *const dunders[] = {"__class__", "__doc__",  "__init__",    "__dict__", "__module__",
                                              "__len__",   "__call__", "__getitem__", "__iter__", "__eq__",
                                              "__str__",   "__repr__", "__hash__",    NULL};
        for (size_t i = 0; dunders[i] && !*found; i++)
            *found = strcmp(dunders[i], name->p) == 0;
        return !*found || forbid(vm, v, name, out);
    }
    const char *const *changes = v->kind == SAIL__J_LIST ? changes_list : v->kind == SAIL__J_DICT ? changes_dict : NULL;
    for (size_t i = 0; changes && changes[i]; i++)
        if (strcmp(changes[i], name->p) == 0) {
            *found = true;
            return forbid(vm, v, name, out);
        }
    if (v->kind == SAIL__J_NAMESPACE) {
        const sail__jv *value = sail__jdict_text(v->dict, name->p, name->n);
        if ((*found = value != NULL))
            *out = *value;
        return true;
    }
    if (v->kind == SAIL__J_LOOP)
        return sail__jloop_attr(vm, v->loop, name->p, out, found);
    if (v->kind == SAIL__J_MACRO)
        return sail__jmacro_attr(vm, v->macro, name->p, out, found);
    if (v->kind == SAIL__J_TUPLE && v->flag && v->list->n == 2 &&
        (strcmp(name->p, "grouper") == 0 || strcmp(name->p, "list") == 0)) {
        *found = true;
        *out = v->list->items[*name->p == 'l'];
        return true;
    }
    if (v->kind == SAIL__J_CYCLER) {
        methods = sail__jmethods_cycler;
        if (strcmp(name->p, "current") == 0) {
            *found = true;
            *out = v->cycler->list.items[v->cycler->at];
            return true;
        }
    }
    const sail__jentry *e = methods ? sail__jentry_find(methods, name->p) : NULL;
    if (!e && v->kind == SAIL__J_STRING)
        e = sail__jentry_find(sail__jmethods_string_more, name->p);
    if (!e || (v->kind == SAIL__J_TUPLE && strcmp(name->p, "copy") == 0))
        return true;
    sail__jbound *b = sail__jalloc(vm, 1, sizeof *b);
    if (!b)
        return false;
    *b = (sail__jbound){.name = e->name, .fn = e->fn, .self = *v};
    *out = SAIL__JV(FUNCTION, .bound = b);
    return *found = true;
}

static bool missing(sail__jvm *vm, const sail__jv *v, const sail__jv *key, sail__jv *out)
{
    if (key->kind == SAIL__J_STRING)
        return sail__jv_undefined(vm, out, "'%s object' has no attribute '%.100s'", sail__jtype(v), key->string->p);
    sail__jbuf b = {0};
    if (!sail__jv_repr(vm, key, &b) || !sail__jbuf_add(vm, &b, "", 1, NULL))
        return false;
    return sail__jv_undefined(vm, out, "%s object has no element %.100s", sail__jtype(v), b.p);
}

bool sail__jattr(sail__jvm *vm, const sail__jv *v, const sail__jstr *name, sail__jv *out)
{
    bool found;
    const sail__jv key = SAIL__JV(STRING, .string = name);
    if (!attribute(vm, v, name, out, &found))
        return false;
    if (!found && !subscript(vm, v, &key, out, &found))
        return false;
    return found || missing(vm, v, &key, out);
}

bool sail__jitem(sail__jvm *vm, const sail__jv *v, const sail__jv *key, sail__jv *out)
{
    bool found;
    if (!subscript(vm, v, key, out, &found))
        return false;
    if (!found && key->kind == SAIL__J_STRING && !attribute(vm, v, key->string, out, &found))
        return false;
    return found || missing(vm, v, key, out);
}

static bool bound(sail__jvm *vm, const sail__jv *v, int64_t n, int64_t otherwise, bool down, int64_t *out)
{
    *out = otherwise;
    if (v->kind == SAIL__J_NONE || v->kind == SAIL__J_ABSENT)
        return true;
    if (v->kind == SAIL__J_INT && (v->integer > INT64_MAX / 4 || v->integer < INT64_MIN / 4))
        *out = v->integer > 0 ? INT64_MAX / 4 : INT64_MIN / 4;
    else if (!sail__jas_int(vm, v, "slice indices", out))
        return false;
    if (*out < 0)
        *out = *out + n < 0 ? (down ? -1 : 0) : *out + n;
    else if (*out > n - (down ? 1 : 0))
        *out = n - (down ? 1 : 0);
    return true;
}

static bool slice_string(sail__jvm *vm, const sail__jstr *s, int64_t from, int64_t to, int64_t step, sail__jv *out)
{
    size_t n = sail__jlength(s);
    if (step == 1) { /* a part of the same bytes */
        size_t at = 0, begin;
        for (int64_t i = 0; i < from; i++)
            sail__jnext(s, &at);
        begin = at;
        for (int64_t i = from; i < to; i++)
            sail__jnext(s, &at);
        if (!sail__jv_string(vm, s->p + begin, at - begin, s->foreign ? s->foreign + begin : NULL, out))
            return false;
        ((sail__jstr *)out->string)->markup = s->markup;
        return true;
    }
    uint32_t *starts = sail__jalloc(vm, n + 1, sizeof *starts);
    if (!starts || s->n > UINT32_MAX)
        return false;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        starts[i] = (uint32_t)at;
        sail__jnext(s, &at);
    }
    starts[n] = (uint32_t)at;
    sail__jbuf b = {0};
    for (int64_t i = from; step > 0 ? i < to : i > to; i += step)
        if (!sail__jbuf_add(vm, &b, s->p + starts[i], starts[i + 1] - starts[i], s->foreign ? s->foreign + starts[i] : NULL))
            return false;
    return sail__jv_built(vm, &b, out);
}

bool sail__jslice(sail__jvm *vm, const sail__jv *v, const sail__jv *a, const sail__jv *b, const sail__jv *c, sail__jv *out)
{
    int64_t step = 1, from, to, n;
    size_t size;
    sail__jlist l = {0};
    if (v->kind == SAIL__J_UNDEFINED)
        return sail__jundefined_used(vm, v);
    if (v->kind != SAIL__J_STRING && v->kind != SAIL__J_LIST && v->kind != SAIL__J_TUPLE && v->kind != SAIL__J_RANGE)
        return v->kind == SAIL__J_DICT ? sail__jfail(vm, SAIL__JINJA_RUNTIME, "unhashable type: 'slice'")
                                       : sail__jfail(vm, SAIL__JINJA_RUNTIME, "'%s' object is not subscriptable", sail__jtype(v));
    if (!sail__jsize(vm, v, &size) || !sail__jstep(vm, size / 8 + 1))
        return false;
    if (c->kind != SAIL__J_NONE && c->kind != SAIL__J_ABSENT && !sail__jas_int(vm, c, "slice step", &step))
        return false;
    if (step == 0)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "slice step cannot be zero");
    n = (int64_t)size;
    if (!bound(vm, a, n, step > 0 ? 0 : n - 1, step < 0, &from) || !bound(vm, b, n, step > 0 ? n : -1, step < 0, &to))
        return false;
    if (step > n + 1 || step < -n - 1)
        step = step > 0 ? n + 1 : -n - 1;
    if (step == 1 && to < from)
        to = from;
    if (v->kind == SAIL__J_STRING)
        return slice_string(vm, v->string, from, to, step, out);
    if (!sail__jitems_of(vm, v, &l))
        return false;
    if (step == 1)
        return sail__jv_list(vm, v->kind == SAIL__J_TUPLE ? SAIL__J_TUPLE : SAIL__J_LIST, from < to ? l.items + from : NULL,
                             (size_t)(to - from), out);
    sail__jitems items = {0};
    for (int64_t i = from; step > 0 ? i < to : i > to; i += step)
        if (!sail__jitems_add(vm, &items, l.items[i]))
            return false;
    return sail__jv_list(vm, v->kind == SAIL__J_TUPLE ? SAIL__J_TUPLE : SAIL__J_LIST, items.items, items.n, out);
}
