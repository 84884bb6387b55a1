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
    assert_int_equal(sail_preference_draw(&m, 3, s, 0.5, &o, &err), SAIL_E_RECIPE);
}

/* ---- what does not fit ---- */

static int always_two(const void *self, int k) { return 2; }
static sail_var half(const void *self, sail_tape *t, int k, const sail_var *score, int outcome)
{
    return sail_sub(t, sail_log_sigmoid(t, sail_sub(t, score[outcome], score[1 - outcome])), sail_number(t, log(2)));
}
static const sail_preference halves = {.size = sizeof halves, .outcomes = always_two, .logprob = half};

static void messages_say_what_would_be_right(void **state)
{
    static const struct {
        double temperature;
        int64_t top;
    } three = {1, 3};
    static const int64_t four = 4, odd = 5;
    const sail_preference_model bt = model("bradley_terry"), wrong = {&halves, NULL, "halves"},
                                top = {model("plackett_luce").ops, &three, "plackett_luce"},
                                general = {test_plugin("preference", "general")->ops, &four, "general"}, five = {general.ops, &odd, "general"};
    const struct {
        const sail_preference_model *m;
        int k, code;
        const char *says;
    } rows[] = {{&bt, 1, SAIL_E_RECIPE, "compares responses, and a group has one only: objectives kto and sft take single responses"},
                {&bt, 4, SAIL_E_RECIPE, "does not apply to groups of 4 responses; plackett_luce ranks more than two"},
                {&top, 2, SAIL_E_RECIPE, "ranks 3 places, and a group has 2 responses: rank 2 at most (0: all), or have 3 or more written"},
                {&wrong, 2, SAIL_E_PLUGIN, "the probabilities of the 2 outcomes of 2 responses sum to 0.5, not to 1"},
                {&five, 2, SAIL_E_OPTION, "dimension 5 must be even"}};
    const double s[SAIL_MAX_RESPONSES * 8] = {0.25};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sail_err err = {0};
        double p[40320];
        assert_int_equal(sail_preference_probabilities(rows[i].m, rows[i].k, s, p, &err), rows[i].code);
        if (!strstr(err.message, rows[i].says))
            fail_msg("%s", err.message);
    }
    /* vectors where there is one number, and one number where there are vectors */
    const int64_t bound[] = {0, 2}, unit[] = {0, 1, 2};
    const sail_layout l = {1, 2, 2, bound, unit, 1, 2, 2};
    const int32_t outcome = 0;
    sail_tape *t = sail_tape_new(&l);
    sail_var v[4];
    for (int d = 0; d < 4; d++)
        v[d] = sail_tape_leaf(t, SAIL_RESPONSE, 2, s + d);
    sail_preference_logprob(t, &general, v[0], &outcome);
    assert_non_null(strstr(sail_tape_message(t), "compares vectors of 4 numbers"));
    assert_non_null(strstr(sail_tape_message(t), "choose bradley_terry"));
    sail_tape_reset(t, &l);
    for (int d = 0; d < 4; d++)
        v[d] = sail_tape_leaf(t, SAIL_RESPONSE, 2, s + d);
    sail_preference_entropy_of(t, &bt, 4, v);
    assert_non_null(strstr(sail_tape_message(t), "compares scores of 1 number, not of 4"));
    sail_tape_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_ranking_has_its_number),
        cmocka_unit_test(pairs_of_different_sizes_and_abstentions_mix),
        cmocka_unit_test(a_tie_needs_a_model_with_ties),
        cmocka_unit_test(drawing_inverts_the_cumulative_distribution),
        cmocka_unit_test(messages_say_what_would_be_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
