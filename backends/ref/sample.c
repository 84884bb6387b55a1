/* sample.c - drawing one token for each sequence. */
#include <math.h>

#include <sail/rng.h>
#include <sail/sampler.h>

#include "ref.h"

static uint64_t join(const view *keys, int64_t i, int64_t at)
{
    return (uint32_t)ref_id(keys, i, at) | (uint64_t)(uint32_t)ref_id(keys, i, at + 1) << 32;
}

static double logit(const view *logits, int64_t i, int64_t v, double cap)
{
    const double z = ref_get(logits, i, v);
    return cap > 0 ? cap * tanh(z / cap) : z;
}

sail_code ref_sample(work *w, sail_err *err)
{
    const view *logits = &w->in[0], *params = &w->in[1], *keys = &w->in[2], *history = &w->in[3];
    const int64_t n = logits->cols;
    const double cap = w->attr->softcap;
    double *p = ref_scratch(w, 0, (size_t)n, sizeof *p);
    int32_t *order = ref_scratch(w, 1, (size_t)n, sizeof *order);
    int32_t *ids = ref_scratch(w, 2, history->p ? (size_t)history->cols : 1, sizeof *ids);
    if (!p || !order || !ids)
        return ref_no_memory(err);
    for (int64_t i = 0; i < logits->rows; i++) {
        double max = -INFINITY, total = 0;
        for (int64_t v = 0; v < n; v++) {
            p[v] = logit(logits, i, v, cap);
            if (isnan(p[v]))
                return sail_fail(err, SAIL_E_NUMERIC, "sample: the logit of token %lld in row %lld is not a number",
                                 (long long)v, (long long)i);
            max = p[v] > max ? p[v] : max;
        }
        for (int64_t v = 0; v < n; v++)
            total += exp(p[v] - max);
        for (int64_t l = 0; history->p && l < history->cols; l++)
            ids[l] = ref_id(history, i, l);
        const sail_filter_params f = {.temperature = ref_get(params, i, SAIL_SAMPLE_TEMPERATURE),
                                      .top_k = (int64_t)ref_get(params, i, SAIL_SAMPLE_TOP_K),
                                      .top_p = ref_get(params, i, SAIL_SAMPLE_TOP_P),
                                      .min_p = ref_get(params, i, SAIL_SAMPLE_MIN_P),
                                      .typical = ref_get(params, i, SAIL_SAMPLE_TYPICAL),
                                      .penalty = ref_get(params, i, SAIL_SAMPLE_PENALTY)};
        if (sail_filter(p, n, &f, ids, history->p ? history->cols : 0, order) < 1)
            return sail_fail(err, SAIL_E_NUMERIC, "sample: row %lld has no finite logit", (long long)i);
        const double u = sail_rng_uniform(join(keys, i, 0), SAIL_RNG_TOKEN, join(keys, i, 2),
                                          (uint32_t)ref_id(keys, i, 4), (uint32_t)ref_id(keys, i, 5));
        const int64_t id = sail_filter_draw(p, n, u);
        ref_set(&w->out[0], i, 0, (double)id);
        ref_set(&w->out[1], i, 0, logit(logits, i, id, cap) - max - log(total));
        ref_set(&w->out[2], i, 0, log(p[id]));
    }
    return SAIL_OK;
}
