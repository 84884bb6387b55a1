/* matmul.c - matrix products, bias gradients and embeddings. */
#include "ref.h"

static double dot(const float *a, const float *b, int64_t n)
{
    double s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        s0 += (double)a[i] * b[i];
        s1 += (double)a[i + 1] * b[i + 1];
        s2 += (double)a[i + 2] * b[i + 2];
        s3 += (double)a[i + 3] * b[i + 3];
    }
    for (; i < n; i++)
        s0 += (double)a[i] * b[i];
    return (s0 + s1) + (s2 + s3);
}

/* y[i,j] = scale * sum + bias + residual (+ y) */
static void finish(work *w, int64_t i, int64_t j, double sum)
{
    const view *y = &w->out[0];
    double v = (double)w->attr->scale * sum;
    if (w->in[2].p)
        v += ref_get(&w->in[2], 0, j);
    if (w->in[3].p)
        v += ref_get(&w->in[3], i, j);
    if (w->attr->accumulate)
        v += ref_get(y, i, j);
    ref_set(y, i, j, v);
}

sail_code ref_matmul(work *w, sail_err *err)
{
    const view *a = &w->in[0], *b = &w->in[1], *y = &w->out[0];
    const int64_t m = y->rows, n = y->cols, k = w->attr->trans_a ? a->rows : a->cols;
    const int64_t longest = k > n ? k : n;
    float *left = ref_scratch(w, 0, (size_t)(m * k), sizeof *left); /* op(a), packed */
    float *row = ref_scratch(w, 1, (size_t)(longest > m ? longest : m), sizeof *row);
    if (!left || !row)
        return ref_no_memory(err);
    for (int64_t i = 0; i < a->rows; i++) {
        if (!w->attr->trans_a) {
            ref_row(a, i, left + i * k);
            continue;
        }
        ref_row(a, i, row);
        for (int64_t j = 0; j < m; j++)
            left[j * k + i] = row[j];
    }
    if (w->attr->trans_b) { /* a row of b is a column of the product */
        for (int64_t j = 0; j < n; j++) {
            ref_row(b, j, row);
            for (int64_t i = 0; i < m; i++)
                finish(w, i, j, dot(left + i * k, row, k));
        }
        return SAIL_OK;
    }
    double *sum = ref_scratch(w, 2, (size_t)(m * n), sizeof *sum);
    if (!sum)
        return ref_no_memory(err);
    memset(sum, 0, (size_t)(m * n) * sizeof *sum);
    for (int64_t p = 0; p < k; p++) {
        ref_row(b, p, row);
        for (int64_t i = 0; i < m; i++) {
            const double x = left[i * k + p];
            double *s = sum + i * n;
            for (int64_t j = 0; j < n; j++)
                s[j] += x * row[j];
        }
    }
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            finish(w, i, j, sum[i * n + j]);
    return SAIL_OK;
}

sail_code ref_bias_grad(work *w, sail_err *err)
{
    const view *dy = &w->in[0], *db = &w->out[0];
    for (int64_t j = 0; j < dy->cols; j++) {
        double sum = w->attr->accumulate ? ref_get(db, 0, j) : 0;
        for (int64_t i = 0; i < dy->rows; i++)
            sum += ref_get(dy, i, j);
        ref_set(db, 0, j, sum);
    }
    return SAIL_OK;
}

sail_code ref_embed(work *w, sail_err *err)
{
    const view *table = &w->in[0], *ids = &w->in[1], *y = &w->out[0];
    SAIL_TRY(ref_check_ids(w, 1, 0, table->rows, err));
    float *row = ref_scratch(w, 0, (size_t)table->cols, sizeof *row);
    if (!row)
        return ref_no_memory(err);
    for (int64_t i = 0; i < y->rows; i++) {
        ref_row(table, ref_id(ids, i, 0), row);
        for (int64_t j = 0; j < y->cols; j++)
            ref_set(y, i, j, (double)w->attr->scale * row[j]);
    }
    return SAIL_OK;
}

/* The table's rows are summed in double over their occurrences and rounded once. */
sail_code ref_embed_grad(work *w, sail_err *err)
{
    const view *dy = &w->in[0], *ids = &w->in[1], *dt = &w->out[0];
    SAIL_TRY(ref_check_ids(w, 1, 0, dt->rows, err));
    double *sum = ref_scratch(w, 0, (size_t)dt->cols, sizeof *sum);
    unsigned char *done = ref_scratch(w, 1, (size_t)dt->rows, 1);
    if (!sum || !done)
        return ref_no_memory(err);
    memset(done, 0, (size_t)dt->rows);
    if (!w->attr->accumulate)
        for (int64_t i = 0; i < dt->rows; i++)
            for (int64_t j = 0; j < dt->cols; j++)
                ref_set(dt, i, j, 0);
    for (int64_t first = 0; first < dy->rows; first++) {
        const int32_t id = ref_id(ids, first, 0);
        if (done[id])
            continue;
        done[id] = 1;
        memset(sum, 0, (size_t)dt->cols * sizeof *sum);
        for (int64_t i = first; i < dy->rows; i++)
            if (ref_id(ids, i, 0) == id)
                for (int64_t j = 0; j < dt->cols; j++)
                    sum[j] += ref_get(dy, i, j);
        for (int64_t j = 0; j < dt->cols; j++)
            ref_set(dt, id, j, ref_get(dt, id, j) + (double)w->attr->scale * sum[j]);
    }
    return SAIL_OK;
}
