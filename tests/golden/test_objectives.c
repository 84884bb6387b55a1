/* test_objectives.c - objectives against recorded losses, derivatives and metrics:
 * golden/method/objectives/{batches,dpo,kto,cpo_orpo,online}.json. Derivatives are of the loss, with respect to each token. Every number
 * recorded there is compared; what is left out by name is said where it is. */
#include "../golden.h"
#include "../plugin.h"

#include "align/batch.h"
#include "backend/load.h"

/* A recorded batch: slot 0 of a pair is `chosen`, slot 1 `rejected`. */
typedef struct batch {
    sail__batch rows;
    int64_t *of_pair, *of_response;
    double *logp, *ref, *entropy, *lss;
    int64_t *prompt_of_pair;
    double *prompt;
} batch;

static batch read_batch(sail_arena *a, const sail_node *pairs)
{
    batch b = {0};
    int64_t n = (int64_t)pairs->list.n, tokens = 0;
    static const char *const sides[] = {"chosen", "rejected"};
    b.of_pair = sail__arena_array(a, (size_t)n + 1, sizeof(int64_t));
    b.of_response = sail__arena_array(a, 2 * (size_t)n + 1, sizeof(int64_t));
    for (int64_t i = 0; i < n; i++)
        for (int s = 0; s < 2; s++) {
            b.of_pair[i + 1] = 2 * i + 2;
            tokens += (int64_t)sail__node_get(sail__node_get(pairs->list.items[i], sides[s]), "logp")->list.n;
            b.of_response[2 * i + s + 1] = tokens;
        }
    double **all[] = {&b.logp, &b.ref, &b.entropy, &b.lss};
    static const char *const keys[] = {"logp", "ref", "entropy", "log_sum_sq_probs"};
    for (int k = 0; k < 4; k++) {
        *all[k] = sail__arena_array(a, (size_t)tokens, sizeof(double));
        for (int64_t r = 0; r < 2 * n; r++)
            test_flatten(sail__node_get(sail__node_get(pairs->list.items[r / 2], sides[r % 2]), keys[k]),
                         *all[k] + b.of_response[r], (size_t)(b.of_response[r + 1] - b.of_response[r]));
    }
    b.rows = (sail__batch){.layout = {n, 2 * n, tokens, b.of_pair, b.of_response, n, 2 * n, tokens},
                           .logp = b.logp,
                           .ref = b.ref,
                           .entropy = b.entropy,
                           .lss = b.lss};
    b.prompt_of_pair = sail__arena_array(a, (size_t)n + 1, sizeof(int64_t));
    for (int64_t i = 0; i < n; i++)
        b.prompt_of_pair[i + 1] = b.prompt_of_pair[i] + (int64_t)sail__node_get(pairs->list.items[i], "prompt_logp")->list.n;
    b.prompt = sail__arena_array(a, (size_t)b.prompt_of_pair[n] + 1, sizeof(double));
    for (int64_t i = 0; i < n; i++)
        test_flatten(sail__node_get(pairs->list.items[i], "prompt_logp"), b.prompt + b.prompt_of_pair[i],
                     (size_t)(b.prompt_of_pair[i + 1] - b.prompt_of_pair[i]));
    return b;
}

/* What was compared of one kind: how many numbers, the largest deviation as a share of the tolerance and of the number's scale. */
typedef struct tally {
    double worst;
    int n;
} tally;
typedef struct deviations {
    tally loss, slope, metric;
    int bad, cases;
} deviations;

/* Shares of the tolerance: 1e-12 of the largest derivative, or of the number itself where that is larger. */
static void compare_to(const char *what, double got, double want, double tolerance, double scale, tally *t, int *bad)
{
    double d = test_deviation(got, want, tolerance, scale);
    if (tolerance < 1e-9) /* what was recorded in float32 says nothing about us */
        t->worst = fmax(t->worst, d * tolerance);
    t->n++;
    if (!(d <= 1)) {
        ++*bad;
        print_error("%s: %.17g, recorded %.17g (%g times the tolerance)\n", what, got, want, d);
    }
}

static void compare(const char *what, double got, double want, double scale, tally *t, int *bad)
{
    compare_to(what, got, want, 1e-12, scale, t, bad);
}

static sail_preference_model bradley_terry(void)
{
    return (sail_preference_model){test_plugin("preference", "bradley_terry")->ops, NULL, "bradley_terry"};
}

static void run(sail_arena *a, sail_tape *t, const sail__objective *o, sail__batch *rows, sail_pairs *p,
                sail_loss *loss, double *weights)
{
    sail_err err = {0};
    double state[SAIL_OBJECTIVE_STATE] = {0};
    double *baseline = sail__arena_array(a, (size_t)rows->layout.pairs, sizeof *baseline);
    if (sail__pairs_build(a, t, rows, p, &err) || sail__objective_prepare(o, t, p, state, baseline, &err))
        fail_msg("%s", err.message);
    rows->baseline = baseline;
    if (sail__pairs_build(a, t, rows, p, &err) || sail__objective_loss(o, t, p, loss, &err) ||
        sail__pairs_weights(p, weights, NULL, NULL, &err))
        fail_msg("%s", err.message);
}

static void compare_weights(const batch *b, const double *got, const sail_node *slot0, const sail_node *slot1,
                            double scale, const char *name, deviations *d)
{
    for (int64_t r = 0; r < b->rows.layout.responses; r++) {
        const sail_node *want = (r % 2 ? slot1 : slot0)->list.items[r / 2];
        for (int64_t j = b->of_response[r]; j < b->of_response[r + 1]; j++)
            compare(name, got[j],
                    test_number(want->kind == SAIL_NODE_LIST ? want->list.items[j - b->of_response[r]] : want), scale,
                    &d->slope, &d->bad);
    }
}

/* TRL takes some means in float32 where it says so here. */
static void compare_metrics(const batch *b, const sail_pairs *p, const sail_loss *loss, const sail_node *want, const char *name,
                            const char *coarse, deviations *d)
{
    sail_err err = {0};
    sail__metrics m = {.arena = sail__arena_new()};
    if (sail__metrics_pairs(&m, &b->rows, p, loss, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < want->list.n; i++) {
        const char *key = want->list.keys[i];
        char what[256];
        snprintf(what, sizeof what, "%s %s", name, key);
        double got = sail__metrics_get(&m, key), number = test_number(want->list.items[i]);
        if (isnan(got) && number == 0 && !strcmp(key, "nll_loss")) /* where the likelihood has no weight TRL reports 0, we nothing */
            got = 0;
        compare_to(what, got, number, coarse && !strcmp(key, coarse) ? 1e-7 : 1e-12, 1,
                   &d->metric, &d->bad);
    }
    sail__free(m.items);
    sail__arena_free(m.arena);
}

static void print_deviations(const char *file, const deviations *d)
{
    print_message("%s: %d cases, %d numbers; largest relative deviation: loss %.2g (of %d), derivative %.2g (of %d), metric %.2g (of %d)\n",
                  file, d->cases, d->loss.n + d->slope.n + d->metric.n, d->loss.worst, d->loss.n, d->slope.worst, d->slope.n,
                  d->metric.worst, d->metric.n);
}

/* A recorded case's objective as a recipe would have it: one or several plugins, their options, what method says of any. The options'
 * names are those of plugins and modifiers: one that nobody knows fails the test. */
typedef struct chosen {
    sail_slot slot[4], combined;
    sail__objective_part part[4];
    sail__modifiers modifiers;
    sail__objective objective;
    uint32_t caps;
} chosen;

static bool is_modifier(const char *name)
{
    return !strcmp(name, "f_divergence_type") || !strcmp(name, "f_alpha_divergence_coef") || !strcmp(name, "ld_alpha") || !strcmp(name, "use_weighting");
}

static sail__modifiers modifiers_of(const sail_node *options)
{
    const sail_node *f = sail__node_get(options, "f_divergence_type"), *alpha = sail__node_get(options, "f_alpha_divergence_coef"),
                    *ld = sail__node_get(options, "ld_alpha");
    sail__modifiers m = {.f_alpha = alpha ? test_number(alpha) : 0.5, .weighting = sail__node_get(options, "use_weighting") != NULL};
    for (; f && strcmp(sail__divergences[m.divergence], test_string(f)); m.divergence++)
        assert_non_null(sail__divergences[m.divergence + 1]);
    m.length = ld != NULL;
    m.ld_alpha = ld ? test_number(ld) : 1;
    return m;
}

static bool has_option(const sail_plugin *p, const char *name)
{
    for (const sail_opt *q = p->opts; q && q->name; q++)
        if (sail__name_equal(q->name, name))
            return true;
    return false;
}

static void choose(sail_arena *a, const char *const *names, const sail_node *weights, size_t n, const sail_node *options, chosen *c)
{
    memset(c, 0, sizeof *c);
    assert_in_range(n, 1, 4);
    c->modifiers = modifiers_of(options);
    sail_err err = {0};
    for (size_t i = 0; i < n; i++) {
        const sail_plugin *p = test_plugin("objective", names[i]);
        sail_loaded *l = sail__arena_alloc(a, sizeof *l);
        sail_node *own = sail__node_new(a, SAIL_NODE_MAP, "test", 0, 0);
        if (sail__plugin_copy(a, p, names[i], SAIL_KIND_OBJECTIVE, names[i], l, &err))
            fail_msg("%s", err.message);
        for (size_t k = 0; k < options->list.n; k++) {
            const char *key = options->list.keys[k];
            if (has_option(p, key))
                sail__node_set(a, own, key, options->list.items[k]);
            else if (!is_modifier(key) && !(!strcmp(names[i], "sigmoid") && !strcmp(key, "label_smoothing"))) /* TRL's ignores it */
                fail_msg("objective %s has no option %s", names[i], key);
        }
        c->slot[i] = (sail_slot){.loaded = l, .options = (void *)test_options(a, p, own)};
        c->part[i] = (sail__objective_part){&c->slot[i], weights ? test_number(weights->list.items[i]) : 1};
    }
    sail_problems problems = {.arena = a};
    const sail_slot *s = &c->slot[0];
    if (n > 1 || c->modifiers.weighting || c->modifiers.length || c->modifiers.divergence) {
        if (!sail__combine(a, c->part, n, &c->modifiers, "method.objective", NULL, &c->combined, &problems))
            fail_msg("%s: %s", problems.items[0].path, problems.items[0].message);
        s = &c->combined;
    }
    c->objective = (sail__objective){s->loaded->ops, s->options, s->loaded->plugin.name};
    c->caps = s->loaded->plugin.caps;
}

/* The tape, loss and derivatives of a case against what was recorded. */
static void one_case(sail_arena *a, sail_tape *t, chosen *c, batch *b, const sail_node *x, const char *slot0, const char *slot1,
                     const char *coarse, deviations *d)
{
    sail_pairs pairs;
    sail_loss loss;
    double *w = sail__arena_array(a, (size_t)b->rows.layout.tokens, sizeof *w);
    b->rows.modifiers = c->modifiers;
    if (c->caps & SAIL_CAP_PROMPT) {
        b->rows.prompt_of_pair = b->prompt_of_pair;
        b->rows.prompt_logp = b->prompt;
        b->rows.step_prompt_tokens = b->prompt_of_pair[b->rows.layout.pairs];
    }
    run(a, t, &c->objective, &b->rows, &pairs, &loss, w);
    const sail_node *d0 = sail__node_get(x, slot0), *d1 = sail__node_get(x, slot1), *per = sail__node_get(x, "per_pair");
    const char *name = c->objective.name;
    double scale = fmax(test_largest(d0), test_largest(d1));
    compare(name, *sail_value_of(t, loss.loss), test_number(sail__node_get(x, "loss")), scale, &d->loss, &d->bad);
    assert_true(loss.per_pair.id > 0);
    for (int64_t i = 0; i < pairs.n; i++)
        compare(name, sail_value_of(t, loss.per_pair)[i], test_number(per->list.items[i]), scale, &d->loss, &d->bad);
    compare_weights(b, w, d0, d1, scale, name, d);
    const sail_node *nll = sail__node_get(x, "nll"), *metrics = sail__node_get(x, "metrics");
    if (nll) {
        double got = *sail_value_of(t, sail_chosen_nll(t, &pairs));
        for (int k = 0; k < loss.n_metrics; k++)
            if (!strcmp(loss.metrics[k].name, "/nll_loss"))
                got = *sail_value_of(t, loss.metrics[k].value);
        compare(name, got, test_number(nll), 1, &d->metric, &d->bad);
    }
    if (metrics)
        compare_metrics(b, &pairs, &loss, metrics, name, coarse, d);
    d->cases++;
}

static void offline_objectives_match_the_recorded_numbers(void **state)
{
    GOLDEN_OR_SKIP();
    golden_file f, g;
    const sail_node *batches = sail__node_get(golden_json(&g, "method/objectives/batches.json"), "batches");
    const sail_node *cases = sail__node_get(golden_json(&f, "method/objectives/dpo.json"), "cases");
    sail_tape *t = sail_tape_new(NULL);
    deviations d = {0};
    for (size_t i = 0; i < cases->list.n; i++) {
        const sail_node *x = cases->list.items[i], *o = sail__node_get(x, "objective");
        const char *names[4];
        size_t n = o->kind == SAIL_NODE_LIST ? o->list.n : 1;
        for (size_t k = 0; k < n && k < 4; k++)
            names[k] = test_string(o->kind == SAIL_NODE_LIST ? o->list.items[k] : o);
        chosen c;
        choose(f.arena, names, sail__node_get(x, "loss_weights"), n, sail__node_get(x, "options"), &c);
        batch b = read_batch(f.arena, sail__node_get(batches, test_string(sail__node_get(x, "batch"))));
        b.rows.beta = test_number(sail__node_get(x, "beta"));
        b.rows.preference = bradley_terry();
        one_case(f.arena, t, &c, &b, x, "d_chosen", "d_rejected", NULL, &d);
        if (n == 1 && !strcmp(names[0], "sigmoid")) { /* the same by its other name */
            names[0] = "dpo";
            sail_node *options = sail__node_copy(f.arena, sail__node_get(x, "options"));
            sail__node_unset(options, "label_smoothing");
            deviations same = {0};
            choose(f.arena, names, NULL, 1, options, &c);
            one_case(f.arena, t, &c, &b, x, "d_chosen", "d_rejected", NULL, &same);
            d.bad += same.bad;
        }
    }
    print_deviations("dpo.json", &d);
    assert_int_equal(d.cases, cases->list.n);
    assert_int_equal(d.bad, 0);
    sail_tape_free(t);
    golden_close(&f);
    golden_close(&g);
}

static void objectives_without_reference_match_the_recorded_numbers(void **state)
{
    GOLDEN_OR_SKIP();
    golden_file f, g;
    const sail_node *batches = sail__node_get(golden_json(&g, "method/objectives/batches.json"), "batches");
    const sail_node *cases = sail__node_get(golden_json(&f, "method/objectives/cpo_orpo.json"), "cases");
    sail_tape *t = sail_tape_new(NULL);
    deviations d = {0};
    for (size_t i = 0; i < cases->list.n; i++) {
        const sail_node *x = cases->list.items[i], *given = sail__node_get(x, "options");
        const char *name = test_string(sail__node_get(x, "objective")), *type = strchr(name, '/');
        sail_node *options = given ? sail__node_copy(f.arena, given) : sail__node_new(f.arena, SAIL_NODE_MAP, "test", 0, 0);
        const sail_node *prompt = sail__node_get(x, "likelihood_over_prompt");
        if (prompt)
            sail__node_set(f.arena, options, "likelihood_over_prompt", (sail_node *)prompt);
        if (type && !strcmp(type, "/simpo"))
            name = "simpo";
        else if (type) {
            sail__node_set(f.arena, options, "loss_type", sail__node_string(f.arena, type + 1, "test"));
            name = "cpo";
        }
        chosen c;
        choose(f.arena, &name, NULL, 1, options, &c);
        batch b = read_batch(f.arena, sail__node_get(batches, test_string(sail__node_get(x, "batch"))));
        b.rows.beta = test_number(sail__node_get(x, "beta"));
        b.rows.preference = bradley_terry();
        b.rows.ref = NULL;
        assert_false(c.caps & SAIL_CAP_REFERENCE);
        one_case(f.arena, t, &c, &b, x, "d_chosen", "d_rejected", type ? "rewards/accuracies" : NULL, &d);
    }
    print_deviations("cpo_orpo.json", &d);
    assert_int_equal(d.cases, cases->list.n);
    assert_int_equal(d.bad, 0);
    sail_tape_free(t);
    golden_close(&f);
    golden_close(&g);
}

/* Single responses: the recorded pairs taken apart, each with its label, and the log-probabilities of mismatched ones as given. */
static batch take_apart(sail_arena *a, const batch *whole, const sail_node *x)
{
    const sail_node *examples = sail__node_get(x, "examples"), *policy = sail__node_get(x, "kl_policy_logps"), *ref = sail__node_get(x, "kl_reference_logps");
    const int64_t n = (int64_t)examples->list.n;
    batch b = {0};
    int64_t tokens = 0;
    b.of_pair = sail__arena_array(a, (size_t)n + 1, sizeof(int64_t));
    b.of_response = sail__arena_array(a, (size_t)n + 1, sizeof(int64_t));
    double *out[3];
    for (int k = 0; k < 3; k++)
        out[k] = sail__arena_array(a, (size_t)whole->rows.layout.tokens, sizeof(double));
    uint8_t *desirable = sail__arena_alloc(a, (size_t)n);
    double *mismatched = sail__arena_array(a, (size_t)n, sizeof *mismatched);
    for (int64_t i = 0; i < n; i++) {
        const sail_node *e = examples->list.items[i];
        const int64_t r = 2 * e->list.items[0]->integer + !strcmp(test_string(e->list.items[1]), "rejected");
        for (int64_t j = whole->of_response[r]; j < whole->of_response[r + 1]; j++, tokens++) {
            out[0][tokens] = whole->logp[j];
            out[1][tokens] = whole->ref[j];
            out[2][tokens] = whole->entropy[j];
        }
        b.of_pair[i + 1] = i + 1;
        b.of_response[i + 1] = tokens;
        desirable[i] = test_number(sail__node_get(x, "desirable")->list.items[i]) ? SAIL_DESIRABLE : SAIL_UNDESIRABLE;
        if (policy && policy->kind == SAIL_NODE_LIST)
            mismatched[i] = test_number(policy->list.items[i]) - test_number(ref->list.items[i]);
    }
    b.rows = (sail__batch){.layout = {n, n, tokens, b.of_pair, b.of_response, n, n, tokens}, .logp = out[0], .ref = out[1], .entropy = out[2],
                           .desirable = desirable, .mismatched_rho = mismatched};
    return b;
}

static void kto_matches_the_recorded_numbers(void **state)
{
    GOLDEN_OR_SKIP();
    golden_file f, g;
    const sail_node *batches = sail__node_get(golden_json(&g, "method/objectives/batches.json"), "batches");
    const sail_node *cases = sail__node_get(golden_json(&f, "method/objectives/kto.json"), "cases");
    sail_tape *t = sail_tape_new(NULL);
    deviations d = {0};
    for (size_t i = 0; i < cases->list.n; i++) {
        const sail_node *x = cases->list.items[i];
        sail_node *options = sail__node_new(f.arena, SAIL_NODE_MAP, "test", 0, 0);
        sail__node_set(f.arena, options, "loss_type", sail__node_get(x, "objective"));
        sail__node_set(f.arena, options, "desirable_weight", sail__node_get(x, "desirable_weight"));
        sail__node_set(f.arena, options, "undesirable_weight", sail__node_get(x, "undesirable_weight"));
        const char *name = "kto";
        chosen c;
        choose(f.arena, &name, NULL, 1, options, &c);
        const batch whole = read_batch(f.arena, sail__node_get(batches, test_string(sail__node_get(x, "batch"))));
        batch b = take_apart(f.arena, &whole, x);
        b.rows.beta = test_number(sail__node_get(x, "beta"));
        b.rows.preference = bradley_terry();
        sail_pairs pairs;
        sail_loss loss;
        double *w = sail__arena_array(f.arena, (size_t)b.rows.layout.tokens, sizeof *w);
        run(f.arena, t, &c.objective, &b.rows, &pairs, &loss, w);
        const sail_node *slopes = sail__node_get(x, "d_examples");
        const double scale = test_largest(slopes), kl = test_number(sail__node_get(x, "kl"));
        compare("kto", *sail_value_of(t, loss.loss), test_number(sail__node_get(x, "loss")), scale, &d.loss, &d.bad);
        compare("kto: kl", pairs.baseline[0], kl, 1, &d.loss, &d.bad);
        for (int64_t r = 0; r < pairs.n; r++) {
            compare("kto", sail_value_of(t, loss.per_pair)[r], test_number(sail__node_get(x, "per_example")->list.items[r]), scale, &d.loss, &d.bad);
            for (int64_t j = b.of_response[r]; j < b.of_response[r + 1]; j++)
                compare("kto", w[j], test_number(slopes->list.items[r]->list.items[j - b.of_response[r]]), scale, &d.slope, &d.bad);
        }
        compare_metrics(&b, &pairs, &loss, sail__node_get(x, "metrics"), "kto", NULL, &d);
        d.cases++;
    }
    print_deviations("kto.json", &d);
    assert_int_equal(d.cases, cases->list.n);
    assert_int_equal(d.bad, 0);
    sail_tape_free(t);
    golden_close(&f);
    golden_close(&g);
}

static int by_who(const char *route, bool label)
{
    if (!strcmp(route, "offline"))
        return SAIL_BY_DATA;
    if (!strcmp(route, "DDP"))
        return label ? SAIL_BY_POLICY : SAIL_BY_DATA;
    if (!strcmp(route, "DPP"))
        return SAIL_BY_POLICY;
    assert_string_equal(route, "DPR");
    return label ? SAIL_BY_JUDGE : SAIL_BY_POLICY;
}

static void fill_routes(sail_arena *a, batch *b, const sail_node *options)
{
    int64_t n = b->rows.layout.pairs;
    const sail_node *route = sail__node_get(options, "route"), *coef = sail__node_get(options, "coefficient");
    sail_route *routes = sail__arena_array(a, coef->list.n, sizeof *routes);
    uint8_t *which = sail__arena_alloc(a, (size_t)n);
    int32_t *outcome = sail__arena_array(a, (size_t)n, sizeof *outcome);
    for (size_t k = 0; k < coef->list.n; k++)
        routes[k] = (sail_route){coef->list.keys[k], 0.25, by_who(coef->list.keys[k], false),
                                 by_who(coef->list.keys[k], true), test_number(coef->list.items[k])};
    for (int64_t i = 0; i < n; i++) {
        outcome[i] = (int32_t)sail__node_get(options, "outcome")->list.items[i]->integer;
        for (size_t k = 0; k < coef->list.n; k++)
            if (!strcmp(coef->list.keys[k], test_string(route->list.items[i])))
                which[i] = (uint8_t)k;
    }
    b->rows.routes = routes;
    b->rows.n_routes = (int)coef->list.n;
    b->rows.route = which;
    b->rows.outcome = outcome;
}

/* Margin, F and the label's entropy, which the surrogate is made of. */
static void compare_parts(sail_tape *t, const sail_pairs *p, const sail_loss *loss, const sail_node *x, deviations *d)
{
    static const char *const keys[] = {"margin", "F", "entropy_of_label"};
    sail_var parts[] = {sail_sub(t, p->chosen.score, p->rejected.score), {-1}, sail_preference_entropy(t, &p->preference, p->scores)};
    double mean = 0;
    for (int k = 0; k < loss->n_metrics; k++)
        if (!strcmp(loss->metrics[k].name, "F"))
            parts[1] = loss->metrics[k].value;
    assert_true(parts[1].id > 0);
    for (int k = 0; k < 3; k++)
        for (int64_t i = 0; i < p->n; i++)
            compare(keys[k], sail_value_of(t, parts[k])[i], test_number(sail__node_get(x, keys[k])->list.items[i]), 1, &d->metric, &d->bad);
    for (int64_t i = 0; i < p->n; i++)
        mean += sail_value_of(t, parts[1])[i] / (double)p->n;
    compare("mean F", mean, test_number(sail__node_get(x, "mean_F")), 1, &d->metric, &d->bad);
}

static void sail_matches_the_recorded_surrogates(void **state)
{
    GOLDEN_OR_SKIP();
    golden_file f, g;
    const sail_node *batches = sail__node_get(golden_json(&g, "method/objectives/batches.json"), "batches");
    const sail_node *cases = sail__node_get(golden_json(&f, "method/objectives/online.json"), "cases");
    const sail_plugin *p = test_plugin("objective", "sail");
    sail_tape *t = sail_tape_new(NULL);
    deviations d = {0};
    for (size_t c = 0; c < cases->list.n; c++) {
        const sail_node *x = cases->list.items[c], *o = sail__node_get(x, "options");
        if (strcmp(test_string(sail__node_get(x, "objective")), "sail"))
            continue;
        batch b = read_batch(f.arena, sail__node_get(batches, test_string(sail__node_get(x, "batch"))));
        b.rows.beta = test_number(sail__node_get(o, "beta"));
        b.rows.preference = bradley_terry();
        fill_routes(f.arena, &b, o);
        sail_node *options = sail__node_new(f.arena, SAIL_NODE_MAP, "test", 0, 0);
        static const char *const keys[][2] = {{"estimator", "estimator"},
                                              {"labels", "labels"},
                                              {"baseline", "baseline"},
                                              {"scope", "scope"},
                                              {"b", "baseline_value"}};
        for (int k = 0; k < 5; k++)
            if (sail__node_get(o, keys[k][0]))
                sail__node_set(f.arena, options, keys[k][1], sail__node_get(o, keys[k][0]));
        sail__objective sail = {p->ops, test_options(f.arena, p, options), "sail"};
        sail_pairs pairs;
        sail_loss loss;
        double *w = sail__arena_array(f.arena, (size_t)b.rows.layout.tokens, sizeof *w);
        run(f.arena, t, &sail, &b.rows, &pairs, &loss, w);
        const sail_node *d0 = sail__node_get(x, "d_slot0_per_token"), *d1 = sail__node_get(x, "d_slot1_per_token");
        double scale = fmax(test_largest(d0), test_largest(d1));
        compare("surrogate", *sail_value_of(t, loss.loss), test_number(sail__node_get(x, "surrogate_loss")), scale,
                &d.loss, &d.bad);
        for (int64_t i = 0; i < pairs.n; i++) {
            compare("surrogate of a pair", sail_value_of(t, loss.per_pair)[i],
                    test_number(sail__node_get(x, "surrogate_per_pair")->list.items[i]), scale, &d.loss, &d.bad);
            compare("baseline", pairs.baseline[i], test_number(sail__node_get(x, "baseline")->list.items[i]), scale,
                    &d.loss, &d.bad);
        }
        compare_parts(t, &pairs, &loss, x, &d);
        compare_weights(&b, w, d0, d1, scale, "sail", &d);
        d.cases++;
    }
    print_deviations("online.json, sail", &d);
    assert_true(d.cases > 0);
    assert_int_equal(d.bad, 0);
    sail_tape_free(t);
    golden_close(&f);
    golden_close(&g);
}

/* online DPO: dpo or ipo on pairs that the policy wrote and a reward labelled; ties go to slot 0. */
static void online_dpo_matches_the_recorded_numbers(void **state)
{
    GOLDEN_OR_SKIP();
    golden_file f, g;
    const sail_node *batches = sail__node_get(golden_json(&g, "method/objectives/batches.json"), "batches");
    const sail_node *cases = sail__node_get(golden_json(&f, "method/objectives/online.json"), "cases");
    static const sail_route route = {"online", 1, SAIL_BY_POLICY, SAIL_BY_JUDGE, 0};
    sail_tape *t = sail_tape_new(NULL);
    deviations d = {0};
    for (size_t i = 0; i < cases->list.n; i++) {
        const sail_node *x = cases->list.items[i], *o = sail__node_get(x, "options");
        if (strcmp(test_string(sail__node_get(x, "objective")), "online_dpo"))
            continue;
        batch b = read_batch(f.arena, sail__node_get(batches, test_string(sail__node_get(x, "batch"))));
        b.rows.beta = test_number(sail__node_get(o, "beta"));
        b.rows.preference = bradley_terry();
        int32_t *outcome = sail__arena_array(f.arena, (size_t)b.rows.layout.pairs, sizeof *outcome);
        for (int64_t k = 0; k < b.rows.layout.pairs; k++)
            outcome[k] = !test_number(sail__node_get(x, "first_wins")->list.items[k]);
        b.rows.outcome = outcome;
        b.rows.route = sail__arena_alloc(f.arena, (size_t)b.rows.layout.pairs);
        b.rows.routes = &route;
        b.rows.n_routes = 1;
        bool ipo = sail__node_get(o, "loss_type") != NULL;
        const sail_plugin *p = test_plugin("objective", ipo ? "ipo" : "dpo");
        double *score = sail__arena_array(f.arena, (size_t)b.rows.layout.responses, sizeof *score);
        test_flatten(sail__node_get(o, "rewards"), score, (size_t)b.rows.layout.responses);
        b.rows.judge_score = score;
        chosen c = {.objective = {p->ops, test_options(f.arena, p, ipo ? test_map(f.arena, "lengths", "\"sum\"", NULL) : NULL), "online"},
                    .caps = p->caps};
        one_case(f.arena, t, &c, &b, x, "d_slot0", "d_slot1", NULL, &d);
    }
    print_deviations("online.json, online_dpo", &d);
    assert_true(d.cases > 0);
    assert_int_equal(d.bad, 0);
    sail_tape_free(t);
    golden_close(&f);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offline_objectives_match_the_recorded_numbers),
        cmocka_unit_test(objectives_without_reference_match_the_recorded_numbers),
        cmocka_unit_test(kto_matches_the_recorded_numbers),
        cmocka_unit_test(sail_matches_the_recorded_surrogates),
        cmocka_unit_test(online_dpo_matches_the_recorded_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
