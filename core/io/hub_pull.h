/* hub_pull.h - fetching a model or data set from the Hugging Face hub into the cache that hub.h describes.
 *
 * Floor: io. Threads: one; processes may pull the same at the same time (a lock for each blob, where huggingface_hub
 * has its own). Each file is blobs/HASH.incomplete until all its bytes are there and have that hash: a pull that was
 * stopped, or found the disk full, goes on from there. Links in the snapshot come when all blobs are whole, config.json
 * last, and then the revision's ref. */
#ifndef SAIL_HUB_PULL_H
#define SAIL_HUB_PULL_H

#include "../sail/log.h"
#include "hub.h"

typedef struct sail__pull {
    sail__hub_name name;
    const char *const *include; /* what to fetch instead of what a model needs: as sail__hub_matches has it */
    size_t n_include;
    const char *gguf; /* the GGUF file to fetch instead, likewise; NULL: none. One must be meant */
    bool verify;      /* read what is there already, and fetch anew what has not the hash that the hub records */
    double patience;  /* and tries: as sail__hub_remote_open has them */
    int tries;
} sail__pull;

typedef struct sail__pulled {  /* in the arena */
    const char *commit, *path; /* path: of the snapshot, or the GGUF file */
    size_t files, fetched;     /* wanted, and of them not there before */
    uint64_t bytes, fetched_bytes;
} sail__pulled;

/* Progress is told as megabytes, what is fetched as messages. */
sail_code sail__hub_pull(sail_ctx *ctx, sail_arena *a, const sail__pull *p, sail__pulled *out, sail_err *err);

#endif
