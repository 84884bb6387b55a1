/* library.c - functions of string and table that could run for ever in C, where no hook fires: replaced or fenced.
 *
 * string.rep of an empty string counts to any number; the functions of table believe a table's __len and call its __index
 * in a loop; sort compares long strings a million times. Here tables are plain (no metamethods of access), ranges are
 * bounded by what fits into memory, and sort asks the clock. */
#include "state.h"

enum { MAX_RANGE = 1 << 24 };

static int repeat(lua_State *L)
{
    size_t n, m = 0;
    luaL_checklstring(L, 1, &n);
    lua_Integer times = luaL_checkinteger(L, 2);
    luaL_optlstring(L, 3, "", &m);
    if (times <= 0 || n + m == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    lua_settop(L, 3);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 3, 1);
    return 1;
}

static void check_plain(lua_State *L, int i)
{
    static const char *const fields[] = {"__index", "__newindex", "__len"};
    luaL_checktype(L, i, LUA_TTABLE);
    if (!lua_getmetatable(L, i))
        return;
    for (int k = 0; k < 3; k++) {
        lua_pushstring(L, fields[k]);
        if (lua_rawget(L, -2) != LUA_TNIL)
            luaL_argerror(L, i, "a table without __index, __newindex and __len is wanted");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* The function behind upvalue 1, for a plain table. */
static int fenced(lua_State *L)
{
    check_plain(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static int move(lua_State *L)
{
    check_plain(L, 1);
    lua_Integer from = luaL_checkinteger(L, 2), to = luaL_checkinteger(L, 3);
    if (!lua_isnoneornil(L, 5))
        check_plain(L, 5);
    if (to >= from && (from <= 0 ? to >= MAX_RANGE + from : to - from >= MAX_RANGE))
        return luaL_argerror(L, 3, "too many elements to move");
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/* ---- sort: merge sort, stable, with a look at the clock at every comparison ---- */

/* Is value at index a to be before the one at index b? */
static bool before(lua_State *L, int a, int b)
{
    sail__lua_tick(L);
    if (lua_isnil(L, 2))
        return lua_compare(L, a, b, LUA_OPLT);
    a = lua_absindex(L, a);
    b = lua_absindex(L, b);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, a);
    lua_pushvalue(L, b);
    lua_call(L, 2, 1);
    bool yes = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return yes;
}

/* Merge [i, k) and [k, n) of the table at `from` into the one at `to`. */
static void merge(lua_State *L, int from, int to, lua_Integer i, lua_Integer k, lua_Integer n)
{
    lua_Integer a = i, b = k;
    for (lua_Integer out = i; out < n; out++) {
        bool second = false;
        if (a < k && b < n) {
            lua_rawgeti(L, from, b);
            lua_rawgeti(L, from, a);
            second = before(L, -2, -1);
            lua_pop(L, 2);
        } else {
            second = a >= k;
        }
        lua_rawgeti(L, from, second ? b++ : a++);
        lua_rawseti(L, to, out);
    }
}

static int sort(lua_State *L)
{
    check_plain(L, 1);
    if (!lua_isnoneornil(L, 2))
        luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 1);
    lua_createtable(L, n < MAX_RANGE ? (int)n : 0, 0);
    int from = 1, to = 3;
    for (lua_Integer width = 1; width < n; width *= 2) {
        for (lua_Integer i = 1; i <= n; i += 2 * width) {
            lua_Integer k = i + width <= n ? i + width : n + 1, end = i + 2 * width <= n ? i + 2 * width : n + 1;
            merge(L, from, to, i, k, end);
        }
        int swap = from;
        from = to;
        to = swap;
    }
    for (lua_Integer i = 1; from == 3 && i <= n; i++) {
        lua_rawgeti(L, 3, i);
        lua_rawseti(L, 1, i);
    }
    return 0;
}

static void fence(lua_State *L, const char *name, lua_CFunction f)
{
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, f, 1);
    lua_setfield(L, -2, name);
}

void sail__lua_open_library(lua_State *L)
{
    lua_getglobal(L, "string");
    fence(L, "rep", repeat);
    lua_pop(L, 1);
    lua_getglobal(L, "table");
    fence(L, "insert", fenced);
    fence(L, "remove", fenced);
    fence(L, "concat", fenced);
    fence(L, "unpack", fenced);
    fence(L, "move", move);
    lua_pushcfunction(L, sort);
    lua_setfield(L, -2, "sort");
    lua_pop(L, 1);
}
