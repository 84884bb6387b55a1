/* tape_math.c - see tape_math.h. */
#include "tape_math.h"

#include <math.h>

static const double HALF_LOG_2PI = 0.91893853320467274178;
static const double INV_SQRT_2PI = 0.39894228040143267794;

double sail__sigmoid(double a)
{
    if (a >= 0)
        return 1 / (1 + exp(-a));
    double e = exp(a);
    return e / (1 + e);
}

double sail__log_sigmoid(double a)
{
    return a >= 0 ? -log1p(exp(-a)) : a - log1p(exp(a));
}

/* phi(x) / Phi(-x) for x >= 4: the continued fraction of Mills' ratio (Laplace), x + 1/(x + 2/(x + 3/...)). 48 terms
 * give full precision from 4 on, and there is no cancellation however large x is. */
static double inverse_mills(double x)
{
    double f = x;
    for (int k = 48; k > 0; k--)
        f = x + k / f;
    return f;
}

double sail__log_ndtr(double z)
{
    if (z < -4)
        return -0.5 * z * z - HALF_LOG_2PI - log(inverse_mills(-z));
    if (z < 0)
        return log(0.5 * erfc(-z * M_SQRT1_2));
    return log1p(-0.5 * erfc(z * M_SQRT1_2));
}

double sail__log_ndtr_slope(double z)
{
    if (z < -4)
        return inverse_mills(-z);
    return INV_SQRT_2PI * exp(-0.5 * z * z) / (0.5 * erfc(-z * M_SQRT1_2));
}

double sail__logaddexp(double a, double b)
{
    double m = a > b ? a : b, d = fabs(a - b);
    if (isnan(a) || isnan(b))
        return a + b;
    return isnan(d) ? m : m + log1p(exp(-d)); /* d is NaN where both are the same infinity */
}
