/* op_norm.c - root mean square normalisation, layer normalisation, their derivatives, and sums over rows. */
#include "opencl.h"

static double elements(const sail_tensor *t)
{
    return t->buffer ? (double)t->rows * (double)t->cols : 0;
}

static double bytes(const sail_tensor *t)
{
    return elements(t) * (double)sail_dtype_block_bytes(t->dtype);
}

static sail_code rms_norm(sail_device *d, const sail_call *c, sail_err *err)
{
    const sail_tensor *x = &c->in[0], *w = &c->in[1];
    const int64_t parts = c->out[1].cols, n = w->cols;
    ocl_launch l;
    ocl_begin(&l, d, c, err, "norm", "rms_norm", "-D NORM -D TX=%s -D TW=%s -D TY=%s", ocl_type(x->dtype), ocl_type(w->dtype),
              ocl_type(c->out[0].dtype));
    const size_t items = ocl_group_for(&l, n, 256);
    ocl_matrix(&l, x);
    ocl_matrix(&l, w);
    ocl_matrix(&l, &c->out[0]);
    ocl_matrix(&l, &c->out[1]);
    ocl_i32(&l, (int32_t)parts);
    ocl_i64(&l, n);
    ocl_f32(&l, c->attr.eps);
    ocl_f32(&l, c->attr.weight_plus);
    ocl_local(&l, items * sizeof(float));
    l.flops = 4 * elements(x);
    l.bytes = bytes(x) + bytes(&c->out[0]);
    return ocl_start_groups(&l, x->rows * parts, items);
}

static sail_code rms_norm_back(sail_device *d, const sail_call *c, sail_err *err)
{
    static const sail_tensor none = {0};
    const sail_tensor *x = &c->in[1], *w = &c->in[2], *residual = c->n_in > 4 && c->in[4].buffer ? &c->in[4] : &none;
    const int64_t parts = c->in[3].cols, n = w->cols;
    ocl_launch l;
    ocl_begin(&l, d, c, err, "norm", "rms_norm_back", "-D NORM_BACK -D TD=%s -D TX=%s -D TW=%s -D TR=%s -D TY=%s%s",
              ocl_type(c->in[0].dtype), ocl_type(x->dtype), ocl_type(w->dtype), ocl_type(residual->buffer ? residual->dtype : SAIL_F32),
              ocl_type(c->out[0].dtype), residual->buffer ? " -D RESIDUAL" : "");
    const size_t items = ocl_group_for(&l, n, 256);
    for (int i = 0; i < 4; i++)
        ocl_matrix(&l, &c->in[i]);
    ocl_matrix(&l, residual);
    ocl_matrix(&l, &c->out[0]);
    ocl_i32(&l, (int32_t)parts);
    ocl_i64(&l, n);
    ocl_f32(&l, c->attr.weight_plus);
    ocl_local(&l, items * sizeof(float));
    l.flops = 9 * elements(x);
    l.bytes = bytes(&c->in[0]) + bytes(x) + bytes(residual) + bytes(&c->out[0]);
    return ocl_start_groups(&l, x->rows * parts, items);
}

/* How rows are cut depends on shapes alone, so that the sums are the same bits each time. */
static sail_code column_sums(sail_device *d, const sail_call *c, const sail_tensor *x, const sail_tensor *stats, int64_t parts,
                             const char *weight, sail_err *err)
{
    static const sail_tensor none = {0};
    enum { EACH = 32, BLOCKS = 256 };
    const sail_tensor *dy = &c->in[0], *y = &c->out[0];
    const int64_t n = y->cols, units = dy->rows * parts;
    const int64_t each = units > (int64_t)EACH * BLOCKS ? (units + BLOCKS - 1) / BLOCKS : EACH;
    const int64_t blocks = units > 0 ? (units + each - 1) / each : 0;
    cl_mem sums;
    ocl_launch l;
    SAIL_TRY(ocl_scratch(d, 0, (uint64_t)(blocks * n) * sizeof(float), &sums, err));
    if (blocks > 0) {
        ocl_begin(&l, d, c, err, "norm", "column_blocks", "-D COLUMNS -D TD=%s -D TX=%s%s", ocl_type(dy->dtype), x ? ocl_type(x->dtype) : "f32",
                  weight);
        const size_t local[2] = {ocl_group_for(&l, n, 256), 1};
        const size_t global[2] = {((size_t)n + local[0] - 1) / local[0] * local[0], (size_t)blocks};
        ocl_matrix(&l, dy);
        ocl_matrix(&l, x ? x : &none);
        ocl_matrix(&l, stats ? stats : &none);
        ocl_memory(&l, sums);
        ocl_i32(&l, (int32_t)parts);
        ocl_i64(&l, n);
        ocl_i64(&l, units);
        ocl_i64(&l, each);
        l.flops = (x ? 3 : 1) * elements(dy);
        l.bytes = bytes(dy) + (x ? bytes(x) : 0);
        SAIL_TRY(ocl_start(&l, 2, global, local));
    }
    ocl_begin(&l, d, c, err, "norm", "column_sum", "-D COLUMNS -D TD=f32 -D TX=f32");
    const size_t local = ocl_group_for(&l, n, 256), global = ((size_t)n + local - 1) / local * local;
    ocl_memory(&l, sums);
    ocl_matrix(&l, y);
    ocl_i64(&l, n);
    ocl_i64(&l, blocks);
    ocl_i32(&l, c->attr.accumulate);
    l.flops = (double)blocks * (double)n;
    l.bytes = 4 * (double)(blocks + 1) * (double)n;
    return ocl_start(&l, 1, &global, &local);
}

static sail_code rms_norm_wgrad(sail_device *d, const sail_call *c, sail_err *err)
{
    return column_sums(d, c, &c->in[1], &c->in[2], c->in[2].cols, " -D NORM_WEIGHT", err);
}

sail_code ocl_bias_grad(sail_device *d, const sail_call *c, sail_err *err)
{
    return column_sums(d, c, NULL, NULL, 1, "", err);
}

static sail_code layer_norm(sail_device *d, const sail_call *c, sail_err *err)
{
    const sail_tensor *x = &c->in[0];
    ocl_launch l;
    ocl_begin(&l, d, c, err, "layer_norm", "layer_norm", "-D NORM -D TX=%s -D TW=%s -D TB=%s -D TY=%s", ocl_type(x->dtype),
              ocl_type(c->in[1].dtype), ocl_type(c->in[2].dtype), ocl_type(c->out[0].dtype));
    const size_t items = ocl_group_for(&l, x->cols, 256);
    for (int i = 0; i < 3; i++)
        ocl_matrix(&l, &c->in[i]);
    ocl_matrix(&l, &c->out[0]);
    ocl_matrix(&l, &c->out[1]);
    ocl_i64(&l, x->cols);
    ocl_f32(&l, c->attr.eps);
    ocl_local(&l, items * sizeof(float));
    l.flops = 7 * elements(x);
    l.bytes = bytes(x) + bytes(&c->out[0]);
    return ocl_start_groups(&l, x->rows, items);
}

static sail_code layer_norm_back(sail_device *d, const sail_call *c, sail_err *err)
{
    static const sail_tensor none = {0};
    const sail_tensor *x = &c->in[1], *residual = c->n_in > 4 && c->in[4].buffer ? &c->in[4] : &none;
    ocl_launch l;
    ocl_begin(&l, d, c, err, "layer_norm", "layer_norm_back", "-D NORM_BACK -D TD=%s -D TX=%s -D TW=%s -D TR=%s -D TY=%s%s",
              ocl_type(c->in[0].dtype), ocl_type(x->dtype), ocl_type(c->in[2].dtype),
              ocl_type(residual->buffer ? residual->dtype : SAIL_F32), ocl_type(c->out[0].dtype), residual->buffer ? " -D RESIDUAL" : "");
    const size_t items = ocl_group_for(&l, x->cols, 256);
    for (int i = 0; i < 4; i++)
        ocl_matrix(&l, &c->in[i]);
    ocl_matrix(&l, residual);
    ocl_matrix(&l, &c->out[0]);
    ocl_i64(&l, x->cols);
    ocl_local(&l, items * sizeof(float));
    l.flops = 11 * elements(x);
    l.bytes = bytes(&c->in[0]) + bytes(x) + bytes(residual) + bytes(&c->out[0]);
    return ocl_start_groups(&l, x->rows, items);
}

static sail_code layer_norm_wgrad(sail_device *d, const sail_call *c, sail_err *err)
{
    return column_sums(d, c, &c->in[1], &c->in[2], 1, " -D LAYER_WEIGHT", err);
}

const ocl_op ocl_norm_ops[] = {
    {SAIL_OP_RMS_NORM, NULL, rms_norm},
    {SAIL_OP_RMS_NORM_BACK, NULL, rms_norm_back},
    {SAIL_OP_RMS_NORM_WGRAD, NULL, rms_norm_wgrad},
    {SAIL_OP_BIAS_GRAD, NULL, ocl_bias_grad},
    {SAIL_OP_LAYER_NORM, NULL, layer_norm},
    {SAIL_OP_LAYER_NORM_BACK, NULL, layer_norm_back},
    {SAIL_OP_LAYER_NORM_WGRAD, NULL, layer_norm_wgrad},
    {0},
};
