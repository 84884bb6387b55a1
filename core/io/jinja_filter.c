/* jinja_filter.c - filters of one value: text, numbers, defaults; and how arguments meet parameters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <utf8proc.h>

#include "jinja_impl.h"

const sail__jentry *sail__jentry_find(const sail__jentry *table, const char *name)
{
    for (; table->name; table++)
        if (strcmp(table->name, name) == 0)
            return table;
    return NULL;
}

sail__jfn *sail__jfilter_find(const char *name)
{
    const sail__jentry *e = sail__jentry_find(sail__jfilters_text, name);
    e = e ? e : sail__jentry_find(sail__jfilters_list, name);
    return e ? e->fn : NULL;
}

bool sail__jbind(sail__jvm *vm, const char *what, const sail__jargs *args, const char *parameters, size_t required, sail__jv *out)
{
    size_t n = 0;
    for (const char *p = parameters; *p; n++) {
        size_t len = strcspn(p, ",");
        out[n] = n < args->n ? args->items[n] : (sail__jv){0};
        for (size_t i = 0; i < args->n_named; i++) {
            if (args->names[i]->n != len || memcmp(args->names[i]->p, p, len) != 0)
                continue;
            if (out[n].kind)
                return sail__jfail(vm, SAIL__JINJA_RUNTIME, "%s() got multiple values for argument '%.*s'", what, (int)len, p);
            out[n] = args->named[i];
        }
        if (n < required && !out[n].kind)
            return sail__jfail(vm, SAIL__JINJA_RUNTIME, "%s() missing a required argument: '%.*s'", what, (int)len, p);
        p += len + (p[len] == ',');
    }
    if (args->n > n)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "%s() takes at most %zu arguments (%zu given)", what, n, args->n);
    for (size_t i = 0; i < args->n_named; i++) {
        bool known = false;
        for (const char *p = parameters; *p && !known;) {
            size_t len = strcspn(p, ",");
            known = args->names[i]->n == len && memcmp(args->names[i]->p, p, len) == 0;
            p += len + (p[len] == ',');
        }
        if (!known)
            return sail__jfail(vm, SAIL__JINJA_RUNTIME, "%s() got an unexpected keyword argument '%.100s'", what,
                               args->names[i]->p);
    }
    return true;
}

/* ---- text: a method of the string that the value is ---- */

static bool method(sail__jvm *vm, const char *name, const sail__jv *self, const sail__jargs *args, sail__jv *out)
{
    const sail__jstr *s;
    if (self->kind == SAIL__J_UNDEFINED && self->flag)
        return sail__jundefined_used(vm, self);
    if (!sail__jv_to_string(vm, self, &s))
        return false;
    sail__jv text = SAIL__JV(STRING, .string = s);
    return sail__jentry_find(sail__jmethods_string, name)->fn(vm, &text, args, out);
}

SAIL__JFN(upper)
{
    return method(vm, "upper", self, args, out);
}
SAIL__JFN(lower)
{
    return method(vm, "lower", self, args, out);
}
SAIL__JFN(capitalize)
{
    return method(vm, "capitalize", self, args, out);
}
SAIL__JFN(center)
{
    SAIL__JBIND("center", "width", 0);
    sail__jv width = a[0].kind ? a[0] : SAIL__JV(INT, .integer = 80);
    const sail__jargs given_width = {.items = &width, .n = 1};
    return method(vm, "center", self, &given_width, out);
}
SAIL__JFN(trim)
{
    SAIL__JBIND("trim", "chars", 0);
    const sail__jargs chars = {.items = a, .n = a[0].kind ? 1 : 0};
    return method(vm, "strip", self, &chars, out);
}

/* Words begin after white space, hyphens and opening brackets. */
SAIL__JFN(title)
{
    const sail__jstr *s;
    SAIL__JBIND("title", "", 0);
    (void)a;
    if (!sail__jv_to_string(vm, self, &s))
        return false;
    sail__jbuf b = {0};
    bool begins = true;
    for (size_t at = 0; at < s->n;) {
        size_t from = at;
        uint32_t c = sail__jnext(s, &at);
        bool border = c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || sail__jspace(c);
        uint32_t as = (uint32_t)(begins ? utf8proc_toupper((utf8proc_int32_t)c) : utf8proc_tolower((utf8proc_int32_t)c));
        if (!sail__jbuf_char(vm, &b, as, s->foreign && s->foreign[from]))
            return false;
        begins = border;
    }
    return sail__jv_built(vm, &b, out);
}

SAIL__JFN(string)
{
    SAIL__JBIND("string", "", 0);
    (void)a;
    const sail__jstr *s;
    if (!sail__jv_to_string(vm, self, &s))
        return false;
    *out = SAIL__JV(STRING, .string = s);
    return true;
}

static bool marked(sail__jvm *vm, const sail__jstr *s, sail__jv *out)
{
    if (!sail__jv_string(vm, s->p, s->n, s->foreign, out))
        return false;
    ((sail__jstr *)out->string)->markup = true;
    return true;
}

SAIL__JFN(safe)
{
    const sail__jstr *s;
    (void)args;
    return sail__jv_to_string(vm, self, &s) && marked(vm, s, out);
}

SAIL__JFN(escape)
{
    const sail__jstr *s;
    (void)args;
    return sail__jescape(vm, self, &s) && marked(vm, s, out);
}

SAIL__JFN(forceescape)
{
    const sail__jstr *s;
    sail__jv plain;
    (void)args;
    return sail__jv_to_string(vm, self, &s) && sail__jv_string(vm, s->p, s->n, s->foreign, &plain) &&
           sail__jescape(vm, &plain, &s) && marked(vm, s, out);
}

SAIL__JFN(replace)
{
    SAIL__JBIND("replace", "old,new,count", 2);
    const sail__jstr *s, *from, *to;
    if (!sail__jv_to_string(vm, self, &s) || !sail__jv_to_string(vm, &a[0], &from) || !sail__jv_to_string(vm, &a[1], &to))
        return false;
    sail__jstr plain = *s;
    plain.markup = false;
    sail__jv text = SAIL__JV(STRING, .string = &plain), item[3];
    item[0] = SAIL__JV(STRING, .string = from);
    item[1] = SAIL__JV(STRING, .string = to);
    item[2] = a[2];
    const sail__jargs all = {.items = item, .n = sail__jgiven(&a[2]) ? 3 : 2};
    return sail__jentry_find(sail__jmethods_string, "replace")->fn(vm, &text, &all, out);
}

SAIL__JFN(indent)
{
    SAIL__JBIND("indent", "width,first,blank", 0);
    const sail__jstr *s = self->string, *by;
    int64_t width = 4;
    if (self->kind == SAIL__J_UNDEFINED)
        return sail__jundefined_used(vm, self);
    if (self->kind != SAIL__J_STRING)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "unsupported operand type(s) for +=: '%s' and 'str'", sail__jtype(self));
    sail__jbuf spaces = {0}, b = {0};
    sail__jv made, lines;
    if (a[0].kind == SAIL__J_STRING) {
        by = a[0].string;
    } else {
        if (a[0].kind && !sail__jas_int(vm, &a[0], "the width of indent", &width))
            return false;
        for (int64_t i = 0; i < width; i++)
            if (!sail__jbuf_str(vm, &spaces, " "))
                return false;
        if (!sail__jv_built(vm, &spaces, &made))
            return false;
        by = made.string;
    }
    bool first = sail__jtruth(&a[1]), blank = sail__jtruth(&a[2]);
    if (!sail__jbuf_add(vm, &b, s->p, s->n, s->foreign) || !sail__jbuf_str(vm, &b, "\n") || !sail__jv_built(vm, &b, &made))
        return false;
    const sail__jargs none = {0};
    if (!sail__jentry_find(sail__jmethods_string, "splitlines")->fn(vm, &made, &none, &lines))
        return false;
    b = (sail__jbuf){0};
    for (size_t i = 0; i < lines.list->n; i++) {
        const sail__jstr *line = lines.list->items[i].string;
        bool in = i ? blank || line->n : first;
        if ((i && !sail__jbuf_str(vm, &b, "\n")) || (in && !sail__jbuf_add(vm, &b, by->p, by->n, by->foreign)) ||
            !sail__jbuf_add(vm, &b, line->p, line->n, line->foreign))
            return false;
    }
    return sail__jv_built(vm, &b, out);
}

SAIL__JFN(truncate)
{
    SAIL__JBIND("truncate", "length,killwords,end,leeway", 0);
    int64_t length = 255, leeway = 5;
    const sail__jstr *s, *end = &(sail__jstr){.p = "...", .n = 3};
    size_t length_of;
    if (self->kind != SAIL__J_STRING && !sail__jsize(vm, self, &length_of))
        return false;
    if (!sail__jv_to_string(vm, self, &s) || (a[0].kind && !sail__jas_int(vm, &a[0], "the length of truncate", &length)) ||
        (sail__jgiven(&a[3]) && !sail__jas_int(vm, &a[3], "the leeway of truncate", &leeway)) ||
        (a[2].kind && !sail__jv_to_string(vm, &a[2], &end)))
        return false;
    int64_t cut = length - (int64_t)sail__jlength(end);
    if (cut < 0 || leeway < 0)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "truncate: the length is shorter than the end");
    if ((int64_t)sail__jlength(s) <= length + leeway) {
        *out = SAIL__JV(STRING, .string = s);
        return true;
    }
    size_t at = 0;
    for (int64_t i = 0; i < cut; i++)
        sail__jnext(s, &at);
    const char *space = sail__jtruth(&a[1]) ? NULL : memrchr(s->p, ' ', at);
    if (space)
        at = (size_t)(space - s->p);
    sail__jbuf b = {0};
    return sail__jbuf_add(vm, &b, s->p, at, s->foreign) && sail__jbuf_add(vm, &b, end->p, end->n, end->foreign) &&
           sail__jv_built(vm, &b, out);
}

static bool word_part(uint32_t c)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return c == '_' || (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) ||
           (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO);
}

SAIL__JFN(wordcount)
{
    const sail__jstr *s;
    (void)args;
    if (!sail__jv_to_string(vm, self, &s) || !sail__jstep(vm, s->n / 16))
        return false;
    int64_t words = 0;
    bool inside = false;
    for (size_t at = 0; at < s->n;) {
        uint32_t c = sail__jnext(s, &at);
        bool word = word_part(c);
        words += word && !inside;
        inside = word;
    }
    *out = SAIL__JV(INT, .integer = words);
    return true;
}

SAIL__JFN(format)
{
    const sail__jstr *s;
    sail__jv values;
    if (!sail__jv_to_string(vm, self, &s))
        return false;
    if (args->n && args->n_named)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "can't handle positional and keyword arguments at the same time");
    if (!args->n_named)
        return sail__jv_list(vm, SAIL__J_TUPLE, args->items, args->n, &values) && sail__jpercent(vm, s, &values, out);
    sail__jdict *d = sail__jdict_new(vm, args->n_named);
    for (size_t i = 0; d && i < args->n_named; i++) {
        sail__jv key = SAIL__JV(STRING, .string = args->names[i]);
        if (!sail__jdict_set(vm, d, key, args->named[i]))
            return false;
    }
    values = SAIL__JV(DICT, .dict = d);
    return d && sail__jpercent(vm, s, &values, out);
}

SAIL__JFN(tojson)
{
    SAIL__JBIND("tojson", "ensure_ascii,indent,separators,sort_keys", 0);
    static const sail__jstr comma_space = {.p = ", ", .n = 2}, comma = {.p = ",", .n = 1}, colon = {.p = ": ", .n = 2};
    sail__jjson o = {.ascii = sail__jtruth(&a[0]), .sort = sail__jtruth(&a[3]), .key = &colon, .item = &comma_space};
    sail__jbuf spaces = {0}, b = {0};
    sail__jv made;
    if (a[1].kind == SAIL__J_STRING) {
        o.indent = a[1].string;
    } else if (sail__jgiven(&a[1])) {
        int64_t n;
        if (!sail__jas_int(vm, &a[1], "the indent of tojson", &n))
            return false;
        for (int64_t i = 0; i < n; i++)
            if (!sail__jbuf_str(vm, &spaces, " "))
                return false;
        if (!sail__jv_built(vm, &spaces, &made))
            return false;
        o.indent = made.string;
    }
    if (o.indent)
        o.item = &comma;
    if (sail__jgiven(&a[2])) {
        bool two = (a[2].kind == SAIL__J_TUPLE || a[2].kind == SAIL__J_LIST) && a[2].list->n == 2 &&
                   a[2].list->items[0].kind == SAIL__J_STRING && a[2].list->items[1].kind == SAIL__J_STRING;
        if (!two)
            return sail__jfail(vm, SAIL__JINJA_RUNTIME, "tojson: separators must be two strings");
        o.item = a[2].list->items[0].string;
        o.key = a[2].list->items[1].string;
    }
    if (self->kind == SAIL__J_UNDEFINED && self->flag)
        return sail__jundefined_used(vm, self);
    return sail__jv_json(vm, self, &o, 0, &b) && sail__jv_built(vm, &b, out);
}

/* ---- values ---- */

SAIL__JFN(default_of)
{
    SAIL__JBIND("default", "default_value,boolean", 0);
    if (self->kind != SAIL__J_UNDEFINED && !(sail__jtruth(&a[1]) && !sail__jtruth(self))) {
        *out = *self;
        return true;
    }
    *out = a[0];
    return a[0].kind || sail__jv_text(vm, "", out);
}

SAIL__JFN(absolute)
{
    (void)args;
    if (self->kind == SAIL__J_UNDEFINED)
        return sail__jundefined_used(vm, self);
    if (self->kind == SAIL__J_FLOAT)
        *out = SAIL__JV(FLOAT, .number = fabs(self->number));
    else if (self->kind == SAIL__J_INT || self->kind == SAIL__J_BOOL) {
        sail__jint i = self->kind == SAIL__J_BOOL ? self->boolean : self->integer;
        if (i < 0 && __builtin_sub_overflow((sail__jint)0, i, &i))
            return sail__jfail(vm, SAIL__JINJA_LIMIT, "a number is too large");
        *out = SAIL__JV(INT, .integer = i);
    } else
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "bad operand type for abs(): '%s'", sail__jtype(self));
    return true;
}

/* Digits in a base, with an optional prefix as int() takes it; false: no integer. */
static bool parse_int(const char *s, size_t n, int64_t base, sail__jint *out)
{
    size_t i = 0;
    bool minus = i < n && s[i] == '-', any = false;
    i += minus || (i < n && s[i] == '+');
    if (i + 1 < n && s[i] == '0') {
        char p = (char)(s[i + 1] | 0x20);
        int64_t is = p == 'x' ? 16 : p == 'o' ? 8 : p == 'b' ? 2 : 0;
        if (is && (is == base || base == 0)) {
            base = is;
            i += 2;
        }
    }
    if (base == 0)
        base = 10;
    sail__jint v = 0;
    for (; i < n; i++) {
        if (s[i] == '_' && any && i + 1 < n && s[i + 1] != '_')
            continue;
        int d = s[i] >= '0' && s[i] <= '9'                     ? s[i] - '0'
                : (s[i] | 0x20) >= 'a' && (s[i] | 0x20) <= 'z' ? (s[i] | 0x20) - 'a' + 10
                                                               : 99;
        if (d >= base || __builtin_mul_overflow(v, (sail__jint)base, &v) || __builtin_add_overflow(v, (sail__jint)d, &v))
            return false;
        any = true;
    }
    *out = minus ? -v : v;
    return any;
}

static sail__jstr stripped(const sail__jstr *s)
{
    sail__jstr t = *s;
    size_t at = 0;
    while (at < t.n) {
        size_t from = at;
        if (!sail__jspace(sail__jnext(&t, &at))) {
            t.p += from;
            t.n -= from;
            at = 0;
            break;
        }
    }
    if (at && at >= t.n)
        t.n = 0;
    while (t.n && (unsigned char)t.p[t.n - 1] <= ' ')
        t.n--;
    return t;
}

static bool parse_float(const sail__jstr *s, double *x)
{
    sail__jstr t = stripped(s);
    char text[80], *end;
    size_t n = 0;
    for (size_t i = 0; i < t.n; i++) {
        if (t.p[i] == '_' && i)
            continue;
        if (n == sizeof text - 1 || !strchr("0123456789+-.eEinfatyINFATY", t.p[i]) || !t.p[i])
            return false;
        text[n++] = t.p[i];
    }
    text[n] = '\0';
    *x = strtod(text, &end);
    return n && !*end;
}

static bool from_double(sail__jvm *vm, double x, sail__jv *out)
{
    if (fabs(x) > 1e38)
        return sail__jfail(vm, SAIL__JINJA_LIMIT, "a number is too large");
    *out = SAIL__JV(INT, .integer = (sail__jint)x);
    return true;
}

SAIL__JFN(integer)
{
    SAIL__JBIND("int", "default,base", 0);
    int64_t base = 10;
    double x;
    sail__jint i;
    *out = a[0].kind ? a[0] : SAIL__JV(INT, .integer = 0);
    if (a[1].kind && !sail__jas_int(vm, &a[1], "the base of int", &base))
        return false;
    if (self->kind == SAIL__J_UNDEFINED)
        return sail__jundefined_used(vm, self);
    if (self->kind == SAIL__J_INT || self->kind == SAIL__J_BOOL) {
        *out = SAIL__JV(INT, .integer = self->kind == SAIL__J_BOOL ? self->boolean : self->integer);
    } else if (self->kind == SAIL__J_FLOAT) {
        return isnan(self->number) || isinf(self->number) || from_double(vm, self->number, out);
    } else if (self->kind == SAIL__J_STRING) {
        sail__jstr s = stripped(self->string);
        if (parse_int(s.p, s.n, base, &i))
            *out = SAIL__JV(INT, .integer = i);
        else if (parse_float(&s, &x) && !isnan(x) && !isinf(x))
            return from_double(vm, x, out);
    }
    return true;
}

SAIL__JFN(real)
{
    SAIL__JBIND("float", "default", 0);
    double x;
    *out = a[0].kind ? a[0] : SAIL__JV(FLOAT, .number = 0);
    if (self->kind == SAIL__J_UNDEFINED)
        return sail__jundefined_used(vm, self);
    if (self->kind == SAIL__J_FLOAT)
        *out = *self;
    else if (self->kind == SAIL__J_INT || self->kind == SAIL__J_BOOL)
        *out = SAIL__JV(FLOAT, .number = self->kind == SAIL__J_BOOL ? self->boolean : (double)self->integer);
    else if (self->kind == SAIL__J_STRING && parse_float(self->string, &x))
        *out = SAIL__JV(FLOAT, .number = x);
    return true;
}

SAIL__JFN(rounded)
{
    SAIL__JBIND("round", "precision,method", 0);
    int64_t precision = 0;
    if (a[0].kind && !sail__jas_int(vm, &a[0], "the precision of round", &precision))
        return false;
    const char *how = a[1].kind == SAIL__J_STRING ? a[1].string->p : "common";
    bool up = strncmp(how, "ceil", 4) == 0, down = strncmp(how, "floor", 5) == 0;
    if (!up && !down && strncmp(how, "common", 6) != 0)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "method must be common, ceil or floor");
    if (self->kind != SAIL__J_FLOAT && self->kind != SAIL__J_INT && self->kind != SAIL__J_BOOL)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "type %s doesn't define __round__ method", sail__jtype(self));
    double x = self->kind == SAIL__J_FLOAT ? self->number : self->kind == SAIL__J_INT ? (double)self->integer : self->boolean;
    if (up || down) {
        double scale = pow(10, (double)precision), y = up ? ceil(x * scale) : floor(x * scale);
        *out = SAIL__JV(FLOAT, .number = y / scale);
    } else if (self->kind != SAIL__J_FLOAT && precision >= 0) {
        *out = SAIL__JV(INT, .integer = self->kind == SAIL__J_INT ? self->integer : self->boolean);
    } else if (precision >= 0 && precision < 30 && fabs(x) < 1e22) {
        char text[64];
        snprintf(text, sizeof text, "%.*f", (int)precision, x);
        *out = SAIL__JV(FLOAT, .number = strtod(text, NULL));
    } else if (precision >= 30) {
        *out = SAIL__JV(FLOAT, .number = x);
    } else {
        double scale = pow(10, (double)-precision);
        *out = SAIL__JV(FLOAT, .number = nearbyint(x / scale) * scale);
    }
    return true;
}

SAIL__JFN(attr)
{
    SAIL__JBIND("attr", "name", 1);
    if (a[0].kind != SAIL__J_STRING)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "attribute name must be string, not '%s'", sail__jtype(&a[0]));
    const sail__jstr *name = a[0].string;
    if (self->kind == SAIL__J_DICT && !sail__jentry_find(sail__jmethods_dict, name->p)) /* attributes, not keys */
        return sail__jv_undefined(vm, out, "'dict object' has no attribute '%.100s'", name->p);
    return sail__jattr(vm, self, name, out);
}

const sail__jentry sail__jfilters_text[] = {
    {"abs", absolute},
    {"attr", attr},
    {"capitalize", capitalize},
    {"center", center},
    {"d", default_of},
    {"default", default_of},
    {"e", escape},
    {"escape", escape},
    {"float", real},
    {"forceescape", forceescape},
    {"format", format},
    {"indent", indent},
    {"int", integer},
    {"lower", lower},
    {"replace", replace},
    {"round", rounded},
    {"safe", safe},
    {"string", string},
    {"title", title},
    {"tojson", tojson},
    {"trim", trim},
    {"truncate", truncate},
    {"upper", upper},
    {"wordcount", wordcount},
    {NULL, NULL},
};
