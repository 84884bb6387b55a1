/* bind_plugin.c - objectives, preference models and judges in Lua: plugins of the context like those in C.
 *
 * Slots, outcomes and pairs are counted from 1 here, as lists in Lua are; C counts them from 0. */
#include "state.h"

#include <math.h>
#include <string.h>

#define PLUGIN "sail.plugin"
#define OUTCOMES "sail.outcomes"

typedef sail__lua_plugin lua_plugin;

/* What stands in a recipe's table for a plugin. */
typedef struct handle {
    sail_kind kind;
    char name[64];
} handle;

/* ---- the batch that an objective sees ---- */

typedef struct sail__lua_loss {
    const lua_plugin *plugin;
    const sail_pairs *b;
    sail_loss *out;
    double *record; /* prepare: where F is written; NULL in loss */
    bool asked;     /* b.baseline was called */
} sail__lua_loss;

static sail__lua_loss *running(lua_State *L)
{
    sail__lua_loss *c = sail__lua_of(L)->loss;
    if (!c)
        luaL_error(L, "the batch exists inside an objective only");
    return c;
}

static void push_outcomes(lua_State *L, const int32_t *outcome, int64_t n)
{
    int32_t *copy = lua_newuserdatauv(L, (size_t)(n ? n : 1) * sizeof *copy, 0);
    memcpy(copy, outcome, (size_t)n * sizeof *copy);
    luaL_setmetatable(L, OUTCOMES);
}

static const int32_t *outcomes_at(lua_State *L, int i, int64_t *n)
{
    const int32_t *o = luaL_checkudata(L, i, OUTCOMES);
    *n = (int64_t)(lua_rawlen(L, i) / sizeof *o);
    return o;
}

/* b.outcome[i], and b.outcome:is(k). */
static int outcomes_is(lua_State *L)
{
    int64_t n;
    const int32_t *o = outcomes_at(L, 1, &n);
    lua_Integer k = luaL_checkinteger(L, 2);
    const sail_pairs *b = running(L)->b;
    luaL_argcheck(L, n == b->n, 1, "these outcomes belong to another batch");
    double *x = lua_newuserdatauv(L, (size_t)(n ? n : 1) * sizeof *x, 0);
    for (int64_t i = 0; i < n; i++)
        x[i] = o[i] >= 0 && o[i] == k - 1 ? 1.0 : 0.0;
    sail__lua_push_var(L, sail_tape_constant(b->tape, SAIL_PAIR, n, x));
    return 1;
}

static int outcomes_index(lua_State *L)
{
    int64_t n;
    const int32_t *o = outcomes_at(L, 1, &n);
    if (lua_type(L, 2) == LUA_TSTRING && !strcmp(lua_tostring(L, 2), "is")) {
        lua_pushcfunction(L, outcomes_is);
        return 1;
    }
    lua_Integer i = luaL_checkinteger(L, 2);
    if (i < 1 || i > n || o[i - 1] == SAIL_ABSTAIN)
        lua_pushnil(L);
    else
        lua_pushinteger(L, o[i - 1] + 1);
    return 1;
}

static int outcomes_length(lua_State *L)
{
    int64_t n;
    outcomes_at(L, 1, &n);
    lua_pushinteger(L, n);
    return 1;
}

/* b.preference:logprob(scores, outcome): outcome is b.outcome, b.reversed, or one number for all pairs. */
static int preference_logprob(lua_State *L)
{
    const sail_pairs *b = running(L)->b;
    sail_var scores = sail__lua_check_var(L, 2);
    const int32_t *outcome;
    int64_t n = b->n;
    if (lua_isinteger(L, 3)) {
        int32_t *same = lua_newuserdatauv(L, (size_t)(n ? n : 1) * sizeof *same, 0);
        for (int64_t i = 0; i < n; i++)
            same[i] = (int32_t)(lua_tointeger(L, 3) - 1);
        luaL_argcheck(L, lua_tointeger(L, 3) >= 1 && lua_tointeger(L, 3) < 1 << 20, 3, "outcomes are counted from 1");
        outcome = same;
    } else {
        outcome = outcomes_at(L, 3, &n);
        luaL_argcheck(L, n == b->n, 3, "these outcomes belong to another batch");
    }
    bool vectors = b->width > 1 && scores.id == b->scores.id; /* a reward model's, which b.scores stand for */
    sail__lua_push_var(L, vectors ? sail_preference_logprob_of(b->tape, &b->preference, b->width, b->head, outcome)
                                  : sail_preference_logprob(b->tape, &b->preference, scores, outcome));
    return 1;
}

static int preference_entropy(lua_State *L)
{
    const sail_pairs *b = running(L)->b;
    sail_var scores = sail__lua_check_var(L, 2);
    bool vectors = b->width > 1 && scores.id == b->scores.id;
    sail__lua_push_var(L, vectors ? sail_preference_entropy_of(b->tape, &b->preference, b->width, b->head)
                                  : sail_preference_entropy(b->tape, &b->preference, scores));
    return 1;
}

/* b.baseline(F). While the step is prepared it takes F down; afterwards it gives what was made of it. */
static int baseline(lua_State *L)
{
    sail__lua_loss *c = running(L);
    const sail_pairs *b = c->b;
    sail_var f = sail__lua_check_var(L, 1);
    if (sail_domain_of(b->tape, f) != SAIL_PAIR)
        return luaL_argerror(L, 1, "one value a pair is wanted");
    if (c->asked)
        return luaL_error(L, "b.baseline can be asked once in an objective");
    c->asked = true;
    double *x = lua_newuserdatauv(L, (size_t)(b->n ? b->n : 1) * sizeof *x, 0);
    for (int64_t i = 0; i < b->n; i++)
        x[i] = !c->record && b->baseline ? b->baseline[i] : 0;
    if (c->record)
        memcpy(c->record, sail_value_of(b->tape, f), (size_t)b->n * sizeof *x);
    sail__lua_push_var(L, sail_tape_constant(b->tape, SAIL_PAIR, b->n, x));
    return 1;
}

static void set_var(lua_State *L, const char *name, sail_var v)
{
    if (v.id <= 0) /* what only some batches have: a reward model's have no log-probabilities */
        return;
    sail__lua_push_var(L, v);
    lua_setfield(L, -2, name);
}

static void push_side(lua_State *L, const sail_side *s)
{
    lua_createtable(L, 0, 5);
    set_var(L, "logp", s->logp);
    set_var(L, "ref", s->ref);
    set_var(L, "rho", s->rho);
    set_var(L, "score", s->score);
    set_var(L, "length", s->length);
}

/* b.sides(): winner, loser, decided. */
static int sides(lua_State *L)
{
    const sail_pairs *b = running(L)->b;
    sail_side winner, loser;
    sail_var decided;
    sail_labelled_sides(b->tape, b, &winner, &loser, &decided);
    push_side(L, &winner);
    push_side(L, &loser);
    sail__lua_push_var(L, decided);
    return 3;
}

static void set_coefficient(lua_State *L, const char *name, const sail_pairs *b, const double *x)
{
    set_var(L, name, sail_tape_constant(b->tape, SAIL_PAIR, b->n, x));
}

/* 1 for the pairs that `by` wrote or labelled. */
static void set_mask(lua_State *L, const char *name, const sail_pairs *b, const uint8_t *who, int by)
{
    double *x = lua_newuserdatauv(L, (size_t)(b->n ? b->n : 1) * sizeof *x, 0);
    for (int64_t i = 0; i < b->n; i++)
        x[i] = who[i] == by ? 1.0 : 0.0;
    sail__lua_push_var(L, sail_tape_constant(b->tape, SAIL_PAIR, b->n, x));
    lua_setfield(L, -3, name);
    lua_pop(L, 1);
}

/* 1 for the responses that one of two wrote. */
static void set_writers(lua_State *L, const char *name, const sail_pairs *b, int by, int or_by)
{
    const int64_t n = b->layout->responses;
    double *x = lua_newuserdatauv(L, (size_t)(n ? n : 1) * sizeof *x, 0);
    for (int64_t k = 0; k < n; k++)
        x[k] = b->response_writer[k] == by || b->response_writer[k] == or_by ? 1.0 : 0.0;
    sail__lua_push_var(L, sail_tape_constant(b->tape, SAIL_RESPONSE, n, x));
    lua_setfield(L, -3, name);
    lua_pop(L, 1);
}

static void set_integer(lua_State *L, const char *name, int64_t v)
{
    lua_pushinteger(L, v);
    lua_setfield(L, -2, name);
}

/* The judge's scores, 0 where there are none: a formula is not to meet a NaN on the pairs that it leaves out. */
static void push_scores(lua_State *L, const sail_pairs *b)
{
    const int64_t n = b->layout->responses;
    double *x = lua_newuserdatauv(L, (size_t)(n ? n : 1) * sizeof *x, 0);
    const double *given = sail_value_of(b->tape, b->judge_scores);
    for (int64_t k = 0; k < n; k++)
        x[k] = b->judge_scores.id > 0 && !isnan(given[k]) ? given[k] : 0;
    sail__lua_push_var(L, sail_tape_constant(b->tape, SAIL_RESPONSE, n, x));
    lua_setfield(L, -3, "judge_scores");
    lua_pop(L, 1);
}

static void push_batch(lua_State *L, const sail_pairs *b, uint32_t caps)
{
    static const luaL_Reg preference[] = {{"logprob", preference_logprob}, {"entropy", preference_entropy}, {NULL, NULL}};
    lua_newtable(L);
    set_integer(L, "n", b->n);
    set_integer(L, "first", b->first + 1);
    set_integer(L, "step", b->step);
    lua_pushnumber(L, b->beta);
    lua_setfield(L, -2, "beta");
    lua_pushnumber(L, b->max_margin);
    lua_setfield(L, -2, "max_margin");
    set_var(L, "logp", b->logp);
    set_var(L, "whole_logp", b->whole_logp);
    set_var(L, "ref", b->ref);
    set_var(L, "rho", b->rho);
    set_var(L, "drawn", b->drawn);
    set_var(L, "scores", b->scores);
    set_var(L, "length", b->length);
    set_var(L, "margin", b->margin);
    lua_createtable(L, 0, 4);
    set_var(L, "logp", b->token_logp);
    set_var(L, "ref", b->token_ref);
    set_var(L, "drawn", b->token_drawn);
    set_var(L, "old", b->token_old);
    if (caps & SAIL_CAP_ENTROPY)
        set_var(L, "entropy", b->token_entropy);
    if (caps & SAIL_CAP_LSS)
        set_var(L, "lss", b->token_lss);
    lua_setfield(L, -2, "tokens");
    if (b->has_sides) {
        push_side(L, &b->chosen);
        lua_setfield(L, -2, "chosen");
        push_side(L, &b->rejected);
        lua_setfield(L, -2, "rejected");
    }
    push_outcomes(L, b->outcome, b->n);
    lua_setfield(L, -2, "outcome");
    push_outcomes(L, b->reversed, b->n);
    lua_setfield(L, -2, "reversed");
    set_coefficient(L, "coef_written", b, b->coef_written);
    set_coefficient(L, "coef_labelled", b, b->coef_labelled);
    set_mask(L, "written", b, b->writer, SAIL_BY_POLICY);
    set_mask(L, "labelled", b, b->labeller, SAIL_BY_POLICY);
    set_mask(L, "judged", b, b->labeller, SAIL_BY_JUDGE);
    set_writers(L, "by_policy", b, SAIL_BY_POLICY, SAIL_BY_POLICY);
    set_writers(L, "by_rival", b, SAIL_BY_REFERENCE, SAIL_BY_MIXTURE);
    push_scores(L, b);
    set_var(L, "mismatched_rho", b->mismatched_rho);
    set_var(L, "prompt_logp", b->prompt_logp);
    luaL_newlib(L, preference);
    lua_pushstring(L, b->preference.name);
    lua_setfield(L, -2, "name");
    lua_setfield(L, -2, "preference");
    lua_pushcfunction(L, sides);
    lua_setfield(L, -2, "sides");
    lua_pushcfunction(L, baseline);
    lua_setfield(L, -2, "baseline");
}

/* ---- objectives ---- */

/* A text that lives as long as the state: metrics are told apart by their names' addresses as well as by their letters. */
static const char *intern(lua_State *L, const char *name)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, "sail.names");
    lua_getfield(L, -1, name);
    const char *s = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (!s) {
        s = sail__arena_strdup(sail__lua_of(L)->arena, name);
        if (!s)
            sail__lua_no_memory(L);
        lua_pushlightuserdata(L, (void *)s);
        lua_setfield(L, -2, name);
    }
    lua_pop(L, 1);
    return s;
}

/* The second result: {name = value, …}; per_pair is the loss of each pair. In the order of names. */
static void take_metrics(lua_State *L, int table, sail_loss *out)
{
    const char *names[SAIL_MAX_METRICS];
    int n = 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "metrics are a table {name = value}");
        const char *name = intern(L, lua_tostring(L, -2));
        if (!strcmp(name, "per_pair")) {
            out->per_pair = sail__lua_check_var(L, -1);
            continue;
        }
        if (n == SAIL_MAX_METRICS)
            luaL_error(L, "more than %d metrics", SAIL_MAX_METRICS);
        int i = n++;
        for (; i > 0 && strcmp(names[i - 1], name) > 0; i--)
            names[i] = names[i - 1];
        names[i] = name;
    }
    for (int i = 0; i < n; i++) {
        lua_getfield(L, table, names[i]);
        sail_loss_metric(out, names[i], sail__lua_check_var(L, -1));
        lua_pop(L, 1);
    }
}

static int loss_body(lua_State *L)
{
    sail__lua_loss *c = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->plugin->function);
    push_batch(L, c->b, c->plugin->description.caps);
    lua_call(L, 1, 2);
    if (c->record)
        return 0;
    if (!sail__lua_is_var(L, 2))
        return luaL_error(L, "an objective must return its loss, a value on the tape; it gave a %s", luaL_typename(L, 2));
    sail_var v = sail__lua_check_var(L, 2);
    if (sail_domain_of(c->b->tape, v) != SAIL_SCALAR)
        return luaL_error(L, "an objective must return one number (use :mean()); it gave %I values",
                          (LUAI_UACINT)sail_length_of(c->b->tape, v));
    c->out->loss = v;
    if (lua_istable(L, 3))
        take_metrics(L, 3, c->out);
    else if (!lua_isnil(L, 3))
        return luaL_error(L, "an objective's second result is a table of metrics; it gave a %s", luaL_typename(L, 3));
    return 0;
}

static sail_code run_objective(sail__lua_loss *c, sail_tape *t)
{
    sail__lua *s = c->plugin->s;
    sail_err err = {0};
    sail__lua_tape before = sail__lua_enter_tape(s, t);
    sail__lua_loss *outer = s->loss;
    s->loss = c;
    sail_code code = sail__lua_call(s, loss_body, c, &err);
    s->loss = outer;
    sail__lua_leave_tape(s, before);
    if (code != SAIL_OK)
        sail__lua_fail_tape(t, &err);
    return code;
}

static sail_code objective_loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    sail__lua_loss c = {.plugin = self, .b = b, .out = out};
    out->per_pair = (sail_var){-1};
    return run_objective(&c, t);
}

/* METHOD 3: over the pairs that the policy wrote. */
static sail_code objective_prepare(const void *self, sail_tape *t, const sail_pairs *b, double *state, double *out)
{
    const double decay = 0.9; /* as the objective `sail` has it */
    bool any = false;
    uint8_t *counts = sail__calloc((size_t)b->n + 1, 1);
    double *f = sail__calloc((size_t)b->n + 1, sizeof *f);
    for (int64_t i = 0; counts && i < b->n; i++) {
        out[i] = 0;
        counts[i] = b->writer[i] == SAIL_BY_POLICY && b->outcome[i] != SAIL_ABSTAIN;
        any |= counts[i] != 0;
    }
    sail_code code = SAIL_OK;
    if (!counts || !f)
        sail_tape_fail(t, code = SAIL_E_NOMEM, "no memory for %lld pairs", (long long)b->n);
    sail_loss ignored = {.size = sizeof ignored};
    sail__lua_loss c = {.plugin = self, .b = b, .out = &ignored, .record = f};
    if (code == SAIL_OK && any)
        code = run_objective(&c, t);
    if (code == SAIL_OK && c.asked)
        sail_baselines(b, counts, f, true, decay, state, out);
    sail__free(counts);
    sail__free(f);
    return code;
}

static void objective_needs(const void *self, const sail_pairs *b, uint8_t *mask)
{
    (void)self;
    for (int64_t i = 0; i < b->n; i++)
        mask[i] = b->writer[i] == SAIL_BY_POLICY;
}

static const sail_objective objective_ops = {
    .size = sizeof objective_ops, .loss = objective_loss, .prepare = objective_prepare, .prepare_needs = objective_needs};

/* ---- preference models ---- */

typedef struct logprob_call {
    const lua_plugin *plugin;
    int k, outcome;
    const sail_var *score;
    sail_tape *tape;
    sail_var result;
} logprob_call;

static int logprob_body(lua_State *L)
{
    logprob_call *c = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->plugin->function);
    lua_createtable(L, c->k, 0);
    for (int i = 0; i < c->k; i++) {
        sail__lua_push_var(L, c->score[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushinteger(L, c->outcome + 1);
    lua_pushinteger(L, c->k);
    lua_call(L, 3, 1);
    if (!sail__lua_is_var(L, -1))
        return luaL_error(L, "%s: logprob must return a value on the tape; it gave a %s", c->plugin->name, luaL_typename(L, -1));
    c->result = sail__lua_check_var(L, -1);
    if (sail_length_of(c->tape, c->result) != sail_length_of(c->tape, c->score[0]))
        return luaL_error(L, "%s: logprob must return as many values as a slot has, %I; it gave %I", c->plugin->name,
                          (LUAI_UACINT)sail_length_of(c->tape, c->score[0]), (LUAI_UACINT)sail_length_of(c->tape, c->result));
    return 0;
}

static sail_var preference_logprob_of(const void *self, sail_tape *t, int k, const sail_var *score, int outcome)
{
    const lua_plugin *p = self;
    logprob_call c = {.plugin = p, .k = k, .outcome = outcome, .score = score, .tape = t};
    if (sail_tape_status(t) != SAIL_OK)
        return score[0];
    sail_err err = {0};
    sail__lua_tape before = sail__lua_enter_tape(p->s, t);
    sail_code code = sail__lua_call(p->s, logprob_body, &c, &err);
    sail__lua_leave_tape(p->s, before);
    if (code == SAIL_OK)
        return c.result;
    sail__lua_fail_tape(t, &err);
    return score[0];
}

static int preference_outcomes(const void *self, int k)
{
    return k >= 2 && k <= SAIL_MAX_RESPONSES ? ((const lua_plugin *)self)->outcomes[k] : 0;
}

static const sail_preference preference_ops = {
    .size = sizeof preference_ops, .outcomes = preference_outcomes, .logprob = preference_logprob_of};

/* `outcomes` is asked once, while the recipe is read: it is a function of k alone. */
static void take_outcomes(lua_State *L, int table, lua_plugin *p)
{
    int type = table ? lua_getfield(L, table, "outcomes") : (lua_pushnil(L), LUA_TNIL);
    int f = lua_gettop(L);
    for (int k = 2; k <= SAIL_MAX_RESPONSES; k++) {
        int n = k == 2 ? 2 : 0;
        if (type != LUA_TNIL) {
            lua_pushvalue(L, f);
            if (type == LUA_TFUNCTION) {
                lua_pushinteger(L, k);
                lua_call(L, 1, 1);
            }
            if (lua_isinteger(L, -1))
                n = type == LUA_TFUNCTION || k == 2 ? (int)lua_tointeger(L, -1) : 0;
            else if (!lua_isnil(L, -1))
                luaL_error(L, "sail.preference: outcomes must be a whole number, or give one for k; it gave a %s",
                           luaL_typename(L, -1));
            else
                n = 0;
            lua_pop(L, 1);
        }
        if (n < 0 || n == 1 || n > 40320)
            luaL_error(L, "sail.preference: %d responses cannot have %d outcomes (none, or 2 to 40320)", k, n);
        p->outcomes[k] = n;
    }
    lua_settop(L, f - 1);
}

/* ---- judges ---- */

typedef struct label_call {
    const lua_plugin *plugin;
    const sail_judge_item *item;
    sail_verdict *out;
} label_call;

/* {score, …}, higher is better: a ranking; two equal ones are a tie. */
static void take_scores(lua_State *L, const lua_plugin *p, int k, sail_verdict *out)
{
    int order[SAIL_MAX_RESPONSES];
    if ((int)lua_rawlen(L, -1) != k)
        luaL_error(L, "%s: a judge must give a score for each of %d responses; it gave %d", p->name, k, (int)lua_rawlen(L, -1));
    for (int i = 0; i < k; i++) {
        lua_rawgeti(L, -1, i + 1);
        if (lua_type(L, -1) != LUA_TNUMBER || isnan(lua_tonumber(L, -1)))
            luaL_error(L, "%s: score %d of a judge must be a number", p->name, i + 1);
        out->score[i] = lua_tonumber(L, -1);
        lua_pop(L, 1);
        int j = i;
        for (; j > 0 && out->score[order[j - 1]] < out->score[i]; j--)
            order[j] = order[j - 1];
        order[j] = i;
    }
    out->outcome = k == 2 && out->score[0] == out->score[1] ? SAIL_TIE : sail_outcome_of_ranking(order, k, k);
}

static int label_body(lua_State *L)
{
    label_call *c = lua_touserdata(L, 1);
    const sail_judge_item *item = c->item;
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->plugin->function);
    lua_newtable(L);
    lua_pushstring(L, item->prompt ? item->prompt : "");
    lua_setfield(L, -2, "prompt");
    lua_pushstring(L, item->conversation ? item->conversation : "");
    lua_setfield(L, -2, "conversation");
    lua_createtable(L, item->k, 0);
    lua_createtable(L, item->k, 0);
    for (int i = 0; i < item->k; i++) {
        lua_pushstring(L, item->response[i]);
        lua_rawseti(L, -3, i + 1);
        lua_pushinteger(L, item->tokens ? item->tokens[i] : 0);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -3, "tokens");
    lua_setfield(L, -2, "responses");
    lua_call(L, 1, 1);
    int type = lua_type(L, -1);
    if (type == LUA_TTABLE)
        take_scores(L, c->plugin, item->k, c->out);
    else if (type == LUA_TSTRING && !strcmp(lua_tostring(L, -1), "tie") && item->k == 2)
        c->out->outcome = SAIL_TIE;
    else if (lua_isinteger(L, -1) && item->k == 2 && (lua_tointeger(L, -1) == 1 || lua_tointeger(L, -1) == 2))
        c->out->outcome = (int32_t)lua_tointeger(L, -1) - 1;
    else if (type != LUA_TNIL)
        return luaL_error(L, "%s: a judge must give a list of %d scores%s, or nil to abstain; it gave %s", c->plugin->name, item->k,
                          item->k == 2 ? ", the winner (1 or 2), \"tie\"" : "", luaL_tolstring(L, -1, NULL));
    return 0;
}

static sail_code judge_label(const void *self, void *state, const sail_judge_item *items, int64_t n, sail_verdict *out,
                             sail_err *err)
{
    (void)state;
    const lua_plugin *p = self;
    for (int64_t i = 0; i < n; i++) {
        out[i] = (sail_verdict){.outcome = SAIL_ABSTAIN};
        for (int k = 0; k < SAIL_MAX_RESPONSES; k++)
            out[i].score[k] = NAN;
        if (items[i].k < 2 || items[i].k > SAIL_MAX_RESPONSES)
            return sail_fail(err, SAIL_E_ARG, "a judge is asked about 2 to %d responses, not %d", SAIL_MAX_RESPONSES, items[i].k);
        label_call c = {p, &items[i], &out[i]};
        double start = sail__now();
        SAIL_TRY(sail__lua_call(p->s, label_body, &c, err));
        out[i].seconds = sail__now() - start;
    }
    return SAIL_OK;
}

static const sail_judge judge_ops = {.size = sizeof judge_ops, .label = judge_label};

/* ---- making them ---- */

typedef struct kind_row {
    sail_kind kind;
    const char *name, *field; /* sail.NAME{FIELD = function} */
    const void *ops;
    const char *doc;
} kind_row;
static const kind_row kind_rows[] = {
    {SAIL_KIND_OBJECTIVE, "objective", "loss", &objective_ops, "an objective of the recipe, in Lua"},
    {SAIL_KIND_PREFERENCE, "preference", "logprob", &preference_ops, "a preference model of the recipe, in Lua"},
    {SAIL_KIND_JUDGE, "judge", "label", &judge_ops, "a judge of the recipe, in Lua"},
    {SAIL_KIND_STRATEGY, "strategy", "responses", &sail__lua_strategy, "a strategy of the recipe, in Lua"},
    {SAIL_KIND_DATASET, "reader", "row", &sail__lua_dataset, "a reader of the recipe, in Lua"},
};

typedef struct word {
    const char *name;
    uint32_t cap;
} word;
static const word needs_words[] = {{"entropy", SAIL_CAP_ENTROPY}, {"lss", SAIL_CAP_LSS}, {"step", SAIL_CAP_STEP}, {"prompt", SAIL_CAP_PROMPT},
                                   {"mismatched", SAIL_CAP_MISMATCHED}, {NULL, 0}};
static const word takes_words[] = {{"f_divergence_type", SAIL_CAP_TAKES_DIVERGENCE}, {"ld_alpha", SAIL_CAP_TAKES_LENGTH},
                                   {"use_weighting", SAIL_CAP_TAKES_WEIGHTS}, {"single", SAIL_CAP_UNPAIRED}, {NULL, 0}};

/* A list of words, as capabilities. */
static uint32_t take_words(lua_State *L, int table, const char *field, const word *words)
{
    uint32_t caps = 0;
    if (lua_getfield(L, table, field) != LUA_TNIL) {
        luaL_checktype(L, -1, LUA_TTABLE);
        for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
            const char *given = lua_tostring(L, -1);
            const word *w = words;
            while (w->name && !(given && !strcmp(given, w->name)))
                w++;
            if (!w->name) {
                luaL_Buffer b;
                luaL_buffinit(L, &b);
                for (w = words; w->name; w++) {
                    luaL_addstring(&b, w == words ? "\"" : "\", \"");
                    luaL_addstring(&b, w->name);
                }
                luaL_pushresult(&b);
                luaL_error(L, "sail.objective: %s is a list of %s\"", field, lua_tostring(L, -1));
            }
            caps |= w->cap;
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return caps;
}

static uint32_t take_caps(lua_State *L, int table)
{
    return SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE | SAIL_CAP_ONLINE | take_words(L, table, "needs", needs_words) |
           take_words(L, table, "takes", takes_words);
}

/* A name that no plugin has: that of another recipe's plugin gets a number behind it, that of a file is refused. */
static void choose_name(lua_State *L, lua_plugin *p, sail_kind kind, const char *wanted)
{
    snprintf(p->name, sizeof p->name, "%s", wanted);
    if (!*wanted || strlen(wanted) > 50 || strspn(wanted, "abcdefghijklmnopqrstuvwxyz0123456789_-") != strlen(wanted))
        luaL_error(L, "sail.%s: the name must be lower-case letters, digits and _", sail__kind_name(kind));
    for (int k = 2;; k++) {
        const sail_loaded *other = NULL;
        if (sail__plugin_get(p->s->ctx, kind, p->name, &other, &(sail_err){0}) != SAIL_OK)
            return;
        if (!other->plugin.self)
            luaL_error(L, "sail.%s: there is a plugin named `%s` already; give another name", sail__kind_name(kind), wanted);
        snprintf(p->name, sizeof p->name, "%s_%d", wanted, k);
    }
}

/* The table or function at index 1 becomes a plugin; its handle is left on the stack. */
static int make(lua_State *L, const kind_row *row)
{
    sail__lua *s = sail__lua_of(L);
    if (!s->reading)
        return luaL_error(L, "sail.%s works while a recipe is read, not in its functions", row->name);
    bool bare = lua_type(L, 1) == LUA_TFUNCTION;
    if (!bare)
        luaL_checktype(L, 1, LUA_TTABLE);
    lua_plugin *p = sail__arena_alloc(s->arena, sizeof *p);
    if (!p)
        return sail__lua_no_memory(L);
    char name[32];
    snprintf(name, sizeof name, "lua_%s", row->name);
    const char *wanted = name;
    p->s = s;
    p->description = (sail_plugin){.size = sizeof(sail_plugin),
                                   .abi_major = SAIL_ABI_MAJOR,
                                   .abi_minor = SAIL_ABI_MINOR,
                                   .kind = (uint32_t)row->kind,
                                   .doc = row->doc,
                                   .source = s->path,
                                   .ops = row->ops,
                                   .self = p};
    uint32_t caps = row->kind == SAIL_KIND_OBJECTIVE  ? SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE | SAIL_CAP_ONLINE
                    : row->kind == SAIL_KIND_STRATEGY ? SAIL_CAP_REFERENCE | SAIL_CAP_ONLINE
                                                      : 0;
    lua_settop(L, 1);
    if (!bare) {
        if (lua_getfield(L, 1, "name") != LUA_TNIL)
            wanted = luaL_checkstring(L, -1);
        if (row->kind == SAIL_KIND_OBJECTIVE)
            caps = take_caps(L, 1);
        if (row->kind == SAIL_KIND_STRATEGY) {
            sail__lua_strategy_check(L, 1);
            lua_pushvalue(L, 1);
        } else if (lua_getfield(L, 1, row->field) != LUA_TFUNCTION)
            return luaL_error(L, "sail.%s { %s = function … }: the function is missing", row->name, row->field);
    }
    choose_name(L, p, row->kind, wanted);
    if (bare && row->kind == SAIL_KIND_STRATEGY) { /* it keeps a table of functions */
        lua_createtable(L, 0, 1);
        lua_insert(L, -2);
        lua_setfield(L, -2, row->field);
    }
    p->function = luaL_ref(L, LUA_REGISTRYINDEX);
    if (row->kind == SAIL_KIND_PREFERENCE)
        take_outcomes(L, bare ? 0 : 1, p);
    p->description.caps = caps;
    p->description.name = p->name;
    sail_err err = {0};
    if (sail__plugins_add(s->ctx, &p->description, s->path, &err) != SAIL_OK)
        return sail__lua_raise(L, "", &err);
    handle *h = lua_newuserdatauv(L, sizeof *h, 0);
    h->kind = row->kind;
    memcpy(h->name, p->name, sizeof h->name);
    luaL_setmetatable(L, PLUGIN);
    return 1;
}

static int make_objective(lua_State *L) { return make(L, &kind_rows[0]); }
static int make_preference(lua_State *L) { return make(L, &kind_rows[1]); }
static int make_judge(lua_State *L) { return make(L, &kind_rows[2]); }
static int make_strategy(lua_State *L) { return make(L, &kind_rows[3]); }
static int make_reader(lua_State *L) { return make(L, &kind_rows[4]); }

const char *sail__lua_plugin_name(lua_State *L, int i, sail_kind kind)
{
    const handle *h = luaL_testudata(L, i, PLUGIN);
    static const lua_CFunction makers[] = {make_objective, make_preference, make_judge, make_strategy, make_reader};
    for (size_t k = 0; !h && lua_type(L, i) == LUA_TFUNCTION && k < sizeof makers / sizeof *makers; k++)
        if (kind_rows[k].kind == kind) {
            lua_pushcfunction(L, makers[k]);
            lua_pushvalue(L, i);
            lua_call(L, 1, 1);
            h = lua_touserdata(L, -1);
            lua_replace(L, i); /* keeps the handle alive while its name is copied */
        }
    if (h && h->kind != kind)
        luaL_error(L, "a %s stands where a %s is wanted", sail__kind_name(h->kind), sail__kind_name(kind));
    return h ? h->name : NULL;
}

void sail__lua_open_plugin(lua_State *L)
{
    static const luaL_Reg module[] = {
        {"objective", make_objective}, {"preference", make_preference}, {"judge", make_judge}, {"strategy", make_strategy}, {"reader", make_reader},
        {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__index", outcomes_index}, {"__len", outcomes_length}, {NULL, NULL}};
    luaL_setfuncs(L, module, 0);
    luaL_newmetatable(L, PLUGIN);
    lua_pushliteral(L, "plugin");
    lua_setfield(L, -2, "__metatable");
    luaL_newmetatable(L, OUTCOMES);
    luaL_setfuncs(L, meta, 0);
    lua_pushliteral(L, "outcomes");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}
