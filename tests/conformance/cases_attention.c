/* cases_attention.c - attention over forests, and over a cache. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sail/rng.h"
#include "suite.h"

enum { MOST_SEGMENTS = 40, MOST_RANGES = 400, MOST_TILES = 400 };

typedef struct forest {
    int32_t segments[MOST_SEGMENTS][8], ranges[MOST_RANGES][4], tiles[MOST_TILES][4];
    int64_t n_segments, n_ranges, n_tiles, rows, keys;
} forest;

/* A tree in depth-first order: segment i has length lengths[i] and parent parents[i] (-1: a root). Tiles of at most `tile`. */
static void grow(forest *f, const int *lengths, const int *parents, int n, int tile)
{
    memset(f, 0, sizeof *f);
    f->n_segments = n;
    for (int i = 0; i < n; i++) {
        int32_t *g = f->segments[i];
        int chain[MOST_SEGMENTS], depth = 0;
        g[0] = (int32_t)f->rows;
        g[1] = lengths[i];
        g[2] = parents[i] < 0 ? 0 : f->segments[parents[i]][2] + lengths[parents[i]];
        g[3] = parents[i];
        f->rows += lengths[i];
        for (int a = i; a >= 0; a = parents[a]) {
            chain[depth++] = a;
            f->segments[a][4] = (int32_t)f->rows;
        }
        g[5] = (int32_t)f->n_ranges;
        g[6] = depth;
        while (depth-- > 0) {
            const int32_t *a = f->segments[chain[depth]];
            int32_t *r = f->ranges[f->n_ranges++];
            r[0] = a[0];
            r[1] = a[1];
            r[2] = a[2];
        }
        for (int at = 0; at < lengths[i]; at += tile) {
            int32_t *t = f->tiles[f->n_tiles++];
            t[0] = i;
            t[1] = g[0] + at;
            t[2] = lengths[i] - at < tile ? lengths[i] - at : tile;
            t[3] = g[2] + at;
        }
    }
    f->keys = f->rows;
}

/* n sequences that decode one token each: a shared prompt in pages, then pages of their own in some order. */
static void cache(forest *f, int n, int prompt, int own, int page)
{
    memset(f, 0, sizeof *f);
    const int shared = (prompt + page - 1) / page, each = (own + page - 1) / page;
    f->n_segments = f->rows = f->n_tiles = n;
    f->keys = (int64_t)(shared + n * each) * page;
    for (int i = 0; i < n; i++) {
        int32_t *g = f->segments[i], *t = f->tiles[i];
        g[0] = i;
        g[1] = 1;
        g[2] = prompt + own - 1;
        g[3] = -1;
        g[4] = i + 1;
        g[5] = (int32_t)f->n_ranges;
        for (int p = 0; p < shared + each; p++) {
            int32_t *r = f->ranges[f->n_ranges++];
            const bool mine = p >= shared;
            const int first = mine ? (p - shared) * page : p * page, end = mine ? own : prompt;
            r[0] = mine ? (shared + (n - 1 - i) * each + (p - shared)) * page : p * page;
            r[1] = end - first < page ? end - first : page;
            r[2] = mine ? prompt + first : first;
        }
        g[6] = (int32_t)f->n_ranges - g[5];
        t[0] = i;
        t[1] = i;
        t[2] = 1;
        t[3] = g[2];
    }
}

typedef struct kind {
    int heads, kv_heads, head_dim, window;
    float softcap;
} kind;

static void tables(suite *s, const forest *f, int at)
{
    int32_t *g = scratch(s, sizeof f->segments), *r = scratch(s, sizeof f->ranges), *t = scratch(s, sizeof f->tiles);
    memcpy(g, f->segments, sizeof f->segments);
    memcpy(r, f->ranges, sizeof f->ranges);
    memcpy(t, f->tiles, sizeof f->tiles);
    given_ints(s, at, f->n_segments, 8, g);
    given_ints(s, at + 1, f->n_ranges, 4, r);
    given_ints(s, at + 2, f->n_tiles, 4, t);
}

/* What ref makes of the forward case at hand. */
static bool forward(suite *s, float *o, float *lse)
{
    kase *c = &s->c;
    sail_runtime *rt = s->ref.rt;
    sail_call call = {.op = c->op, .n_in = c->n_in, .n_out = 2, .attr = c->attr};
    sail_err err = {0};
    bool good = complete(s, c);
    for (int i = 0; i < c->n_in && good; i++) {
        const operand *x = &c->in[i];
        good = sail__tensor_alloc(rt, x->t, x->rows, x->cols, &call.in[i], &err) == SAIL_OK &&
               (x->i ? sail__tensor_put(rt, &call.in[i], x->i, &err)
                     : sail__tensor_put_f32(rt, &call.in[i], x->f, &err)) == SAIL_OK;
    }
    for (int i = 0; i < 2 && good; i++)
        good = sail__tensor_alloc(rt, c->out[i].t, c->out[i].rows, c->out[i].cols, &call.out[i], &err) == SAIL_OK;
    good = good && rt->backend->run(rt->device, &call, 1, &err) == SAIL_OK &&
           sail__tensor_get_f32(rt, &call.out[0], o, &err) == SAIL_OK &&
           sail__tensor_get_f32(rt, &call.out[1], lse, &err) == SAIL_OK;
    for (int i = 0; i < c->n_in; i++)
        sail__tensor_free(rt, &call.in[i]);
    for (int i = 0; i < 2; i++)
        sail__tensor_free(rt, &call.out[i]);
    if (!good)
        s->failed++;
    return good;
}

/* One number is none (or infinite): rows that see it may be anything that ref makes of them; the others must not notice. */
typedef enum plant { NOTHING, FIRST_QUERY, FIRST_KEY, LAST_KEY, FIRST_VALUE, LAST_VALUE, FIRST_DOUT, LAST_DOUT } plant;

static void sow(kase *c, plant p)
{
    const bool back = c->op == SAIL_OP_ATTENTION_BACK, dout = p == FIRST_DOUT || p == LAST_DOUT;
    const int i = dout ? 0 : (p == FIRST_QUERY ? 0 : p <= LAST_KEY ? 1 : 2) + back;
    const operand *o = &c->in[i];
    const int64_t row = p == LAST_KEY || p == LAST_VALUE || p == LAST_DOUT ? o->rows - 1 : 0;
    if (p != NOTHING && dout == back)
        ((float *)(uintptr_t)o->f)[row * o->cols + o->cols / 2] = i == 2 && c->in[0].t == SAIL_BF16 ? INFINITY : NAN;
}

enum { WIDE = 1, SMALL = 2, TIMED = 4 };

static void attend(suite *s, const forest *f, const kind *k, int half, const char *what, int how, plant bad)
{
    const bool wide = how & WIDE;
    const sail_dtype t = half ? SAIL_BF16 : SAIL_F32;
    const int64_t q_cols = (int64_t)k->heads * k->head_dim, k_cols = (int64_t)k->kv_heads * k->head_dim;
    const sail_attr attr = {.heads = k->heads, .kv_heads = k->kv_heads, .head_dim = k->head_dim, .window = k->window,
                            .softcap = k->softcap, .scale = (float)(1 / sqrt(k->head_dim))};
    char name[120];
    snprintf(name, sizeof name, "%s, %d/%d heads of %d, window %d, cap %g, %s%s", what, k->heads, k->kv_heads,
             k->head_dim, k->window, (double)k->softcap, half ? "bf16" : "f32", wide ? ", spread" : "");
    kase *c = begin(s, SAIL_OP_ATTENTION, "%s", name);
    c->attr = attr;
    floats(s, 0, t, f->rows, q_cols, -2, 2);
    floats(s, 1, t, f->keys, k_cols, -2, 2);
    floats(s, 2, t, f->keys, k_cols, -1, 1);
    tables(s, f, 3);
    sow(c, bad);
    if (how & TIMED)
        c->bench = true;
    else
        attention_limits(s, c);
    c->differentiable = how & SMALL ? 7 : 0;
    if (wide)
        spread(c, 8, 4);
    const kase before = *c;
    if (bad < FIRST_DOUT)
        emit(s);
    if (f->keys != f->rows || s->bench != c->bench)
        return;
    s->c = before;
    float *o = scratch(s, (size_t)(f->rows * q_cols) * sizeof *o), *lse = scratch(s, (size_t)(f->rows * k->heads) * sizeof *lse);
    if (!forward(s, o, lse))
        return;
    c = &s->c;
    c->op = SAIL_OP_ATTENTION_BACK;
    snprintf(c->name, sizeof c->name, "attention_back %s", name);
    memset(c->out, 0, sizeof c->out);
    for (int i = 0; i < 3; i++) {
        c->in[1 + i] = before.in[i];
        c->in[6 + i] = before.in[3 + i];
    }
    floats(s, 0, t, f->rows, q_cols, -1, 1);
    c->in[4] = (operand){.present = true, .t = t, .rows = f->rows, .cols = q_cols, .f = o};
    c->in[5] = (operand){.present = true, .t = SAIL_F32, .rows = f->rows, .cols = k->heads, .f = lse};
    c->n_in = 9;
    sow(c, bad);
    c->differentiable = 0;
    if (!c->bench)
        attention_back_limits(s, c);
    if (wide)
        spread(c, 8, 4);
    emit(s);
}

void attention_cases(suite *s)
{
    static const kind kinds[] = {{1, 1, 2, 0, 0},  {2, 1, 8, 0, 0},    {3, 1, 16, 5, 0},  {4, 2, 64, 0, 0},
                                 {4, 4, 24, 0, 5}, {9, 3, 64, 0, 0},   {2, 2, 80, 17, 3}, {1, 1, 128, 0, 0},
                                 {4, 2, 13, 3, 0}};
    static const int one[] = {1}, root[] = {-1}, prime[] = {67}, long_one[] = {130};
    static const int pair[] = {9, 5, 7}, pair_parents[] = {-1, 0, 0};
    static const int big[] = {64, 65, 31}, roots[] = {-1, -1, -1}, roots_lengths[] = {3, 17, 33};
    static const int deep[] = {4, 3, 2, 6, 1, 5, 8, 2}, deep_parents[] = {-1, 0, 1, 1, 0, -1, 5, 5};
    const struct {
        const char *name;
        const int *lengths, *parents;
        int n, tile;
    } shapes[] = {{"one row", one, root, 1, 64},
                  {"67 rows", prime, root, 1, 64},
                  {"130 rows in tiles of 13", long_one, root, 1, 13},
                  {"a pair", pair, pair_parents, 3, 64},
                  {"a long pair", big, pair_parents, 3, 64},
                  {"three roots", roots_lengths, roots, 3, 16},
                  {"two trees", deep, deep_parents, 8, 4}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t j = 0; j < sizeof kinds / sizeof *kinds; j++)
            for (int half = 0; half < 2; half++) {
                forest f;
                grow(&f, shapes[i].lengths, shapes[i].parents, shapes[i].n, shapes[i].tile);
                attend(s, &f, &kinds[j], half, shapes[i].name, ((i + j) % 2 ? WIDE : 0) | (f.rows < 40 && kinds[j].head_dim <= 24 ? SMALL : 0), NOTHING);
            }
    for (size_t i = 1; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t j = 2; j < 8; j++)
            for (plant bad = FIRST_QUERY; bad <= LAST_DOUT; bad++)
                for (int half = 0; half < 2; half++) {
                    forest f;
                    char name[64];
                    grow(&f, shapes[i].lengths, shapes[i].parents, shapes[i].n, shapes[i].tile);
                    snprintf(name, sizeof name, "%s, no number %d", shapes[i].name, (int)bad);
                    attend(s, &f, &kinds[j], half, name, 0, bad);
                }
    for (int n = 1; n < 20; n += 6)
        for (size_t j = 0; j < sizeof kinds / sizeof *kinds; j++)
            for (int half = 0; half < 2; half++) {
                forest f;
                char name[64];
                cache(&f, n, 37 - n, 1 + 11 * (n % 4), n % 2 ? 16 : 7);
                snprintf(name, sizeof name, "%d decoding", n);
                attend(s, &f, &kinds[j], half, name, j % 2 ? WIDE : 0, NOTHING);
            }
    static const int pairs[] = {256, 128, 128};
    static const kind smollm2 = {9, 3, 64, 0, 0};
    for (int half = 0; half < 2 && s->bench; half++) {
        forest f;
        grow(&f, pairs, pair_parents, 3, 64);
        attend(s, &f, &smollm2, half, "256 + 2 x 128", TIMED, NOTHING);
        cache(&f, 32, 256, 64, 64);
        attend(s, &f, &smollm2, half, "32 decoding at 320", TIMED, NOTHING);
    }
}
