/* hub_remote.h - the Hugging Face hub over HTTP: what a repository holds, and the bytes of its files.
 *
 * Floor: io. Threads: one. Ownership: strings and lists are in the arena given at opening.
 * HF_ENDPOINT names another hub; HF_TOKEN (or the file HF_TOKEN_PATH, or HF_HOME/token) says who asks. The token goes
 * to the hub's own host alone, not to where it redirects, and stands in no message. What fails for a while (the
 * connection, status 429 and 5xx) is tried again, with growing waits; what the server asks for (Retry-After) is kept. */
#ifndef SAIL_HUB_REMOTE_H
#define SAIL_HUB_REMOTE_H

#include "../sail/digest.h"
#include "../sail/log.h"
#include "hub.h"

typedef struct sail__hub_file {
    const char *path; /* safe to put below a directory: no "..", not absolute */
    uint64_t size;
    sail_digest_kind kind; /* SHA-256 of the content; SHA-1: of the content as git's blob */
    const char *hash;      /* hexadecimal */
} sail__hub_file;

typedef struct sail__hub_remote sail__hub_remote;
/* patience: whole seconds without a byte after which a connection is given up; tries: in a row that bring nothing, of
 * one request. */
sail_code sail__hub_remote_open(sail_ctx *ctx, sail_arena *a, double patience, int tries, sail__hub_remote **out,
                                sail_err *err);
void sail__hub_remote_close(sail__hub_remote *r); /* NULL is fine */

/* The commit that the revision is, and all its files. */
sail_code sail__hub_remote_list(sail__hub_remote *r, const sail__hub_name *n, const char **commit,
                                sail__hub_file **files, size_t *n_files, sail_err *err);

/* Where bytes go: `take` puts them at their place, which may be 0 once more, and moves `at` to what comes next. It is
 * asked for until `at` is `size`. */
typedef struct sail__hub_sink {
    uint64_t at, size;
    sail_code (*take)(struct sail__hub_sink *s, uint64_t at, const void *data, size_t n, sail_err *err);
} sail__hub_sink;
sail_code sail__hub_remote_get(sail__hub_remote *r, const sail__hub_name *n, const char *commit, const char *path,
                               sail__hub_sink *sink, sail_err *err);

#endif
