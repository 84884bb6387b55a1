/* layer_norm.c - layer normalisation and its derivative by x (by the weights: norm.c). Sums over a row are of what is left when the mean
 * is taken off, so that a large mean costs no digits. */
#include <math.h>

#include "kernels.h"

enum { BLOCK = 16384 };

static void norm_rows(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    const sail_tensor *x = &c->in[0], *w = &c->in[1], *bias = &c->in[2], *y = &c->out[0];
    int64_t n = x->cols;
    bool xb = cpu_bf16(x), wb = cpu_bf16(w), bb = cpu_bf16(bias), yb = cpu_bf16(y);
    for (int64_t r = b->row; r < b->row + b->rows; r++) {
        vf sum = vzero(), squares = vzero();
        for (int64_t i = 0; i < n; i += VL)
            sum += vread(cpu_row(x, r), i, vcount(n - i), xb);
        float mean = (float)((double)vsum(sum) / (double)n);
        for (int64_t i = 0; i < n; i += VL) {
            int k = vcount(n - i);
            vf v = vread(cpu_row(x, r), i, k, xb) - vset(mean);
            if (k < VL) { /* lanes beyond the row hold -mean */
                float lanes[VL];
                vstore(lanes, v);
                v = vload_part(lanes, k);
            }
            squares = vfma(v, v, squares);
        }
        float scale = (float)(1 / sqrt((double)vsum(squares) / (double)n + (double)c->attr.eps));
        for (int64_t i = 0; i < n; i += VL) {
            int k = vcount(n - i);
            vf v = (vread(cpu_row(x, r), i, k, xb) - vset(mean)) * vset(scale);
            vwrite(cpu_row(y, r), i, k, yb, vfma(v, vread(cpu_data(w), i, k, wb), vread(cpu_data(bias), i, k, bb)));
        }
        ((float *)cpu_row(&c->out[1], r))[0] = mean;
        ((float *)cpu_row(&c->out[1], r))[1] = scale;
    }
}

sail_code K(layer_norm)(sail_device *d, const sail_call *c, sail_err *err)
{
    cpu_blocks(d, c->in[0].rows, c->in[0].cols, BLOCK, true, norm_rows, c);
    return SAIL_OK;
}

/* With u = dy w and z = (x - mean) rstd: dx = rstd (u - mean(u) - z mean(u z)). */
static void norm_back_rows(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    const sail_tensor *dy = &c->in[0], *x = &c->in[1], *w = &c->in[2], *dx = &c->out[0];
    const sail_tensor *residual = c->n_in > 4 && c->in[4].buffer ? &c->in[4] : NULL;
    int64_t n = x->cols;
    for (int64_t r = b->row; r < b->row + b->rows; r++) {
        const float *stats = cpu_row(&c->in[3], r);
        vf mean = vset(stats[0]), scale = vset(stats[1]), su = vzero(), suz = vzero();
        for (int64_t i = 0; i < n; i += VL) {
            int k = vcount(n - i); /* lanes beyond the row: dy and w are 0 there */
            vf u = vread(cpu_row(dy, r), i, k, cpu_bf16(dy)) * vread(cpu_data(w), i, k, cpu_bf16(w));
            su += u;
            suz = vfma(u, (vread(cpu_row(x, r), i, k, cpu_bf16(x)) - mean) * scale, suz);
        }
        vf mu = vset((float)((double)vsum(su) / (double)n)), muz = vset((float)((double)vsum(suz) / (double)n));
        for (int64_t i = 0; i < n; i += VL) {
            int k = vcount(n - i);
            vf u = vread(cpu_row(dy, r), i, k, cpu_bf16(dy)) * vread(cpu_data(w), i, k, cpu_bf16(w));
            vf z = (vread(cpu_row(x, r), i, k, cpu_bf16(x)) - mean) * scale, v = scale * vnfma(z, muz, u - mu);
            if (residual)
                v += vread(cpu_row(residual, r), i, k, cpu_bf16(residual));
            vwrite(cpu_row(dx, r), i, k, cpu_bf16(dx), v);
        }
    }
}

sail_code K(layer_norm_back)(sail_device *d, const sail_call *c, sail_err *err)
{
    cpu_blocks(d, c->in[1].rows, c->in[1].cols, BLOCK, true, norm_back_rows, c);
    return SAIL_OK;
}
