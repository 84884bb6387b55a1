/* judge.h - judges: labels for responses.
 *
 * Floor: align. A plugin of kind SAIL_KIND_JUDGE whose ops point to a sail_judge. Text is UTF-8, rendered as a person would
 * read it (no template marks, no special tokens). Callbacks run on the training thread; texts are borrowed. */
#ifndef SAIL_JUDGE_H
#define SAIL_JUDGE_H

#include "preference.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sail_judge_message {
    const char *role, *content;
} sail_judge_message;

typedef struct sail_judge_item {
    const char *prompt;           /* last user turn */
    const char *conversation;     /* whole, as plain text with roles */
    int k;                        /* responses, 2..SAIL_MAX_RESPONSES */
    const char *const *response;  /* [k] */
    const int64_t *tokens;        /* [k] lengths, tokens, end token included */
    uint64_t id;                  /* stable over runs: content hash */
    const sail_judge_message *messages; /* [n_messages] the conversation before the responses; a bare text is one of `user` */
    size_t n_messages;
} sail_judge_item;

typedef struct sail_verdict {
    int32_t outcome;                  /* two responses: 0, 1 or SAIL_TIE; more: a ranking of all of them (sail_outcome_of_ranking with
                                       * top = k), of which the host takes as many places as the preference model has;
                                       * SAIL_ABSTAIN: no verdict, never guessed */
    double score[SAIL_MAX_RESPONSES]; /* NaN where the judge has none */
    double seconds;
} sail_verdict;

typedef struct sail_judge {
    uint32_t size;
    /* Optional; without it state is NULL. Once before use; *state is the judge's own, freed by close, which is not called where open
     * failed. `self` may not be kept. */
    sail_code (*open)(const void *self, sail_ctx *ctx, void **state, sail_err *err);
    void (*close)(const void *self, void *state);
    /* Fill out[n], which holds abstentions and NaN scores on entry; an outcome out of range is an error. An error ends the run (after a checkpoint); an abstention does not. */
    sail_code (*label)(const void *self, void *state, const sail_judge_item *items, int64_t n, sail_verdict *out,
                       sail_err *err);
} sail_judge;

#ifdef __cplusplus
}
#endif
#endif
