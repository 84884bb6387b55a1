/* jinja_format.c - "{}".format(x) and "%s" % x. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "jinja_impl.h"

typedef struct spec { /* how one value is written */
    const char *fill;
    size_t fill_len;
    char align, sign, type, grouping;
    bool alternate, zero;
    int width, precision; /* -1: not given */
} spec;

enum { WIDEST = 1 << 20 };

static bool wrong(sail__jvm *vm, const char *what)
{
    return sail__jfail(vm, SAIL__JINJA_RUNTIME, "%s", what);
}

static size_t number(const char *p, size_t n, size_t at, int *out)
{
    while (at < n && p[at] >= '0' && p[at] <= '9') {
        if (*out < 0)
            *out = 0;
        *out = *out > WIDEST ? *out : *out * 10 + (p[at] - '0');
        at++;
    }
    return at;
}

/* text[n] within the width; fill and alignment as the spec says, `usual` where it does not. */
static bool padded(sail__jvm *vm, const spec *f, char usual, const char *text, size_t n, const unsigned char *foreign,
                   sail__jbuf *b)
{
    sail__jstr s = {.p = text, .n = n};
    size_t length = sail__jlength(&s), width = f->width > 0 ? (size_t)f->width : 0, more = width > length ? width - length : 0;
    if (width > WIDEST)
        return sail__jfail(vm, SAIL__JINJA_LIMIT, "a width of %zu is too large", width);
    char align = f->align ? f->align : usual;
    size_t sign = align == '=' && n && (*text == '-' || *text == '+' || *text == ' ') ? 1 : 0;
    size_t left = align == '>' || align == '=' ? more : align == '^' ? more / 2 : 0;
    const char *fill = f->fill_len ? f->fill : f->zero ? "0" : " ";
    size_t fill_len = f->fill_len ? f->fill_len : 1;
    if (!sail__jbuf_add(vm, b, text, sign, foreign))
        return false;
    for (size_t i = 0; i < left; i++)
        if (!sail__jbuf_add(vm, b, fill, fill_len, NULL))
            return false;
    if (!sail__jbuf_add(vm, b, text + sign, n - sign, foreign ? foreign + sign : NULL))
        return false;
    for (size_t i = left; i < more; i++)
        if (!sail__jbuf_add(vm, b, fill, fill_len, NULL))
            return false;
    return true;
}

/* Commas (or underscores) between thousands of the digits that begin at `from`. */
static void group(char *text, size_t size, size_t from, char mark)
{
    size_t digits = strspn(text + from, "0123456789"), n = strlen(text), commas = digits ? (digits - 1) / 3 : 0;
    if (n + commas + 1 > size)
        return;
    memmove(text + from + digits + commas, text + from + digits, n - from - digits + 1);
    for (size_t i = 0, to = from + digits + commas; i < digits; i++) {
        if (i && i % 3 == 0)
            text[--to] = mark;
        text[--to] = text[from + digits - 1 - i];
    }
}

static void in_base(sail__jint v, int base, bool upper, char *out)
{
    char digits[140];
    int n = 0;
    __extension__ unsigned __int128 u = v < 0 ? -(unsigned __int128)v : (unsigned __int128)v;
    do
        digits[n++] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[u % (unsigned)base];
    while (u /= (unsigned)base);
    while (n)
        *out++ = digits[--n];
    *out = '\0';
}

static bool format_int(sail__jvm *vm, const spec *f, sail__jint v, sail__jbuf *b)
{
    char text[256], *p = text;
    if (v < 0 || f->sign == '+' || f->sign == ' ')
        *p++ = v < 0 ? '-' : f->sign;
    if (f->type == 'c') {
        if (v < 0 || v > 0x10FFFF || (v >= 0xD800 && v < 0xE000))
            return wrong(vm, "%c arg not in range(0x110000)");
        sail__jbuf one = {0};
        return sail__jbuf_char(vm, &one, (uint32_t)v, false) && padded(vm, f, '<', one.p, one.n, NULL, b);
    }
    int base = f->type == 'x' || f->type == 'X' ? 16 : f->type == 'o' ? 8 : f->type == 'b' ? 2 : 10;
    if (f->alternate && base != 10) {
        *p++ = '0';
        *p++ = f->type;
    }
    in_base(v, base, f->type == 'X', p);
    if (f->grouping)
        group(text, sizeof text, (size_t)(p - text), f->grouping);
    return padded(vm, f, f->zero ? '=' : '>', text, strlen(text), NULL, b);
}

static bool format_float(sail__jvm *vm, const spec *f, double x, sail__jbuf *b)
{
    char text[512], c[8] = "%", *p = text;
    bool percent = f->type == '%';
    int precision = f->precision >= 0 ? f->precision : 6;
    if (precision > 100 || (fabs(x) > 1e100 && f->type != 'e' && f->type != 'g' && f->type))
        return sail__jfail(vm, SAIL__JINJA_LIMIT, "a number is too long to be written");
    if (signbit(x) || f->sign == '+' || f->sign == ' ')
        *p++ = signbit(x) ? '-' : f->sign;
    x = fabs(x);
    if (!f->type && f->precision < 0) {
        sail__jfloat_text(x, p);
    } else {
        char type = percent ? 'f' : f->type ? f->type : 'g';
        snprintf(c, sizeof c, "%%%s.*%c", f->alternate ? "#" : "", type);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(p, sizeof text - 8, c, precision, percent ? x * 100 : x);
#pragma GCC diagnostic pop
    }
    if (percent)
        strcat(text, "%");
    if (f->grouping)
        group(text, sizeof text, (size_t)(p - text), f->grouping);
    return padded(vm, f, f->zero ? '=' : '>', text, strlen(text), NULL, b);
}

static bool format_text(sail__jvm *vm, const spec *f, const sail__jstr *s, sail__jbuf *b)
{
    size_t n = s->n;
    if (f->precision >= 0) {
        size_t at = 0;
        for (int i = 0; i < f->precision && at < s->n; i++)
            sail__jnext(s, &at);
        n = at;
    }
    return padded(vm, f, '<', s->p, n, s->foreign, b);
}

/* ---- str.format ---- */

static bool parse_spec(sail__jvm *vm, const sail__jstr *s, spec *f)
{
    *f = (spec){.width = -1, .precision = -1};
    size_t at = 0, next = 0;
    if (s->n)
        sail__jnext(s, &next);
    if (next < s->n && s->p[next] && strchr("<>=^", s->p[next])) {
        f->fill = s->p;
        f->fill_len = next;
        f->align = s->p[next];
        at = next + 1;
    } else if (s->n && *s->p && strchr("<>=^", *s->p)) {
        f->align = s->p[at++];
    }
    if (at < s->n && s->p[at] && strchr("+- ", s->p[at]))
        f->sign = s->p[at++];
    if (at < s->n && s->p[at] == '#') {
        f->alternate = true;
        at++;
    }
    if (at < s->n && s->p[at] == '0') {
        f->zero = true;
        at++;
    }
    at = number(s->p, s->n, at, &f->width);
    if (at < s->n && (s->p[at] == ',' || s->p[at] == '_'))
        f->grouping = s->p[at++];
    if (at < s->n && s->p[at] == '.') {
        f->precision = 0;
        at = number(s->p, s->n, at + 1, &f->precision);
    }
    if (at < s->n && strchr("sdfFeEgGxXobcn%", s->p[at]))
        f->type = s->p[at++];
    return at == s->n || sail__jfail(vm, SAIL__JINJA_RUNTIME, "Invalid format specifier '%.60s'", s->p);
}

static bool format_value(sail__jvm *vm, const sail__jv *v, const sail__jstr *how, sail__jbuf *b)
{
    spec f;
    const sail__jstr *s;
    if (!how->n)
        return sail__jv_str(vm, v, b);
    if (!parse_spec(vm, how, &f))
        return false;
    bool whole = v->kind == SAIL__J_INT || (v->kind == SAIL__J_BOOL && f.type && f.type != 's');
    if (whole && (!f.type || strchr("dxXobcn", f.type)))
        return format_int(vm, &f, v->kind == SAIL__J_BOOL ? v->boolean : v->integer, b);
    if (whole || v->kind == SAIL__J_FLOAT) {
        if (f.type && !strchr("fFeEgGn%", f.type))
            return sail__jfail(vm, SAIL__JINJA_RUNTIME, "Unknown format code '%c' for object of type '%s'", f.type,
                               sail__jtype(v));
        return format_float(vm, &f,
                            v->kind == SAIL__J_FLOAT ? v->number
                            : v->kind == SAIL__J_INT ? (double)v->integer
                                                     : v->boolean,
                            b);
    }
    if (v->kind != SAIL__J_STRING && v->kind != SAIL__J_BOOL)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "unsupported format string passed to %s.__format__", sail__jtype(v));
    if (f.type && f.type != 's')
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "Unknown format code '%c' for object of type '%s'", f.type, sail__jtype(v));
    return sail__jv_to_string(vm, v, &s) && format_text(vm, &f, s, b);
}

/* "0", "name", "", with .attribute and [index] behind it. */
static bool field_value(sail__jvm *vm, const char *p, size_t n, const sail__jargs *args, size_t *automatic, sail__jv *out)
{
    size_t at = 0;
    while (at < n && p[at] != '.' && p[at] != '[')
        at++;
    bool digits = at > 0 && at < 9;
    for (size_t i = 0; i < at && digits; i++)
        digits = p[i] >= '0' && p[i] <= '9';
    bool found = false;
    if (at == 0 || digits) {
        size_t i = at ? strtoul(p, NULL, 10) : (*automatic)++;
        if (i >= args->n)
            return sail__jfail(vm, SAIL__JINJA_RUNTIME, "Replacement index %zu out of range for positional args tuple", i);
        *out = args->items[i];
        found = true;
    }
    for (size_t i = 0; i < args->n_named && !found; i++)
        if ((found = args->names[i]->n == at && memcmp(args->names[i]->p, p, at) == 0))
            *out = args->named[i];
    if (!found)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "KeyError: '%.*s'", (int)(at > 60 ? 60 : at), p);
    while (at < n) {
        bool item = p[at++] == '[';
        size_t from = at;
        while (at < n && (item ? p[at] != ']' : p[at] != '.' && p[at] != '['))
            at++;
        sail__jv of = *out, key;
        char *copy = sail__arena_strndup(vm->arena, p + from, at - from);
        if (!copy || !sail__jv_string(vm, copy, at - from, NULL, &key))
            return false;
        if (item && at > from && strspn(copy, "0123456789") == at - from && at - from < 9)
            key = SAIL__JV(INT, .integer = atoi(copy));
        if (item ? !sail__jitem(vm, &of, &key, out) : !sail__jattr(vm, &of, key.string, out))
            return false;
        if (out->kind == SAIL__J_UNDEFINED)
            return sail__jundefined_used(vm, out);
        at += item;
    }
    return true;
}

static bool field(sail__jvm *vm, const char *p, size_t n, const sail__jargs *args, size_t *automatic, sail__jbuf *b)
{
    sail__jv v;
    size_t name = 0, at;
    while (name < n && p[name] != '!' && p[name] != ':')
        name++;
    if (!field_value(vm, p, name, args, automatic, &v))
        return false;
    at = name;
    if (at < n && p[at] == '!') {
        char c = at + 1 < n ? p[at + 1] : 0;
        if (c != 'r' && c != 's' && c != 'a')
            return wrong(vm, "a conversion is !r, !s or !a");
        sail__jbuf t = {0};
        if (c != 's' ? !sail__jv_repr(vm, &v, &t) : !sail__jv_str(vm, &v, &t))
            return false;
        if (!sail__jv_built(vm, &t, &v))
            return false;
        at += 2;
    }
    if (at < n && p[at] != ':')
        return wrong(vm, "expected ':' after conversion specifier");
    sail__jstr how = {.p = at < n ? p + at + 1 : "", .n = at < n ? n - at - 1 : 0};
    if (!memchr(how.p, '{', how.n))
        return format_value(vm, &v, &how, b);
    sail__jbuf inner = {0}; /* a width that is a field itself */
    for (size_t i = 0; i < how.n;) {
        const char *open = memchr(how.p + i, '{', how.n - i);
        size_t to = open ? (size_t)(open - how.p) : how.n;
        if (!sail__jbuf_add(vm, &inner, how.p + i, to - i, NULL))
            return false;
        i = to;
        if (!open)
            break;
        const char *close = memchr(open, '}', how.n - to);
        sail__jv w;
        if (!close)
            return wrong(vm, "expected '}' before end of string");
        if (!field_value(vm, open + 1, (size_t)(close - open) - 1, args, automatic, &w) || !sail__jv_str(vm, &w, &inner))
            return false;
        i = (size_t)(close - how.p) + 1;
    }
    how = (sail__jstr){.p = inner.n ? inner.p : "", .n = inner.n};
    return format_value(vm, &v, &how, b);
}

bool sail__jformat(sail__jvm *vm, const sail__jv *self, const sail__jargs *args, sail__jv *out)
{
    const sail__jstr *s = self->string;
    sail__jbuf b = {0};
    size_t automatic = 0;
    for (size_t at = 0; at < s->n;) {
        size_t from = at;
        while (at < s->n && s->p[at] != '{' && s->p[at] != '}')
            at++;
        if (!sail__jbuf_add(vm, &b, s->p + from, at - from, s->foreign ? s->foreign + from : NULL))
            return false;
        if (at >= s->n)
            break;
        if (at + 1 < s->n && s->p[at + 1] == s->p[at]) {
            if (!sail__jbuf_add(vm, &b, s->p + at, 1, s->foreign ? s->foreign + at : NULL))
                return false;
            at += 2;
            continue;
        }
        if (s->p[at] == '}')
            return wrong(vm, "Single '}' encountered in format string");
        size_t begin = ++at;
        for (int depth = 1; depth; at++) {
            if (at >= s->n)
                return wrong(vm, "expected '}' before end of string");
            depth += s->p[at] == '{' ? 1 : s->p[at] == '}' ? -1 : 0;
        }
        if (!sail__jstep(vm, 1) || !field(vm, s->p + begin, at - 1 - begin, args, &automatic, &b))
            return false;
    }
    return sail__jv_built(vm, &b, out);
}

/* ---- "%s" % x ---- */

typedef struct operands {
    const sail__jv *items;
    size_t n, at;
} operands;

static bool take(sail__jvm *vm, operands *o, sail__jv *out)
{
    if (o->at >= o->n)
        return wrong(vm, "not enough arguments for format string");
    *out = o->items[o->at++];
    return true;
}

static bool percent_value(sail__jvm *vm, spec *f, const sail__jv *v, sail__jbuf *b)
{
    const sail__jstr *s;
    sail__jv made;
    sail__jbuf t = {0};
    char usual = f->align == '<' ? '<' : '>';
    if (f->type == 's' || f->type == 'r' || f->type == 'a') {
        if (f->type == 's' ? !sail__jv_to_string(vm, v, &s)
                           : !sail__jv_repr(vm, v, &t) || !sail__jv_built(vm, &t, &made) || !(s = made.string))
            return false;
        f->align = usual;
        f->zero = false;
        return format_text(vm, f, s, b);
    }
    if (f->type == 'c' && v->kind == SAIL__J_STRING)
        return sail__jv_str(vm, v, b);
    if (v->kind != SAIL__J_FLOAT && v->kind != SAIL__J_INT && v->kind != SAIL__J_BOOL)
        return v->kind == SAIL__J_UNDEFINED
                   ? sail__jundefined_used(vm, v)
                   : sail__jfail(vm, SAIL__JINJA_RUNTIME, "%%%c format: a real number is required, not %s", f->type,
                                 sail__jtype(v));
    double x = v->kind == SAIL__J_FLOAT ? v->number : v->kind == SAIL__J_INT ? (double)v->integer : v->boolean;
    if (f->align != '<')
        f->align = 0;
    if (strchr("eEfFgG", f->type))
        return format_float(vm, f, x, b);
    if (v->kind == SAIL__J_FLOAT && (isnan(x) || fabs(x) > 1e30))
        return sail__jfail(vm, SAIL__JINJA_LIMIT, "a number is too large");
    if (f->type == 'i' || f->type == 'u')
        f->type = 'd';
    return format_int(vm, f, v->kind == SAIL__J_FLOAT ? (sail__jint)x : v->kind == SAIL__J_INT ? v->integer : v->boolean, b);
}

static bool star(sail__jvm *vm, const sail__jstr *s, size_t *at, operands *o, int *out)
{
    if (*at >= s->n || s->p[*at] != '*') {
        *at = number(s->p, s->n, *at, out);
        return true;
    }
    sail__jv v;
    int64_t n;
    (*at)++;
    if (!take(vm, o, &v) || !sail__jas_int(vm, &v, "* wants int", &n))
        return false;
    *out = n > WIDEST ? WIDEST + 1 : n < 0 ? 0 : (int)n;
    return true;
}

bool sail__jpercent(sail__jvm *vm, const sail__jstr *s, const sail__jv *values, sail__jv *out)
{
    operands o = {values, 1, 0};
    if (values->kind == SAIL__J_TUPLE) {
        o.items = values->list->items;
        o.n = values->list->n;
    }
    sail__jbuf b = {0};
    bool by_name = false;
    for (size_t at = 0; at < s->n;) {
        const char *hit = memchr(s->p + at, '%', s->n - at);
        size_t to = hit ? (size_t)(hit - s->p) : s->n;
        if (!sail__jbuf_add(vm, &b, s->p + at, to - at, s->foreign ? s->foreign + at : NULL) || !sail__jstep(vm, 1))
            return false;
        at = to + 1;
        if (!hit)
            break;
        spec f = {.width = -1, .precision = -1};
        sail__jv v = {0};
        if (at < s->n && s->p[at] == '(') {
            const char *close = memchr(s->p + at, ')', s->n - at);
            const sail__jv *member = NULL;
            if (!close || values->kind != SAIL__J_DICT)
                return wrong(vm, close ? "format requires a mapping" : "incomplete format key");
            member = sail__jdict_text(values->dict, s->p + at + 1, (size_t)(close - s->p) - at - 1);
            if (!member)
                return sail__jfail(vm, SAIL__JINJA_RUNTIME, "KeyError: '%.*s'", (int)((size_t)(close - s->p) - at - 1),
                                   s->p + at + 1);
            v = *member;
            by_name = true;
            at = (size_t)(close - s->p) + 1;
        }
        for (; at < s->n && s->p[at] && strchr("-+ #0", s->p[at]); at++) {
            f.align = s->p[at] == '-' ? '<' : f.align;
            f.sign = s->p[at] == '+' ? '+' : s->p[at] == ' ' && !f.sign ? ' ' : f.sign;
            f.alternate |= s->p[at] == '#';
            f.zero |= s->p[at] == '0';
        }
        f.zero = f.zero && f.align != '<';
        if (!star(vm, s, &at, &o, &f.width))
            return false;
        if (at < s->n && s->p[at] == '.') {
            at++;
            f.precision = 0;
            if (!star(vm, s, &at, &o, &f.precision))
                return false;
        }
        if (at >= s->n)
            return wrong(vm, "incomplete format");
        f.type = s->p[at++];
        if (f.type == '%') {
            if (!sail__jbuf_str(vm, &b, "%"))
                return false;
            continue;
        }
        if (!f.type || !strchr("sradiuoxXeEfFgGc", f.type))
            return sail__jfail(vm, SAIL__JINJA_RUNTIME, "unsupported format character '%c' at index %zu", f.type, at - 1);
        if ((!v.kind && !take(vm, &o, &v)) || !percent_value(vm, &f, &v, &b))
            return false;
    }
    bool mapping = values->kind == SAIL__J_DICT || values->kind == SAIL__J_LIST || values->kind == SAIL__J_RANGE ||
                   values->kind == SAIL__J_UNDEFINED; /* to Python's eyes */
    if (!by_name && o.at < o.n && !mapping)
        return wrong(vm, "not all arguments converted during string formatting");
    if (!sail__jv_built(vm, &b, out))
        return false;
    return true;
}
