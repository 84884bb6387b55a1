/* test_graph.c - a small decoder through the graph: every parameter's gradient against central differences, with and
 * without recomputation, on ref in both modes; what is not trained costs nothing. */
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

enum { D = 8, HEADS = 2, GROUPS = 1, HEAD = 4, FF = 12, V = 13, LAYERS = 2, P = 16, T = 11, R = 7, RANK = 3 };
enum { MAX_PARAMS = 80, IDS = 0, POSITIONS, TABLE, SEGMENTS, RANGES, TILES, INDEX, TARGETS, G_LOGP, G_ENTROPY, G_LSS, INPUTS };
enum { OUT_LOGP, OUT_ENTROPY, OUT_LSS, OUTPUTS };

typedef struct flags {
    bool tied, fused, lora, recompute, strict, bf16;
    int64_t largest;
} flags;

/* A decoder being built: parameter i's value is weight[i], its gradient's grad[i]. */
typedef struct model {
    flags f;
    sail_graph *g;
    int n;
    sail_value weight[MAX_PARAMS], grad[MAX_PARAMS];
    int64_t rows[MAX_PARAMS], cols[MAX_PARAMS];
    bool wanted[MAX_PARAMS];
    sail_value in[INPUTS], out[OUTPUTS];
} model;

static sail_dtype act(const model *m)
{
    return m->f.bf16 ? SAIL_BF16 : SAIL_F32;
}

static sail_value param(model *m, const char *name, int64_t rows, int64_t cols, bool wanted)
{
    const int i = m->n++;
    assert_true(i < MAX_PARAMS);
    m->rows[i] = rows;
    m->cols[i] = cols;
    m->wanted[i] = wanted;
    return m->weight[i] = sail_graph_param(m->g, name, i, act(m), rows, cols, true);
}

/* x W^T (+ bias) (+ residual), with an adapter beside it where there is one */
static sail_value linear(model *m, const char *name, sail_value x, int64_t in, int64_t out, bool bias,
                         sail_value residual, sail_dtype t)
{
    char text[64];
    const sail_attr attr = {.dtype = t, .trans_b = true, .scale = 1};
    const sail_value w = param(m, name, out, in, !m->f.lora);
    snprintf(text, sizeof text, "%s.bias", name);
    const sail_value b = bias ? param(m, text, 1, out, !m->f.lora) : SAIL_NONE;
    const sail_value operands[] = {x, w, b, residual};
    sail_value y = sail_graph_add(m->g, SAIL_OP_MATMUL, &attr, operands, 4, SAIL_NONE);
    if (!m->f.lora)
        return y;
    const sail_attr down = {.dtype = act(m), .trans_b = true, .scale = 1}, up = {.dtype = t, .trans_b = true, .scale = 0.5f};
    snprintf(text, sizeof text, "%s.A", name);
    const sail_value first[] = {x, param(m, text, RANK, in, true)};
    const sail_value u = sail_graph_add(m->g, SAIL_OP_MATMUL, &down, first, 2, SAIL_NONE);
    snprintf(text, sizeof text, "%s.B", name);
    const sail_value second[] = {u, param(m, text, out, RANK, true), SAIL_NONE, y};
    return sail_graph_add(m->g, SAIL_OP_MATMUL, &up, second, 4, SAIL_NONE);
}

static sail_value norm(model *m, const char *name, sail_value x)
{
    const sail_attr attr = {.dtype = act(m), .groups = 1, .eps = 1e-3f};
    const sail_value in[] = {x, param(m, name, 1, D, !m->f.lora)};
    return sail_graph_add(m->g, SAIL_OP_RMS_NORM, &attr, in, 2, SAIL_NONE);
}

static sail_value rope(model *m, sail_value x)
{
    const sail_attr attr = {.head_dim = HEAD, .rotary = HEAD};
    const sail_value in[] = {x, m->in[POSITIONS], m->in[TABLE]};
    return sail_graph_add(m->g, SAIL_OP_ROPE, &attr, in, 3, SAIL_NONE);
}

static sail_value layer(model *m, sail_value x)
{
    const int64_t q_cols = HEADS * HEAD, k_cols = GROUPS * HEAD;
    sail_value q, k, v, gate, up, h = norm(m, "norm1", x);
    if (m->f.fused) {
        const sail_value qkv = linear(m, "qkv", h, D, q_cols + 2 * k_cols, true, SAIL_NONE, act(m));
        q = sail_graph_columns(m->g, qkv, 0, q_cols);
        k = sail_graph_columns(m->g, qkv, q_cols, k_cols);
        v = sail_graph_columns(m->g, qkv, q_cols + k_cols, k_cols);
    } else {
        q = linear(m, "q", h, D, q_cols, true, SAIL_NONE, act(m));
        k = linear(m, "k", h, D, k_cols, false, SAIL_NONE, act(m));
        v = linear(m, "v", h, D, k_cols, false, SAIL_NONE, act(m));
    }
    const sail_attr attention = {.heads = HEADS, .kv_heads = GROUPS, .head_dim = HEAD, .scale = 0.5f, .softcap = 3};
    const sail_value operands[] = {rope(m, q), rope(m, k), v, m->in[SEGMENTS], m->in[RANGES], m->in[TILES]};
    const sail_value o = sail_graph_add(m->g, SAIL_OP_ATTENTION, &attention, operands, 6, SAIL_NONE);
    x = linear(m, "o", o, q_cols, D, false, x, SAIL_F32);
    h = norm(m, "norm2", x);
    if (m->f.fused) {
        const sail_value both = linear(m, "gate_up", h, D, 2 * FF, false, SAIL_NONE, act(m));
        gate = sail_graph_columns(m->g, both, 0, FF);
        up = sail_graph_columns(m->g, both, FF, FF);
    } else {
        gate = linear(m, "gate", h, D, FF, false, SAIL_NONE, act(m));
        up = linear(m, "up", h, D, FF, false, SAIL_NONE, act(m));
    }
    const sail_attr silu = {.activation = SAIL_ACT_SILU};
    const sail_value pair[] = {gate, up};
    const sail_value y = sail_graph_add(m->g, SAIL_OP_GLU, &silu, pair, 2, SAIL_NONE);
    return linear(m, "down", y, FF, D, false, x, SAIL_F32);
}

static sail_value wanted_gradient(void *user, sail_value v)
{
    model *m = user;
    for (int i = 0; i < m->n; i++)
        if (m->weight[i] == v)
            return m->wanted[i] ? m->grad[i] : SAIL_NONE;
    return SAIL_NONE;
}

static void build(model *m, const flags *f)
{
    const struct {
        const char *name;
        sail_dtype t;
        int64_t rows, cols;
    } inputs[INPUTS] = {{"ids", SAIL_I32, SAIL_DIM_TOKENS, 1},      {"positions", SAIL_I32, SAIL_DIM_TOKENS, 1},
                        {"table", SAIL_F32, P, HEAD},               {"segments", SAIL_I32, SAIL_DIM_SEGMENTS, 8},
                        {"ranges", SAIL_I32, SAIL_DIM_RANGES, 4},   {"tiles", SAIL_I32, SAIL_DIM_TILES, 4},
                        {"index", SAIL_I32, SAIL_DIM_ROWS, 1},      {"targets", SAIL_I32, SAIL_DIM_ROWS, 1},
                        {"g_logp", SAIL_F32, SAIL_DIM_ROWS, 1},     {"g_entropy", SAIL_F32, SAIL_DIM_ROWS, 1},
                        {"g_lss", SAIL_F32, SAIL_DIM_ROWS, 1}};
    sail_err err = {0};
    memset(m, 0, sizeof *m);
    m->f = *f;
    m->g = sail_graph_new();
    for (int i = 0; i < INPUTS; i++)
        m->in[i] = sail_graph_input(m->g, inputs[i].name, i, inputs[i].t, inputs[i].rows, inputs[i].cols);
    const sail_attr embed = {.dtype = SAIL_F32, .scale = 2};
    const sail_value lookup[] = {param(m, "embed", V, D, !f->lora), m->in[IDS]};
    sail_value x = sail_graph_add(m->g, SAIL_OP_EMBED, &embed, lookup, 2, SAIL_NONE);
    for (int l = 0; l < LAYERS; l++) {
        sail_graph_block(m->g, l);
        x = layer(m, x);
    }
    sail_graph_block(m->g, -1);
    const sail_value rows[] = {x, m->in[INDEX]};
    x = sail_graph_add(m->g, SAIL_OP_GATHER_ROWS, NULL, rows, 2, SAIL_NONE);
    x = norm(m, "norm", x);
    const sail_attr head = {.scale = 1, .want = SAIL_WANT_ENTROPY | SAIL_WANT_LSS, .softcap = 6};
    const sail_value last[] = {x, f->tied ? m->weight[0] : param(m, "head", V, D, true), m->in[TARGETS]};
    const sail_value logp = sail_graph_add(m->g, SAIL_OP_HEAD, &head, last, 3, SAIL_NONE);
    for (int i = 0; i < OUTPUTS; i++) {
        m->out[i] = logp + i;
        sail_graph_output(m->g, m->out[i], i);
    }
    for (int i = 0; i < m->n; i++)
        m->grad[i] = sail_graph_param(m->g, "gradient", m->n + i, SAIL_F32, m->rows[i], m->cols[i], false);
    const sail_value seeds[] = {m->in[G_LOGP], m->in[G_ENTROPY], m->in[G_LSS]};
    if (sail_graph_backward(m->g, m->out, seeds, 3, wanted_gradient, m, f->recompute, &err) != SAIL_OK)
        fail_msg("%s", err.message);
}

/* Everything on the device, and the numbers on the host. */
typedef struct state {
    device d;
    model m;
    sail_exec *x;
    sail_tensor params[2 * MAX_PARAMS], inputs[INPUTS], outputs[OUTPUTS];
    float *weights[MAX_PARAMS], seeds[3][R];
    sail_dims dims;
} state;

static void must(sail_code code, const sail_err *err)
{
    if (code != SAIL_OK)
        fail_msg("%s", err->message);
}

static void run(state *s, int parts)
{
    sail_err err = {0};
    const sail_binding b = {.dims = s->dims, .params = s->params, .n_params = 2 * s->m.n, .inputs = s->inputs,
                            .n_inputs = INPUTS, .outputs = s->outputs, .n_outputs = OUTPUTS};
    must(sail__exec_run(s->x, &b, parts, &err), &err);
}

static double loss(state *s)
{
    sail_err err = {0};
    double sum = 0;
    run(s, SAIL_RUN_FORWARD);
    for (int i = 0; i < OUTPUTS; i++) {
        float row[R];
        must(sail__tensor_get_f32(s->d.rt, &s->outputs[i], row, &err), &err);
        for (int j = 0; j < R; j++)
            sum += (double)row[j] * (double)s->seeds[i][j];
    }
    return sum;
}

/* A prompt of 4 with two children of 3 and 4: the last logit of the prompt is used twice. */
static void set_inputs(state *s)
{
    static const int32_t positions[T] = {0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7}, ids[T] = {1, 5, 12, 0, 3, 5, 7, 9, 2, 2, 11};
    static const int32_t segments[3][8] = {{0, 4, 0, -1, 11, 0, 1, 0}, {4, 3, 4, 0, 7, 1, 2, 0}, {7, 4, 4, 0, 11, 3, 2, 0}};
    static const int32_t ranges[5][4] = {{0, 4, 0, 0}, {0, 4, 0, 0}, {4, 3, 4, 0}, {0, 4, 0, 0}, {7, 4, 4, 0}};
    static const int32_t tiles[4][4] = {{0, 0, 4, 0}, {1, 4, 3, 4}, {2, 7, 1, 4}, {2, 8, 3, 5}};
    static const int32_t index[R] = {3, 4, 5, 3, 7, 8, 9}, targets[R] = {3, 5, 7, 9, 2, -1, 11};
    float table[P][HEAD];
    const void *data[INPUTS] = {ids, positions, table, segments, ranges, tiles, index, targets, s->seeds[0], s->seeds[1],
                                s->seeds[2]};
    sail_err err = {0};
    s->dims.n[-SAIL_DIM_TOKENS] = T;
    s->dims.n[-SAIL_DIM_ROWS] = R;
    s->dims.n[-SAIL_DIM_SEGMENTS] = 3;
    s->dims.n[-SAIL_DIM_RANGES] = 5;
    s->dims.n[-SAIL_DIM_TILES] = 4;
    for (int p = 0; p < P; p++)
        for (int i = 0; i < HEAD / 2; i++) {
            const double angle = p * pow(100, -2.0 * i / HEAD);
            table[p][i] = (float)cos(angle);
            table[p][HEAD / 2 + i] = (float)sin(angle);
        }
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < R; j++)
            s->seeds[i][j] = (float)noise(77, (uint64_t)(i * R + j));
    for (int i = 0; i < INPUTS; i++) {
        sail_value_info info;
        sail_graph_value_info(s->m.g, s->m.in[i], &info);
        const int64_t rows = info.rows < 0 ? s->dims.n[-info.rows] : info.rows;
        must(sail__tensor_alloc(s->d.rt, info.dtype, rows, info.cols, &s->inputs[i], &err), &err);
        must(sail__tensor_put(s->d.rt, &s->inputs[i], data[i], &err), &err);
    }
}

static void put_weight(state *s, int i, const float *direction, double h)
{
    sail_err err = {0};
    const int64_t n = s->m.rows[i] * s->m.cols[i];
    float *w = malloc((size_t)n * sizeof *w);
    for (int64_t k = 0; k < n; k++)
        w[k] = (float)((double)s->weights[i][k] + (direction ? h * (double)direction[k] : 0));
    must(sail__tensor_put_f32(s->d.rt, &s->params[i], w, &err), &err);
    free(w);
}

static void start(state *s, const flags *f)
{
    char largest[64];
    const char *options[2] = {f->strict ? "strict=true" : "strict=false", largest};
    sail_err err = {0};
    memset(s, 0, sizeof *s);
    snprintf(largest, sizeof largest, "largest=%lld", (long long)f->largest);
    assert_true(device_open(&s->d, "ref", NULL, options, 2));
    build(&s->m, f);
    must(sail__exec_new(s->d.rt, s->m.g, &s->x, &err), &err);
    for (int i = 0; i < s->m.n; i++) {
        const int64_t n = s->m.rows[i] * s->m.cols[i];
        const bool is_norm = s->m.rows[i] == 1 && s->m.cols[i] == D;
        s->weights[i] = malloc((size_t)n * sizeof(float));
        for (int64_t k = 0; k < n; k++)
            s->weights[i][k] = (float)(is_norm + 0.6 * noise((uint64_t)i + 1, (uint64_t)k));
        must(sail__tensor_alloc(s->d.rt, act(&s->m), s->m.rows[i], s->m.cols[i], &s->params[i], &err), &err);
        must(sail__tensor_alloc(s->d.rt, SAIL_F32, s->m.rows[i], s->m.cols[i], &s->params[s->m.n + i], &err), &err);
        put_weight(s, i, NULL, 0);
        float *zero = calloc((size_t)n, sizeof *zero);
        must(sail__tensor_put(s->d.rt, &s->params[s->m.n + i], zero, &err), &err);
        free(zero);
    }
    set_inputs(s);
}

static void finish(state *s)
{
    sail__exec_free(s->x);
    for (int i = 0; i < s->m.n; i++) {
        sail__tensor_free(s->d.rt, &s->params[i]);
        sail__tensor_free(s->d.rt, &s->params[s->m.n + i]);
        free(s->weights[i]);
    }
    for (int i = 0; i < INPUTS; i++)
        sail__tensor_free(s->d.rt, &s->inputs[i]);
    sail_graph_free(s->m.g);
    device_close(&s->d);
}

static void get_gradient(state *s, int i, float *out)
{
    sail_err err = {0};
    must(sail__tensor_get_f32(s->d.rt, &s->params[s->m.n + i], out, &err), &err);
}

/* Fourth-order central differences of the loss along random directions of each parameter. */
static void check_gradients(const flags *f)
{
    state s;
    double worst = 0;
    int checked = 0;
    start(&s, f);
    run(&s, SAIL_RUN_FORWARD);
    run(&s, SAIL_RUN_BACKWARD);
    for (int i = 0; i < s.m.n; i++) {
        const int64_t n = s.m.rows[i] * s.m.cols[i];
        float *gradient = malloc((size_t)n * sizeof *gradient), *direction = malloc((size_t)n * sizeof *direction);
        get_gradient(&s, i, gradient);
        for (int trial = 0; trial < 3; trial++) {
            double want = 0, size = 0, value[4];
            const double h = 6e-3, at[4] = {h, -h, 2 * h, -2 * h};
            for (int64_t k = 0; k < n; k++) {
                direction[k] = (float)noise((uint64_t)(1000 + trial), (uint64_t)(i * 1000 + k));
                want += (double)direction[k] * (double)gradient[k];
                size += fabs((double)direction[k] * (double)gradient[k]);
            }
            if (!s.m.wanted[i]) {
                assert_true(size == 0);
                continue;
            }
            for (int k = 0; k < 4; k++) {
                put_weight(&s, i, direction, at[k]);
                value[k] = loss(&s);
            }
            put_weight(&s, i, NULL, 0);
            const double got = (8 * (value[0] - value[1]) - (value[2] - value[3])) / (12 * h);
            const double off = fabs(got - want) / (size + 0.05);
            if (off > 5e-4)
                print_message("parameter %d [%d, %d]: %.6g by differences, %.6g by the graph\n", i, (int)s.m.rows[i],
                              (int)s.m.cols[i], got, want);
            worst = fmax(worst, off);
            checked++;
        }
        free(gradient);
        free(direction);
    }
    print_message("%d directions, worst %.1e of the sum of magnitudes; %d nodes, %d forward\n", checked, worst,
                  sail_graph_nodes(s.m.g), sail_graph_forward_nodes(s.m.g));
    assert_true(checked > 0 && worst < 5e-4);
    finish(&s);
}

static void gradients_match_central_differences(void **unused)
{
    for (int i = 0; i < 32; i++)
        check_gradients(&(flags){.tied = i & 1, .fused = i & 2, .lora = i & 4, .recompute = i & 8, .strict = i & 16});
}

static void gradients_match_when_memory_comes_in_small_pieces(void **unused)
{
    check_gradients(&(flags){.tied = true, .fused = true, .strict = true, .largest = 2048});
}

/* Recomputation gives the same bits and keeps less. */
static void recomputation_changes_no_bit(void **unused)
{
    for (int bf16 = 0; bf16 < 2; bf16++) {
        state a, b;
        const flags keep = {.tied = true, .fused = true, .bf16 = bf16};
        flags again = keep;
        uint64_t kept = 0, computed = 0;
        sail_err err = {0};
        again.recompute = true;
        start(&a, &keep);
        start(&b, &again);
        run(&a, SAIL_RUN_FORWARD | SAIL_RUN_BACKWARD);
        run(&b, SAIL_RUN_FORWARD | SAIL_RUN_BACKWARD);
        for (int i = 0; i < a.m.n; i++) {
            float x[1024], y[1024];
            get_gradient(&a, i, x);
            get_gradient(&b, i, y);
            assert_memory_equal(x, y, (size_t)(a.m.rows[i] * a.m.cols[i]) * sizeof *x);
        }
        must(sail__exec_measure(a.x, &a.dims, &kept, &err), &err);
        must(sail__exec_measure(b.x, &b.dims, &computed, &err), &err);
        print_message("%llu bytes kept, %llu when computed again\n", (unsigned long long)kept,
                      (unsigned long long)computed);
        assert_true(computed < kept);
        finish(&a);
        finish(&b);
    }
}

/* bf16 weights and activations: close to float32, and gradients accumulate: twice gives double. */
static void bf16_gradients_are_near_and_accumulate(void **unused)
{
    state a, b;
    const flags exact = {.fused = true}, half = {.fused = true, .bf16 = true};
    start(&a, &exact);
    start(&b, &half);
    run(&a, SAIL_RUN_FORWARD | SAIL_RUN_BACKWARD);
    run(&b, SAIL_RUN_FORWARD | SAIL_RUN_BACKWARD);
    for (int i = 0; i < a.m.n; i++) {
        float x[1024], y[1024];
        double off = 0, size = 0;
        const int64_t n = a.m.rows[i] * a.m.cols[i];
        get_gradient(&a, i, x);
        get_gradient(&b, i, y);
        for (int64_t k = 0; k < n; k++) {
            off += pow((double)(x[k] - y[k]), 2);
            size += pow((double)x[k], 2);
        }
        assert_true(sqrt(off) < 0.1 * sqrt(size));
    }
    float *once = malloc(sizeof *once * 1024 * MAX_PARAMS);
    for (int i = 0; i < a.m.n; i++)
        get_gradient(&a, i, once + 1024 * i);
    run(&a, SAIL_RUN_FORWARD | SAIL_RUN_BACKWARD);
    for (int i = 0; i < a.m.n; i++) {
        float z[1024];
        get_gradient(&a, i, z);
        for (int64_t k = 0; k < a.m.rows[i] * a.m.cols[i]; k++)
            assert_true(fabs((double)z[k] - 2 * (double)once[1024 * i + k]) <= 1e-5 * fabs((double)z[k]) + 1e-6);
    }
    free(once);
    finish(&a);
    finish(&b);
}

static void a_backward_part_needs_its_forward_part(void **unused)
{
    state s;
    sail_err err = {0};
    start(&s, &(flags){.tied = true});
    const sail_binding b = {.dims = s.dims, .params = s.params, .n_params = 2 * s.m.n, .inputs = s.inputs,
                            .n_inputs = INPUTS, .outputs = s.outputs, .n_outputs = OUTPUTS};
    assert_int_equal(sail__exec_run(s.x, &b, SAIL_RUN_BACKWARD, &err), SAIL_E_STATE);
    finish(&s);
}

/* A backend that lacks some ops, ref otherwise. */
static bool partly(sail_device *d, const sail_call *call)
{
    return call->op != SAIL_OP_MATMUL && call->op != SAIL_OP_GLU_BACK && call->op != SAIL_OP_ATTENTION &&
           sail_call_check(call, NULL) == SAIL_OK;
}

static void count_messages(void *user, sail_log_level level, const char *message)
{
    *(int *)user += strstr(message, "has no kernel") != NULL;
}

static void ops_that_a_backend_lacks_run_on_ref_where_that_is_allowed(void **unused)
{
    state a, b;
    sail_err err = {0};
    int told = 0;
    const flags f = {.tied = true, .fused = true, .bf16 = true};
    start(&a, &f);
    start(&b, &f);
    sail_backend lacking = *b.d.rt->backend;
    lacking.supports = partly;
    const sail_backend *whole = b.d.rt->backend;
    b.d.rt->backend = &lacking;
    const sail_binding binding = {.dims = b.dims, .params = b.params, .n_params = 2 * b.m.n, .inputs = b.inputs,
                                  .n_inputs = INPUTS, .outputs = b.outputs, .n_outputs = OUTPUTS};
    assert_int_equal(sail__exec_run(b.x, &binding, SAIL_RUN_FORWARD, &err), SAIL_E_DTYPE);
    assert_non_null(strstr(err.message, "no kernel for matmul([11, 8] bf16"));
    must(sail__runtime_fallback(b.d.rt, &b.d.slot, &err), &err);
    sail_ctx_set_log(b.d.ctx, SAIL_LOG_INFO, count_messages, &told);
    run(&a, SAIL_RUN_FORWARD | SAIL_RUN_BACKWARD);
    run(&b, SAIL_RUN_FORWARD);
    run(&b, SAIL_RUN_BACKWARD);
    assert_int_equal(told, 3);
    for (int i = 0; i < a.m.n; i++) {
        float x[1024], y[1024];
        get_gradient(&a, i, x);
        get_gradient(&b, i, y);
        assert_memory_equal(x, y, (size_t)(a.m.rows[i] * a.m.cols[i]) * sizeof *x);
    }
    b.d.rt->backend = whole;
    finish(&a);
    finish(&b);
}

/* Sizes that grow and shrink use one plan, and in a steady state nothing is allocated. */
static void a_steady_state_allocates_nothing(void **unused)
{
    state s;
    sail_counters before, after;
    start(&s, &(flags){.tied = true});
    run(&s, SAIL_RUN_FORWARD | SAIL_RUN_BACKWARD);
    s.d.rt->backend->counters(s.d.rt->device, &before);
    run(&s, SAIL_RUN_FORWARD | SAIL_RUN_BACKWARD);
    s.d.rt->backend->counters(s.d.rt->device, &after);
    assert_true(after.bytes_now == before.bytes_now && after.bytes_peak == before.bytes_peak);
    assert_true(after.syncs == before.syncs && after.downloads == before.downloads);
    finish(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_match_central_differences),
        cmocka_unit_test(gradients_match_when_memory_comes_in_small_pieces),
        cmocka_unit_test(recomputation_changes_no_bit),
        cmocka_unit_test(bf16_gradients_are_near_and_accumulate),
        cmocka_unit_test(a_backward_part_needs_its_forward_part),
        cmocka_unit_test(ops_that_a_backend_lacks_run_on_ref_where_that_is_allowed),
        cmocka_unit_test(a_steady_state_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
