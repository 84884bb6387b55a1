/* forest.h - reading the forest's tables (sail/graph.h), and scores of a tile of queries against a block of keys. */
#ifndef CPU_FOREST_H
#define CPU_FOREST_H

#include <math.h>

#include "gemm.h"
#include "kernels.h"

enum { TILE = 64, KEYS = 128 }; /* queries in a tile at most; keys scored at once */

typedef struct forest {
    const sail_tensor *segments, *ranges, *tiles;
    int64_t h, hp, units; /* head size; rounded up to panels; in units */
    int heads, kv_heads, share;
    float scale, cap;
    int64_t window; /* INT64_MAX: none */
    bool bf16, pairs;
} forest;

typedef struct span {
    int64_t row, n, position; /* first key row, number, position of the first */
} span;

INLINE span span_of(const forest *f, int64_t range)
{
    return (span){cpu_id(f->ranges, range, 0), cpu_id(f->ranges, range, 1), cpu_id(f->ranges, range, 2)};
}

/* The part of a range that queries at positions [first, last] can see. */
INLINE span clip(const forest *f, span s, int64_t first, int64_t last)
{
    int64_t from = f->window == INT64_MAX ? 0 : first - f->window + 1 - s.position, to = last + 1 - s.position;
    from = from > 0 ? from : 0;
    to = to < s.n ? to : s.n;
    return from < to ? (span){s.row + from, to - from, s.position + from} : (span){0, 0, 0};
}

INLINE forest forest_of(const sail_call *c, const sail_tensor *q, int first_table)
{
    const sail_attr *a = &c->attr;
    forest f = {.segments = &c->in[first_table], .ranges = &c->in[first_table + 1], .tiles = &c->in[first_table + 2],
                .h = a->head_dim, .heads = a->heads, .kv_heads = a->kv_heads, .share = a->heads / a->kv_heads,
                .scale = a->scale, .cap = a->softcap, .window = a->window > 0 ? a->window : INT64_MAX, .bf16 = cpu_bf16(q)};
    f.pairs = HAVE_PAIRS && f.bf16 && f.h % 2 == 0;
    f.units = units_of(f.h, f.pairs);
    f.hp = round_panels(f.h);
    return f;
}

static inline sail_code check_forest(const sail_call *c, const forest *f, int64_t queries, int64_t keys, sail_err *err)
{
    const char *op = sail_op_name(c->op);
    for (int64_t i = 0; i < f->segments->rows; i++) {
        int64_t first = cpu_id(f->segments, i, 5), n = cpu_id(f->segments, i, 6);
        if (first < 0 || n < 0 || first + n > f->ranges->rows)
            return sail_fail(err, SAIL_E_ARG, "%s: segment %lld has ranges %lld..%lld of %lld", op, (long long)i,
                             (long long)first, (long long)(first + n), (long long)f->ranges->rows);
    }
    for (int64_t i = 0; i < f->ranges->rows; i++) {
        int64_t first = cpu_id(f->ranges, i, 0), n = cpu_id(f->ranges, i, 1);
        if (first < 0 || n < 0 || first + n > keys)
            return sail_fail(err, SAIL_E_ARG, "%s: range %lld has keys %lld..%lld of %lld", op, (long long)i,
                             (long long)first, (long long)(first + n), (long long)keys);
    }
    int64_t covered = 0;
    for (int64_t i = 0; i < f->tiles->rows; i++) {
        int64_t segment = cpu_id(f->tiles, i, 0), first = cpu_id(f->tiles, i, 1), n = cpu_id(f->tiles, i, 2);
        if (segment < 0 || segment >= f->segments->rows || first < 0 || n < 1 || n > TILE || first + n > queries)
            return sail_fail(err, SAIL_E_ARG, "%s: tile %lld has segment %lld of %lld, rows %lld..%lld of %lld", op,
                             (long long)i, (long long)segment, (long long)f->segments->rows, (long long)first,
                             (long long)(first + n), (long long)queries);
        covered += n;
    }
    if (covered != queries)
        return sail_fail(err, SAIL_E_ARG, "%s: tiles hold %lld rows, not the %lld of the queries", op, (long long)covered,
                         (long long)queries);
    return SAIL_OK;
}

/* Element (row, col) of a matrix of float32 or bfloat16. */
INLINE void *at(const sail_tensor *t, int64_t row, int64_t col) { return (char *)cpu_row(t, row) + col * (cpu_bf16(t) ? 2 : 4); }

/* Memory cut from a thread's scratch, piece by piece; with base NULL it only counts. */
typedef struct carve {
    unsigned char *base;
    size_t used;
} carve;
INLINE void *take(carve *c, int64_t count, size_t size)
{
    void *p = c->base ? c->base + c->used : NULL;
    c->used += cpu_round((size_t)count * size);
    return p;
}

/* A score from the product q.k, and (slope not NULL) its derivative by scale q.k. */
INLINE vf score(const forest *f, vf x, vf *slope)
{
    x = x * vset(f->scale);
    if (f->cap > 0) {
        vf t = vtanh(x / vset(f->cap));
        if (slope)
            *slope = vset(1.0f) - t * t;
        return t * vset(f->cap);
    }
    if (slope)
        *slope = vset(1.0f);
    return x;
}

/* Columns [0, from) and [to, end) of a row get `value`. */
INLINE void outside(float *row, int64_t from, int64_t to, int64_t end, float value)
{
    for (int64_t i = 0; i < from; i++)
        row[i] = value;
    for (int64_t i = to; i < end; i++)
        row[i] = value;
}

/* A row of n float32 (padded with zeros to a whole vector) as units of the next product's left side. */
INLINE void to_units(const float *row, int64_t n, uint32_t *units, bool pairs)
{
    for (int64_t i = 0; i < n; i += VL)
        vwrite(units, i, VL, pairs, vload(row + i));
}

#endif
