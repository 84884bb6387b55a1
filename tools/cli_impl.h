/* cli_impl.h - what the frame's own files share; commands include cli.h alone. */
#ifndef SAIL_CLI_IMPL_H
#define SAIL_CLI_IMPL_H

#include <string.h>

#include "cli.h"

typedef struct common_options {
    bool verbose, quiet, help, json;
} common_options;
extern const sail_opt sail__cli_common_options[], sail__cli_json_options[];

/* The tables of a command's options in the order of help; ends with NULL. */
enum { SAIL__CLI_TABLES = 6 };
typedef struct option_tables {
    const sail_opt *table[SAIL__CLI_TABLES];
    const char *title[SAIL__CLI_TABLES];
    size_t n;
} option_tables;
option_tables sail__cli_tables(const sail__command *cmd);
/* "max-new" for max_new, into a buffer of 64. */
const char *sail__cli_option_name(const sail_opt *o, char name[64]);
/* "N", "FILE", "f32|bf16"; "" for a boolean. */
void sail__cli_metavar(const sail_opt *o, sail_buf *out);
const char *sail__command_group(const sail__command *cmd);

/* screen.c: log lines and the progress bar share standard error. */
struct sail__screen *sail__screen_new(sail__cli *c);
void sail__screen_free(struct sail__screen *s);
void sail__screen_line(struct sail__screen *s, FILE *to, const char *text);
int sail__screen_lost(const struct sail__screen *s); /* why the first line that was lost could not be written, an errno; 0: none was */
void sail__screen_status(struct sail__screen *s, const char *text);
void sail__screen_clear(struct sail__screen *s);

/* signals.c: a thread that waits for SIGINT and SIGTERM, so that nothing global is needed. */
typedef struct sail__signals sail__signals;
sail__signals *sail__signals_start(sail_ctx *ctx);
int sail__signals_stop(sail__signals *s); /* the signal that came, or 0; frees s */

#endif
