/* responses.h - the stage `generate`: a model answers the prompts of a file.
 *
 * Floor: align. Threads: one. */
#ifndef SAIL_RESPONSES_H
#define SAIL_RESPONSES_H

#include "../io/store.h"
#include "session.h"

/* The members of a row that tells a response, without braces: "ids": […], "text": …, "logprobs": […], "finish": "stop"|"length". text is
 * null where t is NULL; the end token is among the ids where there was one. `sail generate` writes the same. */
sail_code sail__response_members(const sail__tokenizer *t, const int32_t *ids, const float *logp, int64_t n, sail__finish finish,
                                 sail_buf *out, sail_err *err);

/* Answer generate.prompts (unset: data.eval, or what is held out of data.train), as the section rollout says, into
 * DIR/output/responses.jsonl: {"prompt": …, "ids": …} rows, prompt by prompt. What is written so far lies in DIR/responses.part; a stage
 * that was stopped goes on there, and ends with the same bytes. The first prompts go to the store as samples of kind "generate" (store
 * may be NULL). SAIL_E_CANCEL when stopped. */
sail_code sail__respond(sail_ctx *ctx, const sail__stage *stage, const char *dir, sail__store *store, sail_err *err);

#endif
