/* routes.h - the routes of a step, checked, and which of them a prompt takes.
 *
 * Floor: align. Pure functions of their arguments. */
#ifndef SAIL_ROUTES_H
#define SAIL_ROUTES_H

#include "config.h"

/* Ask the strategy and check what it says: 1 to SAIL_MAX_ROUTES routes with names, probabilities from 0 to 1 that sum
 * to 1 (to 1e-9), finite coefficients of at least 0. */
sail_code sail__routes_ask(const sail_strategy *ops, const void *self, const char *name, int64_t step,
                           sail_route out[SAIL_MAX_ROUTES], int *n, sail_err *err);

/* The routes of a stage at this step: its strategy's, else method.routes, else offline alone. */
sail_code sail__routes_of(const sail__stage *s, int64_t step, sail_route out[SAIL_MAX_ROUTES], int *n, sail_err *err);

/* The route of prompt number `index` of step `step`: a function of the three. */
int sail__routes_draw(const sail_route *routes, int n, uint64_t seed, int64_t step, int64_t index);

/* Whether the route is beyond the bounds within which the method is known to be stable; then *out says in which way. A
 * coefficient is only used where the policy writes or labels. */
bool sail__route_warn(const sail_route *route, double max_weight, double max_coef, sail_buf *out);

#endif
