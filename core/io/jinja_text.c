/* jinja_text.c - values as text: Python's str and repr, json.dumps, and the buffer they are written to. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <utf8proc.h>

#include "jinja_impl.h"

/* ---- characters ---- */

bool sail__jspace(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

size_t sail__jlength(const sail__jstr *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += ((unsigned char)s->p[i] & 0xC0) != 0x80;
    return n;
}

uint32_t sail__jnext(const sail__jstr *s, size_t *at)
{
    uint32_t c = 0;
    int n = sail__utf8_next(s->p + *at, s->n - *at, &c);
    *at += n > 0 ? (size_t)n : 1;
    return c;
}

/* ---- the buffer ---- */

static bool room(sail__jvm *vm, sail__jbuf *b, size_t n)
{
    if (n <= b->cap - b->n)
        return true;
    size_t cap = b->cap ? b->cap : 32;
    while (cap - b->n < n)
        cap *= 2;
    char *p = sail__jalloc(vm, cap, 1);
    if (!p)
        return false;
    if (b->n)
        memcpy(p, b->p, b->n);
    if (b->foreign) {
        unsigned char *foreign = sail__jalloc(vm, cap, 1);
        if (!foreign)
            return false;
        memcpy(foreign, b->foreign, b->n);
        b->foreign = foreign;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

bool sail__jbuf_add(sail__jvm *vm, sail__jbuf *b, const char *p, size_t n, const unsigned char *foreign)
{
    if (!n)
        return true;
    if (b->n + n > vm->output_limit)
        return sail__jfail(vm, SAIL__JINJA_LIMIT, "the template writes more than %zu bytes and was stopped", vm->output_limit);
    if (!sail__jstep(vm, n / 64) || !room(vm, b, n))
        return false;
    if (foreign && !b->foreign && !(b->foreign = sail__jalloc(vm, b->cap, 1)))
        return false;
    memcpy(b->p + b->n, p, n);
    if (b->foreign) {
        if (foreign)
            memcpy(b->foreign + b->n, foreign, n);
        else
            memset(b->foreign + b->n, 0, n);
    }
    b->n += n;
    return true;
}

bool sail__jbuf_str(sail__jvm *vm, sail__jbuf *b, const char *s)
{
    return sail__jbuf_add(vm, b, s, strlen(s), NULL);
}

bool sail__jbuf_char(sail__jvm *vm, sail__jbuf *b, uint32_t c, bool foreign)
{
    static const unsigned char yes[4] = {1, 1, 1, 1};
    utf8proc_uint8_t s[4];
    size_t n = (size_t)utf8proc_encode_char((utf8proc_int32_t)c, s);
    return sail__jbuf_add(vm, b, (const char *)s, n, foreign ? yes : NULL);
}

/* ---- numbers ---- */

void sail__jint_text(sail__jint i, char out[48])
{
    char digits[48];
    int n = 0, at = 0;
    __extension__ unsigned __int128 u = i < 0 ? -(unsigned __int128)i : (unsigned __int128)i;
    do
        digits[n++] = (char)('0' + (int)(u % 10));
    while (u /= 10);
    if (i < 0)
        out[at++] = '-';
    while (n)
        out[at++] = digits[--n];
    out[at] = '\0';
}

void sail__jfloat_text(double x, char out[40])
{
    if (isnan(x) || isinf(x)) {
        snprintf(out, 40, "%s", isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
        return;
    }
    char e[32];
    int digits = 1;
    do /* the fewest digits that give the same number back */
        snprintf(e, sizeof e, "%.*e", digits - 1, x);
    while (strtod(e, NULL) != x && digits++ < 17);
    int exponent = atoi(strchr(e, 'e') + 1);
    if (exponent < -4 || exponent >= 16) {
        *strchr(e, 'e') = '\0';
        snprintf(out, 40, "%.24se%c%02d", e, exponent < 0 ? '-' : '+', abs(exponent) % 1000);
        return;
    }
    int after = digits - 1 - exponent;
    snprintf(out, 40, "%.*f", after > 0 ? after : 1, x);
}

/* ---- str and repr ---- */

static bool printable(uint32_t c)
{
    if (c < 128)
        return c >= 0x20 && c < 0x7F;
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return !(k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CS || k == UTF8PROC_CATEGORY_CO ||
             k == UTF8PROC_CATEGORY_CN || k == UTF8PROC_CATEGORY_ZL || k == UTF8PROC_CATEGORY_ZP || k == UTF8PROC_CATEGORY_ZS);
}

static bool repr_string(sail__jvm *vm, const sail__jstr *s, sail__jbuf *b)
{
    char quote = memchr(s->p, '\'', s->n) && !memchr(s->p, '"', s->n) ? '"' : '\'';
    if (!sail__jbuf_add(vm, b, &quote, 1, NULL))
        return false;
    for (size_t at = 0; at < s->n;) {
        size_t from = at;
        uint32_t c = sail__jnext(s, &at);
        char e[16] = "";
        if (c == (uint32_t)quote || c == '\\')
            snprintf(e, sizeof e, "\\%c", (char)c);
        else if (c == '\n' || c == '\r' || c == '\t')
            snprintf(e, sizeof e, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (!printable(c))
            snprintf(e, sizeof e, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
        if (*e ? !sail__jbuf_str(vm, b, e)
               : !sail__jbuf_add(vm, b, s->p + from, at - from, s->foreign ? s->foreign + from : NULL))
            return false;
    }
    return sail__jbuf_add(vm, b, &quote, 1, NULL);
}

static bool repr_list(sail__jvm *vm, const sail__jlist *l, const char *open, const char *close, sail__jbuf *b)
{
    if (!sail__jbuf_str(vm, b, open))
        return false;
    for (size_t i = 0; i < l->n; i++)
        if ((i && !sail__jbuf_str(vm, b, ", ")) || !sail__jv_repr(vm, &l->items[i], b))
            return false;
    return (l->n != 1 || *open != '(' || open[1] || sail__jbuf_str(vm, b, ",")) && sail__jbuf_str(vm, b, close);
}

static bool repr_dict(sail__jvm *vm, const sail__jdict *d, sail__jbuf *b)
{
    if (!sail__jbuf_str(vm, b, "{"))
        return false;
    for (size_t i = 0; i < d->n; i++)
        if ((i && !sail__jbuf_str(vm, b, ", ")) || !sail__jv_repr(vm, &d->keys[i], b) || !sail__jbuf_str(vm, b, ": ") ||
            !sail__jv_repr(vm, &d->values[i], b))
            return false;
    return sail__jbuf_str(vm, b, "}");
}

static bool repr(sail__jvm *vm, const sail__jv *v, sail__jbuf *b)
{
    char text[160];
    switch (v->kind) {
    case SAIL__J_ABSENT:
    case SAIL__J_NONE:
        return sail__jbuf_str(vm, b, "None");
    case SAIL__J_UNDEFINED:
        return sail__jbuf_str(vm, b, "Undefined");
    case SAIL__J_BOOL:
        return sail__jbuf_str(vm, b, v->boolean ? "True" : "False");
    case SAIL__J_INT:
        sail__jint_text(v->integer, text);
        return sail__jbuf_str(vm, b, text);
    case SAIL__J_FLOAT:
        sail__jfloat_text(v->number, text);
        return sail__jbuf_str(vm, b, text);
    case SAIL__J_STRING:
        if (!v->string->markup)
            return repr_string(vm, v->string, b);
        return sail__jbuf_str(vm, b, "Markup(") && repr_string(vm, v->string, b) && sail__jbuf_str(vm, b, ")");
    case SAIL__J_LIST:
        return repr_list(vm, v->list, "[", "]", b);
    case SAIL__J_TUPLE:
        return repr_list(vm, v->list, "(", ")", b);
    case SAIL__J_DICT:
        return repr_dict(vm, v->dict, b);
    case SAIL__J_NAMESPACE:
        return sail__jbuf_str(vm, b, "<Namespace ") && repr_dict(vm, v->dict, b) && sail__jbuf_str(vm, b, ">");
    case SAIL__J_RANGE:
        if (v->range->step == 1)
            snprintf(text, sizeof text, "range(%lld, %lld)", (long long)v->range->start, (long long)v->range->stop);
        else
            snprintf(text, sizeof text, "range(%lld, %lld, %lld)", (long long)v->range->start, (long long)v->range->stop,
                     (long long)v->range->step);
        return sail__jbuf_str(vm, b, text);
    case SAIL__J_VIEW:
        snprintf(text, sizeof text, "%s([", v->iter->name);
        return repr_list(vm, &v->iter->list, text, "])", b);
    case SAIL__J_LOOP:
        sail__jloop_text(v->loop, text, sizeof text);
        return sail__jbuf_str(vm, b, text);
    case SAIL__J_MACRO:
        snprintf(text, sizeof text, "<Macro '%.120s'>", sail__jmacro_name(v->macro));
        return sail__jbuf_str(vm, b, text);
    default:
        snprintf(text, sizeof text, "<%s object>", sail__jtype(v));
        return sail__jbuf_str(vm, b, text);
    }
}

bool sail__jv_repr(sail__jvm *vm, const sail__jv *v, sail__jbuf *b)
{
    if (++vm->depth > vm->depth_limit)
        return sail__jfail(vm, SAIL__JINJA_LIMIT, "values are nested more than %d levels", vm->depth_limit);
    bool ok = sail__jstep(vm, 1) && repr(vm, v, b);
    vm->depth--;
    return ok;
}

bool sail__jv_str(sail__jvm *vm, const sail__jv *v, sail__jbuf *b)
{
    if (v->kind == SAIL__J_STRING)
        return sail__jbuf_add(vm, b, v->string->p, v->string->n, v->string->foreign);
    if (v->kind == SAIL__J_UNDEFINED)
        return true;
    return sail__jv_repr(vm, v, b);
}

bool sail__jv_to_string(sail__jvm *vm, const sail__jv *v, const sail__jstr **out)
{
    if (v->kind == SAIL__J_STRING) {
        *out = v->string;
        return true;
    }
    sail__jbuf b = {0};
    sail__jv s;
    if (!sail__jv_str(vm, v, &b) || !sail__jv_built(vm, &b, &s))
        return false;
    *out = s.string;
    return true;
}

bool sail__jescape(sail__jvm *vm, const sail__jv *v, const sail__jstr **out)
{
    sail__jbuf b = {0};
    sail__jv made;
    if (!sail__jv_to_string(vm, v, out))
        return false;
    const sail__jstr *s = *out;
    if (s->markup)
        return true;
    for (size_t i = 0; i < s->n; i++) {
        const char *as = s->p[i] == '&'    ? "&amp;"
                         : s->p[i] == '<'  ? "&lt;"
                         : s->p[i] == '>'  ? "&gt;"
                         : s->p[i] == '"'  ? "&#34;"
                         : s->p[i] == '\'' ? "&#39;"
                                           : NULL;
        if (as ? !sail__jbuf_str(vm, &b, as) : !sail__jbuf_add(vm, &b, s->p + i, 1, s->foreign ? s->foreign + i : NULL))
            return false;
    }
    if (!sail__jv_built(vm, &b, &made))
        return false;
    ((sail__jstr *)made.string)->markup = true;
    *out = made.string;
    return true;
}

/* ---- JSON ---- */

static bool json_string(sail__jvm *vm, const sail__jstr *s, bool ascii, sail__jbuf *b)
{
    if (!sail__jbuf_str(vm, b, "\""))
        return false;
    for (size_t at = 0; at < s->n;) {
        size_t from = at;
        uint32_t c = sail__jnext(s, &at);
        static const char plain[] = "\"\\\n\r\t\f\b", as[] = "\"\\nrtfb";
        const char *known = c && c < 128 ? strchr(plain, (int)c) : NULL;
        char e[16] = "";
        if (known)
            snprintf(e, sizeof e, "\\%c", as[known - plain]);
        else if (c < 0x20 || (ascii && c >= 0x7F && c < 0x10000))
            snprintf(e, sizeof e, "\\u%04x", (unsigned)c);
        else if (ascii && c >= 0x10000)
            snprintf(e, sizeof e, "\\u%04x\\u%04x", 0xD800u + ((c - 0x10000) >> 10), 0xDC00u + ((c - 0x10000) & 0x3FF));
        if (*e ? !sail__jbuf_str(vm, b, e)
               : !sail__jbuf_add(vm, b, s->p + from, at - from, s->foreign ? s->foreign + from : NULL))
            return false;
    }
    return sail__jbuf_str(vm, b, "\"");
}

static bool new_line(sail__jvm *vm, const sail__jjson *o, int level, sail__jbuf *b)
{
    if (!o->indent)
        return true;
    if (!sail__jbuf_str(vm, b, "\n"))
        return false;
    for (int i = 0; i < level; i++)
        if (!sail__jbuf_add(vm, b, o->indent->p, o->indent->n, o->indent->foreign))
            return false;
    return true;
}

static bool json_list(sail__jvm *vm, const sail__jlist *l, const sail__jjson *o, int level, sail__jbuf *b)
{
    if (!l->n)
        return sail__jbuf_str(vm, b, "[]");
    if (!sail__jbuf_str(vm, b, "["))
        return false;
    for (size_t i = 0; i < l->n; i++)
        if ((i && !sail__jbuf_add(vm, b, o->item->p, o->item->n, o->item->foreign)) || !new_line(vm, o, level + 1, b) ||
            !sail__jv_json(vm, &l->items[i], o, level + 1, b))
            return false;
    return new_line(vm, o, level, b) && sail__jbuf_str(vm, b, "]");
}

static bool json_key(sail__jvm *vm, const sail__jv *key, const sail__jjson *o, sail__jbuf *b)
{
    if (key->kind == SAIL__J_STRING)
        return json_string(vm, key->string, o->ascii, b);
    if (key->kind != SAIL__J_BOOL && key->kind != SAIL__J_NONE && key->kind != SAIL__J_INT && key->kind != SAIL__J_FLOAT)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "keys must be str, int, float, bool or None, not %s", sail__jtype(key));
    return sail__jbuf_str(vm, b, "\"") && sail__jv_json(vm, key, o, 0, b) && sail__jbuf_str(vm, b, "\"");
}

static bool json_dict(sail__jvm *vm, const sail__jdict *d, const sail__jjson *o, int level, sail__jbuf *b)
{
    if (!d->n)
        return sail__jbuf_str(vm, b, "{}");
    size_t *order = sail__jalloc(vm, d->n, sizeof *order);
    if (!order || !sail__jbuf_str(vm, b, "{"))
        return false;
    for (size_t i = 0; i < d->n; i++) {
        size_t at = i;
        for (; o->sort && at > 0; at--) { /* few keys: by insertion */
            int c;
            if (!sail__jstep(vm, 1) || !sail__jorder(vm, SAIL__J_LT, &d->keys[i], &d->keys[order[at - 1]], &c))
                return false;
            if (c >= 0)
                break;
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    for (size_t k = 0; k < d->n; k++) {
        size_t i = order[k];
        if ((k && !sail__jbuf_add(vm, b, o->item->p, o->item->n, o->item->foreign)) || !new_line(vm, o, level + 1, b) ||
            !json_key(vm, &d->keys[i], o, b) || !sail__jbuf_add(vm, b, o->key->p, o->key->n, o->key->foreign) ||
            !sail__jv_json(vm, &d->values[i], o, level + 1, b))
            return false;
    }
    return new_line(vm, o, level, b) && sail__jbuf_str(vm, b, "}");
}

static bool json(sail__jvm *vm, const sail__jv *v, const sail__jjson *o, int level, sail__jbuf *b)
{
    char text[48];
    switch (v->kind) {
    case SAIL__J_NONE:
        return sail__jbuf_str(vm, b, "null");
    case SAIL__J_BOOL:
        return sail__jbuf_str(vm, b, v->boolean ? "true" : "false");
    case SAIL__J_FLOAT:
        if (isnan(v->number) || isinf(v->number))
            return sail__jbuf_str(vm, b, isnan(v->number) ? "NaN" : v->number > 0 ? "Infinity" : "-Infinity");
        sail__jfloat_text(v->number, text);
        return sail__jbuf_str(vm, b, text);
    case SAIL__J_INT:
        return repr(vm, v, b);
    case SAIL__J_STRING:
        return json_string(vm, v->string, o->ascii, b);
    case SAIL__J_LIST:
    case SAIL__J_TUPLE:
        return json_list(vm, v->list, o, level, b);
    case SAIL__J_DICT:
        return json_dict(vm, v->dict, o, level, b);
    default:
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "Object of type %s is not JSON serializable", sail__jtype(v));
    }
}

bool sail__jv_json(sail__jvm *vm, const sail__jv *v, const sail__jjson *o, int level, sail__jbuf *b)
{
    if (++vm->depth > vm->depth_limit)
        return sail__jfail(vm, SAIL__JINJA_LIMIT, "values are nested more than %d levels", vm->depth_limit);
    bool ok = sail__jstep(vm, 1) && json(vm, v, o, level, b);
    vm->depth--;
    return ok;
}
