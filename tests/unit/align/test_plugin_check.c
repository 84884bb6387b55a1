/* test_plugin_check.c - the checks of plugins: every plugin of this build passes, and each planted fault is found. */
#include "../../plugin.h"

#include <dirent.h>

#include "sail/check.h"

static const char *build(void)
{
    const char *dir = getenv("SAIL_BUILD");
    return dir ? dir : "build";
}

static void tell(void *user, const char *what, bool holds, const char *detail)
{
    int *n = user;
    ++*n;
    if (!holds)
        print_message("    %s: %s\n", what, detail);
}

static int check_folder(const char *path, int *failed)
{
    int files = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        const char *end = strrchr(e->d_name, '.');
        if (!end || strcmp(end, ".so") != 0)
            continue;
        char file[4096];
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        sail_ctx *ctx = sail_ctx_new();
        sail_err err = {0};
        int n = 0;
        files++;
        if (sail_plugin_check(ctx, file, NULL, 0, tell, &n, &err) != SAIL_OK) {
            print_message("  %s\n", err.message);
            ++*failed;
        }
        assert_true(n >= 4);
        sail_ctx_free(ctx);
    }
    closedir(d);
    return files;
}

static void every_plugin_of_this_build_passes(void **state)
{
    static const char *const kinds[] = {"objective", "preference", "strategy", "judge", "dataset", "optimizer"};
    char path[4096];
    int failed = 0, backends;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        snprintf(path, sizeof path, "%s/plugins/%s", build(), kinds[i]);
        assert_true(check_folder(path, &failed) > 0);
    }
    snprintf(path, sizeof path, "%s/backends/ref", build());
    backends = check_folder(path, &failed);
    assert_int_equal(backends, 1);
    snprintf(path, sizeof path, "%s/tests/install", build()); /* plugins/template.c, every part */
    assert_int_equal(check_folder(path, &failed), 6);
    assert_int_equal(failed, 0);
}

/* The fault is found, and the message says what it is. */
static void expect(const char *name, const char *text)
{
    char file[4096];
    sail_err err = {0};
    sail_ctx *ctx = sail_ctx_new();
    snprintf(file, sizeof file, "%s/tests/unit/align/plugins/%s.so", build(), name);
    if (sail_plugin_check(ctx, file, NULL, 0, NULL, NULL, &err) != SAIL_E_PLUGIN)
        fail_msg("%s passes: %s", name, err.message);
    if (!strstr(err.message, text) || !strstr(err.message, name))
        fail_msg("%s: \"%s\" does not say \"%s\"", name, err.message, text);
    sail_ctx_free(ctx);
}

static void a_derivative_that_is_lost_is_found(void **state) { expect("lost", "derivative with respect to log p"); }
static void probabilities_that_do_not_sum_to_one_are_found(void **state) { expect("sum", "not to 1"); }
static void a_probability_that_underflows_is_found(void **state) { expect("tail", "log q is -inf"); }
static void a_strategy_that_goes_wrong_later_is_found(void **state) { expect("later", "step 1000"); }
static void a_response_chosen_twice_is_found(void **state) { expect("twice", "slots are different numbers"); }
static void a_choice_that_changes_is_found(void **state) { expect("dice", "others when asked again"); }
static void a_strategy_that_does_nothing_is_found(void **state) { expect("mute", "would change nothing"); }
static void an_outcome_that_does_not_exist_is_found(void **state) { expect("ties", "outcome 6 does not exist for 3"); }
static void an_error_without_words_is_found(void **state) { expect("silent", "without a message"); }
static void moments_that_collide_are_found(void **state) { expect("one", "same operand"); }
static void a_default_outside_its_range_is_found(void **state) { expect("range", "outside 0 to 1"); }
static void a_missing_function_is_found(void **state) { expect("empty", "label is missing"); }

static void options_are_taken_and_wrong_ones_named(void **state)
{
    char file[4096];
    sail_err err = {0};
    sail_ctx *ctx = sail_ctx_new();
    const char *good[] = {"rule=more", "pattern=[a-z]+"}, *bad[] = {"rule=more", "patern=x"}, *unset[] = {"rule=more"};
    snprintf(file, sizeof file, "%s/plugins/judge/rule.so", build());
    assert_int_equal(sail_plugin_check(ctx, file, good, 2, NULL, NULL, &err), SAIL_OK);
    assert_int_equal(sail_plugin_check(ctx, file, bad, 2, NULL, NULL, &err), SAIL_E_PLUGIN);
    assert_non_null(strstr(err.message, "patern"));
    assert_int_equal(sail_plugin_check(ctx, file, unset, 1, NULL, NULL, &err), SAIL_E_PLUGIN);
    assert_non_null(strstr(err.message, "needs a pattern"));
    assert_int_equal(sail_plugin_check(ctx, "/nowhere/x.so", NULL, 0, NULL, NULL, &err), SAIL_E_NOTFOUND);
    assert_int_equal(sail_plugin_check(ctx, "/etc/passwd", NULL, 0, NULL, NULL, &err), SAIL_E_PLUGIN);
    sail_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_plugin_of_this_build_passes),
        cmocka_unit_test(a_derivative_that_is_lost_is_found),
        cmocka_unit_test(probabilities_that_do_not_sum_to_one_are_found),
        cmocka_unit_test(a_probability_that_underflows_is_found),
        cmocka_unit_test(a_strategy_that_goes_wrong_later_is_found),
        cmocka_unit_test(a_response_chosen_twice_is_found),
        cmocka_unit_test(a_choice_that_changes_is_found),
        cmocka_unit_test(a_strategy_that_does_nothing_is_found),
        cmocka_unit_test(an_outcome_that_does_not_exist_is_found),
        cmocka_unit_test(an_error_without_words_is_found),
        cmocka_unit_test(moments_that_collide_are_found),
        cmocka_unit_test(a_default_outside_its_range_is_found),
        cmocka_unit_test(a_missing_function_is_found),
        cmocka_unit_test(options_are_taken_and_wrong_ones_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
