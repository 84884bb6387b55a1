/* long_rope.h - models whose rotary factors depend on the length of the whole sequence (Phi-3's long rope).
 *
 * Floor: nn. Threads: one. The rotary tables hold the short form for every position, then the long form: a token whose sequence is
 * longer than the model's original length turns by row position + sail__model_positions. A prompt whose children fall on different
 * sides is computed twice. */
#ifndef SAIL_LONG_ROPE_H
#define SAIL_LONG_ROPE_H

#include "forest.h"
#include "model_config.h"

/* The longest sequence, in tokens, that turns by the short form; 0: the model has one form. */
int64_t sail__short_length(const sail__model_config *c);

/* f with each token's form, in out, which is reset first: the same head rows in the same order, more tokens where a prompt is
 * computed twice. positions: rows of one form. */
sail_code sail__forest_forms(const sail__forest *f, int64_t short_length, int64_t positions, sail__forest *out, sail_err *err);

/* The tokens from `first` on in their long form. */
void sail__forest_long_form(sail__forest *f, int64_t first, int64_t positions);

#endif
