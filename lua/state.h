/* state.h - one Lua state and its limits, as the files of this floor see it.
 *
 * All Lua runs inside sail__lua_call, which is a protected call: an error never jumps over a frame of the core. Where the
 * core calls back into Lua (a preference model inside an objective) there is one sail__lua_call inside another. */
#ifndef SAIL_LUA_STATE_H
#define SAIL_LUA_STATE_H

#include <lua.h>
#include <lauxlib.h>

#include "sail/objective.h"
#include "sail_lua.h"

typedef struct sail__lua sail__lua;
struct sail__lua {
    lua_State *L;
    sail_ctx *ctx;
    sail_arena *arena; /* names and plugin descriptions: as long as the state */
    const char *path;  /* of the recipe */
    const char *dir;   /* its directory: `require` and sail.recipe look here */
    sail__lua *next;   /* in the context's list */

    /* limits of the outermost call */
    int depth;
    size_t memory;     /* held by Lua, bytes */
    size_t tape_bytes; /* made on the tape by this call */
    int64_t instructions;
    double wall_end, cpu_end; /* seconds */
    int refusals;             /* of memory */
    bool starved;             /* memory was lacking outside of Lua */
    const char *stopped;      /* the reason; NULL: runs */
    char stopped_at[256];     /* FILE:LINE: */

    /* the tape of the call that runs; a value made in another one is refused by its epoch */
    sail_tape *tape;
    uint32_t epoch, last_epoch;

    /* the batch of the objective that runs */
    struct sail__lua_loss *loss;

    bool reading;      /* a recipe is being read */
    sail_arena *nodes; /* for what is converted in this call */
    int nesting; /* of recipes that load recipes */
    int state_ref; /* registry: the table that hooks see as s.state */
    int on_step, on_checkpoint, on_rollout; /* registry: hooks; LUA_NOREF */
};

/* A plugin of the recipe in Lua: what its table of functions gets as self. */
typedef struct sail__lua_plugin {
    sail__lua *s;
    int function; /* registry; of a strategy, a table of functions */
    char name[64];
    int outcomes[SAIL_MAX_RESPONSES + 1]; /* of a preference model, by the number of responses */
    sail_plugin description;
} sail__lua_plugin;

extern const sail_strategy sail__lua_strategy;
extern const struct sail_dataset sail__lua_dataset;
/* Raises an error unless the table is a strategy's. */
int sail__lua_strategy_check(lua_State *L, int table);

/* The state behind L. */
static inline sail__lua *sail__lua_of(lua_State *L) { return *(sail__lua **)lua_getextraspace(L); }

/* A new sandboxed state, owned by the context. NULL: out of memory. */
sail__lua *sail__lua_new(sail_ctx *ctx, const char *path);

/* Call body(L) with arg as a light userdata at index 1, protected and limited. What went wrong is in err, with a traceback;
 * the stack is as before. */
sail_code sail__lua_call(sail__lua *s, lua_CFunction body, void *arg, sail_err *err);

/* The same, with an arena of its own (s->nodes) for what the body converts. */
sail_code sail__lua_call_with_arena(sail__lua *s, lua_CFunction body, void *arg, sail_err *err);

/* Called where time passes in C: raises the stop when a limit is passed. */
void sail__lua_tick(lua_State *L);
/* Raise the stop now. */
int sail__lua_stop(lua_State *L, const char *reason);

/* Raise a lack of memory outside of Lua, or what a call of the core says, after `before`. What the call ends with is then
 * SAIL_E_NOMEM and no mistake of the recipe. */
int sail__lua_no_memory(lua_State *L);
int sail__lua_raise(lua_State *L, const char *before, const sail_err *err);

/* Load a text chunk (never bytecode) and leave it on the stack, or raise. name: for messages, "@FILE". */
void sail__lua_load(lua_State *L, const char *text, size_t n, const char *name);

/* Pieces of the environment, each called once. */
void sail__lua_open_pattern(lua_State *L);  /* string.find, match, gmatch, gsub */
void sail__lua_open_library(lua_State *L);  /* what else of string and table must not run unwatched */
void sail__lua_open_tape(lua_State *L);     /* the type of values on the tape */
void sail__lua_open_plugin(lua_State *L);   /* the types of batches and plugins; adds to the module on the top */
void sail__lua_open_recipe(lua_State *L);   /* adds to the module on the top */

/* ---- values on the tape (bind_tape.c) ---- */
sail_var sail__lua_check_var(lua_State *L, int i);  /* a value, or a number that becomes one */
void sail__lua_push_var(lua_State *L, sail_var v);  /* raises the tape's error, if any */
bool sail__lua_is_var(lua_State *L, int i);
/* A call that worked on t failed: t has failed too, with a message that says where in the recipe. */
void sail__lua_fail_tape(sail_tape *t, const sail_err *err);
/* Work on tape t until the matching leave; values of an earlier call cannot be used any more. */
typedef struct sail__lua_tape {
    sail_tape *tape;
    uint32_t epoch;
} sail__lua_tape;
sail__lua_tape sail__lua_enter_tape(sail__lua *s, sail_tape *t);
void sail__lua_leave_tape(sail__lua *s, sail__lua_tape before);

/* ---- nodes (bind_node.c) ---- */
void sail__lua_push_node(lua_State *L, const sail_node *n); /* maps remember where they were written */
void sail__lua_push_data(lua_State *L, const sail_node *n); /* as it is: what sail__lua_to_node gave when `recipe` was false */
/* The value at index i; `path` for messages. Slots of the recipe's tables get their functions registered as plugins when
 * `recipe` is true; else functions are refused. Raises. */
sail_node *sail__lua_to_node(lua_State *L, int i, sail_arena *a, const char *path, bool recipe);
/* Data as JSON that gives the same data back, NaN and infinities too. */
void sail__lua_data_to_json(const sail_node *n, sail_buf *json);
void sail__lua_data_from_json(sail_node *n); /* in place, after sail__json_parse */

/* ---- the stage `tables` (bind_tables.c) ---- */
struct sail__store;
sail_code sail__lua_make_tables(void *user, int64_t function, struct sail__store *store, sail_buf *json, sail_err *err);

/* ---- plugins (bind_plugin.c) ---- */
/* If the value at i is a plugin made by sail.objective, …, or a function that stands for one of `kind`: its name, else
 * NULL. Raises when it is one of another kind. */
const char *sail__lua_plugin_name(lua_State *L, int i, sail_kind kind);

#endif
