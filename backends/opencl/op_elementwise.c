/* op_elementwise.c - ops that treat each element by itself. */
#include <math.h>

#include "opencl.h"
#include "sail/rng.h"

/* Rows and columns to walk over: one long row where no matrix has a gap between rows. */
static void extent(const sail_call *c, int n_in, int n_out, int64_t *rows, int64_t *cols)
{
    bool whole = true;
    *rows = c->out[0].rows;
    *cols = c->out[0].cols;
    for (int i = 0; i < n_in + n_out; i++) {
        const sail_tensor *t = i < n_in ? &c->in[i] : &c->out[i - n_in];
        whole = whole && t->ld == t->cols;
    }
    if (whole) {
        *cols *= *rows;
        *rows = 1;
    }
}

static sail_code map(ocl_launch *l, int64_t rows, int64_t cols, double flops_each)
{
    const sail_call *c = l->call;
    const double n = (double)rows * (double)cols;
    l->flops = flops_each * n;
    for (int i = 0; i < c->n_in; i++)
        l->bytes += c->in[i].buffer ? (double)sail_dtype_bytes(c->in[i].dtype, 32) / 32 * (double)c->in[i].rows * (double)c->in[i].cols : 0;
    for (int i = 0; i < c->n_out; i++)
        l->bytes += c->out[i].buffer ? (double)sail_dtype_bytes(c->out[i].dtype, 32) / 32 * (double)c->out[i].rows * (double)c->out[i].cols : 0;
    return ocl_start_map(l, rows, cols);
}

static sail_code fill(sail_device *d, const sail_call *c, sail_err *err)
{
    ocl_launch l;
    int64_t rows, cols;
    extent(c, 0, 1, &rows, &cols);
    ocl_begin(&l, d, c, err, "elementwise", "fill", "-D FILL -D TY=%s", ocl_type(c->out[0].dtype));
    ocl_matrix(&l, &c->out[0]);
    ocl_i64(&l, rows);
    ocl_i64(&l, cols);
    ocl_f32(&l, c->attr.scale);
    return map(&l, rows, cols, 0);
}

static sail_code times(sail_device *d, const sail_call *c, float factor, sail_err *err)
{
    ocl_launch l;
    int64_t rows, cols;
    extent(c, 1, 1, &rows, &cols);
    ocl_begin(&l, d, c, err, "elementwise", "times", "-D TIMES -D TX=%s -D TY=%s", ocl_type(c->in[0].dtype), ocl_type(c->out[0].dtype));
    ocl_matrix(&l, &c->in[0]);
    ocl_matrix(&l, &c->out[0]);
    ocl_i64(&l, rows);
    ocl_i64(&l, cols);
    ocl_f32(&l, factor);
    return map(&l, rows, cols, 1);
}

static sail_code scale(sail_device *d, const sail_call *c, sail_err *err) { return times(d, c, c->attr.scale, err); }
static sail_code cast(sail_device *d, const sail_call *c, sail_err *err) { return times(d, c, 1, err); }

static sail_code add(sail_device *d, const sail_call *c, sail_err *err)
{
    ocl_launch l;
    int64_t rows, cols;
    extent(c, 2, 1, &rows, &cols);
    ocl_begin(&l, d, c, err, "elementwise", "add", "-D ADD -D TA=%s -D TB=%s -D TY=%s", ocl_type(c->in[0].dtype),
              ocl_type(c->in[1].dtype), ocl_type(c->out[0].dtype));
    ocl_matrix(&l, &c->in[0]);
    ocl_matrix(&l, &c->in[1]);
    ocl_matrix(&l, &c->out[0]);
    ocl_i64(&l, rows);
    ocl_i64(&l, cols);
    return map(&l, rows, cols, 1);
}

static sail_code glu(sail_device *d, const sail_call *c, sail_err *err)
{
    ocl_launch l;
    int64_t rows, cols;
    extent(c, 2, 1, &rows, &cols);
    ocl_begin(&l, d, c, err, "elementwise", "glu", "-D GLU -D ACT=%d -D TX=%s -D TU=%s -D TY=%s", (int)c->attr.activation,
              ocl_type(c->in[0].dtype), ocl_type(c->in[1].dtype), ocl_type(c->out[0].dtype));
    ocl_matrix(&l, &c->in[0]);
    ocl_matrix(&l, &c->in[1]);
    ocl_matrix(&l, &c->out[0]);
    ocl_i64(&l, rows);
    ocl_i64(&l, cols);
    return map(&l, rows, cols, 8);
}

static sail_code glu_back(sail_device *d, const sail_call *c, sail_err *err)
{
    ocl_launch l;
    int64_t rows, cols;
    extent(c, 3, 2, &rows, &cols);
    ocl_begin(&l, d, c, err, "elementwise", "glu_back", "-D GLU -D GLU_BACK -D ACT=%d -D TD=%s -D TX=%s -D TU=%s -D TG=%s -D TY=%s",
              (int)c->attr.activation, ocl_type(c->in[0].dtype), ocl_type(c->in[1].dtype), ocl_type(c->in[2].dtype),
              ocl_type(c->out[0].dtype), ocl_type(c->out[1].dtype));
    for (int i = 0; i < 3; i++)
        ocl_matrix(&l, &c->in[i]);
    ocl_matrix(&l, &c->out[0]);
    ocl_matrix(&l, &c->out[1]);
    ocl_i64(&l, rows);
    ocl_i64(&l, cols);
    return map(&l, rows, cols, 14);
}

static sail_code act(sail_device *d, const sail_call *c, sail_err *err)
{
    const bool back = c->op == SAIL_OP_ACT_BACK;
    ocl_launch l;
    int64_t rows, cols;
    extent(c, c->n_in, 1, &rows, &cols);
    ocl_begin(&l, d, c, err, "elementwise", back ? "act_back" : "act", "-D ACTIVATE -D ACT=%d -D TX=%s", (int)c->attr.activation,
              ocl_type(c->out[0].dtype));
    for (int i = 0; i < c->n_in; i++)
        ocl_matrix(&l, &c->in[i]);
    ocl_matrix(&l, &c->out[0]);
    ocl_i64(&l, rows);
    ocl_i64(&l, cols);
    return map(&l, rows, cols, back ? 8 : 5);
}

static sail_code rope(sail_device *d, const sail_call *c, sail_err *err)
{
    ocl_launch l;
    const int32_t head = c->attr.head_dim, turning = c->attr.rotary;
    const int64_t rows = c->out[0].rows, cols = c->out[0].cols / head * (head - turning / 2);
    ocl_begin(&l, d, c, err, "elementwise", "rope", "-D ROPE -D TX=%s", ocl_type(c->in[0].dtype));
    for (int i = 0; i < 3; i++)
        ocl_matrix(&l, &c->in[i]);
    ocl_matrix(&l, &c->out[0]);
    ocl_i64(&l, rows);
    ocl_i64(&l, cols);
    ocl_i32(&l, head);
    ocl_i32(&l, turning);
    ocl_i32(&l, (int32_t)c->in[2].rows);
    ocl_f32(&l, c->attr.inverse ? -1 : 1);
    ocl_faults(&l);
    l.flops = 6 * (double)rows * (double)(c->out[0].cols / head) * (turning / 2);
    l.bytes = (double)rows * ((double)c->out[0].cols * 2 * (double)sail_dtype_block_bytes(c->out[0].dtype) + 4 * (turning + 1));
    return ocl_start_map(&l, rows, cols);
}

static sail_code dropout(sail_device *d, const sail_call *c, sail_err *err)
{
    ocl_launch l;
    const double p = (double)c->attr.p;
    const int64_t rows = c->out[0].rows, width = c->out[0].cols, cols = (width + 3) / 4;
    ocl_begin(&l, d, c, err, "philox elementwise", "dropout", "-D DROPOUT -D TX=%s -D PURPOSE=%d", ocl_type(c->in[0].dtype),
              (int)SAIL_RNG_DROPOUT);
    ocl_matrix(&l, &c->in[0]);
    ocl_matrix(&l, &c->in[1]);
    ocl_matrix(&l, &c->out[0]);
    ocl_i64(&l, rows);
    ocl_i64(&l, cols);
    ocl_i64(&l, width);
    ocl_u64(&l, c->attr.seed);
    ocl_u64(&l, (uint64_t)c->attr.layer);
    ocl_u64(&l, (uint64_t)floor(p * 4294967296.0));
    ocl_f32(&l, (float)(1 / (1 - p)));
    return map(&l, rows, cols, 40);
}

const ocl_op ocl_elementwise_ops[] = {
    {SAIL_OP_FILL, NULL, fill},
    {SAIL_OP_SCALE, NULL, scale},
    {SAIL_OP_CAST, NULL, cast},
    {SAIL_OP_ADD, NULL, add},
    {SAIL_OP_GLU, NULL, glu},
    {SAIL_OP_GLU_BACK, NULL, glu_back},
    {SAIL_OP_ACT, NULL, act},
    {SAIL_OP_ACT_BACK, NULL, act},
    {SAIL_OP_ROPE, NULL, rope},
    {SAIL_OP_DROPOUT, NULL, dropout},
    {0},
};
