/* sandbox.c - one Lua state: what it may see, and how much memory, time and how many instructions it may take.
 *
 * The hook that counts instructions does not fire inside C functions, and finalisers run with hooks off. So every C function
 * that a recipe can reach takes time linear in the memory it touches, or counts its own steps (pattern.c, library.c); and
 * finalisers (__gc) and coroutines are left out. */
#include "state.h"

#include <lualib.h>
#include <string.h>
#include <time.h>

enum { EVERY = 100, MAX_REFUSALS = 64, MAX_MODULE = 1 << 20 };

static double cpu_now(void)
{
    struct timespec t;
    return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0 ? (double)t.tv_sec + 1e-9 * (double)t.tv_nsec : 0;
}

/* ---- memory ---- */

static void *allocate(void *ud, void *p, size_t old, size_t size)
{
    sail__lua *s = ud;
    if (!p)
        old = 0; /* then it is the kind of object */
    if (size == 0) {
        sail__free(p);
        s->memory -= old;
        return NULL;
    }
    if (size > old && s->memory + s->tape_bytes + (size - old) > SAIL__LUA_BYTES) {
        s->refusals++;
        return NULL;
    }
    void *q = sail__realloc(p, size);
    if (q)
        s->memory += size - old;
    return q;
}

/* ---- stopping ---- */

static void watch(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    sail__lua *s = sail__lua_of(L);
    s->instructions += EVERY;
    if (s->instructions > SAIL__LUA_INSTRUCTIONS)
        sail__lua_stop(L, "it ran too many instructions; is there an endless loop?");
    sail__lua_tick(L);
}

int sail__lua_stop(lua_State *L, const char *reason)
{
    sail__lua *s = sail__lua_of(L);
    if (!s->stopped) {
        s->stopped = reason;
        s->stopped_at[0] = '\0';
        lua_Debug ar;
        for (int level = 0; lua_getstack(L, level, &ar); level++)
            if (lua_getinfo(L, "Sl", &ar) && ar.currentline > 0) {
                snprintf(s->stopped_at, sizeof s->stopped_at, "%s:%d: ", ar.short_src, ar.currentline);
                break;
            }
    }
    lua_sethook(L, watch, LUA_MASKCOUNT, 1); /* whoever catches the error gets it again at the next instruction */
    lua_pushlightuserdata(L, s);
    return lua_error(L);
}

void sail__lua_tick(lua_State *L)
{
    sail__lua *s = sail__lua_of(L);
    if (s->stopped)
        sail__lua_stop(L, s->stopped);
    if (s->refusals > MAX_REFUSALS || s->memory + s->tape_bytes > SAIL__LUA_BYTES)
        sail__lua_stop(L, "it needs more than 64 MB of memory");
    /* Time on the wall is cheap to read; only time that was worked counts. */
    if (sail__now() > s->wall_end) {
        double left = s->cpu_end - cpu_now();
        if (left <= 0)
            sail__lua_stop(L, "it took longer than a second; is there an endless loop?");
        s->wall_end = sail__now() + left;
    }
}

int sail__lua_no_memory(lua_State *L)
{
    sail__lua_of(L)->starved = true;
    return luaL_error(L, "out of memory");
}

int sail__lua_raise(lua_State *L, const char *before, const sail_err *err)
{
    sail__lua_of(L)->starved |= err->code == SAIL_E_NOMEM;
    return luaL_error(L, "%s%s", before, err->message);
}

/* ---- calling ---- */

/* Message handler: text, with where it came from. */
static int explain(lua_State *L)
{
    if (sail__lua_of(L)->stopped)
        return 1;
    const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : luaL_tolstring(L, 1, NULL);
    static const char nowhere[] = "\nstack traceback:\n\t[C]: in ?"; /* no line of Lua's was running */
    const size_t end = sizeof nowhere - 1;
    size_t n;
    luaL_traceback(L, L, text, 1);
    const char *whole = lua_tolstring(L, -1, &n);
    if (n > end && strcmp(whole + n - end, nowhere) == 0)
        lua_pushlstring(L, whole, n - end);
    return 1;
}

static sail_code report(sail__lua *s, int rc, sail_err *err)
{
    lua_State *L = s->L;
    if (s->stopped)
        return sail_fail(err, SAIL_E_LIMIT, "%s: %sstopped: %s", s->path, s->stopped_at, s->stopped);
    if (rc == LUA_ERRMEM || s->starved)
        return sail_fail(err, s->refusals ? SAIL_E_LIMIT : SAIL_E_NOMEM, "%s: %s", s->path,
                         s->refusals ? "stopped: it needs more than 64 MB of memory" : "out of memory");
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "an error without a message";
    const char *base = sail__path_base(s->path);
    bool named = strstr(text, base) != NULL;
    return sail_fail(err, SAIL_E_LUA, "%s%s%s", named ? "" : s->path, named ? "" : ": ", text);
}

sail_code sail__lua_call(sail__lua *s, lua_CFunction body, void *arg, sail_err *err)
{
    lua_State *L = s->L;
    int top = lua_gettop(L);
    bool outer = s->depth == 0;
    if (outer) {
        s->stopped = NULL;
        s->refusals = 0;
        s->starved = false;
        s->instructions = 0;
        s->tape_bytes = 0;
        s->wall_end = sail__now() + SAIL__LUA_SECONDS;
        s->cpu_end = cpu_now() + SAIL__LUA_SECONDS;
        lua_sethook(L, watch, LUA_MASKCOUNT, EVERY);
    }
    if (s->depth >= 100 || !lua_checkstack(L, 8))
        return sail_fail(err, SAIL_E_LIMIT, "%s: calls nested too deeply", s->path);
    s->depth++;
    lua_pushcfunction(L, explain);
    lua_pushcfunction(L, body);
    lua_pushlightuserdata(L, arg);
    int rc = lua_pcall(L, 1, 0, top + 1);
    sail_code c = rc == LUA_OK ? SAIL_OK : report(s, rc, err);
    /* A stop that a pcall caught just before the end is a stop all the same. */
    if (c == SAIL_OK && s->stopped)
        c = report(s, LUA_ERRRUN, err);
    lua_settop(L, top);
    s->depth--;
    if (outer) {
        lua_sethook(L, NULL, 0, 0);
        s->tape_bytes = 0;
        if (s->refusals)
            lua_gc(L, LUA_GCCOLLECT);
    }
    return c;
}

/* ---- what a recipe may see ---- */

void sail__lua_load(lua_State *L, const char *text, size_t n, const char *name)
{
    if (n > 0 && text[0] == LUA_SIGNATURE[0])
        luaL_error(L, "%s: this is compiled Lua; a recipe must be text", name + (*name == '@'));
    if (luaL_loadbufferx(L, text, n, name, "t") != LUA_OK)
        lua_error(L);
}

static int set_metatable(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (!lua_isnil(L, 2) && !lua_istable(L, 2))
        return luaL_argerror(L, 2, "a table or nil is wanted");
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "this metatable cannot be changed");
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "__gc"); /* finalisers run where no limit reaches them */
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(L, "a recipe's tables have no finalisers (__gc)");
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

/* xpcall whose handler runs after the error has been caught: inside it, where Lua runs it, no hook fires once the hook
 * itself has raised the error, and an endless handler would never be stopped. */
static int xpcall(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 1);
    int n = lua_gettop(L) - 3;
    lua_insert(L, 3);
    if (lua_pcall(L, n, LUA_MULTRET, 0) == LUA_OK) {
        lua_pushboolean(L, 1);
        lua_insert(L, 3);
        return lua_gettop(L) - 2;
    }
    sail__lua_tick(L);
    lua_pushvalue(L, 2);
    lua_insert(L, -2);
    lua_pcall(L, 1, 1, 0); /* the handler's own error takes the place of its result */
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

static int print(lua_State *L)
{
    luaL_Buffer b;
    int n = lua_gettop(L);
    luaL_buffinit(L, &b);
    for (int i = 1; i <= n; i++) {
        if (i > 1)
            luaL_addchar(&b, '\t');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&b);
    }
    luaL_pushresult(&b);
    sail_log(sail__lua_of(L)->ctx, SAIL_LOG_INFO, "%s", lua_tostring(L, -1));
    return 0;
}

/* Only letters, digits, _ and -, in parts joined by dots: a module cannot lie outside of the recipe's directory. */
static bool module_path(const char *name, char *out, size_t size)
{
    size_t n = strlen(name);
    if (n == 0 || n + 5 > size)
        return false;
    for (size_t i = 0; i <= n; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (i < n && !letter && !(c == '.' && i > 0 && name[i - 1] != '.'))
            return false;
        out[i] = c == '.' ? '/' : c;
    }
    memcpy(out + n, ".lua", 5);
    return true;
}

/* Where a module is loaded: its text must not be lost when loading raises. */
static int require(lua_State *L)
{
    sail__lua *s = sail__lua_of(L);
    const char *name = luaL_checkstring(L, 1);
    char file[300];
    lua_settop(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, "sail.modules");
    if (lua_getfield(L, 2, name) != LUA_TNIL)
        return 1;
    lua_pop(L, 1);
    if (!module_path(name, file, sizeof file))
        return luaL_error(L, "require \"%s\": a recipe can require \"sail\", and modules in its own directory by name", name);
    const char *path = lua_pushfstring(L, "%s/%s", s->dir, file);
    char *text = NULL;
    size_t n = 0;
    sail_err err = {0};
    if (sail__file_read(path, MAX_MODULE, &text, &n, &err) != SAIL_OK)
        return sail__lua_raise(L, lua_pushfstring(L, "require \"%s\": ", name), &err);
    lua_pushfstring(L, "@%s", path);
    int rc = n > 0 && text[0] == LUA_SIGNATURE[0] ? LUA_ERRSYNTAX : luaL_loadbufferx(L, text, n, lua_tostring(L, -1), "t");
    bool bytecode = n > 0 && text[0] == LUA_SIGNATURE[0];
    sail__free(text);
    if (bytecode)
        return luaL_error(L, "%s: this is compiled Lua; a module must be text", path);
    if (rc != LUA_OK)
        return lua_error(L);
    lua_pushboolean(L, 1); /* a module that requires itself gets true */
    lua_setfield(L, 2, name);
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, 2, name);
    return 1;
}

static void remove_fields(lua_State *L, const char *table, const char *const *names)
{
    lua_getglobal(L, table);
    for (; *names; names++) {
        lua_pushnil(L);
        lua_setfield(L, -2, *names);
    }
    lua_pop(L, 1);
}

static void open_library(lua_State *L, const char *name, lua_CFunction open)
{
    luaL_requiref(L, name, open, 1);
    lua_pop(L, 1);
}

static int build(lua_State *L)
{
    static const char *const base[] = {"dofile", "loadfile", "load", "collectgarbage", "warn", NULL};
    static const char *const random[] = {"random", "randomseed", NULL}; /* recipes are functions of their arguments */
    static const char *const string[] = {"dump", "pack", "unpack", "packsize", NULL};
    static const luaL_Reg own[] = {{"setmetatable", set_metatable}, {"xpcall", xpcall}, {"print", print}, {"require", require}, {NULL, NULL}};
    open_library(L, "_G", luaopen_base);
    open_library(L, "string", luaopen_string);
    open_library(L, "table", luaopen_table);
    open_library(L, "math", luaopen_math);
    open_library(L, "utf8", luaopen_utf8);
    remove_fields(L, "_G", base);
    remove_fields(L, "math", random);
    remove_fields(L, "string", string);
    lua_pushglobaltable(L);
    luaL_setfuncs(L, own, 0);
    lua_pop(L, 1);
    sail__lua_open_pattern(L);
    sail__lua_open_library(L);
    sail__lua_open_tape(L);
    lua_newtable(L);
    lua_newtable(L);
    sail__lua_open_recipe(L);
    sail__lua_open_plugin(L);
    lua_setfield(L, -2, "sail");
    lua_setfield(L, LUA_REGISTRYINDEX, "sail.modules");
    lua_newtable(L);
    sail__lua_of(L)->state_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

/* ---- the context's states ---- */

typedef struct states {
    sail__lua *first;
} states;

static void free_state(sail__lua *s)
{
    if (s->L)
        lua_close(s->L);
    sail__arena_free(s->arena);
    sail__free(s);
}

static void free_states(void *p)
{
    states *all = p;
    while (all->first) {
        sail__lua *s = all->first;
        all->first = s->next;
        free_state(s);
    }
    sail__free(all);
}

static states *states_of(sail_ctx *ctx)
{
    states *all = sail__ctx_get(ctx, SAIL_CTX_LUA);
    if (!all && (all = sail__calloc(1, sizeof *all)))
        sail__ctx_set(ctx, SAIL_CTX_LUA, all, free_states);
    return all;
}

/* Errors outside of a protected call cannot happen; were there one, this says where to look. */
static int panic(lua_State *L)
{
    sail_log(sail__lua_of(L)->ctx, SAIL_LOG_ERROR, "error in sail itself: Lua raised outside of a call");
    return 0;
}

sail__lua *sail__lua_new(sail_ctx *ctx, const char *path)
{
    states *all = states_of(ctx);
    sail__lua *s = all ? sail__calloc(1, sizeof *s) : NULL;
    if (!s)
        return NULL;
    s->ctx = ctx;
    s->state_ref = s->on_step = s->on_checkpoint = s->on_rollout = LUA_NOREF;
    s->arena = sail__arena_new();
    s->path = s->arena ? sail__arena_strdup(s->arena, path) : NULL;
    s->dir = s->path ? sail__path_dir(s->arena, path) : NULL;
    s->L = s->dir ? lua_newstate(allocate, s) : NULL;
    if (s->L) {
        *(sail__lua **)lua_getextraspace(s->L) = s;
        lua_atpanic(s->L, panic);
    }
    sail_err err = {0};
    if (!s->L || sail__lua_call(s, build, NULL, &err) != SAIL_OK) {
        free_state(s);
        return NULL;
    }
    s->next = all->first;
    all->first = s;
    return s;
}
