/* test_routes.c - strategies and the draw of a route; the rule judge; the bound on margins. */
#include "../../plugin.h"

#include "align/batch.h"
#include "align/routes.h"
#include "sail/judge.h"

/* A stage with these routes and this method besides. No problem: "". */
typedef struct stage {
    sail_ctx *ctx;
    sail_arena *a;
    sail__stage s;
    const char *problem;
} stage;

static stage parse(const char *method, int64_t step)
{
    stage out = {.a = sail__arena_new(), .problem = ""};
    sail_node *node;
    sail_err err = {0};
    char text[1024];
    assert_non_null(out.ctx = sail_ctx_new());
    sail_problems problems = {.arena = out.a};
    snprintf(text, sizeof text, "{\"method\": {%s}}", method);
    if (sail__json_parse(out.a, text, strlen(text), "test", 0, &node, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    if (!sail__stage_parse(out.ctx, out.a, SAIL__ALIGN, node, step, NULL, NULL, &out.s, &problems))
        out.problem = sail__arena_printf(out.a, "%s: %s", problems.items[0].path, problems.items[0].message);
    return out;
}

static void done(stage *s)
{
    sail__arena_free(s->a);
    sail_ctx_free(s->ctx);
}

static void a_recipe_gives_the_routes(void **state)
{
    stage p = parse("\"routes\": {\"ddp\": 0.4, \"dpp\": {\"weight\": 0.3}, \"dpr\": {\"weight\": 0.3, \"coef\": 0.5}}", 0);
    const sail_route *r = p.s.routes;
    assert_string_equal(p.problem, "");
    assert_int_equal(p.s.n_routes, 4);
    assert_true(r[0].probability < 1e-15 && r[1].probability == 0.4);
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
    done(&p);
}

static void a_recipe_has_routes_of_its_own(void **state)
{
    stage p = parse("\"routes\": {\"reread\": {\"writer\": \"data\", \"labeller\": \"judge\", \"weight\": 0.25}, \"dpp\": null, "
                    "\"annealed\": {\"writer\": \"policy\", \"labeller\": \"judge\", \"coef\": {\"kind\": \"ramp\", \"from\": 0, \"to\": 1, "
                    "\"steps\": 10}, \"weight\": {\"kind\": \"ramp\", \"from\": 0, \"to\": 0.5, \"steps\": 10}}}", 5);
    sail_route r[SAIL_MAX_ROUTES];
    sail_err err = {0};
    int n;
    assert_string_equal(p.problem, "");
    assert_int_equal(sail__routes_of(&p.s, 5, r, &n, &err), SAIL_OK);
    assert_int_equal(n, 3);
    assert_true(!strcmp(r[0].name, "offline") && r[0].probability == 0.5);
    assert_true(!strcmp(r[1].name, "reread") && r[1].writer == SAIL_BY_DATA && r[1].labeller == SAIL_BY_JUDGE && r[1].coefficient == 0);
    assert_true(!strcmp(r[2].name, "annealed") && r[2].probability == 0.25 && r[2].coefficient == 0.5);
    done(&p);
}

static void wrong_routes_are_refused_with_what_would_be_right(void **state)
{
    static const struct {
        const char *method, *says;
    } rows[] = {
        {"\"routes\": {\"ddp\": 0.7, \"dpp\": 0.4}", "method.routes: the weights sum to 1.1; together they are at most 1"},
        {"\"routes\": {\"mine\": 0.4}", "method.routes.mine.writer: is missing"},
        {"\"routes\": {\"mine\": {\"writer\": \"policy\", \"labeller\": \"data\"}}", "no label for what the policy writes"},
        {"\"routes\": {\"mine\": {\"writer\": \"judge\", \"labeller\": \"data\"}}", "is \"judge\"; it is one of: data, policy"},
        {"\"routes\": {\"offline\": 0.4}", "is what the other weights leave"},
        {"\"routes\": {\"dpp\": {\"weigth\": 0.4}}", "did you mean weight?"},
        {"\"routes\": {\"dpp\": {\"coef\": -1}}", "method.routes.dpp.coef"},
        {"\"routes\": 0.3", "must be a map such as"},
        {"\"strategy\": \"best_of_m\"", "best_of_n"},
        {"\"strategy\": {\"kind\": \"best_of_n\", \"n\": 1}", "method.strategy.n: is 1, out of range: 2 to 8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        stage p = parse(rows[i].method, 0);
        if (!strstr(p.problem, rows[i].says))
            fail_msg("%s: \"%s\" does not say \"%s\"", rows[i].method, p.problem, rows[i].says);
        done(&p);
    }
}

static void without_routes_all_is_offline(void **state)
{
    stage p = parse("", 0);
    sail_route r[SAIL_MAX_ROUTES];
    sail_err err = {0};
    int n;
    assert_int_equal(sail__routes_of(&p.s, 0, r, &n, &err), SAIL_OK);
    assert_true(n == 1 && r[0].probability == 1 && r[0].writer == SAIL_BY_DATA && r[0].labeller == SAIL_BY_DATA);
    done(&p);
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
        cmocka_unit_test(a_recipe_gives_the_routes),
        cmocka_unit_test(a_recipe_has_routes_of_its_own),
        cmocka_unit_test(wrong_routes_are_refused_with_what_would_be_right),
        cmocka_unit_test(without_routes_all_is_offline),
        cmocka_unit_test(prompts_take_routes_by_their_weights),
        cmocka_unit_test(rules_judge_lengths_and_patterns),
        cmocka_unit_test(the_bound_on_margins_holds_the_extra_terms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
