/* test_win_rate.c - evaluation statistics against golden/method/evaluation/win_rate.json. */
#include "../golden.h"
#include "../plugin.h"

#include "align/stats.h"

static double worst;

static void same(const char *what, double got, const sail_node *want)
{
    double d = test_deviation(got, test_number(want), 1e-13, 1);
    worst = fmax(worst, d);
    if (!(d <= 1))
        fail_msg("%s: %.17g, recorded %.17g", what, got, test_number(want));
}

static void controlled(const char *what, const double *y, const double *d, const double *g, int64_t n,
                       const sail_node *want)
{
    sail__length_control c;
    sail_err err = {0};
    const sail_node *difficulty = sail__node_get(want, "difficulty");
    bool with = difficulty && difficulty->kind != SAIL_NODE_NULL;
    if (sail__length_controlled(y, d, with ? g : NULL, n, test_number(sail__node_get(want, "ridge")), &c, &err))
        fail_msg("%s: %s", what, err.message);
    same("sd", c.sd, sail__node_get(want, "sd_length_difference"));
    same("intercept", c.intercept, sail__node_get(want, "intercept"));
    same("length", c.length, sail__node_get(want, "length"));
    if (with)
        same("difficulty", c.difficulty, difficulty);
    same(what, c.win_rate, sail__node_get(want, "win_rate"));
}

static uint8_t verdict_of(const char *name)
{
    static const char *const names[] = {"win", "tie", "loss", "abstain"};
    for (uint8_t k = 0; k < 4; k++)
        if (!strcmp(names[k], name))
            return k;
    fail_msg("verdict %s", name);
    return 0;
}

static void win_rates_match_the_recorded_numbers(void **state)
{
    GOLDEN_OR_SKIP();
    golden_file f;
    const sail_node *cases = sail__node_get(golden_json(&f, "method/evaluation/win_rate.json"), "cases");
    assert_true(cases->list.n > 0);
    for (size_t c = 0; c < cases->list.n; c++) {
        const sail_node *x = cases->list.items[c], *rows = sail__node_get(x, "verdicts");
        int64_t n = (int64_t)rows->list.n, judged = 0;
        sail__verdicts *v = sail__arena_array(f.arena, (size_t)n, sizeof *v);
        double *all = sail__arena_array(f.arena, 5 * (size_t)n, sizeof *all), *length = all + n, *hard = all + 2 * n;
        double *score = sail__arena_array(f.arena, (size_t)n, sizeof *score);
        for (int64_t i = 0; i < n; i++)
            for (int o = 0; o < 2; o++)
                v[i].order[o] = verdict_of(test_string(rows->list.items[i]->list.items[o]));
        sail__win_rate w;
        sail__win_rate_of(v, n, score, &w);
        const sail_node *counts = sail__node_get(x, "counts"), *scores = sail__node_get(x, "prompt_scores");
        assert_int_equal(w.wins, sail__node_get(counts, "win")->integer);
        assert_int_equal(w.ties, sail__node_get(counts, "tie")->integer);
        assert_int_equal(w.losses, sail__node_get(counts, "loss")->integer);
        assert_int_equal(w.none, sail__node_get(counts, "abstain")->integer);
        assert_int_equal(w.judged, sail__node_get(x, "prompts_judged")->integer);
        for (int64_t i = 0; i < n; i++) {
            const sail_node *s = scores->list.items[i];
            assert_int_equal(isnan(score[i]), s->kind == SAIL_NODE_NULL);
            if (isnan(score[i]))
                continue;
            same("score", score[i], s);
            all[judged] = score[i];
            length[judged] = test_number(sail__node_get(x, "length_difference")->list.items[i]);
            hard[judged++] = test_number(sail__node_get(x, "difficulty")->list.items[i]);
        }
        same("win rate", w.win_rate, sail__node_get(x, "win_rate"));
        same("tie rate", w.tie_rate, sail__node_get(x, "tie_rate"));
        same("abstention rate", w.abstention_rate, sail__node_get(x, "abstention_rate"));
        same("order agreement", w.order_agreement, sail__node_get(x, "order_agreement"));
        same("first position", w.first_position_share, sail__node_get(x, "first_position_share"));
        /* bootstrap with the recorded indices */
        const sail_node *boot = sail__node_get(x, "bootstrap"), *indices = sail__node_get(boot, "indices");
        int64_t b = (int64_t)indices->list.n;
        int64_t *at = sail__arena_array(f.arena, (size_t)(b * judged), sizeof *at);
        double *means = sail__arena_array(f.arena, (size_t)b, sizeof *means), lower, upper;
        for (int64_t i = 0; i < b * judged; i++)
            at[i] = indices->list.items[i / judged]->list.items[i % judged]->integer;
        sail_err err = {0};
        assert_int_equal(sail__bootstrap(all, judged, at, b, 0, means, &lower, &upper, &err), SAIL_OK);
        for (int64_t i = 0; i < b && sail__node_get(boot, "means")->kind == SAIL_NODE_LIST; i++)
            same("bootstrap mean", means[i], sail__node_get(boot, "means")->list.items[i]);
        same("lower", lower, sail__node_get(boot, "lower"));
        same("upper", upper, sail__node_get(boot, "upper"));
        /* the authors' convention */
        const sail_node *authors = sail__node_get(x, "authors_convention");
        uint8_t *order = sail__arena_alloc(f.arena, (size_t)n);
        for (int64_t i = 0; i < n; i++)
            order[i] = (uint8_t)sail__node_get(authors, "order")->list.items[i]->integer;
        same("authors", sail__win_rate_authors(v, n, order), sail__node_get(authors, "win_rate"));
        /* length control */
        const sail_node *lc = sail__node_get(x, "length_controlled");
        for (size_t i = 0; i < lc->list.n; i++)
            controlled("length-controlled", all, length, hard, judged, lc->list.items[i]);
        double *ones = all + 3 * n;
        for (int64_t i = 0; i < judged; i++)
            ones[i] = 1;
        controlled("separated", ones, length, hard, judged, sail__node_get(x, "separated"));
        sail__length_control none;
        assert_int_equal(sail__length_controlled(ones, length, NULL, judged, 0, &none, &err), SAIL_E_NUMERIC);
        assert_non_null(strstr(err.message, "ridge"));
    }
    print_message("win_rate.json: %d cases, largest share of the tolerance %.4f\n", (int)cases->list.n, worst);
    golden_close(&f);
}

static void an_interval_drawn_from_a_seed_is_the_same_each_time(void **state)
{
    double x[40], m1[50], m2[50], lo[3], hi[3];
    sail_err err = {0};
    for (int i = 0; i < 40; i++)
        x[i] = i % 3 ? 1 : 0;
    assert_int_equal(sail__bootstrap(x, 40, NULL, 50, 5, m1, &lo[0], &hi[0], &err), SAIL_OK);
    assert_int_equal(sail__bootstrap(x, 40, NULL, 50, 5, m2, &lo[1], &hi[1], &err), SAIL_OK);
    assert_memory_equal(m1, m2, sizeof m1);
    assert_int_equal(sail__bootstrap(x, 40, NULL, 50, 6, m2, &lo[2], &hi[2], &err), SAIL_OK);
    assert_memory_not_equal(m1, m2, sizeof m1);
    assert_true(lo[0] < 26.0 / 40 && 26.0 / 40 < hi[0]);
    assert_int_equal(sail__bootstrap(x, 0, NULL, 50, 5, NULL, &lo[0], &hi[0], &err), SAIL_E_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(win_rates_match_the_recorded_numbers),
        cmocka_unit_test(an_interval_drawn_from_a_seed_is_the_same_each_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
