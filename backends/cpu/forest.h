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

/* What is seen of n keys from position `key` by a query, or of n queries from position `query` by a key: [from, to). */
typedef struct seen {
    int64_t from, to;
} seen;
INLINE seen within(int64_t from, int64_t to, int64_t n)
{
    to = to < 0 ? 0 : to < n ? to : n;
    return (seen){from < 0 ? 0 : from < to ? from : to, to};
}
INLINE seen keys_of(const forest *f, int64_t query, int64_t key, int64_t n)
{
    int64_t to = query - key + 1;
    return within(f->window == INT64_MAX ? 0 : to - f->window, to, n);
}
INLINE seen queries_of(const forest *f, int64_t key, int64_t query, int64_t n)
{
    int64_t from = key - query;
    return within(from, f->window == INT64_MAX ? n : from + f->window, n);
}

/* Are h elements at (row, col) all finite, or m rows of hp? */
INLINE bool finite_at(const sail_tensor *t, int64_t row, int64_t col, int64_t h)
{
    vf sum = vzero();
    for (int64_t i = 0; i < h; i += VL) {
        vf x = vread(at(t, row, col), i, vcount(h - i), cpu_bf16(t));
        sum += x - x;
    }
    return vsum(sum) == 0;
}
INLINE bool finite_rows(const float *rows, int64_t m, int64_t hp)
{
    vf sum = vzero();
    for (int64_t i = 0; i < m * hp; i += VL)
        sum += vload(rows + i) - vload(rows + i);
    return vsum(sum) == 0;
}

/* sums [m, hp] += weights [m, n] times n rows of b at (row, col), packed already. Where a row does not see another the weight
 * is 0, and the product is nothing as long as b is finite. `careful` is for when the sums came out as they should not: rows of b
 * that are not finite then count for those alone that see them. */
static inline void weigh(const forest *f, int64_t m, const uint32_t *weights, int64_t lda, uint32_t *packed, int64_t n,
                         const sail_tensor *b, int64_t row, int64_t col, const seen *sees, float *sums, bool careful)
{
    int64_t panels = f->hp / NR, units = units_of(n, f->pairs);
    bool apart[KEYS] = {false};
    for (int64_t k = 0; k < n && careful; k++) {
        apart[k] = !finite_at(b, row + k, col, f->h);
        uint32_t keep = f->pairs ? (k % 2 ? 0xffffu : 0xffff0000u) : 0; /* the first of a pair is the low half */
        for (int64_t i = 0; i < panels * NR && apart[k]; i++)
            packed[(i / NR * units + (f->pairs ? k / 2 : k)) * NR + i % NR] &= keep;
    }
    K(gemm)(m, panels, units, weights, lda, packed, sums, f->hp, true, f->pairs);
    for (int64_t k = 0; k < n && careful; k++)
        for (int64_t i = 0; i < m && apart[k]; i++)
            if (k >= sees[i].from && k < sees[i].to)
                for (int64_t c = 0; c < f->h; c += VL) {
                    float w;
                    if (f->pairs)
                        w = sail_bf16_to_f32(((const uint16_t *)(const void *)(weights + i * lda))[k]);
                    else
                        memcpy(&w, weights + i * lda + k, sizeof w);
                    vf x = vread(at(b, row + k, col), c, vcount(f->h - c), cpu_bf16(b));
                    vstore(sums + i * f->hp + c, vfma(vset(w), x, vload(sums + i * f->hp + c)));
                }
}

#endif
