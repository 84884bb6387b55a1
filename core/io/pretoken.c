/* pretoken.c - patterns as tokenizer.json writes them, and the cutting of a text into pre-tokens. */
#include <string.h>

#include "tokenizer_impl.h"

/* ---- patterns ---- */

/* The files are written for Oniguruma and Rust, where \s is Unicode's White_Space (PCRE2's has U+180E, too) and \w
 * holds marks and connectors: both are spelled out. Class intersection has no equal here. */
static sail_code translate(const char *s, size_t len, const char *where, sail_buf *out, sail_err *err)
{
    bool in_class = false;
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '\\' && i + 1 < len) {
            char c = s[++i];
            const char *as = NULL;
            if (c == 's')
                as = "\\p{White_Space}";
            else if (c == 'S')
                as = "\\P{White_Space}";
            else if (c == 'w')
                as = in_class ? "\\p{L}\\p{M}\\p{N}\\p{Pc}" : "[\\p{L}\\p{M}\\p{N}\\p{Pc}]";
            else if (c == 'W' && !in_class)
                as = "[^\\p{L}\\p{M}\\p{N}\\p{Pc}]";
            else if (c == 'W')
                return sail_fail(err, SAIL_E_FORMAT, "%s: pattern '%.*s': \\W inside a class is not supported", where,
                                 (int)(len > 200 ? 200 : len), s);
            if (as) {
                sail__buf_str(out, as);
            } else {
                sail__buf_add(out, s + i - 1, 2);
            }
            continue;
        }
        if (!in_class && s[i] == '[') {
            in_class = true;
            if (i + 2 < len && s[i + 1] == '^' && s[i + 2] == ']') {
                sail__buf_str(out, "[^\\]");
                i += 2;
                continue;
            }
            if (i + 1 < len && s[i + 1] == ']') {
                sail__buf_str(out, "[\\]");
                i++;
                continue;
            }
        } else if (in_class && s[i] == ']') {
            in_class = false;
        } else if (in_class && ((s[i] == '&' && i + 1 < len && s[i + 1] == '&') ||
                                (s[i] == '[' && i + 1 < len && s[i + 1] != ':'))) {
            return sail_fail(err, SAIL_E_FORMAT, "%s: pattern '%.*s': '%.2s' inside a class is not supported", where,
                             (int)(len > 200 ? 200 : len), s, s + i);
        } else if (in_class && s[i] == '[') { /* [:name:] */
            const char *end = memchr(s + i, ']', len - i);
            size_t n = end ? (size_t)(end - (s + i)) + 1 : 1;
            sail__buf_add(out, s + i, n);
            i += n - 1;
            continue;
        }
        sail__buf_add(out, s + i, 1);
    }
    return out->oom ? sail_fail(err, SAIL_E_NOMEM, "out of memory") : SAIL_OK;
}

sail_code sail__regex_compile(sail_arena *a, const char *source, size_t len, bool literal, const char *where,
                              sail__regex *out, sail_err *err)
{
    memset(out, 0, sizeof *out);
    out->source = sail__arena_strndup(a, source, len);
    if (!out->source)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (len > 65536)
        return sail_fail(err, SAIL_E_LIMIT, "%s: a pattern of %zu bytes; the limit is 65536", where, len);
    sail_buf text = {0};
    if (!literal) {
        sail_code code = translate(source, len, where, &text, err);
        if (code) {
            sail__buf_free(&text);
            return code;
        }
    }
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    int error = 0;
    PCRE2_SIZE at = 0;
    if (context) {
        pcre2_set_parens_nest_limit(context, 100);
        out->code =
            pcre2_compile((PCRE2_SPTR)(literal     ? source
                                       : text.data ? text.data
                                                   : ""),
                          literal ? len : text.len, PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_MULTILINE),
                          &error, &at, context);
        pcre2_compile_context_free(context);
    }
    sail__buf_free(&text);
    if (!out->code) {
        char message[128] = "out of memory";
        if (context)
            pcre2_get_error_message(error, (PCRE2_UCHAR *)message, sizeof message);
        return sail_fail(err, SAIL_E_FORMAT, "%s: pattern '%.300s' cannot be used: %s (near byte %zu)", where,
                         out->source, message, (size_t)at);
    }
    out->jit = pcre2_jit_compile(out->code, PCRE2_JIT_COMPLETE) == 0;
    return SAIL_OK;
}

void sail__regex_free(sail__regex *r)
{
    pcre2_code_free(r->code);
    r->code = NULL;
}

sail_code sail__matcher_init(sail__matcher *m, sail_err *err)
{
    m->data = pcre2_match_data_create(1, NULL);
    m->context = pcre2_match_context_create(NULL);
    m->stack = pcre2_jit_stack_create(32 * 1024, 1024 * 1024, NULL); /* NULL where there is no JIT */
    if (!m->data || !m->context) {
        sail__matcher_free(m);
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    }
    /* A pattern that goes astray ends with an error instead of running for hours. Sound ones stay far below. */
    pcre2_set_match_limit(m->context, 50 * 1000 * 1000);
    pcre2_set_heap_limit(m->context, 64 * 1024); /* KiB */
    if (m->stack)
        pcre2_jit_stack_assign(m->context, NULL, m->stack);
    return SAIL_OK;
}

void sail__matcher_free(sail__matcher *m)
{
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    pcre2_jit_stack_free(m->stack);
    memset(m, 0, sizeof *m);
}

sail_code sail__regex_find(const sail__regex *r, sail__matcher *m, const char *s, size_t len, size_t from, bool *found,
                           sail__span *match, sail_err *err)
{
    *found = false;
    while (from < len) {
        int rc;
        if (r->jit) {
            rc = pcre2_jit_match(r->code, (PCRE2_SPTR)s, len, from, 0, m->data, m->context);
            if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
                rc = pcre2_match(r->code, (PCRE2_SPTR)s, len, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, m->data,
                                 m->context);
        } else {
            rc = pcre2_match(r->code, (PCRE2_SPTR)s, len, from, PCRE2_NO_UTF_CHECK, m->data, m->context);
        }
        if (rc == PCRE2_ERROR_NOMATCH)
            return SAIL_OK;
        if (rc < 0) {
            char message[128] = "";
            pcre2_get_error_message(rc, (PCRE2_UCHAR *)message, sizeof message);
            return sail_fail(err, SAIL_E_LIMIT, "tokenizer pattern '%.300s' failed on a text of %zu bytes: %s",
                             r->source, len, message);
        }
        const PCRE2_SIZE *v = pcre2_get_ovector_pointer(m->data);
        if (v[1] > v[0] && v[0] >= from) {
            *found = true;
            *match = (sail__span){v[0], v[1]};
            return SAIL_OK;
        }
        /* An empty match says nothing; go on one character later. */
        from = v[1] > from ? v[1] : from;
        from++;
        while (from < len && ((unsigned char)s[from] & 0xC0) == 0x80)
            from++;
    }
    return SAIL_OK;
}

/* ---- steps ---- */

/* Where the pieces of a split go: the following steps. */
typedef struct splitter {
    const sail__tokenizer *t;
    sail__token_scratch *s;
    size_t next;
    const char *text;
    bool at_start, continuation;
    sail__ids *out;
    sail_err *err;
    /* the piece that may still grow */
    bool pending, flag;
    sail__span span;
} splitter;

static sail_code emit(splitter *p)
{
    if (!p->pending || p->span.begin == p->span.end)
        return SAIL_OK;
    p->pending = false;
    return sail__pretokenize(p->t, p->s, p->next, p->text + p->span.begin, p->span.end - p->span.begin,
                             p->at_start && p->span.begin == 0, p->continuation && p->span.begin == 0, p->out, p->err);
}

/* A stretch that matched or not: by the behaviour it stands alone, goes, or joins its neighbour. */
static sail_code add(splitter *p, const sail__step *step, size_t begin, size_t end, bool match)
{
    if (begin == end)
        return SAIL_OK;
    match ^= step->invert;
    bool join = false;
    switch (step->behavior) {
    case SAIL__REMOVED:
        if (match)
            return SAIL_OK;
        break;
    case SAIL__ISOLATED:
        break;
    case SAIL__MERGED_PREVIOUS:
        join = p->pending && match && !p->flag;
        break;
    case SAIL__MERGED_NEXT:
        join = p->pending && p->flag && !match;
        break;
    case SAIL__CONTIGUOUS:
        join = p->pending && p->flag == match;
        break;
    }
    if (join) {
        p->span.end = end;
    } else {
        SAIL_TRY(emit(p));
        p->pending = true;
        p->span = (sail__span){begin, end};
    }
    p->flag = match;
    return SAIL_OK;
}

static sail_code split(splitter *p, const sail__step *step, size_t len)
{
    size_t at = 0;
    for (;;) {
        bool found;
        sail__span m;
        SAIL_TRY(sail__regex_find(&step->regex, &p->s->matcher, p->text, len, at, &found, &m, p->err));
        if (!found)
            break;
        SAIL_TRY(add(p, step, at, m.begin, false));
        SAIL_TRY(add(p, step, m.begin, m.end, true));
        at = m.end;
    }
    SAIL_TRY(add(p, step, at, len, false));
    return emit(p);
}

/* Every space becomes the mark, and one is put before the text where the scheme says so. */
static void metaspace(const sail__step *step, const char *text, size_t len, bool at_start, bool continuation,
                      sail_buf *out)
{
    size_t mark = strlen(step->replacement);
    bool starts = len > 0 && (text[0] == ' ' || (len >= mark && memcmp(text, step->replacement, mark) == 0));
    bool wanted = step->prepend == SAIL__PREPEND_ALWAYS || (step->prepend == SAIL__PREPEND_FIRST && at_start);
    if (wanted && !starts && !continuation)
        sail__buf_add(out, step->replacement, mark);
    for (size_t i = 0; i < len;) {
        const char *space = memchr(text + i, ' ', len - i);
        size_t n = space ? (size_t)(space - text) - i : len - i;
        sail__buf_add(out, text + i, n);
        i += n;
        if (space) {
            sail__buf_add(out, step->replacement, mark);
            i++;
        }
    }
}

/* SentencePiece text is one piece, but words can be merged apart where no token reaches from one into the next. */
static sail_code words(const sail__tokenizer *t, sail__token_scratch *s, const char *text, size_t len, sail__ids *out,
                       sail_err *err)
{
    static const char mark[] = "\xE2\x96\x81";
    size_t begin = 0, at = 0;
    while (t->words_apart && at < len) {
        const char *next = memmem(text + at, len - at, mark, 3);
        if (!next)
            break;
        size_t here = (size_t)(next - text);
        if (here > at && here > begin) { /* a character that is no mark stands before it */
            SAIL_TRY(sail__bpe(t, s, text + begin, here - begin, out, err));
            begin = here;
        }
        at = here + 3;
    }
    return sail__bpe(t, s, text + begin, len - begin, out, err);
}

sail_code sail__pretokenize(const sail__tokenizer *t, sail__token_scratch *s, size_t step, const char *text, size_t len,
                            bool at_start, bool continuation, sail__ids *out, sail_err *err)
{
    for (; step < t->n_steps && len > 0; step++) {
        const sail__step *p = &t->steps[step];
        if (p->kind == SAIL__STEP_SPLIT) {
            splitter state = {t, s, step + 1, text, at_start, continuation, out, err, .pending = false};
            return split(&state, p, len);
        }
        sail_buf *buf = &s->prefixed[step];
        if (p->kind == SAIL__STEP_PREFIX_SPACE && (text[0] == ' ' || continuation))
            continue;
        buf->len = 0;
        if (p->kind == SAIL__STEP_PREFIX_SPACE) {
            sail__buf_add(buf, " ", 1);
            sail__buf_add(buf, text, len);
        } else {
            metaspace(p, text, len, at_start, continuation, buf);
        }
        if (buf->oom)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        text = buf->data;
        len = buf->len;
    }
    return len ? words(t, s, text, len, out, err) : SAIL_OK;
}
