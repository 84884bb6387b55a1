/* test_tape.c - every operator of sail/tape_ops.def against central differences, the tails, and the tape's rules. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "align/coupling.h"
#include "sail/tape.h"

/* Three pairs of 2, 3 and 2 responses; the step has more pairs than this part of it. */
static const int64_t of_pair[] = {0, 2, 5, 7}, of_response[] = {0, 1, 4, 6, 9, 10, 12, 15};
static const sail_layout layout = {.pairs = 3,
                                   .responses = 7,
                                   .tokens = 15,
                                   .response_of_pair = of_pair,
                                   .token_of_response = of_response,
                                   .step_pairs = 5,
                                   .step_responses = 11,
                                   .step_tokens = 20};
enum { MOST = 15 };

typedef sail_var apply(sail_tape *t, sail_var a, sail_var b);

/* A scalar that depends on every element of v, each with another weight. */
static sail_var mix(sail_tape *t, sail_var v)
{
    double w[MOST];
    int64_t n = sail_length_of(t, v);
    for (int64_t i = 0; i < n; i++)
        w[i] = 0.3 + 0.17 * (double)i - 0.02 * (double)(i * i);
    return sail_sum(t, sail_mul(t, v, sail_tape_constant(t, sail_domain_of(t, v), n, w)));
}

static double value_at(apply *f, sail_domain da, int64_t na, const double *a, sail_domain db, int64_t nb,
                       const double *b)
{
    sail_tape *t = sail_tape_new(&layout);
    sail_var y = mix(t, f(t, sail_tape_constant(t, da, na, a), sail_tape_constant(t, db, nb, b)));
    double v = *sail_value_of(t, y);
    assert_int_equal(sail_tape_status(t), SAIL_OK);
    sail_tape_free(t);
    return v;
}

/* Five-point central difference with respect to x[i]. */
static double slope(apply *f, sail_domain da, int64_t na, double *a, sail_domain db, int64_t nb, double *b, double *x)
{
    double keep = *x, h = 1e-3 * fmax(1, fabs(keep)) * (fabs(keep) < 1 && keep != 0 ? fabs(keep) : 1), at[4];
    const double step[] = {-2, -1, 1, 2};
    for (int k = 0; k < 4; k++) {
        *x = keep + step[k] * h;
        at[k] = value_at(f, da, na, a, db, nb, b);
    }
    *x = keep;
    return (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * h);
}

static double worst;

static void check(const char *name, apply *f, sail_domain da, int64_t na, double *a, sail_domain db, int64_t nb,
                  double *b, bool cut)
{
    sail_tape *t = sail_tape_new(&layout);
    sail_var va = sail_tape_leaf(t, da, na, a), vb = sail_tape_leaf(t, db, nb, b);
    sail_var y = mix(t, f(t, va, vb));
    assert_int_equal(sail_tape_backward(t, y), SAIL_OK);
    for (int side = 0; side < 2; side++) {
        double *x = side ? b : a;
        const double *g = sail_gradient_of(t, side ? vb : va);
        for (int64_t i = 0; i < (side ? nb : na); i++) {
            double d = cut ? 0 : slope(f, da, na, a, db, nb, b, &x[i]);
            double off = fabs(g[i] - d) / fmax(1, fabs(d));
            worst = fmax(worst, off);
            if (!(off <= 1e-8))
                fail_msg("%s: derivative %.15g, central difference %.15g at %.15g (operand %d, element %d)", name, g[i],
                         d, x[i], side, (int)i);
        }
    }
    sail_tape_free(t);
}

/* ---- one test a row of the table ---- */
#define TAPE_UNARY(name, doc)                                                                                          \
    static sail_var one_##name(sail_tape *t, sail_var a, sail_var b)                                                   \
    {                                                                                                                  \
        return sail_##name(t, a);                                                                                      \
    }
#define TAPE_BINARY(name, doc)
#define TAPE_REDUCE(name, doc) TAPE_UNARY(name, doc)
#include "sail/tape_ops.def"
#undef TAPE_UNARY
#undef TAPE_BINARY
#undef TAPE_REDUCE

static void every_unary_operator_matches_central_differences(void **state)
{
    static const struct {
        const char *name;
        apply *f;
    } rows[] = {
#define TAPE_UNARY(name, doc) {#name, one_##name},
#define TAPE_BINARY(name, doc)
#define TAPE_REDUCE(name, doc)
#include "sail/tape_ops.def"
#undef TAPE_UNARY
#undef TAPE_BINARY
#undef TAPE_REDUCE
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        double any[] = {-9.5, -4.1, -3.9, -1.2, -0.3, 0.4, 1.9, 5.1, 7.5},
               positive[] = {0.2, 0.3, 0.9, 1.0, 2.5, 30, 1e3};
        double b[] = {0};
        bool half_line = !strcmp(rows[k].name, "ln") || !strcmp(rows[k].name, "sqrt");
        bool above_minus_one = !strcmp(rows[k].name, "log1p");
        for (int i = 0; above_minus_one && i < 5; i++)
            any[i] = -0.8 + 0.15 * i;
        check(rows[k].name, rows[k].f, SAIL_ANY, half_line ? 7 : 9, half_line ? positive : any, SAIL_SCALAR, 1, b,
              !strcmp(rows[k].name, "detach"));
    }
    print_message("largest deviation from central differences so far: %.1e\n", worst);
}

static void every_binary_operator_matches_central_differences(void **state)
{
    static const struct {
        const char *name;
        apply *f;
    } rows[] = {
#define TAPE_UNARY(name, doc)
#define TAPE_BINARY(name, doc) {#name, sail_##name},
#define TAPE_REDUCE(name, doc)
#include "sail/tape_ops.def"
#undef TAPE_UNARY
#undef TAPE_BINARY
#undef TAPE_REDUCE
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        double a[] = {-2.1, 0.4, 3.3}, b[] = {1.7, -0.6, 2.9}, s[] = {0.8};
        check(rows[k].name, rows[k].f, SAIL_PAIR, 3, a, SAIL_PAIR, 3, b, false);
        check(rows[k].name, rows[k].f, SAIL_SCALAR, 1, s, SAIL_PAIR, 3, b, false);
        check(rows[k].name, rows[k].f, SAIL_PAIR, 3, a, SAIL_SCALAR, 1, s, false);
    }
}

static void every_reduction_matches_central_differences(void **state)
{
    static const struct {
        const char *name;
        apply *f;
    } rows[] = {
#define TAPE_UNARY(name, doc)
#define TAPE_BINARY(name, doc)
#define TAPE_REDUCE(name, doc) {#name, one_##name},
#include "sail/tape_ops.def"
#undef TAPE_UNARY
#undef TAPE_BINARY
#undef TAPE_REDUCE
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        double a[MOST], b[] = {0};
        for (int i = 0; i < MOST; i++)
            a[i] = 1.7 * sin(3.1 * i) - 0.02 * i;
        sail_domain d = strstr(rows[k].name, "_tokens")      ? SAIL_TOKEN
                        : strstr(rows[k].name, "_responses") ? SAIL_RESPONSE
                                                             : SAIL_ANY;
        if (d != SAIL_ANY) {
            check(rows[k].name, rows[k].f, d, d == SAIL_TOKEN ? 15 : 7, a, SAIL_SCALAR, 1, b, false);
            continue;
        }
        check(rows[k].name, rows[k].f, SAIL_ANY, 6, a, SAIL_SCALAR, 1, b, false);
        check(rows[k].name, rows[k].f, SAIL_TOKEN, 15, a, SAIL_SCALAR, 1, b, false);
        check(rows[k].name, rows[k].f, SAIL_RESPONSE, 7, a, SAIL_SCALAR, 1, b, false);
        check(rows[k].name, rows[k].f, SAIL_PAIR, 3, a, SAIL_SCALAR, 1, b, false);
    }
}

/* ---- operators that are given numbers ---- */
static sail_var do_select(sail_tape *t, sail_var a, sail_var b)
{
    return sail_select(t, (const uint8_t[]){1, 0, 1}, a, b);
}
static sail_var do_lerp(sail_tape *t, sail_var a, sail_var b)
{
    return sail_lerp(t, a, b, 0.3);
}
static sail_var do_clamp(sail_tape *t, sail_var a, sail_var b)
{
    return sail_clamp(t, a, -1, 2);
}
static sail_var do_power(sail_tape *t, sail_var a, sail_var b)
{
    return sail_power(t, a, 3);
}
static sail_var do_sort(sail_tape *t, sail_var a, sail_var b)
{
    return sail_sort(t, a);
}
static sail_var do_slot(sail_tape *t, sail_var a, sail_var b)
{
    return sail_slot_of(t, a, 1);
}
static sail_var do_to_token(sail_tape *t, sail_var a, sail_var b)
{
    return sail_spread(t, a, SAIL_TOKEN);
}
static sail_var do_to_response(sail_tape *t, sail_var a, sail_var b)
{
    return sail_spread(t, a, SAIL_RESPONSE);
}
static sail_var do_gather(sail_tape *t, sail_var a, sail_var b)
{
    return sail_gather(t, a, (const int64_t[]){2, 0, 2, 1, 0}, SAIL_ANY, 5);
}
static sail_var do_scatter(sail_tape *t, sail_var a, sail_var b)
{
    return sail_scatter(t, a, (const int64_t[]){4, 1, 4}, SAIL_RESPONSE, 7);
}

static void operators_with_parameters_match_central_differences(void **state)
{
    double a[] = {-2.1, 0.4, 3.3}, b[] = {1.7, -0.6, 2.9}, s[] = {0.8}, r[] = {0.3, -1, 2, 0.7, -0.2, 5, -3};
    check("select", do_select, SAIL_PAIR, 3, a, SAIL_PAIR, 3, b, false);
    check("select", do_select, SAIL_PAIR, 3, a, SAIL_SCALAR, 1, s, false);
    check("select", do_select, SAIL_SCALAR, 1, s, SAIL_PAIR, 3, b, false);
    check("lerp", do_lerp, SAIL_PAIR, 3, a, SAIL_PAIR, 3, b, false);
    check("lerp", do_lerp, SAIL_PAIR, 3, a, SAIL_SCALAR, 1, s, false);
    check("clamp", do_clamp, SAIL_PAIR, 3, a, SAIL_SCALAR, 1, s, false);
    check("power", do_power, SAIL_PAIR, 3, a, SAIL_SCALAR, 1, s, false);
    check("sort", do_sort, SAIL_PAIR, 3, a, SAIL_SCALAR, 1, s, false);
    check("gather", do_gather, SAIL_PAIR, 3, a, SAIL_SCALAR, 1, s, false);
    check("scatter", do_scatter, SAIL_PAIR, 3, a, SAIL_SCALAR, 1, s, false);
    check("slot_of", do_slot, SAIL_RESPONSE, 7, r, SAIL_SCALAR, 1, s, false);
    check("spread", do_to_token, SAIL_RESPONSE, 7, r, SAIL_SCALAR, 1, s, false);
    check("spread", do_to_response, SAIL_PAIR, 3, a, SAIL_SCALAR, 1, s, false);
    print_message("largest deviation from central differences: %.1e (allowed 1e-8)\n", worst);
}

/* ---- tails ---- */
static void log_ndtr_is_exact_in_the_tails(void **state)
{
    static const double rows[][3] = {
        /* z, log Phi(z), its derivative: 60-digit arithmetic */
        {-1e8, -5000000000000019.3396, 100000000.00000001},
        {-1e4, -50000010.129278915181, 10000.000099999998},
        {-40, -804.60844201375378817, 40.024968847207263723},
        {-10, -53.231285150512470578, 10.098093233962511963},
        {-4.0001, -10.360524052008377574, 4.2257024772949112204},
        {-4, -10.360101486527290828, 4.2256071444894710728},
        {-3.9999, -10.359678930579473821, 4.2255118118625938948},
        {-1, -1.8410216450092635058, 1.5251352761609812091},
        {0, -0.69314718055994530942, 0.79788456080286535588},
        {1, -0.17275377902344988953, 0.28759997093917836123},
        {5, -2.8665161296376359338e-7, 1.4867199409049057124e-6},
        {9, -1.1285884059538406478e-19, 1.0279773571668914796e-18},
    };
    double off = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sail_tape *t = sail_tape_new(NULL);
        sail_var z = sail_tape_leaf(t, SAIL_SCALAR, 1, &rows[i][0]), y = sail_log_ndtr(t, z);
        assert_int_equal(sail_tape_backward(t, y), SAIL_OK);
        double v = *sail_value_of(t, y), d = *sail_gradient_of(t, z);
        double e = fmax(fabs(v / rows[i][1] - 1), fabs(d / rows[i][2] - 1));
        off = fmax(off, e);
        if (!(e <= 1e-14))
            fail_msg("log_ndtr(%g) = %.17g, slope %.17g; should be %.17g, %.17g", rows[i][0], v, d, rows[i][1],
                     rows[i][2]);
        sail_tape_free(t);
    }
    print_message("log_ndtr: largest relative deviation %.1e\n", off);
}

static double eval(sail_var (*f)(sail_tape *, sail_var), double a, double *slope_out)
{
    sail_tape *t = sail_tape_new(NULL);
    sail_var x = sail_tape_leaf(t, SAIL_SCALAR, 1, &a), y = f(t, x);
    sail_tape_backward(t, y);
    double v = *sail_value_of(t, y);
    *slope_out = *sail_gradient_of(t, x);
    sail_tape_free(t);
    return v;
}

static void sigmoids_stay_finite_far_out(void **state)
{
    double d;
    assert_true(eval(sail_log_sigmoid, -1e300, &d) == -1e300 && d == 1);
    assert_true(eval(sail_log_sigmoid, 1e300, &d) == 0 && d == 0);
    assert_true(eval(sail_softplus, 1e4, &d) == 1e4 && d == 1);
    assert_true(eval(sail_sigmoid, -1e4, &d) == 0 && d == 0);
    assert_true(eval(sail_tanh, 400, &d) == 1 && d >= 0 && d < 1e-300);
    /* log sigmoid(40) = -e^-40 (1 - e^-40/2 ...): no digit lost */
    assert_true(fabs(eval(sail_log_sigmoid, 40, &d) / -4.248354255291589e-18 - 1) < 1e-15);
    assert_true(fabs(d / 4.248354255291589e-18 - 1) < 1e-15);
}

static void logsumexp_shifts_by_the_largest(void **state)
{
    sail_tape *t = sail_tape_new(NULL);
    double a[] = {1e4, 1e4 - 1, -1e4}, inf[] = {-INFINITY, -INFINITY};
    sail_var v = sail_tape_leaf(t, SAIL_ANY, 3, a), y = sail_logsumexp(t, v);
    assert_true(fabs(*sail_value_of(t, y) - (1e4 + log1p(exp(-1)))) < 1e-11);
    sail_var w = sail_tape_leaf(t, SAIL_ANY, 2, inf), z = sail_logsumexp(t, w);
    assert_true(*sail_value_of(t, z) == -INFINITY);
    sail_tape_backward(t, z);
    assert_true(sail_gradient_of(t, w)[0] == 0 && sail_gradient_of(t, w)[1] == 0);
    sail_var p = sail_tape_leaf(t, SAIL_SCALAR, 1, inf), q = sail_number(t, 2), s = sail_logaddexp(t, p, q);
    assert_true(*sail_value_of(t, s) == 2);
    sail_tape_backward(t, s);
    assert_true(*sail_gradient_of(t, p) == 0);
    sail_tape_free(t);
}

/* ---- rules ---- */
static void what_is_not_selected_sends_no_derivative(void **state)
{
    sail_tape *t = sail_tape_new(NULL);
    double a[] = {0, 2}, zero[] = {0, 0};
    sail_var v = sail_tape_leaf(t, SAIL_ANY, 2, a); /* log has slope infinity at 0 */
    sail_var y =
        sail_sum(t, sail_select(t, (const uint8_t[]){0, 1}, sail_ln(t, v), sail_tape_constant(t, SAIL_ANY, 2, zero)));
    assert_int_equal(sail_tape_backward(t, y), SAIL_OK);
    assert_true(sail_gradient_of(t, v)[0] == 0);
    assert_true(sail_gradient_of(t, v)[1] == 0.5);
    sail_tape_free(t);
}

static void means_divide_by_the_counts_of_the_step(void **state)
{
    sail_tape *t = sail_tape_new(&layout);
    double ones[MOST];
    for (int i = 0; i < MOST; i++)
        ones[i] = 1;
    assert_true(*sail_value_of(t, sail_mean(t, sail_tape_constant(t, SAIL_PAIR, 3, ones))) == 3.0 / 5);
    assert_true(*sail_value_of(t, sail_mean(t, sail_tape_constant(t, SAIL_RESPONSE, 7, ones))) == 7.0 / 11);
    assert_true(*sail_value_of(t, sail_mean(t, sail_tape_constant(t, SAIL_TOKEN, 15, ones))) == 15.0 / 20);
    assert_true(*sail_value_of(t, sail_mean(t, sail_tape_constant(t, SAIL_ANY, 4, ones))) == 1);
    sail_tape_free(t);
}

/* Three pairs, two of which are of one prompt; the step has a weight of 4 in all. */
static void pairs_that_count_less_weigh_less_in_means(void **state)
{
    const double x[] = {3, 5, -7}, weight[] = {1, 0.25, 0.75};
    sail_layout l = layout;
    l.pair_weight = weight;
    l.step_weight = 4;
    sail_tape *t = sail_tape_new(&l);
    sail_var v = sail_tape_leaf(t, SAIL_PAIR, 3, x), m = sail_mean(t, v);
    assert_true(fabs(*sail_value_of(t, m) - (3 + 1.25 - 5.25) / 4) < 1e-15);
    assert_int_equal(sail_tape_backward(t, m), SAIL_OK);
    for (int i = 0; i < 3; i++)
        assert_true(fabs(sail_gradient_of(t, v)[i] - weight[i] / 4) < 1e-15);
    assert_true(fabs(*sail_value_of(t, sail_sum(t, v)) - 1) < 1e-15); /* sums are sums */
    sail_tape_free(t);
}

static void a_misfit_is_told_once_and_the_rest_is_harmless(void **state)
{
    sail_tape *t = sail_tape_new(&layout);
    double v[MOST] = {0};
    sail_var pair = sail_tape_leaf(t, SAIL_PAIR, 3, v), token = sail_tape_leaf(t, SAIL_TOKEN, 15, v);
    sail_var bad = sail_add(t, pair, token);
    assert_int_equal(sail_tape_status(t), SAIL_E_SHAPE);
    assert_non_null(strstr(sail_tape_message(t), "PAIR (3) and TOKEN (15)"));
    sail_var worse = sail_sum_tokens(t, sail_exp(t, bad));
    assert_int_equal(sail_length_of(t, worse), 0);
    for (int i = 0; i < 15; i++)
        assert_true(sail_value_of(t, worse)[i] == 0 && sail_gradient_of(t, worse)[i] == 0);
    assert_int_equal(sail_tape_backward(t, worse), SAIL_E_SHAPE);
    assert_non_null(strstr(sail_tape_message(t), "add")); /* still the first */
    sail_tape_reset(t, &layout);
    assert_int_equal(sail_tape_status(t), SAIL_OK);
    pair = sail_tape_leaf(t, SAIL_PAIR, 3, v);
    sail_slot_of(t, sail_tape_leaf(t, SAIL_RESPONSE, 7, v), 2);
    assert_non_null(strstr(sail_tape_message(t), "pair 0 has 2 responses"));
    sail_tape_reset(t, &layout);
    sail_gather(t, sail_tape_leaf(t, SAIL_PAIR, 3, v), (const int64_t[]){0, 3}, SAIL_ANY, 2);
    assert_non_null(strstr(sail_tape_message(t), "index 3 at 1"));
    sail_tape_reset(t, &layout);
    assert_int_equal(sail_tape_backward(t, sail_tape_leaf(t, SAIL_PAIR, 3, v)), SAIL_E_SHAPE);
    sail_tape_free(t);
}

/* Losses of a PAIR value f and a number c: those that are sums of what the parts of a step give, and those that are not. */
#define LOSS(name, expression)                                                                                                   \
    static sail_var name(sail_tape *t, sail_var f, sail_var c)                                                                   \
    {                                                                                                                            \
        (void)c;                                                                                                                 \
        return expression;                                                                                                       \
    }
LOSS(mean_of_squares, sail_mean(t, sail_square(t, f)))
LOSS(weighted_sums, sail_sub(t, sail_mul(t, c, sail_mean(t, f)), sail_div(t, sail_neg(t, sail_sum(t, sail_exp(t, f))), c)))
LOSS(zero_and_a_mean, sail_add(t, sail_number(t, 0), sail_mean(t, f)))
LOSS(between_means, sail_lerp(t, sail_mean(t, f), sail_detach(t, sail_mean(t, sail_abs(t, f))), 0.25))
LOSS(of_pairs, sail_sum(t, sail_logsumexp_responses(t, sail_spread(t, sail_mul(t, f, c), SAIL_RESPONSE))))
LOSS(square_of_mean, sail_square(t, sail_mean(t, f)))
LOSS(centred, sail_mean(t, sail_square(t, sail_sub(t, f, sail_mean(t, f)))))
LOSS(centred_by_a_constant, sail_mean(t, sail_square(t, sail_sub(t, f, sail_detach(t, sail_mean(t, f))))))
LOSS(product_of_means, sail_mul(t, sail_mean(t, f), sail_sum(t, f)))
LOSS(mean_and_a_number, sail_add(t, sail_mean(t, f), c))
LOSS(number_over_mean, sail_div(t, c, sail_mean(t, f)))
LOSS(soft_maximum, sail_logsumexp(t, f))
LOSS(sorted, sail_mean(t, sail_mul(t, f, sail_sort(t, f))))
LOSS(spread_mean, sail_mean(t, sail_max(t, f, sail_mean(t, f))))

static bool couples(sail_var loss(sail_tape *t, sail_var f, sail_var c))
{
    const double v[] = {0.3, -0.7, 1.1};
    sail_tape *t = sail_tape_new(&layout);
    sail_var root = loss(t, sail_tape_leaf(t, SAIL_PAIR, 3, v), sail_number(t, 2));
    assert_int_equal(sail_tape_status(t), SAIL_OK);
    bool yes = sail__tape_couples(t, root);
    sail_tape_free(t);
    return yes;
}

static void a_value_that_was_never_given_is_refused(void **state)
{
    const double v[] = {0.3, -0.7, 1.1};
    const sail_var zeroed = {0};
    sail_tape *t = sail_tape_new(&layout);
    sail_tape_leaf(t, SAIL_PAIR, 3, v);
    sail_mean(t, zeroed);
    assert_int_equal(sail_tape_status(t), SAIL_E_ARG);
    sail_tape_free(t);
}

static void what_couples_pairs_is_known(void **state)
{
    assert_false(couples(mean_of_squares) || couples(weighted_sums) || couples(zero_and_a_mean) || couples(between_means) || couples(of_pairs));
    assert_true(couples(square_of_mean) && couples(centred) && couples(centred_by_a_constant) && couples(product_of_means));
    assert_true(couples(mean_and_a_number) && couples(number_over_mean) && couples(soft_maximum) && couples(sorted) && couples(spread_mean));
    const double v[] = {0.3, -0.7, 1.1};
    const int64_t shifted[] = {1, 2, 0}, swapped[] = {1, 0, 3, 2, 4, 6, 5}, across[] = {1, 0, 5, 2, 4, 6, 3};
    sail_tape *t = sail_tape_new(&layout);
    sail_var f = sail_tape_leaf(t, SAIL_PAIR, 3, v), loss = sail_mean(t, f);
    sail_var responses = sail_spread(t, f, SAIL_RESPONSE);
    assert_true(sail__tape_couples(t, sail_sum(t, sail_mul(t, f, sail_gather(t, f, shifted, SAIL_PAIR, 3)))));
    assert_true(sail__tape_couples(t, sail_sum(t, sail_scatter(t, f, shifted, SAIL_PAIR, 3))));
    assert_false(sail__tape_couples(t, sail_sum(t, sail_gather(t, responses, swapped, SAIL_RESPONSE, 7))));
    assert_true(sail__tape_couples(t, sail_sum(t, sail_gather(t, responses, across, SAIL_RESPONSE, 7))));
    assert_false(sail__tape_couples(t, sail_sum(t, sail_slot_of(t, responses, 1))));
    sail__tape_read(t, f, false);
    assert_false(sail__tape_couples(t, loss)); /* compared pair by pair */
    sail__tape_read(t, loss, false);
    assert_true(sail__tape_couples(t, loss));
    sail_tape_reset(t, &layout);
    f = sail_tape_leaf(t, SAIL_PAIR, 3, v);
    loss = sail_mean(t, f);
    assert_false(sail__tape_couples(t, loss));
    sail__tape_read(t, f, true);
    assert_true(sail__tape_couples(t, loss));
    sail_tape_free(t);
}

static void several_roots_one_after_another(void **state)
{
    sail_tape *t = sail_tape_new(NULL);
    double a = 3;
    sail_var x = sail_tape_leaf(t, SAIL_SCALAR, 1, &a), y = sail_square(t, x), z = sail_mul(t, y, x);
    sail_tape_backward(t, z);
    assert_true(*sail_gradient_of(t, x) == 27 && *sail_gradient_of(t, y) == 3);
    sail_tape_backward(t, y);
    assert_true(*sail_gradient_of(t, x) == 6 && *sail_gradient_of(t, z) == 0);
    sail_tape_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_unary_operator_matches_central_differences),
        cmocka_unit_test(every_binary_operator_matches_central_differences),
        cmocka_unit_test(every_reduction_matches_central_differences),
        cmocka_unit_test(operators_with_parameters_match_central_differences),
        cmocka_unit_test(log_ndtr_is_exact_in_the_tails),
        cmocka_unit_test(sigmoids_stay_finite_far_out),
        cmocka_unit_test(logsumexp_shifts_by_the_largest),
        cmocka_unit_test(what_is_not_selected_sends_no_derivative),
        cmocka_unit_test(means_divide_by_the_counts_of_the_step),
        cmocka_unit_test(pairs_that_count_less_weigh_less_in_means),
        cmocka_unit_test(a_misfit_is_told_once_and_the_rest_is_harmless),
        cmocka_unit_test(a_value_that_was_never_given_is_refused),
        cmocka_unit_test(what_couples_pairs_is_known),
        cmocka_unit_test(several_roots_one_after_another),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
