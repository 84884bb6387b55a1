/* test_schedule.c - schedules of options and of the learning rate as recipes write them. */
#include "../../plugin.h"

#include "align/schedule.h"

static const sail_node *json(sail_arena *a, const char *text)
{
    sail_err err = {0};
    sail_node *n;
    if (sail__json_parse(a, text, strlen(text), "recipe", 1, &n, &err))
        fail_msg("%s", err.message);
    return n;
}

static double at(sail_arena *a, const char *text, int64_t step)
{
    sail_err err = {0};
    double v = sail__schedule_value(json(a, text), step, &err);
    if (err.code)
        fail_msg("%s", err.message);
    return v;
}

static void values_follow_their_schedule(void **state)
{
    sail_arena *a = sail__arena_new();
    const char *ramp = "{\"kind\": \"ramp\", \"from\": 0.1, \"to\": 0.3, \"steps\": 20, \"start\": 10}";
    const char *cosine = "{\"kind\": \"cosine\", \"from\": 1, \"to\": 3, \"steps\": 10}";
    const char *points = "{\"kind\": \"piecewise\", \"points\": [[5, 1], [10, 2], [20, 0]]}";
    assert_true(sail__schedule_is(json(a, ramp)) && sail__schedule_is(json(a, points)) &&
                !sail__schedule_is(json(a, "3")));
    assert_false(sail__schedule_is(json(a, "{\"kind\": \"mixture\", \"from\": 1, \"to\": 2}")));
    assert_true(at(a, ramp, 0) == 0.1 && at(a, ramp, 10) == 0.1 && at(a, ramp, 30) == 0.3 && at(a, ramp, 1000) == 0.3);
    assert_true(fabs(at(a, ramp, 15) - 0.15) < 1e-15);
    assert_true(at(a, cosine, 0) == 1 && fabs(at(a, cosine, 5) - 2) < 1e-15 && at(a, cosine, 10) == 3);
    assert_true(fabs(at(a, cosine, 2) - (2 - cos(M_PI / 5))) < 1e-15);
    assert_true(at(a, points, 0) == 1 && at(a, points, 5) == 1 && fabs(at(a, points, 7) - 1.4) < 1e-15);
    assert_true(at(a, points, 10) == 2 && at(a, points, 15) == 1 && at(a, points, 99) == 0);
    assert_true(at(a, "0.25", 7) == 0.25 && at(a, "4", 7) == 4);
    sail__arena_free(a);
}

static void wrong_schedules_are_told(void **state)
{
    static const char *const rows[][2] = {
        {"{\"kind\": \"ramp\", \"from\": 0, \"to\": 1}", "steps is missing"},
        {"{\"kind\": \"ramp\", \"from\": 0, \"to\": 1, \"steps\": 0}", "above 0"},
        {"{\"kind\": \"ramp\", \"from\": 0, \"to\": 1, \"steps\": 5, \"stop\": 3}", "no key 'stop'"},
        {"{\"kind\": \"ramp\", \"from\": 0}", "no schedule"},
        {"{\"kind\": \"ramp\", \"from\": \"x\", \"to\": 1, \"steps\": 5}", "from"},
        {"{\"kind\": \"piecewise\", \"points\": []}", "list of [step, value]"},
        {"{\"kind\": \"piecewise\", \"points\": [[1, 2], [1, 3]]}", "must go up"},
        {"{\"kind\": \"piecewise\", \"points\": [[1]]}", "[step, value]"},
    };
    sail_arena *a = sail__arena_new();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sail_err err = {0};
        assert_true(isnan(sail__schedule_value(json(a, rows[i][0]), 7, &err)));
        assert_true(err.code == SAIL_E_RECIPE || err.code == SAIL_E_OPTION);
        if (!strstr(err.message, rows[i][1]))
            fail_msg("'%s' does not say '%s'", err.message, rows[i][1]);
    }
    sail__arena_free(a);
}

static void learning_rate_schedules_parse(void **state)
{
    sail_arena *a = sail__arena_new();
    sail_err err = {0};
    sail__lr_schedule s;
    assert_int_equal(sail__lr_parse(NULL, &s, &err), SAIL_OK);
    assert_true(s.kind == SAIL__LR_CONSTANT && sail__lr_factor(&s, 0, 10) == 1);
    assert_int_equal(sail__lr_parse(json(a, "\"cosine\""), &s, &err), SAIL_OK);
    assert_true(s.kind == SAIL__LR_COSINE && s.warmup == 0);
    assert_int_equal(sail__lr_parse(json(a, "{\"kind\": \"linear\", \"warmup\": 0.05, \"floor\": 0.1}"), &s, &err),
                     SAIL_OK);
    /* 5% of 90 steps is 4.5: 5 steps */
    assert_true(sail__lr_factor(&s, 0, 90) == 0 && fabs(sail__lr_factor(&s, 4, 90) - 0.8) < 1e-15);
    assert_true(sail__lr_factor(&s, 5, 90) == 1 && fabs(sail__lr_factor(&s, 90, 90) - 0.1) < 1e-15);
    assert_true(fabs(sail__lr_factor(&s, 500, 90) - 0.1) < 1e-15);
    assert_int_equal(sail__lr_parse(json(a, "{\"kind\": \"cosine_with_restarts\", \"cycles\": 2}"), &s, &err), SAIL_OK);
    assert_true(sail__lr_factor(&s, 50, 100) == 1 && sail__lr_factor(&s, 100, 100) == 0 && fabs(sail__lr_factor(&s, 25, 100) - 0.5) < 1e-15);
    assert_int_equal(sail__lr_parse(json(a, "{\"kind\": \"polynomial\", \"power\": 2, \"floor\": 0.5}"), &s, &err), SAIL_OK);
    assert_true(sail__lr_factor(&s, 50, 100) == 0.625 && sail__lr_factor(&s, 200, 100) == 0.5);
    assert_int_equal(sail__lr_parse(json(a, "\"inverse_sqrt\""), &s, &err), SAIL_OK);
    assert_true(fabs(sail__lr_factor(&s, 30000, 100) - 0.5) < 1e-15);
    static const char *const wrong[] = {"\"warm\"", "{\"warmup\": 3}", "{\"kind\": \"linear\", \"warmup\": -1}",
                                        "{\"kind\": \"linear\", \"floor\": 2}",
                                        "{\"kind\": \"linear\", \"cycles\": 2}", "{\"kind\": \"cosine_with_restarts\", \"cycles\": 0}",
                                        "{\"kind\": \"polynomial\", \"power\": -1}", "{\"kind\": \"inverse_sqrt\", \"power\": 1}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_not_equal(sail__lr_parse(json(a, wrong[i]), &s, &err), SAIL_OK);
    sail__arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_follow_their_schedule),
        cmocka_unit_test(wrong_schedules_are_told),
        cmocka_unit_test(learning_rate_schedules_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
