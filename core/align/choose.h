/* choose.h - from all that was written in a step to the groups that are learned from: the strategy's choice, then pairs of it.
 *
 * Floor: align. Threads: one. What is made lives in the step's arena. */
#ifndef SAIL_CHOOSE_H
#define SAIL_CHOOSE_H

#include "config.h"
#include "step.h"

/* What the stage's strategy plans for a step, checked; without one, or without its say, what the recipe says. */
sail_code sail__plan_of(const sail__stage *live, int64_t step, sail_plan *out, sail_err *err);

/* Whether a choice is to be made that reads the judge's ranking, or the implicit rewards (r[].ref), of all that was written. */
bool sail__choice_reads_verdicts(const sail__stage *live, const sail_plan *plan);
bool sail__choice_reads_rewards(const sail__stage *live);

/* Which of n prompts are used: indices into chosen[want]. */
sail_code sail__choose_prompts(const sail__stage *live, const sail__step *step, const sail_prompt *prompts, int64_t n, int64_t want,
                               int64_t *chosen, sail_err *err);

/* Replace the groups that the policy has just written by those learned from; groups that the judge abstained from leave. */
sail_code sail__choose(const sail__stage *live, sail__step *step, sail_err *err);

/* A verdict on k responses as places: 0 the best, equal where two tie, -1 where there is none. */
void sail__places(const sail_verdict *v, int k, int8_t *place);

/* A judge's outcome as the preference model counts it, for group number i of the step: of a ranking, the places that the model has; a tie
 * under a model without ties is decided by a fair coin, which is the tie in expectation. (To drop the pair would bias the term of what
 * the policy writes.) Then the winner of two goes to slot 0. */
void sail__settle(const sail__stage *live, const sail__step *step, int64_t i, int32_t outcome, sail__group *g);

#endif
