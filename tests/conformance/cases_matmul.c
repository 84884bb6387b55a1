/* cases_matmul.c - products, bias gradients, embeddings. */
#include <math.h>
#include <string.h>

#include "case.h"
#include "suite.h"

enum { BIAS = 1, RESIDUAL = 2, ACCUMULATE = 4, SPREAD = 8, BLOCKS = 16 };

/* What a model may be stored in and nothing is written in. */
static const sail_dtype only_read[] = {SAIL_Q2_K, SAIL_Q3_K, SAIL_Q4_K, SAIL_Q5_K, SAIL_Q6_K, SAIL_IQ4_NL, SAIL_IQ4_XS};
enum { ONLY_READ = sizeof only_read / sizeof *only_read };

static kase *product(suite *s, int64_t m, int64_t n, int64_t k, sail_dtype t, sail_dtype b, sail_dtype y, bool ta, bool tb,
                     int extra)
{
    kase *c = begin(s, SAIL_OP_MATMUL, "%lldx%lldx%lld %s x %s -> %s%s%s%s%s%s%s", (long long)m, (long long)n,
                    (long long)k, sail_dtype_name(t), sail_dtype_name(b), sail_dtype_name(y), ta ? " ta" : "",
                    tb ? " tb" : "", extra & BIAS ? " bias" : "", extra & RESIDUAL ? " residual" : "",
                    extra & ACCUMULATE ? " accumulate" : "", extra & SPREAD ? " spread" : "");
    c->attr.trans_a = ta;
    c->attr.trans_b = tb;
    c->attr.dtype = y;
    c->attr.accumulate = extra & ACCUMULATE;
    c->attr.scale = extra ? 0.75f : 1;
    floats(s, 0, t, ta ? k : m, ta ? m : k, -1, 1);
    if (extra & BLOCKS)
        blocks(s, 1, b, tb ? n : k, tb ? k : n);
    else
        floats(s, 1, b, tb ? n : k, tb ? k : n, -1, 1);
    if (extra & BIAS)
        floats(s, 2, y == SAIL_F32 ? SAIL_F32 : t, 1, n, -1, 1);
    if (extra & RESIDUAL)
        floats(s, 3, y, m, n, -1, 1);
    if (extra & ACCUMULATE)
        c->out[0].f = uniform(s, m * n, -1, 1);
    if (extra & SPREAD)
        spread(c, 5, 3);
    /* A dequantised weight may be rounded to the activations' type. */
    every_bound(c, ABSOLUTE, 4, sail_dtype_is_quantised(b) ? 1 : 0);
    c->magnitudes = 15;
    c->k = (double)k;
    return c;
}

void matmul_cases(suite *s)
{
    static const int64_t shapes[][3] = {{1, 1, 1},    {1, 64, 64},  {2, 3, 5},    {7, 17, 31},  {15, 33, 16}, {16, 16, 16},
                                        {17, 15, 64}, {31, 65, 33}, {64, 64, 64}, {65, 63, 127}, {127, 97, 65}, {5, 1, 129},
                                        {1, 127, 63}, {96, 1, 7},   {128, 192, 96}, {33, 130, 257}, {70, 200, 1}};
    const int n = (int)(sizeof shapes / sizeof *shapes);
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < n; i++)
            for (int trans = 0; trans < 4; trans++) {
                const sail_dtype t = half ? SAIL_BF16 : SAIL_F32;
                const int64_t *d = shapes[i];
                static const int extras[] = {0, BIAS, RESIDUAL | SPREAD, ACCUMULATE, BIAS | RESIDUAL, ACCUMULATE | SPREAD,
                                             SPREAD | BIAS};
                const int extra = extras[(i + trans) % 7];
                kase *c = product(s, d[0], d[1], d[2], t, t, half && (i + trans) % 3 ? SAIL_BF16 : SAIL_F32,
                                  trans & 1, trans & 2, extra);
                if (extra != ACCUMULATE && !(extra & ACCUMULATE) && i < 9)
                    c->differentiable = 15;
                emit(s);
                if (half && trans == 2) { /* the residual stream: bf16 operands, f32 result and residual */
                    product(s, d[0], d[1], d[2], t, t, SAIL_F32, false, true, RESIDUAL);
                    emit(s);
                }
                if (trans == 1) { /* weight gradients */
                    product(s, d[0], d[1], d[2], t, t, SAIL_F32, true, false, ACCUMULATE);
                    emit(s);
                }
            }
    const bool fp16 = strcmp(s->devices[0].rt->name, "cpu") != 0; /* which has no product of fp16 */
    for (int i = 0; fp16 && i < 12; i++) { /* as bf16, where kernels differ */
        static const int64_t some[][3] = {{5, 33, 65}, {31, 65, 33}, {70, 130, 127}};
        const int64_t *d = some[i / 4];
        product(s, d[0], d[1], d[2], SAIL_F16, SAIL_F16, i % 3 ? SAIL_F16 : SAIL_F32, i & 1, i & 2, i % 5 == 1 ? SPREAD | BIAS : 0);
        emit(s);
    }
    static const sail_dtype written[] = {SAIL_Q8_0, SAIL_Q4_0, SAIL_Q4_1, SAIL_Q5_0, SAIL_Q5_1};
    for (int i = 0; i < 5; i++)
        for (int half = 0; half < 2; half++)
            for (int tb = 0; tb < 2; tb++)
                for (int m = 1; m < 40; m += 16) {
                    const sail_dtype t = half ? SAIL_BF16 : SAIL_F32;
                    product(s, m, tb ? 37 : 96, tb ? 96 : 37, t, written[i], m == 17 ? SAIL_F32 : t, false, tb,
                            m == 33 ? RESIDUAL : 0);
                    emit(s);
                }
    for (int i = 0; i < ONLY_READ; i++)
        for (int half = 0; half < 2; half++)
            for (int tb = 0; tb < 2; tb++)
                for (int m = 1; m < 40; m += 16) {
                    const sail_dtype t = half ? SAIL_BF16 : SAIL_F32;
                    product(s, m, tb ? 37 : 256, tb ? 512 : 37, t, only_read[i], m == 17 ? SAIL_F32 : t, false, tb, BLOCKS | (m == 33 ? RESIDUAL : 0));
                    emit(s);
                }
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < n_edges; i++)
            for (int acc = 0; acc < 2; acc++) {
                const sail_dtype t = half ? SAIL_BF16 : SAIL_F32;
                const int64_t rows = edges[i], cols = edges[(i * 5 + 3) % n_edges];
                kase *c = begin(s, SAIL_OP_BIAS_GRAD, "%lldx%lld %s%s", (long long)rows, (long long)cols,
                                sail_dtype_name(t), acc ? " accumulate spread" : "");
                floats(s, 0, t, rows, cols, -1, 1);
                c->attr.accumulate = acc;
                if (acc) {
                    c->out[0].f = uniform(s, cols, -1, 1);
                    spread(c, 3, 2);
                }
                every_bound(c, ABSOLUTE, 4, 0);
                c->magnitudes = 1;
                c->k = (double)rows;
                emit(s);
            }
}

void embed_cases(suite *s)
{
    static const sail_dtype tables[] = {SAIL_F32, SAIL_BF16, SAIL_Q8_0, SAIL_Q4_0, SAIL_Q5_1};
    for (int i = 0; i < 5; i++)
        for (int half = 0; half < 2; half++)
            for (int e = 0; e < n_edges; e += 3) {
                const int64_t d = sail_dtype_is_quantised(tables[i]) ? 96 : edges[(e + 5) % n_edges];
                kase *c = begin(s, SAIL_OP_EMBED, "%lldx%lld %s -> %s", (long long)edges[e], (long long)d,
                                sail_dtype_name(tables[i]), half ? "bf16" : "f32");
                c->attr.dtype = half ? SAIL_BF16 : SAIL_F32;
                c->attr.scale = e % 2 ? 1 : 7.5f;
                floats(s, 0, tables[i], 61, d, -1, 1);
                ints(s, 1, edges[e], 1, 0, 61);
                every_bound(c, VALUE, 2, 0);
                c->differentiable = 1;
                if (e == 3)
                    spread(c, 4, 4);
                emit(s);
            }
    for (int i = 0; i < ONLY_READ; i++)
        for (int half = 0; half < 2; half++) {
            kase *c = begin(s, SAIL_OP_EMBED, "17x512 %s -> %s", sail_dtype_name(only_read[i]), half ? "bf16" : "f32");
            c->attr.dtype = half ? SAIL_BF16 : SAIL_F32;
            blocks(s, 0, only_read[i], 61, 512);
            ints(s, 1, 17, 1, 0, 61);
            every_bound(c, VALUE, 2, 0);
            emit(s);
        }
    for (int half = 0; half < 2; half++)
        for (int acc = 0; acc < 2; acc++)
            for (int e = 0; e < n_edges; e += 2) {
                const int64_t rows = edges[e], d = edges[(e + 7) % n_edges];
                kase *c = begin(s, SAIL_OP_EMBED_GRAD, "%lldx%lld %s%s", (long long)rows, (long long)d,
                                half ? "bf16" : "f32", acc ? " accumulate" : "");
                c->attr.accumulate = acc;
                c->attr.scale = acc ? 2 : 1;
                floats(s, 0, half ? SAIL_BF16 : SAIL_F32, rows, d, -1, 1);
                ints(s, 1, rows, 1, 0, 9); /* many meet */
                c->out_rows = 23;
                if (acc)
                    c->out[0].f = uniform(s, 23 * d, -1, 1);
                else
                    spread(c, 2, 5);
                every_bound(c, ABSOLUTE, 4, 0);
                c->magnitudes = 1;
                c->k = (double)rows;
                emit(s);
            }
}

/* What a step of SmolLM2-135M multiplies, at 512 rows, and decoding. */
void bench_cases(suite *s)
{
    static const int64_t shapes[][3] = {{512, 960, 576}, {512, 576, 576}, {512, 3072, 576}, {512, 576, 1536}};
    for (int i = 0; i < 4; i++)
        for (int half = 0; half < 2; half++) {
            const sail_dtype t = half ? SAIL_BF16 : SAIL_F32;
            const int64_t *d = shapes[i];
            product(s, d[0], d[1], d[2], t, t, t, false, true, 0)->bench = true;
            emit(s);
            product(s, d[0], d[2], d[1], t, t, t, false, false, 0)->bench = true;
            emit(s);
            product(s, d[1], d[2], d[0], t, t, SAIL_F32, true, false, ACCUMULATE)->bench = true;
            emit(s);
            product(s, 1, d[1], d[2], t, t, t, false, true, 0)->bench = true;
            emit(s);
            product(s, 32, d[1], d[2], t, t, t, false, true, 0)->bench = true;
            emit(s);
        }
}
