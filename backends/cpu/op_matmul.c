/* op_matmul.c - MATMUL: slices of columns times chunks of rows, each one product of product.c.
 *
 * Two bfloat16 operands are multiplied as such where the processor can; any other mixture in float32. Operands of another
 * type than what is multiplied are converted: A once for the call, B by slice, in the task. The slices depend on shapes
 * only. */
#include "gemm.h"
#include "kernels.h"

enum { FEW_ROWS = 128 }; /* below: our own loops, which read B from memory once and make no primitives */

struct job {
    const sail_device *d;
    const sail_tensor *b, *bias, *residual, *y;
    const void *a;
    int64_t lda;
    product plan[2][2]; /* [last chunk][last slice] */
    int64_t m, n, k, chunk, width, slices;
    bool trans_a, trans_b, bf16, convert_b, add_residual, a_bf16;
    const sail_call *low; /* a second product to be added; NULL: none */
    bool low_pairs;
    size_t room, b_room; /* scratch of the products, of a slice of B, which follows it, and then a slice of the low product's B */
    int failed;
};

static int64_t even_parts(int64_t n, int64_t target)
{
    int64_t parts = (n + target - 1) / target;
    return parts > 1 || n > target / 2 ? (parts + 1) / 2 * 2 : 1;
}

static int64_t part_of(int64_t n, int64_t parts, int64_t multiple)
{
    int64_t size = (n + parts - 1) / parts;
    return (size + multiple - 1) / multiple * multiple;
}

static void cut(struct job *j, bool few_rows, int64_t block)
{
    int64_t multiple = block > 16 ? block : 16;
    if (few_rows) {
        j->width = j->n >= 8192 ? 256 : j->n >= 2048 ? 128 : 64;
        j->width = (j->width + multiple - 1) / multiple * multiple;
        j->chunk = PRODUCT_ROWS;
    } else if (j->trans_a) {
        int64_t parts = even_parts(j->n, 288);
        j->width = part_of(j->n, parts, multiple);
        j->chunk = part_of(j->m, (j->m + 575) / 576, 16);
        if (j->n <= 64)
            j->chunk = 144;
    } else {
        int64_t parts = even_parts(j->n, 192);
        j->width = part_of(j->n, parts, multiple);
        j->chunk = parts >= 4 ? PRODUCT_ROWS : parts == 2 ? PRODUCT_ROWS / 2 : PRODUCT_ROWS / 4;
    }
    j->slices = (j->n + j->width - 1) / j->width;
}

struct convert {
    const sail_tensor *t;
    float *to;
    int64_t ld;
};

static void convert_rows(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const struct convert *c = arg;
    for (int64_t r = b->row; r < b->row + b->rows; r++)
        for (int64_t i = b->col; i < b->col + b->cols; i += VL) {
            int n = vcount(b->col + b->cols - i);
            vwrite(c->to + r * c->ld, i, n, false, vread(cpu_row(c->t, r), i, n, true));
        }
}

/* One row of B, any type, to float32 or bfloat16; `wide` has room for it in float32. */
static void convert_row(const sail_tensor *b, int64_t row, int64_t col, int64_t n, void *to, bool bf16, float *wide)
{
    size_t block = sail_dtype_block_elements(b->dtype), bytes = sail_dtype_block_bytes(b->dtype);
    const unsigned char *from =
        (const unsigned char *)cpu_data(b) + (size_t)row * ((size_t)b->ld / block * bytes) + (size_t)col / block * bytes;
    float *f = bf16 ? wide : to;
    (void)sail_to_f32(b->dtype, from, f, (size_t)n, NULL); /* types were checked, n is whole blocks */
    if (bf16)
        for (int64_t i = 0; i < n; i += VL)
            vwrite(to, i, vcount(n - i), true, vread(f, i, vcount(n - i), false));
}

static const void *slice_of_b(const struct job *j, int64_t col, int64_t width, unsigned char *scratch)
{
    const sail_tensor *b = j->b;
    if (!j->convert_b)
        return (const char *)cpu_data(b) + (j->trans_b ? col * b->ld : col) * (cpu_bf16(b) ? 2 : 4);
    size_t size = j->bf16 ? 2 : 4;
    int64_t rows = j->trans_b ? width : j->k, cols = j->trans_b ? j->k : width;
    float *wide = (float *)(scratch + cpu_round((size_t)(rows * cols) * size));
    for (int64_t r = 0; r < rows; r++)
        convert_row(b, j->trans_b ? col + r : r, j->trans_b ? 0 : col, cols, scratch + (size_t)(r * cols) * size, j->bf16,
                    wide);
    return scratch;
}

static void add_tile(const struct job *j, int64_t row, int64_t rows, int64_t col, int64_t cols)
{
    for (int64_t r = row; r < row + rows; r++)
        for (int64_t i = col; i < col + cols; i += VL) {
            int n = vcount(col + cols - i);
            bool bf16 = cpu_bf16(j->y);
            vwrite(cpu_row(j->y, r), i, n, bf16, vread(cpu_row(j->y, r), i, n, bf16) +
                   vread(cpu_row(j->residual, r), i, n, cpu_bf16(j->residual)));
        }
}

static void run_slice(void *arg, size_t task, int thread)
{
    struct job *j = arg;
    int64_t chunks = (j->m + j->chunk - 1) / j->chunk, row = (int64_t)task % chunks * j->chunk;
    int64_t col = (int64_t)task / chunks * j->width, rows = j->m - row < j->chunk ? j->m - row : j->chunk;
    int64_t width = j->n - col < j->width ? j->n - col : j->width;
    const product *p = &j->plan[rows != j->chunk][width != j->width];
    unsigned char *scratch = cpu_each(j->d, thread);
    const void *b = slice_of_b(j, col, width, scratch + j->room);
    const void *a = (const char *)j->a + (j->trans_a ? row : row * j->lda) * (j->a_bf16 ? 2 : 4);
    const void *bias = j->bias->buffer ? (const char *)cpu_data(j->bias) + col * (cpu_bf16(j->bias) ? 2 : 4) : NULL;
    product_operands with = {.a = a, .b = b, .bias = bias, .c = (char *)cpu_row(j->y, row) + (size_t)col * (cpu_bf16(j->y) ? 2 : 4)};
    if (j->residual->buffer && !j->add_residual) {
        with.residual = (char *)cpu_row(j->residual, row) + (size_t)col * (cpu_bf16(j->y) ? 2 : 4);
        with.ld_residual = j->residual->ld;
    }
    if (j->low) {
        const sail_tensor *lb = &j->low->in[1];
        uint32_t *panels = (uint32_t *)(void *)(scratch + j->room + j->b_room);
        const char *from = (const char *)cpu_data(lb) + (j->low->attr.trans_b ? col * lb->ld : col) * (cpu_bf16(lb) ? 2 : 4);
        (j->low->attr.trans_b ? K(pack_nk) : K(pack_kn))(panels, from, lb->ld, width, p->low_k, cpu_bf16(lb), j->low_pairs);
        with.low_a = cpu_row(&j->low->in[0], row);
        with.low_b = panels;
    }
    if (!K(product_run)(p, thread, &with, scratch))
        __atomic_store_n(&j->failed, 1, __ATOMIC_RELAXED);
    if (j->add_residual)
        add_tile(j, row, rows, col, width);
}

static sail_code plans(sail_device *d, struct job *j, const sail_call *c, bool few_rows, sail_err *err)
{
    int64_t last_rows = j->m % j->chunk ? j->m % j->chunk : j->chunk;
    int64_t last_width = j->n % j->width ? j->n % j->width : j->width;
    if (d->dnnl)
        cpu_dnnl_begin(d->dnnl);
    for (int r = 0; r < 2; r++)
        for (int w = 0; w < 2; w++) {
            product *p = &j->plan[r][w];
            int64_t width = w ? last_width : j->width;
            if (!r && j->m < j->chunk)
                continue;
            if (!w && j->n < j->width)
                continue;
            p->p = (cpu_product){.m = r ? last_rows : j->chunk,
                                 .n = width,
                                 .k = j->k,
                                 .lda = j->lda,
                                 .ldb = !j->convert_b ? j->b->ld : j->trans_b ? j->k : width,
                                 .ldc = j->y->ld,
                                 .trans_a = j->trans_a,
                                 .trans_b = j->trans_b,
                                 .bf16_out = cpu_bf16(j->y),
                                 .sum = c->attr.accumulate || j->residual->buffer != NULL,
                                 .bias = j->bias->buffer != NULL,
                                 .bias_bf16 = j->bias->buffer && cpu_bf16(j->bias),
                                 .scale = c->attr.scale};
            if (j->low) {
                const sail_tensor *la = &j->low->in[0];
                p->low_k = la->cols;
                p->low_pairs = j->low_pairs;
                p->low_lda = j->low_pairs ? la->ld / 2 : la->ld;
                p->low_scale = j->low->attr.scale;
            }
            p->own = few_rows;
            p->a_bf16 = j->a_bf16;
            p->b_bf16 = j->convert_b ? j->bf16 : cpu_bf16(j->b);
            SAIL_TRY(K(product_make)(d, p, err));
            if (p->scratch > j->room)
                j->room = p->scratch;
        }
    return SAIL_OK;
}

static sail_code multiply(sail_device *d, const sail_call *c, const sail_call *low, sail_err *err)
{
    static const sail_tensor absent = {0};
    const sail_tensor *a = &c->in[0];
    struct job j = {.d = d, .b = &c->in[1], .y = &c->out[0], .a = cpu_data(a), .lda = a->ld, .m = c->out[0].rows,
                    .n = c->out[0].cols, .k = c->attr.trans_a ? a->rows : a->cols, .trans_a = c->attr.trans_a,
                    .trans_b = c->attr.trans_b, .a_bf16 = cpu_bf16(a), .low = low,
                    .low_pairs = low && cpu_bf16(&low->in[0])};
    j.bias = c->n_in > 2 ? &c->in[2] : &absent;
    j.residual = c->n_in > 3 ? &c->in[3] : &absent;
    if (j.m == 0 || j.n == 0)
        return SAIL_OK;
    bool packed_b = !cpu_bf16(j.b) && j.b->dtype != SAIL_F32;
    bool few_rows = j.m < FEW_ROWS && !j.trans_a, dnnl = d->dnnl && !few_rows && (j.trans_a || d->dnnl_rows);
    j.bf16 = j.a_bf16 && (cpu_bf16(j.b) || packed_b) && d->dnnl_bf16;
    j.convert_b = packed_b || (cpu_bf16(j.b) && !j.bf16 && dnnl);
    j.add_residual = j.residual->buffer && c->attr.accumulate;
    cut(&j, few_rows, (int64_t)sail_dtype_block_elements(j.b->dtype));
    bool convert_a = j.a_bf16 && !j.bf16 && dnnl;
    if (convert_a) {
        SAIL_TRY(cpu_scratch(d, (size_t)(a->rows * a->cols) * 4, 0, err));
        struct convert v = {a, (float *)(void *)d->shared, a->cols};
        cpu_blocks(d, a->rows, a->cols, 32768, false, convert_rows, &v);
        j.a = d->shared;
        j.lda = a->cols;
        j.a_bf16 = false;
    }
    SAIL_TRY(plans(d, &j, c, few_rows, err));
    if (j.convert_b) {
        int64_t rows = j.trans_b ? j.width : j.k, cols = j.trans_b ? j.k : j.width;
        j.b_room = cpu_round((size_t)(rows * cols) * (j.bf16 ? 2 : 4)) + cpu_round((size_t)cols * 4);
    }
    size_t low_room = low ? (size_t)(units_of(low->in[0].cols, j.low_pairs) * round_panels(j.width)) * 4 : 0;
    SAIL_TRY(cpu_scratch(d, 0, j.room + j.b_room + low_room, err));
    sail_pool_run(d->pool, (size_t)((j.m + j.chunk - 1) / j.chunk * j.slices), run_slice, &j);
    if (j.failed)
        return sail_fail(err, SAIL_E_DEVICE, "cpu: matmul: oneDNN failed");
    return SAIL_OK;
}

sail_code K(matmul)(sail_device *d, const sail_call *c, sail_err *err)
{
    bool done = false;
    SAIL_TRY(K(thin)(d, c, &done, err));
    return done ? SAIL_OK : multiply(d, c, NULL, err);
}

static bool same_view(const sail_tensor *a, const sail_tensor *b)
{
    return a->buffer == b->buffer && a->offset == b->offset && a->ld == b->ld && a->dtype == b->dtype && a->rows == b->rows &&
           a->cols == b->cols;
}

static bool apart(const sail_tensor *a, const sail_tensor *b)
{
    uint64_t a_end = a->offset + sail_dtype_bytes(a->dtype, (uint64_t)(a->rows * a->ld));
    uint64_t b_end = b->offset + sail_dtype_bytes(b->dtype, (uint64_t)(b->rows * b->ld));
    return a->buffer != b->buffer || a_end <= b->offset || b_end <= a->offset;
}

/* A product that can be added while another's tile is at hand: small k, and A read in place as units. */
static bool is_low(const sail_call *c)
{
    const sail_tensor *a = &c->in[0], *b = &c->in[1];
    bool pairs = cpu_bf16(a) && cpu_bf16(b) && HAVE_PAIRS;
    if (c->attr.trans_a || a->cols < 1 || a->cols > LOW_MOST || (c->n_in > 2 && c->in[2].buffer))
        return false;
    if (pairs)
        return a->cols % 2 == 0 && a->ld % 2 == 0 && (uintptr_t)cpu_data(a) % 4 == 0;
    return a->dtype == SAIL_F32 && b->dtype == SAIL_F32;
}

bool K(matmul_adds)(const sail_call *first, const sail_call *second)
{
    const sail_tensor *y = &second->out[0];
    if (first->op != SAIL_OP_MATMUL || second->op != SAIL_OP_MATMUL || first->attr.accumulate || second->attr.accumulate ||
        second->n_in < 4 || !same_view(&second->in[3], y) || !same_view(&first->out[0], y) || !apart(&second->in[0], y) ||
        !apart(&second->in[1], y) || (second->in[2].buffer && !apart(&second->in[2], y)))
        return false;
    bool low = is_low(second);
    return !(low ? first : second)->attr.trans_a && (low || is_low(first));
}

/* Both in one pass over y, which is rounded once. */
sail_code K(matmul_sum)(sail_device *d, const sail_call *first, const sail_call *second, sail_err *err)
{
    bool low = is_low(second);
    sail_call c = low ? *first : *second;
    c.in[3] = first->n_in > 3 ? first->in[3] : (sail_tensor){0};
    c.n_in = c.n_in < 3 ? (c.in[2] = (sail_tensor){0}, 4) : 4;
    return multiply(d, &c, low ? second : first, err);
}
