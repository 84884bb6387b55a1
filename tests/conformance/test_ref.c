/* test_ref.c - what ref says that no derivative checks: accumulation, dropout, the guard, the optimisers, sampling; each
 * against its formula written out here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "device.h"
#include "sail/optimizer.h"
#include "sail/rng.h"

typedef struct fixture {
    device d;
    sail_call call;
} fixture;

static int open_ref(void **state)
{
    static const char *const strict[] = {"strict=true"};
    fixture *f = calloc(1, sizeof *f);
    *state = f;
    return device_open(&f->d, "ref", NULL, strict, 1) ? 0 : -1;
}

static int close_ref(void **state)
{
    fixture *f = *state;
    device_close(&f->d);
    free(f);
    return 0;
}

static void must(sail_code code, const sail_err *err)
{
    if (code != SAIL_OK)
        fail_msg("%s", err->message);
}

static sail_tensor put(fixture *f, sail_dtype t, int64_t rows, int64_t cols, const void *data)
{
    sail_tensor x;
    sail_err err = {0};
    must(sail__tensor_alloc(f->d.rt, t, rows, cols, &x, &err), &err);
    if (data && t == SAIL_I32)
        must(sail__tensor_put(f->d.rt, &x, data, &err), &err);
    else if (data)
        must(sail__tensor_put_f32(f->d.rt, &x, data, &err), &err);
    return x;
}

static void get(fixture *f, const sail_tensor *t, float *out)
{
    sail_err err = {0};
    must(sail__tensor_get_f32(f->d.rt, t, out, &err), &err);
}

static void run(fixture *f, sail_op op, int n_in, int n_out)
{
    sail_err err = {0};
    f->call.op = op;
    f->call.n_in = n_in;
    f->call.n_out = n_out;
    must(sail__run_op(f->d.rt, &f->call, &err), &err);
}

static void done(fixture *f)
{
    for (int i = 0; i < SAIL_MAX_INPUTS; i++)
        if (f->call.in[i].buffer && f->call.in[i].buffer != f->call.out[0].buffer)
            sail__tensor_free(f->d.rt, &f->call.in[i]);
    for (int i = 0; i < SAIL_MAX_OUTPUTS; i++)
        sail__tensor_free(f->d.rt, &f->call.out[i]);
    memset(&f->call, 0, sizeof f->call);
}

static void near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance * (fabs(want) + 1e-3)))
        fail_msg("%.9g, should be %.9g", got, want);
}

static void a_product_is_scaled_then_added_to(void **state)
{
    fixture *f = *state;
    const float a[] = {1, 2, 3, 4}, b[] = {1, 0, 2, 1}, bias[] = {10, 20}, residual[] = {1, 1, 1, 1}, before[] = {5, 6, 7, 8};
    float y[4];
    f->call.attr = (sail_attr){.scale = 0.5f, .accumulate = true};
    f->call.in[0] = put(f, SAIL_F32, 2, 2, a);
    f->call.in[1] = put(f, SAIL_F32, 2, 2, b);
    f->call.in[2] = put(f, SAIL_F32, 1, 2, bias);
    f->call.in[3] = put(f, SAIL_F32, 2, 2, residual);
    f->call.out[0] = put(f, SAIL_F32, 2, 2, before);
    run(f, SAIL_OP_MATMUL, 4, 1);
    get(f, &f->call.out[0], y);
    /* a b = [5 2; 11 4] */
    near(y[0], 2.5 + 10 + 1 + 5, 1e-6);
    near(y[1], 1 + 20 + 1 + 6, 1e-6);
    near(y[2], 5.5 + 10 + 1 + 7, 1e-6);
    near(y[3], 2 + 20 + 1 + 8, 1e-6);
    done(f);
}

static void dropout_keeps_its_share_and_the_mean(void **state)
{
    enum { ROWS = 40, COLS = 101 };
    fixture *f = *state;
    float x[ROWS * COLS], y[ROWS * COLS];
    int32_t keys[ROWS][2];
    int kept = 0;
    for (int i = 0; i < ROWS * COLS; i++)
        x[i] = 1.5f;
    for (int i = 0; i < ROWS; i++) {
        keys[i][0] = i;
        keys[i][1] = -i;
    }
    f->call.attr = (sail_attr){.p = 0.3f, .seed = 9, .layer = 4};
    f->call.in[0] = put(f, SAIL_F32, ROWS, COLS, x);
    f->call.in[1] = put(f, SAIL_I32, ROWS, 2, keys);
    f->call.out[0] = put(f, SAIL_F32, ROWS, COLS, NULL);
    run(f, SAIL_OP_DROPOUT, 2, 1);
    get(f, &f->call.out[0], y);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLS; j++) {
            uint32_t words[4];
            const uint64_t key = (uint32_t)keys[i][0] | (uint64_t)(uint32_t)keys[i][1] << 32;
            sail_rng_words(9, SAIL_RNG_DROPOUT, key, 4, (uint64_t)j / 4, words);
            const bool keep = words[j % 4] >= (uint32_t)floor((double)0.3f * 4294967296.0);
            near(y[i * COLS + j], keep ? 1.5 / (1 - (double)0.3f) : 0, 1e-6);
            kept += keep;
        }
    assert_true(fabs(kept / (double)(ROWS * COLS) - 0.7) < 0.03);
    done(f);
}

static void the_guard_looks_for_nan_before_it_clips(void **state)
{
    static const struct {
        float total, loss, host, most, times, skip, clip, norm;
    } rows[] = {{16, 1, 0, 2, 1, 0, 0.5f, 4},   {16, 1, 0, 0, 1, 0, 1, 4},    {16, NAN, 0, 2, 1, 1, 0, 4},
                {NAN, 1, 0, 2, 1, 1, 0, NAN},   {INFINITY, 1, 0, 2, 1, 1, 0, INFINITY}, {16, 1, 1, 2, 1, 1, 0, 4},
                {16, 1, 0, 2, 0.25f, 0, 0.25f, 1}, {16, INFINITY, 0, 0, 1, 1, 0, 4}, {0, 1, 0, 2, 1, 0, 1, 0}};
    fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        float c[SAIL_CONTROL_SIZE] = {0};
        c[SAIL_CONTROL_LOSS] = rows[i].loss;
        c[SAIL_CONTROL_HOST_SKIP] = rows[i].host;
        c[SAIL_CONTROL_MAX_NORM] = rows[i].most;
        c[SAIL_CONTROL_MULTIPLIER] = rows[i].times;
        f->call.in[0] = put(f, SAIL_F32, 1, 1, &rows[i].total);
        f->call.in[1] = f->call.out[0] = put(f, SAIL_F32, 1, SAIL_CONTROL_SIZE, c);
        run(f, SAIL_OP_CLIP, 2, 1);
        get(f, &f->call.out[0], c);
        assert_true(c[SAIL_CONTROL_SKIP] == rows[i].skip);
        near(c[SAIL_CONTROL_CLIP], rows[i].clip, 1e-6);
        if (isfinite(rows[i].norm))
            near(c[SAIL_CONTROL_NORM], rows[i].norm, 1e-6);
        else
            assert_false(isfinite(c[SAIL_CONTROL_NORM]));
        done(f);
    }
}

/* Three steps of each optimiser on two numbers, beside the loops of its paper. */
static void optimisers_follow_their_formulas(void **state)
{
    fixture *f = *state;
    const double b1 = (double)0.9f, b2 = (double)0.95f, decay = (double)0.1f, mu = (double)0.8f, damp = (double)0.25f;
    const double lr = (double)0.01f, eps = (double)1e-8f, clip = 0.5;
    for (int op = SAIL_OP_ADAMW; op <= SAIL_OP_SGD; op++) {
        float w[2] = {1, -0.5f}, zero[2] = {0, 0}, shadow[2];
        double x[2] = {1, -0.5}, m[2] = {0, 0}, v[2] = {0, 0}, a[2] = {0, 0};
        const int last = op == SAIL_OP_ADAMW ? 5 : op == SAIL_OP_RMSPROP ? 6 : 4;
        f->call.attr = (sail_attr){.beta1 = 0.9f, .beta2 = 0.95f, .adam_eps = 1e-8f, .weight_decay = 0.1f,
                                   .momentum = 0.8f, .dampening = 0.25f, .centered = true};
        f->call.in[0] = put(f, SAIL_F32, 1, 2, NULL);
        f->call.in[1] = put(f, SAIL_F32, 1, SAIL_CONTROL_SIZE, NULL);
        f->call.in[2] = f->call.out[0] = put(f, SAIL_F32, 1, 2, w);
        for (int i = 3; i < last; i++)
            f->call.in[i] = put(f, SAIL_F32, 1, 2, zero);
        f->call.in[last] = put(f, SAIL_BF16, 1, 2, NULL);
        for (int step = 1; step <= 4; step++) {
            const bool skip = step == 3; /* and is not counted */
            const int t = step > 3 ? step - 1 : step;
            const float g[2] = {0.3f * (float)step, -1};
            float c[SAIL_CONTROL_SIZE] = {0};
            sail_err err = {0};
            c[SAIL_CONTROL_RATE] = 0.01f;
            c[SAIL_CONTROL_CLIP] = 0.5f;
            c[SAIL_CONTROL_SKIP] = skip;
            c[SAIL_CONTROL_STEP] = (float)t;
            c[SAIL_CONTROL_CORRECTION1] = (float)(1 - pow(b1, t));
            c[SAIL_CONTROL_CORRECTION2] = (float)(1 - pow(b2, t));
            must(sail__tensor_put_f32(f->d.rt, &f->call.in[0], g, &err), &err);
            must(sail__tensor_put_f32(f->d.rt, &f->call.in[1], c, &err), &err);
            run(f, (sail_op)op, last + 1, 1);
            for (int i = 0; i < 2 && !skip; i++) {
                double u = (double)g[i] * clip;
                if (op == SAIL_OP_ADAMW) {
                    x[i] -= lr * decay * x[i];
                    m[i] = b1 * m[i] + (1 - b1) * u;
                    v[i] = b2 * v[i] + (1 - b2) * u * u;
                    x[i] -= lr * (m[i] / (1 - pow(b1, t))) / (sqrt(v[i] / (1 - pow(b2, t))) + eps);
                    continue;
                }
                u += decay * x[i];
                if (op == SAIL_OP_RMSPROP) {
                    v[i] = b1 * v[i] + (1 - b1) * u * u;
                    a[i] = b1 * a[i] + (1 - b1) * u;
                    m[i] = mu * m[i] + u / (sqrt(v[i] - a[i] * a[i]) + eps);
                } else {
                    m[i] = t == 1 ? u : mu * m[i] + (1 - damp) * u;
                }
                x[i] -= lr * m[i];
            }
            get(f, &f->call.out[0], w);
            get(f, &f->call.in[last], shadow);
            for (int i = 0; i < 2; i++) {
                near(w[i], x[i], 2e-6);
                assert_true(shadow[i] == sail_bf16_to_f32(sail_f32_to_bf16(w[i])));
            }
        }
        done(f);
    }
}

static void tokens_are_drawn_by_the_running_sum(void **state)
{
    enum { S = 200, V = 5 };
    fixture *f = *state;
    float logits[S][V], params[S][8] = {{0}}, logp[S], sampled[S];
    int32_t keys[S][6];
    int count[V] = {0};
    for (int i = 0; i < S; i++) {
        for (int v = 0; v < V; v++)
            logits[i][v] = (float)log(1 + v);
        params[i][0] = 1;
        params[i][1] = 3; /* top-k: ids 2, 3, 4 with 3, 4, 5 of 12 */
        params[i][2] = params[i][4] = params[i][5] = 1;
        memcpy(keys[i], (const int32_t[]){7, 1, 30, 2, i % 8, i}, sizeof keys[i]);
    }
    f->call.in[0] = put(f, SAIL_F32, S, V, logits);
    f->call.in[1] = put(f, SAIL_F32, S, 8, params);
    f->call.in[2] = put(f, SAIL_I32, S, 6, keys);
    f->call.out[0] = put(f, SAIL_I32, S, 1, NULL);
    f->call.out[1] = put(f, SAIL_F32, S, 1, NULL);
    f->call.out[2] = put(f, SAIL_F32, S, 1, NULL);
    run(f, SAIL_OP_SAMPLE, 3, 3);
    int32_t drawn[S];
    sail_err err = {0};
    must(sail__tensor_get(f->d.rt, &f->call.out[0], drawn, &err), &err);
    get(f, &f->call.out[1], logp);
    get(f, &f->call.out[2], sampled);
    for (int i = 0; i < S; i++) {
        const double u = sail_rng_uniform(7 | 1ull << 32, SAIL_RNG_TOKEN, 30 | 2ull << 32, (uint64_t)(i % 8), (uint64_t)i);
        assert_int_equal(drawn[i], u < 3.0 / 12 ? 2 : u < 7.0 / 12 ? 3 : 4);
        near(logp[i], log((1 + drawn[i]) / 15.0), 1e-6);
        near(sampled[i], log((1 + drawn[i]) / 12.0), 1e-6);
        count[drawn[i]]++;
    }
    assert_true(count[2] > 20 && count[3] > 30 && count[4] > 40);
    done(f);
}

static void a_wrong_index_is_an_error_that_names_it(void **state)
{
    fixture *f = *state;
    const int32_t ids[] = {0, 9};
    const float table[] = {1, 2, 3, 4};
    sail_err err = {0};
    f->call.attr = (sail_attr){.dtype = SAIL_F32, .scale = 1};
    f->call.in[0] = put(f, SAIL_F32, 2, 2, table);
    f->call.in[1] = put(f, SAIL_I32, 2, 1, ids);
    f->call.out[0] = put(f, SAIL_F32, 2, 2, NULL);
    run(f, SAIL_OP_EMBED, 2, 1); /* strict: only queued */
    assert_int_equal(f->d.rt->backend->sync(f->d.rt->device, &err), SAIL_E_ARG);
    assert_non_null(strstr(err.message, "embed"));
    assert_non_null(strstr(err.message, "holds 9 in row 1"));
    done(f);
}

static void wrong_shapes_name_the_operand(void **state)
{
    fixture *f = *state;
    sail_err err = {0};
    f->call.attr = (sail_attr){.dtype = SAIL_F32, .scale = 1};
    f->call.op = SAIL_OP_MATMUL;
    f->call.n_in = 2;
    f->call.n_out = 1;
    f->call.in[0] = put(f, SAIL_F32, 2, 3, NULL);
    f->call.in[1] = put(f, SAIL_F32, 4, 5, NULL);
    f->call.out[0] = put(f, SAIL_F32, 2, 5, NULL);
    assert_int_equal(sail__run_op(f->d.rt, &f->call, &err), SAIL_E_SHAPE);
    assert_non_null(strstr(err.message, "matmul: b is [4, 5], must be [3, any]"));
    done(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_is_scaled_then_added_to),
        cmocka_unit_test(dropout_keeps_its_share_and_the_mean),
        cmocka_unit_test(the_guard_looks_for_nan_before_it_clips),
        cmocka_unit_test(optimisers_follow_their_formulas),
        cmocka_unit_test(tokens_are_drawn_by_the_running_sum),
        cmocka_unit_test(a_wrong_index_is_an_error_that_names_it),
        cmocka_unit_test(wrong_shapes_name_the_operand),
    };
    return cmocka_run_group_tests(tests, open_ref, close_ref);
}
