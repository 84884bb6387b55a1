/* op_rows.c - embedding, rows taken, put and summed by id. */
#include "opencl.h"

static sail_code gather(sail_device *d, const sail_call *c, float factor, sail_err *err)
{
    const sail_tensor *x = &c->in[0], *y = &c->out[0];
    ocl_launch l;
    ocl_begin(&l, d, c, err, sail_dtype_is_quantised(x->dtype) ? "quant rows" : "rows", "gather", "-D GATHER -D TX=%s -D TY=%s",
              ocl_type(x->dtype), ocl_type(y->dtype));
    ocl_matrix(&l, x);
    ocl_matrix(&l, &c->in[1]);
    ocl_matrix(&l, y);
    ocl_i64(&l, y->rows);
    ocl_i64(&l, y->cols);
    ocl_i32(&l, (int32_t)x->rows);
    ocl_f32(&l, factor);
    ocl_faults(&l);
    l.bytes = (double)y->rows * (double)y->cols * (double)(sail_dtype_block_bytes(x->dtype) / sail_dtype_block_elements(x->dtype) +
                                                           sail_dtype_block_bytes(y->dtype));
    return ocl_start_map(&l, y->rows, y->cols);
}

static bool embeds(const sail_device *d, const sail_call *c)
{
    const sail_dtype t = c->in[0].dtype, y = c->out[0].dtype;
    return (sail_dtype_is_quantised(t) || t == SAIL_F32 || t == SAIL_BF16 || t == SAIL_F16) &&
           (y == SAIL_F32 || y == SAIL_BF16 || y == SAIL_F16);
}

static sail_code embed(sail_device *d, const sail_call *c, sail_err *err) { return gather(d, c, c->attr.scale, err); }
static sail_code gather_rows(sail_device *d, const sail_call *c, sail_err *err) { return gather(d, c, 1, err); }

static sail_code copy_rows(sail_device *d, const sail_call *c, sail_err *err)
{
    const sail_tensor *x = &c->in[0], *cache = &c->out[0];
    ocl_launch l;
    ocl_begin(&l, d, c, err, "rows", "put", "-D PUT -D TX=%s -D TY=%s", ocl_type(x->dtype), ocl_type(cache->dtype));
    ocl_matrix(&l, x);
    ocl_matrix(&l, &c->in[1]);
    ocl_matrix(&l, cache);
    ocl_i64(&l, x->rows);
    ocl_i64(&l, x->cols);
    ocl_i32(&l, (int32_t)cache->rows);
    ocl_faults(&l);
    l.bytes = (double)x->rows * (double)x->cols * (double)(sail_dtype_block_bytes(x->dtype) + sail_dtype_block_bytes(cache->dtype));
    return ocl_start_map(&l, x->rows, x->cols);
}

static sail_code zero(sail_device *d, const sail_call *c, const sail_tensor *y, sail_err *err)
{
    const bool whole = y->ld == y->cols;
    ocl_launch l;
    ocl_begin(&l, d, c, err, "elementwise", "fill", "-D FILL -D TY=%s", ocl_type(y->dtype));
    ocl_matrix(&l, y);
    ocl_i64(&l, whole ? 1 : y->rows);
    ocl_i64(&l, whole ? y->rows * y->cols : y->cols);
    ocl_f32(&l, 0);
    l.bytes = (double)y->rows * (double)y->cols * (double)sail_dtype_block_bytes(y->dtype);
    return ocl_start_map(&l, whole ? 1 : y->rows, whole ? y->rows * y->cols : y->cols);
}

/* y[id] (+)= factor * the sum of the rows of dy that have this id. */
static sail_code sum_by_id(sail_device *d, const sail_call *c, float factor, bool accumulate, sail_err *err)
{
    const sail_tensor *dy = &c->in[0], *ids = &c->in[1], *y = &c->out[0];
    const int32_t n = (int32_t)dy->rows, end = (int32_t)y->rows;
    cl_mem order;
    ocl_launch l;
    if (!accumulate)
        SAIL_TRY(zero(d, c, y, err));
    if (n == 0)
        return SAIL_OK;
    SAIL_TRY(ocl_scratch(d, 0, (uint64_t)n * sizeof(int32_t), &order, err));
    ocl_begin(&l, d, c, err, "rows", "rank_ids", "-D SEGMENTS -D TD=%s -D TY=%s", ocl_type(dy->dtype), ocl_type(y->dtype));
    size_t items = ocl_group_for(&l, n, 256);
    ocl_matrix(&l, ids);
    ocl_memory(&l, order);
    ocl_i32(&l, n);
    ocl_i32(&l, end);
    ocl_local(&l, items * sizeof(int32_t));
    ocl_faults(&l);
    l.bytes = 8 * (double)n;
    SAIL_TRY(ocl_start_groups(&l, ((int64_t)n + (int64_t)items - 1) / (int64_t)items, items));
    ocl_begin(&l, d, c, err, "rows", "sum_segments", "-D SEGMENTS -D TD=%s -D TY=%s", ocl_type(dy->dtype), ocl_type(y->dtype));
    items = ocl_group_for(&l, y->cols, 256);
    ocl_matrix(&l, dy);
    ocl_matrix(&l, ids);
    ocl_memory(&l, order);
    ocl_matrix(&l, y);
    ocl_i32(&l, n);
    ocl_i64(&l, y->cols);
    ocl_i32(&l, end);
    ocl_f32(&l, factor);
    ocl_i32(&l, accumulate);
    l.flops = (double)n * (double)y->cols;
    l.bytes = (double)n * (double)y->cols * (double)(sail_dtype_block_bytes(dy->dtype) + sail_dtype_block_bytes(y->dtype));
    return ocl_start_groups(&l, n, items);
}

static sail_code embed_grad(sail_device *d, const sail_call *c, sail_err *err)
{
    return sum_by_id(d, c, c->attr.scale, c->attr.accumulate, err);
}

static sail_code scatter_rows(sail_device *d, const sail_call *c, sail_err *err) { return sum_by_id(d, c, 1, false, err); }

const ocl_op ocl_rows_ops[] = {
    {SAIL_OP_EMBED, embeds, embed},
    {SAIL_OP_EMBED_GRAD, NULL, embed_grad},
    {SAIL_OP_GATHER_ROWS, NULL, gather_rows},
    {SAIL_OP_SCATTER_ROWS, NULL, scatter_rows},
    {SAIL_OP_COPY_ROWS, NULL, copy_rows},
    {0},
};
