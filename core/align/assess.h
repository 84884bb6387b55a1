/* assess.h - a model by itself: what a run's evaluation would say of it.
 *
 * Floor: align. Threads: one. The code is that of the run (evaluate.c); only where model, reference and data come from is different. */
#ifndef SAIL_ASSESS_H
#define SAIL_ASSESS_H

#include "evaluate.h"

typedef struct sail__assessed {
    size_t rows, records; /* usable ones, and all of the data */
    bool reference;       /* there is one: without it rewards, loss, divergence and win rate are unknown, and left out */
} sail__assessed;

/* Metrics of sail__evaluate for stage->model on stage->data.eval, as stage->eval says. `stage` is an align stage parsed at step 0; of its
 * method it needs objective, preference and beta. reference: see session.h's reference_path. */
sail_code sail__assess(sail_ctx *ctx, const sail__stage *stage, const char *reference, sail__metrics *out, sail__assessed *facts,
                       sail_err *err);

#endif
