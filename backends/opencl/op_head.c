/* op_head.c - the output head by chunks of rows: logits of a chunk by the matrix product into scratch memory, then what is asked of
 * them. The derivative makes the chunk's logits again, turns them into their own derivatives, multiplies these with the weights
 * (dx) and with the rows (dw, chunk after chunk in order), and sums them (db). */
#include "opencl.h"

enum { SLOT_LOGITS = 2, CHUNK_BYTES = 64 << 20 }; /* the product uses the slots around it */
enum { LOGP_OUT = 4, ENTROPY_OUT = 8, LSS_OUT = 16, LSE_OUT = 32 };     /* head.cl */
enum { LOGP_GIVEN = 1, ENTROPY_GIVEN = 2, LSS_GIVEN = 4 };

typedef struct head {
    const sail_tensor *x, *w, *bias; /* bias NULL: none */
    int64_t rows, words, ld, chunk; /* chunk: rows at a time */
    sail_buffer memory;             /* of the logits */
} head;

/* Bytes of one allocation. */
static uint64_t largest(const sail_device *d)
{
    sail_device_info info;
    ocl_describe(&d->facts, &d->options, &info);
    return info.largest_allocation;
}

/* bias: the number of that operand */
static sail_code head_of(sail_device *d, const sail_call *c, int bias, head *out, sail_err *err)
{
    *out = (head){.x = &c->in[0], .w = &c->in[1], .rows = c->in[0].rows, .words = c->in[1].rows};
    out->bias = c->n_in > bias && c->in[bias].buffer ? &c->in[bias] : NULL;
    out->ld = (out->words + 3) / 4 * 4;
    const uint64_t row = (uint64_t)out->ld * 4, most = largest(d) / 4 < CHUNK_BYTES ? largest(d) / 4 : CHUNK_BYTES;
    out->chunk = (int64_t)(most / row);
    out->chunk = out->chunk > 64 ? out->chunk / 64 * 64 : out->chunk > 0 ? out->chunk : 1;
    out->chunk = out->chunk < out->rows ? out->chunk : out->rows;
    out->memory.bytes = out->memory.room = row * (uint64_t)(out->chunk > 0 ? out->chunk : 1);
    return ocl_scratch(d, SLOT_LOGITS, out->memory.bytes, &out->memory.mem, err);
}

/* Rows [first, first + n) of a matrix. */
static sail_tensor part(const sail_tensor *t, int64_t first, int64_t n)
{
    sail_tensor p = *t;
    p.offset += sail_dtype_bytes(t->dtype, (uint64_t)(first * t->ld));
    p.rows = n;
    return p;
}

static sail_tensor logits_of(head *h, int64_t n) { return (sail_tensor){&h->memory, 0, n, h->words, h->ld, SAIL_F32}; }

static sail_code product(sail_device *d, const sail_call *c, const sail_tensor *a, const sail_tensor *b, const sail_tensor *y,
                         const sail_tensor *bias, sail_attr attr, sail_err *err)
{
    const sail_call call = {.op = c->op, .n_in = bias ? 3 : 2, .n_out = 1, .in = {*a, *b, bias ? *bias : (sail_tensor){0}}, .out = {*y},
                            .attr = attr};
    return ocl_matmul(d, &call, err);
}

static sail_code logits(sail_device *d, const sail_call *c, head *h, int64_t first, int64_t n, sail_err *err)
{
    const sail_tensor x = part(h->x, first, n), z = logits_of(h, n);
    return product(d, c, &x, h->w, &z, h->bias, (sail_attr){.trans_b = true, .scale = c->attr.scale}, err);
}

static const char *cap(const sail_call *c) { return c->attr.softcap > 0 ? " -D CAP" : ""; }

static sail_code forward(sail_device *d, const sail_call *c, sail_err *err)
{
    static const int outs[] = {LOGP_OUT, ENTROPY_OUT, LSS_OUT, LSE_OUT};
    head h;
    int flags = c->attr.want & (SAIL_WANT_ENTROPY | SAIL_WANT_LSS);
    SAIL_TRY(head_of(d, c, 3, &h, err));
    for (int i = 0; i < c->n_out && i < 4; i++)
        flags |= c->out[i].buffer ? outs[i] : 0;
    for (int64_t at = 0; at < h.rows; at += h.chunk) {
        const int64_t n = h.rows - at < h.chunk ? h.rows - at : h.chunk;
        ocl_launch l;
        SAIL_TRY(logits(d, c, &h, at, n, err));
        ocl_begin(&l, d, c, err, "head", "head_sums", "-D SUMS%s", cap(c));
        const size_t items = ocl_group_for(&l, h.words, 256);
        ocl_memory(&l, h.memory.mem);
        ocl_i64(&l, h.ld);
        ocl_i32(&l, (int32_t)h.words);
        ocl_matrix(&l, &c->in[2]);
        for (int i = 0; i < 4; i++)
            ocl_matrix(&l, &c->out[i]);
        ocl_i64(&l, at);
        ocl_f32(&l, c->attr.softcap);
        ocl_i32(&l, flags);
        ocl_local(&l, items * 4);
        ocl_faults(&l);
        l.flops = 6 * (double)n * (double)h.words;
        l.bytes = 4 * (double)n * (double)h.words;
        SAIL_TRY(ocl_start_groups(&l, n, items));
    }
    return SAIL_OK;
}

static sail_code slopes(sail_device *d, const sail_call *c, const head *h, int64_t first, int64_t n, sail_err *err)
{
    const int given = (c->in[6].buffer ? LOGP_GIVEN : 0) | (c->in[7].buffer ? ENTROPY_GIVEN : 0) | (c->in[8].buffer ? LSS_GIVEN : 0);
    ocl_launch l;
    ocl_begin(&l, d, c, err, "head", "head_slopes", "-D SLOPES%s", cap(c));
    ocl_memory(&l, h->memory.mem);
    ocl_i64(&l, h->ld);
    ocl_i32(&l, (int32_t)n);
    ocl_i32(&l, (int32_t)h->words);
    for (int i = 2; i < 9; i++)
        ocl_matrix(&l, &c->in[i]);
    ocl_i64(&l, first);
    ocl_f32(&l, c->attr.softcap);
    ocl_i32(&l, given);
    ocl_faults(&l);
    l.flops = 8 * (double)n * (double)h->words;
    l.bytes = 8 * (double)n * (double)h->words;
    return ocl_start_map(&l, n, h->words);
}

static sail_code backward(sail_device *d, const sail_call *c, sail_err *err)
{
    head h;
    const sail_tensor *dx = &c->out[0], *dw = c->n_out > 1 && c->out[1].buffer && (c->attr.want & SAIL_WANT_DW) ? &c->out[1] : NULL;
    const sail_tensor *db = c->n_out > 2 && c->out[2].buffer && (c->attr.want & SAIL_WANT_DB) ? &c->out[2] : NULL;
    sail_attr attr = {.trans_a = true, .accumulate = c->attr.accumulate, .scale = c->attr.scale};
    SAIL_TRY(head_of(d, c, 9, &h, err));
    int64_t at = 0;
    do { /* once even without rows: dw may have to be zero */
        const int64_t n = h.rows - at < h.chunk ? h.rows - at : h.chunk;
        const sail_tensor z = logits_of(&h, n);
        if (n > 0) {
            const sail_tensor to = part(dx, at, n);
            SAIL_TRY(logits(d, c, &h, at, n, err));
            SAIL_TRY(slopes(d, c, &h, at, n, err));
            SAIL_TRY(product(d, c, &z, h.w, &to, NULL, (sail_attr){.scale = c->attr.scale}, err));
        }
        if (dw) {
            const sail_tensor x = part(h.x, at, n);
            SAIL_TRY(product(d, c, &z, &x, dw, NULL, attr, err));
        }
        if (db) {
            const sail_call sums = {.op = c->op, .n_in = 1, .n_out = 1, .in = {z}, .out = {*db}, .attr = {.accumulate = attr.accumulate}};
            SAIL_TRY(ocl_bias_grad(d, &sums, err));
        }
        attr.accumulate = true;
        at += h.chunk;
    } while (at < h.rows);
    return SAIL_OK;
}

static bool takes(const sail_device *d, const sail_call *c)
{
    const sail_dtype t = c->in[0].dtype;
    return (t == SAIL_F32 || t == SAIL_BF16 || t == SAIL_F16) && c->in[1].rows < INT32_MAX / 2 && c->in[0].cols < INT32_MAX / 2 &&
           (uint64_t)(c->in[1].rows + 3) * 4 <= largest(d);
}

const ocl_op ocl_head_ops[] = {
    {SAIL_OP_HEAD, takes, forward},
    {SAIL_OP_HEAD_BACK, takes, backward},
    {0},
};
