/* head.c - hidden rows times the vocabulary, straight to log-probabilities; the logits are never kept. */
#include <math.h>

#include "ref.h"

/* Running sums of a row over the vocabulary, relative to the largest logit so far. */
typedef struct running {
    double max, sum, weighted, squares, target; /* sum e, sum (z - max) e, sum e^2 with e = exp(z - max) */
} running;

static void meet(running *s, double z)
{
    if (z > s->max || isnan(z)) {
        const double shift = s->max - z, f = s->sum > 0 ? exp(shift) : 0;
        s->weighted = s->sum > 0 ? f * (s->weighted + shift * s->sum) : 0;
        s->sum *= f;
        s->squares *= f * f;
        s->max = z;
    }
    const double e = exp(z - s->max);
    s->sum += e;
    s->weighted += e > 0 ? (z - s->max) * e : 0;
    s->squares += e * e;
}

/* The soft-capped logit of hidden row x against weight row c with its bias, and its derivative by x.c */
static double logit(const sail_attr *attr, const float *x, const float *c, int64_t d, double bias, double *slope)
{
    const double cap = (double)attr->softcap;
    double z = 0;
    for (int64_t j = 0; j < d; j++)
        z += (double)x[j] * c[j];
    z = z * (double)attr->scale + bias;
    *slope = (double)attr->scale;
    if (cap > 0) {
        const double t = tanh(z / cap);
        z = cap * t;
        *slope *= 1 - t * t;
    }
    return z;
}

static double bias_of(const view *bias, int64_t v)
{
    return bias->p ? ref_get(bias, 0, v) : 0;
}

static sail_code hidden(work *w, const view *x, float **rows, float **c, sail_err *err)
{
    *rows = ref_scratch(w, 0, (size_t)(x->rows * x->cols), sizeof **rows);
    *c = ref_scratch(w, 1, (size_t)x->cols, sizeof **c);
    if (!*rows || !*c)
        return ref_no_memory(err);
    for (int64_t i = 0; i < x->rows; i++)
        ref_row(x, i, *rows + i * x->cols);
    return SAIL_OK;
}

sail_code ref_head(work *w, sail_err *err)
{
    const view *x = &w->in[0], *weight = &w->in[1], *targets = &w->in[2];
    const int64_t d = x->cols;
    float *rows, *c;
    double slope;
    SAIL_TRY(ref_check_ids(w, 2, -1, weight->rows, err));
    SAIL_TRY(hidden(w, x, &rows, &c, err));
    running *s = ref_scratch(w, 2, (size_t)x->rows, sizeof *s);
    if (!s)
        return ref_no_memory(err);
    for (int64_t i = 0; i < x->rows; i++)
        s[i] = (running){.max = -INFINITY};
    for (int64_t v = 0; v < weight->rows; v++) {
        ref_row(weight, v, c);
        for (int64_t i = 0; i < x->rows; i++) {
            const double z = logit(w->attr, rows + i * d, c, d, bias_of(&w->in[3], v), &slope);
            meet(&s[i], z);
            if (v == ref_id(targets, i, 0))
                s[i].target = z;
        }
    }
    for (int64_t i = 0; i < x->rows; i++) {
        const double log_sum = log(s[i].sum), lse = s[i].max + log_sum;
        ref_set(&w->out[0], i, 0, ref_id(targets, i, 0) >= 0 ? s[i].target - lse : 0);
        ref_set(&w->out[1], i, 0, w->attr->want & SAIL_WANT_ENTROPY ? log_sum - s[i].weighted / s[i].sum : 0);
        ref_set(&w->out[2], i, 0, w->attr->want & SAIL_WANT_LSS ? log(s[i].squares) - 2 * log_sum : 0);
        ref_set(&w->out[3], i, 0, lse);
    }
    return SAIL_OK;
}

sail_code ref_head_back(work *w, sail_err *err)
{
    const view *x = &w->in[0], *weight = &w->in[1], *targets = &w->in[2], *lse = &w->in[3], *entropy = &w->in[4];
    const view *lss = &w->in[5], *g = &w->in[6]; /* g[0] logp, g[1] entropy, g[2] lss */
    const view *dx = &w->out[0], *dw = &w->out[1], *db = &w->out[2], *bias = &w->in[9];
    const int64_t d = x->cols;
    float *rows, *c;
    SAIL_TRY(ref_check_ids(w, 2, -1, weight->rows, err));
    SAIL_TRY(hidden(w, x, &rows, &c, err));
    double *sum = ref_scratch(w, 2, (size_t)(x->rows * d), sizeof *sum);
    double *dc = ref_scratch(w, 3, (size_t)d, sizeof *dc);
    if (!sum || !dc)
        return ref_no_memory(err);
    memset(sum, 0, (size_t)(x->rows * d) * sizeof *sum);
    for (int64_t v = 0; v < weight->rows; v++) {
        ref_row(weight, v, c);
        memset(dc, 0, (size_t)d * sizeof *dc);
        double of_bias = db->p && w->attr->accumulate ? ref_get(db, 0, v) : 0;
        for (int64_t i = 0; i < x->rows; i++) {
            double slope, dz = 0;
            const double log_p = logit(w->attr, rows + i * d, c, d, bias_of(bias, v), &slope) - ref_get(lse, i, 0), p = exp(log_p);
            if (g[0].p && ref_id(targets, i, 0) >= 0)
                dz += ref_get(&g[0], i, 0) * ((v == ref_id(targets, i, 0)) - p);
            if (g[1].p && p > 0)
                dz -= ref_get(&g[1], i, 0) * p * (log_p + ref_get(entropy, i, 0));
            if (g[2].p)
                dz += ref_get(&g[2], i, 0) * 2 * p * (exp(log_p - ref_get(lss, i, 0)) - 1);
            of_bias += dz * slope / (double)w->attr->scale;
            dz *= slope;
            for (int64_t j = 0; j < d; j++) {
                sum[i * d + j] += dz * c[j];
                dc[j] += dz * rows[i * d + j];
            }
        }
        if (db->p)
            ref_set(db, 0, v, of_bias);
        if (dw->p)
            for (int64_t j = 0; j < d; j++)
                ref_set(dw, v, j, dc[j] + (w->attr->accumulate ? ref_get(dw, v, j) : 0));
    }
    for (int64_t i = 0; i < dx->rows; i++)
        for (int64_t j = 0; j < d; j++)
            ref_set(dx, i, j, sum[i * d + j]);
    return SAIL_OK;
}
