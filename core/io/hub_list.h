/* hub_list.h - what is in the Hugging Face cache, and what is missing of it.
 *
 * Floor: io. Threads: one. Ownership: all is in the arena. Reads headers of files, not their weights; no network. */
#ifndef SAIL_HUB_LIST_H
#define SAIL_HUB_LIST_H

#include "hub.h"

typedef struct sail__hub_entry { /* something that hf:NAME can stand for: a model, an adapter, a GGUF file, a tokenizer,
                                    a data set */
    const char *name;            /* "OWNER/NAME[/FILE.gguf]", "datasets/OWNER/NAME" */
    const char *commit;          /* NULL: nothing of it is whole */
    const char *revisions;       /* "main, v1": what names the commit; "" for nothing */
    const char *path;            /* directory or file; of what is not whole, the repository's */
    uint64_t bytes;              /* on disk */
    uint64_t unfinished;         /* bytes of pulls that were stopped */
    const char *family;          /* "llama", "adapter", "data", …; NULL: not known */
    int64_t parameters;          /* 0: not known */
    const char *type;            /* that most parameters have: "bf16", "q4_k"; NULL: not known */
    const char *problem;         /* why it cannot be used; NULL: nothing */
} sail__hub_entry;

/* By name. An empty list where there is no cache. */
sail_code sail__hub_list(sail_arena *a, sail__hub_entry **out, size_t *n, sail_err *err);

#endif
