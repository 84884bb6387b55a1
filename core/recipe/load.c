/* load.c - files, what they extend, and the command line's key=value: one tree. */
#include "recipe_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_CHAIN = 16 };

const char *const sail__recipe_root_keys[] = {"name", "title", "runs", "plugins", "stages", "extends", "on", "source", NULL};

const sail_opt *sail__recipe_row(const char *section, const char *key)
{
    for (const sail__section *s = sail__sections; s->name; s++) {
        if (!sail__name_equal(s->name, section))
            continue;
        for (const sail_opt *o = s->options; o->name; o++)
            if (sail__name_equal(o->name, key))
                return o;
    }
    return NULL;
}

bool sail__recipe_has_kind(const sail_opt *row)
{
    return (row->flags & SAIL_OPT_SLOT) || !strcmp(row->name, "adapter") || !strcmp(row->name, "schedule");
}

/* ---- merging ---- */

static const sail_node *kind_of(const sail_node *slot)
{
    const sail_node *kind = slot && slot->kind == SAIL_NODE_STRING ? slot : sail__node_get(slot, "kind");
    return kind && kind->kind == SAIL_NODE_STRING ? kind : NULL;
}

static bool fit_slot(sail_arena *a, sail_node *section, const char *key, const sail_node *over)
{
    sail_node *base = sail__node_get(section, key);
    if (!base || !over || over->kind != SAIL_NODE_MAP)
        return true;
    const sail_node *before = kind_of(base), *now = kind_of(over);
    if (before && now && !sail__name_equal(before->string.data, now->string.data)) {
        sail__node_unset(section, key);
    } else if (base->kind == SAIL_NODE_STRING && !now) {
        sail_node *map = sail__node_new(a, SAIL_NODE_MAP, base->origin, base->line, base->column);
        return map && sail__node_set(a, map, "kind", base) && sail__node_set(a, section, key, map);
    }
    return true;
}

bool sail__recipe_merge(sail_arena *a, sail_node *base, const sail_node *over)
{
    for (const sail__section *s = sail__sections; s->name; s++) {
        sail_node *section = sail__node_get(base, s->name);
        const sail_node *with = sail__node_get(over, s->name);
        if (!section || !with || section->kind != SAIL_NODE_MAP || with->kind != SAIL_NODE_MAP)
            continue;
        for (const sail_opt *o = s->options; o->name; o++)
            if (sail__recipe_has_kind(o) && !fit_slot(a, section, o->name, sail__node_get(with, o->name)))
                return false;
    }
    return sail__node_merge(a, base, over);
}

/* ---- files ---- */

typedef struct loader {
    sail_ctx *ctx;
    sail_arena *arena;
    sail__hooks *hooks;
    bool has_lua;
    char *chain[MAX_CHAIN]; /* real paths, for cycles */
    int depth;
    sail_err *err;
} loader;

static sail_code read_one(loader *l, const char *path, sail_node **out)
{
    if (sail__ends_with(path, ".lua")) {
        sail__lua_reader reader = sail__recipe_lua(l->ctx);
        if (!reader)
            return sail_fail(l->err, SAIL_E_RECIPE, "%s: this program was built without Lua", path);
        if (l->has_lua || !l->hooks)
            return sail_fail(l->err, SAIL_E_RECIPE, "%s: a second Lua recipe in one chain of `extends`; load it inside the "
                                                    "first with sail.recipe",
                             path);
        l->has_lua = true;
        return reader(l->ctx, l->arena, path, out, l->hooks, l->err);
    }
    if (!sail__ends_with(path, ".yaml") && !sail__ends_with(path, ".yml"))
        return sail_fail(l->err, SAIL_E_RECIPE, "%s: a recipe's name must end in .yaml, .yml or .lua", path);
    return sail__yaml_read(l->arena, path, out, l->err);
}

static sail_code read_chain(loader *l, const char *path, sail_node **out);

static sail_code extend(loader *l, const char *path, const sail_node *extends, sail_node **node)
{
    if (extends->kind != SAIL_NODE_STRING || extends->string.len == 0)
        return sail_fail(l->err, SAIL_E_RECIPE, "%s:%d: extends: must be the name of one file", extends->origin,
                         extends->line);
    char *dir = sail__path_dir(l->arena, path);
    char *base_path = dir ? sail__recipe_find(l->ctx, l->arena, dir, extends->string.data) : NULL;
    if (!base_path)
        return sail_fail(l->err, SAIL_E_NOMEM, "%s: out of memory", path);
    sail_node *base = NULL;
    if (read_chain(l, base_path, &base) != SAIL_OK)
        return sail_fail_in(l->err, "%s:%d: extends", extends->origin, extends->line);
    sail__node_unset(*node, "extends");
    if (!sail__recipe_merge(l->arena, base, *node))
        return sail_fail(l->err, SAIL_E_NOMEM, "%s: out of memory", path);
    base->origin = (*node)->origin;
    base->line = (*node)->line;
    *node = base;
    return SAIL_OK;
}

static sail_code read_chain(loader *l, const char *path, sail_node **out)
{
    char *real = realpath(path, NULL);
    char *mine = sail__arena_strdup(l->arena, real ? real : path);
    free(real);
    if (!mine)
        return sail_fail(l->err, SAIL_E_NOMEM, "%s: out of memory", path);
    for (int i = 0; i < l->depth; i++)
        if (!strcmp(l->chain[i], mine))
            return sail_fail(l->err, SAIL_E_RECIPE, "%s extends itself", path);
    if (l->depth == MAX_CHAIN)
        return sail_fail(l->err, SAIL_E_RECIPE, "%s: more than %d files extend each other", path, MAX_CHAIN);
    l->chain[l->depth++] = mine;
    SAIL_TRY(read_one(l, path, out));
    if ((*out)->kind != SAIL_NODE_MAP)
        return sail_fail(l->err, SAIL_E_RECIPE, "%s: a recipe must be a map of sections (model:, data:, method:, train:, …)",
                         path);
    const sail_node *extends = sail__node_get(*out, "extends");
    if (extends && extends->kind != SAIL_NODE_NULL)
        SAIL_TRY(extend(l, path, extends, out));
    l->depth--;
    return SAIL_OK;
}

/* "FILE:12:3: text" or "FILE:12: text": where, and the text. */
static void problem_of(sail_problems *problems, const char *path, const sail_err *err)
{
    sail_node at = {.kind = SAIL_NODE_NULL, .origin = path};
    const char *text = err->message;
    size_t n = strlen(path);
    if (!strncmp(text, path, n) && text[n] == ':') {
        char *end;
        long line = strtol(text + n + 1, &end, 10);
        if (end > text + n + 1 && *end == ':' && line > 0) {
            at.line = (int)line;
            text = end + 1 + strspn(end + 1, " ");
        } else {
            text += n + 1 + strspn(text + n + 1, " ");
        }
    }
    problems->oom |= err->code == SAIL_E_NOMEM;
    sail__problem(problems, &at, "", "%s", text);
}

sail_code sail__recipe_read(sail_ctx *ctx, sail_arena *a, const char *path, sail_node **root, sail__hooks *hooks,
                            sail_problems *problems, sail_err *err)
{
    loader l = {.ctx = ctx, .arena = a, .hooks = hooks, .err = err};
    sail_code c = read_chain(&l, path, root);
    if (c != SAIL_OK && problems)
        problem_of(problems, path, err);
    return c;
}

/* ---- the command line ---- */

/* An option that wants text takes what was written, also where YAML would see a number: name=7, data.train=2024. */
static bool wants_text(const char *key)
{
    if (!strcmp(key, "name") || !strcmp(key, "title") || !strcmp(key, "runs"))
        return true;
    const char *last = strrchr(key, '.');
    if (!last)
        return false;
    const char *section = key;
    for (const char *p = key; p < last; p++) /* a stage's name may stand before the section */
        if (*p == '.')
            section = p + 1;
    char name[64];
    size_t n = (size_t)(last - section);
    if (n >= sizeof name)
        return false;
    memcpy(name, section, n);
    name[n] = '\0';
    const sail_opt *row = sail__recipe_row(name, last + 1);
    return row && (row->type == SAIL_OPT_TYPE_STR || (row->flags & SAIL_OPT_PATH));
}

sail__override *sail__overrides_parse(sail_arena *a, const char *const *texts, size_t n, size_t *n_out,
                                      sail_problems *problems)
{
    static const sail_node here = {.kind = SAIL_NODE_NULL, .origin = SAIL__COMMAND_LINE};
    sail__override *list = sail__arena_array(a, n + 1, sizeof *list);
    *n_out = 0;
    for (size_t i = 0; list && i < n; i++) {
        const char *eq = strchr(texts[i], '=');
        if (!eq || eq == texts[i]) {
            sail__problem(problems, &here, texts[i], "must be key=value, such as train.steps=100");
            continue;
        }
        sail__override *o = &list[*n_out];
        o->key = sail__arena_strndup(a, texts[i], (size_t)(eq - texts[i]));
        if (!o->key)
            return NULL;
        sail_err err = {0};
        if (sail__yaml_parse(a, eq + 1, strlen(eq + 1), SAIL__COMMAND_LINE, &o->value, &err) != SAIL_OK) {
            if (err.code == SAIL_E_NOMEM)
                return NULL;
            sail__problem(problems, &here, o->key, "`%s` is no YAML value (%s); put it in quotes", eq + 1, err.message);
            continue;
        }
        sail_node_kind k = o->value->kind;
        if (wants_text(o->key) && (k == SAIL_NODE_INT || k == SAIL_NODE_FLOAT || k == SAIL_NODE_BOOL)) {
            o->value = sail__node_string(a, eq + 1, SAIL__COMMAND_LINE);
            if (!o->value)
                return NULL;
        }
        o->value->line = o->value->column = 0;
        (*n_out)++;
    }
    return list;
}
