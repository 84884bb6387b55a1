/* opt.c - option tables: values out of nodes into structs and back, all problems told at once. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node.h"

void sail__problem(sail_problems *p, const sail_node *at, const char *path, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 8;
        sail_problem *items = sail__arena_array(p->arena, cap, sizeof *items);
        if (!items)
            return; /* the arena remembers, and the caller's own result says that there was a problem */
        if (p->n)
            memcpy(items, p->items, p->n * sizeof *items);
        p->items = items;
        p->cap = cap;
    }
    /* copies: problems outlive the nodes that they are about */
    const char *message = sail__arena_strdup(p->arena, text);
    const char *where = sail__arena_strdup(p->arena, at ? sail__node_where(p->arena, at) : "");
    const char *copy = sail__arena_strdup(p->arena, path ? path : "");
    p->items[p->n++] = (sail_problem){where ? where : "", copy ? copy : "", message ? message : "out of memory"};
}

void sail__problem_of(sail_problems *p, const sail_node *at, const char *path, const sail_err *err)
{
    p->oom |= err->code == SAIL_E_NOMEM;
    const char *text = err->message, *where = at ? sail__node_where(p->arena, at) : "";
    const size_t place = strlen(where), key = path ? strlen(path) : 0;
    if (place && !strncmp(text, where, place) &&
        !strncmp(text + place, ": ", 2)) /* what the problem says itself is not said twice */
        text += place + 2;
    const size_t word = key && !strncmp(text, path, key) && (text[key] == ' ' || text[key] == '.') ? strcspn(text, " ") : 0;
    const char *exact = word && text[word] ? sail__arena_strndup(p->arena, text, word) : NULL; /* the path, or one below it */
    sail__problem(p, at, exact ? exact : path, "%s", exact ? text + word + 1 : text);
}

bool sail__problems_oom(const sail_problems *p)
{
    return p->oom || sail__arena_oom(p->arena);
}

sail_code sail__problems_fail(const sail_problems *p, sail_code code, sail_err *err)
{
    if (sail__problems_oom(p) || p->n == 0)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    const sail_problem *first = &p->items[0];
    return sail_fail(err, code, "%s%s%s%s%s", first->where, *first->where ? ": " : "", first->path, *first->path ? ": " : "",
                     first->message);
}

/* ---- numbers as people write them ---- */

/* 1e3, 64k, 1.5M, 4Ki, 2Gi: false when it is no number. */
static bool parse_number(const char *s, double *out)
{
    static const struct {
        const char *suffix;
        double factor;
    } units[] = {{"", 1}, {"k", 1e3}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {"Ki", 0x1p10}, {"Mi", 0x1p20}, {"Gi", 0x1p30}};
    if (!isdigit((unsigned char)s[strspn(s, "+-.")]) || strspn(s, "+-") > 1)
        return false; /* strtod would take words and spaces; hexadecimal begins with a digit and is harmless */
    char *end;
    double x = strtod(s, &end);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].suffix) == 0) {
            *out = x * units[i].factor;
            return true;
        }
    return false;
}

static bool infinity_text(const char *s, double *out)
{
    double sign = *s == '-' ? -1.0 : 1.0;
    s += *s == '-' || *s == '+';
    s += *s == '.';
    if (strcasecmp(s, "inf") != 0 && strcasecmp(s, "infinity") != 0)
        return false;
    *out = sign * HUGE_VAL;
    return true;
}

static bool bare(const sail_node *n)
{
    return n->kind == SAIL_NODE_STRING && !n->string.quoted;
}

/* ---- one value ---- */

struct parse {
    const sail_opt *row;
    const sail_node *node;
    const char *path; /* of the value */
    sail_problems *problems;
    bool ok;
};

#define PROBLEM(p, ...) ((p)->ok = false, sail__problem((p)->problems, (p)->node, (p)->path, __VA_ARGS__))

static void wrong_kind(struct parse *p, const char *wanted)
{
    const sail_node *n = p->node;
    if (n->kind == SAIL_NODE_STRING)
        PROBLEM(p, "is \"%.60s\", %s is wanted", n->string.data, wanted);
    else
        PROBLEM(p, "is %s, %s is wanted", sail__node_kind_name(n->kind), wanted);
}

/* The range in words, "" when there is none. */
static void range_text(const sail_opt *o, char *s, size_t size)
{
    if (o->min == o->max)
        *s = '\0';
    else if (isinf(o->max) || o->max >= 0x1p62)
        snprintf(s, size, "at least %.15g", o->min);
    else if (isinf(o->min) || o->min <= -0x1p62)
        snprintf(s, size, "at most %.15g", o->max);
    else
        snprintf(s, size, "%.15g to %.15g", o->min, o->max);
}

static bool in_range(struct parse *p, double x)
{
    const sail_opt *o = p->row;
    if (isnan(x)) {
        PROBLEM(p, "is not a number (nan)");
        return false;
    }
    if (o->min == o->max || (x >= o->min && x <= o->max))
        return true;
    char range[96];
    range_text(o, range, sizeof range);
    PROBLEM(p, "is %.15g, out of range: %s%s%s", x, range, o->unit ? " " : "", o->unit ? o->unit : "");
    return false;
}

static bool as_number(const sail_node *n, double *out)
{
    if (n->kind == SAIL_NODE_INT)
        *out = (double)n->integer;
    else if (n->kind == SAIL_NODE_FLOAT)
        *out = n->number;
    else if (n->kind != SAIL_NODE_STRING || !((bare(n) && parse_number(n->string.data, out)) || infinity_text(n->string.data, out)))
        return false;
    return true;
}

static void put_int(struct parse *p, int64_t *out)
{
    double x;
    if (p->node->kind == SAIL_NODE_INT) {
        /* not by way of a double, which holds only 53 bits (a seed has 63) */
        if (in_range(p, (double)p->node->integer))
            *out = p->node->integer;
        return;
    }
    if (!as_number(p->node, &x))
        wrong_kind(p, "an integer");
    else if (x != floor(x) || !(fabs(x) < 0x1p63))
        PROBLEM(p, "is %.15g, an integer is wanted", x);
    else if (in_range(p, x))
        *out = (int64_t)x;
}

static void put_f64(struct parse *p, double *out, sail_schedule_fn schedule, void *user)
{
    double x;
    if (as_number(p->node, &x)) {
        if (in_range(p, x))
            *out = x;
        return;
    }
    bool is_schedule = p->node->kind == SAIL_NODE_MAP || p->node->kind == SAIL_NODE_FUNCTION;
    if (!is_schedule || !(p->row->flags & SAIL_OPT_SCHEDULABLE)) {
        wrong_kind(p, p->row->flags & SAIL_OPT_SCHEDULABLE ? "a number or a schedule" : "a number");
        return;
    }
    if (schedule) {
        sail_err err = {0};
        x = schedule(user, p->node, &err);
        if (err.code != SAIL_OK)
            p->ok = false, sail__problem_of(p->problems, p->node, p->path, &err);
        else if (in_range(p, x))
            *out = x;
    } else {
        const sail_node *from = sail__node_get(p->node, "from");
        if (from && as_number(from, &x) && in_range(p, x))
            *out = x;
    }
}

static void put_bool(struct parse *p, bool *out)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    if (p->node->kind == SAIL_NODE_BOOL) {
        *out = p->node->boolean;
        return;
    }
    for (int i = 0; bare(p->node) && i < 6; i++)
        if (strcasecmp(p->node->string.data, words[i]) == 0) {
            *out = i & 1;
            return;
        }
    wrong_kind(p, "true or false");
}

static size_t count_choices(const sail_opt *o)
{
    size_t n = 0;
    while (o->choices && o->choices[n])
        n++;
    return n;
}

static void list_choices(const sail_opt *o, char *s, size_t size)
{
    size_t used = 0, n = count_choices(o);
    *s = '\0';
    for (size_t i = 0; i < n && used < size; i++) {
        int k = snprintf(s + used, size - used, "%s%s", i ? ", " : "", o->choices[i]);
        used += k > 0 ? (size_t)k : 0;
    }
}

static void put_choice(struct parse *p, int *out)
{
    const sail_opt *o = p->row;
    const char *given = p->node->kind == SAIL_NODE_STRING ? p->node->string.data : NULL;
    size_t n = count_choices(o);
    char names[512];
    for (size_t i = 0; i < n; i++) {
        /* YAML may have taken on, off, yes, no, true, false for a boolean, and 1 for an integer */
        bool same = false;
        if (given)
            same = sail__name_equal(given, o->choices[i]);
        else if (p->node->kind == SAIL_NODE_BOOL)
            same = strcmp(o->choices[i], p->node->boolean ? "on" : "off") == 0 ||
                   strcmp(o->choices[i], p->node->boolean ? "true" : "false") == 0 ||
                   strcmp(o->choices[i], p->node->boolean ? "yes" : "no") == 0;
        else if (p->node->kind == SAIL_NODE_INT) {
            char digits[24];
            snprintf(digits, sizeof digits, "%lld", (long long)p->node->integer);
            same = strcmp(digits, o->choices[i]) == 0;
        }
        if (same) {
            *out = (int)i;
            return;
        }
    }
    list_choices(o, names, sizeof names);
    const char *near = given ? sail__nearest(given, o->choices, n) : NULL;
    if (near)
        PROBLEM(p, "is \"%.60s\"; did you mean %s? It is one of: %s", given, near, names);
    else if (given)
        PROBLEM(p, "is \"%.60s\"; it is one of: %s", given, names);
    else
        PROBLEM(p, "is %s; it is one of: %s", sail__node_kind_name(p->node->kind), names);
}

static void put_string(struct parse *p, const char **out)
{
    if ((p->row->flags & SAIL_OPT_WORD) && p->node->kind == SAIL_NODE_INT) {
        const char *text = sail__arena_printf(p->problems->arena, "%lld", (long long)p->node->integer);
        if (!text)
            PROBLEM(p, "cannot be kept: out of memory");
        *out = text;
    } else if (p->node->kind != SAIL_NODE_STRING) {
        bool scalar = p->node->kind == SAIL_NODE_INT || p->node->kind == SAIL_NODE_FLOAT || p->node->kind == SAIL_NODE_BOOL;
        wrong_kind(p, scalar ? "a string (put it in quotes)" : "a string");
    } else if (strlen(p->node->string.data) != p->node->string.len) {
        PROBLEM(p, "holds a NUL character, which a string here cannot");
    } else {
        *out = p->node->string.data;
    }
}

static void put_default(const sail_opt *o, void *member)
{
    switch (o->type) {
    case SAIL_OPT_TYPE_BOOL:
        *(bool *)member = o->def != 0.0;
        break;
    case SAIL_OPT_TYPE_INT:
        *(int64_t *)member = (int64_t)o->def;
        break;
    case SAIL_OPT_TYPE_F64:
        *(double *)member = o->def;
        break;
    case SAIL_OPT_TYPE_STR:
        *(const char **)member = o->def_str;
        break;
    case SAIL_OPT_TYPE_CHOICE:
        *(int *)member = (int)o->def;
        break;
    case SAIL_OPT_TYPE_NODE:
        *(const sail_node **)member = NULL;
        break;
    }
}

/* ---- a whole table ---- */

static bool listed(const char *const *names, const char *key)
{
    for (; names && *names; names++)
        if (sail__name_equal(*names, key))
            return true;
    return false;
}

static const sail_opt *find_row(const sail_opt *table, const char *key)
{
    for (const sail_opt *o = table; o && o->name; o++)
        if (sail__name_equal(o->name, key))
            return o;
    return NULL;
}

static void unknown_key(struct parse *p, const sail_opt *table, const char *const *ignore, const char *key)
{
    const char *names[256];
    char all[512] = "";
    size_t n = 0, used = 0;
    for (const sail_opt *o = table; o && o->name && n < 256; o++)
        if (!(o->flags & SAIL_OPT_HIDDEN))
            names[n++] = o->name;
    for (; ignore && *ignore && n < 256; ignore++)
        names[n++] = *ignore;
    const char *near = sail__nearest(key, names, n);
    if (near) {
        PROBLEM(p, "there is no such option; did you mean %s?", near);
        return;
    }
    for (size_t i = 0; i < n && used < sizeof all; i++) {
        int k = snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "", names[i]);
        used += k > 0 ? (size_t)k : 0;
    }
    if (n)
        PROBLEM(p, "there is no such option; there are: %s", all);
    else
        PROBLEM(p, "there is no such option: none can be set here");
}

static const char *join(sail_problems *problems, const char *path, const char *key)
{
    const char *s = path && *path ? sail__arena_printf(problems->arena, "%s.%s", path, key)
                                  : sail__arena_strdup(problems->arena, key);
    return s ? s : key;
}

bool sail__opt_parse(const sail_opt *table, const sail_node *map, const char *path, const char *const *ignore,
                     sail_schedule_fn schedule, void *user, void *out, sail_problems *problems)
{
    struct parse p = {.ok = true, .problems = problems};
    for (const sail_opt *o = table; o && o->name; o++)
        put_default(o, (char *)out + o->offset);
    if (map && map->kind != SAIL_NODE_MAP && map->kind != SAIL_NODE_NULL) {
        sail__problem(problems, map, path, "is %s, a map of options is wanted", sail__node_kind_name(map->kind));
        return false;
    }
    bool any = map && map->kind == SAIL_NODE_MAP;
    for (size_t i = 0; any && i < map->list.n; i++) {
        const char *key = map->list.keys[i];
        const sail_opt *o = find_row(table, key);
        if (!o && listed(ignore, key))
            continue;
        p.row = o;
        p.node = map->list.items[i];
        p.path = join(problems, path, key);
        if (!o) {
            unknown_key(&p, table, ignore, key);
            continue;
        }
        if (p.node->kind == SAIL_NODE_NULL)
            continue;
        void *member = (char *)out + o->offset;
        switch (o->type) {
        case SAIL_OPT_TYPE_BOOL:
            put_bool(&p, member);
            break;
        case SAIL_OPT_TYPE_INT:
            put_int(&p, member);
            break;
        case SAIL_OPT_TYPE_F64:
            put_f64(&p, member, schedule, user);
            break;
        case SAIL_OPT_TYPE_STR:
            put_string(&p, member);
            break;
        case SAIL_OPT_TYPE_CHOICE:
            put_choice(&p, member);
            break;
        case SAIL_OPT_TYPE_NODE:
            *(const sail_node **)member = p.node;
            break;
        }
    }
    for (const sail_opt *o = table; o && o->name; o++) {
        const sail_node *given = any ? sail__node_get(map, o->name) : NULL;
        if ((o->flags & SAIL_OPT_REQUIRED) && (!given || given->kind == SAIL_NODE_NULL)) {
            p.node = map;
            p.path = join(problems, path, o->name);
            PROBLEM(&p, "is missing: %s", o->help ? o->help : "it must be given");
        }
    }
    return p.ok;
}

sail_node *sail__opt_to_node(sail_arena *a, const sail_opt *table, const void *from)
{
    sail_node *map = sail__node_new(a, SAIL_NODE_MAP, "default", 0, 0);
    for (const sail_opt *o = table; map && o && o->name; o++) {
        const void *member = (const char *)from + o->offset;
        static const sail_node_kind kinds[] = {SAIL_NODE_BOOL,   SAIL_NODE_INT,    SAIL_NODE_FLOAT,
                                               SAIL_NODE_STRING, SAIL_NODE_STRING, SAIL_NODE_NULL};
        sail_node *n = sail__node_new(a, kinds[o->type], "default", 0, 0);
        if (!n)
            return NULL;
        const char *s = NULL;
        switch (o->type) {
        case SAIL_OPT_TYPE_BOOL:
            n->boolean = *(const bool *)member;
            break;
        case SAIL_OPT_TYPE_INT:
            n->integer = *(const int64_t *)member;
            break;
        case SAIL_OPT_TYPE_F64:
            n->number = *(const double *)member;
            break;
        case SAIL_OPT_TYPE_STR:
            s = *(const char *const *)member;
            if (!s)
                n->kind = SAIL_NODE_NULL;
            break;
        case SAIL_OPT_TYPE_CHOICE: {
            int i = *(const int *)member;
            s = i >= 0 && (size_t)i < count_choices(o) ? o->choices[i] : "";
            break;
        }
        case SAIL_OPT_TYPE_NODE: {
            const sail_node *value = *(const sail_node *const *)member;
            if (value && !(n = sail__node_copy(a, value)))
                return NULL;
            break;
        }
        }
        if (s) {
            n->string.data = sail__arena_strdup(a, s);
            n->string.len = strlen(s);
            if (!n->string.data)
                return NULL;
        }
        if (!sail__node_set(a, map, o->name, n))
            return NULL;
    }
    return map;
}

static void describe_default(sail_buf *out, const sail_opt *o)
{
    if (o->flags & SAIL_OPT_REQUIRED)
        sail__buf_str(out, "required");
    else if (o->type == SAIL_OPT_TYPE_BOOL)
        sail__buf_str(out, o->def != 0.0 ? "default true" : "default false");
    else if (o->type == SAIL_OPT_TYPE_STR)
        sail__buf_printf(out, o->def_str ? "default \"%s\"" : "default none", o->def_str);
    else if (o->type == SAIL_OPT_TYPE_CHOICE)
        sail__buf_printf(out, "default %s", o->def >= 0 && o->def < (double)count_choices(o) ? o->choices[(size_t)o->def] : "none");
    else if (o->type == SAIL_OPT_TYPE_NODE)
        sail__buf_printf(out, "default %s", o->def_str ? o->def_str : "none");
    else
        sail__buf_printf(out, "default %.15g", o->def);
}

void sail__opt_describe(sail_buf *out, const sail_opt *table, const char *indent)
{
    static const char *const types[] = {"true or false", "integer", "number", "string", "one of", "value"};
    for (const sail_opt *o = table; o && o->name; o++) {
        if (o->flags & SAIL_OPT_HIDDEN)
            continue;
        char text[512];
        const char *type = o->flags & SAIL_OPT_PATH ? "path" : o->flags & SAIL_OPT_SLOT ? "plugin" : types[o->type];
        sail__buf_printf(out, "%s%-20s %s", indent, o->name, type);
        if (o->type == SAIL_OPT_TYPE_CHOICE) {
            list_choices(o, text, sizeof text);
            sail__buf_printf(out, " %s", text);
        } else if (o->type == SAIL_OPT_TYPE_INT || o->type == SAIL_OPT_TYPE_F64) {
            range_text(o, text, sizeof text);
            sail__buf_printf(out, "%s%s", *text ? " " : "", text);
        }
        if (o->unit)
            sail__buf_printf(out, " %s%s%s", o->flags & SAIL_OPT_SLOT ? "(" : "", o->unit, o->flags & SAIL_OPT_SLOT ? ")" : "");
        if (o->flags & SAIL_OPT_SCHEDULABLE)
            sail__buf_str(out, " or a schedule");
        sail__buf_str(out, ", ");
        describe_default(out, o);
        sail__buf_printf(out, ": %s\n", o->help ? o->help : "");
    }
}
