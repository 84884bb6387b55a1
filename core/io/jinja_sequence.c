/* jinja_sequence.c - filters of lists and mappings. */
#include <stdio.h>
#include <stdlib.h>

#include <utf8proc.h>

#include "jinja_impl.h"

/* ---- what is compared or taken of each item ---- */

/* "a.b.0" of an item; otherwise where it is undefined. */
static bool dig(sail__jvm *vm, const sail__jv *item, const sail__jstr *path, const sail__jv *otherwise, sail__jv *out)
{
    *out = *item;
    for (size_t i = 0; i <= path->n;) {
        const char *dot = memchr(path->p + i, '.', path->n - i);
        size_t n = dot ? (size_t)(dot - path->p) - i : path->n - i;
        bool digits = n > 0 && n < 18;
        for (size_t k = 0; k < n && digits; k++)
            digits = path->p[i + k] >= '0' && path->p[i + k] <= '9';
        sail__jv key, v;
        if (digits)
            key = SAIL__JV(INT, .integer = strtoll(path->p + i, NULL, 10));
        else if (!sail__jv_string(vm, sail__arena_strndup(vm->arena, path->p + i, n), n, NULL, &key) || !key.string->p)
            return false;
        if (!sail__jitem(vm, out, &key, &v))
            return false;
        *out = v;
        if (v.kind == SAIL__J_UNDEFINED && otherwise && otherwise->kind) {
            *out = *otherwise;
        }
        i += n + 1;
    }
    return true;
}

static bool attribute_of(sail__jvm *vm, const sail__jv *item, const sail__jv *attribute, const sail__jv *otherwise, sail__jv *out)
{
    if (attribute->kind == SAIL__J_STRING)
        return dig(vm, item, attribute->string, otherwise, out);
    if (!sail__jgiven(attribute)) {
        *out = *item;
        return true;
    }
    if (!sail__jitem(vm, item, attribute, out))
        return false;
    if (out->kind == SAIL__J_UNDEFINED && otherwise && otherwise->kind)
        *out = *otherwise;
    return true;
}

static bool fold(sail__jvm *vm, bool case_sensitive, sail__jv *v)
{
    const sail__jargs none = {0};
    sail__jv same = *v;
    return case_sensitive || v->kind != SAIL__J_STRING ||
           sail__jentry_find(sail__jmethods_string, "lower")->fn(vm, &same, &none, v);
}

/* ---- sorting: a stable merge, so that equal items keep their order ---- */

typedef struct pair {
    sail__jv key, value;
} pair;

static bool merge_sort(sail__jvm *vm, pair *p, pair *scratch, size_t n, bool reverse)
{
    if (n < 2)
        return true;
    size_t half = n / 2, i = 0, j = half, k = 0;
    if (!merge_sort(vm, p, scratch, half, reverse) || !merge_sort(vm, p + half, scratch, n - half, reverse))
        return false;
    while (i < half && j < n) {
        int c;
        if (!sail__jstep(vm, 1) || !sail__jorder(vm, SAIL__J_LT, &p[j].key, &p[i].key, &c))
            return false;
        scratch[k++] = (reverse ? c > 0 && c != 2 : c < 0) ? p[j++] : p[i++];
    }
    while (i < half)
        scratch[k++] = p[i++];
    memcpy(p, scratch, k * sizeof *p);
    return true;
}

static bool sorted(sail__jvm *vm, const sail__jlist *l, const sail__jv *attribute, const sail__jv *otherwise, bool case_sensitive,
                   bool reverse, pair **out)
{
    pair *p = sail__jalloc(vm, l->n + 1, sizeof *p), *scratch = sail__jalloc(vm, l->n + 1, sizeof *scratch);
    if (!p || !scratch)
        return false;
    for (size_t i = 0; i < l->n; i++) {
        p[i].value = l->items[i];
        if (!attribute_of(vm, &l->items[i], attribute, otherwise, &p[i].key) || !fold(vm, case_sensitive, &p[i].key))
            return false;
    }
    *out = p;
    return merge_sort(vm, p, scratch, l->n, reverse);
}

static bool values_of(sail__jvm *vm, const pair *p, size_t n, sail__jv *out)
{
    sail__jv *items = sail__jalloc(vm, n + 1, sizeof *items);
    if (!items)
        return false;
    for (size_t i = 0; i < n; i++)
        items[i] = p[i].value;
    return sail__jv_list(vm, SAIL__J_LIST, items, n, out);
}

SAIL__JFN(sort)
{
    SAIL__JBIND("sort", "reverse,case_sensitive,attribute", 0);
    sail__jlist l;
    pair *p;
    if (!sail__jitems_of(vm, self, &l))
        return false;
    bool several = a[2].kind == SAIL__J_STRING && memchr(a[2].string->p, ',', a[2].string->n);
    if (!several)
        return sorted(vm, &l, &a[2], NULL, sail__jtruth(&a[1]), sail__jtruth(&a[0]), &p) && values_of(vm, p, l.n, out);
    /* by the last one first: the sort is stable */
    const sail__jstr *s = a[2].string;
    for (size_t end = s->n;;) {
        const char *comma = memrchr(s->p, ',', end);
        size_t from = comma ? (size_t)(comma - s->p) + 1 : 0;
        sail__jv name;
        char *copy = sail__arena_strndup(vm->arena, s->p + from, end - from);
        if (!copy || !sail__jv_string(vm, copy, end - from, NULL, &name) ||
            !sorted(vm, &l, &name, NULL, sail__jtruth(&a[1]), sail__jtruth(&a[0]), &p) || !values_of(vm, p, l.n, out))
            return false;
        l = *out->list;
        if (!comma)
            return true;
        end = from - 1;
    }
}

SAIL__JFN(dictsort)
{
    SAIL__JBIND("dictsort", "case_sensitive,by,reverse", 0);
    if (self->kind == SAIL__J_UNDEFINED)
        return sail__jundefined_used(vm, self);
    if (self->kind != SAIL__J_DICT)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "'%s' object has no attribute 'items'", sail__jtype(self));
    const char *by = a[1].kind == SAIL__J_STRING ? a[1].string->p : "key";
    if (strncmp(by, "key", 3) != 0 && strncmp(by, "value", 5) != 0)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "You can only sort by either \"key\" or \"value\"");
    const sail__jargs none = {0};
    sail__jv view, index = SAIL__JV(INT, .integer = *by == 'v');
    pair *p;
    return sail__jentry_find(sail__jmethods_dict, "items")->fn(vm, self, &none, &view) &&
           sorted(vm, &view.iter->list, &index, NULL, sail__jtruth(&a[0]), sail__jtruth(&a[2]), &p) &&
           values_of(vm, p, view.iter->list.n, out);
}

SAIL__JFN(groupby)
{
    SAIL__JBIND("groupby", "attribute,default,case_sensitive", 1);
    sail__jlist l;
    pair *p;
    sail__jitems groups = {0};
    if (!sail__jitems_of(vm, self, &l) || !sorted(vm, &l, &a[0], &a[1], sail__jtruth(&a[2]), false, &p))
        return false;
    for (size_t i = 0; i < l.n;) {
        sail__jitems members = {0};
        sail__jv key, *two = sail__jalloc(vm, 2, sizeof *two), group;
        size_t first = i;
        bool same = true;
        for (; i < l.n; i++) {
            if (!sail__jequal(vm, &p[i].key, &p[first].key, &same))
                return false;
            if (!same)
                break;
            if (!sail__jitems_add(vm, &members, p[i].value))
                return false;
        }
        if (!two || !attribute_of(vm, &p[first].value, &a[0], &a[1], &key))
            return false;
        two[0] = key;
        if (!sail__jv_list(vm, SAIL__J_LIST, members.items, members.n, &two[1]) ||
            !sail__jv_list(vm, SAIL__J_TUPLE, two, 2, &group))
            return false;
        group.flag = true;
        if (!sail__jitems_add(vm, &groups, group))
            return false;
    }
    return sail__jv_list(vm, SAIL__J_LIST, groups.items, groups.n, out);
}

SAIL__JFN(unique)
{
    SAIL__JBIND("unique", "case_sensitive,attribute", 0);
    sail__jlist l;
    sail__jitems items = {0};
    sail__jdict *seen = sail__jdict_new(vm, 0);
    if (!seen || !sail__jitems_of(vm, self, &l))
        return false;
    for (size_t i = 0; i < l.n; i++) {
        sail__jv key;
        size_t before = seen->n;
        if (!attribute_of(vm, &l.items[i], &a[1], NULL, &key) || !fold(vm, sail__jtruth(&a[0]), &key) ||
            !sail__jdict_set(vm, seen, key, key) || (seen->n > before && !sail__jitems_add(vm, &items, l.items[i])))
            return false;
    }
    return sail__jv_iter(vm, SAIL__J_ITER, "generator", items.items, items.n, out);
}

static bool extreme(sail__jvm *vm, const char *what, sail__jop op, const sail__jv *self, const sail__jargs *args, sail__jv *out)
{
    SAIL__JBIND(what, "case_sensitive,attribute", 0);
    sail__jlist l;
    sail__jv best = {0};
    if (!sail__jitems_of(vm, self, &l))
        return false;
    if (!l.n)
        return sail__jv_undefined(vm, out, "No aggregated item, sequence was empty.");
    for (size_t i = 0; i < l.n; i++) {
        sail__jv key;
        bool better = i == 0;
        if (!attribute_of(vm, &l.items[i], &a[1], NULL, &key) || !fold(vm, sail__jtruth(&a[0]), &key) ||
            (i && !sail__jcompare(vm, op, &key, &best, &better)))
            return false;
        if (better) {
            best = key;
            *out = l.items[i];
        }
    }
    return true;
}
SAIL__JFN(minimum)
{
    return extreme(vm, "min", SAIL__J_LT, self, args, out);
}
SAIL__JFN(maximum)
{
    return extreme(vm, "max", SAIL__J_GT, self, args, out);
}

SAIL__JFN(sum)
{
    SAIL__JBIND("sum", "attribute,start", 0);
    sail__jlist l;
    *out = a[1].kind ? a[1] : SAIL__JV(INT, .integer = 0);
    if (!sail__jitems_of(vm, self, &l))
        return false;
    for (size_t i = 0; i < l.n; i++) {
        sail__jv item, total = *out;
        if (!attribute_of(vm, &l.items[i], &a[0], NULL, &item) || !sail__jbinary(vm, SAIL__J_ADD, &total, &item, out))
            return false;
    }
    return true;
}

/* ---- parts ---- */

SAIL__JFN(length)
{
    size_t n;
    (void)args;
    if (!sail__jsize(vm, self, &n))
        return false;
    *out = SAIL__JV(INT, .integer = (sail__jint)n);
    return true;
}

SAIL__JFN(first)
{
    sail__jlist l;
    (void)args;
    if (self->kind == SAIL__J_ITER && self->iter->at < self->iter->list.n) { /* the others stay */
        *out = self->iter->list.items[self->iter->at++];
        return true;
    }
    if (!sail__jitems_of(vm, self, &l))
        return false;
    if (!l.n)
        return sail__jv_undefined(vm, out, "No first item, sequence was empty.");
    *out = l.items[0];
    return true;
}

SAIL__JFN(last)
{
    sail__jlist l;
    (void)args;
    if (self->kind == SAIL__J_ITER)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "'%s' object is not reversible", sail__jtype(self));
    if (!sail__jitems_of(vm, self, &l))
        return false;
    if (!l.n)
        return sail__jv_undefined(vm, out, "No last item, sequence was empty.");
    *out = l.items[l.n - 1];
    return true;
}

SAIL__JFN(list)
{
    sail__jlist l;
    (void)args;
    return sail__jitems_of(vm, self, &l) && sail__jv_list(vm, SAIL__J_LIST, l.items, l.n, out);
}

SAIL__JFN(reverse)
{
    sail__jlist l;
    sail__jv none = SAIL__JV_NONE, minus = SAIL__JV(INT, .integer = -1);
    (void)args;
    if (self->kind == SAIL__J_STRING)
        return sail__jslice(vm, self, &none, &none, &minus, out);
    if (!sail__jitems_of(vm, self, &l))
        return false;
    sail__jv *items = sail__jalloc(vm, l.n + 1, sizeof *items);
    if (!items)
        return false;
    for (size_t i = 0; i < l.n; i++)
        items[i] = l.items[l.n - 1 - i];
    return sail__jv_iter(vm, SAIL__J_ITER, "list_reverseiterator", items, l.n, out);
}

SAIL__JFN(items)
{
    const sail__jargs none = {0};
    sail__jv view;
    (void)args;
    if (self->kind == SAIL__J_UNDEFINED)
        return sail__jv_iter(vm, SAIL__J_ITER, "generator", NULL, 0, out);
    if (self->kind != SAIL__J_DICT)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "Can only get item pairs from a mapping.");
    return sail__jentry_find(sail__jmethods_dict, "items")->fn(vm, self, &none, &view) &&
           sail__jv_iter(vm, SAIL__J_ITER, "generator", view.iter->list.items, view.iter->list.n, out);
}

SAIL__JFN(join)
{
    SAIL__JBIND("join", "d,attribute", 0);
    sail__jlist l;
    const sail__jstr *between = &(sail__jstr){.p = ""};
    sail__jbuf b = {0};
    if (!sail__jitems_of(vm, self, &l) || (a[0].kind && !sail__jv_to_string(vm, &a[0], &between)))
        return false;
    for (size_t i = 0; i < l.n; i++) {
        sail__jv item;
        if (!attribute_of(vm, &l.items[i], &a[1], NULL, &item) ||
            (i && !sail__jbuf_add(vm, &b, between->p, between->n, between->foreign)) || !sail__jv_str(vm, &item, &b))
            return false;
    }
    return sail__jv_built(vm, &b, out);
}

SAIL__JFN(batch)
{
    SAIL__JBIND("batch", "linecount,fill_with", 1);
    sail__jlist l;
    sail__jitems rows = {0};
    int64_t n;
    if (!sail__jas_int(vm, &a[0], "the number of batch", &n) || !sail__jitems_of(vm, self, &l))
        return false;
    if (n < 1 || n > 1 << 20)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "batch: rows of %lld items", (long long)n);
    for (size_t i = 0; i < l.n; i += (size_t)n) {
        sail__jitems row = {0};
        for (size_t k = 0; k < (size_t)n && (i + k < l.n || sail__jgiven(&a[1])); k++)
            if (!sail__jitems_add(vm, &row, i + k < l.n ? l.items[i + k] : a[1]))
                return false;
        sail__jv v;
        if (!sail__jv_list(vm, SAIL__J_LIST, row.items, row.n, &v) || !sail__jitems_add(vm, &rows, v))
            return false;
    }
    return sail__jv_iter(vm, SAIL__J_ITER, "generator", rows.items, rows.n, out);
}

SAIL__JFN(slices)
{
    SAIL__JBIND("slice", "slices,fill_with", 1);
    sail__jlist l;
    sail__jitems rows = {0};
    int64_t n;
    if (!sail__jas_int(vm, &a[0], "the number of slice", &n) || !sail__jitems_of(vm, self, &l))
        return false;
    if (n < 1 || n > 1 << 20)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "slice: %lld parts", (long long)n);
    size_t each = l.n / (size_t)n, more = l.n % (size_t)n, at = 0;
    for (size_t i = 0; i < (size_t)n; i++) {
        sail__jitems row = {0};
        size_t size = each + (i < more);
        for (size_t k = 0; k < size; k++)
            if (!sail__jitems_add(vm, &row, l.items[at + k]))
                return false;
        at += size;
        if (sail__jgiven(&a[1]) && more && i >= more && !sail__jitems_add(vm, &row, a[1]))
            return false;
        sail__jv v;
        if (!sail__jv_list(vm, SAIL__J_LIST, row.items, row.n, &v) || !sail__jitems_add(vm, &rows, v))
            return false;
    }
    return sail__jv_iter(vm, SAIL__J_ITER, "generator", rows.items, rows.n, out);
}

/* ---- map, select, reject ---- */

/* A filter or test by its name as a value. */
static bool call_named(sail__jvm *vm, const char *what, sail__jfn *find(const char *), const sail__jv *name, const sail__jv *item,
                       const sail__jargs *args, sail__jv *out)
{
    const char *text = name->kind == SAIL__J_STRING ? name->string->p : "";
    sail__jfn *fn = find(text);
    if (!fn)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "No %s named '%.100s'.", what, text);
    return fn(vm, item, args, out);
}

SAIL__JFN(map)
{
    sail__jlist l;
    sail__jv a[2] = {{0}, {0}};
    bool by_attribute = !args->n;
    if (by_attribute && !sail__jbind(vm, "map", args, "attribute,default", 1, a))
        return false;
    if (!sail__jtruth(self)) /* none, too */
        return sail__jv_iter(vm, SAIL__J_ITER, "generator", NULL, 0, out);
    if (!sail__jitems_of(vm, self, &l))
        return false;
    sail__jargs rest = *args;
    if (!by_attribute) {
        rest.items++;
        rest.n--;
    }
    sail__jv *made = sail__jalloc(vm, l.n + 1, sizeof *made);
    if (!made)
        return false;
    for (size_t i = 0; i < l.n; i++)
        if (by_attribute ? !attribute_of(vm, &l.items[i], &a[0], &a[1], &made[i])
                         : !call_named(vm, "filter", sail__jfilter_find, &args->items[0], &l.items[i], &rest, &made[i]))
            return false;
    return sail__jv_iter(vm, SAIL__J_ITER, "generator", made, l.n, out);
}

static bool choose(sail__jvm *vm, const sail__jv *self, const sail__jargs *args, bool by_attribute, bool wanted, sail__jv *out)
{
    sail__jlist l;
    sail__jitems kept = {0};
    size_t skip = by_attribute;
    if (args->n < skip)
        return sail__jfail(vm, SAIL__JINJA_RUNTIME, "Missing parameter for attribute name");
    if (!sail__jtruth(self)) /* none, too */
        return sail__jv_iter(vm, SAIL__J_ITER, "generator", NULL, 0, out);
    if (!sail__jitems_of(vm, self, &l))
        return false;
    sail__jargs rest = *args;
    if (args->n > skip) {
        rest.items += skip + 1;
        rest.n -= skip + 1;
    }
    for (size_t i = 0; i < l.n; i++) {
        sail__jv v = l.items[i], yes;
        if (!sail__jstep(vm, 1) || (by_attribute && !attribute_of(vm, &l.items[i], &args->items[0], NULL, &v)))
            return false;
        yes = v;
        if (args->n > skip && !call_named(vm, "test", sail__jtest_find, &args->items[skip], &v, &rest, &yes))
            return false;
        if (sail__jtruth(&yes) == wanted && !sail__jitems_add(vm, &kept, l.items[i]))
            return false;
    }
    return sail__jv_iter(vm, SAIL__J_ITER, "generator", kept.items, kept.n, out);
}
SAIL__JFN(select_items)
{
    return choose(vm, self, args, false, true, out);
}
SAIL__JFN(reject)
{
    return choose(vm, self, args, false, false, out);
}
SAIL__JFN(selectattr)
{
    return choose(vm, self, args, true, true, out);
}
SAIL__JFN(rejectattr)
{
    return choose(vm, self, args, true, false, out);
}

const sail__jentry sail__jfilters_list[] = {
    {"batch", batch},
    {"count", length},
    {"dictsort", dictsort},
    {"first", first},
    {"groupby", groupby},
    {"items", items},
    {"join", join},
    {"last", last},
    {"length", length},
    {"list", list},
    {"map", map},
    {"max", maximum},
    {"min", minimum},
    {"reject", reject},
    {"rejectattr", rejectattr},
    {"reverse", reverse},
    {"select", select_items},
    {"selectattr", selectattr},
    {"slice", slices},
    {"sort", sort},
    {"sum", sum},
    {"unique", unique},
    {NULL, NULL},
};
