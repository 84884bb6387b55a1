/* strategy.h - strategies: for each prompt, who writes the responses and who labels them.
 *
 * Floor: align. A plugin of kind SAIL_KIND_STRATEGY whose ops point to a sail_strategy. Pure functions of their arguments;
 * the options are rebuilt from the recipe's schedules every step. */
#ifndef SAIL_STRATEGY_H
#define SAIL_STRATEGY_H

#include "objective.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sail_route {
    const char *name;         /* static: "offline", "ddp", … ; metrics are named after it */
    double probability;       /* that a prompt takes this route */
    int writer, labeller;     /* SAIL_BY_DATA or _POLICY; SAIL_BY_DATA, _POLICY or _JUDGE, but not data for what the policy writes */
    double coefficient;       /* c >= 0 of the extra terms: T1 where the policy writes, T3 where it labels */
} sail_route;

enum { SAIL_MAX_ROUTES = 16 };
typedef struct sail_strategy {
    uint32_t size;
    /* The routes at this step (from 0) into out[SAIL_MAX_ROUTES]; probabilities sum to 1 (checked to 1e-9). Returns their number. */
    int (*routes)(const void *self, int64_t step, sail_route *out);
} sail_strategy;

#ifdef __cplusplus
}
#endif
#endif
