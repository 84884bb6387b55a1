/* sail.c - SAIL: preference learning on responses and labels that depend on the policy.
 * Source : arXiv 2406.15567. Derivation and notation: METHOD, sections 2 and 3.
 * Needs  : groups of responses; reference log-probabilities.
 * Loss   : minus the mean over pairs of
 *            F + c sg(F - b) sum_k log pi(y_k)   where the policy wrote the responses (T2 + c T1)
 *              + c F^2 / 2                        where the policy drew the label    (c T3)
 *          with F = log q(outcome); with `labels: expected` where the policy labels, in closed form over the outcome,
 *            -c H + c sg(-H - b) sum_k log pi(y_k).
 *          `terms` leaves some of T1, T2, T3 out. `importance` corrects for responses that were drawn from another distribution mu than
 *          the policy's (a temperature, filters, a buffer), w = pi/mu without derivative and no larger than the bound:
 *            sequence   w = prod_k pi(y_k)/mu(y_k) of all that was written to the prompt, times everything the pair gives: unbiased
 *                       while no weight is cut off
 *            token      w of each token by itself, times its own score in T1: biased, but bounded however long a response is
 *          `estimator: released` replaces T1's weight by the released code's c F / log pi(y_k) a response, which is not
 *          divided by the number of pairs in the step and has the opposite sign. */
#include <sail/objective.h>
#include <sail/plugin.h>
#include <math.h>
#include <stdlib.h>

enum { EXACT, RELEASED };
enum { NONE, LEAVE_ONE_OUT, MOVING_MEAN, CONSTANT };
enum { POLICY_WRITTEN, ALL };
enum { OFF, SEQUENCE, TOKEN };
enum { T1 = 1, T2 = 2, T3 = 4 };

struct sail {
    int estimator, labels, baseline, scope, terms, importance;
    double decay, baseline_value, importance_bound;
};

static const char *const estimators[] = {"exact", "released", NULL};
static const char *const labels[] = {"sampled", "expected", NULL};
static const char *const baselines[] = {"none", "leave_one_out", "moving_mean", "constant", NULL};
static const char *const scopes[] = {"policy_written", "all", NULL};
static const char *const importances[] = {"none", "sequence", "token", NULL};
static const char *const terms[] = {"all", "t1", "t2", "t3", "t1+t2", "t1+t3", "t2+t3", NULL};
static const int term_sets[] = {T1 | T2 | T3, T1, T2, T3, T1 | T2, T1 | T3, T2 | T3};
static const sail_opt opts[] = {
    SAIL_OPT_CHOICE(
        struct sail, estimator, .choices = estimators, .def = EXACT,
        .help = "exact: the score-function term; released: what the authors' code computes, without a baseline"),
    SAIL_OPT_CHOICE(struct sail, labels, .choices = labels, .def = SAIL_LABELS_SAMPLED,
                    .help = "labels of the policy: drawn, or their expectation in closed form"),
    SAIL_OPT_CHOICE(struct sail, baseline, .choices = baselines, .def = LEAVE_ONE_OUT,
                    .help = "what is subtracted from F in the score-function term; leave_one_out: the mean of the step's other pairs, of "
                            "earlier steps where there are none. Over responses at another temperature than 1, under filters or replayed, "
                            "T1 is biased without: at 0.9 its cosine with the truth is 0.55 to 0.84 in four small problems, 0.95 to 0.998 with a mean"),
    SAIL_OPT_CHOICE(struct sail, scope, .choices = scopes, .def = POLICY_WRITTEN,
                    .help = "pairs that the baseline is the mean of"),
    SAIL_OPT_F64(struct sail, decay, .def = 0.9, .min = 0, .max = 1, .help = "of the moving mean, a step"),
    SAIL_OPT_F64(struct sail, baseline_value, .def = 0, .unit = "nats", .help = "of the constant baseline"),
    SAIL_OPT_CHOICE(struct sail, terms, .choices = terms, .def = 0,
                    .help = "the parts of the gradient that are used, to look at one alone; t1 and t3 keep their route's coefficient"),
    SAIL_OPT_CHOICE(struct sail, importance, .choices = importances, .def = OFF,
                    .help = "correct for responses not drawn from the policy as it is: temperature, filters, replay. token: what is left of T1's "
                            "bias is small (cosine 0.99 and more in the same problems) and its weights stay near 1 however long a response is; "
                            "sequence: exact, but of long responses few count (sail/ess: 0.2 to 0.7 of 8 pairs of 50 tokens at 0.9), and the "
                            "bound cuts"),
    SAIL_OPT_F64(struct sail, importance_bound, .def = 10, .min = 0, .max = 1e300, .flags = SAIL_OPT_SCHEDULABLE,
                 .help = "largest importance weight; 0: none"),
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

static bool uses(const struct sail *o, int term) { return (term_sets[o->terms] & term) != 0; }

/* 1 for the responses that are compared, 0 for those that were written along with them. */
static sail_var compared(sail_tape *t, const sail_pairs *b)
{
    const sail_layout *l = b->layout;
    sail_var one = sail_div(t, b->length, b->length);
    uint8_t *mask = l->compared ? calloc((size_t)l->responses + 1, 1) : NULL;
    if (!mask) {
        if (l->compared)
            sail_tape_fail(t, SAIL_E_NOMEM, "sail: no memory for %lld responses", (long long)l->responses);
        return one;
    }
    for (int64_t i = 0; i < b->n; i++)
        for (int32_t k = 0; k < l->compared[i]; k++)
            mask[l->response_of_pair[i] + k] = 1;
    one = sail_select(t, mask, one, sail_number(t, 0));
    free(mask);
    return one;
}

/* Scores less the mean of those compared: half the margin each where there are two. */
static sail_var centred_scores(sail_tape *t, const sail_pairs *b)
{
    sail_var counted = compared(t, b), sum = sail_sum_responses(t, sail_mul(t, counted, b->scores));
    sail_var mean = sail_div(t, sum, sail_sum_responses(t, counted));
    return sail_mul(t, counted, sail_sub(t, b->scores, sail_spread(t, mean, SAIL_RESPONSE)));
}

/* pi/mu without derivative, cut off at the bound. ratio: its logarithm; told: 1 where it was cut off. */
static sail_var importance(const struct sail *o, sail_tape *t, sail_var ratio, sail_var *told)
{
    double bound = o->importance_bound > 0 ? log(o->importance_bound) : INFINITY;
    sail_var r = sail_detach(t, ratio), over = sail_relu(t, sail_sub(t, r, sail_number(t, bound)));
    *told = sail_min(t, sail_mul(t, over, sail_number(t, 1e300)), sail_number(t, 1));
    return sail_exp(t, sail_min(t, r, sail_number(t, bound)));
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
    sail_var n = sail_number(t, b->layout->pair_weight ? b->layout->step_weight : (double)b->layout->step_pairs);
    return sail_mul(t, n, sail_sum_responses(t, sail_mul(t, ratio, b->logp)));
}

/* Log-probabilities of what the policy wrote itself: the score function of a rival's response is not the policy's. */
static sail_var by_policy(sail_tape *t, const sail_pairs *b, sail_var logp)
{
    const int64_t n = b->layout->responses;
    int64_t others = 0;
    uint8_t *mask = malloc((size_t)n + 1);
    if (!mask)
        sail_tape_fail(t, SAIL_E_NOMEM, "sail: no memory for %lld responses", (long long)n);
    for (int64_t k = 0; mask && k < n; k++) {
        mask[k] = b->response_writer[k] != SAIL_BY_REFERENCE && b->response_writer[k] != SAIL_BY_MIXTURE;
        others += !mask[k];
    }
    sail_var own = others ? sail_select(t, mask, logp, sail_number(t, 0)) : logp;
    free(mask);
    return own;
}

static sail_var surrogate(const struct sail *o, sail_tape *t, const sail_pairs *b, uint8_t *mask, uint8_t *written,
                          sail_loss *out)
{
    sail_var f, v = weighed(o, t, b, mask, &f);
    sail_var plain = b->max_margin > 0 ? sail_preference_logprob(t, &b->preference, b->scores, b->outcome) : f;
    sail_var c_label = sail_tape_constant(t, SAIL_PAIR, b->n, b->coef_labelled);
    sail_var c_write = sail_tape_constant(t, SAIL_PAIR, b->n, b->coef_written);
    sail_var zero = sail_mul(t, c_label, sail_number(t, 0));
    sail_var t3 = sail_mul(t, sail_mul(t, c_label, sail_number(t, 0.5)), sail_square(t, f));
    /* the closed form of T2 is 0 */
    sail_var u = sail_select(t, mask, uses(o, T3) ? sail_mul(t, c_label, v) : zero,
                             sail_add(t, uses(o, T2) ? plain : zero, uses(o, T3) ? t3 : zero));
    sail_loss_metric(out, "F", plain);
    if (b->max_margin > 0)
        sail_loss_metric(out, "clamped", clamped(t, b));
    for (int64_t i = 0; i < b->n; i++)
        written[i] = b->writer[i] == SAIL_BY_POLICY && counts(o, b, i);
    sail_var t1;
    if (o->estimator == RELEASED) {
        t1 = released_term(t, b, f, written);
    } else {
        sail_var advantage = sail_detach(t, sail_sub(t, v, sail_tape_constant(t, SAIL_PAIR, b->n, b->baseline))), logp = b->whole_logp, cut;
        if (o->importance == TOKEN) {
            sail_var w = importance(o, t, sail_sub(t, b->token_logp, b->token_drawn), &cut);
            logp = sail_sum_tokens(t, sail_mul(t, w, b->token_logp));
            sail_loss_metric(out, "importance_cut", cut);
        }
        t1 = sail_mul(t, advantage, sail_sum_responses(t, by_policy(t, b, logp)));
    }
    if (uses(o, T1))
        u = sail_add(t, u, sail_select(t, written, sail_mul(t, c_write, t1), zero));
    if (o->importance == SEQUENCE) {
        sail_var cut, w = importance(o, t, sail_sum_responses(t, sail_sub(t, b->whole_logp, b->drawn)), &cut);
        u = sail_mul(t, w, u);
        sail_loss_metric(out, "importance_cut", cut);
    }
    return u;
}

static sail_code loss(const void *self, sail_tape *t, const sail_pairs *b, sail_loss *out)
{
    const struct sail *o = self;
    if (o->estimator == RELEASED && o->labels == SAIL_LABELS_EXPECTED)
        sail_tape_fail(t, SAIL_E_OPTION,
                       "estimator: released samples its labels: use labels: sampled, or estimator: exact");
    if (o->estimator == RELEASED && o->importance != OFF)
        sail_tape_fail(t, SAIL_E_OPTION, "estimator: released knows no importance weights: use importance: none, or estimator: exact");
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

/* Whether the baseline is made of this step's pairs: leave_one_out only where the policy wrote something. */
static bool reads_values(const struct sail *o, const sail_pairs *b)
{
    bool written = false;
    for (int64_t i = 0; i < b->n; i++)
        written |= b->writer[i] == SAIL_BY_POLICY;
    return o->estimator == EXACT && uses(o, T1) && (o->baseline == MOVING_MEAN || (o->baseline == LEAVE_ONE_OUT && written));
}

static sail_code prepare(const void *self, sail_tape *t, const sail_pairs *b, double *state, double *baseline)
{
    const struct sail *o = self;
    for (int64_t i = 0; i < b->n; i++)
        baseline[i] = o->estimator == EXACT && o->baseline == CONSTANT ? o->baseline_value : 0;
    if (!reads_values(o, b))
        return SAIL_OK;
    uint8_t *mask = calloc((size_t)b->n + 1, 1);
    if (!mask) {
        sail_tape_fail(t, SAIL_E_NOMEM, "sail: no memory for %lld pairs", (long long)b->n);
        return sail_tape_status(t);
    }
    sail_var f, v = weighed(o, t, b, mask, &f);
    for (int64_t i = 0; i < b->n; i++)
        mask[i] = in_scope(o, b, i);
    if (sail_tape_status(t) == SAIL_OK)
        sail_baselines(b, mask, sail_value_of(t, v), o->baseline == LEAVE_ONE_OUT, o->decay, state, baseline);
    free(mask);
    return sail_tape_status(t);
}

static void prepare_needs(const void *self, const sail_pairs *b, uint8_t *mask)
{
    const struct sail *o = self;
    const bool reads = reads_values(o, b);
    for (int64_t i = 0; i < b->n; i++)
        mask[i] = reads && (o->scope == ALL || b->writer[i] == SAIL_BY_POLICY);
}

/* METHOD 3: E of a score is 0 under the policy's own distribution only, and what is left over is many times T1. */
static const char *caution(const void *self, const sail_circumstances *c)
{
    const struct sail *o = self;
    if (c->policy_writes && c->off_policy && o->estimator == EXACT && uses(o, T1) && o->importance == OFF &&
        (o->baseline == NONE || o->baseline == CONSTANT))
        return "T1 is biased: scores average to 0 only over responses drawn from the policy itself, and without a baseline what is left of "
               "them can be many times T1; use baseline: leave_one_out, or importance: sequence";
    return NULL;
}

static const sail_objective ops = {
    .size = sizeof ops, .loss = loss, .prepare = prepare, .prepare_needs = prepare_needs, .caution = caution};
SAIL_PLUGIN(SAIL_KIND_OBJECTIVE, sail, "SAIL: online preference learning, bilevel made one level", "arXiv:2406.15567",
            struct sail, opts, &ops, SAIL_CAP_PAIRS | SAIL_CAP_REFERENCE | SAIL_CAP_ONLINE | SAIL_CAP_TAKES_DIVERGENCE |
                SAIL_CAP_TAKES_LENGTH)
