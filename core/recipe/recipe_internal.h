/* recipe_internal.h - what the files of this floor share.
 *
 * Floor: recipe. load.c reads files and command-line values into one tree, paths.c makes paths absolute, recipe.c splits
 * the tree into stages and checks them, print.c writes them out. */
#ifndef SAIL_RECIPE_INTERNAL_H
#define SAIL_RECIPE_INTERNAL_H

#include "recipe.h"

#define SAIL__COMMAND_LINE "command line" /* origin of a key=value */

/* One key=value, parsed. */
typedef struct sail__override {
    const char *key;
    sail_node *value;
} sail__override;

/* Parse key=value strings; what is malformed becomes a problem. NULL: out of memory. */
sail__override *sail__overrides_parse(sail_arena *a, const char *const *texts, size_t n, size_t *n_out,
                                      sail_problems *problems);

/* Merge over into base, which changes. A slot whose plugin changes drops the options of the one before, and
 * `optimizer: {lr: …}` over `optimizer: adamw` keeps adamw. */
bool sail__recipe_merge(sail_arena *a, sail_node *base, const sail_node *over);

/* Make every path in a map of sections absolute: relative to the file it is written in, or to the working directory; hf:OWNER/NAME is
 * looked up in the Hugging Face cache, and one that is not there stays as it is and is told in absent; a malformed one is a problem.
 * Either list may be NULL. False: out of memory. */
bool sail__recipe_paths(sail_ctx *ctx, sail_arena *a, sail_node *node, sail_problems *problems, sail_problems *absent);
/* Call visit for every option of a map of sections that is a path, or paths, and is there; those of plugins, too. key: "SECTION.OPTION",
 * "SECTION.SLOT.OPTION". False: there was no memory for a key, or visit gave false. */
typedef bool sail__path_visit(void *user, const sail_opt *row, const char *key, sail_node *n);
bool sail__recipe_each_path(sail_ctx *ctx, sail_arena *a, const sail_node *node, sail__path_visit *visit, void *user);
/* sail__recipe_paths for one string. */
const char *sail__recipe_path(sail_arena *a, const sail_node *n);

/* The row SECTION.KEY of the tables; NULL: none. */
const sail_opt *sail__recipe_row(const char *section, const char *key);
/* Whether the option takes NAME or {kind: NAME, …}. */
bool sail__recipe_has_kind(const sail_opt *row);

/* What sail__recipe_set_lua was given; NULL: nothing. */
sail__lua_reader sail__recipe_lua(sail_ctx *ctx);

/* Keys that stand outside of all stages. */
extern const char *const sail__recipe_root_keys[];

/* By file and line; what several stages have in common is told once. */
void sail__problems_sort(sail_problems *p);
/* Whether one of them has this message. */
bool sail__problems_told(const sail_problems *p, const char *message);

/* A stage's output is there at once and whole: at/output with these files. */
typedef struct sail__stage_file {
    const char *name;
    const sail_buf *text;
} sail__stage_file;
sail_code sail__stage_output(sail_arena *a, const char *at, const sail__stage_file *files, size_t n, sail_err *err);

/* Stage `tables` into the directory `at`: to the run's fact "tables/STAGE" and to at/output. */
struct sail__store;
sail_code sail__tables_stage(const sail__recipe *r, const sail__stage *s, const char *at, struct sail__store *store, sail_err *err);

#endif
