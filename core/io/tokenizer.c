/* tokenizer.c - look-ups and encoding: added tokens first, the rest normalized, cut and merged. */
#include <string.h>

#include "tokenizer_impl.h"

/* ---- index ---- */

static const char mark[] = "\xE2\x96\x81"; /* U+2581 */

static bool mark_behind_other(const sail__string *s)
{
    const char *at = s->data, *end = s->data + s->len;
    while ((at = memmem(at, (size_t)(end - at), mark, 3))) {
        if (at > s->data && (at < s->data + 3 || memcmp(at - 3, mark, 3) != 0))
            return true;
        at += 3;
    }
    return false;
}

sail_code sail__tokenizer_index(sail__tokenizer *t, sail_err *err)
{
    SAIL_TRY(sail__table_build(&t->by_text, t->tokens, t->size, err));
    for (int b = 0; b < 256; b++) {
        char name[8];
        int len;
        if (t->byte_level) {
            uint32_t c = sail__byte_char((unsigned char)b);
            len = c < 0x80 ? 1 : 2;
            name[0] = (char)(c < 0x80 ? c : 0xC0 | c >> 6);
            name[1] = (char)(0x80 | (c & 0x3F));
        } else {
            static const char hex[] = "0123456789ABCDEF";
            memcpy(name, "<0x00>", 6);
            name[3] = hex[b >> 4];
            name[4] = hex[b & 15];
            len = 6;
        }
        int32_t id = sail__lookup(&t->by_text, t->tokens, name, (size_t)len);
        t->byte_id[b] = id >= 0 && (t->flags[id] & SAIL__TOKEN_MODEL) ? id : -1;
    }
    t->words_apart = !t->byte_level && !t->ignore_merges && sail__lookup(&t->by_text, t->tokens, mark, 3) >= 0;
    for (int32_t i = 0; i < t->size && t->words_apart; i++)
        if (t->tokens[i].data && (t->flags[i] & SAIL__TOKEN_MODEL))
            t->words_apart = !mark_behind_other(&t->tokens[i]);
    return SAIL_OK;
}

/* Whole pre-tokens are looked up by their bytes; an added token of the same bytes must not hide the model's. */
sail_code sail__tokenizer_index_bytes(sail__tokenizer *t, sail_err *err)
{
    sail__string *own = sail__calloc((size_t)t->size + 1, sizeof *own);
    if (!own)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    for (int32_t i = 0; i < t->size; i++)
        if (t->flags[i] & SAIL__TOKEN_MODEL)
            own[i] = t->bytes[i];
    sail_code code = sail__table_build(&t->by_bytes, own, t->size, err);
    sail__free(own);
    return code;
}

/* ---- what is in it ---- */

static bool known(const sail__tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->size && t->tokens[id].data;
}

int32_t sail__tokenizer_size(const sail__tokenizer *t)
{
    return t->size;
}
int32_t sail__tokenizer_bos(const sail__tokenizer *t)
{
    return t->bos;
}
int32_t sail__tokenizer_eos(const sail__tokenizer *t)
{
    return t->eos;
}
int32_t sail__tokenizer_pad(const sail__tokenizer *t)
{
    return t->pad;
}
int32_t sail__tokenizer_unk(const sail__tokenizer *t)
{
    return t->unk;
}
const char *sail__tokenizer_chat_template(const sail__tokenizer *t)
{
    return t->chat_template;
}
const char *sail__tokenizer_origin(const sail__tokenizer *t)
{
    return t->origin;
}

int32_t sail__tokenizer_id(const sail__tokenizer *t, const char *token)
{
    return sail__lookup(&t->by_text, t->tokens, token, strlen(token));
}

const char *sail__tokenizer_token(const sail__tokenizer *t, int32_t id, size_t *len)
{
    if (!known(t, id))
        return NULL;
    if (len)
        *len = t->tokens[id].len;
    return t->tokens[id].data;
}

const char *sail__tokenizer_bytes(const sail__tokenizer *t, int32_t id, size_t *len)
{
    if (!known(t, id))
        return NULL;
    if (len)
        *len = t->bytes[id].len;
    return t->bytes[id].data;
}

bool sail__tokenizer_is_special(const sail__tokenizer *t, int32_t id)
{
    return known(t, id) && (t->flags[id] & SAIL__TOKEN_SPECIAL);
}

const int32_t *sail__tokenizer_ends(const sail__tokenizer *t, size_t *n)
{
    *n = t->n_ends;
    return t->ends;
}

void sail__tokenizer_free(sail__tokenizer *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n_normal; i++)
        sail__regex_free(&t->normal[i].regex);
    for (size_t i = 0; i < t->n_steps; i++)
        sail__regex_free(&t->steps[i].regex);
    sail__trie_free(&t->raw);
    sail__trie_free(&t->normalized);
    sail__free(t->by_text.slots);
    sail__free(t->by_bytes.slots);
    sail__free(t->merges);
    sail__arena_free(t->arena);
    sail__free(t);
}

/* ---- scratch ---- */

sail__token_scratch *sail__token_scratch_new(const sail__tokenizer *t)
{
    (void)t;
    sail__token_scratch *s = sail__calloc(1, sizeof *s);
    sail_err err = {0};
    if (s && sail__matcher_init(&s->matcher, &err) != SAIL_OK) {
        sail__free(s);
        return NULL;
    }
    return s;
}

void sail__token_scratch_free(sail__token_scratch *s)
{
    if (!s)
        return;
    sail__matcher_free(&s->matcher);
    sail__buf_free(&s->normal[0]);
    sail__buf_free(&s->normal[1]);
    for (int i = 0; i < SAIL__MAX_STEPS; i++)
        sail__buf_free(&s->prefixed[i]);
    sail__free(s->symbols);
    sail__free(s->heap);
    sail__free(s->cache);
    sail__free(s->cache_text);
    sail__free(s->cache_ids);
    sail__free(s);
}

/* ---- encoding ---- */

/* Text between added tokens of the raw text: normalized, searched for those of normalized text, cut and merged. */
static sail_code stretch(const sail__tokenizer *t, sail__token_scratch *s, const char *text, size_t len, bool at_start,
                         unsigned flags, bool has_plain, sail__ids *out, sail_err *err)
{
    const char *normal = text;
    size_t n = len;
    bool continuation = at_start && (flags & SAIL__CONTINUATION);
    if (t->n_normal)
        SAIL_TRY(sail__normalize(t, &s->matcher, text, len, continuation, s->normal, &normal, &n, err));
    /* Spans do not carry over to normalized text: where a stretch has one, none of its special tokens are found here.
     */
    sail__added_search search = {.added = t->added,
                                 .trie = &t->normalized,
                                 .text = normal,
                                 .len = n,
                                 .parse_special = (flags & SAIL__PARSE_SPECIAL) && !has_plain};
    sail__span match;
    int32_t id;
    while (sail__added_next(&search, &match, &id)) {
        if (match.begin > search.done)
            SAIL_TRY(sail__pretokenize(t, s, 0, normal + search.done, match.begin - search.done,
                                       at_start && search.done == 0, continuation && search.done == 0, out, err));
        SAIL_TRY(sail__ids_add(out, &id, 1, err));
        if (match.end > search.done)
            search.done = match.end;
    }
    return sail__pretokenize(t, s, 0, normal + search.done, n - search.done, at_start && search.done == 0,
                             continuation && search.done == 0, out, err);
}

/* Does [begin, end) touch one of the spans? Also moves the list past what lies before it. */
static bool touches(const sail__span **plain, size_t *n, size_t begin, size_t end)
{
    while (*n && (*plain)->end <= begin) {
        ++*plain;
        --*n;
    }
    return *n && (*plain)->begin < end;
}

static sail_code encode(const sail__tokenizer *t, sail__token_scratch *s, const char *text, size_t len, unsigned flags,
                        const sail__span *plain, size_t n_plain, sail__ids *out, sail_err *err)
{
    if (flags & (SAIL__ADD_SPECIAL | SAIL__ADD_PREFIX))
        SAIL_TRY(sail__ids_add(out, t->prefix, t->n_prefix, err));
    sail__added_search search = {.added = t->added,
                                 .trie = &t->raw,
                                 .text = text,
                                 .len = len,
                                 .parse_special = flags & SAIL__PARSE_SPECIAL,
                                 .plain = plain,
                                 .n_plain = n_plain};
    sail__span match;
    int32_t id;
    while (sail__added_next(&search, &match, &id)) {
        if (match.begin > search.done)
            SAIL_TRY(stretch(t, s, text + search.done, match.begin - search.done, search.done == 0, flags,
                             touches(&plain, &n_plain, search.done, match.begin), out, err));
        SAIL_TRY(sail__ids_add(out, &id, 1, err));
        if (match.end > search.done)
            search.done = match.end;
    }
    if (search.done < len)
        SAIL_TRY(stretch(t, s, text + search.done, len - search.done, search.done == 0, flags,
                         touches(&plain, &n_plain, search.done, len), out, err));
    if (flags & SAIL__ADD_SPECIAL)
        SAIL_TRY(sail__ids_add(out, t->suffix, t->n_suffix, err));
    return SAIL_OK;
}

sail_code sail__encode_spans(const sail__tokenizer *t, sail__token_scratch *scratch, const char *text, size_t len,
                             unsigned flags, const sail__span *plain, size_t n_plain, sail__ids *out, sail_err *err)
{
    if (!sail__utf8_valid(text, len)) {
        size_t at = 0;
        uint32_t c;
        for (int n; (n = sail__utf8_next(text + at, len - at, &c)) > 0;)
            at += (size_t)n;
        return sail_fail(err, SAIL_E_PARSE, "text to tokenize is not valid UTF-8 at byte %zu", at);
    }
    sail__token_scratch *own = NULL;
    if (!scratch && !(scratch = own = sail__token_scratch_new(t)))
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    size_t before = out->n;
    sail_code code = encode(t, scratch, text, len, flags, plain, n_plain, out, err);
    if (code)
        out->n = before;
    sail__token_scratch_free(own);
    return code;
}

sail_code sail__encode(const sail__tokenizer *t, sail__token_scratch *scratch, const char *text, size_t len,
                       unsigned flags, sail__ids *out, sail_err *err)
{
    return sail__encode_spans(t, scratch, text, len, flags, NULL, 0, out, err);
}
