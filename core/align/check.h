/* check.h - derivatives of objectives and preference models against central differences, on small random batches.
 *
 * Floor: align. For `sail check --gradients`: works on any plugin, in C or in Lua. What is detached (sail_detach) and the
 * baseline are held still while the loss is differenced, as their derivatives are meant; numbers read off the tape are
 * not, so that a formula which loses a derivative through them is found. */
#ifndef SAIL_ALIGN_CHECK_H
#define SAIL_ALIGN_CHECK_H

#include "batch.h"

typedef struct sail__check {
    bool ok;
    int64_t compared, kinks; /* derivatives compared; left out because the function has a kink there */
    double largest;          /* difference of the two, relative to the largest derivative */
    double derivative, difference; /* where it is largest */
    char where[160];
    char message[256]; /* what is wrong; "" when ok */
} sail__check;

/* What a recipe has beside the objective. */
typedef struct sail__checked_method {
    sail_preference_model preference;
    const sail_route *routes;
    int n_routes;
    double beta, max_margin;
    sail__modifiers modifiers;
    int responses; /* in a group; 0: two, or three where the preference model does not apply to two */
    int rival;     /* who writes the last response of what the policy writes; 0: the policy */
} sail__checked_method;

/* The loss's derivatives with respect to every token's log p (and entropy, log sum p^2 and the prompts' log p where caps say so). The batch
 * has groups on every route given, with a judge's scores where one labels. */
sail_code sail__objective_check(const sail__objective *o, uint32_t caps, const sail__checked_method *method, uint64_t seed, sail__check *out,
                                sail_err *err);

/* Log-probabilities of every outcome of k responses with respect to each score; that probabilities sum to 1, and that no
 * derivative is lost far out (margins to 1e3). */
sail_code sail__preference_check(const sail_preference_model *m, int k, uint64_t seed, sail__check *out, sail_err *err);

#endif
