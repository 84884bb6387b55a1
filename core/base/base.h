/* base.h - arenas, growing buffers, strings and files: what every floor above uses.
 *
 * Floor: base. Threads: an arena or buffer belongs to one thread at a time.
 * Ownership: an arena owns all it hands out, until reset or free; nothing is freed singly. */
#ifndef SAIL_BASE_H
#define SAIL_BASE_H

#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "../sail/err.h"

/* ---- arenas ---- */
typedef struct sail_arena sail_arena;
sail_arena *sail__arena_new(void); /* NULL when out of memory */
void sail__arena_free(sail_arena *a);
void sail__arena_reset(sail_arena *a); /* keeps the blocks */
void *sail__arena_alloc(sail_arena *a, size_t bytes); /* zeroed, aligned to 16; NULL when out of memory */
void *sail__arena_array(sail_arena *a, size_t count, size_t size); /* checked multiplication */
char *sail__arena_strdup(sail_arena *a, const char *s);
char *sail__arena_strndup(sail_arena *a, const char *s, size_t n); /* copies n bytes, NULs included, and ends with one */
char *sail__arena_printf(sail_arena *a, const char *fmt, ...) SAIL_PRINTF(2, 3);
size_t sail__arena_bytes(const sail_arena *a); /* reserved from the system */
/* Whether it has refused anything since it was made or reset: what was built in it may be incomplete. */
bool sail__arena_oom(const sail_arena *a);

/* ---- growing array: *items has room for *cap elements of `size` bytes; make it hold `need`. ---- */
sail_code sail__grow(void *items /* T ** */, size_t *cap, size_t need, size_t size, sail_err *err);

/* Allocation that can be made to fail in tests (SAIL_FAIL_ALLOC=k: the k-th fails). Same contract as malloc…, but a
 * size of 0 gives a pointer too. */
void *sail__malloc(size_t bytes);
void *sail__calloc(size_t count, size_t size);
void *sail__realloc(void *p, size_t bytes);
void sail__free(void *p);
char *sail__strdup(const char *s);
/* For tests: from now on, the k-th allocation of this process fails; 0: none. Replaces SAIL_FAIL_ALLOC. Returns how many
 * were left until the failure ordered before; 0: it has happened, or none was ordered. */
long sail__alloc_fail_at(long k);
/* Whether this allocation is the one. Arenas ask for each piece, so that no place goes untried. */
bool sail__alloc_must_fail(void);

/* ---- string buffer; a failed append is remembered in `oom`, data is always NUL-terminated or NULL ---- */
typedef struct sail_buf {
    char *data;
    size_t len, cap;
    bool oom;
} sail_buf;
void sail__buf_add(sail_buf *b, const void *data, size_t n);
void sail__buf_str(sail_buf *b, const char *s);
void sail__buf_printf(sail_buf *b, const char *fmt, ...) SAIL_PRINTF(2, 3);
void sail__buf_free(sail_buf *b);

/* ---- strings ---- */
bool sail__name_equal(const char *a, const char *b);                 /* '-' and '_' alike */
size_t sail__edit_distance(const char *a, const char *b);            /* for did-you-mean; capped at 32 characters */
const char *sail__nearest(const char *name, const char *const *names, size_t n); /* NULL when none is near */
bool sail__among(const char *name, const char *const *names, size_t n);
bool sail__utf8_valid(const char *s, size_t n);
int sail__utf8_next(const char *s, size_t n, uint32_t *code_point); /* bytes used (1..4), 0 at the end, -1 invalid */
bool sail__ends_with(const char *s, const char *end);
const char *sail__size_text(uint64_t bytes, char out[16]);           /* "640 bytes", "1.2 MB", "538 MB", "15 GB"; returns out */
bool sail__glob_match(const char *pattern, const char *name);        /* '*' and '?' */
uint64_t sail__hash64(const void *data, size_t n, uint64_t seed);    /* xxhash XXH3_64 */
void sail__hash_hex(const void *data, size_t n, char out[33]);       /* XXH3_128 as 32 hex digits */

/* ---- files; every message names the path and strerror ---- */
typedef struct sail_mapping { /* a file mapped read-only; data is NULL for an empty file */
    const unsigned char *data;
    size_t size;
} sail_mapping;
sail_code sail__file_map(const char *path, sail_mapping *out, sail_err *err);
void sail__file_unmap(sail_mapping *m);
/* Whole file, NUL-terminated beyond *size, at most `most` bytes (else SAIL_E_LIMIT). Free with sail__free. */
sail_code sail__file_read(const char *path, size_t most, char **data, size_t *size, sail_err *err);
/* Temporary file in the same directory, write, fsync, rename, fsync the directory: the old content or the new, never
 * a mixture. A path of NULL is one that there was no memory for. */
sail_code sail__file_write(const char *path, const void *data, size_t size, sail_err *err);
/* The same in pieces: begin gives a stream to a temporary file; commit does fsync, rename, fsync; abort removes it. */
typedef struct sail_atomic sail_atomic;
sail_code sail__atomic_begin(const char *path, sail_atomic **out, sail_err *err);
sail_code sail__atomic_write(sail_atomic *f, const void *data, size_t size, sail_err *err);
sail_code sail__atomic_commit(sail_atomic *f, sail_err *err); /* frees f, also on failure */
void sail__atomic_abort(sail_atomic *f);
sail_code sail__make_dirs(const char *path, sail_err *err); /* like mkdir -p */
sail_code sail__remove_tree(const char *path, sail_err *err); /* no error when it is not there; follows no link */
sail_code sail__sync_dir(const char *path, sail_err *err);
bool sail__file_exists(const char *path);
bool sail__is_dir(const char *path);
/* dir/name; an absolute name, or one beginning with ~/, stands alone (with HOME put in). */
char *sail__path_join(sail_arena *a, const char *dir, const char *name);
char *sail__path_dir(sail_arena *a, const char *path); /* "." where there is none */
const char *sail__path_base(const char *path);
/* The directory's entries sorted by name, without . and ..; in the arena. */
sail_code sail__list_dir(sail_arena *a, const char *path, char ***names, size_t *n, sail_err *err);

double sail__now(void);       /* monotonic, seconds */
double sail__wall_time(void); /* since the epoch, seconds */
double sail__rss_peak_mib(void);

#endif
