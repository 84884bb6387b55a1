/* bind_strategy.c - strategies in Lua: sail.strategy {plan = …, prompts = …, responses = …}; a bare function is `responses`.
 *
 * Slots, prompts and places are counted from 1 here. Routes are the recipe's (method.routes), whose numbers may be functions. */
#include "state.h"

#include <math.h>
#include <string.h>

#include "sail/strategy.h"

static const char *const functions[] = {"plan", "prompts", "responses", NULL};

int sail__lua_strategy_check(lua_State *L, int table)
{
    int n = 0;
    lua_pushnil(L);
    while (lua_next(L, table)) {
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        bool known = !strcmp(key, "name");
        for (int i = 0; functions[i]; i++)
            if (!strcmp(key, functions[i])) {
                known = true;
                n++;
                if (lua_type(L, -1) != LUA_TFUNCTION)
                    return luaL_error(L, "sail.strategy: `%s` must be a function, not a %s", key, luaL_typename(L, -1));
            }
        if (!known)
            return luaL_error(L, "sail.strategy has no `%s`; it has plan, prompts, responses and name", key);
        lua_pop(L, 1);
    }
    return n ? 0 : luaL_error(L, "sail.strategy {plan = function …, prompts = function …, responses = function …}: none of the functions is there");
}

/* The function on the stack; false where the strategy has none. */
static bool push_function(lua_State *L, const sail__lua_plugin *p, const char *name)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->function);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
    return lua_type(L, -1) == LUA_TFUNCTION;
}

static void set_number(lua_State *L, const char *name, double v)
{
    if (isnan(v))
        return;
    lua_pushnumber(L, v);
    lua_setfield(L, -2, name);
}

static void set_integer(lua_State *L, const char *name, int64_t v)
{
    lua_pushinteger(L, v);
    lua_setfield(L, -2, name);
}

/* What a choice may draw: c.random() gives the next number in (0, 1) of this prompt. */
static int random_of(lua_State *L)
{
    const lua_Integer n = lua_tointeger(L, lua_upvalueindex(4));
    lua_pushinteger(L, n + 1);
    lua_replace(L, lua_upvalueindex(4));
    lua_pushnumber(L, sail_rng_uniform((uint64_t)lua_tointeger(L, lua_upvalueindex(1)), SAIL_RNG_CHOICE, (uint64_t)lua_tointeger(L, lua_upvalueindex(2)),
                                       (uint64_t)lua_tointeger(L, lua_upvalueindex(3)), (uint64_t)n));
    return 1;
}

static void set_moment(lua_State *L, const sail_moment *at)
{
    set_integer(L, "step", at->step);
    lua_pushinteger(L, (lua_Integer)at->seed);
    lua_pushinteger(L, at->step);
    lua_pushinteger(L, at->index);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, random_of, 4);
    lua_setfield(L, -2, "random");
}

/* A list of different numbers from 1 to `last` on top of the stack, as indices from 0: at most `most`; how many there
 * are. What is wrong is told in Lua's numbers. */
static int64_t take_list(lua_State *L, const char *what, int64_t last, int64_t *out, int64_t most)
{
    if (!lua_istable(L, -1))
        return luaL_error(L, "%s must return a list of numbers from 1; it gave a %s", what, luaL_typename(L, -1));
    const int64_t n = (int64_t)lua_rawlen(L, -1);
    for (int64_t i = 0; i < n && i < most; i++) {
        if (lua_rawgeti(L, -1, i + 1) != LUA_TNUMBER || !lua_isinteger(L, -1))
            return luaL_error(L, "%s: entry %d of what it returns is no whole number", what, (int)i + 1);
        out[i] = lua_tointeger(L, -1) - 1;
        if (out[i] < 0 || out[i] >= last)
            return luaL_error(L, "%s: entry %d of what it returns is %I; there are 1 to %I", what, (int)i + 1,
                              (LUAI_UACINT)(out[i] + 1), (LUAI_UACINT)last);
        for (int64_t k = 0; k < i && most <= 4096; k++) /* longer lists: whoever asked looks */
            if (out[k] == out[i])
                return luaL_error(L, "%s: entries %d and %d of what it returns are both %I; different ones are wanted",
                                  what, (int)k + 1, (int)i + 1, (LUAI_UACINT)(out[i] + 1));
        lua_pop(L, 1);
    }
    return n;
}

/* ---- plan ---- */

typedef struct plan_call {
    const sail__lua_plugin *plugin;
    int64_t step;
    sail_plan *plan;
} plan_call;

static int64_t planned(lua_State *L, const char *name, int64_t was)
{
    const int type = lua_getfield(L, -1, name);
    const lua_Number x = lua_tonumber(L, -1);
    lua_pop(L, 1);
    if (type == LUA_TNIL)
        return was;
    if (type != LUA_TNUMBER || x != floor(x) || fabs(x) > 1e15)
        return luaL_error(L, "plan: `%s` must be a whole number", name);
    return (int64_t)x;
}

static int plan_body(lua_State *L)
{
    plan_call *c = lua_touserdata(L, 1);
    if (!push_function(L, c->plugin, "plan"))
        return 0;
    lua_pushinteger(L, c->step);
    lua_call(L, 1, 1);
    if (!lua_istable(L, -1))
        return luaL_error(L, "plan must return a table such as {responses = 4, pool = 1}; it gave a %s", luaL_typename(L, -1));
    static const char *const keys[] = {"responses", "pool", "judged", "replay", "keep", "age", NULL};
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        int i = 0;
        while (keys[i] && (lua_type(L, -2) != LUA_TSTRING || strcmp(lua_tostring(L, -2), keys[i]) != 0))
            i++;
        if (!keys[i])
            return luaL_error(L, "plan has responses, pool, judged, replay, keep and age, but not what it returned");
        lua_pop(L, 1);
    }
    c->plan->responses = (int32_t)planned(L, "responses", c->plan->responses);
    c->plan->pool = planned(L, "pool", c->plan->pool);
    c->plan->keep = planned(L, "keep", c->plan->keep);
    c->plan->age = planned(L, "age", c->plan->age);
    lua_getfield(L, -1, "judged");
    c->plan->judged = lua_toboolean(L, -1);
    if (lua_getfield(L, -2, "replay") != LUA_TNIL)
        c->plan->replay = luaL_checknumber(L, -1);
    return 0;
}

static sail_code plan(const void *self, int64_t step, sail_plan *p, sail_err *err)
{
    plan_call c = {self, step, p};
    return sail__lua_call(c.plugin->s, plan_body, &c, err);
}

/* ---- prompts ---- */

typedef struct prompts_call {
    const sail__lua_plugin *plugin;
    const sail_moment *at;
    const sail_prompt *prompts;
    int64_t n, want, *chosen;
} prompts_call;

static int prompts_body(lua_State *L)
{
    prompts_call *c = lua_touserdata(L, 1);
    if (!push_function(L, c->plugin, "prompts"))
        return luaL_error(L, "the plan looks at more prompts than are used, but the strategy has no function `prompts` that chooses");
    lua_createtable(L, (int)c->n, 2);
    for (int64_t i = 0; i < c->n; i++) {
        const sail_prompt *p = &c->prompts[i];
        lua_createtable(L, 0, 4);
        set_integer(L, "tokens", p->tokens);
        set_integer(L, "visits", p->visits);
        set_number(L, "margin", p->margin);
        set_number(L, "gap", p->gap);
        lua_rawseti(L, -2, i + 1);
    }
    set_moment(L, c->at);
    lua_pushinteger(L, c->want);
    lua_call(L, 2, 1);
    const int64_t n = take_list(L, "prompts", c->n, c->chosen, c->want);
    if (n != c->want)
        return luaL_error(L, "prompts must choose %d of them; it chose %d", (int)c->want, (int)n);
    return 0;
}

static sail_code prompts(const void *self, const sail_moment *at, const sail_prompt *p, int64_t n, int64_t want, int64_t *chosen, sail_err *err)
{
    prompts_call c = {self, at, p, n, want, chosen};
    return sail__lua_call(c.plugin->s, prompts_body, &c, err);
}

/* ---- responses ---- */

typedef struct responses_call {
    const sail__lua_plugin *plugin;
    const sail_moment *at;
    const sail_candidates *c;
    int *slot, *n;
} responses_call;

/* c.entropy(i, j): of the policy's preference between two of the responses, nats. */
static int entropy_of(lua_State *L)
{
    const responses_call *r = lua_touserdata(L, lua_upvalueindex(1));
    double p[3] = {0}, h = 0, score[2];
    sail_err err = {0};
    for (int i = 0; i < 2; i++) {
        const lua_Integer k = luaL_checkinteger(L, i + 1);
        luaL_argcheck(L, k >= 1 && k <= r->c->k, i + 1, "there is no such response");
        score[i] = r->c->reward[k - 1];
    }
    if (sail_preference_probabilities(&r->c->preference, 2, score, p, &err) != SAIL_OK)
        return sail__lua_raise(L, "", &err);
    for (int i = 0; i < 3; i++)
        h -= p[i] > 0 ? p[i] * log(p[i]) : 0;
    lua_pushnumber(L, h);
    return 1;
}

static void set_numbers(lua_State *L, const char *name, const double *x, int k)
{
    lua_createtable(L, k, 0);
    for (int i = 0; i < k; i++)
        if (!isnan(x[i])) {
            lua_pushnumber(L, x[i]);
            lua_rawseti(L, -2, i + 1);
        }
    lua_setfield(L, -2, name);
}

static int responses_body(lua_State *L)
{
    responses_call *r = lua_touserdata(L, 1);
    const sail_candidates *c = r->c;
    int64_t slot[SAIL_MAX_RESPONSES];
    if (!push_function(L, r->plugin, "responses")) {
        for (int k = 0; k < c->k; k++)
            r->slot[k] = k;
        *r->n = c->k;
        return 0;
    }
    lua_createtable(L, 0, 12);
    set_integer(L, "k", c->k);
    lua_pushstring(L, c->route);
    lua_setfield(L, -2, "route");
    lua_pushboolean(L, c->labeller == SAIL_BY_JUDGE);
    lua_setfield(L, -2, "judged");
    lua_createtable(L, c->k, 0);
    lua_createtable(L, c->k, 0);
    for (int i = 0; i < c->k; i++) {
        lua_pushinteger(L, c->tokens[i]);
        lua_rawseti(L, -3, i + 1);
        if (c->place[i] < 0)
            continue;
        lua_pushinteger(L, c->place[i] + 1);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -3, "place");
    lua_setfield(L, -2, "tokens");
    set_numbers(L, "logp", c->logp, c->k);
    set_numbers(L, "reward", c->reward, c->k);
    set_numbers(L, "score", c->score, c->k);
    set_moment(L, r->at);
    lua_pushlightuserdata(L, r);
    lua_pushcclosure(L, entropy_of, 1);
    lua_setfield(L, -2, "entropy");
    lua_call(L, 1, 1);
    const int64_t n = take_list(L, "responses", c->k, slot, c->k);
    for (int i = 0; i < n && i < c->k; i++)
        r->slot[i] = (int)slot[i];
    *r->n = n > c->k ? c->k + 1 : (int)n;
    return 0;
}

static sail_code responses(const void *self, const sail_moment *at, const sail_candidates *c, int *slot, int *n, sail_err *err)
{
    responses_call r = {self, at, c, slot, n};
    return sail__lua_call(r.plugin->s, responses_body, &r, err);
}

const sail_strategy sail__lua_strategy = {.size = sizeof sail__lua_strategy, .plan = plan, .prompts = prompts, .responses = responses};
