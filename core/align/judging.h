/* judging.h - asking judges: they are opened once, their verdicts are looked up, checked and kept in the run store.
 *
 * Floor: align. Threads: one. Ownership: context and store are borrowed; items and verdicts are the caller's. Judges stay
 * open until close, so that one for labels and one for evaluation do not take turns. */
#ifndef SAIL_JUDGING_H
#define SAIL_JUDGING_H

#include "../backend/registry.h"
#include "../io/data.h"
#include "../io/store.h"
#include "../sail/judge.h"

typedef struct sail__open_judge sail__open_judge;

typedef struct sail__judging { /* {.ctx, .store} begins one */
    sail_ctx *ctx;
    sail__store *store; /* verdicts; may be NULL */
    sail__open_judge *open; /* the newest first */
} sail__judging;

void sail__judging_close(sail__judging *j);
/* Open a judge now, so that what is wrong with it is told before anything is computed. */
sail_code sail__judging_open(sail__judging *j, const sail_slot *judge, sail_err *err);

/* Verdicts on items, for labels: a judge may look at both orders of a pair itself. An outcome out of range is an error. Verdicts are in
 * the store before this returns, abstentions never. SAIL_E_WAIT: the run cannot go on now; what was said so far is kept. */
sail_code sail__judging_ask(sail__judging *j, const sail_slot *judge, const sail_judge_item *items, int64_t n, sail_verdict *out,
                            sail_err *err);
/* The same, each item in the order it is in: for callers that ask about both orders and count them apart. */
sail_code sail__judging_ask_as_shown(sail__judging *j, const sail_slot *judge, const sail_judge_item *items, int64_t n, sail_verdict *out,
                                     sail_err *err);

/* Verdicts of a judge that is open, whichever way it answers; nothing is looked up or kept. out[n] is filled as label expects it. */
sail_code sail__judge_call(const sail_plugin *p, sail_arena *a, const void *self, void *state, const sail_judge_item *items, int64_t n,
                           sail_verdict *out, sail_err *err);

/* How many outcomes k responses can have at all: of two with a tie, of more their rankings. */
int sail__judge_outcomes(int k);
/* What a judge says before it has said anything: it abstains, and its scores are NaN. */
sail_verdict sail__no_verdict(void);
/* The outcome of k scores, larger is better: of two no further apart than `margin` a tie; of more a ranking, of equals the first slot
 * first. SAIL_ABSTAIN where a score is not finite. */
int32_t sail__outcome_of_scores(const double *score, int k, double margin);

/* What a judge sees of a row's prompt and k responses (texts and lengths), in the arena. */
sail_code sail__judging_item(const sail_row *row, int k, const char *const *responses, const int64_t *tokens, sail_arena *a,
                             sail_judge_item *out, sail_err *err);

#endif
