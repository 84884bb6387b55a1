/* data_drops.c - which rows were left out, and why. */
#include <string.h>

#include "data_impl.h"

static sail__drop *find(const sail__drops *d, const char *reason)
{
    for (size_t i = 0; i < d->n; i++)
        if (strcmp(d->items[i].reason, reason) == 0)
            return &d->items[i];
    return NULL;
}

sail_code sail__drops_add(sail__drops *d, const char *reason, const char *file, int64_t line, sail_err *err)
{
    sail__drop *at = find(d, reason);
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

sail_code sail__drops_merge(sail__drops *d, const sail__drops *more, sail_err *err)
{
    for (size_t i = 0; i < more->n; i++) {
        const sail__drop *p = &more->items[i];
        const int64_t told = p->n < SAIL__DROP_LINES ? p->n : SAIL__DROP_LINES;
        for (int64_t k = 0; k < told; k++)
            SAIL_TRY(sail__drops_add(d, p->reason, p->file[k], p->line[k], err));
        find(d, p->reason)->n += p->n - told;
    }
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
