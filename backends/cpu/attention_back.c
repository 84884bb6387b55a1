/* attention_back.c - ATTENTION_BACK: first D = sum of do o for each row and head; then, without the scores ever being kept,
 * dq by tiles of queries as in the forward pass, and dk and dv by tiles of keys, whose task goes over all queries that may
 * see them: those from the tile's first row to the end of its segment's subtree. No two tasks write the same rows, and each
 * sums in a fixed order. With p = e^(s - lse): dv = p' do, ds = p (do v' - D) slope, dq = scale ds k, dk = scale ds' q. As in the
 * forward pass, a tile whose sums are not finite is done again with care. */
#include "forest.h"

struct job {
    const sail_device *d;
    forest f;
    const sail_tensor *dout, *q, *k, *v, *o, *lse, *dq, *dk, *dv;
    float *dots; /* D [T, heads] */
};

struct room {
    uint32_t *left, *left2, *right, *right2, *third, *units; /* operands of the products */
    float *s, *dp, *sum, *sum2, *lse, *dot;
    seen *sees;
};

static size_t carve_room(const forest *f, unsigned char *base, struct room *r)
{
    carve c = {base, 0};
    int64_t rows = (int64_t)TILE * f->share;
    r->left = take(&c, rows * f->units, 4);
    r->left2 = take(&c, rows * f->units, 4);
    r->right = take(&c, f->units * round_panels(KEYS), 4);
    r->right2 = take(&c, f->units * round_panels(KEYS), 4);
    r->third = take(&c, units_of(KEYS, f->pairs) * f->hp, 4);
    r->units = take(&c, (int64_t)TILE * KEYS, 4);
    r->s = take(&c, (int64_t)TILE * KEYS, 4);
    r->dp = take(&c, (int64_t)TILE * KEYS, 4);
    r->sum = take(&c, rows * f->hp, 4);
    r->sum2 = take(&c, (int64_t)TILE * f->hp, 4);
    r->lse = take(&c, round_panels(TILE), 4);
    r->dot = take(&c, round_panels(TILE), 4);
    r->sees = take(&c, TILE, sizeof *r->sees);
    return c.used;
}

static void dot_rows(const sail_device *d, const void *arg, const cpu_block *b, int thread)
{
    const struct job *j = arg;
    int64_t h = j->f.h;
    for (int64_t r = b->row; r < b->row + b->rows; r++)
        for (int64_t head = 0; head < j->f.heads; head++) {
            vf sum = vzero();
            for (int64_t i = 0; i < h; i += VL) {
                int n = vcount(h - i);
                sum = vfma(vread(cpu_row(j->dout, r), head * h + i, n, cpu_bf16(j->dout)),
                           vread(cpu_row(j->o, r), head * h + i, n, cpu_bf16(j->o)), sum);
            }
            j->dots[r * j->f.heads + head] = vsum(sum);
        }
}

static void write_rows(const forest *f, const float *sum, const sail_tensor *to, int64_t row, int64_t n, int64_t head)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < f->h; c += VL)
            vwrite(at(to, row + i, head * f->h), c, vcount(f->h - c), cpu_bf16(to), vload(sum + i * f->hp + c));
}

static void query_block(const struct job *j, const struct room *r, span keys, int64_t kv, int64_t row, int64_t n,
                        int64_t position, bool careful)
{
    const forest *f = &j->f;
    int64_t padded = round_panels(keys.n), lda = f->pairs ? padded / 2 : padded;
    K(pack_nk)(r->right, at(j->k, keys.row, kv * f->h), j->k->ld, keys.n, f->h, f->bf16, f->pairs);
    K(pack_nk)(r->right2, at(j->v, keys.row, kv * f->h), j->v->ld, keys.n, f->h, f->bf16, f->pairs);
    K(pack_kn)(r->third, at(j->k, keys.row, kv * f->h), j->k->ld, f->h, keys.n, f->bf16, f->pairs);
    for (int64_t share = 0; share < f->share; share++) {
        int64_t head = kv * f->share + share;
        K(gemm)(n, padded / NR, f->units, r->left + share * n * f->units, f->units, r->right, r->s, padded, false, f->pairs);
        K(gemm)(n, padded / NR, f->units, r->left2 + share * n * f->units, f->units, r->right2, r->dp, padded, false,
                f->pairs);
        for (int64_t i = 0; i < n; i++) {
            float *s = r->s + i * padded, *dp = r->dp + i * padded;
            seen see = r->sees[i] = keys_of(f, position + i, keys.position, keys.n);
            vf lse = vset(*(const float *)at(j->lse, row + i, head)), dot = vset(j->dots[(row + i) * f->heads + head]);
            for (int64_t c = 0; c < padded; c += VL) {
                vf slope, p = vexp(score(f, vload(s + c), &slope) - lse);
                vstore(s + c, p * (vload(dp + c) - dot) * slope * vset(f->scale));
            }
            outside(s, see.from, see.to, padded, 0);
            to_units(s, padded, r->units + i * lda, f->pairs);
        }
        weigh(f, n, r->units, lda, r->third, keys.n, j->k, keys.row, kv * f->h, r->sees, r->sum + share * n * f->hp, careful);
    }
}

static bool query_sums(const struct job *j, const struct room *r, int64_t b, int64_t kv, bool careful)
{
    const forest *f = &j->f;
    int64_t segment = cpu_id(f->tiles, b, 0), row = cpu_id(f->tiles, b, 1), n = cpu_id(f->tiles, b, 2);
    int64_t position = cpu_id(f->tiles, b, 3), first = cpu_id(f->segments, segment, 5);
    for (int64_t share = 0; share < f->share; share++) {
        int64_t col = (kv * f->share + share) * f->h, to = share * n * f->units;
        K(pack_rows)(r->left + to, at(j->q, row, col), j->q->ld, n, f->h, f->bf16, f->pairs);
        K(pack_rows)(r->left2 + to, at(j->dout, row, col), j->dout->ld, n, f->h, f->bf16, f->pairs);
    }
    memset(r->sum, 0, (size_t)(n * f->share * f->hp) * sizeof *r->sum);
    for (int64_t a = first; a < first + cpu_id(f->segments, segment, 6); a++) {
        span s = clip(f, span_of(f, a), position, position + n - 1);
        for (int64_t i = 0; i < s.n; i += KEYS)
            query_block(j, r, (span){s.row + i, s.n - i < KEYS ? s.n - i : KEYS, s.position + i}, kv, row, n, position,
                        careful);
    }
    return finite_rows(r->sum, n * f->share, f->hp);
}

static void query_tile(const struct job *j, const struct room *r, int64_t b, int64_t kv)
{
    const forest *f = &j->f;
    int64_t row = cpu_id(f->tiles, b, 1), n = cpu_id(f->tiles, b, 2);
    if (!query_sums(j, r, b, kv, false))
        query_sums(j, r, b, kv, true);
    for (int64_t share = 0; share < f->share; share++)
        write_rows(f, r->sum + share * n * f->hp, j->dq, row, n, kv * f->share + share);
}

/* Keys [keys.row, + keys.n), which are rows `from`… of the tile, against one tile of queries. Rows here are keys, columns
 * queries. */
static void key_block(const struct job *j, const struct room *r, span keys, int64_t from_key, int64_t kv, int64_t row,
                      int64_t n, int64_t position, bool careful)
{
    const forest *f = &j->f;
    int64_t padded = round_panels(n), lda = f->pairs ? padded / 2 : padded;
    for (int64_t share = 0; share < f->share; share++) {
        int64_t head = kv * f->share + share;
        for (int64_t i = 0; i < padded; i++) {
            r->lse[i] = i < n ? *(const float *)at(j->lse, row + i, head) : 0;
            r->dot[i] = i < n ? j->dots[(row + i) * f->heads + head] : 0;
        }
        K(pack_nk)(r->right, at(j->q, row, head * f->h), j->q->ld, n, f->h, f->bf16, f->pairs);
        K(pack_nk)(r->right2, at(j->dout, row, head * f->h), j->dout->ld, n, f->h, f->bf16, f->pairs);
        K(gemm)(keys.n, padded / NR, f->units, r->left + from_key * f->units, f->units, r->right, r->s, padded, false,
                f->pairs);
        K(gemm)(keys.n, padded / NR, f->units, r->left2 + from_key * f->units, f->units, r->right2, r->dp, padded, false,
                f->pairs);
        for (int64_t i = 0; i < keys.n; i++) {
            float *s = r->s + i * padded, *dp = r->dp + i * padded;
            seen see = r->sees[i] = queries_of(f, keys.position + i, position, n);
            for (int64_t c = 0; c < padded; c += VL) {
                vf slope, p = vexp(score(f, vload(s + c), &slope) - vload(r->lse + c));
                vstore(s + c, p);
                vstore(dp + c, p * (vload(dp + c) - vload(r->dot + c)) * slope * vset(f->scale));
            }
            outside(s, see.from, see.to, padded, 0);
            outside(dp, see.from, see.to, padded, 0);
            to_units(s, padded, r->units + i * lda, f->pairs);
        }
        K(pack_kn)(r->third, at(j->dout, row, head * f->h), j->dout->ld, f->h, n, f->bf16, f->pairs);
        weigh(f, keys.n, r->units, lda, r->third, n, j->dout, row, head * f->h, r->sees, r->sum2 + from_key * f->hp, careful);
        for (int64_t i = 0; i < keys.n; i++)
            to_units(r->dp + i * padded, padded, r->units + i * lda, f->pairs);
        K(pack_kn)(r->third, at(j->q, row, head * f->h), j->q->ld, f->h, n, f->bf16, f->pairs);
        weigh(f, keys.n, r->units, lda, r->third, n, j->q, row, head * f->h, r->sees, r->sum + from_key * f->hp, careful);
    }
}

static bool key_sums(const struct job *j, const struct room *r, int64_t b, int64_t kv, bool careful)
{
    const forest *f = &j->f;
    int64_t segment = cpu_id(f->tiles, b, 0), key = cpu_id(f->tiles, b, 1), n = cpu_id(f->tiles, b, 2);
    int64_t end = cpu_id(f->segments, segment, 4);
    K(pack_rows)(r->left, at(j->k, key, kv * f->h), j->k->ld, n, f->h, f->bf16, f->pairs);
    K(pack_rows)(r->left2, at(j->v, key, kv * f->h), j->v->ld, n, f->h, f->bf16, f->pairs);
    memset(r->sum, 0, (size_t)(n * f->hp) * sizeof *r->sum);
    memset(r->sum2, 0, (size_t)(n * f->hp) * sizeof *r->sum2);
    for (int64_t t = 0; t < f->tiles->rows; t++) {
        int64_t row = cpu_id(f->tiles, t, 1), count = cpu_id(f->tiles, t, 2), position = cpu_id(f->tiles, t, 3);
        if (row < key || row >= end)
            continue;
        int64_t seen_by = cpu_id(f->tiles, t, 0), first = cpu_id(f->segments, seen_by, 5);
        for (int64_t a = first; a < first + cpu_id(f->segments, seen_by, 6); a++) {
            span s = clip(f, span_of(f, a), position, position + count - 1);
            int64_t from = s.row > key ? s.row : key, to = s.row + s.n < key + n ? s.row + s.n : key + n;
            if (from < to)
                key_block(j, r, (span){from, to - from, s.position + from - s.row}, from - key, kv, row, count, position,
                          careful);
        }
    }
    return finite_rows(r->sum, n, f->hp) && finite_rows(r->sum2, n, f->hp);
}

static void key_tile(const struct job *j, const struct room *r, int64_t b, int64_t kv)
{
    const forest *f = &j->f;
    int64_t key = cpu_id(f->tiles, b, 1), n = cpu_id(f->tiles, b, 2);
    if (!key_sums(j, r, b, kv, false))
        key_sums(j, r, b, kv, true);
    write_rows(f, r->sum, j->dk, key, n, kv);
    write_rows(f, r->sum2, j->dv, key, n, kv);
}

static void task(void *arg, size_t index, int thread)
{
    const struct job *j = arg;
    int64_t each = j->f.tiles->rows * j->f.kv_heads, i = (int64_t)index;
    struct room r;
    carve_room(&j->f, cpu_each(j->d, thread), &r);
    if (i < each) /* the first key tiles have the most queries: they begin */
        key_tile(j, &r, i / j->f.kv_heads, i % j->f.kv_heads);
    else
        query_tile(j, &r, j->f.tiles->rows - 1 - (i - each) / j->f.kv_heads, i % j->f.kv_heads);
}

sail_code K(attention_back)(sail_device *d, const sail_call *c, sail_err *err)
{
    struct job j = {.d = d, .f = forest_of(c, &c->in[1], 6), .dout = &c->in[0], .q = &c->in[1], .k = &c->in[2],
                    .v = &c->in[3], .o = &c->in[4], .lse = &c->in[5], .dq = &c->out[0], .dk = &c->out[1], .dv = &c->out[2]};
    struct room r;
    SAIL_TRY(check_forest(c, &j.f, j.q->rows, j.k->rows, err));
    SAIL_TRY(cpu_scratch(d, (size_t)(j.q->rows * j.f.heads) * sizeof *j.dots, carve_room(&j.f, NULL, &r), err));
    j.dots = (float *)(void *)d->shared;
    cpu_blocks(d, j.q->rows, j.q->cols, 16384, true, dot_rows, &j);
    sail_pool_run(d->pool, 2 * (size_t)(j.f.tiles->rows * j.f.kv_heads), task, &j);
    return SAIL_OK;
}
