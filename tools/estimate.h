/* estimate.h - what a recipe's stages will take of memory and time, before they run.
 *
 * Floor: tools. Memory is counted, but for the activations, which are estimated; time is what the machine's matrix products, measured now,
 * take for steps of the longest rows that the recipe allows. */
#ifndef SAIL_CLI_ESTIMATE_H
#define SAIL_CLI_ESTIMATE_H

#include "cli.h"
#include "recipe/recipe.h"

/* Appends a comment for each stage that learns. A model that is not there, or made by the run, is told instead: no error. */
sail_code sail__estimate(sail__cli *c, const sail__recipe *r, sail_buf *out, sail_err *err);

#endif
