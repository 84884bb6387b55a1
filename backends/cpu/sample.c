/* sample.c - SAMPLE: a task draws one sequence's token, in double, with the filters of sail/sampler.h. */
#include <math.h>

#include "kernels.h"
#include "sail/rng.h"
#include "sail/sampler.h"

struct job {
    const sail_device *d;
    const sail_call *c;
};

/* What is wrong with a row: in shared scratch, one for each. */
enum { FINE = -2, NOT_FINITE = -1 }; /* or the token whose logit is not a number */

static uint64_t join(const sail_tensor *keys, int64_t row, int64_t col)
{
    return (uint32_t)cpu_id(keys, row, col) | (uint64_t)(uint32_t)cpu_id(keys, row, col + 1) << 32;
}

/* Sum of e^(x - max), the largest logit, and the first that is not a number (-1: none). */
static double total_of(const float *x, int64_t n, double *p, float *max, int64_t *nan)
{
    float most = -INFINITY;
    double total = 0;
    *nan = -1;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(x[i]) && *nan < 0)
            *nan = i;
        p[i] = (double)x[i];
        most = x[i] > most ? x[i] : most;
    }
    for (int64_t i = 0; i < n; i += 16 * VL) { /* short runs in float32 */
        vf run = vzero();
        for (int64_t k = i; k < n && k < i + 16 * VL; k += VL) {
            int count = vcount(n - k);
            float pad[VL];
            vstore(pad, vset(-INFINITY));
            memcpy(pad, x + k, (size_t)count * sizeof *x);
            run += vexp(vload(pad) - vset(most));
        }
        total += (double)vsum(run);
    }
    *max = most;
    return total;
}

/* The same for logits that are capped. */
static double capped_total_of(const float *x, int64_t n, float cap, double *p, float *max, int64_t *nan)
{
    double most = -INFINITY, total = 0;
    *nan = -1;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(x[i]) && *nan < 0)
            *nan = i;
        p[i] = (double)cap * tanh((double)x[i] / (double)cap);
        most = p[i] > most ? p[i] : most;
    }
    *max = (float)most;
    for (int64_t i = 0; i < n; i++)
        total += exp(p[i] - (double)*max);
    return total;
}

static void draw(void *arg, size_t task, int thread)
{
    struct job *j = arg;
    const sail_call *c = j->c;
    const sail_tensor *params = &c->in[1], *keys = &c->in[2], *history = c->n_in > 3 && c->in[3].buffer ? &c->in[3] : NULL;
    int64_t row = (int64_t)task, n = c->in[0].cols, nan;
    int64_t *bad = (int64_t *)(void *)j->d->shared + row;
    double *p = cpu_each(j->d, thread);
    int32_t *order = (int32_t *)(void *)((char *)p + cpu_round((size_t)n * sizeof *p));
    const float *logits = cpu_row(&c->in[0], row), *f = cpu_row(params, row);
    float max, cap = c->attr.softcap;
    double total = cap > 0 ? capped_total_of(logits, n, cap, p, &max, &nan) : total_of(logits, n, p, &max, &nan);
    *bad = nan >= 0 ? nan : FINE;
    if (nan >= 0)
        return;
    sail_filter_params filter = {.temperature = (double)f[SAIL_SAMPLE_TEMPERATURE], .top_k = (int64_t)f[SAIL_SAMPLE_TOP_K],
                                 .top_p = (double)f[SAIL_SAMPLE_TOP_P], .min_p = (double)f[SAIL_SAMPLE_MIN_P],
                                 .typical = (double)f[SAIL_SAMPLE_TYPICAL], .penalty = (double)f[SAIL_SAMPLE_PENALTY]};
    const int32_t *ids = history ? (const int32_t *)cpu_row(history, row) : NULL;
    if (sail_filter(p, n, &filter, ids, history ? history->cols : 0, order) < 1) {
        *bad = NOT_FINITE;
        return;
    }
    double u = sail_rng_uniform(join(keys, row, 0), SAIL_RNG_TOKEN, join(keys, row, 2), (uint32_t)cpu_id(keys, row, 4),
                                (uint32_t)cpu_id(keys, row, 5));
    int64_t id = sail_filter_draw(p, n, u);
    *(int32_t *)cpu_row(&c->out[0], row) = (int32_t)id;
    double z = cap > 0 ? (double)cap * tanh((double)logits[id] / (double)cap) : (double)logits[id];
    *(float *)cpu_row(&c->out[1], row) = (float)(z - (double)max - log(total));
    *(float *)cpu_row(&c->out[2], row) = (float)log(p[id]);
}

sail_code K(sample)(sail_device *d, const sail_call *c, sail_err *err)
{
    int64_t rows = c->in[0].rows, n = c->in[0].cols;
    SAIL_TRY(cpu_scratch(d, (size_t)rows * sizeof(int64_t),
                         cpu_round((size_t)n * sizeof(double)) + (size_t)n * sizeof(int32_t), err));
    struct job j = {.d = d, .c = c};
    sail_pool_run(d->pool, (size_t)rows, draw, &j);
    const int64_t *bad = (const int64_t *)(const void *)d->shared;
    for (int64_t i = 0; i < rows; i++)
        if (bad[i] >= 0)
            return sail_fail(err, SAIL_E_NUMERIC, "sample: the logit of token %lld in row %lld is not a number",
                             (long long)bad[i], (long long)i);
        else if (bad[i] == NOT_FINITE)
            return sail_fail(err, SAIL_E_NUMERIC, "sample: row %lld has no finite logit", (long long)i);
    return SAIL_OK;
}
