/* str.c - string buffers, names, UTF-8, patterns, hashes. */
#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "base.h"

/* ---- buffer ---- */

static bool reserve(sail_buf *b, size_t more)
{
    if (b->oom || more >= SIZE_MAX - b->len) {
        b->oom = true;
        return false;
    }
    if (sail__grow(&b->data, &b->cap, b->len + more + 1, 1, NULL) != SAIL_OK) {
        b->oom = true;
        return false;
    }
    return true;
}

void sail__buf_add(sail_buf *b, const void *data, size_t n)
{
    if (!reserve(b, n))
        return;
    if (n)
        memcpy(b->data + b->len, data, n);
    b->len += n;
    b->data[b->len] = '\0';
}

void sail__buf_str(sail_buf *b, const char *s)
{
    sail__buf_add(b, s, strlen(s));
}

void sail__buf_printf(sail_buf *b, const char *fmt, ...)
{
    char small[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    if (n < 0) {
        b->oom = true;
    } else if ((size_t)n < sizeof small) {
        sail__buf_add(b, small, (size_t)n);
    } else if (reserve(b, (size_t)n)) {
        va_start(ap, fmt);
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
        va_end(ap);
        b->len += (size_t)n;
    }
}

void sail__buf_free(sail_buf *b)
{
    sail__free(b->data);
    *b = (sail_buf){0};
}

/* ---- names ---- */

static char same_dash(char c)
{
    return c == '-' ? '_' : c;
}

bool sail__name_equal(const char *a, const char *b)
{
    while (*a && same_dash(*a) == same_dash(*b))
        a++, b++;
    return *a == *b;
}

enum { MOST = 32 };

static char fold(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : same_dash(c);
}

/* Optimal string alignment: insert, delete, replace, swap neighbours, each at cost 1. */
size_t sail__edit_distance(const char *a, const char *b)
{
    size_t n = strnlen(a, MOST), m = strnlen(b, MOST);
    size_t rows[3][MOST + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    for (size_t j = 0; j <= m; j++)
        before[j] = 0, last[j] = j;
    for (size_t i = 1; i <= n; i++) {
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t d = last[j - 1] + (fold(a[i - 1]) != fold(b[j - 1]));
            if (last[j] + 1 < d)
                d = last[j] + 1;
            if (now[j - 1] + 1 < d)
                d = now[j - 1] + 1;
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1]) &&
                before[j - 2] + 1 < d)
                d = before[j - 2] + 1;
            now[j] = d;
        }
        size_t *t = before;
        before = last, last = now, now = t;
    }
    return last[m];
}

bool sail__among(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

const char *sail__nearest(const char *name, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t best_distance = 0, length = strlen(name);
    for (size_t i = 0; i < n; i++) {
        size_t d = sail__edit_distance(name, names[i]);
        if (!best || d < best_distance)
            best = names[i], best_distance = d;
    }
    /* a third of the letters may be wrong; of a short name, one */
    size_t most = length > 2 ? (length + 1) / 3 : 1;
    if (best && best_distance <= most && best_distance < length)
        return best;
    /* or the name is the beginning of exactly one */
    best = NULL;
    for (size_t i = 0; length >= 2 && i < n; i++) {
        size_t k = 0;
        while (k < length && fold(name[k]) == fold(names[i][k]))
            k++;
        if (k == length) {
            if (best)
                return NULL;
            best = names[i];
        }
    }
    return best;
}

/* ---- UTF-8 ---- */

int sail__utf8_next(const char *s, size_t n, uint32_t *code_point)
{
    const unsigned char *u = (const unsigned char *)s;
    if (n == 0)
        return 0;
    if (u[0] < 0x80) {
        *code_point = u[0];
        return 1;
    }
    int len = u[0] >= 0xF0 ? 4 : u[0] >= 0xE0 ? 3 : 2;
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (u[0] < 0xC2 || u[0] > 0xF4 || n < (size_t)len)
        return -1;
    uint32_t c = u[0] & (0xFFu >> (len + 1));
    for (int i = 1; i < len; i++) {
        if ((u[i] & 0xC0) != 0x80)
            return -1;
        c = c << 6 | (u[i] & 0x3F);
    }
    if (c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return -1;
    *code_point = c;
    return len;
}

bool sail__utf8_valid(const char *s, size_t n)
{
    uint32_t c;
    while (n > 0) {
        int k = sail__utf8_next(s, n, &c);
        if (k <= 0)
            return false;
        s += k, n -= (size_t)k;
    }
    return true;
}

/* ---- patterns ---- */

bool sail__glob_match(const char *pattern, const char *name)
{
    const char *star = NULL, *retry = NULL; /* where to go on when what follows the last '*' does not fit */
    while (*name) {
        if (*pattern == '*') {
            star = ++pattern, retry = name;
        } else if (*pattern == '?' || (*pattern && *pattern == *name)) {
            pattern++, name++;
        } else if (star) {
            pattern = star, name = ++retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

bool sail__ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

const char *sail__size_text(uint64_t bytes, char out[16])
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    double x = (double)bytes / 1000;
    int unit = 0;
    if (bytes < 1000) {
        snprintf(out, 16, "%d byte%s", (int)bytes, bytes == 1 ? "" : "s");
        return out;
    }
    for (; x >= 999.5; unit++) /* 999.5 would be written as 1000 */
        x /= 1000;
    snprintf(out, 16, x < 9.95 ? "%.1f %s" : "%.0f %s", x, units[unit]);
    return out;
}

/* ---- hashes ---- */

uint64_t sail__hash64(const void *data, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, n, seed);
}

void sail__hash_hex(const void *data, size_t n, char out[33])
{
    XXH128_hash_t h = XXH3_128bits(data, n);
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
}
