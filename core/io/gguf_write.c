/* gguf_write.c - writing GGUF version 3: magic, counts, keys and descriptions of tensors at once, then the tensors' bytes, each aligned,
 * into an atomic file. */
#include <string.h>

#include "gguf.h"

enum { VERSION = 3, ALIGNMENT = 32, LONGEST_NAME = 63 };

struct sail__gguf_writer {
    sail_atomic *file;
    uint64_t *left; /* [n] bytes of each entry still to come */
    size_t n, at;   /* entries; the one that is being written */
    uint64_t written, fill; /* bytes of it; zeros that go before the next */
    char *path;
};

/* ---- values, little-endian ---- */

static void put(sail_buf *b, uint64_t v, int bytes)
{
    unsigned char out[8];
    for (int i = 0; i < bytes; i++)
        out[i] = (unsigned char)(v >> (8 * i));
    sail__buf_add(b, out, (size_t)bytes);
}

static void put_float(sail_buf *b, float v)
{
    union {
        float f;
        uint32_t u;
    } bits = {v};
    put(b, bits.u, 4);
}

static void put_string(sail_buf *b, const char *s, size_t n)
{
    put(b, n, 8);
    sail__buf_add(b, s, n);
}

/* ---- keys ---- */

static sail_buf *begin_key(sail__gguf_keys *k, const char *key, sail__gguf_type type)
{
    put_string(&k->bytes, key, strlen(key));
    put(&k->bytes, type, 4);
    k->n++;
    return &k->bytes;
}

static sail_buf *begin_array(sail__gguf_keys *k, const char *key, sail__gguf_type item, size_t n)
{
    sail_buf *b = begin_key(k, key, SAIL__GGUF_ARRAY);
    put(b, item, 4);
    put(b, n, 8);
    return b;
}

void sail__gguf_put_u32(sail__gguf_keys *k, const char *key, uint32_t v)
{
    put(begin_key(k, key, SAIL__GGUF_U32), v, 4);
}

void sail__gguf_put_f32(sail__gguf_keys *k, const char *key, double v)
{
    put_float(begin_key(k, key, SAIL__GGUF_F32), (float)v);
}

void sail__gguf_put_bool(sail__gguf_keys *k, const char *key, bool v)
{
    put(begin_key(k, key, SAIL__GGUF_BOOL), v, 1);
}

void sail__gguf_put_text(sail__gguf_keys *k, const char *key, const char *v)
{
    put_string(begin_key(k, key, SAIL__GGUF_STRING), v, strlen(v));
}

void sail__gguf_put_texts(sail__gguf_keys *k, const char *key, const char *const *v, const size_t *sizes, size_t n)
{
    sail_buf *b = begin_array(k, key, SAIL__GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        put_string(b, v[i], sizes[i]);
}

void sail__gguf_put_i32s(sail__gguf_keys *k, const char *key, const int32_t *v, size_t n)
{
    sail_buf *b = begin_array(k, key, SAIL__GGUF_I32, n);
    for (size_t i = 0; i < n; i++)
        put(b, (uint32_t)v[i], 4);
}

void sail__gguf_put_f32s(sail__gguf_keys *k, const char *key, const float *v, size_t n)
{
    sail_buf *b = begin_array(k, key, SAIL__GGUF_F32, n);
    for (size_t i = 0; i < n; i++)
        put_float(b, v[i]);
}

void sail__gguf_put_copy(sail__gguf_keys *k, const sail__gguf_kv *kv)
{
    sail_buf *b = kv->type == SAIL__GGUF_ARRAY ? begin_array(k, kv->key, kv->item, kv->n) : begin_key(k, kv->key, kv->type);
    for (size_t i = 0; kv->strings && i < kv->n; i++)
        put_string(b, kv->strings[i].data, kv->strings[i].len);
    if (kv->raw)
        sail__buf_add(b, kv->raw, kv->n * sail__gguf_value_bytes(kv->item));
}

void sail__gguf_keys_free(sail__gguf_keys *k)
{
    sail__buf_free(&k->bytes);
    k->n = 0;
}

/* ---- the file ---- */

static uint64_t aligned(uint64_t n)
{
    return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static sail_code describe(sail__gguf_writer *w, const sail__gguf_entry *entries, sail_buf *out, sail_err *err)
{
    uint64_t offset = 0;
    for (size_t i = 0; i < w->n; i++) {
        const sail__gguf_entry *e = &entries[i];
        const int type = sail__gguf_type_number(e->dtype);
        const size_t len = strlen(e->name), row = sail_dtype_bytes(e->dtype, (uint64_t)e->dims[0]);
        const uint64_t rows = e->rank == 2 ? (uint64_t)e->dims[1] : 1;
        if (len > LONGEST_NAME)
            return sail_fail(err, SAIL_E_FORMAT, "%s: tensor %s: a name of at most %d bytes was expected", w->path, e->name, LONGEST_NAME);
        if (type < 0)
            return sail_fail(err, SAIL_E_DTYPE, "%s: tensor %s: %s cannot be written to a GGUF file", w->path, e->name, sail_dtype_name(e->dtype));
        if (row == SIZE_MAX || __builtin_mul_overflow((uint64_t)row, rows, &w->left[i]))
            return sail_fail(err, SAIL_E_SHAPE, "%s: tensor %s: rows of %lld are no whole blocks of %s, or its size overflows", w->path, e->name,
                             (long long)e->dims[0], sail_dtype_name(e->dtype));
        put_string(out, e->name, len);
        put(out, (uint64_t)e->rank, 4);
        for (int d = 0; d < e->rank; d++)
            put(out, (uint64_t)e->dims[d], 8);
        put(out, (uint64_t)type, 4);
        put(out, offset, 8);
        offset = aligned(offset + w->left[i]);
    }
    return SAIL_OK;
}

static sail_code no_memory(const char *path, sail_err *err)
{
    return sail_fail(err, SAIL_E_NOMEM, "%s: no memory to write it", path);
}

static sail_code head(sail__gguf_writer *w, const sail__gguf_keys *keys, const sail__gguf_entry *entries, sail_err *err)
{
    sail_buf b = {0};
    sail__buf_str(&b, "GGUF");
    put(&b, VERSION, 4);
    put(&b, w->n, 8);
    put(&b, keys->n, 8);
    sail__buf_add(&b, keys->bytes.data, keys->bytes.len);
    sail_code code = describe(w, entries, &b, err);
    if (code == SAIL_OK && (b.oom || keys->bytes.oom))
        code = no_memory(w->path, err);
    if (code == SAIL_OK)
        code = sail__atomic_begin(w->path, &w->file, err);
    if (code == SAIL_OK)
        code = sail__atomic_write(w->file, b.data, b.len, err);
    w->fill = aligned(b.len) - b.len;
    sail__buf_free(&b);
    return code;
}

sail_code sail__gguf_begin(const char *path, const sail__gguf_keys *keys, const sail__gguf_entry *entries, size_t n,
                           sail__gguf_writer **out, sail_err *err)
{
    *out = NULL;
    sail__gguf_writer *w = sail__calloc(1, sizeof *w);
    if (w) {
        w->n = n;
        w->path = sail__strdup(path);
        w->left = sail__calloc(n, sizeof *w->left);
    }
    sail_code code = w && w->path && w->left ? head(w, keys, entries, err) : no_memory(path, err);
    if (code == SAIL_OK)
        *out = w;
    else
        sail__gguf_abort(w);
    return code;
}

static sail_code fill_up(sail__gguf_writer *w, sail_err *err)
{
    static const unsigned char zeros[ALIGNMENT];
    sail_code code = w->fill ? sail__atomic_write(w->file, zeros, (size_t)w->fill, err) : SAIL_OK;
    w->fill = 0;
    return code;
}

sail_code sail__gguf_write(sail__gguf_writer *w, const void *data, size_t bytes, sail_err *err)
{
    const unsigned char *from = data;
    while (bytes) {
        if (w->at == w->n)
            return sail_fail(err, SAIL_E_BUG, "%s: %zu bytes given beyond its last tensor", w->path, bytes);
        const size_t part = bytes < w->left[w->at] ? bytes : (size_t)w->left[w->at];
        SAIL_TRY(fill_up(w, err));
        SAIL_TRY(sail__atomic_write(w->file, from, part, err));
        from += part;
        bytes -= part;
        w->left[w->at] -= part;
        w->written += part;
        if (w->left[w->at] == 0) {
            w->fill = aligned(w->written) - w->written;
            w->written = 0;
            w->at++;
        }
    }
    return SAIL_OK;
}

sail_code sail__gguf_commit(sail__gguf_writer *w, sail_err *err)
{
    sail_code code = SAIL_OK;
    if (w->at < w->n)
        code = sail_fail(err, SAIL_E_BUG, "%s: bytes of its tensor %zu were not given", w->path, w->at);
    if (code == SAIL_OK)
        code = fill_up(w, err); /* llama.cpp expects the last tensor filled up as well */
    if (code == SAIL_OK) {
        code = sail__atomic_commit(w->file, err);
        w->file = NULL;
    }
    sail__gguf_abort(w);
    return code;
}

void sail__gguf_abort(sail__gguf_writer *w)
{
    if (!w)
        return;
    sail__atomic_abort(w->file);
    sail__free(w->left);
    sail__free(w->path);
    sail__free(w);
}
