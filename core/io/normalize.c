/* normalize.c - the normalizer of a tokenizer: Unicode normal forms, replacements, what is put before or cut off. */
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "tokenizer_impl.h"

bool sail__is_white_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
           c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool sail__is_word(uint32_t c)
{
    if (c < 128)
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
    if (c == 0x200C || c == 0x200D)
        return true; /* joiners */
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    case UTF8PROC_CATEGORY_SO:
        return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
               (c >= 0x1F170 && c <= 0x1F189); /* circled and squared letters: Other_Alphabetic */
    default:
        return false;
    }
}

/* No character below U+0300 changes in NFC; in the other forms none below U+0080. */
static bool unchanged(const char *s, size_t len, unsigned char below)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] >= below)
            return false;
    return true;
}

/* Marks are put in order by utf8proc with neighbour exchanges, in quadratic time; a run longer than this is no text. */
enum { MAX_MARKS = 4096 };

static sail_code normal_form(int form, const char *s, size_t len, sail_buf *out, sail_err *err)
{
    bool composed = (form & UTF8PROC_COMPOSE) && !(form & UTF8PROC_COMPAT);
    size_t marks = 0;
    for (size_t i = 0; i < len;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s + i, (utf8proc_ssize_t)(len - i), &c);
        if (n <= 0)
            return sail_fail(err, SAIL_E_PARSE, "text is not valid UTF-8 at byte %zu", i);
        marks = c >= 0x300 && utf8proc_get_property(c)->combining_class ? marks + 1 : 0;
        if (marks > MAX_MARKS)
            return sail_fail(err, SAIL_E_LIMIT, "text has more than %d combining marks in a row at byte %zu", MAX_MARKS,
                             i);
        i += (size_t)n;
    }
    if (unchanged(s, len, composed ? 0xCC : 0x80)) {
        sail__buf_add(out, s, len);
        return SAIL_OK;
    }
    utf8proc_uint8_t *mapped = NULL;
    utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)len, &mapped,
                                      (utf8proc_option_t)(form | UTF8PROC_STABLE));
    if (n < 0)
        return sail_fail(err, n == UTF8PROC_ERROR_NOMEM ? SAIL_E_NOMEM : SAIL_E_PARSE, "Unicode normalization: %s",
                         utf8proc_errmsg(n));
    sail__buf_add(out, mapped, (size_t)n);
    free(mapped); /* utf8proc uses malloc */
    return SAIL_OK;
}

static sail_code replace(const sail__normal *p, sail__matcher *m, const char *s, size_t len, sail_buf *out,
                         sail_err *err)
{
    size_t at = 0;
    for (;;) {
        bool found;
        sail__span match;
        SAIL_TRY(sail__regex_find(&p->regex, m, s, len, at, &found, &match, err));
        if (!found)
            break;
        sail__buf_add(out, s + at, match.begin - at);
        sail__buf_add(out, p->content, p->content_len);
        at = match.end;
    }
    sail__buf_add(out, s + at, len - at);
    return SAIL_OK;
}

static void strip(const sail__normal *p, const char **s, size_t *len)
{
    uint32_t c;
    int n;
    while (p->left && (n = sail__utf8_next(*s, *len, &c)) > 0 && sail__is_white_space(c)) {
        *s += n;
        *len -= (size_t)n;
    }
    while (p->right && *len > 0) {
        size_t i = *len - 1;
        while (i > 0 && ((unsigned char)(*s)[i] & 0xC0) == 0x80)
            i--;
        if (sail__utf8_next(*s + i, *len - i, &c) <= 0 || !sail__is_white_space(c))
            break;
        *len = i;
    }
}

sail_code sail__normalize(const sail__tokenizer *t, sail__matcher *m, const char *s, size_t len, bool continuation,
                          sail_buf out[2], const char **result, size_t *n, sail_err *err)
{
    int turn = 0;
    for (size_t i = 0; i < t->n_normal && len > 0; i++) {
        const sail__normal *p = &t->normal[i];
        if (p->kind == SAIL__NORMAL_STRIP) {
            strip(p, &s, &len);
            continue;
        }
        if (p->kind == SAIL__NORMAL_PREPEND && continuation)
            continue;
        if (p->kind == SAIL__NORMAL_FORM && unchanged(s, len, 0x80))
            continue;
        sail_buf *buf = &out[turn];
        buf->len = 0;
        if (p->kind == SAIL__NORMAL_PREPEND) {
            sail__buf_add(buf, p->content, p->content_len);
            sail__buf_add(buf, s, len);
        } else if (p->kind == SAIL__NORMAL_REPLACE) {
            SAIL_TRY(replace(p, m, s, len, buf, err));
        } else {
            SAIL_TRY(normal_form(p->form, s, len, buf, err));
        }
        if (buf->oom)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        s = buf->data ? buf->data : "";
        len = buf->len;
        turn ^= 1;
    }
    *result = s;
    *n = len;
    return SAIL_OK;
}
