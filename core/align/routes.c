/* routes.c - see routes.h. */
#include "routes.h"

#include <math.h>
#include <string.h>

#include "../sail/rng.h"

sail_code sail__routes_ask(const sail_strategy *ops, const void *self, const char *name, int64_t step,
                           sail_route out[SAIL_MAX_ROUTES], int *n, sail_err *err)
{
    double sum = 0;
    *n = ops->routes(self, step, out);
    if (*n < 1 || *n > SAIL_MAX_ROUTES)
        return sail_fail(err, SAIL_E_PLUGIN, "strategy %s gives %d routes; 1 to %d are possible", name, *n,
                         SAIL_MAX_ROUTES);
    for (int k = 0; k < *n; k++) {
        const sail_route *r = &out[k];
        if (!r->name || r->writer < SAIL_BY_DATA || r->writer > SAIL_BY_POLICY || r->labeller < SAIL_BY_DATA ||
            r->labeller > SAIL_BY_JUDGE)
            return sail_fail(err, SAIL_E_PLUGIN,
                             "strategy %s: route %d (%s) needs a name, a writer (data or policy) and a labeller", name,
                             k, r->name ? r->name : "unnamed");
        if (r->writer == SAIL_BY_POLICY && r->labeller == SAIL_BY_DATA)
            return sail_fail(err, SAIL_E_PLUGIN,
                             "strategy %s: on route %s data cannot label what the policy has written", name, r->name);
        if (!(r->probability >= 0 && r->probability <= 1))
            return sail_fail(
                err, SAIL_E_RECIPE,
                "strategy %s, step %lld: the weight of route %s is %g; weights are from 0 to 1 and sum to 1 at most",
                name, (long long)step, r->name, r->probability);
        if (!(r->coefficient >= 0 && isfinite(r->coefficient)))
            return sail_fail(err, SAIL_E_RECIPE,
                             "strategy %s, step %lld: the coefficient of route %s is %g; it must be at least 0", name,
                             (long long)step, r->name, r->coefficient);
        sum += r->probability;
    }
    if (fabs(sum - 1) > 1e-9)
        return sail_fail(err, SAIL_E_RECIPE, "strategy %s, step %lld: the weights of the routes sum to %.9g, not to 1",
                         name, (long long)step, sum);
    return SAIL_OK;
}

sail_code sail__routes_of(const sail__stage *s, int64_t step, sail_route out[SAIL_MAX_ROUTES], int *n, sail_err *err)
{
    const sail_loaded *l = s->strategy.loaded;
    if (l && ((const sail_strategy *)l->ops)->routes)
        return sail__routes_ask(l->ops, s->strategy.options, l->plugin.name, step, out, n, err);
    *n = s->n_routes ? s->n_routes : 1;
    out[0] = (sail_route){"offline", 1, SAIL_BY_DATA, SAIL_BY_DATA, 0};
    if (s->n_routes)
        memcpy(out, s->routes, (size_t)*n * sizeof *out);
    return SAIL_OK;
}

int sail__routes_draw(const sail_route *routes, int n, uint64_t seed, int64_t step, int64_t index)
{
    double u = sail_rng_uniform(seed, SAIL_RNG_ROUTE, (uint64_t)step, (uint64_t)index, 0), below = 0;
    int last = 0;
    for (int k = 0; k < n; k++) {
        if (routes[k].probability <= 0)
            continue;
        below += routes[k].probability;
        last = k; /* rounding may leave the sum below u */
        if (u < below)
            break;
    }
    return last;
}

bool sail__route_warn(const sail_route *r, double max_weight, double max_coef, sail_buf *out)
{
    if ((r->writer != SAIL_BY_POLICY && r->labeller != SAIL_BY_POLICY) || r->probability <= 0)
        return false;
    const char *said = "training was reported unstable beyond";
    if (r->probability > max_weight)
        sail__buf_printf(out, "route %s has weight %g (%s %g)", r->name, r->probability, said, max_weight);
    if (r->coefficient > max_coef)
        sail__buf_printf(out, "%s%s has coefficient %g (%s %g)", out->len ? ", " : "route ", r->name, r->coefficient, said, max_coef);
    return out->len > 0;
}
