/* norm.c - root mean square normalisation, its derivatives, column sums (of layer normalisation, too), and ROPE. */
#include <math.h>

#include "kernels.h"

enum { BLOCK = 16384, STRIP = 64, RUN = 64 };

static void norm_rows(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    const sail_tensor *x = &c->in[0], *w = &c->in[1], *y = &c->out[0], *rstd = &c->out[1];
    int64_t n = w->cols;
    bool xb = cpu_bf16(x), wb = cpu_bf16(w), yb = cpu_bf16(y);
    vf plus = vset(c->attr.weight_plus);
    for (int64_t r = b->row; r < b->row + b->rows; r++)
        for (int64_t g = 0; g < rstd->cols; g++) {
            vf s0 = vzero(), s1 = vzero();
            for (int64_t i = 0; i < n; i += 2 * VL) {
                vf v = vread(cpu_row(x, r), g * n + i, vcount(n - i), xb);
                s0 = vfma(v, v, s0);
                if (i + VL < n) {
                    v = vread(cpu_row(x, r), g * n + i + VL, vcount(n - i - VL), xb);
                    s1 = vfma(v, v, s1);
                }
            }
            float scale = (float)(1 / sqrt((double)vsum(s0 + s1) / (double)n + (double)c->attr.eps));
            for (int64_t i = 0; i < n; i += VL) {
                int k = vcount(n - i);
                vf v = vread(cpu_row(x, r), g * n + i, k, xb) * vset(scale);
                vwrite(cpu_row(y, r), g * n + i, k, yb, v * (vread(cpu_data(w), i, k, wb) + plus));
            }
            ((float *)cpu_row(rstd, r))[g] = scale;
        }
}

sail_code K(rms_norm)(sail_device *d, const sail_call *c, sail_err *err)
{
    cpu_blocks(d, c->in[0].rows, c->in[0].cols, BLOCK, true, norm_rows, c);
    return SAIL_OK;
}

/* With u = dy (w + plus) and z = x rstd: dx = rstd (u - z mean(u z)). */
static void norm_back_rows(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    const sail_tensor *dy = &c->in[0], *x = &c->in[1], *w = &c->in[2], *rstd = &c->in[3], *dx = &c->out[0];
    const sail_tensor *residual = c->n_in > 4 && c->in[4].buffer ? &c->in[4] : NULL;
    int64_t n = w->cols;
    vf plus = vset(c->attr.weight_plus);
    for (int64_t r = b->row; r < b->row + b->rows; r++)
        for (int64_t g = 0; g < rstd->cols; g++) {
            float scale = ((const float *)cpu_row(rstd, r))[g];
            vf sum = vzero();
            for (int64_t i = 0; i < n; i += VL) {
                int k = vcount(n - i);
                vf u = vread(cpu_row(dy, r), g * n + i, k, cpu_bf16(dy)) * (vread(cpu_data(w), i, k, cpu_bf16(w)) + plus);
                sum = vfma(u, vread(cpu_row(x, r), g * n + i, k, cpu_bf16(x)), sum);
            }
            vf mean = vset((float)((double)vsum(sum) * (double)scale * (double)scale / (double)n));
            for (int64_t i = 0; i < n; i += VL) {
                int k = vcount(n - i);
                vf u = vread(cpu_row(dy, r), g * n + i, k, cpu_bf16(dy)) * (vread(cpu_data(w), i, k, cpu_bf16(w)) + plus);
                vf v = vset(scale) * vnfma(vread(cpu_row(x, r), g * n + i, k, cpu_bf16(x)), mean, u);
                if (residual)
                    v += vread(cpu_row(residual, r), g * n + i, k, cpu_bf16(residual));
                vwrite(cpu_row(dx, r), g * n + i, k, cpu_bf16(dx), v);
            }
        }
}

sail_code K(rms_norm_back)(sail_device *d, const sail_call *c, sail_err *err)
{
    cpu_blocks(d, c->in[0].rows, c->in[0].cols, BLOCK, true, norm_back_rows, c);
    return SAIL_OK;
}

/* Sums over rows for a strip of columns: runs of RUN rows are summed apart, so that the error grows slowly. Of dy, or with
 * groups of dy x rstd; centred: of dy (x - mean) rstd, where mean and rstd stand side by side. */
static void column_sums(const sail_call *c, const cpu_block *b, int groups, bool centred)
{
    const sail_tensor *dy = &c->in[0], *x = groups ? &c->in[1] : NULL, *stats = groups ? &c->in[2] : NULL;
    float *out = cpu_data(&c->out[0]);
    int64_t n = c->out[0].cols;
    vf total[STRIP / VL], run[STRIP / VL];
    int count = (int)((b->cols + VL - 1) / VL);
    for (int k = 0; k < count; k++)
        total[k] = vzero();
    for (int64_t first = 0; first < dy->rows; first += RUN) {
        for (int k = 0; k < count; k++)
            run[k] = vzero();
        for (int64_t r = first; r < dy->rows && r < first + RUN; r++)
            for (int g = 0; g < (groups ? groups : 1); g++)
                for (int k = 0; k < count; k++) {
                    int64_t i = b->col + k * VL;
                    int lanes = vcount(b->col + b->cols - i);
                    vf v = vread(cpu_row(dy, r), g * n + i, lanes, cpu_bf16(dy));
                    if (x) {
                        const float *s = cpu_row(stats, r);
                        vf z = vread(cpu_row(x, r), g * n + i, lanes, cpu_bf16(x));
                        v = centred ? v * ((z - vset(s[0])) * vset(s[1])) : v * z * vset(s[g]);
                    }
                    run[k] += v;
                }
        for (int k = 0; k < count; k++)
            total[k] += run[k];
    }
    for (int k = 0; k < count; k++) {
        int64_t i = b->col + k * VL;
        int lanes = vcount(b->col + b->cols - i);
        if (c->attr.accumulate)
            total[k] += vread(out, i, lanes, false);
        vwrite(out, i, lanes, false, total[k]);
    }
}

static void wgrad_strip(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    column_sums(c, b, (int)c->in[2].cols, false);
}

sail_code K(rms_norm_wgrad)(sail_device *d, const sail_call *c, sail_err *err)
{
    cpu_columns(d, c->out[0].cols, STRIP, wgrad_strip, c);
    return SAIL_OK;
}

static void layer_wgrad_strip(const sail_device *d, const void *arg, const cpu_block *b, int thread) { column_sums(arg, b, 1, true); }

sail_code K(layer_norm_wgrad)(sail_device *d, const sail_call *c, sail_err *err)
{
    cpu_columns(d, c->out[0].cols, STRIP, layer_wgrad_strip, c);
    return SAIL_OK;
}

static void bias_strip(const sail_device *d, const void *arg, const cpu_block *b, int thread) { column_sums(arg, b, 0, false); }

sail_code K(bias_grad)(sail_device *d, const sail_call *c, sail_err *err)
{
    cpu_columns(d, c->out[0].cols, STRIP, bias_strip, c);
    return SAIL_OK;
}

static void rope_rows(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    const sail_tensor *x = &c->in[0], *y = &c->out[0];
    int64_t h = c->attr.head_dim, turning = c->attr.rotary, half = turning / 2;
    bool xb = cpu_bf16(x), yb = cpu_bf16(y);
    vf sign = vset(c->attr.inverse ? -1.0f : 1.0f);
    for (int64_t r = b->row; r < b->row + b->rows; r++) {
        const float *turn = cpu_row(&c->in[2], cpu_id(&c->in[1], r, 0));
        for (int64_t head = 0; head < x->cols; head += h) {
            for (int64_t i = 0; i < half; i += VL) {
                int n = vcount(half - i);
                vf cosine = vread(turn, i, n, false), sine = sign * vread(turn, half + i, n, false);
                vf p = vread(cpu_row(x, r), head + i, n, xb), q = vread(cpu_row(x, r), head + half + i, n, xb);
                vwrite(cpu_row(y, r), head + i, n, yb, vnfma(q, sine, p * cosine));
                vwrite(cpu_row(y, r), head + half + i, n, yb, vfma(p, sine, q * cosine));
            }
            for (int64_t i = turning; i < h; i += VL)
                vwrite(cpu_row(y, r), head + i, vcount(h - i), yb, vread(cpu_row(x, r), head + i, vcount(h - i), xb));
        }
    }
}

sail_code K(rope)(sail_device *d, const sail_call *c, sail_err *err)
{
    SAIL_TRY(cpu_check_ids(c, 1, 0, c->in[2].rows, err));
    cpu_blocks(d, c->in[0].rows, c->in[0].cols, BLOCK, true, rope_rows, c);
    return SAIL_OK;
}
