/* attention.c - ATTENTION: a task is a tile of queries and a key/value head, whose queries (all heads that share it) go over
 * the keys of their segment's ranges in blocks, with the running maximum and sum of Milakov and Gimelshein (arXiv
 * 1805.02867). Keys and values of a block are packed once for all heads that share them. What a query does not see weighs 0 in
 * its sum; a tile whose sums are not finite is done again with care for what that 0 was multiplied by. */
#include "forest.h"

struct job {
    const sail_device *d;
    forest f;
    const sail_tensor *q, *k, *v, *o, *lse;
};

struct room {
    uint32_t *q, *k, *v, *p;
    float *s, *o, *max, *sum;
    seen *sees;
};

static size_t carve_room(const forest *f, unsigned char *base, struct room *r)
{
    carve c = {base, 0};
    int64_t rows = (int64_t)TILE * f->share;
    r->q = take(&c, rows * f->units, 4);
    r->k = take(&c, f->units * round_panels(KEYS), 4);
    r->v = take(&c, units_of(KEYS, f->pairs) * f->hp, 4);
    r->p = take(&c, (int64_t)TILE * KEYS, 4);
    r->s = take(&c, (int64_t)TILE * KEYS, 4);
    r->o = take(&c, rows * f->hp, 4);
    r->max = take(&c, rows, 4);
    r->sum = take(&c, rows, 4);
    r->sees = take(&c, TILE, sizeof *r->sees);
    return c.used;
}

/* One row's scores become weights e^(s - max); the row of o so far is scaled to the new maximum. */
static void soften(const forest *f, float *s, int64_t from, int64_t to, int64_t padded, float *max, float *sum, float *o,
                   uint32_t *p)
{
    vf top = vset(-INFINITY);
    outside(s, from, to, padded, -INFINITY);
    for (int64_t i = 0; i < padded; i += VL) {
        vf x = vload(s + i);
        if (f->cap > 0 || f->scale != 1.0f) {
            x = score(f, x, NULL);
            vstore(s + i, x);
        }
        top = vmax(top, x);
    }
    if (f->cap > 0) { /* tanh made the mask finite */
        outside(s, from, to, padded, -INFINITY);
        top = vset(-INFINITY);
        for (int64_t i = 0; i < padded; i += VL)
            top = vmax(top, vload(s + i));
    }
    float most = vlargest(top), old = *max;
    most = most > old ? most : old;
    most = most == -INFINITY ? 0 : most; /* nothing but -inf or NaN: e^(x - 0) tells them apart */
    vf total = vzero(), shift = vset(most);
    for (int64_t i = 0; i < padded; i += VL) {
        vf e = vexp(vload(s + i) - shift);
        total += e;
        vwrite(p, i, VL, f->pairs, e);
    }
    float fade = 1;
    if (most != old) {
        float t[VL];
        vstore(t, vexp(vset(old - most)));
        fade = t[0];
        for (int64_t i = 0; i < f->hp; i += VL)
            vstore(o + i, vload(o + i) * vset(fade));
    }
    *sum = *sum * fade + vsum(total);
    *max = most;
}

static void block(const struct job *j, const struct room *r, span keys, int64_t kv, int64_t n, int64_t position,
                  bool careful)
{
    const forest *f = &j->f;
    int64_t padded = round_panels(keys.n);
    K(pack_nk)(r->k, at(j->k, keys.row, kv * f->h), j->k->ld, keys.n, f->h, f->bf16, f->pairs);
    K(pack_kn)(r->v, at(j->v, keys.row, kv * f->h), j->v->ld, f->h, keys.n, f->bf16, f->pairs);
    int64_t lda = f->pairs ? padded / 2 : padded;
    for (int64_t head = 0; head < f->share; head++) {
        float *o = r->o + head * n * f->hp;
        K(gemm)(n, padded / NR, f->units, r->q + head * n * f->units, f->units, r->k, r->s, padded, false, f->pairs);
        for (int64_t i = 0; i < n; i++) {
            seen see = r->sees[i] = keys_of(f, position + i, keys.position, keys.n);
            if (see.from < see.to)
                soften(f, r->s + i * padded, see.from, see.to, padded, &r->max[head * n + i], &r->sum[head * n + i],
                       o + i * f->hp, r->p + i * lda);
            else
                memset(r->p + i * lda, 0, (size_t)lda * 4);
        }
        weigh(f, n, r->p, lda, r->v, keys.n, j->v, keys.row, kv * f->h, r->sees, o, careful);
    }
}

/* The sums of a tile's queries; false when one is not finite. */
static bool sum_up(const struct job *j, const struct room *r, int64_t b, int64_t kv, bool careful)
{
    const forest *f = &j->f;
    int64_t segment = cpu_id(f->tiles, b, 0), row = cpu_id(f->tiles, b, 1), n = cpu_id(f->tiles, b, 2);
    int64_t position = cpu_id(f->tiles, b, 3), first = cpu_id(f->segments, segment, 5), rows = n * f->share;
    for (int64_t head = 0; head < f->share; head++)
        K(pack_rows)(r->q + head * n * f->units, at(j->q, row, (kv * f->share + head) * f->h), j->q->ld, n, f->h, f->bf16,
                     f->pairs);
    memset(r->o, 0, (size_t)(rows * f->hp) * sizeof *r->o);
    for (int64_t i = 0; i < rows; i++) {
        r->max[i] = -INFINITY;
        r->sum[i] = 0;
    }
    for (int64_t a = first; a < first + cpu_id(f->segments, segment, 6); a++) {
        span s = clip(f, span_of(f, a), position, position + n - 1);
        for (int64_t i = 0; i < s.n; i += KEYS)
            block(j, r, (span){s.row + i, s.n - i < KEYS ? s.n - i : KEYS, s.position + i}, kv, n, position, careful);
    }
    return finite_rows(r->o, rows, f->hp);
}

static void tile(void *arg, size_t task, int thread)
{
    const struct job *j = arg;
    const forest *f = &j->f;
    int64_t b = (int64_t)task / f->kv_heads, kv = (int64_t)task % f->kv_heads;
    int64_t row = cpu_id(f->tiles, b, 1), n = cpu_id(f->tiles, b, 2), rows = n * f->share;
    struct room r;
    carve_room(f, cpu_each(j->d, thread), &r);
    if (!sum_up(j, &r, b, kv, false))
        sum_up(j, &r, b, kv, true);
    for (int64_t i = 0; i < rows; i++) {
        int64_t to = row + i % n, head = kv * f->share + i / n;
        bool none = r.sum[i] == 0;
        vf by = vset(none ? 0 : 1 / r.sum[i]);
        for (int64_t c = 0; c < f->h; c += VL)
            vwrite(at(j->o, to, head * f->h), c, vcount(f->h - c), cpu_bf16(j->o), vload(r.o + i * f->hp + c) * by);
        *(float *)at(j->lse, to, head) = none ? -INFINITY : (float)((double)r.max[i] + log((double)r.sum[i]));
    }
}

sail_code K(attention)(sail_device *d, const sail_call *c, sail_err *err)
{
    struct job j = {.d = d, .f = forest_of(c, &c->in[0], 3), .q = &c->in[0], .k = &c->in[1], .v = &c->in[2], .o = &c->out[0],
                    .lse = &c->out[1]};
    struct room r;
    SAIL_TRY(check_forest(c, &j.f, j.q->rows, j.k->rows, err));
    SAIL_TRY(cpu_scratch(d, 0, carve_room(&j.f, NULL, &r), err));
    sail_pool_run(d->pool, (size_t)(j.f.tiles->rows * j.f.kv_heads), tile, &j);
    return SAIL_OK;
}
