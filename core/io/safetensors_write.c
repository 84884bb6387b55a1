/* safetensors_write.c - writing: the header at once, then the tensors' bytes in order, into an atomic file. */
#include <string.h>

#include "../base/node.h"
#include "safetensors.h"

struct sail__st_writer {
    sail_atomic *file;
    uint64_t left; /* bytes still to come */
    char path[];
};

static const char *dtype_text(sail_dtype t)
{
    switch (t) {
    case SAIL_F64:
        return "F64";
    case SAIL_F32:
        return "F32";
    case SAIL_F16:
        return "F16";
    case SAIL_BF16:
        return "BF16";
    case SAIL_I64:
        return "I64";
    case SAIL_I32:
        return "I32";
    case SAIL_U8:
        return "U8";
    default:
        return NULL;
    }
}

static sail_code entry_bytes(const char *path, const sail__st_entry *e, uint64_t *bytes, sail_err *err)
{
    uint64_t n = 1;
    if (!dtype_text(e->dtype))
        return sail_fail(err, SAIL_E_DTYPE, "%s: tensor %s: %s cannot be written to a safetensors file", path, e->name,
                         sail_dtype_name(e->dtype));
    if (e->rank < 0 || e->rank > SAIL__TENSOR_RANK)
        return sail_fail(err, SAIL_E_SHAPE, "%s: tensor %s: %d dimensions; 0 to %d are possible", path, e->name,
                         e->rank, SAIL__TENSOR_RANK);
    for (int i = 0; i < e->rank; i++)
        if (e->shape[i] < 0 || __builtin_mul_overflow(n, (uint64_t)e->shape[i], &n))
            return sail_fail(err, SAIL_E_SHAPE, "%s: tensor %s: its shape is negative or overflows", path, e->name);
    if (__builtin_mul_overflow(n, (uint64_t)sail_dtype_block_bytes(e->dtype), bytes))
        return sail_fail(err, SAIL_E_SHAPE, "%s: tensor %s: its size overflows", path, e->name);
    return SAIL_OK;
}

static sail_code header(const char *path, const sail__st_entry *entries, size_t n, const char *const *metadata,
                        sail_buf *out, uint64_t *total, sail_err *err)
{
    static const char *const usual[] = {"format", "pt", NULL};
    metadata = metadata ? metadata : usual;
    sail__buf_str(out, "{\"__metadata__\":{");
    for (size_t i = 0; metadata[i] && metadata[i + 1]; i += 2) {
        sail__buf_str(out, i ? "," : "");
        sail__json_quote(out, metadata[i], strlen(metadata[i]));
        sail__buf_str(out, ":");
        sail__json_quote(out, metadata[i + 1], strlen(metadata[i + 1]));
    }
    sail__buf_str(out, "}");
    *total = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t bytes = 0;
        SAIL_TRY(entry_bytes(path, &entries[i], &bytes, err));
        sail__buf_str(out, ",");
        sail__json_quote(out, entries[i].name, strlen(entries[i].name));
        sail__buf_printf(out, ":{\"dtype\":\"%s\",\"shape\":[", dtype_text(entries[i].dtype));
        for (int d = 0; d < entries[i].rank; d++)
            sail__buf_printf(out, d ? ",%lld" : "%lld", (long long)entries[i].shape[d]);
        sail__buf_printf(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)*total,
                         (unsigned long long)(*total + bytes));
        *total += bytes;
    }
    sail__buf_str(out, "}");
    while (!out->oom && out->len % 8) /* so that data lie aligned in the file */
        sail__buf_str(out, " ");
    return out->oom ? sail_fail(err, SAIL_E_NOMEM, "%s: no memory for its header", path) : SAIL_OK;
}

sail_code sail__st_begin(const char *path, const sail__st_entry *entries, size_t n, const char *const *metadata,
                         sail__st_writer **out, sail_err *err)
{
    *out = NULL;
    if (!path)
        return sail_fail(err, SAIL_E_NOMEM, "no memory for the name of a file");
    sail_buf text = {0};
    uint64_t total = 0;
    sail_code code = header(path, entries, n, metadata, &text, &total, err);
    sail__st_writer *w = NULL;
    if (code == SAIL_OK && !(w = sail__calloc(1, sizeof *w + strlen(path) + 1)))
        code = sail_fail(err, SAIL_E_NOMEM, "%s: no memory to write it", path);
    if (code == SAIL_OK) {
        memcpy(w->path, path, strlen(path) + 1);
        w->left = total;
        code = sail__atomic_begin(path, &w->file, err);
    }
    if (code == SAIL_OK) {
        unsigned char length[8];
        for (int i = 0; i < 8; i++)
            length[i] = (unsigned char)((uint64_t)text.len >> (8 * i));
        code = sail__atomic_write(w->file, length, sizeof length, err);
        if (code == SAIL_OK)
            code = sail__atomic_write(w->file, text.data, text.len, err);
    }
    sail__buf_free(&text);
    if (code == SAIL_OK)
        *out = w;
    else
        sail__st_abort(w);
    return code;
}

sail_code sail__st_write(sail__st_writer *w, const void *data, size_t bytes, sail_err *err)
{
    if (bytes > w->left)
        return sail_fail(err, SAIL_E_BUG, "%s: %zu bytes given where %llu are left", w->path, bytes,
                         (unsigned long long)w->left);
    w->left -= bytes;
    return sail__atomic_write(w->file, data, bytes, err);
}

sail_code sail__st_commit(sail__st_writer *w, sail_err *err)
{
    if (w->left) {
        sail_code code =
            sail_fail(err, SAIL_E_BUG, "%s: %llu bytes were not given", w->path, (unsigned long long)w->left);
        sail__st_abort(w);
        return code;
    }
    sail_code code = sail__atomic_commit(w->file, err);
    sail__free(w);
    return code;
}

void sail__st_abort(sail__st_writer *w)
{
    if (!w)
        return;
    sail__atomic_abort(w->file);
    sail__free(w);
}

sail_code sail__safetensors_save(const char *path, const sail__st_entry *entries, size_t n, const char *const *metadata,
                                 sail_err *err)
{
    sail__st_writer *w;
    SAIL_TRY(sail__st_begin(path, entries, n, metadata, &w, err));
    for (size_t i = 0; i < n; i++) {
        uint64_t bytes;
        sail_code code = entry_bytes(path, &entries[i], &bytes, err);
        if (code == SAIL_OK)
            code = sail__st_write(w, entries[i].data, (size_t)bytes, err);
        if (code != SAIL_OK) {
            sail__st_abort(w);
            return code;
        }
    }
    return sail__st_commit(w, err);
}
