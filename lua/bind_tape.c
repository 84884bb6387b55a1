/* bind_tape.c - values on the tape as Lua values: a row of tape_ops.def is a method here, as it is a function in C.
 *
 * A value is good for the call it was made in: kept in an upvalue, it is refused later, since its tape is gone. */
#include "state.h"

#include <string.h>

#include "align/coupling.h"
#include "align/tape_internal.h"
#include "bind_tape.h"

#define VAR "value on the tape"

typedef struct value {
    sail_var var;
    uint32_t epoch;
} value;

sail__lua_tape sail__lua_enter_tape(sail__lua *s, sail_tape *t)
{
    sail__lua_tape before = {s->tape, s->epoch};
    if (t != s->tape) { /* a preference model inside an objective works on the objective's values */
        s->tape = t;
        s->epoch = ++s->last_epoch;
    }
    return before;
}

void sail__lua_leave_tape(sail__lua *s, sail__lua_tape before)
{
    s->tape = before.tape;
    s->epoch = before.epoch;
}

void sail__lua_fail_tape(sail_tape *t, const sail_err *err)
{
    if (sail_tape_status(t) == SAIL_OK)
        sail_tape_fail(t, err->code, "%s", err->message);
    else /* the tape's own message, now with the place in the recipe */
        snprintf(t->err.message, sizeof t->err.message, "%s", err->message);
}

static sail_tape *tape(lua_State *L)
{
    sail__lua *s = sail__lua_of(L);
    if (!s->tape)
        luaL_error(L, "there is no tape here: values exist inside objectives and preference models");
    return s->tape;
}

void sail__lua_push_var(lua_State *L, sail_var v)
{
    sail__lua *s = sail__lua_of(L);
    if (sail_tape_status(s->tape) != SAIL_OK)
        luaL_error(L, "%s", sail_tape_message(s->tape));
    s->tape_bytes += (size_t)sail_length_of(s->tape, v) * 2 * sizeof(double) + 64; /* value and derivative */
    sail__lua_tick(L);
    value *u = lua_newuserdatauv(L, sizeof *u, 0);
    u->var = v;
    u->epoch = s->epoch;
    luaL_setmetatable(L, VAR);
}

bool sail__lua_is_var(lua_State *L, int i) { return luaL_testudata(L, i, VAR) != NULL; }

static sail_var value_at(lua_State *L, int i)
{
    const value *u = luaL_checkudata(L, i, VAR);
    sail__lua *s = sail__lua_of(L);
    if (!s->tape || u->epoch != s->epoch)
        luaL_argerror(L, i, "this value belongs to an earlier call; values cannot be kept");
    return u->var;
}

sail_var sail__lua_check_var(lua_State *L, int i)
{
    if (lua_type(L, i) == LUA_TNUMBER)
        return sail_number(tape(L), lua_tonumber(L, i));
    return value_at(L, i);
}

/* ---- operators of the table ---- */

#define TAPE_UNARY(name, doc)                                                                                          \
    static int op_##name(lua_State *L)                                                                                 \
    {                                                                                                                  \
        sail__lua_push_var(L, sail_##name(tape(L), value_at(L, 1)));                                                   \
        return 1;                                                                                                      \
    }
#define TAPE_REDUCE(name, doc) TAPE_UNARY(name, doc)
#define TAPE_BINARY(name, doc)                                                                                         \
    static int op_##name(lua_State *L)                                                                                 \
    {                                                                                                                  \
        sail_var a = sail__lua_check_var(L, 1), b = sail__lua_check_var(L, 2);                                         \
        sail__lua_push_var(L, sail_##name(tape(L), a, b));                                                             \
        return 1;                                                                                                      \
    }
#include "sail/tape_ops.def"
#undef TAPE_UNARY
#undef TAPE_BINARY
#undef TAPE_REDUCE

/* ---- the others ---- */

static int clamp(lua_State *L)
{
    sail__lua_push_var(L, sail_clamp(tape(L), value_at(L, 1), luaL_checknumber(L, 2), luaL_checknumber(L, 3)));
    return 1;
}

static int power(lua_State *L)
{
    sail__lua_push_var(L, sail_power(tape(L), value_at(L, 1), luaL_checknumber(L, 2)));
    return 1;
}

static int lerp(lua_State *L)
{
    sail_var a = sail__lua_check_var(L, 1), b = sail__lua_check_var(L, 2);
    sail__lua_push_var(L, sail_lerp(tape(L), a, b, luaL_checknumber(L, 3)));
    return 1;
}

static int sort(lua_State *L)
{
    sail__lua_push_var(L, sail_sort(tape(L), value_at(L, 1)));
    return 1;
}

static int slot(lua_State *L)
{
    lua_Integer i = luaL_checkinteger(L, 2);
    luaL_argcheck(L, i >= 1 && i <= SAIL_MAX_RESPONSES, 2, "slots are counted from 1");
    sail__lua_push_var(L, sail_slot_of(tape(L), value_at(L, 1), (int)i - 1));
    return 1;
}

static const char *const domains[] = {"scalar", "pair", "response", "token", "any", NULL};

static int spread(lua_State *L)
{
    sail_domain to = (sail_domain)luaL_checkoption(L, 2, NULL, domains);
    sail__lua_push_var(L, sail_spread(tape(L), value_at(L, 1), to));
    return 1;
}

/* A list of numbers as integers from 0, in a userdata on the stack. */
static int64_t *indices(lua_State *L, int i, int64_t *n)
{
    luaL_checktype(L, i, LUA_TTABLE);
    *n = (int64_t)lua_rawlen(L, i);
    int64_t *list = lua_newuserdatauv(L, (size_t)(*n ? *n : 1) * sizeof *list, 0);
    for (int64_t k = 0; k < *n; k++) {
        int ok;
        lua_rawgeti(L, i, k + 1);
        list[k] = lua_tointegerx(L, -1, &ok) - 1;
        lua_pop(L, 1);
        if (!ok)
            luaL_argerror(L, i, "a list of whole numbers is wanted");
    }
    return list;
}

static int gather(lua_State *L)
{
    sail_var v = value_at(L, 1);
    sail_domain d = (sail_domain)luaL_checkoption(L, 3, "any", domains);
    int64_t n;
    const int64_t *index = indices(L, 2, &n);
    sail__lua_push_var(L, sail_gather(tape(L), v, index, d, n));
    return 1;
}

static int scatter(lua_State *L)
{
    sail_var v = value_at(L, 1);
    lua_Integer length = luaL_checkinteger(L, 3);
    sail_domain d = (sail_domain)luaL_checkoption(L, 4, "any", domains);
    luaL_argcheck(L, length >= 0 && (size_t)length < SAIL__LUA_BYTES / sizeof(double), 3, "too long");
    int64_t n;
    const int64_t *index = indices(L, 2, &n);
    if (n != sail_length_of(tape(L), v))
        return luaL_argerror(L, 2, "as many places as there are values are wanted");
    sail__lua_push_var(L, sail_scatter(tape(L), v, index, d, (int64_t)length));
    return 1;
}

/* mask:select(a, b): a where mask is not 0, else b. */
static int choose(lua_State *L)
{
    sail_tape *t = tape(L);
    sail_var mask = value_at(L, 1), a = sail__lua_check_var(L, 2), b = sail__lua_check_var(L, 3);
    int64_t n = sail_length_of(t, mask), na = sail_length_of(t, a), nb = sail_length_of(t, b);
    if ((na != n && na != 1) || (nb != n && nb != 1) || (na != n && nb != n))
        return luaL_error(L, "select: the mask has %I values, the choices have %I and %I", (LUAI_UACINT)n, (LUAI_UACINT)na,
                          (LUAI_UACINT)nb);
    uint8_t *bytes = lua_newuserdatauv(L, (size_t)(n ? n : 1), 0);
    const double *x = sail_value_of(t, mask);
    sail__tape_read(t, mask, false);
    for (int64_t i = 0; i < n; i++)
        bytes[i] = x[i] != 0;
    sail__lua_push_var(L, sail_select(t, bytes, a, b));
    return 1;
}

/* Comparisons give 1 and 0, as constants. */
typedef bool compare_fn(double a, double b);
static bool greater(double a, double b) { return a > b; }
static bool greater_equal(double a, double b) { return a >= b; }
static bool less(double a, double b) { return a < b; }
static bool less_equal(double a, double b) { return a <= b; }
static bool equal(double a, double b) { return a == b; }

static int compare(lua_State *L, compare_fn *f)
{
    sail_tape *t = tape(L);
    sail_var a = sail__lua_check_var(L, 1), b = sail__lua_check_var(L, 2);
    int64_t na = sail_length_of(t, a), nb = sail_length_of(t, b), n = na > nb ? na : nb;
    sail_var longer = na >= nb ? a : b;
    if ((na != n && na != 1) || (nb != n && nb != 1))
        return luaL_error(L, "values of %I and %I cannot be compared", (LUAI_UACINT)na, (LUAI_UACINT)nb);
    double *out = lua_newuserdatauv(L, (size_t)(n ? n : 1) * sizeof *out, 0);
    const double *x = sail_value_of(t, a), *y = sail_value_of(t, b);
    sail__tape_read(t, a, false);
    sail__tape_read(t, b, false);
    for (int64_t i = 0; i < n; i++)
        out[i] = f(x[na == 1 ? 0 : i], y[nb == 1 ? 0 : i]) ? 1.0 : 0.0;
    sail__lua_push_var(L, sail_tape_constant(t, sail_domain_of(t, longer), n, out));
    return 1;
}
static int op_gt(lua_State *L) { return compare(L, greater); }
static int op_ge(lua_State *L) { return compare(L, greater_equal); }
static int op_lt(lua_State *L) { return compare(L, less); }
static int op_le(lua_State *L) { return compare(L, less_equal); }
static int op_eq(lua_State *L) { return compare(L, equal); }

static int item(lua_State *L)
{
    sail_var v = value_at(L, 1);
    lua_Integer i = luaL_optinteger(L, 2, 1);
    luaL_argcheck(L, i >= 1 && i <= sail_length_of(tape(L), v), 2, "beyond the end");
    luaL_argcheck(L, !lua_isnoneornil(L, 2) || sail_length_of(tape(L), v) == 1, 1, "more than one value; say which");
    sail__tape_read(tape(L), v, true);
    lua_pushnumber(L, sail_value_of(tape(L), v)[i - 1]);
    return 1;
}

static int values(lua_State *L)
{
    sail_var v = value_at(L, 1);
    int64_t n = sail_length_of(tape(L), v);
    sail__tape_read(tape(L), v, true);
    lua_createtable(L, (int)(n < 1 << 20 ? n : 0), 0);
    for (int64_t i = 0; i < n; i++) {
        lua_pushnumber(L, sail_value_of(tape(L), v)[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int length(lua_State *L)
{
    lua_pushinteger(L, sail_length_of(tape(L), value_at(L, 1)));
    return 1;
}

static int domain(lua_State *L)
{
    lua_pushstring(L, domains[sail_domain_of(tape(L), value_at(L, 1))]);
    return 1;
}

static int to_text(lua_State *L)
{
    const value *u = luaL_checkudata(L, 1, VAR);
    sail__lua *s = sail__lua_of(L);
    if (!s->tape || u->epoch != s->epoch) {
        lua_pushliteral(L, "value of an earlier call");
        return 1;
    }
    luaL_Buffer b;
    int64_t n = sail_length_of(s->tape, u->var);
    luaL_buffinit(L, &b);
    luaL_addstring(&b, domains[sail_domain_of(s->tape, u->var)]);
    luaL_addstring(&b, " {");
    for (int64_t i = 0; i < n && i < 8; i++) {
        char text[40];
        snprintf(text, sizeof text, "%s%.6g", i ? ", " : "", sail_value_of(s->tape, u->var)[i]);
        luaL_addstring(&b, text);
    }
    luaL_addstring(&b, n > 8 ? ", …}" : "}");
    luaL_pushresult(&b);
    return 1;
}

/* sail.constant{1, 2, 3}: numbers as a value of domain any (or another, whose length they must have). */
int sail__lua_constant(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    sail_domain d = (sail_domain)luaL_checkoption(L, 2, "any", domains);
    size_t n = lua_rawlen(L, 1);
    double *x = lua_newuserdatauv(L, (n ? n : 1) * sizeof *x, 0);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i + 1);
        x[i] = luaL_checknumber(L, -1);
        lua_pop(L, 1);
    }
    sail__lua_push_var(L, sail_tape_constant(tape(L), d, (int64_t)n, x));
    return 1;
}

const sail__lua_method sail__lua_methods[] = {
    {"clamp", clamp, "v:clamp(low, high)", "kept between two numbers; derivative 0 outside"},
    {"power", power, "v:power(x), v ^ x", "to the power of a number"},
    {"lerp", lerp, "a:lerp(b, w)", "a + w (b - a), w a number"},
    {"select", choose, "mask:select(a, b)", "a where mask is not 0, else b; no derivative to what is not selected"},
    {"gt", op_gt, "a:gt(b)", "1 where a > b, else 0; a constant"},
    {"ge", op_ge, "a:ge(b)", "1 where a >= b, else 0; a constant"},
    {"lt", op_lt, "a:lt(b)", "1 where a < b, else 0; a constant"},
    {"le", op_le, "a:le(b)", "1 where a <= b, else 0; a constant"},
    {"eq", op_eq, "a:eq(b)", "1 where a == b, else 0; a constant"},
    {"gather", gather, "v:gather({i, …} [, domain])", "v[i], …, counted from 1"},
    {"scatter", scatter, "v:scatter({i, …}, n [, domain])", "n zeros with v added at i, …"},
    {"sort", sort, "v:sort()", "ascending, over the whole vector; derivatives go back to where each value came from"},
    {"slot", slot, "v:slot(i)", "response -> pair: the value of each pair's i-th response"},
    {"spread", spread, "v:spread(\"response\" | \"token\")", "pair -> response, response -> token: repeated"},
    {"item", item, "v:item([i])", "a number"},
    {"values", values, "v:values()", "a list of numbers"},
    {"domain", domain, "v:domain()", "\"scalar\", \"pair\", \"response\", \"token\" or \"any\""},
    {NULL, NULL, NULL, NULL},
};

void sail__lua_open_tape(lua_State *L)
{
    static const luaL_Reg table[] = {
#define TAPE_UNARY(name, doc) {#name, op_##name},
#define TAPE_BINARY(name, doc) {#name, op_##name},
#define TAPE_REDUCE(name, doc) {#name, op_##name},
#include "sail/tape_ops.def"
#undef TAPE_UNARY
#undef TAPE_BINARY
#undef TAPE_REDUCE
        {"log", op_ln},
        {NULL, NULL},
    };
    static const luaL_Reg meta[] = {{"__add", op_add}, {"__sub", op_sub},   {"__mul", op_mul}, {"__div", op_div},
                                    {"__unm", op_neg}, {"__pow", power},    {"__len", length}, {"__tostring", to_text},
                                    {NULL, NULL}};
    luaL_newmetatable(L, VAR);
    luaL_setfuncs(L, meta, 0);
    luaL_newlib(L, table);
    for (const sail__lua_method *m = sail__lua_methods; m->name; m++) {
        lua_pushcfunction(L, m->function);
        lua_setfield(L, -2, m->name);
    }
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "value on the tape");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}
