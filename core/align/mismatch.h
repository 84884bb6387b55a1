/* mismatch.h - what single responses are measured against: other prompts' responses.
 *
 * Floor: align. Pure. */
#ifndef SAIL_MISMATCH_H
#define SAIL_MISMATCH_H

#include "step.h"

/* Give every group of the step the first response of a group after it (the first one after the last) as `mismatched`: of one with another
 * prompt where there is any. A step of one group has none. */
void sail__mismatch(sail__step *s);

#endif
