/* bind_tables.c - what a recipe's functions for the stage `tables` see of the run: the metrics of its stages. */
#include "state.h"

#include <string.h>

#include "io/store.h"

typedef struct tables_call {
    int64_t function;
    sail__store *store;
    sail_buf *json;
} tables_call;

static const char call_key; /* address only: the call that runs, in the table `run` */

/* A stage of which nothing is known is a misspelt one, or a later one: raised with those that there are. */
static void check_stage(lua_State *L, const tables_call *c, const char *stage)
{
    sail__metric_row *rows = NULL;
    size_t n = 0;
    sail_err err = {0};
    sail_arena *a = sail__lua_of(L)->nodes;
    if (sail__store_metrics(c->store, a, stage, NULL, &rows, &n, &err) != SAIL_OK ||
        (n == 0 && sail__store_metrics(c->store, a, NULL, NULL, &rows, &n, &err) != SAIL_OK))
        sail__lua_raise(L, "", &err);
    if (n && strcmp(rows[0].stage, stage) == 0)
        return;
    luaL_Buffer known;
    luaL_buffinit(L, &known);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(rows[i - 1].stage, rows[i].stage) != 0) {
            luaL_addstring(&known, i ? ", " : "");
            luaL_addstring(&known, rows[i].stage);
        }
    luaL_pushresult(&known);
    luaL_error(L, "no stage `%s` has measured anything so far%s%s", stage, n ? "; stages that have: " : "", lua_tostring(L, -1));
}

/* The rows of one metric of one stage; raises where the run cannot be read. */
static sail__metric_row *rows_of(lua_State *L, size_t *n)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    const char *stage = luaL_checkstring(L, 2), *name = luaL_checkstring(L, 3);
    lua_rawgetp(L, 1, &call_key);
    tables_call *c = lua_touserdata(L, -1);
    sail__metric_row *rows = NULL;
    sail_err err = {0};
    if (!c || !sail__lua_of(L)->nodes)
        luaL_error(L, "the run can be read in a function of tables.make only");
    lua_pop(L, 1);
    if (sail__store_metrics(c->store, sail__lua_of(L)->nodes, stage, name, &rows, n, &err) != SAIL_OK)
        sail__lua_raise(L, "", &err);
    if (*n == 0)
        check_stage(L, c, stage);
    return rows;
}

/* run:metric(STAGE, NAME): the last value; nil where there is none. */
static int metric(lua_State *L)
{
    size_t n = 0;
    const sail__metric_row *rows = rows_of(L, &n);
    if (n)
        lua_pushnumber(L, rows[n - 1].value);
    else
        lua_pushnil(L);
    return 1;
}

/* run:series(STAGE, NAME): two lists, steps and values. */
static int series(lua_State *L)
{
    size_t n = 0;
    const sail__metric_row *rows = rows_of(L, &n);
    lua_createtable(L, (int)n, 0);
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_pushinteger(L, rows[i].step);
        lua_rawseti(L, -3, (lua_Integer)i + 1);
        lua_pushnumber(L, rows[i].value);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 2;
}

static int tables_body(lua_State *L)
{
    static const luaL_Reg methods[] = {{"metric", metric}, {"series", series}, {NULL, NULL}};
    tables_call *c = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, (lua_Integer)c->function);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_pushlightuserdata(L, c);
    lua_rawsetp(L, -2, &call_key);
    const int run = lua_gettop(L);
    lua_pushvalue(L, run);
    lua_insert(L, run - 1);
    lua_call(L, 1, 1);
    lua_pushnil(L); /* a run that was kept beyond its call reads nothing */
    lua_rawsetp(L, run - 1, &call_key);
    if (lua_type(L, -1) != LUA_TTABLE)
        return luaL_error(L, "a function of tables.make must return a table, or a list of tables; it gave a %s", luaL_typename(L, -1));
    sail__node_to_json(c->json, sail__lua_to_node(L, -1, sail__lua_of(L)->nodes, "tables", false));
    if (c->json->oom)
        return sail__lua_no_memory(L);
    return 0;
}

sail_code sail__lua_make_tables(void *user, int64_t function, sail__store *store, sail_buf *json, sail_err *err)
{
    tables_call c = {function, store, json};
    return sail__lua_call_with_arena(user, tables_body, &c, err);
}
