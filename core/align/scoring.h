/* scoring.h - a reward model and the way it reads: its own tokenizer, its own form of prompts, scores in batches. Or a policy, which scores
 * by its implicit reward: beta times log pi/pi_0 of the whole response, end token included.
 *
 * Floor: align. Threads: one. Ownership: a scorer owns its session; texts are borrowed for the call.
 *
 * What a model is fed is a prompt and a response, encoded as stage `reward` encodes its data: messages by the chat template, behind them
 * the end token and whatever a whole conversation has after it; texts as they are, with an end token. Texts are one message of the user
 * where the model was made for conversations: its form is named, it has a chat template of its own, or it is of a kind (Safe RLHF, Eurus)
 * that is always fed one form. A model of stage `reward` says how it was fitted, in reward.json beside its weights. A policy reads as it is
 * trained: texts as they are, nothing behind the end token. */
#ifndef SAIL_SCORING_H
#define SAIL_SCORING_H

#include "session.h"

typedef struct sail__scorer_spec {
    const char *path, *adapter;  /* directory (or GGUF file) and PEFT directory; adapter NULL: none */
    const char *tokenizer;       /* NULL: the model's own */
    const char *template_name;   /* NULL: the model's own form */
    const char *system;
    const sail_slot *backend;
    const char *device;          /* NULL: the best */
    int dtype;                   /* sail__compute_dtype */
    bool policy;                 /* a language model, scored by its implicit reward */
    const char *reference;       /* of a policy: as sail__session_spec.reference_path */
    double beta;                 /* of a policy, 1/nat */
} sail__scorer_spec;

typedef struct sail__scorer {
    sail__session *session;
    int32_t labels; /* numbers a response gets */
    bool has_form;          /* messages can be rendered */
    bool text_is_message;
    const char *preference; /* preference model that it was fitted with; NULL: not said */
    const char *fitted_on;  /* "text", "messages"; NULL: not said */
    sail__encode_options encode;
    sail__ids closing;
    sail__token_scratch *scratch;
    sail__forest forest;
    int64_t *rows; /* of each response that waits: rows of the forest that it has */
    int64_t n_responses;
    size_t cap;
    bool policy;
    double beta;
    sail_arena *arena;
} sail__scorer;

/* Refused, with what would be right: a model without a score head, a policy with one or without anything that it differs from, or whose tokenizer has more tokens than its embedding has rows. */
sail_code sail__scorer_open(sail_ctx *ctx, const sail__scorer_spec *spec, sail__scorer **out, sail_err *err);
void sail__scorer_close(sail__scorer *s); /* NULL is fine */

/* That a preference model compares what this one gives: as many numbers. */
sail_code sail__scorer_compared_by(const sail__scorer *s, const sail_preference_model *m, sail_err *err);

/* Add a prompt and its k responses to the batch: one tree, the prompt once. Parts are text, messages or ids. */
sail_code sail__scorer_add(sail__scorer *s, const sail__part *prompt, const sail__part *responses, int k, sail_err *err);
int64_t sail__scorer_tokens(const sail__scorer *s);    /* waiting */
int64_t sail__scorer_responses(const sail__scorer *s); /* waiting */
/* Scores of all that waits, in order: out[responses][labels]. The batch is empty then, also after an error. */
sail_code sail__scorer_run(sail__scorer *s, float *out, sail_err *err);
void sail__scorer_forget(sail__scorer *s); /* what waits */

/* All that its scores depend on besides what it reads, as text in the arena: names, and hashes of what is in the files. */
sail_code sail__scorer_about(const sail__scorer *s, const sail__scorer_spec *spec, sail_arena *a, const char **out, sail_err *err);

/* reward.json in a directory that stage `reward` writes: what the model was fitted on. rows: the first of the data. */
sail_code sail__scorer_describe(const char *dir, const sail__session *s, const sail__model_section *m, const sail__rows *rows,
                                const char *preference, sail_err *err);

#endif
