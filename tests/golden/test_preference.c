/* test_preference.c - preference models against 60-digit arithmetic:
 * golden/method/preference/{grid,plackett_luce,general}.json. Every number recorded there is compared. */
#include "../golden.h"
#include "../plugin.h"

#include "sail/preference.h"

static sail_preference_model model_of(sail_arena *a, const char *name, const sail_node *parameters)
{
    const sail_plugin *p = test_plugin("preference", name);
    return (sail_preference_model){p->ops, test_options(a, p, parameters), name};
}

/* How many numbers were compared. */
static int64_t compared;

static double worst_of(double *worst, double deviation, const char *what, const char *model, double at)
{
    compared++;
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
    compared = 0;
    for (size_t i = 0; i < models->list.n; i++)
        bad += check_grid(models->list.items[i], f.arena);
    print_message("grid.json: %lld numbers\n", (long long)compared);
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
    compared = 0;
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
    print_message("plackett_luce.json: %lld numbers\n", (long long)compared);
    print_message("plackett_luce: %d cases; share of tolerance: log q %.3f, slope %.3f, entropy %.3f, sum of q %.3f\n",
                  (int)cases->list.n, w_log, w_slope, w_h, w_sum);
    assert_int_equal(bad, 0);
    golden_close(&f);
}

/* log q and its derivative of one pair of vectors under a model of vectors. */
static void vectors(const sail_preference_model *m, int n, const double *u, const double *v, int32_t outcome, double *logq, double *gu, double *gv,
                    double *p)
{
    static const int64_t bound[] = {0, 2}, unit[] = {0, 1, 2};
    const sail_layout l = {1, 2, 2, bound, unit, 1, 2, 2};
    sail_tape *t = sail_tape_new(&l);
    sail_var score[SAIL_MAX_WIDTH];
    double both[2 * SAIL_MAX_WIDTH];
    sail_err err = {0};
    for (int d = 0; d < n; d++) {
        const double x[2] = {u[d], v[d]};
        score[d] = sail_tape_leaf(t, SAIL_RESPONSE, 2, x);
        both[d] = u[d];
        both[n + d] = v[d];
    }
    sail_var q = sail_preference_logprob_of(t, m, n, score, &outcome);
    if (sail_tape_backward(t, sail_sum(t, q)) != SAIL_OK)
        fail_msg("%s", sail_tape_message(t));
    *logq = *sail_value_of(t, q);
    for (int d = 0; d < n; d++) {
        gu[d] = sail_gradient_of(t, score[d])[0];
        gv[d] = sail_gradient_of(t, score[d])[1];
    }
    if (sail_preference_probabilities(m, 2, both, p, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    sail_tape_free(t);
}

static sail_preference_model general(sail_arena *a, size_t dimension)
{
    char text[24];
    snprintf(text, sizeof text, "%zu", dimension);
    return model_of(a, "general", test_map(a, "dimension", text, NULL));
}

static void general_matches_the_recorded_vectors(void **state)
{
    GOLDEN_OR_SKIP();
    golden_file f;
    const sail_node *root = golden_json(&f, "method/preference/general.json"), *cases = sail__node_get(root, "cases");
    double w_log = 0, w_slope = 0, w_q = 0, u[SAIL_MAX_WIDTH], v[SAIL_MAX_WIDTH], gu[SAIL_MAX_WIDTH], gv[SAIL_MAX_WIDTH], logq, q[2];
    int bad = 0;
    compared = 0;
    assert_true(cases->list.n > 0);
    for (size_t c = 0; c < cases->list.n; c++) {
        const sail_node *x = cases->list.items[c];
        const size_t n = test_flatten(sail__node_get(x, "v1"), u, SAIL_MAX_WIDTH);
        assert_int_equal(test_flatten(sail__node_get(x, "v2"), v, SAIL_MAX_WIDTH), n);
        assert_int_equal(sail__node_get(x, "dimension")->integer, n);
        const sail_preference_model m = general(f.arena, n);
        assert_int_equal(sail_preference_width(&m), n);
        vectors(&m, (int)n, u, v, 0, &logq, gu, gv, q);
        const double score = test_number(sail__node_get(x, "score"));
        bad += worst_of(&w_q, test_deviation(q[0], test_number(sail__node_get(x, "probability")), 1e-12, 1), "q", "general", score) > 1;
        bad += worst_of(&w_log, test_deviation(logq, test_number(sail__node_get(x, "logprob")), 1e-12, 1), "log q", "general", score) > 1;
        for (size_t d = 0; d < n; d++) {
            bad += worst_of(&w_slope, test_deviation(gu[d], test_number(sail__node_get(x, "gradient_v1")->list.items[d]), 1e-12, 1), "slope",
                            "general", score) > 1;
            bad += worst_of(&w_slope, test_deviation(gv[d], test_number(sail__node_get(x, "gradient_v2")->list.items[d]), 1e-12, 1), "slope",
                            "general", score) > 1;
        }
        /* the other side of the same pair: the score itself is log q - log(1 - q) */
        double other;
        vectors(&m, (int)n, u, v, 1, &other, gu, gv, q);
        bad += worst_of(&w_log, test_deviation(logq - other, score, 1e-12, 1), "score", "general", score) > 1;
    }
    /* a wins over b, b over c, c over a */
    const sail_node *circle = sail__node_get(root, "intransitive"), *points = sail__node_get(circle, "vectors");
    for (size_t i = 0; i < points->list.n; i++)
        for (size_t j = 0; j < points->list.n; j++) {
            const size_t n = test_flatten(points->list.items[i], u, SAIL_MAX_WIDTH);
            test_flatten(points->list.items[j], v, SAIL_MAX_WIDTH);
            const sail_preference_model m = general(f.arena, n);
            vectors(&m, (int)n, u, v, 0, &logq, gu, gv, q);
            const double want = test_number(sail__node_get(circle, "probability")->list.items[i]->list.items[j]);
            bad += worst_of(&w_q, test_deviation(q[0], want, 1e-12, 1), "q", "general", (double)i) > 1;
            if (j == (i + 1) % points->list.n)
                assert_true(q[0] > 0.5);
        }
    print_message("general.json: %lld numbers\n", (long long)compared);
    print_message("general: %d cases; share of tolerance: log q and score %.3f, slope %.3f, q %.3f\n", (int)cases->list.n, w_log, w_slope, w_q);
    assert_int_equal(bad, 0);
    golden_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_match_the_recorded_grid),
        cmocka_unit_test(plackett_luce_matches_the_recorded_rankings),
        cmocka_unit_test(general_matches_the_recorded_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
