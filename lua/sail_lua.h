/* sail_lua.h - recipes in Lua: what the program and the tests use of this floor.
 *
 * Floor: tools/lua, the highest. Threads: a state belongs to the thread that loads the recipe and trains.
 * Ownership: a state lives as long as its context; plugins that a recipe makes are plugins of that context.
 *
 * A recipe is code from somebody: it sees math, string, table, utf8 and `sail`, no files, no clock, no bytecode. Each call
 * into it may take SAIL__LUA_SECONDS of processor time, SAIL__LUA_INSTRUCTIONS and SAIL__LUA_BYTES (its values on the
 * tape included); beyond that it is stopped, and no pcall holds the stop up. Matching of patterns counts its own steps, so
 * that time spent in C is limited too. */
#ifndef SAIL_LUA_H
#define SAIL_LUA_H

#include "recipe/recipe.h"

#define SAIL__LUA_SECONDS 1.0
#define SAIL__LUA_BYTES ((size_t)64 << 20)
#define SAIL__LUA_INSTRUCTIONS ((int64_t)1000 * 1000 * 1000)

/* Let sail__recipe_load read .lua files. False: out of memory. */
bool sail__lua_install(sail_ctx *ctx);

/* What a recipe in Lua can use: operators from tape_ops.def, and the rest. */
void sail__lua_help(sail_buf *out);

#endif
