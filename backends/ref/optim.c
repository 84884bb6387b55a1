/* optim.c - the norm of the gradient, the guard, and the updates; sail/optimizer.h states them. */
#include <math.h>

#include <sail/optimizer.h>

#include "ref.h"

static double control(const view *c, int i)
{
    return ref_get(c, 0, i);
}

sail_code ref_sum_squares(work *w, sail_err *err)
{
    const view *x = &w->in[0], *total = &w->out[0];
    double sum = w->attr->accumulate ? ref_get(total, 0, 0) : 0;
    for (int64_t first = 0; first < x->cols; first += 65536) {
        double block = 0;
        for (int64_t i = first; i < x->cols && i < first + 65536; i++)
            block += ref_get(x, 0, i) * ref_get(x, 0, i);
        sum += block;
    }
    ref_set(total, 0, 0, sum);
    return SAIL_OK;
}

sail_code ref_clip(work *w, sail_err *err)
{
    const view *c = &w->out[0];
    const double times = control(c, SAIL_CONTROL_MULTIPLIER), most = control(c, SAIL_CONTROL_MAX_NORM);
    const double norm = (double)(float)(sqrt(ref_get(&w->in[0], 0, 0)) * fabs(times));
    const bool skip = !isfinite(norm) || !isfinite(control(c, SAIL_CONTROL_LOSS)) ||
                      control(c, SAIL_CONTROL_HOST_SKIP) != 0;
    double clip = times;
    if (!skip && most > 0 && most < norm + 1e-6)
        clip *= most / (norm + 1e-6);
    ref_set(c, 0, SAIL_CONTROL_NORM, norm);
    ref_set(c, 0, SAIL_CONTROL_SKIP, skip);
    ref_set(c, 0, SAIL_CONTROL_CLIP, skip ? 0 : clip);
    return SAIL_OK;
}

static void shadow(const view *s, int64_t i, double w)
{
    if (s->p)
        ref_set(s, 0, i, (double)(float)w);
}

/* Loshchilov and Hutter 2019, decoupled decay, as torch.optim.AdamW. */
sail_code ref_adamw(work *w, sail_err *err)
{
    const view *g = &w->in[0], *c = &w->in[1], *weight = &w->in[2], *m = &w->in[3], *v = &w->in[4];
    const sail_attr *a = w->attr;
    const double lr = control(c, SAIL_CONTROL_RATE), clip = control(c, SAIL_CONTROL_CLIP);
    const double c1 = control(c, SAIL_CONTROL_CORRECTION1), c2 = control(c, SAIL_CONTROL_CORRECTION2);
    const double b1 = (double)a->beta1, b2 = (double)a->beta2;
    if (control(c, SAIL_CONTROL_SKIP) != 0)
        return SAIL_OK;
    for (int64_t i = 0; i < g->cols; i++) {
        const double x = ref_get(g, 0, i) * clip;
        const double first = b1 * ref_get(m, 0, i) + (1 - b1) * x, second = b2 * ref_get(v, 0, i) + (1 - b2) * x * x;
        double y = ref_get(weight, 0, i) * (1 - lr * (double)a->weight_decay);
        y -= lr / c1 * first / (sqrt(second / c2) + (double)a->adam_eps);
        ref_set(m, 0, i, first);
        ref_set(v, 0, i, second);
        ref_set(weight, 0, i, y);
        shadow(&w->in[5], i, y);
    }
    return SAIL_OK;
}

/* torch.optim.RMSprop */
sail_code ref_rmsprop(work *w, sail_err *err)
{
    const view *g = &w->in[0], *c = &w->in[1], *weight = &w->in[2], *v = &w->in[3], *buf = &w->in[4], *avg = &w->in[5];
    const sail_attr *a = w->attr;
    const double lr = control(c, SAIL_CONTROL_RATE), clip = control(c, SAIL_CONTROL_CLIP), alpha = (double)a->beta1;
    if (control(c, SAIL_CONTROL_SKIP) != 0)
        return SAIL_OK;
    for (int64_t i = 0; i < g->cols; i++) {
        double y = ref_get(weight, 0, i);
        const double x = ref_get(g, 0, i) * clip + (double)a->weight_decay * y;
        const double second = alpha * ref_get(v, 0, i) + (1 - alpha) * x * x;
        double spread = second;
        ref_set(v, 0, i, second);
        if (a->centered) {
            const double mean = alpha * ref_get(avg, 0, i) + (1 - alpha) * x;
            ref_set(avg, 0, i, mean);
            spread -= mean * mean;
        }
        double step = x / (sqrt(spread > 0 || isnan(spread) ? spread : 0) + (double)a->adam_eps);
        if (a->momentum != 0) {
            step += (double)a->momentum * ref_get(buf, 0, i);
            ref_set(buf, 0, i, step);
        }
        y -= lr * step;
        ref_set(weight, 0, i, y);
        shadow(&w->in[6], i, y);
    }
    return SAIL_OK;
}

/* torch.optim.SGD */
sail_code ref_sgd(work *w, sail_err *err)
{
    const view *g = &w->in[0], *c = &w->in[1], *weight = &w->in[2], *buf = &w->in[3];
    const sail_attr *a = w->attr;
    const double lr = control(c, SAIL_CONTROL_RATE), clip = control(c, SAIL_CONTROL_CLIP);
    const bool first = control(c, SAIL_CONTROL_STEP) == 1;
    if (control(c, SAIL_CONTROL_SKIP) != 0)
        return SAIL_OK;
    for (int64_t i = 0; i < g->cols; i++) {
        double y = ref_get(weight, 0, i);
        double step = ref_get(g, 0, i) * clip + (double)a->weight_decay * y;
        if (a->momentum != 0) {
            if (!first)
                step = (double)a->momentum * ref_get(buf, 0, i) + (1 - (double)a->dampening) * step;
            ref_set(buf, 0, i, step);
        }
        y -= lr * step;
        ref_set(weight, 0, i, y);
        shadow(&w->in[4], i, y);
    }
    return SAIL_OK;
}
