/* cases_head.c - the vocabulary, sampling, the guard and the optimisers. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sail/optimizer.h"
#include "sail/sampler.h"
#include "suite.h"

/* lse, entropy and lss of each row */
static void head_forward(suite *s, const float *x, const float *w, const float *bias, const sail_attr *attr, int64_t rows, int64_t words,
                         int64_t d, sail_dtype t, float *out[3])
{
    for (int64_t i = 0; i < rows; i++) {
        double max = -INFINITY, sum = 0, entropy = 0, squares = 0;
        double *z = scratch(s, (size_t)words * sizeof *z);
        for (int64_t v = 0; v < words; v++) {
            z[v] = 0;
            for (int64_t j = 0; j < d; j++) {
                float a = x[i * d + j], b = w[v * d + j];
                if (t == SAIL_BF16) {
                    a = sail_bf16_to_f32(sail_f32_to_bf16(a));
                    b = sail_bf16_to_f32(sail_f32_to_bf16(b));
                }
                z[v] += (double)a * (double)b;
            }
            z[v] = z[v] * (double)attr->scale + (bias ? (double)bias[v] : 0);
            if (attr->softcap > 0)
                z[v] = (double)attr->softcap * tanh(z[v] / (double)attr->softcap);
            max = fmax(max, z[v]);
        }
        for (int64_t v = 0; v < words; v++)
            sum += exp(z[v] - max);
        for (int64_t v = 0; v < words; v++) {
            const double log_p = z[v] - max - log(sum), p = exp(log_p);
            entropy -= p * log_p;
            squares += p * p;
        }
        out[0][i] = (float)(max + log(sum));
        out[1][i] = (float)entropy;
        out[2][i] = (float)log(squares);
    }
}

static void head(suite *s, int64_t rows, int64_t words, int64_t d, sail_dtype t, sail_dtype wt, int want, float softcap,
                 float scale, bool bias, bool timed)
{
    const sail_attr attr = {.scale = scale, .softcap = softcap, .want = want};
    kase *c = begin(s, SAIL_OP_HEAD, "%lldx%lld, %lld words, %s x %s, want %d, cap %g%s", (long long)rows, (long long)d,
                    (long long)words, sail_dtype_name(t), sail_dtype_name(wt), want, (double)softcap, bias ? ", bias" : "");
    c->attr = attr;
    c->bench = timed;
    const double size = 3 / sqrt((double)d);
    floats(s, 0, t, rows, d, -2, 2);
    floats(s, 1, wt, words, d, -size, size);
    ints(s, 2, rows, 1, -1, words);
    if (bias)
        floats(s, 3, SAIL_F32, 1, words, -3, 3);
    const operand with = c->in[3];
    if (!timed)
        head_limits(s, c);
    c->differentiable = want == 3 && rows < 20 ? bias ? 11 : 3 : 0;
    spread(c, rows % 3, 0);
    const kase forward = *c;
    emit(s);
    if (s->bench && !timed)
        return;
    for (int dw = 0; dw < (sail_dtype_is_quantised(wt) ? 1 : 2); dw++) {
        float *state[3];
        s->c = forward;
        c = &s->c;
        c->op = SAIL_OP_HEAD_BACK;
        snprintf(c->name, sizeof c->name, "head_back%.120s%s", forward.name + 4, dw ? ", dw" : "");
        memset(c->out, 0, sizeof c->out);
        c->attr.want = dw ? SAIL_WANT_DW | (bias ? SAIL_WANT_DB : 0) : 0;
        c->in[3] = (operand){0};
        c->attr.accumulate = dw && rows % 2;
        for (int i = 0; i < 3; i++)
            state[i] = scratch(s, (size_t)rows * sizeof(float));
        float *w = (float *)(uintptr_t)c->in[1].f;
        if (sail_dtype_is_quantised(wt)) { /* what the rows really hold */
            unsigned char *bytes = scratch(s, sail_dtype_bytes(wt, (uint64_t)(words * d)));
            w = scratch(s, (size_t)(words * d) * sizeof *w);
            sail_from_f32(wt, c->in[1].f, bytes, (size_t)(words * d), NULL);
            sail_to_f32(wt, bytes, w, (size_t)(words * d), NULL);
        }
        if (!timed)
            head_forward(s, c->in[0].f, w, with.f, &attr, rows, words, d, t, state);
        for (int i = 0; i < 3; i++)
            if (i == 0 || (want & (i == 1 ? SAIL_WANT_ENTROPY : SAIL_WANT_LSS)))
                given_floats(s, 3 + i, rows, 1, state[i]);
        floats(s, 6, SAIL_F32, rows, 1, -1, 1);
        if (want & SAIL_WANT_ENTROPY)
            floats(s, 7, SAIL_F32, rows, 1, -1, 1);
        if (want & SAIL_WANT_LSS)
            floats(s, 8, SAIL_F32, rows, 1, -1, 1);
        if (bias)
            given_floats(s, 9, 1, words, with.f);
        if (c->attr.accumulate) {
            c->out[1].f = uniform(s, words * d, -1, 1);
            c->out[2].f = bias ? uniform(s, words, -1, 1) : NULL;
        }
        if (!timed)
            head_back_limits(s, c);
        c->differentiable = 0;
        emit(s);
    }
}

void head_cases(suite *s)
{
    static const int64_t shapes[][3] = {{1, 1, 1},    {1, 2, 3},     {2, 17, 8},    {7, 64, 16},  {15, 65, 33},
                                        {17, 127, 64}, {33, 320, 48}, {65, 257, 31}, {3, 1031, 96}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int half = 0; half < 2; half++)
            for (int want = 0; want < 4; want++) {
                const sail_dtype t = half ? SAIL_BF16 : SAIL_F32;
                head(s, shapes[i][0], shapes[i][1], shapes[i][2], t, t, want, (i + (size_t)want) % 3 == 1 ? 3 : 0,
                     want == 2 ? 0.5f : 1, want >= 2 && i % 2, false);
            }
    head(s, 5, 70, 64, SAIL_F32, SAIL_Q8_0, 3, 0, 1, true, false);
    head(s, 5, 70, 64, SAIL_BF16, SAIL_Q4_0, 0, 0, 1, false, false);
    for (int half = 0; half < 2 && s->bench; half++) {
        const sail_dtype t = half ? SAIL_BF16 : SAIL_F32;
        head(s, 256, 49152, 576, t, t, 0, 0, 1, false, true);
        head(s, 256, 49152, 576, t, t, 1, 0, 1, false, true);
    }
}

void sample_cases(suite *s)
{
    static const float params[][SAIL_SAMPLE_PARAMS] = {
        {1, 0, 1, 0, 1, 1},   {0, 0, 1, 0, 1, 1},     {0.7f, 0, 1, 0, 1, 1},      {1, 5, 1, 0, 1, 1},
        {1, 0, 0.8f, 0, 1, 1}, {1, 0, 1, 0.1f, 1, 1}, {1, 0, 1, 0, 0.6f, 1},      {1, 0, 1, 0, 1, 1.3f},
        {0.9f, 20, 0.9f, 0.02f, 0.95f, 1.1f},         {0, 0, 1, 0, 1, 2},         {2, 1, 0.1f, 0, 1, 1}};
    const int n = (int)(sizeof params / sizeof *params);
    static const int64_t words[] = {1, 2, 50, 257, 1031};
    for (int i = 0; i < n; i++)
        for (int j = 0; j < 5; j++)
            for (int history = 0; history < 2; history++) {
                const int64_t rows = 1 + (i + j) % 7;
                kase *c = begin(s, SAIL_OP_SAMPLE, "%lldx%lld, filters %d%s", (long long)rows, (long long)words[j], i,
                                history ? ", history" : "");
                float *p = scratch(s, (size_t)rows * sizeof params[0]);
                for (int64_t r = 0; r < rows; r++)
                    memcpy(p + r * SAIL_SAMPLE_PARAMS, params[i], sizeof params[0]);
                floats(s, 0, SAIL_F32, rows, words[j], -5, 5);
                given_floats(s, 1, rows, SAIL_SAMPLE_PARAMS, p);
                ints(s, 2, rows, 6, 0, 1 << 30);
                if (history)
                    ints(s, 3, rows, 6, -1, words[j]);
                c->bounds[0] = (bound){EXACT, 0, 0};
                c->bounds[1] = c->bounds[2] = (bound){CONSTANT, 4, 0};
                c->constant = 20;
                if (j % 2)
                    spread(c, 3, 1);
                c->out[0].pad = 0;
                emit(s);
            }
}

static float *control(suite *s, double norm_limit, double loss, double host_skip, double multiplier, double step)
{
    float *c = scratch(s, SAIL_CONTROL_SIZE * sizeof *c);
    c[SAIL_CONTROL_RATE] = 1e-2f;
    c[SAIL_CONTROL_CLIP] = 0.5f;
    c[SAIL_CONTROL_MAX_NORM] = (float)norm_limit;
    c[SAIL_CONTROL_STEP] = (float)step;
    c[SAIL_CONTROL_HOST_SKIP] = (float)host_skip;
    c[SAIL_CONTROL_MULTIPLIER] = (float)multiplier;
    c[SAIL_CONTROL_LOSS] = (float)loss;
    c[SAIL_CONTROL_CORRECTION1] = 0.19f;
    c[SAIL_CONTROL_CORRECTION2] = 0.05f;
    return c;
}

static void guard(suite *s)
{
    static const double rows[][6] = {/* total, limit, loss, host skip, multiplier */
                                     {4, 1, 0.5, 0, 1},     {4, 0, 0.5, 0, 1},        {4, 100, 0.5, 0, 1},
                                     {4, 1, 0.5, 1, 1},     {4, 1, NAN, 0, 1},        {4, 1, INFINITY, 0, 1},
                                     {NAN, 1, 0.5, 0, 1},   {INFINITY, 1, 0.5, 0, 1}, {0, 1, 0.5, 0, 1},
                                     {1e30, 1, 0.5, 0, 0.25}, {NAN, 0, 0.5, 0, 1},    {9, -1, 2, 0, 0.125}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kase *c = begin(s, SAIL_OP_CLIP, "norm^2 %g, limit %g, loss %g, host %g, times %g", rows[i][0], rows[i][1],
                        rows[i][2], rows[i][3], rows[i][4]);
        float *total = scratch(s, sizeof *total);
        *total = (float)rows[i][0];
        given_floats(s, 0, 1, 1, total);
        given_floats(s, 1, 1, SAIL_CONTROL_SIZE, control(s, rows[i][1], rows[i][2], rows[i][3], rows[i][4], 3));
        every_bound(c, VALUE, 8, 0);
        emit(s);
    }
    static const int64_t sizes[] = {1, 7, 64, 65535, 65536, 65537, 200003};
    for (int i = 0; i < 7; i++)
        for (int acc = 0; acc < 2; acc++) {
            kase *c = begin(s, SAIL_OP_SUM_SQUARES, "%lld%s", (long long)sizes[i], acc ? " accumulate" : "");
            float *total = scratch(s, sizeof *total);
            *total = acc ? 3.5f : NAN;
            c->attr.accumulate = acc;
            floats(s, 0, SAIL_F32, 1, sizes[i], -1, 1);
            given_floats(s, 1, 1, 1, total);
            every_bound(c, VALUE, 4, 0);
            emit(s);
        }
}

static void update(suite *s, sail_op op, int64_t n, int variant, bool skip, bool timed)
{
    kase *c = begin(s, op, "%lld, variant %d%s", (long long)n, variant, skip ? ", skipped" : "");
    float *block = control(s, 1, 1, 0, 1, variant & 8 ? 1 : 4);
    block[SAIL_CONTROL_SKIP] = skip;
    c->bench = timed;
    c->attr = (sail_attr){.beta1 = 0.9f, .beta2 = 0.95f, .adam_eps = 1e-8f, .weight_decay = variant & 1 ? 0.1f : 0};
    floats(s, 0, SAIL_F32, 1, n, -1, 1);
    given_floats(s, 1, 1, SAIL_CONTROL_SIZE, block);
    floats(s, 2, SAIL_F32, 1, n, -1, 1);
    int shadow = 5;
    if (op == SAIL_OP_ADAMW) {
        floats(s, 3, SAIL_F32, 1, n, -0.1, 0.1);
        floats(s, 4, SAIL_F32, 1, n, 0.001, 0.1);
    } else {
        const bool moving = variant & 2;
        c->attr.momentum = moving ? 0.9f : 0;
        c->attr.dampening = variant & 4 ? 0.25f : 0;
        shadow = op == SAIL_OP_RMSPROP ? 6 : 4;
        if (op == SAIL_OP_RMSPROP) {
            c->attr.centered = variant & 4;
            floats(s, 3, SAIL_F32, 1, n, 0.5, 1);
            if (moving)
                floats(s, 4, SAIL_F32, 1, n, -1, 1);
            if (variant & 4)
                floats(s, 5, SAIL_F32, 1, n, -0.5, 0.5);
        } else if (moving) {
            floats(s, 3, SAIL_F32, 1, n, -1, 1);
        }
    }
    if (variant & 1)
        empty(s, shadow, SAIL_BF16, 1, n);
    if (variant & 1 && skip)
        floats(s, shadow, SAIL_BF16, 1, n, -1, 1);
    every_bound(c, ROW, 8, 0);
    emit(s);
}

void optimiser_cases(suite *s)
{
    static const int64_t sizes[] = {1, 3, 16, 33, 127, 4099};
    guard(s);
    for (int i = 0; i < 6; i++)
        for (int variant = 0; variant < 16; variant++)
            for (int skip = 0; skip < 2; skip++) {
                if (variant < 2)
                    update(s, SAIL_OP_ADAMW, sizes[i], variant, skip, false);
                if (variant < 8)
                    update(s, SAIL_OP_RMSPROP, sizes[i], variant, skip, false);
                update(s, SAIL_OP_SGD, sizes[i], variant, skip, false);
            }
    if (s->bench)
        update(s, SAIL_OP_ADAMW, 1 << 24, 1, false, true);
}
