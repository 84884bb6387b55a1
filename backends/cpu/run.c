/* run.c - which calls the cpu backend takes, running them, and cutting work into blocks. */
#include "cpu.h"

#include <stdlib.h>
#include <time.h>

static bool act(const sail_tensor *t) { return !t->buffer || t->dtype == SAIL_F32 || t->dtype == SAIL_BF16; }

/* sail_call_check knows ops.def; what remains is which dtypes have kernels here. */
static sail_code takes(const sail_call *c, sail_err *err)
{
    SAIL_TRY(sail_call_check(c, err));
    for (int i = 0; i < c->n_in; i++) {
        const sail_tensor *t = &c->in[i];
        bool packed = sail_dtype_is_quantised(t->dtype) || t->dtype == SAIL_F16;
        bool weight = packed && ((c->op == SAIL_OP_MATMUL && i == 1) || (c->op == SAIL_OP_EMBED && i == 0) ||
                                 ((c->op == SAIL_OP_HEAD || c->op == SAIL_OP_HEAD_BACK) && i == 1) ||
                                 (c->op == SAIL_OP_CAST && t->dtype == SAIL_F16));
        if (!act(t) && t->dtype != SAIL_I32 && !weight)
            return sail_fail(err, SAIL_E_DTYPE, "cpu: %s: operand %d is %s; f32 and bf16 are what it takes",
                             sail_op_name(c->op), i, sail_dtype_name(t->dtype));
    }
    for (int i = 0; i < c->n_out; i++)
        if (!act(&c->out[i]) && c->out[i].dtype != SAIL_I32 && !(c->op == SAIL_OP_CAST && c->out[i].dtype == SAIL_F16))
            return sail_fail(err, SAIL_E_DTYPE, "cpu: %s: result %d is %s; f32 and bf16 are what it makes",
                             sail_op_name(c->op), i, sail_dtype_name(c->out[i].dtype));
    return SAIL_OK;
}

bool cpu_supports(sail_device *d, const sail_call *call)
{
    sail_err err = {0};
    return (unsigned)call->op < SAIL_OP_COUNT && d->kernels->op[call->op] && takes(call, &err) == SAIL_OK;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

sail_code cpu_run(sail_device *d, const sail_call *calls, size_t n, sail_err *err)
{
    double before = now();
    cpu_thread_init(NULL, 0); /* the device may have been opened on another thread */
    for (size_t i = 0; i < n; i++) {
        const sail_call *c = &calls[i];
        if ((unsigned)c->op >= SAIL_OP_COUNT || !d->kernels->op[c->op])
            return sail_fail(err, SAIL_E_DEVICE, "cpu: op %d has no kernel", (int)c->op);
        SAIL_TRY(takes(c, err));
        bool both = i + 1 < n && d->kernels->adds(c, c + 1);
        if (both) {
            i++;
            SAIL_TRY(takes(c + 1, err));
            SAIL_TRY(d->kernels->sum(d, c, c + 1, err));
        } else
            SAIL_TRY(d->kernels->op[c->op](d, c, err));
        double after = now();
        d->counters.calls += 1 + both;
        d->calls[c->op] += 1 + both;
        d->seconds[c->op] += after - before;
        before = after;
    }
    return SAIL_OK;
}

sail_code cpu_scratch(sail_device *d, size_t shared, size_t each, sail_err *err)
{
    shared = cpu_round(shared);
    each = cpu_round(each) + CPU_ALIGN; /* threads never share a cache line */
    if (shared > d->shared_bytes) {
        free(d->shared);
        d->shared = aligned_alloc(4096, (shared + 4095) / 4096 * 4096);
        d->counters.bytes_now -= d->shared_bytes;
        d->shared_bytes = d->shared ? shared : 0;
        d->counters.bytes_now += d->shared_bytes;
    }
    if (each > d->each_bytes) {
        each = (each + 4095) / 4096 * 4096 + CPU_ALIGN; /* not a whole page: equal offsets would meet in the cache's sets */
        free(d->each);
        d->counters.bytes_now -= d->each_bytes * (size_t)d->threads;
        d->each = aligned_alloc(CPU_ALIGN, each * (size_t)d->threads);
        d->each_bytes = d->each ? each : 0;
        d->counters.bytes_now += d->each_bytes * (size_t)d->threads;
    }
    if (d->counters.bytes_now > d->counters.bytes_peak)
        d->counters.bytes_peak = d->counters.bytes_now;
    if ((shared && !d->shared) || !d->each)
        return sail_fail(err, SAIL_E_NOMEM, "cpu: scratch memory of %zu bytes, and %zu for each of %d threads", shared, each,
                         d->threads);
    return SAIL_OK;
}

struct blocks {
    const sail_device *d;
    int64_t rows, cols, block_rows, block_cols, across;
    cpu_block_fn *fn;
    const void *arg;
};

static void run_block(void *arg, size_t task, int thread)
{
    const struct blocks *b = arg;
    cpu_block block = {.row = (int64_t)task / b->across * b->block_rows, .col = (int64_t)task % b->across * b->block_cols};
    block.rows = b->rows - block.row < b->block_rows ? b->rows - block.row : b->block_rows;
    block.cols = b->cols - block.col < b->block_cols ? b->cols - block.col : b->block_cols;
    b->fn(b->d, b->arg, &block, thread);
}

void cpu_blocks(sail_device *d, int64_t rows, int64_t cols, int64_t size, bool whole_rows, cpu_block_fn *fn, const void *arg)
{
    if (rows <= 0 || cols <= 0)
        return;
    struct blocks b = {d, rows, cols, 1, cols, 1, fn, arg};
    if (cols < size || whole_rows) {
        b.block_rows = size / cols > 1 ? size / cols : 1;
    } else {
        b.block_cols = (size + 1023) / 1024 * 1024;
        b.across = (cols + b.block_cols - 1) / b.block_cols;
    }
    int64_t down = (rows + b.block_rows - 1) / b.block_rows;
    sail_pool_run(d->pool, (size_t)(down * b.across), run_block, &b);
}

void cpu_columns(sail_device *d, int64_t cols, int64_t width, cpu_block_fn *fn, const void *arg)
{
    if (cols <= 0)
        return;
    struct blocks b = {d, 1, cols, 1, width, (cols + width - 1) / width, fn, arg};
    sail_pool_run(d->pool, (size_t)b.across, run_block, &b);
}

sail_code cpu_check_ids(const sail_call *c, int operand, int64_t least, int64_t end, sail_err *err)
{
    const sail_tensor *t = &c->in[operand];
    for (int64_t i = 0; i < t->rows; i++) {
        int32_t id = cpu_id(t, i, 0);
        if (id < least || id >= end)
            return sail_fail(err, SAIL_E_ARG, "%s: operand %d has %d in row %lld; it must lie in %lld..%lld",
                             sail_op_name(c->op), operand, (int)id, (long long)i, (long long)least, (long long)end - 1);
    }
    return SAIL_OK;
}
