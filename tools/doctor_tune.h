/* doctor_tune.h - sail doctor --tune.
 *
 * Floor: tools. */
#ifndef SAIL_DOCTOR_TUNE_H
#define SAIL_DOCTOR_TUNE_H

#include "cli.h"

/* Tries every way of the matrix products of a training step and of decoding, of --model or of the usual widths, at `tokens` rows; prints
 * ways, times, winners. */
sail_code sail__doctor_tune(sail__cli *c, int64_t tokens, sail_err *err);

#endif
