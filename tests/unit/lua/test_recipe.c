/* test_recipe.c - recipes in Lua: other recipes as tables, places of values, schedules, hooks and their state. */
#include <math.h>

#include "../../lua_world.h"

#define YAML                                                                                                           \
    "model: {path: m, backend: ref}\n"                                                                                 \
    "data: {train: d.jsonl}\n"                                                                                         \
    "method: {beta: 0.2, routes: {dpp: {weight: 0.3}}}\n"                                                              \
    "train: {steps: 5, max-grad-norm: 2, optimizer: null}\n"
#define HEAD "local sail = require 'sail'\nlocal r = sail.recipe 'base.yaml'\n"

static sail__recipe *load(world *w, const char *text, const char *const *overrides)
{
    size_t n = 0;
    while (overrides && overrides[n])
        n++;
    sail__recipe *r = NULL;
    w->problems.n = 0;
    w->err = (sail_err){0};
    put(w, "sub/base.yaml", YAML);
    sail__recipe_load(w->ctx, put(w, "sub/r.lua", text), overrides, n, &w->problems, &r, &w->err);
    return r;
}

static sail__recipe *good(world *w, const char *text, const char *const *overrides)
{
    sail__recipe *r = load(w, text, overrides);
    if (!r)
        fail_msg("%s\n%s", text, w->err.message);
    return r;
}

static void wrong(world *w, const char *text, const char *part)
{
    sail__recipe *r = load(w, text, NULL);
    if (r || w->err.code != SAIL_E_RECIPE || !strstr(w->err.message, part))
        fail_msg("%s\nwanted: %s\ngot: %s", text, part, r ? "no error" : w->err.message);
}

static void a_recipe_is_a_table(void **state)
{
    world *w = *state;
    sail__recipe *r = good(w, HEAD "r.train.steps = r.train.steps * 2\nr.title = 'two\\nlines'\nr.train.max_grad_norm = 3\n"
                                   "r.data.stop = {'a', 'b'}\nr.method.routes.dpp = nil\nr.method.routes.ddp = {weight = 0.5}\n"
                                   "return r",
                           (const char *[]){"train.batch=3", NULL});
    assert_int_equal(r->stages[0].train.steps, 10);
    assert_int_equal(r->stages[0].train.batch, 3);
    assert_true(r->stages[0].train.max_grad_norm == 3);
    assert_true(r->stages[0].method.beta == 0.2);
    assert_string_equal(r->title, "two\nlines");
    assert_string_equal(r->name, "r");
    assert_int_equal(sail__node_find(r->root, "data.stop")->list.n, 2);
    assert_null(sail__node_find(r->root, "method.routes.dpp"));
    /* What the YAML said keeps its place; what Lua said has the Lua file's. */
    assert_non_null(strstr(sail__node_find(r->root, "method.beta")->origin, "base.yaml"));
    assert_int_equal(sail__node_find(r->root, "method.beta")->line, 3);
    assert_non_null(strstr(sail__node_find(r->root, "train.steps")->origin, "r.lua"));
    assert_string_equal(r->stages[0].model.path, sail__arena_printf(w->arena, "%s/sub/m", w->dir));
    sail__recipe_free(r);

    put(w, "sub/other.lua", HEAD "r.train.steps = 7 return r");
    r = good(w, "local r = require('sail').recipe 'other.lua' r.method.beta = 0.3 return r", NULL);
    assert_int_equal(r->stages[0].train.steps, 7);
    assert_true(r->stages[0].method.beta == 0.3);
    sail__recipe_free(r);
    r = good(w, "return {extends = 'base.yaml', train = {steps = 8}, data = {train = '../x.jsonl'}}", NULL);
    assert_int_equal(r->stages[0].train.steps, 8);
    assert_string_equal(r->stages[0].data.train->string.data, sail__arena_printf(w->arena, "%s/sub/../x.jsonl", w->dir));
    sail__recipe_free(r);
    put(w, "top.yaml", "extends: sub/r.lua\ntrain: {steps: 9}\n");
    w->problems.n = 0;
    if (sail__recipe_load(w->ctx, sail__arena_printf(w->arena, "%s/top.yaml", w->dir), NULL, 0, &w->problems, &r, &w->err) != SAIL_OK)
        fail_msg("%s", w->err.message);
    assert_int_equal(r->stages[0].train.steps, 9);
    sail__recipe_free(r);
}

static void mistakes_are_told_with_their_place(void **state)
{
    world *w = *state;
    wrong(w, HEAD "r.train.stpes = 3 return r", "r.lua: train.stpes");
    wrong(w, HEAD "r.method.beta = 'x' return r", "r.lua: method.beta");
    wrong(w, HEAD "r.train[1] = 3 return r", "train: a table must have names only");
    wrong(w, HEAD "r.train.self = r return r", "nested too deeply");
    wrong(w, HEAD "r.train.steps = print\nreturn r", "train.steps");
    wrong(w, HEAD "r.on.stpe = print\nreturn r", "there is no hook r.on.stpe");
    wrong(w, HEAD "r.on.step = 3\nreturn r", "must be a function");
    wrong(w, HEAD "r.title = '\\xff' return r", "UTF-8");
    wrong(w, HEAD "r.method.judge = sail.preference {logprob = print} return r", "a preference stands where a judge");
    wrong(w, HEAD "r.train.lr = sail.ramp {from = 1, to = 2} return r", "`steps` must be a number");
    wrong(w, HEAD "r.train.lr = sail.ramp {from = 1, to = 2, steps = 3, stesp = 4} return r", "no `stesp`");
    wrong(w, "return require('sail').recipe 'r.lua'", "more than 16 deep");
    wrong(w, HEAD "r.method.preference = sail.preference {name = 'bradley_terry', logprob = print} return r", "already");
    wrong(w, HEAD "r.method.objective = sail.objective {needs = {'entropie'}, loss = print} return r", "needs is a list");
    put(w, "sub/bad.yaml", "a: 1\na: 2\n");
    wrong(w, "return require('sail').recipe 'bad.yaml'", "bad.yaml:2:1: `a` is given twice");
}

static void numbers_may_be_schedules(void **state)
{
    world *w = *state;
    sail__recipe *r = good(w, HEAD "r.train.lr = function(step) return 1e-3 / (1 + step) end\n"
                                   "r.method.beta = sail.ramp {from = 0.1, to = 0.3, steps = 10}\n"
                                   "r.method.routes.dpp.weight = sail.piecewise {{0, 0}, {4, 0.4}}\nreturn r", NULL);
    assert_true(sail__stage_is_scheduled(&r->stages[0]));
    for (int step = 0; step < 6; step++) {
        sail__stage s;
        assert_true(sail__stage_parse(w->ctx, w->arena, SAIL__ALIGN, r->stages[0].node, step, r->hooks.call_schedule, r->hooks.user, &s,
                                      &w->problems));
        assert_true(s.train.lr == 1e-3 / (1 + step));
        assert_true(fabs(s.method.beta - (0.1 + 0.02 * step)) < 1e-15);
        const sail_route *routes = s.routes;
        assert_true(fabs(routes[1].probability - (step < 4 ? 0.1 * step : 0.4)) < 1e-15);
    }
    sail__recipe_free(r);
    wrong(w, HEAD "r.train.lr = function(step) return 'x' end return r", "must return a number");
    wrong(w, HEAD "r.train.lr = function(step) return 0 / 0 end return r", "finite");
    wrong(w, HEAD "r.train.lr = function(step) return nothing.x end return r", "r.lua:3:");
}

#define HOOKS                                                                                                          \
    HEAD "r.on.step = function(s)\n"                                                                                   \
         "  s.state.seen = (s.state.seen or 0) + 1\n"                                                                  \
         "  s.state.list = s.state.list or {}\n"                                                                       \
         "  table.insert(s.state.list, s.metrics['objective/kl'] or -1)\n"                                             \
         "  if s.metrics['objective/kl'] > 20 then s:backoff(0.5) s:backoff(0.5) end\n"                                \
         "  if s.step + 1 == s.steps then s:stop() end\n"                                                              \
         "end\n"                                                                                                       \
         "r.on.rollout = function(s) s.state.text = s.prompt .. '|' .. s.response end\n"                               \
         "r.on.checkpoint = function(s) s.state.path = s.path .. s.step s.state.list[9] = s.state end\n"                                         \
         "return r"

static void step(world *w, const sail__hooks *h, int64_t at, double kl, double backoff, bool stop)
{
    const char *names[] = {"loss", "objective/kl"};
    double values[] = {1, kl};
    sail__hook_step s = {.step = at, .steps = 3, .names = names, .values = values, .n = 2};
    if (h->on_step(h->user, &s, &w->err) != SAIL_OK)
        fail_msg("%s", w->err.message);
    assert_true(s.backoff == backoff);
    assert_int_equal(s.stop, stop);
}

static char *saved(world *w, const sail__hooks *h)
{
    sail_buf b = {0};
    if (h->state_save(h->user, &b, &w->err) != SAIL_OK)
        fail_msg("%s", w->err.message);
    return b.data;
}

static void hooks_see_and_keep_state(void **state)
{
    world *w = *state;
    sail__recipe *r = good(w, HOOKS, NULL);
    const sail__hooks *h = &r->hooks;
    step(w, h, 0, 1.5, 1, false);
    step(w, h, 1, 21, 0.25, false);
    assert_int_equal(h->on_rollout(h->user, 1, "p", "r\"\n", &w->err), SAIL_OK);
    assert_int_equal(h->on_checkpoint(h->user, 2, "runs/x", &w->err), SAIL_OK);
    char *json = saved(w, h);
    assert_string_equal(json, "{\"list\": [1.5, 21.0], \"seen\": 2, \"text\": \"p|r\\\"\\n\"}");

    /* Another process goes on from there and comes to the same. */
    sail__recipe *other = good(w, HOOKS, NULL);
    assert_int_equal(other->hooks.state_load(other->hooks.user, json, strlen(json), &w->err), SAIL_OK);
    sail__free(json);
    step(w, h, 2, 3, 1, true);
    step(w, &other->hooks, 2, 3, 1, true);
    char *a = saved(w, h), *b = saved(w, &other->hooks);
    assert_string_equal(a, b);
    assert_non_null(strstr(a, "\"seen\": 3"));
    sail__free(a);
    sail__free(b);
    sail__recipe_free(other);
    assert_int_not_equal(h->state_load(h->user, "{", 1, &w->err), SAIL_OK);
    assert_int_not_equal(h->state_load(h->user, "3", 1, &w->err), SAIL_OK);
    /* a step without responses of the policy: the comparison in the hook is false */
    const char *loss = "loss";
    double one = 1;
    sail__hook_step without = {.step = 3, .steps = 5, .names = &loss, .values = &one, .n = 1};
    assert_int_equal(h->on_step(h->user, &without, &w->err), SAIL_OK);
    assert_true(without.backoff == 1);
    sail__recipe_free(r);
    r = good(w, HEAD "return r", NULL);
    assert_null(r->hooks.on_step);
    assert_null(r->hooks.on_rollout);
    sail__recipe_free(r);
}

/* What a hook finds in its state is the same in a run that goes on and in one that was resumed. */
static void state_is_the_same_after_a_checkpoint(void **state)
{
    static const char *const values[] = {"{['a-b'] = 1, a_b = 2, ['a.b'] = 3, ['\\u{2028}'] = 4}", "0/0", "{1/0, -1/0, {0/0}}", "-0.0",
                                         "1e300", "3", "3.0", "math.mininteger", "math.maxinteger", "0.1 + 0.2", "{}", "{{}, {}}",
                                         "'text\\0 with \\u{85}'", "require('sail').null", "{x = require('sail').null}", "'nan'", "true"};
    world *w = *state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const char *text = sail__arena_printf(w->arena, HEAD
            "local function show(x) if type(x) ~= 'table' then return math.type(x) == 'float' and string.format('%%a', x) or"
            " type(x) .. tostring(x) end\n"
            "  local keys = {} for k, v in pairs(x) do keys[#keys + 1] = tostring(k) .. '=' .. show(v) end\n"
            "  table.sort(keys) return '{' .. table.concat(keys, ' ') .. '}' end\n"
            "r.on.step = function(s) if s.step == 0 then local x = %s s.state.x = x s.state.y = {x, x}\n"
            "  else s.state.seen = show(s.state.x) .. show(s.state.y) .. (s.state.y == s.state.x and 'same' or '') end end\n"
            "return r", values[i]);
        sail__recipe *r = good(w, text, NULL), *other = good(w, text, NULL);
        step(w, &r->hooks, 0, 1, 1, false);
        char *json = saved(w, &r->hooks);
        if (other->hooks.state_load(other->hooks.user, json, strlen(json), &w->err) != SAIL_OK)
            fail_msg("%s: %s: %s", values[i], json, w->err.message);
        step(w, &r->hooks, 1, 1, 1, false);
        step(w, &other->hooks, 1, 1, 1, false);
        char *a = saved(w, &r->hooks), *b = saved(w, &other->hooks);
        assert_string_equal(a, b);
        assert_non_null(strstr(a, "seen"));
        sail__free(json);
        sail__free(a);
        sail__free(b);
        sail__recipe_free(r);
        sail__recipe_free(other);
    }
}

static void what_hooks_do_wrong_is_told(void **state)
{
    static const char *const cases[][2] = {
        {"s.state.f = print", "s.state.f: a function cannot be kept"},
        {"s.state = 3", "s.state must stay a table"},
        {"s.state['\\xff'] = 3", "must be UTF-8"},
        {"s.state.t = {[2] = 1}", "names only"},
        {"s:backoff(2)", "(0, 1]"},
        {"s.metrics.none.x = 1", "sub/r.lua:3:"},
        {"while true do end", "stopped"},
        {"while true do pcall(function() while true do end end) end", "stopped"},
        {"require('sail').recipe 'base.yaml'", "while a recipe is read"},
        {"require('sail').judge(print)", "while a recipe is read"},
        {"require('sail').constant {1}", "no tape here"},
    };
    world *w = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sail__recipe *r = good(w, sail__arena_printf(w->arena, HEAD "r.on.step = function(s) %s end\nreturn r", cases[i][0]), NULL);
        sail__hook_step s = {.step = 0, .steps = 3};
        sail_code c = r->hooks.on_step(r->hooks.user, &s, &w->err);
        if (c == SAIL_OK || sail_code_status(c) != 1 || !strstr(w->err.message, cases[i][1]))
            fail_msg("%s\nwanted: %s\ngot: %s", cases[i][0], cases[i][1], w->err.message);
        sail__recipe_free(r);
    }
}

static void recipes_that_come_with_sail_load(void **state)
{
    world *w = *state;
    static const char *const names[] = {"anneal", "judge", "length", "preference", "sail_revkl"};
    static const char *const given[] = {"model.path=m", "data.train=d.jsonl", "model.backend=ref", "data.reader=preference"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        sail__recipe *r = NULL;
        w->problems.n = 0;
        const char *path = sail__arena_printf(w->arena, "%s/recipes/variants/%s.lua", getenv("SAIL_ROOT"), names[i]);
        if (sail__recipe_load(w->ctx, path, given, 4, &w->problems, &r, &w->err) != SAIL_OK)
            fail_msg("%s", w->err.message);
        assert_string_equal(r->name, names[i]);
        sail__recipe_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_recipe_is_a_table),
        TEST(mistakes_are_told_with_their_place),
        TEST(numbers_may_be_schedules),
        TEST(hooks_see_and_keep_state),
        TEST(state_is_the_same_after_a_checkpoint),
        TEST(what_hooks_do_wrong_is_told),
        TEST(recipes_that_come_with_sail_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
