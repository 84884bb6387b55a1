/* parts.h - groups of a step as the plain arrays of a batch.
 *
 * Floor: align. Threads: one. Everything lives in the step's arena. */
#ifndef SAIL_PARTS_H
#define SAIL_PARTS_H

#include "batch.h"
#include "learner.h"

typedef struct sail__step_part {
    sail__batch batch;
    int32_t *outcome;
    double *d[3]; /* derivatives by token */
    double *d_head; /* … by response and number, of a score head */
    double *d_prompt; /* … of the prompts' but their first ones; NULL: not asked for */
} sail__step_part;

/* Groups [first, first + n). prior: take what the rollout kept where the policy's own pass has not been. */
sail_code sail__step_part_make(const sail__learner *l, const sail__stage *live, sail__step *s, int64_t first, int64_t n, bool prior, sail__step_part *p,
                          sail_err *err);

#endif
