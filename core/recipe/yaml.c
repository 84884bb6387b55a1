/* yaml.c - YAML to nodes with lines and columns; the only file that includes yaml.h.
 *
 * A recipe is data that people read, so the parts of YAML that hide things are refused: anchors, aliases, merge keys, tags
 * and several documents. Plain scalars follow the 1.2 core schema: yes and no are strings, 1e-5 is a number. */
#include "recipe.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { MAX_DEPTH = 64, MAX_FILE = 1 << 20, MAX_KEYS = 4096 };

typedef struct reader {
    yaml_parser_t parser;
    sail_arena *arena;
    const char *origin;
    sail_err *err;
} reader;

static sail_code fail_at(reader *r, yaml_mark_t at, const char *what)
{
    return sail_fail(r->err, SAIL_E_PARSE, "%s:%zu:%zu: %s", r->origin, at.line + 1, at.column + 1, what);
}

static sail_code no_memory(reader *r) { return sail_fail(r->err, SAIL_E_NOMEM, "%s: out of memory", r->origin); }

static sail_code next_event(reader *r, yaml_event_t *e)
{
    if (yaml_parser_parse(&r->parser, e))
        return SAIL_OK;
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR)
        return no_memory(r);
    if (p->error == YAML_READER_ERROR)
        return sail_fail(r->err, SAIL_E_PARSE, "%s: byte %zu: %s; recipes are UTF-8 text", r->origin, p->problem_offset,
                         p->problem ? p->problem : "unreadable");
    yaml_mark_t at = p->problem_mark;
    return sail_fail(r->err, SAIL_E_PARSE, "%s:%zu:%zu: %s%s%s", r->origin, at.line + 1, at.column + 1,
                     p->problem ? p->problem : "malformed YAML", p->context ? ", " : "", p->context ? p->context : "");
}

static bool digits_only(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if (*s < '0' || *s > '9')
            return false;
    return true;
}

/* [-+]? ( .5 | 1 | 1. | 1.5 ) ( e[-+]?1 )? */
static bool is_float(const char *s)
{
    s += *s == '-' || *s == '+';
    size_t before = strspn(s, "0123456789");
    s += before;
    size_t after = 0;
    if (*s == '.') {
        s++;
        after = strspn(s, "0123456789");
        s += after;
    }
    if (before + after == 0)
        return false;
    if (*s == 'e' || *s == 'E') {
        s++;
        s += *s == '-' || *s == '+';
        return digits_only(s);
    }
    return *s == '\0';
}

static bool one_of(const char *s, const char *a, const char *b, const char *c)
{
    return !strcmp(s, a) || !strcmp(s, b) || !strcmp(s, c);
}

/* A plain scalar by the core schema; false: it is a string. */
static bool plain(const char *s, sail_node *n)
{
    if (!*s || !strcmp(s, "~") || one_of(s, "null", "Null", "NULL")) {
        n->kind = SAIL_NODE_NULL;
        return true;
    }
    bool yes = one_of(s, "true", "True", "TRUE");
    if (yes || one_of(s, "false", "False", "FALSE")) {
        n->kind = SAIL_NODE_BOOL;
        n->boolean = yes;
        return true;
    }
    const char *unsigned_part = s + (*s == '-' || *s == '+');
    int base = 0;
    if (digits_only(unsigned_part))
        base = 10;
    else if (s[0] == '0' && s[1] == 'x' && s[2] && strspn(s + 2, "0123456789abcdefABCDEF") == strlen(s + 2))
        base = 16;
    else if (s[0] == '0' && s[1] == 'o' && s[2] && strspn(s + 2, "01234567") == strlen(s + 2))
        base = 8;
    if (base) {
        errno = 0;
        long long v = strtoll(base == 10 ? s : s + 2, NULL, base);
        if (errno == 0) {
            n->kind = SAIL_NODE_INT;
            n->integer = v;
            return true;
        }
        if (base != 10)
            return false; /* beyond 64 bits and not decimal: nothing that could be meant */
        n->kind = SAIL_NODE_FLOAT;
        n->number = strtod(s, NULL);
        return true;
    }
    if (is_float(s)) {
        n->kind = SAIL_NODE_FLOAT;
        n->number = strtod(s, NULL);
        return true;
    }
    if (one_of(unsigned_part, ".inf", ".Inf", ".INF")) {
        n->kind = SAIL_NODE_FLOAT;
        n->number = *s == '-' ? -INFINITY : INFINITY;
        return true;
    }
    if (one_of(s, ".nan", ".NaN", ".NAN")) {
        n->kind = SAIL_NODE_FLOAT;
        n->number = NAN;
        return true;
    }
    return false;
}

static sail_node *node_at(reader *r, sail_node_kind kind, yaml_mark_t at)
{
    return sail__node_new(r->arena, kind, r->origin, (int)at.line + 1, (int)at.column + 1);
}

static sail_code scalar(reader *r, const yaml_event_t *e, sail_node **out)
{
    sail_node *n = node_at(r, SAIL_NODE_STRING, e->start_mark);
    if (!n)
        return no_memory(r);
    const char *text = (const char *)e->data.scalar.value;
    size_t len = e->data.scalar.length;
    bool is_plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (!is_plain || !plain(text, n)) {
        n->string.data = sail__arena_strndup(r->arena, text, len);
        if (!n->string.data)
            return no_memory(r);
        n->string.len = len;
        n->string.quoted = !is_plain;
    }
    *out = n;
    return SAIL_OK;
}

/* What is refused whatever it stands on. */
static sail_code check_marks(reader *r, const yaml_event_t *e)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (e->type == YAML_ALIAS_EVENT)
        return fail_at(r, e->start_mark, "an alias (*name) is not allowed in a recipe; write the value, or use `extends`. A "
                                         "string that begins with * needs quotes");
    if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    }
    if (anchor)
        return fail_at(r, e->start_mark, "an anchor (&name) is not allowed in a recipe; write the value, or use `extends`. A "
                                         "string that begins with & needs quotes");
    if (tag)
        return fail_at(r, e->start_mark, "a tag (!name) is not allowed in a recipe; a string that begins with ! needs quotes");
    return SAIL_OK;
}

static sail_code value(reader *r, const yaml_event_t *e, int depth, sail_node **out);

static sail_code list(reader *r, sail_node *n, int depth)
{
    for (;;) {
        yaml_event_t e;
        SAIL_TRY(next_event(r, &e));
        if (e.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&e);
            return SAIL_OK;
        }
        sail_node *item = NULL;
        sail_code c = value(r, &e, depth, &item);
        yaml_event_delete(&e);
        SAIL_TRY(c);
        if (!sail__node_append(r->arena, n, item))
            return no_memory(r);
    }
}

static sail_code key_of(reader *r, const yaml_event_t *e, const sail_node *map, char **key)
{
    SAIL_TRY(check_marks(r, e));
    if (e->type != YAML_SCALAR_EVENT)
        return fail_at(r, e->start_mark, "a key must be a name");
    const char *text = (const char *)e->data.scalar.value;
    size_t len = e->data.scalar.length;
    if (len == 0 || strlen(text) != len)
        return fail_at(r, e->start_mark, "an empty key, or one with a NUL in it");
    if (!strcmp(text, "<<"))
        return fail_at(r, e->start_mark, "merge keys (<<) are not allowed in a recipe; use `extends`");
    if (map->list.n >= MAX_KEYS) /* looking for duplicates takes time with the square of it */
        return fail_at(r, e->start_mark, "more than 4096 keys in one map");
    const sail_node *before = sail__node_get(map, text);
    if (before)
        return sail_fail(r->err, SAIL_E_PARSE, "%s:%zu:%zu: `%s` is given twice; first in line %d", r->origin,
                         e->start_mark.line + 1, e->start_mark.column + 1, text, before->line);
    *key = sail__arena_strndup(r->arena, text, len);
    return *key ? SAIL_OK : no_memory(r);
}

static sail_code map(reader *r, sail_node *n, int depth)
{
    for (;;) {
        yaml_event_t e;
        SAIL_TRY(next_event(r, &e));
        if (e.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&e);
            return SAIL_OK;
        }
        char *key = NULL;
        sail_code c = key_of(r, &e, n, &key);
        yaml_event_delete(&e);
        SAIL_TRY(c);
        SAIL_TRY(next_event(r, &e));
        sail_node *item = NULL;
        c = value(r, &e, depth, &item);
        yaml_event_delete(&e);
        SAIL_TRY(c);
        if (!sail__node_set(r->arena, n, key, item))
            return no_memory(r);
    }
}

static sail_code value(reader *r, const yaml_event_t *e, int depth, sail_node **out)
{
    SAIL_TRY(check_marks(r, e));
    if (e->type == YAML_SCALAR_EVENT)
        return scalar(r, e, out);
    if (depth >= MAX_DEPTH)
        return fail_at(r, e->start_mark, "nested too deeply (more than 64 levels)");
    bool is_map = e->type == YAML_MAPPING_START_EVENT;
    sail_node *n = node_at(r, is_map ? SAIL_NODE_MAP : SAIL_NODE_LIST, e->start_mark);
    if (!n)
        return no_memory(r);
    *out = n;
    return is_map ? map(r, n, depth + 1) : list(r, n, depth + 1);
}

static sail_code document(reader *r, sail_node **out)
{
    for (bool seen = false;;) {
        yaml_event_t e;
        SAIL_TRY(next_event(r, &e));
        yaml_event_type_t type = e.type;
        sail_code c = SAIL_OK;
        if (type == YAML_DOCUMENT_START_EVENT && seen)
            c = fail_at(r, e.start_mark, "a second document; a recipe is one");
        else if (type == YAML_SCALAR_EVENT || type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT ||
                 type == YAML_ALIAS_EVENT)
            c = value(r, &e, 0, out);
        seen |= type == YAML_DOCUMENT_START_EVENT;
        yaml_event_delete(&e);
        SAIL_TRY(c);
        if (type == YAML_STREAM_END_EVENT)
            return SAIL_OK;
    }
}

sail_code sail__yaml_parse(sail_arena *a, const char *text, size_t n, const char *origin, sail_node **out, sail_err *err)
{
    reader r = {.arena = a, .err = err};
    *out = NULL;
    r.origin = sail__arena_strdup(a, origin);
    if (!r.origin || !yaml_parser_initialize(&r.parser))
        return sail_fail(err, SAIL_E_NOMEM, "%s: out of memory", origin);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, n);
    sail_node *root = NULL;
    sail_code c = document(&r, &root);
    yaml_parser_delete(&r.parser);
    SAIL_TRY(c);
    if (!root) /* nothing but comments */
        root = sail__node_new(a, SAIL_NODE_NULL, r.origin, 1, 1);
    if (!root)
        return no_memory(&r);
    *out = root;
    return SAIL_OK;
}

sail_code sail__yaml_read(sail_arena *a, const char *path, sail_node **out, sail_err *err)
{
    char *text = NULL;
    size_t n = 0;
    SAIL_TRY(sail__file_read(path, MAX_FILE, &text, &n, err));
    sail_code c = sail__yaml_parse(a, text, n, path, out, err);
    sail__free(text);
    return c;
}
