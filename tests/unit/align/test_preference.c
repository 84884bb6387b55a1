/* test_preference.c - what follows from a preference model's formula: mixed groups, abstentions, drawing, rankings. */
#include "../../plugin.h"

#include "sail/preference.h"

static sail_preference_model model(const char *name)
{
    static const double nu = 1.5; /* davidson, rao_kupper: their only option */
    static const struct {
        double temperature;
        int64_t top;
    } ranking = {1, 0};
    const sail_plugin *p = test_plugin("preference", name);
    return (sail_preference_model){p->ops, strcmp(name, "plackett_luce") ? (const void *)&nu : &ranking, name};
}

static void every_ranking_has_its_number(void **state)
{
    for (int k = 2; k <= 6; k++)
        for (int top = 1; top <= k; top++) {
            int n = 0, order[SAIL_MAX_RESPONSES], before[SAIL_MAX_RESPONSES] = {-1};
            for (; sail_outcome_ranking(n, k, top, order); n++) {
                assert_int_equal(sail_outcome_of_ranking(order, k, top), n);
                int j = 0; /* lexicographic: the first difference goes up */
                while (n && j < top && order[j] == before[j])
                    j++;
                assert_true(n == 0 || (j < top && order[j] > before[j]));
                memcpy(before, order, sizeof order);
            }
            int want = 1;
            for (int j = 0; j < top; j++)
                want *= k - j;
            assert_int_equal(n, want);
        }
    assert_false(sail_outcome_ranking(SAIL_TIE, 2, 2, (int[2]){0}));
    assert_false(sail_outcome_ranking(SAIL_ABSTAIN, 2, 2, (int[2]){0}));
}

static void pairs_of_different_sizes_and_abstentions_mix(void **state)
{
    sail_preference_model m = model("plackett_luce");
    const int64_t of_pair[] = {0, 2, 5, 7}, of_response[] = {0, 1, 2, 3, 4, 5, 6, 7};
    sail_layout l = {3, 7, 7, of_pair, of_response, 3, 7, 7};
    double s[] = {0.3, -1, 2, 0.7, -0.2, 1e308, -1e308}; /* the last pair abstains: its scores must not matter */
    int32_t outcome[] = {1, 3, SAIL_ABSTAIN};
    sail_tape *t = sail_tape_new(&l);
    sail_var v = sail_tape_leaf(t, SAIL_RESPONSE, 7, s), f = sail_preference_logprob(t, &m, v, outcome);
    assert_int_equal(sail_tape_backward(t, sail_sum(t, f)), SAIL_OK);
    const double *y = sail_value_of(t, f), *g = sail_gradient_of(t, v);
    assert_true(fabs(y[0] + log1p(exp(1.3))) < 1e-15);
    /* outcome 3 of three: slots 1, 2, 0 */
    double z = exp(2) + exp(0.7) + exp(-0.2), want = log(exp(0.7) / z) + log(exp(-0.2) / (exp(2) + exp(-0.2)));
    assert_true(fabs(y[1] - want) < 1e-14);
    assert_true(y[2] == 0 && g[5] == 0 && g[6] == 0);
    assert_true(fabs(g[2] + g[3] + g[4]) < 1e-15 && g[3] > 0);
    sail_tape_free(t);
}

static void a_tie_needs_a_model_with_ties(void **state)
{
    sail_preference_model bt = model("bradley_terry"), dv = model("davidson");
    const int64_t of_pair[] = {0, 2}, of_response[] = {0, 1, 2};
    sail_layout l = {1, 2, 2, of_pair, of_response, 1, 2, 2};
    double s[] = {1, 0};
    int32_t tie = SAIL_TIE;
    sail_tape *t = sail_tape_new(&l);
    sail_var v = sail_tape_leaf(t, SAIL_RESPONSE, 2, s);
    sail_var f = sail_preference_logprob(t, &dv, v, &tie);
    assert_true(fabs(*sail_value_of(t, f) - log(1.5 / (1.5 + exp(0.5) + exp(-0.5)))) < 1e-15);
    sail_preference_logprob(t, &bt, v, &tie);
    assert_int_equal(sail_tape_status(t), SAIL_E_ARG);
    assert_non_null(strstr(sail_tape_message(t), "pair 0"));
    assert_non_null(strstr(sail_tape_message(t), "ties"));
    sail_tape_free(t);
}

static void drawing_inverts_the_cumulative_distribution(void **state)
{
    sail_preference_model m = model("davidson");
    double s[] = {0.4, -0.3}, p[3];
    sail_err err = {0};
    int32_t o = -7;
    assert_int_equal(sail_preference_probabilities(&m, 2, s, p, &err), SAIL_OK);
    assert_true(fabs(p[0] + p[1] + p[2] - 1) < 1e-15 && p[0] > p[1]);
    const struct {
        double u;
        int o;
    } rows[] = {{1e-9, 0},     {p[0] - 1e-9, 0}, {p[0] + 1e-9, 1}, {p[0] + p[1] - 1e-9, 1}, {p[0] + p[1] + 1e-9, 2},
                {1 - 1e-16, 2}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(sail_preference_draw(&m, 2, s, rows[i].u, &o, &err), SAIL_OK);
        assert_int_equal(o, rows[i].o);
    }
    double far[] = {-1e4, 0}; /* outcome 0 has probability 0: never drawn */
    assert_int_equal(sail_preference_draw(&m, 2, far, 1e-300, &o, &err), SAIL_OK);
    assert_int_equal(o, 1);
    double nan[] = {NAN, 0};
    assert_int_equal(sail_preference_draw(&m, 2, nan, 0.5, &o, &err), SAIL_E_NUMERIC);
    assert_int_equal(sail_preference_draw(&m, 3, s, 0.5, &o, &err), SAIL_E_SHAPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_ranking_has_its_number),
        cmocka_unit_test(pairs_of_different_sizes_and_abstentions_mix),
        cmocka_unit_test(a_tie_needs_a_model_with_ties),
        cmocka_unit_test(drawing_inverts_the_cumulative_distribution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
