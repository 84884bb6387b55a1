/* test_plugin.c - objectives, preference models and judges in Lua are plugins like those in C. */
#include <math.h>

#include "../../lua_world.h"
#include "align/batch.h"
#include "align/check.h"
#include "io/data.h"
#include "sail/rng.h"

enum { PAIRS = 8, MOST = 6 };

/* A step of pairs on every route; two of the pairs share a response. */
typedef struct step {
    sail__batch rows;
    int64_t of_pair[PAIRS + 1], of_response[2 * PAIRS + 1], response_id[2 * PAIRS];
    double logp[2 * PAIRS * MOST], ref[2 * PAIRS * MOST], baseline[PAIRS], state[SAIL_OBJECTIVE_STATE];
    int32_t outcome[PAIRS];
    uint8_t route[PAIRS];
    sail_tape *tape;
} step;

static const sail_route routes[] = {{"offline", 0.25, SAIL_BY_DATA, SAIL_BY_DATA, 0},
                                    {"ddp", 0.25, SAIL_BY_DATA, SAIL_BY_POLICY, 0.2},
                                    {"dpp", 0.25, SAIL_BY_POLICY, SAIL_BY_POLICY, 0.3},
                                    {"dpr", 0.25, SAIL_BY_POLICY, SAIL_BY_JUDGE, 0.4}};

static double draw(int64_t i, uint64_t what) { return sail_rng_uniform(5, SAIL_RNG_USER, (uint64_t)i, what, 0); }

static const sail_loaded *plugin(world *w, sail_kind kind, const char *name)
{
    const sail_loaded *p = NULL;
    if (sail__plugin_get(w->ctx, kind, name, &p, &w->err) != SAIL_OK)
        fail_msg("%s", w->err.message);
    return p;
}

/* An option struct with defaults; the plugin's own self where it has none. */
static const void *defaults(world *w, const sail_loaded *p)
{
    if (!p->plugin.opts)
        return p->plugin.self;
    void *o = sail__arena_alloc(w->arena, p->plugin.opts_size);
    assert_true(sail__opt_parse(p->plugin.opts, NULL, "", NULL, NULL, NULL, o, &w->problems));
    return o;
}

static sail_preference_model preference(world *w, const char *name)
{
    const sail_loaded *p = plugin(w, SAIL_KIND_PREFERENCE, name);
    return (sail_preference_model){p->ops, defaults(w, p), p->plugin.name};
}

static sail__objective objective(world *w, const char *name)
{
    const sail_loaded *p = plugin(w, SAIL_KIND_OBJECTIVE, name);
    return (sail__objective){p->ops, defaults(w, p), p->plugin.name};
}

static void begin(world *w, step *s, const char *preference_name)
{
    memset(s, 0, sizeof *s);
    for (int64_t i = 0; i < PAIRS; i++) {
        s->of_pair[i + 1] = 2 * (i + 1);
        s->outcome[i] = draw(i, 0) < 0.5;
        s->route[i] = (uint8_t)(i % 4);
    }
    for (int64_t r = 0; r < 2 * PAIRS; r++) {
        s->of_response[r + 1] = s->of_response[r] + 1 + (int64_t)(draw(r, 1) * MOST);
        s->response_id[r] = r;
    }
    s->response_id[2 * 6] = s->response_id[2 * 2]; /* pairs 2 and 6, both written by the policy */
    int64_t tokens = s->of_response[2 * PAIRS];
    for (int64_t t = 0; t < tokens; t++) {
        s->logp[t] = -3 * draw(t, 2);
        s->ref[t] = -3 * draw(t, 3);
    }
    s->rows = (sail__batch){.layout = {PAIRS, 2 * PAIRS, tokens, s->of_pair, s->of_response, PAIRS, 2 * PAIRS, tokens},
                            .beta = 0.7, .logp = s->logp, .ref = s->ref, .outcome = s->outcome, .route = s->route, .routes = routes,
                            .n_routes = 4, .response_id = s->response_id, .step = 3, .preference = preference(w, preference_name)};
    s->tape = sail_tape_new(NULL);
}

static sail_code run(world *w, step *s, const sail__objective *o, double *weights, double *loss, sail_loss *l)
{
    sail_pairs p;
    *l = (sail_loss){.size = sizeof *l, .per_pair = {-1}};
    s->rows.baseline = NULL;
    SAIL_TRY(sail__pairs_build(w->arena, s->tape, &s->rows, &p, &w->err));
    SAIL_TRY(sail__objective_prepare(o, s->tape, &p, s->state, s->baseline, &w->err));
    s->rows.baseline = s->baseline;
    SAIL_TRY(sail__pairs_build(w->arena, s->tape, &s->rows, &p, &w->err));
    SAIL_TRY(sail__objective_loss(o, s->tape, &p, l, &w->err));
    *loss = *sail_value_of(s->tape, l->loss);
    return sail__pairs_weights(&p, weights, NULL, NULL, &w->err);
}

#define SAIL_IN_LUA                                                                                                    \
    "local F = b.preference:logprob(b.scores, b.outcome)\n"                                                            \
    "local A = (F - b.baseline(F)):detach()\n"                                                                         \
    "return -(F + b.coef_written * A * (b.chosen.logp + b.rejected.logp) + b.coef_labelled * 0.5 * F * F):mean()\n"

/* The name of the objective that body makes. */
static const char *lua_objective(world *w, const char *body)
{
    const char *code = sail__arena_printf(w->arena, "return {method = {objective = function(b)\n%s\nend}}", body);
    sail_node *n = read_lua(w, code);
    if (!n)
        fail_msg("%s", w->err.message);
    return sail__node_find(n, "method.objective")->string.data;
}

static void sail_in_lua_equals_the_plugin(void **state)
{
    world *w = *state;
    step s;
    begin(w, &s, "bradley_terry");
    double weights[2][2 * PAIRS * MOST] = {{0}}, loss[2], baseline[PAIRS];
    sail_loss l;
    const sail__objective c = objective(w, "sail"), lua = objective(w, lua_objective(w, SAIL_IN_LUA));
    assert_int_equal(run(w, &s, &c, weights[0], &loss[0], &l), SAIL_OK);
    memcpy(baseline, s.baseline, sizeof baseline);
    if (run(w, &s, &lua, weights[1], &loss[1], &l) != SAIL_OK)
        fail_msg("%s", w->err.message);
    double largest = 0, scale = 0, baselines = 0;
    for (int64_t t = 0; t < s.rows.layout.tokens; t++) {
        largest = fmax(largest, fabs(weights[0][t] - weights[1][t]));
        scale = fmax(scale, fabs(weights[0][t]));
    }
    for (int i = 0; i < PAIRS; i++) {
        if (routes[i % 4].writer == SAIL_BY_POLICY)
            assert_true(fabs(baseline[i] - s.baseline[i]) < 1e-14);
        baselines = fmax(baselines, fabs(s.baseline[i]));
    }
    assert_true(baselines > 0.01);
    print_message("loss %.17g and %.17g, derivatives differ by %.3g of %.3g\n", loss[0], loss[1], largest, scale);
    assert_true(fabs(loss[0] - loss[1]) <= 1e-14 * fabs(loss[0]));
    assert_true(largest <= 1e-14 * scale);
    sail_tape_free(s.tape);
}

/* What the pair itself is left out of, and what shares a response with it. */
static void the_baseline_leaves_out_what_it_must(void **state)
{
    world *w = *state;
    step s;
    begin(w, &s, "bradley_terry");
    double weights[2 * PAIRS * MOST], loss;
    sail_loss l;
    const sail__objective o = objective(w, lua_objective(w, "local F = b.rho:slot(1)\nreturn -(b.baseline(F) + b.chosen.logp):mean()"));
    assert_int_equal(run(w, &s, &o, weights, &loss, &l), SAIL_OK);
    double f[PAIRS];
    for (int i = 0; i < PAIRS; i++) {
        f[i] = 0;
        for (int64_t t = s.of_response[2 * i]; t < s.of_response[2 * i + 1]; t++)
            f[i] += s.logp[t] - s.ref[t];
    }
    /* written by the policy: 2, 3, 6, 7; 2 and 6 share a response */
    assert_true(fabs(s.baseline[2] - (f[3] + f[7]) / 2) < 1e-13);
    assert_true(fabs(s.baseline[6] - (f[3] + f[7]) / 2) < 1e-13);
    assert_true(fabs(s.baseline[3] - (f[2] + f[6] + f[7]) / 3) < 1e-13);
    sail_tape_free(s.tape);
}

static void the_shipped_variants_have_right_derivatives(void **state)
{
    world *w = *state;
    static const char *const names[] = {"anneal", "length", "preference", "sail_revkl", "online_dpo", "xpo", "selm", "nash_md", "grpo", "rloo"};
    static const char *const given[] = {"model.path=m", "data.train=d.jsonl", "model.backend=ref", "data.reader=preference"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        sail__recipe *r = NULL;
        w->problems.n = 0;
        const char *path = sail__arena_printf(w->arena, "%s/recipes/variants/%s.lua", getenv("SAIL_ROOT"), names[i]);
        if (sail__recipe_load(w->ctx, path, given, 4, &w->problems, &r, &w->err) != SAIL_OK)
            fail_msg("%s", w->err.message);
        const sail__stage *s = &r->stages[0];
        sail_preference_model m = {s->preference.loaded->ops, s->preference.options, s->preference.loaded->plugin.name};
        sail__objective o = {s->objective.loaded->ops, s->objective.options, s->objective.loaded->plugin.name};
        sail__check k;
        for (uint64_t seed = 1; seed < 4; seed++) {
            const sail__checked_method c = {.preference = m, .routes = routes, .n_routes = 4, .beta = 0.1,
                                             .responses = s->rollout.responses > 2 ? (int)s->rollout.responses : 0,
                                             .rival = sail__rival_writer(s->rollout.rival)};
            if (sail__objective_check(&o, s->objective.loaded->plugin.caps, &c, seed, &k, &w->err) != SAIL_OK)
                fail_msg("%s: %s", names[i], w->err.message);
            if (!k.ok)
                fail_msg("%s: %s", names[i], k.message);
            assert_int_equal(sail__preference_check(&m, 2, seed, &k, &w->err), SAIL_OK);
            if (!k.ok)
                fail_msg("%s: %s", names[i], k.message);
        }
        sail__recipe_free(r);
    }
}

static void a_check_finds_what_is_wrong(void **state)
{
    static const struct {
        const char *body, *part;
    } cases[] = {
        {"local F = b.preference:logprob(b.scores, b.outcome)\nreturn -(F * F:mean():item()):mean()", "by differences"},
        {"local f = 0 for i = 1, b.n do f = f + b.rho:item(i) end return b.chosen.logp:mean() * f", "by differences"},
        {"return -(b.chosen.logp:detach() * b.chosen.logp):mean()", NULL},
        {"return -b.tokens.logp:abs():mean()", NULL},
    };
    world *w = *state;
    sail_preference_model m = preference(w, "bradley_terry");
    const sail__checked_method c = {.preference = m, .routes = routes, .n_routes = 4, .beta = 0.5};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sail__objective o = objective(w, lua_objective(w, cases[i].body));
        sail__check k;
        if (sail__objective_check(&o, 0, &c, 1, &k, &w->err) != SAIL_OK)
            fail_msg("%s", w->err.message);
        if (k.ok != !cases[i].part || (cases[i].part && !strstr(k.message, cases[i].part)))
            fail_msg("%s\n%s %g", cases[i].body, k.message, k.largest);
    }
    static const char *const all[] = {"sail", "dpo", "ipo"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        sail__objective o = objective(w, all[i]);
        sail__check k;
        assert_int_equal(sail__objective_check(&o, 0, &c, 2, &k, &w->err), SAIL_OK);
        if (!k.ok)
            fail_msg("%s: %s", all[i], k.message);
    }
    sail_node *n = read_lua(w, "return {method = {preference = function(s, o) return (o == 1 and s[1] - s[2] or s[2] - s[1]):log_ndtr() * 1.1 end}}");
    assert_non_null(n);
    m = preference(w, sail__node_find(n, "method.preference")->string.data);
    sail__check k;
    assert_int_equal(sail__preference_check(&m, 2, 1, &k, &w->err), SAIL_OK);
    assert_false(k.ok);
    assert_non_null(strstr(k.message, "sum to"));
}

static void objectives_give_metrics_and_are_told_their_mistakes(void **state)
{
    world *w = *state;
    step s;
    begin(w, &s, "bradley_terry");
    double weights[2 * PAIRS * MOST], loss;
    sail_loss l;
    sail__objective o = objective(w, lua_objective(w, "local winner, loser, decided = b.sides()\n"
                                                      "assert(b.n == 8 and b.step == 3 and b.beta == 0.7 and b.first == 1 and #b.outcome == 8)\n"
                                                      "assert(b.written:sum():item() == 4 and b.labelled:sum():item() == 4 and b.judged:sum():item() == 2)\n"
                                                      "assert(b.outcome:is(1):sum():item() + b.outcome:is(2):sum():item() == 8)\n"
                                                      "for i = 1, 8 do assert(b.outcome[i] + b.reversed[i] == 3) end\n"
                                                      "local F = (winner.score - loser.score):log_sigmoid()\n"
                                                      "local G = b.preference:logprob(b.scores, b.outcome)\n"
                                                      "assert((F - G):abs():sum():item() < 1e-12)\n"
                                                      "local H = b.preference:entropy(b.scores)\n"
                                                      "return -F:mean(), {zeta = H, alpha = decided, per_pair = -F}"));
    if (run(w, &s, &o, weights, &loss, &l) != SAIL_OK)
        fail_msg("%s", w->err.message);
    assert_int_equal(l.n_metrics, 2);
    assert_string_equal(l.metrics[0].name, "alpha");
    assert_string_equal(l.metrics[1].name, "zeta");
    assert_int_equal(sail_length_of(s.tape, l.per_pair), PAIRS);
    static const char *const cases[][2] = {
        {"return 3", "a value on the tape; it gave a number"},
        {"return b.scores", "return one number"},
        {"return b.scores:mean(), 3", "table of metrics"},
        {"return b.scores:mean() + b.nothing.x", "r.lua:2:"},
        {"return b.preference:logprob(b.scores, 0):mean()", "counted from 1"},
        {"b.baseline(b.chosen.logp) b.baseline(b.chosen.logp)", "once"},
        {"return b.baseline(b.logp)", "one value a pair"},
        {"while true do end", "stopped"},
        {"while true do pcall(function() b.scores:exp():exp() end) end", "stopped"},
        {"local x = b.tokens.logp while true do x = x + 1 end", "stopped"},
        {"return b.tokens.entropy:mean()", "entropy"},
        {"kept = kept or b return kept.scores:mean() + kept.preference:entropy(b.scores):mean()", NULL},
        {"return (b.chosen.logp + b.tokens.logp):mean()", "r.lua:2:"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        o = objective(w, lua_objective(w, cases[i][0]));
        sail_code c = run(w, &s, &o, weights, &loss, &l);
        const char *part = cases[i][1] ? cases[i][1] : "earlier call";
        if (c == SAIL_OK || !strstr(w->err.message, part))
            fail_msg("%s\nwanted: %s\ngot: %s", cases[i][0], part, c ? w->err.message : "no error");
    }
    /* The context goes on after all of that. */
    o = objective(w, lua_objective(w, SAIL_IN_LUA));
    assert_int_equal(run(w, &s, &o, weights, &loss, &l), SAIL_OK);
    sail_tape_free(s.tape);
}

static void a_preference_model_in_lua_equals_c(void **state)
{
    world *w = *state;
    sail_node *n = read_lua(w, "local sail = require 'sail'\n"
                               "return {method = {preference = sail.preference {name = 'mine', outcomes = 2, logprob = function(s, outcome, k)\n"
                               "  assert(k == 2 and #s == 2)\n"
                               "  return (outcome == 1 and s[1] - s[2] or s[2] - s[1]):log_sigmoid()\nend}}}");
    if (!n)
        fail_msg("%s", w->err.message);
    assert_string_equal(sail__node_find(n, "method.preference")->string.data, "mine");
    step s;
    double weights[3][2 * PAIRS * MOST] = {{0}}, loss[3];
    sail_loss l;
    const sail__objective c = objective(w, "sail"), lua = objective(w, lua_objective(w, SAIL_IN_LUA));
    begin(w, &s, "bradley_terry");
    assert_int_equal(run(w, &s, &c, weights[0], &loss[0], &l), SAIL_OK);
    sail_tape_free(s.tape);
    begin(w, &s, "mine");
    if (run(w, &s, &c, weights[1], &loss[1], &l) != SAIL_OK)
        fail_msg("%s", w->err.message);
    if (run(w, &s, &lua, weights[2], &loss[2], &l) != SAIL_OK) /* Lua calls C calls Lua */
        fail_msg("%s", w->err.message);
    for (int k = 1; k < 3; k++) {
        assert_true(fabs(loss[0] - loss[k]) <= 1e-14 * fabs(loss[0]));
        for (int64_t t = 0; t < s.rows.layout.tokens; t++)
            assert_true(fabs(weights[0][t] - weights[k][t]) < 1e-14);
    }
    double score[2] = {0.3, -0.4}, p[2];
    assert_int_equal(sail_preference_probabilities(&s.rows.preference, 2, score, p, &w->err), SAIL_OK);
    assert_true(fabs(p[0] - 1 / (1 + exp(-0.7))) < 1e-15);
    sail_tape_free(s.tape);
    /* An endless one inside an objective in C ends with a message too. */
    n = read_lua(w, "return {method = {preference = function(s, o) while true do pcall(error) end end}}");
    begin(w, &s, sail__node_find(n, "method.preference")->string.data);
    assert_int_not_equal(run(w, &s, &c, weights[0], &loss[0], &l), SAIL_OK);
    assert_non_null(strstr(w->err.message, "stopped"));
    sail_tape_free(s.tape);
}

static void a_judge_in_lua_labels(void **state)
{
    world *w = *state;
    static const struct {
        const char *body;
        int32_t outcome;
        const char *wrong;
    } cases[] = {
        {"return {#item.responses[1], #item.responses[2]}", 1, NULL},
        {"return {item.tokens[1], item.tokens[2]}", 0, NULL},
        {"return {1, 1}", SAIL_TIE, NULL},
        {"return 'tie'", SAIL_TIE, NULL},
        {"return 2", 1, NULL},
        {"return nil", SAIL_ABSTAIN, NULL},
        {"if item.prompt == 'hi' and item.conversation:find('user') then return 1 end", 0, NULL},
        {"return 3", 0, "the winner (1 or 2)"},
        {"return {1}", 0, "a score for each of 2"},
        {"return {1, 0/0}", 0, "must be a number"},
        {"return {1, 'x'}", 0, "must be a number"},
        {"return item.responses[1]:find(('.-'):rep(20) .. 'z')", 0, "stopped"},
        {"return item.nothing.x", 0, "r.lua:2:"},
    };
    const char *responses[2] = {"yes", sail__arena_printf(w->arena, "%0300d", 0)};
    int64_t tokens[2] = {9, 2};
    sail_judge_item item = {.prompt = "hi", .conversation = "user: hi", .k = 2, .response = responses, .tokens = tokens};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (strstr(cases[i].body, "rep(20)"))
            responses[0] = responses[1];
        sail_node *n = read_lua(w, sail__arena_printf(w->arena, "return {method = {judge = function(item)\n%s\nend}}", cases[i].body));
        if (!n)
            fail_msg("%s", w->err.message);
        const sail_loaded *p = plugin(w, SAIL_KIND_JUDGE, sail__node_find(n, "method.judge")->string.data);
        const sail_judge *ops = p->ops;
        sail_verdict v;
        sail_code c = ops->label(p->plugin.self, NULL, &item, 1, &v, &w->err);
        if (cases[i].wrong ? c == SAIL_OK || !strstr(w->err.message, cases[i].wrong) : c != SAIL_OK || v.outcome != cases[i].outcome)
            fail_msg("%s: %d %s", cases[i].body, v.outcome, c ? w->err.message : "");
        responses[0] = "yes";
    }
    const char *three[3] = {"b", "a", "c"};
    int64_t lengths[3] = {2, 1, 3};
    sail_judge_item more = {.prompt = "", .conversation = "", .k = 3, .response = three, .tokens = lengths};
    sail_node *n = read_lua(w, "return {method = {judge = function(item) return item.tokens end}}");
    const sail_loaded *p = plugin(w, SAIL_KIND_JUDGE, sail__node_find(n, "method.judge")->string.data);
    sail_verdict v;
    assert_int_equal(((const sail_judge *)p->ops)->label(p->plugin.self, NULL, &more, 1, &v, &w->err), SAIL_OK);
    assert_int_equal(v.outcome, 4); /* 2 > 0 > 1 is the fifth in lexicographic order */
    assert_true(v.score[2] == 3);
}

/* Records of a file through a function: rows, reasons, mistakes with their place. */
static void a_reader_in_lua_makes_rows(void **state)
{
    world *w = *state;
    static const struct {
        const char *body, *chosen, *dropped, *error;
    } cases[] = {
        {"return {prompt = r.q .. '?', chosen = r.answers[2].text, rejected = r.answers[1].text, score_chosen = 2}", "good", NULL, NULL},
        {"return {messages = {{role = 'user', content = r.q}}, chosen = {role = 'assistant', content = 'm'}, rejected = {role = 'assistant', content = 'n'}}", NULL, NULL, NULL},
        {"return {prompt = r.q, responses = {r.answers[1].text, 'best', 'middle'}, scores = {1, 3, 2}}", "best", NULL, NULL},
        {"return {prompt = r.q, responses = {'a', 'b'}, ranking = {2}}", NULL, NULL, "'ranking' has 1 numbers for 2 responses"},
        {"return {prompt = r.q, responses = {'a', 'b'}}", NULL, NULL, "'ranking' must be a list of numbers"},
        {"if r.flag then return nil, 'flagged' end", NULL, "flagged", NULL},
        {"return nil", NULL, "left out by the reader", NULL},
        {"return {drop = 'dull'}", NULL, "dull", NULL},
        {"return {prompt = 'p', choosen = 'c'}", NULL, NULL, "did you mean 'chosen'"},
        {"return 'x'", NULL, NULL, "a reader must give a row"},
        {"return {prompt = 3}", NULL, NULL, "'prompt' must be a string or a list of messages"},
        {"return r.none.field", NULL, NULL, "r.lua:2"},
        {"while true do end", NULL, NULL, "r.lua:2"},
    };
    char path[] = "/tmp/sail_reader_XXXXXX";
    int fd = mkstemp(path);
    static const char record[] = "{\"q\": \"why\", \"flag\": true, \"answers\": [{\"text\": \"bad\"}, {\"text\": \"good\"}]}\n";
    assert_true(fd >= 0 && write(fd, record, sizeof record - 1) == (ssize_t)sizeof record - 1);
    close(fd);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sail_node *n = read_lua(w, sail__arena_printf(w->arena, "return {data = {reader = function(r)\n%s\nend}}", cases[i].body));
        const sail_loaded *p = plugin(w, SAIL_KIND_DATASET, sail__node_find(n, "data.reader")->string.data);
        sail_slot slot = {.loaded = p, .options = (void *)p->plugin.self};
        const char *paths[] = {path};
        sail__rows rows;
        sail_code code = sail__rows_load(&(sail__data_options){.paths = paths, .n_paths = 1, .reader = &slot}, NULL, &rows, &w->err);
        if (cases[i].error) {
            if (!code || !strstr(w->err.message, cases[i].error) || !strstr(w->err.message, path))
                fail_msg("%s: '%s'", cases[i].body, code ? w->err.message : "gave a row");
            w->err = (sail_err){0};
            continue;
        }
        if (code)
            fail_msg("%s: %s", cases[i].body, w->err.message);
        if (cases[i].dropped)
            assert_string_equal(rows.drops.items[0].reason, cases[i].dropped);
        else
            assert_int_equal(rows.n, 1);
        if (cases[i].chosen)
            assert_string_equal(rows.rows[0]->part[SAIL_PART_CHOSEN].text, cases[i].chosen);
        else if (rows.n)
            assert_string_equal(rows.rows[0]->part[SAIL_PART_PROMPT].messages[0].content, "why");
        sail__rows_free(&rows);
    }
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sail_in_lua_equals_the_plugin),
        TEST(the_baseline_leaves_out_what_it_must),
        TEST(the_shipped_variants_have_right_derivatives),
        TEST(a_check_finds_what_is_wrong),
        TEST(objectives_give_metrics_and_are_told_their_mistakes),
        TEST(a_preference_model_in_lua_equals_c),
        TEST(a_judge_in_lua_labels),
        TEST(a_reader_in_lua_makes_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
