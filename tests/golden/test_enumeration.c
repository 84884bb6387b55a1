/* test_enumeration.c - every estimator of the sail objective against exact numbers: golden/method/enumeration.
 *
 * A policy over nine responses. All groups of K responses and all outcomes are one big batch that goes through the real
 * objective and preference plugins; what comes back, weighted with each group's exact probability, is the estimator's
 * expectation and variance. Gradients are ascent directions, flat in theta's order. */
#include "steps.h"

/* ---- comparing ---- */
typedef struct report {
    double mean, difference, variance, released,
        other; /* largest deviations, relative to what the tolerance is relative to */
    int cases, bad;
    const char *where;
} report;

/* Both sides are sums of thousands of terms near 1 in double precision, so that neither knows a mean to better than
 * this. (The recorded T1 of shared_beta0.1, plackett_luce_3_top1, DPP lies 4.6e-16 from 40-digit arithmetic.) */
static const double ROUNDING = 2e-15;

static void near(report *r, const char *what, const double *got, const double *want, int d, double scale, double tol,
                 double *worst)
{
    for (int j = 0; j < d; j++) {
        double off = fabs(got[j] - want[j]) / fmax(scale, 1e-300);
        if (!(off <= *worst))
            *worst = isnan(off) ? INFINITY : off;
        if (!(off <= tol) && !(fabs(got[j] - want[j]) <= ROUNDING && tol <= 1e-11)) {
            print_error("%s, %s [%d]: %.17g, recorded %.17g: %.2e of the scale\n", r->where, what, j, got[j], want[j],
                        off);
            r->bad++;
            return;
        }
    }
}

static double *recorded(const space *s, const sail_node *n, size_t count)
{
    double *v = sail__arena_array(s->a, count, sizeof *v);
    assert_int_equal(test_flatten(n, v, count), count);
    return v;
}

static void near_number(report *r, const char *what, double got, const sail_node *want, double scale, double tol,
                        double *worst)
{
    double v = test_number(want);
    near(r, what, &got, &v, 1, scale, tol, worst);
}

static const double MEAN = 1e-12, VARIANCE = 1e-9, DIFFERENCE = 1e-8;

static double dot(const double *a, const double *b, int d)
{
    double x = 0;
    for (int j = 0; j < d; j++)
        x += a[j] * b[j];
    return x;
}

static double cosine(const double *a, const double *b, int d)
{
    return dot(a, b, d) / sqrt(dot(a, a, d) * dot(b, b, d));
}

/* Variances of one kind of label, the baselines' unbiasedness, and the planted fault. */
static void check_labels(report *r, const space *s, const double *w, const how *h, const double *exact, double scale,
                         const sail_node *want, const double *t1)
{
    int d = s->p->d;
    bool own = h->writer == SAIL_BY_POLICY;
    double *b = sail__arena_array(s->a, (size_t)s->n, sizeof *b), *u = directions(s, *h), ef = 0;
    near(r, "mean", mean_of(s, w, u), exact, d, scale, MEAN, &r->mean);
    double *v = variance_of(s, w, u), none = total(v, d);
    const sail_node *per = sail__node_get(sail__node_get(want, "none"), "variance");
    near_number(r, "variance", none, sail__node_get(sail__node_get(want, "none"), "variance_total"), none, VARIANCE,
                &r->variance);
    if (per)
        near(r, "variance", v, recorded(s, per, (size_t)d), d, none, VARIANCE, &r->variance);
    how plain = *h; /* without T1 */
    plain.writer = SAIL_BY_DATA;
    double *rest = own ? directions(s, plain) : u, *tu = minus(s, u, rest, s->n * d); /* c f sum of scores */
    const sail_node *parts = sail__node_get(want, "parts_variance_total");
    if (sail__node_get(parts, "T2_plus_c_T3"))
        near_number(r, "variance of T2 + c T3", total(variance_of(s, w, rest), d),
                    sail__node_get(parts, "T2_plus_c_T3"), none, VARIANCE, &r->variance);
    if (!own)
        return;
    const sail_node *constant = sail__node_get(want, "constant"), *p1 = sail__node_get(parts, "T1");
    how hc = *h;
    double level = test_number(sail__node_get(constant, "b")), c2 = h->c * h->c, one = 0;
    for (int64_t i = 0; i < s->n; i++)
        b[i] = level;
    hc.baseline = b;
    double *uc = directions(s, hc);
    near(r, "mean with a constant baseline", mean_of(s, w, uc), exact, d, scale, MEAN, &r->mean);
    near_number(r, "variance with a constant baseline", total(variance_of(s, w, uc), d),
                sail__node_get(constant, "variance_total"), none, VARIANCE, &r->variance);
    double *t1c = minus(s, uc, rest, s->n * d);
    one = total(variance_of(s, w, tu), d);
    near_number(r, "variance of T1", one / c2, sail__node_get(p1, "none"), one / c2, VARIANCE, &r->variance);
    near_number(r, "variance of T1, constant", total(variance_of(s, w, t1c), d) / c2, sail__node_get(p1, "constant"),
                one / c2, VARIANCE, &r->variance);
    /* what a baseline of 1 takes away is c times the sum of scores */
    for (int64_t i = 0; i < s->n; i++) {
        b[i] = 1;
        ef += w[i] != 0 ? w[i] * s->f[i] : 0;
    }
    double *cs = minus(s, u, directions(s, hc), s->n * d);
    for (size_t k = 0; k < want->list.n; k++) {
        int n;
        char key[64];
        if (sscanf(want->list.keys[k], "leave_one_out_n%d", &n) != 1)
            continue;
        const sail_node *x = want->list.items[k];
        snprintf(key, sizeof key, "leave_one_out_n%d", n);
        double *lv = leave_one_out_variance(s, w, u, cs, n);
        near_number(r, key, total(lv, d), sail__node_get(x, "variance_total"), none, VARIANCE, &r->variance);
        near_number(r, key, none / n, sail__node_get(x, "variance_total_none_same_n"), none, VARIANCE, &r->variance);
        if (sail__node_get(x, "variance"))
            near(r, key, lv, recorded(s, sail__node_get(x, "variance"), (size_t)d), d, none, VARIANCE, &r->variance);
        near_number(r, key, total(leave_one_out_variance(s, w, tu, cs, n), d) / c2, sail__node_get(p1, key), one / c2,
                    VARIANCE, &r->variance);
    }
    /* Given pair i, a leave-one-out baseline is the mean of f on average; one that includes the pair is not. */
    for (int64_t i = 0; i < s->n; i++)
        b[i] = ef;
    near(r, "mean with leave-one-out", mean_of(s, w, directions(s, hc)), exact, d, scale, MEAN, &r->mean);
    for (int64_t i = 0; i < s->n; i++)
        b[i] = isfinite(s->f[i]) ? (s->f[i] + 3 * ef) / 4 : 0;
    double *wrong = mean_of(s, w, directions(s, hc));
    near(r, "planted fault", wrong,
         recorded(s, sail__node_get(sail__node_get(want, "wrong_mean_including_self_n4"), "expected_gradient"),
                  (size_t)d),
         d, scale, MEAN, &r->mean);
    double *fault = minus(s, wrong, exact, d);
    if (!(size_of(fault, d) > 1e4 * MEAN * scale) && size_of(t1, d) > 0) {
        print_error("%s: the planted fault cannot be told from the right mean\n", r->where);
        r->bad++;
    }
}

static void check_released(report *r, const space *s, const double *w, const how *h, const double *t1,
                           const double *exact, double scale, const sail_node *want)
{
    int d = s->p->d;
    how h1 = *h, h0 = *h, h4 = *h;
    h1.estimator = h4.estimator = "released";
    h4.step_pairs = 4;
    h0.writer = SAIL_BY_DATA;
    double *g1 = directions(s, h1), *g0 = directions(s, h0), *each = minus(s, g1, g0, s->n * d),
           *m1 = mean_of(s, w, g1);
    double *term = mean_of(s, w, each), size;
    for (int j = 0; j < d; j++)
        term[j] /= h->c;
    double *record = recorded(s, sail__node_get(want, "term"), (size_t)d);
    size = fmax(scale, size_of(record, d));
    near(r, "released term", term, record, d, size, MEAN, &r->released);
    near(r, "released, one pair", m1, recorded(s, sail__node_get(want, "estimator_mean_n1"), (size_t)d), d, size, MEAN,
         &r->released);
    near(r, "released, four pairs", mean_of(s, w, directions(s, h4)),
         recorded(s, sail__node_get(want, "estimator_mean_n4"), (size_t)d), d, size, MEAN, &r->released);
    near_number(r, "released cosine", cosine(term, t1, d), sail__node_get(want, "cosine_term_T1"), 1, 1e-9, &r->other);
    near_number(r, "released cosine", cosine(m1, exact, d), sail__node_get(want, "cosine_mean_estimator"), 1, 1e-9,
                &r->other);
    /* pair by pair the two are far from parallel; weight by weight they have opposite signs */
    double *t = minus(s, directions(s, *h), g0, s->n * d), low = INFINITY, high = -INFINITY;
    for (int64_t i = 0; i < s->n; i += s->outcomes) {
        double x = cosine(t + i * d, each + i * d, d);
        low = fmin(low, x);
        high = fmax(high, x);
    }
    near_number(r, "pair cosine", low, sail__node_get(want, "pair_cosine_min"), 1, 1e-9, &r->other);
    near_number(r, "pair cosine", high, sail__node_get(want, "pair_cosine_max"), 1, 1e-9, &r->other);
}

/* One route: its terms, its gradient, its estimators. */
static void check_route(report *r, const space *s, const space *closed, const sail_node *x)
{
    int d = s->p->d;
    const char *route = test_string(sail__node_get(x, "route"));
    const sail_node *jn = sail__node_get(x, "judge");
    const char *judge = jn && jn->kind == SAIL_NODE_STRING ? jn->string.data : "";
    double *w = probabilities(s, route, judge), j = 0;
    how h = {
        .writer = writer_of(route), .labeller = labeller_of(route), .c = test_number(sail__node_get(x, "coefficient"))};
    how only2 = {0}, only1 = {.writer = SAIL_BY_POLICY, .c = 1}, only3 = {.labeller = SAIL_BY_POLICY, .c = 1}, full = h;
    double *g2 = mean_of(s, w, directions(s, only2));
    double *t1 = minus(s, mean_of(s, w, directions(s, only1)), g2, d),
           *t3 = minus(s, mean_of(s, w, directions(s, only3)), g2, d);
    double *r1 = recorded(s, sail__node_get(x, "T1"), (size_t)d), *r2 = recorded(s, sail__node_get(x, "T2"), (size_t)d);
    double *r3 = recorded(s, sail__node_get(x, "T3"), (size_t)d);
    double scale = fmax(size_of(r1, d), fmax(size_of(r2, d), size_of(r3, d)));
    near(r, "T1", t1, r1, d, scale, MEAN, &r->mean);
    near(r, "T2", g2, r2, d, scale, MEAN, &r->mean);
    near(r, "T3", t3, r3, d, scale, MEAN, &r->mean);
    full.c = 1;
    double *whole = mean_of(s, w, directions(s, full));
    near(r, "grad J", whole, recorded(s, sail__node_get(x, "grad_J"), (size_t)d), d, scale, MEAN, &r->mean);
    near(r, "grad J by central differences", whole,
         recorded(s, sail__node_get(x, "grad_J_central_difference"), (size_t)d), d, size_of(whole, d), DIFFERENCE,
         &r->difference);
    for (int64_t i = 0; i < s->n; i++)
        j += w[i] != 0 ? w[i] * s->f[i] : 0;
    near_number(r, "J", j, sail__node_get(x, "J"), 1, MEAN, &r->mean);
    double *exact = recorded(s, sail__node_get(x, "estimator_mean"), (size_t)d);
    const sail_node *labels = sail__node_get(x, "labels");
    check_labels(r, s, w, &h, exact, scale, sail__node_get(labels, "sampled"), r1);
    if (sail__node_get(labels, "expected")) {
        double *wc = probabilities(closed, route, judge);
        check_labels(r, closed, wc, &h, exact, scale, sail__node_get(labels, "expected"), r1);
        double a = total(variance_of(closed, wc, directions(closed, h)), d),
               b = total(variance_of(s, w, directions(s, h)), d);
        if (!(a <= b)) {
            print_error("%s: expected labels vary more than sampled ones\n", r->where);
            r->bad++;
        }
    }
    if (sail__node_get(x, "released"))
        check_released(r, s, w, &h, r1, exact, scale, sail__node_get(x, "released"));
}

/* One multinomial draw a pair. */
static void check_mixture(report *r, const space *s, const sail_node *x, const sail_node *coefficients)
{
    int d = s->p->d;
    const sail_node *mix = sail__node_get(x, "mixture");
    double *mean = sail__arena_array(s->a, (size_t)d, sizeof *mean),
           *second = sail__arena_array(s->a, (size_t)d, sizeof *second);
    for (size_t k = 0; k < mix->list.n; k++) {
        const char *route = mix->list.keys[k];
        double p = test_number(mix->list.items[k]),
               *w = probabilities(s, route, test_string(sail__node_get(x, "judge")));
        how h = {.writer = writer_of(route),
                 .labeller = labeller_of(route),
                 .c = test_number(sail__node_get(coefficients, route))};
        double *g = directions(s, h);
        for (int64_t i = 0; i < s->n; i++)
            for (int j = 0; j < d && w[i] != 0; j++) {
                mean[j] += p * w[i] * g[i * d + j];
                second[j] += p * w[i] * g[i * d + j] * g[i * d + j];
            }
    }
    double *want = recorded(s, sail__node_get(x, "estimator_mean"), (size_t)d),
           v = total(second, d) - dot(mean, mean, d);
    near(r, "mixture", mean, want, d, size_of(want, d), MEAN, &r->mean);
    near_number(r, "variance of the mixture", v,
                sail__node_get(sail__node_get(sail__node_get(sail__node_get(x, "labels"), "sampled"), "none"),
                               "variance_total"),
                v, VARIANCE, &r->variance);
}

static void check_cases(const sail_node *file, const problem *p, report *r)
{
    const sail_node *cases = sail__node_get(file, "cases");
    static char where[256];
    r->where = where;
    for (size_t c = 0; c < cases->list.n; c++) {
        const sail_node *x = cases->list.items[c], *judge = sail__node_get(x, "judge");
        sail_arena *a = sail__arena_new();
        sail_preference_model m =
            model_of(a, test_string(sail__node_get(x, "preference")), sail__node_get(x, "parameters"));
        space s, closed;
        int k = (int)sail__node_get(x, "K")->integer;
        const char *route = test_string(sail__node_get(x, "route"));
        snprintf(where, sizeof where, "%s %s %s %s", test_string(sail__node_get(file, "name")),
                 test_string(sail__node_get(x, "model")), route,
                 judge->kind == SAIL_NODE_STRING ? judge->string.data : "");
        make_space(a, p, m, k, false, &s);
        make_space(a, p, m, k, true, &closed);
        if (!strcmp(route, "MIX"))
            check_mixture(r, &s, x, sail__node_get(file, "coefficients"));
        else
            check_route(r, &s, &closed, x);
        r->cases++;
        sail__arena_free(a);
    }
}

/* ---- through prepare ---- */

/* All steps of two pairs, in closed form over the labels: mean and variance of leave-one-out as the plugin computes it.
 */
static void check_two_pairs(const problem *p, const sail_node *x, report *r)
{
    little l;
    const char *route = test_string(sail__node_get(x, "route"));
    sail_route rt = {"test", 1, writer_of(route), labeller_of(route), test_number(sail__node_get(x, "coefficient"))};
    start_little(&l, p, 2, &rt, "\"expected\"");
    sail_arena *scratch = sail__arena_new();
    int n = p->prompts * N * N, d = p->d;
    double mean[MOST_D] = {0}, second[MOST_D] = {0}, g[MOST_D];
    l.outcome[0] = l.outcome[1] = SAIL_ABSTAIN;
    for (int i = 0; i < n; i++)
        for (int k = i; k < n; k++) {
            int at[] = {i, k};
            double w = i == k ? 1 : 2; /* either order gives the same mean of two */
            for (int q = 0; q < 2; q++) {
                l.x[q] = at[q] / (N * N);
                l.y[2 * q] = at[q] / N % N;
                l.y[2 * q + 1] = at[q] % N;
                w *= p->px[l.x[q]] *
                     exp(logprob(p->policy[l.x[q]], l.y[2 * q]) + logprob(p->policy[l.x[q]], l.y[2 * q + 1]));
            }
            step_little(&l, p, scratch, g);
            for (int j = 0; j < d; j++) {
                mean[j] += w * g[j];
                second[j] += w * g[j] * g[j];
            }
        }
    const sail_node *e = sail__node_get(sail__node_get(x, "labels"), "expected"),
                    *two = sail__node_get(e, "leave_one_out_n2");
    double want[MOST_D], none = test_number(sail__node_get(sail__node_get(e, "none"), "variance_total"));
    test_flatten(sail__node_get(x, "estimator_mean"), want, MOST_D);
    double r1[MOST_D];
    test_flatten(sail__node_get(x, "T1"), r1, MOST_D);
    near(r, "leave-one-out of two, mean", mean, want, d, fmax(size_of(want, d), size_of(r1, d)), MEAN, &r->mean);
    near_number(r, "leave-one-out of two, variance", total(second, d) - dot(mean, mean, d),
                sail__node_get(two, "variance_total"), none, VARIANCE, &r->variance);
    sail__arena_free(scratch);
    sail__arena_free(l.a);
    sail_tape_free(l.t);
}

/* Three responses, three pairs. Told that they share responses, the objective leaves them all out and stays unbiased;
 * told nothing, it shows the recorded bias. */
static void check_shared(const problem *p, const sail_node *file, report *r)
{
    const sail_route rt = {"test", 1, SAIL_BY_POLICY, SAIL_BY_POLICY, 1};
    little l;
    start_little(&l, p, 3, &rt, "\"expected\"");
    sail_arena *scratch = sail__arena_new();
    static const int pair[3][2] = {{0, 1}, {0, 2}, {1, 2}};
    double sum[2][MOST_D] = {{0}}, g[MOST_D], want[MOST_D], bias[MOST_D];
    int d = p->d;
    for (int told = 0; told < 2; told++)
        for (int x = 0; x < p->prompts; x++)
            for (int t = 0; t < N * N * N; t++) {
                int y[] = {t / (N * N), t / N % N, t % N};
                double w = p->px[x];
                for (int k = 0; k < 3; k++) {
                    w *= exp(logprob(p->policy[x], y[k]));
                    l.x[k] = x;
                    l.outcome[k] = SAIL_ABSTAIN;
                    for (int s = 0; s < 2; s++) {
                        l.y[2 * k + s] = y[pair[k][s]];
                        l.response_id[2 * k + s] = told ? pair[k][s] : 2 * k + s;
                    }
                }
                step_little(&l, p, scratch, g);
                for (int j = 0; j < d; j++)
                    sum[told][j] += w * g[j];
            }
    const sail_node *rec = sail__node_get(file, "shared_response_leave_one_out_bias");
    test_flatten(sail__node_get(rec, "T1_bias"), want, MOST_D);
    for (int j = 0; j < d; j++)
        bias[j] = sum[0][j] - sum[1][j];
    near(r, "bias of shared responses", bias, want, d, size_of(want, d), 1e-11, &r->other);
    /* the told one is -grad H + T1: the recorded DPP case with coefficient 1 */
    const sail_node *cases = sail__node_get(file, "cases");
    for (size_t c = 0; c < cases->list.n; c++) {
        const sail_node *x = cases->list.items[c];
        double t1[MOST_D], t3[MOST_D];
        if (strcmp(test_string(sail__node_get(x, "model")), "bradley_terry") ||
            strcmp(test_string(sail__node_get(x, "route")), "DPP"))
            continue;
        test_flatten(sail__node_get(x, "T1"), t1, MOST_D);
        test_flatten(sail__node_get(x, "T3"), t3, MOST_D);
        for (int j = 0; j < d; j++)
            t1[j] += t3[j];
        near(r, "shared responses, told", sum[1], t1, d, size_of(t1, d), MEAN, &r->mean);
        check_two_pairs(p, x, r);
    }
    sail__arena_free(scratch);
    sail__arena_free(l.a);
    sail_tape_free(l.t);
}

/* ---- sampling at a temperature, and the equivalence of reward and policy ---- */
static void check_tempered(const problem *p, const sail_node *file, report *r)
{
    const sail_node *rows = sail__node_get(file, "tempered_sampling");
    for (size_t k = 0; k < rows->list.n; k++) {
        const sail_node *x = rows->list.items[k];
        sail_arena *a = sail__arena_new();
        space s;
        make_space(a, p, model_of(a, "bradley_terry", NULL), 2, true, &s);
        double temperature = test_number(sail__node_get(x, "temperature")), ef = 0;
        double *w = sail__arena_array(a, (size_t)s.n, sizeof *w), *iw = sail__arena_array(a, (size_t)s.n, sizeof *iw);
        double *b = sail__arena_array(a, (size_t)s.n, sizeof *b);
        for (int64_t i = 0; i < s.n; i++) {
            double logits[CONTEXTS][V], t[CONTEXTS][V];
            int x0 = prompt_of(&s, i), y0 = slot_response(&s, i, 0), y1 = slot_response(&s, i, 1);
            policy_logits(p, x0, logits);
            for (int c = 0; c < CONTEXTS; c++)
                log_softmax(logits[c], 1 / temperature, t[c]);
            w[i] = p->px[x0] * exp(logprob(t, y0) + logprob(t, y1));
            iw[i] = p->px[x0] * exp(logprob(p->policy[x0], y0) + logprob(p->policy[x0], y1));
            ef += w[i] * s.f[i];
        }
        how both = {.writer = SAIL_BY_POLICY, .labeller = SAIL_BY_POLICY, .c = 1},
            rest = {.labeller = SAIL_BY_POLICY, .c = 1};
        how centred = both;
        for (int64_t i = 0; i < s.n; i++)
            b[i] = ef;
        centred.baseline = b;
        int d = p->d;
        double *g0 = directions(&s, rest), *t1 = minus(&s, directions(&s, both), g0, s.n * d);
        double *tc = minus(&s, directions(&s, centred), g0, s.n * d);
        double *want = recorded(&s, sail__node_get(x, "mean_F_score_without_weights"), (size_t)d);
        near(r, "tempered, no weights", mean_of(&s, w, t1), want, d, size_of(want, d), 1e-11, &r->other);
        want = recorded(&s, sail__node_get(x, "mean_centred_F_score_without_weights"), (size_t)d);
        near(r, "tempered, centred", mean_of(&s, w, tc), want, d, size_of(want, d), 1e-11, &r->other);
        want = recorded(&s, sail__node_get(x, "T1"), (size_t)d);
        near(r, "tempered, weighted", mean_of(&s, iw, t1), want, d, size_of(want, d), 1e-11, &r->other);
        sail__arena_free(a);
    }
}

static void check_equivalence(const sail_node *file, report *r)
{
    const sail_node *e = sail__node_get(file, "equivalence");
    double l0[MOST_PROMPTS * N], reward[MOST_PROMPTS * N], z[MOST_PROMPTS], lp[MOST_PROMPTS * N], beta;
    size_t n = test_flatten(sail__node_get(e, "reference_logprob"), l0, MOST_PROMPTS * N);
    test_flatten(sail__node_get(e, "reward"), reward, MOST_PROMPTS * N);
    test_flatten(sail__node_get(e, "beta_logZ"), z, MOST_PROMPTS);
    test_flatten(sail__node_get(e, "optimal_logprob"), lp, MOST_PROMPTS * N);
    beta = test_number(sail__node_get(e, "beta"));
    /* each response alone in a group: the implicit reward is what objectives get as scores */
    int64_t bound[MOST_PROMPTS * N + 1];
    for (size_t i = 0; i <= n; i++)
        bound[i] = (int64_t)i;
    int64_t m = (int64_t)n;
    sail_arena *a = sail__arena_new();
    sail_tape *t = sail_tape_new(NULL);
    sail__batch b = {.layout = {m, m, m, bound, bound, m, m, m},
                     .beta = beta,
                     .logp = lp,
                     .ref = l0,
                     .preference = model_of(a, "bradley_terry", NULL)};
    sail_pairs pairs;
    sail_err err = {0};
    if (sail__pairs_build(a, t, &b, &pairs, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < n; i++) {
        double want = reward[i] - z[i / N];
        near(r, "implied reward", &sail_value_of(t, pairs.scores)[i], &want, 1, fmax(1, fabs(want)), 1e-13, &r->other);
    }
    sail_tape_free(t);
    sail__arena_free(a);
}

static void every_estimator_has_the_exact_expectation_and_variance(void **state)
{
    GOLDEN_OR_SKIP();
    sail_arena *a = sail__arena_new();
    char **names;
    size_t n, used = 0;
    sail_err err = {0};
    report all = {0};
    assert_int_equal(sail__list_dir(a, golden_path("method/enumeration"), &names, &n, &err), SAIL_OK);
    for (size_t i = 0; i < n; i++) {
        golden_file f;
        char relative[512];
        snprintf(relative, sizeof relative, "method/enumeration/%s", names[i]);
        const sail_node *file = golden_json(&f, relative), *inputs = sail__node_get(file, "inputs");
        if (inputs) {
            static problem p;
            report r = {0};
            read_problem(inputs, &p);
            check_cases(file, &p, &r);
            r.where = names[i];
            check_shared(&p, file, &r);
            check_tempered(&p, file, &r);
            check_equivalence(file, &r);
            print_message("%-22s %3d cases; largest deviations: expectation %.1e of the largest term (1e-12), central "
                          "differences "
                          "%.1e (1e-8), variance %.1e (1e-9), released %.1e (1e-12), others %.1e\n",
                          names[i], r.cases, r.mean, r.difference, r.variance, r.released, r.other);
            all.bad += r.bad;
            used++;
        }
        golden_close(&f);
    }
    assert_true(used > 0);
    assert_int_equal(all.bad, 0);
    sail__arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_estimator_has_the_exact_expectation_and_variance)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
