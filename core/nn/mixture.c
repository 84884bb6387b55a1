/* mixture.c - see mixture.h. */
#include "mixture.h"

#include <math.h>

static double capped(float z, double softcap) { return softcap > 0 ? softcap * tanh((double)z / softcap) : (double)z; }

/* log of the sum of exponentials; NaN where a logit is. */
static double normaliser(const float *z, int64_t n, double softcap)
{
    double most = -INFINITY, total = 0;
    for (int64_t v = 0; v < n; v++)
        most = fmax(most, capped(z[v], softcap));
    for (int64_t v = 0; v < n; v++)
        total += exp(capped(z[v], softcap) - most);
    return most + log(total);
}

sail_code sail__mixture_draw(const float *const logits[2], int64_t n, double softcap, double weight, const sail_filter_params *filter,
                             double u, double *p, int32_t *order, int32_t *id, float *logp, float *drawn, sail_err *err)
{
    const double own = normaliser(logits[0], n, softcap), other = normaliser(logits[1], n, softcap);
    if (!isfinite(own) || !isfinite(other))
        return sail_fail(err, SAIL_E_NUMERIC, "mixture: the %s's logits of a token are no numbers", isfinite(own) ? "reference" : "policy");
    for (int64_t v = 0; v < n; v++) { /* a weight of 0 takes nothing, also where the other gives a token no chance */
        const double a = capped(logits[0][v], softcap) - own, b = capped(logits[1][v], softcap) - other;
        p[v] = weight <= 0 ? a : weight >= 1 ? b : (1 - weight) * a + weight * b;
    }
    if (sail_filter(p, n, filter, NULL, 0, order) < 1)
        return sail_fail(err, SAIL_E_NUMERIC, "mixture: no token has a finite logit");
    *id = (int32_t)sail_filter_draw(p, n, u);
    *logp = (float)(capped(logits[0][*id], softcap) - own);
    *drawn = (float)log(p[*id]);
    return SAIL_OK;
}
