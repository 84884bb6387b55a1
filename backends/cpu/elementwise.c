/* elementwise.c - ADD, SCALE, CAST, FILL, GLU, ACT and their derivatives, DROPOUT. An output may be an operand's own view: all that an
 * element needs is read before it is written. */
#include <math.h>

#include "kernels.h"
#include "sail/rng.h"

enum { BLOCK = 16384 };

/* A matrix without gaps between rows is one long row: blocks then do not depend on how it is shaped. */
static void over(sail_device *d, const sail_call *c, cpu_block_fn *fn)
{
    cpu_blocks(d, c->out[0].rows, c->out[0].cols, BLOCK, false, fn, c);
}

#define EACH(b, y)                                                                                                     \
    for (int64_t r = (b)->row; r < (b)->row + (b)->rows; r++)                                                          \
        for (int64_t i = (b)->col, end = (b)->col + (b)->cols, n = vcount(end - i); i < end; i += VL, n = vcount(end - i))

static void add_block(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    const sail_tensor *x = &c->in[0], *z = &c->in[1], *y = &c->out[0];
    bool xb = cpu_bf16(x), zb = cpu_bf16(z), yb = cpu_bf16(y);
    EACH(b, y)
        vwrite(cpu_row(y, r), i, (int)n, yb, vread(cpu_row(x, r), i, (int)n, xb) + vread(cpu_row(z, r), i, (int)n, zb));
}

sail_code K(add)(sail_device *d, const sail_call *c, sail_err *err)
{
    over(d, c, add_block);
    return SAIL_OK;
}

static void scale_block(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    const sail_tensor *x = &c->in[0], *y = &c->out[0];
    bool xb = cpu_bf16(x), yb = cpu_bf16(y);
    vf factor = vset(c->op == SAIL_OP_CAST ? 1.0f : c->attr.scale);
    EACH(b, y)
        vwrite(cpu_row(y, r), i, (int)n, yb, vread(cpu_row(x, r), i, (int)n, xb) * factor);
}

sail_code K(scale)(sail_device *d, const sail_call *c, sail_err *err)
{
    over(d, c, scale_block);
    return SAIL_OK;
}

/* From or to float16, which no kernel computes in. */
static void cast_f16(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    float f[256];
    for (int64_t r = b->row; r < b->row + b->rows; r++)
        for (int64_t i = b->col; i < b->col + b->cols; i += 256) {
            size_t n = (size_t)(b->col + b->cols - i < 256 ? b->col + b->cols - i : 256);
            const sail_tensor *x = &c->in[0], *y = &c->out[0];
            (void)sail_to_f32(x->dtype, (char *)cpu_row(x, r) + i * (x->dtype == SAIL_F32 ? 4 : 2), f, n, NULL);
            (void)sail_from_f32(y->dtype, f, (char *)cpu_row(y, r) + i * (y->dtype == SAIL_F32 ? 4 : 2), n, NULL);
        }
}

sail_code K(cast)(sail_device *d, const sail_call *c, sail_err *err)
{
    over(d, c, c->in[0].dtype == SAIL_F16 || c->out[0].dtype == SAIL_F16 ? cast_f16 : scale_block);
    return SAIL_OK;
}

static void fill_block(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    const sail_tensor *y = &c->out[0];
    EACH(b, y)
        vwrite(cpu_row(y, r), i, (int)n, cpu_bf16(y), vset(c->attr.scale));
}

static void fill_ints(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    for (int64_t r = b->row; r < b->row + b->rows; r++)
        for (int64_t i = b->col; i < b->col + b->cols; i++)
            ((int32_t *)cpu_row(&c->out[0], r))[i] = (int32_t)c->attr.scale;
}

sail_code K(fill)(sail_device *d, const sail_call *c, sail_err *err)
{
    over(d, c, c->out[0].dtype == SAIL_I32 ? fill_ints : fill_block);
    return SAIL_OK;
}

/* act(x) and its derivative. */
INLINE vf activate(int activation, vf x, vf *slope)
{
    vf one = vset(1.0f), half = vset(0.5f);
    if (activation == SAIL_ACT_SILU) {
        vf s = one / (one + vexp(-x));
        *slope = s * (one + x * (one - s));
        return x * s;
    }
    if (activation == SAIL_ACT_GELU_TANH) {
        vf root = vset(0.79788456080286535588f), cube = vset(0.044715f);
        vf t = vtanh(root * vfma(cube * x, x * x, x));
        *slope = half * (one + t) + half * x * (one - t * t) * root * vfma(vset(3.0f) * cube * x, x, one);
        return half * x * (one + t);
    }
    float in[VL], value[VL], derivative[VL];
    vstore(in, x);
    for (int i = 0; i < VL; i++) {
        if (activation == SAIL_ACT_GELU) {
            float cdf = 0.5f * erfcf(-in[i] * 0.70710678118654752440f);
            value[i] = in[i] * cdf;
            derivative[i] = cdf + in[i] * 0.39894228040143267794f * expf(-0.5f * in[i] * in[i]);
        } else {
            value[i] = in[i] > 0 ? in[i] : in[i] < 0 ? 0 : in[i]; /* NaN stays */
            derivative[i] = in[i] > 0;
        }
    }
    *slope = vload(derivative);
    return vload(value);
}

static void glu_block(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    const sail_tensor *gate = &c->in[0], *up = &c->in[1], *y = &c->out[0];
    vf slope;
    EACH(b, y) {
        vf a = activate(c->attr.activation, vread(cpu_row(gate, r), i, (int)n, cpu_bf16(gate)), &slope);
        vwrite(cpu_row(y, r), i, (int)n, cpu_bf16(y), a * vread(cpu_row(up, r), i, (int)n, cpu_bf16(up)));
    }
}

sail_code K(glu)(sail_device *d, const sail_call *c, sail_err *err)
{
    over(d, c, glu_block);
    return SAIL_OK;
}

static void glu_back_block(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    const sail_tensor *dy = &c->in[0], *gate = &c->in[1], *up = &c->in[2], *dgate = &c->out[0], *dup = &c->out[1];
    EACH(b, dgate) {
        vf slope, a = activate(c->attr.activation, vread(cpu_row(gate, r), i, (int)n, cpu_bf16(gate)), &slope);
        vf g = vread(cpu_row(dy, r), i, (int)n, cpu_bf16(dy)), u = vread(cpu_row(up, r), i, (int)n, cpu_bf16(up));
        vwrite(cpu_row(dgate, r), i, (int)n, cpu_bf16(dgate), g * u * slope);
        vwrite(cpu_row(dup, r), i, (int)n, cpu_bf16(dup), g * a);
    }
}

sail_code K(glu_back)(sail_device *d, const sail_call *c, sail_err *err)
{
    over(d, c, glu_back_block);
    return SAIL_OK;
}

static void act_block(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    const sail_tensor *x = &c->in[0], *y = &c->out[0];
    vf slope;
    EACH(b, y)
        vwrite(cpu_row(y, r), i, (int)n, cpu_bf16(y),
               activate(c->attr.activation, vread(cpu_row(x, r), i, (int)n, cpu_bf16(x)), &slope));
}

sail_code K(act)(sail_device *d, const sail_call *c, sail_err *err)
{
    over(d, c, act_block);
    return SAIL_OK;
}

static void act_back_block(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    const sail_tensor *dy = &c->in[0], *x = &c->in[1], *dx = &c->out[0];
    EACH(b, dx) {
        vf slope;
        (void)activate(c->attr.activation, vread(cpu_row(x, r), i, (int)n, cpu_bf16(x)), &slope);
        vwrite(cpu_row(dx, r), i, (int)n, cpu_bf16(dx), vread(cpu_row(dy, r), i, (int)n, cpu_bf16(dy)) * slope);
    }
}

sail_code K(act_back)(sail_device *d, const sail_call *c, sail_err *err)
{
    over(d, c, act_back_block);
    return SAIL_OK;
}

static void dropout_rows(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    const sail_tensor *x = &c->in[0], *y = &c->out[0];
    double p = (double)c->attr.p, least = floor(p * 4294967296.0);
    vf up = vset((float)(1 / (1 - p)));
    for (int64_t r = b->row; r < b->row + b->rows; r++) {
        uint64_t key = (uint32_t)cpu_id(&c->in[1], r, 0) | (uint64_t)(uint32_t)cpu_id(&c->in[1], r, 1) << 32;
        for (int64_t i = 0; i < x->cols; i += VL) {
            int n = vcount(x->cols - i);
            float keep[VL];
            for (int k = 0; k < VL; k += 4) {
                uint32_t words[4];
                sail_rng_words(c->attr.seed, SAIL_RNG_DROPOUT, key, (uint64_t)c->attr.layer, (uint64_t)(i + k) / 4, words);
                for (int w = 0; w < 4; w++)
                    keep[k + w] = (double)words[w] >= least ? 0.0f : 1.0f;
            }
            vf v = vread(cpu_row(x, r), i, n, cpu_bf16(x)) * up; /* chosen, not multiplied: a dropped NaN is dropped */
            vwrite(cpu_row(y, r), i, n, cpu_bf16(y), vselect_less(vload(keep), vset(0.5f), v, vzero()));
        }
    }
}

sail_code K(dropout)(sail_device *d, const sail_call *c, sail_err *err)
{
    cpu_blocks(d, c->out[0].rows, c->out[0].cols, BLOCK, true, dropout_rows, c);
    return SAIL_OK;
}
