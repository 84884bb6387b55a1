/* norm.c - root mean square normalisation, and layer normalisation. Of the former a row is cut into `groups` equal parts (heads), each normalised by itself
 * with the same weights. */
#include <math.h>

#include "ref.h"

sail_code ref_rms_norm(work *w, sail_err *err)
{
    const view *x = &w->in[0], *weight = &w->in[1], *y = &w->out[0], *rstd = &w->out[1];
    const int64_t n = weight->cols;
    for (int64_t i = 0; i < x->rows; i++)
        for (int64_t g = 0; g < rstd->cols; g++) {
            double sum = 0;
            for (int64_t j = 0; j < n; j++) {
                const double v = ref_get(x, i, g * n + j);
                sum += v * v;
            }
            const double r = 1 / sqrt(sum / (double)n + (double)w->attr->eps);
            for (int64_t j = 0; j < n; j++)
                ref_set(y, i, g * n + j,
                        ref_get(x, i, g * n + j) * r * (ref_get(weight, 0, j) + (double)w->attr->weight_plus));
            ref_set(rstd, i, g, r);
        }
    return SAIL_OK;
}

/* With u = dy (w + plus) and the normalised row z = x rstd: dx = rstd (u - z mean(u z)). */
sail_code ref_rms_norm_back(work *w, sail_err *err)
{
    const view *dy = &w->in[0], *x = &w->in[1], *weight = &w->in[2], *rstd = &w->in[3], *residual = &w->in[4];
    const view *dx = &w->out[0];
    const int64_t n = weight->cols;
    for (int64_t i = 0; i < x->rows; i++)
        for (int64_t g = 0; g < rstd->cols; g++) {
            const double r = ref_get(rstd, i, g), plus = (double)w->attr->weight_plus;
            double mean = 0;
            for (int64_t j = 0; j < n; j++)
                mean += ref_get(dy, i, g * n + j) * (ref_get(weight, 0, j) + plus) * ref_get(x, i, g * n + j) * r;
            mean /= (double)n;
            for (int64_t j = 0; j < n; j++) {
                const double u = ref_get(dy, i, g * n + j) * (ref_get(weight, 0, j) + plus);
                double v = r * (u - ref_get(x, i, g * n + j) * r * mean);
                if (residual->p)
                    v += ref_get(residual, i, g * n + j);
                ref_set(dx, i, g * n + j, v);
            }
        }
    return SAIL_OK;
}

sail_code ref_rms_norm_wgrad(work *w, sail_err *err)
{
    const view *dy = &w->in[0], *x = &w->in[1], *rstd = &w->in[2], *dw = &w->out[0];
    const int64_t n = dw->cols;
    for (int64_t j = 0; j < n; j++) {
        double sum = w->attr->accumulate ? ref_get(dw, 0, j) : 0;
        for (int64_t i = 0; i < x->rows; i++)
            for (int64_t g = 0; g < rstd->cols; g++)
                sum += ref_get(dy, i, g * n + j) * ref_get(x, i, g * n + j) * ref_get(rstd, i, g);
        ref_set(dw, 0, j, sum);
    }
    return SAIL_OK;
}

sail_code ref_layer_norm(work *w, sail_err *err)
{
    const view *x = &w->in[0], *weight = &w->in[1], *bias = &w->in[2], *y = &w->out[0], *stats = &w->out[1];
    const double n = (double)x->cols;
    for (int64_t i = 0; i < x->rows; i++) {
        double mean = 0, squares = 0;
        for (int64_t j = 0; j < x->cols; j++)
            mean += ref_get(x, i, j);
        mean /= n;
        for (int64_t j = 0; j < x->cols; j++) {
            const double v = ref_get(x, i, j) - mean;
            squares += v * v;
        }
        const double r = 1 / sqrt(squares / n + (double)w->attr->eps);
        for (int64_t j = 0; j < x->cols; j++)
            ref_set(y, i, j, (ref_get(x, i, j) - mean) * r * ref_get(weight, 0, j) + ref_get(bias, 0, j));
        ref_set(stats, i, 0, mean);
        ref_set(stats, i, 1, r);
    }
    return SAIL_OK;
}

/* With u = dy w and the normalised row z = (x - mean) rstd: dx = rstd (u - mean(u) - z mean(u z)). */
sail_code ref_layer_norm_back(work *w, sail_err *err)
{
    const view *dy = &w->in[0], *x = &w->in[1], *weight = &w->in[2], *stats = &w->in[3], *residual = &w->in[4];
    const view *dx = &w->out[0];
    const double n = (double)x->cols;
    for (int64_t i = 0; i < x->rows; i++) {
        const double mean = ref_get(stats, i, 0), r = ref_get(stats, i, 1);
        double u_mean = 0, uz_mean = 0;
        for (int64_t j = 0; j < x->cols; j++) {
            const double u = ref_get(dy, i, j) * ref_get(weight, 0, j);
            u_mean += u / n;
            uz_mean += u * (ref_get(x, i, j) - mean) * r / n;
        }
        for (int64_t j = 0; j < x->cols; j++) {
            const double z = (ref_get(x, i, j) - mean) * r;
            double v = r * (ref_get(dy, i, j) * ref_get(weight, 0, j) - u_mean - z * uz_mean);
            if (residual->p)
                v += ref_get(residual, i, j);
            ref_set(dx, i, j, v);
        }
    }
    return SAIL_OK;
}

sail_code ref_layer_norm_wgrad(work *w, sail_err *err)
{
    const view *dy = &w->in[0], *x = &w->in[1], *stats = &w->in[2], *dw = &w->out[0];
    for (int64_t j = 0; j < x->cols; j++) {
        double sum = w->attr->accumulate ? ref_get(dw, 0, j) : 0;
        for (int64_t i = 0; i < x->rows; i++)
            sum += ref_get(dy, i, j) * (ref_get(x, i, j) - ref_get(stats, i, 0)) * ref_get(stats, i, 1);
        ref_set(dw, 0, j, sum);
    }
    return SAIL_OK;
}
