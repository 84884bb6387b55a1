/* calibration.c - see calibration.h. */
#include "calibration.h"

#include <math.h>

sail_code sail__win_probability(const sail_preference_model *m, const double *scores, double *p, sail_err *err)
{
    double q[3] = {0};
    if (m->ops->outcomes(m->self, 2) > 3)
        return sail_fail(err, SAIL_E_ARG, "preference model %s has more outcomes of two responses than two wins and a tie", m->name);
    SAIL_TRY(sail_preference_probabilities(m, 2, scores, q, err));
    *p = q[0] + q[1] > 0 ? q[0] / (q[0] + q[1]) : scores[0] > scores[1]; /* both 0 far out in the tails of a model with ties */
    return SAIL_OK;
}

void sail__calibration_add(sail__calibration *c, double p)
{
    if (!(p >= 0 && p <= 1))
        return;
    double sure = fmax(p, 1 - p);
    int i = (int)((sure - 0.5) * 2 * SAIL__RELIABILITY_BINS);
    i = i < SAIL__RELIABILITY_BINS ? i : SAIL__RELIABILITY_BINS - 1;
    c->bin[i].n++;
    c->bin[i].sure += sure;
    c->bin[i].right += p > 0.5 ? 1 : p == 0.5 ? 0.5 : 0;
    c->n++;
    c->log_loss -= log(fmax(p, 1e-300));
}

double sail__calibration_error(const sail__calibration *c)
{
    double sum = 0;
    for (int i = 0; i < SAIL__RELIABILITY_BINS; i++)
        sum += fabs(c->bin[i].right - c->bin[i].sure);
    return c->n > 0 ? sum / c->n : NAN;
}
