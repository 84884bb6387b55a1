/* test_abi.c - plugins that were built against other versions of the headers load and work: what they lack is zero, what the
 * host does not know is passed over. */
#include "../plugin.h"

#include "backend/registry.h"
#include "sail/preference.h"

static void works(const char *name)
{
    char dir[4096];
    const char *build = getenv("SAIL_BUILD");
    sail_err err = {0};
    sail_ctx *ctx = sail_ctx_new();
    sail_arena *a = sail__arena_new();
    snprintf(dir, sizeof dir, "%s/tests/abi", build ? build : "build");
    assert_int_equal(sail__plugins_add_path(ctx, dir, &err), SAIL_OK);
    sail_problems problems = {.arena = a};
    sail_slot slot;
    sail_node *map = test_map(a, "kind", "\"NAME\"", "scale", "4", NULL);
    sail__node_set(a, map, "kind", sail__node_string(a, name, "test"));
    if (!sail__slot_parse(ctx, a, SAIL_KIND_PREFERENCE, map, "preference", NULL, NULL, &slot, &problems))
        fail_msg("%s: %s", name, problems.items[0].message);
    const sail_plugin *p = &slot.loaded->plugin;
    assert_string_equal(p->doc, "built long ago");
    assert_null(p->self);
    assert_string_equal(p->opts[0].name, "scale");
    assert_true(p->opts[0].max == 8 && !p->opts[0].help && !p->opts[0].unit);
    assert_string_equal(p->opts[1].name, "unused");
    assert_null(p->opts[2].name);
    const double *values = slot.options;
    assert_true(values[0] == 4 && values[1] == 3);

    sail_preference_model m = {slot.loaded->ops, slot.options, p->name};
    double q[2], want = 1 / (1 + exp(-4 * 0.75));
    assert_int_equal(sail_preference_probabilities(&m, 2, (double[]){1, 0.25}, q, &err), SAIL_OK);
    assert_true(fabs(q[0] - want) < 1e-15 && fabs(q[1] - (1 - want)) < 1e-15);
    sail_node *wrong = test_map(a, "kind", "\"NAME\"", "scale", "9", NULL);
    sail__node_set(a, wrong, "kind", sail__node_string(a, name, "test"));
    assert_false(sail__slot_parse(ctx, a, SAIL_KIND_PREFERENCE, wrong, "preference", NULL, NULL, &slot, &problems));
    sail__arena_free(a);
    sail_ctx_free(ctx);
}

static void a_plugin_of_an_older_header_works(void **state) { works("older"); }
static void a_plugin_of_a_newer_header_works(void **state) { works("newer"); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plugin_of_an_older_header_works),
        cmocka_unit_test(a_plugin_of_a_newer_header_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
