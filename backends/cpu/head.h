/* head.h - what HEAD and HEAD_BACK share: sizes of tiles, logits, weights of other types. */
#ifndef CPU_HEAD_H
#define CPU_HEAD_H

#include <math.h>

#include "gemm.h"
#include "kernels.h"

/* Rows at once; logits of a row at once; vocabulary of a task (a multiple of both tiles' widths). */
enum { HEAD_ROWS = PRODUCT_ROWS, HEAD_COLUMNS = 128, HEAD_SLICE = 1536 };

typedef struct head_sums {
    float max;
    double sum, weighted, squares, target; /* of e = exp(z - max): e, (z - max) e, e^2; the target's logit or 0 */
} head_sums;

typedef struct head_shape {
    const sail_device *d;
    const sail_tensor *x, *w;
    int64_t rows, vocabulary, ldb;
    const float *bias;    /* NULL: none */
    float scale, cap;
    bool changes;        /* logits are not simply the products */
    bool convert, w_bf16; /* weights are converted by tile; type of what is multiplied */
    bool pairs;          /* bfloat16 products */
    size_t z_bytes;
    float lanes[VL];
} head_shape;

/* bias: its operand's number */
INLINE head_shape head_shape_of(const sail_device *d, const sail_call *c, int bias)
{
    head_shape h = {.d = d, .x = &c->in[0], .w = &c->in[1], .scale = c->attr.scale, .cap = c->attr.softcap};
    h.rows = h.x->rows;
    h.vocabulary = h.w->rows;
    h.bias = c->n_in > bias && c->in[bias].buffer ? cpu_data(&c->in[bias]) : NULL;
    h.changes = h.scale != 1.0f || h.cap > 0 || h.bias;
    h.convert = !cpu_bf16(h.w) && h.w->dtype != SAIL_F32;
    h.pairs = cpu_bf16(h.x) && (h.convert || cpu_bf16(h.w)) && d->dnnl_bf16;
    h.w_bf16 = h.convert ? h.pairs : cpu_bf16(h.w);
    h.ldb = h.convert ? h.x->cols : h.w->ld;
    h.z_bytes = cpu_round((size_t)(h.rows < HEAD_ROWS ? h.rows : HEAD_ROWS) * HEAD_COLUMNS * 4);
    for (int i = 0; i < VL; i++)
        h.lanes[i] = (float)i;
    return h;
}

/* z of k vocabulary entries from v on from the products x.w; slope (not NULL): dz by the product. */
INLINE vf head_logit(const head_shape *h, vf x, int64_t v, int k, vf *slope)
{
    if (slope)
        *slope = vset(h->scale);
    if (!h->changes)
        return x;
    x = x * vset(h->scale);
    if (h->bias)
        x += vread(h->bias, v, k, false);
    if (h->cap > 0) {
        vf t = vtanh(x / vset(h->cap));
        if (slope)
            *slope = *slope * (vset(1.0f) - t * t);
        x = t * vset(h->cap);
    }
    return x;
}

INLINE size_t head_weights_room(const head_shape *h, int64_t n)
{
    return h->convert ? cpu_round((size_t)(n * h->x->cols) * (h->w_bf16 ? 2 : 4)) + cpu_round((size_t)h->x->cols * 4) : 0;
}

/* Rows [v, v + n) of the weights, converted into scratch where they are of another type. */
static inline const void *head_weights(const head_shape *h, int64_t v, int64_t n, unsigned char *scratch)
{
    int64_t d = h->x->cols;
    if (!h->convert)
        return cpu_row(h->w, v);
    size_t bytes = (size_t)h->w->ld / sail_dtype_block_elements(h->w->dtype) * sail_dtype_block_bytes(h->w->dtype);
    size_t size = h->w_bf16 ? 2 : 4;
    float *wide = (float *)(void *)(scratch + cpu_round((size_t)(n * d) * size));
    for (int64_t r = 0; r < n; r++) {
        unsigned char *to = scratch + (size_t)(r * d) * size;
        float *f = h->w_bf16 ? wide : (float *)(void *)to;
        (void)sail_to_f32(h->w->dtype, (const unsigned char *)cpu_data(h->w) + (size_t)(v + r) * bytes, f, (size_t)d, NULL);
        for (int64_t i = 0; h->w_bf16 && i < d; i += VL)
            vwrite(to, i, vcount(d - i), true, vread(f, i, vcount(d - i), false));
    }
    return scratch;
}

#endif
