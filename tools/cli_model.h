/* cli_model.h - what commands on a model share: opening it from --model, --adapter, --backend …, and rows of files as token ids.
 *
 * Floor: tools. */
#ifndef SAIL_CLI_MODEL_H
#define SAIL_CLI_MODEL_H

#include "align/session.h"
#include "cli.h"
#include "nn/generate.h"

/* The model that the common options name, for use (TRAIN_NOTHING) or, with a plan, for training. */
typedef struct sail__cli_want {
    sail__train_kind train;
    const sail_optimizer_plan *optimizer;
    const sail__adapter_section *adapter; /* a new one, for TRAIN_ADAPTER */
    bool reference, fresh_reference;
    int dtype; /* sail__compute_dtype; -1: as the options say */
    const char *template_name; /* as model.template of a recipe */
} sail__cli_want;
sail_code sail__cli_open_model(sail__cli *c, const sail__cli_want *want, sail__session **out, sail_err *err);

/* The backend that --backend and --threads name. */
sail_code sail__cli_backend(sail__cli *c, sail_slot *out, sail_err *err);
/* A plugin by NAME or {kind: NAME, …}, as a recipe has it; `option` names it in messages. */
sail_code sail__cli_slot(sail__cli *c, sail_kind kind, const char *text, const char *option, sail_slot *out, sail_err *err);

/* What the sampling options say. */
sail_filter_params sail__cli_filter(const sail__cli *c);

/* A row of a file, or a text, as ids. */
typedef struct sail__cli_row {
    int32_t *ids;
    size_t n;
    int64_t line; /* in its file; 0: not from one */
} sail__cli_row;
typedef struct sail__cli_rows {
    sail__cli_row *items;
    size_t n, cap;
} sail__cli_rows;

enum sail__cli_row_kind {
    SAIL__ROW_SEQUENCE, /* {"ids"}, or {"prompt", "response"}, or {"messages"} that end with the assistant's: all of it */
    SAIL__ROW_PROMPT,   /* {"ids"}, {"prompt"} or {"messages"}: what a response goes on from */
};
typedef struct sail__cli_text {
    sail__session *session;
    enum sail__cli_row_kind kind;
    bool eos;     /* append the end token to responses */
    bool special; /* strings of special tokens in texts are those tokens */
} sail__cli_text;

/* All rows of a JSONL file or JSON list, in the arena. A message names file and line; nothing is left out silently. */
sail_code sail__cli_read_rows(sail__cli *c, const sail__cli_text *t, const char *path, sail__cli_rows *out, sail_err *err);
/* Every line of a plain text file that is not blank is a prompt. */
sail_code sail__cli_read_lines(sail__cli *c, const sail__cli_text *t, const char *path, sail__cli_rows *out, sail_err *err);
/* One text; chat: as a message of the user through the model's template. */
sail_code sail__cli_add_text(sail__cli *c, const sail__cli_text *t, const char *text, bool chat, sail__cli_rows *out, sail_err *err);

/* Where results go: a file, whole or not at all, or standard output ("-" or NULL). */
typedef struct sail__cli_sink {
    sail__cli *c;
    sail_atomic *file; /* NULL: standard output */
} sail__cli_sink;
/* Refuses an output (what: "--output") that is a file of --model, --adapter or another model (NULL: none): one of its directory, or the
 * GGUF file itself. */
sail_code sail__cli_not_of_model(sail__cli *c, const char *what, const char *other, const char *output, sail_err *err);
/* Refuses an output that is the file that is read: it would be gone. Either may be NULL. */
sail_code sail__cli_not_over(const char *input, const char *output, sail_err *err);
sail_code sail__cli_sink_open(sail__cli *c, const char *path, sail__cli_sink *out, sail_err *err);
sail_code sail__cli_sink_write(sail__cli_sink *s, const sail_buf *text, sail_err *err);
sail_code sail__cli_sink_commit(sail__cli_sink *s, sail_err *err);
void sail__cli_sink_abort(sail__cli_sink *s);

#endif
