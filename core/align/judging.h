/* judging.h - asking a judge: one open judge, its verdicts checked and kept in the run store.
 *
 * Floor: align. Threads: one. Ownership: context and store are borrowed; items and verdicts are the caller's. */
#ifndef SAIL_JUDGING_H
#define SAIL_JUDGING_H

#include "../backend/registry.h"
#include "../io/data.h"
#include "../io/store.h"
#include "../sail/judge.h"

typedef struct sail__judging { /* {.ctx, .store} begins one */
    sail_ctx *ctx;
    sail__store *store; /* verdicts; may be NULL */
    const sail_loaded *plugin; /* the opened one, with its options */
    const void *options;
    void *state;
    bool open;
} sail__judging;

void sail__judging_close(sail__judging *j);

/* Ask a judge about items; it is opened when first asked, and another one closes it. An outcome out of range is an error. Verdicts
 * are in the store before this returns. */
sail_code sail__judging_ask(sail__judging *j, const sail_slot *judge, const sail_judge_item *items, int64_t n, sail_verdict *out,
                            sail_err *err);

/* What a judge sees of a row's prompt and k responses (texts and lengths), in the arena. */
sail_code sail__judging_item(const sail_row *row, int k, const char *const *responses, const int64_t *tokens, sail_arena *a,
                             sail_judge_item *out, sail_err *err);

#endif
