/* stats.c - see stats.h. */
#include "stats.h"

#include <math.h>
#include <stdlib.h>

#include "../sail/rng.h"
#include "tape_math.h"

static double score_of(uint8_t verdict)
{
    return verdict == SAIL__WIN ? 1 : verdict == SAIL__TIE ? 0.5 : 0;
}

void sail__win_rate_of(const sail__verdicts *v, int64_t n, double *score, sail__win_rate *out)
{
    int64_t both = 0, same = 0, first = 0;
    double sum = 0;
    *out = (sail__win_rate){.prompts = n};
    for (int64_t i = 0; i < n; i++) {
        double s = 0;
        int seen = 0;
        for (int o = 0; o < 2; o++) {
            uint8_t x = v[i].order[o];
            out->wins += x == SAIL__WIN;
            out->ties += x == SAIL__TIE;
            out->losses += x == SAIL__LOSS;
            out->none += x == SAIL__NO_VERDICT;
            first += x == (o == 0 ? SAIL__WIN : SAIL__LOSS);
            s += score_of(x);
            seen += x != SAIL__NO_VERDICT;
        }
        both += seen == 2;
        same += seen == 2 && v[i].order[0] == v[i].order[1];
        if (score)
            score[i] = seen ? s / seen : NAN;
        if (seen) {
            sum += s / seen;
            out->judged++;
        }
    }
    int64_t decided = out->wins + out->losses, verdicts = decided + out->ties;
    out->win_rate = out->judged ? sum / (double)out->judged : NAN;
    out->tie_rate = verdicts ? (double)out->ties / (double)verdicts : NAN;
    out->abstention_rate = n ? (double)out->none / (2 * (double)n) : NAN;
    out->order_agreement = both ? (double)same / (double)both : NAN;
    out->first_position_share = decided ? (double)first / (double)decided : NAN;
}

double sail__win_rate_authors(const sail__verdicts *v, int64_t n, const uint8_t *order)
{
    int64_t wins = 0, judged = 0;
    for (int64_t i = 0; i < n; i++) {
        uint8_t x = v[i].order[order[i] != 0];
        wins += x == SAIL__WIN;
        judged += x != SAIL__NO_VERDICT;
    }
    return judged ? (double)wins / (double)judged : NAN;
}

double sail__quantile(const double *sorted, int64_t n, double q)
{
    double at = q * (double)(n - 1);
    int64_t i = (int64_t)at;
    return i + 1 >= n ? sorted[n - 1] : sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

sail_code sail__bootstrap(const double *x, int64_t n, const int64_t *indices, int64_t resamples, uint64_t seed,
                          double *means, double *lower, double *upper, sail_err *err)
{
    if (n < 1 || resamples < 1)
        return sail_fail(err, SAIL_E_ARG, "an interval needs at least one judged prompt and one resample");
    double *sorted = sail__calloc((size_t)resamples, sizeof *sorted);
    if (!sorted)
        return sail_fail(err, SAIL_E_NOMEM, "no memory for %lld resamples", (long long)resamples);
    for (int64_t b = 0; b < resamples; b++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++) {
            int64_t k =
                indices ? indices[b * n + i]
                        : (int64_t)sail_rng_below(seed, SAIL_RNG_BOOTSTRAP, (uint64_t)b, (uint64_t)i, 0, (uint64_t)n);
            sum += x[k];
        }
        sorted[b] = sum / (double)n;
        if (means)
            means[b] = sorted[b];
    }
    qsort(sorted, (size_t)resamples, sizeof *sorted, ascending);
    *lower = sail__quantile(sorted, resamples, 0.025);
    *upper = sail__quantile(sorted, resamples, 0.975);
    sail__free(sorted);
    return SAIL_OK;
}

/* ---- length control: logistic regression in at most three coefficients, by Newton's method ---- */
enum { COLUMNS = 3 };
typedef struct fit {
    int64_t n;
    int columns;
    const double *y;
    double *x; /* [n][columns] */
    double ridge;
} fit;

/* The penalised mean log-likelihood (negated), its gradient and Hessian at b. */
static double look(const fit *f, const double *b, double *grad, double hess[COLUMNS][COLUMNS])
{
    double value = 0;
    int c = f->columns;
    for (int i = 0; i < c; i++) {
        grad[i] = f->ridge * b[i];
        value += f->ridge / 2 * b[i] * b[i];
        for (int j = 0; j < c; j++)
            hess[i][j] = i == j ? f->ridge : 0;
    }
    for (int64_t k = 0; k < f->n; k++) {
        const double *x = f->x + k * c;
        double z = 0;
        for (int i = 0; i < c; i++)
            z += x[i] * b[i];
        double p = sail__sigmoid(z), w = p * sail__sigmoid(-z);
        value += (-sail__log_sigmoid(-z) - f->y[k] * z) / (double)f->n;
        for (int i = 0; i < c; i++) {
            grad[i] += x[i] * (p - f->y[k]) / (double)f->n;
            for (int j = 0; j < c; j++)
                hess[i][j] += w * x[i] * x[j] / (double)f->n;
        }
    }
    return value;
}

/* hess d = grad by elimination with pivoting; false: singular. */
static bool solve(int c, double hess[COLUMNS][COLUMNS], const double *grad, double *d)
{
    double m[COLUMNS][COLUMNS + 1];
    for (int i = 0; i < c; i++) {
        for (int j = 0; j < c; j++)
            m[i][j] = hess[i][j];
        m[i][c] = grad[i];
    }
    for (int i = 0; i < c; i++) {
        int best = i;
        for (int r = i + 1; r < c; r++)
            if (fabs(m[r][i]) > fabs(m[best][i]))
                best = r;
        if (!(fabs(m[best][i]) > 1e-14))
            return false;
        for (int j = i; j <= c; j++) {
            double keep = m[i][j];
            m[i][j] = m[best][j];
            m[best][j] = keep;
        }
        for (int r = i + 1; r < c; r++) {
            double factor = m[r][i] / m[i][i];
            for (int j = i; j <= c; j++)
                m[r][j] -= factor * m[i][j];
        }
    }
    for (int i = c - 1; i >= 0; i--) {
        d[i] = m[i][c];
        for (int j = i + 1; j < c; j++)
            d[i] -= m[i][j] * d[j];
        d[i] /= m[i][i];
    }
    return true;
}

static sail_code newton(const fit *f, double *b, sail_err *err)
{
    double grad[COLUMNS], hess[COLUMNS][COLUMNS], d[COLUMNS], value = look(f, b, grad, hess);
    for (int step = 0; step < 100; step++) {
        double next[COLUMNS], g2[COLUMNS], h2[COLUMNS][COLUMNS], largest = 0, size = 1, v2 = value, share = 1;
        if (!solve(f->columns, hess, grad, d))
            break;
        for (int halving = 0; halving < 40; halving++, share /= 2) { /* a full step may overshoot far from the answer */
            for (int i = 0; i < f->columns; i++)
                next[i] = b[i] - share * d[i];
            v2 = look(f, next, g2, h2);
            if (v2 <= value + 1e-14 * fabs(value))
                break;
        }
        for (int i = 0; i < f->columns; i++) {
            largest = fmax(largest, fabs(share * d[i]));
            size = fmax(size, fabs(next[i]));
            b[i] = next[i];
            grad[i] = g2[i];
            for (int j = 0; j < f->columns; j++)
                hess[i][j] = h2[i][j];
        }
        value = v2;
        if (largest < 1e-15 * size)
            break;
    }
    for (int i = 0; i < f->columns; i++)
        if (!(fabs(grad[i]) < 1e-11) || fabs(b[i]) > 25) /* beyond: one side wins everything, and b runs away */
            return sail_fail(
                err, SAIL_E_NUMERIC,
                "the length-controlled win rate has no finite fit (one side wins everything?): use a ridge above 0");
    return SAIL_OK;
}

sail_code sail__length_controlled(const double *y, const double *d, const double *g, int64_t n, double ridge,
                                  sail__length_control *out, sail_err *err)
{
    double mean = 0, square = 0, b[COLUMNS] = {0};
    if (n < 2 || ridge < 0)
        return sail_fail(err, SAIL_E_ARG,
                         "a length-controlled win rate needs two judged prompts and a ridge of at least 0");
    for (int64_t i = 0; i < n; i++)
        mean += d[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        square += (d[i] - mean) * (d[i] - mean);
    *out = (sail__length_control){.sd = sqrt(square / (double)(n - 1))};
    bool lengths = out->sd > 0; /* all differences alike: nothing to control for */
    fit f = {.n = n, .columns = 1 + lengths + (g != NULL), .y = y, .ridge = ridge};
    f.x = sail__calloc((size_t)n, (size_t)f.columns * sizeof *f.x);
    if (!f.x)
        return sail_fail(err, SAIL_E_NOMEM, "no memory for %lld prompts", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        double *x = f.x + i * f.columns;
        *x++ = 1;
        if (lengths)
            *x++ = tanh(d[i] / out->sd);
        if (g)
            *x = g[i];
    }
    sail_code code = newton(&f, b, err);
    sail__free(f.x);
    out->intercept = b[0];
    out->length = lengths ? b[1] : 0;
    out->difficulty = g ? b[1 + lengths] : 0;
    for (int64_t i = 0; i < n; i++)
        out->win_rate += sail__sigmoid(out->intercept + (g ? out->difficulty * g[i] : 0)) / (double)n;
    return code;
}
