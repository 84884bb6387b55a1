/* tape_ops.c - elementwise operators and reductions of the tape; one row of sail/tape_ops.def each.
 *
 * Every backward loop skips elements whose derivative from above is zero, so that what was not selected never turns
 * into 0 * inf. */
#include "tape_internal.h"
#include "tape_math.h"

#include <math.h>

/* ---- one operand: f_NAME is the value, d_NAME the derivative at a, where y is the value ---- */
#define UNARY(name, value, slope)                                                                                      \
    static double f_##name(double a)                                                                                   \
    {                                                                                                                  \
        return value;                                                                                                  \
    }                                                                                                                  \
    static double d_##name(double a, double y)                                                                         \
    {                                                                                                                  \
        (void)a, (void)y;                                                                                              \
        return slope;                                                                                                  \
    }
UNARY(neg, -a, -1)
UNARY(abs, fabs(a), a > 0 ? 1 : a < 0 ? -1 : 0)
UNARY(exp, exp(a), y)
UNARY(ln, log(a), 1 / a)
UNARY(log1p, log1p(a), 1 / (1 + a))
UNARY(expm1, expm1(a), exp(a))
UNARY(sqrt, sqrt(a), 0.5 / y)
UNARY(square, a *a, 2 * a)
UNARY(tanh, tanh(a), 4 * sail__sigmoid(2 * a) * sail__sigmoid(-2 * a)) /* 1 - y^2 cancels in the tails */
UNARY(sigmoid, sail__sigmoid(a), sail__sigmoid(a) * sail__sigmoid(-a))
UNARY(log_sigmoid, sail__log_sigmoid(a), sail__sigmoid(-a))
UNARY(softplus, -sail__log_sigmoid(-a), sail__sigmoid(a))
UNARY(log_ndtr, sail__log_ndtr(a), sail__log_ndtr_slope(a))
UNARY(relu, a > 0 || isnan(a) ? a : 0, a > 0)
UNARY(detach, a, 0)

typedef struct unary {
    double (*f)(double a);
    double (*d)(double a, double y);
} unary;
static const unary unaries[] = {
#define TAPE_UNARY(name, doc) {f_##name, d_##name},
#define TAPE_BINARY(name, doc)
#define TAPE_REDUCE(name, doc)
#include "../sail/tape_ops.def"
#undef TAPE_UNARY
};
enum {
#define TAPE_UNARY(name, doc) ROW_##name,
#include "../sail/tape_ops.def"
#undef TAPE_UNARY
};

static void unary_back(sail_tape *t, const sail__tape_node *n)
{
    const sail__tape_node *a = &t->nodes[n->a];
    for (int64_t i = 0; i < n->n; i++)
        if (n->grad[i] != 0)
            a->grad[i] += n->grad[i] * unaries[n->row].d(a->value[i], n->value[i]);
}

static void freeze(sail__frozen *f, sail__tape_node *n)
{
    if (f->replay) {
        f->failed |= f->next + (size_t)n->n > f->n;
        for (int64_t i = 0; !f->failed && i < n->n; i++)
            n->value[i] = f->values[f->next++];
    } else if (!f->failed) {
        f->failed = sail__grow(&f->values, &f->cap, f->n + (size_t)n->n, sizeof *f->values, NULL) != SAIL_OK;
        for (int64_t i = 0; !f->failed && i < n->n; i++)
            f->values[f->n++] = n->value[i];
    }
}

static sail_var apply_unary(sail_tape *t, int row, sail_var a)
{
    sail_var out, none = {-1};
    const sail__tape_node *x = sail__tape_at(t, a);
    if (!x) {
        sail_tape_fail(t, SAIL_E_ARG, "an operator was given a value that is not on its tape");
        return none;
    }
    sail__tape_node *n = sail__tape_push(t, x->domain, x->n, a, none, unary_back, &out);
    if (!n)
        return out;
    x = sail__tape_at(t, a); /* the push may have moved it */
    n->row = row;
    for (int64_t i = 0; i < n->n; i++)
        n->value[i] = unaries[row].f(x->value[i]);
    if (row == ROW_neg || row == ROW_detach)
        n->mix = x->mix;
    if (row == ROW_detach) {
        n->needs = false;
        n->back = NULL;
        if (t->frozen)
            freeze(t->frozen, n);
    }
    return out;
}

#define TAPE_UNARY(name, doc)                                                                                          \
    sail_var sail_##name(sail_tape *t, sail_var a)                                                                     \
    {                                                                                                                  \
        return apply_unary(t, ROW_##name, a);                                                                          \
    }
#include "../sail/tape_ops.def"
#undef TAPE_UNARY
#undef TAPE_BINARY

/* ---- two operands: slopes with respect to a and b ---- */
#define BINARY(name, value, slope_a, slope_b)                                                                          \
    static double f_##name(double a, double b)                                                                         \
    {                                                                                                                  \
        return value;                                                                                                  \
    }                                                                                                                  \
    static void d_##name(double a, double b, double y, double *da, double *db)                                         \
    {                                                                                                                  \
        (void)a, (void)b, (void)y;                                                                                     \
        *da = slope_a;                                                                                                 \
        *db = slope_b;                                                                                                 \
    }
BINARY(add, a + b, 1, 1)
BINARY(sub, a - b, 1, -1)
BINARY(mul, a *b, b, a)
BINARY(div, a / b, 1 / b, -y / b)
BINARY(max, a >= b || isnan(a) ? a : b, a >= b, !(a >= b))
BINARY(min, a <= b || isnan(a) ? a : b, a <= b, !(a <= b))
/* equal infinities: no direction leads away from them */
BINARY(logaddexp, sail__logaddexp(a, b), a == b ? (isinf(a) ? 0 : 0.5) : sail__sigmoid(a - b),
       a == b ? (isinf(a) ? 0 : 0.5) : sail__sigmoid(b - a))

typedef struct binary {
    double (*f)(double a, double b);
    void (*d)(double a, double b, double y, double *da, double *db);
} binary;
static const binary binaries[] = {
#define TAPE_UNARY(name, doc)
#define TAPE_BINARY(name, doc) {f_##name, d_##name},
#include "../sail/tape_ops.def"
#undef TAPE_BINARY
};
enum {
#define TAPE_BINARY(name, doc) ROW_##name,
#include "../sail/tape_ops.def"
#undef TAPE_BINARY
};

static void binary_back(sail_tape *t, const sail__tape_node *n)
{
    const sail__tape_node *a = &t->nodes[n->a], *b = &t->nodes[n->b];
    int64_t step_a = a->domain == SAIL_SCALAR ? 0 : 1, step_b = b->domain == SAIL_SCALAR ? 0 : 1;
    for (int64_t i = 0; i < n->n; i++) {
        if (n->grad[i] == 0)
            continue;
        double da, db;
        binaries[n->row].d(a->value[i * step_a], b->value[i * step_b], n->value[i], &da, &db);
        if (a->needs && da != 0)
            a->grad[i * step_a] += n->grad[i] * da;
        if (b->needs && db != 0)
            b->grad[i * step_b] += n->grad[i] * db;
    }
}

static bool is_sum(const sail__tape_node *a) /* 0 is one of nothing */
{
    return a->mix == SAIL__MIX_SUM || (a->mix == SAIL__MIX_NONE && a->domain == SAIL_SCALAR && !a->needs && a->value[0] == 0);
}

static sail__mix mix_of(int row, const sail__tape_node *a, const sail__tape_node *b)
{
    bool number_a = a->domain == SAIL_SCALAR && a->mix == SAIL__MIX_NONE, number_b = b->domain == SAIL_SCALAR && b->mix == SAIL__MIX_NONE;
    if (a->mix == SAIL__MIX_NONE && b->mix == SAIL__MIX_NONE)
        return SAIL__MIX_NONE;
    bool linear = row == ROW_add || row == ROW_sub ? is_sum(a) && is_sum(b)
                  : row == ROW_mul                 ? (is_sum(a) && number_b) || (number_a && is_sum(b))
                  : row == ROW_div                 ? is_sum(a) && number_b
                                                   : false;
    return linear ? SAIL__MIX_SUM : SAIL__MIX_COUPLED;
}

static sail_var apply_binary(sail_tape *t, int row, const char *name, sail_var va, sail_var vb)
{
    sail_var out = {-1};
    const sail__tape_node *a = sail__tape_at(t, va), *b = sail__tape_at(t, vb);
    if (!a || !b) {
        sail_tape_fail(t, SAIL_E_ARG, "%s: an operand is not on this tape", name);
        return out;
    }
    const sail__tape_node *shape = a->domain == SAIL_SCALAR ? b : a, *other = shape == a ? b : a;
    if (other->domain != SAIL_SCALAR && (other->domain != shape->domain || other->n != shape->n)) {
        sail_tape_fail(t, SAIL_E_SHAPE,
                       "%s: operands of domain %s (%lld) and %s (%lld) do not fit: both alike, or one a SCALAR", name,
                       sail__tape_domain_name(a->domain), (long long)a->n, sail__tape_domain_name(b->domain),
                       (long long)b->n);
        return out;
    }
    sail__tape_node *n = sail__tape_push(t, shape->domain, shape->n, va, vb, binary_back, &out);
    if (!n)
        return out;
    a = sail__tape_at(t, va), b = sail__tape_at(t, vb);
    n->row = row;
    n->mix = mix_of(row, a, b);
    int64_t step_a = a->domain == SAIL_SCALAR ? 0 : 1, step_b = b->domain == SAIL_SCALAR ? 0 : 1;
    for (int64_t i = 0; i < n->n; i++)
        n->value[i] = binaries[row].f(a->value[i * step_a], b->value[i * step_b]);
    return out;
}

#define TAPE_BINARY(name, doc)                                                                                         \
    sail_var sail_##name(sail_tape *t, sail_var a, sail_var b)                                                         \
    {                                                                                                                  \
        return apply_binary(t, ROW_##name, #name, a, b);                                                               \
    }
#include "../sail/tape_ops.def"
#undef TAPE_BINARY
#undef TAPE_REDUCE

/* ---- reductions: each output element is a function of one range of the input ---- */
enum {
#define TAPE_BINARY(name, doc)
#define TAPE_REDUCE(name, doc) ROW_##name,
#include "../sail/tape_ops.def"
#undef TAPE_REDUCE
};

/* Sum (weighted where w is not NULL) with Neumaier's correction: long responses and large batches lose nothing. */
static double exact_sum(const double *v, const double *w, int64_t n)
{
    double s = 0, c = 0, plain = 0;
    for (int64_t i = 0; i < n; i++) {
        double y = w ? w[i] * v[i] : v[i], x = s + y;
        c += fabs(s) >= fabs(y) ? (s - x) + y : (y - x) + s;
        s = x;
        plain += y;
    }
    return isfinite(plain) ? s + c : plain; /* the correction of an infinity is NaN */
}

static int64_t largest(const double *v, int64_t n)
{
    int64_t k = 0;
    for (int64_t i = 1; i < n; i++)
        if (v[i] > v[k])
            k = i;
    return k;
}

static double lse(const double *v, int64_t n)
{
    if (n == 0)
        return -INFINITY;
    int64_t k = largest(v, n);
    if (isinf(v[k]))
        return v[k];
    double s = 0; /* of the others: the largest one counts 1 and stays out, for accuracy near it */
    for (int64_t i = 0; i < n; i++)
        s += i == k ? 0 : exp(v[i] - v[k]);
    return v[k] + log1p(s);
}

/* The i-th range of the input, by the layout. */
static void range_of(const sail_tape *t, const sail__tape_node *in, const sail__tape_node *n, int64_t i, int64_t *from,
                     int64_t *to)
{
    *from = 0;
    *to = in->n;
    if (n->domain == SAIL_SCALAR)
        return; /* all of it; there may be no layout */
    const int64_t *bound = n->domain == SAIL_PAIR ? t->layout->response_of_pair : t->layout->token_of_response;
    *from = bound[i];
    *to = bound[i + 1];
}

/* What each element counts in a mean; NULL: 1. */
static const double *pair_weights(const sail_tape *t, int row, sail_domain domain)
{
    return row == ROW_mean && domain == SAIL_PAIR && t->layout ? t->layout->pair_weight : NULL;
}

static void reduce_back(sail_tape *t, const sail__tape_node *n)
{
    const sail__tape_node *in = &t->nodes[n->a];
    for (int64_t i = 0; i < n->n; i++) {
        double g = n->grad[i], y = n->value[i];
        if (g == 0)
            continue;
        int64_t from, to;
        range_of(t, in, n, i, &from, &to);
        switch (n->row) {
        case ROW_max_responses:
            in->grad[from + largest(in->value + from, to - from)] += g;
            break;
        case ROW_logsumexp:
        case ROW_logsumexp_responses:
            for (int64_t j = from; j < to && !isinf(y); j++)
                in->grad[j] += g * exp(in->value[j] - y);
            break;
        default: { /* sums and means: p is the divisor, 0 for the range's own length */
            const double *w = pair_weights(t, n->row, in->domain);
            for (int64_t j = from; j < to; j++)
                in->grad[j] += (w ? g * w[j] : g) / (n->p != 0 ? n->p : (double)(to - from));
        }
        }
    }
}

static sail_var apply_reduce(sail_tape *t, int row, const char *name, sail_var v)
{
    sail_var out = {-1}, none = {-1};
    const sail__tape_node *x = sail__tape_at(t, v);
    if (!x) {
        sail_tape_fail(t, SAIL_E_ARG, "%s: the operand is not on this tape", name);
        return out;
    }
    bool of_tokens = row == ROW_sum_tokens || row == ROW_mean_tokens;
    bool of_responses = row == ROW_sum_responses || row == ROW_mean_responses || row == ROW_max_responses || row == ROW_logsumexp_responses;
    sail_domain want = of_tokens ? SAIL_TOKEN : of_responses ? SAIL_RESPONSE : x->domain;
    sail_domain to = of_tokens ? SAIL_RESPONSE : of_responses ? SAIL_PAIR : SAIL_SCALAR;
    if (x->domain != want) {
        sail_tape_fail(t, SAIL_E_SHAPE, "%s takes a value of domain %s, not %s", name, sail__tape_domain_name(want),
                       sail__tape_domain_name(x->domain));
        return out;
    }
    double divisor = row == ROW_mean_tokens || row == ROW_mean_responses ? 0 : 1; /* 0: the range's length */
    if (row == ROW_mean) {
        const sail_layout *l = t->layout;
        divisor = x->domain == SAIL_PAIR       ? (l->pair_weight ? l->step_weight : (double)l->step_pairs)
                  : x->domain == SAIL_RESPONSE ? (double)l->step_responses
                  : x->domain == SAIL_TOKEN    ? (double)l->step_tokens
                                               : (double)x->n;
        if (divisor <= 0) {
            sail_tape_fail(t, SAIL_E_SHAPE, "mean of domain %s over a step that has none of them",
                           sail__tape_domain_name(x->domain));
            return out;
        }
    }
    sail__tape_node *n =
        sail__tape_push(t, to, to == SAIL_SCALAR ? 1 : sail__tape_domain_length(t, to), v, none, reduce_back, &out);
    if (!n)
        return out;
    x = sail__tape_at(t, v);
    n->row = row;
    n->p = divisor;
    if (to == SAIL_SCALAR && x->domain != SAIL_SCALAR)
        n->mix = x->mix == SAIL__MIX_NONE && (row == ROW_sum || (row == ROW_mean && x->domain != SAIL_ANY)) ? SAIL__MIX_SUM : SAIL__MIX_COUPLED;
    else if (to == SAIL_SCALAR)
        n->mix = x->mix;
    for (int64_t i = 0; i < n->n; i++) {
        int64_t from, end;
        range_of(t, x, n, i, &from, &end);
        const double *at = x->value + from;
        int64_t count = end - from;
        if (row == ROW_max_responses)
            n->value[i] = count ? at[largest(at, count)] : -INFINITY;
        else if (row == ROW_logsumexp || row == ROW_logsumexp_responses)
            n->value[i] = lse(at, count);
        else /* an empty response's mean is 0 */
            n->value[i] = exact_sum(at, pair_weights(t, row, x->domain), count) / (divisor != 0 ? divisor : count ? (double)count : 1);
    }
    return out;
}

#define TAPE_UNARY(name, doc)
#define TAPE_REDUCE(name, doc)                                                                                         \
    sail_var sail_##name(sail_tape *t, sail_var a)                                                                     \
    {                                                                                                                  \
        return apply_reduce(t, ROW_##name, #name, a);                                                                  \
    }
#include "../sail/tape_ops.def"
#undef TAPE_REDUCE
