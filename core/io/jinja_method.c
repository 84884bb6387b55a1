/* jinja_method.c - methods of strings, as Python has them. */
#include <stdio.h>

#include <utf8proc.h>

#include "jinja_impl.h"

static bool text_of(sail__jvm *vm, const sail__jv *v, const char *what, const sail__jstr **s)
{
    *s = NULL;
    if (v->kind != SAIL__J_STRING)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "%s argument must be str, not %s", what, sail__jtype(v));
    *s = v->string;
    return true;
}

static bool part(sail__jvm *vm, const sail__jstr *s, size_t from, size_t to, sail__jv *out)
{
    if (!sail__jv_string(vm, s->p + from, to - from, s->foreign ? s->foreign + from : NULL, out))
        return false;
    ((sail__jstr *)out->string)->markup = s->markup;
    return true;
}

static bool add(sail__jvm *vm, sail__jbuf *b, const sail__jstr *s, size_t from, size_t to)
{
    return sail__jbuf_add(vm, b, s->p + from, to - from, s->foreign ? s->foreign + from : NULL);
}

static bool built(sail__jvm *vm, const sail__jbuf *b, const sail__jstr *like, sail__jv *out)
{
    if (!sail__jv_built(vm, b, out))
        return false;
    ((sail__jstr *)out->string)->markup = like->markup;
    return true;
}

/* ---- letters ---- */

typedef enum letters { UPPER, LOWER, TITLE, CAPITALIZE, SWAP, FOLD } letters;

static bool is_cased(uint32_t c)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_LU || k == UTF8PROC_CATEGORY_LL || k == UTF8PROC_CATEGORY_LT;
}

static bool to_upper(sail__jvm *vm, sail__jbuf *b, uint32_t c, bool title, bool foreign)
{
    if (c == 0xDF) /* ß, the only one that is common */
        return sail__jbuf_char(vm, b, 'S', foreign) && sail__jbuf_char(vm, b, title ? 's' : 'S', foreign);
    return sail__jbuf_char(
        vm, b, (uint32_t)(title ? utf8proc_totitle((utf8proc_int32_t)c) : utf8proc_toupper((utf8proc_int32_t)c)), foreign);
}

static bool convert(sail__jvm *vm, letters how, const char *name, const sail__jv *self, const sail__jargs *args, sail__jv *out)
{
    SAIL__JBIND(name, "", 0);
    (void)a;
    const sail__jstr *s = self->string;
    sail__jbuf b = {0};
    bool before = false;
    if (!sail__jstep(vm, s->n / 16))
        return false;
    for (size_t at = 0; at < s->n;) {
        size_t from = at;
        uint32_t c = sail__jnext(s, &at);
        bool upper = how == UPPER || (how == TITLE && !before) || (how == CAPITALIZE && from == 0) ||
                     (how == SWAP && utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_LL);
        bool foreign = s->foreign && s->foreign[from];
        if (how == FOLD && c == 0xDF) {
            if (!sail__jbuf_char(vm, &b, 's', foreign) || !sail__jbuf_char(vm, &b, 's', foreign))
                return false;
            continue;
        }
        if (upper ? !to_upper(vm, &b, c, how == TITLE || how == CAPITALIZE, foreign)
                  : !sail__jbuf_char(vm, &b,
                                     how == SWAP && utf8proc_category((utf8proc_int32_t)c) != UTF8PROC_CATEGORY_LU
                                         ? c
                                         : (uint32_t)utf8proc_tolower((utf8proc_int32_t)c),
                                     foreign))
            return false;
        before = is_cased(c);
    }
    return built(vm, &b, s, out);
}
SAIL__JFN(upper)
{
    return convert(vm, UPPER, "upper", self, args, out);
}
SAIL__JFN(lower)
{
    return convert(vm, LOWER, "lower", self, args, out);
}
SAIL__JFN(casefold)
{
    return convert(vm, FOLD, "casefold", self, args, out);
}
SAIL__JFN(title)
{
    return convert(vm, TITLE, "title", self, args, out);
}
SAIL__JFN(capitalize)
{
    return convert(vm, CAPITALIZE, "capitalize", self, args, out);
}
SAIL__JFN(swapcase)
{
    return convert(vm, SWAP, "swapcase", self, args, out);
}

/* ---- ends ---- */

static bool strip_ends(sail__jvm *vm, const char *name, bool left, bool right, const sail__jv *self, const sail__jargs *args,
                       sail__jv *out)
{
    SAIL__JBIND(name, "chars", 0);
    const sail__jstr *s = self->string, *set = NULL;
    size_t from = 0, to = s->n;
    if (sail__jgiven(&a[0]) && !text_of(vm, &a[0], name, &set))
        return false;
    if (!sail__jstep(vm, s->n / 64 + 1))
        return false;
    while (left && from < to) {
        size_t at = from;
        uint32_t c = sail__jnext(s, &at);
        if (set ? !memmem(set->p, set->n, s->p + from, at - from) : !sail__jspace(c))
            break;
        if (set && !sail__jstep(vm, set->n / 16))
            return false;
        from = at;
    }
    while (right && to > from) {
        size_t at = to - 1;
        while (at > from && ((unsigned char)s->p[at] & 0xC0) == 0x80)
            at--;
        size_t end = at;
        uint32_t c = sail__jnext(s, &end);
        if (set ? !memmem(set->p, set->n, s->p + at, to - at) : !sail__jspace(c))
            break;
        if (set && !sail__jstep(vm, set->n / 16))
            return false;
        to = at;
    }
    return part(vm, s, from, to, out);
}
SAIL__JFN(strip)
{
    return strip_ends(vm, "strip", true, true, self, args, out);
}
SAIL__JFN(lstrip)
{
    return strip_ends(vm, "lstrip", true, false, self, args, out);
}
SAIL__JFN(rstrip)
{
    return strip_ends(vm, "rstrip", false, true, self, args, out);
}

static bool has_end(const sail__jstr *s, const sail__jstr *w, bool at_end)
{
    return w->n <= s->n && memcmp(at_end ? s->p + (s->n - w->n) : s->p, w->p, w->n) == 0;
}

static bool ends(sail__jvm *vm, const char *name, bool at_end, const sail__jv *self, const sail__jargs *args, sail__jv *out)
{
    SAIL__JBIND(name, "prefix,start,end", 1);
    sail__jv one = *self;
    bool yes = false;
    if ((sail__jgiven(&a[1]) || sail__jgiven(&a[2])) && !sail__jslice(vm, self, &a[1], &a[2], &(sail__jv){0}, &one))
        return false;
    sail__jlist l = {a, 1};
    if (a[0].kind == SAIL__J_TUPLE)
        l = *a[0].list;
    for (size_t i = 0; i < l.n && !yes; i++) {
        const sail__jstr *w;
        if (!text_of(vm, &l.items[i], name, &w))
            return false;
        yes = has_end(one.string, w, at_end);
    }
    *out = SAIL__JV(BOOL, .boolean = yes);
    return true;
}
SAIL__JFN(startswith)
{
    return ends(vm, "startswith", false, self, args, out);
}
SAIL__JFN(endswith)
{
    return ends(vm, "endswith", true, self, args, out);
}

SAIL__JFN(removeprefix)
{
    SAIL__JBIND("removeprefix", "prefix", 1);
    const sail__jstr *s = self->string, *w = NULL;
    return text_of(vm, &a[0], "removeprefix", &w) && part(vm, s, has_end(s, w, false) ? w->n : 0, s->n, out);
}
SAIL__JFN(removesuffix)
{
    SAIL__JBIND("removesuffix", "suffix", 1);
    const sail__jstr *s = self->string, *w = NULL;
    return text_of(vm, &a[0], "removesuffix", &w) && part(vm, s, 0, has_end(s, w, true) ? s->n - w->n : s->n, out);
}

/* ---- cutting ---- */

static bool cut(sail__jvm *vm, sail__jitems *l, const sail__jstr *s, size_t from, size_t to)
{
    sail__jv v;
    return part(vm, s, from, to, &v) && sail__jitems_add(vm, l, v);
}

/* By runs of white space, which are left out. */
static bool split_space(sail__jvm *vm, const sail__jstr *s, int64_t most, sail__jitems *l)
{
    for (size_t at = 0; at < s->n;) {
        size_t from = at;
        if (sail__jspace(sail__jnext(s, &at)))
            continue;
        if (most-- == 0) {
            size_t end = s->n;
            while (end > from && (unsigned char)s->p[end - 1] <= ' ')
                end--;
            return cut(vm, l, s, from, end);
        }
        size_t to = at;
        while (to < s->n) {
            size_t next = to;
            if (sail__jspace(sail__jnext(s, &next)))
                break;
            to = next;
        }
        if (!cut(vm, l, s, from, to))
            return false;
        at = to;
    }
    return true;
}

SAIL__JFN(split)
{
    SAIL__JBIND("split", "sep,maxsplit", 0);
    const sail__jstr *s = self->string, *w = NULL;
    int64_t most = -1;
    sail__jitems l = {0};
    if (sail__jgiven(&a[1]) && !sail__jas_int(vm, &a[1], "maxsplit", &most))
        return false;
    if (!sail__jstep(vm, s->n / 16 + 1))
        return false;
    if (!sail__jgiven(&a[0]))
        return split_space(vm, s, most, &l) && sail__jv_list(vm, SAIL__J_LIST, l.items, l.n, out);
    if (!text_of(vm, &a[0], "split", &w))
        return false;
    if (!w->n)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "empty separator");
    size_t from = 0;
    for (const char *hit; most != 0 && (hit = memmem(s->p + from, s->n - from, w->p, w->n)); most--) {
        size_t to = (size_t)(hit - s->p);
        if (!cut(vm, &l, s, from, to))
            return false;
        from = to + w->n;
    }
    return cut(vm, &l, s, from, s->n) && sail__jv_list(vm, SAIL__J_LIST, l.items, l.n, out);
}

/* The last place of w in s before `end`; -1: none. */
static int64_t find_last(const sail__jstr *s, const sail__jstr *w, size_t end)
{
    for (size_t i = end >= w->n ? end - w->n + 1 : 0; i > 0; i--)
        if (memcmp(s->p + i - 1, w->p, w->n) == 0)
            return (int64_t)i - 1;
    return -1;
}

SAIL__JFN(rsplit)
{
    SAIL__JBIND("rsplit", "sep,maxsplit", 0);
    const sail__jstr *s = self->string, *w = &(sail__jstr){.p = " ", .n = 1};
    int64_t most = -1;
    sail__jitems l = {0};
    if (sail__jgiven(&a[1]) && !sail__jas_int(vm, &a[1], "maxsplit", &most))
        return false;
    if (!sail__jgiven(&a[0]) && most < 0)
        return split(vm, self, &(sail__jargs){0}, out);
    if (sail__jgiven(&a[0]) && !text_of(vm, &a[0], "rsplit", &w))
        return false;
    if (!w->n)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "empty separator");
    if (!sail__jstep(vm, s->n / 4 + 1))
        return false;
    size_t end = s->n, start = 0;
    while (!sail__jgiven(&a[0]) && end && (unsigned char)s->p[end - 1] <= ' ')
        end--;
    while (!sail__jgiven(&a[0]) && start < end && (unsigned char)s->p[start] <= ' ')
        start++;
    for (int64_t hit; most != 0 && (hit = find_last(s, w, end)) >= (int64_t)start; most--) {
        if (!cut(vm, &l, s, (size_t)hit + w->n, end))
            return false;
        end = (size_t)hit;
        while (!sail__jgiven(&a[0]) && end > start && (unsigned char)s->p[end - 1] <= ' ')
            end--;
    }
    if ((sail__jgiven(&a[0]) || end > start) && !cut(vm, &l, s, start, end))
        return false;
    for (size_t i = 0; i < l.n / 2; i++) {
        sail__jv swap = l.items[i];
        l.items[i] = l.items[l.n - 1 - i];
        l.items[l.n - 1 - i] = swap;
    }
    return sail__jv_list(vm, SAIL__J_LIST, l.items, l.n, out);
}

static bool line_end(uint32_t c)
{
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

SAIL__JFN(splitlines)
{
    SAIL__JBIND("splitlines", "keepends", 0);
    const sail__jstr *s = self->string;
    bool keep = sail__jtruth(&a[0]);
    sail__jitems l = {0};
    size_t from = 0;
    if (!sail__jstep(vm, s->n / 16 + 1))
        return false;
    for (size_t at = 0; at < s->n;) {
        size_t to = at;
        if (!line_end(sail__jnext(s, &at)))
            continue;
        if (s->p[to] == '\r' && at < s->n && s->p[at] == '\n')
            at++;
        if (!cut(vm, &l, s, from, keep ? at : to))
            return false;
        from = at;
    }
    if (from < s->n && !cut(vm, &l, s, from, s->n))
        return false;
    return sail__jv_list(vm, SAIL__J_LIST, l.items, l.n, out);
}

static bool partitioned(sail__jvm *vm, const char *name, bool last, const sail__jv *self, const sail__jargs *args, sail__jv *out)
{
    SAIL__JBIND(name, "sep", 1);
    const sail__jstr *s = self->string, *w = NULL;
    if (!text_of(vm, &a[0], name, &w))
        return false;
    if (!w->n)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "empty separator");
    const char *hit = last ? NULL : memmem(s->p, s->n, w->p, w->n);
    int64_t at = last ? find_last(s, w, s->n) : hit ? hit - s->p : -1;
    sail__jitems l = {0};
    bool ok = at >= 0 ? cut(vm, &l, s, 0, (size_t)at) && cut(vm, &l, s, (size_t)at, (size_t)at + w->n) &&
                            cut(vm, &l, s, (size_t)at + w->n, s->n)
              : last ? cut(vm, &l, s, 0, 0) && cut(vm, &l, s, 0, 0) && cut(vm, &l, s, 0, s->n)
                     : cut(vm, &l, s, 0, s->n) && cut(vm, &l, s, 0, 0) && cut(vm, &l, s, 0, 0);
    return ok && sail__jstep(vm, s->n / 16) && sail__jv_list(vm, SAIL__J_TUPLE, l.items, l.n, out);
}
SAIL__JFN(partition)
{
    return partitioned(vm, "partition", false, self, args, out);
}
SAIL__JFN(rpartition)
{
    return partitioned(vm, "rpartition", true, self, args, out);
}

SAIL__JFN(replace)
{
    SAIL__JBIND("replace", "old,new,count", 2);
    const sail__jstr *s = self->string, *from = NULL, *to = NULL;
    int64_t most = -1;
    sail__jbuf b = {0};
    if (!text_of(vm, &a[0], "replace", &from) || !text_of(vm, &a[1], "replace", &to) ||
        (sail__jgiven(&a[2]) && !sail__jas_int(vm, &a[2], "count", &most)) || (s->markup && !sail__jescape(vm, &a[1], &to)))
        return false;
    size_t at = 0;
    if (!sail__jstep(vm, s->n / 16 + 1))
        return false;
    if (!from->n) { /* before every character and at the end */
        for (; most != 0 && at < s->n; most--) {
            size_t begin = at;
            sail__jnext(s, &at);
            if (!add(vm, &b, to, 0, to->n) || !add(vm, &b, s, begin, at))
                return false;
        }
        if (most != 0 && !add(vm, &b, to, 0, to->n))
            return false;
        return add(vm, &b, s, at, s->n) && built(vm, &b, s, out);
    }
    for (const char *hit; most != 0 && (hit = memmem(s->p + at, s->n - at, from->p, from->n)); most--) {
        size_t end = (size_t)(hit - s->p);
        if (!add(vm, &b, s, at, end) || !add(vm, &b, to, 0, to->n))
            return false;
        at = end + from->n;
    }
    return add(vm, &b, s, at, s->n) && built(vm, &b, s, out);
}

SAIL__JFN(join)
{
    SAIL__JBIND("join", "iterable", 1);
    const sail__jstr *s = self->string;
    sail__jlist l;
    sail__jbuf b = {0};
    if (a[0].kind == SAIL__J_UNDEFINED && a[0].flag)
        return sail__jundefined_used(vm, &a[0]);
    if (!sail__jitems_of(vm, &a[0], &l))
        return false;
    for (size_t i = 0; i < l.n; i++) {
        const sail__jstr *w;
        if (l.items[i].kind == SAIL__J_UNDEFINED)
            return sail__jfail(vm, SAIL__JINJA_RUNTIME, "sequence item %zu: expected str instance, Undefined found", i);
        if (!text_of(vm, &l.items[i], "join", &w) || (s->markup && !sail__jescape(vm, &l.items[i], &w)) ||
            (i && !add(vm, &b, s, 0, s->n)) || !add(vm, &b, w, 0, w->n))
            return false;
    }
    return built(vm, &b, s, out);
}

/* ---- searching ---- */

static bool place(sail__jvm *vm, const char *name, bool last, bool must, const sail__jv *self, const sail__jargs *args,
                  sail__jv *out)
{
    SAIL__JBIND(name, "sub,start,end", 1);
    const sail__jstr *s = self->string, *w = NULL;
    sail__jv in = *self;
    int64_t start = 0;
    if (!text_of(vm, &a[0], name, &w))
        return false;
    if ((sail__jgiven(&a[1]) || sail__jgiven(&a[2])) && !sail__jslice(vm, self, &a[1], &a[2], &(sail__jv){0}, &in))
        return false;
    if (in.string != s) { /* how many characters stand before the slice */
        sail__jstr head = {.p = s->p, .n = (size_t)(in.string->p - s->p)};
        start = (int64_t)sail__jlength(&head);
        s = in.string;
    }
    if (!sail__jstep(vm, s->n / 16 + 1))
        return false;
    const char *hit = last ? NULL : w->n ? memmem(s->p, s->n, w->p, w->n) : s->p;
    int64_t at = last ? find_last(s, w, s->n) : hit ? hit - s->p : -1;
    if (at >= 0) {
        sail__jstr head = {.p = s->p, .n = (size_t)at};
        at = start + (int64_t)sail__jlength(&head);
    } else if (must) {
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "substring not found");
    }
    *out = SAIL__JV(INT, .integer = at);
    return true;
}
SAIL__JFN(find)
{
    return place(vm, "find", false, false, self, args, out);
}
SAIL__JFN(rfind)
{
    return place(vm, "rfind", true, false, self, args, out);
}
SAIL__JFN(string_index)
{
    return place(vm, "index", false, true, self, args, out);
}
SAIL__JFN(string_rindex)
{
    return place(vm, "rindex", true, true, self, args, out);
}

SAIL__JFN(string_count)
{
    SAIL__JBIND("count", "sub", 1);
    const sail__jstr *s = self->string, *w = NULL;
    if (!text_of(vm, &a[0], "count", &w) || !sail__jstep(vm, s->n / 16 + 1))
        return false;
    int64_t n = w->n ? 0 : (int64_t)sail__jlength(s) + 1;
    size_t at = 0;
    for (const char *hit; w->n && (hit = memmem(s->p + at, s->n - at, w->p, w->n)); n++)
        at = (size_t)(hit - s->p) + w->n;
    *out = SAIL__JV(INT, .integer = n);
    return true;
}

/* ---- widths ---- */

static bool pad(sail__jvm *vm, const char *name, int where, const sail__jv *self, const sail__jargs *args, sail__jv *out)
{
    SAIL__JBIND(name, "width,fillchar", 1);
    const sail__jstr *s = self->string, *fill = &(sail__jstr){.p = " ", .n = 1};
    int64_t width;
    if (!sail__jas_int(vm, &a[0], "the width", &width) || (a[1].kind && !text_of(vm, &a[1], name, &fill)))
        return false;
    if (sail__jlength(fill) != 1)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "The fill character must be exactly one character long");
    int64_t n = (int64_t)sail__jlength(s), more = width > n ? width - n : 0;
    int64_t left = where < 0 ? 0 : where > 0 ? more : more / 2 + (more & width & 1);
    sail__jbuf b = {0};
    for (int64_t i = 0; i < left; i++)
        if (!add(vm, &b, fill, 0, fill->n))
            return false;
    if (!add(vm, &b, s, 0, s->n))
        return false;
    for (int64_t i = left; i < more; i++)
        if (!add(vm, &b, fill, 0, fill->n))
            return false;
    return built(vm, &b, s, out);
}
SAIL__JFN(ljust)
{
    return pad(vm, "ljust", -1, self, args, out);
}
SAIL__JFN(rjust)
{
    return pad(vm, "rjust", 1, self, args, out);
}
SAIL__JFN(center)
{
    return pad(vm, "center", 0, self, args, out);
}

SAIL__JFN(zfill)
{
    SAIL__JBIND("zfill", "width", 1);
    const sail__jstr *s = self->string;
    int64_t width;
    if (!sail__jas_int(vm, &a[0], "the width", &width))
        return false;
    bool sign = s->n && (*s->p == '-' || *s->p == '+');
    sail__jbuf b = {0};
    if (!add(vm, &b, s, 0, sign))
        return false;
    for (int64_t i = (int64_t)sail__jlength(s); i < width; i++)
        if (!sail__jbuf_str(vm, &b, "0"))
            return false;
    return add(vm, &b, s, sign, s->n) && built(vm, &b, s, out);
}

SAIL__JFN(expandtabs)
{
    SAIL__JBIND("expandtabs", "tabsize", 0);
    const sail__jstr *s = self->string;
    int64_t size = 8, column = 0;
    sail__jbuf b = {0};
    if (a[0].kind && !sail__jas_int(vm, &a[0], "tabsize", &size))
        return false;
    for (size_t at = 0; at < s->n;) {
        size_t from = at;
        uint32_t c = sail__jnext(s, &at);
        int64_t spaces = c == '\t' ? (size > 0 ? size - column % size : 0) : -1;
        if (spaces < 0 && !add(vm, &b, s, from, at))
            return false;
        for (int64_t i = 0; i < spaces; i++)
            if (!sail__jbuf_str(vm, &b, " "))
                return false;
        column = c == '\n' || c == '\r' ? 0 : column + (spaces < 0 ? 1 : spaces);
    }
    return built(vm, &b, s, out);
}

/* ---- kinds of characters ---- */

static bool alpha(uint32_t c)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}
static bool decimal(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND;
}
static bool superscript(uint32_t c)
{
    return c == 0xB2 || c == 0xB3 || c == 0xB9 || (c >= 0x2070 && c <= 0x2079 && c != 0x2071 && c != 0x2072 && c != 0x2073) ||
           (c >= 0x2080 && c <= 0x2089) || (c >= 0x2460 && c <= 0x2468);
}
static bool digit(uint32_t c)
{
    return decimal(c) || superscript(c);
}
static bool numeric(uint32_t c)
{
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}
static bool alnum(uint32_t c)
{
    return alpha(c) || numeric(c);
}
static bool ascii(uint32_t c)
{
    return c < 128;
}

static bool all(sail__jvm *vm, bool (*is)(uint32_t), bool of_empty, const sail__jv *self, const sail__jargs *args, sail__jv *out)
{
    const sail__jstr *s = self->string;
    bool yes = s->n || of_empty;
    if (args->n || args->n_named)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "a method was called with arguments that takes none");
    for (size_t at = 0; at < s->n && yes;)
        yes = is(sail__jnext(s, &at));
    *out = SAIL__JV(BOOL, .boolean = yes);
    return sail__jstep(vm, s->n / 16);
}
SAIL__JFN(string_isalpha)
{
    return all(vm, alpha, false, self, args, out);
}
SAIL__JFN(string_isdecimal)
{
    return all(vm, decimal, false, self, args, out);
}
SAIL__JFN(string_isdigit)
{
    return all(vm, digit, false, self, args, out);
}
SAIL__JFN(string_isnumeric)
{
    return all(vm, numeric, false, self, args, out);
}
SAIL__JFN(string_isalnum)
{
    return all(vm, alnum, false, self, args, out);
}
SAIL__JFN(string_isspace)
{
    return all(vm, sail__jspace, false, self, args, out);
}
SAIL__JFN(string_isascii)
{
    return all(vm, ascii, true, self, args, out);
}

/* islower and isupper: some letter has case, and none the other one. */
static bool case_is(sail__jvm *vm, bool upper, const sail__jv *self, sail__jv *out)
{
    const sail__jstr *s = self->string;
    bool some = false, other = false;
    for (size_t at = 0; at < s->n;) {
        utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)sail__jnext(s, &at));
        some |= k == (upper ? UTF8PROC_CATEGORY_LU : UTF8PROC_CATEGORY_LL);
        other |= k == (upper ? UTF8PROC_CATEGORY_LL : UTF8PROC_CATEGORY_LU) || k == UTF8PROC_CATEGORY_LT;
    }
    *out = SAIL__JV(BOOL, .boolean = some && !other);
    return sail__jstep(vm, s->n / 16);
}
SAIL__JFN(string_islower)
{
    (void)args;
    return case_is(vm, false, self, out);
}
SAIL__JFN(string_isupper)
{
    (void)args;
    return case_is(vm, true, self, out);
}
SAIL__JFN(string_istitle)
{
    (void)args;
    const sail__jstr *s = self->string;
    bool some = false, good = true, before = false;
    for (size_t at = 0; at < s->n;) {
        uint32_t c = sail__jnext(s, &at);
        utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
        bool cased = is_cased(c), upper = cased && k != UTF8PROC_CATEGORY_LL;
        good &= !cased || upper != before;
        some |= cased;
        before = cased;
    }
    *out = SAIL__JV(BOOL, .boolean = some && good);
    return sail__jstep(vm, s->n / 16);
}

const sail__jentry sail__jmethods_string[] = {
    {"capitalize", capitalize},
    {"casefold", casefold},
    {"center", center},
    {"count", string_count},
    {"endswith", endswith},
    {"find", find},
    {"format", sail__jformat},
    {"index", string_index},
    {"join", join},
    {"ljust", ljust},
    {"lower", lower},
    {"lstrip", lstrip},
    {"partition", partition},
    {"removeprefix", removeprefix},
    {"removesuffix", removesuffix},
    {"replace", replace},
    {"rfind", rfind},
    {"rindex", string_rindex},
    {"rjust", rjust},
    {"rpartition", rpartition},
    {"rsplit", rsplit},
    {"rstrip", rstrip},
    {"split", split},
    {"splitlines", splitlines},
    {"startswith", startswith},
    {"strip", strip},
    {"swapcase", swapcase},
    {"title", title},
    {"upper", upper},
    {"zfill", zfill},
    {NULL, NULL},
};
const sail__jentry sail__jmethods_string_more[] = {
    {"expandtabs", expandtabs},      {"isalnum", string_isalnum}, {"isalpha", string_isalpha}, {"isascii", string_isascii},
    {"isdecimal", string_isdecimal}, {"isdigit", string_isdigit}, {"islower", string_islower}, {"isnumeric", string_isnumeric},
    {"isspace", string_isspace},     {"istitle", string_istitle}, {"isupper", string_isupper}, {NULL, NULL},
};
