/* test_search.c - greedy and contrastive search against golden/method/decoding/search.json: every token, candidate, probability, penalty and
 * score, as far as the recorded choices are clearer than float32 (gap and edge above 1e-5). */
#include "../plugin.h"
#include "../rig.h"

#include "nn/contrastive.h"

enum { MOST_STEPS = 64 };
static const double CLEAR = 1e-5, LIMIT = 2e-5;

typedef struct choices { /* of one search */
    int n;
    struct {
        int n;
        int32_t ids[SAIL__MOST_CANDIDATES];
        double p[SAIL__MOST_CANDIDATES], penalty[SAIL__MOST_CANDIDATES], score[SAIL__MOST_CANDIDATES], edge;
    } step[MOST_STEPS];
} choices;

typedef struct tally {
    long tokens, numbers, unclear;
    double worst;
} tally;

static void on_choice(void *user, int request, int n, const int32_t *ids, const double *p, const double *penalty, const double *score,
                      double edge)
{
    choices *c = user;
    if (request != 0 || c->n == MOST_STEPS)
        return;
    c->step[c->n].n = n;
    memcpy(c->step[c->n].ids, ids, (size_t)n * sizeof *ids);
    memcpy(c->step[c->n].p, p, (size_t)n * sizeof *p);
    memcpy(c->step[c->n].penalty, penalty, (size_t)n * sizeof *penalty);
    c->step[c->n].edge = edge;
    memcpy(c->step[c->n++].score, score, (size_t)n * sizeof *score);
}

static const sail_node *item(const sail_node *x, const char *key, size_t i) { return sail__node_get(x, key)->list.items[i]; }

static void number(tally *t, const char *what, double got, double want)
{
    t->numbers++;
    t->worst = fmax(t->worst, fabs(got - want));
    if (!(fabs(got - want) <= LIMIT))
        fail_msg("%s: %.9g, recorded %.9g", what, got, want);
}

/* One step; false: it is not clear enough to go on. */
static bool compare_step(tally *t, const choices *c, const sail_node *want, size_t i)
{
    const sail_node *steps = sail__node_get(want, "steps"), *s = steps->kind == SAIL_NODE_LIST ? steps->list.items[i] : NULL;
    double gap = test_number(item(want, "gap", i)), edge = test_number(item(want, "edge", i)), best = -INFINITY, second = -INFINITY;
    number(t, "edge", c->step[i].edge, edge);
    if (edge <= CLEAR) {
        t->unclear++;
        return false;
    }
    if (s)
        assert_int_equal(c->step[i].n, sail__node_get(s, "candidates")->list.n);
    for (int k = 0; k < c->step[i].n; k++) {
        double x = c->step[i].score[k];
        int at = 0;
        second = x > best ? best : fmax(second, x);
        best = fmax(best, x);
        if (!s)
            continue;
        while (at < c->step[i].n && c->step[i].ids[at] != item(s, "candidates", (size_t)k)->integer)
            at++;
        if (at == c->step[i].n)
            fail_msg("step %zu: %lld is no candidate", i, (long long)item(s, "candidates", (size_t)k)->integer);
        number(t, "probability", c->step[i].p[at], test_number(item(s, "probability", (size_t)k)));
        number(t, "penalty", c->step[i].penalty[at], test_number(item(s, "penalty", (size_t)k)));
        number(t, "score", c->step[i].score[at], test_number(item(s, "score", (size_t)k)));
    }
    number(t, "gap", best - second, gap);
    t->unclear += gap <= CLEAR;
    return gap > CLEAR;
}

static void compare_contrastive(rig *r, tally *t, const sail_node *prompt, const int32_t *ids, const sail_node *want, size_t most)
{
    sail_err err = {0};
    choices c = {0};
    sail__gen_response *out;
    size_t n;
    sail__contrastive_options o = {.alpha = test_number(sail__node_get(want, "penalty_alpha")), .k = (int)sail__node_get(want, "top_k")->integer, .batch = 3,
                                   .on_choice = on_choice, .choice_user = &c};
    /* beside others, of other lengths, and in a second round */
    int32_t other[] = {5, 9, 17};
    sail__gen_request q[5] = {{.prompt = ids, .n_prompt = (int64_t)prompt->list.n, .children = 1, .max_new = (int64_t)most}};
    for (int i = 1; i < 5; i++)
        q[i] = i == 3 ? q[0] : (sail__gen_request){.prompt = other, .n_prompt = i % 3 + 1, .children = 1, .max_new = 5 + i, .ignore_end = true};
    if (sail__contrastive_search(r->model, SAIL__POLICY, &o, q, 5, NULL, 0, NULL, NULL, r->arena, &out, &n, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    const sail_node *tokens = sail__node_get(want, "tokens");
    assert_int_equal(n, 5);
    assert_int_equal(out[3].n, out[0].n);
    assert_memory_equal(out[3].ids, out[0].ids, (size_t)out[0].n * sizeof(int32_t));
    assert_true(out[4].n == 9 && out[4].finish == SAIL__FINISH_LENGTH);
    for (size_t i = 0; i < tokens->list.n; i++) {
        if (!compare_step(t, &c, want, i))
            return;
        assert_true((int64_t)i < out[0].n);
        assert_int_equal(out[0].ids[i], tokens->list.items[i]->integer);
        int at = 0;
        while (c.step[i].ids[at] != out[0].ids[i])
            at++;
        assert_true(fabs(exp(out[0].logp[i]) - c.step[i].p[at]) < 1e-6);
        t->tokens++;
    }
    assert_int_equal(out[0].n, tokens->list.n);
    assert_int_equal(out[0].finish, tokens->list.n < most ? SAIL__FINISH_STOP : SAIL__FINISH_LENGTH);
}

static void compare_greedy(rig *r, tally *t, const sail_node *x, const int32_t *ids, size_t n_prompt)
{
    sail_err err = {0};
    sail__generator *g;
    sail__gen_response *out;
    size_t n;
    const sail_node *tokens = sail__node_get(x, "greedy");
    sail__gen_request q = {.prompt = ids, .n_prompt = (int64_t)n_prompt, .children = 1, .max_new = (int64_t)tokens->list.n, .ignore_end = true,
                           .sampling = {.top_p = 1, .typical = 1, .penalty = 1}};
    if (sail__generator_new(r->model, SAIL__POLICY, 1, &g, &err) != SAIL_OK ||
        sail__generate(g, 1, &q, 1, NULL, 0, NULL, NULL, r->arena, &out, &n, &err) != SAIL_OK)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < tokens->list.n; i++) {
        if (test_number(item(x, "greedy_gap", i)) <= CLEAR) {
            t->unclear++;
            break;
        }
        assert_int_equal(out[0].ids[i], tokens->list.items[i]->integer);
        t->tokens++;
    }
    sail__generator_free(g);
}

static void searches_match_the_recorded_ones(void **state)
{
    GOLDEN_OR_SKIP();
    rig r;
    tally t = {0};
    rig_open(&r, (int)(intptr_t)*state);
    rig_load(&r, &(rig_spec){.path = golden_path("method/model")});
    golden_file f;
    const sail_node *cases = sail__node_get(golden_json(&f, "method/decoding/search.json"), "cases");
    assert_true(cases->list.n > 0);
    for (size_t c = 0; c < cases->list.n; c++) {
        const sail_node *x = cases->list.items[c], *prompt = sail__node_get(x, "prompt"), *searches = sail__node_get(x, "contrastive");
        int32_t ids[64];
        size_t most = sail__node_get(x, "greedy")->list.n;
        assert_in_range(prompt->list.n, 1, 64);
        for (size_t i = 0; i < prompt->list.n; i++)
            ids[i] = (int32_t)prompt->list.items[i]->integer;
        compare_greedy(&r, &t, x, ids, prompt->list.n);
        for (size_t i = 0; i < searches->list.n; i++)
            compare_contrastive(&r, &t, prompt, ids, searches->list.items[i], most);
    }
    print_message("search.json on %s: %ld tokens and %ld numbers compared, largest deviation %.2g; %ld searches left at a choice closer than %g\n",
                  r.variant.name, t.tokens, t.numbers, t.worst, t.unclear, CLEAR);
    assert_true(t.tokens > 400);
    golden_close(&f);
    rig_close(&r);
}

static void what_it_cannot_do_is_said(void **state)
{
    GOLDEN_OR_SKIP();
    rig r;
    sail_err err = {0};
    sail__gen_response *out;
    size_t n;
    int32_t ids[] = {5, 6};
    rig_open(&r, 0);
    rig_load(&r, &(rig_spec){.path = golden_path("method/model")});
    sail__gen_request q = {.prompt = ids, .n_prompt = 2, .children = 1, .max_new = 4};
    static const struct {
        double alpha;
        int k;
    } wrong[] = {{0, 4}, {1.5, 4}, {0.6, 0}, {0.6, 65}};
    for (size_t i = 0; i < 4; i++) {
        sail__contrastive_options o = {.alpha = wrong[i].alpha, .k = wrong[i].k, .batch = 1};
        assert_int_equal(sail__contrastive_search(r.model, SAIL__POLICY, &o, &q, 1, NULL, 0, NULL, NULL, r.arena, &out, &n, &err), SAIL_E_OPTION);
        assert_non_null(strstr(err.message, "penalty_alpha above 0 and up to 1 and top_k from 1 to 64"));
    }
    sail__contrastive_options o = {.alpha = 0.6, .k = 4, .batch = 1};
    q.children = 2;
    assert_int_equal(sail__contrastive_search(r.model, SAIL__POLICY, &o, &q, 1, NULL, 0, NULL, NULL, r.arena, &out, &n, &err), SAIL_E_ARG);
    q.children = 1, q.max_new = 100000;
    assert_int_equal(sail__contrastive_search(r.model, SAIL__POLICY, &o, &q, 1, NULL, 0, NULL, NULL, r.arena, &out, &n, &err), SAIL_E_LIMIT);
    rig_close(&r);
}

#define VARIANT(test, i, label) {#test " on " label, test, NULL, NULL, (void *)(intptr_t)(i)}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VARIANT(searches_match_the_recorded_ones, 0, "ref"),
        VARIANT(searches_match_the_recorded_ones, 1, "ref, strict"),
        VARIANT(searches_match_the_recorded_ones, 2, "cpu f32"),
        cmocka_unit_test(what_it_cannot_do_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
