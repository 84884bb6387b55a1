/* cases_model.c - elementwise ops, rows, norms. */
#include <math.h>

#include "case.h"

static sail_dtype type_of(int half)
{
    return half ? SAIL_BF16 : SAIL_F32;
}

/* In place where `place` says so, else every other case as columns of wider matrices. */
static void vary(kase *c, int place, int e)
{
    if (place >= 0)
        c->in_place = place;
    if (e % 2)
        spread(c, 7, 3);
}

static void simple(suite *s)
{
    for (int e = 0; e < n_edges; e++)
        for (int a = 0; a < 2; a++)
            for (int b = 0; b < 2; b++) {
                const int64_t rows = edges[e], cols = edges[(e * 7 + 4) % n_edges];
                for (int place = -1; place < 2; place++) {
                    kase *c = begin(s, SAIL_OP_ADD, "%lldx%lld %s + %s%s", (long long)rows, (long long)cols,
                                    a ? "bf16" : "f32", b ? "bf16" : "f32", place < 0 ? "" : place ? " in b" : " in a");
                    floats(s, 0, type_of(a), rows, cols, -1, 1);
                    floats(s, 1, type_of(b), rows, cols, -1, 1);
                    c->attr.dtype = place == 0 ? type_of(a) : place == 1 ? type_of(b) : type_of((a + b + e) % 2);
                    every_bound(c, ABSOLUTE, 2, 0);
                    c->magnitudes = 3;
                    c->differentiable = 3;
                    vary(c, place, e);
                    emit(s);
                }
                kase *c = begin(s, SAIL_OP_CAST, "%lldx%lld %s -> %s", (long long)rows, (long long)cols,
                                a ? "bf16" : "f32", b ? "bf16" : "f32");
                floats(s, 0, type_of(a), rows, cols, -1, 1);
                c->attr.dtype = type_of(b);
                every_bound(c, EXACT, 0, 0);
                c->differentiable = 1;
                vary(c, a == b && e % 3 == 0 ? 0 : -1, e);
                emit(s);
                c = begin(s, SAIL_OP_SCALE, "%lldx%lld %s%s", (long long)rows, (long long)cols, a ? "bf16" : "f32",
                          b ? " in place" : "");
                floats(s, 0, type_of(a), rows, cols, -1, 1);
                c->attr.scale = -1.7f;
                c->differentiable = 1;
                vary(c, b ? 0 : -1, e);
                emit(s);
                c = begin(s, SAIL_OP_DROPOUT, "%lldx%lld %s%s", (long long)rows, (long long)cols, a ? "bf16" : "f32",
                          b ? " in place" : "");
                floats(s, 0, type_of(a), rows, cols, 0.5, 1);
                ints(s, 1, rows, 2, -5, 1 << 30);
                c->attr.p = e % 3 ? 0.3f : 0;
                c->attr.seed = 0x123456789abcdefull + (uint64_t)e;
                c->attr.layer = e;
                c->differentiable = 1;
                vary(c, b ? 0 : -1, e);
                emit(s);
            }
    for (int e = 0; e < n_edges; e++)
        for (int half = 0; half < 2; half++) {
            kase *c = begin(s, SAIL_OP_FILL, "%lldx3 %s", (long long)edges[e], half ? "bf16" : "f32");
            c->attr.scale = e ? 0.375f : 0;
            c->out_rows = edges[e];
            c->out_cols = 3;
            c->out_dtype = type_of(half);
            every_bound(c, EXACT, 0, 0);
            spread(c, e % 3, e % 2);
            emit(s);
        }
}

/* Gelu's tails are differences of numbers near 1 (silu's and relu's are not): what float32 leaves of them is relative to
 * the terms, which are at most about 6 here, and 6 x 0.8 (1 + 3 x 0.045 x 36) in the slope. */
static void glu_bound(kase *c, int activation, double terms)
{
    const bool tails = activation == SAIL_ACT_GELU || activation == SAIL_ACT_GELU_TANH;
    every_bound(c, tails ? CONSTANT : ROW, tails ? 6 : 16, 0);
    c->constant = terms;
}

/* ACT is GLU without the factor. */
static void act(suite *s)
{
    for (int e = 0; e < n_edges; e++)
        for (int half = 0; half < 2; half++)
            for (int kind = SAIL_ACT_SILU; kind <= SAIL_ACT_RELU; kind++)
                for (int back = 0; back < 2; back++) {
                    const int64_t rows = edges[e], cols = edges[(e * 5 + 3) % n_edges];
                    kase *c = begin(s, back ? SAIL_OP_ACT_BACK : SAIL_OP_ACT, "%lldx%lld %s, kind %d%s", (long long)rows,
                                    (long long)cols, half ? "bf16" : "f32", kind, e % 4 == 1 ? " in place" : "");
                    c->attr.activation = kind;
                    if (back)
                        floats(s, 0, type_of(half), rows, cols, -1, 1);
                    floats(s, back, type_of(half), rows, cols, -6, 6);
                    glu_bound(c, kind, back ? 28 : 6);
                    c->differentiable = !back && kind != SAIL_ACT_RELU;
                    vary(c, e % 4 == 1 ? 0 : -1, e);
                    emit(s);
                }
}

static void glu(suite *s)
{
    for (int e = 0; e < n_edges; e++)
        for (int half = 0; half < 2; half++)
            for (int kind = SAIL_ACT_SILU; kind <= SAIL_ACT_RELU; kind++) {
                static const char *const names[] = {"silu", "gelu", "gelu_tanh", "relu"};
                const int64_t rows = edges[e], cols = edges[(e * 5 + 2) % n_edges];
                const int place = e % 4 == 3 ? -1 : e % 4 == 2 ? -1 : e % 4;
                kase *c = begin(s, SAIL_OP_GLU, "%lldx%lld %s %s%s", (long long)rows, (long long)cols,
                                half ? "bf16" : "f32", names[kind], place < 0 ? "" : place ? " in up" : " in gate");
                c->attr.activation = kind;
                floats(s, 0, type_of(half), rows, cols, -6, 6);
                floats(s, 1, type_of(half), rows, cols, -1, 1);
                glu_bound(c, kind, 6);
                c->differentiable = kind == SAIL_ACT_RELU ? 2 : 3; /* a kink has no difference */
                vary(c, place, e);
                emit(s);
                c = begin(s, SAIL_OP_GLU_BACK, "%lldx%lld %s %s%s", (long long)rows, (long long)cols,
                          half ? "bf16" : "f32", names[kind], place < 0 ? "" : place ? " in gate" : " in dy");
                c->attr.activation = kind;
                floats(s, 0, type_of(half), rows, cols, -1, 1);
                floats(s, 1, type_of(half), rows, cols, -6, 6);
                floats(s, 2, type_of(half), rows, cols, -1, 1);
                glu_bound(c, kind, 28);
                vary(c, place, e);
                emit(s);
            }
    kase *c = begin(s, SAIL_OP_GLU, "far out");
    static const float gate[] = {-200, -90, -30, 0, 30, 90, 200, 1e-30f}, up[] = {1, 1, 1, 1, 1, 1, 1, 1};
    c->attr.activation = SAIL_ACT_SILU;
    given_floats(s, 0, 1, 8, gate);
    given_floats(s, 1, 1, 8, up);
    every_bound(c, VALUE, 16, 0);
    c->bounds[0] = (bound){ROW, 4, 0};
    emit(s);
}

static void rope(suite *s)
{
    static const int32_t shapes[][3] = {{1, 2, 2}, {2, 8, 8}, {3, 16, 8}, {4, 64, 64}, {2, 96, 96}, {1, 80, 32}, {3, 6, 0},
                                        {5, 10, 6}};
    for (int i = 0; i < 8; i++)
        for (int half = 0; half < 2; half++)
            for (int place = 0; place < 2; place++)
                for (int inverse = 0; inverse < 2; inverse++) {
                    const int64_t rows = edges[(i * 3 + place) % n_edges], cols = shapes[i][0] * shapes[i][1];
                    kase *c = begin(s, SAIL_OP_ROPE, "%lld rows, %d heads of %d, %d turn, %s%s%s", (long long)rows,
                                    shapes[i][0], shapes[i][1], shapes[i][2], half ? "bf16" : "f32",
                                    inverse ? " inverse" : "", place ? " in place" : "");
                    c->attr.heads = shapes[i][0];
                    c->attr.head_dim = shapes[i][1];
                    c->attr.rotary = shapes[i][2];
                    c->attr.inverse = inverse;
                    floats(s, 0, type_of(half), rows, cols, -1, 1);
                    ints(s, 1, rows, 1, 0, 50);
                    floats(s, 2, SAIL_F32, 50, shapes[i][2], -1, 1);
                    every_bound(c, ROW, 4, 0);
                    c->differentiable = 1;
                    vary(c, place ? 0 : -1, i);
                    c->in[2].pad = 0;
                    c->in[2].shift = 0;
                    emit(s);
                }
}

static void rows_cases(suite *s)
{
    for (int e = 0; e < n_edges; e++)
        for (int half = 0; half < 2; half++) {
            const int64_t from = edges[e], to = edges[(e * 5 + 1) % n_edges], cols = edges[(e * 7 + 2) % n_edges];
            kase *c = begin(s, SAIL_OP_GATHER_ROWS, "%lld of %lld x %lld %s", (long long)to, (long long)from,
                            (long long)cols, half ? "bf16" : "f32");
            floats(s, 0, type_of(half), from, cols, -1, 1);
            ints(s, 1, to, 1, 0, from);
            every_bound(c, EXACT, 0, 0);
            c->differentiable = 1;
            vary(c, -1, e);
            emit(s);
            c = begin(s, SAIL_OP_SCATTER_ROWS, "%lld to %lld x %lld %s", (long long)from, (long long)to, (long long)cols,
                      half ? "bf16" : "f32");
            floats(s, 0, type_of(half), from, cols, -1, 1);
            ints(s, 1, from, 1, 0, to);
            empty(s, 2, type_of(half), to, cols);
            every_bound(c, ABSOLUTE, 4, half ? 1 : 0);
            c->magnitudes = 1;
            c->k = (double)from;
            c->differentiable = 1;
            vary(c, -1, e);
            emit(s);
            c = begin(s, SAIL_OP_COPY_ROWS, "%lld into %lld x %lld %s", (long long)(from < to ? from : to), (long long)to,
                      (long long)cols, half ? "bf16" : "f32");
            const int64_t n = from < to ? from : to;
            int32_t *index = scratch(s, (size_t)n * sizeof *index);
            for (int64_t i = 0; i < n; i++) /* each row once, in no order */
                index[i] = (int32_t)((i * 13 + 5) % to);
            bool once = to % 13 != 0;
            for (int64_t i = 0; i < n && !once; i++)
                index[i] = (int32_t)(to - 1 - i);
            floats(s, 0, type_of(half), n, cols, -1, 1);
            given_ints(s, 1, n, 1, index);
            floats(s, 2, type_of(half), to, cols, -1, 1);
            every_bound(c, EXACT, 0, 0);
            vary(c, -1, e);
            emit(s);
        }
}

void elementwise_cases(suite *s)
{
    simple(s);
    glu(s);
    act(s);
    rope(s);
    rows_cases(s);
}

/* Rows lie far from zero in every third case: what is left of them when the mean is taken off has lost digits to the rounding of
 * the mean alone. */
static void layer_norm(suite *s)
{
    for (int e = 0; e < n_edges; e++)
        for (int half = 0; half < 8; half++) { /* bits: x, y, w in bf16 */
            const int64_t rows = edges[e], cols = edges[(e * 5 + 6) % n_edges];
            const double away = e % 3 == 2 && !(half & 1) ? 50 : 0;
            kase *c = begin(s, SAIL_OP_LAYER_NORM, "%lldx%lld, %s%s, w %s -> %s", (long long)rows, (long long)cols,
                            half & 1 ? "bf16" : "f32", away > 0 ? " far from 0" : "", half & 4 ? "bf16" : "f32",
                            half & 2 ? "bf16" : "f32");
            c->attr = (sail_attr){.dtype = type_of(half & 2), .eps = 1e-3f};
            floats(s, 0, type_of(half & 1), rows, cols, away - 2, away + 2);
            floats(s, 1, type_of(half & 4), 1, cols, 0.5, 1.5);
            floats(s, 2, type_of(half & 4), 1, cols, -1, 1);
            /* (x - mean) rstd w + b: |x| and |mean| rstd w, |b|; rstd is at most 1/sqrt(eps) */
            every_bound(c, CONSTANT, 3, 0);
            c->constant = (away + 2) * 2 * (cols > 7 ? 1.5 : 1 / sqrt(1e-3)) * 1.5 + 1;
            c->k = (double)cols;
            c->differentiable = cols > 7 && away == 0 ? 7 : 0;
            vary(c, -1, e);
            emit(s);
            for (int residual = 0; residual < 2; residual++) {
                c = begin(s, SAIL_OP_LAYER_NORM_BACK, "%lldx%lld, x %s, w %s, dy %s%s", (long long)rows, (long long)cols,
                          half & 1 ? "bf16" : "f32", half & 4 ? "bf16" : "f32", half & 2 ? "bf16" : "f32",
                          residual ? ", residual" : "");
                c->attr = (sail_attr){.eps = 1e-3f};
                floats(s, 0, type_of(half & 2), rows, cols, -1, 1);
                floats(s, 1, type_of(half & 1), rows, cols, -2, 2);
                floats(s, 2, type_of(half & 4), 1, cols, 0.5, 1.5);
                floats(s, 3, SAIL_F32, rows, 2, 0.5, 1);
                if (residual)
                    floats(s, 4, type_of(half & 1), rows, cols, -1, 1);
                /* u - mean(u) - z mean(u z) + residual may cancel: |u| <= 1.5, |z| <= 3 */
                every_bound(c, CONSTANT, 1.5, 0);
                c->constant = 1.5 * (2 + 9) + 1;
                c->k = (double)cols;
                vary(c, -1, e);
                emit(s);
            }
            if (half & 4)
                continue;
            c = begin(s, SAIL_OP_LAYER_NORM_WGRAD, "%lldx%lld, x %s, dy %s%s", (long long)rows, (long long)cols,
                      half & 1 ? "bf16" : "f32", half & 2 ? "bf16" : "f32", e % 2 ? ", accumulate" : "");
            c->attr = (sail_attr){.accumulate = e % 2};
            floats(s, 0, type_of(half & 2), rows, cols, -1, 1);
            floats(s, 1, type_of(half & 1), rows, cols, -2, 2);
            floats(s, 2, SAIL_F32, rows, 2, 0.5, 1);
            if (e % 2)
                c->out[0].f = uniform(s, cols, -1, 1);
            every_bound(c, CONSTANT, 2, 0); /* |dy| |x - mean| rstd <= 3, in each of the rows */
            c->constant = 3 * (double)rows + 1;
            vary(c, -1, e);
            emit(s);
        }
}

void norm_cases(suite *s)
{
    layer_norm(s);
    for (int e = 0; e < n_edges; e++)
        for (int half = 0; half < 8; half++) { /* bits: x, y, w in bf16 */
            const int groups = e % 3 == 2 ? 3 : 1;
            const int64_t rows = edges[e], part = edges[(e * 5 + 6) % n_edges], cols = part * groups;
            const float plus = e % 4 == 1 ? 1 : 0;
            kase *c = begin(s, SAIL_OP_RMS_NORM, "%lldx%lld, %d groups, %s, w %s -> %s", (long long)rows, (long long)cols,
                            groups, half & 1 ? "bf16" : "f32", half & 4 ? "bf16" : "f32", half & 2 ? "bf16" : "f32");
            c->attr = (sail_attr){.dtype = type_of(half & 2), .groups = groups, .eps = 1e-3f, .weight_plus = plus};
            floats(s, 0, type_of(half & 1), rows, cols, -2, 2);
            floats(s, 1, type_of(half & 4), 1, part, 0.5, 1.5);
            every_bound(c, VALUE, 4, 0);
            c->k = (double)part;
            c->differentiable = part > 1 ? 3 : 0;
            vary(c, -1, e);
            emit(s);
            for (int residual = 0; residual < 2; residual++) {
                c = begin(s, SAIL_OP_RMS_NORM_BACK, "%lldx%lld, %d groups, x %s, w %s, dy %s%s", (long long)rows,
                          (long long)cols, groups, half & 1 ? "bf16" : "f32", half & 4 ? "bf16" : "f32",
                          half & 2 ? "bf16" : "f32", residual ? ", residual" : "");
                c->attr = (sail_attr){.groups = groups, .eps = 1e-3f, .weight_plus = plus};
                floats(s, 0, type_of(half & 2), rows, cols, -1, 1);
                floats(s, 1, type_of(half & 1), rows, cols, -2, 2);
                floats(s, 2, type_of(half & 4), 1, part, 0.5, 1.5);
                floats(s, 3, SAIL_F32, rows, groups, 0.5, 1);
                if (residual)
                    floats(s, 4, type_of(half & 1), rows, cols, -1, 1);
                /* u - z mean(u z) + residual may cancel: |u| <= 2.5, |z| <= 2 */
                every_bound(c, CONSTANT, 1.5, 0);
                c->constant = 2.5 * (1 + 4) + 1;
                c->k = (double)part;
                vary(c, -1, e);
                emit(s);
            }
            if (half & 4)
                continue;
            c = begin(s, SAIL_OP_RMS_NORM_WGRAD, "%lldx%lld, %d groups, x %s, dy %s%s", (long long)rows, (long long)cols,
                      groups, half & 1 ? "bf16" : "f32", half & 2 ? "bf16" : "f32", e % 2 ? ", accumulate" : "");
            c->attr = (sail_attr){.groups = groups, .accumulate = e % 2};
            floats(s, 0, type_of(half & 2), rows, cols, -1, 1);
            floats(s, 1, type_of(half & 1), rows, cols, -2, 2);
            floats(s, 2, SAIL_F32, rows, groups, 0.5, 1);
            if (e % 2)
                c->out[0].f = uniform(s, part, -1, 1);
            every_bound(c, ABSOLUTE, 4, 0);
            c->magnitudes = 7;
            c->k = (double)(rows * groups);
            vary(c, -1, e);
            emit(s);
        }
}
