/* attention.c - attention over a forest of segments; the tables are described in sail/graph.h. */
#include <math.h>

#include "ref.h"

/* What one query row sees, in order: keys and their scores. */
typedef struct seen {
    int32_t *key;
    double *score, *slope; /* slope: d score / d (scale q.k), not 1 with a soft cap */
    int64_t n;
} seen;

typedef struct forest {
    const view *segments, *ranges, *tiles;
    float *k, *v; /* [K, G*h] */
    int64_t kv_cols;
} forest;

static sail_code check_forest(const work *w, const forest *f, int64_t queries, int64_t keys, sail_err *err)
{
    const char *op = sail_op_name(w->call->op);
    for (int64_t i = 0; i < f->segments->rows; i++) {
        const int64_t first = ref_id(f->segments, i, 5), n = ref_id(f->segments, i, 6);
        if (first < 0 || n < 0 || first + n > f->ranges->rows)
            return sail_fail(err, SAIL_E_ARG, "%s: segment %lld has ranges %lld..%lld of %lld", op, (long long)i,
                             (long long)first, (long long)(first + n), (long long)f->ranges->rows);
    }
    for (int64_t i = 0; i < f->ranges->rows; i++) {
        const int64_t first = ref_id(f->ranges, i, 0), n = ref_id(f->ranges, i, 1);
        if (first < 0 || n < 0 || first + n > keys)
            return sail_fail(err, SAIL_E_ARG, "%s: range %lld has keys %lld..%lld of %lld", op, (long long)i,
                             (long long)first, (long long)(first + n), (long long)keys);
    }
    int64_t covered = 0;
    for (int64_t i = 0; i < f->tiles->rows; i++) {
        const int64_t segment = ref_id(f->tiles, i, 0), first = ref_id(f->tiles, i, 1), n = ref_id(f->tiles, i, 2);
        if (segment < 0 || segment >= f->segments->rows || first < 0 || n < 1 || n > 64 || first + n > queries)
            return sail_fail(err, SAIL_E_ARG, "%s: tile %lld has segment %lld of %lld, rows %lld..%lld of %lld", op,
                             (long long)i, (long long)segment, (long long)f->segments->rows, (long long)first,
                             (long long)(first + n), (long long)queries);
        covered += n;
    }
    if (covered != queries)
        return sail_fail(err, SAIL_E_ARG, "%s: tiles hold %lld rows, not the %lld of the queries", op,
                         (long long)covered, (long long)queries);
    return SAIL_OK;
}

/* The keys of segment `segment` that a query at `position` sees, and its scores against them in group `group`. */
static void look(const work *w, const forest *f, int64_t segment, int64_t position, const float *q, int64_t group,
                 seen *s)
{
    const int64_t h = w->attr->head_dim, window = w->attr->window;
    const double cap = (double)w->attr->softcap;
    s->n = 0;
    const int64_t first = ref_id(f->segments, segment, 5), end = first + ref_id(f->segments, segment, 6);
    for (int64_t a = first; a < end; a++) {
        const int64_t row = ref_id(f->ranges, a, 0), n = ref_id(f->ranges, a, 1), at = ref_id(f->ranges, a, 2);
        for (int64_t i = 0; i < n; i++) {
            if (at + i > position || (window > 0 && at + i <= position - window))
                continue;
            const float *k = f->k + (row + i) * f->kv_cols + group * h;
            double x = 0, slope = 1;
            for (int64_t j = 0; j < h; j++)
                x += (double)q[j] * k[j];
            x *= (double)w->attr->scale;
            if (cap > 0) {
                const double t = tanh(x / cap);
                x = cap * t;
                slope = 1 - t * t;
            }
            s->key[s->n] = (int32_t)(row + i);
            s->score[s->n] = x;
            s->slope[s->n++] = slope;
        }
    }
}

static sail_code prepare(work *w, forest *f, seen *s, float **row, const view *q, const view *k, const view *v,
                         sail_err *err)
{
    SAIL_TRY(check_forest(w, f, q->rows, k->rows, err));
    int64_t most = 1; /* keys that one query may see; ranges of a segment do not overlap, but nothing rests on that */
    for (int64_t i = 0; i < f->segments->rows; i++) {
        int64_t n = 0;
        for (int64_t a = 0; a < ref_id(f->segments, i, 6); a++)
            n += ref_id(f->ranges, ref_id(f->segments, i, 5) + a, 1);
        most = n > most ? n : most;
    }
    f->kv_cols = k->cols;
    f->k = ref_scratch(w, 0, (size_t)(k->rows * k->cols), sizeof *f->k);
    f->v = ref_scratch(w, 1, (size_t)(v->rows * v->cols), sizeof *f->v);
    s->key = ref_scratch(w, 2, (size_t)most, sizeof *s->key);
    s->score = ref_scratch(w, 3, (size_t)most, 2 * sizeof *s->score);
    *row = ref_scratch(w, 4, (size_t)q->cols, 2 * sizeof **row + sizeof(double));
    if (!f->k || !f->v || !s->key || !s->score || !*row)
        return ref_no_memory(err);
    s->slope = s->score + most;
    for (int64_t i = 0; i < k->rows; i++) {
        ref_row(k, i, f->k + i * k->cols);
        ref_row(v, i, f->v + i * v->cols);
    }
    return SAIL_OK;
}

sail_code ref_attention(work *w, sail_err *err)
{
    const view *q = &w->in[0], *o = &w->out[0], *lse = &w->out[1];
    forest f = {.segments = &w->in[3], .ranges = &w->in[4], .tiles = &w->in[5]};
    const int64_t h = w->attr->head_dim, share = w->attr->heads / w->attr->kv_heads;
    seen s;
    float *row;
    SAIL_TRY(prepare(w, &f, &s, &row, q, &w->in[1], &w->in[2], err));
    double *sum = (double *)(void *)row; /* the row's memory is for 2 floats and a double a column */
    row = (float *)(void *)(sum + q->cols);
    for (int64_t b = 0; b < f.tiles->rows; b++)
        for (int64_t r = 0; r < ref_id(f.tiles, b, 2); r++) {
            const int64_t t = ref_id(f.tiles, b, 1) + r, position = ref_id(f.tiles, b, 3) + r;
            ref_row(q, t, row);
            for (int64_t head = 0; head < w->attr->heads; head++) {
                look(w, &f, ref_id(f.tiles, b, 0), position, row + head * h, head / share, &s);
                double max = -INFINITY, total = 0;
                for (int64_t i = 0; i < s.n; i++)
                    max = s.score[i] > max || isnan(s.score[i]) ? s.score[i] : max;
                memset(sum, 0, (size_t)h * sizeof *sum);
                for (int64_t i = 0; i < s.n; i++) {
                    const double e = exp(s.score[i] - max);
                    const float *v = f.v + s.key[i] * f.kv_cols + head / share * h;
                    total += e;
                    for (int64_t j = 0; j < h; j++)
                        sum[j] += e * v[j];
                }
                for (int64_t j = 0; j < h; j++)
                    ref_set(o, t, head * h + j, s.n ? sum[j] / total : 0);
                ref_set(lse, t, head, s.n ? max + log(total) : -INFINITY);
            }
        }
    return SAIL_OK;
}

/* p = exp(score - lse); dv += p do; ds = p (do.v - do.o) slope; dq += scale ds k; dk += scale ds q. */
sail_code ref_attention_back(work *w, sail_err *err)
{
    const view *dout = &w->in[0], *q = &w->in[1], *o = &w->in[4], *lse = &w->in[5], *dq = &w->out[0];
    forest f = {.segments = &w->in[6], .ranges = &w->in[7], .tiles = &w->in[8]};
    const int64_t h = w->attr->head_dim, share = w->attr->heads / w->attr->kv_heads, keys = w->in[2].rows;
    seen s;
    float *row;
    SAIL_TRY(prepare(w, &f, &s, &row, q, &w->in[2], &w->in[3], err));
    double *sum = (double *)(void *)row;
    row = (float *)(void *)(sum + q->cols);
    float *drow = row + q->cols;
    double *dk = ref_scratch(w, 5, (size_t)(keys * f.kv_cols), 2 * sizeof *dk);
    if (!dk)
        return ref_no_memory(err);
    double *dv = dk + keys * f.kv_cols;
    memset(dk, 0, (size_t)(keys * f.kv_cols) * 2 * sizeof *dk);
    for (int64_t b = 0; b < f.tiles->rows; b++)
        for (int64_t r = 0; r < ref_id(f.tiles, b, 2); r++) {
            const int64_t t = ref_id(f.tiles, b, 1) + r, position = ref_id(f.tiles, b, 3) + r;
            ref_row(q, t, row);
            ref_row(dout, t, drow);
            for (int64_t head = 0; head < w->attr->heads; head++) {
                look(w, &f, ref_id(f.tiles, b, 0), position, row + head * h, head / share, &s);
                double total = 0;
                for (int64_t j = 0; j < h; j++)
                    total += (double)drow[head * h + j] * ref_get(o, t, head * h + j);
                memset(sum, 0, (size_t)h * sizeof *sum);
                for (int64_t i = 0; i < s.n; i++) {
                    const int64_t at = s.key[i] * f.kv_cols + head / share * h;
                    const double p = exp(s.score[i] - ref_get(lse, t, head));
                    double dp = 0;
                    for (int64_t j = 0; j < h; j++)
                        dp += (double)drow[head * h + j] * f.v[at + j];
                    const double ds = p * (dp - total) * s.slope[i] * (double)w->attr->scale;
                    for (int64_t j = 0; j < h; j++) {
                        sum[j] += ds * f.k[at + j];
                        dk[at + j] += ds * row[head * h + j];
                        dv[at + j] += p * drow[head * h + j];
                    }
                }
                for (int64_t j = 0; j < h; j++)
                    ref_set(dq, t, head * h + j, sum[j]);
            }
        }
    for (int64_t i = 0; i < keys; i++)
        for (int64_t j = 0; j < f.kv_cols; j++) {
            ref_set(&w->out[1], i, j, dk[i * f.kv_cols + j]);
            ref_set(&w->out[2], i, j, dv[i * f.kv_cols + j]);
        }
    return SAIL_OK;
}
