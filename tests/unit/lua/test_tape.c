/* test_tape.c - operators on the tape from Lua: each gives what its C function gives, value and derivative. */
#include <math.h>

#include "../../lua_world.h"
#include "bind_tape.h"

enum { PAIRS = 3, TOKENS = 11 };
static const int64_t of_pair[] = {0, 2, 4, 6}, of_response[] = {0, 1, 3, 6, 7, 9, 11};
static const sail_layout layout = {PAIRS, 2 * PAIRS, TOKENS, of_pair, of_response, PAIRS, 2 * PAIRS, TOKENS};
static const double values[] = {0.3, 1.7, 0.9, 2.4, 0.6, 1.1, 0.2, 0.8, 1.9, 0.5, 1.3}, others[] = {1.2, 0.4, 0.9, 0.7, 3.0, 0.1, 2.2, 0.6, 1.5, 0.3, 0.8};

/* The preference model's function as a way to run a formula of s[1] and s[2] on a tape of ours. */
static const sail_preference_model *formula(world *w, const char *text)
{
    const char *code = sail__arena_printf(w->arena,
                                          "local sail = require 'sail'\n"
                                          "return {method = {preference = sail.preference {logprob = function(s, outcome, k)\n"
                                          "  local a, b = s[1], s[2]\n  %s\nend}}}",
                                          text);
    sail_node *n = read_lua(w, code);
    if (!n)
        fail_msg("%s\n%s", text, w->err.message);
    const sail_loaded *p = NULL;
    const char *name = sail__node_find(n, "method.preference")->string.data;
    assert_int_equal(sail__plugin_get(w->ctx, SAIL_KIND_PREFERENCE, name, &p, &w->err), SAIL_OK);
    sail_preference_model *m = sail__arena_alloc(w->arena, sizeof *m);
    *m = (sail_preference_model){p->ops, p->plugin.self, name};
    return m;
}

typedef sail_var c_formula(sail_tape *t, sail_var a, sail_var b);

/* d sum(sin-like weights * formula): the same from Lua and from C. `text` returns a value as long as a slot. */
static void same(world *w, sail_domain d, const char *text, c_formula *f)
{
    const sail_preference_model *m = formula(w, text);
    int64_t n = d == SAIL_PAIR ? PAIRS : d == SAIL_RESPONSE ? 2 * PAIRS : d == SAIL_TOKEN ? TOKENS : 1;
    double got[4][TOKENS] = {{0}}, want[4][TOKENS] = {{0}};
    for (int from_c = 0; from_c < 2; from_c++) {
        sail_tape *t = sail_tape_new(&layout);
        sail_var x[2] = {sail_tape_leaf(t, d, n, values), sail_tape_leaf(t, d, n, others)};
        sail_var y = from_c ? f(t, x[0], x[1]) : m->ops->logprob(m->self, t, 2, x, 0);
        if (sail_tape_status(t) != SAIL_OK)
            fail_msg("%s: %s", text, sail_tape_message(t));
        double(*out)[TOKENS] = from_c ? want : got;
        assert_int_equal(sail_length_of(t, y), n);
        memcpy(out[0], sail_value_of(t, y), (size_t)n * sizeof(double));
        assert_int_equal(sail_tape_backward(t, sail_sum(t, sail_mul(t, y, y))), SAIL_OK);
        memcpy(out[1], sail_gradient_of(t, x[0]), (size_t)n * sizeof(double));
        memcpy(out[2], sail_gradient_of(t, x[1]), (size_t)n * sizeof(double));
        sail_tape_free(t);
    }
    if (memcmp(got, want, sizeof got) != 0)
        fail_msg("%s: Lua and C differ: %g and %g, derivatives %g and %g", text, got[0][0], want[0][0], got[1][0], want[1][0]);
}

#define TAPE_UNARY(name, doc)                                                                                          \
    static sail_var c_##name(sail_tape *t, sail_var a, sail_var b) { return (void)b, sail_##name(t, a); }
#define TAPE_BINARY(name, doc)                                                                                         \
    static sail_var c_##name(sail_tape *t, sail_var a, sail_var b) { return sail_##name(t, a, b); }
#define TAPE_REDUCE(name, doc)
#include "sail/tape_ops.def"
#undef TAPE_UNARY
#undef TAPE_BINARY
#undef TAPE_REDUCE
/* A reduction times one of its operands, so that the length stays. */
static bool to_response(const char *name) { return strstr(name, "_tokens") != NULL; }
static bool to_pair(const char *name) { return strstr(name, "_responses") != NULL; }
#define TAPE_UNARY(name, doc)
#define TAPE_BINARY(name, doc)
#define TAPE_REDUCE(name, doc)                                                                                         \
    static sail_var c_##name(sail_tape *t, sail_var a, sail_var b)                                                     \
    {                                                                                                                  \
        sail_var r = sail_##name(t, a);                                                                                \
        if (to_response(#name))                                                                                        \
            r = sail_spread(t, r, SAIL_TOKEN);                                                                         \
        if (to_pair(#name))                                                                                            \
            r = sail_spread(t, r, SAIL_RESPONSE);                                                                      \
        return sail_mul(t, r, b);                                                                                      \
    }
#include "sail/tape_ops.def"
#undef TAPE_UNARY
#undef TAPE_BINARY
#undef TAPE_REDUCE

static void every_row_of_the_table_equals_c(void **state)
{
    world *w = *state;
#define TAPE_UNARY(name, doc) same(w, SAIL_PAIR, "return a:" #name "()", c_##name);
#define TAPE_BINARY(name, doc) same(w, SAIL_PAIR, "return a:" #name "(b)", c_##name);
#define TAPE_REDUCE(name, doc)                                                                                         \
    same(w, to_response(#name) ? SAIL_TOKEN : to_pair(#name) ? SAIL_RESPONSE : SAIL_PAIR,                               \
         to_response(#name) ? "return a:" #name "():spread('token') * b"                                               \
         : to_pair(#name)   ? "return a:" #name "():spread('response') * b"                                            \
                            : "return a:" #name "() * b",                                                              \
         c_##name);
#include "sail/tape_ops.def"
#undef TAPE_UNARY
#undef TAPE_BINARY
#undef TAPE_REDUCE
}

static sail_var c_arith(sail_tape *t, sail_var a, sail_var b)
{
    sail_var x = sail_sub(t, sail_add(t, sail_number(t, 2), a), sail_mul(t, b, sail_number(t, 3)));
    return sail_div(t, sail_neg(t, sail_power(t, sail_mul(t, x, x), 1.5)), sail_sub(t, sail_number(t, 5), a));
}
static sail_var c_clamp(sail_tape *t, sail_var a, sail_var b) { return sail_add(t, sail_clamp(t, a, 0.4, 1), b); }
static sail_var c_lerp(sail_tape *t, sail_var a, sail_var b) { return sail_lerp(t, a, b, 0.25); }
static sail_var c_log(sail_tape *t, sail_var a, sail_var b) { return (void)b, sail_ln(t, a); }
static sail_var c_select(sail_tape *t, sail_var a, sail_var b)
{
    static const uint8_t mask[] = {0, 1, 0}; /* a > b of the first three */
    return sail_select(t, mask, sail_square(t, a), b);
}
static sail_var c_sort(sail_tape *t, sail_var a, sail_var b) { return sail_mul(t, sail_sort(t, a), b); }
static sail_var c_gather(sail_tape *t, sail_var a, sail_var b)
{
    static const int64_t index[] = {2, 0, 0};
    return sail_mul(t, sail_gather(t, a, index, SAIL_PAIR, 3), b);
}
static sail_var c_scatter(sail_tape *t, sail_var a, sail_var b)
{
    static const int64_t index[] = {2, 0, 0};
    return sail_mul(t, sail_scatter(t, a, index, SAIL_PAIR, 3), b);
}
static sail_var c_slot(sail_tape *t, sail_var a, sail_var b)
{
    return sail_mul(t, sail_spread(t, sail_sub(t, sail_slot_of(t, a, 0), sail_slot_of(t, a, 1)), SAIL_RESPONSE), b);
}
static sail_var c_masks(sail_tape *t, sail_var a, sail_var b)
{
    static const double sum[] = {3, 2, 3}; /* each comparison at a = 0.3, 1.7, 0.9 and b = 1.2, 0.4, 0.9 */
    return sail_add(t, sail_mul(t, sail_tape_constant(t, SAIL_PAIR, 3, sum), a), b);
}

static void the_other_functions_equal_c(void **state)
{
    world *w = *state;
    same(w, SAIL_PAIR, "local x = 2 + a - b * 3 return -(x * x) ^ 1.5 / (5 - a)", c_arith);
    same(w, SAIL_PAIR, "return a:clamp(0.4, 1) + b", c_clamp);
    same(w, SAIL_PAIR, "return a:lerp(b, 0.25)", c_lerp);
    same(w, SAIL_PAIR, "return a:log()", c_log);
    same(w, SAIL_PAIR, "return a:gt(b):select(a:square(), b)", c_select);
    same(w, SAIL_PAIR, "return a:sort() * b", c_sort);
    same(w, SAIL_PAIR, "return a:gather({3, 1, 1}, 'pair') * b", c_gather);
    same(w, SAIL_PAIR, "return a:scatter({3, 1, 1}, 3, 'pair') * b", c_scatter);
    same(w, SAIL_RESPONSE, "return (a:slot(1) - a:slot(2)):spread('response') * b", c_slot);
    same(w, SAIL_PAIR, "local m = 2 * a:le(b) + a:ge(b) + a:eq(0.9) + a:lt(b) * 1 - a:ge(b) * a:le(b) + a:gt(1)\n"
                       "assert(a:domain() == 'pair' and #a == 3 and a:item(2) == 1.7 and a:values()[3] == 0.9)\n"
                       "assert(tostring(a) == 'pair {0.3, 1.7, 0.9}' and a:sum():item() > 2.89)\n"
                       "return m * a + b", c_masks);
}

static void mistakes_are_told(void **state)
{
    static const char *const cases[][2] = {
        {"return a + s", "value on the tape"},     {"return a:spread('pairs')", "invalid option"},
        {"return a:gather({9})", "gather"},        {"return a:sum()", "as many values as a slot"},
        {"return 3", "must return a value"},       {"return a:nothing()", "nothing"},
        {"return a:item()", "which"},              {"return a:scatter({1}, 3)", "as many places"},
        {"return a:select(b, s)", "value on the tape"},      {"kept = kept or a return kept", ""},
        {"return a:slot(0)", "counted from 1"},    {"local v = a while true do v = v + a end", "stopped"},
    };
    world *w = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const sail_preference_model *m = formula(w, cases[i][0]);
        bool kept = strstr(cases[i][0], "kept") != NULL;
        for (int call = 0; call < 1 + kept; call++) {
            sail_tape *t = sail_tape_new(&layout);
            sail_var x[2] = {sail_tape_leaf(t, SAIL_PAIR, PAIRS, values), sail_tape_leaf(t, SAIL_PAIR, PAIRS, others)};
            m->ops->logprob(m->self, t, 2, x, 0);
            const char *part = kept && call ? "earlier call" : cases[i][1];
            if (kept && !call)
                assert_int_equal(sail_tape_status(t), SAIL_OK);
            else if (sail_tape_status(t) == SAIL_OK || !strstr(sail_tape_message(t), part) || !strstr(sail_tape_message(t), "r.lua"))
                fail_msg("%s\nwanted: %s\ngot: %s", cases[i][0], part, sail_tape_message(t));
            sail_tape_free(t);
        }
    }
}

static void help_lists_every_function(void **state)
{
    (void)state;
    sail_buf b = {0};
    sail__lua_help(&b);
#define TAPE_UNARY(name, doc)                                                                                          \
    if (!strstr(b.data, ":" #name "(") || !strstr(b.data, doc))                                                        \
        fail_msg("%s is not in the help", #name);
#define TAPE_BINARY TAPE_UNARY
#define TAPE_REDUCE TAPE_UNARY
#include "sail/tape_ops.def"
#undef TAPE_UNARY
#undef TAPE_BINARY
#undef TAPE_REDUCE
    for (const sail__lua_method *m = sail__lua_methods; m->name; m++)
        if (!strstr(b.data, m->usage))
            fail_msg("%s is not in the help", m->usage);
    static const char *const others_[] = {"sail.recipe", "sail.ramp", "sail.judge", "b.baseline", "s:backoff", "s.state"};
    for (size_t i = 0; i < sizeof others_ / sizeof *others_; i++)
        assert_non_null(strstr(b.data, others_[i]));
    sail__buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_row_of_the_table_equals_c), TEST(the_other_functions_equal_c), TEST(mistakes_are_told),
        TEST(help_lists_every_function),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
