/* contrastive.h - contrastive search (arXiv 2202.06417): among the k likeliest tokens the one that maximises
 * (1 - alpha) p(v) - alpha max_j cos(h_v, h_j), where h is the hidden state after the last norm and j runs over the prompt and all that was
 * written. Nothing is drawn.
 *
 * Floor: nn. Threads: one. Candidates are single tokens below a cached context, so a step costs k + 1 tokens a sequence. */
#ifndef SAIL_CONTRASTIVE_H
#define SAIL_CONTRASTIVE_H

#include "generate.h"

enum { SAIL__MOST_CANDIDATES = 64 };

typedef struct sail__contrastive_options {
    double alpha; /* in (0, 1] */
    int k;        /* 1 .. SAIL__MOST_CANDIDATES */
    int batch;    /* sequences decoded together at most */
    /* Told of every choice, likeliest candidate first, before it is taken; may be NULL. edge: how much likelier the last candidate is than the
     * first that is none. */
    void (*on_choice)(void *user, int request, int n, const int32_t *ids, const double *probability, const double *penalty, const double *score,
                      double edge);
    void *choice_user;
} sail__contrastive_options;

/* Like sail__generate; of `sampling` nothing counts. Children of a request are all the same. `drawn` is 0: each token was certain. */
sail_code sail__contrastive_search(sail__model *m, sail__role_kind role, const sail__contrastive_options *o, const sail__gen_request *requests,
                                   size_t n, const int32_t *ends, int n_ends, sail__gen_token on_token, void *user, sail_arena *a,
                                   sail__gen_response **out, size_t *n_out, sail_err *err);

#endif
