/* gguf.c - a file is magic, version, counts, key-value pairs, tensor descriptions, then aligned data. A cursor reads it
 * and refuses whatever would go past the end; counts are held against the bytes that remain before anything is
 * allocated. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gguf.h"

enum { LONGEST_KEY = 65535, LONGEST_NAME = 64, LEAST_KV = 13, LEAST_TENSOR = 33, LARGEST_ALIGNMENT = 1 << 20 };

struct sail__gguf {
    sail_arena *arena;
    sail_mapping map;
    bool mapped;
    const char *path;
    sail__gguf_kv *kv;
    const sail__gguf_kv **kv_sorted;
    size_t n_kv;
    sail__gguf_tensor *tensors;
    const sail__gguf_tensor **tensors_sorted;
    size_t n_tensors;
};

struct cursor {
    sail__gguf *g;
    const unsigned char *data;
    size_t size, at;
    sail_err *err;
};

struct type_row {
    const char *name;
    unsigned bytes, elements; /* of a block */
    sail_dtype dtype;         /* SAIL_DTYPE_COUNT: not held */
};
/* clang-format off */
#define HELD(NAME, TYPE, bytes, elements) {NAME, bytes, elements, SAIL_##TYPE}
#define OTHER(NAME, bytes, elements) {NAME, bytes, elements, SAIL_DTYPE_COUNT}
static const struct type_row types[] = { /* by the file's number; elements 0: no such type */
    [0] = HELD("F32", F32, 4, 1), [1] = HELD("F16", F16, 2, 1), [2] = HELD("Q4_0", Q4_0, 18, 32),
    [3] = HELD("Q4_1", Q4_1, 20, 32), [6] = HELD("Q5_0", Q5_0, 22, 32), [7] = HELD("Q5_1", Q5_1, 24, 32),
    [8] = HELD("Q8_0", Q8_0, 34, 32), [9] = OTHER("Q8_1", 36, 32), [10] = HELD("Q2_K", Q2_K, 84, 256),
    [11] = HELD("Q3_K", Q3_K, 110, 256), [12] = HELD("Q4_K", Q4_K, 144, 256), [13] = HELD("Q5_K", Q5_K, 176, 256),
    [14] = HELD("Q6_K", Q6_K, 210, 256), [15] = OTHER("Q8_K", 292, 256), [16] = OTHER("IQ2_XXS", 66, 256),
    [17] = OTHER("IQ2_XS", 74, 256), [18] = OTHER("IQ3_XXS", 98, 256), [19] = OTHER("IQ1_S", 50, 256),
    [20] = HELD("IQ4_NL", IQ4_NL, 18, 32), [21] = OTHER("IQ3_S", 110, 256), [22] = OTHER("IQ2_S", 82, 256),
    [23] = HELD("IQ4_XS", IQ4_XS, 136, 256), [24] = OTHER("I8", 1, 1), [25] = OTHER("I16", 2, 1),
    [26] = HELD("I32", I32, 4, 1),
    [27] = HELD("I64", I64, 8, 1), [28] = HELD("F64", F64, 8, 1), [29] = OTHER("IQ1_M", 56, 256),
    [30] = HELD("BF16", BF16, 2, 1), [34] = OTHER("TQ1_0", 54, 256), [35] = OTHER("TQ2_0", 66, 256),
    [39] = OTHER("MXFP4", 17, 32),
};
/* clang-format on */
enum { TYPES = sizeof types / sizeof types[0] };

static const unsigned char value_bytes[SAIL__GGUF_TYPES] = {
    [SAIL__GGUF_U8] = 1,  [SAIL__GGUF_I8] = 1,  [SAIL__GGUF_U16] = 2, [SAIL__GGUF_I16] = 2,
    [SAIL__GGUF_U32] = 4, [SAIL__GGUF_I32] = 4, [SAIL__GGUF_F32] = 4, [SAIL__GGUF_BOOL] = 1,
    [SAIL__GGUF_U64] = 8, [SAIL__GGUF_I64] = 8, [SAIL__GGUF_F64] = 8,
};

size_t sail__gguf_value_bytes(sail__gguf_type t)
{
    return value_bytes[t];
}

int sail__gguf_type_number(sail_dtype t)
{
    for (int i = 0; i < TYPES; i++)
        if (types[i].elements && types[i].dtype == t && t != SAIL_DTYPE_COUNT)
            return i;
    return -1;
}

static uint64_t little(const unsigned char *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

static sail_code no_memory(const struct cursor *c)
{
    return sail_fail(c->err, SAIL_E_NOMEM, "%s: no memory for its keys and tensors", c->g->path);
}

static sail_code short_file(const struct cursor *c, const char *what)
{
    return sail_fail(c->err, SAIL_E_FORMAT, "%s: byte %zu: the file ends inside %s (cut short?)", c->g->path, c->at,
                     what);
}

static sail_code number(struct cursor *c, int bytes, const char *what, uint64_t *out)
{
    if (c->size - c->at < (size_t)bytes)
        return short_file(c, what);
    *out = little(c->data + c->at, bytes);
    c->at += (size_t)bytes;
    return SAIL_OK;
}

static sail_code string(struct cursor *c, uint64_t most, const char *what, sail__gguf_string *out)
{
    uint64_t n = 0;
    SAIL_TRY(number(c, 8, what, &n));
    if (n > c->size - c->at)
        return sail_fail(c->err, SAIL_E_FORMAT, "%s: byte %zu: %s of %llu bytes, but only %zu remain", c->g->path,
                         c->at - 8, what, (unsigned long long)n, c->size - c->at);
    if (n > most)
        return sail_fail(c->err, SAIL_E_FORMAT, "%s: byte %zu: %s of %llu bytes; at most %llu are allowed", c->g->path,
                         c->at - 8, what, (unsigned long long)n, (unsigned long long)most);
    *out = (sail__gguf_string){(const char *)c->data + c->at, (size_t)n};
    c->at += (size_t)n;
    return SAIL_OK;
}

/* A name in the arena: not empty, without NUL, UTF-8. */
static sail_code name(struct cursor *c, uint64_t most, const char *what, const char **out)
{
    sail__gguf_string s;
    size_t at = c->at;
    SAIL_TRY(string(c, most, what, &s));
    if (!s.len || memchr(s.data, 0, s.len) || !sail__utf8_valid(s.data, s.len))
        return sail_fail(c->err, SAIL_E_FORMAT, "%s: byte %zu: %s is empty or not UTF-8 text", c->g->path, at, what);
    *out = sail__arena_strndup(c->g->arena, s.data, s.len);
    return *out ? SAIL_OK : no_memory(c);
}

/* ---- key-value pairs ---- */

static sail_code strings(struct cursor *c, sail__gguf_kv *kv)
{
    if (kv->n > (c->size - c->at) / 8)
        return sail_fail(c->err, SAIL_E_FORMAT,
                         "%s: byte %zu: key %s: %zu strings cannot fit into the %zu bytes that remain", c->g->path,
                         c->at, kv->key, kv->n, c->size - c->at);
    sail__gguf_string *s = sail__arena_array(c->g->arena, kv->n, sizeof *s);
    if (!s)
        return no_memory(c);
    kv->strings = s;
    for (size_t i = 0; i < kv->n; i++)
        SAIL_TRY(string(c, UINT64_MAX, "a string", &s[i]));
    if (kv->type == SAIL__GGUF_ARRAY)
        return SAIL_OK;
    s[0].data = sail__arena_strndup(c->g->arena, s[0].data, s[0].len); /* with a NUL at its end */
    return s[0].data ? SAIL_OK : no_memory(c);
}

static sail_code value(struct cursor *c, sail__gguf_kv *kv)
{
    uint64_t type = 0, item, n = 1;
    size_t at = c->at;
    SAIL_TRY(number(c, 4, "a key's type", &type));
    if (type >= SAIL__GGUF_TYPES)
        return sail_fail(c->err, SAIL_E_FORMAT, "%s: byte %zu: key %s: unknown type %llu", c->g->path, at, kv->key,
                         (unsigned long long)type);
    item = type;
    if (type == SAIL__GGUF_ARRAY) {
        at = c->at;
        SAIL_TRY(number(c, 4, "an array's type", &item));
        if (item >= SAIL__GGUF_TYPES || item == SAIL__GGUF_ARRAY)
            return sail_fail(c->err, SAIL_E_FORMAT, "%s: byte %zu: key %s: arrays of type %llu are not supported",
                             c->g->path, at, kv->key, (unsigned long long)item);
        SAIL_TRY(number(c, 8, "an array's length", &n));
    }
    kv->type = (sail__gguf_type)type;
    kv->item = (sail__gguf_type)item;
    if (n > c->size)
        return sail_fail(c->err, SAIL_E_FORMAT,
                         "%s: byte %zu: key %s: an array of %llu elements in a file of %zu bytes", c->g->path, c->at,
                         kv->key, (unsigned long long)n, c->size);
    kv->n = (size_t)n;
    if (item == SAIL__GGUF_STRING)
        return strings(c, kv);
    size_t each = value_bytes[item];
    if (kv->n > (c->size - c->at) / each)
        return sail_fail(c->err, SAIL_E_FORMAT,
                         "%s: byte %zu: key %s: %zu elements of %zu bytes, but only %zu bytes remain", c->g->path,
                         c->at, kv->key, kv->n, each, c->size - c->at);
    kv->raw = c->data + c->at;
    c->at += kv->n * each;
    return SAIL_OK;
}

static int kv_order(const void *x, const void *y)
{
    const sail__gguf_kv *const *a = x, *const *b = y;
    return strcmp((*a)->key, (*b)->key);
}

static sail_code read_kv(struct cursor *c, uint64_t count)
{
    sail__gguf *g = c->g;
    if (count > (c->size - c->at) / LEAST_KV)
        return sail_fail(c->err, SAIL_E_FORMAT, "%s: byte 16: %llu keys cannot fit into a file of %zu bytes", g->path,
                         (unsigned long long)count, c->size);
    g->kv = sail__arena_array(g->arena, (size_t)count, sizeof *g->kv);
    g->kv_sorted = sail__arena_array(g->arena, (size_t)count, sizeof *g->kv_sorted);
    if (!g->kv || !g->kv_sorted)
        return no_memory(c);
    for (size_t i = 0; i < count; i++) {
        SAIL_TRY(name(c, LONGEST_KEY, "a key", &g->kv[i].key));
        SAIL_TRY(value(c, &g->kv[i]));
        g->kv_sorted[i] = &g->kv[i];
    }
    g->n_kv = (size_t)count;
    if (count)
        qsort(g->kv_sorted, g->n_kv, sizeof *g->kv_sorted, kv_order);
    for (size_t i = 1; i < g->n_kv; i++)
        if (!strcmp(g->kv_sorted[i - 1]->key, g->kv_sorted[i]->key))
            return sail_fail(c->err, SAIL_E_FORMAT, "%s: key %s occurs twice", g->path, g->kv_sorted[i]->key);
    return SAIL_OK;
}

/* ---- tensors ---- */

static sail_code tensor_size(struct cursor *c, sail__gguf_tensor *t, const struct type_row *row)
{
    uint64_t n = 1, bytes;
    for (int d = 0; d < t->rank; d++)
        if (t->dims[d] < 0 || __builtin_mul_overflow(n, (uint64_t)t->dims[d], &n) || n > INT64_MAX)
            return sail_fail(c->err, SAIL_E_FORMAT, "%s: tensor %s: the product of its dimensions overflows",
                             c->g->path, t->name);
    if ((uint64_t)t->dims[0] % row->elements)
        return sail_fail(c->err, SAIL_E_FORMAT, "%s: tensor %s: rows of %lld elements, but %s has blocks of %u",
                         c->g->path, t->name, (long long)t->dims[0], row->name, row->elements);
    if (__builtin_mul_overflow(n / row->elements, (uint64_t)row->bytes, &bytes) || bytes > c->size)
        return sail_fail(c->err, SAIL_E_FORMAT,
                         "%s: tensor %s: its dimensions ask for more bytes than the file has (%zu)", c->g->path,
                         t->name, c->size);
    t->bytes = (size_t)bytes;
    t->cols = t->dims[0];
    t->rows = t->dims[0] ? (int64_t)(n / (uint64_t)t->dims[0]) : 0;
    return SAIL_OK;
}

static sail_code read_tensor(struct cursor *c, sail__gguf_tensor *t)
{
    uint64_t v = 0;
    SAIL_TRY(name(c, LONGEST_NAME, "a tensor's name", &t->name));
    SAIL_TRY(number(c, 4, "a tensor's description", &v));
    if (v < 1 || v > 4)
        return sail_fail(c->err, SAIL_E_FORMAT, "%s: byte %zu: tensor %s has %llu dimensions; 1 to 4 are allowed",
                         c->g->path, c->at - 4, t->name, (unsigned long long)v);
    t->rank = (int)v;
    for (int d = 0; d < 4; d++)
        t->dims[d] = 1;
    for (int d = 0; d < t->rank; d++) {
        SAIL_TRY(number(c, 8, "a tensor's dimensions", &v));
        t->dims[d] = v > INT64_MAX ? -1 : (int64_t)v;
    }
    SAIL_TRY(number(c, 4, "a tensor's type", &v));
    if (v >= TYPES || !types[v].elements)
        return sail_fail(c->err, SAIL_E_FORMAT, "%s: byte %zu: tensor %s: unknown type %llu", c->g->path, c->at - 4,
                         t->name, (unsigned long long)v);
    t->dtype = types[v].dtype;
    t->type_name = types[v].name;
    SAIL_TRY(tensor_size(c, t, &types[v]));
    return number(c, 8, "a tensor's offset", &t->offset);
}

static int tensor_order(const void *x, const void *y)
{
    const sail__gguf_tensor *const *a = x, *const *b = y;
    return strcmp((*a)->name, (*b)->name);
}

static int offset_order(const void *x, const void *y)
{
    const sail__gguf_tensor *const *a = x, *const *b = y;
    if ((*a)->offset != (*b)->offset)
        return (*a)->offset < (*b)->offset ? -1 : 1;
    return (*a)->bytes < (*b)->bytes ? -1 : (*a)->bytes > (*b)->bytes;
}

/* Offsets become those in the file; data is set. */
static sail_code place(struct cursor *c, uint64_t alignment)
{
    sail__gguf *g = c->g;
    uint64_t start = (c->at + alignment - 1) / alignment * alignment;
    uint64_t room = start < c->size ? c->size - start : 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        sail__gguf_tensor *t = &g->tensors[i];
        if (t->offset % alignment)
            return sail_fail(c->err, SAIL_E_FORMAT, "%s: tensor %s: offset %llu is no multiple of the alignment %llu",
                             g->path, t->name, (unsigned long long)t->offset, (unsigned long long)alignment);
        if (t->offset > room || t->bytes > room - t->offset)
            return sail_fail(c->err, SAIL_E_FORMAT,
                             "%s: tensor %s: %zu bytes at offset %llu of the data, which have %llu "
                             "(cut short?)",
                             g->path, t->name, t->bytes, (unsigned long long)t->offset, (unsigned long long)room);
        t->offset += start;
        t->data = c->data + t->offset;
    }
    if (g->n_tensors)
        qsort(g->tensors_sorted, g->n_tensors, sizeof *g->tensors_sorted, offset_order);
    for (size_t i = 1; i < g->n_tensors; i++) {
        const sail__gguf_tensor *a = g->tensors_sorted[i - 1], *b = g->tensors_sorted[i];
        if (a->offset + a->bytes > b->offset)
            return sail_fail(c->err, SAIL_E_FORMAT, "%s: tensor %s at byte %llu overlaps %s", g->path, b->name,
                             (unsigned long long)b->offset, a->name);
    }
    return SAIL_OK;
}

static sail_code read_tensors(struct cursor *c, uint64_t count)
{
    sail__gguf *g = c->g;
    if (count > (c->size - c->at) / LEAST_TENSOR)
        return sail_fail(c->err, SAIL_E_FORMAT, "%s: byte 8: %llu tensors cannot fit into a file of %zu bytes", g->path,
                         (unsigned long long)count, c->size);
    g->tensors = sail__arena_array(g->arena, (size_t)count, sizeof *g->tensors);
    g->tensors_sorted = sail__arena_array(g->arena, (size_t)count, sizeof *g->tensors_sorted);
    if (!g->tensors || !g->tensors_sorted)
        return no_memory(c);
    g->n_tensors = (size_t)count;
    for (size_t i = 0; i < count; i++) {
        g->tensors_sorted[i] = &g->tensors[i];
        SAIL_TRY(read_tensor(c, &g->tensors[i]));
    }
    const int64_t usual = 32;
    int64_t alignment;
    SAIL_TRY(sail__gguf_int(g, "general.alignment", &usual, &alignment, c->err));
    if (alignment < 1 || alignment > LARGEST_ALIGNMENT || (alignment & (alignment - 1)))
        return sail_fail(c->err, SAIL_E_FORMAT, "%s: general.alignment is %lld; a power of two up to %d was expected",
                         g->path, (long long)alignment, LARGEST_ALIGNMENT);
    SAIL_TRY(place(c, (uint64_t)alignment));
    if (g->n_tensors)
        qsort(g->tensors_sorted, g->n_tensors, sizeof *g->tensors_sorted, tensor_order);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (!strcmp(g->tensors_sorted[i - 1]->name, g->tensors_sorted[i]->name))
            return sail_fail(c->err, SAIL_E_FORMAT, "%s: tensor %s occurs twice", g->path, g->tensors_sorted[i]->name);
    return SAIL_OK;
}

/* ---- opening ---- */

static sail_code parse(sail__gguf *g, const unsigned char *data, size_t size, sail_err *err)
{
    struct cursor c = {g, data, size, 0, err};
    uint64_t version = 0, n_tensors = 0, n_kv = 0;
    if (size < 4 || memcmp(data, "GGUF", 4))
        return sail_fail(err, SAIL_E_FORMAT, "%s: byte 0: not a GGUF file (it should begin with GGUF)", g->path);
    c.at = 4;
    SAIL_TRY(number(&c, 4, "the version", &version));
    if (version != 2 && version != 3)
        return sail_fail(err, SAIL_E_FORMAT, "%s: byte 4: GGUF version %llu%s; 2 and 3 are supported", g->path,
                         (unsigned long long)version, version && !(version & 0xffff) ? " (big-endian)" : "");
    SAIL_TRY(number(&c, 8, "the number of tensors", &n_tensors));
    SAIL_TRY(number(&c, 8, "the number of keys", &n_kv));
    SAIL_TRY(read_kv(&c, n_kv));
    return read_tensors(&c, n_tensors);
}

static sail__gguf *new_file(const char *path)
{
    sail_arena *arena = sail__arena_new();
    sail__gguf *g = arena ? sail__arena_alloc(arena, sizeof *g) : NULL;
    if (g) {
        g->arena = arena;
        g->path = sail__arena_strdup(arena, path);
    }
    if (!g || !g->path) {
        sail__arena_free(arena);
        return NULL;
    }
    return g;
}

static sail_code done(sail__gguf *g, sail_code code, sail__gguf **out)
{
    if (code == SAIL_OK)
        *out = g;
    else
        sail__gguf_close(g);
    return code;
}

sail_code sail__gguf_open(const char *path, sail__gguf **out, sail_err *err)
{
    *out = NULL;
    sail__gguf *g = new_file(path);
    if (!g)
        return sail_fail(err, SAIL_E_NOMEM, "%s: no memory to open it", path);
    sail_code code = sail__file_map(path, &g->map, err);
    g->mapped = code == SAIL_OK;
    if (code == SAIL_OK)
        code = parse(g, g->map.data, g->map.size, err);
    return done(g, code, out);
}

sail_code sail__gguf_open_memory(const void *data, size_t size, const char *path, sail__gguf **out, sail_err *err)
{
    *out = NULL;
    sail__gguf *g = new_file(path);
    if (!g)
        return sail_fail(err, SAIL_E_NOMEM, "%s: no memory to open it", path);
    return done(g, parse(g, data, size, err), out);
}

void sail__gguf_close(sail__gguf *g)
{
    if (!g)
        return;
    if (g->mapped)
        sail__file_unmap(&g->map);
    sail__arena_free(g->arena);
}

/* ---- looking up ---- */

const char *sail__gguf_path(const sail__gguf *g)
{
    return g->path;
}

const sail__gguf_kv *sail__gguf_kv_at(const sail__gguf *g, size_t i)
{
    return i < g->n_kv ? &g->kv[i] : NULL;
}

const sail__gguf_kv *sail__gguf_get(const sail__gguf *g, const char *key)
{
    sail__gguf_kv wanted = {.key = key};
    const sail__gguf_kv *p = &wanted;
    const sail__gguf_kv **found = g->n_kv ? bsearch(&p, g->kv_sorted, g->n_kv, sizeof p, kv_order) : NULL;
    return found ? *found : NULL;
}

size_t sail__gguf_count(const sail__gguf *g)
{
    return g->n_tensors;
}

const sail__gguf_tensor *sail__gguf_at(const sail__gguf *g, size_t i)
{
    return i < g->n_tensors ? &g->tensors[i] : NULL;
}

const sail__gguf_tensor *sail__gguf_find(const sail__gguf *g, const char *wanted_name)
{
    sail__gguf_tensor wanted = {.name = wanted_name};
    const sail__gguf_tensor *p = &wanted;
    const sail__gguf_tensor **found =
        g->n_tensors ? bsearch(&p, g->tensors_sorted, g->n_tensors, sizeof p, tensor_order) : NULL;
    return found ? *found : NULL;
}

const char *sail__gguf_shape(const sail__gguf_tensor *t, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "[");
    for (int d = t->rank - 1; d >= 0 && used < size; d--)
        used += (size_t)snprintf(out + used, size - used, d ? "%lld, " : "%lld]", (long long)t->dims[d]);
    return out;
}

/* ---- typed access ---- */

int64_t sail__gguf_int_at(const sail__gguf_kv *kv, size_t i)
{
    if (i >= kv->n || !kv->raw)
        return 0;
    int bytes = value_bytes[kv->item];
    uint64_t v = little(kv->raw + i * (size_t)bytes, bytes);
    switch (kv->item) {
    case SAIL__GGUF_I8:
        return (int8_t)v;
    case SAIL__GGUF_I16:
        return (int16_t)v;
    case SAIL__GGUF_I32:
        return (int32_t)v;
    case SAIL__GGUF_BOOL:
        return v != 0;
    case SAIL__GGUF_U64:
        return v > INT64_MAX ? INT64_MAX : (int64_t)v;
    case SAIL__GGUF_F32:
    case SAIL__GGUF_F64: {
        double d = sail__gguf_double_at(kv, i);
        return d >= -9.2e18 && d <= 9.2e18 ? (int64_t)d : 0;
    }
    default:
        return (int64_t)v;
    }
}

double sail__gguf_double_at(const sail__gguf_kv *kv, size_t i)
{
    if (i >= kv->n || !kv->raw)
        return 0;
    if (kv->item == SAIL__GGUF_F32) {
        union {
            uint32_t u;
            float f;
        } v = {(uint32_t)little(kv->raw + i * 4, 4)};
        return v.f;
    }
    if (kv->item == SAIL__GGUF_F64) {
        union {
            uint64_t u;
            double d;
        } v = {little(kv->raw + i * 8, 8)};
        return v.d;
    }
    return (double)sail__gguf_int_at(kv, i);
}

enum want { WANT_INT, WANT_DOUBLE, WANT_BOOL, WANT_TEXT };

/* *kv is NULL when the key is not there and need not be. */
static sail_code look(const sail__gguf *g, const char *key, bool required, enum want want, const sail__gguf_kv **kv,
                      sail_err *err)
{
    static const char *const words[] = {"an integer", "a number", "true or false", "a string"};
    *kv = sail__gguf_get(g, key);
    if (!*kv)
        return required ? sail_fail(err, SAIL_E_NOTFOUND, "%s: key %s is missing", g->path, key) : SAIL_OK;
    sail__gguf_type t = (*kv)->type;
    bool real = t == SAIL__GGUF_F32 || t == SAIL__GGUF_F64;
    bool whole = !real && t != SAIL__GGUF_BOOL && t != SAIL__GGUF_STRING && t != SAIL__GGUF_ARRAY;
    bool ok = want == WANT_INT      ? whole
              : want == WANT_DOUBLE ? whole || real
              : want == WANT_BOOL   ? t == SAIL__GGUF_BOOL
                                    : t == SAIL__GGUF_STRING;
    if (!ok)
        return sail_fail(err, SAIL_E_FORMAT, "%s: key %s should be %s", g->path, key, words[want]);
    return SAIL_OK;
}

sail_code sail__gguf_int(const sail__gguf *g, const char *key, const int64_t *fallback, int64_t *out, sail_err *err)
{
    const sail__gguf_kv *kv;
    SAIL_TRY(look(g, key, !fallback, WANT_INT, &kv, err));
    *out = kv ? sail__gguf_int_at(kv, 0) : *fallback;
    return SAIL_OK;
}

sail_code sail__gguf_double(const sail__gguf *g, const char *key, const double *fallback, double *out, sail_err *err)
{
    const sail__gguf_kv *kv;
    SAIL_TRY(look(g, key, !fallback, WANT_DOUBLE, &kv, err));
    *out = kv ? sail__gguf_double_at(kv, 0) : *fallback;
    return SAIL_OK;
}

sail_code sail__gguf_bool(const sail__gguf *g, const char *key, const bool *fallback, bool *out, sail_err *err)
{
    const sail__gguf_kv *kv;
    SAIL_TRY(look(g, key, !fallback, WANT_BOOL, &kv, err));
    *out = kv ? sail__gguf_int_at(kv, 0) != 0 : *fallback;
    return SAIL_OK;
}

sail_code sail__gguf_text(const sail__gguf *g, const char *key, const char *fallback, bool required, const char **out,
                          sail_err *err)
{
    const sail__gguf_kv *kv;
    SAIL_TRY(look(g, key, required, WANT_TEXT, &kv, err));
    if (kv && memchr(kv->strings[0].data, 0, kv->strings[0].len))
        return sail_fail(err, SAIL_E_FORMAT, "%s: key %s holds a NUL byte", g->path, key);
    *out = kv ? kv->strings[0].data : fallback;
    return SAIL_OK;
}
