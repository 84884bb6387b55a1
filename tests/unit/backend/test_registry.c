/* test_registry.c - plugins by name, their faults, probing, slots of recipes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/registry.h"
#include "plugins/common.h"

static char plugin_dir[4096];

static int setup(void **state)
{
    const char *build = getenv("SAIL_BUILD");
    snprintf(plugin_dir, sizeof plugin_dir, "%s/tests/unit/backend/plugins", build ? build : ".");
    unsetenv("SAIL_PLUGIN_PATH");
    setenv("XDG_DATA_HOME", "/nonexistent", 1);
    *state = sail_ctx_new();
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    sail_ctx_free(*state);
    return 0;
}

static void use_test_plugins(sail_ctx *ctx)
{
    sail_err err = {0};
    if (sail__plugins_add_path(ctx, plugin_dir, &err) != SAIL_OK)
        fail_msg("%s", err.message);
}

static void good_plugin_is_loaded_once(void **state)
{
    sail_ctx *ctx = *state;
    const sail_loaded *p, *again;
    sail_err err = {0};
    use_test_plugins(ctx);
    if (sail__plugin_get(ctx, SAIL_KIND_SAMPLER, "good", &p, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    assert_string_equal(p->plugin.doc, "a good plugin");
    assert_int_equal(p->plugin.caps, SAIL_CAP_PAIRS);
    assert_int_equal(((const struct test_ops *)p->ops)->answer(), 42);
    assert_non_null(strstr(p->path, "sampler-good.so"));
    assert_int_equal(sail__plugin_get(ctx, SAIL_KIND_SAMPLER, "good", &again, &err), SAIL_OK);
    assert_ptr_equal(p, again);
}

static void dash_and_underscore_are_alike(void **state)
{
    const sail_loaded *p;
    use_test_plugins(*state);
    assert_int_equal(sail__plugin_get(*state, SAIL_KIND_SAMPLER, "two-words", &p, NULL), SAIL_OK);
    assert_int_equal(((const struct test_ops *)p->ops)->answer(), 2);
}

static void found_through_the_environment_and_in_kind_folders(void **state)
{
    char dir[] = "/tmp/sail-registry-XXXXXX", path[4200], from[4200];
    const sail_loaded *p;
    sail_err err = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/sampler", dir);
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(path, sizeof path, "%s/sampler/good.so", dir);
    snprintf(from, sizeof from, "%s/sampler-good.so", plugin_dir);
    assert_int_equal(symlink(from, path), 0);
    snprintf(from, sizeof from, "/nonexistent::%s", dir);
    setenv("SAIL_PLUGIN_PATH", from, 1);
    if (sail__plugin_get(*state, SAIL_KIND_SAMPLER, "good", &p, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    assert_string_equal(p->path, path);
    assert_int_equal(sail__remove_tree(dir, &err), SAIL_OK);
}

static void unknown_name_tells_the_nearest_and_where_it_looked(void **state)
{
    const sail_loaded *p;
    sail_err err = {0};
    use_test_plugins(*state);
    assert_int_equal(sail__plugin_get(*state, SAIL_KIND_SAMPLER, "goood", &p, &err), SAIL_E_NOTFOUND);
    assert_null(p);
    assert_non_null(strstr(err.message, "did you mean good?"));
    assert_non_null(strstr(err.message, plugin_dir));
    assert_int_equal(sail__plugin_get(*state, SAIL_KIND_JUDGE, "good", &p, &err), SAIL_E_NOTFOUND);
    assert_int_equal(sail__plugin_get(*state, SAIL_KIND_SAMPLER, "../sampler-good", &p, &err), SAIL_E_NOTFOUND);
    assert_int_equal(sail__plugins_add_path(*state, "/nonexistent", &err), SAIL_E_NOTFOUND);
}

/* What is wrong with each, in the words of the message. */
static const struct {
    const char *name, *words;
} faults[] = {
    {"major", "built for plugin interface 2.1, this sail has 1.1"},
    {"minor", "built for plugin interface 1.2, this sail has 1.1"},
    {"badsize", "says it is 4 bytes"},
    {"wrongkind", "is of kind judge"},
    {"othername", "calls itself somebody"},
    {"noops", "no table of functions"},
    {"null", "gave NULL"},
    {"crash", "crashed"},
    {"hang", "did not answer within 2 s"},
    {"exit", "ended the process"},
    {"nosymbol", "does not export sail_plugin_query"},
    {"badoption", "lies beyond"},
};

static void each_fault_is_survived_and_told(void **state)
{
    use_test_plugins(*state);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        const sail_loaded *p;
        sail_err err = {0};
        double begin = sail__now();
        sail_code code = sail__plugin_get(*state, SAIL_KIND_SAMPLER, faults[i].name, &p, &err);
        assert_int_equal(code, SAIL_E_PLUGIN);
        if (!strstr(err.message, faults[i].words) || !strstr(err.message, faults[i].name))
            fail_msg("%s: %s", faults[i].name, err.message);
        assert_true(sail__now() - begin < 4);
    }
}

static void plugin_of_an_older_header_is_extended_with_zeros(void **state)
{
    const sail_loaded *p;
    sail_err err = {0};
    use_test_plugins(*state);
    if (sail__plugin_get(*state, SAIL_KIND_SAMPLER, "older", &p, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    const struct test_ops *ops = p->ops;
    assert_int_equal(ops->answer(), 3);
    assert_null(ops->later);
    assert_string_equal(p->plugin.opts[0].name, "heat");
    assert_null(p->plugin.opts[0].help);
    assert_null(p->plugin.opts[1].name);
    assert_int_equal(p->plugin.opt_stride, sizeof(sail_opt));
    assert_string_equal(p->plugin.source, "");
}

static void damaged_file_is_no_plugin(void **state)
{
    char dir[] = "/tmp/sail-registry-XXXXXX", path[4200];
    const sail_loaded *p;
    sail_err err = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/sampler-torn.so", dir);
    assert_int_equal(sail__file_write(path, "\177ELF torn", 9, &err), SAIL_OK);
    assert_int_equal(sail__plugins_add_path(*state, dir, &err), SAIL_OK);
    assert_int_equal(sail__plugin_get(*state, SAIL_KIND_SAMPLER, "torn", &p, &err), SAIL_E_PLUGIN);
    assert_non_null(strstr(err.message, "cannot be loaded"));
    sail__remove_tree(dir, NULL);
}

static void list_tells_what_each_is_or_why_not(void **state)
{
    sail_found *list;
    size_t n, good = 0, bad = 0;
    sail_err err = {0};
    sail_arena *a = sail__arena_new();
    use_test_plugins(*state);
    double begin = sail__now();
    if (sail__plugins_list(*state, a, &list, &n, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    assert_true(sail__now() - begin < 10);
    for (size_t i = 0; i < n; i++) {
        if (list[i].kind != SAIL_KIND_SAMPLER || !strstr(list[i].path, plugin_dir))
            continue;
        if (!list[i].problem) {
            good++;
            if (strcmp(list[i].name, "good") == 0)
                assert_string_equal(list[i].doc, "a good plugin");
            continue;
        }
        bad++;
        size_t k = 0;
        while (k < sizeof faults / sizeof *faults && strcmp(faults[k].name, list[i].name) != 0)
            k++;
        assert_true(k < sizeof faults / sizeof *faults);
        assert_non_null(strstr(list[i].problem, faults[k].words));
    }
    assert_int_equal(good, 3);
    assert_int_equal(bad, sizeof faults / sizeof *faults);
    sail__arena_free(a);
}

static void second_file_of_a_name_is_told_not_used(void **state)
{
    char dir[] = "/tmp/sail-registry-XXXXXX", path[4200], from[4200];
    sail_found *list;
    size_t n, first = 0, hidden = 0;
    sail_err err = {0};
    sail_arena *a = sail__arena_new();
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/sampler-good.so", dir);
    snprintf(from, sizeof from, "%s/sampler-good.so", plugin_dir);
    assert_int_equal(symlink(from, path), 0);
    setenv("SAIL_PLUGIN_PATH", dir, 1);
    use_test_plugins(*state); /* comes before the environment */
    assert_int_equal(sail__plugins_list(*state, a, &list, &n, &err), SAIL_OK);
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, "good") == 0) {
            first += !list[i].problem && strstr(list[i].path, plugin_dir);
            hidden += list[i].problem && strstr(list[i].problem, "comes first") && strcmp(list[i].path, path) == 0;
        }
    assert_int_equal(first, 1);
    assert_int_equal(hidden, 1);
    sail__remove_tree(dir, NULL);
    sail__arena_free(a);
}

static int one(void)
{
    return 1;
}

static void linked_in_plugin_is_copied(void **state)
{
    char name[] = "inner";
    struct test_ops ops = {sizeof ops, one, one};
    sail_plugin p = {.size = sizeof p, .abi_major = SAIL_ABI_MAJOR, .kind = SAIL_KIND_OBJECTIVE, .name = name, .ops = &ops};
    const sail_loaded *got;
    sail_err err = {0};
    assert_int_equal(sail__plugins_add(*state, &p, NULL, &err), SAIL_OK);
    assert_int_equal(sail__plugins_add(*state, &p, NULL, &err), SAIL_E_EXISTS);
    memset(name, 'x', 5);
    memset(&ops, 0, sizeof ops);
    assert_int_equal(sail__plugin_get(*state, SAIL_KIND_OBJECTIVE, "inner", &got, &err), SAIL_OK);
    assert_string_equal(got->path, "(built in)");
    assert_int_equal(((const struct test_ops *)got->ops)->later(), 1);
    p.abi_major++;
    p.name = "later";
    assert_int_equal(sail__plugins_add(*state, &p, NULL, &err), SAIL_E_PLUGIN);
}

/* ---- slots ---- */

struct good {
    double heat;
    int64_t count;
    bool on;
    const char *text;
};

static bool slot(sail_ctx *ctx, sail_arena *a, const char *json, sail_slot *out, sail_problems *problems)
{
    sail_node *n = NULL;
    sail_err err = {0};
    if (sail__json_parse(a, json, strlen(json), "r.json", 0, &n, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    *problems = (sail_problems){.arena = a};
    return sail__slot_parse(ctx, a, SAIL_KIND_SAMPLER, n, "rollout.sampler", NULL, NULL, out, problems);
}

static void slot_is_a_name_or_a_map(void **state)
{
    sail_arena *a = sail__arena_new();
    sail_slot s;
    sail_problems p;
    use_test_plugins(*state);
    assert_true(slot(*state, a, "\"good\"", &s, &p));
    struct good *o = s.options;
    assert_true(o->heat == 0.5 && o->count == 7 && o->on && strcmp(o->text, "none") == 0);
    assert_true(slot(*state, a, "{\"kind\": \"good\", \"heat\": 2, \"on\": false}", &s, &p));
    o = s.options;
    assert_true(o->heat == 2.0 && o->count == 7 && !o->on);
    assert_true(slot(*state, a, "{\"kind\": \"two-words\"}", &s, &p));
    assert_null(s.options);
    sail__arena_free(a);
}

static void slot_problems_are_all_told(void **state)
{
    sail_arena *a = sail__arena_new();
    sail_slot s;
    sail_problems p;
    use_test_plugins(*state);
    assert_false(slot(*state, a, "{\"kind\": \"good\", \"heat\": 3, \"cuont\": 1}", &s, &p));
    assert_int_equal(p.n, 2);
    assert_string_equal(p.items[0].path, "rollout.sampler.heat");
    assert_non_null(strstr(p.items[0].message, "out of range"));
    assert_non_null(strstr(p.items[1].message, "did you mean count?"));
    assert_false(slot(*state, a, "{\"heat\": 3}", &s, &p));
    assert_non_null(strstr(p.items[0].message, "has no kind"));
    assert_false(slot(*state, a, "[1]", &s, &p));
    assert_non_null(strstr(p.items[0].message, "is a list"));
    assert_false(slot(*state, a, "\"god\"", &s, &p));
    assert_non_null(strstr(p.items[0].message, "did you mean good?"));
    assert_false(slot(*state, a, "null", &s, &p));
    assert_false(slot(*state, a, "{\"kind\": \"two-words\", \"x\": 1}", &s, &p));
    assert_non_null(strstr(p.items[0].message, "there are: kind"));
    sail__arena_free(a);
}

static void destroy(void *p)
{
    strcat(p, "x");
}

static void context_slots_are_freed_with_the_context(void **state)
{
    char one_slot[4] = "", other[4] = "";
    sail_ctx *ctx = sail_ctx_new();
    (void)state;
    sail__ctx_set(ctx, SAIL_CTX_LUA, one_slot, destroy);
    assert_ptr_equal(sail__ctx_get(ctx, SAIL_CTX_LUA), one_slot);
    sail__ctx_set(ctx, SAIL_CTX_LUA, other, destroy);
    assert_string_equal(one_slot, "x");
    sail_ctx_free(ctx);
    assert_string_equal(other, "x");
}

static void kinds_have_names(void **state)
{
    sail_kind k;
    (void)state;
    assert_true(sail__kind_parse("judge", &k) && k == SAIL_KIND_JUDGE);
    assert_false(sail__kind_parse("juge", &k));
    assert_string_equal(sail__kind_name(SAIL_KIND_COMM), "comm");
    assert_string_equal(sail__kind_name(SAIL_KIND_COUNT), "unknown");
}

#define WITH_CONTEXT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CONTEXT(good_plugin_is_loaded_once),
        WITH_CONTEXT(dash_and_underscore_are_alike),
        WITH_CONTEXT(found_through_the_environment_and_in_kind_folders),
        WITH_CONTEXT(unknown_name_tells_the_nearest_and_where_it_looked),
        WITH_CONTEXT(each_fault_is_survived_and_told),
        WITH_CONTEXT(plugin_of_an_older_header_is_extended_with_zeros),
        WITH_CONTEXT(damaged_file_is_no_plugin),
        WITH_CONTEXT(list_tells_what_each_is_or_why_not),
        WITH_CONTEXT(second_file_of_a_name_is_told_not_used),
        WITH_CONTEXT(linked_in_plugin_is_copied),
        WITH_CONTEXT(slot_is_a_name_or_a_map),
        WITH_CONTEXT(slot_problems_are_all_told),
        cmocka_unit_test(context_slots_are_freed_with_the_context),
        cmocka_unit_test(kinds_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
