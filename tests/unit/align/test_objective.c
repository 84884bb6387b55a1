/* test_objective.c - what objectives promise beside recorded numbers: splitting a step, baselines, labels, abstentions.
 */
#include "../../plugin.h"

#include "align/batch.h"
#include "align/coupling.h"
#include "backend/load.h"
#include "sail/rng.h"

enum { PAIRS = 6, TOKENS = 30 };
static const int64_t of_pair[] = {0, 2, 4, 6, 8, 10, 12};
static const int64_t of_response[] = {0, 1, 4, 6, 9, 10, 12, 15, 18, 20, 23, 26, 30};
static const sail_route routes[] = {{"offline", 0.25, SAIL_BY_DATA, SAIL_BY_DATA, 0},
                                    {"ddp", 0.25, SAIL_BY_DATA, SAIL_BY_POLICY, 0.2},
                                    {"dpp", 0.25, SAIL_BY_POLICY, SAIL_BY_POLICY, 0.3},
                                    {"dpr", 0.25, SAIL_BY_POLICY, SAIL_BY_JUDGE, 0.4}};
static const uint8_t on_route[] = {0, 1, 2, 3, 2, 3};
static const int32_t outcomes[] = {0, 1, 0, 1, 1, 0};

typedef struct step {
    sail_arena *a;
    sail_tape *t;
    double logp[TOKENS], ref[TOKENS], baseline[PAIRS], state[SAIL_OBJECTIVE_STATE];
    sail__batch rows;
    sail__objective o;
    bool couples; /* the loss was seen to couple the pairs */
    sail_err err;
} step;

static void start(step *s, const char *objective, const sail_node *options_of(sail_arena *))
{
    memset(s, 0, sizeof *s);
    s->a = sail__arena_new();
    for (int i = 0; i < TOKENS; i++) {
        s->logp[i] = -0.4 - fabs(sail_rng_normal(7, SAIL_RNG_USER, (uint64_t)i, 0, 0));
        s->ref[i] = -0.4 - fabs(sail_rng_normal(7, SAIL_RNG_USER, (uint64_t)i, 1, 0));
    }
    s->rows = (sail__batch){.layout = {PAIRS, 2 * PAIRS, TOKENS, of_pair, of_response, PAIRS, 2 * PAIRS, TOKENS},
                            .beta = 0.5,
                            .logp = s->logp,
                            .ref = s->ref,
                            .outcome = outcomes,
                            .route = on_route,
                            .routes = routes,
                            .n_routes = 4,
                            .seed = 3,
                            .preference = {test_plugin("preference", "bradley_terry")->ops, NULL, "bradley_terry"}};
    const sail_plugin *p = test_plugin("objective", objective);
    s->o = (sail__objective){p->ops, test_options(s->a, p, options_of ? options_of(s->a) : NULL), objective};
    s->t = sail_tape_new(NULL);
}

static void stop(step *s)
{
    sail_tape_free(s->t);
    sail__arena_free(s->a);
}

static sail_code weights(step *s, double *w, double *loss)
{
    sail_pairs p;
    sail_loss l;
    SAIL_TRY(sail__pairs_build(s->a, s->t, &s->rows, &p, &s->err));
    SAIL_TRY(sail__objective_prepare(&s->o, s->t, &p, s->state, s->baseline, &s->err));
    s->rows.baseline = s->baseline;
    SAIL_TRY(sail__pairs_build(s->a, s->t, &s->rows, &p, &s->err));
    SAIL_TRY(sail__objective_loss(&s->o, s->t, &p, &l, &s->err));
    *loss = *sail_value_of(s->t, l.loss);
    s->couples = sail__tape_couples(s->t, l.loss);
    return sail__pairs_weights(&p, w, NULL, NULL, &s->err);
}

static const sail_node *expected(sail_arena *a)
{
    return test_map(a, "labels", "\"expected\"", NULL);
}
static const sail_node *released(sail_arena *a)
{
    return test_map(a, "estimator", "\"released\"", NULL);
}
static const sail_node *released_expected(sail_arena *a)
{
    return test_map(a, "estimator", "\"released\"", "labels", "\"expected\"", NULL);
}
static const sail_node *moving(sail_arena *a)
{
    return test_map(a, "baseline", "\"moving_mean\"", "decay", "0.75", NULL);
}
static const sail_node *none(sail_arena *a)
{
    return test_map(a, "baseline", "\"none\"", NULL);
}
static const sail_node *everything(sail_arena *a)
{
    return test_map(a, "scope", "\"all\"", NULL);
}

static void splitting_a_step_changes_no_weight(void **state)
{
    static const struct {
        const char *name;
        const sail_node *(*options)(sail_arena *);
    } rows[] = {{"dpo", NULL},      {"ipo", NULL},       {"hinge", NULL},    {"sigmoid_norm", NULL}, {"exo_pair", NULL},
                {"nca_pair", NULL}, {"robust", NULL},    {"bco_pair", NULL}, {"sppo_hard", NULL},    {"apo_zero", NULL},
                {"apo_down", NULL}, {"discopop", NULL},  {"sft", NULL},      {"sail", NULL},         {"sail", expected},
                {"sail", released}, {"sail", everything}, {"sigmoid", NULL},   {"cdpo", NULL},
                {"cpo", NULL},      {"simpo", NULL}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        step s;
        double whole[TOKENS], loss, sum = 0;
        start(&s, rows[k].name, rows[k].options);
        if (weights(&s, whole, &loss))
            fail_msg("%s", s.err.message);
        if (s.couples)
            fail_msg("%s is thought to couple the pairs of a step", rows[k].name);
        const int64_t cut[] = {0, 1, 4, PAIRS};
        int64_t chosen = 0;
        for (int i = 0; i < PAIRS; i++)
            chosen += of_response[2 * i + 1] - of_response[2 * i];
        for (int part = 0; part < 3; part++) {
            int64_t from = cut[part], n = cut[part + 1] - from, bound[PAIRS + 1], unit[2 * PAIRS + 1];
            for (int64_t i = 0; i <= n; i++)
                bound[i] = 2 * i;
            for (int64_t i = 0; i <= 2 * n; i++)
                unit[i] = of_response[2 * from + i] - of_response[2 * from];
            sail__batch r = s.rows;
            r.layout = (sail_layout){n, 2 * n, unit[2 * n], bound, unit, PAIRS, 2 * PAIRS, TOKENS};
            r.first = from;
            r.logp += of_response[2 * from];
            r.ref += of_response[2 * from];
            r.outcome += from;
            r.route += from;
            r.baseline += from;
            r.step_chosen_tokens = chosen;
            sail_pairs p;
            sail_loss l;
            double w[TOKENS];
            if (sail__pairs_build(s.a, s.t, &r, &p, &s.err) || sail__objective_loss(&s.o, s.t, &p, &l, &s.err) ||
                sail__pairs_weights(&p, w, NULL, NULL, &s.err))
                fail_msg("%s", s.err.message);
            sum += *sail_value_of(s.t, l.loss);
            for (int64_t j = 0; j < unit[2 * n]; j++)
                if (fabs(w[j] - whole[of_response[2 * from] + j]) > 1e-15)
                    fail_msg("%s: weight %.17g in a part, %.17g in the whole step", rows[k].name, w[j],
                             whole[of_response[2 * from] + j]);
        }
        assert_true(fabs(sum - loss) < 1e-14);
        stop(&s);
    }
}

/* log q of each pair's label, as F of the objective. */
static double label_of(const step *s, int i)
{
    double m = 0;
    for (int64_t j = of_response[2 * i]; j < of_response[2 * i + 2]; j++)
        m += (j < of_response[2 * i + 1] ? 1 : -1) * (s->logp[j] - s->ref[j]);
    return -log1p(exp(outcomes[i] ? s->rows.beta * m : -s->rows.beta * m));
}

static void objectives_that_couple_a_step_declare_it(void **state)
{
    static const char *const names[] = {"aot", "aot_unpaired"};
    for (size_t k = 0; k < 2; k++) {
        step s;
        double w[TOKENS], loss;
        start(&s, names[k], NULL);
        assert_int_equal(weights(&s, w, &loss), SAIL_OK);
        assert_true(s.couples && test_plugin("objective", names[k])->caps & SAIL_CAP_STEP);
        stop(&s);
    }
}

static void leave_one_out_leaves_out_pairs_that_share_a_response(void **state)
{
    step s;
    double w[TOKENS], loss;
    start(&s, "sail", NULL);
    assert_int_equal(weights(&s, w, &loss), SAIL_OK);
    /* pairs 2 to 5 are the policy's: each is compared with the three others */
    double f[PAIRS];
    for (int i = 0; i < PAIRS; i++)
        f[i] = label_of(&s, i);
    assert_true(fabs(s.baseline[2] - (f[3] + f[4] + f[5]) / 3) < 1e-15);
    assert_true(fabs(s.baseline[5] - (f[2] + f[3] + f[4]) / 3) < 1e-15);
    /* 2, 3 and 4 are made of three responses of one prompt */
    const int64_t prompt[] = {0, 1, 2, 2, 2, 3}, response[] = {0, 1, 2, 3, 10, 11, 10, 12, 11, 12, 20, 21};
    s.rows.prompt_id = prompt;
    s.rows.response_id = response;
    s.rows.baseline = NULL;
    assert_int_equal(weights(&s, w, &loss), SAIL_OK);
    for (int i = 2; i < 5; i++)
        assert_true(fabs(s.baseline[i] - f[5]) < 1e-15);
    assert_true(fabs(s.baseline[5] - (f[2] + f[3] + f[4]) / 3) < 1e-15);
    stop(&s);
}

static void without_another_pair_the_baseline_is_that_of_earlier_steps(void **state)
{
    step s;
    double w[TOKENS], loss, mean = 0;
    start(&s, "sail", NULL);
    for (int i = 2; i < PAIRS; i++)
        mean += label_of(&s, i) / 4;
    const int64_t prompt[] = {0, 1, 2, 2, 2, 2}, response[] = {0, 1, 2, 3, 10, 11, 10, 12, 10, 13, 10, 14}; /* all share one */
    s.rows.prompt_id = prompt;
    s.rows.response_id = response;
    assert_int_equal(weights(&s, w, &loss), SAIL_OK);
    for (int i = 2; i < PAIRS; i++)
        assert_true(s.baseline[i] == 0); /* the first step has none before it */
    assert_true(fabs(s.state[0] - mean) < 1e-15);
    s.state[0] = -2;
    s.rows.baseline = NULL;
    assert_int_equal(weights(&s, w, &loss), SAIL_OK);
    for (int i = 2; i < PAIRS; i++)
        assert_true(s.baseline[i] == -2);
    assert_true(fabs(s.state[0] - (0.9 * -2 + 0.1 * mean)) < 1e-15);
    stop(&s);
}

static void a_moving_mean_is_read_before_it_takes_in_the_step(void **state)
{
    step s;
    double w[TOKENS], loss, mean = 0;
    start(&s, "sail", moving);
    for (int i = 2; i < PAIRS; i++)
        mean += label_of(&s, i) / 4;
    assert_int_equal(weights(&s, w, &loss), SAIL_OK);
    assert_true(s.baseline[2] == 0 && fabs(s.state[0] - mean) < 1e-15);
    s.state[0] = -2;
    assert_int_equal(weights(&s, w, &loss), SAIL_OK);
    assert_true(s.baseline[2] == -2 && fabs(s.state[0] - (0.75 * -2 + 0.25 * mean)) < 1e-15);
    stop(&s);
}

static void an_abstention_moves_nothing(void **state)
{
    static const char *const names[] = {"dpo",      "ipo",      "sail",    "hinge",    "sigmoid_norm",
                                        "exo_pair", "nca_pair", "robust",  "bco_pair", "sppo_hard",
                                        "apo_zero", "apo_down", "discopop", "sigmoid", "cdpo", "simpo"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        step s;
        double w[TOKENS], loss;
        start(&s, names[k], NULL);
        const int32_t none[] = {0, 1, 0, SAIL_ABSTAIN, 1, 0};
        s.rows.outcome = none;
        assert_int_equal(weights(&s, w, &loss), SAIL_OK);
        for (int64_t j = of_response[6]; j < of_response[8]; j++)
            assert_true(w[j] == 0);
        if (k == 2) /* and it is not among the others of a baseline */
            assert_true(fabs(s.baseline[2] - (label_of(&s, 4) + label_of(&s, 5)) / 2) < 1e-15);
        stop(&s);
    }
}

static void released_refuses_what_it_cannot_divide_by(void **state)
{
    step s;
    double w[TOKENS], loss;
    start(&s, "sail", released);
    for (int64_t j = of_response[6]; j < of_response[7]; j++)
        s.logp[j] = 0;
    assert_int_equal(weights(&s, w, &loss), SAIL_E_NUMERIC);
    assert_non_null(strstr(s.err.message, "pair 3"));
    stop(&s);
    start(&s, "sail", released_expected);
    assert_int_equal(weights(&s, w, &loss), SAIL_E_OPTION);
    assert_non_null(strstr(s.err.message, "labels: sampled"));
    stop(&s);
}

static void released_weights_have_the_opposite_sign_of_exact_ones(void **state)
{
    step e, r;
    double we[TOKENS], wr[TOKENS], le, lr;
    start(&e, "sail", none);
    start(&r, "sail", released);
    step d; /* what both have besides T1 */
    double wd[TOKENS], ld;
    static const sail_route plain[] = {{"a", 1, 0, 0, 0},
                                       {"b", 0, SAIL_BY_DATA, SAIL_BY_POLICY, 0.2},
                                       {"c", 0, SAIL_BY_DATA, SAIL_BY_POLICY, 0.3},
                                       {"d", 0, SAIL_BY_DATA, SAIL_BY_JUDGE, 0.4}};
    start(&d, "sail", none);
    d.rows.routes = plain;
    assert_int_equal(weights(&e, we, &le), SAIL_OK);
    assert_int_equal(weights(&r, wr, &lr), SAIL_OK);
    assert_int_equal(weights(&d, wd, &ld), SAIL_OK);
    for (int64_t j = of_response[4]; j < TOKENS; j++) {
        assert_true((we[j] - wd[j]) * (wr[j] - wd[j]) < 0);
        assert_true(we[j] > wd[j]); /* -c F / n with F < 0 */
    }
    stop(&e);
    stop(&r);
    stop(&d);
}

static void labels_are_drawn_where_the_policy_labels_and_only_there(void **state)
{
    step s;
    start(&s, "sail", NULL);
    int64_t flips[PAIRS] = {0}, n = 4000;
    for (int64_t k = 0; k < n; k++) {
        int32_t o[PAIRS] = {7, 7, 7, 7, 7, 7}, again[PAIRS] = {0};
        s.rows.step = k;
        assert_int_equal(sail__labels_draw(&s.rows, o, &s.err), SAIL_OK);
        assert_int_equal(sail__labels_draw(&s.rows, again, &s.err), SAIL_OK);
        for (int i = 0; i < PAIRS; i++) {
            bool own = routes[on_route[i]].labeller == SAIL_BY_POLICY;
            assert_true(own ? o[i] == again[i] && (o[i] == 0 || o[i] == 1) : o[i] == 7 && again[i] == 0);
            flips[i] += own && o[i] == 1;
        }
    }
    for (int i = 0; i < PAIRS; i++) {
        double q = routes[on_route[i]].labeller == SAIL_BY_POLICY ? exp(label_of(&s, i)) : 0;
        q = outcomes[i] ? q : q ? 1 - q : 0; /* probability that slot 1 wins */
        if (fabs((double)flips[i] / (double)n - q) > 5 * sqrt(q * (1 - q) / (double)n))
            fail_msg("pair %d: slot 1 won %.4f of the time, its probability is %.4f", i, (double)flips[i] / (double)n,
                     q);
    }
    stop(&s);
}

static void metrics_are_of_the_pair_as_labelled(void **state)
{
    step s;
    sail_pairs p;
    sail_loss l;
    start(&s, "sail", NULL);
    sail__metrics m = {.arena = s.a};
    assert_int_equal(sail__pairs_build(s.a, s.t, &s.rows, &p, &s.err), SAIL_OK);
    assert_int_equal(sail__objective_loss(&s.o, s.t, &p, &l, &s.err), SAIL_OK);
    assert_int_equal(sail__metrics_pairs(&m, &s.rows, &p, &l, &s.err), SAIL_OK);
    const double *score = sail_value_of(s.t, p.scores), *rho = sail_value_of(s.t, p.rho);
    double chosen = 0, right = 0, kl = 0;
    for (int i = 0; i < PAIRS; i++) {
        double w = score[2 * i + outcomes[i]], lose = score[2 * i + 1 - outcomes[i]];
        chosen += w / PAIRS;
        right += (w > lose) / (double)PAIRS;
        kl += i >= 2 ? (rho[2 * i] + rho[2 * i + 1]) / 8 : 0;
    }
    assert_true(fabs(sail__metrics_get(&m, "rewards/chosen") - chosen) < 1e-14);
    assert_true(fabs(sail__metrics_get(&m, "rewards/accuracies") - right) < 1e-14);
    assert_true(fabs(sail__metrics_get(&m, "objective/kl") - kl) < 1e-14);
    assert_true(sail__metrics_get(&m, "sail/flip_rate") == 1); /* the only DDP pair was flipped */
    assert_true(fabs(sail__metrics_get(&m, "sail/route_dpp") - 2.0 / 6) < 1e-15);
    assert_true(fabs(sail__metrics_get(&m, "completions/mean_length") - TOKENS / (2.0 * PAIRS)) < 1e-15);
    assert_true(sail__metrics_get(&m, "loss") == *sail_value_of(s.t, l.loss));
    assert_true(isnan(sail__metrics_get(&m, "entropy"))); /* not given */
    sail__free(m.items);
    stop(&s);
}

static void a_step_of_data_alone_estimates_no_divergence(void **state)
{
    static const uint8_t data_alone[PAIRS] = {0, 1, 0, 1, 1, 0};
    step s;
    sail_pairs p;
    start(&s, "sail", NULL);
    s.rows.route = data_alone;
    sail__metrics m = {.arena = s.a};
    assert_int_equal(sail__pairs_build(s.a, s.t, &s.rows, &p, &s.err), SAIL_OK);
    assert_int_equal(sail__metrics_pairs(&m, &s.rows, &p, NULL, &s.err), SAIL_OK);
    assert_true(isnan(sail__metrics_get(&m, "objective/kl")));
    assert_false(isnan(sail__metrics_get(&m, "sail/log_ratio")));
    sail__free(m.items);
    stop(&s);
}

static void a_loss_that_is_no_number_is_an_error(void **state)
{
    step s;
    double w[TOKENS], loss;
    start(&s, "dpo", NULL);
    s.logp[0] = NAN;
    assert_int_equal(weights(&s, w, &loss), SAIL_E_NUMERIC);
    stop(&s);
    start(&s, "dpo", NULL);
    s.rows.layout.tokens = TOKENS - 1;
    assert_int_equal(weights(&s, w, &loss), SAIL_E_BUG);
    stop(&s);
}

static void what_prepare_reads_is_told(void **state)
{
    step s;
    uint8_t mask[PAIRS];
    start(&s, "sail", NULL);
    assert_true(sail__objective_prepare_needs(s.a, &s.o, &s.rows, mask));
    assert_memory_equal(mask, ((const uint8_t[]){0, 0, 1, 1, 1, 1}), PAIRS);
    stop(&s);
    start(&s, "sail", everything);
    assert_true(sail__objective_prepare_needs(s.a, &s.o, &s.rows, mask));
    assert_memory_equal(mask, ((const uint8_t[]){1, 1, 1, 1, 1, 1}), PAIRS);
    s.rows.route = (const uint8_t[]){0, 0, 0, 0, 1, 1}; /* nothing written by the policy: no T1, no baseline */
    assert_false(sail__objective_prepare_needs(s.a, &s.o, &s.rows, mask));
    stop(&s);
    start(&s, "dpo", NULL);
    assert_false(sail__objective_prepare_needs(s.a, &s.o, &s.rows, mask));
    stop(&s);
}

static void outcomes_reverse_in_slots_0_and_1(void **state)
{
    assert_int_equal(sail__outcome_reversed(0, 2, 2), 1);
    assert_int_equal(sail__outcome_reversed(1, 2, 3), 0);
    assert_int_equal(sail__outcome_reversed(SAIL_TIE, 2, 3), SAIL_TIE);
    assert_int_equal(sail__outcome_reversed(SAIL_ABSTAIN, 3, 6), SAIL_ABSTAIN);
    assert_int_equal(sail__outcome_reversed(0, 3, 6), 2); /* 012 -> 102 */
    assert_int_equal(sail__outcome_reversed(5, 3, 6), 4); /* 210 -> 201 */
    assert_int_equal(sail__outcome_reversed(2, 3, 3), 2); /* top 1 */
}

/* ---- modifiers ---- */

static const char *const all_objectives[] = {"aot",      "aot_unpaired", "apo_down", "apo_zero", "bco_pair", "cdpo",    "cpo",    "discopop",
                                             "dpo",      "exo_pair",     "hinge",    "ipo",      "kto",      "nca_pair", "orpo",   "robust",
                                             "sail",     "sft",          "sigmoid",  "sigmoid_norm", "simpo", "sppo_hard"};

/* A name among words: "robust, exo_pair, discopop and sail". */
static bool names(const char *text, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = text; (at = strstr(at, name)); at++)
        if ((at == text || strchr(" (", at[-1])) && (strchr(",) ", at[n]) || !at[n]))
            return true;
    return false;
}

static bool refused(sail_arena *a, const char *objective, const sail__modifiers *m, char *message, size_t size)
{
    const sail_plugin *p = test_plugin("objective", objective);
    sail_loaded *l = sail__arena_alloc(a, sizeof *l);
    sail_err err = {0};
    if (sail__plugin_copy(a, p, objective, SAIL_KIND_OBJECTIVE, objective, l, &err))
        fail_msg("%s", err.message);
    const sail_slot slot = {.loaded = l, .options = (void *)test_options(a, p, NULL)};
    const sail__objective_part part = {&slot, 1};
    sail_slot out;
    sail_problems problems = {.arena = a};
    const bool good = sail__combine(a, &part, 1, m, "method.objective", NULL, &out, &problems);
    assert_int_equal(good, problems.n == 0);
    snprintf(message, size, "%s", problems.n ? problems.items[0].message : "");
    return !good;
}

/* What a refusal recommends is true: those that it names take the modifier. */
static void a_refused_modifier_names_objectives_that_take_it(void **state)
{
    static const struct {
        sail__modifiers m;
        const char *refuses;
        size_t at_least;
    } cases[] = {{{.divergence = SAIL__JS_DIVERGENCE, .ld_alpha = 1}, "apo_zero", 8},
                 {{.length = true, .ld_alpha = 0.5}, "cpo", 3},
                 {{.ld_alpha = 1, .weighting = true}, "aot", 3}};
    sail_arena *a = sail__arena_new();
    for (size_t c = 0; c < 3; c++) {
        char message[512], ignored[512];
        size_t named = 0, take = 0;
        assert_true(refused(a, cases[c].refuses, &cases[c].m, message, sizeof message));
        const char *advice = strchr(message, ';') ? strchr(message, ';') : strchr(message, ',');
        assert_non_null(advice);
        for (size_t i = 0; i < sizeof all_objectives / sizeof *all_objectives; i++) {
            const bool takes = !refused(a, all_objectives[i], &cases[c].m, ignored, sizeof ignored);
            take += takes;
            if (!names(advice, all_objectives[i]))
                continue;
            named++;
            if (!takes && strcmp(all_objectives[i], cases[c].refuses))
                fail_msg("%s: %s does not take it", message, all_objectives[i]);
        }
        assert_true(named >= cases[c].at_least && take > named - 1);
    }
    sail__arena_free(a);
}

/* The scores that labels are drawn by are those that the objective sees. */
static void labels_are_drawn_by_the_scores_of_the_divergence(void **state)
{
    step s;
    for (int f = 0; sail__divergences[f]; f++) {
        const sail__modifiers m = {.divergence = f, .f_alpha = 0.3, .length = true, .ld_alpha = 0.4};
        int32_t drawn[PAIRS], n[2] = {0};
        double first = 0;
        start(&s, "dpo", NULL);
        s.rows.modifiers = m;
        s.rows.beta = 1.5;
        sail_pairs p;
        assert_int_equal(sail__pairs_build(s.a, s.t, &s.rows, &p, &s.err), SAIL_OK);
        const double *score = sail_value_of(s.t, p.scores), *rho = sail_value_of(s.t, p.rho);
        for (int r = 0; r < 2 * PAIRS; r++)
            assert_true(fabs(score[r] - 1.5 * sail__divergence_of(&m, rho[r])) <= 1e-13 * fmax(1, fabs(score[r])));
        const double q = 1 / (1 + exp(score[3] - score[2])); /* pair 1 is the policy's to label */
        for (int i = 0; i < 4000; i++) {
            s.rows.seed = (uint64_t)i;
            memcpy(drawn, outcomes, sizeof drawn);
            assert_int_equal(sail__labels_draw(&s.rows, drawn, &s.err), SAIL_OK);
            n[drawn[1]]++;
        }
        first = n[0] / 4000.0;
        if (fabs(first - q) > 4 * sqrt(q * (1 - q) / 4000) + 1e-9)
            fail_msg("%s: slot 0 won %g of the draws, not %g", sail__divergences[f], first, q);
        stop(&s);
    }
}

static double large(const sail__modifiers *m, double rho) { return sail__divergence_of(m, rho); }

static void divergences_are_what_they_are_far_out(void **state)
{
    const sail__modifiers forward = {.divergence = SAIL__FORWARD_KL}, js = {.divergence = SAIL__JS_DIVERGENCE},
                          alpha = {.divergence = SAIL__ALPHA_DIVERGENCE, .f_alpha = 1.5}, one = {.divergence = SAIL__ALPHA_DIVERGENCE, .f_alpha = 1};
    assert_true(large(&forward, 800) == 1 && fabs(large(&forward, -1) - (1 - exp(1))) < 1e-15);
    assert_true(fabs(large(&js, 800) - log(2)) < 1e-15 && fabs(large(&js, -800) + 800 - log(2)) < 1e-12);
    assert_true(isfinite(large(&alpha, 1e4)) && fabs(large(&alpha, -1e4) + 2) < 1e-15);
    assert_true(large(&one, 3.25) == 3.25);
}

/* T1 is about what the policy wrote: the score function of a rival's response is not the policy's. */
static void a_rival_s_response_has_no_score_function_term(void **state)
{
    static const uint8_t wrote[] = {SAIL_BY_DATA, SAIL_BY_DATA, SAIL_BY_DATA, SAIL_BY_DATA, SAIL_BY_POLICY, SAIL_BY_REFERENCE,
                                    SAIL_BY_POLICY, SAIL_BY_MIXTURE, SAIL_BY_POLICY, SAIL_BY_POLICY, SAIL_BY_REFERENCE, SAIL_BY_POLICY};
    sail_route bare[4];
    double with[TOKENS], without[TOKENS], loss;
    memcpy(bare, routes, sizeof bare);
    for (int i = 0; i < 4; i++)
        bare[i].coefficient = 0;
    for (int k = 0; k < 2; k++) {
        step s;
        start(&s, "sail", NULL);
        s.rows.response_writer = wrote;
        s.rows.routes = k ? bare : routes;
        assert_int_equal(weights(&s, k ? without : with, &loss), SAIL_OK);
        stop(&s);
    }
    /* pair 3 is labelled by a judge: T1 is all that its coefficient brings */
    for (int64_t j = of_response[6]; j < of_response[8]; j++)
        assert_true((fabs(with[j] - without[j]) > 1e-6) == (j < of_response[7]));
    for (int64_t j = of_response[10]; j < of_response[12]; j++)
        assert_true((fabs(with[j] - without[j]) > 1e-6) == (j >= of_response[11]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splitting_a_step_changes_no_weight),
        cmocka_unit_test(objectives_that_couple_a_step_declare_it),
        cmocka_unit_test(leave_one_out_leaves_out_pairs_that_share_a_response),
        cmocka_unit_test(without_another_pair_the_baseline_is_that_of_earlier_steps),
        cmocka_unit_test(a_moving_mean_is_read_before_it_takes_in_the_step),
        cmocka_unit_test(an_abstention_moves_nothing),
        cmocka_unit_test(released_refuses_what_it_cannot_divide_by),
        cmocka_unit_test(released_weights_have_the_opposite_sign_of_exact_ones),
        cmocka_unit_test(labels_are_drawn_where_the_policy_labels_and_only_there),
        cmocka_unit_test(metrics_are_of_the_pair_as_labelled),
        cmocka_unit_test(a_step_of_data_alone_estimates_no_divergence),
        cmocka_unit_test(a_loss_that_is_no_number_is_an_error),
        cmocka_unit_test(what_prepare_reads_is_told),
        cmocka_unit_test(outcomes_reverse_in_slots_0_and_1),
        cmocka_unit_test(a_rival_s_response_has_no_score_function_term),
        cmocka_unit_test(a_refused_modifier_names_objectives_that_take_it),
        cmocka_unit_test(labels_are_drawn_by_the_scores_of_the_divergence),
        cmocka_unit_test(divergences_are_what_they_are_far_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
