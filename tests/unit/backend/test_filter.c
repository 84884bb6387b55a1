/* test_filter.c - the filters of the sampling distribution against the recorded ones, and drawing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>

#include <cmocka.h>

#include "base/node.h"
#include "sail/sampler.h"

static double number(const sail_node *map, const char *key, double absent)
{
    sail_err err;
    double x = absent;
    const sail_node *n = sail__node_get(map, key);
    if (n)
        assert_int_equal(sail__node_as_double(n, key, &x, &err), SAIL_OK);
    return x;
}

static void filters_give_the_recorded_probabilities(void **state)
{
    sail_arena *a = sail__arena_new();
    sail_err err = {0};
    sail_node *root;
    const char *golden = getenv("SAIL_GOLDEN"), *top = getenv("SAIL_ROOT");
    char path[4096];
    if (golden)
        snprintf(path, sizeof path, "%s/method/decoding/filters.json", golden);
    else
        snprintf(path, sizeof path, "%s/../shared/golden/method/decoding/filters.json", top ? top : ".");
    if (!sail__file_exists(path)) {
        print_message("skipped: no recorded numbers in %s\n", path);
        sail__arena_free(a);
        skip();
    }
    if (sail__json_read(a, path, 1u << 28, &root, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    const sail_node *cases = sail__node_get(root, "cases");
    double worst = 0;
    assert_true(cases->list.n > 0);
    for (size_t c = 0; c < cases->list.n; c++) {
        const sail_node *one = cases->list.items[c], *options = sail__node_get(one, "options");
        const sail_node *logits = sail__node_get(one, "logits"), *want = sail__node_get(one, "probability");
        const sail_node *context = sail__node_get(one, "context");
        const int64_t n = (int64_t)logits->list.n;
        double *p = sail__arena_array(a, (size_t)n, sizeof *p);
        int32_t *order = sail__arena_array(a, (size_t)n, sizeof *order);
        int32_t *ids = sail__arena_array(a, context->list.n, sizeof *ids);
        for (int64_t i = 0; i < n; i++)
            assert_int_equal(sail__node_as_double(logits->list.items[i], "logits", &p[i], &err), SAIL_OK);
        for (size_t i = 0; i < context->list.n; i++)
            ids[i] = (int32_t)context->list.items[i]->integer;
        const sail_filter_params f = {.temperature = number(options, "temperature", 1),
                                      .top_k = (int64_t)number(options, "top_k", 0),
                                      .top_p = number(options, "top_p", 1),
                                      .min_p = number(options, "min_p", 0),
                                      .typical = number(options, "typical_p", 1),
                                      .penalty = number(options, "repetition_penalty", 1)};
        const int64_t kept = sail_filter(p, n, &f, ids, (int64_t)context->list.n, order);
        assert_int_equal(kept, (int64_t)number(one, "kept", -1));
        for (int64_t i = 0; i < n; i++) {
            double w;
            assert_int_equal(sail__node_as_double(want->list.items[i], "probability", &w, &err), SAIL_OK);
            worst = fmax(worst, fabs(p[i] - w));
        }
    }
    print_message("%zu cases, largest difference %.2e\n", cases->list.n, worst);
    assert_true(worst < 1e-13);
    sail__arena_free(a);
}

static void greedy_takes_the_lowest_id_of_the_largest(void **state)
{
    double p[] = {1, 3, 3, -INFINITY, 2};
    int32_t order[5];
    const sail_filter_params f = {.temperature = 0, .top_p = 1, .typical = 1, .penalty = 1};
    assert_int_equal(sail_filter(p, 5, &f, NULL, 0, order), 1);
    assert_true(p[1] == 1 && p[0] == 0 && p[2] == 0);
    assert_int_equal(sail_filter_draw(p, 5, 0.999), 1);
}

static void draws_follow_the_running_sum_and_never_take_what_was_dropped(void **state)
{
    const double p[] = {0, 0.25, 0, 0.75, 0};
    assert_int_equal(sail_filter_draw(p, 5, 1e-9), 1);
    assert_int_equal(sail_filter_draw(p, 5, 0.2499), 1);
    assert_int_equal(sail_filter_draw(p, 5, 0.25), 3);
    assert_int_equal(sail_filter_draw(p, 5, 1 - 1e-17), 3);
}

static void nothing_finite_keeps_nothing(void **state)
{
    double p[] = {-INFINITY, -INFINITY};
    int32_t order[2];
    const sail_filter_params f = {.temperature = 1, .top_p = 1, .typical = 1, .penalty = 1};
    assert_int_equal(sail_filter(p, 2, &f, NULL, 0, order), 0);
    assert_int_equal(sail_filter(p, 0, &f, NULL, 0, order), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_give_the_recorded_probabilities),
        cmocka_unit_test(greedy_takes_the_lowest_id_of_the_largest),
        cmocka_unit_test(draws_follow_the_running_sum_and_never_take_what_was_dropped),
        cmocka_unit_test(nothing_finite_keeps_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
