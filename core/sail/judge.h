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

/* Given as an array. A judge built for interface 1.0 gets elements without `text`; none are added within a version from here on. */
typedef struct sail_judge_item {
    const char *prompt;           /* last user turn */
    const char *conversation;     /* whole, as plain text with roles */
    int k;                        /* responses, 2..SAIL_MAX_RESPONSES */
    const char *const *response;  /* [k] */
    const int64_t *tokens;        /* [k] lengths, tokens, end token included */
    uint64_t id;                  /* stable over runs: content hash */
    const sail_judge_message *messages; /* [n_messages] the conversation before the responses; a bare text is one of `user` */
    size_t n_messages;
    const char *text;             /* the prompt as it stands, where the data have text and no messages; else NULL. Since ABI 1.1 */
} sail_judge_item;

typedef struct sail_verdict {
    int32_t outcome;                  /* two responses: 0, 1 or SAIL_TIE; more: a ranking of all of them (sail_outcome_of_ranking with
                                       * top = k), of which the host takes as many places as the preference model has;
                                       * SAIL_ABSTAIN: no verdict, never guessed */
    double score[SAIL_MAX_RESPONSES]; /* NaN where the judge has none */
    double seconds;
} sail_verdict;

/* What is known of how a verdict came about; strings are borrowed for the call, NULL where there is nothing to say. */
typedef struct sail_judge_note {
    uint32_t size;
    const char *version;   /* of whoever judged, as it calls itself */
    const char *order;     /* "both", "as shown", "second first" … */
    const char *reply;     /* what was said, unchanged */
    int64_t prompt_tokens, reply_tokens, requests;
} sail_judge_note;

/* What the host does for a judge that asks others (`ask` below): during the call, on its thread. */
typedef struct sail_judge_host sail_judge_host;
struct sail_judge_host {
    uint32_t size;
    void *host;
    bool as_shown; /* the host asks about both orders itself: judge each item in the order it is in */
    /* Hand over the verdict of items[item]: it is checked and on the disk when this returns. Begin with SAIL_ABSTAIN and NaN scores: {0}
     * would say that slot 0 won and that all score 0. note may be NULL. */
    sail_code (*verdict)(const sail_judge_host *h, int64_t item, const sail_verdict *v, const sail_judge_note *note, sail_err *err);
    /* Text kept in the run by a key of the judge's choice (a hash of content), so that nothing is asked for twice, also after the run was
     * killed. recall: NULL where there is none; valid until the next call of either. What is there is never replaced. */
    const char *(*recall)(const sail_judge_host *h, const char *key);
    sail_code (*remember)(const sail_judge_host *h, const char *key, const char *text, sail_err *err);
    /* Leave an item to somebody who answers while the run is stopped (`sail judge`). Outcomes that have come are in *outcome; false:
     * there is none yet. order: which response to show first, drawn by the judge. */
    bool (*answered)(const sail_judge_host *h, int64_t item, int order, int32_t *outcome, sail_code *code, sail_err *err);
};

typedef struct sail_judge {
    uint32_t size;
    /* Optional; without it state is NULL. Once before use; *state is the judge's own, freed by close, which is not called where open
     * failed. `self` may not be kept. */
    sail_code (*open)(const void *self, sail_ctx *ctx, void **state, sail_err *err);
    void (*close)(const void *self, void *state);
    /* One of label and ask is required; ask is used where both are there.
     * Fill out[n], which holds abstentions and NaN scores on entry; an outcome out of range is an error. An error ends the run (after a
     * checkpoint where it is SAIL_E_WAIT); an abstention does not. */
    sail_code (*label)(const void *self, void *state, const sail_judge_item *items, int64_t n, sail_verdict *out,
                       sail_err *err);
    /* Instead of label, for judges that take their time: hand over each verdict as it comes, in any order. Items without one when
     * it returns are abstentions. SAIL_E_WAIT: something outside must happen first; the run saves and stops, and can be resumed. */
    sail_code (*ask)(const void *self, void *state, const sail_judge_item *items, int64_t n, const sail_judge_host *host, sail_err *err);
    /* Optional: all that verdicts depend on besides the item (model, template …), as text, valid until close. Where it is there, an item
     * that the run has a verdict for is not asked about again. */
    const char *(*about)(const void *self, void *state);
} sail_judge;

#ifdef __cplusplus
}
#endif
#endif
