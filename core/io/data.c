/* data.c - orders, and rows in memory. */
#include <string.h>

#include "../sail/rng.h"
#include "data_impl.h"

/* ---- splits and orders ---- */

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
        out->records = sail__source_records(s);
        if (!code)
            code = sail__drops_merge(&out->drops, sail__source_drops(s), err);
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
