/* paths.c - paths in a recipe: relative to the file they are written in, absolute once it is loaded.
 *
 * A value's origin names its file, so this works on the merged tree. Absolute paths are left alone: a resolved recipe can
 * be read again from anywhere. hf:OWNER/NAME becomes the path of a snapshot, so that a run stays with the commit it began with. */
#include "recipe_internal.h"

#include <string.h>
#include <unistd.h>

#include "../io/hub.h"

typedef struct paths {
    sail_arena *a;
    sail_problems *problems, *absent; /* may both be NULL */
} paths;

const char *sail__recipe_path(sail_arena *a, const sail_node *n)
{
    const char *name = n->string.data;
    char here[4096];
    if (*name == '/' || *name == '@' || !getcwd(here, sizeof here)) /* @STAGE: what an earlier stage wrote */
        return name;
    while (name[0] == '.' && name[1] == '/')
        name += 2;
    const char *dir = here;
    if (strcmp(n->origin, SAIL__COMMAND_LINE) != 0 && strcmp(n->origin, "default") != 0) {
        const char *own = sail__path_dir(a, n->origin);
        dir = !own ? NULL : !strcmp(own, ".") ? here : sail__path_join(a, here, own);
    }
    return dir ? sail__path_join(a, dir, name) : NULL;
}

static bool hub(const paths *p, const char *key, sail_node *n, const char **path)
{
    sail_err err;
    if (sail__hub_find(p->a, n->string.data, path, &err) == SAIL_OK)
        return true;
    sail_problems *to = err.code == SAIL_E_NOTFOUND ? p->absent : p->problems;
    if (to && !sail__problems_told(to, err.message))
        sail__problem_of(to, n, key, &err);
    *path = n->string.data;
    return err.code != SAIL_E_NOMEM;
}

static bool resolve(void *user, const sail_opt *row, const char *key, sail_node *n)
{
    const paths *p = user;
    const char *path;
    if (n->kind == SAIL_NODE_LIST || n->kind == SAIL_NODE_MAP) { /* a map: paths by name */
        for (size_t i = 0; i < n->list.n; i++)
            if (!resolve(user, row, key, n->list.items[i]))
                return false;
        return true;
    }
    if (n->kind == SAIL_NODE_STRING && n->string.data[0] == '@')
        return true; /* the output of a stage */
    if (n->kind != SAIL_NODE_STRING || n->string.len == 0 || strlen(n->string.data) != n->string.len)
        return true;
    if (!sail__hub_is_name(n->string.data))
        path = sail__recipe_path(p->a, n);
    else if (!hub(p, key, n, &path))
        return false;
    if (!path)
        return false;
    n->string.data = path;
    n->string.len = strlen(path);
    return true;
}

bool sail__recipe_paths(sail_ctx *ctx, sail_arena *a, sail_node *node, sail_problems *problems, sail_problems *absent)
{
    paths p = {a, problems, absent};
    return sail__recipe_each_path(ctx, a, node, resolve, &p);
}

/* ---- where paths are ---- */

static bool each_row(sail_arena *a, const sail_opt *rows, const char *section, const sail_node *map, sail__path_visit *visit, void *user)
{
    for (const sail_opt *o = rows; o && o->name; o++) {
        sail_node *n = o->flags & SAIL_OPT_PATH ? sail__node_get(map, o->name) : NULL;
        const char *key = n ? sail__arena_printf(a, "%s.%s", section, o->name) : NULL;
        if (n && (!key || !visit(user, o, key, n)))
            return false;
    }
    return true;
}

/* A plugin's own options may be paths; a plugin that cannot be loaded is told of later, with the other problems. */
static bool each_of_slot(sail_ctx *ctx, sail_arena *a, const char *section, const sail_opt *row, const sail_node *slot, sail__path_visit *visit,
                         void *user)
{
    const sail_node *name = slot && slot->kind == SAIL_NODE_MAP ? sail__node_get(slot, "kind") : NULL;
    sail_kind kind;
    const sail_loaded *plugin = NULL;
    if (!name || name->kind != SAIL_NODE_STRING || slot->list.n < 2 || !sail__kind_parse(row->unit, &kind) ||
        sail__plugin_get(ctx, kind, name->string.data, &plugin, &(sail_err){0}) != SAIL_OK)
        return true;
    const char *inside = sail__arena_printf(a, "%s.%s", section, row->name);
    return inside && each_row(a, plugin->plugin.opts, inside, slot, visit, user);
}

bool sail__recipe_each_path(sail_ctx *ctx, sail_arena *a, const sail_node *node, sail__path_visit *visit, void *user)
{
    for (const sail__section *s = sail__sections; s->name; s++) {
        const sail_node *section = sail__node_get(node, s->name);
        if (!section || section->kind != SAIL_NODE_MAP)
            continue;
        if (!each_row(a, s->options, s->name, section, visit, user))
            return false;
        for (const sail_opt *o = s->options; o->name; o++)
            if ((o->flags & SAIL_OPT_SLOT) && !each_of_slot(ctx, a, s->name, o, sail__node_get(section, o->name), visit, user))
                return false;
    }
    return true;
}
