/* elementwise.c - ops that treat each element, pair of elements or row by itself. Outputs may be the operands' own views:
 * everything that an output element needs is read before it is written. */
#include <math.h>

#include <sail/rng.h>

#include "ref.h"

sail_code ref_add(work *w, sail_err *err)
{
    const view *y = &w->out[0];
    for (int64_t i = 0; i < y->rows; i++)
        for (int64_t j = 0; j < y->cols; j++)
            ref_set(y, i, j, ref_get(&w->in[0], i, j) + ref_get(&w->in[1], i, j));
    return SAIL_OK;
}

static sail_code times(work *w, double factor)
{
    const view *y = &w->out[0];
    for (int64_t i = 0; i < y->rows; i++)
        for (int64_t j = 0; j < y->cols; j++)
            ref_set(y, i, j, factor * ref_get(&w->in[0], i, j));
    return SAIL_OK;
}

sail_code ref_scale(work *w, sail_err *err)
{
    return times(w, (double)w->attr->scale);
}

sail_code ref_cast(work *w, sail_err *err)
{
    return times(w, 1);
}

sail_code ref_fill(work *w, sail_err *err)
{
    const view *y = &w->out[0];
    for (int64_t i = 0; i < y->rows; i++)
        for (int64_t j = 0; j < y->cols; j++)
            ref_set(y, i, j, (double)w->attr->scale);
    return SAIL_OK;
}

sail_code ref_rope(work *w, sail_err *err)
{
    const view *x = &w->in[0], *position = &w->in[1], *table = &w->in[2], *y = &w->out[0];
    const int64_t h = w->attr->head_dim, turning = w->attr->rotary, half = turning / 2;
    SAIL_TRY(ref_check_ids(w, 1, 0, table->rows, err));
    for (int64_t i = 0; i < x->rows; i++) {
        const int32_t p = ref_id(position, i, 0);
        for (int64_t head = 0; head < x->cols; head += h) {
            for (int64_t j = 0; j < half; j++) {
                const double c = ref_get(table, p, j);
                const double s = w->attr->inverse ? -ref_get(table, p, half + j) : ref_get(table, p, half + j);
                const double a = ref_get(x, i, head + j), b = ref_get(x, i, head + half + j);
                ref_set(y, i, head + j, a * c - b * s);
                ref_set(y, i, head + half + j, b * c + a * s);
            }
            for (int64_t j = turning; j < h; j++)
                ref_set(y, i, head + j, ref_get(x, i, head + j));
        }
    }
    return SAIL_OK;
}

static const double root_half = 0.70710678118654752440, root_two_over_pi = 0.79788456080286535588;

/* act(x) and its derivative */
static double activate(int32_t activation, double x, double *slope)
{
    switch ((sail_activation)activation) {
    case SAIL_ACT_SILU: {
        const double s = 1 / (1 + exp(-x));
        *slope = s * (1 + x * (1 - s));
        return x * s;
    }
    case SAIL_ACT_GELU: {
        const double cdf = 0.5 * erfc(-x * root_half);
        *slope = cdf + x * 0.5 * root_two_over_pi * exp(-0.5 * x * x);
        return x * cdf;
    }
    case SAIL_ACT_GELU_TANH: {
        const double t = tanh(root_two_over_pi * (x + 0.044715 * x * x * x));
        *slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * root_two_over_pi * (1 + 3 * 0.044715 * x * x);
        return 0.5 * x * (1 + t);
    }
    case SAIL_ACT_RELU:
    default: *slope = x > 0; return x > 0 ? x : x < 0 ? 0 : x; /* NaN stays */
    }
}

sail_code ref_glu(work *w, sail_err *err)
{
    const view *y = &w->out[0];
    double slope;
    for (int64_t i = 0; i < y->rows; i++)
        for (int64_t j = 0; j < y->cols; j++)
            ref_set(y, i, j,
                    activate(w->attr->activation, ref_get(&w->in[0], i, j), &slope) * ref_get(&w->in[1], i, j));
    return SAIL_OK;
}

sail_code ref_glu_back(work *w, sail_err *err)
{
    const view *dgate = &w->out[0], *dup = &w->out[1];
    for (int64_t i = 0; i < dgate->rows; i++)
        for (int64_t j = 0; j < dgate->cols; j++) {
            const double dy = ref_get(&w->in[0], i, j), up = ref_get(&w->in[2], i, j);
            double slope;
            const double a = activate(w->attr->activation, ref_get(&w->in[1], i, j), &slope);
            ref_set(dgate, i, j, dy * up * slope);
            ref_set(dup, i, j, dy * a);
        }
    return SAIL_OK;
}

sail_code ref_act(work *w, sail_err *err)
{
    const view *y = &w->out[0];
    double slope;
    for (int64_t i = 0; i < y->rows; i++)
        for (int64_t j = 0; j < y->cols; j++)
            ref_set(y, i, j, activate(w->attr->activation, ref_get(&w->in[0], i, j), &slope));
    return SAIL_OK;
}

sail_code ref_act_back(work *w, sail_err *err)
{
    const view *dx = &w->out[0];
    for (int64_t i = 0; i < dx->rows; i++)
        for (int64_t j = 0; j < dx->cols; j++) {
            const double dy = ref_get(&w->in[0], i, j);
            double slope;
            activate(w->attr->activation, ref_get(&w->in[1], i, j), &slope);
            ref_set(dx, i, j, dy * slope);
        }
    return SAIL_OK;
}

sail_code ref_dropout(work *w, sail_err *err)
{
    const view *x = &w->in[0], *keys = &w->in[1], *y = &w->out[0];
    const double p = (double)w->attr->p, least = floor(p * 4294967296.0);
    for (int64_t i = 0; i < x->rows; i++) {
        const uint64_t key = (uint32_t)ref_id(keys, i, 0) | (uint64_t)(uint32_t)ref_id(keys, i, 1) << 32;
        uint32_t words[4] = {0};
        for (int64_t j = 0; j < x->cols; j++) {
            if (j % 4 == 0)
                sail_rng_words(w->attr->seed, SAIL_RNG_DROPOUT, key, (uint64_t)w->attr->layer, (uint64_t)j / 4, words);
            ref_set(y, i, j, (double)words[j % 4] >= least ? ref_get(x, i, j) / (1 - p) : 0);
        }
    }
    return SAIL_OK;
}

sail_code ref_gather_rows(work *w, sail_err *err)
{
    const view *x = &w->in[0], *index = &w->in[1], *y = &w->out[0];
    SAIL_TRY(ref_check_ids(w, 1, 0, x->rows, err));
    for (int64_t i = 0; i < y->rows; i++)
        for (int64_t j = 0; j < y->cols; j++)
            ref_set(y, i, j, ref_get(x, ref_id(index, i, 0), j));
    return SAIL_OK;
}

sail_code ref_scatter_rows(work *w, sail_err *err)
{
    const view *dy = &w->in[0], *index = &w->in[1], *dx = &w->out[0];
    SAIL_TRY(ref_check_ids(w, 1, 0, dx->rows, err));
    double *sum = ref_scratch(w, 0, (size_t)(dx->rows * dx->cols), sizeof *sum);
    if (!sum)
        return ref_no_memory(err);
    memset(sum, 0, (size_t)(dx->rows * dx->cols) * sizeof *sum);
    for (int64_t i = 0; i < dy->rows; i++)
        for (int64_t j = 0; j < dy->cols; j++)
            sum[ref_id(index, i, 0) * dx->cols + j] += ref_get(dy, i, j);
    for (int64_t i = 0; i < dx->rows; i++)
        for (int64_t j = 0; j < dx->cols; j++)
            ref_set(dx, i, j, sum[i * dx->cols + j]);
    return SAIL_OK;
}

sail_code ref_copy_rows(work *w, sail_err *err)
{
    const view *x = &w->in[0], *index = &w->in[1], *cache = &w->out[0];
    SAIL_TRY(ref_check_ids(w, 1, 0, cache->rows, err));
    for (int64_t i = 0; i < x->rows; i++)
        for (int64_t j = 0; j < x->cols; j++)
            ref_set(cache, ref_id(index, i, 0), j, ref_get(x, i, j));
    return SAIL_OK;
}
