/* mismatch.h - what single responses are measured against: other prompts' responses.
 *
 * Floor: align. Pure. */
#ifndef SAIL_MISMATCH_H
#define SAIL_MISMATCH_H

#include "step.h"

/* Give every group of the step the first response of a group after it (the first one after the last) whose prompt is another one's, as
 * `mismatched`. A step in which all prompts are the same is an error: there is nothing to mismatch with. */
sail_code sail__mismatch(sail__step *s, sail_err *err);

#endif
