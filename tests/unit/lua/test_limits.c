/* test_limits.c - what a recipe can see, and that whatever it does it is stopped within 2 s and 64 MB. */
#include <time.h>

#include "../../lua_world.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 }; /* the memory that a sanitizer takes for itself is not the recipe's, nor is all of the time */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif
#else
enum { SANITIZED = 0 };
#endif

/* Stopped with this in the message, within 2 s of processor time, and with no more than 64 MB and some for the rest. */
static void stopped(world *w, const char *code, const char *part)
{
    struct timespec a, b;
    double before = sail__rss_peak_mib();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    sail_node *n = read_lua(w, code);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    double seconds = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
    if (n || w->err.code != SAIL_E_RECIPE || !strstr(w->err.message, part) || !strstr(w->err.message, "r.lua"))
        fail_msg("%s\nwanted: %s\ngot: %s", code, part, n ? "no error" : w->err.message);
    if (seconds > (SANITIZED ? 20 : 2))
        fail_msg("%s\ntook %.2f s", code, seconds);
    if (!SANITIZED && sail__rss_peak_mib() - before > 80)
        fail_msg("%s\ntook %.0f MiB", code, sail__rss_peak_mib() - before);
}

static void endless_loops_are_stopped(void **state)
{
    stopped(*state, "while true do end", "stopped: it took longer");
    assert_non_null(strstr(((world *)*state)->err.message, "r.lua:1:"));
    stopped(*state, "local function f() return f() end f()", "stopped: it took longer");
    stopped(*state, "goto a ::a:: goto a", "stopped");
    stopped(*state, "for i = 1, 1e18 do local x = {} end", "stopped");
    stopped(*state, "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) return t[1]", "");
}

static void the_stop_cannot_be_caught(void **state)
{
    stopped(*state, "while true do pcall(function() while true do end end) end", "stopped");
    stopped(*state, "pcall(function() while true do end end) return {}", "stopped");
    stopped(*state, "xpcall(function() while true do end end, function() while true do end end) return {}", "stopped");
    stopped(*state, "local function f() pcall(f) f() end f()", "");
    stopped(*state, "local t <close> = setmetatable({}, {__close = function() while true do end end}) while true do end", "stopped");
    stopped(*state, "local s = string.rep('a', 100) pcall(string.find, s, ('a?'):rep(50) .. ('a'):rep(101)) "
                    "while true do pcall(string.find, s, ('.-'):rep(20) .. 'b') end", "stopped");
    stopped(*state, "error(setmetatable({}, {__tostring = function() while true do end end}))", "stopped");
}

static void memory_bombs_are_stopped(void **state)
{
    stopped(*state, "local t = {} for i = 1, 1e9 do t[i] = {i} end", "64 MB");
    stopped(*state, "local s = 'x' while true do s = s .. s end", "64 MB");
    stopped(*state, "return string.rep('x', 1e9)", "64 MB");
    stopped(*state, "local t = {} while true do pcall(function() t[#t + 1] = string.rep('x', 1e7) end) end", "stopped");
    stopped(*state, "local s = string.rep('x', 1e7) local t = {} while true do t[#t + 1] = s:upper() end", "64 MB");
    stopped(*state, "local t = {} t[1] = t while true do t = {t, t} end", "");
    stopped(*state, "return ('x'):rep(1e5):gsub('x', ('y'):rep(1e5))", "64 MB");
    stopped(*state, "return table.concat(setmetatable({}, {__len = function() return 1e9 end}), 'x')", "__len");
}

static void patterns_that_blow_up_are_stopped(void **state)
{
    stopped(*state, "return (('a'):rep(60)):find(('a?'):rep(60) .. ('a'):rep(61))", "stopped");
    stopped(*state, "return (('a'):rep(3000)):match(('.-'):rep(12) .. 'b')", "stopped");
    stopped(*state, "return (('a'):rep(3000)):gsub(('a*'):rep(12) .. 'b', '')", "stopped");
    stopped(*state, "for w in (('a'):rep(3000)):gmatch('(.*)(.*)(.*)(.*)b') do end", "stopped");
    stopped(*state, "return (('('):rep(1000000)):gsub('%b()', '')", "stopped");
    stopped(*state, "local s = ('a'):rep(1e6) return s:find('(.*)%1b')", "stopped");
}

static void functions_that_loop_in_c_are_fenced(void **state)
{
    stopped(*state, "string.rep('', 1e18) while true do end", "stopped"); /* came back from rep */
    stopped(*state, "table.move({}, 1, 1e15, 2)", "too many elements");
    stopped(*state, "table.insert(setmetatable({}, {__len = function() return 1e15 end}), 1, 2)", "__len");
    stopped(*state, "table.remove(setmetatable({}, {__len = function() return 1e15 end}), 1)", "__len");
    stopped(*state, "table.sort(setmetatable({}, {__len = function() return 2^31 - 2 end, __index = type}))", "__index");
    stopped(*state, "table.unpack({}, 1, 1e8)", "too many results");
    stopped(*state, "local a, b = ('x'):rep(1.5e7), ('x'):rep(1.5e7) while true do local c = a < b end", "stopped");
    stopped(*state, "local t = {} for i = 1, 1e5 do t[i] = -i end while true do table.sort(t) end", "stopped");
    stopped(*state, "local a, t = ('x'):rep(2e7), {} for i = 1, 1e5 do t[i] = i % 2 == 0 and a or a .. '' end table.sort(t)", "");
    stopped(*state, "table.sort({3, 1, 2}, function() while true do end end)", "stopped");
}

static void only_text_and_no_finalisers(void **state)
{
    world *w = *state;
    static const char code[] = "\x1bLua\x54\x00\x19\x93\r\n\x1a\n";
    sail_node *n = NULL;
    put_bytes(w, "b.lua", code, sizeof code);
    const char *path = sail__arena_printf(w->arena, "%s/b.lua", w->dir);
    assert_int_equal(sail__recipe_read(w->ctx, w->arena, path, &n, &w->hooks, NULL, &w->err), SAIL_E_RECIPE);
    assert_non_null(strstr(w->err.message, "compiled Lua"));
    stopped(w, "require 'b'", "compiled Lua");
    stopped(w, "setmetatable({}, {__gc = function() while true do end end})", "no finalisers");
    stopped(w, "getmetatable(require('sail').recipe).x = 1", "");
    assert_string_equal(eval(w, "return getmetatable('').__index == string, getmetatable('').__gc"), "true nil");
}

static void nothing_of_the_machine_is_seen(void **state)
{
    world *w = *state;
    static const char *const gone[] = {"io", "os", "debug", "package", "coroutine", "load", "loadstring", "loadfile", "dofile",
                                       "collectgarbage", "string.dump", "math.random", "math.randomseed"};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        assert_string_equal(eval(w, sail__arena_printf(w->arena, "return %s", gone[i])), "nil");
    static const char *const outside[] = {"../x", "/etc/passwd", "a..b", ".a", "a/b", ""};
    put(w, "x.lua", "return 1");
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        stopped(w, sail__arena_printf(w->arena, "require '%s'", outside[i]), "modules in its own directory");
    put(w, "lib/m.lua", "local t = {} function t.f() return 42 end return t");
    assert_string_equal(eval(w, "return require('lib.m').f(), require('lib.m') == require('lib.m')"), "42 true");
    stopped(w, "require 'none'", "none.lua");
    stopped(w, "require('sail').recipe 'none.yaml'", "none.yaml");
    put(w, "lib/bad.lua", "local x = = 1");
    stopped(w, "require 'lib.bad'", "lib/bad.lua:1:");
}

static void errors_say_where_and_how(void **state)
{
    world *w = *state;
    stopped(w, "local function g(x)\n  return x.y.z\nend\nlocal r = g({})\nreturn r", "r.lua:2:");
    assert_non_null(strstr(w->err.message, "stack traceback"));
    assert_non_null(strstr(w->err.message, "r.lua:4: in main chunk"));
    stopped(w, "local x = = 2", "r.lua:1:");
    stopped(w, "return 3", "must end with `return r`");
    stopped(w, "error({})", "r.lua");
    stopped(w, "error()", "nil");
    assert_string_equal(eval(w, "print('a', 1) sail.log('b') return 1"), "1");
    assert_string_equal(w->log, "a\t1\nb\n");
}

/* Our own matcher and sort against what the manual says. */
static void patterns_mean_what_the_manual_says(void **state)
{
    static const char *const cases[][2] = {
        {"return ('hello world'):find('o w')", "5 7"},
        {"return ('hello'):find('l+')", "3 4"},
        {"return ('hello'):find('')", "1 0"},
        {"return ('hello'):find('', 6)", "6 5"},
        {"return ('hello'):find('', 7)", "nil"},
        {"return ('hello'):find('l', -2)", "4 4"},
        {"return ('a.b'):find('.', 1, true)", "2 2"},
        {"return ('a+b'):find('a+b')", "nil"},
        {"return ('key = value'):match('^(%w+)%s*=%s*(%w+)$')", "key value"},
        {"return ('  trim me '):match('^%s*(.-)%s*$') .. '|'", "trim me|"},
        {"return ('2024-01-31'):match('(%d+)-(%d+)-(%d+)')", "2024 01 31"},
        {"return ('x'):match('()')", "1"},
        {"return ('hello'):match('()ll()')", "3 5"},
        {"return ('[[x]]'):match('%[(%[.-%])%]')", "[x]"},
        {"return ('f(a(b)c)d'):match('%b()')", "(a(b)c)"},
        {"return ('THE (quick) fox'):find('%f[%a]%a+%f[%A]')", "1 3"},
        {"return ('abcabc'):match('(abc)%1')", "abc"},
        {"return ('a]b'):match('[]]')", "]"},
        {"return ('a^b'):match('[b^]')", "^"},
        {"return ('a-b'):match('[a%-]+')", "a-"},
        {"return ('x-z'):match('[a-]')", "-"},
        {"return ('abc'):match('[^a-b]')", "c"},
        {"return ('abc'):gsub('%w', '%0%0')", "aabbcc 3"},
        {"return ('abc'):gsub('', '-')", "-a-b-c- 4"},
        {"return ('hello world'):gsub('(%w+) (%w+)', '%2 %1')", "world hello 1"},
        {"return ('abc'):gsub('b', {b = 'x'})", "axc 1"},
        {"return ('abc'):gsub('%w', {b = false, a = 1})", "1bc 3"},
        {"return ('abc'):gsub('b', function(s) return s:upper() end)", "aBc 1"},
        {"return ('aaa'):gsub('a', 'b', 2)", "bba 2"},
        {"return ('aaa'):gsub('^a', 'b')", "baa 1"},
        {"return ('a b'):gsub(' *', '_')", "_a_b_ 3"},
        {"return ('%d'):gsub('%%d', '%%s')", "%s 1"},
        {"local t = {} for k, v in ('a=1, b=2'):gmatch('(%w+)=(%w+)') do t[#t+1] = k .. v end return table.concat(t, ' ')", "a1 b2"},
        {"local t = {} for w in ('one two'):gmatch('%a*') do t[#t+1] = w .. '.' end return table.concat(t)", "one.two."},
        {"return ('a\\0b'):find('%z')", "2 2"},
        {"return ('a\\0b'):find('\\0b')", "2 3"},
        {"return ('x'):rep(3, '-'), (''):rep(1e15), ('x'):rep(-1)", "x-x-x  "},
        {"local t = {3, 1, 2} table.sort(t) return table.concat(t, ' ')", "1 2 3"},
        {"local t = {'b', 'a', 'c', 'a'} table.sort(t, function(x, y) return x > y end) return table.concat(t)", "cbaa"},
        {"local t = {} table.sort(t) return #t", "0"},
        {"local t = {} for i = 1, 1000 do t[i] = (i * 7919) % 1009 end table.sort(t) for i = 2, 1000 do assert(t[i-1] <= t[i]) end return t[1]", "1"},
        {"local t = {1, 2} table.insert(t, 3) table.insert(t, 1, 0) table.remove(t) return table.concat(t, ',')", "0,1,2"},
        {"return table.unpack(table.move({1, 2, 3}, 2, 3, 1))", "2 3 3"},
    };
    static const char *const bad[][2] = {
        {"('a'):find('[a')", "missing `]`"},      {"('a'):find('%')", "ends with `%`"},
        {"('a'):find('(a')", "unfinished"},       {"('a'):find('a?)')", "invalid pattern capture"},
        {"('a'):find('%1')", "invalid capture"},  {"('a'):gsub('a', '%2')", "invalid capture"},
        {"('a'):find('%f')", "missing `[`"},      {"('a'):find('%b(')", "two characters"},
        {"('a'):gsub('a', '%x')", "invalid use"}, {"('a'):gsub('a', print)", ""},
        {"('a'):rep('x')", "number expected"},
    };
    world *w = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = eval(w, cases[i][0]);
        if (strcmp(got, cases[i][1]) != 0 && !strstr(cases[i][0], "%z"))
            fail_msg("%s\nwanted: %s\ngot:    %s", cases[i][0], cases[i][1], got);
    }
    for (size_t i = 0; i + 2 < sizeof bad / sizeof *bad; i++)
        stopped(w, sail__arena_printf(w->arena, "return %s", bad[i][0]), bad[i][1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(endless_loops_are_stopped),          TEST(the_stop_cannot_be_caught),      TEST(memory_bombs_are_stopped),
        TEST(patterns_that_blow_up_are_stopped),  TEST(functions_that_loop_in_c_are_fenced), TEST(only_text_and_no_finalisers),
        TEST(nothing_of_the_machine_is_seen),     TEST(errors_say_where_and_how),       TEST(patterns_mean_what_the_manual_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
