/* hub_blob.h - the blobs of a repository in the Hugging Face cache: each is there whole and with its hash, or as
 * HASH.incomplete.
 *
 * Floor: io. Threads: one; other processes are kept apart by a lock for each blob, which is the one that
 * huggingface_hub takes. */
#ifndef SAIL_HUB_BLOB_H
#define SAIL_HUB_BLOB_H

#include "hub_remote.h"

typedef struct sail__hub_store { /* strings are in the arena */
    sail_ctx *ctx;
    sail_arena *arena;
    const char *dir, *locks;
    bool verify;          /* hold what is whole against its hash, too, and fetch anew what is wrong */
    uint64_t done, total; /* bytes, for progress */
} sail__hub_store;

/* Nothing is made on disk yet. */
sail_code sail__hub_store_open(sail_ctx *ctx, sail_arena *a, const sail__hub_name *n, sail__hub_store *out,
                               sail_err *err);
const char *sail__hub_blob_path(const sail__hub_store *s, const char *hash);
uint64_t sail__hub_blob_bytes(const sail__hub_store *s, const sail__hub_file *f); /* that are there, whole or not */
/* *fetched: it was not there. On failure what has come stays, unless it is wrong. */
sail_code sail__hub_blob_fetch(sail__hub_store *s, sail__hub_remote *r, const sail__hub_name *n, const char *commit,
                               const sail__hub_file *f, bool *fetched, sail_err *err);

#endif
