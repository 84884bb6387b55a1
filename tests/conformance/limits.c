/* limits.c - how far attention and the head may be off, element by element, where terms cancel.
 *
 * An output of these is a sum of products whose factors are differences: p (do.v - do.o), p - 1[target]. What such a
 * difference has lost is measured by its terms, not by what is left of it. So every step is done once more here in double,
 * each value with the error it may carry: u |x| for a rounding; for K additions the lesser of K and 4 sqrt(K) times
 * u sum |a| |b| (no sum can be off by more than K u; beyond 4 sqrt(K), odds are 1 in 1000 if every rounding went its own way); what
 * OpenCL allows for exp and log (3 ulp) and tanh (5 ulp); the derivative times the argument's error where a function follows.
 * With bf16 operands the left side of a product may be rounded to bf16 too, p and ds once each: u_bf16 times that
 * operand's magnitude. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "suite.h"

#define U 0x1p-24   /* half an ulp of 1, float32 */
#define EXP (6 * U) /* relative */
#define TANH (10 * U)
#define LOG (6 * U)
#define FADES 8 /* times that a running maximum grows and what was summed is scaled down */

static double many(double terms)
{
    return fmin(terms, 4 * sqrt(terms)) * U;
}

/* What a device finds in the operand. */
static const float *seen_by_device(suite *s, const operand *o)
{
    const size_t n = (size_t)(o->rows * o->cols);
    unsigned char *bytes = scratch(s, sail_dtype_bytes(o->t, n));
    float *f = scratch(s, n * sizeof *f);
    sail_from_f32(o->t, o->f, bytes, n, NULL);
    sail_to_f32(o->t, bytes, f, n, NULL);
    return f;
}

typedef struct number {
    double x, e; /* may be off by e */
} number;

static number dot(const float *a, const float *b, int64_t n)
{
    double sum = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
        size += fabs((double)a[i] * (double)b[i]);
    }
    return (number){sum, many((double)n) * size};
}

/* A product becomes a score or logit: scaled and soft-capped. slope: its derivative by the scaled product. */
static number cap(number z, const sail_attr *attr, number *slope)
{
    const double scale = fabs((double)attr->scale), limit = (double)attr->softcap;
    z = (number){z.x * (double)attr->scale, z.e * scale + U * fabs(z.x) * scale};
    *slope = (number){1, 0};
    if (limit > 0) {
        const double t = tanh(z.x / limit), in = z.e / limit + U * fabs(z.x / limit);
        const double e = (1 - t * t) * in + in * in + TANH; /* |tanh''| < 1 */
        *slope = (number){1 - t * t, 2 * fabs(t) * e + e * e + 2 * U};
        z = (number){limit * t, limit * e + U * fabs(limit * t)};
    }
    return z;
}

/* e^(z - from), from being exact */
static number power(number z, double from)
{
    const double p = exp(z.x - from);
    return (number){p, p * (expm1(z.e + U * fabs(z.x - from)) + EXP)};
}

typedef struct place {
    const float *q, *k, *v, *dout, *o;
    int64_t h, share, q_cols, k_cols, most;
    const sail_attr *attr;
    const operand *segments, *ranges;
    int32_t *key;
    number *score, *slope;
} place;

/* Scores of row t of `head` at `position` in `segment`; returns how many keys it sees. */
static int64_t look(const place *a, int64_t t, int64_t head, int32_t segment, int32_t position)
{
    const int32_t *g = a->segments->i + 8 * segment;
    int64_t n = 0;
    for (int32_t r = g[5]; r < g[5] + g[6]; r++) {
        const int32_t *range = a->ranges->i + 4 * r;
        for (int32_t i = 0; i < range[1]; i++) {
            const int32_t at = range[2] + i;
            if (at > position || (a->attr->window > 0 && at <= position - a->attr->window))
                continue;
            a->key[n] = range[0] + i;
            const number x = dot(a->q + t * a->q_cols + head * a->h,
                                 a->k + a->key[n] * a->k_cols + head / a->share * a->h, a->h);
            a->score[n] = cap(x, a->attr, &a->slope[n]);
            n++;
        }
    }
    return n;
}

static place prepare(suite *s, const kase *c, int q)
{
    place a = {.attr = &c->attr, .h = c->attr.head_dim, .share = c->attr.heads / c->attr.kv_heads,
               .q_cols = c->in[q].cols, .k_cols = c->in[q + 1].cols, .most = c->in[q + 1].rows};
    a.q = seen_by_device(s, &c->in[q]);
    a.k = seen_by_device(s, &c->in[q + 1]);
    a.v = seen_by_device(s, &c->in[q + 2]);
    a.key = scratch(s, (size_t)a.most * sizeof *a.key);
    a.score = scratch(s, (size_t)a.most * sizeof *a.score);
    a.slope = scratch(s, (size_t)a.most * sizeof *a.slope);
    return a;
}

static double *limits(suite *s, kase *c, int output, int64_t n)
{
    double *d = scratch(s, (size_t)n * sizeof *d);
    memset(d, 0, (size_t)n * sizeof *d);
    c->limit[output] = d;
    c->bounds[output] = (bound){DERIVED, 0, 0};
    return d;
}

static double of_left_side(const kase *c)
{
    return c->in[0].t == SAIL_BF16 ? 0x1p-8 : 0;
}

void attention_limits(suite *s, kase *c)
{
    place a = prepare(s, c, 0);
    const operand *tiles = &c->in[5];
    const int64_t heads = c->attr.heads, rows = c->in[0].rows;
    double *o = limits(s, c, 0, rows * a.q_cols), *lse = limits(s, c, 1, rows * heads);
    a.segments = &c->in[3];
    a.ranges = &c->in[4];
    for (int64_t b = 0; b < tiles->rows; b++)
        for (int32_t r = 0; r < tiles->i[4 * b + 2]; r++)
            for (int64_t head = 0; head < heads; head++) {
                const int64_t t = tiles->i[4 * b + 1] + r;
                const int64_t n = look(&a, t, head, tiles->i[4 * b], tiles->i[4 * b + 3] + r);
                double most = -INFINITY, total = 0, off = 0;
                for (int64_t i = 0; i < n; i++)
                    most = fmax(most, a.score[i].x);
                for (int64_t i = 0; i < n; i++) {
                    a.score[i] = power(a.score[i], most);
                    a.score[i].e += a.score[i].x * FADES * (EXP + U);
                    total += a.score[i].x;
                    off += a.score[i].e;
                }
                off = n ? off / total + many((double)n) : 0; /* of the sum, relative */
                lse[t * heads + head] = n ? off + LOG * log(total) + 2 * U * (fabs(most) + log(total)) : 0;
                for (int64_t j = 0; j < a.h && n; j++) {
                    double sum = 0, size = 0, e = 0;
                    for (int64_t i = 0; i < n; i++) {
                        const double v = (double)a.v[a.key[i] * a.k_cols + head / a.share * a.h + j];
                        sum += a.score[i].x * v / total;
                        size += a.score[i].x * fabs(v) / total;
                        e += a.score[i].e * fabs(v) / total;
                    }
                    o[t * a.q_cols + head * a.h + j] =
                        e + (many((double)n) + of_left_side(c)) * size + (off + 3 * U) * fabs(sum);
                }
            }
}

/* One more product x y in a sum: its own error, and its size for the additions. */
typedef struct sum {
    double e, size, terms;
} sum;

static void add(sum *to, number x, double y, double rounding)
{
    to->e += (x.e + rounding * (fabs(x.x) + x.e)) * fabs(y);
    to->size += fabs(x.x * y);
    to->terms++;
}

static double off(const sum *s)
{
    return s->e + many(s->terms) * s->size;
}

void attention_back_limits(suite *s, kase *c)
{
    place a = prepare(s, c, 1);
    const operand *tiles = &c->in[8];
    const int64_t heads = c->attr.heads, rows = c->in[1].rows;
    const float *dout = seen_by_device(s, &c->in[0]), *o = seen_by_device(s, &c->in[4]), *lse = c->in[5].f;
    const double rounding = of_left_side(c), scale = fabs((double)c->attr.scale);
    double *limit[3] = {limits(s, c, 0, rows * a.q_cols), limits(s, c, 1, a.most * a.k_cols),
                        limits(s, c, 2, a.most * a.k_cols)};
    const size_t kv_size = (size_t)(a.most * a.k_cols) * sizeof(sum), q_size = (size_t)a.h * sizeof(sum);
    sum *dq = scratch(s, q_size), *dk = scratch(s, kv_size), *dv = scratch(s, kv_size);
    memset(dk, 0, kv_size);
    memset(dv, 0, kv_size);
    a.segments = &c->in[6];
    a.ranges = &c->in[7];
    for (int64_t b = 0; b < tiles->rows; b++)
        for (int32_t r = 0; r < tiles->i[4 * b + 2]; r++)
            for (int64_t head = 0; head < heads; head++) {
                const int64_t t = tiles->i[4 * b + 1] + r, at = t * a.q_cols + head * a.h;
                const int64_t n = look(&a, t, head, tiles->i[4 * b], tiles->i[4 * b + 3] + r);
                const number d = dot(dout + at, o + at, a.h);
                memset(dq, 0, q_size);
                for (int64_t i = 0; i < n; i++) {
                    const int64_t kv = a.key[i] * a.k_cols + head / a.share * a.h;
                    const number p = power(a.score[i], (double)lse[t * heads + head]), slope = a.slope[i];
                    const number dp = dot(dout + at, a.v + kv, a.h);
                    const double x = fabs(dp.x - d.x), e = dp.e + d.e + U * x;
                    number ds = {p.x * (dp.x - d.x) * slope.x * scale, 0};
                    ds.e = scale * (p.e * x * slope.x + (p.x + p.e) * (e * slope.x + (x + e) * slope.e)) + 4 * U * fabs(ds.x);
                    for (int64_t j = 0; j < a.h; j++) {
                        add(&dq[j], ds, (double)a.k[kv + j], rounding);
                        add(&dk[kv + j], ds, (double)a.q[at + j], rounding);
                        add(&dv[kv + j], p, (double)dout[at + j], rounding);
                    }
                }
                for (int64_t j = 0; j < a.h; j++)
                    limit[0][at + j] = off(&dq[j]);
            }
    for (int64_t i = 0; i < a.most * a.k_cols; i++) {
        limit[1][i] = off(&dk[i]);
        limit[2][i] = off(&dv[i]);
    }
}

/* The logits of one row; `bias` is the number of that operand. */
static void logits(const kase *c, const float *x, const float *w, int bias, number *z, number *slope)
{
    const int64_t d = c->in[0].cols;
    const bool narrowed = sail_dtype_is_quantised(c->in[1].t) && c->in[0].t == SAIL_BF16; /* weights become bf16 */
    for (int64_t v = 0; v < c->in[1].rows; v++) {
        z[v] = dot(x, w + v * d, d);
        for (int64_t j = 0; j < d && narrowed; j++)
            z[v].e += 0x1p-8 * fabs((double)x[j] * (double)w[v * d + j]);
        if (c->in[bias].present) {
            const double by = (double)c->in[bias].f[v] / (double)c->attr.scale; /* cap() scales it */
            z[v] = (number){z[v].x + by, z[v].e + U * (fabs(z[v].x) + fabs(by))};
        }
        z[v] = cap(z[v], &c->attr, &slope[v]);
    }
}

void head_limits(suite *s, kase *c)
{
    const float *x = seen_by_device(s, &c->in[0]), *w = seen_by_device(s, &c->in[1]);
    const int64_t rows = c->in[0].rows, words = c->in[1].rows, d = c->in[0].cols;
    number *z = scratch(s, (size_t)words * sizeof *z), *slope = scratch(s, (size_t)words * sizeof *z);
    double *limit[4];
    for (int i = 0; i < 4; i++)
        limit[i] = limits(s, c, i, rows);
    for (int64_t i = 0; i < rows; i++) {
        const int32_t target = c->in[2].i[i];
        double most = -INFINITY, most_off = 0, total = 0, off_by = 0, away = 0, away_off = 0, squares = 0, squares_off = 0;
        logits(c, x + i * d, w, 3, z, slope);
        for (int64_t v = 0; v < words; v++)
            if (z[v].x > most) {
                most = z[v].x;
                most_off = z[v].e;
            }
        for (int64_t v = 0; v < words; v++) {
            number e = power(z[v], most);
            const double below = most - z[v].x;
            e.e += e.x * FADES * (EXP + U);
            total += e.x;
            off_by += e.e;
            away += e.x * below;
            away_off += e.e * below + (e.x + e.e) * (z[v].e + most_off + U * below);
            squares += e.x * e.x;
            squares_off += 2 * e.x * e.e + e.e * e.e;
        }
        off_by = off_by / total + many((double)words); /* relative */
        const double log_sum = log(total), lse_off = off_by + LOG * log_sum + 2 * U * (fabs(most) + log_sum);
        limit[0][i] = target < 0 ? 0 : lse_off + z[target].e + U * (fabs(z[target].x - most) + log_sum);
        limit[1][i] = off_by + LOG * log_sum + away_off / total + (many((double)words) + off_by + U) * away / total;
        limit[2][i] = squares_off / squares + many((double)words) + 2 * off_by +
                      (LOG + U) * (fabs(log(squares)) + 2 * log_sum);
        limit[3][i] = lse_off;
    }
}

/* g (1[target] - p) - g_entropy p (log p + entropy) + g_lss 2 p (p / e^lss - 1), times the slope */
static number derivative(const kase *c, int64_t i, int64_t v, number z, number slope)
{
    const double lse = (double)c->in[3].f[i], log_p = z.x - lse, log_e = z.e + U * fabs(log_p);
    const double scale = (double)c->attr.scale;
    const number p = power(z, lse);
    double x = 0, e = 0, size = 0; /* size: of the terms that are added */
    if (c->in[6].present && c->in[2].i[i] >= 0) {
        const double g = (double)c->in[6].f[i], one = v == c->in[2].i[i];
        x += g * (one - p.x);
        e += fabs(g) * p.e;
        size += fabs(g) * (one + p.x);
    }
    if (c->in[7].present) {
        const double g = (double)c->in[7].f[i], entropy = (double)c->in[4].f[i], y = log_p + entropy;
        x -= g * p.x * y;
        e += fabs(g) * (p.e * fabs(y) + (p.x + p.e) * (log_e + U * (fabs(log_p) + fabs(entropy))));
        size += fabs(g * p.x) * (fabs(log_p) + fabs(entropy));
    }
    if (c->in[8].present) {
        const double g = 2 * (double)c->in[8].f[i], lss = (double)c->in[5].f[i], y = p.x * exp(-lss);
        x += g * p.x * (y - 1);
        e += fabs(g) * (p.e * (y + 1) + (p.x + p.e) * (p.e * exp(-lss) + y * (EXP + U * fabs(lss))));
        size += fabs(g * p.x) * (y + 1);
    }
    e += 4 * U * size;
    return (number){x * slope.x * scale, fabs(scale) * (e * slope.x + (fabs(x) + e) * slope.e) + 2 * U * fabs(x * scale)};
}

void head_back_limits(suite *s, kase *c)
{
    const float *x = seen_by_device(s, &c->in[0]), *w = seen_by_device(s, &c->in[1]);
    const int64_t rows = c->in[0].rows, words = c->in[1].rows, d = c->in[0].cols;
    number *z = scratch(s, (size_t)words * sizeof *z), *slope = scratch(s, (size_t)words * sizeof *z);
    const bool narrowed = sail_dtype_is_quantised(c->in[1].t) && c->in[0].t == SAIL_BF16, dw = c->attr.want & SAIL_WANT_DW;
    const bool db = c->attr.want & SAIL_WANT_DB;
    const double rounding = of_left_side(c), dx_rounding = rounding + (narrowed ? 0x1p-8 : 0);
    double *limit[2] = {limits(s, c, 0, rows * d), limits(s, c, 1, words * d)}, *of_bias = limits(s, c, 2, words);
    const size_t w_size = (size_t)(words * d) * sizeof(sum), x_size = (size_t)d * sizeof(sum);
    sum *by_w = scratch(s, w_size), *by_x = scratch(s, x_size);
    sum *by_bias = scratch(s, (size_t)words * sizeof *by_bias);
    memset(by_w, 0, w_size);
    memset(by_bias, 0, (size_t)words * sizeof *by_bias);
    for (int64_t i = 0; i < rows; i++) {
        logits(c, x + i * d, w, 9, z, slope);
        memset(by_x, 0, x_size);
        for (int64_t v = 0; v < words; v++) {
            const number dz = derivative(c, i, v, z[v], slope[v]);
            add(&by_bias[v], dz, 1 / (double)c->attr.scale, rounding);
            for (int64_t j = 0; j < d; j++) {
                add(&by_x[j], dz, (double)w[v * d + j], dx_rounding);
                add(&by_w[v * d + j], dz, (double)x[i * d + j], rounding);
            }
        }
        for (int64_t j = 0; j < d; j++)
            limit[0][i * d + j] = off(&by_x[j]);
    }
    for (int64_t k = 0; k < words * d && dw; k++) {
        if (c->attr.accumulate) /* one more term, itself exact */
            add(&by_w[k], (number){(double)c->out[1].f[k], 0}, 1, 0);
        limit[1][k] = off(&by_w[k]);
    }
    for (int64_t v = 0; v < words && db; v++) {
        if (c->attr.accumulate)
            add(&by_bias[v], (number){(double)c->out[2].f[v], 0}, 1, 0);
        of_bias[v] = off(&by_bias[v]);
    }
}
