/* calibrate.h - what the device can do at best, measured in the same run as what is compared with it.
 *
 * Floor: tools. */
#ifndef SAIL_CALIBRATE_H
#define SAIL_CALIBRATE_H

#include "backend/exec.h"

typedef struct sail__calibration {
    double flops;     /* a second: the best of some large matrix products of the dtype */
    double bandwidth; /* bytes a second: the best of large reads and copies */
} sail__calibration;

sail_code sail__calibrate(sail_runtime *rt, sail_dtype t, sail__calibration *out, sail_err *err);

/* Seconds of one call, run and waited for: each of `times` after one that is not counted, ascending. */
sail_code sail__time_call(sail_runtime *rt, const sail_call *call, int times, double *seconds, sail_err *err);
/* A product [m, k] [n, k]^T -> [m, n] of random operands, in the forms that training uses. */
enum sail__product { SAIL__PRODUCT_FORWARD, SAIL__PRODUCT_INPUT, SAIL__PRODUCT_WEIGHT }; /* x W^T, g W, g^T x */
sail_code sail__time_product(sail_runtime *rt, enum sail__product form, sail_dtype t, sail_dtype out, int64_t rows, int64_t n_in,
                             int64_t n_out, int times, double *seconds, sail_err *err);
void sail__sort_times(double *x, int n);

#endif
