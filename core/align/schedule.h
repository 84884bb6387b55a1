/* schedule.h - numbers that change over the steps: learning rates, and any schedulable option.
 *
 * Floor: align. Pure functions of the step. */
#ifndef SAIL_SCHEDULE_H
#define SAIL_SCHEDULE_H

#include "../base/node.h"

/* Whether a map describes a schedule: its `kind` is one of ramp, cosine, piecewise (and has `from`/`to` or `points`). */
bool sail__schedule_is(const sail_node *n);

/* The value at `step` (from 0) of a number or of
 *   {kind: ramp,      from, to, steps, start: 0}   linear, constant outside
 *   {kind: cosine,    from, to, steps, start: 0}   half a cosine, constant outside
 *   {kind: piecewise, points: [[step, value], …]}  linear between points, constant outside */
double sail__schedule_value(const sail_node *n, int64_t step, sail_err *err);

/* Learning-rate schedules (transformers' definitions): the factor in [0, 1] for optimiser step k of total, k from 0. */
typedef enum sail__lr_kind {
    SAIL__LR_CONSTANT,
    SAIL__LR_LINEAR,
    SAIL__LR_COSINE,
    SAIL__LR_COSINE_WITH_RESTARTS,
    SAIL__LR_POLYNOMIAL,
    SAIL__LR_INVERSE_SQRT
} sail__lr_kind;
typedef struct sail__lr_schedule {
    sail__lr_kind kind;
    double warmup;    /* below 1: a share of the steps, rounded up; else steps */
    double floor;     /* share of the largest rate at the end; inverse_sqrt: what it falls towards */
    double cycles;    /* cosine_with_restarts: times that it falls; 1 */
    double power;     /* polynomial: of what is left of the steps; 1 */
    double timescale; /* inverse_sqrt, steps; 0: those of the warm-up, or 10000 */
} sail__lr_schedule;
/* node: NAME or {kind, warmup, floor} and what the kind has of its own; NULL: constant. Messages say train.schedule, not where it is. */
sail_code sail__lr_parse(const sail_node *node, sail__lr_schedule *out, sail_err *err);
double sail__lr_factor(const sail__lr_schedule *s, int64_t k, int64_t total);

#endif
