/* safetensors.h - reading (mapped) and writing .safetensors files, single and sharded.
 *
 * Floor: io. Threads: an opened file may be read from any thread. Ownership: data pointers and names live until close.
 * Data may lie at any alignment: copy before use as numbers. Errors name file, tensor and byte offset. */
#ifndef SAIL_IO_SAFETENSORS_H
#define SAIL_IO_SAFETENSORS_H

#include "../base/base.h"
#include "../sail/tensor.h"

enum { SAIL__TENSOR_RANK = 8 };

typedef struct sail__st_tensor {
    const char *name;
    const char *dtype_name; /* as in the file, "BF16" */
    sail_dtype dtype;       /* SAIL_DTYPE_COUNT: a type not held here (BOOL, I8, …); its bytes are still checked */
    int rank;
    int64_t shape[SAIL__TENSOR_RANK];
    const void *data;
    size_t bytes;
    uint64_t offset;  /* of data in its file */
    const char *file; /* path */
} sail__st_tensor;

typedef struct sail__safetensors sail__safetensors;

/* One file. Every rule of the format is checked: see the .c. */
sail_code sail__safetensors_open(const char *path, sail__safetensors **out, sail_err *err);
/* From memory that outlives the result; name is for messages. */
sail_code sail__safetensors_open_memory(const void *data, size_t size, const char *name, sail__safetensors **out,
                                        sail_err *err);
/* The shards that an index (model.safetensors.index.json) names; its weight_map must agree with what they hold. */
sail_code sail__safetensors_open_index(const char *index_path, sail__safetensors **out, sail_err *err);
void sail__safetensors_close(sail__safetensors *f);

size_t sail__safetensors_count(const sail__safetensors *f);
const sail__st_tensor *sail__safetensors_at(const sail__safetensors *f, size_t i); /* by name, ascending */
const sail__st_tensor *sail__safetensors_find(const sail__safetensors *f, const char *name); /* NULL: none */
const char *sail__safetensors_metadata(const sail__safetensors *f, const char *key);         /* NULL: none */
/* "[320, 64]" */
const char *sail__st_shape(const sail__st_tensor *t, char *out, size_t size);

/* ---- writing ---- */
typedef struct sail__st_entry {
    const char *name;
    sail_dtype dtype; /* F64 F32 F16 BF16 I64 I32 U8 */
    int rank;
    int64_t shape[SAIL__TENSOR_RANK];
    const void *data; /* for sail__safetensors_save; otherwise unused */
} sail__st_entry;

/* In pieces: the header goes out at once; then the bytes of the entries, in their order, in any portions. commit fails
 * when bytes are missing. The file appears under its name only at commit. metadata: key, value, …, NULL (NULL: format,
 * pt). */
typedef struct sail__st_writer sail__st_writer;
sail_code sail__st_begin(const char *path, const sail__st_entry *entries, size_t n, const char *const *metadata,
                         sail__st_writer **out, sail_err *err);
sail_code sail__st_write(sail__st_writer *w, const void *data, size_t bytes, sail_err *err);
sail_code sail__st_commit(sail__st_writer *w, sail_err *err); /* frees w, also on failure */
void sail__st_abort(sail__st_writer *w);
/* At once, from entries[].data. */
sail_code sail__safetensors_save(const char *path, const sail__st_entry *entries, size_t n, const char *const *metadata,
                                 sail_err *err);

#endif
