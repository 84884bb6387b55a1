/* safetensors.c - reading. A file is a u64 header length N, N bytes of JSON, then the tensors' bytes. Checked here:
 * 8 <= size, N <= 100,000,000 and inside the file, JSON strict, beginning with '{' and without duplicate names; every
 * tensor has exactly dtype, shape and data_offsets; sizes are products that do not overflow; sorted by offset the
 * tensors are contiguous from 0 to the end of the file, without hole, overlap or trailing bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/node.h"
#include "safetensors.h"

enum { LARGEST_HEADER = 100000000, LARGEST_INDEX = 100000000 };

struct part { /* one file */
    sail_mapping map;
    bool mapped;
};

struct sail__safetensors {
    sail_arena *arena;
    const char *path;
    sail__st_tensor *tensors; /* by name */
    size_t n;
    struct part *parts;
    size_t n_parts;
    const sail_node *metadata; /* of the first file; NULL: none */
};

struct dtype_row {
    const char *name;
    unsigned bytes;
    sail_dtype dtype;
};
/* clang-format off */
static const struct dtype_row dtypes[] = {
    {"F64", 8, SAIL_F64}, {"F32", 4, SAIL_F32}, {"F16", 2, SAIL_F16}, {"BF16", 2, SAIL_BF16},
    {"I64", 8, SAIL_I64}, {"I32", 4, SAIL_I32}, {"U8", 1, SAIL_U8},
    /* known to the format, not held in tensors here: their extent is checked all the same */
    {"BOOL", 1, SAIL_DTYPE_COUNT}, {"I8", 1, SAIL_DTYPE_COUNT}, {"I16", 2, SAIL_DTYPE_COUNT},
    {"U16", 2, SAIL_DTYPE_COUNT}, {"U32", 4, SAIL_DTYPE_COUNT}, {"U64", 8, SAIL_DTYPE_COUNT},
    {"F8_E4M3", 1, SAIL_DTYPE_COUNT}, {"F8_E5M2", 1, SAIL_DTYPE_COUNT}, {"F8_E8M0", 1, SAIL_DTYPE_COUNT},
    {"C64", 8, SAIL_DTYPE_COUNT},
};
/* clang-format on */

static sail_code no_memory(const char *path, sail_err *err)
{
    return sail_fail(err, SAIL_E_NOMEM, "%s: no memory for its list of tensors", path);
}

const char *sail__st_shape(const sail__st_tensor *t, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < t->rank && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, i ? ", %lld" : "%lld", (long long)t->shape[i]);
    if (used < size)
        snprintf(out + used, size - used, "]");
    return out;
}

/* ---- one tensor's entry ---- */

static sail_code entry_shape(const char *path, sail__st_tensor *t, const sail_node *shape, uint64_t *elements,
                             sail_err *err)
{
    if (!shape || shape->kind != SAIL_NODE_LIST)
        return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s: \"shape\" should be a list of sizes", path, t->name);
    if (shape->list.n > SAIL__TENSOR_RANK)
        return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s: %zu dimensions; at most %d are supported", path, t->name,
                         shape->list.n, SAIL__TENSOR_RANK);
    *elements = 1;
    t->rank = (int)shape->list.n;
    for (int i = 0; i < t->rank; i++) {
        const sail_node *d = shape->list.items[i];
        if (d->kind != SAIL_NODE_INT || d->integer < 0)
            return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s: shape[%d] should be a non-negative integer", path,
                             t->name, i);
        t->shape[i] = d->integer;
        if (__builtin_mul_overflow(*elements, (uint64_t)d->integer, elements))
            return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s: the product of its shape overflows", path, t->name);
    }
    return SAIL_OK;
}

static sail_code entry_offsets(const char *path, sail__st_tensor *t, const sail_node *offsets, uint64_t data_size,
                               uint64_t want, sail_err *err)
{
    const sail_node *const *o = offsets && offsets->kind == SAIL_NODE_LIST && offsets->list.n == 2
                                    ? (const sail_node *const *)offsets->list.items
                                    : NULL;
    if (!o || o[0]->kind != SAIL_NODE_INT || o[1]->kind != SAIL_NODE_INT || o[0]->integer < 0)
        return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s: \"data_offsets\" should be two non-negative integers",
                         path, t->name);
    uint64_t begin = (uint64_t)o[0]->integer, end = (uint64_t)o[1]->integer;
    if (o[1]->integer < o[0]->integer || end > data_size)
        return sail_fail(err, SAIL_E_FORMAT,
                         "%s: tensor %s: data_offsets [%lld, %lld) do not lie in the %llu bytes of data", path, t->name,
                         (long long)o[0]->integer, (long long)o[1]->integer, (unsigned long long)data_size);
    char shape[160];
    if (end - begin != want)
        return sail_fail(err, SAIL_E_FORMAT,
                         "%s: tensor %s: %s %s takes %llu bytes, but data_offsets [%llu, %llu) hold %llu", path,
                         t->name, t->dtype_name, sail__st_shape(t, shape, sizeof shape), (unsigned long long)want,
                         (unsigned long long)begin, (unsigned long long)end, (unsigned long long)(end - begin));
    t->offset = begin;
    t->bytes = (size_t)want;
    return SAIL_OK;
}

static sail_code entry(const char *path, sail__st_tensor *t, const sail_node *node, uint64_t data_size, sail_err *err)
{
    const sail_node *dtype = NULL, *shape = NULL, *offsets = NULL;
    if (node->kind != SAIL_NODE_MAP)
        return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s: should be a map of dtype, shape, data_offsets", path,
                         t->name);
    for (size_t i = 0; i < node->list.n; i++) {
        const char *key = node->list.keys[i];
        if (!strcmp(key, "dtype"))
            dtype = node->list.items[i];
        else if (!strcmp(key, "shape"))
            shape = node->list.items[i];
        else if (!strcmp(key, "data_offsets"))
            offsets = node->list.items[i];
        else
            return sail_fail(err, SAIL_E_FORMAT,
                             "%s: tensor %s: unknown key \"%s\"; dtype, shape, data_offsets were expected", path,
                             t->name, key);
    }
    if (!dtype || dtype->kind != SAIL_NODE_STRING)
        return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s: \"dtype\" should be a string such as \"F32\"", path,
                         t->name);
    const struct dtype_row *row = NULL;
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        if (!strcmp(dtypes[i].name, dtype->string.data))
            row = &dtypes[i];
    if (!row)
        return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s: unknown dtype \"%.32s\"", path, t->name,
                         dtype->string.data);
    t->dtype = row->dtype;
    t->dtype_name = row->name;
    uint64_t elements = 0, bytes;
    SAIL_TRY(entry_shape(path, t, shape, &elements, err));
    if (__builtin_mul_overflow(elements, (uint64_t)row->bytes, &bytes))
        return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s: its size in bytes overflows", path, t->name);
    return entry_offsets(path, t, offsets, data_size, bytes, err);
}

/* ---- one file ---- */

static int by_offset(const void *x, const void *y)
{
    const sail__st_tensor *a = x, *b = y;
    if (a->offset != b->offset)
        return a->offset < b->offset ? -1 : 1;
    return a->bytes < b->bytes ? -1 : a->bytes > b->bytes; /* empty ones first */
}

static int by_name(const void *x, const void *y)
{
    const sail__st_tensor *a = x, *b = y;
    return strcmp(a->name, b->name);
}

static sail_code check_layout(const char *path, sail__st_tensor *t, size_t n, uint64_t data_size, uint64_t data_start,
                              sail_err *err)
{
    uint64_t at = 0;
    if (n)
        qsort(t, n, sizeof *t, by_offset);
    for (size_t i = 0; i < n; at += t[i].bytes, i++) {
        if (t[i].offset < at)
            return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s at byte %llu overlaps %s, which ends at byte %llu",
                             path, t[i].name, (unsigned long long)(data_start + t[i].offset), t[i - 1].name,
                             (unsigned long long)(data_start + at));
        if (t[i].offset > at)
            return sail_fail(err, SAIL_E_FORMAT, "%s: hole of %llu bytes at byte %llu, before tensor %s", path,
                             (unsigned long long)(t[i].offset - at), (unsigned long long)(data_start + at), t[i].name);
    }
    if (at != data_size)
        return sail_fail(err, SAIL_E_FORMAT, "%s: %llu bytes after the last tensor, from byte %llu on", path,
                         (unsigned long long)(data_size - at), (unsigned long long)(data_start + at));
    return SAIL_OK;
}

static sail_code metadata(const char *path, const sail_node *m, sail_err *err)
{
    if (m->kind != SAIL_NODE_MAP)
        return sail_fail(err, SAIL_E_FORMAT, "%s: __metadata__ should be a map of strings", path);
    for (size_t i = 0; i < m->list.n; i++)
        if (m->list.items[i]->kind != SAIL_NODE_STRING)
            return sail_fail(err, SAIL_E_FORMAT, "%s: __metadata__.%s should be a string", path, m->list.keys[i]);
    return SAIL_OK;
}

/* Appends the tensors of one mapped file to f->tensors. */
static sail_code read_part(sail__safetensors *f, const char *path, const unsigned char *data, size_t size,
                           sail_err *err)
{
    if (size < 8)
        return sail_fail(err, SAIL_E_FORMAT, "%s: %zu bytes; a safetensors file begins with 8 bytes of header length",
                         path, size);
    uint64_t header = 0;
    for (int i = 7; i >= 0; i--)
        header = header << 8 | data[i];
    if (header > LARGEST_HEADER)
        return sail_fail(err, SAIL_E_FORMAT,
                         "%s: header of %llu bytes; at most %d are allowed (is it a safetensors file?)", path,
                         (unsigned long long)header, LARGEST_HEADER);
    if (header > size - 8)
        return sail_fail(err, SAIL_E_FORMAT, "%s: header of %llu bytes, but the file has only %zu (cut short?)", path,
                         (unsigned long long)header, size);
    if (header == 0 || data[8] != '{')
        return sail_fail(err, SAIL_E_FORMAT, "%s: byte 8: the header should begin with '{'", path);
    sail_node *root;
    SAIL_TRY(sail__json_parse(f->arena, (const char *)data + 8, (size_t)header, path, 0, &root, err));
    if (root->kind != SAIL_NODE_MAP)
        return sail_fail(err, SAIL_E_FORMAT, "%s: byte 8: the header should be a JSON object", path);
    uint64_t data_start = 8 + header, data_size = size - data_start;
    sail__st_tensor *all = sail__arena_array(f->arena, f->n + root->list.n, sizeof *all);
    if (!all)
        return no_memory(path, err);
    if (f->n)
        memcpy(all, f->tensors, f->n * sizeof *all);
    sail__st_tensor *own = all + f->n;
    size_t n = 0;
    for (size_t i = 0; i < root->list.n; i++) {
        if (!strcmp(root->list.keys[i], "__metadata__")) {
            SAIL_TRY(metadata(path, root->list.items[i], err));
            f->metadata = f->metadata ? f->metadata : root->list.items[i];
            continue;
        }
        own[n] = (sail__st_tensor){.name = root->list.keys[i], .file = path};
        SAIL_TRY(entry(path, &own[n], root->list.items[i], data_size, err));
        n++;
    }
    SAIL_TRY(check_layout(path, own, n, data_size, data_start, err));
    for (size_t i = 0; i < n; i++) {
        own[i].offset += data_start;
        own[i].data = data + own[i].offset;
    }
    f->tensors = all;
    f->n += n;
    return SAIL_OK;
}

/* ---- opening ---- */

static sail__safetensors *new_file(const char *path)
{
    sail_arena *arena = sail__arena_new();
    sail__safetensors *f = arena ? sail__arena_alloc(arena, sizeof *f) : NULL;
    if (f) {
        f->arena = arena;
        f->path = sail__arena_strdup(arena, path);
    }
    if (!f || !f->path) {
        sail__arena_free(arena);
        return NULL;
    }
    return f;
}

void sail__safetensors_close(sail__safetensors *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < f->n_parts; i++)
        if (f->parts[i].mapped)
            sail__file_unmap(&f->parts[i].map);
    sail__arena_free(f->arena);
}

static sail_code open_part(sail__safetensors *f, const char *path, sail_err *err)
{
    struct part *p = &f->parts[f->n_parts];
    SAIL_TRY(sail__file_map(path, &p->map, err));
    p->mapped = true;
    f->n_parts++;
    return read_part(f, path, p->map.data, p->map.size, err);
}

static sail_code sort(sail__safetensors *f, sail_err *err)
{
    if (f->n)
        qsort(f->tensors, f->n, sizeof *f->tensors, by_name);
    for (size_t i = 1; i < f->n; i++)
        if (!strcmp(f->tensors[i - 1].name, f->tensors[i].name))
            return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s is also in %s", f->tensors[i].file, f->tensors[i].name,
                             f->tensors[i - 1].file);
    return SAIL_OK;
}

static sail_code done(sail__safetensors *f, sail_code code, sail__safetensors **out)
{
    if (code == SAIL_OK)
        *out = f;
    else
        sail__safetensors_close(f);
    return code;
}

sail_code sail__safetensors_open(const char *path, sail__safetensors **out, sail_err *err)
{
    *out = NULL;
    sail__safetensors *f = new_file(path);
    if (!f)
        return no_memory(path, err);
    f->parts = sail__arena_alloc(f->arena, sizeof *f->parts);
    sail_code code = f->parts ? open_part(f, f->path, err) : no_memory(path, err);
    if (code == SAIL_OK)
        code = sort(f, err);
    return done(f, code, out);
}

sail_code sail__safetensors_open_memory(const void *data, size_t size, const char *name, sail__safetensors **out,
                                        sail_err *err)
{
    *out = NULL;
    sail__safetensors *f = new_file(name);
    if (!f)
        return no_memory(name, err);
    sail_code code = read_part(f, f->path, data, size, err);
    if (code == SAIL_OK)
        code = sort(f, err);
    return done(f, code, out);
}

/* ---- sharded ---- */

/* Opens each file of the map once. */
static sail_code open_shards(sail__safetensors *f, const char *index_path, const sail_node *map, sail_err *err)
{
    const char *dir = sail__path_dir(f->arena, index_path);
    const char **names = sail__arena_array(f->arena, map->list.n, sizeof *names);
    f->parts = sail__arena_array(f->arena, map->list.n, sizeof *f->parts);
    if (!dir || !names || !f->parts)
        return no_memory(index_path, err);
    for (size_t i = 0; i < map->list.n; i++) {
        const sail_node *file = map->list.items[i];
        if (file->kind != SAIL_NODE_STRING || !file->string.len || strchr(file->string.data, '/') ||
            file->string.data[0] == '.')
            return sail_fail(err, SAIL_E_FORMAT, "%s: weight_map.%s should be the name of a file in the same directory",
                             index_path, map->list.keys[i]);
        size_t k = 0;
        while (k < f->n_parts && strcmp(names[k], file->string.data))
            k++;
        if (k < f->n_parts)
            continue;
        names[f->n_parts] = file->string.data;
        const char *path = sail__path_join(f->arena, dir, file->string.data);
        if (!path)
            return no_memory(index_path, err);
        SAIL_TRY(open_part(f, path, err));
    }
    return sort(f, err);
}

static sail_code check_index(const sail__safetensors *f, const char *index_path, const sail_node *map, sail_err *err)
{
    for (size_t i = 0; i < map->list.n; i++) {
        const sail__st_tensor *t = sail__safetensors_find(f, map->list.keys[i]);
        const char *file = map->list.items[i]->string.data;
        if (!t)
            return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s should be in %s, but is not", index_path,
                             map->list.keys[i], file);
        if (strcmp(sail__path_base(t->file), file))
            return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s should be in %s, but is in %s", index_path,
                             map->list.keys[i], file, t->file);
    }
    if (f->n == map->list.n)
        return SAIL_OK;
    const char **listed = (const char **)map->list.keys;
    for (size_t i = 0; i < f->n; i++) { /* only reached when something is wrong */
        size_t k = 0;
        while (k < map->list.n && strcmp(listed[k], f->tensors[i].name))
            k++;
        if (k == map->list.n)
            return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s of %s is missing in weight_map", index_path,
                             f->tensors[i].name, f->tensors[i].file);
    }
    return SAIL_OK;
}

sail_code sail__safetensors_open_index(const char *index_path, sail__safetensors **out, sail_err *err)
{
    *out = NULL;
    sail__safetensors *f = new_file(index_path);
    if (!f)
        return no_memory(index_path, err);
    sail_node *root = NULL;
    sail_code code = sail__json_read(f->arena, index_path, LARGEST_INDEX, &root, err);
    const sail_node *map = code == SAIL_OK ? sail__node_get(root, "weight_map") : NULL;
    if (code == SAIL_OK && (!map || map->kind != SAIL_NODE_MAP || !map->list.n))
        code = sail_fail(err, SAIL_E_FORMAT, "%s: \"weight_map\" should be a map from tensors to files", index_path);
    if (code == SAIL_OK)
        code = open_shards(f, f->path, map, err);
    if (code == SAIL_OK)
        code = check_index(f, f->path, map, err);
    return done(f, code, out);
}

/* ---- looking up ---- */

size_t sail__safetensors_count(const sail__safetensors *f)
{
    return f->n;
}

const sail__st_tensor *sail__safetensors_at(const sail__safetensors *f, size_t i)
{
    return i < f->n ? &f->tensors[i] : NULL;
}

const sail__st_tensor *sail__safetensors_find(const sail__safetensors *f, const char *name)
{
    sail__st_tensor key = {.name = name};
    return f->n ? bsearch(&key, f->tensors, f->n, sizeof key, by_name) : NULL;
}

const char *sail__safetensors_metadata(const sail__safetensors *f, const char *key)
{
    for (size_t i = 0; f->metadata && i < f->metadata->list.n; i++)
        if (!strcmp(f->metadata->list.keys[i], key))
            return f->metadata->list.items[i]->string.data;
    return NULL;
}
