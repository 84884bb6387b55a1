/* cost.h - what a model costs by arithmetic: numbers of its matrices, flops of passes, bytes.
 *
 * Floor: tools. */
#ifndef SAIL_CLI_COST_H
#define SAIL_CLI_COST_H

#include "nn/model.h"

typedef struct sail__cost {
    double blocks, head, heads; /* numbers in the layers' matrices and in the output; layers x heads x head size */
    double kv;                  /* layers x key/value heads x head size */
} sail__cost;
sail_code sail__cost_of(sail_arena *a, const sail__model_config *m, sail__cost *out, sail_err *err);
/* Of a forward pass over a prompt of p tokens with two responses of r. */
double sail__pair_flops(const sail__cost *c, double p, double r);

#endif
