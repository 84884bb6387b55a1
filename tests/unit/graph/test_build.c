/* test_build.c - building graphs: errors stick and name what is wrong, views, printing, counting, the memory plan, and
 * that nothing is built for what is not trained. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "graph/nodes.h"

static sail_value product(sail_graph *g, sail_value x, sail_value w, sail_value residual, sail_dtype t)
{
    const sail_attr attr = {.dtype = t, .trans_b = true, .scale = 1};
    const sail_value in[] = {x, w, SAIL_NONE, residual};
    return sail_graph_add(g, SAIL_OP_MATMUL, &attr, in, 4, SAIL_NONE);
}

static void the_first_error_sticks_and_names_the_operand(void **state)
{
    sail_graph *g = sail_graph_new();
    sail_err err = {0};
    const sail_value x = sail_graph_input(g, "x", 0, SAIL_F32, SAIL_DIM_TOKENS, 8);
    const sail_value w = sail_graph_param(g, "w", 0, SAIL_F32, 4, 9, true);
    const sail_value y = product(g, x, w, SAIL_NONE, SAIL_F32);
    assert_int_equal(y, SAIL_NONE);
    assert_int_equal(product(g, y, w, SAIL_NONE, SAIL_F32), SAIL_NONE);
    assert_int_equal(sail_graph_columns(g, y, 0, 1), SAIL_NONE);
    assert_int_equal(sail_graph_status(g, &err), SAIL_E_SHAPE);
    assert_string_equal(err.message, "matmul: b is [4, 9], must be [any, 8]");
    sail_graph_free(g);
}

static void rows_that_are_other_symbols_do_not_fit(void **state)
{
    sail_graph *g = sail_graph_new();
    sail_err err = {0};
    const sail_attr attr = {.dtype = SAIL_F32};
    const sail_value in[] = {sail_graph_input(g, "x", 0, SAIL_F32, SAIL_DIM_TOKENS, 8),
                             sail_graph_input(g, "y", 1, SAIL_F32, SAIL_DIM_ROWS, 8)};
    sail_graph_add(g, SAIL_OP_ADD, &attr, in, 2, SAIL_NONE);
    assert_int_equal(sail_graph_status(g, &err), SAIL_E_SHAPE);
    assert_string_equal(err.message, "add: b is [rows, 8], must be [tokens, 8]");
    sail_graph_free(g);
}

static void a_scale_that_was_forgotten_is_an_error(void **state)
{
    sail_graph *g = sail_graph_new();
    sail_err err = {0};
    const sail_attr attr = {.dtype = SAIL_F32};
    const sail_value in[] = {sail_graph_input(g, "x", 0, SAIL_F32, SAIL_DIM_TOKENS, 8),
                             sail_graph_param(g, "w", 0, SAIL_F32, 8, 3, true)};
    sail_graph_add(g, SAIL_OP_MATMUL, &attr, in, 2, SAIL_NONE);
    assert_int_equal(sail_graph_status(g, &err), SAIL_E_ARG);
    sail_graph_free(g);
}

static void columns_of_columns_are_columns(void **state)
{
    sail_graph *g = sail_graph_new();
    const sail_value x = sail_graph_input(g, "x", 0, SAIL_F32, SAIL_DIM_TOKENS, 8);
    const sail_value a = sail_graph_columns(g, x, 2, 5), b = sail_graph_columns(g, a, 1, 3);
    assert_int_equal(sail_graph_columns(g, x, 3, 3), b);
    assert_int_equal(sail_graph_columns(g, x, 0, 8), x);
    assert_int_equal(g->values[b].base, x);
    assert_int_equal(sail_graph_columns(g, a, 4, 2), SAIL_NONE);
    sail_graph_free(g);
}

static void keep_line(void *user, const char *text)
{
    sail_buf *b = user;
    sail__buf_str(b, text);
    sail__buf_str(b, "\n");
}

static void printing_and_counting(void **state)
{
    sail_graph *g = sail_graph_new();
    sail_buf b = {0};
    double flops, bytes;
    sail_dims dims = {0};
    const sail_value x = sail_graph_input(g, "x", 0, SAIL_BF16, SAIL_DIM_TOKENS, 8);
    const sail_value w = sail_graph_param(g, "w", 0, SAIL_BF16, 4, 8, true);
    product(g, sail_graph_columns(g, x, 0, 8), w, SAIL_NONE, SAIL_F32);
    dims.n[-SAIL_DIM_TOKENS] = 10;
    sail_graph_print(g, NULL, keep_line, &b);
    sail_graph_print(g, &dims, keep_line, &b);
    assert_string_equal(b.data, "   0 %2 [tokens, 4] f32 = matmul(x, w) trans_b=1\n"
                                "   0 %2 [10, 4] f32 = matmul(x, w) trans_b=1\n");
    sail_graph_count(g, &dims, NULL, 0, 1, &flops, &bytes);
    assert_true(flops == 2 * 10 * 4 * 8);
    assert_true(bytes == 10 * 8 * 2 + 4 * 8 * 2 + 10 * 4 * 4);
    sail__buf_free(&b);
    sail_graph_free(g);
}

typedef struct trained {
    sail_value param[8], grad[8];
    int n;
} trained;

static sail_value gradient(void *user, sail_value v)
{
    trained *t = user;
    for (int i = 0; i < t->n; i++)
        if (t->param[i] == v)
            return t->grad[i];
    return SAIL_NONE;
}

static int count(const sail_graph *g, sail_op op, int first)
{
    int n = 0;
    for (size_t i = (size_t)first; i < g->n_nodes; i++)
        n += g->nodes[i].op == op;
    return n;
}

/* y = x + W2 (W1 h), h = norm x: the base is frozen, an adapter on W2 is trained. */
static void frozen_parameters_and_what_is_before_them_cost_nothing(void **state)
{
    sail_graph *g = sail_graph_new();
    sail_err err = {0};
    trained t = {.n = 2};
    const sail_attr norm = {.dtype = SAIL_BF16, .groups = 1, .eps = 1e-5f};
    const sail_value x = sail_graph_input(g, "x", 0, SAIL_F32, SAIL_DIM_TOKENS, 8);
    const sail_value in[] = {x, sail_graph_param(g, "n", 0, SAIL_F32, 1, 8, true)};
    const sail_value h = sail_graph_add(g, SAIL_OP_RMS_NORM, &norm, in, 2, SAIL_NONE);
    const sail_value u = product(g, h, sail_graph_param(g, "w1", 1, SAIL_BF16, 8, 8, true), SAIL_NONE, SAIL_BF16);
    const sail_value y = product(g, u, sail_graph_param(g, "w2", 2, SAIL_BF16, 8, 8, true), x, SAIL_F32);
    t.param[0] = sail_graph_param(g, "a", 3, SAIL_BF16, 2, 8, true);
    t.param[1] = sail_graph_param(g, "b", 4, SAIL_BF16, 8, 2, true);
    const sail_value z = product(g, product(g, u, t.param[0], SAIL_NONE, SAIL_BF16), t.param[1], y, SAIL_F32);
    t.grad[0] = sail_graph_param(g, "da", 5, SAIL_F32, 2, 8, false);
    t.grad[1] = sail_graph_param(g, "db", 6, SAIL_F32, 8, 2, false);
    const sail_value seed = sail_graph_input(g, "dz", 1, SAIL_F32, SAIL_DIM_TOKENS, 8);
    assert_int_equal(sail_graph_backward(g, &z, &seed, 1, gradient, &t, false, &err), SAIL_OK);
    const int forward = sail_graph_forward_nodes(g);
    /* one cast of dz, dB, du, dA: nothing else */
    assert_int_equal((int)g->n_nodes - forward, 4);
    assert_int_equal(count(g, SAIL_OP_MATMUL, forward), 3);
    assert_int_equal(count(g, SAIL_OP_CAST, forward), 1);
    sail_graph_free(g);
}

/* The residual stream's gradient passes through, and the norm's is added inside its own op. */
static void the_residual_stream_needs_no_sums(void **state)
{
    sail_graph *g = sail_graph_new();
    sail_err err = {0};
    trained t = {.n = 3};
    const sail_attr norm = {.dtype = SAIL_BF16, .groups = 1, .eps = 1e-5f};
    const sail_attr embed = {.dtype = SAIL_F32, .scale = 1};
    t.param[0] = sail_graph_param(g, "table", 0, SAIL_BF16, 30, 8, true);
    t.param[1] = sail_graph_param(g, "n", 1, SAIL_BF16, 1, 8, true);
    t.param[2] = sail_graph_param(g, "w", 2, SAIL_BF16, 8, 8, true);
    const sail_value ids[] = {t.param[0], sail_graph_input(g, "ids", 0, SAIL_I32, SAIL_DIM_TOKENS, 1)};
    const sail_value x = sail_graph_add(g, SAIL_OP_EMBED, &embed, ids, 2, SAIL_NONE);
    const sail_value in[] = {x, t.param[1]};
    const sail_value y = product(g, sail_graph_add(g, SAIL_OP_RMS_NORM, &norm, in, 2, SAIL_NONE), t.param[2], x, SAIL_F32);
    for (int i = 0; i < 3; i++)
        t.grad[i] = sail_graph_param(g, "g", 3 + i, SAIL_F32, i == 0 ? 30 : i == 1 ? 1 : 8, 8, false);
    const sail_value seed = sail_graph_input(g, "dy", 1, SAIL_F32, SAIL_DIM_TOKENS, 8);
    assert_int_equal(sail_graph_backward(g, &y, &seed, 1, gradient, &t, false, &err), SAIL_OK);
    const int forward = sail_graph_forward_nodes(g);
    assert_int_equal(count(g, SAIL_OP_ADD, forward), 0);
    for (size_t i = (size_t)forward; i < g->n_nodes; i++)
        if (g->nodes[i].op == SAIL_OP_RMS_NORM_BACK)
            assert_int_equal(g->nodes[i].in[4], seed);
    assert_int_equal(count(g, SAIL_OP_EMBED_GRAD, forward), 1);
    assert_int_equal(sail_graph_backward(g, &y, &seed, 1, gradient, &t, false, &err), SAIL_E_STATE);
    sail_graph_free(g);
}

static void overlapping_views_have_no_derivative(void **state)
{
    sail_graph *g = sail_graph_new();
    sail_err err = {0};
    trained t = {.n = 1};
    const sail_attr silu = {.activation = SAIL_ACT_SILU};
    t.param[0] = sail_graph_param(g, "w", 0, SAIL_F32, 8, 8, true);
    t.grad[0] = sail_graph_param(g, "g", 1, SAIL_F32, 8, 8, false);
    const sail_value x = product(g, sail_graph_input(g, "x", 0, SAIL_F32, 5, 8), t.param[0], SAIL_NONE, SAIL_F32);
    const sail_value in[] = {sail_graph_columns(g, x, 0, 5), sail_graph_columns(g, x, 3, 5)};
    const sail_value y = sail_graph_add(g, SAIL_OP_GLU, &silu, in, 2, SAIL_NONE);
    const sail_value seed = sail_graph_input(g, "dy", 1, SAIL_F32, 5, 5);
    assert_int_equal(sail_graph_backward(g, &y, &seed, 1, gradient, &t, false, &err), SAIL_E_STATE);
    sail_graph_free(g);
}

/* A chain of products with a skip: what lives at the same time lies apart, and memory is reused. */
static void storages_in_use_together_do_not_overlap(void **state)
{
    for (int pieces = 0; pieces < 2; pieces++) {
        sail_graph *g = sail_graph_new();
        sail_arena *a = sail__arena_new();
        sail_layout l;
        sail_place places[128];
        uint64_t bytes[64], total = 0, sum = 0;
        sail_dims dims = {0};
        sail_err err = {0};
        int n = 0;
        sail_value x = sail_graph_input(g, "x", 0, SAIL_F32, SAIL_DIM_TOKENS, 8), skip = SAIL_NONE;
        for (int i = 0; i < 20; i++) {
            const int64_t cols = 8 + (i * 5) % 9;
            sail_value_info info;
            sail_graph_value_info(g, x, &info);
            const sail_value w = sail_graph_param(g, "w", i, SAIL_F32, cols, info.cols, false);
            x = product(g, x, w, SAIL_NONE, SAIL_F32);
            if (i == 3)
                skip = x;
            if (i == 7)
                sail_graph_output(g, x, 0);
        }
        sail_graph_output(g, x, 1);
        sail_graph_output(g, skip, 2);
        assert_int_equal(sail_graph_status(g, &err), SAIL_OK);
        dims.n[-SAIL_DIM_TOKENS] = 37;
        assert_int_equal(sail__layout_make(g, a, &l, &err), SAIL_OK);
        assert_int_equal(l.n_storages, 20);
        assert_int_equal(sail__plan_make(&l, &dims, 64, pieces ? 4096 : 1 << 20, places, bytes, 64, &n, &err), SAIL_OK);
        assert_int_equal(n == 1, !pieces);
        for (int i = 0; i < n; i++) {
            total += bytes[i];
            assert_true(bytes[i] <= (pieces ? 4096 : 1 << 20));
        }
        for (int i = 0; i < l.n_storages; i++) {
            sum += places[i].bytes;
            assert_true(places[i].bytes >= 37 * (uint64_t)l.storages[i].row_bytes && places[i].offset % 64 == 0);
            assert_true(places[i].offset + places[i].bytes <= bytes[places[i].arena]);
            for (int j = 0; j < i; j++)
                if (places[i].arena == places[j].arena && l.storages[i].first <= l.storages[j].last &&
                    l.storages[j].first <= l.storages[i].last)
                    assert_true(places[i].offset + places[i].bytes <= places[j].offset ||
                                places[j].offset + places[j].bytes <= places[i].offset);
        }
        assert_true(total < sum / 2);
        assert_int_equal(sail__plan_make(&l, &dims, 64, 1024, places, bytes, 64, &n, &err), SAIL_E_NOMEM);
        sail__arena_free(a);
        sail_graph_free(g);
    }
}

/* Elementwise ops take over memory that nobody needs any more, and only then. */
static void elementwise_ops_work_in_place(void **state)
{
    sail_graph *g = sail_graph_new();
    sail_arena *a = sail__arena_new();
    sail_layout l;
    sail_err err = {0};
    const sail_attr attr = {.dtype = SAIL_F32, .scale = 2};
    const sail_value x = sail_graph_input(g, "x", 0, SAIL_F32, SAIL_DIM_TOKENS, 8);
    const sail_value p = sail_graph_add(g, SAIL_OP_SCALE, &attr, &x, 1, SAIL_NONE); /* not onto the input */
    const sail_value q = sail_graph_add(g, SAIL_OP_SCALE, &attr, &p, 1, SAIL_NONE); /* p is needed below */
    const sail_value both[] = {q, p};
    const sail_value r = sail_graph_add(g, SAIL_OP_ADD, &attr, both, 2, SAIL_NONE); /* onto q */
    sail_graph_output(g, r, 0);
    const sail_value s = sail_graph_add(g, SAIL_OP_SCALE, &attr, &r, 1, SAIL_NONE); /* r is read after the run */
    sail_graph_output(g, s, 1);
    assert_int_equal(sail_graph_status(g, &err), SAIL_OK);
    assert_int_equal(sail__layout_make(g, a, &l, &err), SAIL_OK);
    assert_int_equal(l.of[x], -1);
    assert_int_not_equal(l.of[p], l.of[q]);
    assert_int_equal(l.of[r], l.of[q]);
    assert_int_not_equal(l.of[s], l.of[r]);
    sail__arena_free(a);
    sail_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_error_sticks_and_names_the_operand),
        cmocka_unit_test(rows_that_are_other_symbols_do_not_fit),
        cmocka_unit_test(a_scale_that_was_forgotten_is_an_error),
        cmocka_unit_test(columns_of_columns_are_columns),
        cmocka_unit_test(printing_and_counting),
        cmocka_unit_test(frozen_parameters_and_what_is_before_them_cost_nothing),
        cmocka_unit_test(the_residual_stream_needs_no_sums),
        cmocka_unit_test(overlapping_views_have_no_derivative),
        cmocka_unit_test(storages_in_use_together_do_not_overlap),
        cmocka_unit_test(elementwise_ops_work_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
