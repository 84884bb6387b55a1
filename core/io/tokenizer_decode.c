/* tokenizer_decode.c - ids to text, whole and token by token. */
#include <string.h>

#include "tokenizer_impl.h"

/* ---- what each token adds ---- */

/* Characters of the byte alphabet to bytes, if all are in it. Returns the length, or -1. */
static int64_t to_bytes(const sail__string *s, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s->len;) {
        uint32_t c;
        int used = sail__utf8_next(s->data + i, s->len - i, &c);
        int b = used > 0 ? sail__char_byte(c) : -1;
        if (b < 0)
            return -1;
        out[n++] = (char)b;
        i += (size_t)used;
    }
    return (int64_t)n;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

static void replaced(const sail__string *s, const char *const pair[2], sail_buf *out)
{
    size_t from = strlen(pair[0]), to = strlen(pair[1]);
    for (size_t i = 0; i < s->len;) {
        if (from && i + from <= s->len && memcmp(s->data + i, pair[0], from) == 0) {
            sail__buf_add(out, pair[1], to);
            i += from;
        } else {
            sail__buf_add(out, s->data + i++, 1);
        }
    }
}

sail_code sail__tokenizer_decoded(sail__tokenizer *t, const char *const (*replace)[2], size_t n_replace, sail_err *err)
{
    t->bytes = sail__arena_array(t->arena, (size_t)t->size, sizeof *t->bytes);
    if (t->size && !t->bytes)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    size_t total = 0;
    if (t->size)
        memcpy(t->bytes, t->tokens, (size_t)t->size * sizeof *t->bytes);
    /* An added token that is searched in normalized text is shown as it looks there. */
    for (size_t i = 0; i < t->n_added; i++)
        if (t->added[i].normalized)
            t->bytes[t->added[i].id] = (sail__string){t->added[i].content, (uint32_t)t->added[i].len};
    for (int32_t i = 0; i < t->size; i++)
        total += t->bytes[i].data ? t->bytes[i].len + 1 : 0;
    char *room = t->decoder == SAIL__DECODE_BYTE_LEVEL ? sail__arena_alloc(t->arena, total + 1) : NULL;
    sail_buf buf[2] = {{0}, {0}};
    bool oom = t->decoder == SAIL__DECODE_BYTE_LEVEL && !room;
    for (int32_t i = 0; i < t->size && !oom; i++) {
        const sail__string source = t->bytes[i], *s = &source;
        if (!s->data)
            continue;
        if (t->decoder == SAIL__DECODE_BYTE_LEVEL) {
            int64_t n = to_bytes(s, room);
            if (n >= 0) {
                t->bytes[i] = (sail__string){room, (uint32_t)n};
                room += n;
                *room++ = '\0';
            }
            continue;
        }
        for (size_t r = 0; r < n_replace && !oom; r++) {
            sail_buf *b = &buf[r & 1];
            b->len = 0;
            replaced(&t->bytes[i], replace[r], b);
            oom = b->oom;
            t->bytes[i] = (sail__string){b->data ? b->data : "", (uint32_t)b->len};
        }
        sail__string *d = &t->bytes[i];
        if (t->decode_bytes && d->len == 6 && memcmp(d->data, "<0x", 3) == 0 && d->data[5] == '>' &&
            hex(d->data[3]) >= 0 && hex(d->data[4]) >= 0) {
            char b = (char)(hex(d->data[3]) * 16 + hex(d->data[4]));
            t->flags[i] |= SAIL__TOKEN_BYTE;
            d->data = sail__arena_strndup(t->arena, &b, 1);
            d->len = 1;
            oom |= !d->data;
        } else if (d->data != s->data) {
            bool same = d->len == s->len && memcmp(d->data, s->data, s->len) == 0;
            d->data = same ? s->data : sail__arena_strndup(t->arena, d->data, d->len);
            oom |= !d->data;
        }
    }
    sail__buf_free(&buf[0]);
    sail__buf_free(&buf[1]);
    if (oom)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    return SAIL_OK;
}

/* ---- UTF-8, byte by byte ---- */

static const char broken[] = "\xEF\xBF\xBD";

/* May b follow the n bytes held (a lead byte among them)? */
static bool follows(const unsigned char *held, int n, unsigned char b)
{
    if (n > 1)
        return (b & 0xC0) == 0x80;
    switch (held[0]) {
    case 0xE0:
        return b >= 0xA0 && b <= 0xBF;
    case 0xED:
        return b >= 0x80 && b <= 0x9F;
    case 0xF0:
        return b >= 0x90 && b <= 0xBF;
    case 0xF4:
        return b >= 0x80 && b <= 0x8F;
    default:
        return (b & 0xC0) == 0x80;
    }
}

static int length_of(unsigned char lead)
{
    return lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
}

static void feed(sail__text_stream *s, const char *bytes, size_t n, sail_buf *out)
{
    for (size_t i = 0; i < n;) {
        unsigned char b = (unsigned char)bytes[i];
        if (s->n_held) {
            if (!follows(s->held, s->n_held, b)) {
                sail__buf_add(out, broken, 3);
                s->n_held = 0;
                continue; /* b begins anew */
            }
            s->held[s->n_held++] = b;
            if (s->n_held == length_of(s->held[0])) {
                sail__buf_add(out, s->held, (size_t)s->n_held);
                s->n_held = 0;
            }
            i++;
        } else if (b < 0x80) {
            size_t run = i + 1;
            while (run < n && (unsigned char)bytes[run] < 0x80)
                run++;
            sail__buf_add(out, bytes + i, run - i);
            i = run;
        } else {
            if (b >= 0xC2 && b <= 0xF4)
                s->held[s->n_held++] = b;
            else
                sail__buf_add(out, broken, 3);
            i++;
        }
    }
}

void sail__stream_push(sail__text_stream *s, int32_t id, sail_buf *out)
{
    size_t n;
    const char *bytes = sail__tokenizer_bytes(s->tokenizer, id, &n);
    if (bytes && !((s->flags & SAIL__SKIP_SPECIAL) && sail__tokenizer_is_special(s->tokenizer, id)))
        feed(s, bytes, n, out);
}

void sail__stream_flush(sail__text_stream *s, sail_buf *out)
{
    if (s->n_held)
        sail__buf_add(out, broken, 3);
    s->n_held = 0;
}

/* ---- a whole sequence ---- */

static bool shown(const sail__tokenizer *t, int32_t id, unsigned flags)
{
    return sail__tokenizer_bytes(t, id, NULL) &&
           !((flags & SAIL__SKIP_SPECIAL) && (t->flags[id] & SAIL__TOKEN_SPECIAL));
}

/* SentencePiece form: a run of byte tokens is text where all of it is, and one U+FFFD for each byte where not. */
static sail_code pieces(const sail__tokenizer *t, const int32_t *ids, size_t n, unsigned flags, sail_buf *out,
                        sail_err *err)
{
    size_t start = out->len;
    sail_buf run = {0};
    for (size_t i = 0; i <= n; i++) {
        if (i < n && !shown(t, ids[i], flags))
            continue;
        if (i < n && (t->flags[ids[i]] & SAIL__TOKEN_BYTE)) {
            sail__buf_add(&run, t->bytes[ids[i]].data, 1);
            continue;
        }
        if (run.len && sail__utf8_valid(run.data, run.len)) {
            sail__buf_add(out, run.data, run.len);
        } else {
            for (size_t j = 0; j < run.len; j++)
                sail__buf_add(out, broken, 3);
        }
        run.len = 0;
        if (i < n)
            sail__buf_add(out, t->bytes[ids[i]].data, t->bytes[ids[i]].len);
    }
    bool oom = run.oom || out->oom;
    sail__buf_free(&run);
    if (oom)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (flags & SAIL__DECODE_CONTINUATION)
        return SAIL_OK;
    size_t cut = 0;
    while (cut < t->strip && start + cut < out->len && out->data[start + cut] == t->strip_char)
        cut++;
    if (cut) {
        memmove(out->data + start, out->data + start + cut, out->len - start - cut);
        out->len -= cut;
    }
    for (size_t i = 0; i < t->strip_end && out->len > start && out->data[out->len - 1] == t->strip_char; i++)
        out->len--;
    if (out->data)
        out->data[out->len] = '\0';
    return SAIL_OK;
}

sail_code sail__decode(const sail__tokenizer *t, const int32_t *ids, size_t n, unsigned flags, sail_buf *out,
                       sail_err *err)
{
    if (t->decoder == SAIL__DECODE_PIECES)
        return pieces(t, ids, n, flags, out, err);
    sail__text_stream s = {.tokenizer = t, .flags = flags};
    bool first = true;
    for (size_t i = 0; i < n; i++) {
        if (!shown(t, ids[i], flags))
            continue;
        const char *bytes = t->bytes[ids[i]].data;
        size_t len = t->bytes[ids[i]].len;
        if (!first && t->decoder == SAIL__DECODE_JOIN)
            feed(&s, " ", 1, out);
        if (first && t->decoder == SAIL__DECODE_METASPACE && t->drop_first && !(flags & SAIL__DECODE_CONTINUATION)) {
            for (size_t j = 0; j < len; j++)
                if (bytes[j] != ' ')
                    feed(&s, bytes + j, 1, out);
        } else {
            feed(&s, bytes, len, out);
        }
        first = false;
    }
    sail__stream_flush(&s, out);
    return out->oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : SAIL_OK;
}

bool sail__token_ends(const sail__tokenizer *t, const int32_t *ids, size_t n, unsigned flags, const char *text, uint32_t *ends)
{
    sail__text_stream s = {.tokenizer = t, .flags = flags & SAIL__SKIP_SPECIAL};
    sail_buf b = {0};
    for (size_t i = 0; i < n; i++) {
        sail__stream_push(&s, ids[i], &b);
        if (i + 1 == n)
            sail__stream_flush(&s, &b);
        ends[i] = (uint32_t)b.len;
    }
    const bool same = !b.oom && b.len < UINT32_MAX && strlen(text) == b.len && !memcmp(text, b.data ? b.data : "", b.len);
    sail__buf_free(&b);
    return same;
}
