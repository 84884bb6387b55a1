/* rows.c - ops that move or sum whole rows: EMBED and its gradient, GATHER_ROWS, SCATTER_ROWS, COPY_ROWS. Sums go by strips of
 * columns, each in order of the rows, so that no two tasks meet. */
#include "kernels.h"

enum { BLOCK = 16384, STRIP = 64 };

static void embed_rows(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    const sail_tensor *table = &c->in[0], *y = &c->out[0];
    float *row = cpu_each(d, thread);
    size_t bytes = (size_t)table->ld / sail_dtype_block_elements(table->dtype) * sail_dtype_block_bytes(table->dtype);
    for (int64_t r = b->row; r < b->row + b->rows; r++) {
        const unsigned char *from = (const unsigned char *)cpu_data(table) + (size_t)cpu_id(&c->in[1], r, 0) * bytes;
        (void)sail_to_f32(table->dtype, from, row, (size_t)table->cols, NULL); /* types were checked */
        for (int64_t i = 0; i < y->cols; i += VL) {
            int n = vcount(y->cols - i);
            vwrite(cpu_row(y, r), i, n, cpu_bf16(y), vread(row, i, n, false) * vset(c->attr.scale));
        }
    }
}

sail_code K(embed)(sail_device *d, const sail_call *c, sail_err *err)
{
    SAIL_TRY(cpu_check_ids(c, 1, 0, c->in[0].rows, err));
    SAIL_TRY(cpu_scratch(d, 0, (size_t)c->in[0].cols * 4, err));
    cpu_blocks(d, c->out[0].rows, c->out[0].cols, BLOCK, true, embed_rows, c);
    return SAIL_OK;
}

static void clear_block(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_tensor *t = arg;
    for (int64_t r = b->row; r < b->row + b->rows; r++)
        memset((float *)cpu_row(t, r) + b->col, 0, (size_t)b->cols * 4);
}

static void embed_grad_strip(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    const sail_tensor *dy = &c->in[0], *table = &c->out[0];
    vf scale = vset(c->attr.scale);
    for (int64_t r = 0; r < dy->rows; r++) {
        float *to = cpu_row(table, cpu_id(&c->in[1], r, 0));
        for (int64_t i = b->col; i < b->col + b->cols; i += VL) {
            int n = vcount(b->col + b->cols - i);
            vwrite(to, i, n, false, vfma(scale, vread(cpu_row(dy, r), i, n, cpu_bf16(dy)), vread(to, i, n, false)));
        }
    }
}

sail_code K(embed_grad)(sail_device *d, const sail_call *c, sail_err *err)
{
    SAIL_TRY(cpu_check_ids(c, 1, 0, c->out[0].rows, err));
    if (!c->attr.accumulate)
        cpu_blocks(d, c->out[0].rows, c->out[0].cols, 1 << 16, false, clear_block, &c->out[0]);
    cpu_columns(d, c->out[0].cols, STRIP, embed_grad_strip, c);
    return SAIL_OK;
}

static size_t element(const sail_tensor *t) { return sail_dtype_block_bytes(t->dtype); }

static void gather_rows(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    for (int64_t r = b->row; r < b->row + b->rows; r++)
        memcpy(cpu_row(&c->out[0], r), cpu_row(&c->in[0], cpu_id(&c->in[1], r, 0)), (size_t)c->out[0].cols * element(&c->out[0]));
}

static void convert_gather_rows(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    const sail_tensor *x = &c->in[0], *y = &c->out[0];
    for (int64_t r = b->row; r < b->row + b->rows; r++)
        for (int64_t i = 0; i < y->cols; i += VL) {
            int n = vcount(y->cols - i);
            vwrite(cpu_row(y, r), i, n, cpu_bf16(y), vread(cpu_row(x, cpu_id(&c->in[1], r, 0)), i, n, cpu_bf16(x)));
        }
}

sail_code K(gather_rows)(sail_device *d, const sail_call *c, sail_err *err)
{
    SAIL_TRY(cpu_check_ids(c, 1, 0, c->in[0].rows, err));
    cpu_blocks(d, c->out[0].rows, c->out[0].cols, BLOCK, true,
               c->in[0].dtype == c->out[0].dtype ? gather_rows : convert_gather_rows, c);
    return SAIL_OK;
}

static void scatter_strip(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    const sail_tensor *dy = &c->in[0], *dx = &c->out[0];
    float *sum = cpu_each(d, thread); /* float32 whatever the result is */
    memset(sum, 0, (size_t)dx->rows * STRIP * 4);
    for (int64_t r = 0; r < dy->rows; r++) {
        float *to = sum + (int64_t)cpu_id(&c->in[1], r, 0) * STRIP;
        for (int64_t i = 0; i < b->cols; i += VL)
            vstore(to + i, vload(to + i) + vread(cpu_row(dy, r), b->col + i, vcount(b->cols - i), cpu_bf16(dy)));
    }
    for (int64_t r = 0; r < dx->rows; r++)
        for (int64_t i = 0; i < b->cols; i += VL)
            vwrite(cpu_row(dx, r), b->col + i, vcount(b->cols - i), cpu_bf16(dx), vload(sum + r * STRIP + i));
}

sail_code K(scatter_rows)(sail_device *d, const sail_call *c, sail_err *err)
{
    SAIL_TRY(cpu_check_ids(c, 1, 0, c->out[0].rows, err));
    SAIL_TRY(cpu_scratch(d, 0, (size_t)c->out[0].rows * STRIP * 4, err));
    cpu_columns(d, c->out[0].cols, STRIP, scatter_strip, c);
    return SAIL_OK;
}

static void copy_strip(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const sail_call *c = arg;
    const sail_tensor *x = &c->in[0], *to = &c->out[0];
    for (int64_t r = 0; r < x->rows; r++)
        for (int64_t i = b->col; i < b->col + b->cols; i += VL) {
            int n = vcount(b->col + b->cols - i);
            vwrite(cpu_row(to, cpu_id(&c->in[1], r, 0)), i, n, cpu_bf16(to), vread(cpu_row(x, r), i, n, cpu_bf16(x)));
        }
}

sail_code K(copy_rows)(sail_device *d, const sail_call *c, sail_err *err)
{
    SAIL_TRY(cpu_check_ids(c, 1, 0, c->out[0].rows, err));
    cpu_columns(d, c->out[0].cols, 256, copy_strip, c);
    return SAIL_OK;
}
