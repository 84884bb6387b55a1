/* values.c - maps and lists for --json. */
#include "cli_impl.h"

static sail_node *node(sail__cli *c, sail_node_kind kind) { return sail__node_new(c->arena, kind, "sail", 0, 0); }
sail_node *sail__cli_map(sail__cli *c) { return node(c, SAIL_NODE_MAP); }
sail_node *sail__cli_list(sail__cli *c) { return node(c, SAIL_NODE_LIST); }

void sail__cli_put(sail__cli *c, sail_node *map, const char *key, sail_node *value)
{
    if (map && value)
        sail__node_set(c->arena, map, key, value);
}

void sail__cli_put_string(sail__cli *c, sail_node *map, const char *key, const char *value)
{
    sail__cli_put(c, map, key, value ? sail__node_string(c->arena, value, "sail") : node(c, SAIL_NODE_NULL));
}

void sail__cli_put_int(sail__cli *c, sail_node *map, const char *key, int64_t value)
{
    sail_node *n = node(c, SAIL_NODE_INT);
    if (n)
        n->integer = value;
    sail__cli_put(c, map, key, n);
}

void sail__cli_put_number(sail__cli *c, sail_node *map, const char *key, double value)
{
    sail_node *n = node(c, SAIL_NODE_FLOAT);
    if (n)
        n->number = value;
    sail__cli_put(c, map, key, n);
}

void sail__cli_put_bool(sail__cli *c, sail_node *map, const char *key, bool value)
{
    sail_node *n = node(c, SAIL_NODE_BOOL);
    if (n)
        n->boolean = value;
    sail__cli_put(c, map, key, n);
}
