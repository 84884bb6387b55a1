/* checkpoint.h - checkpoints as directories that are there whole or not at all.
 *
 * Floor: io. Threads: one a writer. A checkpoint DIR/step-000200/ is written as DIR/.tmp-step-000200/: every file is flushed,
 * then COMPLETE (the names, sizes and XXH3-128 hashes of all of them, and its own), then the directory; then it is renamed
 * and DIR flushed. So a name step-… is a whole checkpoint, and a later damage is noticed by the hashes. Any failure leaves
 * the checkpoints before as they were and removes the temporary directory. A failed flush is final: never tried again. */
#ifndef SAIL_CHECKPOINT_H
#define SAIL_CHECKPOINT_H

#include "../base/node.h"
#include "../sail/log.h"

typedef struct sail__checkpoint_writer sail__checkpoint_writer;

/* dir: RUN/STAGE's checkpoints, made when missing; temporary leftovers of killed writers are removed. */
sail_code sail__checkpoint_begin(const char *dir, int64_t step, sail__checkpoint_writer **out, sail_err *err);
/* Where to put files with other writers (HF and PEFT files); subdirectories are allowed. All that lies here at the commit is
 * flushed and hashed. */
const char *sail__checkpoint_temporary(const sail__checkpoint_writer *w);
/* A file at once ("optimizer.bin", "adapter/adapter_config.json"; parents are made). */
sail_code sail__checkpoint_add(sail__checkpoint_writer *w, const char *name, const void *data, size_t size, sail_err *err);
/* A file in pieces: open, write …; the next open, add or commit closes it. */
sail_code sail__checkpoint_open_file(sail__checkpoint_writer *w, const char *name, sail_err *err);
sail_code sail__checkpoint_write(sail__checkpoint_writer *w, const void *data, size_t size, sail_err *err);
/* Write state.json and COMPLETE, flush, rename. Frees w, also on failure. A checkpoint of the same step is replaced. */
sail_code sail__checkpoint_commit(sail__checkpoint_writer *w, const sail_node *state, sail_err *err);
void sail__checkpoint_abort(sail__checkpoint_writer *w); /* removes the temporary directory; NULL is fine */

/* Remove what writers that were killed left in dir, which need not be there. The writer's alone to call. */
sail_code sail__checkpoint_clean(const char *dir, sail_err *err);

typedef struct sail__checkpoint {
    const char *path; /* DIR/step-000200 */
    int64_t step;
    const sail_node *state; /* state.json; NULL from list */
} sail__checkpoint;
/* Oldest first, unverified. An absent directory is an empty list. */
sail_code sail__checkpoint_list(sail_arena *a, const char *dir, sail__checkpoint **out, size_t *n, sail_err *err);
/* Every file against its hash, no file missing or added. SAIL_E_FORMAT names the first wrong file. */
sail_code sail__checkpoint_verify(const char *path, sail_err *err);
/* The newest good one with its state, verified; a damaged one is warned about and passed over. `most`: of at most this step
 * (-1: any). SAIL_E_NOTFOUND where there is none at all, SAIL_E_FORMAT where all are damaged. */
sail_code sail__checkpoint_newest(sail_ctx *ctx, sail_arena *a, const char *dir, int64_t most, sail__checkpoint *out,
                                  sail_err *err);
/* One given directory, verified, with its state. */
sail_code sail__checkpoint_load(sail_arena *a, const char *path, sail__checkpoint *out, sail_err *err);
/* … that of a step. SAIL_E_NOTFOUND where there is none. */
sail_code sail__checkpoint_of(sail_arena *a, const char *dir, int64_t step, sail__checkpoint *out, sail_err *err);
/* Keep the `keep` newest and those of the steps in besides[n] (-1: none). */
sail_code sail__checkpoint_prune(const char *dir, int64_t keep, const int64_t *besides, size_t n, sail_err *err);
/* Remove those after a step. */
sail_code sail__checkpoint_cut(const char *dir, int64_t step, sail_err *err);

#endif
