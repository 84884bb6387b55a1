/* jinja_lex.c - the text of a template to tokens, white space of tags taken off as their signs, trim_blocks and lstrip_blocks
 * say. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <utf8proc.h>

#include "jinja_impl.h"

typedef struct lexer {
    sail__jparser *p;
    char *s; /* line ends are \n */
    size_t n, at;
    int line;
    bool line_start; /* what stands before `at` ended with a newline, or the text begins there */
    char open[128];  /* brackets of the tag that is read */
    int n_open;
} lexer;

static bool failed(const lexer *l)
{
    return l->p->failed;
}

void sail__jsyntax(sail__jparser *p, int line, const char *fmt, ...)
{
    if (p->failed)
        return;
    p->failed = true;
    char text[sizeof p->fault->message];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (p->fault) {
        p->fault->kind = SAIL__JINJA_SYNTAX;
        p->fault->line = line;
        memcpy(p->fault->message, text, sizeof text);
    }
    sail_fail(p->err, SAIL_E_FORMAT, "%s:%d: %s", p->t->origin, line, text);
    p->at = p->n ? p->n - 1 : 0;
}

void sail__jnomem(sail__jparser *p)
{
    if (p->failed)
        return;
    p->failed = true;
    sail_fail(p->err, SAIL_E_NOMEM, "%s: no memory for the template", p->t->origin);
    p->at = p->n ? p->n - 1 : 0;
}

void *sail__jp_alloc(sail__jparser *p, size_t count, size_t size)
{
    void *m = sail__arena_array(p->t->arena, count, size);
    if (!m)
        sail__jnomem(p);
    return m;
}

static sail__jtoken *push(lexer *l, sail__jtoken_kind kind, const char *s, size_t n)
{
    sail__jparser *p = l->p;
    if (sail__grow(&p->tokens, &p->cap, p->n + 1, sizeof *p->tokens, p->err) != SAIL_OK) {
        p->failed = true;
        return NULL;
    }
    p->tokens[p->n] = (sail__jtoken){.kind = kind, .line = l->line, .p = s, .n = n};
    return &p->tokens[p->n++];
}

/* `at` moves to `to`; lines are counted. */
static void go(lexer *l, size_t to)
{
    for (size_t i = l->at; i < to; i++)
        l->line += l->s[i] == '\n';
    l->line_start = to > l->at && l->s[to - 1] == '\n';
    l->at = to;
}

static bool starts(const lexer *l, size_t at, const char *with)
{
    size_t n = strlen(with);
    return l->n - at >= n && memcmp(l->s + at, with, n) == 0;
}

static size_t skip_space(const lexer *l, size_t at)
{
    uint32_t c;
    for (int n; (n = sail__utf8_next(l->s + at, l->n - at, &c)) > 0 && sail__jspace(c);)
        at += (size_t)n;
    return at;
}

static size_t back_space(const lexer *l, size_t from, size_t to)
{
    while (to > from) {
        size_t i = to - 1;
        while (i > from && ((unsigned char)l->s[i] & 0xC0) == 0x80)
            i--;
        uint32_t c;
        if (sail__utf8_next(l->s + i, l->n - i, &c) <= 0 || !sail__jspace(c))
            break;
        to = i;
    }
    return to;
}

/* The text from `at` to a tag at `to`, as the tag's sign leaves it. */
static void data(lexer *l, size_t to, char sign, bool may_strip)
{
    size_t from = l->at, end = to;
    if (sign == '-') {
        end = back_space(l, from, end);
    } else if (sign != '+' && may_strip) {
        size_t start = end;
        while (start > from && l->s[start - 1] != '\n')
            start--;
        if ((start > from || l->line_start) && back_space(l, start, end) == start)
            end = start;
    }
    if (end > from)
        push(l, SAIL__JT_DATA, l->s + from, end - from);
}

/* Behind an end of a tag at `at` ("%}", "-%}", "+%}"); 0: none stands there. */
static size_t tag_end(const lexer *l, size_t at, const char *close, bool trim, bool plus)
{
    if (at < l->n && l->s[at] == '-' && starts(l, at + 1, close))
        return skip_space(l, at + 1 + 2);
    if (plus && at < l->n && l->s[at] == '+' && starts(l, at + 1, close))
        return at + 1 + 2;
    if (!starts(l, at, close))
        return 0;
    at += 2;
    return trim && at < l->n && l->s[at] == '\n' ? at + 1 : at;
}

static char sign_at(const lexer *l, size_t at)
{
    return at < l->n && (l->s[at] == '-' || l->s[at] == '+') ? l->s[at] : 0;
}

/* Does "{% NAME %}" stand at `at`? Where it ends, or 0. */
static size_t word_tag(const lexer *l, size_t at, const char *name, bool trim, bool plus)
{
    size_t i = at + 2;
    i = skip_space(l, sign_at(l, i) ? i + 1 : i);
    if (!starts(l, i, name))
        return 0;
    return tag_end(l, skip_space(l, i + strlen(name)), "%}", trim, plus);
}

static void comment(lexer *l)
{
    for (size_t i = l->at + 2; i < l->n; i++) {
        size_t end = tag_end(l, i, "#}", true, true);
        if (end) {
            go(l, end);
            return;
        }
    }
    sail__jsyntax(l->p, l->line, "Missing end of comment tag");
}

static void raw(lexer *l, size_t begin)
{
    go(l, begin);
    for (size_t i = l->at; i + 1 < l->n; i++) {
        size_t end = l->s[i] == '{' && l->s[i + 1] == '%' ? word_tag(l, i, "endraw", true, true) : 0;
        if (end) {
            data(l, i, sign_at(l, i + 2), true);
            go(l, end);
            return;
        }
    }
    sail__jsyntax(l->p, l->line, "Missing end of raw directive");
}

/* ---- inside a tag ---- */

static int digit(char c, int base)
{
    int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
    return d < base ? d : -1;
}

/* Digits with single underscores between them; where they end. */
static size_t digits(const lexer *l, size_t at, int base)
{
    size_t end = at;
    while (end < l->n) {
        size_t i = end > at && l->s[end] == '_' ? end + 1 : end;
        if (i >= l->n || digit(l->s[i], base) < 0)
            break;
        end = i + 1;
    }
    return end;
}

static void integer(lexer *l, size_t from, size_t to, int base)
{
    sail__jint v = 0;
    for (size_t i = from; i < to; i++) {
        if (l->s[i] == '_')
            continue;
        if (v > ((sail__jint)1 << 122)) {
            sail__jsyntax(l->p, l->line, "the number %.40s… is too large", l->s + from);
            return;
        }
        v = v * base + digit(l->s[i], base);
    }
    sail__jtoken *t = push(l, SAIL__JT_INT, l->s + l->at, to - l->at);
    if (t)
        t->integer = v;
    go(l, to);
}

static void number(lexer *l)
{
    size_t at = l->at;
    char next = at + 1 < l->n ? (char)(l->s[at + 1] | 0x20) : 0;
    int base = l->s[at] == '0' ? (next == 'x' ? 16 : next == 'o' ? 8 : next == 'b' ? 2 : 10) : 10;
    if (base != 10) {
        size_t from = at + 2 < l->n && l->s[at + 2] == '_' ? at + 3 : at + 2, end = digits(l, from, base);
        if (end > from) {
            integer(l, from, end, base);
            return;
        }
    }
    size_t end = digits(l, at, 10), whole = end;
    if (!(at && l->s[at - 1] == '.')) {
        if (end + 1 < l->n && l->s[end] == '.' && digit(l->s[end + 1], 10) >= 0)
            end = digits(l, end + 1, 10);
        if (end < l->n && (l->s[end] | 0x20) == 'e') {
            size_t e = end + 1;
            if (e < l->n && (l->s[e] == '+' || l->s[e] == '-'))
                e++;
            if (digits(l, e, 10) > e)
                end = digits(l, e, 10);
        }
    }
    if (end == whole) {
        if (l->s[at] == '0') /* 0 and 00 are numbers, 07 is two of them */
            for (end = at; end < whole && (l->s[end] == '0' || l->s[end] == '_');)
                end++;
        integer(l, at, end, 10);
        return;
    }
    char text[64];
    size_t n = 0;
    for (size_t i = at; i < end; i++) {
        if (l->s[i] != '_' && n == sizeof text - 1) {
            sail__jsyntax(l->p, l->line, "the number %.40s… is too long", l->s + at);
            return;
        }
        if (l->s[i] != '_')
            text[n++] = l->s[i];
    }
    text[n] = '\0';
    sail__jtoken *t = push(l, SAIL__JT_FLOAT, l->s + at, end - at);
    if (t)
        t->number = strtod(text, NULL);
    go(l, end);
}

static size_t put_character(char *to, uint32_t c)
{
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)to);
}

/* "\x41" and its like at s[*i], behind the x. */
static bool hex_escape(lexer *l, const char *s, size_t n, size_t *i, size_t want, char *out, size_t *used)
{
    uint32_t c = 0;
    for (size_t k = 0; k < want; k++) {
        if (*i >= n || digit(s[*i], 16) < 0) {
            sail__jsyntax(l->p, l->line, "a string has an escape with too few hexadecimal digits");
            return false;
        }
        c = c << 4 | (uint32_t)digit(s[(*i)++], 16);
    }
    if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) {
        sail__jsyntax(l->p, l->line, "a string has an escape of U+%04X, which is no character", (unsigned)c);
        return false;
    }
    *used += put_character(out + *used, c);
    return true;
}

static void string(lexer *l)
{
    char quote = l->s[l->at];
    size_t end = l->at + 1;
    while (end < l->n && l->s[end] != quote)
        end += l->s[end] == '\\' ? 2 : 1;
    if (end >= l->n) {
        sail__jsyntax(l->p, l->line, "unexpected char \"%c\" at %zu: the string is not closed", quote, l->at);
        return;
    }
    const char *s = l->s + l->at + 1;
    size_t n = end - l->at - 1, used = 0;
    char *out = sail__jp_alloc(l->p, n + 4, 1);
    for (size_t i = 0; i < n && !failed(l);) {
        char c = s[i++];
        if (c != '\\') {
            out[used++] = c;
            continue;
        }
        static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
        c = s[i++];
        const char *simple = c ? strchr(from, c) : NULL;
        if (simple) {
            out[used++] = to[simple - from];
        } else if (c == 'x' || c == 'u' || c == 'U') {
            hex_escape(l, s, n, &i, c == 'x' ? 2 : c == 'u' ? 4 : 8, out, &used);
        } else if (c >= '0' && c <= '7') {
            uint32_t v = (uint32_t)(c - '0');
            for (int k = 0; k < 2 && i < n && s[i] >= '0' && s[i] <= '7'; k++)
                v = v << 3 | (uint32_t)(s[i++] - '0');
            used += put_character(out + used, v);
        } else if (c != '\n') {
            out[used++] = '\\';
            out[used++] = c;
        }
    }
    push(l, SAIL__JT_STRING, out, used);
    go(l, end + 1);
}

static bool name_part(uint32_t c, bool first)
{
    if (c < 128)
        return c == '_' || (c | 0x20) - 'a' < 26u || (!first && c - '0' < 10u);
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    bool letter = (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) || k == UTF8PROC_CATEGORY_NL;
    return letter || (!first && (k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_ND ||
                                 k == UTF8PROC_CATEGORY_PC));
}

static bool name(lexer *l)
{
    size_t end = l->at;
    uint32_t c;
    for (int n; (n = sail__utf8_next(l->s + end, l->n - end, &c)) > 0 && name_part(c, end == l->at);)
        end += (size_t)n;
    if (end == l->at)
        return false;
    push(l, SAIL__JT_NAME, l->s + l->at, end - l->at);
    go(l, end);
    return true;
}

static void operator(lexer *l)
{
    static const char *const known[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
                                        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!starts(l, l->at, known[i]))
            continue;
        char c = *known[i];
        if (c == '(' || c == '[' || c == '{') {
            if (l->n_open == (int)sizeof l->open) {
                sail__jsyntax(l->p, l->line, "brackets are nested too deeply");
                return;
            }
            l->open[l->n_open++] = c == '(' ? ')' : c == '[' ? ']' : '}';
        } else if (c == ')' || c == ']' || c == '}') {
            if (!l->n_open || l->open[l->n_open - 1] != c) {
                if (l->n_open)
                    sail__jsyntax(l->p, l->line, "unexpected '%c', expected '%c'", c, l->open[l->n_open - 1]);
                else
                    sail__jsyntax(l->p, l->line, "unexpected '%c'", c);
                return;
            }
            l->n_open--;
        }
        push(l, SAIL__JT_OP, known[i], strlen(known[i]));
        go(l, l->at + strlen(known[i]));
        return;
    }
    sail__jsyntax(l->p, l->line, "unexpected char '%c' at %zu", l->s[l->at], l->at);
}

/* A tag from behind its opening on. */
static void tag(lexer *l, bool print)
{
    l->n_open = 0;
    while (!failed(l)) {
        go(l, skip_space(l, l->at));
        if (l->at >= l->n) /* the parser says what is missing */
            return;
        size_t end = l->n_open ? 0 : tag_end(l, l->at, print ? "}}" : "%}", !print, !print);
        if (end) {
            push(l, print ? SAIL__JT_PRINT_END : SAIL__JT_BLOCK_END, l->s + l->at, 2);
            go(l, end);
            return;
        }
        char c = l->s[l->at];
        if (c >= '0' && c <= '9')
            number(l);
        else if (c == '"' || c == '\'')
            string(l);
        else if (!name(l))
            operator(l);
    }
}

/* \r\n and \r become \n, and one newline at the end goes. */
static void lines(lexer *l, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\r' && i + 1 < len && text[i + 1] == '\n')
            continue;
        l->s[l->n++] = text[i] == '\r' ? '\n' : text[i];
    }
    if (l->n && l->s[l->n - 1] == '\n')
        l->n--;
    l->s[l->n] = '\0';
}

void sail__jlex(sail__jparser *p, const char *text, size_t len)
{
    lexer l = {.p = p, .line = 1, .line_start = true, .s = sail__jp_alloc(p, len + 1, 1)};
    if (failed(&l))
        return;
    lines(&l, text, len);
    while (!failed(&l) && l.at < l.n) {
        size_t i = l.at;
        while (i + 1 < l.n && !(l.s[i] == '{' && (l.s[i + 1] == '{' || l.s[i + 1] == '%' || l.s[i + 1] == '#')))
            i++;
        if (i + 1 >= l.n) {
            push(&l, SAIL__JT_DATA, l.s + l.at, l.n - l.at);
            break;
        }
        char kind = l.s[i + 1], sign = sign_at(&l, i + 2);
        data(&l, i, sign, kind != '{');
        size_t verbatim = kind == '%' ? word_tag(&l, i, "raw", false, false) : 0;
        go(&l, i);
        if (verbatim) {
            raw(&l, verbatim);
        } else if (kind == '#') {
            comment(&l);
        } else {
            push(&l, kind == '{' ? SAIL__JT_PRINT_BEGIN : SAIL__JT_BLOCK_BEGIN, l.s + i, 2);
            go(&l, i + 2 + (sign != 0));
            tag(&l, kind == '{');
        }
    }
    push(&l, SAIL__JT_EOF, "", 0);
}
