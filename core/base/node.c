/* node.c - the tree of parsed values: making, finding, merging, typed access. Text out is in node_text.c. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "node.h"

sail_node *sail__node_new(sail_arena *a, sail_node_kind kind, const char *origin, int line, int column)
{
    sail_node *n = sail__arena_alloc(a, sizeof *n);
    if (!n)
        return NULL;
    n->kind = kind;
    n->origin = origin ? origin : "";
    n->line = line;
    n->column = column;
    if (kind == SAIL_NODE_STRING)
        n->string.data = "";
    return n;
}

sail_node *sail__node_string(sail_arena *a, const char *s, const char *origin)
{
    sail_node *n = sail__node_new(a, SAIL_NODE_STRING, origin, 0, 0);
    if (!n)
        return NULL;
    n->string.len = strlen(s);
    n->string.data = sail__arena_strndup(a, s, n->string.len);
    return n->string.data ? n : NULL;
}

sail_node *sail__node_copy(sail_arena *a, const sail_node *n)
{
    sail_node *c = sail__arena_alloc(a, sizeof *c);
    if (!c)
        return NULL;
    *c = *n;
    if (n->kind == SAIL_NODE_STRING) {
        c->string.data = sail__arena_strndup(a, n->string.data, n->string.len);
        return c->string.data ? c : NULL;
    }
    if (n->kind != SAIL_NODE_LIST && n->kind != SAIL_NODE_MAP)
        return c;
    c->list.cap = n->list.n;
    c->list.items = sail__arena_array(a, n->list.n, sizeof *c->list.items);
    c->list.keys = n->kind == SAIL_NODE_MAP ? sail__arena_array(a, n->list.n, sizeof *c->list.keys) : NULL;
    if (!c->list.items || (n->kind == SAIL_NODE_MAP && !c->list.keys))
        return NULL;
    for (size_t i = 0; i < n->list.n; i++) {
        c->list.items[i] = sail__node_copy(a, n->list.items[i]);
        if (!c->list.items[i])
            return NULL;
        if (n->kind == SAIL_NODE_MAP && !(c->list.keys[i] = sail__arena_strdup(a, n->list.keys[i])))
            return NULL;
    }
    return c;
}

/* Room for one more child. The old arrays stay in the arena until it is reset. */
static bool make_room(sail_arena *a, sail_node *n)
{
    if (n->list.n < n->list.cap)
        return true;
    size_t cap = n->list.cap ? n->list.cap * 2 : 4;
    sail_node **items = sail__arena_array(a, cap, sizeof *items);
    const char **keys = n->kind == SAIL_NODE_MAP ? sail__arena_array(a, cap, sizeof *keys) : NULL;
    if (!items || (n->kind == SAIL_NODE_MAP && !keys))
        return false;
    if (n->list.n) {
        memcpy(items, n->list.items, n->list.n * sizeof *items);
        if (keys)
            memcpy(keys, n->list.keys, n->list.n * sizeof *keys);
    }
    n->list.items = items;
    n->list.keys = keys;
    n->list.cap = cap;
    return true;
}

bool sail__node_append(sail_arena *a, sail_node *list, sail_node *item)
{
    if (list->kind != SAIL_NODE_LIST || !item || !make_room(a, list))
        return false;
    list->list.items[list->list.n++] = item;
    return true;
}

/* Index of the key, or SIZE_MAX. The exact spelling goes first: a vocabulary may hold both a-b and a_b. */
static size_t key_index(const sail_node *map, const char *key)
{
    for (size_t i = 0; i < map->list.n; i++)
        if (strcmp(map->list.keys[i], key) == 0)
            return i;
    for (size_t i = 0; i < map->list.n; i++)
        if (sail__name_equal(map->list.keys[i], key))
            return i;
    return SIZE_MAX;
}

bool sail__node_set(sail_arena *a, sail_node *map, const char *key, sail_node *value)
{
    if (map->kind != SAIL_NODE_MAP || !key || !value)
        return false;
    size_t i = key_index(map, key);
    if (i == SIZE_MAX) {
        char *copy = sail__arena_strdup(a, key);
        if (!copy || !make_room(a, map))
            return false;
        i = map->list.n++;
        map->list.keys[i] = copy;
    }
    map->list.items[i] = value;
    return true;
}

bool sail__node_unset(sail_node *map, const char *key)
{
    size_t i = map->kind == SAIL_NODE_MAP ? key_index(map, key) : SIZE_MAX;
    if (i == SIZE_MAX)
        return false;
    size_t after = map->list.n - i - 1;
    memmove(map->list.items + i, map->list.items + i + 1, after * sizeof *map->list.items);
    memmove(map->list.keys + i, map->list.keys + i + 1, after * sizeof *map->list.keys);
    map->list.n--;
    return true;
}

sail_node *sail__node_get(const sail_node *map, const char *key)
{
    if (!map || map->kind != SAIL_NODE_MAP)
        return NULL;
    size_t i = key_index(map, key);
    return i == SIZE_MAX ? NULL : map->list.items[i];
}

/* One step of a path: a key of at most 255 bytes, or an index. */
struct step {
    char key[256];
    size_t index;
    bool is_index;
};

/* Takes one step off *path. Returns 1, 0 at the end, -1 when malformed. */
static int next_step(const char **path, bool first, struct step *out)
{
    const char *p = *path;
    if (!*p)
        return 0;
    if (*p == '[') {
        out->is_index = true;
        out->index = 0;
        const char *digits = ++p;
        for (; *p >= '0' && *p <= '9'; p++) {
            if (out->index > 100000000)
                return -1;
            out->index = out->index * 10 + (size_t)(*p - '0');
        }
        if (p == digits || *p != ']')
            return -1;
        *path = p + 1;
        return 1;
    }
    if (!first && *p++ != '.')
        return -1;
    size_t n = strcspn(p, ".[");
    if (n == 0 || n >= sizeof out->key)
        return -1;
    out->is_index = false;
    memcpy(out->key, p, n);
    out->key[n] = '\0';
    *path = p + n;
    return 1;
}

static sail_node *child(const sail_node *n, const struct step *s)
{
    if (!s->is_index)
        return sail__node_get(n, s->key);
    return n->kind == SAIL_NODE_LIST && s->index < n->list.n ? n->list.items[s->index] : NULL;
}

sail_node *sail__node_find(const sail_node *root, const char *path)
{
    const sail_node *n = root;
    struct step s;
    int more = 0;
    for (const char *p = path; n && (more = next_step(&p, p == path, &s)) > 0;)
        n = child(n, &s);
    return more < 0 ? NULL : (sail_node *)n;
}

/* Put `value` at the step of `n`, adding it where it is not there. */
static bool put_child(sail_arena *a, sail_node *n, const struct step *s, sail_node *value)
{
    if (!s->is_index)
        return sail__node_set(a, n, s->key, value);
    if (s->index == n->list.n)
        return sail__node_append(a, n, value);
    n->list.items[s->index] = value;
    return true;
}

sail_code sail__node_put(sail_arena *a, sail_node *root, const char *path, sail_node *value, sail_err *err)
{
    sail_node *n = root;
    struct step s, next;
    const char *p = path;
    int more = next_step(&p, true, &s);
    if (more <= 0)
        return sail_fail(err, SAIL_E_ARG, "\"%s\" is not the path of a value; it is written as a.b.c or a.b[0]", path);
    for (;;) {
        const char *here = p;
        if (n->kind != (s.is_index ? SAIL_NODE_LIST : SAIL_NODE_MAP))
            return sail_fail(err, SAIL_E_OPTION, "%s: cannot be set: what is above it is %s, %s is wanted", path,
                             sail__node_kind_name(n->kind), sail__node_kind_name(s.is_index ? SAIL_NODE_LIST : SAIL_NODE_MAP));
        if (s.is_index && s.index > n->list.n)
            return sail_fail(err, SAIL_E_OPTION, "%s: cannot be set: the list has only %zu items", path, n->list.n);
        more = next_step(&p, false, &next);
        if (more < 0)
            return sail_fail(err, SAIL_E_ARG, "\"%s\" is not the path of a value (at \"%s\")", path, here);
        if (more == 0)
            break;
        sail_node *below = child(n, &s);
        if (!below || below->kind == SAIL_NODE_NULL) {
            below = sail__node_new(a, next.is_index ? SAIL_NODE_LIST : SAIL_NODE_MAP, value->origin, value->line, value->column);
            if (!below || !put_child(a, n, &s, below))
                return sail_fail(err, SAIL_E_NOMEM, "no memory to set %s", path);
        }
        n = below;
        s = next;
    }
    return put_child(a, n, &s, value) ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "no memory to set %s", path);
}

bool sail__node_merge(sail_arena *a, sail_node *base, const sail_node *over)
{
    if (base->kind != SAIL_NODE_MAP || over->kind != SAIL_NODE_MAP)
        return false;
    for (size_t i = 0; i < over->list.n; i++) {
        const char *key = over->list.keys[i];
        const sail_node *v = over->list.items[i];
        if (v->kind == SAIL_NODE_NULL) {
            sail__node_unset(base, key);
            continue;
        }
        sail_node *b = sail__node_get(base, key);
        if (b && b->kind == SAIL_NODE_MAP && v->kind == SAIL_NODE_MAP) {
            if (!sail__node_merge(a, b, v))
                return false;
        } else {
            sail_node *copy = sail__node_copy(a, v);
            if (!copy || !sail__node_set(a, base, key, copy))
                return false;
        }
    }
    return true;
}

bool sail__node_equal(const sail_node *a, const sail_node *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case SAIL_NODE_NULL:
        return true;
    case SAIL_NODE_BOOL:
        return a->boolean == b->boolean;
    case SAIL_NODE_INT:
        return a->integer == b->integer;
    case SAIL_NODE_FLOAT:
        return a->number == b->number || (isnan(a->number) && isnan(b->number));
    case SAIL_NODE_STRING:
        return a->string.len == b->string.len && memcmp(a->string.data, b->string.data, a->string.len) == 0;
    case SAIL_NODE_FUNCTION:
        return a->function == b->function;
    case SAIL_NODE_LIST:
    case SAIL_NODE_MAP:
        break;
    }
    if (a->list.n != b->list.n)
        return false;
    for (size_t i = 0; i < a->list.n; i++) {
        const sail_node *other = a->kind == SAIL_NODE_MAP ? sail__node_get(b, a->list.keys[i]) : b->list.items[i];
        if (!other || !sail__node_equal(a->list.items[i], other))
            return false;
    }
    return true;
}

/* ---- typed access ---- */

const char *sail__node_kind_name(sail_node_kind kind)
{
    static const char *const names[] = {"null", "a boolean", "an integer", "a number", "a string", "a list", "a map", "a function"};
    return (unsigned)kind < sizeof names / sizeof *names ? names[kind] : "an unknown value";
}

const char *sail__node_where(sail_arena *a, const sail_node *n)
{
    const char *s = n->line > 0 ? sail__arena_printf(a, "%s:%d", n->origin, n->line) : n->origin;
    return s ? s : "";
}

static sail_code wrong_kind(const sail_node *n, const char *key, const char *wanted, sail_err *err)
{
    char line[16] = "";
    if (n->line > 0)
        snprintf(line, sizeof line, ":%d", n->line);
    return sail_fail(err, SAIL_E_OPTION, "%s%s%s%s is %s, %s is wanted", n->origin, line, *n->origin ? ": " : "", key,
                     sail__node_kind_name(n->kind), wanted);
}

sail_code sail__node_as_double(const sail_node *n, const char *key, double *out, sail_err *err)
{
    if (n->kind == SAIL_NODE_FLOAT)
        *out = n->number;
    else if (n->kind == SAIL_NODE_INT)
        *out = (double)n->integer;
    else
        return wrong_kind(n, key, "a number", err);
    return SAIL_OK;
}

sail_code sail__node_as_int(const sail_node *n, const char *key, int64_t *out, sail_err *err)
{
    if (n->kind == SAIL_NODE_INT)
        *out = n->integer;
    else if (n->kind == SAIL_NODE_FLOAT && n->number >= -0x1p63 && n->number < 0x1p63 && n->number == floor(n->number))
        *out = (int64_t)n->number;
    else
        return wrong_kind(n, key, "an integer", err);
    return SAIL_OK;
}

sail_code sail__node_as_string(const sail_node *n, const char *key, const char **out, sail_err *err)
{
    if (n->kind != SAIL_NODE_STRING)
        return wrong_kind(n, key, "a string", err);
    *out = n->string.data;
    return SAIL_OK;
}

sail_code sail__node_as_bool(const sail_node *n, const char *key, bool *out, sail_err *err)
{
    if (n->kind != SAIL_NODE_BOOL)
        return wrong_kind(n, key, "true or false", err);
    *out = n->boolean;
    return SAIL_OK;
}
