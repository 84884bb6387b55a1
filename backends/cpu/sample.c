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

enum { RUN = 256 }; /* logits whose exponentials are summed in float32; the runs' sums in double */

/* The largest logit's index (the lowest among equals), and the first that is not a number (-1: none). */
static int64_t largest(const float *x, int64_t n, int64_t *nan)
{
    vf top = vset(-INFINITY), odd = vzero();
    float most = -INFINITY, rest = 0;
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf v = vload(x + i);
        top = vmax(top, v);
        odd += vselect_less(v, vset(INFINITY), vzero(), v - v); /* NaN from a NaN, or from inf */
    }
    for (; i < n; i++) {
        most = x[i] > most ? x[i] : most;
        rest += isnan(x[i]) ? x[i] : 0;
    }
    *nan = -1;
    if (isnan(vsum(odd)) || isnan(rest))
        for (int64_t k = 0; k < n && *nan < 0; k++)
            *nan = isnan(x[k]) ? k : -1;
    most = vlargest(top) > most ? vlargest(top) : most;
    for (i = 0; i < n - 1 && x[i] != most; i++)
        ;
    return i;
}

/* Sum of e^(scale (x - max)) over n <= RUN logits. */
static double run_sum(const float *x, int64_t n, float max, float scale)
{
    vf sum = vzero();
    for (int64_t k = 0; k < n; k += VL) {
        int count = vcount(n - k);
        float pad[VL];
        if (count < VL) {
            vstore(pad, vset(-INFINITY));
            memcpy(pad, x + k, (size_t)count * sizeof *x);
        }
        sum += vexp((vload(count < VL ? pad : x + k) - vset(max)) * vset(scale));
    }
    return (double)vsum(sum);
}

/* Sum over all; runs[i] (may be NULL) the sum of run i. */
static double total_of(const float *x, int64_t n, float max, float scale, double *runs)
{
    double total = 0;
    for (int64_t i = 0; i < n; i += RUN) {
        double sum = run_sum(x + i, n - i < RUN ? n - i : RUN, max, scale);
        total += sum;
        if (runs)
            runs[i / RUN] = sum;
    }
    return total;
}

/* Without filters: the token at which the running sum passes u, found by runs first; its log-probability. */
static int64_t draw_unfiltered(const float *x, int64_t n, float max, double temperature, double u, double *runs, double *logp)
{
    double total = total_of(x, n, max, (float)(1 / temperature), runs), left = u * total;
    int64_t run = 0, last = -1;
    while (run < (n - 1) / RUN && left >= runs[run])
        left -= runs[run++];
    for (; run >= 0 && last < 0; run--, left = INFINITY) { /* from a run of nothing: the last token before it */
        double sum = 0;
        for (int64_t i = run * RUN; i < n && i < (run + 1) * RUN && sum <= left; i++) {
            double p = exp(((double)x[i] - (double)max) / temperature);
            sum += p;
            last = p > 0 ? i : last;
        }
    }
    *logp = ((double)x[last] - (double)max) / temperature - log(total);
    return last;
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
    float cap = c->attr.softcap;
    if (cap > 0) {
        float *capped = (float *)(void *)((char *)order + cpu_round((size_t)n * sizeof *order));
        for (int64_t i = 0; i < n; i++)
            capped[i] = (float)((double)cap * tanh((double)logits[i] / (double)cap));
        logits = capped;
    }
    int64_t best = largest(logits, n, &nan), id = best;
    float max = logits[best];
    *bad = nan >= 0 ? nan : isfinite(max) ? FINE : NOT_FINITE;
    if (*bad != FINE)
        return;
    double temperature = (double)f[SAIL_SAMPLE_TEMPERATURE], logp = 0;
    double u = sail_rng_uniform(join(keys, row, 0), SAIL_RNG_TOKEN, join(keys, row, 2), (uint32_t)cpu_id(keys, row, 4),
                                (uint32_t)cpu_id(keys, row, 5));
    bool penalised = history && f[SAIL_SAMPLE_PENALTY] > 0 && f[SAIL_SAMPLE_PENALTY] != 1;
    bool unfiltered = f[SAIL_SAMPLE_TOP_K] <= 0 && f[SAIL_SAMPLE_TOP_P] >= 1 && f[SAIL_SAMPLE_MIN_P] <= 0 &&
                      (f[SAIL_SAMPLE_TYPICAL] <= 0 || f[SAIL_SAMPLE_TYPICAL] >= 1);
    if (!penalised && temperature > 0 && unfiltered) {
        id = draw_unfiltered(logits, n, max, temperature, u, p, &logp);
    } else if (penalised || temperature > 0) {
        sail_filter_params filter = {.temperature = temperature, .top_k = (int64_t)f[SAIL_SAMPLE_TOP_K],
                                     .top_p = (double)f[SAIL_SAMPLE_TOP_P], .min_p = (double)f[SAIL_SAMPLE_MIN_P],
                                     .typical = (double)f[SAIL_SAMPLE_TYPICAL], .penalty = (double)f[SAIL_SAMPLE_PENALTY]};
        for (int64_t i = 0; i < n; i++)
            p[i] = (double)logits[i];
        if (sail_filter(p, n, &filter, history ? (const int32_t *)cpu_row(history, row) : NULL, history ? history->cols : 0,
                        order) < 1) {
            *bad = NOT_FINITE;
            return;
        }
        id = sail_filter_draw(p, n, u);
        logp = log(p[id]);
    }
    double total = total_of(logits, n, max, 1, NULL);
    *(int32_t *)cpu_row(&c->out[0], row) = (int32_t)id;
    *(float *)cpu_row(&c->out[1], row) = (float)((double)logits[id] - (double)max - log(total));
    *(float *)cpu_row(&c->out[2], row) = (float)logp;
}

sail_code K(sample)(sail_device *d, const sail_call *c, sail_err *err)
{
    int64_t rows = c->in[0].rows, n = c->in[0].cols;
    SAIL_TRY(cpu_scratch(d, (size_t)rows * sizeof(int64_t),
                         cpu_round((size_t)n * sizeof(double)) + 2 * cpu_round((size_t)n * sizeof(int32_t)), err));
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
