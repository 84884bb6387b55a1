/* test_cpu.c - the cpu backend: each op against ref, and the same bits for 1, 2 and 4 threads. The path that the option
 * `isa` forces is the first argument (default: all that this machine has, each in a process of its own, since oneDNN's own
 * cap is a process's). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig.h"

static int forced; /* set once by main */

static const sail_dtype F = SAIL_F32, B = SAIL_BF16, I = SAIL_I32;

static operand mat(sail_dtype t, int64_t rows, int64_t cols, int64_t gap, const float *v)
{
    return (operand){t, rows, cols, gap, v};
}
static operand noise(sail_dtype t, int64_t rows, int64_t cols, uint64_t seed)
{
    return mat(t, rows, cols, seed % 2 ? 0 : 32, rig_random(rows * cols, seed, 1));
}
static operand empty(sail_dtype t, int64_t rows, int64_t cols) { return mat(t, rows, cols, 0, NULL); }
static operand absent(void) { return (operand){0}; }

static void close_to(const rig_case *c, const char *what, int which, const float *a, const float *b, int64_t n, double tolerance)
{
    double size = 1e-30, worst = 0;
    int64_t at = 0;
    for (int64_t i = 0; i < n; i++)
        size = fabs((double)b[i]) > size && isfinite(b[i]) ? fabs((double)b[i]) : size;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(b[i]) && isnan(a[i]))
            continue;
        double off = a[i] == b[i] ? 0 : fabs((double)a[i] - (double)b[i]);
        if (!isnan(worst) && !(off <= worst)) {
            worst = off;
            at = i;
        }
    }
    if (!(worst <= tolerance * size)) {
        char first[64];
        snprintf(first, sizeof first, "%s", sail_op_name(c->op));
        print_message("%s %s %s %d: element %lld: %.9g, ref %.9g (size %.3g)\n", rig_isa[forced], first, what, which,
                      (long long)at, (double)a[at], (double)b[at], size);
    }
    assert_true(worst <= tolerance * size);
}

/* On ref, then on cpu with 1, 2 and 4 threads. */
static void check(const rig_case *c, double tolerance)
{
    rig ref;
    float *want[SAIL_MAX_OUTPUTS], *want_in[SAIL_MAX_INPUTS], *first[SAIL_MAX_OUTPUTS] = {0};
    assert_true(rig_open(&ref, "ref", NULL));
    if (!rig_run(&ref, c, want, want_in))
        print_message("ref: %s\n", ref.err.message);
    assert_int_equal(ref.err.code, SAIL_OK);
    for (int threads = 1; threads <= 4; threads *= 2) {
        rig cpu;
        rig_cpu_options o = {threads, forced};
        float *got[SAIL_MAX_OUTPUTS], *got_in[SAIL_MAX_INPUTS];
        assert_true(rig_open(&cpu, "cpu", &o));
        if (!rig_run(&cpu, c, got, got_in))
            print_message("cpu: %s\n", cpu.err.message);
        assert_int_equal(cpu.err.code, SAIL_OK);
        for (int i = 0; i < SAIL_MAX_OUTPUTS; i++) {
            if (!got[i])
                continue;
            const operand *shape = i == 0 && c->in_place ? &c->in[c->in_place - 1] : &c->out[i];
            int64_t n = shape->rows * shape->cols;
            close_to(c, "result", i, got[i], want[i], n, tolerance);
            if (first[i])
                assert_memory_equal(first[i], got[i], (size_t)n * sizeof(float));
            else
                first[i] = got[i];
            if (first[i] != got[i])
                free(got[i]);
        }
        for (int i = 0; i < SAIL_MAX_INPUTS; i++)
            if (got_in[i]) {
                close_to(c, "operand", i, got_in[i], want_in[i], c->in[i].rows * c->in[i].cols, tolerance);
                free(got_in[i]);
            }
        rig_close(&cpu);
    }
    for (int i = 0; i < SAIL_MAX_OUTPUTS; i++) {
        free(first[i]);
        free(want[i]);
    }
    for (int i = 0; i < SAIL_MAX_INPUTS; i++)
        free(want_in[i]);
    rig_close(&ref);
    for (int i = 0; i < c->n_in; i++)
        free((void *)(uintptr_t)c->in[i].values);
    for (int i = 0; i < c->n_out; i++)
        free((void *)(uintptr_t)c->out[i].values);
}

static double eps_of(sail_dtype t) { return t == B ? 1.0 / 128 : 2e-6; }

static void matmul_case(int64_t m, int64_t n, int64_t k, sail_dtype a, sail_dtype b, sail_dtype y, int flags)
{
    bool ta = flags & 1, tb = flags & 2, acc = flags & 4, bias = flags & 8, residual = flags & 16, scale = flags & 32;
    rig_case c = {.op = SAIL_OP_MATMUL, .n_in = 4, .n_out = 1};
    c.attr = (sail_attr){.dtype = y, .trans_a = ta, .trans_b = tb, .accumulate = acc, .scale = scale ? 0.37f : 1.0f};
    c.in[0] = noise(a, ta ? k : m, ta ? m : k, (uint64_t)flags + 1);
    c.in[1] = mat(b, tb ? n : k, tb ? k : n, 0, rig_random(n * k, 2, 1));
    c.in[2] = bias ? noise(F, 1, n, 3) : absent();
    c.in[3] = residual ? noise(y, m, n, 4) : absent();
    c.out[0] = mat(y, m, n, flags & 1 ? 0 : 3, rig_random(m * n, 5, 1));
    bool quantised = b != F && b != B;
    check(&c, (a == B && quantised ? 0.02 : a == B && y == F ? 4e-6 : eps_of(y)) * (k > 300 ? 3 : 1));
}

static void matmul_agrees_in_every_form(void **state)
{
    for (int flags = 0; flags < 64; flags++)
        for (int types = 0; types < 4; types++)
            matmul_case(flags % 3 == 0 ? 5 : 75, 83, 45, types & 1 ? B : F, types & 1 ? B : F, types & 2 ? B : F, flags);
    matmul_case(600, 577, 300, B, B, F, 2);
    matmul_case(600, 577, 300, B, B, B, 2 + 16);
    matmul_case(600, 700, 333, F, F, F, 0);
    matmul_case(300, 700, 1111, B, B, F, 1);
    matmul_case(300, 700, 1111, F, F, F, 1 + 4);
    matmul_case(1, 2300, 576, B, B, F, 2);
    matmul_case(31, 600, 1536, B, B, F, 2);
    matmul_case(40, 320, 256, B, SAIL_Q8_0, F, 2);
    matmul_case(40, 320, 256, F, SAIL_Q4_0, F, 0);
    matmul_case(3, 320, 256, F, SAIL_Q4_1, F, 2);
    for (int flags = 0; flags < 64; flags += 2) { /* few columns; few rows or columns of a weight's gradient */
        matmul_case(203, 16, 576, B, B, B, flags);
        matmul_case(130, 21, 606, B, B, F, flags);
        matmul_case(16, 83, 400, B, B, F, flags + 1);
        matmul_case(70, 21, 333, B, B, F, flags + 1);
    }
}

/* y = x W (+ residual) + 0.5 u V as two calls, the second in the first one's place, of which a backend may make one; in either
 * order. x, W, u and V are random, the number of rows is free. */
typedef struct two {
    sail_dtype t, y;
    int64_t rows, cols, k, low;
    bool trans_b, residual, low_first;
} two;

static float *sum_of_two(const char *backend, const void *options, const two *s)
{
    rig r;
    sail_call c[2];
    assert_true(rig_open(&r, backend, options));
    memset(c, 0, sizeof c);
    for (int i = 0; i < 2; i++) {
        bool low = i == (s->low_first ? 0 : 1);
        int64_t k = low ? s->low : s->k;
        operand a = mat(s->t, s->rows, k, low ? 0 : 32, rig_random(s->rows * k, low ? 3 : 1, 1));
        operand b = mat(s->t, s->trans_b ? s->cols : k, s->trans_b ? k : s->cols, 0, rig_random(s->cols * k, low ? 4 : 2, 1));
        operand z = mat(s->y, s->rows, s->cols, 3, rig_random(s->rows * s->cols, 5, 1));
        c[i] = (sail_call){.op = SAIL_OP_MATMUL, .n_in = 4, .n_out = 1,
                           .attr = {.dtype = s->y, .trans_b = s->trans_b, .scale = low ? 0.5f : 1}};
        assert_true(rig_put(&r, &a, &c[i].in[0]) && rig_put(&r, &b, &c[i].in[1]));
        if (i == 0 && s->residual)
            assert_true(rig_put(&r, &z, &c[i].in[3]));
        if (i == 0)
            assert_true(rig_put(&r, &z, &c[i].out[0]));
        else
            c[1].in[3] = c[1].out[0] = c[0].out[0];
        free((void *)(uintptr_t)a.values);
        free((void *)(uintptr_t)b.values);
        free((void *)(uintptr_t)z.values);
    }
    assert_int_equal(r.ops->run(r.device, c, 2, &r.err), SAIL_OK);
    float *y = rig_get(&r, &c[0].out[0]);
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 4; j++)
            if (c[i].in[j].buffer && !(i == 1 && j == 3))
                r.ops->free(r.device, c[i].in[j].buffer);
    r.ops->free(r.device, c[0].out[0].buffer);
    rig_close(&r);
    return y;
}

static void a_product_added_to_another_agrees(void **state)
{
    for (int form = 0; form < 32; form++) {
        two s = {form & 1 ? B : F, form & 1 && form & 2 ? B : F, 530, 250, 606, form & 2 ? 16 : 6, form & 4, form & 8, form & 16};
        float *want = sum_of_two("ref", NULL, &s);
        rig_case named = {.op = SAIL_OP_MATMUL};
        for (int threads = 1; threads <= 4; threads *= 2) {
            rig_cpu_options o = {threads, forced};
            float *got = sum_of_two("cpu", &o, &s);
            close_to(&named, "sum", form, got, want, s.rows * s.cols, s.y == B ? 1.5 / 128 : 6e-6);
            static const int64_t some[] = {1, 31, 100, 513}; /* a row does not depend on how many follow it */
            for (int i = 0; i < 4; i++) {
                two fewer = s;
                fewer.rows = some[i];
                float *part = sum_of_two("cpu", &o, &fewer);
                assert_memory_equal(part, got, (size_t)(some[i] * s.cols) * sizeof *part);
                free(part);
            }
            if (threads > 1) {
                o.threads = 1;
                float *one = sum_of_two("cpu", &o, &s);
                assert_memory_equal(one, got, (size_t)(s.rows * s.cols) * sizeof *one);
                free(one);
            }
            free(got);
        }
        free(want);
    }
}

/* The first rows of a product are the same bits whatever follows them. */
static void matmul_rows_do_not_depend_on_their_number(void **state)
{
    enum { M = 700, KK = 606, MOST_COLUMNS = 200 };
    float *a = rig_random((int64_t)M * KK, 1, 1), *b = rig_random((int64_t)MOST_COLUMNS * KK, 2, 1);
    int differing = 0;
    for (int types = 0; types < 4; types++) {
        const int64_t N = types & 2 ? 16 : MOST_COLUMNS;
        float *whole = NULL;
        static const int64_t rows[] = {M, 1, 2, 7, 31, 32, 33, 48, 63, 100, 512, 513};
        rig cpu;
        rig_cpu_options o = {2, forced};
        assert_true(rig_open(&cpu, "cpu", &o));
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            rig_case c = {.op = SAIL_OP_MATMUL, .n_in = 2, .n_out = 1};
            sail_dtype t = types & 1 ? B : F;
            c.attr = (sail_attr){.dtype = F, .trans_b = true, .scale = 1};
            c.in[0] = mat(t, rows[i], KK, 0, a);
            c.in[1] = mat(t, N, KK, 0, b);
            c.out[0] = empty(F, rows[i], N);
            float *out[SAIL_MAX_OUTPUTS];
            assert_true(rig_run(&cpu, &c, out, NULL));
            if (whole) {
                int64_t differ = 0;
                for (int64_t j = 0; j < rows[i] * N; j++)
                    differ += out[0][j] != whole[j];
                if (differ)
                    print_message("%s %s: %lld rows: %lld of %lld elements differ\n", rig_isa[forced], types & 1 ? "bf16" : "f32",
                                  (long long)rows[i], (long long)differ, (long long)(rows[i] * N));
                differing += differ > 0;
                free(out[0]);
            } else
                whole = out[0];
        }
        free(whole);
        rig_close(&cpu);
    }
    assert_int_equal(differing, 0);
    free(a);
    free(b);
}

static void elementwise_ops_agree(void **state)
{
    for (int types = 0; types < 8; types++) {
        sail_dtype x = types & 1 ? B : F, z = types & 2 ? B : F, y = types & 4 ? B : F;
        double e = eps_of(y);
        rig_case c = {.op = SAIL_OP_ADD, .attr = {.dtype = y}, .n_in = 2, .n_out = 1,
                      .in = {noise(x, 37, 67, 1), noise(z, 37, 67, 2)}, .out = {empty(y, 37, 67)}};
        check(&c, e);
        c = (rig_case){.op = SAIL_OP_CAST, .attr = {.dtype = y}, .n_in = 1, .n_out = 1, .in = {noise(x, 1, 40000, 3)},
                       .out = {empty(y, 1, 40000)}};
        check(&c, x == y ? 0 : e);
        c = (rig_case){.op = SAIL_OP_SCALE, .attr = {.dtype = x, .scale = 0.3f}, .n_in = 1, .n_out = 1,
                       .in = {noise(x, 9, 100, 4)}, .out = {empty(x, 9, 100)}};
        check(&c, eps_of(x));
        c = (rig_case){.op = SAIL_OP_FILL, .attr = {.dtype = x, .scale = 0.3f}, .n_out = 1, .out = {empty(x, 9, 100)}};
        check(&c, 0);
        for (int act = 0; act < 4; act++) {
            rig_case g = {.op = SAIL_OP_GLU, .attr = {.dtype = x, .activation = act}, .n_in = 2, .n_out = 1,
                          .in = {mat(x, 21, 77, 0, rig_random(21 * 77, 5, 6)), noise(x, 21, 77, 6)}, .out = {empty(x, 21, 77)}};
            check(&g, eps_of(x));
            g = (rig_case){.op = SAIL_OP_GLU_BACK, .attr = {.dtype = x, .activation = act}, .n_in = 3, .n_out = 2,
                           .in = {noise(x, 21, 77, 4), mat(x, 21, 77, 0, rig_random(21 * 77, 5, 3)), noise(x, 21, 77, 6)},
                           .out = {empty(x, 21, 77), empty(x, 21, 77)}};
            check(&g, eps_of(x));
        }
        c = (rig_case){.op = SAIL_OP_DROPOUT, .attr = {.dtype = x, .p = 0.3f, .seed = 77, .layer = 3}, .n_in = 2, .n_out = 1,
                       .in = {noise(x, 21, 77, 4), mat(I, 21, 2, 0, rig_ids(42, 8, 1000))}, .out = {empty(x, 21, 77)}};
        check(&c, eps_of(x));
    }
}

static void norms_and_rope_agree(void **state)
{
    for (int types = 0; types < 4; types++)
        for (int groups = 1; groups <= 3; groups += 2) {
            sail_dtype x = types & 1 ? B : F, y = types & 2 ? B : F;
            int64_t d = 135, n = d / groups;
            sail_attr a = {.dtype = y, .groups = groups, .eps = 1e-5f, .weight_plus = types == 3 ? 1.0f : 0.0f};
            rig_case c = {.op = SAIL_OP_RMS_NORM, .attr = a, .n_in = 2, .n_out = 2, .in = {noise(x, 150, d, 1), noise(F, 1, n, 3)},
                          .out = {empty(y, 150, d), empty(F, 150, groups)}};
            check(&c, eps_of(y));
            a.dtype = x;
            c = (rig_case){.op = SAIL_OP_RMS_NORM_BACK, .attr = a, .n_in = 5, .n_out = 1,
                           .in = {noise(y, 150, d, 1), noise(x, 150, d, 2), noise(F, 1, n, 3), mat(F, 150, groups, 0,
                                  rig_same(150 * groups, 0.9f)), types & 1 ? absent() : noise(x, 150, d, 4)},
                           .out = {empty(x, 150, d)}};
            check(&c, eps_of(x));
            c = (rig_case){.op = SAIL_OP_RMS_NORM_WGRAD, .attr = a, .n_in = 3, .n_out = 1,
                           .in = {noise(y, 150, d, 1), noise(x, 150, d, 2), mat(F, 150, groups, 0, rig_random(150 * groups, 9, 1))},
                           .out = {mat(F, 1, n, 0, rig_random(n, 10, 1))}};
            c.attr.accumulate = types & 1;
            check(&c, 4e-6);
            c = (rig_case){.op = SAIL_OP_BIAS_GRAD, .attr = c.attr, .n_in = 1, .n_out = 1, .in = {noise(x, 150, d, 1)},
                           .out = {mat(F, 1, d, 0, rig_random(d, 10, 1))}};
            check(&c, 4e-6);
            for (int inverse = 0; inverse < 2; inverse++) {
                rig_case r = {.op = SAIL_OP_ROPE, .n_in = 3, .n_out = 1,
                              .attr = {.dtype = x, .heads = 3, .head_dim = 45, .rotary = 38, .inverse = inverse},
                              .in = {noise(x, 70, 135, 1), mat(I, 70, 1, 0, rig_ids(70, 2, 50)), mat(F, 50, 38, 0, rig_random(50 * 38, 3, 1))},
                              .out = {empty(x, 70, 135)}};
                check(&r, eps_of(x));
            }
        }
}

static void row_ops_agree(void **state)
{
    for (int types = 0; types < 4; types++) {
        sail_dtype x = types & 1 ? B : F, y = types & 2 ? B : F;
        rig_case c = {.op = SAIL_OP_EMBED, .attr = {.dtype = y, .scale = 1.5f}, .n_in = 2, .n_out = 1,
                      .in = {mat(types == 2 ? F : y, 90, 77, 0, rig_random(90 * 77, 1, 1)), mat(I, 200, 1, 0, rig_ids(200, 2, 90))},
                      .out = {empty(y, 200, 77)}};
        check(&c, eps_of(y));
        c = (rig_case){.op = SAIL_OP_EMBED_GRAD, .attr = {.scale = 1.5f, .accumulate = types & 2}, .n_in = 2, .n_out = 1,
                       .in = {noise(x, 200, 77, 1), mat(I, 200, 1, 0, rig_ids(200, 2, 90))},
                       .out = {mat(F, 90, 77, 0, rig_random(90 * 77, 3, 1))}};
        check(&c, 3e-6);
        c = (rig_case){.op = SAIL_OP_GATHER_ROWS, .attr = {.dtype = x}, .n_in = 2, .n_out = 1,
                       .in = {noise(x, 90, 77, 2), mat(I, 33, 1, 0, rig_ids(33, 2, 90))}, .out = {empty(x, 33, 77)}};
        check(&c, 0);
        c = (rig_case){.op = SAIL_OP_SCATTER_ROWS, .attr = {.dtype = x}, .n_in = 3, .n_out = 1,
                       .in = {noise(x, 133, 77, 2), mat(I, 133, 1, 0, rig_ids(133, 2, 90)), empty(x, 90, 77)},
                       .out = {empty(x, 90, 77)}};
        check(&c, eps_of(x));
    }
    rig_case c = {.op = SAIL_OP_COPY_ROWS, .n_in = 3, .n_out = 1, .in_place = 3, .in = {noise(B, 4, 300, 1),
                  mat(I, 4, 1, 0, (float *)memcpy(malloc(16), (float[]){7, 2, 0, 9}, 16)), noise(B, 10, 300, 2)}};
    check(&c, 0);
}

#include "cpu_cases.h"

static int run_forced(int isa)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matmul_agrees_in_every_form),
        cmocka_unit_test(a_product_added_to_another_agrees),
        cmocka_unit_test(matmul_rows_do_not_depend_on_their_number),
        cmocka_unit_test(elementwise_ops_agree),
        cmocka_unit_test(norms_and_rope_agree),
        cmocka_unit_test(row_ops_agree),
        CPU_CASES
    };
    forced = isa;
    return cmocka_run_group_tests_name(rig_isa[isa], tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    int failed = 0;
    if (argc > 1)
        for (int isa = 0; isa < 5; isa++)
            if (strcmp(argv[1], rig_isa[isa]) == 0)
                return run_forced(isa);
    for (int isa = 1; isa < 5; isa++) {
        rig cpu;
        rig_cpu_options o = {1, isa};
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            if (!rig_open(&cpu, "cpu", &o)) {
                bool there = cpu.err.code != SAIL_E_OPTION;
                print_message("%s: %s\n", rig_isa[isa], cpu.err.message);
                _exit(there);
            }
            rig_close(&cpu);
            int code = run_forced(isa);
            fflush(NULL);
            exit(code != 0);
        }
        int status = 1;
        failed |= child < 0 || waitpid(child, &status, 0) < 0 || status != 0;
    }
    return failed;
}
