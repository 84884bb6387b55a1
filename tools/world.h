/* world.h - a small world of our own making, for the quickstart: a tiny English, a hidden preference, and data about both.
 *
 * Prompts name an animal and a place; responses are sentences of a fixed grammar. What is good is a sum of weights of patterns
 * that occur in a response (the truth); training sees it only through labels drawn by Bradley-Terry. Demonstrations come
 * from the whole grammar. The offline pairs come from a habit that knows only part of its words, so that what a policy says
 * after the demonstrations is covered by the pairs only in part: the distribution shift that online methods are about.
 *
 * Floor: tools. Pure functions of the seed (SAIL_RNG_WORLD). */
#ifndef SAIL_WORLD_H
#define SAIL_WORLD_H

#include "base/base.h"

typedef struct sail__world_options {
    int64_t seed;
    int64_t demonstrations; /* rows of sft.jsonl */
    int64_t pairs;          /* rows of pairs.jsonl */
    int64_t eval;           /* rows of eval.jsonl, whose prompts are in no other file */
    double temperature;     /* of the labels: P(a is preferred) = sigmoid((truth(a) - truth(b)) / temperature) */
} sail__world_options;

/* Prompts of training (first) and of evaluation; index below the count. Appends "Tell about the cat at the river:". */
int64_t sail__world_prompts(bool eval);
void sail__world_prompt(int64_t index, bool eval, sail_buf *out);

/* A response to the prompt, beginning with a space: draw `id` of the whole grammar, or of the habit that wrote the pairs. */
void sail__world_response(uint64_t seed, uint64_t id, int64_t prompt, bool eval, bool habit, sail_buf *out);

/* The truth: the sum of the weights of all patterns that occur. */
sail_code sail__world_score(const char *response, double *score, sail_err *err);

/* The truth as the rule judge reads it: lines of a weight and a pattern. */
void sail__world_truth(sail_buf *out);


/* Write sft.jsonl, pairs.jsonl, eval.jsonl, truth.txt, world.json, tokenizer.json and tokenizer_config.json. */
sail_code sail__world_write(const sail__world_options *o, const char *dir, sail_err *err);

#endif
