/* build.c - making cases. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sail/rng.h"
#include "suite.h"

const int64_t edges[] = {1, 2, 7, 15, 16, 17, 31, 33, 63, 64, 65, 127};
const int n_edges = (int)(sizeof edges / sizeof *edges);

kase *begin(suite *s, sail_op op, const char *fmt, ...)
{
    va_list ap;
    kase *c = &s->c;
    sail__arena_reset(s->arena);
    memset(c, 0, sizeof *c);
    const int n = snprintf(c->name, sizeof c->name, "%s ", sail_op_name(op));
    va_start(ap, fmt);
    vsnprintf(c->name + n, sizeof c->name - (size_t)n, fmt, ap);
    va_end(ap);
    c->op = op;
    c->attr.scale = 1;
    c->in_place = -1;
    c->k = 1;
    c->out_dtype = SAIL_F32;
    s->seed = sail__hash64(c->name, strlen(c->name), 1);
    every_bound(c, VALUE, 4, 0);
    return c;
}

void *scratch(suite *s, size_t bytes)
{
    void *p = sail__arena_alloc(s->arena, bytes ? bytes : 1);
    if (!p) {
        fprintf(stderr, "out of memory\n");
        s->failed++;
    }
    return p;
}

float *uniform(suite *s, int64_t n, double low, double high)
{
    float *f = scratch(s, (size_t)n * sizeof *f);
    uint32_t words[4] = {0};
    s->seed++;
    for (int64_t i = 0; i < n; i++) {
        if (i % 4 == 0)
            sail_rng_words(s->seed, SAIL_RNG_USER, (uint64_t)i, 0, 0, words);
        f[i] = (float)(low + (high - low) * ((double)words[i % 4] + 0.5) / 4294967296.0);
    }
    return f;
}

static operand *place(suite *s, int i, sail_dtype t, int64_t rows, int64_t cols)
{
    operand *o = &s->c.in[i];
    *o = (operand){.present = true, .t = t, .rows = rows, .cols = cols};
    if (i >= s->c.n_in)
        s->c.n_in = i + 1;
    return o;
}

void floats(suite *s, int i, sail_dtype t, int64_t rows, int64_t cols, double low, double high)
{
    place(s, i, t, rows, cols)->f = uniform(s, rows * cols, low, high);
}

void blocks(suite *s, int i, sail_dtype t, int64_t rows, int64_t cols)
{
    static const short scales[SAIL_DTYPE_COUNT][2] = { /* where in a block its halves lie; -1: there is none */
        [SAIL_Q2_K] = {80, 82}, [SAIL_Q3_K] = {108, -1}, [SAIL_Q4_K] = {0, 2}, [SAIL_Q5_K] = {0, 2}, [SAIL_Q6_K] = {208, -1},
        [SAIL_IQ4_NL] = {0, -1}, [SAIL_IQ4_XS] = {0, -1}};
    const size_t n = (size_t)(rows * cols), each = sail_dtype_block_bytes(t), bytes = sail_dtype_bytes(t, n);
    unsigned char *raw = scratch(s, bytes);
    float *values = scratch(s, n * sizeof *values);
    s->seed++;
    for (size_t k = 0; k < bytes; k++)
        raw[k] = (unsigned char)sail_rng_below(s->seed, SAIL_RNG_USER, k, 2, 0, 256);
    for (size_t k = 0; k < bytes; k += each)
        for (int h = 0; h < 2; h++) {
            const float scale = (raw[k + 5] & 1 ? -1.0f : 1.0f) * 0x1p-14f * (float)(1 + raw[k + 4]);
            if (scales[t][h] >= 0)
                sail_from_f32(SAIL_F16, &scale, raw + k + scales[t][h], 1, NULL);
        }
    sail_to_f32(t, raw, values, n, NULL);
    operand *o = place(s, i, t, rows, cols);
    o->f = values;
    o->blocks = raw;
}

void ints(suite *s, int i, int64_t rows, int64_t cols, int64_t low, int64_t high)
{
    int32_t *p = scratch(s, (size_t)(rows * cols) * sizeof *p);
    s->seed++;
    for (int64_t k = 0; k < rows * cols; k++)
        p[k] = (int32_t)(low + (int64_t)sail_rng_below(s->seed, SAIL_RNG_USER, (uint64_t)k, 1, 0, (uint64_t)(high - low)));
    place(s, i, SAIL_I32, rows, cols)->i = p;
}

void given_floats(suite *s, int i, int64_t rows, int64_t cols, const float *f)
{
    place(s, i, SAIL_F32, rows, cols)->f = f;
}

void given_ints(suite *s, int i, int64_t rows, int64_t cols, const int32_t *p)
{
    place(s, i, SAIL_I32, rows, cols)->i = p;
}

void empty(suite *s, int i, sail_dtype t, int64_t rows, int64_t cols)
{
    place(s, i, t, rows, cols);
}

void every_bound(kase *c, measure m, double factor, double act)
{
    for (int i = 0; i < SAIL_MAX_OUTPUTS; i++)
        c->bounds[i] = (bound){m, factor, act};
    c->changed = (bound){m, factor, act};
}

void spread(kase *c, int64_t pad, int shift)
{
    for (int i = 0; i < c->n_in + SAIL_MAX_OUTPUTS; i++) {
        operand *o = i < c->n_in ? &c->in[i] : &c->out[i - c->n_in];
        if (i < c->n_in && (!o->present || sail_dtype_is_quantised(o->t) || o->t == SAIL_I32 || o->rows == 1))
            continue;
        o->pad = pad;
        o->shift = shift;
    }
}

bool complete(suite *s, kase *c)
{
    sail_shape in[SAIL_MAX_INPUTS], out[SAIL_MAX_OUTPUTS];
    sail_err err = {0};
    int n = 0;
    for (int i = 0; i < c->n_in; i++)
        in[i] = (sail_shape){c->in[i].present, c->in[i].t, c->in[i].rows, c->in[i].cols};
    if (sail__op_shape(c->op, &c->attr, in, c->n_in, out, &n, &err) != SAIL_OK) {
        printf("FAILED %s: %s\n", c->name, err.message);
        return false;
    }
    for (int i = 0; i < SAIL_MAX_OUTPUTS; i++) {
        operand *o = &c->out[i];
        o->present = i < n && out[i].present;
        o->t = (int)out[i].dtype == (int)SAIL_SHAPE_ANY ? c->out_dtype : out[i].dtype;
        o->rows = out[i].rows == SAIL_SHAPE_ANY ? c->out_rows : out[i].rows;
        o->cols = out[i].cols == SAIL_SHAPE_ANY ? c->out_cols : out[i].cols;
        if (o->rows == 1 || o->cols == 1)
            o->pad = o->shift = 0;
    }
    if (c->in_place < 0)
        c->in_place = sail__op_in_place(c->op);
    return true;
}

static bool chosen(const suite *s, sail_op op)
{
    const char *name = sail_op_name(op);
    const size_t n = strlen(name);
    for (const char *p = s->ops; p && *p; p += strcspn(p, ","), p += *p == ',')
        if (strcspn(p, ",") == n && !strncmp(p, name, n))
            return true;
    return s->ops == NULL;
}

/* What chooses a program on a device that compiles its kernels: not the sizes. */
static uint64_t kind_of(const kase *c)
{
    const sail_attr *a = &c->attr;
    int32_t key[SAIL_MAX_INPUTS + SAIL_MAX_OUTPUTS + 12] = {(int32_t)c->op, a->heads, a->kv_heads, a->head_dim, a->activation, a->trans_a,
                                                            a->trans_b, a->softcap > 0, a->centered, a->momentum > 0};
    for (int i = 0; i < SAIL_MAX_INPUTS; i++)
        key[12 + i] = c->in[i].present ? 1 + (int32_t)c->in[i].t : 0;
    for (int i = 0; i < SAIL_MAX_OUTPUTS; i++)
        key[12 + SAIL_MAX_INPUTS + i] = c->out[i].present ? 1 + (int32_t)c->out[i].t : 0;
    return sail__hash64(key, sizeof key, 1);
}

static bool kind_chosen(suite *s)
{
    const uint64_t hash = kind_of(&s->c);
    for (int i = 0; i < s->n_kinds; i++)
        if (s->kind[i].hash == hash)
            return s->kind[i].chosen;
    const bool yes = s->kinds_of[s->c.op]++ % s->kinds == 0;
    if (s->n_kinds < MOST_KINDS) {
        s->kind[s->n_kinds].hash = hash;
        s->kind[s->n_kinds++].chosen = yes;
    }
    return yes;
}

static int64_t elements(const kase *c)
{
    int64_t n = 0;
    for (int i = 0; i < SAIL_MAX_INPUTS + SAIL_MAX_OUTPUTS; i++) {
        const operand *o = i < SAIL_MAX_INPUTS ? &c->in[i] : &c->out[i - SAIL_MAX_INPUTS];
        n += o->present ? o->rows * (o->cols + o->pad) : 0;
    }
    return n;
}

void emit(suite *s)
{
    kase *c = &s->c;
    if (!chosen(s, c->op) || c->bench != s->bench)
        return;
    if (s->every && s->seen[c->op]++ % s->every)
        return;
    bool good = complete(s, c);
    if (good && ((s->most && elements(c) > s->most) || (s->kinds && !kind_chosen(s))))
        return;
    if (s->verbose) { /* before it runs: the last name in the log of a run that hangs */
        printf("%s\n", c->name);
        fflush(stdout);
    }
    if (good && s->bench) {
        bench(s, c);
        return;
    }
    good = good && compare(s, c);
    if (good && s->differences && c->differentiable)
        good = differences(s, c);
    s->count[c->op]++;
    s->failures[c->op] += !good;
    if (good)
        s->passed++;
    else
        s->failed++;
}
