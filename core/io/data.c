/* data.c - counts of what was left out, splits, orders, and rows in memory. */
#include <string.h>

#include "../sail/rng.h"
#include "data_impl.h"

/* ---- drops ---- */

sail_code sail__drops_add(sail__drops *d, const char *reason, const char *file, int64_t line, sail_err *err)
{
    sail__drop *at = NULL;
    for (size_t i = 0; i < d->n && !at; i++)
        if (strcmp(d->items[i].reason, reason) == 0)
            at = &d->items[i];
    if (!at) {
        if (d->n == d->cap) {
            size_t cap = d->cap ? 2 * d->cap : 8;
            sail__drop *more = sail__arena_array(d->arena, cap, sizeof *more);
            if (!more)
                return sail_fail(err, SAIL_E_NOMEM, "out of memory");
            if (d->n)
                memcpy(more, d->items, d->n * sizeof *more);
            d->items = more;
            d->cap = cap;
        }
        at = &d->items[d->n];
        *at = (sail__drop){.reason = sail__arena_strdup(d->arena, reason)};
        if (!at->reason)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        d->n++;
    }
    if (at->n < SAIL__DROP_LINES) {
        at->file[at->n] = sail__arena_strdup(d->arena, file);
        at->line[at->n] = line;
        if (!at->file[at->n])
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    at->n++;
    return SAIL_OK;
}

int64_t sail__drops_total(const sail__drops *d)
{
    int64_t n = 0;
    for (size_t i = 0; i < d->n; i++)
        n += d->items[i].n;
    return n;
}

void sail__drops_print(const sail__drops *d, int64_t rows, sail_buf *out)
{
    if (!d->n)
        return;
    sail__buf_printf(out, "%lld of %lld rows dropped: ", (long long)sail__drops_total(d), (long long)rows);
    for (size_t i = 0; i < d->n; i++) {
        const sail__drop *p = &d->items[i];
        int64_t shown = p->n < SAIL__DROP_LINES ? p->n : SAIL__DROP_LINES;
        sail__buf_printf(out, "%s%lld %s (", i ? "; " : "", (long long)p->n, p->reason);
        for (int64_t k = 0; k < shown; k++) {
            bool same = k && strcmp(p->file[k], p->file[k - 1]) == 0;
            if (same)
                sail__buf_printf(out, ", %lld", (long long)p->line[k]);
            else
                sail__buf_printf(out, "%s%s:%lld", k ? ", " : "", sail__path_base(p->file[k]), (long long)p->line[k]);
        }
        sail__buf_str(out, p->n > shown ? ", …)" : ")");
    }
}

/* ---- splits and orders ---- */

bool sail__held_out(uint64_t prompt_hash, double share)
{
    return (double)(prompt_hash >> 11) * 0x1p-53 < share;
}

void sail__shuffle(uint64_t seed, uint64_t epoch, uint32_t *order, size_t n)
{
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)sail_rng_below(seed, SAIL_RNG_SHUFFLE, epoch, i - 1, 0, i);
        uint32_t swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
}

/* ---- in memory ---- */

static sail_code load(sail__source *s, const sail__encode_options *e, sail__token_scratch *scratch, sail__rows *out,
                      sail_err *err)
{
    for (;;) {
        sail_row *row;
        SAIL_TRY(sail__source_next(s, out->arena, &row, err));
        if (!row)
            return SAIL_OK;
        sail__encoded ids = {0};
        if (e) {
            const char *dropped;
            sail_code code = sail__encode_row(e, scratch, row, out->arena, &ids, &dropped, err);
            if (code)
                return sail_fail_in(err, "%s:%lld", row->file, (long long)row->line);
            if (dropped) {
                SAIL_TRY(sail__drops_add(&out->drops, dropped, row->file, row->line, err));
                continue;
            }
        }
        SAIL_TRY(sail__grow(&out->rows, &out->cap, out->n + 1, sizeof *out->rows, err));
        SAIL_TRY(sail__grow(&out->encoded, &out->cap_encoded, out->n + 1, sizeof *out->encoded, err));
        out->rows[out->n] = row;
        out->encoded[out->n++] = ids;
    }
}

sail_code sail__rows_load(const sail__data_options *d, const sail__encode_options *e, sail__rows *out, sail_err *err)
{
    memset(out, 0, sizeof *out);
    out->arena = sail__arena_new();
    sail__token_scratch *scratch = e ? sail__token_scratch_new(e->tokenizer) : NULL;
    sail__source *s = NULL;
    sail_code code = out->arena && (scratch || !e) ? SAIL_OK : sail_fail(err, SAIL_E_NOMEM, "out of memory");
    out->drops.arena = out->arena;
    if (!code)
        code = sail__source_open(d, &s, err);
    if (!code)
        code = load(s, e, scratch, out, err);
    if (s) {
        const sail__drops *read = sail__source_drops(s);
        out->records = sail__source_records(s);
        for (size_t i = 0; i < read->n && !code; i++) {
            const sail__drop *p = &read->items[i];
            for (int64_t k = 0; k < p->n && !code; k++) {
                int64_t at = k < SAIL__DROP_LINES ? k : 0;
                code = sail__drops_add(&out->drops, p->reason, p->file[at], p->line[at], err);
            }
        }
    }
    sail__source_close(s);
    sail__token_scratch_free(scratch);
    if (code)
        sail__rows_free(out);
    return code;
}

void sail__rows_free(sail__rows *r)
{
    sail__free(r->rows);
    sail__free(r->encoded);
    sail__arena_free(r->arena);
    memset(r, 0, sizeof *r);
}
