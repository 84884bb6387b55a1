/* compare.c - a case on a device against ref: outputs within their bound, and nothing else touched.
 *
 * Every matrix lies in a buffer of its own between guard bytes; the unused bytes between rows are NaN for operands, so that
 * reading them shows, and outputs hold NaN before, so that what is not written shows. Afterwards every byte that is
 * no output must be what it was. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

enum { GUARD = 256, MOST = SAIL_MAX_INPUTS + SAIL_MAX_OUTPUTS };

/* A matrix as bytes of a buffer: before, and after the call. */
typedef struct image {
    operand o;
    size_t offset, bytes;
    unsigned char *before, *after, *mask; /* mask: 1 where the matrix's own elements are */
    sail_tensor t;
} image;

typedef struct picture { /* a whole call */
    image images[MOST];
    int n, of_in[SAIL_MAX_INPUTS], of_out[SAIL_MAX_OUTPUTS];
} picture;

static size_t row_bytes(const operand *o, int64_t cols)
{
    return sail_dtype_bytes(o->t, (uint64_t)cols);
}

static void draw(suite *s, image *m, const operand *o, size_t alignment, bool poison_between)
{
    const size_t element = sail_dtype_block_bytes(o->t), row = row_bytes(o, o->cols), apart = row_bytes(o, o->cols + o->pad);
    m->o = *o;
    m->offset = (GUARD + alignment - 1) / alignment * alignment + (size_t)o->shift * element;
    m->bytes = m->offset + apart * (size_t)o->rows + GUARD;
    m->before = scratch(s, m->bytes);
    m->after = scratch(s, m->bytes);
    m->mask = scratch(s, m->bytes);
    memset(m->before, 0xA5, m->bytes);
    if (poison_between)
        memset(m->before + m->offset, 0xFF, apart * (size_t)o->rows);
    for (int64_t i = 0; i < o->rows; i++) {
        unsigned char *to = m->before + m->offset + apart * (size_t)i;
        memset(m->mask + m->offset + apart * (size_t)i, 1, row);
        if (o->i)
            memcpy(to, o->i + i * o->cols, row);
        else if (o->blocks)
            memcpy(to, o->blocks + (size_t)i * row, row);
        else if (o->f)
            sail_from_f32(o->t, o->f + i * o->cols, to, (size_t)o->cols, NULL);
        else
            memset(to, 0xFF, row);
    }
}

static void compose(suite *s, const kase *c, picture *p, size_t alignment)
{
    memset(p, 0, sizeof *p);
    for (int i = 0; i < c->n_in; i++) {
        p->of_in[i] = -1;
        if (!c->in[i].present)
            continue;
        p->of_in[i] = p->n;
        draw(s, &p->images[p->n++], &c->in[i], alignment, true);
    }
    for (int i = 0; i < SAIL_MAX_OUTPUTS; i++) {
        p->of_out[i] = -1;
        if (!c->out[i].present)
            continue;
        if (i == 0 && c->in_place >= 0) {
            p->of_out[0] = p->of_in[c->in_place];
            continue;
        }
        p->of_out[i] = p->n;
        draw(s, &p->images[p->n++], &c->out[i], alignment, false);
    }
}

static sail_code carry_out(const kase *c, picture *p, sail_runtime *rt, sail_err *err)
{
    sail_call call = {.op = c->op, .n_in = c->n_in, .attr = c->attr};
    sail_code code = SAIL_OK;
    for (int i = 0; i < p->n && code == SAIL_OK; i++) {
        image *m = &p->images[i];
        m->t = (sail_tensor){NULL, m->offset, m->o.rows, m->o.cols, m->o.cols + m->o.pad, m->o.t};
        code = rt->backend->alloc(rt->device, m->bytes, &m->t.buffer, err);
        if (code == SAIL_OK)
            code = rt->backend->upload(rt->device, m->t.buffer, 0, m->before, m->bytes, err);
    }
    for (int i = 0; i < c->n_in; i++)
        if (p->of_in[i] >= 0)
            call.in[i] = p->images[p->of_in[i]].t;
    for (int i = 0; i < SAIL_MAX_OUTPUTS; i++)
        if (p->of_out[i] >= 0) {
            call.out[i] = p->images[p->of_out[i]].t;
            call.n_out = i + 1;
        }
    if (code == SAIL_OK && !rt->backend->supports(rt->device, &call))
        code = sail_call_check(&call, err) == SAIL_OK
                   ? sail_fail(err, SAIL_E_DTYPE, "the backend has no kernel for it")
                   : err->code;
    if (code == SAIL_OK)
        code = rt->backend->run(rt->device, &call, 1, err);
    for (int i = 0; i < p->n; i++) {
        image *m = &p->images[i];
        if (m->t.buffer && code == SAIL_OK)
            code = rt->backend->download(rt->device, m->t.buffer, 0, m->after, m->bytes, err);
        if (m->t.buffer)
            rt->backend->free(rt->device, m->t.buffer);
        m->t.buffer = NULL;
    }
    return code;
}

static double roundoff(sail_dtype t)
{
    return t == SAIL_BF16 ? 0x1p-8 : t == SAIL_F16 ? 0x1p-11 : 0x1p-24;
}

static float *numbers(suite *s, const image *m, bool after)
{
    const operand *o = &m->o;
    float *f = scratch(s, (size_t)(o->rows * o->cols) * sizeof *f);
    for (int64_t i = 0; i < o->rows; i++) {
        const unsigned char *p = (after ? m->after : m->before) + m->offset + row_bytes(o, o->cols + o->pad) * (size_t)i;
        if (o->t != SAIL_I32)
            sail_to_f32(o->t, p, f + i * o->cols, (size_t)o->cols, NULL);
        else
            for (int64_t j = 0; j < o->cols; j++)
                f[i * o->cols + j] = (float)((const int32_t *)(const void *)p)[j];
    }
    return f;
}

/* M of the bound for every element. */
static const float *magnitude(suite *s, kase *c, bound b, int image_index, const float *want, const operand *o)
{
    const int64_t n = o->rows * o->cols;
    float *m = scratch(s, (size_t)n * sizeof *m);
    float all = 0;
    for (int64_t i = 0; i < n; i++)
        all = fmaxf(all, fabsf(want[i]));
    if (b.m == ABSOLUTE) {
        kase other = *c;
        picture p;
        sail_err err = {0};
        other.attr.scale = fabsf(c->attr.scale);
        for (int i = 0; i < SAIL_MAX_INPUTS + SAIL_MAX_OUTPUTS; i++) {
            operand *x = i < SAIL_MAX_INPUTS ? &other.in[i] : &other.out[i - SAIL_MAX_INPUTS];
            if (!x->f || (i < SAIL_MAX_INPUTS && !(c->magnitudes >> i & 1)))
                continue;
            float *f = scratch(s, (size_t)(x->rows * x->cols) * sizeof *f);
            for (int64_t k = 0; k < x->rows * x->cols; k++)
                f[k] = fabsf(x->f[k]);
            x->f = f;
            if (x->blocks) { /* no block has just these; nearly is enough */
                x->blocks = NULL;
                x->t = c->in[0].t;
            }
        }
        compose(s, &other, &p, 64);
        if (carry_out(&other, &p, s->ref.rt, &err) != SAIL_OK)
            printf("FAILED %s: magnitudes: %s\n", c->name, err.message);
        return numbers(s, &p.images[image_index], true);
    }
    for (int64_t i = 0; i < o->rows; i++) {
        float row = 0;
        for (int64_t j = 0; j < o->cols; j++)
            row = fmaxf(row, fabsf(want[i * o->cols + j]));
        for (int64_t j = 0; j < o->cols; j++)
            m[i * o->cols + j] = b.m == VALUE      ? fabsf(want[i * o->cols + j])
                                 : b.m == ROW      ? row + 0.01f * all
                                 : b.m == CONSTANT ? (float)c->constant
                                                   : 0;
    }
    return m;
}

/* Image i of the device's picture against ref's. */
static bool check_numbers(suite *s, kase *c, const picture *got, const picture *want, int i, bound b, const double *derived,
                          const char *what)
{
    const image *m = &got->images[i];
    const float *x = numbers(s, m, true), *y = numbers(s, &want->images[i], true);
    const float *size = magnitude(s, c, b, i, y, &m->o);
    const double act = c->in[0].present && c->in[0].t != SAIL_F32 && c->in[0].t != SAIL_I32 ? roundoff(c->in[0].t) : 0;
    for (int64_t k = 0; k < m->o.rows * m->o.cols; k++) {
        const double limit = b.m == EXACT ? 0
                                          : 2 * roundoff(m->o.t) * fabs((double)y[k]) +
                                                (b.c * sqrt(c->k) * 0x1p-24 + b.c_act * act) * (double)size[k] +
                                                (b.m == DERIVED ? derived[k] : 0) + 1e-37;
        const double off = fabs((double)x[k] - (double)y[k]);
        const bool same = x[k] == y[k] || (isnan(x[k]) && isnan(y[k]));
        const double fraction = same ? 0 : limit > 0 ? off / limit : INFINITY;
        if (!(fraction <= 1)) {
            printf("FAILED %s: %s [%lld, %lld] is %.9g, ref has %.9g, off by %.3g, allowed %.3g\n", c->name, what,
                   (long long)(k / m->o.cols), (long long)(k % m->o.cols), (double)x[k], (double)y[k], off, limit);
            return false;
        }
        if (fraction > s->worst[c->op])
            s->worst[c->op] = fraction;
    }
    return true;
}

/* Nothing but the outputs' elements may have changed. */
static bool check_bytes(const kase *c, const picture *p)
{
    bool written[MOST] = {false};
    for (int i = 0; i < SAIL_MAX_OUTPUTS; i++)
        if (p->of_out[i] >= 0)
            written[p->of_out[i]] = true;
    for (int i = 0; i < c->n_in; i++)
        if (p->of_in[i] >= 0 && sail__op_changes(c->op) >> i & 1)
            written[p->of_in[i]] = true;
    for (int i = 0; i < p->n; i++) {
        const image *m = &p->images[i];
        for (size_t k = 0; k < m->bytes; k++)
            if (m->before[k] != m->after[k] && !(written[i] && m->mask[k])) {
                printf("FAILED %s: byte %lld of %s %d (its matrix begins at 0) was changed\n", c->name,
                       (long long)k - (long long)m->offset, i < c->n_in ? "operand" : "matrix", i);
                return false;
            }
    }
    return true;
}

static bool check(suite *s, kase *c, const picture *got, const picture *want)
{
    char what[64];
    for (int i = 0; i < SAIL_MAX_OUTPUTS; i++)
        if (got->of_out[i] >= 0) {
            snprintf(what, sizeof what, "output %d", i);
            if (!check_numbers(s, c, got, want, got->of_out[i], c->bounds[i], c->limit[i], what))
                return false;
        }
    for (int i = 0; i < c->n_in; i++)
        if (got->of_in[i] >= 0 && got->of_in[i] != got->of_out[0] && sail__op_changes(c->op) >> i & 1) {
            snprintf(what, sizeof what, "operand %d", i);
            if (!check_numbers(s, c, got, want, got->of_in[i], c->changed, NULL, what))
                return false;
        }
    return check_bytes(c, got);
}

bool compare(suite *s, kase *c)
{
    picture want, first, other;
    sail_err err = {0};
    compose(s, c, &want, 64);
    if (carry_out(c, &want, s->ref.rt, &err) != SAIL_OK) {
        printf("FAILED %s: ref: %s\n", c->name, err.message);
        return false;
    }
    for (int d = 0; d < s->n_devices; d++) {
        sail_runtime *rt = s->devices[d].rt;
        picture *p = d ? &other : &first;
        compose(s, c, p, rt->info.alignment);
        if (carry_out(c, p, rt, &err) != SAIL_OK) {
            printf("FAILED %s: %s\n", c->name, err.message);
            s->missing += err.code == SAIL_E_DTYPE;
            return false;
        }
        if (d == 0 && !check(s, c, p, &want))
            return false;
        for (int i = 0; i < p->n && d; i++)
            if (memcmp(p->images[i].after, first.images[i].after, p->images[i].bytes) != 0) {
                printf("FAILED %s: device %d gives other bits than the first (matrix %d)\n", c->name, d, i);
                return false;
            }
        compose(s, c, &other, rt->info.alignment); /* again: the same bits */
        if (d == 0 && carry_out(c, &other, rt, &err) == SAIL_OK)
            for (int i = 0; i < p->n; i++)
                if (memcmp(p->images[i].after, other.images[i].after, p->images[i].bytes) != 0) {
                    printf("FAILED %s: a second run gives other bits (matrix %d)\n", c->name, i);
                    return false;
                }
    }
    return true;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Median of some runs, each of enough calls to be measured. */
bool bench(suite *s, kase *c)
{
    sail_runtime *rt = s->devices[0].rt;
    sail_shape in[SAIL_MAX_INPUTS] = {{0}}, out[SAIL_MAX_OUTPUTS] = {{0}};
    sail_call call = {.op = c->op, .n_in = c->n_in, .attr = c->attr};
    picture p;
    sail_err err = {0};
    double times[9];
    compose(s, c, &p, rt->info.alignment);
    for (int i = 0; i < p.n; i++) {
        image *m = &p.images[i];
        m->t = (sail_tensor){NULL, m->offset, m->o.rows, m->o.cols, m->o.cols + m->o.pad, m->o.t};
        if (rt->backend->alloc(rt->device, m->bytes, &m->t.buffer, &err) != SAIL_OK ||
            rt->backend->upload(rt->device, m->t.buffer, 0, m->before, m->bytes, &err) != SAIL_OK) {
            printf("FAILED %s: %s\n", c->name, err.message);
            return false;
        }
    }
    for (int i = 0; i < c->n_in; i++)
        if (p.of_in[i] >= 0) {
            call.in[i] = p.images[p.of_in[i]].t;
            in[i] = (sail_shape){true, c->in[i].t, c->in[i].rows, c->in[i].cols};
        }
    for (int i = 0; i < SAIL_MAX_OUTPUTS; i++)
        if (p.of_out[i] >= 0) {
            call.out[i] = p.images[p.of_out[i]].t;
            out[i] = (sail_shape){true, c->out[i].t, c->out[i].rows, c->out[i].cols};
            call.n_out = i + 1;
        }
    bool good = rt->backend->supports(rt->device, &call);
    int calls = 1;
    for (int i = -2; i < 9 && good; i++) { /* two to warm up, of which the second tells how many calls make 20 ms */
        const double start = sail__now();
        for (int k = 0; k < calls && good; k++)
            good = rt->backend->run(rt->device, &call, 1, &err) == SAIL_OK;
        good = good && rt->backend->sync(rt->device, &err) == SAIL_OK;
        const double seconds = sail__now() - start;
        if (i >= 0)
            times[i] = seconds / calls;
        else if (i == -1)
            calls = seconds < 0.02 ? (int)(0.02 / (seconds + 1e-7)) + 1 : 1;
    }
    const double flops = sail__op_flops(c->op, &c->attr, in, out);
    double bytes = 0;
    for (int i = 0; i < p.n; i++) {
        bytes += (double)row_bytes(&p.images[i].o, p.images[i].o.cols) * (double)p.images[i].o.rows;
        rt->backend->free(rt->device, p.images[i].t.buffer);
    }
    if (!good) {
        printf("FAILED %s: %s\n", c->name, err.code ? err.message : "no kernel");
        s->failed++;
        return false;
    }
    qsort(times, 9, sizeof *times, ascending);
    printf("%-58s %11.1f us (%5.1f%% spread) %8.3f Gflop %9.1f Gflop/s %7.1f GB/s\n", c->name, 1e6 * times[4],
           100 * (times[7] - times[1]) / times[4], flops * 1e-9, flops / times[4] * 1e-9, bytes / times[4] * 1e-9);
    s->passed++;
    return true;
}
