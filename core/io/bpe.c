/* bpe.c - byte pair encoding of one pre-token.
 *
 * The pair of lowest rank is merged first, the leftmost of equals, until none is left. Short pieces do that by looking
 * through their pairs; long ones keep candidates in a heap over a linked list, in n log n. Pieces seen before come from
 * the scratch's cache. */
#include <string.h>

#include "tokenizer_impl.h"

enum {
    CACHE_SLOTS = 1 << 16, /* at most half of them are used */
    CACHE_TEXT = 1 << 20,  /* bytes */
    CACHE_IDS = 1 << 19,
    CACHE_PIECE = 96, /* bytes of the longest piece that is kept */
    SHORT_PIECE = 48, /* symbols */
};

static inline uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0xD6E8FEB86659FD93u;
    x ^= x >> 29;
    return x;
}

static inline const sail__merge *find_merge(const sail__tokenizer *t, int32_t a, int32_t b)
{
    if (!t->merges)
        return NULL;
    uint64_t pair = (uint64_t)(uint32_t)a << 32 | (uint32_t)b;
    for (size_t i = mix(pair) & t->merge_mask;; i = (i + 1) & t->merge_mask) {
        const sail__merge *m = &t->merges[i];
        if (m->id < 0)
            return NULL;
        if (m->pair == pair)
            return m;
    }
}

sail_code sail__tokenizer_add_merges(sail__tokenizer *t, size_t n,
                                     sail_code (*get)(void *, size_t, sail__string *, sail__string *, sail_err *),
                                     void *user, sail_err *err)
{
    size_t slots = 16;
    while (slots * 3 / 4 < n)
        slots *= 2;
    t->merges = sail__malloc(slots * sizeof *t->merges);
    if (!t->merges)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    t->merge_mask = slots - 1;
    for (size_t i = 0; i < slots; i++)
        t->merges[i].id = -1;
    sail_buf joined = {0};
    sail_code code = SAIL_OK;
    for (size_t i = 0; i < n && !code; i++) {
        sail__string a, b;
        if ((code = get(user, i, &a, &b, err)))
            break;
        joined.len = 0;
        sail__buf_add(&joined, a.data, a.len);
        sail__buf_add(&joined, b.data, b.len);
        if (joined.oom) {
            code = sail_fail(err, SAIL_E_NOMEM, "out of memory");
            break;
        }
        int32_t left = sail__lookup(&t->by_text, t->tokens, a.data, a.len);
        int32_t right = sail__lookup(&t->by_text, t->tokens, b.data, b.len);
        int32_t whole = sail__lookup(&t->by_text, t->tokens, joined.data, joined.len);
        if (left < 0 || right < 0 || whole < 0) {
            const sail__string *missing = left < 0    ? &a
                                          : right < 0 ? &b
                                                      : &(sail__string){joined.data, (uint32_t)joined.len};
            code =
                sail_fail(err, SAIL_E_FORMAT, "%s: model.merges[%zu] ('%.*s' + '%.*s'): '%.*s' is not in model.vocab",
                          t->origin, i, (int)a.len, a.data, (int)b.len, b.data, (int)missing->len, missing->data);
            break;
        }
        uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
        size_t at = mix(pair) & t->merge_mask;
        while (t->merges[at].id >= 0 && t->merges[at].pair != pair)
            at = (at + 1) & t->merge_mask;
        t->merges[at] = (sail__merge){pair, (uint32_t)i, whole}; /* a pair named twice: the later rank holds */
    }
    sail__buf_free(&joined);
    return code;
}

static inline sail_code put(sail__ids *out, int32_t id, sail_err *err)
{
    if (out->n == out->cap)
        SAIL_TRY(sail__grow(&out->items, &out->cap, out->n + 1, sizeof *out->items, err));
    out->items[out->n++] = id;
    return SAIL_OK;
}

/* The symbols merging begins with, appended to out: one a byte, or one a character. */
static sail_code initial(const sail__tokenizer *t, const char *text, size_t len, sail__ids *out, sail_err *err)
{
    SAIL_TRY(sail__grow(&out->items, &out->cap, out->n + len, sizeof *out->items, err));
    if (t->byte_level) {
        for (size_t i = 0; i < len; i++) {
            int32_t id = t->byte_id[(unsigned char)text[i]];
            if (id < 0)
                id = t->unk_model;
            if (id >= 0)
                out->items[out->n++] = id;
        }
        return SAIL_OK;
    }
    bool unknown = false; /* the symbol before is an unknown one that goes on */
    for (size_t i = 0; i < len;) {
        uint32_t c;
        int n = sail__utf8_next(text + i, len - i, &c);
        if (n <= 0)
            n = 1;
        int32_t id = sail__lookup(&t->by_text, t->tokens, text + i, (size_t)n);
        if (id >= 0 && !(t->flags[id] & SAIL__TOKEN_MODEL))
            id = -1;
        if (id >= 0) {
            out->items[out->n++] = id;
            unknown = false;
        } else {
            bool bytes = t->byte_fallback;
            for (int j = 0; bytes && j < n; j++)
                bytes = t->byte_id[(unsigned char)text[i + (size_t)j]] >= 0;
            for (int j = 0; bytes && j < n; j++)
                out->items[out->n++] = t->byte_id[(unsigned char)text[i + (size_t)j]];
            if (bytes) {
                unknown = false;
            } else if (t->unk_model >= 0) {
                if (!unknown || !t->fuse_unk)
                    out->items[out->n++] = t->unk_model;
                unknown = true;
            }
        }
        i += (size_t)n;
    }
    return SAIL_OK;
}

/* ids[n] merged in place; returns the new number. n <= SHORT_PIECE. */
static size_t merge_short(const sail__tokenizer *t, int32_t *ids, size_t n)
{
    const sail__merge *pair[SHORT_PIECE];
    for (size_t i = 0; i + 1 < n; i++)
        pair[i] = find_merge(t, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = n;
        for (size_t i = 0; i + 1 < n; i++)
            if (pair[i] && (best == n || pair[i]->rank < pair[best]->rank))
                best = i;
        if (best == n)
            break;
        ids[best] = pair[best]->id;
        memmove(ids + best + 1, ids + best + 2, (n - best - 2) * sizeof *ids);
        if (best + 2 < n)
            memmove(pair + best + 1, pair + best + 2, (n - best - 3) * sizeof *pair);
        n--;
        if (best > 0)
            pair[best - 1] = find_merge(t, ids[best - 1], ids[best]);
        if (best + 1 < n)
            pair[best] = find_merge(t, ids[best], ids[best + 1]);
    }
    return n;
}

static inline bool before(const sail__candidate *a, const sail__candidate *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->pos < b->pos;
}

static void heap_push(sail__candidate *h, size_t *n, sail__candidate c)
{
    size_t i = (*n)++;
    while (i > 0 && before(&c, &h[(i - 1) / 2])) {
        h[i] = h[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h[i] = c;
}

static sail__candidate heap_pop(sail__candidate *h, size_t *n)
{
    sail__candidate top = h[0], last = h[--*n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= *n)
            break;
        if (child + 1 < *n && before(&h[child + 1], &h[child]))
            child++;
        if (!before(&h[child], &last))
            break;
        h[i] = h[child];
        i = child;
    }
    h[i] = last;
    return top;
}

static sail_code merge_long(const sail__tokenizer *t, sail__token_scratch *s, int32_t *ids, size_t *count,
                            sail_err *err)
{
    size_t n = *count, heap = 0;
    if (n > INT32_MAX / 4)
        return sail_fail(err, SAIL_E_LIMIT, "a piece of text of %zu bytes cannot be tokenized", n);
    SAIL_TRY(sail__grow(&s->symbols, &s->cap_symbols, n, sizeof *s->symbols, err));
    SAIL_TRY(
        sail__grow(&s->heap, &s->cap_heap, 3 * n, sizeof *s->heap, err)); /* a merge adds two for the one it takes */
    sail__symbol *sym = s->symbols;
    for (size_t i = 0; i < n; i++) {
        sym[i] = (sail__symbol){ids[i], (int32_t)i - 1, i + 1 < n ? (int32_t)i + 1 : -1};
        const sail__merge *m = i + 1 < n ? find_merge(t, ids[i], ids[i + 1]) : NULL;
        if (m)
            heap_push(s->heap, &heap, (sail__candidate){m->rank, (uint32_t)i, m->id});
    }
    while (heap) {
        sail__candidate c = heap_pop(s->heap, &heap);
        sail__symbol *left = &sym[c.pos];
        if (left->id < 0 || left->next < 0)
            continue;
        sail__symbol *right = &sym[left->next];
        const sail__merge *m = find_merge(t, left->id, right->id);
        if (!m || m->id != c.id)
            continue; /* the pair has changed since */
        left->id = m->id;
        left->next = right->next;
        right->id = -1;
        if (left->next >= 0) {
            sym[left->next].prev = (int32_t)c.pos;
            if ((m = find_merge(t, left->id, sym[left->next].id)))
                heap_push(s->heap, &heap, (sail__candidate){m->rank, c.pos, m->id});
        }
        if (left->prev >= 0 && (m = find_merge(t, sym[left->prev].id, left->id)))
            heap_push(s->heap, &heap, (sail__candidate){m->rank, (uint32_t)left->prev, m->id});
    }
    *count = 0;
    for (int32_t i = 0; i >= 0; i = sym[i].next)
        ids[(*count)++] = sym[i].id;
    return SAIL_OK;
}

/* ---- cache ---- */

static sail__cache_entry *cache_slot(sail__token_scratch *s, uint64_t hash, const char *text, size_t len)
{
    for (size_t i = hash & (CACHE_SLOTS - 1);; i = (i + 1) & (CACHE_SLOTS - 1)) {
        sail__cache_entry *e = &s->cache[i];
        if (e->len == 0 || (e->hash == hash && e->len == len && memcmp(s->cache_text + e->text, text, len) == 0))
            return e;
    }
}

static bool cache_ready(sail__token_scratch *s)
{
    if (s->cache)
        return true;
    s->cache = sail__calloc(CACHE_SLOTS, sizeof *s->cache);
    s->cache_text = sail__malloc(CACHE_TEXT);
    s->cache_ids = sail__malloc(CACHE_IDS * sizeof *s->cache_ids);
    if (s->cache && s->cache_text && s->cache_ids)
        return true;
    sail__free(s->cache);
    sail__free(s->cache_text);
    sail__free(s->cache_ids);
    s->cache = NULL;
    s->cache_text = NULL;
    s->cache_ids = NULL;
    return false; /* works without, slowly */
}

static void remember(sail__token_scratch *s, sail__cache_entry *e, uint64_t hash, const char *text, size_t len,
                     const int32_t *ids, size_t n)
{
    if (s->n_cached >= CACHE_SLOTS / 2 || s->n_cache_text + len > CACHE_TEXT || s->n_cache_ids + n > CACHE_IDS) {
        memset(s->cache, 0, CACHE_SLOTS * sizeof *s->cache);
        s->n_cached = s->n_cache_text = s->n_cache_ids = 0;
        e = cache_slot(s, hash, text, len);
    }
    *e = (sail__cache_entry){hash, (uint32_t)s->n_cache_text, (uint32_t)len, (uint32_t)s->n_cache_ids, (uint32_t)n};
    memcpy(s->cache_text + s->n_cache_text, text, len);
    if (n)
        memcpy(s->cache_ids + s->n_cache_ids, ids, n * sizeof *ids);
    s->n_cached++;
    s->n_cache_text += len;
    s->n_cache_ids += n;
}

sail_code sail__bpe(const sail__tokenizer *t, sail__token_scratch *s, const char *text, size_t len, sail__ids *out,
                    sail_err *err)
{
    sail__cache_entry *entry = NULL;
    uint64_t hash = 0;
    if (len <= CACHE_PIECE && cache_ready(s)) {
        hash = sail__hash64(text, len, 0);
        entry = cache_slot(s, hash, text, len);
        if (entry->len) {
            SAIL_TRY(sail__grow(&out->items, &out->cap, out->n + entry->n, sizeof *out->items, err));
            memcpy(out->items + out->n, s->cache_ids + entry->ids, entry->n * sizeof *out->items);
            out->n += entry->n;
            return SAIL_OK;
        }
    }
    size_t start = out->n;
    if (t->ignore_merges) {
        int32_t id = t->byte_level ? sail__lookup(&t->by_bytes, t->bytes, text, len)
                                   : sail__lookup(&t->by_text, t->tokens, text, len);
        if (id >= 0 && (t->flags[id] & SAIL__TOKEN_MODEL)) {
            SAIL_TRY(put(out, id, err));
            goto done;
        }
    }
    SAIL_TRY(initial(t, text, len, out, err));
    size_t n = out->n - start;
    if (n <= SHORT_PIECE)
        n = merge_short(t, out->items + start, n);
    else
        SAIL_TRY(merge_long(t, s, out->items + start, &n, err));
    out->n = start + n;
done:
    if (entry)
        remember(s, entry, hash, text, len, out->items + start, out->n - start);
    return SAIL_OK;
}
