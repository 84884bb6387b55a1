/* test_variants.c - the online methods that are recipes in Lua (recipes/variants): online DPO, XPO and Nash-MD against the recorded numbers of
 * golden/method/objectives/online.json, SELM, GRPO and RLOO against plain loops over the same records. Each recipe's text is taken as it is,
 * but for constants that the record has otherwise. */
#include <math.h>

#include "../golden.h"
#include "../lua_world.h"
#include "../plugin.h"

#include "align/batch.h"
#include "recipe/recipe.h"

enum { MOST = 4096 };

typedef struct batch {
    sail__batch rows;
    int64_t of_pair[65], of_response[129];
    double logp[MOST], ref[MOST], old[MOST], score[128], baseline[64];
    int32_t outcome[64];
    uint8_t route[64], wrote[128];
} batch;

static const sail_route online = {"dpr", 1, SAIL_BY_POLICY, SAIL_BY_JUDGE, 0};

/* The recorded pairs as groups of k, one after the other: 2 is as they are, 4 two pairs in a group. rival: who wrote the last of each. */
static void read_batch(batch *b, const sail_node *pairs, int k, int rival)
{
    static const char *const sides[] = {"chosen", "rejected"};
    memset(b, 0, sizeof *b);
    const int64_t responses = 2 * (int64_t)pairs->list.n, n = responses / k;
    assert_in_range(n, 1, 64);
    assert_int_equal(n * k, responses);
    int64_t tokens = 0;
    for (int64_t r = 0; r < responses; r++) {
        const sail_node *y = sail__node_get(pairs->list.items[r / 2], sides[r % 2]);
        const size_t count = test_flatten(sail__node_get(y, "logp"), b->logp + tokens, MOST - (size_t)tokens);
        test_flatten(sail__node_get(y, "ref"), b->ref + tokens, MOST - (size_t)tokens);
        tokens += (int64_t)count;
        b->of_response[r + 1] = tokens;
        b->wrote[r] = (uint8_t)(rival && r % k == k - 1 ? rival : SAIL_BY_POLICY);
        b->score[r] = NAN;
    }
    for (int64_t i = 0; i < n; i++)
        b->of_pair[i + 1] = k * (i + 1);
    for (int64_t t = 0; t < tokens; t++)
        b->old[t] = b->logp[t];
    b->rows = (sail__batch){.layout = {n, responses, tokens, b->of_pair, b->of_response, n, responses, tokens}, .logp = b->logp, .ref = b->ref,
                            .old_logp = b->old, .outcome = b->outcome, .route = b->route, .routes = &online, .n_routes = 1,
                            .response_writer = b->wrote, .judge_score = b->score, .baseline = b->baseline};
}

typedef struct variant {
    sail__recipe *recipe;
    sail__objective objective;
    sail_preference_model preference;
    double beta;
} variant;

/* The recipe, with `from` (a constant's line) read as `to`; NULL: as it is. */
static variant load(world *w, const char *name, const char *from, const char *to)
{
    static const char *const bases[] = {"sail-dpr.yaml", "sail-dpp.yaml"};
    static const char *const given[] = {"model.path=m", "data.train=d.jsonl", "model.backend=ref"};
    const char *root = getenv("SAIL_ROOT") ? getenv("SAIL_ROOT") : ".";
    char *text;
    size_t n;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sail__file_read(sail__arena_printf(w->arena, "%s/recipes/%s", root, bases[i]), 1 << 20, &text, &n, &w->err), SAIL_OK);
        put_bytes(w, bases[i], text, n);
        sail__free(text);
    }
    assert_int_equal(sail__file_read(sail__arena_printf(w->arena, "%s/recipes/variants/%s.lua", root, name), 1 << 20, &text, &n, &w->err), SAIL_OK);
    const char *at = from ? strstr(text, from) : NULL;
    assert_true(!from || at);
    const char *changed = from ? sail__arena_printf(w->arena, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) : sail__arena_strdup(w->arena, text);
    sail__free(text);
    const char *path = put(w, sail__arena_printf(w->arena, "variants/%s.lua", name), changed);
    variant v;
    w->problems.n = 0;
    if (sail__recipe_load(w->ctx, path, given, 3, &w->problems, &v.recipe, &w->err) != SAIL_OK)
        fail_msg("%s: %s", name, w->problems.n ? w->problems.items[0].message : w->err.message);
    const sail__stage *s = &v.recipe->stages[0];
    v.objective = (sail__objective){s->objective.loaded->ops, s->objective.options, name};
    v.preference = (sail_preference_model){s->preference.loaded->ops, s->preference.options, s->preference.loaded->plugin.name};
    v.beta = s->method.beta;
    return v;
}

static double run(world *w, batch *b, const variant *v, sail_tape *t, double *weights, sail_loss *loss)
{
    sail_pairs p;
    b->rows.preference = v->preference;
    if (sail__pairs_build(w->arena, t, &b->rows, &p, &w->err) || sail__objective_loss(&v->objective, t, &p, loss, &w->err) ||
        sail__pairs_weights(&p, weights, NULL, NULL, &w->err))
        fail_msg("%s", w->err.message);
    return *sail_value_of(t, loss->loss);
}

typedef struct tally {
    double worst;
    int n, bad;
} tally;

static void compare(tally *t, const char *what, double got, double want, double scale)
{
    const double d = test_deviation(got, want, 1, scale);
    t->worst = fmax(t->worst, d);
    t->n++;
    if (!(d <= 1e-12) && ++t->bad < 6)
        print_error("%s: %.17g, recorded %.17g\n", what, got, want);
}

static void report(const char *what, const tally *t)
{
    print_message("%s: %d numbers, largest relative deviation %.2g\n", what, t->n, t->worst);
    assert_true(t->n > 0);
    assert_int_equal(t->bad, 0);
}

static void compare_case(world *w, batch *b, const variant *v, sail_tape *t, const sail_node *x, const char *slot0, const char *slot1, tally *all)
{
    double weights[MOST];
    sail_loss loss;
    const double got = run(w, b, v, t, weights, &loss);
    const char *name = v->objective.name;
    const sail_node *d[2] = {sail__node_get(x, slot0), slot1 ? sail__node_get(x, slot1) : NULL};
    const double scale = fmax(test_largest(d[0]), d[1] ? test_largest(d[1]) : 0);
    const bool sequence = strstr(slot0, "sequence") != NULL; /* recorded without its loss */
    if (!sequence)
        compare(all, name, got, test_number(sail__node_get(x, "loss")), scale);
    for (int64_t i = 0; !sequence && i < b->rows.layout.pairs; i++)
        compare(all, name, sail_value_of(t, loss.per_pair)[i], test_number(sail__node_get(x, "per_pair")->list.items[i]), scale);
    for (int64_t r = 0; r < b->rows.layout.responses; r++)
        for (int64_t j = b->of_response[r]; j < b->of_response[r + 1]; j++)
            compare(all, name, weights[j], d[r % 2] ? test_number(d[r % 2]->list.items[r / 2]->list.items[j - b->of_response[r]]) : 0, scale);
}

/* TRL's averages are over both responses, whoever wrote them: so they are made here. */
static void compare_metrics(world *w, batch *b, const variant *v, sail_tape *t, const sail_node *want, tally *all)
{
    sail_pairs p;
    sail__metrics m = {.arena = w->arena};
    memset(b->wrote, SAIL_BY_POLICY, sizeof b->wrote);
    b->rows.preference = v->preference;
    if (sail__pairs_build(w->arena, t, &b->rows, &p, &w->err) || sail__metrics_pairs(&m, &b->rows, &p, NULL, &w->err))
        fail_msg("%s", w->err.message);
    for (size_t i = 0; i < want->list.n; i++)
        compare(all, want->list.keys[i], sail__metrics_get(&m, want->list.keys[i]), test_number(want->list.items[i]), 1);
    sail__free(m.items);
}

static void recorded(world *w, const char *objective, const char *name, int rival, tally *all)
{
    golden_file f, g;
    const sail_node *batches = sail__node_get(golden_json(&g, "method/objectives/batches.json"), "batches");
    const sail_node *cases = sail__node_get(golden_json(&f, "method/objectives/online.json"), "cases");
    sail_tape *t = sail_tape_new(NULL);
    for (size_t i = 0; i < cases->list.n; i++) {
        const sail_node *x = cases->list.items[i], *o = sail__node_get(x, "options"), *alpha = sail__node_get(o, "alpha"),
                        *wins = sail__node_get(x, "first_wins"), *probability = sail__node_get(o, "probability"), *rewards = sail__node_get(o, "rewards");
        if (strcmp(test_string(sail__node_get(x, "objective")), objective) || sail__node_get(o, "loss_type"))
            continue;
        batch b;
        read_batch(&b, sail__node_get(batches, test_string(sail__node_get(x, "batch"))), 2, rival);
        b.rows.beta = test_number(sail__node_get(o, "beta"));
        for (int64_t k = 0; k < b.rows.layout.pairs; k++) {
            b.outcome[k] = wins ? !test_number(wins->list.items[k]) : 0;
            if (probability) { /* scores under which the preference model has this probability */
                const double p = test_number(probability->list.items[k]);
                b.score[2 * k] = log(p) - log1p(-p);
                b.score[2 * k + 1] = 0;
            }
        }
        if (rewards)
            test_flatten(rewards, b.score, 128);
        const variant v = load(w, name, alpha ? "local alpha = 1e-3" : NULL,
                               alpha ? sail__arena_printf(w->arena, "local alpha = %.17g", test_number(alpha)) : NULL);
        const bool nash = !strcmp(objective, "nash_md");
        compare_case(w, &b, &v, t, x, nash ? "d_slot0_sequence_level_kl" : "d_slot0", nash ? NULL : "d_slot1", all);
        if (nash) {
            sail_loss loss;
            double weights[MOST];
            int k = 0;
            run(w, &b, &v, t, weights, &loss);
            while (k < loss.n_metrics && strcmp(loss.metrics[k].name, "kl") != 0)
                k++;
            assert_true(k < loss.n_metrics);
            for (int64_t j = 0; j < b.rows.layout.pairs; j++)
                compare(all, "sequence_kl", sail_value_of(t, loss.metrics[k].value)[j], test_number(sail__node_get(x, "sequence_kl")->list.items[j]), 1);
        }
        if (nash) { /* the biased product, token by token, as it is recorded besides */
            const variant biased = load(w, name, "(b.beta * rho:detach() - (P - 0.5)) * logp",
                                        "b.beta * (own * ((b.tokens.logp - b.tokens.ref):detach() * b.tokens.logp):sum_tokens()):sum_responses() - (P - 0.5) * logp");
            compare_case(w, &b, &biased, t, x, "d_slot0", NULL, all);
            sail__recipe_free(biased.recipe);
        }
        if (sail__node_get(x, "metrics"))
            compare_metrics(w, &b, &v, t, sail__node_get(x, "metrics"), all);
        sail__recipe_free(v.recipe);
    }
    sail_tape_free(t);
    golden_close(&f);
    golden_close(&g);
    report(objective, all);
}

static void online_dpo(void **state)
{
    GOLDEN_OR_SKIP();
    recorded(*state, "online_dpo", "online_dpo", 0, &(tally){0});
}

static void xpo(void **state)
{
    GOLDEN_OR_SKIP();
    recorded(*state, "xpo", "xpo", SAIL_BY_REFERENCE, &(tally){0});
}

/* The recipe has the divergence of whole responses, which is recorded by its derivatives. */
static void nash_md(void **state)
{
    GOLDEN_OR_SKIP();
    recorded(*state, "nash_md", "nash_md", SAIL_BY_MIXTURE, &(tally){0});
}

/* ---- against plain loops ---- */

static double sum(const double *x, const batch *b, int64_t r)
{
    double s = 0;
    for (int64_t j = b->of_response[r]; j < b->of_response[r + 1]; j++)
        s += x[j];
    return s;
}

static double soft(double z) { return log1p(exp(-fabs(z))) + (z < 0 ? -z : 0); } /* -log sigmoid */

static const sail_node *ordinary(golden_file *g) { return sail__node_get(sail__node_get(golden_json(g, "method/objectives/batches.json"), "batches"), "ordinary"); }

static void selm(void **state)
{
    GOLDEN_OR_SKIP();
    world *w = *state;
    golden_file g;
    batch b;
    tally all = {0};
    double weights[MOST], want = 0;
    sail_loss loss;
    sail_tape *t = sail_tape_new(NULL);
    read_batch(&b, ordinary(&g), 2, SAIL_BY_REFERENCE);
    b.rows.beta = 0.3;
    const int64_t n = b.rows.layout.pairs;
    const variant v = load(w, "selm", NULL, NULL);
    const double alpha = 0.001, beta = 0.3;
    for (int64_t i = 0; i < n; i++)
        b.outcome[i] = (int32_t)(i % 2);
    const double got = run(w, &b, &v, t, weights, &loss);
    for (int64_t i = 0; i < n; i++) {
        const double rho[2] = {sum(b.logp, &b, 2 * i) - sum(b.ref, &b, 2 * i), sum(b.logp, &b, 2 * i + 1) - sum(b.ref, &b, 2 * i + 1)};
        const double sign = b.outcome[i] ? -1 : 1, z = beta * sign * (rho[0] - rho[1]), slope = -sign * beta / (1 + exp(z));
        want += (soft(z) + alpha * beta * rho[1]) / (double)n;
        compare(&all, "selm", weights[b.of_response[2 * i]], slope / (double)n, 1);
        compare(&all, "selm", weights[b.of_response[2 * i + 1]], (-slope + alpha * beta) / (double)n, 1);
    }
    compare(&all, "selm", got, want, 1);
    sail__recipe_free(v.recipe);
    sail_tape_free(t);
    golden_close(&g);
    report("selm", &all);
}

/* Groups of k with scores; the policy that wrote them is a little off the one now, so that ratios are clipped. */
static void scored_groups(batch *b, golden_file *g, int k, double beta)
{
    read_batch(b, ordinary(g), k, 0);
    b->rows.beta = beta;
    for (int64_t r = 0; r < b->rows.layout.responses; r++)
        b->score[r] = sin((double)(3 * r + 1));
    for (int64_t j = 0; j < b->rows.layout.tokens; j++)
        b->old[j] = b->logp[j] + 0.5 * cos((double)(5 * j));
}

static void grpo(void **state)
{
    GOLDEN_OR_SKIP();
    world *w = *state;
    golden_file g;
    batch b;
    tally all = {0};
    double weights[MOST], want = 0;
    sail_loss loss;
    int clipped = 0;
    enum { K = 4 };
    const double beta = 0.04, eps = 0.2;
    sail_tape *t = sail_tape_new(NULL);
    scored_groups(&b, &g, K, beta);
    const variant v = load(w, "grpo", NULL, NULL);
    assert_true(v.beta == beta);
    const double got = run(w, &b, &v, t, weights, &loss), responses = (double)b.rows.layout.responses;
    for (int64_t r = 0; r < b.rows.layout.responses; r++) {
        double mean = 0, square = 0;
        for (int k = 0; k < K; k++)
            mean += b.score[r / K * K + k] / K;
        for (int k = 0; k < K; k++)
            square += (b.score[r / K * K + k] - mean) * (b.score[r / K * K + k] - mean);
        const double A = (b.score[r] - mean) / (sqrt(square / (K - 1)) + 1e-4), length = (double)(b.of_response[r + 1] - b.of_response[r]);
        for (int64_t j = b.of_response[r]; j < b.of_response[r + 1]; j++) {
            const double q = exp(b.logp[j] - b.old[j]), c = fmin(fmax(q, 1 - eps), 1 + eps), d = b.ref[j] - b.logp[j];
            const bool free = q * A <= c * A;
            clipped += !free;
            want += (beta * (exp(d) - d - 1) - fmin(q * A, c * A)) / length / responses;
            compare(&all, "grpo", weights[j], (beta * (1 - exp(d)) - (free ? q * A : 0)) / length / responses, 1);
        }
    }
    compare(&all, "grpo", got, want, 1);
    assert_true(clipped > 0);
    sail__recipe_free(v.recipe);
    sail_tape_free(t);
    golden_close(&g);
    report("grpo", &all);
}

static void rloo(void **state)
{
    GOLDEN_OR_SKIP();
    world *w = *state;
    golden_file g;
    batch b;
    tally all = {0};
    double weights[MOST], want = 0, R[128];
    sail_loss loss;
    enum { K = 4 };
    const double beta = 0.05;
    sail_tape *t = sail_tape_new(NULL);
    scored_groups(&b, &g, K, beta);
    const variant v = load(w, "rloo", NULL, NULL);
    assert_true(v.beta == beta);
    const double got = run(w, &b, &v, t, weights, &loss), responses = (double)b.rows.layout.responses;
    for (int64_t r = 0; r < b.rows.layout.responses; r++)
        R[r] = b.score[r] - beta * (sum(b.logp, &b, r) - sum(b.ref, &b, r));
    for (int64_t r = 0; r < b.rows.layout.responses; r++) {
        double others = 0;
        for (int k = 0; k < K; k++)
            others += r % K == k ? 0 : R[r / K * K + k] / (K - 1);
        want -= (R[r] - others) * sum(b.logp, &b, r) / responses;
        for (int64_t j = b.of_response[r]; j < b.of_response[r + 1]; j++)
            compare(&all, "rloo", weights[j], -(R[r] - others) / responses, 1);
    }
    compare(&all, "rloo", got, want, 1);
    sail__recipe_free(v.recipe);
    sail_tape_free(t);
    golden_close(&g);
    report("rloo", &all);
}

/* ---- sail_revkl: in expectation, its penalty is the gradient of the reverse KL divergence ---- */

enum { V = 5 }; /* responses of one token */

/* d/d theta of sum pi log(pi/ref), pi = softmax theta. */
static void divergence(const double *p, const double *q, double *out)
{
    double kl = 0;
    for (int y = 0; y < V; y++)
        kl += p[y] * log(p[y] / q[y]);
    for (int y = 0; y < V; y++)
        out[y] = p[y] * (log(p[y] / q[y]) - kl);
}

static void sail_revkl(void **state)
{
    world *w = *state;
    static const sail_route none = {"dpp", 1, SAIL_BY_POLICY, SAIL_BY_POLICY, 0}; /* without the extra terms; the label's own has mean 0 */
    const double kappa = 0.02, beta = 0.7;
    double p[V], q[V], sum_p = 0, sum_q = 0, got[V] = {0}, want[V];
    tally all = {0};
    for (int y = 0; y < V; y++) {
        sum_p += p[y] = exp(sin(3 * y));
        sum_q += q[y] = exp(cos(5 * y));
    }
    for (int y = 0; y < V; y++) {
        p[y] /= sum_p;
        q[y] /= sum_q;
    }
    const variant v = load(w, "sail_revkl", NULL, NULL);
    sail_tape *t = sail_tape_new(NULL);
    static const int64_t of_pair[] = {0, 2}, of_response[] = {0, 1, 2};
    for (int pair = 0; pair < V * V; pair++)
        for (int32_t outcome = 0; outcome < 2; outcome++) {
            const int y[2] = {pair / V, pair % V};
            const double logp[2] = {log(p[y[0]]), log(p[y[1]])}, ref[2] = {log(q[y[0]]), log(q[y[1]])};
            const double margin = beta * (logp[0] - ref[0] - logp[1] + ref[1]), label = 1 / (1 + exp(outcome ? margin : -margin));
            static const uint8_t route[1] = {0};
            sail__batch rows = {.layout = {1, 2, 2, of_pair, of_response, 1, 2, 2}, .logp = logp, .ref = ref, .outcome = &outcome, .route = route,
                                .routes = &none, .n_routes = 1, .beta = beta, .preference = v.preference};
            sail_pairs b;
            sail_loss loss;
            double weight[2];
            if (sail__pairs_build(w->arena, t, &rows, &b, &w->err) || sail__objective_loss(&v.objective, t, &b, &loss, &w->err) ||
                sail__pairs_weights(&b, weight, NULL, NULL, &w->err))
                fail_msg("%s", w->err.message);
            for (int s = 0; s < 2; s++) /* d log pi(y) / d theta_z = [y = z] - pi(z) */
                for (int z = 0; z < V; z++)
                    got[z] += p[y[0]] * p[y[1]] * label * weight[s] * ((y[s] == z) - p[z]);
        }
    divergence(p, q, want);
    for (int z = 0; z < V; z++)
        compare(&all, "sail_revkl", got[z], kappa * want[z], kappa);
    sail__recipe_free(v.recipe);
    sail_tape_free(t);
    report("sail_revkl", &all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(online_dpo), TEST(xpo), TEST(nash_md), TEST(selm), TEST(grpo), TEST(rloo), TEST(sail_revkl)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
