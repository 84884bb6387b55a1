/* optim.c - SUM_SQUARES, CLIP and the optimisers, as sail/optimizer.h states them. Bound by memory: each reads and writes its
 * vectors once. */
#include <math.h>

#include "kernels.h"
#include "sail/optimizer.h"

enum { BLOCK = 65536 };

struct squares {
    const sail_call *c;
    double *block;
};

static void square_block(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const struct squares *s = arg;
    const void *x = cpu_data(&s->c->in[0]);
    bool bf16 = cpu_bf16(&s->c->in[0]);
    double sum = 0;
    for (int64_t i = b->col; i < b->col + b->cols; i += 1024) { /* short runs in float32, their sums in double */
        int64_t end = i + 1024 < b->col + b->cols ? i + 1024 : b->col + b->cols;
        vf run[4] = {vzero(), vzero(), vzero(), vzero()};
        for (int64_t k = i; k < end; k += 4 * VL)
            UNROLL for (int u = 0; u < 4; u++)
                if (k + u * VL < end) {
                    vf v = vread(x, k + u * VL, vcount(end - k - u * VL), bf16);
                    run[u] = vfma(v, v, run[u]);
                }
        sum += (double)vsum((run[0] + run[1]) + (run[2] + run[3]));
    }
    s->block[b->col / BLOCK] = sum;
}

sail_code K(sum_squares)(sail_device *d, const sail_call *c, sail_err *err)
{
    int64_t n = c->in[0].cols, blocks = (n + BLOCK - 1) / BLOCK;
    SAIL_TRY(cpu_scratch(d, (size_t)blocks * sizeof(double), 0, err));
    struct squares s = {c, (double *)(void *)d->shared};
    cpu_blocks(d, 1, n, BLOCK, false, square_block, &s);
    float *total = cpu_data(&c->out[0]);
    double sum = c->attr.accumulate ? (double)*total : 0;
    for (int64_t i = 0; i < blocks; i++)
        sum += s.block[i];
    *total = (float)sum;
    return SAIL_OK;
}

sail_code K(clip)(sail_device *d, const sail_call *c, sail_err *err)
{
    float *control = cpu_data(&c->out[0]);
    double times = (double)control[SAIL_CONTROL_MULTIPLIER], most = (double)control[SAIL_CONTROL_MAX_NORM];
    double norm = (double)(float)(sqrt((double)*(const float *)cpu_data(&c->in[0])) * fabs(times));
    bool skip = !isfinite(norm) || !isfinite(control[SAIL_CONTROL_LOSS]) || control[SAIL_CONTROL_HOST_SKIP] != 0;
    double clip = times;
    if (!skip && most > 0 && most < norm + 1e-6)
        clip *= most / (norm + 1e-6);
    control[SAIL_CONTROL_NORM] = (float)norm;
    control[SAIL_CONTROL_SKIP] = skip;
    control[SAIL_CONTROL_CLIP] = skip ? 0 : (float)clip;
    return SAIL_OK;
}

struct update {
    const sail_attr *a;
    const float *g;
    float *w, *m, *v, *buf, *avg;
    uint16_t *shadow;
    double rate, clip, correction1, correction2;
    bool first;
};

static struct update update_of(const sail_call *c)
{
    const float *control = cpu_data(&c->in[1]);
    return (struct update){.a = &c->attr, .g = cpu_data(&c->in[0]), .w = cpu_data(&c->in[2]),
                           .rate = (double)control[SAIL_CONTROL_RATE], .clip = (double)control[SAIL_CONTROL_CLIP],
                           .correction1 = (double)control[SAIL_CONTROL_CORRECTION1],
                           .correction2 = (double)control[SAIL_CONTROL_CORRECTION2],
                           .first = control[SAIL_CONTROL_STEP] == 1};
}

static bool skipped(const sail_call *c) { return ((const float *)cpu_data(&c->in[1]))[SAIL_CONTROL_SKIP] != 0; }
static void *optional(const sail_call *c, int i) { return i < c->n_in && c->in[i].buffer ? cpu_data(&c->in[i]) : NULL; }

static void put(const struct update *u, int64_t i, int n, vf w)
{
    vwrite(u->w, i, n, false, w);
    if (u->shadow)
        vwrite(u->shadow, i, n, true, w);
}

/* 1 - beta in double first: in float32 1 - 0.999f is off by 1e-5. */
static vf rest(float beta) { return vset((float)(1 - (double)beta)); }

static void adamw_block(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const struct update *u = arg;
    vf clip = vset((float)u->clip), b1 = vset(u->a->beta1), b2 = vset(u->a->beta2), r1 = rest(u->a->beta1), r2 = rest(u->a->beta2);
    vf keep = vset((float)(1 - u->rate * (double)u->a->weight_decay)), step = vset((float)(u->rate / u->correction1));
    vf root = vset((float)(1 / sqrt(u->correction2))), eps = vset(u->a->adam_eps);
    for (int64_t i = b->col; i < b->col + b->cols; i += VL) {
        int n = vcount(b->col + b->cols - i);
        vf g = vread(u->g, i, n, false) * clip;
        vf m = vfma(b1, vread(u->m, i, n, false), r1 * g), v = vfma(b2, vread(u->v, i, n, false), r2 * g * g);
        vwrite(u->m, i, n, false, m);
        vwrite(u->v, i, n, false, v);
        put(u, i, n, vread(u->w, i, n, false) * keep - step * m / vfma(vsqrt(v), root, eps));
    }
}

sail_code K(adamw)(sail_device *d, const sail_call *c, sail_err *err)
{
    struct update u = update_of(c);
    u.m = cpu_data(&c->in[3]);
    u.v = cpu_data(&c->in[4]);
    u.shadow = optional(c, 5);
    if (!skipped(c))
        cpu_blocks(d, 1, c->in[0].cols, BLOCK, false, adamw_block, &u);
    return SAIL_OK;
}

static void rmsprop_block(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const struct update *u = arg;
    vf clip = vset((float)u->clip), decay = vset(u->a->weight_decay), alpha = vset(u->a->beta1), r = rest(u->a->beta1);
    vf rate = vset((float)u->rate), eps = vset(u->a->adam_eps), momentum = vset(u->a->momentum);
    for (int64_t i = b->col; i < b->col + b->cols; i += VL) {
        int n = vcount(b->col + b->cols - i);
        vf w = vread(u->w, i, n, false), g = vfma(decay, w, vread(u->g, i, n, false) * clip);
        vf v = vfma(alpha, vread(u->v, i, n, false), r * g * g), spread = v;
        vwrite(u->v, i, n, false, v);
        if (u->a->centered) {
            vf mean = vfma(alpha, vread(u->avg, i, n, false), r * g);
            vwrite(u->avg, i, n, false, mean);
            spread = vmax(vzero(), vnfma(mean, mean, v));
        }
        vf step = g / (vsqrt(spread) + eps);
        if (u->a->momentum != 0) {
            step = vfma(momentum, vread(u->buf, i, n, false), step);
            vwrite(u->buf, i, n, false, step);
        }
        put(u, i, n, vnfma(rate, step, w));
    }
}

sail_code K(rmsprop)(sail_device *d, const sail_call *c, sail_err *err)
{
    struct update u = update_of(c);
    u.v = cpu_data(&c->in[3]);
    u.buf = optional(c, 4);
    u.avg = optional(c, 5);
    u.shadow = optional(c, 6);
    if (!skipped(c))
        cpu_blocks(d, 1, c->in[0].cols, BLOCK, false, rmsprop_block, &u);
    return SAIL_OK;
}

static void sgd_block(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const struct update *u = arg;
    vf clip = vset((float)u->clip), decay = vset(u->a->weight_decay), momentum = vset(u->a->momentum);
    vf rate = vset((float)u->rate), damped = rest(u->a->dampening);
    for (int64_t i = b->col; i < b->col + b->cols; i += VL) {
        int n = vcount(b->col + b->cols - i);
        vf w = vread(u->w, i, n, false), step = vfma(decay, w, vread(u->g, i, n, false) * clip);
        if (u->a->momentum != 0) {
            if (!u->first)
                step = vfma(momentum, vread(u->buf, i, n, false), damped * step);
            vwrite(u->buf, i, n, false, step);
        }
        put(u, i, n, vnfma(rate, step, w));
    }
}

sail_code K(sgd)(sail_device *d, const sail_call *c, sail_err *err)
{
    struct update u = update_of(c);
    u.buf = optional(c, 3);
    u.shadow = optional(c, 4);
    if (!skipped(c))
        cpu_blocks(d, 1, c->in[0].cols, BLOCK, false, sgd_block, &u);
    return SAIL_OK;
}
