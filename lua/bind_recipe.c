/* bind_recipe.c - the module `sail`, recipes written in Lua, their hooks and schedules. */
#include "state.h"

#include <math.h>
#include <string.h>

#include "bind_tape.h"

enum { MAX_TEXT = 1 << 20, MAX_NESTING = 16 };

/* ---- sail.recipe ---- */

/* Tables that a recipe may want to write into. */
static void add_sections(lua_State *L)
{
    for (const sail__section *s = sail__sections; s->name; s++)
        luaL_getsubtable(L, -1, s->name), lua_pop(L, 1);
    luaL_getsubtable(L, -1, "on");
    lua_pop(L, 1);
}

/* Run the recipe `path` in this state and leave its table on the stack. */
static void run_file(lua_State *L, const char *path)
{
    sail__lua *s = sail__lua_of(L);
    char *text = NULL;
    size_t n = 0;
    sail_err err = {0};
    if (sail__file_read(path, MAX_TEXT, &text, &n, &err) != SAIL_OK)
        sail__lua_raise(L, "", &err);
    char *copy = sail__arena_strndup(s->nodes, text, n); /* what is raised below must not lose memory */
    sail__free(text);
    if (!copy)
        sail__lua_no_memory(L);
    const char *dir = s->dir, *own = sail__path_dir(s->nodes, path);
    lua_pushfstring(L, "@%s", path);
    sail__lua_load(L, copy, n, lua_tostring(L, -1));
    lua_remove(L, -2);
    if (!own)
        sail__lua_no_memory(L);
    s->dir = own;
    lua_call(L, 0, 1);
    s->dir = dir;
    if (!lua_istable(L, -1))
        luaL_error(L, "%s: a recipe in Lua must end with `return r`, a table; it gave a %s", path, luaL_typename(L, -1));
}

static int recipe(lua_State *L)
{
    sail__lua *s = sail__lua_of(L);
    const char *name = luaL_checkstring(L, 1);
    if (!s->reading)
        return luaL_error(L, "sail.recipe works while a recipe is read, not in its functions");
    if (++s->nesting > MAX_NESTING)
        return luaL_error(L, "recipes load each other more than %d deep", MAX_NESTING);
    const char *path = sail__recipe_find(s->ctx, s->nodes, s->dir, name);
    if (!path)
        return sail__lua_no_memory(L);
    if (sail__ends_with(path, ".lua")) {
        run_file(L, path);
    } else {
        sail_err err = {0};
        sail_node *n = NULL;
        if (sail__recipe_read(s->ctx, s->nodes, path, &n, NULL, NULL, &err) != SAIL_OK)
            return sail__lua_raise(L, "", &err);
        sail__lua_push_node(L, n);
    }
    s->nesting--;
    add_sections(L);
    return 1;
}

/* ---- schedules: plain tables that schedule.h understands ---- */

static int schedule(lua_State *L, const char *kind, const char *const *wanted)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_newtable(L);
    for (lua_pushnil(L); lua_next(L, 1);) {
        bool known = false;
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        for (const char *const *w = wanted; *w; w++)
            known |= !strcmp(*w, key);
        if (!known)
            return luaL_error(L, "sail.%s: there is no `%s`", kind, key);
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, 2);
    }
    lua_pushstring(L, kind);
    lua_setfield(L, 2, "kind");
    return 1;
}

static const char *const from_to[] = {"from", "to", "steps", "start", NULL};

static int from_to_schedule(lua_State *L, const char *kind)
{
    for (int i = 0; i < 3; i++) {
        luaL_checktype(L, 1, LUA_TTABLE);
        if (lua_getfield(L, 1, from_to[i]) != LUA_TNUMBER)
            return luaL_error(L, "sail.%s { from = 0, to = 0.3, steps = 50 }: `%s` must be a number", kind, from_to[i]);
        lua_pop(L, 1);
    }
    return schedule(L, kind, from_to);
}

static int ramp(lua_State *L) { return from_to_schedule(L, "ramp"); }
static int cosine(lua_State *L) { return from_to_schedule(L, "cosine"); }

/* sail.piecewise { {0, 0.1}, {100, 0.3} } */
static int piecewise(lua_State *L)
{
    static const char *const points[] = {"points", NULL};
    luaL_checktype(L, 1, LUA_TTABLE);
    if (lua_getfield(L, 1, "points") == LUA_TNIL) {
        lua_newtable(L);
        lua_pushvalue(L, 1);
        lua_setfield(L, -2, "points");
        lua_replace(L, 1);
    }
    return schedule(L, "piecewise", points);
}

static int log_line(lua_State *L)
{
    lua_getglobal(L, "print");
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 0);
    return 0;
}

void sail__lua_open_recipe(lua_State *L)
{
    static const luaL_Reg module[] = {{"recipe", recipe},       {"ramp", ramp},         {"cosine", cosine},
                                      {"piecewise", piecewise}, {"log", log_line},      {"constant", sail__lua_constant},
                                      {NULL, NULL}};
    luaL_setfuncs(L, module, 0);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
}

/* ---- calling what a recipe left behind ---- */

typedef struct schedule_call {
    int64_t function, step;
    double value;
} schedule_call;

static int schedule_body(lua_State *L)
{
    schedule_call *c = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, (lua_Integer)c->function);
    lua_pushinteger(L, c->step);
    lua_call(L, 1, 1);
    if (lua_type(L, -1) != LUA_TNUMBER)
        return luaL_error(L, "a schedule must return a number for step %I; it gave a %s", (LUAI_UACINT)c->step,
                          luaL_typename(L, -1));
    c->value = lua_tonumber(L, -1);
    if (!isfinite(c->value))
        return luaL_error(L, "a schedule must return a finite number for step %I; it gave %f", (LUAI_UACINT)c->step, c->value);
    return 0;
}

static double call_schedule(void *user, int64_t function, int64_t step, sail_err *err)
{
    schedule_call c = {function, step, 0};
    sail__lua_call(user, schedule_body, &c, err);
    return c.value;
}

/* s.state is one table, whichever hook sees it. */
static void push_state(lua_State *L)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, sail__lua_of(L)->state_ref);
    lua_setfield(L, -2, "state");
}

/* After a hook: keep its state, if it is data that a checkpoint can hold. What is kept is a copy, as a checkpoint would give it
 * back: a table that was there twice is two tables from now on, in a resumed run and in one that goes on. */
static void keep_state(lua_State *L, int table)
{
    lua_pushliteral(L, "state");
    if (lua_rawget(L, table) != LUA_TTABLE)
        luaL_error(L, "s.state must stay a table");
    sail_arena *a = sail__lua_of(L)->nodes;
    sail__lua_push_data(L, sail__lua_to_node(L, -1, a, "s.state", false));
    lua_rawseti(L, LUA_REGISTRYINDEX, sail__lua_of(L)->state_ref);
}

typedef struct hook_call {
    sail__hook_step *step;
    int ref;
    int64_t at;
    const char *path, *prompt, *response;
    sail_buf *json;
    const char *text;
    size_t n;
} hook_call;

static const char backoff_key, stop_key; /* addresses only */

static int backoff(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    double f = luaL_checknumber(L, 2);
    luaL_argcheck(L, f > 0 && f <= 1, 2, "a factor in (0, 1] is wanted");
    double before = lua_rawgetp(L, 1, &backoff_key) == LUA_TNUMBER ? lua_tonumber(L, -1) : 1;
    lua_pushnumber(L, before * f);
    lua_rawsetp(L, 1, &backoff_key);
    return 0;
}

static int stop(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushboolean(L, 1);
    lua_rawsetp(L, 1, &stop_key);
    return 0;
}

static int step_body(lua_State *L)
{
    hook_call *c = lua_touserdata(L, 1);
    sail__hook_step *h = c->step;
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->ref);
    lua_newtable(L);
    int s = lua_gettop(L);
    lua_pushinteger(L, h->step);
    lua_setfield(L, s, "step");
    lua_pushinteger(L, h->steps);
    lua_setfield(L, s, "steps");
    lua_createtable(L, 0, (int)h->n);
    for (size_t i = 0; i < h->n; i++) {
        lua_pushnumber(L, h->values[i]);
        lua_setfield(L, -2, h->names[i]);
    }
    /* where the policy wrote nothing there is no estimate: comparing with it is false, not an error */
    if (lua_getfield(L, -1, "objective/kl") == LUA_TNIL) {
        lua_pushnumber(L, (lua_Number)NAN);
        lua_setfield(L, -3, "objective/kl");
    }
    lua_pop(L, 1);
    lua_setfield(L, s, "metrics");
    lua_pushcfunction(L, backoff);
    lua_setfield(L, s, "backoff");
    lua_pushcfunction(L, stop);
    lua_setfield(L, s, "stop");
    push_state(L);
    lua_pushvalue(L, s);
    lua_insert(L, s - 1);
    lua_call(L, 1, 0);
    keep_state(L, s - 1);
    h->backoff = lua_rawgetp(L, s - 1, &backoff_key) == LUA_TNUMBER ? lua_tonumber(L, -1) : 1;
    h->stop = lua_rawgetp(L, s - 1, &stop_key) == LUA_TBOOLEAN;
    return 0;
}

/* The other hooks observe: s.step, s.path or s.prompt and s.response, s.state. A checkpoint may be due to a signal, and it holds
 * the state before this hook: what the hook does to the state cannot be kept. */
static int observe_body(lua_State *L)
{
    hook_call *c = lua_touserdata(L, 1);
    lua_newtable(L);
    int s = lua_gettop(L);
    lua_pushinteger(L, c->at);
    lua_setfield(L, s, "step");
    const char *const texts[] = {c->path, c->prompt, c->response}, *const names[] = {"path", "prompt", "response"};
    for (int i = 0; i < 3; i++)
        if (texts[i]) {
            lua_pushstring(L, texts[i]);
            lua_setfield(L, s, names[i]);
        }
    push_state(L);
    if (c->path) {
        lua_getfield(L, s, "state");
        sail__lua_push_data(L, sail__lua_to_node(L, -1, sail__lua_of(L)->nodes, "s.state", false));
        lua_setfield(L, s, "state");
        lua_pop(L, 1);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->ref);
    lua_pushvalue(L, s);
    lua_call(L, 1, 0);
    if (!c->path)
        keep_state(L, s);
    return 0;
}

sail_code sail__lua_call_with_arena(sail__lua *s, lua_CFunction body, void *arg, sail_err *err)
{
    sail_arena *before = s->nodes, *a = sail__arena_new();
    if (!a)
        return sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", s->path);
    s->nodes = a;
    sail_code c = sail__lua_call(s, body, arg, err);
    s->nodes = before;
    sail__arena_free(a);
    return c;
}

static sail_code on_step(void *user, sail__hook_step *h, sail_err *err)
{
    sail__lua *s = user;
    hook_call c = {.step = h, .ref = s->on_step};
    h->backoff = 1;
    h->stop = false;
    return sail__lua_call_with_arena(s, step_body, &c, err);
}

static sail_code on_checkpoint(void *user, int64_t step, const char *path, sail_err *err)
{
    sail__lua *s = user;
    hook_call c = {.at = step, .path = path, .ref = s->on_checkpoint};
    return sail__lua_call_with_arena(s, observe_body, &c, err);
}

static sail_code on_rollout(void *user, int64_t step, const char *prompt, const char *response, sail_err *err)
{
    sail__lua *s = user;
    hook_call c = {.at = step, .prompt = prompt, .response = response, .ref = s->on_rollout};
    return sail__lua_call_with_arena(s, observe_body, &c, err);
}

static int save_body(lua_State *L)
{
    hook_call *c = lua_touserdata(L, 1);
    sail__lua *s = sail__lua_of(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->state_ref);
    sail__lua_data_to_json(sail__lua_to_node(L, -1, s->nodes, "s.state", false), c->json);
    if (c->json->oom)
        return sail__lua_no_memory(L);
    return 0;
}

static int load_body(lua_State *L)
{
    hook_call *c = lua_touserdata(L, 1);
    sail__lua *s = sail__lua_of(L);
    sail_node *n = NULL;
    sail_err err = {0};
    if (sail__json_parse(s->nodes, c->text, c->n, "state of the recipe's hooks", 1, &n, &err) != SAIL_OK)
        return sail__lua_raise(L, "", &err);
    if (n->kind != SAIL_NODE_MAP && n->kind != SAIL_NODE_LIST)
        return luaL_error(L, "the state of the recipe's hooks must be a table");
    sail__lua_data_from_json(n);
    sail__lua_push_data(L, n);
    lua_rawseti(L, LUA_REGISTRYINDEX, s->state_ref);
    return 0;
}

static sail_code state_save(void *user, sail_buf *json, sail_err *err)
{
    hook_call c = {.json = json};
    return sail__lua_call_with_arena(user, save_body, &c, err);
}

static sail_code state_load(void *user, const char *json, size_t n, sail_err *err)
{
    hook_call c = {.text = json, .n = n};
    return sail__lua_call_with_arena(user, load_body, &c, err);
}

/* ---- reading a recipe ---- */

typedef struct read_call {
    sail_node *root;
} read_call;

static int take_hook(lua_State *L, int on, const char *name)
{
    int type = lua_getfield(L, on, name);
    if (type == LUA_TNIL) {
        lua_pop(L, 1);
        return LUA_NOREF;
    }
    if (type != LUA_TFUNCTION)
        luaL_error(L, "r.on.%s must be a function; it is a %s", name, lua_typename(L, type));
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushnil(L);
    lua_setfield(L, on, name);
    return ref;
}

/* The hooks out of r.on; what is left there is a mistake. */
static void take_hooks(lua_State *L, int r)
{
    sail__lua *s = sail__lua_of(L);
    int type = lua_getfield(L, r, "on");
    if (type == LUA_TTABLE) {
        int on = lua_gettop(L);
        s->on_step = take_hook(L, on, "step");
        s->on_checkpoint = take_hook(L, on, "checkpoint");
        s->on_rollout = take_hook(L, on, "rollout");
        lua_pushnil(L);
        if (lua_next(L, on))
            luaL_error(L, "there is no hook r.on.%s; there are: step, checkpoint, rollout", luaL_tolstring(L, -2, NULL));
    } else if (type != LUA_TNIL) {
        luaL_error(L, "r.on must be a table of functions; it is a %s", lua_typename(L, type));
    }
    lua_pop(L, 1);
    lua_pushnil(L);
    lua_setfield(L, r, "on");
}

static int read_body(lua_State *L)
{
    read_call *c = lua_touserdata(L, 1);
    sail__lua *s = sail__lua_of(L);
    run_file(L, s->path);
    int r = lua_gettop(L);
    take_hooks(L, r);
    c->root = sail__lua_to_node(L, r, s->nodes, "", true);
    lua_pushnil(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "sail.origins");
    return 0;
}

static sail_code read_recipe(sail_ctx *ctx, sail_arena *a, const char *path, sail_node **out, sail__hooks *hooks, sail_err *err)
{
    sail__lua *s = sail__lua_new(ctx, path);
    if (!s)
        return sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", path);
    read_call c = {0};
    s->nodes = a;
    s->reading = true;
    sail_code code = sail__lua_call(s, read_body, &c, err);
    s->reading = false;
    s->nodes = NULL;
    if (code != SAIL_OK) /* a recipe that fails while it is read is wrong, whatever it failed with */
        return code == SAIL_E_NOMEM ? code : (err->code = SAIL_E_RECIPE);
    *out = c.root;
    memset(hooks, 0, sizeof *hooks);
    hooks->user = s;
    hooks->call_schedule = call_schedule;
    hooks->make_tables = sail__lua_make_tables;
    hooks->state_save = state_save;
    hooks->state_load = state_load;
    hooks->on_step = s->on_step != LUA_NOREF ? on_step : NULL;
    hooks->on_checkpoint = s->on_checkpoint != LUA_NOREF ? on_checkpoint : NULL;
    hooks->on_rollout = s->on_rollout != LUA_NOREF ? on_rollout : NULL;
    return SAIL_OK;
}

bool sail__lua_install(sail_ctx *ctx) { return sail__recipe_set_lua(ctx, read_recipe); }
