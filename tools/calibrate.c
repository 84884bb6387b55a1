/* calibrate.c - timing single ops on a device. */
#include "calibrate.h"

#include <stdlib.h>

#include "sail/rng.h"

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void sail__sort_times(double *x, int n) { qsort(x, (size_t)n, sizeof *x, by_size); }

sail_code sail__time_call(sail_runtime *rt, const sail_call *call, int times, double *seconds, sail_err *err)
{
    for (int i = -1; i < times; i++) {
        double begin = sail__now();
        SAIL_TRY(rt->backend->run(rt->device, call, 1, err));
        SAIL_TRY(rt->backend->sync(rt->device, err));
        if (i >= 0)
            seconds[i] = sail__now() - begin;
    }
    sail__sort_times(seconds, times);
    return SAIL_OK;
}

/* A matrix of small random numbers: constant operands can be faster than real ones, and denormal ones slower. */
static sail_code matrix(sail_runtime *rt, sail_dtype t, int64_t rows, int64_t cols, sail_tensor *out, sail_err *err)
{
    enum { PART = 1 << 16 };
    SAIL_TRY(sail__tensor_alloc(rt, t, rows, cols, out, err));
    int64_t n = PART / cols > 0 ? PART / cols : 1;
    float *x = sail__malloc((size_t)(n * cols) * sizeof *x);
    if (!x)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (int64_t i = 0; i < n * cols; i++)
        x[i] = (float)(sail_rng_uniform(1, SAIL_RNG_USER, (uint64_t)i, (uint64_t)cols, 0) - 0.5);
    sail_code code = SAIL_OK;
    for (int64_t r = 0; r < rows && code == SAIL_OK; r += n) {
        sail_tensor part = *out;
        part.offset += sail_dtype_bytes(t, (uint64_t)(r * cols));
        part.rows = rows - r < n ? rows - r : n;
        code = sail__tensor_put_f32(rt, &part, x, err);
    }
    sail__free(x);
    return code;
}

static sail_code product(sail_runtime *rt, const sail_call *shape, sail_dtype t, sail_dtype out, const int64_t size[3][2], int times,
                         double *seconds, sail_err *err)
{
    sail_call c = *shape;
    sail_code code = matrix(rt, t, size[0][0], size[0][1], &c.in[0], err);
    if (code == SAIL_OK)
        code = matrix(rt, t, size[1][0], size[1][1], &c.in[1], err);
    if (code == SAIL_OK)
        code = matrix(rt, out, size[2][0], size[2][1], &c.out[0], err);
    if (code == SAIL_OK)
        code = sail__time_call(rt, &c, times, seconds, err);
    sail__tensor_free(rt, &c.in[0]);
    sail__tensor_free(rt, &c.in[1]);
    sail__tensor_free(rt, &c.out[0]);
    return code;
}

sail_code sail__time_product(sail_runtime *rt, enum sail__product form, sail_dtype t, sail_dtype out, int64_t rows, int64_t n_in,
                             int64_t n_out, int times, double *seconds, sail_err *err)
{
    sail_call c = {.op = SAIL_OP_MATMUL, .n_in = 2, .n_out = 1, .attr = {.dtype = out, .scale = 1}};
    if (form == SAIL__PRODUCT_FORWARD) {
        c.attr.trans_b = true;
        return product(rt, &c, t, out, (const int64_t[3][2]){{rows, n_in}, {n_out, n_in}, {rows, n_out}}, times, seconds, err);
    }
    if (form == SAIL__PRODUCT_INPUT)
        return product(rt, &c, t, out, (const int64_t[3][2]){{rows, n_out}, {n_out, n_in}, {rows, n_in}}, times, seconds, err);
    c.attr.trans_a = true;
    return product(rt, &c, t, out, (const int64_t[3][2]){{rows, n_out}, {rows, n_in}, {n_out, n_in}}, times, seconds, err);
}

/* Reading alone, copying, and a product with one row, which reads its matrix: the best of them. */
static sail_code memory(sail_runtime *rt, sail_dtype t, int64_t floats, double *best, sail_err *err)
{
    enum { TIMES = 5 };
    double s[TIMES];
    enum { WIDTH = 4096 };
    sail_tensor x = {0}, y = {0}, total = {0};
    sail_code code = matrix(rt, SAIL_F32, floats / WIDTH, WIDTH, &x, err);
    if (code == SAIL_OK)
        code = matrix(rt, SAIL_F32, floats / WIDTH, WIDTH, &y, err);
    if (code == SAIL_OK)
        code = sail__tensor_alloc(rt, SAIL_F32, 1, 1, &total, err);
    sail_call sum = {.op = SAIL_OP_SUM_SQUARES, .n_in = 2, .n_out = 1, .in = {x, total}, .out = {total}};
    sum.in[0].rows = 1; /* the same memory as a vector */
    sum.in[0].cols = sum.in[0].ld = floats;
    if (code == SAIL_OK)
        code = sail__time_call(rt, &sum, TIMES, s, err);
    if (code == SAIL_OK)
        *best = 4 * (double)floats / s[0];
    sail_call add = {.op = SAIL_OP_ADD, .n_in = 2, .n_out = 1, .attr = {.dtype = SAIL_F32}, .in = {x, y}, .out = {y}};
    if (code == SAIL_OK)
        code = sail__time_call(rt, &add, TIMES, s, err);
    if (code == SAIL_OK && 12 * (double)floats / s[0] > *best)
        *best = 12 * (double)floats / s[0];
    sail__tensor_free(rt, &x);
    sail__tensor_free(rt, &y);
    sail__tensor_free(rt, &total);
    int64_t side = 4096, deep = floats * 4 / (int64_t)sail_dtype_bytes(t, 1) / side;
    if (code == SAIL_OK)
        code = sail__time_product(rt, SAIL__PRODUCT_FORWARD, t, SAIL_F32, 1, side, deep, TIMES, s, err);
    double bytes = (double)sail_dtype_bytes(t, (uint64_t)(side * deep));
    if (code == SAIL_OK && bytes / s[0] > *best)
        *best = bytes / s[0];
    return code;
}

sail_code sail__calibrate(sail_runtime *rt, sail_dtype t, sail__calibration *out, sail_err *err)
{
    /* rows, in, out: square, and the forms of projections. Small where one is slow (the ref backend). */
    static const int64_t shapes[][3] = {{256, 256, 256}, {1024, 1024, 1024}, {2048, 2048, 2048}, {2048, 1024, 4096}};
    enum { TIMES = 5 };
    double s[TIMES];
    *out = (sail__calibration){0};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        double flops = 2.0 * (double)shapes[i][0] * (double)shapes[i][1] * (double)shapes[i][2];
        if (out->flops > 0 && flops / out->flops > 0.5)
            continue;
        SAIL_TRY(sail__time_product(rt, SAIL__PRODUCT_FORWARD, t, t, shapes[i][0], shapes[i][1], shapes[i][2], TIMES, s, err));
        if (flops / s[0] > out->flops)
            out->flops = flops / s[0];
    }
    return memory(rt, t, out->flops > 1e10 ? 32 << 20 : 1 << 20, &out->bandwidth, err);
}
