/* data_files.c - which files data comes from: names, patterns, weights; and fields by other names. */
#include <glob.h>
#include <math.h>
#include <string.h>

#include "data_impl.h"

typedef struct files {
    sail_arena *a;
    const char **paths;
    double *weights;
    size_t n, cap;
} files;

static sail_code add(files *f, const char *path, double weight, sail_err *err)
{
    if (f->n == f->cap) {
        size_t cap = f->cap ? 2 * f->cap : 8;
        const char **paths = sail__arena_array(f->a, cap, sizeof *paths);
        double *weights = sail__arena_array(f->a, cap, sizeof *weights);
        if (!paths || !weights)
            return sail_fail(err, SAIL_E_NOMEM, "out of memory");
        if (f->n) {
            memcpy(paths, f->paths, f->n * sizeof *paths);
            memcpy(weights, f->weights, f->n * sizeof *weights);
        }
        f->paths = paths;
        f->weights = weights;
        f->cap = cap;
    }
    const char *copy = sail__arena_strdup(f->a, path);
    if (!copy)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    f->paths[f->n] = copy;
    f->weights[f->n++] = weight;
    return SAIL_OK;
}

/* A name that is no file and has *, ? or [ in it is a pattern; its files come in order of their names. */
static sail_code add_pattern(files *f, const char *path, double weight, const char *where, const char *key, sail_err *err)
{
    if (!strpbrk(path, "*?[") || sail__file_exists(path))
        return add(f, path, weight, err);
    glob_t g;
    int rc = glob(path, GLOB_MARK, NULL, &g);
    sail_code code = SAIL_OK;
    size_t before = f->n;
    for (size_t i = 0; rc == 0 && i < g.gl_pathc && !code; i++)
        if (g.gl_pathv[i][strlen(g.gl_pathv[i]) - 1] != '/')
            code = add(f, g.gl_pathv[i], weight, err);
    if (rc == 0)
        globfree(&g);
    if (rc == GLOB_NOSPACE)
        return sail_fail(err, SAIL_E_NOMEM, "out of memory");
    if (!code && f->n == before)
        return sail_fail(err, SAIL_E_NOTFOUND, "%s: %s: no file has a name like %s", where, key, path);
    return code;
}

static sail_code add_node(files *f, const sail_node *n, const char *key, sail_err *err)
{
    const char *where = sail__node_where(f->a, n), *path;
    double weight = 1;
    if (n->kind == SAIL_NODE_MAP) {
        static const char *const names[] = {"path", "weight"};
        for (size_t i = 0; i < n->list.n; i++) {
            const char *near = sail__nearest(n->list.keys[i], names, 2);
            if (strcmp(n->list.keys[i], "path") != 0 && strcmp(n->list.keys[i], "weight") != 0)
                return sail_fail(err, SAIL_E_RECIPE,
                                 "%s: %s: unknown key '%s'%s%s%s; a file is its name, or {path: NAME, weight: NUMBER}", where,
                                 key, n->list.keys[i], near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
        }
        const sail_node *w = sail__node_get(n, "weight"), *p = sail__node_get(n, "path");
        if (!p)
            return sail_fail(err, SAIL_E_RECIPE, "%s: %s: a file {path: NAME, weight: NUMBER} has no path", where, key);
        SAIL_TRY(sail__node_as_string(p, key, &path, err));
        if (w)
            SAIL_TRY(sail__node_as_double(w, key, &weight, err));
        if (!(weight > 0 && weight <= 1000))
            return sail_fail(err, SAIL_E_RECIPE, "%s: %s: weight %g of %s is not between 0 and 1000", where, key, weight, path);
    } else {
        SAIL_TRY(sail__node_as_string(n, key, &path, err));
    }
    return add_pattern(f, path, weight, where ? where : "recipe", key, err);
}

sail_code sail__data_files(sail_arena *a, const sail_node *n, const char *key, sail__data_options *o, sail_err *err)
{
    files f = {.a = a};
    if (n->kind == SAIL_NODE_LIST)
        for (size_t i = 0; i < n->list.n; i++)
            SAIL_TRY(add_node(&f, n->list.items[i], key, err));
    else
        SAIL_TRY(add_node(&f, n, key, err));
    o->paths = f.paths;
    o->weights = f.weights;
    o->n_paths = f.n;
    return f.n ? SAIL_OK : sail_fail(err, SAIL_E_RECIPE, "%s is an empty list", key);
}

int64_t sail__data_copies(double weight, size_t file, int64_t record)
{
    const uint64_t at[2] = {file, (uint64_t)record};
    double whole = floor(weight), part = weight - whole;
    return (int64_t)whole + ((double)(sail__hash64(at, sizeof at, 17) >> 11) * 0x1p-53 < part);
}

sail_code sail__data_share(const sail_node *share, sail__data_options *o, sail_err *err)
{
    if (!share)
        return SAIL_OK;
    const bool two = share->kind == SAIL_NODE_LIST && share->list.n == 2;
    if (two && sail__node_as_double(share->list.items[0], "share", &o->from, err) == SAIL_OK &&
        sail__node_as_double(share->list.items[1], "share", &o->to, err) == SAIL_OK && o->from >= 0 && o->from < o->to && o->to <= 1)
        return SAIL_OK;
    return sail_fail(err, SAIL_E_RECIPE, "must be [FROM, TO] with 0 <= FROM < TO <= 1, such as [0.8, 1] for a fifth of the prompts");
}

/* ---- fields by other names ---- */

sail_code sail__data_check_fields(const sail_node *fields, sail_err *err)
{
    bool ok = !fields || fields->kind == SAIL_NODE_MAP;
    for (size_t i = 0; ok && fields && i < fields->list.n; i++) {
        const sail_node *from = fields->list.items[i];
        ok = from->kind == SAIL_NODE_STRING || (from->kind == SAIL_NODE_LIST && from->list.n > 0);
        for (size_t k = 0; ok && from->kind == SAIL_NODE_LIST && k < from->list.n; k++)
            ok = from->list.items[k]->kind == SAIL_NODE_STRING;
    }
    return ok ? SAIL_OK
              : sail_fail(err, SAIL_E_RECIPE,
                          "data.fields must be a map {FIELD: NAME, …} of what the reader calls a field and what the file calls "
                          "it: a name, one inside another (a.b), or a list of names whose texts are joined");
}

/* "a.b.0": members of members; a name that stands there whole wins. NULL: none. */
static json_t *find(json_t *v, const char *path)
{
    char name[128];
    json_t *whole = json_object_get(v, path);
    while (!whole && v && *path) {
        size_t n = strcspn(path, ".");
        if (n >= sizeof name)
            return NULL;
        memcpy(name, path, n);
        name[n] = '\0';
        bool digits = n > 0 && n < 9 && strspn(name, "0123456789") == n;
        v = json_is_array(v) && digits ? json_array_get(v, strtoul(name, NULL, 10)) : json_object_get(v, name);
        path += n + (path[n] == '.');
    }
    return whole ? whole : v;
}

/* Texts that are not empty, a blank line between them; NULL: none. */
static json_t *joined(json_t *record, const sail_node *const *names, size_t n, bool *lacked)
{
    sail_buf b = {0};
    for (size_t i = 0; i < n; i++) {
        const json_t *s = find(record, names[i]->string.data);
        if (!json_is_string(s) || !json_string_length(s))
            continue;
        if (b.len)
            sail__buf_str(&b, "\n\n");
        sail__buf_add(&b, json_string_value(s), json_string_length(s));
    }
    json_t *v = b.len && !b.oom ? json_stringn(b.data, b.len) : NULL;
    *lacked |= b.oom || (b.len && !v);
    sail__buf_free(&b);
    return v;
}

sail_code sail__data_map_fields(const sail_node *fields, const json_t *record, json_t **out, uint64_t *met,
                                sail_err *err)
{
    json_t *from_record = (json_t *)record;
    *out = sail__json_copy_map(record);
    bool lacked = !*out;
    for (size_t i = 0; !lacked && i < fields->list.n; i++) {
        const sail_node *from = fields->list.items[i];
        const bool several = from->kind == SAIL_NODE_LIST;
        const sail_node *const *names = several ? (const sail_node *const *)from->list.items : &from;
        const size_t n = several ? from->list.n : 1;
        json_t *v = several ? joined(from_record, names, n, &lacked) : json_incref(find(from_record, from->string.data));
        for (size_t k = 0; k < n; k++)
            if (i < 64 && find(from_record, names[k]->string.data))
                *met |= UINT64_C(1) << i;
        if (v)
            lacked |= json_object_set_new(*out, fields->list.keys[i], v) != 0;
    }
    if (!lacked)
        return SAIL_OK;
    json_decref(*out);
    *out = NULL;
    return sail_fail(err, SAIL_E_NOMEM, "out of memory");
}

void sail__data_fields_lacking(const sail_node *fields, const json_t *record, sail_buf *out)
{
    enum { MOST = 16 };
    const char *key;
    json_t *item;
    size_t n = 0;
    for (size_t i = 0; i < fields->list.n; i++) {
        const sail_node *from = fields->list.items[i];
        const bool several = from->kind == SAIL_NODE_LIST;
        for (size_t k = 0; k < (several ? from->list.n : 1); k++) {
            const char *name = (several ? from->list.items[k] : from)->string.data;
            if (!find((json_t *)record, name))
                sail__buf_printf(out, "%s`%.60s` (for `%.60s`)", out->len ? ", " : "the record has no ", name, fields->list.keys[i]);
        }
    }
    if (!out->len)
        return;
    json_object_foreach((json_t *)record, key, item)
    {
        if (n++ < MOST)
            sail__buf_printf(out, "%s%.60s", n > 1 ? ", " : ", which data.fields names; it has ", key);
    }
    sail__buf_str(out, n > MOST ? ", …" : "");
}
