/* answer.h - a response as text while it is written: whole characters, and nothing of a stop string.
 *
 * Floor: tools. Threads: one. */
#ifndef SAIL_CLI_ANSWER_H
#define SAIL_CLI_ANSWER_H

#include "cli.h"
#include "io/tokenizer.h"

typedef struct sail__answer {
    sail__text_stream stream;
    const sail_node *stop; /* a list of strings; NULL: none */
    sail_buf held;         /* the end of the text, which may be the beginning of a stop string */
} sail__answer;

/* The strings of --stop; t: NULL is an error where there are any, since ids alone hold no text. Frees nothing that it is given. */
sail_code sail__answer_begin(sail__answer *a, const sail__tokenizer *t, const sail_node *stop, sail_err *err);
/* Appends what can be shown after this token. True: a stop string has been written; `out` ends before it. */
bool sail__answer_push(sail__answer *a, int32_t id, sail_buf *out);
/* Appends the rest, unless a stop string ended it; frees. */
void sail__answer_end(sail__answer *a, sail_buf *out);

#endif
