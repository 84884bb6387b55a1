/* bind_reader.c - readers of data in Lua: r.data.reader = function(record) … end, or sail.reader {row = function(record) … end}.
 * A record is a table; what comes back is a row {prompt = …, chosen = …, rejected = …}, or nil and a reason. */
#include "state.h"

#include <stdio.h>

#include "io/data.h"

typedef struct row_call {
    const sail__lua_plugin *plugin;
    const sail_node *record;
    sail_arena *arena;
    sail_node *row; /* NULL: left out */
    char reason[128];
} row_call;

static int row_body(lua_State *L)
{
    row_call *c = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->plugin->function);
    sail__lua_push_data(L, c->record);
    lua_call(L, 1, 2);
    if (lua_isnil(L, -2)) {
        snprintf(c->reason, sizeof c->reason, "%s",
                 lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "left out by the reader");
        return 0;
    }
    if (lua_type(L, -2) != LUA_TTABLE)
        return luaL_error(L,
                          "%s: a reader must give a row {prompt = …, chosen = …, rejected = …}, or nil and a reason to leave the "
                          "record out; it gave a %s",
                          c->plugin->name, luaL_typename(L, -2));
    c->row = sail__lua_to_node(L, lua_gettop(L) - 1, c->arena, "row", false);
    return 0;
}

static sail_code reader_row(const void *self, const sail_json *record, sail_row *row, sail_err *err)
{
    const sail__lua_plugin *p = self;
    row_call c = {.plugin = p, .arena = sail__arena_new()};
    sail_node *node = NULL;
    sail_code code = c.arena ? sail__record_to_node(record, c.arena, &node, err) : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    c.record = node;
    if (code == SAIL_OK)
        code = sail__lua_call(p->s, row_body, &c, err);
    if (code == SAIL_OK && !c.row)
        sail_row_drop(row, c.reason);
    else if (code == SAIL_OK)
        code = sail__row_from_node(row, c.row, err);
    sail__arena_free(c.arena);
    return code;
}

const sail_dataset sail__lua_dataset = {.size = sizeof sail__lua_dataset, .row = reader_row};
