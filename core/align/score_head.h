/* score_head.h - a score head on a language model: what turns it into a reward model.
 *
 * Floor: align. Threads: one. The head stands in the place of the output layer: score = W h of the last token, in float32. Ownership: what
 * is made lives in the arena given; the base's config, source and tokenizer are borrowed. */
#ifndef SAIL_SCORE_HEAD_H
#define SAIL_SCORE_HEAD_H

#include "../io/peft.h"
#include "../io/tokenizer.h"
#include "../nn/model.h"

/* The base's config with a head of `labels` instead of its output layer, as …ForSequenceClassification, with a padding token that ends no
 * sequence (transformers reads the score before the padding). Refused where the base has a head of another size. tokenizer: NULL is fine. */
sail_code sail__score_head_config(sail_arena *a, const sail__model_config *base, int32_t labels, const sail__tokenizer *tokenizer,
                                  const sail__model_config **out, sail_err *err);

/* A source that has the base's parameters and a head drawn from the seed: normal, of the deviation that transformers draws it with. */
sail_code sail__score_head_source(sail_arena *a, const sail__model_config *config, const sail__param_source *base, uint64_t seed,
                                  sail__param_source *out, sail_err *err);

/* Labels of the head that an adapter brings along among its saved parameters; 0: it brings none. */
int32_t sail__score_head_of(const sail__peft *p, const sail__model_config *base);

/* An adapter of a reward model holds the whole head: add it, as `source` has it, where it is not there. */
sail_code sail__score_head_save(sail_arena *a, const sail__model_config *config, const sail__param_source *source, sail__peft *p,
                                sail__adapter *adapter, sail_err *err);

#endif
