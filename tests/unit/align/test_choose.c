/* test_choose.c - from responses to what is learned from: choices, pairs, rankings, verdicts, and what is left aside. */
#include "../../plugin.h"

#include "align/batch.h"
#include "align/choose.h"
#include "align/stream.h"

typedef struct world {
    sail_ctx *ctx;
    sail_arena *a;
    sail__stage stage;
    sail__step step;
    int32_t id;
    float logp[SAIL_MAX_RESPONSES], ref[SAIL_MAX_RESPONSES];
} world;

/* One prompt with k responses on the route dpp, or dpr where `labeller` is the judge. Response i has reward beta (logp[i] - ref[i]). */
static world *make(const char *stage, int k, int labeller, double coef)
{
    world *w = calloc(1, sizeof *w);
    sail_node *node;
    sail_err err = {0};
    assert_non_null(w);
    w->ctx = sail_ctx_new();
    w->a = sail__arena_new();
    sail_problems problems = {.arena = w->a};
    if (sail__json_parse(w->a, stage, strlen(stage), "test", 0, &node, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    if (!sail__stage_parse(w->ctx, w->a, SAIL__ALIGN, node, 0, NULL, NULL, &w->stage, &problems))
        fail_msg("%s: %s", problems.items[0].path, problems.items[0].message);
    sail__group *g = sail__arena_array(w->a, 1, sizeof *g);
    *g = (sail__group){.prompt = &w->id, .n_prompt = 1, .k = k, .route = labeller == SAIL_BY_JUDGE ? "dpr" : "dpp", .prompt_id = 4,
                       .writer = SAIL_BY_POLICY, .labeller = labeller, .coef = coef};
    static const double reward[SAIL_MAX_RESPONSES] = {1, 4, -2, 3, 0, 2, -1, 5};
    for (int i = 0; i < k; i++) {
        w->logp[i] = (float)(-20 + reward[i]);
        w->ref[i] = -20;
        g->r[i] = (sail__response){.ids = &w->id, .n = 1, .old_logp = &w->logp[i], .drawn = &w->logp[i], .ref = &w->ref[i], .id = 100 + i, .score = NAN};
    }
    w->step = (sail__step){.seed = 3, .arena = w->a, .groups = g, .n = 1};
    return w;
}

static void done(world *w)
{
    sail__arena_free(w->a);
    sail_ctx_free(w->ctx);
    free(w);
}

static void choose(world *w)
{
    sail_err err = {0};
    if (sail__choose(&w->stage, &w->step, &err) != SAIL_OK)
        fail_msg("%s", err.message);
}

/* The judge's ranking: places of the responses. */
static void ranked(world *w, const int *place)
{
    sail__group *g = w->step.groups;
    g->labelled = true;
    for (int i = 0; i < g->k; i++)
        g->place[i] = (int8_t)place[i];
}

static void expect(const world *w, int64_t group, int k, int compared, const int *responses)
{
    const sail__group *g = &w->step.groups[group];
    assert_int_equal(g->k, k);
    assert_int_equal(g->compared ? g->compared : g->k, compared);
    for (int i = 0; i < k; i++)
        if (g->r[i].id != 100 + responses[i])
            fail_msg("group %lld: slot %d holds response %lld, not %d", (long long)group, i, (long long)g->r[i].id - 100, responses[i]);
}

#define BEST "{\"rollout\": {\"responses\": 4, \"pairing\": \"best_worst\"}}"

static void the_best_is_paired_with_the_worst_by_reward(void **state)
{
    world *w = make(BEST, 4, SAIL_BY_POLICY, 0.2);
    choose(w);
    assert_int_equal(w->step.n, 1);
    expect(w, 0, 4, 2, (int[]){1, 2, 0, 3}); /* what was left aside stays for T1 */
    done(w);
}

static void what_is_left_aside_leaves_where_nothing_weighs_it(void **state)
{
    world *w = make(BEST, 4, SAIL_BY_POLICY, 0);
    choose(w);
    expect(w, 0, 2, 2, (int[]){1, 2});
    done(w);
    w = make("{\"method\": {\"objective\": \"sigmoid\"}, \"rollout\": {\"pairing\": \"best_worst\"}}", 4, SAIL_BY_POLICY, 0.2);
    choose(w);
    expect(w, 0, 2, 2, (int[]){1, 2});
    done(w);
}

static void the_judge_s_ranking_goes_before_the_reward(void **state)
{
    world *w = make(BEST, 4, SAIL_BY_JUDGE, 0.3);
    ranked(w, (int[]){3, 1, 0, 2});
    choose(w);
    expect(w, 0, 4, 2, (int[]){2, 0, 1, 3});
    assert_int_equal(w->step.groups[0].outcome, 0);
    done(w);
    w = make("{\"method\": {\"strategy\": {\"kind\": \"best_of_n\", \"against\": \"second\"}}}", 4, SAIL_BY_JUDGE, 0.3);
    ranked(w, (int[]){3, 1, 0, 2});
    choose(w);
    expect(w, 0, 4, 2, (int[]){2, 1, 0, 3});
    done(w);
}

static void a_group_without_a_verdict_leaves(void **state)
{
    world *w = make(BEST, 4, SAIL_BY_JUDGE, 0.3);
    ranked(w, (int[]){-1, -1, -1, -1});
    choose(w);
    assert_true(w->step.n == 0 && w->step.abstained == 1);
    done(w);
}

/* Of three that the judge takes to be alike, two make a tie, which a model with ties keeps and another one settles. */
static void ties_among_the_chosen_are_ties(void **state)
{
    world *w = make("{\"method\": {\"preference\": \"davidson\"}, \"rollout\": {\"pairing\": \"best_worst\"}}", 3, SAIL_BY_JUDGE, 0.3);
    ranked(w, (int[]){0, 0, 0});
    choose(w);
    assert_true(w->step.n == 1 && w->step.groups[0].outcome == SAIL_TIE && w->step.tied == 1);
    assert_true(w->step.groups[0].r[0].id != w->step.groups[0].r[1].id);
    done(w);
    int heads = 0;
    for (uint64_t seed = 0; seed < 64; seed++) {
        w = make("{\"rollout\": {\"pairing\": \"best_worst\"}}", 3, SAIL_BY_JUDGE, 0.3);
        w->step.seed = seed;
        ranked(w, (int[]){0, 0, 0});
        choose(w);
        assert_int_equal(w->step.groups[0].outcome, 0);
        heads += w->step.groups[0].r[0].id == 100;
        done(w);
    }
    assert_true(heads > 16 && heads < 48);
}

static void all_pairs_of_a_prompt_count_as_one(void **state)
{
    world *w = make("{\"rollout\": {\"pairing\": \"all\"}}", 3, SAIL_BY_POLICY, 0.2);
    choose(w);
    assert_int_equal(w->step.n, 3);
    expect(w, 0, 2, 2, (int[]){0, 1}); /* nothing was left aside */
    expect(w, 1, 2, 2, (int[]){0, 2});
    expect(w, 2, 2, 2, (int[]){1, 2});
    for (int i = 0; i < 3; i++)
        assert_true(fabs(w->step.groups[i].weight - 1.0 / 3) < 1e-15 && w->step.groups[i].shared == 5);
    done(w);
}

static void the_judge_s_ranking_is_that_of_the_kept(void **state)
{
    world *w = make("{\"method\": {\"preference\": \"plackett_luce\"}}", 3, SAIL_BY_JUDGE, 0.3);
    int order[3];
    ranked(w, (int[]){2, 0, 1});
    choose(w);
    expect(w, 0, 3, 3, (int[]){0, 1, 2});
    assert_true(sail_outcome_ranking(w->step.groups[0].outcome, 3, 3, order));
    assert_true(order[0] == 1 && order[1] == 2 && order[2] == 0);
    done(w);
    w = make("{\"method\": {\"preference\": \"plackett_luce\"}}", 3, SAIL_BY_JUDGE, 0.3);
    ranked(w, (int[]){1, 0, 2});
    choose(w);
    assert_int_equal(w->step.groups[0].outcome, SAIL_TIE); /* the number of this ranking, too */
    assert_int_equal(w->step.tied, 0);
    done(w);
}

static void verdicts_become_places(void **state)
{
    int8_t place[SAIL_MAX_RESPONSES];
    sail_verdict v = {.outcome = 1, .score = {NAN, NAN}};
    sail__places(&v, 2, place);
    assert_true(place[0] == 1 && place[1] == 0);
    v.outcome = SAIL_TIE;
    sail__places(&v, 2, place);
    assert_true(place[0] == 0 && place[1] == 0);
    v = (sail_verdict){.outcome = sail_outcome_of_ranking((int[]){2, 0, 3, 1}, 4, 4), .score = {5, 1, 7, 5}};
    sail__places(&v, 4, place);
    assert_true(place[2] == 0 && place[0] == 1 && place[3] == 1 && place[1] == 3); /* equal scores share a place */
    v.outcome = SAIL_ABSTAIN;
    sail__places(&v, 4, place);
    assert_true(place[0] == -1 && place[3] == -1);
}

/* Accepted with probability exp((r - max) / temperature): often where all are alike, hardly ever where one is far ahead. */
static void rejection_takes_what_the_temperature_lets_through(void **state)
{
    int best_first[2] = {0, 0};
    for (int hot = 0; hot < 2; hot++)
        for (uint64_t seed = 0; seed < 200; seed++) {
            world *w = make(hot ? "{\"method\": {\"beta\": 1, \"strategy\": {\"kind\": \"rejection\", \"temperature\": 1e6}}}"
                                : "{\"method\": {\"beta\": 1, \"strategy\": {\"kind\": \"rejection\", \"temperature\": 1e-3}}}",
                            4, SAIL_BY_POLICY, 0.2);
            w->step.seed = seed;
            choose(w);
            if (hot)
                expect(w, 0, 4, 2, (int[]){0, 1, 2, 3}); /* everything is accepted: the first two */
            best_first[hot] += w->step.groups[0].r[0].id == 101 && w->step.groups[0].r[1].id == 103;
            done(w);
        }
    assert_true(best_first[0] == 200 && best_first[1] == 0); /* the best is always accepted, the next best takes the other place */
}

static void uncertainty_takes_the_nearest_rewards(void **state)
{
    world *w = make("{\"method\": {\"strategy\": \"uncertainty\"}}", 3, SAIL_BY_POLICY, 0.2);
    w->logp[2] = -16.5f; /* rewards 1, 4, 3.5 */
    choose(w);
    expect(w, 0, 3, 2, (int[]){1, 2, 0});
    done(w);
}

static void prompts_are_chosen(const char *stage, const sail_prompt *p, int64_t n, int64_t want, const int64_t *expected)
{
    world *w = make(stage, 2, SAIL_BY_POLICY, 0);
    int64_t chosen[16];
    sail_err err = {0};
    if (sail__choose_prompts(&w->stage, &w->step, p, n, want, chosen, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    for (int64_t i = 0; i < want; i++)
        if (chosen[i] != expected[i])
            fail_msg("%s: choice %lld is %lld, not %lld", stage, (long long)i, (long long)chosen[i], (long long)expected[i]);
    done(w);
}

static void prompts_are_chosen_by_what_is_known_of_them(void **state)
{
    const sail_prompt p[] = {{.tokens = 9, .visits = 1, .margin = 3, .gap = 1}, {.tokens = 2, .visits = 1, .margin = -0.5, .gap = NAN},
                             {.tokens = 5, .margin = NAN, .gap = 4}, {.tokens = 7, .visits = 2, .margin = 0.1, .gap = -1}};
#define BY(measure, target) "{\"method\": {\"strategy\": {\"kind\": \"difficulty\", \"measure\": \"" measure "\", \"target\": " target "}}}"
    prompts_are_chosen(BY("length", "0"), p, 4, 2, (int64_t[]){1, 2});
    prompts_are_chosen(BY("length", "1"), p, 4, 2, (int64_t[]){3, 0});
    prompts_are_chosen(BY("margin", "0"), p, 4, 1, (int64_t[]){0});
    prompts_are_chosen(BY("margin", "1"), p, 4, 1, (int64_t[]){1});
    prompts_are_chosen(BY("gap", "0"), p, 4, 1, (int64_t[]){2});
    prompts_are_chosen("{\"method\": {\"strategy\": \"uncertainty\"}}", p, 4, 3, (int64_t[]){2, 3, 1}); /* the unknown first */
}

/* What a strategy reads of a prompt after k responses to it were ranked, best first. */
static sail__memory remembered(const char *stage, int k, int top, const int *order)
{
    world *w = make(stage, k, SAIL_BY_POLICY, 0.2);
    sail__memory m = {0};
    sail__stream st = {.memory = &m};
    sail__group *g = w->step.groups;
    sail_err err = {0};
    for (int i = 0; i < k; i++)
        g->r[i].logp = &w->logp[i];
    g->outcome = sail_outcome_of_ranking(order, k, top);
    if (sail__stream_learned(&st, &w->stage, &w->step, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    done(w);
    return m;
}

static void the_margin_of_a_ranking_is_that_of_its_ends(void **state)
{
    static const int order[] = {2, 0, 3, 1}; /* rewards -2, 1, 3, 4 times beta */
#define RANKS(top) "{\"method\": {\"beta\": 0.5, \"preference\": {\"kind\": \"plackett_luce\", \"top\": " #top "}}}"
    assert_float_equal(remembered(RANKS(0), 2, 2, (int[]){1, 0}).margin, 0.5 * (4 - 1), 1e-6);
    assert_float_equal(remembered(RANKS(0), 3, 3, (int[]){1, 0, 2}).margin, 0.5 * (4 + 2), 1e-6);
    assert_float_equal(remembered(RANKS(0), 4, 4, order).margin, 0.5 * (-2 - 4), 1e-6);
    assert_float_equal(remembered(RANKS(1), 4, 1, order).margin, 0.5 * (-2 - 1), 1e-6); /* the first of those left out */
    assert_float_equal(remembered(RANKS(2), 4, 2, order).margin, 0.5 * (-2 - 4), 1e-6);
}

static void pairs_of_one_prompt_are_one_visit(void **state)
{
    world *w = make("{\"rollout\": {\"responses\": 4, \"pairing\": \"all\"}}", 4, SAIL_BY_POLICY, 0.2);
    sail__memory m = {0};
    sail__stream st = {.memory = &m};
    sail_err err = {0};
    choose(w);
    assert_int_equal(w->step.n, 6);
    for (int i = 0; i < 2; i++)
        assert_int_equal(sail__stream_learned(&st, &w->stage, &w->step, &err), SAIL_OK);
    assert_int_equal(m.visits, 2);
    done(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_is_paired_with_the_worst_by_reward),
        cmocka_unit_test(what_is_left_aside_leaves_where_nothing_weighs_it),
        cmocka_unit_test(the_judge_s_ranking_goes_before_the_reward),
        cmocka_unit_test(a_group_without_a_verdict_leaves),
        cmocka_unit_test(ties_among_the_chosen_are_ties),
        cmocka_unit_test(all_pairs_of_a_prompt_count_as_one),
        cmocka_unit_test(the_judge_s_ranking_is_that_of_the_kept),
        cmocka_unit_test(verdicts_become_places),
        cmocka_unit_test(rejection_takes_what_the_temperature_lets_through),
        cmocka_unit_test(uncertainty_takes_the_nearest_rewards),
        cmocka_unit_test(prompts_are_chosen_by_what_is_known_of_them),
        cmocka_unit_test(the_margin_of_a_ranking_is_that_of_its_ends),
        cmocka_unit_test(pairs_of_one_prompt_are_one_visit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
