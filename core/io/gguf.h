/* gguf.h - reading GGUF files, versions 2 and 3 (little-endian), mapped, and writing version 3.
 *
 * Floor: io. Threads: an opened file may be read from any thread. Ownership: everything lives until close.
 * Every count and length is held against the bytes that remain before anything is allocated. */
#ifndef SAIL_IO_GGUF_H
#define SAIL_IO_GGUF_H

#include "../base/base.h"
#include "../sail/tensor.h"

typedef enum sail__gguf_type {
    SAIL__GGUF_U8, SAIL__GGUF_I8, SAIL__GGUF_U16, SAIL__GGUF_I16, SAIL__GGUF_U32, SAIL__GGUF_I32, SAIL__GGUF_F32,
    SAIL__GGUF_BOOL, SAIL__GGUF_STRING, SAIL__GGUF_ARRAY, SAIL__GGUF_U64, SAIL__GGUF_I64, SAIL__GGUF_F64,
    SAIL__GGUF_TYPES
} sail__gguf_type;

typedef struct sail__gguf_string {
    const char *data; /* not NUL-terminated; may hold any byte */
    size_t len;
} sail__gguf_string;

typedef struct sail__gguf_kv {
    const char *key;
    sail__gguf_type type; /* of an array: ARRAY */
    sail__gguf_type item; /* of an array's elements; never ARRAY */
    size_t n;             /* elements; 1 for a single value */
    const unsigned char *raw;         /* numbers as stored, unaligned */
    const sail__gguf_string *strings; /* STRING and arrays of STRING */
} sail__gguf_kv;

typedef struct sail__gguf_tensor {
    const char *name;
    sail_dtype dtype; /* SAIL_DTYPE_COUNT: a type that is not held here; type_name says which */
    const char *type_name;
    int rank;
    int64_t dims[4]; /* fastest first: [in, out]; 1 beyond rank */
    int64_t rows, cols; /* cols = dims[0], rows = the product of the others */
    const void *data;
    size_t bytes;
    uint64_t offset; /* in the file */
} sail__gguf_tensor;

typedef struct sail__gguf sail__gguf;
sail_code sail__gguf_open(const char *path, sail__gguf **out, sail_err *err);
/* From memory that outlives the result; name is for messages. */
sail_code sail__gguf_open_memory(const void *data, size_t size, const char *name, sail__gguf **out, sail_err *err);
void sail__gguf_close(sail__gguf *g);
const char *sail__gguf_path(const sail__gguf *g);

const sail__gguf_kv *sail__gguf_kv_at(const sail__gguf *g, size_t i); /* in the file's order */
const sail__gguf_kv *sail__gguf_get(const sail__gguf *g, const char *key); /* NULL: none */

/* Typed access. fallback NULL: the key must be there (SAIL_E_NOTFOUND). Another kind is SAIL_E_FORMAT. Integers of any
 * width are taken for int; F32, F64 and integers for double. A string is NUL-terminated (and holds no NUL). */
sail_code sail__gguf_int(const sail__gguf *g, const char *key, const int64_t *fallback, int64_t *out, sail_err *err);
sail_code sail__gguf_double(const sail__gguf *g, const char *key, const double *fallback, double *out, sail_err *err);
sail_code sail__gguf_bool(const sail__gguf *g, const char *key, const bool *fallback, bool *out, sail_err *err);
sail_code sail__gguf_text(const sail__gguf *g, const char *key, const char *fallback, bool required, const char **out,
                          sail_err *err);
/* Elements of an array (or the single value) of numbers; i < kv->n. A string where a number is wanted gives 0. */
int64_t sail__gguf_int_at(const sail__gguf_kv *kv, size_t i);
double sail__gguf_double_at(const sail__gguf_kv *kv, size_t i);

size_t sail__gguf_count(const sail__gguf *g);
const sail__gguf_tensor *sail__gguf_at(const sail__gguf *g, size_t i); /* in the file's order */
const sail__gguf_tensor *sail__gguf_find(const sail__gguf *g, const char *name); /* NULL: none */
const char *sail__gguf_shape(const sail__gguf_tensor *t, char *out, size_t size); /* "[out, in]" as elsewhere */

/* ---- writing ---- */

/* Keys, in the order in which they are put. Zero it first; what found no memory is told by sail__gguf_begin. */
typedef struct sail__gguf_keys {
    sail_buf bytes;
    uint64_t n;
} sail__gguf_keys;
void sail__gguf_put_u32(sail__gguf_keys *k, const char *key, uint32_t v);
void sail__gguf_put_f32(sail__gguf_keys *k, const char *key, double v);
void sail__gguf_put_bool(sail__gguf_keys *k, const char *key, bool v);
void sail__gguf_put_text(sail__gguf_keys *k, const char *key, const char *v);
void sail__gguf_put_texts(sail__gguf_keys *k, const char *key, const char *const *v, const size_t *sizes, size_t n);
void sail__gguf_put_i32s(sail__gguf_keys *k, const char *key, const int32_t *v, size_t n);
void sail__gguf_put_f32s(sail__gguf_keys *k, const char *key, const float *v, size_t n);
void sail__gguf_put_copy(sail__gguf_keys *k, const sail__gguf_kv *kv); /* of another file, as it stands there */
void sail__gguf_keys_free(sail__gguf_keys *k);

typedef struct sail__gguf_entry {
    const char *name;
    sail_dtype dtype;
    int rank;        /* 1 or 2 */
    int64_t dims[2]; /* fastest first: [in, out] */
} sail__gguf_entry;

/* In pieces: keys and descriptions go out at once; then the bytes of the entries, in their order, in any portions; what lies between
 * them is filled up. commit fails when bytes are missing. The file appears under its name only then. */
typedef struct sail__gguf_writer sail__gguf_writer;
sail_code sail__gguf_begin(const char *path, const sail__gguf_keys *keys, const sail__gguf_entry *entries, size_t n,
                           sail__gguf_writer **out, sail_err *err);
sail_code sail__gguf_write(sail__gguf_writer *w, const void *data, size_t bytes, sail_err *err);
sail_code sail__gguf_commit(sail__gguf_writer *w, sail_err *err); /* frees w, also on failure */
void sail__gguf_abort(sail__gguf_writer *w);

/* The file's number of a type; -1: it has none. */
int sail__gguf_type_number(sail_dtype t);
size_t sail__gguf_value_bytes(sail__gguf_type t); /* of a number in a key; 0: not one */

#endif
