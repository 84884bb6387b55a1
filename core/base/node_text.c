/* node_text.c - the node tree as JSON and as YAML. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node.h"

/* What stands in quotes as it is. YAML takes some characters for line ends, and others not at all: escaped, both readers give
 * them back. */
static bool plain_character(uint32_t c)
{
    if (c < 0x20 || c == '"' || c == '\\' || (c >= 0x7f && c < 0xa0))
        return false;
    return c != 0x2028 && c != 0x2029 && c != 0xfeff && c != 0xfffe && c != 0xffff;
}

void sail__json_quote(sail_buf *out, const char *s, size_t n)
{
    sail__buf_add(out, "\"", 1);
    size_t plain = 0; /* how many bytes before s can be copied as they are */
    while (n > 0) {
        uint32_t c;
        int k = sail__utf8_next(s, n, &c);
        if (k > 0 && plain_character(c)) {
            plain += (size_t)k, s += k, n -= (size_t)k;
            continue;
        }
        sail__buf_add(out, s - plain, plain);
        plain = 0;
        if (k < 0) {
            sail__buf_str(out, "\xEF\xBF\xBD"); /* the replacement character: JSON has no way to say a stray byte */
            k = 1;
        } else if (c == '"' || c == '\\') {
            sail__buf_printf(out, "\\%c", (char)c);
        } else {
            const char *letter = c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '\r' ? "\\r" : NULL;
            if (letter)
                sail__buf_str(out, letter);
            else
                sail__buf_printf(out, "\\u%04x", (unsigned)c);
        }
        s += k, n -= (size_t)k;
    }
    sail__buf_add(out, s - plain, plain);
    sail__buf_add(out, "\"", 1);
}

/* The shortest of 15, 16 and 17 digits that reads back as the same number, always with a point or an exponent; for
 * YAML always with a point, without which many readers take 5e-06 for a string. */
static void number_text(char *s, size_t size, double x, bool yaml)
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(s, size, "%.*g", digits, x);
        if (strtod(s, NULL) == x)
            break;
    }
    size_t n = strlen(s), at = strcspn(s, "e");
    if (strpbrk(s, yaml ? ".n" : ".en") || n + 3 > size)
        return;
    memmove(s + at + 2, s + at, n - at + 1);
    memcpy(s + at, ".0", 2);
}

static void write_scalar(sail_buf *out, const sail_node *n, bool yaml)
{
    char text[40];
    switch (n->kind) {
    case SAIL_NODE_BOOL:
        sail__buf_str(out, n->boolean ? "true" : "false");
        break;
    case SAIL_NODE_INT:
        sail__buf_printf(out, "%lld", (long long)n->integer);
        break;
    case SAIL_NODE_FLOAT:
        number_text(text, sizeof text, n->number, yaml);
        sail__buf_str(out, text);
        break;
    case SAIL_NODE_FUNCTION:
        sail__buf_str(out, "\"<function>\"");
        break;
    default:
        sail__buf_str(out, "null");
    }
}

void sail__node_to_json(sail_buf *out, const sail_node *n)
{
    if (n->kind == SAIL_NODE_STRING) {
        sail__json_quote(out, n->string.data, n->string.len);
    } else if (n->kind == SAIL_NODE_FLOAT && !isfinite(n->number)) {
        sail__buf_str(out, isnan(n->number) ? "\"nan\"" : n->number > 0 ? "\"inf\"" : "\"-inf\"");
    } else if (n->kind == SAIL_NODE_LIST || n->kind == SAIL_NODE_MAP) {
        bool map = n->kind == SAIL_NODE_MAP;
        sail__buf_str(out, map ? "{" : "[");
        for (size_t i = 0; i < n->list.n; i++) {
            if (i)
                sail__buf_str(out, ", ");
            if (map) {
                sail__json_quote(out, n->list.keys[i], strlen(n->list.keys[i]));
                sail__buf_str(out, ": ");
            }
            sail__node_to_json(out, n->list.items[i]);
        }
        sail__buf_str(out, map ? "}" : "]");
    } else {
        write_scalar(out, n, false);
    }
}

/* ---- YAML ---- */

/* Whether a YAML reader takes the bare word as this very string: letters first, nothing that means something, and not
 * one of the words that mean a boolean, null or number. */
static bool bare_word(const char *s, size_t n)
{
    static const char *const taken[] = {"true", "false", "yes", "no", "on", "off", "null", "y", "n", "inf", "nan", "infinity"};
    if (n == 0 || n > 120 || strlen(s) != n)
        return false;
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (sail__edit_distance(s, taken[i]) == 0)
            return false;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        bool inside = (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '/' || c == '+';
        if (!letter && !(i > 0 && (inside || (c == ' ' && i + 1 < n))))
            return false;
    }
    return true;
}

static void yaml_string(sail_buf *out, const char *s, size_t n)
{
    if (bare_word(s, n))
        sail__buf_add(out, s, n);
    else
        sail__json_quote(out, s, n);
}

static bool is_scalar(const sail_node *n)
{
    return (n->kind != SAIL_NODE_LIST && n->kind != SAIL_NODE_MAP) || n->list.n == 0;
}

static bool short_list(const sail_node *n)
{
    if (n->kind != SAIL_NODE_LIST || n->list.n > 16)
        return false;
    for (size_t i = 0; i < n->list.n; i++)
        if (!is_scalar(n->list.items[i]))
            return false;
    return true;
}

static void yaml_scalar(sail_buf *out, const sail_node *n)
{
    if (n->kind == SAIL_NODE_STRING)
        yaml_string(out, n->string.data, n->string.len);
    else if (n->kind == SAIL_NODE_FLOAT && !isfinite(n->number))
        sail__buf_str(out, isnan(n->number) ? ".nan" : n->number > 0 ? ".inf" : "-.inf");
    else if (n->kind == SAIL_NODE_MAP)
        sail__buf_str(out, "{}");
    else if (n->kind == SAIL_NODE_LIST)
        sail__buf_str(out, "[]");
    else
        write_scalar(out, n, true);
}

static void yaml_inline(sail_buf *out, const sail_node *n, bool with_origin)
{
    if (n->kind == SAIL_NODE_LIST && n->list.n) {
        for (size_t i = 0; i < n->list.n; i++) {
            sail__buf_str(out, i ? ", " : "[");
            yaml_scalar(out, n->list.items[i]);
        }
        sail__buf_str(out, "]");
    } else {
        yaml_scalar(out, n);
    }
    if (with_origin && *n->origin) {
        sail__buf_str(out, "  # ");
        for (const char *c = n->origin; *c; c++)
            sail__buf_add(out, (unsigned char)*c < ' ' ? " " : c, 1); /* a file's name may hold what ends a comment */
        if (n->line > 0)
            sail__buf_printf(out, ":%d", n->line);
    }
    sail__buf_str(out, "\n");
}

/* `pending`: the first line's indent is already written (after "- "). */
static void yaml_block(sail_buf *out, const sail_node *n, int indent, bool with_origin, bool pending)
{
    if (is_scalar(n) || short_list(n)) {
        if (!pending)
            sail__buf_printf(out, "%*s", indent, "");
        yaml_inline(out, n, with_origin);
        return;
    }
    for (size_t i = 0; i < n->list.n; i++) {
        const sail_node *item = n->list.items[i];
        if (!pending)
            sail__buf_printf(out, "%*s", indent, "");
        pending = false;
        if (n->kind == SAIL_NODE_LIST) {
            sail__buf_str(out, "- ");
            yaml_block(out, item, indent + 2, with_origin, true);
            continue;
        }
        yaml_string(out, n->list.keys[i], strlen(n->list.keys[i]));
        sail__buf_str(out, ":");
        if (is_scalar(item) || short_list(item)) {
            sail__buf_str(out, " ");
            yaml_inline(out, item, with_origin);
        } else {
            sail__buf_str(out, "\n");
            yaml_block(out, item, indent + 2, with_origin, false);
        }
    }
}

void sail__node_to_yaml(sail_buf *out, const sail_node *n, int indent, bool with_origin)
{
    yaml_block(out, n, indent, with_origin, false);
}

/* ---- numbers, as rows of results have them ---- */

void sail__json_float(sail_buf *b, float x)
{
    char text[32];
    if (!isfinite(x)) {
        sail__buf_str(b, isnan(x) ? "\"nan\"" : x > 0 ? "\"inf\"" : "\"-inf\"");
        return;
    }
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x)
            break;
    }
    sail__buf_str(b, text);
}

void sail__json_ids(sail_buf *b, const int32_t *ids, int64_t n)
{
    sail__buf_str(b, "[");
    for (int64_t i = 0; i < n; i++)
        sail__buf_printf(b, "%s%d", i ? ", " : "", (int)ids[i]);
    sail__buf_str(b, "]");
}

void sail__json_floats(sail_buf *b, const float *x, int64_t n, bool first_is_null)
{
    sail__buf_str(b, "[");
    for (int64_t i = 0; i < n; i++) {
        sail__buf_str(b, i ? ", " : "");
        if (i == 0 && first_is_null)
            sail__buf_str(b, "null");
        else
            sail__json_float(b, x[i]);
    }
    sail__buf_str(b, "]");
}
