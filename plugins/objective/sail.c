/* sail.c - SAIL: preference learning on responses and labels that depend on the policy.
 * Source : arXiv 2406.15567. Derivation and notation: METHOD, sections 2 and 3.
 * Needs  : groups of responses; reference log-probabilities.
 * Loss   : minus the mean over pairs of
 *            F + c sg(F - b) sum_k log pi(y_k)   where the policy wrote the responses (T2 + c T1)
 *              + c F^2 / 2                        where the policy drew the label    (c T3)
 *          with F = log q(outcome); with `labels: expected` where the policy labels, in closed form over the outcome,
 *            -c H + c sg(-H - b) sum_k log pi(y_k).
 *          `estimator: released` replaces T1's weight by the released code's c F / log pi(y_k) a response, which is not
 *          divided by the number of pairs in the step and has the opposite sign. */
#include <sail/objective.h>
#include <sail/plugin.h>
#include <stdlib.h>

enum { EXACT, RELEASED };
enum { NONE, LEAVE_ONE_OUT, MOVING_MEAN, CONSTANT };
enum { POLICY_WRITTEN, ALL };

struct sail {
    int estimator, labels, baseline, scope;
    double decay, baseline_value;
};

static const char *const estimators[] = {"exact", "released", NULL};
static const char *const labels[] = {"sampled", "expected", NULL};
static const char *const baselines[] = {"none", "leave_one_out", "moving_mean", "constant", NULL};
static const char *const scopes[] = {"policy_written", "all", NULL};
static const sail_opt opts[] = {
    SAIL_OPT_CHOICE(
        struct sail, estimator, .choices = estimators, .def = EXACT,
        .help = "exact: the score-function term; released: what the authors' code computes, without a baseline"),
    SAIL_OPT_CHOICE(struct sail, labels, .choices = labels, .def = SAIL_LABELS_SAMPLED,
                    .help = "labels of the policy: drawn, or their expectation in closed form"),
    SAIL_OPT_CHOICE(struct sail, baseline, .choices = baselines, .def = LEAVE_ONE_OUT,
                    .help = "what is subtracted from F in the score-function term"),
    SAIL_OPT_CHOICE(struct sail, scope, .choices = scopes, .def = POLICY_WRITTEN,
                    .help = "pairs that the baseline is the mean of"),
    SAIL_OPT_F64(struct sail, decay, .def = 0.9, .min = 0, .max = 1, .help = "of the moving mean, a step"),
    SAIL_OPT_F64(struct sail, baseline_value, .def = 0, .unit = "nats", .help = "of the constant baseline"),
    {0},
};

static bool closed_form(const struct sail *o, const sail_pairs *b, int64_t i)
{
    return o->labels == SAIL_LABELS_EXPECTED && b->labeller[i] == SAIL_BY_POLICY;
}

/* An abstention without a closed form says nothing: neither about the pair nor to the baseline. */
static bool counts(const struct sail *o, const sail_pairs *b, int64_t i)
{
    return closed_form(o, b, i) || b->outcome[i] != SAIL_ABSTAIN;
}

/* Scores less their group's mean: half the margin each where there are two. */
static sail_var centred_scores(sail_tape *t, const sail_pairs *b)
{
    sail_var size = sail_sum_responses(t, sail_div(t, b->length, b->length));
    sail_var mean = sail_div(t, sail_sum_responses(t, b->scores), size);
    return sail_sub(t, b->scores, sail_spread(t, mean, SAIL_RESPONSE));
}

/* Scores for the extra terms, no further apart than the largest margin. */
static sail_var bounded_scores(sail_tape *t, const sail_pairs *b)
{
    if (b->max_margin <= 0)
        return b->scores;
    return sail_clamp(t, centred_scores(t, b), -b->max_margin / 2, b->max_margin / 2);
}

/* 1 for each response whose score the bound changes. */
static sail_var clamped(sail_tape *t, const sail_pairs *b)
{
    sail_var over = sail_sub(t, sail_abs(t, centred_scores(t, b)), sail_number(t, b->max_margin / 2));
    return sail_min(t, sail_mul(t, sail_relu(t, over), sail_number(t, 1e300)), sail_number(t, 1));
}

/* Log-likelihood of the label for the extra terms (f), and what T1 weighs: f, or -H where the label is in closed form
 * (mask). */
static sail_var weighed(const struct sail *o, sail_tape *t, const sail_pairs *b, uint8_t *mask, sail_var *f)
{
    bool any = false;
    sail_var scores = bounded_scores(t, b);
    for (int64_t i = 0; i < b->n; i++)
        any |= mask[i] = closed_form(o, b, i);
    *f = sail_preference_logprob(t, &b->preference, scores, b->outcome);
    return any ? sail_select(t, mask, sail_neg(t, sail_preference_entropy(t, &b->preference, scores)), *f) : *f;
}

/* c F / log pi(y_k) of each response, as a weight of log pi(y_k); not divided by the step's pairs. */
static sail_var released_term(sail_tape *t, const sail_pairs *b, sail_var f, const uint8_t *written)
{
    const double *logp = sail_value_of(t, b->logp);
    for (int64_t i = 0; i < b->n; i++)
        for (int64_t k = b->layout->response_of_pair[i]; written[i] && k < b->layout->response_of_pair[i + 1]; k++)
            if (logp[k] == 0)
                sail_tape_fail(
                    t, SAIL_E_NUMERIC,
                    "pair %lld: a response has log-probability 0, by which `estimator: released` divides; use exact",
                    (long long)(b->first + i));
    sail_var ratio = sail_detach(t, sail_div(t, sail_spread(t, f, SAIL_RESPONSE), b->logp));
    sail_var n = sail_number(t, (double)b->layout->step_pairs);
    return sail_mul(t, n, sail_sum_responses(t, sail_mul(t, ratio, b->logp)));
}

static sail_var surrogate(const struct sail *o, sail_tape *t, const sail_pairs *b, uint8_t *mask, uint8_t *written,
                          sail_loss *out)
{
    sail_var f, v = weighed(o, t, b, mask, &f), zero = sail_number(t, 0);
    sail_var plain = b->max_margin > 0 ? sail_preference_logprob(t, &b->preference, b->scores, b->outcome) : f;
    sail_var c_label = sail_tape_constant(t, SAIL_PAIR, b->n, b->coef_labelled);
    sail_var c_write = sail_tape_constant(t, SAIL_PAIR, b->n, b->coef_written);
    sail_var t3 = sail_mul(t, sail_mul(t, c_label, sail_number(t, 0.5)), sail_square(t, f));
    sail_var u = sail_select(t, mask, sail_mul(t, c_label, v), sail_add(t, plain, t3));
    sail_loss_metric(out, "F", plain);
    if (b->max_margin > 0)
        sail_loss_metric(out, "clamped", clamped(t, b));
    for (int64_t i = 0; i < b->n; i++)
        written[i] = b->writer[i] == SAIL_BY_POLICY && counts(o, b, i);
    sail_var t1;
    if (o->estimator == RELEASED) {
        t1 = released_term(t, b, f, written);
    } else {
        sail_var advantage = sail_detach(t, sail_sub(t, v, sail_tape_constant(t, SAIL_PAIR, b->n, b->baseline)));
        t1 = sail_mul(t, advantage, sail_sum_responses(t, b->logp));
    }
    return sail_add(t, u, sail_select(t, written, sail_mul(t, c_write, t1), zero));
}

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    const struct sail *o = self;
    if (o->estimator == RELEASED && o->labels == SAIL_LABELS_EXPECTED)
        sail_tape_fail(t, SAIL_E_OPTION,
                       "estimator: released samples its labels: use labels: sampled, or estimator: exact");
    uint8_t *mask = calloc(2 * (size_t)b->n + 1, 1);
    if (!mask) {
        sail_tape_fail(t, SAIL_E_NOMEM, "sail: no memory for %lld pairs", (long long)b->n);
        return sail_tape_status(t);
    }
    out->per_pair = sail_neg(t, surrogate(o, t, b, mask, mask + b->n, out));
    out->loss = sail_mean(t, out->per_pair);
    free(mask);
    return sail_tape_status(t);
}

static bool in_scope(const struct sail *o, const sail_pairs *b, int64_t i)
{
    return (o->scope == ALL || b->writer[i] == SAIL_BY_POLICY) && counts(o, b, i);
}

static bool share_a_response(const sail_pairs *b, int64_t i, int64_t j)
{
    const int64_t *first = b->layout->response_of_pair;
    for (int64_t k = first[i]; k < first[i + 1]; k++)
        for (int64_t m = first[j]; m < first[j + 1]; m++)
            if (b->response_id[k] == b->response_id[m])
                return true;
    return false;
}

/* The mean over the pairs in scope that share no response with the pair itself: only then is it independent of what it
 * multiplies. Three pairs made of three responses have no such others: 0. */
static void leave_one_out(const struct sail *o, const sail_pairs *b, const double *v, double *baseline)
{
    for (int64_t i = 0; i < b->n; i++) {
        double sum = 0, n = 0;
        for (int64_t j = 0; j < b->n; j++)
            if (in_scope(o, b, j) && !share_a_response(b, i, j)) { /* it shares its own, too */
                sum += v[j];
                n++;
            }
        baseline[i] = n ? sum / n : 0;
    }
}

/* state: the mean so far, and whether there is one. Read before it takes in this step. */
static void moving_mean(const struct sail *o, const sail_pairs *b, const double *v, double *state, double *baseline)
{
    double sum = 0, n = 0;
    for (int64_t i = 0; i < b->n; i++) {
        baseline[i] = state[0];
        if (in_scope(o, b, i)) {
            sum += v[i];
            n++;
        }
    }
    if (n) {
        state[0] = state[1] ? o->decay * state[0] + (1 - o->decay) * (sum / n) : sum / n;
        state[1] = 1;
    }
}

static bool reads_values(const struct sail *o)
{
    return o->estimator == EXACT && (o->baseline == LEAVE_ONE_OUT || o->baseline == MOVING_MEAN);
}

static sail_code prepare(const void *self, sail_tape *t, const sail_pairs *b, double *state, double *baseline)
{
    const struct sail *o = self;
    for (int64_t i = 0; i < b->n; i++)
        baseline[i] = o->estimator == EXACT && o->baseline == CONSTANT ? o->baseline_value : 0;
    if (!reads_values(o))
        return SAIL_OK;
    uint8_t *mask = calloc((size_t)b->n + 1, 1);
    if (!mask) {
        sail_tape_fail(t, SAIL_E_NOMEM, "sail: no memory for %lld pairs", (long long)b->n);
        return sail_tape_status(t);
    }
    sail_var f, v = weighed(o, t, b, mask, &f);
    free(mask);
    if (sail_tape_status(t) != SAIL_OK)
        return sail_tape_status(t);
    if (o->baseline == LEAVE_ONE_OUT)
        leave_one_out(o, b, sail_value_of(t, v), baseline);
    else
        moving_mean(o, b, sail_value_of(t, v), state, baseline);
    return SAIL_OK;
}

static void prepare_needs(const void *self, const sail_pairs *b, uint8_t *mask)
{
    const struct sail *o = self;
    bool written = false;
    for (int64_t i = 0; i < b->n; i++)
        written |= b->writer[i] == SAIL_BY_POLICY;
    for (int64_t i = 0; i < b->n; i++) /* a leave-one-out mean is read only where the policy wrote something */
        mask[i] = reads_values(o) && (written || o->baseline == MOVING_MEAN) &&
                  (o->scope == ALL || b->writer[i] == SAIL_BY_POLICY);
}

static const sail_objective ops = {
    .size = sizeof ops, .loss = loss, .prepare = prepare, .prepare_needs = prepare_needs};
SAIL_PLUGIN(SAIL_KIND_OBJECTIVE, sail, "SAIL: online preference learning, bilevel made one level", "arXiv:2406.15567",
            struct sail, opts, &ops, SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE | SAIL_CAP_ONLINE)
