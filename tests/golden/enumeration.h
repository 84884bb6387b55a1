/* enumeration.h - for test_enumeration.c: a policy over nine responses, every group and outcome as one batch through
 * the real plugins, and exact expectations and variances of what comes back. Gradients are ascent directions, flat in
 * theta's order. Header only. */
#ifndef SAIL_TEST_ENUMERATION_H
#define SAIL_TEST_ENUMERATION_H

#include "../golden.h"
#include "../plugin.h"

#include "align/batch.h"

#pragma GCC diagnostic ignored "-Wunused-function" /* each test uses a part */

enum { V = 3, N = 9, CONTEXTS = 4, MOST_PROMPTS = 8, MOST_D = 96 };

typedef struct problem {
    int prompts, blocks, d; /* d: numbers in theta */
    double beta, feature[MOST_PROMPTS][8], px[MOST_PROMPTS];
    double theta[MOST_D];
    double policy[MOST_PROMPTS][CONTEXTS][V], ref[MOST_PROMPTS][CONTEXTS][V],
        data[MOST_PROMPTS][CONTEXTS][V]; /* log p */
    double reward_data[MOST_PROMPTS][N], reward_judge[MOST_PROMPTS][N], vector[MOST_PROMPTS][N][4];
    double constant;
} problem;

/* ---- routes and models by their recorded names ---- */
static int writer_of(const char *route)
{
    return !strcmp(route, "DPP") || !strcmp(route, "DPR") ? SAIL_BY_POLICY : SAIL_BY_DATA;
}

static int labeller_of(const char *route)
{
    if (!strcmp(route, "DDP") || !strcmp(route, "DPP"))
        return SAIL_BY_POLICY;
    return !strcmp(route, "DPR") ? SAIL_BY_JUDGE : SAIL_BY_DATA;
}

static sail_preference_model model_of(sail_arena *a, const char *name, const sail_node *parameters)
{
    const sail_plugin *p = test_plugin("preference", name);
    return (sail_preference_model){p->ops, test_options(a, p, parameters), name};
}

/* ---- the tabular policy ---- */
static void log_softmax(const double *logits, double scale, double *out)
{
    double most = fmax(logits[0], fmax(logits[1], logits[2])) * scale, z = 0;
    for (int v = 0; v < V; v++)
        z += exp(logits[v] * scale - most);
    for (int v = 0; v < V; v++)
        out[v] = logits[v] * scale - most - log(z);
}

static double logprob(const double t[CONTEXTS][V], int y)
{
    return t[0][y / V] + t[1 + y / V][y % V];
}

static void policy_logits(const problem *p, int x, double out[CONTEXTS][V])
{
    for (int c = 0; c < CONTEXTS; c++)
        for (int v = 0; v < V; v++) {
            out[c][v] = 0;
            for (int k = 0; k < p->blocks; k++)
                out[c][v] += p->feature[x][k] * p->theta[(k * CONTEXTS + c) * V + v];
        }
}

static void read_table(const sail_node *n, int prompts, double out[][CONTEXTS][V])
{
    double flat[MOST_PROMPTS * CONTEXTS * V];
    assert_int_equal(test_flatten(n, flat, sizeof flat / sizeof *flat), prompts * CONTEXTS * V);
    for (int i = 0; i < prompts * CONTEXTS; i++)
        log_softmax(flat + i * V, 1, out[i / CONTEXTS][i % CONTEXTS]);
}

static void read_problem(const sail_node *inputs, problem *p)
{
    double flat[MOST_PROMPTS * N * 4];
    memset(p, 0, sizeof *p);
    p->prompts = (int)sail__node_get(inputs, "prompts")->integer;
    p->beta = test_number(sail__node_get(inputs, "beta"));
    assert_true(p->prompts <= MOST_PROMPTS);
    p->d = (int)test_flatten(sail__node_get(inputs, "theta"), p->theta, MOST_D);
    p->blocks = p->d / (CONTEXTS * V);
    test_flatten(sail__node_get(inputs, "feature"), flat, sizeof flat / sizeof *flat);
    for (int i = 0; i < p->prompts * p->blocks; i++)
        p->feature[i / p->blocks][i % p->blocks] = flat[i];
    test_flatten(sail__node_get(inputs, "prompt_probability"), p->px, MOST_PROMPTS);
    read_table(sail__node_get(inputs, "reference_logits"), p->prompts, p->ref);
    read_table(sail__node_get(inputs, "data_logits"), p->prompts, p->data);
    test_flatten(sail__node_get(inputs, "reward_data"), &p->reward_data[0][0], MOST_PROMPTS * N);
    test_flatten(sail__node_get(inputs, "reward_judge"), &p->reward_judge[0][0], MOST_PROMPTS * N);
    test_flatten(sail__node_get(inputs, "vector_judge"), &p->vector[0][0][0], MOST_PROMPTS * N * 4);
    for (int x = 0; x < p->prompts; x++) {
        double logits[CONTEXTS][V];
        policy_logits(p, x, logits);
        for (int c = 0; c < CONTEXTS; c++)
            log_softmax(logits[c], 1, p->policy[x][c]);
    }
}

/* Add w d log p(y's token j | x) / d theta. */
static void add_score(const problem *p, int x, int y, int j, double w, double *out)
{
    int c = j ? 1 + y / V : 0, token = j ? y % V : y / V;
    for (int k = 0; k < p->blocks; k++)
        for (int v = 0; v < V; v++)
            out[(k * CONTEXTS + c) * V + v] += w * p->feature[x][k] * ((v == token) - exp(p->policy[x][c][v]));
}

/* ---- all groups and outcomes as one batch ---- */
typedef struct space {
    sail_arena *a;
    const problem *p;
    sail_preference_model model;
    int k, outcomes, tuples; /* outcomes 1: labels in closed form, nothing is drawn */
    int64_t n;               /* prompts * tuples * outcomes groups */
    int64_t *of_pair, *of_response;
    double *logp, *ref;
    int32_t *outcome;
    double *q; /* [prompts * tuples][model's outcomes]: q_theta */
    double *f; /* [n] F, or -H in closed form */
} space;

static int slot_response(const space *s, int64_t group, int slot)
{
    int64_t tuple = group / s->outcomes % s->tuples;
    for (int i = s->k - 1; i > slot; i--)
        tuple /= N;
    return (int)(tuple % N);
}

static int prompt_of(const space *s, int64_t group)
{
    return (int)(group / s->outcomes / s->tuples);
}

static void make_space(sail_arena *a, const problem *p, sail_preference_model model, int k, bool closed, space *s)
{
    int most = model.ops->outcomes(model.self, k);
    *s = (space){.a = a, .p = p, .model = model, .k = k, .outcomes = closed ? 1 : most, .tuples = 1};
    for (int i = 0; i < k; i++)
        s->tuples *= N;
    s->n = (int64_t)p->prompts * s->tuples * s->outcomes;
    int64_t responses = s->n * k;
    s->of_pair = sail__arena_array(a, (size_t)s->n + 1, sizeof(int64_t));
    s->of_response = sail__arena_array(a, (size_t)responses + 1, sizeof(int64_t));
    s->logp = sail__arena_array(a, 2 * (size_t)responses, sizeof(double));
    s->ref = sail__arena_array(a, 2 * (size_t)responses, sizeof(double));
    s->outcome = sail__arena_array(a, (size_t)s->n, sizeof(int32_t));
    s->q = sail__arena_array(a, (size_t)p->prompts * (size_t)s->tuples * (size_t)most, sizeof(double));
    s->f = sail__arena_array(a, (size_t)s->n, sizeof(double));
    for (int64_t g = 0; g < s->n; g++) {
        int x = prompt_of(s, g);
        double score[SAIL_MAX_RESPONSES];
        s->of_pair[g + 1] = (g + 1) * k;
        s->outcome[g] = closed ? SAIL_ABSTAIN : (int32_t)(g % s->outcomes);
        for (int i = 0; i < k; i++) {
            int y = slot_response(s, g, i);
            int64_t r = g * k + i;
            s->of_response[r + 1] = 2 * (r + 1);
            s->logp[2 * r] = p->policy[x][0][y / V];
            s->logp[2 * r + 1] = p->policy[x][1 + y / V][y % V];
            s->ref[2 * r] = p->ref[x][0][y / V];
            s->ref[2 * r + 1] = p->ref[x][1 + y / V][y % V];
            score[i] = p->beta * (logprob(p->policy[x], y) - logprob(p->ref[x], y));
        }
        sail_err err = {0};
        double *q = s->q + g / s->outcomes * most;
        if (g % s->outcomes == 0 && sail_preference_probabilities(&model, k, score, q, &err))
            fail_msg("%s", err.message);
        for (int o = 0; closed && o < most; o++)
            s->f[g] += q[o] > 0 ? q[o] * log(q[o]) : 0;
        if (!closed)
            s->f[g] = log(q[g % most]);
    }
}

typedef struct how {
    int writer, labeller;
    double c;
    const char *estimator, *labels;
    double step_pairs;
    const double *baseline; /* [n]; NULL: 0 */
    const char *terms, *importance, *bound;
    const double *drawn;    /* as logp; NULL: logp */
} how;

/* The ascent direction of every group by itself, [n][d]: minus d loss / d theta, times the pairs in the step. */
static double *directions(const space *s, how h)
{
    sail_arena *a = s->a;
    const sail_plugin *plugin = test_plugin("objective", "sail");
    char text[4][32];
    const char *word[] = {h.estimator ? h.estimator : "exact", h.labels ? h.labels : s->outcomes == 1 ? "expected" : "sampled",
                          h.terms ? h.terms : "all", h.importance ? h.importance : "none"};
    for (int i = 0; i < 4; i++)
        snprintf(text[i], sizeof text[i], "\"%s\"", word[i]);
    const sail_node *options = test_map(a, "estimator", text[0], "labels", text[1], "terms", text[2], "importance", text[3],
                                        "importance_bound", h.bound ? h.bound : "0", NULL);
    sail__objective o = {plugin->ops, test_options(a, plugin, options), "sail"};
    const sail_route route = {"test", 1, h.writer, h.labeller, h.c};
    int64_t step = h.step_pairs ? (int64_t)h.step_pairs : 1, tokens = 2 * s->n * s->k;
    sail__batch b = {
        .layout = {s->n, s->n * s->k, tokens, s->of_pair, s->of_response, step, step * s->k, step * s->k * 2},
        .beta = s->p->beta,
        .preference = s->model,
        .logp = s->logp,
        .ref = s->ref,
        .outcome = s->outcome,
        .route = sail__arena_alloc(a, (size_t)s->n),
        .routes = &route,
        .n_routes = 1,
        .drawn = h.drawn,
        .baseline = h.baseline};
    sail_tape *t = sail_tape_new(NULL);
    sail_pairs pairs;
    sail_loss loss;
    sail_err err = {0};
    double *w = sail__arena_array(a, (size_t)tokens, sizeof *w);
    if (sail__pairs_build(a, t, &b, &pairs, &err) || sail__objective_loss(&o, t, &pairs, &loss, &err) ||
        sail__pairs_weights(&pairs, w, NULL, NULL, &err))
        fail_msg("%s", err.message);
    sail_tape_free(t);
    double *g = sail__arena_array(a, (size_t)s->n * (size_t)s->p->d, sizeof *g);
    for (int64_t i = 0; i < s->n; i++)
        for (int k = 0; k < s->k; k++)
            for (int j = 0; j < 2; j++)
                add_score(s->p, prompt_of(s, i), slot_response(s, i, k), j, -(double)step * w[2 * (i * s->k + k) + j],
                          g + i * s->p->d);
    return g;
}

/* ---- probabilities of the groups ---- */
static double label_probability(const space *s, const char *route, const char *judge, int64_t g)
{
    const problem *p = s->p;
    int x = prompt_of(s, g), most = s->model.ops->outcomes(s->model.self, s->k), o = (int)(g % s->outcomes);
    double reward[SAIL_MAX_RESPONSES], q[720];
    sail_err err = {0};
    if (s->outcomes == 1)
        return 1;
    if (!strcmp(route, "DDP") || !strcmp(route, "DPP"))
        return s->q[g / s->outcomes * most + o];
    bool data = !strcmp(route, "offline");
    for (int i = 0; i < s->k; i++)
        reward[i] = (data ? p->reward_data : p->reward_judge)[x][slot_response(s, g, i)];
    if (data || !strcmp(judge, "stochastic")) {
        if (sail_preference_probabilities(&s->model, s->k, reward, q, &err))
            fail_msg("%s", err.message);
        return q[o];
    }
    if (!strcmp(judge, "general")) {
        const double *u = p->vector[x][slot_response(s, g, 0)], *v = p->vector[x][slot_response(s, g, 1)];
        double m = u[0] * v[1] - u[1] * v[0] + u[2] * v[3] - u[3] * v[2];
        return 1 / (1 + exp(o == 0 ? -m : m));
    }
    assert_string_equal(judge, "deterministic");
    if (s->k == 2 && most == 3 && reward[0] == reward[1])
        return o == SAIL_TIE;
    int order[SAIL_MAX_RESPONSES], top = most == s->k ? 1 : s->k;
    for (int i = 0; i < s->k; i++) {
        int at = i;
        for (; at > 0 && reward[order[at - 1]] < reward[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    return s->k == 2 ? o == order[0] : o == sail_outcome_of_ranking(order, s->k, top);
}

static double *probabilities(const space *s, const char *route, const char *judge)
{
    bool own = !strcmp(route, "DPP") || !strcmp(route, "DPR");
    double *w = sail__arena_array(s->a, (size_t)s->n, sizeof *w), sum = 0;
    for (int64_t g = 0; g < s->n; g++) {
        int x = prompt_of(s, g);
        double l = 0;
        for (int i = 0; i < s->k; i++)
            l += logprob(own ? s->p->policy[x] : s->p->data[x], slot_response(s, g, i));
        w[g] = s->p->px[x] * exp(l) * label_probability(s, route, judge, g);
        sum += w[g];
    }
    assert_true(fabs(sum - 1) < 1e-12);
    return w;
}

/* ---- expectation and variance ---- */
/* Sums with Neumaier's correction: T1 is what is left of terms up to 10^4 times larger. */
static double *mean_of(const space *s, const double *w, const double *g)
{
    int d = s->p->d;
    double *m = sail__arena_array(s->a, (size_t)d, sizeof *m);
    for (int j = 0; j < d; j++) {
        double sum = 0, lost = 0;
        for (int64_t i = 0; i < s->n; i++) {
            double v = w[i] != 0 ? w[i] * g[i * d + j] : 0, next = sum + v;
            lost += fabs(sum) >= fabs(v) ? (sum - next) + v : (v - next) + sum;
            sum = next;
        }
        m[j] = sum + lost;
    }
    return m;
}

static double *variance_of(const space *s, const double *w, const double *g)
{
    int d = s->p->d;
    double *m = mean_of(s, w, g), *v = sail__arena_array(s->a, (size_t)d, sizeof *v);
    for (int64_t i = 0; i < s->n; i++)
        for (int j = 0; j < d && w[i] != 0; j++)
            v[j] += w[i] * (g[i * d + j] - m[j]) * (g[i * d + j] - m[j]);
    return v;
}

/* Variance of the mean over n pairs of u_i - b_i cs_i, b_i the mean of f over the others: follows from E s = 0 and the
 * pairs' independence. cs: c times the sum of scores. */
static double *leave_one_out_variance(const space *s, const double *w, const double *u, const double *cs, int n)
{
    int d = s->p->d;
    double ef = 0, vf = 0, *out = sail__arena_array(s->a, (size_t)d, sizeof *out);
    for (int64_t i = 0; i < s->n; i++)
        ef += w[i] != 0 ? w[i] * s->f[i] : 0;
    for (int64_t i = 0; i < s->n; i++)
        vf += w[i] != 0 ? w[i] * (s->f[i] - ef) * (s->f[i] - ef) : 0;
    for (int j = 0; j < d; j++) {
        double eu = 0, euu = 0, eus = 0, ess = 0, efs = 0;
        for (int64_t i = 0; i < s->n; i++) {
            double a = u[i * d + j], b = cs[i * d + j];
            if (w[i] == 0)
                continue;
            eu += w[i] * a;
            euu += w[i] * a * a;
            eus += w[i] * a * b;
            ess += w[i] * b * b;
            efs += w[i] * s->f[i] * b;
        }
        out[j] =
            (euu - 2 * ef * eus + (ef * ef + vf / (n - 1)) * ess - eu * eu) / n + efs * efs / ((double)n * (n - 1));
    }
    return out;
}

static double total(const double *v, int d)
{
    double t = 0;
    for (int j = 0; j < d; j++)
        t += v[j];
    return t;
}

static double size_of(const double *v, int d)
{
    double m = 0;
    for (int j = 0; j < d; j++)
        m = fmax(m, fabs(v[j]));
    return m;
}

static double *minus(const space *s, const double *a, const double *b, int64_t n)
{
    double *out = sail__arena_array(s->a, (size_t)n, sizeof *out);
    for (int64_t i = 0; i < n; i++)
        out[i] = a[i] - b[i];
    return out;
}

#endif
