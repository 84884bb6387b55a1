/* lines.h - lines from a descriptor, between which a signal may come.
 *
 * Floor: tools. Threads: one. A line that ends in a backslash goes on in the next one, with a newline between them. */
#ifndef SAIL_CLI_LINES_H
#define SAIL_CLI_LINES_H

#include "base/base.h"

typedef enum sail__lines_result {
    SAIL__LINES_LINE,
    SAIL__LINES_END,
    SAIL__LINES_SIGNAL, /* what was typed of a line is gone */
} sail__lines_result;

typedef struct sail__lines {
    int fd, signals; /* signals: 8 bytes are read from it when one came; -1: none is waited for */
    sail_buf data;   /* read, from the byte `used` on not yet given out */
    size_t used;
    sail_buf joined; /* of a line that went on */
    bool ended;
    int64_t line;    /* number of the last one given out, from 1 */
} sail__lines;

/* The text is NUL-terminated, without its newline, and stays until the next call. */
sail_code sail__lines_next(sail__lines *in, const char **text, size_t *len, sail__lines_result *got, sail_err *err);
void sail__lines_free(sail__lines *in);

#endif
