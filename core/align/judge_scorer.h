/* judge_scorer.h - what the judges `reward` and `policy` are: a model scores each response, and what has the larger score is preferred.
 *
 * Floor: align. Threads: one. Ownership: the judge's state owns its model; what is given to open is copied or used up there.
 *
 * Each prompt and its K responses are one tree: the prompt is computed once. A head of vectors is compared by a preference model. */
#ifndef SAIL_JUDGE_SCORER_H
#define SAIL_JUDGE_SCORER_H

#include "../sail/judge.h"
#include "scoring.h"

typedef struct sail__scorer_judge {
    const char *name;       /* of the judge, before its errors; static */
    sail__scorer_spec spec; /* its backend is set by open */
    const char *backend;
    int64_t threads;    /* 0: one a core */
    int64_t max_tokens; /* scored in one pass */
    double margin;      /* scores no further apart are a tie; of vectors, log-odds */
    const char *preference; /* compares vectors, or gives the probabilities to draw from. NULL: of vectors what they were fitted with */
    bool drawn;             /* the outcome is drawn from the preference model's probabilities */
    uint64_t seed;
} sail__scorer_judge;

sail_code sail__scorer_judge_open(sail_ctx *ctx, const sail__scorer_judge *how, void **state, sail_err *err);

/* Functions of a sail_judge; `self` is not read. */
void sail__scorer_judge_close(const void *self, void *state);
sail_code sail__scorer_judge_label(const void *self, void *state, const sail_judge_item *items, int64_t n, sail_verdict *out, sail_err *err);
const char *sail__scorer_judge_about(const void *self, void *state);

#endif
