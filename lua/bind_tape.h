/* bind_tape.h - the methods of a value that are not rows of tape_ops.def; help.c prints them. */
#ifndef SAIL_LUA_BIND_TAPE_H
#define SAIL_LUA_BIND_TAPE_H

#include <lua.h>

typedef struct sail__lua_method {
    const char *name;
    lua_CFunction function;
    const char *usage, *doc;
} sail__lua_method;
extern const sail__lua_method sail__lua_methods[];

int sail__lua_constant(lua_State *L); /* sail.constant */

#endif
