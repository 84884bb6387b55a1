/* bind_node.c - parsed values as Lua tables and back.
 *
 * A table made from a file remembers the node it was, so that values a recipe has not touched keep the file and line they
 * were written in: messages point there, and relative paths stay relative to it.
 *
 * The state of hooks is data, not a recipe: its names are kept letter by letter, and NaN and infinities too. */
#include "state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64 };
#define ORIGINS "sail.origins" /* registry: table -> the node it was made from; weak keys */

static void push(lua_State *L, const sail_node *n, bool recipe, int depth);

static void push_map(lua_State *L, const sail_node *n, bool recipe, int depth)
{
    for (size_t i = 0; i < n->list.n; i++) {
        if (recipe && n->list.items[i]->kind == SAIL_NODE_NULL)
            continue; /* nil */
        push(L, n->list.items[i], recipe, depth);
        if (recipe)
            luaL_gsub(L, n->list.keys[i], "-", "_");
        else
            lua_pushstring(L, n->list.keys[i]);
        lua_insert(L, -2);
        lua_rawset(L, -3);
    }
}

static void push(lua_State *L, const sail_node *n, bool recipe, int depth)
{
    if (depth > MAX_DEPTH)
        luaL_error(L, "nested too deeply");
    luaL_checkstack(L, 8, "nested too deeply");
    switch (n->kind) {
    case SAIL_NODE_BOOL:
        lua_pushboolean(L, n->boolean);
        return;
    case SAIL_NODE_INT:
        lua_pushinteger(L, n->integer);
        return;
    case SAIL_NODE_FLOAT:
        lua_pushnumber(L, isnan(n->number) ? (double)NAN : n->number); /* its sign is kept nowhere */
        return;
    case SAIL_NODE_STRING:
        lua_pushlstring(L, n->string.data, n->string.len);
        return;
    case SAIL_NODE_LIST:
    case SAIL_NODE_MAP:
        break;
    default:
        lua_pushlightuserdata(L, NULL); /* sail.null */
        return;
    }
    lua_newtable(L);
    if (n->kind == SAIL_NODE_MAP) {
        push_map(L, n, recipe, depth + 1);
    } else {
        for (size_t i = 0; i < n->list.n; i++) {
            push(L, n->list.items[i], recipe, depth + 1);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
    }
    if (!recipe)
        return;
    if (luaL_getsubtable(L, LUA_REGISTRYINDEX, ORIGINS) == 0) {
        lua_newtable(L);
        lua_pushliteral(L, "k");
        lua_setfield(L, -2, "__mode");
        lua_setmetatable(L, -2);
    }
    lua_pushvalue(L, -2);
    lua_pushlightuserdata(L, (void *)n);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

void sail__lua_push_node(lua_State *L, const sail_node *n) { push(L, n, true, 0); }
void sail__lua_push_data(lua_State *L, const sail_node *n) { push(L, n, false, 0); }

/* ---- back ---- */

typedef struct converter {
    lua_State *L;
    sail_arena *arena;
    const char *origin;
    bool recipe;
} converter;

static sail_node *convert(converter *c, int i, const char *path, const sail_node *was, int depth);

static sail_node *no_memory(converter *c)
{
    sail__lua_no_memory(c->L);
    return NULL;
}

static const char *printable(const char *path) { return *path ? path : "the recipe"; }

/* The node that the table at i was made from; NULL: made by the recipe. */
static const sail_node *node_of(lua_State *L, int i)
{
    i = lua_absindex(L, i);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, ORIGINS);
    lua_pushvalue(L, i);
    lua_rawget(L, -2);
    const sail_node *n = lua_touserdata(L, -1);
    lua_pop(L, 2);
    return n;
}

/* "method.objective", "method.objective[1]" and "stages[2].method.objective" are rows of the tables. */
static bool slot_kind(const char *path, sail_kind *kind)
{
    const char *close = !strncmp(path, "stages[", 7) ? strstr(path, "].") : NULL;
    if (close)
        path = close + 2;
    const char *dot = strchr(path, '.');
    char section[32];
    if (!dot || strchr(dot + 1, '.') || (size_t)(dot - path) >= sizeof section)
        return false;
    memcpy(section, path, (size_t)(dot - path));
    section[dot - path] = '\0';
    const size_t key = strcspn(dot + 1, "[");
    for (const sail__section *s = sail__sections; s->name; s++)
        for (const sail_opt *o = s->options; !strcmp(s->name, section) && o->name; o++)
            if ((o->flags & SAIL_OPT_SLOT) && strlen(o->name) == key && !strncmp(o->name, dot + 1, key))
                return sail__kind_parse(o->unit, kind);
    return false;
}

static sail_node *new_node(converter *c, sail_node_kind kind, const sail_node *was)
{
    sail_node *n = was ? sail__node_new(c->arena, kind, was->origin, was->line, was->column)
                       : sail__node_new(c->arena, kind, c->origin, 0, 0);
    return n ? n : no_memory(c);
}

static sail_node *text_node(converter *c, const char *s, size_t len, const sail_node *was)
{
    bool same = was && was->kind == SAIL_NODE_STRING && was->string.len == len && !memcmp(was->string.data, s, len);
    sail_node *n = new_node(c, SAIL_NODE_STRING, same ? was : NULL);
    n->string.data = sail__arena_strndup(c->arena, s, len);
    n->string.len = len;
    n->string.quoted = true;
    return n->string.data ? n : no_memory(c);
}

static sail_node *function_node(converter *c, int i, const char *path)
{
    if (!c->recipe)
        luaL_error(c->L, "%s: a function cannot be kept; numbers, strings, booleans and tables of them can", printable(path));
    sail_node *n = new_node(c, SAIL_NODE_FUNCTION, NULL);
    lua_pushvalue(c->L, i);
    n->function = luaL_ref(c->L, LUA_REGISTRYINDEX);
    return n;
}

static sail_node *list_node(converter *c, int i, const char *path, const sail_node *was, int depth)
{
    lua_State *L = c->L;
    sail_node *n = new_node(c, SAIL_NODE_LIST, was);
    lua_Integer count = (lua_Integer)lua_rawlen(L, i);
    for (lua_Integer k = 1; k <= count; k++) {
        const char *at = sail__arena_printf(c->arena, "%s[%lld]", path, (long long)k - 1);
        lua_rawgeti(L, i, k);
        const sail_node *item = was && was->kind == SAIL_NODE_LIST && (size_t)k <= was->list.n ? was->list.items[k - 1] : NULL;
        if (!at || !sail__node_append(c->arena, n, convert(c, lua_gettop(L), at, item, depth)))
            return no_memory(c);
        lua_pop(L, 1);
    }
    return n;
}

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* The table's keys: in the order of the file first, then by name, since Lua's own order changes from run to run. */
static const char **sorted_keys(converter *c, int i, const char *path, const sail_node *was, size_t n)
{
    lua_State *L = c->L;
    const char **keys = sail__arena_array(c->arena, n + 1, sizeof *keys);
    size_t k = 0, first = 0;
    if (!keys)
        return (const char **)no_memory(c);
    for (lua_pushnil(L); lua_next(L, i); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "%s: a table must have names only, or be a list counted from 1 without holes", printable(path));
        size_t len;
        const char *key = lua_tolstring(L, -2, &len);
        if (len == 0 || strlen(key) != len)
            luaL_error(L, "%s: an empty name, or one with a NUL in it", printable(path));
        if (!sail__utf8_valid(key, len))
            luaL_error(L, "%s: a name must be UTF-8", printable(path));
        keys[k++] = key;
    }
    for (size_t w = 0; was && was->kind == SAIL_NODE_MAP && w < was->list.n; w++)
        for (size_t j = first; j < n; j++)
            if (sail__name_equal(keys[j], was->list.keys[w])) {
                const char *t = keys[j];
                keys[j] = keys[first];
                keys[first++] = t;
                break;
            }
    qsort(keys + first, n - first, sizeof *keys, by_name);
    return keys;
}

static sail_node *map_node(converter *c, int i, const char *path, const sail_node *was, size_t count, int depth)
{
    lua_State *L = c->L;
    sail_node *n = new_node(c, SAIL_NODE_MAP, was);
    const char **keys = sorted_keys(c, i, path, was, count);
    if (!c->recipe) {
        n->list.cap = count;
        n->list.items = sail__arena_array(c->arena, count, sizeof *n->list.items);
        n->list.keys = sail__arena_array(c->arena, count, sizeof *n->list.keys);
        if (!n->list.items || !n->list.keys)
            return no_memory(c);
    }
    for (size_t k = 0; k < count; k++) {
        const char *at = *path ? sail__arena_printf(c->arena, "%s.%s", path, keys[k]) : sail__arena_strdup(c->arena, keys[k]);
        lua_pushstring(L, keys[k]);
        lua_rawget(L, i);
        const sail_node *item = was ? sail__node_get(was, keys[k]) : NULL;
        sail_node *value = at ? convert(c, lua_gettop(L), at, item, depth) : NULL;
        if (c->recipe) {
            if (!value || !sail__node_set(c->arena, n, keys[k], value))
                return no_memory(c);
        } else { /* a-b and a_b are two names */
            n->list.keys[n->list.n] = sail__arena_strdup(c->arena, keys[k]);
            n->list.items[n->list.n] = value;
            if (!value || !n->list.keys[n->list.n++])
                return no_memory(c);
        }
        lua_pop(L, 1);
    }
    return n;
}

static sail_node *table_node(converter *c, int i, const char *path, int depth)
{
    lua_State *L = c->L;
    if (depth > MAX_DEPTH)
        luaL_error(L, "%s: nested too deeply; does a table hold itself?", printable(path));
    luaL_checkstack(L, 8, "nested too deeply");
    const sail_node *was = node_of(L, i);
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, i); lua_pop(L, 1))
        count++;
    bool list = count ? lua_rawlen(L, i) == count : was && was->kind == SAIL_NODE_LIST;
    return list ? list_node(c, i, path, was, depth + 1) : map_node(c, i, path, was, count, depth + 1);
}

static sail_node *convert(converter *c, int i, const char *path, const sail_node *was, int depth)
{
    lua_State *L = c->L;
    sail_kind kind;
    if (c->recipe && slot_kind(path, &kind)) {
        const char *name = sail__lua_plugin_name(L, i, kind);
        if (name)
            return text_node(c, name, strlen(name), NULL);
    }
    sail_node *n;
    size_t len;
    const char *s;
    switch (lua_type(L, i)) {
    case LUA_TBOOLEAN:
        n = new_node(c, SAIL_NODE_BOOL, was && was->kind == SAIL_NODE_BOOL && was->boolean == lua_toboolean(L, i) ? was : NULL);
        n->boolean = lua_toboolean(L, i);
        return n;
    case LUA_TNUMBER:
        if (lua_isinteger(L, i)) {
            lua_Integer v = lua_tointeger(L, i);
            n = new_node(c, SAIL_NODE_INT, was && was->kind == SAIL_NODE_INT && was->integer == v ? was : NULL);
            n->integer = v;
        } else {
            double v = lua_tonumber(L, i);
            n = new_node(c, SAIL_NODE_FLOAT, was && was->kind == SAIL_NODE_FLOAT && was->number == v ? was : NULL);
            n->number = v;
        }
        return n;
    case LUA_TSTRING:
        s = lua_tolstring(L, i, &len);
        if (!sail__utf8_valid(s, len))
            luaL_error(L, "%s: text must be UTF-8", printable(path));
        return text_node(c, s, len, was);
    case LUA_TFUNCTION:
        return function_node(c, i, path);
    case LUA_TTABLE:
        return table_node(c, i, path, depth);
    case LUA_TLIGHTUSERDATA:
        if (!lua_touserdata(L, i))
            return new_node(c, SAIL_NODE_NULL, NULL);
        break;
    default:
        break;
    }
    luaL_error(L, "%s: a %s cannot stand here", printable(path), luaL_typename(L, i));
    return NULL;
}

sail_node *sail__lua_to_node(lua_State *L, int i, sail_arena *a, const char *path, bool recipe)
{
    converter c = {L, a, sail__arena_strdup(a, sail__lua_of(L)->path), recipe};
    if (!c.origin)
        return no_memory(&c);
    return convert(&c, lua_absindex(L, i), path, NULL, 0);
}

/* ---- data as JSON, which has no NaN and no infinities: {"sail.number": "nan"} ---- */

#define NUMBER "sail.number"

void sail__lua_data_to_json(const sail_node *n, sail_buf *json)
{
    if (n->kind == SAIL_NODE_FLOAT && !isfinite(n->number)) {
        sail__buf_printf(json, "{\"" NUMBER "\": ");
        sail__node_to_json(json, n);
        sail__buf_str(json, "}");
    } else if (n->kind == SAIL_NODE_LIST || n->kind == SAIL_NODE_MAP) {
        bool map = n->kind == SAIL_NODE_MAP;
        sail__buf_str(json, map ? "{" : "[");
        for (size_t i = 0; i < n->list.n; i++) {
            sail__buf_str(json, i ? ", " : "");
            if (map) {
                sail__json_quote(json, n->list.keys[i], strlen(n->list.keys[i]));
                sail__buf_str(json, ": ");
            }
            sail__lua_data_to_json(n->list.items[i], json);
        }
        sail__buf_str(json, map ? "}" : "]");
    } else {
        sail__node_to_json(json, n);
    }
}

void sail__lua_data_from_json(sail_node *n)
{
    if (n->kind != SAIL_NODE_LIST && n->kind != SAIL_NODE_MAP)
        return;
    const sail_node *text = n->kind == SAIL_NODE_MAP && n->list.n == 1 && strcmp(n->list.keys[0], NUMBER) == 0 ? n->list.items[0] : NULL;
    for (size_t i = 0; !text && i < n->list.n; i++)
        sail__lua_data_from_json(n->list.items[i]);
    if (text && text->kind == SAIL_NODE_STRING) {
        double x = strcmp(text->string.data, "inf") == 0 ? INFINITY : strcmp(text->string.data, "-inf") == 0 ? -INFINITY : NAN;
        n->kind = SAIL_NODE_FLOAT;
        n->number = x;
    }
}
