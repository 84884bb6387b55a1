/* test_routes.c - strategies and the draw of a route; the rule judge; the bound on margins. */
#include "../../plugin.h"

#include "align/batch.h"
#include "align/routes.h"
#include "sail/judge.h"

static sail_code ask(sail_arena *a, const char *name, const sail_node *options, sail_route *out, int *n, sail_err *err)
{
    const sail_plugin *p = test_plugin("strategy", name);
    return sail__routes_ask(p->ops, test_options(a, p, options), name, 0, out, n, err);
}

static void strategies_give_their_routes(void **state)
{
    sail_arena *a = sail__arena_new();
    sail_route r[SAIL_MAX_ROUTES];
    sail_err err = {0};
    int n;
    assert_int_equal(ask(a, "offline", NULL, r, &n, &err), SAIL_OK);
    assert_true(n == 1 && r[0].probability == 1 && r[0].writer == SAIL_BY_DATA && r[0].labeller == SAIL_BY_DATA);
    const sail_node *o =
        test_map(a, "ddp_weight", "0.4", "dpp_weight", "0.3", "dpr_weight", "0.3", "dpr_coef", "0.5", NULL);
    assert_int_equal(ask(a, "mixture", o, r, &n, &err), SAIL_OK);
    assert_int_equal(n, 4);
    assert_true(r[0].probability == 0 && r[1].probability == 0.4);
    assert_true(r[1].writer == SAIL_BY_DATA && r[1].labeller == SAIL_BY_POLICY && r[1].coefficient == 0.2);
    assert_true(r[2].writer == SAIL_BY_POLICY && r[2].labeller == SAIL_BY_POLICY && r[2].coefficient == 0.2);
    assert_true(r[3].writer == SAIL_BY_POLICY && r[3].labeller == SAIL_BY_JUDGE && r[3].coefficient == 0.5);
    sail_buf b = {0};
    assert_true(sail__route_warn(&r[1], 0.3, 0.4, &b));
    assert_non_null(strstr(b.data, "ddp has weight 0.4"));
    sail__buf_free(&b);
    assert_true(sail__route_warn(&r[3], 0.3, 0.4, &b));
    assert_non_null(strstr(b.data, "route dpr has coefficient 0.5"));
    sail__buf_free(&b);
    assert_false(sail__route_warn(&r[2], 0.3, 0.4, &b) || sail__route_warn(&r[0], 0.3, 0.4, &b));
    assert_true(sail__route_warn(&r[3], 0.2, 0.4, &b));
    assert_non_null(strstr(b.data, "weight 0.3 (training was reported unstable beyond 0.2), dpr has coefficient"));
    sail__buf_free(&b);
    o = test_map(a, "ddp_weight", "0.7", "dpp_weight", "0.4", NULL);
    assert_int_equal(ask(a, "mixture", o, r, &n, &err), SAIL_E_RECIPE);
    assert_non_null(strstr(err.message, "offline is -0.1"));
    sail__arena_free(a);
}

static void prompts_take_routes_by_their_weights(void **state)
{
    const sail_route r[] = {{"a", 0.2, 0, 0, 0}, {"b", 0, 0, 0, 0}, {"c", 0.5, 0, 0, 0}, {"d", 0.3, 0, 0, 0}};
    int count[4] = {0}, n = 40000;
    for (int i = 0; i < n; i++) {
        int k = sail__routes_draw(r, 4, 11, i / 8, i % 8);
        assert_int_equal(k, sail__routes_draw(r, 4, 11, i / 8, i % 8));
        count[k]++;
    }
    for (int k = 0; k < 4; k++) {
        double p = r[k].probability;
        assert_true(fabs((double)count[k] / n - p) <= 5 * sqrt(p * (1 - p) / n));
    }
}

static sail_code judge(sail_arena *a, const sail_node *options, const sail_judge_item *item, sail_verdict *v,
                       sail_err *err)
{
    const sail_plugin *p = test_plugin("judge", "rule");
    const sail_judge *ops = p->ops;
    const void *self = test_options(a, p, options);
    void *own = NULL;
    SAIL_TRY(ops->open(self, NULL, &own, err));
    sail_code code = ops->label(self, own, item, 1, v, err);
    ops->close(self, own);
    return code;
}

static void rules_judge_lengths_and_patterns(void **state)
{
    sail_arena *a = sail__arena_new();
    const char *text[] = {"Sorry, I cannot. SORRY!", "yes", "sorry sorry sorry"};
    const int64_t tokens[] = {9, 2, 5}, equal[] = {4, 4, 4};
    sail_judge_item item = {.prompt = "", .conversation = "", .k = 2, .response = text, .tokens = tokens};
    static const struct {
        const char *rule;
        int k, outcome;
    } rows[] = {{"\"longer\"", 2, 0},
                {"\"shorter\"", 2, 1},
                {"\"longer\"", 3, 1 /* 0 2 1 */},
                {"\"shorter\"", 3, 3 /* 1 2 0 */}};
    sail_verdict v;
    sail_err err = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        item.k = rows[i].k;
        assert_int_equal(judge(a, test_map(a, "rule", rows[i].rule, NULL), &item, &v, &err), SAIL_OK);
        assert_int_equal(v.outcome, rows[i].outcome);
    }
    item.k = 2;
    assert_int_equal(judge(a, test_map(a, "rule", "\"target_length\"", "target", "3", NULL), &item, &v, &err), SAIL_OK);
    assert_int_equal(v.outcome, 1);
    const sail_node *fewer = test_map(a, "rule", "\"fewer\"", "pattern", "\"sorry\"", NULL);
    assert_int_equal(judge(a, fewer, &item, &v, &err), SAIL_OK);
    assert_int_equal(v.outcome, SAIL_TIE); /* upper case is another word */
    const sail_node *any = test_map(a, "rule", "\"fewer\"", "pattern", "\"sorry\"", "ignore_case", "true", NULL);
    assert_int_equal(judge(a, any, &item, &v, &err), SAIL_OK);
    assert_true(v.outcome == 1 && v.score[0] == -2 && v.score[1] == 0);
    item.k = 3;
    assert_int_equal(judge(a, test_map(a, "rule", "\"more\"", "pattern", "\"s?orry|x*\"", NULL), &item, &v, &err),
                     SAIL_OK);
    assert_true(v.score[2] == 3 && v.score[1] == 0);
    item.k = 2;
    item.tokens = equal;
    assert_int_equal(judge(a, NULL, &item, &v, &err), SAIL_OK);
    assert_int_equal(v.outcome, SAIL_TIE);
    assert_int_equal(judge(a, test_map(a, "rule", "\"more\"", NULL), &item, &v, &err), SAIL_E_OPTION);
    assert_int_equal(judge(a, test_map(a, "rule", "\"more\"", "pattern", "\"(\"", NULL), &item, &v, &err),
                     SAIL_E_OPTION);
    assert_non_null(strstr(err.message, "'('"));
    sail__arena_free(a);
}

/* One DPP pair of margin 10 at beta 1: bounded at 4, T1 weighs log sigmoid(4 side), T3 is flat, T2 is as ever. */
static void the_bound_on_margins_holds_the_extra_terms(void **state)
{
    const int64_t of_pair[] = {0, 2}, of_response[] = {0, 1, 2};
    const double logp[] = {-2, -12};
    const sail_route route = {"dpp", 1, SAIL_BY_POLICY, SAIL_BY_POLICY, 0.2};
    const uint8_t on[] = {0};
    const int32_t outcome[] = {1};
    sail_arena *a = sail__arena_new();
    sail_tape *t = sail_tape_new(NULL);
    const sail_plugin *p = test_plugin("objective", "sail");
    sail__objective o = {p->ops, test_options(a, p, test_map(a, "baseline", "\"none\"", NULL)), "sail"};
    sail__batch rows = {.layout = {1, 2, 2, of_pair, of_response, 1, 2, 2},
                        .beta = 1,
                        .max_margin = 4,
                        .logp = logp,
                        .outcome = outcome,
                        .route = on,
                        .routes = &route,
                        .n_routes = 1,
                        .preference = {test_plugin("preference", "bradley_terry")->ops, NULL, "bradley_terry"}};
    sail_pairs b;
    sail_loss loss;
    sail_err err = {0};
    double w[2];
    sail__metrics m = {.arena = a};
    if (sail__pairs_build(a, t, &rows, &b, &err) || sail__objective_loss(&o, t, &b, &loss, &err) ||
        sail__pairs_weights(&b, w, NULL, NULL, &err) || sail__metrics_pairs(&m, &rows, &b, &loss, &err))
        fail_msg("%s", err.message);
    double f4 = -4 - log1p(exp(-4)), slope = 1 / (1 + exp(-10)); /* of -F = softplus(10) in the margin */
    assert_true(fabs(w[0] - (slope - 0.2 * f4)) < 1e-14);
    assert_true(fabs(w[1] - (-slope - 0.2 * f4)) < 1e-14);
    assert_true(sail__metrics_get(&m, "sail/clamped") == 1);
    sail__free(m.items);
    sail_tape_free(t);
    sail__arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strategies_give_their_routes),
        cmocka_unit_test(prompts_take_routes_by_their_weights),
        cmocka_unit_test(rules_judge_lengths_and_patterns),
        cmocka_unit_test(the_bound_on_margins_holds_the_extra_terms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
