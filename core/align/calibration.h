/* calibration.h - whether a reward model's probabilities are what happens: reliability bins and the expected calibration error.
 *
 * Floor: align. Pure functions. A pair's scores give, through a preference model, the probability that the response labelled better wins
 * (among outcomes that somebody wins). The model is as sure of its choice as the larger of p and 1 - p, and right where p > 1/2; a bin holds
 * the pairs it was about equally sure of. ECE (Guo et al., arXiv:1706.04599) is the mean over pairs of |share right - mean sureness| by bin. */
#ifndef SAIL_CALIBRATION_H
#define SAIL_CALIBRATION_H

#include "../base/base.h"
#include "../sail/preference.h"

enum { SAIL__RELIABILITY_BINS = 10 }; /* of equal width from 1/2 to 1 */

typedef struct sail__calibration {
    struct {
        double n, sure, right; /* pairs; sums */
    } bin[SAIL__RELIABILITY_BINS];
    double n, log_loss; /* log_loss: sum of -log p */
} sail__calibration;

/* Probability that the first response wins over the second, among outcomes that somebody wins. scores: [2][width of the model]. */
sail_code sail__win_probability(const sail_preference_model *m, const double *scores, double *p, sail_err *err);
void sail__calibration_add(sail__calibration *c, double p);
double sail__calibration_error(const sail__calibration *c); /* NAN: no pairs */

#endif
