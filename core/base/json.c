/* json.c - JSON in, by jansson: strict, UTF-8 checked, duplicate keys rejected, NULs in strings kept. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

#include <jansson.h>

#include "node.h"

enum { DEEPEST = 512 };

struct reader {
    sail_arena *arena;
    const char *origin;
    int line;
    sail_err *err;
};

static sail_code no_memory(const struct reader *r)
{
    return sail_fail(r->err, SAIL_E_NOMEM, "%s: no memory for its JSON values", r->origin);
}

static sail_code convert(const struct reader *r, json_t *j, int depth, sail_node **out)
{
    static const sail_node_kind kinds[] = {
        [JSON_OBJECT] = SAIL_NODE_MAP, [JSON_ARRAY] = SAIL_NODE_LIST, [JSON_STRING] = SAIL_NODE_STRING,
        [JSON_INTEGER] = SAIL_NODE_INT, [JSON_REAL] = SAIL_NODE_FLOAT, [JSON_TRUE] = SAIL_NODE_BOOL,
        [JSON_FALSE] = SAIL_NODE_BOOL, [JSON_NULL] = SAIL_NODE_NULL,
    };
    if (depth > DEEPEST)
        return sail_fail(r->err, SAIL_E_LIMIT, "%s: JSON nested more than %d deep", r->origin, DEEPEST);
    sail_node *n = sail__node_new(r->arena, kinds[json_typeof(j)], r->origin, r->line, 0);
    if (!n)
        return no_memory(r);
    *out = n;
    switch (json_typeof(j)) {
    case JSON_STRING:
        n->string.len = json_string_length(j);
        n->string.data = sail__arena_strndup(r->arena, json_string_value(j), n->string.len);
        n->string.quoted = true;
        return n->string.data ? SAIL_OK : no_memory(r);
    case JSON_INTEGER:
        n->integer = json_integer_value(j);
        return SAIL_OK;
    case JSON_REAL:
        n->number = json_real_value(j);
        return SAIL_OK;
    case JSON_TRUE:
        n->boolean = true;
        return SAIL_OK;
    case JSON_ARRAY:
        n->list.n = n->list.cap = json_array_size(j);
        n->list.items = sail__arena_array(r->arena, n->list.n, sizeof *n->list.items);
        if (!n->list.items)
            return no_memory(r);
        for (size_t i = 0; i < n->list.n; i++)
            SAIL_TRY(convert(r, json_array_get(j, i), depth + 1, &n->list.items[i]));
        return SAIL_OK;
    case JSON_OBJECT: {
        n->list.n = n->list.cap = json_object_size(j);
        n->list.items = sail__arena_array(r->arena, n->list.n, sizeof *n->list.items);
        n->list.keys = sail__arena_array(r->arena, n->list.n, sizeof *n->list.keys);
        if (!n->list.items || !n->list.keys)
            return no_memory(r);
        size_t i = 0;
        for (void *it = json_object_iter(j); it; it = json_object_iter_next(j, it), i++) {
            n->list.keys[i] = sail__arena_strdup(r->arena, json_object_iter_key(it));
            if (!n->list.keys[i])
                return no_memory(r);
            SAIL_TRY(convert(r, json_object_iter_value(it), depth + 1, &n->list.items[i]));
        }
        return SAIL_OK;
    }
    default:
        return SAIL_OK;
    }
}

/* A copy of the text in which integers beyond 64 bits end in e0, which makes them floating-point numbers
 * (tokenizer_config.json: "model_max_length": 1000000000000000019884624838656). */
static void soften_big_integers(const char *text, size_t n, sail_buf *out)
{
    bool in_string = false;
    for (size_t i = 0; i < n;) {
        char c = text[i];
        size_t end = i + 1;
        if (in_string) {
            if (c == '\\' && end < n)
                end++;
            else if (c == '"')
                in_string = false;
            sail__buf_add(out, text + i, end - i);
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            while (end < n && text[end] >= '0' && text[end] <= '9')
                end++;
            size_t digits = end - i;
            bool whole = true; /* no fraction, no exponent */
            while (end < n && text[end] && strchr("0123456789+-.eE", text[end]))
                whole = false, end++;
            sail__buf_add(out, text + i, end - i);
            if (whole && digits >= 19 && digits <= 400) {
                char copy[402];
                memcpy(copy, text + i, digits);
                copy[digits] = '\0';
                errno = 0;
                (void)strtoll(copy, NULL, 10);
                if (errno == ERANGE)
                    sail__buf_str(out, "e0");
            }
        } else {
            in_string = c == '"';
            sail__buf_add(out, &c, 1);
        }
        i = end;
    }
}

/* Jansson swallows some of its failing allocations: a letter of a string, a digit of a number is missing then. So it gets its
 * memory from here, which remembers. A host that has given jansson an allocator of its own keeps it. */
static _Thread_local bool json_lacked; /* tools/check-layers allows it by name: jansson passes its allocator no context */
static once_flag json_memory_once = ONCE_FLAG_INIT;

static void *json_memory(size_t bytes)
{
    void *p = sail__malloc(bytes);
    json_lacked |= !p;
    return p;
}

static void use_json_memory(void)
{
    json_malloc_t get;
    json_free_t give_back;
    json_get_alloc_funcs(&get, &give_back);
    if (get == malloc && give_back == free)
        json_set_alloc_funcs(json_memory, give_back); /* both ways a block is malloc's */
}

json_t *sail__json_load(const char *text, size_t n, size_t flags, bool *lacked, json_error_t *e)
{
    call_once(&json_memory_once, use_json_memory);
    json_lacked = false;
    json_t *j = json_loadb(text, n, flags, e);
    *lacked = json_lacked || (!j && json_error_code(e) == json_error_out_of_memory);
    if (*lacked) {
        json_decref(j);
        return NULL;
    }
    return j;
}

static sail_code told(const struct reader *r, const json_error_t *e, bool lacked)
{
    int line = r->line > 0 ? r->line + e->line - 1 : e->line;
    if (lacked)
        return no_memory(r);
    return sail_fail(r->err, SAIL_E_PARSE, "%s:%d: not valid JSON: %s (character %d of the line)", r->origin, line, e->text,
                     e->column);
}

sail_code sail__json_parse(sail_arena *a, const char *text, size_t n, const char *origin, int line, sail_node **out,
                           sail_err *err)
{
    enum { FLAGS = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL };
    *out = NULL;
    struct reader r = {a, sail__arena_strdup(a, origin), line, err};
    if (!r.origin)
        return sail_fail(err, SAIL_E_NOMEM, "%s: no memory for its JSON values", origin);
    json_error_t e;
    bool lacked;
    json_t *j = sail__json_load(text, n, FLAGS, &lacked, &e);
    sail_buf soft = {0};
    if (!j && !lacked && json_error_code(&e) == json_error_numeric_overflow) {
        soften_big_integers(text, n, &soft);
        if (soft.oom) {
            sail__buf_free(&soft);
            return no_memory(&r);
        }
        j = sail__json_load(soft.data, soft.len, FLAGS, &lacked, &e);
    }
    sail_code code = j ? convert(&r, j, 0, out) : told(&r, &e, lacked);
    sail__buf_free(&soft);
    if (code != SAIL_OK)
        *out = NULL;
    json_decref(j);
    return code;
}

sail_code sail__json_read(sail_arena *a, const char *path, size_t most, sail_node **out, sail_err *err)
{
    char *data;
    size_t size;
    *out = NULL;
    SAIL_TRY(sail__file_read(path, most, &data, &size, err));
    sail_code code = sail__json_parse(a, data, size, path, 0, out, err);
    sail__free(data);
    return code;
}
