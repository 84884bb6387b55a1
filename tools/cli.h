/* cli.h - the frame of the command line program.
 *
 * Floor: tools. One table of commands (commands.c) is the source of option parsing, `sail help`, the man page, shell
 * completions and did-you-mean.
 *
 * To add a command NAME:
 *   1. tools/cmd_NAME.c with `const sail__command sail__cmd_NAME = {…};` whose options are a sail_opt table over a struct of
 *      its own, as in recipes (types, ranges, defaults, help; '_' is written '-' on the command line);
 *   2. its file in tools/meson.build and one row CMD(NAME) in commands.def, at the place where help should show it.
 * The function gets the parsed struct in c->options, arguments in c->args, and, with SAIL__CLI_MODEL, the common model
 * options in c->model. It prints results to standard output (c->json: as JSON) and returns a code; the frame prints
 * "sail NAME: MESSAGE" and turns the code into the exit status: 0 done, 1 failed while running, 2 wrong usage or recipe,
 * 130/143 stopped by SIGINT/SIGTERM (SAIL_E_CANCEL). An error with an empty message prints nothing more. */
#ifndef SAIL_CLI_H
#define SAIL_CLI_H

#include <stdio.h>

#include "base/node.h"
#include "sail/log.h"

/* What every command on a model takes. */
typedef struct sail__cli_model {
    const char *model;   /* directory or GGUF file: names of the Hugging Face cache are found already */
    const char *adapter; /* PEFT directory */
    const char *backend; /* ref, cpu, … */
    int dtype;           /* 0 f32, 1 bf16: align/config.h's sail__compute_dtype */
    int weights;         /* sail__weights_kind, there */
    int64_t threads;     /* 0: all */
    const char *device; /* index, kind, or pattern of the name; unset: the best */
} sail__cli_model;
extern const sail_opt sail__cli_model_options[];

/* How tokens are drawn, for commands that write text. */
typedef struct sail__cli_sampling {
    bool greedy;
    double temperature, top_p, min_p, repetition_penalty;
    int64_t top_k, seed;
    const sail_node *stop; /* a list of strings; NULL: none */
} sail__cli_sampling;
extern const sail_opt sail__cli_sampling_options[];

enum {
    SAIL__CLI_MODEL = 1u << 0,    /* takes the common model options */
    SAIL__CLI_JSON = 1u << 1,     /* takes --json */
    SAIL__CLI_SIGNALS = 1u << 2,  /* SIGINT or SIGTERM once asks the context to cancel, twice ends at once */
    SAIL__CLI_NEEDS_MODEL = 1u << 3, /* --model is required */
    SAIL__CLI_HIDDEN = 1u << 4,   /* not listed in help */
    SAIL__CLI_SUB = 1u << 5,      /* the first argument is one of `subcommands` */
    SAIL__CLI_SAMPLING = 1u << 6, /* takes the sampling options */
};

typedef struct sail__cli sail__cli;

typedef struct sail__example {
    const char *command, *what;
} sail__example;

typedef struct sail__command {
    const char *name;
    const char *args;    /* "RECIPE [key=value …]"; "" for none */
    const char *summary; /* one line, lower case, no full stop */
    const char *doc;     /* paragraphs; NULL: none */
    int min_args, max_args; /* max -1: any number */
    uint32_t flags;
    const sail_opt *options; /* NULL: none. SAIL_OPT_TYPE_NODE: may be given several times, a list of strings */
    size_t options_size;     /* of their struct */
    const char *const *subcommands; /* SAIL__CLI_SUB, and for completion; NULL-terminated */
    const sail__example *examples;  /* ends with a NULL command */
    sail_code (*run)(sail__cli *c, sail_err *err);
} sail__command;

struct sail__cli {
    sail_ctx *ctx;
    sail_arena *arena;
    const sail__command *command;
    const char *const *args;
    size_t n_args;
    bool only_progress;    /* a line that standard output does not take is no failure: what the command does is elsewhere */
    void *options;         /* the command's struct */
    sail__cli_model model; /* with SAIL__CLI_MODEL */
    sail__cli_sampling sampling; /* with SAIL__CLI_SAMPLING */
    bool json, verbose, quiet;
    bool color;     /* of standard output */
    bool color_err; /* of standard error */
    bool terminal;  /* standard error is one: a progress bar is drawn there */
    int width;      /* columns of the terminal; 80 where there is none */
    const char *program; /* argv[0] */
    struct sail__screen *screen;
    struct sail__signals *signals; /* with SAIL__CLI_SIGNALS; NULL: none are waited for */
};

/* The table, in the order of help. */
const sail__command *const *sail__commands(size_t *n);
const sail__command *sail__command_find(const char *name); /* NULL if there is none */

/* Parse argv and run; returns the exit status. */
int sail__cli_main(int argc, char **argv);

/* ---- for commands ---- */
/* A line on standard output that keeps clear of the progress bar (added newline). */
void sail__cli_line(sail__cli *c, const char *fmt, ...) SAIL_PRINTF(2, 3);
/* The table of a profile (backend/profile.h), line by line. */
struct sail__profile;
void sail__cli_profile(sail__cli *c, const struct sail__profile *p);
/* Text after the progress bar: "step 12/200 · loss 0.61 · 3.2 steps/s"; shown at its next drawing, or (without a terminal)
 * not at all. */
void sail__cli_status(sail__cli *c, const char *text);
/* Take the bar away (end of a phase). */
void sail__cli_clear(sail__cli *c);
/* Tell problems from number `first` on, a message each: FILE:LINE: KEY: what is wrong. */
void sail__cli_problems(sail__cli *c, sail_log_level level, const sail_problems *p, size_t first);
/* Write everything to a file ("-" or NULL: standard output), whole or not at all. */
sail_code sail__cli_output(sail__cli *c, const char *path, const void *data, size_t size, sail_err *err);
/* A node as JSON with a newline, likewise. */
sail_code sail__cli_write_json(sail__cli *c, const char *path, const sail_node *n, sail_err *err);
sail_code sail__cli_print_json(sail__cli *c, const sail_node *n, sail_err *err);
/* For a command that talks: from now on SIGINT interrupts what goes on, and neither cancels nor ends the program. Returns a descriptor,
 * non-blocking, that becomes readable (8 bytes) when SIGINT or SIGTERM comes; -1: no signals are waited for. */
int sail__cli_interrupts(sail__cli *c);
/* Colour sequences for standard output; "" when colours are off. */
typedef enum sail__tone { SAIL__PLAIN, SAIL__BOLD, SAIL__DIM, SAIL__RED, SAIL__GREEN, SAIL__YELLOW, SAIL__BLUE, SAIL__CYAN } sail__tone;
const char *sail__tone_code(const sail__cli *c, sail__tone tone);
/* The tokenizer of a model (directory, tokenizer.json or GGUF file), without its weights. */
struct sail__tokenizer;
sail_code sail__cli_tokenizer(const char *path, struct sail__tokenizer **out, sail_err *err);
/* hf:OWNER/NAME… as the path it stands for, everything else as it is: for arguments; options that are paths come so already. */
sail_code sail__cli_path(sail__cli *c, const char *text, const char **path, sail_err *err);
/* Where recipes lie: the build tree's or the installed ones; NULL when there are none. */
const char *sail__cli_recipes_dir(sail__cli *c);

/* Maps and lists for JSON: members of a map of c->arena. NULL strings become null. Out of memory leaves them out, and
 * printing says so. */
sail_node *sail__cli_map(sail__cli *c);
sail_node *sail__cli_list(sail__cli *c);
void sail__cli_put(sail__cli *c, sail_node *map, const char *key, sail_node *value);
void sail__cli_put_string(sail__cli *c, sail_node *map, const char *key, const char *value);
void sail__cli_put_int(sail__cli *c, sail_node *map, const char *key, int64_t value);
void sail__cli_put_number(sail__cli *c, sail_node *map, const char *key, double value);
void sail__cli_put_bool(sail__cli *c, sail_node *map, const char *key, bool value);

/* ---- help, from the table (help.c, shell.c) ---- */
void sail__help_overview(sail_buf *out, const sail__cli *c);
void sail__help_command(sail_buf *out, const sail__cli *c, const sail__command *cmd);
/* recipe, environment, exit, lua …; SAIL_E_NOTFOUND names the nearest. */
sail_code sail__help_topic(sail_buf *out, const sail__cli *c, const char *name, sail_err *err);
const char *const *sail__help_topics(void); /* NULL-terminated */
void sail__man_page(sail_buf *out);
sail_code sail__completions(sail_buf *out, const char *shell, sail_err *err); /* bash, zsh, fish */

#endif
