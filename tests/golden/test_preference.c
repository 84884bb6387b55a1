/* test_preference.c - preference models against 60-digit arithmetic:
 * golden/method/preference/{grid,plackett_luce}.json. */
#include "../golden.h"
#include "../plugin.h"

#include "sail/preference.h"

static sail_preference_model model_of(sail_arena *a, const char *name, const sail_node *parameters)
{
    const sail_plugin *p = test_plugin("preference", name);
    return (sail_preference_model){p->ops, test_options(a, p, parameters), name};
}

static double worst_of(double *worst, double deviation, const char *what, const char *model, double at)
{
    *worst = fmax(*worst, deviation);
    if (!(deviation <= 1))
        print_error("%s of %s at %g: %g times the tolerance\n", what, model, at, deviation);
    return deviation;
}

/* Every row of a model at once: a batch of pairs (m, 0), so that gathering is tested too. */
static int check_grid(const sail_node *entry, sail_arena *a)
{
    const char *name = test_string(sail__node_get(entry, "preference"));
    sail_preference_model m = model_of(a, name, sail__node_get(entry, "parameters"));
    const sail_node *rows = sail__node_get(entry, "rows");
    int64_t n = (int64_t)rows->list.n, bad = 0;
    int most = m.ops->outcomes(m.self, 2);
    assert_int_equal(most, rows->list.items[0]->list.items[1]->list.n);
    int64_t *bound = sail__arena_array(a, (size_t)(2 * n + 1), sizeof *bound);
    int64_t *unit = sail__arena_array(a, (size_t)(2 * n + 1), sizeof *unit);
    double *score = sail__arena_array(a, (size_t)(2 * n), sizeof *score);
    int32_t *outcome = sail__arena_array(a, (size_t)n, sizeof *outcome);
    for (int64_t i = 0; i <= 2 * n; i++) {
        bound[i] = 2 * i;
        unit[i] = i;
    }
    for (int64_t i = 0; i < n; i++)
        score[2 * i] = test_number(rows->list.items[i]->list.items[0]);
    sail_layout l = {n, 2 * n, 2 * n, bound, unit, n, 2 * n, 2 * n};
    double w_log = 0, w_slope = 0, w_q = 0, w_h = 0, w_dh = 0;
    bool tight = !strcmp(name, "bradley_terry") || !strcmp(name, "thurstone") || !strcmp(name, "noisy_bradley_terry");
    sail_tape *t = sail_tape_new(&l);
    for (int o = 0; o < most; o++) {
        sail_tape_reset(t, &l);
        for (int64_t i = 0; i < n; i++)
            outcome[i] = o;
        sail_var s = sail_tape_leaf(t, SAIL_RESPONSE, 2 * n, score), f = sail_preference_logprob(t, &m, s, outcome);
        if (sail_tape_backward(t, sail_sum(t, f)) != SAIL_OK)
            fail_msg("%s: %s", name, sail_tape_message(t));
        for (int64_t i = 0; i < n; i++) {
            sail_node *const *row = rows->list.items[i]->list.items;
            double p[3];
            sail_err err = {0};
            assert_int_equal(sail_preference_probabilities(&m, 2, &score[2 * i], p, &err), SAIL_OK);
            double lq = test_number(row[2]->list.items[o]), d = test_number(row[3]->list.items[o]);
            bad += worst_of(&w_log, test_deviation(sail_value_of(t, f)[i], lq, tight ? 1e-14 : 1e-12, tight ? 1e-3 : 1),
                            "log q", name, score[2 * i]) > 1;
            bad += worst_of(&w_slope, test_deviation(sail_gradient_of(t, s)[2 * i], d, 1e-12, 1), "slope", name,
                            score[2 * i]) > 1;
            bad += worst_of(&w_slope, test_deviation(-sail_gradient_of(t, s)[2 * i + 1], d, 1e-12, 1), "slope", name,
                            score[2 * i]) > 1;
            bad += worst_of(&w_q, test_deviation(p[o], test_number(row[1]->list.items[o]), 1e-12, 1), "q", name,
                            score[2 * i]) > 1;
        }
    }
    sail_tape_reset(t, &l);
    sail_var s = sail_tape_leaf(t, SAIL_RESPONSE, 2 * n, score), h = sail_preference_entropy(t, &m, s);
    assert_int_equal(sail_tape_backward(t, sail_sum(t, h)), SAIL_OK);
    for (int64_t i = 0; i < n; i++) {
        sail_node *const *row = rows->list.items[i]->list.items;
        bad += worst_of(&w_h, test_deviation(-sail_value_of(t, h)[i], test_number(row[4]), 1e-12, 1), "-entropy", name,
                        score[2 * i]) > 1;
        bad += worst_of(&w_dh, test_deviation(-sail_gradient_of(t, s)[2 * i], test_number(row[5]), 1e-12, 1),
                        "slope of -entropy", name, score[2 * i]) > 1;
    }
    sail_tape_free(t);
    print_message("%-20s %3d rows; share of tolerance: log q %.3f, slope %.3f, q %.3f, entropy %.3f, its slope %.3f\n",
                  name, (int)n, w_log, w_slope, w_q, w_h, w_dh);
    return (int)bad;
}

static void models_match_the_recorded_grid(void **state)
{
    GOLDEN_OR_SKIP();
    golden_file f;
    const sail_node *models = sail__node_get(golden_json(&f, "method/preference/grid.json"), "models");
    int bad = 0;
    assert_true(models->list.n > 0);
    for (size_t i = 0; i < models->list.n; i++)
        bad += check_grid(models->list.items[i], f.arena);
    assert_int_equal(bad, 0);
    golden_close(&f);
}

static void plackett_luce_matches_the_recorded_rankings(void **state)
{
    GOLDEN_OR_SKIP();
    golden_file f;
    const sail_node *cases = sail__node_get(golden_json(&f, "method/preference/plackett_luce.json"), "cases");
    double w_log = 0, w_slope = 0, w_sum = 0, w_h = 0;
    int bad = 0;
    assert_true(cases->list.n > 0);
    for (size_t c = 0; c < cases->list.n; c++) {
        const sail_node *x = cases->list.items[c], *rankings = sail__node_get(x, "rankings");
        sail_node *options = sail__node_new(f.arena, SAIL_NODE_MAP, "test", 0, 0);
        sail__node_set(f.arena, options, "temperature", sail__node_get(x, "temperature"));
        sail__node_set(f.arena, options, "top", sail__node_get(x, "top"));
        sail_preference_model m = model_of(f.arena, "plackett_luce", options);
        int k = (int)sail__node_get(x, "K")->integer, top = (int)sail__node_get(x, "top")->integer;
        double score[SAIL_MAX_RESPONSES];
        test_flatten(sail__node_get(x, "scores"), score, SAIL_MAX_RESPONSES);
        int most = m.ops->outcomes(m.self, k);
        assert_int_equal(most, sail__node_get(x, "outcomes")->integer);
        int64_t bound[] = {0, k}, unit[SAIL_MAX_RESPONSES + 1];
        for (int i = 0; i <= k; i++)
            unit[i] = i;
        sail_layout l = {1, k, k, bound, unit, 1, k, k};
        sail_tape *t = sail_tape_new(&l);
        for (size_t r = 0; r < rankings->list.n; r++) {
            const sail_node *row = rankings->list.items[r], *ranking = sail__node_get(row, "ranking");
            int order[SAIL_MAX_RESPONSES], back[SAIL_MAX_RESPONSES];
            for (int j = 0; j < top; j++)
                order[j] = (int)ranking->list.items[j]->integer;
            int32_t outcome = sail_outcome_of_ranking(order, k, top);
            assert_true(sail_outcome_ranking(outcome, k, top, back));
            assert_memory_equal(order, back, (size_t)top * sizeof *order);
            sail_tape_reset(t, &l);
            sail_var s = sail_tape_leaf(t, SAIL_RESPONSE, k, score), q = sail_preference_logprob(t, &m, s, &outcome);
            assert_int_equal(sail_tape_backward(t, sail_sum(t, q)), SAIL_OK);
            bad += worst_of(&w_log,
                            test_deviation(*sail_value_of(t, q), test_number(sail__node_get(row, "logprob")), 1e-12, 1),
                            "log q", "plackett_luce", k) > 1;
            for (int i = 0; i < k; i++)
                bad += worst_of(&w_slope,
                                test_deviation(sail_gradient_of(t, s)[i],
                                               test_number(sail__node_get(row, "gradient")->list.items[i]), 1e-12, 1),
                                "slope", "plackett_luce", k) > 1;
        }
        sail_tape_reset(t, &l);
        sail_var h = sail_preference_entropy(t, &m, sail_tape_leaf(t, SAIL_RESPONSE, k, score));
        bad += worst_of(&w_h,
                        test_deviation(-*sail_value_of(t, h), test_number(sail__node_get(x, "sum_q_log_q")), 1e-12, 1),
                        "-entropy", "plackett_luce", k) > 1;
        double *p = sail__arena_array(f.arena, (size_t)most, sizeof *p), sum = 0;
        sail_err err = {0};
        assert_int_equal(sail_preference_probabilities(&m, k, score, p, &err), SAIL_OK);
        for (int o = 0; o < most; o++)
            sum += p[o];
        bad += worst_of(&w_sum, test_deviation(sum, 1, 1e-12, 1), "sum of q", "plackett_luce", k) > 1;
        sail_tape_free(t);
    }
    print_message("plackett_luce: %d cases; share of tolerance: log q %.3f, slope %.3f, entropy %.3f, sum of q %.3f\n",
                  (int)cases->list.n, w_log, w_slope, w_h, w_sum);
    assert_int_equal(bad, 0);
    golden_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_match_the_recorded_grid),
        cmocka_unit_test(plackett_luce_matches_the_recorded_rankings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
