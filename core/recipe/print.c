/* print.c - the resolved recipe as YAML: everything that is set, defaults included, each with its origin when asked. */
#include "recipe_internal.h"

#include <stddef.h>
#include <string.h>

/* Options whose default depends on the kind of stage, or on other options, are left as they were given. */
static bool add_defaults(sail_arena *a, const sail_opt *table, const void *from, sail_node *map)
{
    sail_node *all = sail__opt_to_node(a, table, from);
    if (!all)
        return false;
    for (const sail_opt *o = table; o->name; o++) {
        sail_node *value = sail__node_get(all, o->name);
        if (o->type == SAIL_OPT_TYPE_NODE || (o->flags & SAIL_OPT_HIDDEN) || !value || value->kind == SAIL_NODE_NULL || sail__node_get(map, o->name))
            continue;
        if (!sail__node_set(a, map, o->name, value))
            return false;
    }
    return true;
}

typedef struct slot_row {
    const char *section, *key;
    size_t offset;
} slot_row;
#define ROW(section, key, member) {section, key, offsetof(sail__stage, member)}
static const slot_row slot_rows[] = {
    ROW("model", "backend", backend),         ROW("data", "reader", reader),
    ROW("method", "objective", given_objective), ROW("method", "preference", preference),
    ROW("method", "strategy", strategy),      ROW("method", "judge", judge),
    ROW("eval", "judge", eval_judge),         ROW("train", "optimizer", optimizer),
};
#undef ROW

/* NAME becomes {kind: NAME, all its options}. */
static bool open_slot(sail_arena *a, sail_node *section, const char *key, const sail_slot *slot)
{
    sail_node *given = sail__node_get(section, key), *map;
    if (!slot->loaded || !slot->loaded->plugin.opts || !slot->options || (given && (given->kind == SAIL_NODE_FUNCTION || given->kind == SAIL_NODE_LIST)))
        return true;
    if (given && given->kind == SAIL_NODE_MAP) {
        map = given;
    } else {
        sail_node *kind = given ? given : sail__node_string(a, slot->loaded->plugin.name, "default");
        map = kind ? sail__node_new(a, SAIL_NODE_MAP, kind->origin, kind->line, kind->column) : NULL;
        if (!map || !sail__node_set(a, map, "kind", kind) || !sail__node_set(a, section, key, map))
            return false;
    }
    return add_defaults(a, slot->loaded->plugin.opts, slot->options, map);
}

static sail_node *stage_map(sail_arena *a, const sail__stage *s)
{
    sail_node *node = sail__node_copy(a, s->node);
    if (!node)
        return NULL;
    for (const sail__section *t = sail__sections; t->name; t++) {
        sail_node *section = sail__node_get(node, t->name);
        if (!section || section->kind != SAIL_NODE_MAP) {
            section = sail__node_new(a, SAIL_NODE_MAP, "default", 0, 0);
            if (!section || !sail__node_set(a, node, t->name, section))
                return NULL;
        }
        if (!add_defaults(a, t->options, (const char *)s + t->offset, section))
            return NULL;
    }
    for (size_t i = 0; i < sizeof slot_rows / sizeof *slot_rows; i++) {
        const slot_row *r = &slot_rows[i];
        if (!open_slot(a, sail__node_get(node, r->section), r->key, (const sail_slot *)((const char *)s + r->offset)))
            return NULL;
    }
    sail_node *adapter = s->has_adapter ? sail__node_get(sail__node_get(node, "model"), "adapter") : NULL;
    if (adapter && adapter->kind == SAIL_NODE_MAP && !add_defaults(a, sail__adapter_table, &s->adapter, adapter))
        return NULL;
    return node;
}

static bool set_text(sail_arena *a, sail_node *map, const char *key, const char *text, const sail_node *root)
{
    const sail_node *given = sail__node_get(root, key);
    sail_node *n = sail__node_string(a, text, given ? given->origin : "default");
    if (n && given)
        n->line = given->line;
    return n && sail__node_set(a, map, key, n);
}

/* Read again from another directory it must mean the same place. */
static const char *absolute_runs(sail_arena *a, const sail__recipe *r)
{
    sail_node n = {.kind = SAIL_NODE_STRING, .origin = "default", .string = {.data = r->runs, .len = strlen(r->runs)}};
    const char *path = sail__recipe_path(a, &n);
    return path ? path : r->runs;
}

static sail_node *whole(sail_arena *a, const sail__recipe *r)
{
    sail_node *map = sail__node_new(a, SAIL_NODE_MAP, "default", 0, 0);
    if (!map || !set_text(a, map, "name", r->name, r->root) || !set_text(a, map, "title", r->title, r->root) ||
        !set_text(a, map, "runs", absolute_runs(a, r), r->root))
        return NULL;
    sail_node *plugins = sail__node_get(r->root, "plugins"), *list = NULL;
    if (plugins && !sail__node_set(a, map, "plugins", plugins))
        return NULL;
    bool many = sail__node_get(r->root, "stages") != NULL;
    if (many) {
        list = sail__node_new(a, SAIL_NODE_LIST, "default", 0, 0);
        if (!list || !sail__node_set(a, map, "stages", list))
            return NULL;
    }
    for (size_t i = 0; i < r->n_stages; i++) {
        const sail__stage *s = &r->stages[i];
        sail_node *stage = stage_map(a, s), *at = map;
        if (!stage)
            return NULL;
        if (many) {
            at = sail__node_new(a, SAIL_NODE_MAP, s->node->origin, s->node->line, s->node->column);
            if (!at || !sail__node_append(a, list, at) || !set_text(a, at, "name", s->name, NULL))
                return NULL;
        }
        if (!set_text(a, at, "stage", sail__stage_names[s->kind], s->node) || !sail__node_merge(a, at, stage))
            return NULL;
    }
    return map;
}

void sail__recipe_print(const sail__recipe *r, bool with_origin, sail_buf *out)
{
    sail_arena *a = sail__arena_new();
    sail_node *map = a ? whole(a, r) : NULL;
    if (map)
        sail__node_to_yaml(out, map, 0, with_origin);
    else
        out->oom = true;
    sail__arena_free(a);
}
