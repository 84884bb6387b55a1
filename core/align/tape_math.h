/* tape_math.h - the scalar functions under the tape's operators, exact in the tails.
 *
 * Floor: align. Pure functions of doubles. */
#ifndef SAIL_TAPE_MATH_H
#define SAIL_TAPE_MATH_H

double sail__sigmoid(double a);
double sail__log_sigmoid(double a);    /* finite for any finite a */
double sail__log_ndtr(double z);       /* log of the standard normal distribution function */
double sail__log_ndtr_slope(double z); /* its derivative, phi(z) / Phi(z) */
double sail__logaddexp(double a, double b);

#endif
