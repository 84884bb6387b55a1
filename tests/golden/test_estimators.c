/* test_estimators.c - what may be chosen about an estimator, against exact numbers: single terms, importance weights for responses from
 * another distribution, baselines with a memory, several pairs and choices among more than two responses. Prints the table of expectations
 * and that of variances. The problems are those of golden/method/enumeration. */
#include "steps.h"

/* ---- the table: largest relative error by route, label, baseline, importance, over preference models and problems ---- */
typedef struct row {
    char name[64];
    double worst;
    int n;
} row;
static struct {
    row rows[64];
    int n, bad;
} table;

static void enter(const char *name, const double *got, const double *want, int d, double scale, double tol)
{
    int i = 0;
    while (i < table.n && strcmp(table.rows[i].name, name) != 0)
        i++;
    if (i == table.n)
        snprintf(table.rows[table.n++].name, sizeof table.rows->name, "%s", name);
    row *r = &table.rows[i];
    r->n++;
    for (int j = 0; j < d; j++) {
        double off = fabs(got[j] - want[j]) / scale;
        if (!(off <= r->worst))
            r->worst = isnan(off) ? INFINITY : off;
    }
    if (!(r->worst <= tol))
        table.bad++;
}

static const double EXACT = 1e-8; /* what METHOD 8 asks for; sums of thousands of terms near 1 reach 1e-12 of the largest */

static double scale_of(const sail_node *x, int d)
{
    double t[3][MOST_D], most = 0;
    static const char *const key[] = {"T1", "T2", "T3"};
    for (int i = 0; i < 3; i++) {
        test_flatten(sail__node_get(x, key[i]), t[i], MOST_D);
        most = fmax(most, size_of(t[i], d));
    }
    return most;
}

/* Log-probabilities of all responses at a temperature, as the space's logp; their probabilities times those of the labels in w. */
static double *tempered(const space *s, double temperature, const char *route, const char *judge, double *w)
{
    double *drawn = sail__arena_array(s->a, 2 * (size_t)(s->n * s->k), sizeof *drawn);
    for (int64_t g = 0; g < s->n; g++) {
        double logits[CONTEXTS][V], t[CONTEXTS][V], l = 0;
        int x = prompt_of(s, g);
        policy_logits(s->p, x, logits);
        for (int c = 0; c < CONTEXTS; c++)
            log_softmax(logits[c], 1 / temperature, t[c]);
        for (int i = 0; i < s->k; i++) {
            int y = slot_response(s, g, i);
            drawn[2 * (g * s->k + i)] = t[0][y / V];
            drawn[2 * (g * s->k + i) + 1] = t[1 + y / V][y % V];
            l += logprob(t, y);
        }
        w[g] = s->p->px[x] * exp(l) * label_probability(s, route, judge, g);
    }
    return drawn;
}

/* ---- one case, every choice ---- */
static void check_space(const space *s, const sail_node *x, const double *t1, const double *t2, const double *t3, double scale)
{
    int d = s->p->d;
    char name[64];
    const char *route = test_string(sail__node_get(x, "route")), *label = s->outcomes == 1 ? "expected" : "sampled";
    const sail_node *jn = sail__node_get(x, "judge");
    const char *judge = jn && jn->kind == SAIL_NODE_STRING ? jn->string.data : "";
    double *w = probabilities(s, route, judge), want[MOST_D];
    how h = {.writer = writer_of(route), .labeller = labeller_of(route), .c = test_number(sail__node_get(x, "coefficient"))};
    bool writes = h.writer == SAIL_BY_POLICY, labels = h.labeller == SAIL_BY_POLICY;
    static const struct {
        const char *name;
        int t1, t2, t3;
    } sets[] = {{"all", 1, 1, 1}, {"t1", 1, 0, 0}, {"t2", 0, 1, 0}, {"t3", 0, 0, 1}, {"t1+t2", 1, 1, 0}, {"t1+t3", 1, 0, 1}, {"t2+t3", 0, 1, 1}};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        for (int j = 0; j < d; j++)
            want[j] = sets[i].t2 * t2[j] + h.c * ((writes ? sets[i].t1 * t1[j] : 0) + (labels ? sets[i].t3 * t3[j] : 0));
        h.terms = sets[i].name;
        snprintf(name, sizeof name, "%s, %s, %s", route, label, i ? "one or two terms alone" : "baseline none");
        enter(name, mean_of(s, w, directions(s, h)), want, d, scale, EXACT);
    }
    if (!writes)
        return;
    h.terms = "all";
    for (int j = 0; j < d; j++)
        want[j] = t2[j] + h.c * (t1[j] + (labels ? t3[j] : 0));
    /* leave-one-out given the pair is the others' mean on average; a moving mean is a number; both through prepare: below */
    double *b = sail__arena_array(s->a, (size_t)s->n, sizeof *b), ef = 0;
    for (int64_t i = 0; i < s->n; i++)
        ef += w[i] != 0 ? w[i] * s->f[i] : 0;
    for (int64_t i = 0; i < s->n; i++)
        b[i] = ef;
    h.baseline = b;
    snprintf(name, sizeof name, "%s, %s, baseline leave_one_out, moving_mean", route, label);
    enter(name, mean_of(s, w, directions(s, h)), want, d, scale, EXACT);
    /* responses at temperature 0.9, brought back by weights; with a baseline and without */
    double *wt = sail__arena_array(s->a, (size_t)s->n, sizeof *wt);
    h.drawn = tempered(s, 0.9, route, judge, wt);
    h.importance = "sequence";
    snprintf(name, sizeof name, "%s, %s, temperature 0.9, importance sequence", route, label);
    enter(name, mean_of(s, wt, directions(s, h)), want, d, scale, EXACT);
    h.baseline = NULL;
    enter(name, mean_of(s, wt, directions(s, h)), want, d, scale, EXACT);
}

static void check_cases(const sail_node *file, const problem *p)
{
    const sail_node *cases = sail__node_get(file, "cases");
    for (size_t c = 0; c < cases->list.n; c++) {
        const sail_node *x = cases->list.items[c];
        if (!strcmp(test_string(sail__node_get(x, "route")), "MIX"))
            continue;
        sail_arena *a = sail__arena_new();
        sail_preference_model m = model_of(a, test_string(sail__node_get(x, "preference")), sail__node_get(x, "parameters"));
        double t1[MOST_D], t2[MOST_D], t3[MOST_D];
        test_flatten(sail__node_get(x, "T1"), t1, MOST_D);
        test_flatten(sail__node_get(x, "T2"), t2, MOST_D);
        test_flatten(sail__node_get(x, "T3"), t3, MOST_D);
        for (int closed = 0; closed < (sail__node_get(sail__node_get(x, "labels"), "expected") ? 2 : 1); closed++) {
            space s;
            make_space(a, p, m, (int)sail__node_get(x, "K")->integer, closed, &s);
            check_space(&s, x, t1, t2, t3, scale_of(x, p->d));
        }
        sail__arena_free(a);
    }
}

/* ---- T1 at a temperature, beside the recorded false parts ---- */
static double off(const double *a, const double *b, int d)
{
    double x = 0;
    for (int j = 0; j < d; j++)
        x += (a[j] - b[j]) * (a[j] - b[j]);
    return sqrt(x);
}

static double length(const double *a, int d)
{
    double x = 0;
    for (int j = 0; j < d; j++)
        x += a[j] * a[j];
    return sqrt(x);
}

static double cosine(const double *a, const double *b, int d)
{
    double x = 0;
    for (int j = 0; j < d; j++)
        x += a[j] * b[j];
    return x / length(a, d) / length(b, d);
}

static void check_temperature(const char *where, const sail_node *file, const problem *p)
{
    const sail_node *rows = sail__node_get(file, "tempered_sampling");
    int d = p->d;
    for (size_t k = 0; k < rows->list.n; k++) {
        const sail_node *x = rows->list.items[k];
        sail_arena *a = sail__arena_new();
        space s;
        make_space(a, p, model_of(a, "bradley_terry", NULL), 2, true, &s);
        double t = test_number(sail__node_get(x, "temperature")), t1[MOST_D], plain[MOST_D], token[MOST_D] = {0}, cut[MOST_D] = {0};
        double *w = sail__arena_array(a, (size_t)s.n, sizeof *w), bound = 1.05;
        test_flatten(sail__node_get(x, "T1"), t1, MOST_D);
        test_flatten(sail__node_get(x, "mean_F_score_without_weights"), plain, MOST_D);
        how h = {.writer = SAIL_BY_POLICY, .labeller = SAIL_BY_POLICY, .c = 1, .terms = "t1"};
        h.drawn = tempered(&s, t, "DPP", "", w);
        double *none = mean_of(&s, w, directions(&s, h)), *mean = sail__arena_array(a, (size_t)s.n, sizeof *mean), f = 0;
        for (int64_t g = 0; g < s.n; g++)
            f += w[g] * s.f[g];
        for (int64_t g = 0; g < s.n; g++)
            mean[g] = f;
        h.baseline = mean; /* what leave_one_out and moving_mean are on average */
        double *centred = mean_of(&s, w, directions(&s, h));
        h.importance = "token";
        double *both = mean_of(&s, w, directions(&s, h));
        h.baseline = NULL;
        h.importance = "sequence";
        double *sequence = mean_of(&s, w, directions(&s, h));
        h.importance = "token";
        double *by_token = mean_of(&s, w, directions(&s, h));
        h.importance = "sequence";
        h.bound = "1.05";
        double *bounded = mean_of(&s, w, directions(&s, h));
        /* the same by plain loops */
        for (int64_t g = 0; g < s.n; g++) {
            double ratio = 0;
            for (int i = 0; i < 4; i++)
                ratio += s.logp[4 * g + i] - h.drawn[4 * g + i];
            for (int i = 0; i < 4; i++) {
                int y = slot_response(&s, g, i / 2);
                add_score(p, prompt_of(&s, g), y, i % 2, w[g] * s.f[g] * exp(s.logp[4 * g + i] - h.drawn[4 * g + i]), token);
                add_score(p, prompt_of(&s, g), y, i % 2, w[g] * s.f[g] * fmin(exp(ratio), bound), cut);
            }
        }
        double scale = size_of(plain, d);
        enter("T1 at a temperature, importance none (recorded false part)", none, plain, d, scale, 1e-9);
        enter("T1 at a temperature, importance sequence", sequence, t1, d, scale, 1e-9);
        enter("T1 at a temperature, importance token (its own bias)", by_token, token, d, scale, 1e-9);
        enter("T1 at a temperature, importance sequence, bound 1.05", bounded, cut, d, scale, 1e-9);
        if (t == 0.9 && !(cosine(centred, t1, d) > 0.95 && cosine(both, t1, d) > 0.98 && cosine(both, t1, d) > cosine(none, t1, d)))
            fail_msg("%s: T1 at temperature %g has cosine %g with a mean as baseline, %g with weights by token besides", where, t,
                     cosine(centred, t1, d), cosine(both, t1, d));
        if (t != 1 && !(off(bounded, t1, d) > 1e-6 * length(plain, d)))
            fail_msg("%s: a bound of 1.05 cuts nothing at temperature %g", where, t);
        print_message("%s, temperature %.1f: T1 %.4f; without weights %.4f (cosine %.2f), centred %.4f (%.3f), by token besides %.4f (%.3f), by token %.4f (%.2f), by sequence %.4f "
                      "(%.3f), bounded at 1.05 %.4f (%.2f)\n",
                      where, t, length(t1, d), length(none, d), cosine(none, t1, d), length(centred, d), cosine(centred, t1, d), length(both, d), cosine(both, t1, d), length(by_token, d), cosine(by_token, t1, d),
                      length(sequence, d), cosine(sequence, t1, d), length(bounded, d), cosine(bounded, t1, d));
        sail__arena_free(a);
    }
}

/* ---- baselines through prepare ---- */

static double put_pair(little *l, const problem *p, int pair, int i)
{
    l->x[pair] = i / (N * N);
    l->y[2 * pair] = i / N % N;
    l->y[2 * pair + 1] = i % N;
    return p->px[l->x[pair]] *
           exp(logprob(p->policy[l->x[pair]], l->y[2 * pair]) + logprob(p->policy[l->x[pair]], l->y[2 * pair + 1]));
}

/* A moving mean is read before it takes in the step: two steps of one pair, all of them, labels drawn or in closed form. */
static void check_moving_mean(const problem *p, const sail_node *x, bool closed)
{
    little l;
    const char *route = test_string(sail__node_get(x, "route"));
    sail_route rt = {"test", 1, writer_of(route), labeller_of(route), test_number(sail__node_get(x, "coefficient"))};
    start_little(&l, p, 1, &rt, closed ? "\"expected\"" : "\"sampled\"");
    const sail_plugin *plugin = test_plugin("objective", "sail");
    l.o.self = test_options(l.a, plugin, test_map(l.a, "labels", closed ? "\"expected\"" : "\"sampled\"", "baseline", "\"moving_mean\"", NULL));
    sail_arena *scratch = sail__arena_new();
    int n = p->prompts * N * N, d = p->d, outcomes = closed ? 1 : 2;
    double wrong[MOST_D] = {0}, g[MOST_D], want[MOST_D];
    test_flatten(sail__node_get(x, "estimator_mean"), want, MOST_D);
    for (int i = 0; i < n; i += 7) { /* what the first step was changes nothing: a few of them */
        double state[SAIL_OBJECTIVE_STATE] = {0}, mean[MOST_D] = {0};
        put_pair(&l, p, 0, i);
        l.outcome[0] = closed ? SAIL_ABSTAIN : 0;
        step_little_on(&l, p, scratch, state, g);
        for (int k = 0; k < n; k++) {
            double w = put_pair(&l, p, 0, k), m = p->beta * (logprob(p->policy[l.x[0]], l.y[0]) - logprob(p->ref[l.x[0]], l.y[0]) -
                                                             logprob(p->policy[l.x[0]], l.y[1]) + logprob(p->ref[l.x[0]], l.y[1]));
            for (int o = 0; o < outcomes; o++) {
                double now[SAIL_OBJECTIVE_STATE], q = closed ? 1 : 1 / (1 + exp(o ? m : -m));
                memcpy(now, state, sizeof now);
                l.outcome[0] = closed ? SAIL_ABSTAIN : o;
                step_little_on(&l, p, scratch, now, g);
                for (int j = 0; j < d; j++)
                    mean[j] += w * q * g[j];
                if (i == 0) { /* a planted fault: a mean that has taken in the pair itself */
                    double second[SAIL_OBJECTIVE_STATE] = {0};
                    step_little_on(&l, p, scratch, second, g);
                    step_little_on(&l, p, scratch, second, g);
                    for (int j = 0; j < d; j++)
                        wrong[j] += w * q * g[j];
                }
            }
        }
        char name[64];
        snprintf(name, sizeof name, "%s, %s, baseline moving_mean, two steps", route, closed ? "expected" : "sampled");
        enter(name, mean, want, d, scale_of(x, d), EXACT);
    }
    assert_true(off(wrong, want, d) > 1e-6 * scale_of(x, d)); /* the fault could be told */
    sail__arena_free(scratch);
    sail__arena_free(l.a);
    sail_tape_free(l.t);
}

/* ---- more than two responses ---- */

/* Three responses to a prompt, drawn independently, as one batch: all tuples, with their probabilities. */
typedef struct triples {
    int64_t n;
    double *w, *logp, *ref;
    int *x, *y; /* [n], [n][3] */
} triples;

static triples all_triples(sail_arena *a, const problem *p)
{
    triples t = {.n = (int64_t)p->prompts * N * N * N};
    size_t n = (size_t)t.n;
    t.w = sail__arena_array(a, n, sizeof *t.w);
    t.x = sail__arena_array(a, n, sizeof *t.x);
    t.y = sail__arena_array(a, 3 * n, sizeof *t.y);
    for (int64_t i = 0; i < t.n; i++) {
        t.x[i] = (int)(i / (N * N * N));
        t.w[i] = p->px[t.x[i]];
        for (int k = 0, left = (int)(i % (N * N * N)); k < 3; k++, left /= N) {
            t.y[3 * i + k] = left % N;
            t.w[i] *= exp(logprob(p->policy[t.x[i]], left % N));
        }
    }
    return t;
}

static double implied(const problem *p, int x, int y) { return p->beta * (logprob(p->policy[x], y) - logprob(p->ref[x], y)); }

/* Best and worst by a judge's reward first, the one between them last. */
static void sort_by(const double *reward, int *y)
{
    for (int i = 1; i < 3; i++)
        for (int j = i; j > 0 && reward[y[j - 1]] < reward[y[j]]; j--) {
            int t = y[j];
            y[j] = y[j - 1];
            y[j - 1] = t;
        }
    int between = y[1];
    y[1] = y[2];
    y[2] = between;
}

/* J = E log q(best over worst), the three drawn from the policy at theta. */
static double best_worst_value(const problem *p, triples t)
{
    double j = 0;
    for (int64_t i = 0; i < t.n; i++) {
        double l = 0, m = implied(p, t.x[i], t.y[3 * i]) - implied(p, t.x[i], t.y[3 * i + 1]);
        for (int k = 0; k < 3; k++)
            l += logprob(p->policy[t.x[i]], t.y[3 * i + k]);
        j += p->px[t.x[i]] * exp(l) * -log1p(exp(-m));
    }
    return j;
}

static double best_worst_at(problem *p, triples t, int j, double by)
{
    double was = p->theta[j], value;
    for (int pass = 0; pass < 2; pass++) {
        p->theta[j] = pass ? was : was + by;
        for (int x = 0; x < p->prompts; x++) {
            double logits[CONTEXTS][V];
            policy_logits(p, x, logits);
            for (int c = 0; c < CONTEXTS; c++)
                log_softmax(logits[c], 1, p->policy[x][c]);
        }
        if (!pass)
            value = best_worst_value(p, t);
    }
    return value;
}

/* The best of three against the worst. What was left aside counts in T1, or the term is wrong: both are computed. */
static void check_best_worst(problem *p)
{
    sail_arena *a = sail__arena_new();
    triples t = all_triples(a, p);
    int d = p->d;
    double want[MOST_D], got[2][MOST_D] = {{0}};
    for (int64_t i = 0; i < t.n; i++)
        sort_by(p->reward_judge[t.x[i]], t.y + 3 * i);
    for (int j = 0; j < d; j++) { /* central differences, extrapolated twice */
        double v[3], h = 4e-3;
        for (int k = 0; k < 3; k++)
            v[k] = (best_worst_at(p, t, j, h / (1 << k)) - best_worst_at(p, t, j, -h / (1 << k))) / (2 * h / (1 << k));
        double u0 = (4 * v[1] - v[0]) / 3, u1 = (4 * v[2] - v[1]) / 3;
        want[j] = (16 * u1 - u0) / 15;
    }
    const sail_plugin *plugin = test_plugin("objective", "sail");
    sail__objective o = {plugin->ops, test_options(a, plugin, test_map(a, "baseline", "\"none\"", NULL)), "sail"};
    const sail_route route = {"test", 1, SAIL_BY_POLICY, SAIL_BY_JUDGE, 1};
    sail_tape *tape = sail_tape_new(NULL);
    for (int whole = 0; whole < 2; whole++) {
        int k = whole ? 3 : 2;
        size_t n = (size_t)t.n, r = n * (size_t)k;
        int64_t *of_pair = sail__arena_array(a, n + 1, sizeof *of_pair), *of_response = sail__arena_array(a, r + 1, sizeof *of_response);
        int32_t *compared = sail__arena_array(a, n, sizeof *compared);
        double *logp = sail__arena_array(a, 2 * r, sizeof *logp), *ref = sail__arena_array(a, 2 * r, sizeof *ref);
        double *w = sail__arena_array(a, 2 * r, sizeof *w);
        for (int64_t i = 0; i < t.n; i++) {
            of_pair[i + 1] = (i + 1) * k;
            compared[i] = 2;
            for (int s = 0; s < k; s++) {
                int64_t at = i * k + s;
                int x = t.x[i], y = t.y[3 * i + s];
                of_response[at + 1] = 2 * (at + 1);
                for (int token = 0; token < 2; token++) {
                    logp[2 * at + token] = token ? p->policy[x][1 + y / V][y % V] : p->policy[x][0][y / V];
                    ref[2 * at + token] = token ? p->ref[x][1 + y / V][y % V] : p->ref[x][0][y / V];
                }
            }
        }
        int64_t m = (int64_t)r;
        sail__batch b = {.layout = {t.n, m, 2 * m, of_pair, of_response, 1, k, 2 * k, .compared = compared},
                         .beta = p->beta,
                         .preference = model_of(a, "bradley_terry", NULL),
                         .logp = logp,
                         .ref = ref,
                         .route = sail__arena_alloc(a, n),
                         .routes = &route,
                         .n_routes = 1};
        sail_pairs pairs;
        sail_loss loss;
        sail_err err = {0};
        if (sail__pairs_build(a, tape, &b, &pairs, &err) || sail__objective_loss(&o, tape, &pairs, &loss, &err) ||
            sail__pairs_weights(&pairs, w, NULL, NULL, &err))
            fail_msg("%s", err.message);
        assert_true(pairs.has_sides);
        for (int64_t i = 0; i < t.n; i++)
            for (int s = 0; s < 2 * k; s++)
                add_score(p, t.x[i], t.y[3 * i + s / 2], s % 2, -t.w[i] * w[2 * i * k + s], got[whole]);
    }
    enter("best of 3 against the worst, judge, T2 + T1", got[1], want, d, size_of(want, d), EXACT);
    print_message("best of 3 against the worst: gradient %.4f; without the score of the one left aside it is off by %.4f\n", length(want, d),
                  off(got[0], want, d));
    assert_true(off(got[0], want, d) > 1e-4 * length(want, d));
    sail_tape_free(tape);
    sail__arena_free(a);
}

/* All pairs of three responses, a prompt's pairs counting as one together, beside one pair of the data. */
static void check_all_pairs(const problem *p, const sail_node *file)
{
    static const int pair[3][2] = {{0, 1}, {0, 2}, {1, 2}};
    const sail_node *cases = sail__node_get(file, "cases"), *dpp = NULL;
    for (size_t c = 0; c < cases->list.n && !dpp; c++)
        if (!strcmp(test_string(sail__node_get(cases->list.items[c], "model")), "bradley_terry") &&
            !strcmp(test_string(sail__node_get(cases->list.items[c], "route")), "DPP"))
            dpp = cases->list.items[c];
    little l;
    double weight[3] = {1.0 / 3, 1.0 / 3, 1.0 / 3}, sum[MOST_D] = {0}, g[MOST_D], want[MOST_D];
    const sail_route rt = {"test", 1, SAIL_BY_POLICY, SAIL_BY_POLICY, test_number(sail__node_get(dpp, "coefficient"))};
    start_little(&l, p, 3, &rt, "\"expected\"");
    l.b.layout.pair_weight = weight;
    l.b.layout.step_weight = 1;
    sail_arena *a = sail__arena_new(), *scratch = sail__arena_new();
    triples t = all_triples(a, p);
    for (int64_t i = 0; i < t.n; i++) {
        for (int k = 0; k < 3; k++) {
            l.x[k] = t.x[i];
            l.outcome[k] = SAIL_ABSTAIN;
            for (int s = 0; s < 2; s++) {
                l.y[2 * k + s] = t.y[3 * i + pair[k][s]];
                l.response_id[2 * k + s] = pair[k][s];
            }
        }
        step_little(&l, p, scratch, g);
        for (int j = 0; j < p->d; j++)
            sum[j] += t.w[i] * g[j];
    }
    test_flatten(sail__node_get(dpp, "estimator_mean"), want, MOST_D);
    enter("DPP, all pairs of 3 responses, leave_one_out", sum, want, p->d, scale_of(dpp, p->d), EXACT);
    sail__arena_free(scratch);
    sail__arena_free(a);
    sail__arena_free(l.a);
    sail_tape_free(l.t);
}

/* ---- the table of variances ---- */
static void tell_variances(const char *where, const sail_node *file)
{
    const sail_node *cases = sail__node_get(file, "cases");
    for (size_t c = 0; c < cases->list.n; c++) {
        const sail_node *x = cases->list.items[c], *labels = sail__node_get(x, "labels"), *e = sail__node_get(labels, "expected");
        if (!e)
            continue;
        double v[2], n[2];
        const sail_node *side[] = {sail__node_get(labels, "sampled"), e};
        for (int i = 0; i < 2; i++) {
            const sail_node *loo = sail__node_get(side[i], "leave_one_out_n4");
            v[i] = test_number(sail__node_get(sail__node_get(side[i], "none"), "variance_total"));
            n[i] = loo ? test_number(sail__node_get(loo, "variance_total")) : NAN;
        }
        assert_true(v[1] <= v[0]);
        if (!isnan(n[0]))
            print_message("  %-16s %-22s %-4s sampled %9.2e  expected %9.2e (1/%.0f); of 4 pairs, leave-one-out: %9.2e  %9.2e\n", where,
                          test_string(sail__node_get(x, "model")), test_string(sail__node_get(x, "route")), v[0], v[1], v[0] / v[1], n[0],
                          n[1]);
        else
            print_message("  %-16s %-22s %-4s sampled %9.2e  expected %9.2e (1/%.0f)\n", where, test_string(sail__node_get(x, "model")),
                          test_string(sail__node_get(x, "route")), v[0], v[1], v[0] / v[1]);
    }
}

static void every_choice_has_the_exact_expectation(void **state)
{
    GOLDEN_OR_SKIP();
    sail_err err = {0};
    char **found;
    size_t n;
    sail_arena *a = sail__arena_new();
    assert_int_equal(sail__list_dir(a, golden_path("method/enumeration"), &found, &n, &err), SAIL_OK);
    for (size_t i = 0; i < n; i++) {
        golden_file f;
        char relative[512];
        snprintf(relative, sizeof relative, "method/enumeration/%s", found[i]);
        const sail_node *file = golden_json(&f, relative), *inputs = sail__node_get(file, "inputs");
        if (inputs) {
            static problem p;
            const char *name = test_string(sail__node_get(file, "name"));
            read_problem(inputs, &p);
            check_cases(file, &p);
            check_temperature(name, file, &p);
            check_best_worst(&p);
            check_all_pairs(&p, file);
            const sail_node *cases = sail__node_get(file, "cases");
            for (size_t c = 0; c < cases->list.n; c++)
                if (!strcmp(test_string(sail__node_get(cases->list.items[c], "model")), "bradley_terry") &&
                    !strcmp(test_string(sail__node_get(cases->list.items[c], "route")), "DPP"))
                    for (int closed = 0; closed < 2; closed++)
                        check_moving_mean(&p, cases->list.items[c], closed);
            print_message("variance, summed over parameters, of one pair:\n");
            tell_variances(name, file);
        }
        golden_close(&f);
    }
    print_message("E[estimator] against the recorded gradient: largest error relative to the largest of T1, T2, T3\n");
    for (int i = 0; i < table.n; i++)
        print_message("  %-62s %.1e over %d\n", table.rows[i].name, table.rows[i].worst, table.rows[i].n);
    assert_int_equal(table.bad, 0);
    sail__arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_choice_has_the_exact_expectation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
